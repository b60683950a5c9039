// SPDX-License-Identifier: GPL-2.0
/* The registry's own rules, on pages that belong to nobody. */
#include <linux/gfp.h>
#include <linux/sort.h>

#include "common.h"

#define NR	200	/* More than one lock section, and it ends inside one. */

struct fixture {
	struct registry_owner a, b;
	struct folio_pins folios[NR];
};

static int by_pfn(const void *x, const void *y)
{
	const struct folio_pins *a = x, *b = y;

	return folio_pfn(a->folio) < folio_pfn(b->folio) ? -1 : 1;
}

static int registry_test_init(struct kunit *test)
{
	struct fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, f);
	test->priv = f;
	KUNIT_ASSERT_EQ(test, 0, registry_owner_add(&f->a));
	KUNIT_ASSERT_EQ(test, 0, registry_owner_add(&f->b));
	KUNIT_ASSERT_NE(test, f->a.id, f->b.id);
	for (i = 0; i < NR; i++) {
		f->folios[i].folio = folio_alloc(GFP_KERNEL, 0);
		f->folios[i].pins = 1;
		KUNIT_ASSERT_NOT_NULL(test, f->folios[i].folio);
		/* As one FOLL_PIN does. */
		folio_ref_add(f->folios[i].folio, GUP_PIN_COUNTING_BIAS);
	}
	sort(f->folios, NR, sizeof(f->folios[0]), by_pfn, NULL);
	return 0;
}

static void registry_test_exit(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i;

	KUNIT_EXPECT_EQ(test, 0, atomic_long_read(&f->a.entries));
	KUNIT_EXPECT_EQ(test, 0, atomic_long_read(&f->a.pages));
	KUNIT_EXPECT_EQ(test, 0, atomic_long_read(&f->b.entries));
	for (i = 0; i < NR; i++) {
		KUNIT_EXPECT_FALSE(test, filter_has(&f->folios[i].folio->page));
		folio_put_refs(f->folios[i].folio, 1 + GUP_PIN_COUNTING_BIAS);
	}
	registry_owner_remove(&f->a);
	registry_owner_remove(&f->b);
}

static int publish(struct registry_owner *owner, struct folio_pins *folios,
		   unsigned int nr)
{
	unsigned int published;

	return registry_publish(owner, folios, nr,
				REGISTRY_PINS | REGISTRY_EXCL, &published);
}

static void withdraw(struct registry_owner *owner, struct folio_pins *folios,
		     unsigned int nr)
{
	registry_withdraw(owner, folios, nr, REGISTRY_PINS | REGISTRY_EXCL);
}

static void expect_entry(struct kunit *test, struct folio_pins *folio,
			 struct registry_owner *owner, u32 pins, u32 excl,
			 enum xpin_state state)
{
	struct xpin_entry entry = {};

	KUNIT_EXPECT_TRUE(test, filter_has(&folio->folio->page));
	KUNIT_ASSERT_TRUE(test, registry_lookup(folio_pfn(folio->folio),
						&entry));
	KUNIT_EXPECT_EQ(test, owner->id, entry.owner);
	KUNIT_EXPECT_EQ(test, pins, entry.pins);
	KUNIT_EXPECT_EQ(test, excl, entry.excl);
	KUNIT_EXPECT_EQ(test, state, entry.state);
}

static void publish_promote_withdraw(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct xpin_entry entry;
	unsigned long pfn;
	int i;

	KUNIT_ASSERT_EQ(test, 0, publish(&f->a, f->folios, NR));
	KUNIT_EXPECT_EQ(test, NR, atomic_long_read(&f->a.entries));
	KUNIT_EXPECT_EQ(test, NR, atomic_long_read(&f->a.pages));
	for (i = 0; i < NR; i++)
		expect_entry(test, &f->folios[i], &f->a, 1, 1, XPIN_CLAIMING);

	KUNIT_EXPECT_EQ(test, NR, registry_promote(&f->a, f->folios, NR));
	for (i = 0; i < NR; i++)
		expect_entry(test, &f->folios[i], &f->a, 1, 1, XPIN_OWNED);

	withdraw(&f->a, f->folios, NR);
	for (i = 0; i < NR; i++) {
		pfn = folio_pfn(f->folios[i].folio);
		KUNIT_EXPECT_FALSE(test, registry_lookup(pfn, &entry));
	}
}

/* R1: a pin more than the owner's own, and there is no promotion. */
static void promote_looks_at_pins(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct folio *pinned = f->folios[100].folio;

	folio_ref_add(pinned, GUP_PIN_COUNTING_BIAS);
	KUNIT_ASSERT_EQ(test, 0, publish(&f->a, f->folios, NR));
	KUNIT_EXPECT_EQ(test, 100, registry_promote(&f->a, f->folios, NR));
	expect_entry(test, &f->folios[100], &f->a, 1, 1, XPIN_CLAIMING);

	folio_ref_sub(pinned, GUP_PIN_COUNTING_BIAS);
	KUNIT_EXPECT_EQ(test, NR, registry_promote(&f->a, f->folios, NR));
	withdraw(&f->a, f->folios, NR);
}

