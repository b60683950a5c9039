// SPDX-License-Identifier: GPL-2.0
/*
 * Loading and unloading the module: refused while it is in use, done again and
 * again while others pin and unpin; and another module that was the first to
 * register the kernel's pin notifier. Who was the first to redirect what is
 * hooked otherwise is in hooks.c.
 */
#include <errno.h>
#include <fcntl.h>
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

#define XPIN		"/xpin.ko"
#define TEST_OWNER	"/xpin_test_owner.ko"
#define NOTIFIER	"/xpin_test_notifier.ko"

static struct memory memory;
static struct stranger stranger;

static bool is_claimed(int fd)
{
	return xpin_page_state(fd, memory.wanted) == XPIN_PAGE_MINE &&
	       !stranger_reaches(&stranger, &memory, memory.wanted);
}

static bool works(void)
{
	struct xpin_claim claim;
	int fd = xpin_open();
	bool ok;

	ok = !xpin_claim(fd, memory.wanted, PAGE, 0, &claim) && is_claimed(fd) &&
	     !xpin_release(fd, &claim) &&
	     stranger_reaches(&stranger, &memory, memory.wanted);
	close(fd);
	return ok;
}

/* The kernel says EWOULDBLOCK of a module that somebody holds a reference to. */
static void in_use(void)
{
	struct xpin_claim claim;
	int fd;

	check(module_unload("xpin") == -EWOULDBLOCK && works(),
	      "not unloaded while another module uses it");
	require(!module_unload("xpin_test_owner"), "unload xpin_test_owner");

	fd = xpin_open();
	check(module_unload("xpin") == -EWOULDBLOCK && works(),
	      "not unloaded while it is open");
	require(!xpin_claim(fd, memory.wanted, PAGE, 0, &claim), "claim");
	check(module_unload("xpin") == -EWOULDBLOCK && is_claimed(fd),
	      "not unloaded while memory is claimed, which stays so");
	close(fd);

	check(!module_unload_soon("xpin") && access("/dev/xpin", F_OK) &&
	      access("/sys/kernel/debug/xpin", F_OK) &&
	      stranger_reaches(&stranger, &memory, memory.wanted),
	      "unloaded when nobody uses it");
	require(!module_load(XPIN), "load xpin");
}

/* How many lines of the log since @log was opened begin with @prefix. */
static int lines_of(int log, const char *prefix)
{
	char record[2048], *text;
	int lines = 0;
	ssize_t n;

	while ((n = read(log, record, sizeof(record) - 1)) > 0) {
		record[n] = '\0';
		text = strchr(record, ';');
		if (text && !strncmp(text + 1, prefix, strlen(prefix))) {
			printf("# %.*s\n", (int)strcspn(text, "\n") - 1,
			       text + 1);
			lines++;
		}
	}
	return lines;
}

static void another_notifier(void)
{
	int error, lines, log;

	if (skip_without(FEATURE_NOTIFIER, 3))
		return;
	check(module_load(NOTIFIER) == -EBUSY && works(),
	      "another user of the notifier gets EBUSY");

	require(!module_unload("xpin"), "unload xpin");
	require(!module_load(NOTIFIER), "load xpin_test_notifier");
	log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	require(log >= 0 && !lseek(log, 0, SEEK_END), "/dev/kmsg");
	error = module_load(XPIN);
	lines = lines_of(log, "xpin: ");
	close(log);
	check(error == -EBUSY && lines == 1 && access("/dev/xpin", F_OK) &&
	      access("/sys/kernel/debug/xpin", F_OK) &&
	      stranger_reaches(&stranger, &memory, memory.wanted),
	      "not loaded when another user came first; one line says why");

	require(!module_unload("xpin_test_notifier"),
		"unload xpin_test_notifier");
	check(!module_load(XPIN) && works(), "loaded when that one is gone");
}

/* --- While others pin --- */

static const char * const traffic[] = {
	"process_vm_readv",
	"process_vm_readv",
	"io_uring WRITE_FIXED from it",
	"O_DIRECT write from it, disk",
};

#define TRAFFIC		ARRAY_SIZE(traffic)

static struct shared {
	atomic_bool stop;
	atomic_int unexpected;
	atomic_long attempts[TRAFFIC];
	atomic_long refused[TRAFFIC];
} *shared;

