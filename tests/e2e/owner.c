// SPDX-License-Identifier: GPL-2.0
/* Own claims over the same folio: rule R2's exception, and its limits. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"

static struct stranger stranger;
static int owner, other;

/* Owned by @owner for everybody: its own view, another's, and a pin's. */
static bool owned(const struct memory *memory, void *addr)
{
	return xpin_page_state(owner, addr) == XPIN_PAGE_MINE &&
	       xpin_page_state(other, addr) == XPIN_PAGE_OTHERS &&
	       !stranger_reaches(&stranger, memory, addr);
}

static bool is_free(const struct memory *memory, void *addr)
{
	return xpin_page_state(owner, addr) == XPIN_PAGE_FREE &&
	       xpin_page_state(other, addr) == XPIN_PAGE_FREE &&
	       stranger_reaches(&stranger, memory, addr);
}

static void page_by_page(const struct memory *memory)
{
	struct xpin_claim claims[LARGE / PAGE];
	unsigned char *last = memory->wanted + LARGE - PAGE;
	int i, failed = 0;
	bool ok;

	for (i = 0; i < (int)(LARGE / PAGE); i++)
		failed += !!xpin_claim(owner, memory->wanted + i * PAGE, PAGE,
				       0, &claims[i]);
	ok = !failed && owned(memory, memory->wanted) && owned(memory, last);
	check(ok, "%s: claimed page by page", memory->name);

	/* The last claim keeps the whole folio. */
	for (i = 0; i < (int)(LARGE / PAGE) - 1; i++)
		failed += !!xpin_release(owner, &claims[i]);
	ok = !failed && owned(memory, memory->wanted) && owned(memory, last);
	check(ok, "%s: owned until the last claim is released", memory->name);

	ok = !xpin_release(owner, &claims[i]) &&
	     is_free(memory, memory->wanted) && is_free(memory, last);
	check(ok, "%s: free after the last release", memory->name);
}

static void whole_folio(const struct memory *memory)
{
	unsigned char *last = memory->wanted + memory->folio - PAGE;
	struct xpin_claim claim;
	bool ok;

	ok = !xpin_claim(owner, memory->wanted, PAGE, 0, &claim) &&
	     claim.pages == 1 && claim.folios == 1 &&
	     owned(memory, memory->wanted) && owned(memory, last) &&
	     is_free(memory, memory->wanted - PAGE) &&
	     !xpin_release(owner, &claim) && is_free(memory, last);
	check(ok, "%s: one page's claim is the folio's, and no other's",
	      memory->name);
}

static void overlapping(const struct memory *memory)
{
	struct xpin_claim first, second;
	bool ok;

	ok = !xpin_claim(owner, memory->wanted, 4 * PAGE, 0, &first) &&
	     !xpin_claim(owner, memory->wanted + 2 * PAGE, 4 * PAGE, 0,
			 &second) &&
	     first.claim_id != second.claim_id &&
	     owned(memory, memory->wanted + 2 * PAGE);
	check(ok, "%s: two claims overlap", memory->name);

	ok = !xpin_release(owner, &first) &&
	     owned(memory, memory->wanted + 2 * PAGE) &&
	     owned(memory, memory->wanted + 5 * PAGE);
	check(ok, "%s: the other claim stays", memory->name);

	ok = !xpin_release(owner, &second) &&
	     is_free(memory, memory->wanted + 2 * PAGE);
	check(ok, "%s: both are released", memory->name);
}

static void another_owner(const struct memory *memory)
{
	struct xpin_claim claim, refused;
	int error;
	bool ok;

	require(!xpin_claim(owner, memory->wanted, PAGE, 0, &claim), "claim");
	error = xpin_claim(other, memory->wanted - PAGE, 2 * PAGE, 0, &refused);
	ok = error == -EBUSY &&
	     refused.busy_addr == (uintptr_t)memory->wanted &&
	     owned(memory, memory->wanted) &&
	     is_free(memory, memory->wanted - PAGE);
	/* A claim in the way is no pin that goes by itself. */
	error = xpin_claim(other, memory->wanted, PAGE, 60 * NSEC_PER_SEC,
			   &refused);
	ok = ok && error == -EBUSY && owned(memory, memory->wanted);
	check(ok && !xpin_release(owner, &claim),
	      "%s: another file of the same process is another owner",
	      memory->name);
}

#define THREADS		2
#define ROUNDS		500

struct sibling {
	pthread_t thread;
	pthread_barrier_t *barrier;
	unsigned char *addr;
	int failed;
};

