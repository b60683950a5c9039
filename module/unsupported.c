// SPDX-License-Identifier: GPL-2.0
/*
 * The whole module on a kernel that it can't work with. DKMS builds a module
 * for every kernel, and what fails to build leaves the kernel's package half
 * installed: so this builds on any of them, and says why when it is loaded.
 * REFUSAL, which is why, comes from Kbuild.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/printk.h>

#include "version.h"

static int __init xpin_init(void)
{
	pr_err(REFUSAL "\n");
	return -EOPNOTSUPP;
}

module_init(xpin_init);

/* For who asks before loading it: modinfo -F backend xpin. */
MODULE_INFO(backend, "none");
MODULE_INFO(unsupported, REFUSAL);
MODULE_DESCRIPTION("Exclusive owners for folios: not on this kernel");
MODULE_AUTHOR("xpin maintainers");
MODULE_VERSION(XPIN_VERSION);
MODULE_LICENSE("GPL");
