// SPDX-License-Identifier: GPL-2.0
/*
 * Rule R6: a claim wins although others try to pin the memory all the time.
 * Eight threads pin 512 pages, the wanted one first, through GUP's fast path, in
 * a loop inside the kernel; two other processes pin the wanted page by system
 * calls. Before each claim all of them have had it pinned. Each thread is a
 * process of its own: a page table lock or mmap_lock in common would make them
 * wait for each other, without a pin, and hammer less.
 *
 * With folios of one page a GUP-fast that will be refused has the wanted page
 * pinned for as long as the other 511 take; with one folio mapped by 512 PTEs,
 * until all are put back. How much that is in a claim's way depends on how many
 * CPUs do it: eight leave hardly a moment without such a pin, two leave many.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"
#include "module/xpin_test_owner.h"

#define THREADS		8
#define PROCESSES	2
#define HAMMERS		(THREADS + PROCESSES)
/*
 * The first claim of memory finds it in ZONE_MOVABLE, if there is one, and the
 * others do not. Two of it: where processors are emulated, each attempt to
 * migrate a folio that is mapped by thousands of PTEs takes long.
 */
#define MEMORIES	2
#define ROUNDS		10
#define TIMEOUT		(30 * NSEC_PER_SEC)

static struct shared {
	atomic_bool stop;
	atomic_int unexpected;
	/* How often each has pinned the memory. */
	atomic_long pinned[HAMMERS];
} *shared;

static const struct memory *target;

static noreturn void hammer_thread(int number, atomic_long *pinned)
{
	int fd = open("/dev/xpin_test_owner", O_RDWR | O_CLOEXEC);
	struct xpin_test_owner_call call;
	cpu_set_t cpu;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* No CPU without a hammer, whatever the scheduler thinks. */
	CPU_ZERO(&cpu);
	CPU_SET(number % sysconf(_SC_NPROCESSORS_ONLN), &cpu);
	require(!sched_setaffinity(0, sizeof(cpu), &cpu), "sched_setaffinity");
	require(fd >= 0, "open /dev/xpin_test_owner");
	while (!atomic_load(&shared->stop)) {
		call = (struct xpin_test_owner_call){
			.addr = (uintptr_t)target->wanted,
			.pages = LARGE / PAGE,
			.repeat = 100,
		};
		if (ioctl(fd, XPIN_TEST_OWNER_GUP, &call)) {
			printf("# GUP: %s\n", strerror(errno));
			atomic_fetch_add(&shared->unexpected, 1);
			break;
		}
		atomic_fetch_add(pinned, call.answer);
	}
	_exit(0);
}

static noreturn void hammer_process(const char *name, pid_t owner,
				    atomic_long *pinned)
{
	const struct attack *attack = attack_find(name);
	struct attack_target page = {
		.pid = owner,
		.remote = target->wanted,
		.local = target->wanted,
		.length = PAGE,
		.block = BLOCK_DEVICE,
	};
	struct attack_result result;
	void *buffer;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	buffer = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(attack && buffer != MAP_FAILED, "mmap");
	while (!atomic_load(&shared->stop)) {
		result = attack_run(attack, &page, buffer);
		if (result.outcome == ATTACK_SUCCEEDED) {
			atomic_fetch_add(pinned, 1);
		} else if (result.outcome != ATTACK_REFUSED ||
			   result.error != attack_answer(attack)->first) {
			printf("# %s: %s\n", name, strerror(result.error));
			atomic_fetch_add(&shared->unexpected, 1);
			break;
		}
	}
	_exit(0);
}

/* Everybody has had the memory pinned since the counts were taken. */
static bool all_alive(const long *before)
{
	int i;

	for (i = 0; i < HAMMERS; i++) {
		if (atomic_load(&shared->pinned[i]) == before[i])
			return false;
	}
	return true;
}

static bool claim_in_rounds(int fd)
{
	long before[HAMMERS];
	struct xpin_claim claim;
	long long vetoes;
	int round, error, i;

	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < HAMMERS; i++)
			before[i] = atomic_load(&shared->pinned[i]);
		while (!all_alive(before) && !shared->unexpected)
			sched_yield();

		error = xpin_claim(fd, target->wanted, PAGE, TIMEOUT, &claim);
		if (error) {
			ksft_print_msg("round %d: claim: %s\n", round,
				       strerror(-error));
			return false;
		}
		/* Held until somebody was refused because of it. */
		vetoes = xpin_stat("vetoes");
		while (xpin_stat("vetoes") == vetoes && !shared->unexpected)
			sched_yield();
		if (xpin_page_state(fd, target->wanted) != XPIN_PAGE_MINE ||
		    xpin_release(fd, &claim)) {
			ksft_print_msg("round %d: lost\n", round);
			return false;
		}
	}
	return true;
}

/* True if all claims won. */
static bool hammer_memory(struct memory *memory, int fd)
{
	static const char * const names[PROCESSES] = {
		"process_vm_readv", "O_DIRECT write from it, disk",
	};
	pid_t pids[HAMMERS];
	pid_t self = getpid();
	int i, status;
	bool won;

	target = memory;
	require(feature_missing(FEATURE_MOVABLE) ||
		in_movable_zone(memory->wanted), "movable memory");
	memset(shared, 0, sizeof(*shared));
	for (i = 0; i < HAMMERS; i++) {
		pids[i] = fork();
		require(pids[i] >= 0, "fork");
		if (pids[i])
			continue;
		if (i < THREADS)
			hammer_thread(i, &shared->pinned[i]);
		hammer_process(names[i - THREADS], self, &shared->pinned[i]);
	}

	won = claim_in_rounds(fd);
	atomic_store(&shared->stop, true);
	for (i = 0; i < HAMMERS; i++)
		require(waitpid(pids[i], &status, 0) == pids[i], "waitpid");
	return won;
}

static void hammer(enum memory_kind kind)
{
	bool won = true, unexpected = false, released = true;
	long long vetoes = xpin_stat("vetoes");
	struct memory memory;
	int fd, i;

	for (i = 0; i < MEMORIES && won; i++) {
		memory_create(&memory, kind);
		fd = xpin_open();
		won = hammer_memory(&memory, fd);
		unexpected |= shared->unexpected;
		released &= xpin_all_pages(fd, memory.base, MEMORY_LENGTH,
					   XPIN_PAGE_FREE);
		close(fd);
		memory_destroy(&memory);
	}

	ksft_print_msg("%s: %lld vetoes, %ld CPUs\n", memory.name,
		       xpin_stat("vetoes") - vetoes,
		       sysconf(_SC_NPROCESSORS_ONLN));
	check(won, "%s: %d claims won against %d hammers", memory.name,
	      MEMORIES * ROUNDS, HAMMERS);
	check(!unexpected, "%s: the hammers got pins or refusals only",
	      memory.name);
	check(released, "%s: free in the end", memory.name);
}

int main(void)
{
	ksft_print_header();
	ksft_set_plan(2 * 3);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	require(shared != MAP_FAILED, "mmap");

	hammer(MEMORY_SHMEM_PAGE);
	hammer(MEMORY_SHMEM_LARGE_PTES);
	ksft_finished();
}
