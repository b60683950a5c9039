// SPDX-License-Identifier: GPL-2.0
/* What strangers, owners and interrupts are told. */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

#include "common.h"
#include "guard.h"

#define NR	4

struct fixture {
	struct xpin_owner *owner;
	unsigned long addr;
	struct page *pages[NR];
};

/* As the notifier calls the guard. */
static unsigned int ask_pin(struct page **pages, unsigned int nr)
{
	unsigned int ret;

	rcu_read_lock();
	ret = guard_pin(pages, nr, false);
	rcu_read_unlock();
	return ret;
}

static unsigned int ask_get(struct page **pages, unsigned int nr)
{
	unsigned int ret;

	rcu_read_lock();
	ret = guard_pin(pages, nr, true);
	rcu_read_unlock();
	return ret;
}

static bool ask_peek(struct page *page)
{
	bool ret;

	rcu_read_lock();
	ret = guard_peek(page);
	rcu_read_unlock();
	return ret;
}

static void tell_unpin(struct folio *folio, unsigned int refs)
{
	rcu_read_lock();
	guard_unpin(folio, refs);
	rcu_read_unlock();
}

/* Page 2 of 4 is owned. */
static int guard_test_init(struct kunit *test)
{
	struct fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, f);
	test->priv = f;
	f->addr = map_anon(test, NR);
	f->owner = make_owner(test, XPIN_OWNER_PLAIN_UNPIN);
	for (i = 0; i < NR; i++) {
		f->pages[i] = stranger_pin(test, f->addr + i * PAGE_SIZE);
		unpin_user_page(f->pages[i]);
	}
	KUNIT_ASSERT_EQ(test, 0,
			xpin_pin_user_pages(f->owner, f->addr + 2 * PAGE_SIZE,
					    1, &f->pages[2], NULL, NULL));
	return 0;
}

static void guard_test_exit(struct kunit *test)
{
	struct fixture *f = test->priv;

	if (registry_entries())
		xpin_unpin_pages(f->owner, &f->pages[2], 1);
	KUNIT_EXPECT_EQ(test, 0, registry_entries());
	xpin_owner_destroy(f->owner);
}

static void strangers_stop_at_the_owned_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long vetoes = guard_vetoes();

	KUNIT_EXPECT_EQ(test, 2, ask_pin(f->pages, NR));
	KUNIT_EXPECT_EQ(test, vetoes + 1, guard_vetoes());
	KUNIT_EXPECT_EQ(test, 0, ask_pin(&f->pages[2], 1));
	KUNIT_EXPECT_EQ(test, 1, ask_pin(&f->pages[3], 1));
	KUNIT_EXPECT_FALSE(test, ask_peek(f->pages[2]));
	KUNIT_EXPECT_TRUE(test, ask_peek(f->pages[1]));
}

/* R11: for a folio that has no bit nobody looks any further. */
static void the_filter_is_asked_first(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long pfn = page_to_pfn(f->pages[2]), *section;

	rcu_read_lock();
	section = registry_filter_section(rcu_dereference(registry_filter_table),
					  pfn);
	rcu_read_unlock();
	KUNIT_ASSERT_NOT_NULL(test, section);
	clear_bit(pfn & (REGISTRY_FILTER_BITS - 1), section);
	KUNIT_EXPECT_EQ(test, NR, ask_pin(f->pages, NR));
	set_bit(pfn & (REGISTRY_FILTER_BITS - 1), section);
	KUNIT_EXPECT_EQ(test, 2, ask_pin(f->pages, NR));
}

static void shared_pages_let_strangers_in(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, 0, xpin_share_pages(f->owner, &f->pages[2], 1));
	KUNIT_EXPECT_EQ(test, NR, ask_pin(f->pages, NR));
	KUNIT_EXPECT_TRUE(test, ask_peek(f->pages[2]));
	xpin_unpin_shared_pages(f->owner, &f->pages[2], 1);
}

