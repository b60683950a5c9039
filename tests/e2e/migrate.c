// SPDX-License-Identifier: GPL-2.0
/*
 * Rule R6 for memory that must migrate before it can be claimed: a short pin in
 * the way is waited for, and who comes later is refused until the claim has its
 * own pin, or has given up. Otherwise new short pins could come for ever. The
 * pin is held from outside, so the migration fails for as long as this test
 * wants.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"
#include "module/xpin_test_owner.h"

#define PATIENCE	(60 * NSEC_PER_SEC)
/* A claim that shall time out. */
#define IMPATIENCE	(NSEC_PER_SEC / 2)

static const struct scene {
	enum memory_kind kind;
	/* Claimed by XPIN_IOC_CLAIM_MEMFD. */
	bool by_memfd;
} scenes[] = {
	{ MEMORY_ANON_PAGE, false },
	{ MEMORY_ANON_MIDDLE, false },
	{ MEMORY_ANON_LARGE, false },
	{ MEMORY_ANON_LARGE_PTES, false },
	{ MEMORY_SHMEM_PAGE, false },
	{ MEMORY_SHMEM_PAGE, true },
	{ MEMORY_SHMEM_MIDDLE, false },
	{ MEMORY_SHMEM_MIDDLE, true },
	{ MEMORY_SHMEM_LARGE, false },
	{ MEMORY_SHMEM_LARGE, true },
	{ MEMORY_SHMEM_LARGE_PTES, false },
	{ MEMORY_HUGETLB, false },
	{ MEMORY_HUGETLB_MEMFD, false },
	{ MEMORY_HUGETLB_MEMFD, true },
};

static int fd, pinner;
static struct stranger stranger;

static struct waiting {
	struct memory memory;
	/* Its page that is claimed. */
	unsigned char *addr;
	bool by_memfd;
	__u64 timeout;
	__u64 claim_id;
	int error;
	atomic_bool over;
} waiting;

static void *claim_in_thread(void *unused)
{
	struct xpin_claim_memfd of_memfd;
	struct xpin_claim claim;

	if (waiting.by_memfd) {
		waiting.error = xpin_claim_memfd(fd, waiting.memory.fd,
						 waiting.addr -
						 waiting.memory.base,
						 PAGE, waiting.timeout,
						 &of_memfd);
		waiting.claim_id = of_memfd.claim_id;
	} else {
		waiting.error = xpin_claim(fd, waiting.addr, PAGE,
					   waiting.timeout, &claim);
		waiting.claim_id = claim.claim_id;
	}
	atomic_store(&waiting.over, true);
	return unused;
}

static void hold(bool on)
{
	struct xpin_test_owner_call call = {
		.addr = (uintptr_t)waiting.addr,
		.pages = 1,
	};

	require(!ioctl(pinner, on ? XPIN_TEST_OWNER_HOLD : XPIN_TEST_OWNER_DROP,
		       &call), "HOLD or DROP");
}

/* The last page of the second folio, or of the first one. */
static unsigned char *last_page(bool wanted)
{
	return waiting.memory.wanted + (wanted ? waiting.memory.folio : 0) -
	       PAGE;
}

static bool all_reach(unsigned char *page, bool expected)
{
	bool ok = true;

	if (stranger_reaches(&stranger, &waiting.memory, page) != expected) {
		ksft_print_msg("by GUP's slow path it is otherwise\n");
		ok = false;
	}
	if (reached_fast(pinner, page) != expected) {
		ksft_print_msg("by GUP's fast path it is otherwise\n");
		ok = false;
	}
	return ok;
}

/* True once a stranger is refused; false if the claim ends before that. */
static bool soon_refused(void)
{
	while (!atomic_load(&waiting.over)) {
		if (!stranger_reaches(&stranger, &waiting.memory, waiting.addr))
			return true;
	}
	return false;
}

