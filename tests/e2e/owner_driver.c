// SPDX-License-Identifier: GPL-2.0
/*
 * The example of a hypervisor's driver: what its guest has been lent nobody pins,
 * what it shares or gives back anybody can, and nothing stays when it has gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../examples/owner_driver.h"
#include "kselftest.h"
#include "xpin_test.h"

#define MODULE		"/xpin_example.ko"
#define DEVICE		"/dev/xpin_example"
#define PARAMETERS	"/sys/module/xpin_example/parameters/"

static struct stranger stranger;

static int guest_open(void)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	require(fd >= 0, "open " DEVICE);
	return fd;
}

static int call(int guest, unsigned long request, void *addr)
{
	return ioctl(guest, request, addr) ? -errno : 0;
}

static void set_timeout(unsigned int ms)
{
	set_file_number(PARAMETERS "timeout_ms", ms);
}

/* The same with a hypervisor that refuses it. */
static bool refused(int guest, unsigned long request, void *addr)
{
	set_file_number(PARAMETERS "refuse", 1);
	return call(guest, request, addr) == -EPERM;
}

static bool reaches(const struct memory *memory, void *addr)
{
	return stranger_reaches(&stranger, memory, addr);
}

static void life(const struct memory *memory)
{
	unsigned char *page = memory->wanted;
	int guest = guest_open();
	bool ok;

	ok = !call(guest, EXAMPLE_LEND, page) && !reaches(memory, page) &&
	     call(guest, EXAMPLE_LEND, page) == -EEXIST &&
	     !reaches(memory, page);
	check(ok, "%s: lent", memory->name);
	ok = !call(guest, EXAMPLE_SHARE, page) && reaches(memory, page) &&
	     call(guest, EXAMPLE_SHARE, page) == -ENOENT &&
	     call(guest, EXAMPLE_LEND, page) == -EEXIST &&
	     reaches(memory, page);
	check(ok, "%s: shared", memory->name);
	ok = !call(guest, EXAMPLE_UNSHARE, page) && !reaches(memory, page) &&
	     call(guest, EXAMPLE_UNSHARE, page) == -ENOENT;
	check(ok, "%s: shared no longer", memory->name);
	ok = !call(guest, EXAMPLE_RECLAIM, page) && reaches(memory, page) &&
	     call(guest, EXAMPLE_RECLAIM, page) == -ENOENT;
	check(ok, "%s: given back", memory->name);
	ok = !call(guest, EXAMPLE_LEND, page) &&
	     !call(guest, EXAMPLE_SHARE, page) &&
	     !call(guest, EXAMPLE_RECLAIM, page) && reaches(memory, page) &&
	     !xpin_stat("entries");
	check(ok, "%s: given back while it is shared", memory->name);

	/* One page shared, one not; both go with the guest. */
	ok = !call(guest, EXAMPLE_LEND, page) &&
	     !call(guest, EXAMPLE_LEND, page + PAGE) &&
	     !call(guest, EXAMPLE_SHARE, page) &&
	     reaches(memory, page) == (memory->folio == PAGE) &&
	     !reaches(memory, page + PAGE);
	close(guest);
	check(ok && !xpin_stat("entries") && !xpin_stat("owners") &&
	      reaches(memory, page) && reaches(memory, page + PAGE),
	      "%s: the end of the guest", memory->name);
}

/* Then all is as it was, and the same call works later. */
static void refusals(const struct memory *memory)
{
	unsigned char *page = memory->wanted;
	int guest = guest_open();
	bool ok;

	ok = refused(guest, EXAMPLE_LEND, page) && !xpin_stat("entries") &&
	     reaches(memory, page) && !call(guest, EXAMPLE_LEND, page);
	check(ok, "%s: not lent if the hypervisor does not want",
	      memory->name);
	ok = refused(guest, EXAMPLE_SHARE, page) && !reaches(memory, page) &&
	     !call(guest, EXAMPLE_SHARE, page);
	check(ok, "%s: nor shared", memory->name);
	ok = refused(guest, EXAMPLE_UNSHARE, page) && reaches(memory, page) &&
	     !call(guest, EXAMPLE_UNSHARE, page) && !reaches(memory, page);
	check(ok, "%s: nor shared no longer", memory->name);
	ok = refused(guest, EXAMPLE_RECLAIM, page) && !reaches(memory, page) &&
	     !call(guest, EXAMPLE_RECLAIM, page) && reaches(memory, page);
	check(ok, "%s: nor given back", memory->name);
	close(guest);
}

/* --- Others who pin --- */

static void pinned_by_others(const struct memory *memory)
{
	unsigned char *page = memory->wanted;
	int guest = guest_open(), other = guest_open();
	bool ok;

	set_timeout(0);
	require(!pin_hold(page, PAGE), "a pin");
	check(call(guest, EXAMPLE_LEND, page) == -EBUSY,
	      "%s: pinned, so it is not lent", memory->name);
	set_timeout(30000);
	pin_drop_later();
	ok = !call(guest, EXAMPLE_LEND, page);
	ok = pin_has_gone() && ok && !reaches(memory, page);
	check(ok, "%s: lent when the pin has gone", memory->name);
	check(call(other, EXAMPLE_LEND, page) == -EBUSY,
	      "%s: not to two guests", memory->name);

	require(!call(guest, EXAMPLE_SHARE, page) && !pin_hold(page, PAGE),
		"a pin of what is shared");
	/* Lent again, it must not become exclusive, even for a moment. */
	set_timeout(0);
	ok = call(guest, EXAMPLE_LEND, page) == -EEXIST &&
	     call(guest, EXAMPLE_UNSHARE, page) == -EBUSY &&
	     reaches(memory, page);
	pin_drop();
	check(ok && !call(guest, EXAMPLE_UNSHARE, page) &&
	      !reaches(memory, page), "%s: shared as long as others pin it",
	      memory->name);
	close(guest);
	check(!call(other, EXAMPLE_LEND, page),
	      "%s: to the other one, after that", memory->name);
	close(other);
}

