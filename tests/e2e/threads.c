// SPDX-License-Identifier: GPL-2.0
/*
 * Threads that use one open file, or close it under each other. A call under way
 * holds the file: it ends with its own result, and then, if it was the last to
 * use the file, nothing is left. The rest is a storm of calls by many threads
 * over the same few folios, after which all must be free again.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "kselftest.h"
#include "xpin_test.h"
#include "module/xpin_test_owner.h"

#define PATIENCE	(60 * NSEC_PER_SEC)

static struct memory memory;
static int watcher;

struct before {
	long long pins;
	long long owners;
	long long locked_kb;
};

static struct before before(void)
{
	return (struct before){
		.pins = pins_held(),
		.owners = xpin_stat("owners"),
		.locked_kb = locked_kb(),
	};
}

/* Of all that was opened and claimed since then. */
static bool nothing_left(const struct before *before)
{
	struct xpin_claim claim;

	return pins_held() == before->pins &&
	       xpin_stat("owners") == before->owners &&
	       locked_kb() == before->locked_kb && !xpin_stat("entries") &&
	       xpin_all_pages(watcher, memory.base, MEMORY_LENGTH,
			      XPIN_PAGE_FREE) &&
	       !xpin_claim(watcher, memory.base, MEMORY_LENGTH, 0, &claim) &&
	       !xpin_release(watcher, &claim);
}

/* --- Close --- */

enum call { CLAIM, UNSHARE, QUERY, CALLS };

static const char * const call_names[] = {
	[CLAIM] = "a claim",
	[UNSHARE] = "an unshare",
	[QUERY] = "a query",
};

struct caller {
	pthread_t thread;
	enum call call;
	int fd;
	struct xpin_claim claim;
	/* Where a query writes to: a page fault holds it. */
	__u8 *states;
	int result;
};

static void *call_in_thread(void *argument)
{
	struct caller *caller = argument;
	struct xpin_part part = {
		.size = sizeof(part),
		.claim_id = caller->claim.claim_id,
		.length = XPIN_WHOLE,
		.timeout_ns = PATIENCE,
	};
	struct xpin_query query = {
		.size = sizeof(query),
		.addr = (uintptr_t)memory.wanted,
		.length = PAGE,
		.states = (uintptr_t)caller->states,
	};

	switch (caller->call) {
	case CLAIM:
		caller->result = xpin_claim(caller->fd, memory.wanted, PAGE,
					    PATIENCE, &caller->claim);
		break;
	case UNSHARE:
		caller->result = ioctl(caller->fd, XPIN_IOC_UNSHARE, &part) ?
				 -errno : 0;
		break;
	default:
		caller->result = ioctl(caller->fd, XPIN_IOC_QUERY, &query) ?
				 -errno : 0;
		break;
	}
	return NULL;
}

/* A page that only userfaultfd fills. */
static int hold_faults(struct caller *caller)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register page = {
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC);

	caller->states = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(caller->states != MAP_FAILED, "mmap");
	page.range.start = (uintptr_t)caller->states;
	page.range.len = PAGE;
	require(uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api) &&
		!ioctl(uffd, UFFDIO_REGISTER, &page), "userfaultfd");
	return uffd;
}

static void fill_fault(struct caller *caller, int uffd)
{
	struct uffdio_zeropage page = {
		.range = { (uintptr_t)caller->states, PAGE },
	};

	require(!ioctl(uffd, UFFDIO_ZEROPAGE, &page), "UFFDIO_ZEROPAGE");
	close(uffd);
}