static void begin(pthread_t *thread, unsigned char *addr, __u64 timeout)
{
	require(in_movable_zone(addr), "movable memory");
	waiting.addr = addr;
	waiting.timeout = timeout;
	atomic_store(&waiting.over, false);
	hold(true);
	/* The control: a pin is in no other pin's way. */
	require(all_reach(addr, true), "strangers reach it");
	require(!pthread_create(thread, NULL, claim_in_thread, NULL),
		"pthread_create");
}

/* The pool anew: what migrated once is in it, and not in ZONE_MOVABLE any more. */
static void fresh_huge_pages(void)
{
	int file = open("/proc/sys/vm/nr_hugepages", O_RDWR | O_CLOEXEC);
	char number[32];
	ssize_t length;

	require(file >= 0, "nr_hugepages");
	length = pread(file, number, sizeof(number), 0);
	require(length > 0 && pwrite(file, "0", 1, 0) == 1 &&
		pwrite(file, number, length, 0) == length, "nr_hugepages");
	close(file);
}

static void play(const struct scene *scene)
{
	const char *what = scene->by_memfd ? ", as a memfd" : "";
	bool refused, others;
	struct xpin_part part;
	pthread_t thread;
	int i;

	memset(&waiting, 0, sizeof(waiting));
	waiting.by_memfd = scene->by_memfd;
	if (scene->kind == MEMORY_HUGETLB || scene->kind == MEMORY_HUGETLB_MEMFD)
		fresh_huge_pages();
	memory_create(&waiting.memory, scene->kind);

	begin(&thread, waiting.memory.base, IMPATIENCE);
	pthread_join(thread, NULL);
	check(waiting.error == -EBUSY && all_reach(waiting.addr, true),
	      "%s%s: a claim in vain refuses nobody afterwards",
	      waiting.memory.name, what);
	hold(false);

	begin(&thread, waiting.memory.wanted, PATIENCE);
	/* A mark lasts for a second or two; who renews it may not have run. */
	for (i = 0, refused = false; i < 3 && !refused; i++)
		refused = soon_refused() &&
			  all_reach(waiting.memory.wanted, false) &&
			  all_reach(last_page(true), false) &&
			  !atomic_load(&waiting.over);
	others = all_reach(last_page(false), true);
	check(refused,
	      "%s%s: strangers are refused while a pin keeps it from migrating",
	      waiting.memory.name, what);
	/* That was wanted before: who waits in vain must leave no trace. */
	check(others, "%s%s: what nobody waits for is not refused",
	      waiting.memory.name, what);

	hold(false);
	pthread_join(thread, NULL);
	check(!waiting.error && !in_movable_zone(waiting.memory.wanted) &&
	      xpin_page_state(fd, waiting.memory.wanted) == XPIN_PAGE_MINE &&
	      all_reach(waiting.memory.wanted, false),
	      "%s%s: it migrates when the pin is gone", waiting.memory.name,
	      what);
	require(waiting.error ||
		!xpin_part(fd, XPIN_IOC_RELEASE, waiting.claim_id, 0, XPIN_WHOLE,
			   &part), "release");
	check(all_reach(waiting.memory.wanted, true),
	      "%s%s: nobody is refused after the release", waiting.memory.name,
	      what);
	memory_destroy(&waiting.memory);
}

int main(void)
{
	size_t i;

	ksft_print_header();
	ksft_set_plan(5 * ARRAY_SIZE(scenes));
	if (skip_without(FEATURE_MOVABLE, 5 * ARRAY_SIZE(scenes)))
		ksft_finished();
	stranger_start(&stranger);
	fd = xpin_open();
	pinner = open("/dev/xpin_test_owner", O_RDWR | O_CLOEXEC);
	require(pinner >= 0, "open /dev/xpin_test_owner");

	for (i = 0; i < ARRAY_SIZE(scenes); i++) {
		if (skip_without(scenes[i].by_memfd ? FEATURE_MEMFD_PIN :
				 memory_needs(scenes[i].kind), 5))
			continue;
		play(&scenes[i]);
	}

	stranger_stop(&stranger);
	close(pinner);
	close(fd);
	ksft_finished();
}