/* --- Two processors of a guest --- */

#define RACE_PAGES	(LARGE / PAGE)

struct racer {
	pthread_t thread;
	pthread_barrier_t *start;
	unsigned char *base;
	int guest;
	unsigned int won;
	unsigned int wrong;
};

static void *race(void *data)
{
	struct racer *racer = data;
	unsigned int page;
	int error;

	for (page = 0; page < RACE_PAGES; page++) {
		pthread_barrier_wait(racer->start);
		error = call(racer->guest, EXAMPLE_LEND,
			     racer->base + page * PAGE);
		racer->won += !error;
		racer->wrong += error && error != -EEXIST;
	}
	return NULL;
}

static void processors(const struct memory *memory)
{
	struct racer racers[2];
	pthread_barrier_t start;
	int guest = guest_open();
	unsigned int i;
	bool ok = true;

	set_timeout(30000);
	pthread_barrier_init(&start, NULL, 2);
	for (i = 0; i < 2; i++) {
		racers[i] = (struct racer){
			.start = &start,
			.base = memory->base,
			.guest = guest,
		};
		require(!pthread_create(&racers[i].thread, NULL, race,
					&racers[i]), "thread");
	}
	for (i = 0; i < 2; i++)
		pthread_join(racers[i].thread, NULL);
	pthread_barrier_destroy(&start);
	check(!racers[0].wrong && !racers[1].wrong &&
	      racers[0].won + racers[1].won == RACE_PAGES,
	      "%s: two that want the same page, and one gets it",
	      memory->name);
	for (i = 0; i < RACE_PAGES; i++)
		ok = ok && !call(guest, EXAMPLE_RECLAIM,
				 memory->base + i * PAGE);
	check(ok && !xpin_stat("entries"), "%s: each is lent once",
	      memory->name);
	close(guest);
}

/* --- Death and bad input --- */

static void killed(const struct memory *memory)
{
	int ends[2], status;
	pid_t pid;
	char byte;

	require(!pipe2(ends, O_CLOEXEC), "pipe");
	fflush(stdout);
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid) {
		int guest = guest_open();

		require(!call(guest, EXAMPLE_LEND, memory->wanted), "lend");
		require(write(ends[1], "", 1) == 1, "pipe");
		for (;;)
			pause();
	}
	require(read(ends[0], &byte, 1) == 1, "the process is ready");
	require(xpin_stat("entries") == 1, "it has a guest with memory");
	kill(pid, SIGKILL);
	require(waitpid(pid, &status, 0) == pid, "waitpid");
	close(ends[0]);
	close(ends[1]);
	check(!xpin_stat("entries") && !xpin_stat("owners"),
	      "%s: kill -9 ends the guest", memory->name);
}

static void bad_input(const struct memory *memory)
{
	int guest = guest_open(), file, status;
	void *mapping;
	pid_t pid;

	check(call(guest, EXAMPLE_LEND, memory->wanted + 1) == -EINVAL &&
	      call(guest, EXAMPLE_RECLAIM, memory->wanted + 1) == -EINVAL,
	      "an address inside of a page: EINVAL");
	check(call(guest, EXAMPLE_LEND, NULL) == -EFAULT,
	      "no memory there: EFAULT");
	check(call(guest, _IO('x', 0x84), memory->wanted) == -ENOTTY,
	      "no such call: ENOTTY");
	check(call(guest, EXAMPLE_RECLAIM, memory->wanted) == -ENOENT,
	      "never lent: ENOENT");

	file = open("/mnt/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	require(file >= 0 && !ftruncate(file, PAGE), "a file");
	mapping = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	require(mapping != MAP_FAILED, "mmap");
	check(call(guest, EXAMPLE_LEND, mapping) == -EOPNOTSUPP,
	      "a file: EOPNOTSUPP");
	munmap(mapping, PAGE);
	close(file);

	fflush(stdout);
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid)
		_exit(call(guest, EXAMPLE_LEND, memory->wanted) != -EIO);
	require(waitpid(pid, &status, 0) == pid, "waitpid");
	check(!status, "another process's memory: EIO");
	close(guest);
}

int main(void)
{
	static const enum memory_kind kinds[] = {
		MEMORY_ANON_PAGE, MEMORY_ANON_LARGE, MEMORY_SHMEM_PAGE,
		MEMORY_SHMEM_LARGE, MEMORY_HUGETLB,
	};
	struct memory memory;
	size_t i;

	ksft_print_header();
	ksft_set_plan(2 + ARRAY_SIZE(kinds) * (6 + 4 + 5 + 2) + 1 + 6 + 1);
	check(!module_load(MODULE), "load it");
	check(!access("/sys/module/xpin/holders/xpin_example", F_OK),
	      "it holds xpin");
	stranger_start(&stranger);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (skip_without(memory_needs(kinds[i]), 6 + 4 + 5 + 2))
			continue;
		memory_create(&memory, kinds[i]);
		life(&memory);
		refusals(&memory);
		pinned_by_others(&memory);
		processors(&memory);
		memory_destroy(&memory);
	}
	memory_create(&memory, MEMORY_SHMEM_PAGE);
	killed(&memory);
	bad_input(&memory);
	memory_destroy(&memory);
	stranger_stop(&stranger);
	check(!module_unload("xpin_example"), "unload it");
	ksft_finished();
}
