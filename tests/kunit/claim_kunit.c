// SPDX-License-Identifier: GPL-2.0
/* Claims on real folios in a real mm. */
#include <linux/mman.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>

#include "backend.h"
#include "common.h"

#define NR	1300	/* Three chunks, the last one not full. */

struct fixture {
	struct xpin_owner *owner;
	unsigned long addr;
	struct page **pages;
	long pins;
};

static int claim_test_init(struct kunit *test)
{
	struct fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, f);
	test->priv = f;
	f->pages = kunit_kcalloc(test, NR, sizeof(*f->pages), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, f->pages);
	f->addr = map_anon(test, NR);
	f->owner = make_owner(test, 0);
	f->pins = pins_outstanding();
	return 0;
}

/* R4, R7: whatever a test did, nothing is pinned or owned at its end. */
static void claim_test_exit(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, f->pins, pins_outstanding());
	KUNIT_EXPECT_EQ(test, 0, registry_entries());
	xpin_owner_destroy(f->owner);
}

static int claim(struct fixture *f, unsigned long first, unsigned long nr,
		 u64 timeout_ns, unsigned long *busy)
{
	return xpin_pin_user_pages(f->owner, f->addr + first * PAGE_SIZE, nr,
				   f->pages + first, &timeout_ns, busy);
}

static void claim_and_release(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long busy = 0, i;
	struct xpin_entry entry;

	KUNIT_ASSERT_EQ(test, 0, claim(f, 0, NR, 0, &busy));
	KUNIT_EXPECT_EQ(test, ULONG_MAX, busy);
	KUNIT_EXPECT_EQ(test, NR, registry_entries());
	for (i = 0; i < NR; i++) {
		KUNIT_ASSERT_TRUE(test, entry_of(f->pages[i], &entry));
		KUNIT_EXPECT_EQ(test, XPIN_OWNED, entry.state);
		KUNIT_EXPECT_EQ(test, xpin_owner_id(f->owner), entry.owner);
	}
	expect_refused(test, f->addr);
	expect_refused(test, f->addr + (NR - 1) * PAGE_SIZE);

	/* In part, and then the rest. */
	xpin_unpin_pages(f->owner, f->pages, 700);
	expect_free(test, f->addr + 699 * PAGE_SIZE);
	expect_refused(test, f->addr + 700 * PAGE_SIZE);
	xpin_unpin_pages(f->owner, f->pages + 700, NR - 700);
	expect_free(test, f->addr + 700 * PAGE_SIZE);
}

/* R1, R4, R5: a foreign pin far into the range undoes all before it. */
static void foreign_pin_is_busy(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = stranger_pin(test, f->addr + 1200 * PAGE_SIZE);
	unsigned long busy;

	KUNIT_EXPECT_EQ(test, -EBUSY, claim(f, 0, NR, 0, &busy));
	KUNIT_EXPECT_EQ(test, 1200, busy);
	KUNIT_EXPECT_EQ(test, 0, registry_entries());
	KUNIT_EXPECT_EQ(test, f->pins + 1, pins_outstanding());
	expect_free(test, f->addr);
	expect_free(test, f->addr + 1199 * PAGE_SIZE);
	unpin_user_page(page);

	KUNIT_EXPECT_EQ(test, 0, claim(f, 0, NR, 0, &busy));
	xpin_unpin_pages(f->owner, f->pages, NR);
}

static void claim_waits_for_foreign_pins(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct pin_dropper dropper;
	unsigned long busy;

	pin_dropper_start(&dropper,
			  stranger_pin(test, f->addr + 5 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, claim(f, 0, 10, WAIT_NS, &busy));
	pin_dropper_finish(test, &dropper);
	xpin_unpin_pages(f->owner, f->pages, 10);
}

static void a_signal_ends_the_wait(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = stranger_pin(test, f->addr);

	allow_signal(SIGUSR1);
	send_sig(SIGUSR1, current, 1);
	KUNIT_EXPECT_EQ(test, -ERESTARTNOHAND,
			claim(f, 0, 1, WAIT_NS, NULL));
	flush_signals(current);
	disallow_signal(SIGUSR1);
	unpin_user_page(page);
}

/* R1 between owners, while owned and while shared. */
static void another_owner_is_busy(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct xpin_owner *other = make_owner(test, 0);
	struct page *pages[3];
	u64 timeout_ns = WAIT_NS;
	unsigned long busy;

	KUNIT_ASSERT_EQ(test, 0, claim(f, 2, 1, 0, NULL));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			xpin_pin_user_pages(other, f->addr, 3, pages,
					    &timeout_ns, &busy));
	KUNIT_EXPECT_EQ(test, 2, busy);
	xpin_share_pages(f->owner, f->pages + 2, 1);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			xpin_pin_user_pages(other, f->addr, 3, pages,
					    &timeout_ns, &busy));
	KUNIT_EXPECT_EQ(test, 2, busy);
	xpin_unpin_shared_pages(f->owner, f->pages + 2, 1);

	KUNIT_EXPECT_EQ(test, WAIT_NS, timeout_ns);
	KUNIT_EXPECT_EQ(test, 0, xpin_pin_user_pages(other, f->addr, 3, pages,
						     NULL, &busy));
	xpin_unpin_pages(other, pages, 3);
	xpin_owner_destroy(other);
}

