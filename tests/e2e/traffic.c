// SPDX-License-Identifier: GPL-2.0
/*
 * The hooks of a stock kernel come and go while others pin by every entry point,
 * for XPIN_SECONDS: with each claim, and with each loading of the module. Nobody
 * pins what is claimed, nobody is refused what is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"
#include "module/xpin_test_pin.h"

/* Pages that strangers pin in one call; the second is claimed. */
#define PAGES		3

/* Beside the entry points: what user space has. */
static const char * const attacks_used[] = {
	"process_vm_readv",
	"io_uring WRITE_FIXED from it",
	"O_DIRECT write from it, disk",
};

#define STRANGERS	(XPIN_TEST_PIN_ENTRIES + ARRAY_SIZE(attacks_used))

static struct memory memory;

static struct shared {
	atomic_bool stop;
	struct stranger_counts {
		/* It takes no pins on this kernel, or is not there. */
		atomic_bool absent;
		atomic_int error;
		atomic_long attempts;
		/* Before they count as attempts. */
		atomic_long refused;
		atomic_long succeeded;
	} stranger[STRANGERS];
} *shared;

/* 1: refused; 0: not; or an errno. */
static int try_entry(int fd, int by)
{
	struct xpin_test_pin_call call = {
		.addr = by == XPIN_TEST_PIN_MEMFD ? (uintptr_t)memory.fd :
						    (uintptr_t)memory.base,
		.pages = PAGES,
		.by = by,
		.repeat = 1,
	};

	return ioctl(fd, XPIN_TEST_PIN, &call) ? -errno : (int)call.refused;
}

static int try_attack(const struct attack *attack, pid_t owner, void *buffer)
{
	struct attack_target page = {
		.pid = owner,
		.remote = memory.wanted,
		.local = memory.wanted,
		.length = PAGE,
		.block = BLOCK_DEVICE,
	};
	struct attack_result result = attack_run(attack, &page, buffer);

	if (result.outcome == ATTACK_SUCCEEDED)
		return 0;
	if (result.outcome == ATTACK_REFUSED &&
	    result.error == attack_answer(attack)->first)
		return 1;
	return result.error ? -result.error : -EIO;
}

static noreturn void be_stranger(unsigned int number, pid_t owner)
{
	struct stranger_counts *counts = &shared->stranger[number];
	const struct attack *attack = NULL;
	void *buffer = NULL;
	int fd = -1, ret;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (number < XPIN_TEST_PIN_ENTRIES) {
		fd = open("/dev/xpin_test_pin", O_RDWR | O_CLOEXEC);
		/* One of them pins only what is in the page table. */
		require(fd >= 0 && !madvise(memory.base, PAGES * PAGE,
					    MADV_POPULATE_READ),
			"open xpin_test_pin");
		atomic_store(&counts->absent,
			     try_entry(fd, number) == -EOPNOTSUPP);
	} else {
		attack = attack_find(attacks_used[number -
						  XPIN_TEST_PIN_ENTRIES]);
		buffer = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		require(attack && buffer != MAP_FAILED, "the attack");
		atomic_store(&counts->absent, !attack_answer(attack)->first);
	}
	while (!atomic_load(&shared->stop) && !atomic_load(&counts->absent)) {
		ret = attack ? try_attack(attack, owner, buffer) :
			       try_entry(fd, number);
		if (ret < 0)
			atomic_store(&counts->error, -ret);
		else if (ret)
			atomic_fetch_add(&counts->refused, 1);
		else
			atomic_fetch_add(&counts->succeeded, 1);
		atomic_fetch_add(&counts->attempts, 1);
	}
	_exit(0);
}

static const char *stranger_name(unsigned int number)
{
	static const char * const names[XPIN_TEST_PIN_ENTRIES] = {
		"pin_user_pages", "pin_user_pages_remote",
		"pin_user_pages_unlocked", "pin_user_pages_fast",
		"pin_user_pages_fast_only", "memfd_pin_folios",
	};

	return number < XPIN_TEST_PIN_ENTRIES ?
	       names[number] : attacks_used[number - XPIN_TEST_PIN_ENTRIES];
}

/* Returns when every stranger has made two attempts that began after this. */
static void wait_for_attempts(void)
{
	long before[STRANGERS];
	unsigned int i;

	for (i = 0; i < STRANGERS; i++)
		before[i] = atomic_load(&shared->stranger[i].attempts);
	for (i = 0; i < STRANGERS; i++) {
		while (!atomic_load(&shared->stranger[i].absent) &&
		       atomic_load(&shared->stranger[i].attempts) <
		       before[i] + 3)
			sched_yield();
	}
}

