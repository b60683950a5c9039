// SPDX-License-Identifier: GPL-2.0
/*
 * For tests: a stranger, who pins by each of GUP's entry points and knows nothing
 * of owners; so xpin can be loaded and unloaded meanwhile.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/memfd.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "compat/compat.h"
#include "compat/gup.h"
#include "xpin_test_pin.h"

static long pin_memfd(int fd, unsigned int nr, struct page **pages)
{
	struct folio *folios[XPIN_TEST_PIN_MAX];
	struct file *memfd = fget(fd);
	pgoff_t offset;
	long ret, i;

	if (!memfd)
		return -EBADF;
	ret = memfd_pin_folios(memfd, 0, nr * PAGE_SIZE - 1, folios, nr,
			       &offset);
	fput(memfd);
	for (i = 0; i < ret; i++)
		pages[i] = folio_page(folios[i], 0);
	return ret;
}

static long pin_by(const struct xpin_test_pin_call *call, struct page **pages)
{
	struct mm_struct *mm = current->mm;
	unsigned int flags = call->longterm ? FOLL_LONGTERM : 0;
	unsigned int nr = call->pages;
	long ret;

	switch (call->by) {
	case XPIN_TEST_PIN_PAGES:
		mmap_read_lock(mm);
		ret = compat_pin_user_pages(call->addr, nr, flags, pages, NULL);
		mmap_read_unlock(mm);
		return ret;
	case XPIN_TEST_PIN_REMOTE:
		mmap_read_lock(mm);
		ret = compat_pin_user_pages_remote(mm, call->addr, nr, flags,
						   pages, NULL, NULL);
		mmap_read_unlock(mm);
		return ret;
	case XPIN_TEST_PIN_UNLOCKED:
		return pin_user_pages_unlocked(call->addr, nr, pages, flags);
	case XPIN_TEST_PIN_FAST:
		return pin_user_pages_fast(call->addr, nr, flags, pages);
	case XPIN_TEST_PIN_FAST_ONLY:
		return compat_pin_user_pages_fast_only(call->addr, nr, 0,
						       pages);
	case XPIN_TEST_PIN_MEMFD:
		return pin_memfd(call->addr, nr, pages);
	default:
		return -EINVAL;
	}
}

static long test_pin_ioctl(struct file *file, unsigned int cmd,
			   unsigned long arg)
{
	void __user *user = (void __user *)arg;
	struct page *pages[XPIN_TEST_PIN_MAX];
	struct xpin_test_pin_call call;
	long ret = 0;
	u64 i;

	if (cmd != XPIN_TEST_PIN)
		return -ENOTTY;
	if (copy_from_user(&call, user, sizeof(call)))
		return -EFAULT;
	if (!call.pages || call.pages > XPIN_TEST_PIN_MAX)
		return -EINVAL;

	call.refused = 0;
	for (i = 0; i < call.repeat && !fatal_signal_pending(current); i++) {
		ret = pin_by(&call, pages);
		call.ret = ret;
		if (ret < 0 && ret != -EBUSY)
			break;
		call.pinned = max(ret, 0L);
		call.refused += call.pinned < call.pages;
		unpin_user_pages(pages, call.pinned);
		ret = 0;
		cond_resched();
	}
	if (copy_to_user(user, &call, sizeof(call)))
		return -EFAULT;
	return ret;
}

static const struct file_operations test_pin_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = test_pin_ioctl,
};

static struct miscdevice test_pin_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "xpin_test_pin",
	.fops = &test_pin_fops,
	.mode = 0600,
};
module_misc_device(test_pin_device);

MODULE_DESCRIPTION("A stranger who pins, for xpin's tests");
MODULE_LICENSE("GPL");
