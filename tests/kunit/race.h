/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XPIN_KUNIT_RACE_H
#define _XPIN_KUNIT_RACE_H

#include <kunit/test.h>
#include <linux/cache.h>
#include <linux/completion.h>
#include <linux/prandom.h>
#include <linux/wait.h>
#include <linux/xpin.h>

#include "registry.h"

#define RACE_SIDES	2
#define RACE_FOLIOS	4
#define RACE_SLOTS	64

struct race;
struct race_slot;

/**
 * struct race_side - one of two threads, bound to a processor of its own
 * @race: both of them
 * @id: which, an index in @race->sides
 * @owner: what it claims as; 0: it is a stranger
 * @random: its own numbers
 * @refused: how often, in all rounds, it was refused a pin
 * @begun: how many rounds it has begun
 * @met: how often it has waited for the other one
 */
struct race_side {
	struct race *race;
	unsigned int id;
	u32 owner;
	struct rnd_state random;
	unsigned long refused;
	unsigned int begun ____cacheline_aligned_in_smp;
	unsigned int met;
};

/**
 * struct race_turn - a side's part in a round
 * @side: whose
 * @slot: the round
 * @first: index of the first folio that it wants
 * @nr: how many
 * @held: how many of these it got: a stranger the first ones, an owner all or 0
 * @all_or_nothing: a stranger, too, holds all or 0 this time
 * @waited: it had to wait for the other side
 * @pages: what GUP gave it
 */
struct race_turn {
	struct race_side *side;
	struct race_slot *slot;
	unsigned int first;
	unsigned int nr;
	unsigned int held;
	bool all_or_nothing;
	bool waited;
	struct page *pages[RACE_FOLIOS];
} ____cacheline_aligned_in_smp;

/**
 * struct race_slot - a round, with folios of its own
 * @race: of which it is one
 * @folios: what both sides want, each with one pin
 * @turns: what the sides do
 * @ended: the first side tells the second that it has ended something
 */
struct race_slot {
	struct race *race;
	struct folio_pins folios[RACE_FOLIOS];
	struct race_turn turns[RACE_SIDES];
	bool ended;
};

typedef void (*race_step)(struct race_turn *turn);

/**
 * struct race_ops - what a round consists of
 * @prepare: by the first side, while the second waits; may be NULL
 * @act: by both sides at once: sets what they hold
 * @check: by the first side, while the second waits: what did both get?
 * @undo: by both at once: gives back what they hold
 */
struct race_ops {
	void (*prepare)(struct race_slot *slot);
	race_step act[RACE_SIDES];
	void (*check)(struct race_slot *slot);
	race_step undo[RACE_SIDES];
};

/**
 * struct race - two threads that want the same folios, again and again
 * @test: what fails when a rule is broken, which ends the race, too
 * @ops: what they do
 * @mm: in whose memory; NULL: in none
 * @cpus: how many processors they run on
 * @shared: the first side has a shared entry and a pin on each folio all the time
 * @rounds: how many were run
 * @first: in how many rounds a side came first, where that can be told
 * @neither: in how many both wanted the same folio, and neither got all it wanted
 * @handicap: how long one of the sides waits at most before it acts: the second
 *	one, or when negative the first
 * @nr_slots: rounds that are run before it is checked how they ended
 */
struct race {
	struct kunit *test;
	const struct race_ops *ops;
	struct mm_struct *mm;
	unsigned int cpus;
	bool shared;
	unsigned long rounds;
	unsigned long first[RACE_SIDES];
	unsigned long neither;
	int handicap;
	unsigned int nr_slots;
	struct race_slot slots[RACE_SLOTS];

	/* private: */
	unsigned long wanted;
	bool stop;
	struct wait_queue_head wait;
	struct completion done;
	struct race_side sides[RACE_SIDES];
};

/* Rounds of a race of the protocol alone; slower ones have fewer. */
extern unsigned long race_rounds;

struct race *race_create(struct kunit *test, unsigned int nr_slots);
void race_run(struct race *race, const struct race_ops *ops,
	      unsigned long rounds);
void race_pause(struct race_side *side);
void race_watch(struct race_slot *slot);
void race_check_folios(struct race_slot *slot);
void race_check_loser(const struct race_turn *turn);
void race_check(struct race_slot *slot);
void race_came_first(struct race *race, int id);
void race_expect_both(struct race *race);

#endif /* _XPIN_KUNIT_RACE_H */
