// SPDX-License-Identifier: GPL-2.0
/* The kernel's side: what GUP promises to a notifier, with one of our own. */
#include <linux/gup_pin_notifier.h>
#include <linux/memfd.h>
#include <linux/mman.h>

#include "backend.h"
#include "common.h"

#define NR	3

struct fixture {
	unsigned long addr;
	struct file *file;
	long pins;
};

/* What the callbacks saw, and whom they refuse. One test at a time. */
static struct page *refused;
static unsigned int asked, peeked, unpinned, unpinned_late;
static unsigned int pins_when_asked;

static unsigned int test_pin(struct page **pages, unsigned int nr,
			     unsigned int flags)
{
	unsigned int i;

	asked += nr;
	pins_when_asked = folio_pins(page_folio(pages[0]));
	for (i = 0; i < nr; i++)
		if (pages[i] == refused)
			break;
	return i;
}

static bool test_peek(struct page *page)
{
	peeked++;
	return page != refused;
}

static void test_unpin(struct folio *folio, unsigned int refs)
{
	unpinned += refs;
	unpinned_late += folio_pins(folio) < refs;
}

static const struct gup_pin_notifier notifier = {
	.pin = test_pin,
	.peek = test_peek,
	.unpin = test_unpin,
};

/* Our own backend makes room. It must not be in use. */
static int notifier_suite_init(struct kunit_suite *suite)
{
	if (!wait_disarmed())
		return -EBUSY;
	backend_unregister();
	return 0;
}

static void notifier_suite_exit(struct kunit_suite *suite)
{
	WARN_ON(backend_register());
}

static int notifier_test_init(struct kunit *test)
{
	struct fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, f);
	test->priv = f;
	f->file = make_memfd(test, NR);
	f->addr = kunit_vm_mmap(test, f->file, 0, NR * PAGE_SIZE,
				PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	KUNIT_ASSERT_NE(test, 0, f->addr);
	KUNIT_ASSERT_EQ(test, 0, gup_pin_notifier_register(&notifier));
	for (i = 0; i < NR; i++)
		unpin_user_page(stranger_pin(test, f->addr + i * PAGE_SIZE));
	refused = NULL;
	asked = 0;
	peeked = 0;
	unpinned = 0;
	unpinned_late = 0;
	f->pins = pins_outstanding();
	return 0;
}

static void notifier_test_exit(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, f->pins, pins_outstanding());
	KUNIT_EXPECT_EQ(test, 0, unpinned_late);
	gup_pin_notifier_unregister(&notifier);
}

static void refuse(struct kunit *test, unsigned long addr)
{
	KUNIT_ASSERT_EQ(test, 1, get_user_pages_fast(addr, 1, 0, &refused));
	put_page(refused);
}

static void one_notifier_at_a_time(struct kunit *test)
{
	static const struct gup_pin_notifier second;

	KUNIT_EXPECT_EQ(test, -EBUSY, gup_pin_notifier_register(&second));
}

static void nothing_is_asked_unarmed(struct kunit *test)
{
	struct fixture *f = test->priv;

	refuse(test, f->addr);
	unpin_user_page(stranger_pin(test, f->addr));
	KUNIT_EXPECT_EQ(test, 0, asked + peeked + unpinned);
}

/* The count is raised first; a refused pin is put back and not reported. */
static void pins_are_asked_about(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *pages[NR];

	gup_pin_notifier_arm(&notifier, GUP_PIN_NOTIFY_PIN |
					GUP_PIN_NOTIFY_UNPIN);
	unpin_user_page(stranger_pin(test, f->addr));
	KUNIT_EXPECT_EQ(test, 1, asked);
	KUNIT_EXPECT_EQ(test, 1, pins_when_asked);
	KUNIT_EXPECT_EQ(test, 1, unpinned);

	refuse(test, f->addr + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 1, pin_user_pages_fast(f->addr, NR, 0, pages));
	KUNIT_EXPECT_EQ(test, f->pins + 1, pins_outstanding());
	KUNIT_EXPECT_EQ(test, 1, unpinned);
	unpin_user_page(pages[0]);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			pin_user_pages_fast(f->addr + PAGE_SIZE, 1, 0, pages));
	KUNIT_EXPECT_EQ(test, 2, unpinned);
	KUNIT_EXPECT_EQ(test, 0, peeked);
}