/* A page stays owned until the last of one's own claims of it is released. */
static void own_claims_overlap(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *again[2];

	KUNIT_ASSERT_EQ(test, 0, claim(f, 0, 2, 0, NULL));
	KUNIT_ASSERT_EQ(test, 0,
			xpin_pin_user_pages(f->owner, f->addr + PAGE_SIZE, 2,
					    again, NULL, NULL));
	xpin_unpin_pages(f->owner, f->pages, 2);
	expect_free(test, f->addr);
	expect_refused(test, f->addr + PAGE_SIZE);
	xpin_unpin_pages(f->owner, again, 2);
	expect_free(test, f->addr + PAGE_SIZE);
}

/* A failed claim over one's own folio must not end the claim it has. */
static void failed_claim_leaves_the_other(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *pages[2], *page;
	unsigned long busy;

	KUNIT_ASSERT_EQ(test, 0, claim(f, 0, 1, 0, NULL));
	page = stranger_pin(test, f->addr + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			xpin_pin_user_pages(f->owner, f->addr, 2, pages, NULL,
					    &busy));
	KUNIT_EXPECT_EQ(test, 1, busy);
	unpin_user_page(page);
	expect_refused(test, f->addr);
	xpin_unpin_pages(f->owner, f->pages, 1);
}

/* A file's page three times in one range: one folio, three pins. */
static void page_mapped_again(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct file *file = make_memfd(test, 1);
	struct xpin_entry entry;
	int i;

	/* Pages 0, 1 and 3, so that they don't all follow each other. */
	for (i = 0; i < 4; i++) {
		if (i == 2)
			continue;
		KUNIT_ASSERT_NE(test, 0,
				kunit_vm_mmap(test, file,
					      f->addr + i * PAGE_SIZE,
					      PAGE_SIZE, PROT_READ | PROT_WRITE,
					      MAP_SHARED | MAP_FIXED, 0));
	}
	KUNIT_ASSERT_EQ(test, 0, claim(f, 0, 4, 0, NULL));
	KUNIT_EXPECT_PTR_EQ(test, f->pages[0], f->pages[1]);
	KUNIT_EXPECT_PTR_EQ(test, f->pages[0], f->pages[3]);
	KUNIT_ASSERT_TRUE(test, entry_of(f->pages[0], &entry));
	KUNIT_EXPECT_EQ(test, 3, entry.pins);
	KUNIT_EXPECT_EQ(test, 2, registry_entries());
	xpin_unpin_pages(f->owner, f->pages, 3);
	expect_refused(test, f->addr);
	xpin_unpin_pages(f->owner, f->pages + 3, 1);
	expect_free(test, f->addr);
}

static void share_and_unshare(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct pin_dropper dropper;
	u64 timeout_ns = WAIT_NS;
	unsigned long busy;
	struct page *page;

	KUNIT_ASSERT_EQ(test, 0, claim(f, 0, 600, 0, NULL));
	KUNIT_EXPECT_EQ(test, 0, xpin_share_pages(f->owner, f->pages, 600));
	page = stranger_pin(test, f->addr + 555 * PAGE_SIZE);

	/* All or nothing, and it says which. */
	KUNIT_EXPECT_EQ(test, -EBUSY,
			xpin_unshare_pages(f->owner, f->pages, 600, NULL,
					   &busy));
	KUNIT_EXPECT_EQ(test, 555, busy);
	unpin_user_page(stranger_pin(test, f->addr));

	pin_dropper_start(&dropper, page);
	KUNIT_EXPECT_EQ(test, 0, xpin_unshare_pages(f->owner, f->pages, 600,
						    &timeout_ns, &busy));
	pin_dropper_finish(test, &dropper);
	expect_refused(test, f->addr);
	expect_refused(test, f->addr + 555 * PAGE_SIZE);
	xpin_unpin_pages(f->owner, f->pages, 600);
}

