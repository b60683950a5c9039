// SPDX-License-Identifier: GPL-2.0
/* Parameters, and the order in which things start and stop. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/printk.h>

#include "backend.h"
#include "chardev.h"
#include "claim.h"
#include "registry.h"
#include "stats.h"
#include "version.h"

module_param_named(max_timeout_ms, claim_max_timeout_ms, uint, 0644);
MODULE_PARM_DESC(max_timeout_ms,
		 "Longest time a claim may wait for pins of others, in milliseconds (default 60000)");

static int __init xpin_init(void)
{
	int ret;

	ret = registry_init();
	if (ret)
		return ret;
	/* The guard may be asked from here on. */
	ret = backend_register();
	if (ret)
		goto registry;
	/* And owners may come from here on. */
	ret = chardev_register();
	if (ret)
		goto backend;
	stats_init();
	pr_info("version %s, backend %s\n", XPIN_VERSION, backend_name());
	return 0;

backend:
	backend_unregister();
registry:
	registry_exit();
	return ret;
}

static void __exit xpin_exit(void)
{
	stats_exit();
	chardev_unregister();
	backend_unregister();
	registry_exit();
}

module_init(xpin_init);
module_exit(xpin_exit);

MODULE_DESCRIPTION("Exclusive owners for folios with respect to GUP pins");
MODULE_AUTHOR("xpin maintainers");
MODULE_VERSION(XPIN_VERSION);
MODULE_LICENSE("GPL");
