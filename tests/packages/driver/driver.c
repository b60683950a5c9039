// SPDX-License-Identifier: GPL-2.0
/*
 * A driver that is built out of the kernel's tree against the installed
 * package. It becomes an owner for a moment, to show that it can.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/xpin.h>

/* The first that has all of what is used here. */
#if XPIN_KERNEL_API_VERSION < 1
#error "this needs version 1 or later of xpin's API for drivers"
#endif

static int __init driver_init(void)
{
	struct xpin_owner *owner;
	u32 version = xpin_kernel_api_version();

	if (version != XPIN_KERNEL_API_VERSION) {
		pr_err("built for version %d of xpin's API, loaded is %u: build it again\n",
		       XPIN_KERNEL_API_VERSION, version);
		return -EPROTO;
	}
	owner = xpin_owner_create(0);
	if (IS_ERR(owner))
		return PTR_ERR(owner);
	pr_info("xpin's API version %u, owner %u\n", version, xpin_owner_id(owner));
	xpin_owner_destroy(owner);
	return 0;
}

static void __exit driver_exit(void)
{
}

module_init(driver_init);
module_exit(driver_exit);

MODULE_DESCRIPTION("Example of a driver that uses xpin");
MODULE_AUTHOR("xpin maintainers");
MODULE_LICENSE("GPL");
