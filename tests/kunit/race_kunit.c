// SPDX-License-Identifier: GPL-2.0
/*
 * The protocol alone, raced at full speed: what a pinner and a claimer do to a
 * folio's counts, the registry and the guard, on pages that belong to nobody.
 */
#include <linux/gfp.h>
#include <linux/sort.h>

#include "common.h"
#include "guard.h"
#include "race.h"

/* Looks at a count that must come down. Far more than it takes. */
#define PATIENCE	BIT(24)

struct fixture {
	struct race *race;
	struct registry_owner owners[RACE_SIDES];
};

static int by_pfn(const void *x, const void *y)
{
	const struct folio_pins *a = x, *b = y;

	return folio_pfn(a->folio) < folio_pfn(b->folio) ? -1 : 1;
}

/* Small and large folios by turns, in the order in which they are published. */
static void get_folios(struct kunit *test, struct race_slot *slot)
{
	struct page *page;
	int i;

	for (i = 0; i < RACE_FOLIOS; i++) {
		page = alloc_pages(GFP_KERNEL | __GFP_COMP, i % 2 ? 2 : 0);
		KUNIT_ASSERT_NOT_NULL(test, page);
		slot->folios[i].folio = page_folio(page);
		slot->folios[i].pins = 1;
	}
	sort(slot->folios, RACE_FOLIOS, sizeof(slot->folios[0]), by_pfn, NULL);
}

/* R4, R7: no entry and no pin is left. */
static void put_folios(struct kunit *test, struct race_slot *slot)
{
	struct folio *folio;
	int i;

	for (i = 0; i < RACE_FOLIOS; i++) {
		folio = slot->folios[i].folio;
		KUNIT_EXPECT_EQ(test, 0, folio_pins(folio));
		KUNIT_EXPECT_EQ(test, 1, folio_ref_count(folio));
		KUNIT_EXPECT_FALSE(test, filter_has(&folio->page));
		folio_put(folio);
	}
}

static int race_test_init(struct kunit *test)
{
	struct fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, f);
	test->priv = f;
	f->race = race_create(test, RACE_SLOTS);
	for (i = 0; i < RACE_SIDES; i++)
		KUNIT_ASSERT_EQ(test, 0, registry_owner_add(&f->owners[i]));
	for (i = 0; i < RACE_SLOTS; i++)
		get_folios(test, &f->race->slots[i]);
	return 0;
}

static void race_test_exit(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i;

	KUNIT_EXPECT_EQ(test, 0, registry_entries());
	for (i = 0; i < RACE_SLOTS; i++)
		put_folios(test, &f->race->slots[i]);
	for (i = 0; i < RACE_SIDES; i++)
		registry_owner_remove(&f->owners[i]);
}

static void race(struct kunit *test, const struct race_ops *ops)
{
	struct fixture *f = test->priv;

	race_run(f->race, ops, race_rounds);
	race_expect_both(f->race);
}

static void become_owner(struct kunit *test, int id, int owner)
{
	struct fixture *f = test->priv;

	f->race->sides[id].owner = f->owners[owner].id;
}

/* --- What GUP does --- */

static void raise(struct folio *folio)
{
	if (folio_test_large(folio)) {
		folio_ref_inc(folio);
		atomic_inc(&folio->_pincount);
	} else {
		folio_ref_add(folio, GUP_PIN_COUNTING_BIAS);
	}
}

static void lower(struct folio *folio)
{
	if (folio_test_large(folio)) {
		atomic_dec(&folio->_pincount);
		folio_put(folio);
	} else {
		folio_put_refs(folio, GUP_PIN_COUNTING_BIAS);
	}
}

/* The counts go up, a full barrier, the question, and what is refused goes down. */
static void pin(struct race_turn *turn)
{
	struct folio_pins *folios = turn->slot->folios + turn->first;
	struct page *pages[RACE_FOLIOS];
	unsigned int i;

	for (i = 0; i < turn->nr; i++) {
		pages[i] = folio_page(folios[i].folio, 0);
		raise(folios[i].folio);
		race_pause(turn->side);
	}
	smp_mb(); /* pairs with the one in settle() */
	rcu_read_lock();
	turn->held = guard_pin(pages, turn->nr, false);
	rcu_read_unlock();
	turn->side->refused += turn->held < turn->nr;
	for (i = turn->held; i < turn->nr; i++) {
		race_pause(turn->side);
		lower(folios[i].folio);
	}
}

