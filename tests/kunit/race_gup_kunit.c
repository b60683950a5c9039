// SPDX-License-Identifier: GPL-2.0
/* The races again with GUP itself, on a mapped memfd, against the API. */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/mman.h>

#include "backend.h"
#include "common.h"
#include "race.h"

/* What GUP is called for takes longer than the protocol alone ... */
#define GUP_SLOWER	10
/* ... and arming waits for a grace period. */
#define ARM_SLOWER	200

struct fixture {
	struct race *race;
	struct xpin_owner *owners[RACE_SIDES];
	struct file *memfd;
	unsigned long addr;
	unsigned long disarmed;
	long pins;
};

/* The folios stay the same: nothing here swaps or migrates them. */
static int race_gup_test_init(struct kunit *test)
{
	struct fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	struct page *page;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, f);
	test->priv = f;
	f->race = race_create(test, 1);
	f->memfd = make_memfd(test, RACE_FOLIOS);
	f->addr = kunit_vm_mmap(test, f->memfd, 0, RACE_FOLIOS * PAGE_SIZE,
				PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	KUNIT_ASSERT_NE(test, 0, f->addr);
	f->race->mm = current->mm;
	for (i = 0; i < RACE_FOLIOS; i++) {
		page = stranger_pin(test, f->addr + i * PAGE_SIZE);
		f->race->slots[0].folios[i].folio = page_folio(page);
		f->race->slots[0].folios[i].pins = 1;
		folio_get(page_folio(page));
		unpin_user_page(page);
	}
	f->pins = pins_outstanding();
	return 0;
}

/* R4, R7: no owner, no entry and no pin is left. */
static void race_gup_test_exit(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i;

	for (i = 0; i < RACE_SIDES; i++)
		if (f->owners[i])
			xpin_owner_destroy(f->owners[i]);
	KUNIT_EXPECT_EQ(test, 0, registry_owners());
	KUNIT_EXPECT_EQ(test, 0, registry_entries());
	KUNIT_EXPECT_EQ(test, f->pins, pins_outstanding());
	for (i = 0; i < RACE_FOLIOS; i++) {
		KUNIT_EXPECT_EQ(test, 0, folio_pins(f->race->slots[0].folios[i].folio));
		folio_put(f->race->slots[0].folios[i].folio);
	}
}

static struct fixture *fixture_of(struct race_turn *turn)
{
	return turn->side->race->test->priv;
}

static void race_gup(struct kunit *test, const struct race_ops *ops,
		     unsigned int slower)
{
	struct fixture *f = test->priv;

	race_run(f->race, ops, race_rounds / slower);
	race_expect_both(f->race);
}

static void become_owner(struct kunit *test, int id, unsigned int flags)
{
	struct fixture *f = test->priv;

	f->owners[id] = make_owner(test, flags);
	f->race->sides[id].owner = xpin_owner_id(f->owners[id]);
}

/* Without the locks of a page table, which pins by address share with claims. */
static long pin_memfd(struct race_turn *turn)
{
	loff_t start = turn->first * PAGE_SIZE;
	struct folio *folios[RACE_FOLIOS];
	pgoff_t offset;
	long ret, i;

	ret = memfd_pin_folios(fixture_of(turn)->memfd, start,
			       start + turn->nr * PAGE_SIZE - 1, folios,
			       turn->nr, &offset);
	for (i = 0; i < ret; i++)
		turn->pages[i] = &folios[i]->page;
	return ret;
}

/* R9: a short count or -EBUSY, nothing else. */
static void pin(struct race_turn *turn)
{
	unsigned long addr = fixture_of(turn)->addr + turn->first * PAGE_SIZE;
	u32 way = prandom_u32_state(&turn->side->random) % 4;
	long ret;

	turn->all_or_nothing = HAVE_MEMFD_PIN_FOLIOS && way > 1;
	if (turn->all_or_nothing)
		ret = pin_memfd(turn);
	else if (way)
		ret = pin_user_pages_unlocked(addr, turn->nr, turn->pages,
					      FOLL_WRITE);
	else
		ret = pin_user_pages_fast(addr, turn->nr,
					  FOLL_WRITE | FOLL_LONGTERM,
					  turn->pages);
	if (ret <= 0)
		KUNIT_EXPECT_EQ(turn->side->race->test, -EBUSY, ret);
	turn->held = max(ret, 0L);
	turn->side->refused += turn->held < turn->nr;
}