static void *claim_in_rounds(void *argument)
{
	struct sibling *sibling = argument;
	struct xpin_claim claim;
	int i, error;

	for (i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(sibling->barrier);
		/* The sibling's pins are the owner's, never in the way. */
		error = xpin_claim(owner, sibling->addr, PAGE,
				   60 * NSEC_PER_SEC, &claim);
		if (!error &&
		    xpin_page_state(owner, sibling->addr) != XPIN_PAGE_MINE)
			sibling->failed++;
		if (error || xpin_release(owner, &claim))
			sibling->failed++;
	}
	return NULL;
}

static void siblings(const struct memory *memory)
{
	struct sibling sibling[THREADS];
	pthread_barrier_t barrier;
	int i, failed = 0;

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (i = 0; i < THREADS; i++) {
		sibling[i] = (struct sibling){
			.barrier = &barrier,
			.addr = memory->wanted + i * 3 * PAGE,
		};
		require(!pthread_create(&sibling[i].thread, NULL,
					claim_in_rounds, &sibling[i]),
			"pthread_create");
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(sibling[i].thread, NULL);
		failed += sibling[i].failed;
	}
	pthread_barrier_destroy(&barrier);

	if (failed)
		ksft_print_msg("%d of %d claims failed\n", failed,
			       THREADS * ROUNDS);
	check(!failed && is_free(memory, memory->wanted),
	      "%s: two threads claim one folio at the same time", memory->name);
}

/* Rule R10: what takes no pin is none of a claim's business. */
static void without_a_pin(const struct memory *memory)
{
	struct iovec page = { memory->wanted, PAGE };
	int pipe_ends[2], mem, error;
	static char copy[PAGE];
	struct xpin_claim claim;
	bool spliced, read_back;

	require(!pipe(pipe_ends), "pipe");
	mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	require(mem >= 0, "/proc/self/mem");
	error = xpin_claim(owner, memory->wanted, PAGE, 0, &claim);

	/* Both use FOLL_GET. */
	spliced = vmsplice(pipe_ends[1], &page, 1, 0) == (ssize_t)PAGE &&
		  read(pipe_ends[0], copy, PAGE) == (ssize_t)PAGE &&
		  !memcmp(copy, memory->wanted, PAGE);
	read_back = pread(mem, copy, PAGE, (uintptr_t)memory->wanted) ==
		    (ssize_t)PAGE && !memcmp(copy, memory->wanted, PAGE);
	check(!error && spliced && read_back && owned(memory, memory->wanted) &&
	      !xpin_release(owner, &claim) && is_free(memory, memory->wanted),
	      "%s: FOLL_GET goes on", memory->name);

	close(mem);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

/* Ownership is of folios: an address that goes away takes nothing with it. */
static void unmapped(enum memory_kind kind)
{
	struct memory memory;
	struct xpin_claim claim;
	unsigned char *view;
	bool ok;

	memory_create(&memory, kind);
	view = mmap(NULL, MEMORY_LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED,
		    memory.fd, 0);
	require(view != MAP_FAILED, "mmap");
	ok = !xpin_claim(owner, view + memory.folio, PAGE, 0, &claim) &&
	     !munmap(view, MEMORY_LENGTH) && owned(&memory, memory.wanted) &&
	     !xpin_release(owner, &claim) && is_free(&memory, memory.wanted);
	check(ok, "%s: the claim outlives its mapping", memory.name);
	memory_destroy(&memory);
}

int main(void)
{
	static const enum memory_kind large[] = {
		MEMORY_ANON_LARGE, MEMORY_ANON_LARGE_PTES, MEMORY_SHMEM_LARGE,
	};
	struct memory memory;
	size_t i;
	int kind;

	ksft_print_header();
	ksft_set_plan(ARRAY_SIZE(large) * 5 + MEMORY_KINDS * 5 + 2);
	stranger_start(&stranger);
	owner = xpin_open();
	other = xpin_open();

	for (i = 0; i < ARRAY_SIZE(large); i++) {
		memory_create(&memory, large[i]);
		page_by_page(&memory);
		whole_folio(&memory);
		siblings(&memory);
		memory_destroy(&memory);
	}
	for (kind = 0; kind < MEMORY_KINDS; kind++) {
		if (skip_without(memory_needs(kind), 5))
			continue;
		memory_create(&memory, kind);
		overlapping(&memory);
		another_owner(&memory);
		without_a_pin(&memory);
		memory_destroy(&memory);
	}
	unmapped(MEMORY_SHMEM_PAGE);
	unmapped(MEMORY_SHMEM_LARGE);

	close(other);
	close(owner);
	stranger_stop(&stranger);
	ksft_finished();
}