/* Plain references, 1024 of which look like a pin, don't matter below that. */
static void promote_tolerates_references(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct folio *folio = f->folios[0].folio;

	KUNIT_ASSERT_EQ(test, 0, publish(&f->a, f->folios, 1));
	folio_ref_add(folio, GUP_PIN_COUNTING_BIAS - 1);
	KUNIT_EXPECT_EQ(test, 0, registry_promote(&f->a, f->folios, 1));
	folio_ref_sub(folio, 1);
	KUNIT_EXPECT_EQ(test, 1, registry_promote(&f->a, f->folios, 1));
	folio_ref_sub(folio, GUP_PIN_COUNTING_BIAS - 2);
	withdraw(&f->a, f->folios, 1);
}

/* R1, R3: whoever comes second gets -EBUSY at once, whatever the state. */
static void one_owner_per_folio(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned int published;

	KUNIT_ASSERT_EQ(test, 0, publish(&f->a, &f->folios[150], 1));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			registry_publish(&f->b, f->folios, NR,
					 REGISTRY_PINS | REGISTRY_EXCL,
					 &published));
	KUNIT_EXPECT_EQ(test, 150, published);
	withdraw(&f->b, f->folios, published);

	KUNIT_ASSERT_EQ(test, 1, registry_promote(&f->a, &f->folios[150], 1));
	KUNIT_EXPECT_EQ(test, -EBUSY, publish(&f->b, &f->folios[150], 1));
	registry_withdraw(&f->a, &f->folios[150], 1, REGISTRY_EXCL);
	KUNIT_EXPECT_EQ(test, -EBUSY, publish(&f->b, &f->folios[150], 1));
	registry_withdraw(&f->a, &f->folios[150], 1, REGISTRY_PINS);

	KUNIT_EXPECT_EQ(test, 0, publish(&f->b, &f->folios[150], 1));
	withdraw(&f->b, &f->folios[150], 1);
}

static void own_entries_add_up(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct folio_pins *folio = f->folios;

	KUNIT_ASSERT_EQ(test, 0, publish(&f->a, folio, 1));
	KUNIT_ASSERT_EQ(test, 0, publish(&f->a, folio, 1));
	expect_entry(test, folio, &f->a, 2, 2, XPIN_CLAIMING);
	/* The second pin that was announced is not there yet. */
	KUNIT_EXPECT_EQ(test, 0, registry_promote(&f->a, folio, 1));
	folio_ref_add(folio->folio, GUP_PIN_COUNTING_BIAS);
	KUNIT_EXPECT_EQ(test, 1, registry_promote(&f->a, folio, 1));

	KUNIT_ASSERT_EQ(test, 0, publish(&f->a, folio, 1));
	expect_entry(test, folio, &f->a, 3, 3, XPIN_OWNED);
	withdraw(&f->a, folio, 1);
	expect_entry(test, folio, &f->a, 2, 2, XPIN_OWNED);
	folio_ref_sub(folio->folio, GUP_PIN_COUNTING_BIAS);
	withdraw(&f->a, folio, 1);
	withdraw(&f->a, folio, 1);
}

static void share_and_unshare(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct folio_pins *folio = f->folios;
	unsigned int published;

	KUNIT_EXPECT_EQ(test, -ENOENT,
			registry_publish(&f->a, folio, 1, REGISTRY_EXCL,
					 &published));
	KUNIT_ASSERT_EQ(test, 0, publish(&f->a, folio, 1));
	KUNIT_ASSERT_EQ(test, 1, registry_promote(&f->a, folio, 1));
	registry_withdraw(&f->a, folio, 1, REGISTRY_EXCL);
	expect_entry(test, folio, &f->a, 1, 0, XPIN_SHARED);

	KUNIT_EXPECT_EQ(test, 0, registry_publish(&f->a, folio, 1,
						  REGISTRY_EXCL, &published));
	expect_entry(test, folio, &f->a, 1, 1, XPIN_CLAIMING);
	/* An unshare that fails. */
	registry_withdraw(&f->a, folio, 1, REGISTRY_EXCL);
	expect_entry(test, folio, &f->a, 1, 0, XPIN_SHARED);

	registry_withdraw(&f->a, folio, 1, REGISTRY_PINS);
}

