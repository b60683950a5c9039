// SPDX-License-Identifier: GPL-2.0
/*
 * For tests: another user of KVM/arm64's pin operations. It pins as KVM does by
 * itself, but says what it is told, and counts.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

#include <asm/kvm_pkvm.h>

static int error;
module_param(error, int, 0600);
MODULE_PARM_DESC(error, "What the next pins return, an errno or 0");

static int times;
module_param(times, int, 0600);
MODULE_PARM_DESC(times, "How many of them");

static int pins;
module_param(pins, int, 0400);
MODULE_PARM_DESC(pins, "Pages pinned");

static int unpins;
module_param(unpins, int, 0400);
MODULE_PARM_DESC(unpins, "Pages unpinned");

static int dirty_unpins;
module_param(dirty_unpins, int, 0400);
MODULE_PARM_DESC(dirty_unpins, "Those of them that a guest had");

static int pin(struct kvm *kvm, unsigned long hva, struct page **page)
{
	int ret;

	if (times) {
		times--;
		return -error;
	}
	/* Takes the lock, so nobody may have it. */
	ret = pin_user_pages_unlocked(hva, 1, page, FOLL_WRITE | FOLL_LONGTERM);
	if (ret != 1)
		return -EFAULT;
	pins++;
	return 0;
}

static void unpin(struct kvm *kvm, struct page *page, bool dirty)
{
	might_sleep();
	unpin_user_pages_dirty_lock(&page, 1, dirty);
	unpins++;
	dirty_unpins += dirty;
}

static const struct pkvm_pin_ops ops = {
	.owner = THIS_MODULE,
	.pin = pin,
	.unpin = unpin,
};

static int __init xpin_test_pkvm_init(void)
{
	return pkvm_set_pin_ops(NULL, &ops);
}

static void __exit xpin_test_pkvm_exit(void)
{
	pkvm_set_pin_ops(&ops, NULL);
}

module_init(xpin_test_pkvm_init);
module_exit(xpin_test_pkvm_exit);

MODULE_DESCRIPTION("Another user of KVM/arm64's pin operations, for xpin's tests");
MODULE_LICENSE("GPL");