static void unpin(struct race_turn *turn)
{
	unpin_user_pages(turn->pages, turn->held);
	turn->held = 0;
}

static void claim_for(struct race_turn *turn, u64 *timeout_ns)
{
	struct fixture *f = fixture_of(turn);
	struct xpin_owner *owner = f->owners[turn->side->id];
	unsigned long start = turn->first * PAGE_SIZE;
	unsigned long busy;
	int ret;

	if (HAVE_MEMFD_PIN_FOLIOS && prandom_u32_state(&turn->side->random) % 2)
		ret = xpin_pin_memfd(owner, f->memfd, start, turn->nr,
				     turn->pages, timeout_ns, &busy);
	else
		ret = xpin_pin_user_pages(owner, f->addr + start, turn->nr,
					  turn->pages, timeout_ns, &busy);
	if (ret) {
		KUNIT_EXPECT_EQ(turn->side->race->test, -EBUSY, ret);
		KUNIT_EXPECT_LT(turn->side->race->test, busy, turn->nr);
	}
	turn->held = ret ? 0 : turn->nr;
}

static void claim(struct race_turn *turn)
{
	claim_for(turn, NULL);
}

static void release(struct race_turn *turn)
{
	xpin_unpin_pages(fixture_of(turn)->owners[turn->side->id], turn->pages,
			 turn->held);
	turn->held = 0;
}

/* By the module, or by plain unpins. */
static void release_or_unpin(struct race_turn *turn)
{
	if (turn->side->race->rounds % 2)
		unpin(turn);
	else
		release(turn);
}

/* R2: from now on, too, a stranger gets what the owner does not have. */
static void check_refused(struct race_slot *slot)
{
	struct fixture *f = slot->race->test->priv;
	const struct race_turn *owner = &slot->turns[0];
	struct page *pages[RACE_FOLIOS];
	long expected, ret;

	expected = owner->held ? owner->first : RACE_FOLIOS;
	ret = pin_user_pages_unlocked(f->addr, RACE_FOLIOS, pages, FOLL_WRITE);
	KUNIT_EXPECT_EQ(slot->race->test, expected ?: -EBUSY, ret);
	if (ret > 0)
		unpin_user_pages(pages, ret);
}

/* --- Races --- */

static void check_claim(struct race_slot *slot)
{
	race_check(slot);
	check_refused(slot);
}

static const struct race_ops claim_ops = {
	.act = { claim, pin },
	.check = check_claim,
	.undo = { release_or_unpin, unpin },
};

/* R1 to R4. */
static void pins_against_claims(struct kunit *test)
{
	become_owner(test, 0, XPIN_OWNER_PLAIN_UNPIN);
	race_gup(test, &claim_ops, GUP_SLOWER);
}

static const struct race_ops claims_ops = {
	.act = { claim, claim },
	.check = race_check,
	.undo = { release, release },
};

/* R1, R3, R4: two owners. */
static void claims_against_claims(struct kunit *test)
{
	become_owner(test, 0, 0);
	become_owner(test, 1, 0);
	race_gup(test, &claims_ops, GUP_SLOWER);
}

static void claim_and_wait(struct race_turn *turn)
{
	u64 timeout_ns = WAIT_NS;

	claim_for(turn, &timeout_ns);
	turn->waited = timeout_ns != WAIT_NS;
	/* Ends the stream. Pairs with pin_on_and_on(). */
	smp_store_release(&turn->slot->ended, true);
}

static void pin_on_and_on(struct race_turn *turn)
{
	do {
		pin(turn);
		race_pause(turn->side);
		unpin(turn);
		/* Pairs with claim_and_wait(). */
	} while (!smp_load_acquire(&turn->slot->ended));
}

static void check_won(struct race_slot *slot)
{
	KUNIT_EXPECT_EQ(slot->race->test, slot->turns[0].nr, slot->turns[0].held);
	race_check_folios(slot);
	check_refused(slot);
	race_came_first(slot->race, slot->turns[0].waited);
}

static const struct race_ops stream_ops = {
	.act = { claim_and_wait, pin_on_and_on },
	.check = check_won,
	.undo = { release, unpin },
};

/* R6: who waits wins, however many short pins there are. */
static void claims_against_a_stream_of_pins(struct kunit *test)
{
	become_owner(test, 0, 0);
	race_gup(test, &stream_ops, GUP_SLOWER);
}

