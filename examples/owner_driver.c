// SPDX-License-Identifier: GPL-2.0
/*
 * An owner in the shape of a hypervisor's driver: an open /dev/xpin_example is a
 * guest, which is lent memory of the process that opened it. There is no
 * hypervisor; hypervisor_call() is where one would be called.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/xarray.h>
#include <linux/xpin.h>

#include "owner_driver.h"

/* The first version that has all of what is used here. */
#if XPIN_KERNEL_API_VERSION < 1
#error "this needs version 1 or later of xpin's API for drivers"
#endif

static unsigned int timeout_ms = 1000;
module_param(timeout_ms, uint, 0644);
MODULE_PARM_DESC(timeout_ms, "How long to wait for pins of others, in milliseconds (default 1000)");

/* A page in &guest.pages that the guest shares with the host. */
#define SHARED	XA_MARK_0

/**
 * struct guest - an open file
 * @owner: what the guest is to xpin
 * @lock: guards @pages, and has the hypervisor told in the same order
 * @pages: what it has been lent, by address / PAGE_SIZE
 */
struct guest {
	struct xpin_owner *owner;
	struct mutex lock; /* see above */
	struct xarray pages;
};

static unsigned int refuse;
module_param(refuse, uint, 0644);
MODULE_PARM_DESC(refuse, "How many of the next calls the hypervisor refuses (default 0)");

/* Takes the page out of the host's hands, or puts it back there. */
static int hypervisor_call(unsigned int cmd, struct page *page)
{
	if (!refuse)
		return 0;
	refuse--;
	return -EPERM;
}

/* The page is owned before the guest gets it: what the host pins it never has. */
static int lend(struct guest *guest, unsigned long addr)
{
	u64 timeout_ns = READ_ONCE(timeout_ms) * (u64)NSEC_PER_MSEC;
	struct page *page;
	int ret;

	/* What is shared must not become exclusive, if only for a moment. */
	if (xa_load(&guest->pages, addr / PAGE_SIZE))
		return -EEXIST;
	/* This may wait; another processor of the guest need not, so no lock. */
	ret = xpin_pin_user_pages(guest->owner, addr, 1, &page, &timeout_ns, NULL);
	/* Started again by the kernel, the call would have all of its time again. */
	if (ret == -ERESTARTNOHAND || ret == -ERESTARTNOINTR)
		ret = -EINTR;
	if (ret)
		return ret;

	mutex_lock(&guest->lock);
	ret = xa_insert(&guest->pages, addr / PAGE_SIZE, page, GFP_KERNEL);
	if (!ret) {
		ret = hypervisor_call(EXAMPLE_LEND, page);
		if (ret)
			xa_erase(&guest->pages, addr / PAGE_SIZE);
	} else if (ret == -EBUSY) {
		ret = -EEXIST;
	}
	mutex_unlock(&guest->lock);
	/* Say, because another processor was faster: its pin is the one that stays. */
	if (ret)
		xpin_unpin_pages(guest->owner, &page, 1);
	return ret;
}

/* The host has the page back before anybody can pin it. */
static int reclaim(struct guest *guest, unsigned long index)
{
	bool shared = xa_get_mark(&guest->pages, index, SHARED);
	struct page *page = xa_load(&guest->pages, index);
	int ret;

	if (!page)
		return -ENOENT;
	ret = hypervisor_call(EXAMPLE_RECLAIM, page);
	if (ret)
		return ret;
	xa_erase(&guest->pages, index);
	if (shared)
		xpin_unpin_shared_pages(guest->owner, &page, 1);
	else
		xpin_unpin_pages(guest->owner, &page, 1);
	return 0;
}

static int change(struct guest *guest, unsigned int cmd, unsigned long index)
{
	struct page *page = xa_load(&guest->pages, index);
	bool share = cmd == EXAMPLE_SHARE;
	int ret;

	if (!page || share == xa_get_mark(&guest->pages, index, SHARED))
		return -ENOENT;
	if (share) {
		ret = hypervisor_call(cmd, page);
		if (ret)
			return ret;
		/* Others still can't pin it if the guest has more of its folio. */
		xpin_share_pages(guest->owner, &page, 1);
		xa_set_mark(&guest->pages, index, SHARED);
		return 0;
	}
	/* Without a wait: the guest may ask again. */
	ret = xpin_unshare_pages(guest->owner, &page, 1, NULL, NULL);
	if (ret)
		return ret;
	ret = hypervisor_call(cmd, page);
	if (ret)
		xpin_share_pages(guest->owner, &page, 1);
	else
		xa_clear_mark(&guest->pages, index, SHARED);
	return ret;
}

static long example_ioctl(struct file *file, unsigned int cmd, unsigned long addr)
{
	struct guest *guest = file->private_data;
	long ret;

	if (!PAGE_ALIGNED(addr))
		return -EINVAL;
	switch (cmd) {
	case EXAMPLE_LEND:
		return lend(guest, addr);
	case EXAMPLE_RECLAIM:
		mutex_lock(&guest->lock);
		ret = reclaim(guest, addr / PAGE_SIZE);
		break;
	case EXAMPLE_SHARE:
	case EXAMPLE_UNSHARE:
		mutex_lock(&guest->lock);
		ret = change(guest, cmd, addr / PAGE_SIZE);
		break;
	default:
		return -ENOTTY;
	}
	mutex_unlock(&guest->lock);
	return ret;
}

static int example_open(struct inode *inode, struct file *file)
{
	struct guest *guest = kzalloc(sizeof(*guest), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!guest)
		return -ENOMEM;
	guest->owner = xpin_owner_create(0);
	if (IS_ERR(guest->owner)) {
		ret = PTR_ERR(guest->owner);
		kfree(guest);
		return ret;
	}
	mutex_init(&guest->lock);
	xa_init(&guest->pages);
	file->private_data = guest;
	return 0;
}

/* Also when the process was killed: what the guest has left comes back. */
static int example_release(struct inode *inode, struct file *file)
{
	struct guest *guest = file->private_data;
	unsigned long index;
	struct page *page;

	xa_for_each(&guest->pages, index, page)
		reclaim(guest, index);
	/* The host would crash if it touched them: so they stay owned for ever. */
	if (WARN_ON(!xa_empty(&guest->pages)))
		return 0;
	xpin_owner_destroy(guest->owner);
	kfree(guest);
	return 0;
}

static const struct file_operations example_fops = {
	.owner = THIS_MODULE,
	.open = example_open,
	.release = example_release,
	.unlocked_ioctl = example_ioctl,
};

static struct miscdevice example_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = KBUILD_MODNAME,
	.fops = &example_fops,
};

static int __init example_init(void)
{
	u32 version = xpin_kernel_api_version();

	if (version != XPIN_KERNEL_API_VERSION) {
		pr_err("built for version %d of xpin's API, loaded is %u: build it again\n",
		       XPIN_KERNEL_API_VERSION, version);
		return -EPROTO;
	}
	return misc_register(&example_device);
}

static void __exit example_exit(void)
{
	misc_deregister(&example_device);
}

module_init(example_init);
module_exit(example_exit);

MODULE_DESCRIPTION("Example of a hypervisor's driver that uses xpin");
MODULE_AUTHOR("xpin maintainers");
MODULE_LICENSE("GPL");