/* R2: the owner's own calls may, another owner's may not. */
static void only_the_owner_may_add_pins(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct registry_owner me = { .id = xpin_owner_id(f->owner) };
	struct registry_owner other = { .id = me.id + 1 };

	registry_call_begin(&other);
	KUNIT_EXPECT_EQ(test, 2, ask_pin(f->pages, NR));
	registry_call_end();
	registry_call_begin(&me);
	KUNIT_EXPECT_EQ(test, NR, ask_pin(f->pages, NR));
	KUNIT_EXPECT_TRUE(test, ask_peek(f->pages[2]));
	registry_call_end();
}

/* R10: pins are another matter, and the module itself may look. */
static void references_stop_where_they_are_denied(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct registry_owner other = { .id = xpin_owner_id(f->owner) + 1 };
	unsigned long vetoes = guard_vetoes();

	KUNIT_EXPECT_EQ(test, NR, ask_get(f->pages, NR));
	KUNIT_EXPECT_EQ(test, vetoes, guard_vetoes());

	xpin_deny_get_pages(f->owner, &f->pages[2], 1);
	KUNIT_EXPECT_EQ(test, 2, ask_get(f->pages, NR));
	KUNIT_EXPECT_EQ(test, vetoes + 1, guard_vetoes());
	KUNIT_EXPECT_EQ(test, 1, ask_get(&f->pages[3], 1));
	KUNIT_EXPECT_EQ(test, 2, ask_pin(f->pages, NR));
	registry_call_begin(&other);
	KUNIT_EXPECT_EQ(test, NR, ask_get(f->pages, NR));
	KUNIT_EXPECT_EQ(test, 2, ask_pin(f->pages, NR));
	registry_call_end();
	KUNIT_EXPECT_EQ(test, 2, ask_get(f->pages, NR));
}

/* As long as anything of the folio is exclusive, and no longer. */
static void references_are_denied_while_exclusive(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *again;

	xpin_deny_get_pages(f->owner, &f->pages[2], 1);
	KUNIT_ASSERT_EQ(test, 0,
			xpin_pin_user_pages(f->owner, f->addr + 2 * PAGE_SIZE,
					    1, &again, NULL, NULL));
	KUNIT_EXPECT_EQ(test, 0, ask_get(&again, 1));
	xpin_unpin_pages(f->owner, &f->pages[2], 1);
	KUNIT_EXPECT_EQ(test, 0, ask_get(&again, 1));

	KUNIT_EXPECT_EQ(test, 0, xpin_share_pages(f->owner, &again, 1));
	KUNIT_EXPECT_EQ(test, 1, ask_get(&again, 1));
	KUNIT_EXPECT_EQ(test, 0, xpin_unshare_pages(f->owner, &again, 1, NULL,
						    NULL));
	KUNIT_EXPECT_EQ(test, 0, ask_pin(&again, 1));
	KUNIT_EXPECT_EQ(test, 1, ask_get(&again, 1));
	xpin_deny_get_pages(f->owner, &again, 1);
	KUNIT_EXPECT_EQ(test, 0, ask_get(&again, 1));

	/* By which a plain unpin is no worse than the others. */
	unpin_user_page(again);
	KUNIT_EXPECT_EQ(test, 1, ask_get(&again, 1));
	KUNIT_ASSERT_EQ(test, 0,
			xpin_pin_user_pages(f->owner, f->addr + 2 * PAGE_SIZE,
					    1, &f->pages[2], NULL, NULL));
	KUNIT_EXPECT_EQ(test, 1, ask_get(&f->pages[2], 1));
}

