// SPDX-License-Identifier: GPL-2.0
/*
 * Two threads that race for folios, in rounds: both act at once, and then it is
 * seen what each of them got. A round can only end in one of the ways that the
 * rules allow, however the threads interleaved, so nothing here depends on time.
 */
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>

#include "common.h"
#include "race.h"

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX	"xpin_race."

/*
 * How often to look whether the other side is there. It comes within
 * microseconds, unless its processor is a virtual one that does not run now.
 */
#define MEET_LOOKS	500
#define MAX_HANDICAP	500

unsigned long race_rounds = 20000;
module_param_named(rounds, race_rounds, ulong, 0444);
MODULE_PARM_DESC(rounds, "Rounds of each race of the protocol alone (default 20000)");

static void spin(unsigned int times)
{
	while (times--)
		cpu_relax();
}

static bool has_reached(const unsigned int *other, unsigned int count)
{
	/* What it did before. Pairs with advance(). */
	return (int)(smp_load_acquire(other) - count) >= 0;
}

/* Returns whether the other side was seen to be there, too. */
static bool advance(struct race_side *side, unsigned int *mine,
		    const unsigned int *other)
{
	struct race *race = side->race;
	unsigned int looks = race->cpus > 1 ? MEET_LOOKS : 0;
	unsigned int count = *mine + 1;

	/* What this side did comes before. Pairs with has_reached(). */
	smp_store_release(mine, count);
	if (wq_has_sleeper(&race->wait))
		wake_up(&race->wait);
	while (looks-- && !has_reached(other, count)) {
		cpu_relax();
		cond_resched();
	}
	return has_reached(other, count);
}

/* Go on when the other side is here, too. */
static void meet(struct race_side *side)
{
	struct race_side *other = &side->race->sides[!side->id];

	if (!advance(side, &side->met, &other->met))
		wait_event(side->race->wait,
			   has_reached(&other->met, side->met));
}

/*
 * Begin a round together with the other side; but where it does not run, don't
 * wait for it. The side that came first in the past is held up a little.
 */
static void begin(struct race_side *side)
{
	struct race_side *other = &side->race->sides[!side->id];
	int handicap = side->id ? side->race->handicap : -side->race->handicap;

	if (!advance(side, &side->begun, &other->begun) &&
	    side->race->cpus == 1)
		wait_event(side->race->wait,
			   has_reached(&other->begun, side->begun));
	if (handicap > 0 && side->race->cpus > 1)
		spin(prandom_u32_state(&side->random) % handicap);
}

/**
 * race_pause() - let the other side go on for a moment, of random length
 * @side: which pauses
 *
 * Between the steps of the protocol. Where there is but one processor, nothing
 * else would ever come between them.
 *
 * Context: may sleep.
 */
void race_pause(struct race_side *side)
{
	u32 random = prandom_u32_state(&side->random) % 32;

	if (side->race->cpus > 1)
		spin(random);
	else if (random < 8)
		usleep_range(20, 40);
}

/* Part of the folios for each side. */
static void prepare(struct race_slot *slot)
{
	struct race *race = slot->race;
	struct rnd_state *random = &race->sides[0].random;
	struct race_turn *turn;

	slot->ended = false;
	for (turn = slot->turns; turn < slot->turns + RACE_SIDES; turn++) {
		turn->first = prandom_u32_state(random) % RACE_FOLIOS;
		turn->nr = 1 + prandom_u32_state(random) %
			       (RACE_FOLIOS - turn->first);
		turn->held = 0;
		turn->waited = false;
	}
	if (race->ops->prepare)
		race->ops->prepare(slot);
}

/**
 * race_came_first() - keep the race close
 * @race: which it is
 * @id: of the side that came first in a round
 *
 * The other one starts a little earlier next time, so that the two meet in all
 * of their steps, however long those take.
 */
void race_came_first(struct race *race, int id)
{
	race->first[id]++;
	race->handicap = clamp(race->handicap + (id ? 1 : -1),
			       -MAX_HANDICAP, MAX_HANDICAP);
}