/* As unpin_user_page(). */
static void unpin(struct race_turn *turn)
{
	struct folio_pins *folios = turn->slot->folios + turn->first;
	unsigned int i;

	for (i = 0; i < turn->held; i++) {
		rcu_read_lock();
		guard_unpin(folios[i].folio, 1);
		rcu_read_unlock();
		race_pause(turn->side);
		smp_mb__before_atomic(); /* pairs with registry_promote() */
		lower(folios[i].folio);
	}
	turn->held = 0;
}

/* --- What claim.c does --- */

static struct registry_owner *owner_of(struct race_turn *turn)
{
	struct fixture *f = turn->side->race->test->priv;

	return &f->owners[turn->side->owner == f->owners[1].id];
}

static bool settle(struct race_turn *turn, unsigned int counts,
		   unsigned long patience)
{
	struct folio_pins *folios = turn->slot->folios + turn->first;
	struct registry_owner *owner = owner_of(turn);
	unsigned int published, at = 0;

	if (registry_publish(owner, folios, turn->nr, counts, &published))
		goto withdraw;
	race_pause(turn->side);
	smp_mb(); /* pairs with the one in pin() */
	at = registry_promote(owner, folios, turn->nr);
	while (at < turn->nr && patience--) {
		turn->waited = true;
		race_pause(turn->side);
		cond_resched();
		at += registry_promote(owner, folios + at, turn->nr - at);
	}
	if (at == turn->nr)
		return true;
withdraw:
	race_pause(turn->side);
	registry_withdraw(owner, folios, published, counts);
	return false;
}

static void claim_for(struct race_turn *turn, unsigned long patience)
{
	struct folio_pins *folios = turn->slot->folios + turn->first;
	unsigned int i;

	registry_call_begin(owner_of(turn));
	pin(turn);
	registry_call_end();
	race_pause(turn->side);
	if (turn->held == turn->nr &&
	    settle(turn, REGISTRY_PINS | REGISTRY_EXCL, patience))
		return;
	for (i = 0; i < turn->held; i++)
		lower(folios[i].folio);
	turn->held = 0;
}

static void claim(struct race_turn *turn)
{
	claim_for(turn, 0);
}

static void claim_and_wait(struct race_turn *turn)
{
	claim_for(turn, PATIENCE);
}

static void release(struct race_turn *turn)
{
	struct folio_pins *folios = turn->slot->folios + turn->first;
	unsigned int i;

	registry_withdraw(owner_of(turn), folios, turn->held,
			  REGISTRY_PINS | REGISTRY_EXCL);
	for (i = 0; i < turn->held; i++) {
		race_pause(turn->side);
		lower(folios[i].folio);
	}
	turn->held = 0;
}

static void share(struct race_turn *turn)
{
	registry_withdraw(owner_of(turn), turn->slot->folios + turn->first,
			  turn->held, REGISTRY_EXCL);
}

static void unshare(struct race_turn *turn)
{
	turn->held = settle(turn, REGISTRY_EXCL, 0) ? turn->nr : 0;
}

static void expect_all_held(struct race_turn *turn)
{
	KUNIT_EXPECT_EQ(turn->side->race->test, turn->nr, turn->held);
}

/* --- Races --- */

static const struct race_ops claim_ops = {
	.act = { claim, pin },
	.check = race_check,
	.undo = { release, unpin },
};

/* R1 to R4. */
static void pinner_against_claimer(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long vetoes = guard_vetoes();

	become_owner(test, 0, 0);
	race(test, &claim_ops);
	KUNIT_EXPECT_EQ(test, f->race->sides[1].refused,
			guard_vetoes() - vetoes);
}

static const struct race_ops unshare_ops = {
	.act = { unshare, pin },
	.check = race_check,
	.undo = { share, unpin },
};

