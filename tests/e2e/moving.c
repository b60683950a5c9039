// SPDX-License-Identifier: GPL-2.0
/*
 * Rule R2 for XPIN_IOC_CLAIM_MEMFD: the folio that a claim got is the file's,
 * also if another CPU was about to put another one in its place.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/mempolicy.h>
#include <linux/mman.h>

#include "kselftest.h"
#include "xpin_test.h"

#define ROUNDS	200
#define CLAIMS	20

static int owner;
static atomic_bool stop;
/* The mover is at it. */
static atomic_bool trying;
static atomic_long moved;

static int claim_page(const struct memory *memory, const unsigned char *page,
		      struct xpin_claim_memfd *claim)
{
	*claim = (struct xpin_claim_memfd){
		.size = sizeof(*claim),
		.fd = memory->fd,
		.offset = page - memory->base,
		.length = PAGE,
	};
	return ioctl(owner, XPIN_IOC_CLAIM_MEMFD, claim) ? -errno : 0;
}

/*
 * Claims a page again and again while something moves it. In between it is in
 * nobody's hands, so the mover has its chances.
 */
static bool claims_hold(const struct memory *memory, unsigned char *page,
			long *won)
{
	struct xpin_claim_memfd claim;
	struct xpin_part part;
	int i, error, state;
	bool ok = true;

	for (i = 0; ok && i < CLAIMS; i++) {
		error = claim_page(memory, page, &claim);
		/* While the mover has it, it can't leave ZONE_MOVABLE for us. */
		if (error == -ENOMEM)
			continue;
		if (error) {
			ksft_print_msg("claim: %s\n", strerror(-error));
			return false;
		}
		++*won;
		/* The mover unmaps it, tries in vain, and maps it again. */
		do {
			ok = memory_untouched(memory, page, PAGE);
			state = xpin_page_state(owner, page);
		} while (ok && state == XPIN_PAGE_NONE);
		if (!ok || state != XPIN_PAGE_MINE) {
			ksft_print_msg("what the file has is %s\n",
				       ok ? state_name(state) : "changed");
			ok = false;
		}
		require(!xpin_part(owner, XPIN_IOC_RELEASE, claim.claim_id, 0,
				   XPIN_WHOLE, &part), "release");
	}
	return ok;
}

static void *collapse(void *argument)
{
	const struct memory *memory = argument;
	int error;

	require(!madvise(memory->base, LARGE, MADV_HUGEPAGE), "madvise");
	/* It can be collapsed once only. */
	atomic_store(&trying, true);
	do {
		error = madvise(memory->base, LARGE, MADV_COLLAPSE);
	} while (error && !atomic_load(&stop));
	atomic_fetch_add(&moved, !error);
	return NULL;
}

static void *swap_out(void *argument)
{
	const struct memory *memory = argument;

	while (!atomic_load(&stop)) {
		require(!madvise(memory->wanted, PAGE, MADV_PAGEOUT), "pageout");
		atomic_fetch_add(&moved, !page_pfn(memory->wanted));
		atomic_store(&trying, true);
	}
	return NULL;
}

static void *to_and_fro(void *argument)
{
	const struct memory *memory = argument;
	void *page = memory->wanted;
	int node = 0, status;

	while (!atomic_load(&stop)) {
		node = !node;
		if (!syscall(SYS_move_pages, 0, 1, &page, &node, &status,
			     MPOL_MF_MOVE) && status == node)
			atomic_fetch_add(&moved, 1);
		atomic_store(&trying, true);
	}
	return NULL;
}

static void against(enum memory_kind kind, void *(*mover)(void *), long rounds,
		    const char *what)
{
	struct memory memory;
	pthread_t thread;
	long round, won = 0;
	bool ok = true;

	atomic_store(&moved, 0);
	for (round = 0; ok && round < rounds; round++) {
		memory_create(&memory, kind);
		atomic_store(&stop, false);
		atomic_store(&trying, false);
		require(!pthread_create(&thread, NULL, mover, &memory),
			"pthread_create");
		while (!atomic_load(&trying))
			sched_yield();
		ok = claims_hold(&memory, memory.wanted, &won);
		atomic_store(&stop, true);
		pthread_join(thread, NULL);
		memory_destroy(&memory);
	}
	ksft_print_msg("%s: %ld claims, %ld moves\n", what, won,
		       atomic_load(&moved));
	check(ok && won && atomic_load(&moved), "%s: what is claimed is there",
	      what);
}

int main(void)
{
	ksft_print_header();
	ksft_set_plan(4);
	if (skip_without(FEATURE_MEMFD_PIN, 4))
		ksft_finished();
	owner = xpin_open();

	if (LARGE_HAS_PMD)
		against(MEMORY_SHMEM_PAGE, collapse, repetitions(ROUNDS),
			"memfd pages, collapsed");
	else
		skip("memfd pages, collapsed: to a PMD's size, 512 MiB");
	against(MEMORY_SHMEM_PAGE, to_and_fro, repetitions(ROUNDS),
		"memfd pages, migrated");
	against(MEMORY_HUGETLB_MEMFD, to_and_fro, repetitions(ROUNDS),
		"hugetlb memfd, migrated");

	swap_on();
	against(MEMORY_SHMEM_PAGE, swap_out, repetitions(ROUNDS),
		"memfd pages, swapped out");
	swap_off();

	close(owner);
	ksft_finished();
}
