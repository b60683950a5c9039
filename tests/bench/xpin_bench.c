// SPDX-License-Identifier: GPL-2.0
/*
 * For measurements: pins the memory of its caller again and again, and counts what
 * that takes. A module of its own, which knows nothing of xpin: what xpin's own
 * code pins is not hooked.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/timex.h>
#include <linux/uaccess.h>

#include "xpin_bench.h"

#define PAGES_MAX	512

static int bench_pin(struct xpin_bench_call *call)
{
	int nr = call->pages, ret = nr;
	struct page **pages;
	cycles_t start;
	u64 i;

	if (!call->pages || call->pages > PAGES_MAX)
		return -EINVAL;
	pages = kcalloc(nr, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	start = get_cycles();
	for (i = 0; i < call->repeat; i++) {
		ret = pin_user_pages_fast(call->addr, nr, FOLL_WRITE, pages);
		if (unlikely(ret != nr))
			break;
		unpin_user_pages(pages, nr);
	}
	call->cycles = get_cycles() - start;
	if (ret > 0 && ret != nr)
		unpin_user_pages(pages, ret);
	kfree(pages);
	return ret < 0 ? ret : ret == nr ? 0 : -EFAULT;
}

static int bench_loop(struct xpin_bench_call *call)
{
#ifdef CONFIG_X86
	cycles_t start = get_cycles();
	unsigned long left = call->repeat;

	if (!left)
		return -EINVAL;
	asm volatile("1: dec %0\n\tjnz 1b" : "+r" (left) : : "cc");
	call->cycles = get_cycles() - start;
	return 0;
#else
	return -EOPNOTSUPP;
#endif
}

static long bench_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;
	struct xpin_bench_call call;
	int ret;

	if (copy_from_user(&call, user, sizeof(call)))
		return -EFAULT;
	switch (cmd) {
	case XPIN_BENCH_PIN:
		ret = bench_pin(&call);
		break;
	case XPIN_BENCH_LOOP:
		ret = bench_loop(&call);
		break;
	default:
		return -ENOTTY;
	}
	if (!ret && copy_to_user(user, &call, sizeof(call)))
		return -EFAULT;
	return ret;
}

static const struct file_operations bench_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = bench_ioctl,
};

static struct miscdevice bench_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "xpin_bench",
	.fops = &bench_fops,
	.mode = 0600,
};
module_misc_device(bench_device);

MODULE_DESCRIPTION("What a pin costs, for xpin's benchmark");
MODULE_LICENSE("GPL");