/* Disarming has begun with the last release; half of the rounds see its end. */
static void prepare_arming(struct race_slot *slot)
{
	struct fixture *f = slot->race->test->priv;
	unsigned int tries = 10000;

	if (slot->race->rounds % 2)
		while (backend_armed() && --tries)
			usleep_range(20, 40);
	f->disarmed += !backend_armed();
}

static void claim_and_tell(struct race_turn *turn)
{
	claim(turn);
	/* Its end. Pairs with pin_often(). */
	smp_store_release(&turn->slot->ended, true);
}

/* Before, during and after a grace period. Holds the last pin. */
static void pin_often(struct race_turn *turn)
{
	u32 random = prandom_u32_state(&turn->side->random);
	unsigned long times = BIT(random % 16);

	do {
		unpin(turn);
		pin(turn);
		/* Pairs with claim_and_tell(). */
	} while (--times && !smp_load_acquire(&turn->slot->ended));
}

/* The disarming that began before this claim is over, and has done nothing. */
static void check_armed(struct race_slot *slot)
{
	usleep_range(20, 40);
	check_claim(slot);
}

static const struct race_ops arming_ops = {
	.prepare = prepare_arming,
	.act = { claim_and_tell, pin_often },
	.check = check_armed,
	.undo = { release, unpin },
};

/* R3, also for the pins that nobody was asked about. */
static void pins_against_arming(struct kunit *test)
{
	unsigned long delay = backend_disarm_delay;
	struct fixture *f = test->priv;

	become_owner(test, 0, 0);
	backend_disarm_delay = 0;
	race_gup(test, &arming_ops, ARM_SLOWER);
	backend_disarm_delay = delay;
	kunit_info(test, "disarmed before %lu rounds\n", f->disarmed);
	KUNIT_EXPECT_NE(test, 0, f->disarmed);
}

static void prepare_death(struct race_slot *slot)
{
	become_owner(slot->race->test, 0,
		     slot->race->rounds & 2 ? XPIN_OWNER_PLAIN_UNPIN : 0);
	claim(&slot->turns[0]);
	KUNIT_EXPECT_EQ(slot->race->test, slot->turns[0].nr, slot->turns[0].held);
}

static void die(struct race_turn *turn)
{
	struct fixture *f = fixture_of(turn);

	release(turn);
	xpin_owner_destroy(f->owners[0]);
	f->owners[0] = NULL;
	/* Its end. Pairs with pin_until_dead(). */
	smp_store_release(&turn->slot->ended, true);
}

static void pin_until_dead(struct race_turn *turn)
{
	bool dead;

	do {
		unpin(turn);
		race_pause(turn->side);
		race_watch(turn->slot);
		/* Pairs with die(). */
		dead = smp_load_acquire(&turn->slot->ended);
		pin(turn);
		if (turn->held < turn->nr)
			turn->waited = true;
	} while (!dead);
	/* No veto after the end. */
	KUNIT_EXPECT_EQ(turn->side->race->test, turn->nr, turn->held);
}

static void check_dead(struct race_slot *slot)
{
	race_check_folios(slot);
	KUNIT_EXPECT_EQ(slot->race->test, 0, registry_entries());
	KUNIT_EXPECT_EQ(slot->race->test, 0, registry_owners());
	race_came_first(slot->race, slot->turns[1].waited);
}

static void nothing(struct race_turn *turn)
{
}

static const struct race_ops death_ops = {
	.prepare = prepare_death,
	.act = { die, pin_until_dead },
	.check = check_dead,
	.undo = { nothing, unpin },
};

/* R7, R8: all of it ends, in time. */
static void pins_against_owner_death(struct kunit *test)
{
	race_gup(test, &death_ops, GUP_SLOWER);
}

static struct kunit_case race_gup_cases[] = {
	KUNIT_CASE(pins_against_claims),
	KUNIT_CASE(claims_against_claims),
	KUNIT_CASE(claims_against_a_stream_of_pins),
	KUNIT_CASE(pins_against_arming),
	KUNIT_CASE(pins_against_owner_death),
	{}
};

static struct kunit_suite race_gup_suite = {
	.name = "xpin_race_gup",
	.init = race_gup_test_init,
	.exit = race_gup_test_exit,
	.test_cases = race_gup_cases,
};

kunit_test_suite(race_gup_suite);