static void close_during(enum call call)
{
	struct before start = before();
	struct caller caller = { .call = call, .fd = xpin_open() };
	struct uffd_msg fault;
	struct xpin_part part;
	bool stays, ok;
	int uffd = -1;

	if (call != CLAIM)
		require(!xpin_claim(caller.fd, memory.wanted, PAGE, 0,
				    &caller.claim), "claim");
	if (call == UNSHARE)
		require(!xpin_part(caller.fd, XPIN_IOC_SHARE,
				   caller.claim.claim_id, 0, XPIN_WHOLE, &part),
			"share");
	if (call == QUERY)
		uffd = hold_faults(&caller);
	else
		require(!pin_hold(memory.wanted, PAGE), "the foreign pin");

	require(!pthread_create(&caller.thread, NULL, call_in_thread, &caller),
		"pthread_create");
	if (call == QUERY)
		require(read(uffd, &fault, sizeof(fault)) == sizeof(fault),
			"a page fault");
	else
		wait_for_state(watcher, memory.wanted, XPIN_PAGE_CLAIMING);

	ok = !close(caller.fd);
	stays = xpin_stat("owners") == start.owners + 1 &&
		xpin_page_state(watcher, memory.wanted) ==
		(call == QUERY ? XPIN_PAGE_OTHERS : XPIN_PAGE_CLAIMING);
	if (call == QUERY)
		fill_fault(&caller, uffd);
	else
		pin_drop();
	pthread_join(caller.thread, NULL);
	if (caller.result)
		ksft_print_msg("%s: %s\n", call_names[call],
			       strerror(-caller.result));
	ok = ok && stays && !caller.result &&
	     (call != QUERY || caller.states[0] == XPIN_PAGE_MINE);
	check(ok && nothing_left(&start),
	      "close during %s: it ends with its own result, and all is free",
	      call_names[call]);
	if (call == QUERY)
		munmap(caller.states, PAGE);
}

static void duplicate(void)
{
	int fd = xpin_open(), copy = dup(fd);
	struct xpin_claim claim;
	struct before start;
	bool ok;

	require(copy >= 0, "dup");
	require(!xpin_claim(fd, memory.wanted, PAGE, 0, &claim), "claim");
	ok = !close(fd) &&
	     xpin_page_state(copy, memory.wanted) == XPIN_PAGE_MINE &&
	     !xpin_release(copy, &claim) &&
	     xpin_page_state(watcher, memory.wanted) == XPIN_PAGE_FREE;
	check(ok, "dup: the claim lives on, and the copy can release it");

	ok = !xpin_claim(copy, memory.wanted, PAGE, 0, &claim);
	close(copy);
	start = before();
	check(ok && nothing_left(&start), "dup: the last close releases all");
}

/* --- Two threads and one claim --- */

static struct pair {
	pthread_barrier_t together;
	int fd;
	struct xpin_claim claim;
	bool stop;
	int released;
	int refused;
	int other;
} pair;

static void count(int error)
{
	if (!error)
		__atomic_fetch_add(&pair.released, 1, __ATOMIC_RELAXED);
	else if (error == -ENOENT)
		__atomic_fetch_add(&pair.refused, 1, __ATOMIC_RELAXED);
	else
		__atomic_fetch_add(&pair.other, 1, __ATOMIC_RELAXED);
}

static void *release_too(void *unused)
{
	for (;;) {
		pthread_barrier_wait(&pair.together);
		if (pair.stop)
			return unused;
		count(xpin_release(pair.fd, &pair.claim));
		pthread_barrier_wait(&pair.together);
	}
}

/* Shares and unshares each page, until there is nothing left. */
static void *change_parts(void *unused)
{
	struct xpin_part part;
	int error, i;

	for (;;) {
		pthread_barrier_wait(&pair.together);
		if (pair.stop)
			return unused;
		error = 0;
		for (i = 0; !error; i++)
			error = xpin_part(pair.fd, i & 1 ? XPIN_IOC_UNSHARE :
					  XPIN_IOC_SHARE, pair.claim.claim_id,
					  i / 2 % 8 * PAGE, PAGE, &part);
		count(error);
		pthread_barrier_wait(&pair.together);
	}
}