/* R6: while somebody drains, the refused page's count does not rise. */
static void drains_peek_first(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	gup_pin_notifier_arm(&notifier, GUP_PIN_NOTIFY_PIN);
	refuse(test, f->addr);
	gup_pin_notifier_drain_begin(&notifier);
	KUNIT_EXPECT_EQ(test, -EBUSY, pin_user_pages_fast(f->addr, 1, 0,
							  &page));
	KUNIT_EXPECT_NE(test, 0, peeked);
	KUNIT_EXPECT_EQ(test, 0, asked);
	unpin_user_page(stranger_pin(test, f->addr + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 1, asked);
	gup_pin_notifier_drain_end(&notifier);
	peeked = 0;
	KUNIT_EXPECT_EQ(test, -EBUSY, pin_user_pages_fast(f->addr, 1, 0,
							  &page));
	KUNIT_EXPECT_EQ(test, 0, peeked);
}

/* R10: FOLL_GET has a key of its own. */
static void get_is_another_event(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	refuse(test, f->addr);
	gup_pin_notifier_arm(&notifier, GUP_PIN_NOTIFY_PIN);
	KUNIT_EXPECT_EQ(test, 1, get_user_pages_fast(f->addr, 1, 0, &page));
	put_page(page);
	KUNIT_EXPECT_EQ(test, 0, asked);

	gup_pin_notifier_arm(&notifier, GUP_PIN_NOTIFY_GET);
	KUNIT_EXPECT_EQ(test, -EBUSY, get_user_pages_fast(f->addr, 1, 0,
							  &page));
	gup_pin_notifier_disarm(&notifier, GUP_PIN_NOTIFY_PIN);
	asked = 0;
	unpin_user_page(stranger_pin(test, f->addr));
	KUNIT_EXPECT_EQ(test, 0, asked);
}

/* R10: whoever peeks is not told what for, so only pins do. */
static void get_does_not_peek(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	gup_pin_notifier_arm(&notifier, GUP_PIN_NOTIFY_PIN |
					GUP_PIN_NOTIFY_GET);
	gup_pin_notifier_drain_begin(&notifier);
	KUNIT_EXPECT_EQ(test, 1, get_user_pages_fast(f->addr, 1, 0, &page));
	put_page(page);
	KUNIT_EXPECT_EQ(test, 1, get_user_pages_unlocked(f->addr, 1, &page, 0));
	put_page(page);
	gup_pin_notifier_drain_end(&notifier);
	KUNIT_EXPECT_EQ(test, 0, peeked);
	KUNIT_EXPECT_EQ(test, 2, asked);
}

/* R9: all or nothing, and -EBUSY instead of the usual -EINVAL. */
static void memfd_pin_folios_is_refused(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct folio *folios[NR];
	pgoff_t offset;

	skip_without_memfd_pins(test);
	gup_pin_notifier_arm(&notifier, GUP_PIN_NOTIFY_PIN);
	KUNIT_EXPECT_EQ(test, NR,
			memfd_pin_folios(f->file, 0, NR * PAGE_SIZE - 1,
					 folios, NR, &offset));
	KUNIT_EXPECT_EQ(test, NR, asked);
	unpin_folios(folios, NR);

	refuse(test, f->addr + 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			memfd_pin_folios(f->file, 0, NR * PAGE_SIZE - 1,
					 folios, NR, &offset));
	KUNIT_EXPECT_EQ(test, f->pins, pins_outstanding());

	/* R6: while somebody drains, the count does not rise. */
	asked = 0;
	gup_pin_notifier_drain_begin(&notifier);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			memfd_pin_folios(f->file, 2 * PAGE_SIZE,
					 3 * PAGE_SIZE - 1, folios, 1,
					 &offset));
	gup_pin_notifier_drain_end(&notifier);
	KUNIT_EXPECT_NE(test, 0, peeked);
	KUNIT_EXPECT_EQ(test, 0, asked);

	/* Its other errors stay what they were. */
	KUNIT_EXPECT_EQ(test, -EINVAL,
			memfd_pin_folios(f->file, 0, NR * PAGE_SIZE, folios,
					 NR, &offset));
}

/* MADV_POPULATE and mlock() walk without a reference: nothing to refuse. */
static void populate_is_not_asked_about(struct kunit *test)
{
	struct fixture *f = test->priv;
	int locked = 1;

	gup_pin_notifier_arm(&notifier, GUP_PIN_NOTIFY_PIN |
					GUP_PIN_NOTIFY_GET);
	gup_pin_notifier_drain_begin(&notifier);
	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, NR,
			get_user_pages_remote(current->mm, f->addr, NR, 0,
					      NULL, &locked));
	if (locked)
		mmap_read_unlock(current->mm);
	gup_pin_notifier_drain_end(&notifier);
	KUNIT_EXPECT_EQ(test, 0, asked + peeked);
}

static struct kunit_case notifier_cases[] = {
	KUNIT_CASE(one_notifier_at_a_time),
	KUNIT_CASE(nothing_is_asked_unarmed),
	KUNIT_CASE(pins_are_asked_about),
	KUNIT_CASE(drains_peek_first),
	KUNIT_CASE(get_is_another_event),
	KUNIT_CASE(get_does_not_peek),
	KUNIT_CASE(memfd_pin_folios_is_refused),
	KUNIT_CASE(populate_is_not_asked_about),
	{}
};

static struct kunit_suite notifier_suite = {
	.name = "xpin_notifier",
	.suite_init = notifier_suite_init,
	.suite_exit = notifier_suite_exit,
	.init = notifier_test_init,
	.exit = notifier_test_exit,
	.test_cases = notifier_cases,
};

kunit_test_suite(notifier_suite);