/* True if from now on, until this ends, all attempts are refused, or none is. */
static bool all_are(bool refused, const char *when)
{
	struct stranger_counts *counts;
	long before[STRANGERS], wrong;
	bool ok = true;
	unsigned int i;

	/* Those under way began before. */
	wait_for_attempts();
	for (i = 0; i < STRANGERS; i++) {
		counts = &shared->stranger[i];
		before[i] = atomic_load(refused ? &counts->succeeded :
						  &counts->refused);
	}
	wait_for_attempts();
	for (i = 0; i < STRANGERS; i++) {
		counts = &shared->stranger[i];
		wrong = atomic_load(refused ? &counts->succeeded :
					      &counts->refused) - before[i];
		if (wrong) {
			ksft_print_msg("%s: %s: %ld attempts %s\n", when,
				       stranger_name(i), wrong,
				       refused ? "succeeded" : "refused");
			ok = false;
		}
	}
	return ok;
}

static bool claim_and_look(bool release)
{
	struct xpin_claim claim;
	int fd = xpin_open(), error;
	bool ok;

	error = xpin_claim(fd, memory.wanted, PAGE, 60 * NSEC_PER_SEC, &claim);
	if (error)
		ksft_print_msg("claim: %s\n", strerror(-error));
	ok = !error && all_are(true, "claimed") &&
	     xpin_page_state(fd, memory.wanted) == XPIN_PAGE_MINE;
	if (ok && release)
		ok = !xpin_release(fd, &claim) && all_are(false, "released");
	close(fd);
	return ok;
}

/* With every third claim the module is unloaded, and its hooks are gone. */
static bool unload_and_look(void)
{
	int error = module_unload_soon("xpin");
	bool ok = !error && all_are(false, "unloaded");

	if (!error)
		error = module_load("/xpin.ko");
	if (error)
		ksft_print_msg("unload and load: %s\n", strerror(-error));
	return ok && !error;
}

int main(void)
{
	const char *seconds = getenv("XPIN_SECONDS");
	unsigned int i, claims = 0, unloads = 0, errors = 0, pinned = 0;
	long long pins = pins_held();
	pid_t owner = getpid(), pids[STRANGERS];
	struct xpin_claim claim;
	struct timespec now;
	bool ok = true;
	time_t end;
	int fd;

	ksft_print_header();
	ksft_set_plan(3);
	if (skip_without(FEATURE_HOOKS, 3))
		ksft_finished();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	require(shared != MAP_FAILED, "mmap");
	require(!module_unload("xpin_test_owner") &&
		!module_load("/xpin_test_pin.ko"), "load xpin_test_pin");
	memory_create(&memory, MEMORY_SHMEM_PAGE);
	/* What is movable could migrate only while nobody pins it: ENOMEM. */
	fd = xpin_open();
	require(!xpin_claim(fd, memory.base, PAGES * PAGE, 0, &claim), "claim");
	close(fd);
	for (i = 0; i < STRANGERS; i++) {
		pids[i] = fork();
		require(pids[i] >= 0, "fork");
		if (!pids[i])
			be_stranger(i, owner);
	}

	clock_gettime(CLOCK_MONOTONIC, &now);
	end = now.tv_sec + (seconds ? atol(seconds) : 60);
	/* Until it was unloaded once, however long a slow machine takes. */
	while (ok && (now.tv_sec < end || !unloads)) {
		ok = claim_and_look(claims++ & 1);
		if (ok && claims % 3 == 0) {
			ok = unload_and_look();
			unloads++;
		}
		clock_gettime(CLOCK_MONOTONIC, &now);
	}
	atomic_store(&shared->stop, true);
	for (i = 0; i < STRANGERS; i++) {
		struct stranger_counts *counts = &shared->stranger[i];

		require(waitpid(pids[i], NULL, 0) == pids[i], "waitpid");
		if (counts->error)
			ksft_print_msg("%s: %s\n", stranger_name(i),
				       strerror(counts->error));
		errors += !!counts->error;
		pinned += !counts->absent;
		ksft_print_msg("%s: %ld attempts, %ld refused\n",
			       stranger_name(i), counts->attempts,
			       counts->refused);
	}
	check(ok && claims && unloads,
	      "%u claims, %u times unloaded: who pins is refused then, and only then",
	      claims, unloads);
	check(!errors && pinned, "%u ways to pin get no other answer", pinned);
	check(pins_held() == pins, "no pin is left");

	memory_destroy(&memory);
	require(!module_unload("xpin_test_pin") &&
		!module_load("/xpin_test_owner.ko"), "load xpin_test_owner");
	ksft_finished();
}