/* R1 to R4, when the entries are there before. */
static void pinner_against_unshare(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct race_turn all = {
		.side = &f->race->sides[0],
		.nr = RACE_FOLIOS,
	};
	int i;

	become_owner(test, 0, 0);
	f->race->shared = true;
	for (i = 0; i < RACE_SLOTS; i++) {
		all.slot = &f->race->slots[i];
		claim(&all);
		expect_all_held(&all);
		share(&all);
	}
	race(test, &unshare_ops);
	for (i = 0; i < RACE_SLOTS; i++) {
		all.slot = &f->race->slots[i];
		unshare(&all);
		expect_all_held(&all);
		release(&all);
	}
}

static const struct race_ops claims_ops = {
	.act = { claim, claim },
	.check = race_check,
	.undo = { release, release },
};

/* R1, R3, R4: two owners. */
static void claimer_against_claimer(struct kunit *test)
{
	become_owner(test, 0, 0);
	become_owner(test, 1, 1);
	race(test, &claims_ops);
}

static void check_both_held(struct race_slot *slot)
{
	struct race_turn *turns = slot->turns;

	race_check_folios(slot);
	expect_all_held(&turns[0]);
	expect_all_held(&turns[1]);
	if (turns[0].waited != turns[1].waited)
		race_came_first(slot->race, turns[1].waited);
}

static const struct race_ops own_claims_ops = {
	.act = { claim_and_wait, claim_and_wait },
	.check = check_both_held,
	.undo = { release, release },
};

/* Two threads of one owner wait for each other's pins to be entered. */
static void claims_of_one_owner(struct kunit *test)
{
	become_owner(test, 0, 0);
	become_owner(test, 1, 0);
	race(test, &own_claims_ops);
}

/* A stranger's pins, while nobody claims. */
static void prepare_pinned(struct race_slot *slot)
{
	pin(&slot->turns[1]);
	expect_all_held(&slot->turns[1]);
}

static void check_claimed(struct race_slot *slot)
{
	race_check_folios(slot);
	expect_all_held(&slot->turns[0]);
	race_came_first(slot->race, !slot->turns[0].waited);
}

static const struct race_ops unpin_ops = {
	.prepare = prepare_pinned,
	.act = { claim_and_wait, unpin },
	.check = check_claimed,
	.undo = { release, unpin },
};

/* R6, R8: a stranger's unpin is not taken for the owner's. */
static void unpin_against_claimer(struct kunit *test)
{
	become_owner(test, 0, 0);
	race(test, &unpin_ops);
}

static void prepare_claimed(struct race_slot *slot)
{
	claim(&slot->turns[0]);
	expect_all_held(&slot->turns[0]);
}

/* By the module, or by plain unpins. */
static void release_or_unpin(struct race_turn *turn)
{
	if (turn->slot->turns[1].nr % 2)
		unpin(turn);
	else
		release(turn);
	/* Its end. Pairs with watch_and_pin(). */
	smp_store_release(&turn->slot->ended, true);
}

static void watch_and_pin(struct race_turn *turn)
{
	/* Pairs with release_or_unpin(). */
	bool ended = smp_load_acquire(&turn->slot->ended);

	race_watch(turn->slot);
	race_pause(turn->side);
	race_watch(turn->slot);
	pin(turn);
	/* No veto after the end. */
	if (ended)
		expect_all_held(turn);
}

static void check_released(struct race_slot *slot)
{
	race_check_folios(slot);
	race_check_loser(&slot->turns[1]);
	race_came_first(slot->race, slot->turns[1].held < slot->turns[1].nr);
}

static const struct race_ops release_ops = {
	.prepare = prepare_claimed,
	.act = { release_or_unpin, watch_and_pin },
	.check = check_released,
	.undo = { release, unpin },
};

/* R7, and no veto after the end. */
static void pinner_against_release(struct kunit *test)
{
	become_owner(test, 0, 0);
	race(test, &release_ops);
}

static struct kunit_case race_cases[] = {
	KUNIT_CASE(pinner_against_claimer),
	KUNIT_CASE(pinner_against_unshare),
	KUNIT_CASE(claimer_against_claimer),
	KUNIT_CASE(claims_of_one_owner),
	KUNIT_CASE(unpin_against_claimer),
	KUNIT_CASE(pinner_against_release),
	{}
};

static struct kunit_suite race_suite = {
	.name = "xpin_race",
	.init = race_test_init,
	.exit = race_test_exit,
	.test_cases = race_cases,
};

kunit_test_suite(race_suite);
