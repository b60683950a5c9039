// SPDX-License-Identifier: GPL-2.0
/*
 * For tests: an in-kernel owner, as a hypervisor driver would be one, that pins
 * the memory of whoever opens /dev/xpin_test_owner and, unlike /dev/xpin, may
 * unpin it by a plain unpin_user_page().
 */
#include <linux/bitmap.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/memfd.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xpin.h>

#include "compat/compat.h"
#include "xpin_test_owner.h"

/**
 * struct test_owner - an open file
 * @owner: as which it owns
 * @plain_unpin: it may unpin by a plain unpin_user_page()
 * @lock: held while the pages change
 * @shared: which of the pages are shared
 * @nr_pages: how many pages it has pinned
 * @pages: the pages
 * @held: a page that is pinned, but not owned; or NULL
 */
struct test_owner {
	struct xpin_owner *owner;
	bool plain_unpin;
	struct mutex lock; /* see above */
	DECLARE_BITMAP(shared, XPIN_TEST_OWNER_PAGES);
	unsigned long nr_pages;
	struct page *pages[XPIN_TEST_OWNER_PAGES];
	struct page *held;
};

static int test_owner_pin(struct test_owner *test,
			  struct xpin_test_owner_call *call)
{
	unsigned long busy;
	int ret;

	if (call->pages > XPIN_TEST_OWNER_PAGES - test->nr_pages)
		return -ENOSPC;
	ret = xpin_pin_user_pages(test->owner, call->addr, call->pages,
				  test->pages + test->nr_pages,
				  &call->timeout_ns, &busy);
	call->answer = busy;
	if (!ret)
		test->nr_pages += call->pages;
	return ret;
}