static int race_thread(void *data)
{
	struct race_side *side = data;
	struct race *race = side->race;
	const struct race_ops *ops = race->ops;
	const unsigned int id = side->id;
	struct race_slot *slot, *end = race->slots + race->nr_slots;

	if (race->mm)
		kthread_use_mm(race->mm);
	for (;;) {
		if (!id)
			race->stop = race->rounds >= race->wanted ||
				     race->test->status != KUNIT_SUCCESS;
		for (slot = race->slots; !id && !race->stop && slot < end; slot++)
			prepare(slot);
		meet(side);
		if (race->stop)
			break;
		for (slot = race->slots; slot < end; slot++) {
			begin(side);
			ops->act[id](&slot->turns[id]);
		}
		meet(side);
		for (slot = race->slots; !id && slot < end; slot++) {
			ops->check(slot);
			race->rounds++;
		}
		meet(side);
		for (slot = race->slots; slot < end; slot++)
			ops->undo[id](&slot->turns[id]);
		meet(side);
	}
	if (race->mm)
		kthread_unuse_mm(race->mm);
	complete(&race->done);
	return 0;
}

/**
 * race_create() - make a race that still lacks folios
 * @test: what it is for
 * @nr_slots: rounds that are run before it is checked how they ended, at most
 *	RACE_SLOTS
 *
 * Return: the race; it goes with the test.
 */
struct race *race_create(struct kunit *test, unsigned int nr_slots)
{
	struct race *race = kunit_kzalloc(test, sizeof(*race), GFP_KERNEL);
	unsigned int i, id;

	KUNIT_ASSERT_NOT_NULL(test, race);
	race->test = test;
	race->nr_slots = nr_slots;
	race->cpus = min_t(unsigned int, num_online_cpus(), RACE_SIDES);
	init_waitqueue_head(&race->wait);
	init_completion(&race->done);
	for (id = 0; id < RACE_SIDES; id++) {
		race->sides[id].race = race;
		race->sides[id].id = id;
	}
	for (i = 0; i < nr_slots; i++) {
		race->slots[i].race = race;
		for (id = 0; id < RACE_SIDES; id++) {
			race->slots[i].turns[id].side = &race->sides[id];
			race->slots[i].turns[id].slot = &race->slots[i];
		}
	}
	return race;
}

/**
 * race_run() - let both sides race to the end
 * @race: with folios
 * @ops: what they do
 * @rounds: how often at least
 */
void race_run(struct race *race, const struct race_ops *ops,
	      unsigned long rounds)
{
	struct task_struct *threads[RACE_SIDES];
	int id, cpu = -1;

	race->ops = ops;
	race->wanted = rounds;
	for (id = 0; id < RACE_SIDES; id++) {
		prandom_seed_state(&race->sides[id].random, id + 1);
		threads[id] = kthread_create(race_thread, &race->sides[id],
					     "xpin_race/%d", id);
		if (IS_ERR(threads[id]))
			break;
		if (id < race->cpus)
			cpu = cpumask_next(cpu, cpu_online_mask);
		kthread_bind(threads[id], cpu);
	}
	if (id < RACE_SIDES) {
		KUNIT_EXPECT_EQ(race->test, 0, PTR_ERR(threads[id]));
		while (id--)
			kthread_stop(threads[id]);
		return;
	}
	for (id = 0; id < RACE_SIDES; id++)
		wake_up_process(threads[id]);
	for (id = 0; id < RACE_SIDES; id++)
		wait_for_completion(&race->done);
	kunit_info(race->test,
		   "%lu rounds, %u CPUs: first %lu and %lu times, neither %lu times, refused %lu and %lu times\n",
		   race->rounds, race->cpus, race->first[0], race->first[1],
		   race->neither, race->sides[0].refused,
		   race->sides[1].refused);
}

/**
 * race_watch() - R7, while it is raced: no entry without pins
 * @slot: in which nobody but an owner has pins for long
 */
void race_watch(struct race_slot *slot)
{
	struct xpin_entry entry;
	struct folio *folio;
	unsigned int i;

	for (i = 0; i < RACE_FOLIOS; i++) {
		folio = slot->folios[i].folio;
		if (folio_pins(folio))
			continue;
		smp_rmb(); /* The pins first. Pairs with their release. */
		if (registry_lookup(folio_pfn(folio), &entry))
			KUNIT_FAIL(slot->race->test,
				   "an entry outlives its pins");
	}
}