/* Two claims of one folio, one shared: strangers are refused, and it says so. */
static void share_of_a_part_is_still_refused(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *again;

	KUNIT_ASSERT_EQ(test, 0, claim(f, 0, 1, 0, NULL));
	KUNIT_ASSERT_EQ(test, 0, xpin_pin_user_pages(f->owner, f->addr, 1,
						     &again, NULL, NULL));
	KUNIT_EXPECT_EQ(test, 1, xpin_share_pages(f->owner, f->pages, 1));
	expect_refused(test, f->addr);
	KUNIT_EXPECT_EQ(test, 0, xpin_share_pages(f->owner, &again, 1));
	unpin_user_page(stranger_pin(test, f->addr));
	xpin_unpin_shared_pages(f->owner, f->pages, 1);
	xpin_unpin_shared_pages(f->owner, &again, 1);
}

/* What can't be claimed, and that nothing is left behind: claim_test_exit(). */
static void unreachable_memory(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long ro;

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(f->addr + 3 * PAGE_SIZE, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -EFAULT, claim(f, 0, 10, 0, NULL));
	ro = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ,
			   MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_EXPECT_EQ(test, -EFAULT,
			xpin_pin_user_pages(f->owner, ro, 1, f->pages, NULL,
					    NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL, claim(f, 0, 0, 0, NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			xpin_pin_user_pages(f->owner, f->addr + 1, 1, f->pages,
					    NULL, NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			xpin_pin_user_pages(f->owner, f->addr,
					    ULONG_MAX >> PAGE_SHIFT, f->pages,
					    NULL, NULL));
}

struct outsider {
	struct work_struct work;
	struct fixture *f;
	int ret;
};

static void claim_from_outside(struct work_struct *work)
{
	struct outsider *outsider = container_of(work, struct outsider, work);

	outsider->ret = claim(outsider->f, 0, 1, 0, NULL);
}

/* R8: from another mm, or from none. */
static void another_mm_is_refused(struct kunit *test)
{
	struct outsider outsider = { .f = test->priv };

	INIT_WORK_ONSTACK(&outsider.work, claim_from_outside);
	schedule_work(&outsider.work);
	flush_work(&outsider.work);
	destroy_work_on_stack(&outsider.work);
	KUNIT_EXPECT_EQ(test, -EIO, outsider.ret);
}

static void unknown_flags_are_refused(struct kunit *test)
{
	const unsigned int unknown = (unsigned int)~XPIN_OWNER_PLAIN_UNPIN;

	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EINVAL), xpin_owner_create(unknown));
}

/* R11: armed by the first claim, and not for ever. */
static void armed_while_claimed(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_ASSERT_TRUE(test, wait_disarmed());
	KUNIT_ASSERT_EQ(test, 0, claim(f, 0, 1, 0, NULL));
	KUNIT_EXPECT_EQ(test, BIT(BACKEND_PIN), backend_armed());
	/* Long enough for a disarm that must not come. */
	schedule_timeout_uninterruptible(2 * HZ);
	KUNIT_EXPECT_EQ(test, BIT(BACKEND_PIN), backend_armed());
	KUNIT_ASSERT_EQ(test, 0, claim(f, 1, 1, 0, NULL));
	xpin_unpin_pages(f->owner, f->pages, 1);
	KUNIT_EXPECT_EQ(test, BIT(BACKEND_PIN), backend_armed());
	xpin_unpin_pages(f->owner, f->pages + 1, 1);
	KUNIT_ASSERT_TRUE(test, wait_disarmed());
	KUNIT_ASSERT_EQ(test, 0, claim(f, 0, 1, 0, NULL));
	expect_refused(test, f->addr);
	xpin_unpin_pages(f->owner, f->pages, 1);
}

static int get(unsigned long addr)
{
	struct page *page;
	int ret = get_user_pages_fast(addr, 1, 0, &page);

	if (ret == 1)
		put_page(page);
	return ret;
}

/* R10: plain references are refused where that was asked for, and only there. */
static void plain_references_are_denied(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *pages[10];
	long refs;

	KUNIT_ASSERT_EQ(test, 0, claim(f, 0, 10, 0, NULL));
	xpin_deny_get_pages(f->owner, f->pages + 3, 2);
	refs = page_ref_count(f->pages[3]);
	KUNIT_EXPECT_EQ(test, -EBUSY, get(f->addr + 3 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -EBUSY, get(f->addr + 4 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			get_user_pages_unlocked(f->addr + 3 * PAGE_SIZE, 1,
						pages, 0));
	KUNIT_EXPECT_FALSE(test,
			   get_user_page_fast_only(f->addr + 3 * PAGE_SIZE, 0,
						   pages));
	KUNIT_EXPECT_EQ(test, refs, (long)page_ref_count(f->pages[3]));
	KUNIT_EXPECT_EQ(test, 1, get(f->addr + 2 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 1, get(f->addr + 5 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 1, get(f->addr + 10 * PAGE_SIZE));

	/* A short count. */
	KUNIT_EXPECT_EQ(test, 3, get_user_pages_fast(f->addr, 10, 0, pages));
	release_pages(pages, 3);

	xpin_unpin_pages(f->owner, f->pages, 10);
	KUNIT_EXPECT_EQ(test, 1, get(f->addr + 3 * PAGE_SIZE));
}

/* The answer: who has a reference from before? */
static void references_from_before_are_counted(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *pages[2];

	KUNIT_ASSERT_EQ(test, 0, claim(f, 0, 20, 0, NULL));
	KUNIT_EXPECT_EQ(test, 0, xpin_deny_get_pages(f->owner, f->pages, 10));
	KUNIT_ASSERT_EQ(test, 2,
			get_user_pages_fast(f->addr + 12 * PAGE_SIZE, 2, 0,
					    pages));
	KUNIT_EXPECT_EQ(test, 2, xpin_deny_get_pages(f->owner, f->pages, 20));
	put_page(pages[0]);
	KUNIT_EXPECT_EQ(test, 1, xpin_deny_get_pages(f->owner, f->pages, 20));
	put_page(pages[1]);
	KUNIT_EXPECT_EQ(test, 0, xpin_deny_get_pages(f->owner, f->pages, 20));
	xpin_unpin_pages(f->owner, f->pages, 20);
}

/* R11: nobody is asked about plain references before, or long after. */
static void get_is_armed_while_denied(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned int tries = 1000;

	KUNIT_ASSERT_TRUE(test, wait_disarmed());
	KUNIT_ASSERT_EQ(test, 0, claim(f, 0, 2, 0, NULL));
	KUNIT_EXPECT_EQ(test, BIT(BACKEND_PIN), backend_armed());
	xpin_deny_get_pages(f->owner, f->pages, 2);
	KUNIT_EXPECT_EQ(test, BIT(BACKEND_PIN) | BIT(BACKEND_GET),
			backend_armed());
	/* Long enough for a disarm that must not come. */
	xpin_unpin_pages(f->owner, f->pages, 1);
	schedule_timeout_uninterruptible(2 * HZ);
	KUNIT_EXPECT_EQ(test, BIT(BACKEND_PIN) | BIT(BACKEND_GET),
			backend_armed());
	/* For one that must, with an entry left. */
	xpin_share_pages(f->owner, f->pages + 1, 1);
	while (backend_armed() & BIT(BACKEND_GET) && --tries)
		schedule_timeout_uninterruptible(HZ / 50);
	KUNIT_EXPECT_EQ(test, BIT(BACKEND_PIN), backend_armed());
	xpin_unpin_shared_pages(f->owner, f->pages + 1, 1);
	KUNIT_EXPECT_TRUE(test, wait_disarmed());
}

/* RLIMIT_MEMLOCK is charged a folio once, and given back. */
static void locked_memory_is_charged(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long before = current->mm->locked_vm;

	KUNIT_ASSERT_EQ(test, 0, claim(f, 0, 600, 0, NULL));
	KUNIT_EXPECT_EQ(test, before + 600, current->mm->locked_vm);
	KUNIT_ASSERT_EQ(test, 0, xpin_pin_user_pages(f->owner, f->addr, 1,
						     f->pages + 600, NULL,
						     NULL));
	KUNIT_EXPECT_EQ(test, before + 600, current->mm->locked_vm);
	xpin_unpin_pages(f->owner, f->pages, 601);
	KUNIT_EXPECT_EQ(test, before, current->mm->locked_vm);
}

static struct kunit_case claim_cases[] = {
	KUNIT_CASE(claim_and_release),
	KUNIT_CASE(foreign_pin_is_busy),
	KUNIT_CASE(claim_waits_for_foreign_pins),
	KUNIT_CASE(a_signal_ends_the_wait),
	KUNIT_CASE(another_owner_is_busy),
	KUNIT_CASE(own_claims_overlap),
	KUNIT_CASE(failed_claim_leaves_the_other),
	KUNIT_CASE(page_mapped_again),
	KUNIT_CASE(share_and_unshare),
	KUNIT_CASE(share_of_a_part_is_still_refused),
	KUNIT_CASE(unreachable_memory),
	KUNIT_CASE(another_mm_is_refused),
	KUNIT_CASE(unknown_flags_are_refused),
	KUNIT_CASE_SLOW(armed_while_claimed),
	KUNIT_CASE(plain_references_are_denied),
	KUNIT_CASE(references_from_before_are_counted),
	KUNIT_CASE_SLOW(get_is_armed_while_denied),
	KUNIT_CASE(locked_memory_is_charged),
	{}
};

static struct kunit_suite claim_suite = {
	.name = "xpin_claim",
	.init = claim_test_init,
	.exit = claim_test_exit,
	.test_cases = claim_cases,
};

kunit_test_suite(claim_suite);