static noreturn void attack_all_the_time(int number, pid_t owner)
{
	const struct attack *attack = attack_find(traffic[number]);
	struct attack_target page = {
		.pid = owner,
		.remote = memory.wanted,
		.local = memory.wanted,
		.length = PAGE,
		.block = BLOCK_DEVICE,
	};
	struct attack_result result;
	void *buffer;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	buffer = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(attack && buffer != MAP_FAILED, traffic[number]);
	while (!atomic_load(&shared->stop)) {
		result = attack_run(attack, &page, buffer);
		if (result.outcome == ATTACK_REFUSED &&
		    result.error == attack_answer(attack)->first) {
			atomic_fetch_add(&shared->refused[number], 1);
		} else if (result.outcome != ATTACK_SUCCEEDED) {
			printf("# %s: %s\n", traffic[number],
			       strerror(result.error));
			atomic_fetch_add(&shared->unexpected, 1);
		}
		atomic_fetch_add(&shared->attempts[number], 1);
	}
	_exit(0);
}

/*
 * Returns when each of them has made @more attempts, or got refusals; but for
 * those that take no pins on this kernel, which nobody refuses.
 */
static void wait_for_more(atomic_long *counts, long more)
{
	long before[TRAFFIC];
	size_t i;

	for (i = 0; i < TRAFFIC; i++)
		before[i] = atomic_load(&counts[i]);
	for (i = 0; i < TRAFFIC; i++) {
		if (!attack_answer(attack_find(traffic[i]))->first)
			continue;
		while (atomic_load(&counts[i]) < before[i] + more &&
		       !shared->unexpected)
			sched_yield();
	}
}

static long all_refused(void)
{
	long sum = 0;
	size_t i;

	for (i = 0; i < TRAFFIC; i++)
		sum += atomic_load(&shared->refused[i]);
	return sum;
}

/* Claims while they all go on, and leaves the end to the close at times. */
static bool claim_meanwhile(bool release)
{
	struct xpin_claim claim;
	int fd = xpin_open();
	bool ok;

	ok = !xpin_claim(fd, memory.wanted, PAGE, 60 * NSEC_PER_SEC, &claim);
	if (ok)
		wait_for_more(shared->refused, 1);
	ok &= xpin_page_state(fd, memory.wanted) == XPIN_PAGE_MINE;
	if (release)
		ok &= !xpin_release(fd, &claim);
	close(fd);
	return ok;
}

static void under_traffic(void)
{
	long round, rounds = repetitions(20), refused;
	bool claimed = true, stale = false;
	long long pins = pins_held();
	pid_t pids[TRAFFIC];
	int error = 0;
	size_t i;

	for (i = 0; i < TRAFFIC; i++) {
		pid_t owner = getpid();

		pids[i] = fork();
		require(pids[i] >= 0, "fork");
		if (!pids[i])
			attack_all_the_time(i, owner);
	}

	for (round = 0; round < rounds && !error; round++) {
		/* Every third time nobody has claimed anything. */
		if (round % 3)
			claimed &= claim_meanwhile(round & 1);
		error = module_unload_soon("xpin");
		/* Those under way may have been refused before. */
		wait_for_more(shared->attempts, 2);
		refused = all_refused();
		wait_for_more(shared->attempts, 3);
		stale |= all_refused() != refused;
		if (!error)
			error = module_load(XPIN);
	}
	atomic_store(&shared->stop, true);
	for (i = 0; i < TRAFFIC; i++)
		require(waitpid(pids[i], NULL, 0) == pids[i], "waitpid");

	if (error)
		ksft_print_msg("round %ld: %s\n", round, strerror(-error));
	check(!error && claimed && !shared->unexpected,
	      "%ld times loaded, claimed and unloaded while others pin", rounds);
	check(!stale, "nobody is refused after it was unloaded");
	check(pins_held() == pins && works(), "all pins are gone, and it works");
}

int main(void)
{
	ksft_print_header();
	ksft_set_plan(10);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	require(shared != MAP_FAILED, "mmap");
	stranger_start(&stranger);
	memory_create(&memory, MEMORY_SHMEM_PAGE);

	in_use();
	another_notifier();
	under_traffic();

	require(!module_load(TEST_OWNER), "load xpin_test_owner");
	memory_destroy(&memory);
	stranger_stop(&stranger);
	ksft_finished();
}