static bool holds(const struct race_turn *turn, unsigned int i)
{
	return i >= turn->first && i < turn->first + turn->held;
}

static void check_folio(struct race_slot *slot, unsigned int i)
{
	unsigned int owners = 0, strangers = 0, pins;
	struct folio *folio = slot->folios[i].folio;
	struct kunit *test = slot->race->test;
	struct race_turn *turn;
	struct xpin_entry entry;
	u32 owner = 0;

	for (turn = slot->turns; turn < slot->turns + RACE_SIDES; turn++) {
		if (!holds(turn, i))
			continue;
		/* R1: no two owners. */
		KUNIT_EXPECT_TRUE(test, !owner || turn->side->owner == owner);
		owner = turn->side->owner ?: owner;
		if (turn->side->owner)
			owners++;
		else
			strangers++;
	}
	/* R3: not the stranger and the owner. */
	KUNIT_EXPECT_TRUE(test, !owners || !strangers);

	/* R4, R7: what is there is theirs, and all of it. */
	pins = slot->race->shared ? 1 : owners;
	KUNIT_EXPECT_EQ(test, pins + strangers, folio_pins(folio));
	KUNIT_EXPECT_EQ(test, pins != 0, filter_has(&folio->page));
	if (!registry_lookup(folio_pfn(folio), &entry)) {
		KUNIT_EXPECT_EQ(test, 0, pins);
		return;
	}
	KUNIT_EXPECT_EQ(test, pins, entry.pins);
	KUNIT_EXPECT_EQ(test, owners, entry.excl);
	KUNIT_EXPECT_EQ(test, owner ?: slot->race->sides[0].owner, entry.owner);
	KUNIT_EXPECT_EQ(test, owners ? XPIN_OWNED : XPIN_SHARED, entry.state);
}

/**
 * race_check_folios() - is every folio as those who hold it say?
 * @slot: a round in which both sides have acted
 */
void race_check_folios(struct race_slot *slot)
{
	unsigned int i;

	for (i = 0; i < RACE_FOLIOS; i++)
		check_folio(slot, i);
}

/**
 * race_check_loser() - did who got less than it wanted have the other in the way?
 * @turn: of a side, in a round in which both have acted
 */
void race_check_loser(const struct race_turn *turn)
{
	const struct race_turn *other = &turn->slot->turns[!turn->side->id];
	struct kunit *test = turn->side->race->test;
	unsigned int lost = turn->first + turn->held;

	if (turn->held == turn->nr)
		return;
	KUNIT_EXPECT_LT(test, turn->first, other->first + other->nr);
	KUNIT_EXPECT_LT(test, other->first, turn->first + turn->nr);
	if (turn->side->owner)
		return;
	KUNIT_EXPECT_NE(test, 0, other->side->owner);
	if (turn->all_or_nothing)
		return;
	KUNIT_EXPECT_GE(test, lost, other->first);
	KUNIT_EXPECT_LT(test, lost, other->first + other->nr);
}

/**
 * race_check() - what holds when each side took what it wanted, or tried to
 * @slot: a round in which both have acted
 */
void race_check(struct race_slot *slot)
{
	struct race *race = slot->race;
	bool won[RACE_SIDES];
	int id;

	race_check_folios(slot);
	for (id = 0; id < RACE_SIDES; id++) {
		race_check_loser(&slot->turns[id]);
		won[id] = slot->turns[id].held == slot->turns[id].nr;
	}
	if (won[0] != won[1])
		race_came_first(race, won[1]);
	race->neither += !won[0] && !won[1];
}

/**
 * race_expect_both() - was it a race at all?
 * @race: that was run
 *
 * With one processor it depends on when the scheduler lets whom run.
 */
void race_expect_both(struct race *race)
{
	int id;

	if (race->cpus == 1) {
		kunit_info(race->test,
			   "one processor: each side need not have come first\n");
		return;
	}
	for (id = 0; id < RACE_SIDES; id++)
		KUNIT_EXPECT_NE(race->test, 0, race->first[id]);
}
