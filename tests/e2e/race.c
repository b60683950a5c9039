// SPDX-License-Identifier: GPL-2.0
/*
 * Rules R1 and R3: two processes on two CPUs claim overlapping parts of one
 * memfd at the same moment, again and again. Never do both get it.
 *
 * The rounds are in lockstep: nobody releases before both have had their answer,
 * so two winners of a round would hold the memory at the same time. They would
 * also meet in a word per claimed folio that a winner takes with a
 * compare-and-exchange, which needs no lockstep to be believed.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"

#define ROUNDS	4000
#define SIDES	2
/* Spins: longer than anything that can make one side late all the time. */
#define HANDICAP_MAX	4000000

static const struct {
	size_t first;
	size_t pages;
} ranges[][SIDES] = {
	/* pages from the wanted one: same, overlapping, inside, one page */
	{ { 0, 4 }, { 0, 4 } },
	{ { 0, 4 }, { 2, 4 } },
	{ { 2, 4 }, { 0, 4 } },
	{ { 0, 8 }, { 3, 2 } },
	{ { 3, 2 }, { 0, 8 } },
	{ { 3, 1 }, { 3, 1 } },
};

/* For a large folio different pages overlap, too. */
static const typeof(ranges[0]) apart = { { 0, 1 }, { 7, 1 } };

static struct shared {
	atomic_int arrived[SIDES];
	atomic_int held[8];
	atomic_int won[SIDES];
	atomic_int wins[SIDES];
	atomic_int neither;
	atomic_int both;
	atomic_int met;
	atomic_int unexpected;
} *shared;

static void meet(int me, int *count)
{
	int i;

	atomic_store(&shared->arrived[me], ++*count);
	for (i = 0; atomic_load(&shared->arrived[!me]) < *count; i++) {
		/* Spinning is what makes both go on at the same moment. */
		if (i > 10000)
			sched_yield();
	}
}

static bool take(int me, size_t folio, int from, int to)
{
	int expected = from;

	if (atomic_compare_exchange_strong(&shared->held[folio], &expected, to))
		return true;
	printf("# side %d finds folio %zu held by %d\n", me, folio, expected);
	atomic_fetch_add(&shared->met, 1);
	return false;
}

static void play(int me, const struct memory *memory)
{
	unsigned int random = 1 + me;
	int fd = xpin_open(), count = 0, handicap = 0;
	cpu_set_t cpus;
	long round, rounds = repetitions(ROUNDS);

	CPU_ZERO(&cpus);
	CPU_SET(me, &cpus);
	require(!sched_setaffinity(0, sizeof(cpus), &cpus), "two CPUs");

	for (round = 0; round < rounds; round++) {
		int which = round % (ARRAY_SIZE(ranges) + 1);
		bool one_folio = memory->folio > PAGE;
		struct xpin_claim claim;
		size_t first, pages, i;
		bool won;
		int error, spins;

		if (which < (int)ARRAY_SIZE(ranges)) {
			first = ranges[which][me].first;
			pages = ranges[which][me].pages;
		} else if (one_folio) {
			first = apart[me].first;
			pages = apart[me].pages;
		} else {
			continue;
		}

		meet(me, &count);
		/* Neither side shall always be the first, whatever the machine. */
		random = random * 1103515245 + 12345;
		for (spins = handicap + (random >> 16) % 512; spins; spins--)
			atomic_signal_fence(memory_order_seq_cst);

		/* Without a wait, both may lose; with one, hardly ever. */
		error = xpin_claim(fd, memory->wanted + first * PAGE,
				   pages * PAGE,
				   round & 1 ? NSEC_PER_SEC / 50 : 0, &claim);
		won = !error;
		if (!won)
			handicap /= 2;
		else if (handicap < HANDICAP_MAX)
			handicap = 2 * handicap + 64;
		if (error && error != -EBUSY) {
			printf("# claim: %s\n", strerror(-error));
			atomic_fetch_add(&shared->unexpected, 1);
		}
		if (one_folio) {
			first = 0;
			pages = 1;
		}
		for (i = first; won && i < first + pages; i++)
			take(me, i, 0, me + 1);
		atomic_store(&shared->won[me], won);

		meet(me, &count);
		if (!me) {
			int winners = shared->won[0] + shared->won[1];

			atomic_fetch_add(&shared->neither, !winners);
			atomic_fetch_add(&shared->both, winners == 2);
		}
		atomic_fetch_add(&shared->wins[me], won);
		for (i = first; won && i < first + pages; i++)
			take(me, i, me + 1, 0);
		if (won)
			require(!xpin_release(fd, &claim), "release");
	}
	close(fd);
}

static void race(enum memory_kind kind)
{
	struct memory memory;
	int fd, status;
	pid_t pid;

	memory_create(&memory, kind);
	memset(shared, 0, sizeof(*shared));
	fflush(stdout);
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		play(1, &memory);
		_exit(0);
	}
	play(0, &memory);
	require(waitpid(pid, &status, 0) == pid, "waitpid");

	ksft_print_msg("%s: one side won %d, the other %d, neither %d\n",
		       memory.name, shared->wins[0], shared->wins[1],
		       shared->neither);
	check(!shared->both && !shared->met, "%s: never both", memory.name);
	check(shared->wins[0] && shared->wins[1], "%s: both sides win at times",
	      memory.name);
	check(!status && !shared->unexpected, "%s: the loser is told EBUSY",
	      memory.name);

	fd = xpin_open();
	check(xpin_all_pages(fd, memory.base, MEMORY_LENGTH, XPIN_PAGE_FREE),
	      "%s: free in the end", memory.name);
	close(fd);
	memory_destroy(&memory);
}

int main(void)
{
	ksft_print_header();
	ksft_set_plan(2 * 4);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	require(shared != MAP_FAILED, "mmap");

	race(MEMORY_SHMEM_PAGE);
	race(MEMORY_SHMEM_LARGE);
	ksft_finished();
}