/* R6: who peeks stays away from what a claim can't pin yet, and nothing else. */
static void wanted_pages_are_left_alone(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct registry_owner other = { .id = xpin_owner_id(f->owner) + 1 };
	unsigned long vetoes = guard_vetoes();

	registry_want(page_folio(f->pages[1]));
	KUNIT_EXPECT_FALSE(test, ask_peek(f->pages[1]));
	KUNIT_EXPECT_EQ(test, vetoes + 1, guard_vetoes());
	KUNIT_EXPECT_TRUE(test, ask_peek(f->pages[0]));
	KUNIT_EXPECT_TRUE(test, ask_peek(f->pages[3]));
	/* It is advice: whoever has not peeked is not refused. */
	KUNIT_EXPECT_EQ(test, 2, ask_pin(f->pages, 2));

	/* Claims of all owners: their entries decide who gets it. */
	registry_call_begin(&other);
	KUNIT_EXPECT_TRUE(test, ask_peek(f->pages[1]));
	registry_call_end();

	registry_want_nothing();
	KUNIT_EXPECT_TRUE(test, ask_peek(f->pages[1]));
}

/* The PFN of a wanted folio that was freed may stand for anything. */
static void wanted_is_a_folio_in_its_place(struct kunit *test)
{
	struct page *page = alloc_page(GFP_KERNEL);
	struct folio *folio = page_folio(page);
	struct address_space mappings[2];

	KUNIT_ASSERT_NOT_NULL(test, page);
	folio->mapping = &mappings[0];
	folio->index = 5;
	registry_want(folio);
	KUNIT_EXPECT_FALSE(test, ask_peek(page));
	folio->index = 6;
	KUNIT_EXPECT_TRUE(test, ask_peek(page));
	folio->index = 5;
	folio->mapping = &mappings[1];
	KUNIT_EXPECT_TRUE(test, ask_peek(page));
	folio->mapping = &mappings[0];
	KUNIT_EXPECT_FALSE(test, ask_peek(page));
	registry_want_nothing();

	folio->mapping = NULL;
	__free_page(page);
}

/* Who is held up does not keep strangers away for ever. */
static void wanted_is_forgotten(struct kunit *test)
{
	struct fixture *f = test->priv;

	registry_want(page_folio(f->pages[0]));
	KUNIT_EXPECT_FALSE(test, ask_peek(f->pages[0]));
	msleep(2 * MSEC_PER_SEC + 100);
	KUNIT_EXPECT_TRUE(test, ask_peek(f->pages[0]));
	registry_want(page_folio(f->pages[0]));
	KUNIT_EXPECT_FALSE(test, ask_peek(f->pages[0]));
	registry_want_nothing();
}

struct other_task {
	struct work_struct work;
	struct folio *folio;
	struct completion wants;
	struct completion go_on;
};

static void want_too(struct work_struct *work)
{
	struct other_task *other = container_of(work, struct other_task, work);

	registry_want(other->folio);
	complete(&other->wants);
	wait_for_completion(&other->go_on);
	registry_want_nothing();
}

/* Tasks take back what they wanted themselves, of the same folio the last one. */
static void other_tasks_go_on_wanting(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct other_task other = { .folio = page_folio(f->pages[0]) };

	INIT_WORK_ONSTACK(&other.work, want_too);
	init_completion(&other.wants);
	init_completion(&other.go_on);
	registry_want(page_folio(f->pages[0]));
	registry_want(page_folio(f->pages[1]));
	schedule_work(&other.work);
	wait_for_completion(&other.wants);

	registry_want_nothing();
	KUNIT_EXPECT_FALSE(test, ask_peek(f->pages[0]));
	KUNIT_EXPECT_TRUE(test, ask_peek(f->pages[1]));

	complete(&other.go_on);
	flush_work(&other.work);
	destroy_work_on_stack(&other.work);
	KUNIT_EXPECT_TRUE(test, ask_peek(f->pages[0]));
}

struct asker {
	struct timer_list timer;
	struct page *page;
	unsigned int answer;
	unsigned int get_answer;
	bool asked;
};

static void ask(struct timer_list *timer)
{
	struct asker *asker = container_of(timer, struct asker, timer);

	asker->answer = ask_pin(&asker->page, 1);
	asker->get_answer = ask_get(&asker->page, 1);
	/* The answer first. Pairs with the loop that waits for it. */
	smp_store_release(&asker->asked, true);
}