static int test_owner_gup(struct xpin_test_owner_call *call)
{
	struct page **pages;
	int ret = 0;
	u64 i;

	if (!call->pages || call->pages > XPIN_TEST_OWNER_PAGES)
		return -EINVAL;
	pages = kcalloc(call->pages, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	call->answer = 0;
	for (i = 0; i < call->repeat && !fatal_signal_pending(current); i++) {
		ret = pin_user_pages_fast(call->addr, call->pages, 0, pages);
		if (ret > 0) {
			unpin_user_pages(pages, ret);
			call->answer++;
			ret = 0;
		} else if (ret == -EBUSY) {
			ret = 0;
		} else {
			break;
		}
		/*
		 * As who loops in the kernel should: a grace period of RCU
		 * tasks, without which no hook goes, would take most of a
		 * minute.
		 */
		cond_resched_tasks_rcu_qs();
	}
	kfree(pages);
	return ret;
}

static int test_owner_memfd(struct xpin_test_owner_call *call)
{
	struct folio **folios;
	struct file *memfd;
	pgoff_t offset;
	long ret;

	if (!call->pages || call->pages > XPIN_TEST_OWNER_PAGES)
		return -EINVAL;
	memfd = fget(call->addr);
	if (!memfd)
		return -EBADF;
	ret = -ENOMEM;
	folios = kcalloc(call->pages, sizeof(*folios), GFP_KERNEL);
	if (!folios)
		goto put;
	ret = memfd_pin_folios(memfd, 0, call->pages * PAGE_SIZE - 1, folios,
			       call->pages, &offset);
	if (ret > 0) {
		unpin_folios(folios, ret);
		call->answer = ret;
		ret = 0;
	}
	kfree(folios);
put:
	fput(memfd);
	return ret;
}

static int test_owner_hold(struct test_owner *test,
			   const struct xpin_test_owner_call *call)
{
	int ret;

	if (test->held)
		return -EBUSY;
	ret = pin_user_pages_fast(call->addr, 1, FOLL_WRITE, &test->held);
	return ret < 0 ? ret : 0;
}

static int test_owner_drop(struct test_owner *test)
{
	if (!test->held)
		return -ENOENT;
	unpin_user_page(test->held);
	test->held = NULL;
	return 0;
}

static unsigned long test_owner_owned(struct test_owner *test,
				      struct page **pages, unsigned long nr)
{
	u32 id = xpin_owner_id(test->owner);
	unsigned long i, owned = 0;

	for (i = 0; i < nr; i++)
		owned += xpin_folio_owner(page_folio(pages[i])) == id;
	return owned;
}

/* The calls that work on the last pages. */
static int test_owner_last(struct test_owner *test, unsigned int cmd,
			   struct xpin_test_owner_call *call)
{
	unsigned long first = test->nr_pages - call->skip - call->pages;
	struct page **pages = test->pages + first;
	unsigned long busy;
	int ret;

	switch (cmd) {
	case XPIN_TEST_OWNER_UNPIN:
		xpin_unpin_pages(test->owner, pages, call->pages);
		break;
	case XPIN_TEST_OWNER_PLAIN_UNPIN:
		if (!test->plain_unpin)
			return -EOPNOTSUPP;
		unpin_user_pages(pages, call->pages);
		break;
	case XPIN_TEST_OWNER_UNPIN_SHARED:
		xpin_unpin_shared_pages(test->owner, pages, call->pages);
		break;
	case XPIN_TEST_OWNER_SHARE:
		call->answer = xpin_share_pages(test->owner, pages,
						call->pages);
		bitmap_set(test->shared, first, call->pages);
		return 0;
	case XPIN_TEST_OWNER_UNSHARE:
		ret = xpin_unshare_pages(test->owner, pages, call->pages,
					 &call->timeout_ns, &busy);
		call->answer = busy;
		if (!ret)
			bitmap_clear(test->shared, first, call->pages);
		return ret;
	case XPIN_TEST_OWNER_OWNED:
		call->answer = test_owner_owned(test, pages, call->pages);
		return 0;
	default:
		return -ENOTTY;
	}
	test->nr_pages -= call->pages;
	memmove(pages, pages + call->pages, call->skip * sizeof(*pages));
	bitmap_cut(test->shared, test->shared, first, call->pages,
		   XPIN_TEST_OWNER_PAGES);
	return 0;
}

static long test_owner_ioctl(struct file *file, unsigned int cmd,
			     unsigned long arg)
{
	struct test_owner *test = file->private_data;
	void __user *user = (void __user *)arg;
	struct xpin_test_owner_call call;
	int ret;

	if (copy_from_user(&call, user, sizeof(call)))
		return -EFAULT;

	if (cmd == XPIN_TEST_OWNER_GUP) {
		/* Without the lock: threads race here. */
		ret = test_owner_gup(&call);
	} else if (cmd == XPIN_TEST_OWNER_MEMFD) {
		ret = test_owner_memfd(&call);
	} else {
		mutex_lock(&test->lock);
		if (cmd == XPIN_TEST_OWNER_PIN)
			ret = test_owner_pin(test, &call);
		else if (cmd == XPIN_TEST_OWNER_HOLD)
			ret = test_owner_hold(test, &call);
		else if (cmd == XPIN_TEST_OWNER_DROP)
			ret = test_owner_drop(test);
		else if (call.skip > test->nr_pages ||
			 call.pages > test->nr_pages - call.skip)
			ret = -EINVAL;
		else
			ret = test_owner_last(test, cmd, &call);
		mutex_unlock(&test->lock);
	}

	if (copy_to_user(user, &call, sizeof(call)))
		return -EFAULT;
	return ret;
}

static int test_owner_open(struct inode *inode, struct file *file)
{
	struct test_owner *test;

	test = kzalloc(sizeof(*test), GFP_KERNEL);
	if (!test)
		return -ENOMEM;
	test->owner = xpin_owner_create(XPIN_OWNER_PLAIN_UNPIN);
	test->plain_unpin = !IS_ERR(test->owner);
	/* Where nobody tells of unpins, there are only the API's. */
	if (test->owner == ERR_PTR(-EOPNOTSUPP))
		test->owner = xpin_owner_create(0);
	if (IS_ERR(test->owner)) {
		int ret = PTR_ERR(test->owner);

		kfree(test);
		return ret;
	}
	mutex_init(&test->lock);
	file->private_data = test;
	return 0;
}

static int test_owner_release(struct inode *inode, struct file *file)
{
	struct test_owner *test = file->private_data;
	unsigned long i;

	test_owner_drop(test);
	for (i = 0; i < test->nr_pages; i++) {
		if (test_bit(i, test->shared))
			xpin_unpin_shared_pages(test->owner, &test->pages[i],
						1);
		else
			xpin_unpin_pages(test->owner, &test->pages[i], 1);
	}
	xpin_owner_destroy(test->owner);
	kfree(test);
	return 0;
}

static const struct file_operations test_owner_fops = {
	.owner = THIS_MODULE,
	.open = test_owner_open,
	.release = test_owner_release,
	.unlocked_ioctl = test_owner_ioctl,
};

static struct miscdevice test_owner_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "xpin_test_owner",
	.fops = &test_owner_fops,
	.mode = 0600,
};
module_misc_device(test_owner_device);

MODULE_DESCRIPTION("An in-kernel owner for xpin's tests");
MODULE_LICENSE("GPL");