/* R8: only an OWNED entry is counted down, and 0 erases it (R7). */
static void count_down_when_owned(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct folio_pins *folio = f->folios;
	struct xpin_entry entry;

	registry_count_down(folio->folio, 1, 0);
	KUNIT_ASSERT_EQ(test, 0, publish(&f->a, folio, 1));
	registry_count_down(folio->folio, 1, 0);
	expect_entry(test, folio, &f->a, 1, 1, XPIN_CLAIMING);

	KUNIT_ASSERT_EQ(test, 1, registry_promote(&f->a, folio, 1));
	registry_withdraw(&f->a, folio, 1, REGISTRY_EXCL);
	registry_count_down(folio->folio, 1, 0);
	expect_entry(test, folio, &f->a, 1, 0, XPIN_SHARED);
	registry_withdraw(&f->a, folio, 1, REGISTRY_PINS);

	KUNIT_ASSERT_EQ(test, 0, publish(&f->a, folio, 1));
	KUNIT_ASSERT_EQ(test, 1, registry_promote(&f->a, folio, 1));
	KUNIT_ASSERT_EQ(test, 0, publish(&f->a, folio, 1));
	/* Not in a call of the owner's own, but in another owner's. */
	registry_count_down(folio->folio, 1, f->a.id);
	expect_entry(test, folio, &f->a, 2, 2, XPIN_OWNED);
	registry_count_down(folio->folio, 1, f->b.id);
	expect_entry(test, folio, &f->a, 1, 1, XPIN_OWNED);
	registry_count_down(folio->folio, 1, 0);
	KUNIT_EXPECT_FALSE(test, registry_lookup(folio_pfn(folio->folio),
						 &entry));
}

/* A small folio has 1024 references for each pin, a large one a count for it. */
static void too_many_pins(struct kunit *test)
{
	const u32 limits[] = { XPIN_PINS_MAX_SMALL, XPIN_PINS_MAX };
	struct fixture *f = test->priv;
	struct folio_pins one, many;
	struct page *page;
	int i;

	page = alloc_pages(GFP_KERNEL | __GFP_COMP, 1);
	KUNIT_ASSERT_NOT_NULL(test, page);
	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		one = f->folios[0];
		if (i)
			one.folio = page_folio(page);
		many = one;
		many.pins = limits[i];
		KUNIT_EXPECT_EQ(test, 0, publish(&f->a, &many, 1));
		KUNIT_EXPECT_EQ(test, -EOVERFLOW, publish(&f->a, &one, 1));
		expect_entry(test, &many, &f->a, limits[i], limits[i],
			     XPIN_CLAIMING);
		withdraw(&f->a, &many, 1);
	}
	put_page(page);
}

/* The mark belongs to the task that set it. */
static void calls_are_marked(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, 0, registry_call_owner());
	registry_call_begin(&f->b);
	KUNIT_EXPECT_EQ(test, f->b.id, registry_call_owner());
	registry_call_end();
	KUNIT_EXPECT_EQ(test, 0, registry_call_owner());
}

/* What a folio's entry says survives the largest numbers beside it. */
static void deny_get_is_one_bit(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct folio_pins *folio = &f->folios[0];
	struct xpin_entry entry;

	/* The small folio's most, in its count as well. */
	folio->pins = XPIN_PINS_MAX_SMALL;
	folio_ref_add(folio->folio,
		      (XPIN_PINS_MAX_SMALL - 1) * GUP_PIN_COUNTING_BIAS);
	KUNIT_ASSERT_EQ(test, 0, publish(&f->a, f->folios, 2));
	KUNIT_ASSERT_EQ(test, 2, registry_promote(&f->a, f->folios, 2));
	registry_deny_get(&f->a, f->folios, 1);
	registry_deny_get(&f->a, f->folios, 1);
	KUNIT_EXPECT_EQ(test, 1, atomic_long_read(&f->a.deny_get));
	expect_entry(test, folio, &f->a, XPIN_PINS_MAX_SMALL,
		     XPIN_PINS_MAX_SMALL, XPIN_OWNED);
	registry_lookup(folio_pfn(folio->folio), &entry);
	KUNIT_EXPECT_TRUE(test, entry.deny_get);
	registry_lookup(folio_pfn(f->folios[1].folio), &entry);
	KUNIT_EXPECT_FALSE(test, entry.deny_get);

	/* All but one, and the last one. */
	folio->pins--;
	withdraw(&f->a, folio, 1);
	registry_lookup(folio_pfn(folio->folio), &entry);
	KUNIT_EXPECT_TRUE(test, entry.deny_get);
	KUNIT_EXPECT_EQ(test, 1, atomic_long_read(&f->a.deny_get));
	folio->pins = 1;
	withdraw(&f->a, f->folios, 2);
	KUNIT_EXPECT_EQ(test, 0, atomic_long_read(&f->a.deny_get));
	folio_ref_sub(folio->folio,
		      (XPIN_PINS_MAX_SMALL - 1) * GUP_PIN_COUNTING_BIAS);
}

static struct kunit_case registry_cases[] = {
	KUNIT_CASE(publish_promote_withdraw),
	KUNIT_CASE(promote_looks_at_pins),
	KUNIT_CASE(promote_tolerates_references),
	KUNIT_CASE(one_owner_per_folio),
	KUNIT_CASE(own_entries_add_up),
	KUNIT_CASE(share_and_unshare),
	KUNIT_CASE(count_down_when_owned),
	KUNIT_CASE(too_many_pins),
	KUNIT_CASE(deny_get_is_one_bit),
	KUNIT_CASE(calls_are_marked),
	{}
};

static struct kunit_suite registry_suite = {
	.name = "xpin_registry",
	.init = registry_test_init,
	.exit = registry_test_exit,
	.test_cases = registry_cases,
};

kunit_test_suite(registry_suite);