/* An interrupt during an owner's call is a stranger. */
static void interrupts_are_strangers(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct registry_owner me = { .id = xpin_owner_id(f->owner) };
	struct asker *asker = kunit_kzalloc(test, sizeof(*asker), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, asker);
	asker->page = f->pages[2];
	asker->answer = 99;
	asker->get_answer = 99;

	xpin_deny_get_pages(f->owner, &f->pages[2], 1);
	timer_setup(&asker->timer, ask, TIMER_PINNED);
	registry_call_begin(&me);
	/* No schedule(): the timer must come on top of this task. */
	preempt_disable();
	mod_timer(&asker->timer, jiffies + 1);
	while (!smp_load_acquire(&asker->asked)) /* pairs with ask() */
		cpu_relax();
	preempt_enable();
	registry_call_end();
	KUNIT_EXPECT_EQ(test, 0, asker->answer);
	KUNIT_EXPECT_EQ(test, 0, asker->get_answer);
	timer_delete_sync(&asker->timer);
}

/* R8: a plain unpin by the owner counts, one of the module's own does not. */
static void plain_unpin_ends_ownership(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct registry_owner me = { .id = xpin_owner_id(f->owner) };
	struct xpin_entry entry;

	registry_call_begin(&me);
	tell_unpin(page_folio(f->pages[2]), 1);
	registry_call_end();
	KUNIT_ASSERT_TRUE(test, entry_of(f->pages[2], &entry));
	KUNIT_EXPECT_EQ(test, 1, entry.pins);

	/* Not owned: nothing to count. */
	tell_unpin(page_folio(f->pages[1]), 1);

	unpin_user_page(f->pages[2]);
	KUNIT_EXPECT_FALSE(test, entry_of(f->pages[2], &entry));
}

/* R8: a refused pin is put back silently, however often. */
static void vetoes_leave_the_owner_alone(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct xpin_entry entry;
	int i;

	for (i = 0; i < 100; i++)
		expect_refused(test, f->addr + 2 * PAGE_SIZE);
	KUNIT_ASSERT_TRUE(test, entry_of(f->pages[2], &entry));
	KUNIT_EXPECT_EQ(test, 1, entry.pins);
	KUNIT_EXPECT_EQ(test, XPIN_OWNED, entry.state);
}

/* R9: a short count. */
static void later_pages_make_a_short_count(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *pages[NR];
	long before = pins_outstanding();

	KUNIT_EXPECT_EQ(test, 2, pin_user_pages_fast(f->addr, NR, FOLL_WRITE,
						     pages));
	KUNIT_EXPECT_PTR_EQ(test, pages[1], f->pages[1]);
	unpin_user_pages(pages, 2);
	KUNIT_EXPECT_EQ(test, before, pins_outstanding());
}

static struct kunit_case guard_cases[] = {
	KUNIT_CASE(strangers_stop_at_the_owned_page),
	KUNIT_CASE(the_filter_is_asked_first),
	KUNIT_CASE(shared_pages_let_strangers_in),
	KUNIT_CASE(only_the_owner_may_add_pins),
	KUNIT_CASE(references_stop_where_they_are_denied),
	KUNIT_CASE(references_are_denied_while_exclusive),
	KUNIT_CASE(wanted_pages_are_left_alone),
	KUNIT_CASE(wanted_is_a_folio_in_its_place),
	KUNIT_CASE(wanted_is_forgotten),
	KUNIT_CASE(other_tasks_go_on_wanting),
	KUNIT_CASE(interrupts_are_strangers),
	KUNIT_CASE(plain_unpin_ends_ownership),
	KUNIT_CASE(vetoes_leave_the_owner_alone),
	KUNIT_CASE(later_pages_make_a_short_count),
	{}
};

static struct kunit_suite guard_suite = {
	.name = "xpin_guard",
	.init = guard_test_init,
	.exit = guard_test_exit,
	.test_cases = guard_cases,
};

kunit_test_suite(guard_suite);
