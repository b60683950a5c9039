// SPDX-License-Identifier: GPL-2.0
/* For tests: another user of the kernel's GUP pin notifier. It objects to nothing. */
#include <linux/gup_pin_notifier.h>
#include <linux/module.h>

static unsigned int no_objection(struct page **pages, unsigned int nr,
				 unsigned int flags)
{
	return nr;
}

static bool peek(struct page *page)
{
	return true;
}

static void unpin(struct folio *folio, unsigned int refs)
{
}

static const struct gup_pin_notifier notifier = {
	.pin = no_objection,
	.peek = peek,
	.unpin = unpin,
};

static int __init xpin_test_notifier_init(void)
{
	return gup_pin_notifier_register(&notifier);
}

static void __exit xpin_test_notifier_exit(void)
{
	gup_pin_notifier_unregister(&notifier);
}

module_init(xpin_test_notifier_init);
module_exit(xpin_test_notifier_exit);

MODULE_DESCRIPTION("Another user of the GUP pin notifier, for xpin's tests");
MODULE_LICENSE("GPL");
