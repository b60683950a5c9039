// SPDX-License-Identifier: GPL-2.0
/*
 * A protected VM with two processors counts, while eight processes try without
 * a pause to have the kernel touch its memory, for as many seconds as
 * xpin.seconds says, or a minute. It must not lose a tick.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"
#include "pkvm/vmm.h"
#include "xpin_test.h"

#define ATTACKERS	8
#define VCPUS		2
/* Of the guest's memory: its code, and a page for each processor. */
#define GUEST_PAGES	(1 + VCPUS)

/* An attacker, as it counts; shared. */
struct tally {
	atomic_ulong refused[ATTACKERS];
	/* Pins or references that were given out, or refused in another way. */
	atomic_ulong succeeded[ATTACKERS];
	/* Not tried: a process can be traced by one at a time only. */
	atomic_ulong untried[ATTACKERS];
	atomic_bool stop;
};

static const char * const pin_attacks[] = {
	"process_vm_readv", "process_vm_writev",
	"io_uring WRITE_FIXED from it", "io_uring READ_FIXED into it",
	"O_DIRECT write from it, disk", "O_DIRECT read into it, disk",
	"Linux AIO write from it, disk", "AF_XDP umem in it",
};

static struct tally *tally;
static struct vm vm;
static atomic_bool stop;

static const struct attack *choose(unsigned int number, unsigned int round,
				   bool plain)
{
	unsigned int count = 0;

	if (plain && round % 2) {
		while (plain_attacks[count].name)
			count++;
		return &plain_attacks[(number + round) % count];
	}
	return attack_find(pin_attacks[(number + round) %
				       ARRAY_SIZE(pin_attacks)]);
}

/* Each has the memory mapped, and a disk of its own part of the time. */
static noreturn void attacker(unsigned int number, pid_t vmm, int memfd,
			      void *remote, bool plain)
{
	struct attack_target target = {
		.pid = vmm,
		.remote = remote,
		.length = PAGE,
		.block = "/dev/ram3",
	};
	unsigned char *base, *buffer;
	unsigned int round;

	base = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	buffer = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(base != MAP_FAILED && buffer != MAP_FAILED, "mmap");
	for (round = 0; !atomic_load(&tally->stop); round++) {
		const struct attack *attack = choose(number, round, plain);
		size_t offset = round % GUEST_PAGES * PAGE;
		struct attack_result result;

		target.local = base + offset;
		target.remote = (unsigned char *)remote + offset;
		result = attack_run(attack, &target, buffer);
		if (result.outcome != ATTACK_REFUSED)
			atomic_fetch_add(result.outcome == ATTACK_UNAVAILABLE ?
					 &tally->untried[number] :
					 &tally->succeeded[number], 1);
		else if (result.error == attack_answer(attack)->first)
			atomic_fetch_add(&tally->refused[number], 1);
		else
			atomic_fetch_add(&tally->succeeded[number], 1);
	}
	_exit(0);
}

struct counter {
	unsigned int number;
	__u64 ticks;
	int error;
	bool lost;
};

static void *count(void *data)
{
	struct counter *counter = data;
	__u64 at = GUEST_MEMORY + (1 + counter->number) * PAGE, sum, before;

	counter->error = guest_call(&vm.vcpus[counter->number], GUEST_ADD, at,
				    &before);
	while (!counter->error && !counter->lost && !atomic_load(&stop)) {
		counter->error = guest_call(&vm.vcpus[counter->number],
					    GUEST_ADD, at, &sum);
		counter->lost = !counter->error && sum != before + 1;
		before = sum;
		counter->ticks++;
	}
	return NULL;
}

static void besiege(bool plain)
{
	const char *name = plain ? "deny_get" : "pins";
	const char *seconds = getenv("XPIN_SECONDS");
	unsigned long refused = 0, succeeded = 0, untried = 0;
	struct counter counters[VCPUS] = { };
	pthread_t threads[VCPUS];
	pid_t pids[ATTACKERS];
	unsigned int i;
	bool ok = true, all = true;
	void *base;
	int memfd;

	require(!module_load_with("/xpin_pkvm.ko", plain ?
				  "deny_get=1 timeout_ms=10000" :
				  "timeout_ms=10000"), "load xpin_pkvm");
	*tally = (struct tally){ };
	atomic_store(&stop, false);
	memfd = memfd_create("guest", MFD_CLOEXEC);
	require(memfd >= 0 && !ftruncate(memfd, LARGE), "memfd");
	base = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	require(base != MAP_FAILED, "mmap");
	guest_place(base);
	vm_create(&vm, true, VCPUS);
	require(!vm_memory(&vm, 0, GUEST_MEMORY, base, GUEST_PAGES * PAGE),
		"memory for the guest");
	for (i = 0; i < VCPUS; i++) {
		__u64 sum;

		require(!guest_call(&vm.vcpus[i], GUEST_ADD,
				    GUEST_MEMORY + (1 + i) * PAGE, &sum),
			"the guest counts");
	}
	/* A fork copies nothing of shared memory. */
	for (i = 0; i < ATTACKERS; i++) {
		pid_t vmm = getpid();

		fflush(stdout);
		pids[i] = fork();
		require(pids[i] >= 0, "fork");
		if (!pids[i])
			attacker(i, vmm, memfd, base, plain);
	}
	for (i = 0; i < VCPUS; i++) {
		counters[i].number = i;
		require(!pthread_create(&threads[i], NULL, count, &counters[i]),
			"thread");
	}
	sleep(seconds ? atoi(seconds) : 60);
	atomic_store(&stop, true);
	for (i = 0; i < VCPUS; i++) {
		pthread_join(threads[i], NULL);
		ksft_print_msg("%s: vCPU %u: %llu ticks, %s\n", name, i,
			       counters[i].ticks, strerror(-counters[i].error));
		ok = ok && !counters[i].error && !counters[i].lost &&
		     counters[i].ticks;
	}
	atomic_store(&tally->stop, true);
	for (i = 0; i < ATTACKERS; i++) {
		require(waitpid(pids[i], NULL, 0) == pids[i], "waitpid");
		refused += tally->refused[i];
		succeeded += tally->succeeded[i];
		untried += tally->untried[i];
		all = all && tally->refused[i];
	}
	ksft_print_msg("%s: %lu attacks refused, %lu not, %lu not tried\n",
		       name, refused, succeeded, untried);
	check(ok, "%s: no tick is lost", name);
	check(all && !succeeded, "%s: all attacks are refused", name);
	vm_destroy(&vm);
	munmap(base, LARGE);
	close(memfd);
	require(!module_unload("xpin_pkvm"), "unload xpin_pkvm");
}

int main(void)
{
	ksft_print_header();
	ksft_set_plan(4);
	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	require(tally != MAP_FAILED, "mmap");
	besiege(false);
	besiege(true);
	ksft_finished();
}