static void two_threads(void *(*other)(void *unused), const char *what)
{
	long round, rounds = repetitions(500);
	struct before start = before();
	pthread_t thread;
	bool ok = true;

	pair = (struct pair){ .fd = xpin_open() };
	pthread_barrier_init(&pair.together, NULL, 2);
	require(!pthread_create(&thread, NULL, other, NULL), "pthread_create");
	for (round = 0; round < rounds; round++) {
		require(!xpin_claim(pair.fd, memory.wanted, 8 * PAGE, 0,
				    &pair.claim), "claim");
		pthread_barrier_wait(&pair.together);
		count(xpin_release(pair.fd, &pair.claim));
		pthread_barrier_wait(&pair.together);
		ok &= xpin_page_state(watcher, memory.wanted) == XPIN_PAGE_FREE;
	}
	pair.stop = true;
	pthread_barrier_wait(&pair.together);
	pthread_join(thread, NULL);
	close(pair.fd);

	ok &= pair.released == rounds && pair.refused == rounds && !pair.other;
	if (!ok)
		ksft_print_msg("%ld rounds: %d released, %d ENOENT, %d other\n",
			       rounds, pair.released, pair.refused, pair.other);
	check(ok && nothing_left(&start), "%s", what);
}

/* --- A storm --- */

#define THREADS		8
#define FILES		3
/* Claims that exist at the same time, for all threads to take and change. */
#define SLOTS		16
#define STORM_PAGES	16

enum {
	STORM_CLAIM,
	STORM_SHARE,
	STORM_UNSHARE,
	STORM_RELEASE,
	STORM_QUERY,
	STORM_CALLS,
};

static const char * const storm_names[] = {
	"claims", "shares", "unshares", "releases", "queries",
};

static struct storm {
	int files[FILES];
	int nr_files;
	unsigned char *start;
	long rounds;
	atomic_int turn;
	atomic_bool stop;
	atomic_long succeeded[STORM_CALLS];
	atomic_long refused[STORM_CALLS];
	atomic_int unexpected;
	/* A claim's identity and the number of its file; 0 for none. */
	atomic_ullong slots[SLOTS];
} storm;

static unsigned int seed;

static unsigned int below(unsigned int *random, unsigned int limit)
{
	*random = *random * 1664525 + 1013904223;
	return (*random >> 8) % limit;
}

/* Refusals that another thread can cause. */
static bool may_fail(int call, int error)
{
	switch (call) {
	case STORM_CLAIM:
		return error == -EBUSY;
	case STORM_UNSHARE:
		return error == -EBUSY || error == -ENOENT;
	case STORM_QUERY:
		return false;
	default:
		return error == -ENOENT;
	}
}

static int storm_claim(unsigned int *random)
{
	int file = below(random, storm.nr_files);
	int first = below(random, STORM_PAGES);
	int pages = 1 + below(random, STORM_PAGES - first);
	atomic_ullong *slot = &storm.slots[below(random, SLOTS)];
	struct xpin_claim claim;
	__u64 old;
	int error;

	error = xpin_claim(storm.files[file], storm.start + first * PAGE,
			   pages * PAGE, below(random, 2) * NSEC_PER_SEC / 1000,
			   &claim);
	if (error)
		return error;
	/* The one that was there before goes, so claims do not pile up. */
	old = atomic_exchange(slot, claim.claim_id * FILES + file);
	if (old) {
		claim.claim_id = old / FILES;
		error = xpin_release(storm.files[old % FILES], &claim);
	}
	return error == -ENOENT ? 0 : error;
}

static int storm_part(unsigned int *random, unsigned long request)
{
	__u64 slot = atomic_load(&storm.slots[below(random, SLOTS)]);
	/* Page 0 of it is there; page 1 perhaps. */
	__u64 page = below(random, 2);
	struct xpin_part part = {
		.size = sizeof(part),
		.claim_id = slot / FILES,
		.offset = page * PAGE,
		.length = page || below(random, 2) ? PAGE : XPIN_WHOLE,
	};

	if (request == XPIN_IOC_UNSHARE)
		part.timeout_ns = below(random, 2) * NSEC_PER_SEC / 1000;
	return ioctl(storm.files[slot % FILES], request, &part) ? -errno : 0;
}

static int storm_call(unsigned int *random, int call)
{
	int state;

	switch (call) {
	case STORM_CLAIM:
		return storm_claim(random);
	case STORM_SHARE:
		return storm_part(random, XPIN_IOC_SHARE);
	case STORM_UNSHARE:
		return storm_part(random, XPIN_IOC_UNSHARE);
	case STORM_RELEASE:
		return storm_part(random, XPIN_IOC_RELEASE);
	default:
		state = xpin_page_state(storm.files[below(random,
							  storm.nr_files)],
					storm.start +
					below(random, STORM_PAGES) * PAGE);
		return state < 0 ? state : 0;
	}
}

static void *storm_thread(void *unused)
{
	unsigned int random = seed + atomic_fetch_add(&storm.turn, 1);
	int call, error;
	long i;

	for (i = 0; i < storm.rounds; i++) {
		call = below(&random, STORM_CALLS);
		error = storm_call(&random, call);
		if (!error) {
			atomic_fetch_add(&storm.succeeded[call], 1);
		} else if (may_fail(call, error)) {
			atomic_fetch_add(&storm.refused[call], 1);
		} else {
			printf("# %s: %s\n", storm_names[call],
			       strerror(-error));
			atomic_fetch_add(&storm.unexpected, 1);
		}
	}
	return unused;
}

/* Short pins by nobody in particular, all the time. */
static void *storm_stranger(void *unused)
{
	int fd = open("/dev/xpin_test_owner", O_RDWR | O_CLOEXEC);
	struct xpin_test_owner_call gup;

	require(fd >= 0, "open /dev/xpin_test_owner");
	while (!atomic_load(&storm.stop)) {
		gup = (struct xpin_test_owner_call){
			.addr = (uintptr_t)storm.start,
			.pages = STORM_PAGES,
			.repeat = 10,
		};
		require(!ioctl(fd, XPIN_TEST_OWNER_GUP, &gup), "GUP");
		/* Or hardly a claim would find a moment without. */
		usleep(1000);
	}
	close(fd);
	return unused;
}

static void storms(unsigned char *where, int nr_files, const char *what)
{
	struct before start = before();
	pthread_t threads[THREADS], stranger;
	bool ok = true;
	int i;

	storm = (struct storm){
		.nr_files = nr_files,
		.start = where,
		.rounds = repetitions(1500),
	};
	for (i = 0; i < nr_files; i++)
		storm.files[i] = xpin_open();
	require(!pthread_create(&stranger, NULL, storm_stranger, NULL),
		"pthread_create");
	for (i = 0; i < THREADS; i++)
		require(!pthread_create(&threads[i], NULL, storm_thread, NULL),
			"pthread_create");
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&storm.stop, true);
	pthread_join(stranger, NULL);
	for (i = 0; i < nr_files; i++)
		close(storm.files[i]);

	for (i = 0; i < STORM_CALLS; i++) {
		ksft_print_msg("%s: %ld %s, %ld refused\n", what,
			       storm.succeeded[i], storm_names[i],
			       storm.refused[i]);
		ok &= storm.succeeded[i] > 0;
	}
	check(ok && !storm.unexpected && nothing_left(&start) &&
	      memory_untouched(&memory, memory.base, MEMORY_LENGTH),
	      "a storm over %s", what);
}

int main(void)
{
	const char *given = getenv("XPIN_SEED");
	enum call call;

	ksft_print_header();
	ksft_set_plan(2 * (CALLS + 2 + 2 + 2));
	if (given)
		seed = strtoul(given, NULL, 0);
	else
		require(getrandom(&seed, sizeof(seed), 0) == sizeof(seed),
			"getrandom");
	ksft_print_msg("to repeat: xpin.seed=%u\n", seed);
	watcher = xpin_open();

	memory_create(&memory, MEMORY_SHMEM_PAGE);
	for (;;) {
		ksft_print_msg("%s\n", memory.name);
		for (call = 0; call < CALLS; call++)
			close_during(call);
		duplicate();
		two_threads(release_too, "two threads release the same claims");
		two_threads(change_parts,
			    "one thread releases what another shares and unshares");
		memory_fill(&memory);
		storms(memory.wanted, 1, "one file");
		storms(memory.wanted, FILES, "several files");
		if (memory.kind == MEMORY_SHMEM_LARGE)
			break;
		memory_destroy(&memory);
		memory_create(&memory, MEMORY_SHMEM_LARGE);
	}

	memory_destroy(&memory);
	close(watcher);
	ksft_finished();
}
