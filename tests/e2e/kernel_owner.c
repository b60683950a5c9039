// SPDX-License-Identifier: GPL-2.0
/*
 * Rules R7 and R8 for an in-kernel owner, who may unpin by a plain
 * unpin_user_page(): his unpins end his ownership, and nobody else's do. GUP
 * puts pins back by itself when a page table changes under it, and who can make
 * it change must not be able to count the owner's pins down to zero by that.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"
#include "module/xpin_test_owner.h"

/*
 * Pins to try: so many times so many without a system call in between; and more,
 * until the page table has changed so often at least.
 */
#define ROUNDS	400
#define BATCH	50
#define FLIPS	500

static struct stranger stranger;
static int watcher;

static int test_owner_open(void)
{
	int fd = open("/dev/xpin_test_owner", O_RDWR | O_CLOEXEC);

	require(fd >= 0, "open /dev/xpin_test_owner");
	return fd;
}

static int call(int fd, unsigned long request, void *addr, __u64 pages,
		__u64 *answer)
{
	struct xpin_test_owner_call call = {
		.addr = (uintptr_t)addr,
		.pages = pages,
		.repeat = BATCH,
	};
	int error = ioctl(fd, request, &call) ? -errno : 0;

	if (answer)
		*answer = call.answer;
	return error;
}

static bool owned(int fd, const struct memory *memory, void *addr, __u64 pages)
{
	__u64 count = 0;

	return !call(fd, XPIN_TEST_OWNER_OWNED, NULL, pages, &count) &&
	       count == pages &&
	       xpin_all_pages(watcher, addr, pages * PAGE, XPIN_PAGE_OTHERS) &&
	       !stranger_reaches(&stranger, memory, addr);
}

/* Free for pins and for another owner. */
static bool is_free(const struct memory *memory, void *addr, __u64 pages)
{
	struct xpin_claim claim;

	return !xpin_stat("entries") &&
	       xpin_all_pages(watcher, addr, pages * PAGE, XPIN_PAGE_FREE) &&
	       stranger_reaches(&stranger, memory, addr) &&
	       !xpin_claim(watcher, addr, pages * PAGE, 0, &claim) &&
	       !xpin_release(watcher, &claim);
}

static void unpins(const struct memory *memory, unsigned long request,
		   const char *name)
{
	int fd = test_owner_open();
	bool ok;

	ok = !call(fd, XPIN_TEST_OWNER_PIN, memory->wanted, 4, NULL) &&
	     owned(fd, memory, memory->wanted, 4) &&
	     !call(fd, request, NULL, 4, NULL) &&
	     is_free(memory, memory->wanted, 4);
	check(ok, "%s: %s ends ownership", memory->name, name);

	/* Two pins of a page: the first unpin is not the last. */
	ok = !call(fd, XPIN_TEST_OWNER_PIN, memory->wanted, 1, NULL) &&
	     !call(fd, XPIN_TEST_OWNER_PIN, memory->wanted, 1, NULL) &&
	     !call(fd, request, NULL, 1, NULL) &&
	     owned(fd, memory, memory->wanted, 1) &&
	     !call(fd, request, NULL, 1, NULL) &&
	     is_free(memory, memory->wanted, 1);
	check(ok, "%s: %s of one of two pins does not", memory->name, name);
	close(fd);
}

/* Where nobody hears of plain unpins, there is no owner who may make them. */
static void plain_unpins(const struct memory *memory)
{
	int fd;
	bool ok;

	if (!feature_missing(FEATURE_PLAIN_UNPIN)) {
		unpins(memory, XPIN_TEST_OWNER_PLAIN_UNPIN,
		       "unpin_user_pages()");
		return;
	}
	fd = test_owner_open();
	ok = !call(fd, XPIN_TEST_OWNER_PIN, memory->wanted, 4, NULL) &&
	     call(fd, XPIN_TEST_OWNER_PLAIN_UNPIN, NULL, 4, NULL) ==
	     -EOPNOTSUPP && owned(fd, memory, memory->wanted, 4);
	close(fd);
	check(ok && is_free(memory, memory->wanted, 4),
	      "%s: no owner with XPIN_OWNER_PLAIN_UNPIN", memory->name);
	skip_without(FEATURE_PLAIN_UNPIN, 1);
}

/* By a plain unpin where that may be. */
static int owners_unpin(int fd, __u64 pages)
{
	return call(fd, feature_missing(FEATURE_PLAIN_UNPIN) ?
		    XPIN_TEST_OWNER_UNPIN : XPIN_TEST_OWNER_PLAIN_UNPIN, NULL,
		    pages, NULL);
}

static void share(const struct memory *memory)
{
	int fd = test_owner_open();
	__u64 answer = 0;
	bool ok;

	ok = !call(fd, XPIN_TEST_OWNER_PIN, memory->wanted, 2, NULL) &&
	     !call(fd, XPIN_TEST_OWNER_SHARE, NULL, 2, &answer) && !answer &&
	     stranger_reaches(&stranger, memory, memory->wanted);
	check(ok, "%s: shared memory is pinned by others", memory->name);

	require(!stranger_pin_hold(&stranger, memory, memory->wanted, PAGE),
		"the foreign pin");
	ok = call(fd, XPIN_TEST_OWNER_UNSHARE, NULL, 2, &answer) == -EBUSY &&
	     !answer;
	stranger_pin_drop(&stranger);
	check(ok && stranger_reaches(&stranger, memory, memory->wanted),
	      "%s: no unshare while others pin", memory->name);

	ok = !call(fd, XPIN_TEST_OWNER_UNSHARE, NULL, 2, NULL) &&
	     owned(fd, memory, memory->wanted, 2) &&
	     !owners_unpin(fd, 2) && is_free(memory, memory->wanted, 2);
	check(ok, "%s: unshared, then unpinned", memory->name);

	ok = !call(fd, XPIN_TEST_OWNER_PIN, memory->wanted, 2, NULL) &&
	     !call(fd, XPIN_TEST_OWNER_SHARE, NULL, 2, NULL) &&
	     !call(fd, XPIN_TEST_OWNER_UNPIN_SHARED, NULL, 2, NULL) &&
	     is_free(memory, memory->wanted, 2);
	check(ok, "%s: unpinned while it is shared", memory->name);
	close(fd);
}

/* memfd_pin_folios(), which drivers call, is all or nothing. */
static bool memfd_pins(int fd, const struct memory *memory, __u64 pages,
		       __u64 folios)
{
	void *memfd = (void *)(long)memory->fd;
	__u64 answer = 0;

	return !call(fd, XPIN_TEST_OWNER_MEMFD, memfd, pages, &answer) &&
	       answer == folios;
}

static bool memfd_refused(int fd, const struct memory *memory, __u64 pages)
{
	void *memfd = (void *)(long)memory->fd;
	long long pins = pins_held();

	return call(fd, XPIN_TEST_OWNER_MEMFD, memfd, pages, NULL) == -EBUSY &&
	       pins_held() == pins;
}

static void memfd(const struct memory *memory)
{
	/* Asked for: the first folio and a page of the second, the wanted one. */
	__u64 folio = memory->folio / PAGE;
	struct xpin_claim claim;
	bool before, first, later;
	int fd;

	if (skip_without(FEATURE_MEMFD_PIN, 1))
		return;
	fd = test_owner_open();
	before = memfd_pins(fd, memory, folio + 1, 2);
	require(!xpin_claim(watcher, memory->base, PAGE, 0, &claim), "claim");
	first = memfd_refused(fd, memory, folio + 1);
	require(!xpin_release(watcher, &claim), "release");
	require(!xpin_claim(watcher, memory->wanted, PAGE, 0, &claim), "claim");
	later = memfd_refused(fd, memory, folio + 1) &&
		memfd_pins(fd, memory, folio, 1);
	require(!xpin_release(watcher, &claim), "release");
	check(before && first && later &&
	      memfd_pins(fd, memory, folio + 1, 2),
	      "%s: memfd_pin_folios() is refused", memory->name);
	close(fd);
}

/* --- A page table that changes under GUP --- */

static struct {
	unsigned char *addr;
	size_t length;
	atomic_bool stop;
	atomic_long count;
} flip;

/*
 * The protections differ in one bit of each PTE, or of the PMD: what GUP-fast
 * read is out of date when it looks again, and it puts the pin back.
 */
static void *flip_page_table(void *unused)
{
	while (!atomic_load(&flip.stop)) {
		require(!mprotect(flip.addr, flip.length, PROT_READ) &&
			!mprotect(flip.addr, flip.length,
				  PROT_READ | PROT_WRITE), "mprotect");
		atomic_fetch_add(&flip.count, 1);
	}
	return unused;
}

static void flipped(const struct memory *memory)
{
	int fd = test_owner_open(), gup = test_owner_open(), error = 0;
	const __u64 pages = LARGE / PAGE;
	/* On two page tables the second one alone would be refused. */
	unsigned char *addr = memory->folio == LARGE ? memory->wanted :
			      memory->base;
	__u64 count = 0, pinned = 0;
	pthread_t thread;
	long round, rounds = repetitions(ROUNDS);
	long flips = repetitions(FLIPS);
	bool ok;

	require(!call(fd, XPIN_TEST_OWNER_PIN, addr, pages, NULL), "pin");
	flip.addr = addr;
	flip.length = LARGE;
	atomic_store(&flip.stop, false);
	atomic_store(&flip.count, 0);
	require(!pthread_create(&thread, NULL, flip_page_table, NULL),
		"pthread_create");
	while (!atomic_load(&flip.count))
		sched_yield();

	for (round = 0; !error && !pinned &&
	     (round < rounds || atomic_load(&flip.count) < flips / 2); round++)
		error = call(gup, XPIN_TEST_OWNER_GUP, addr, pages, &pinned);
	atomic_store(&flip.stop, true);
	pthread_join(thread, NULL);

	ksft_print_msg("%s: %ld pins tried, %ld flips\n", memory->name,
		       round * BATCH, 2 * atomic_load(&flip.count));
	if (error || pinned)
		ksft_print_msg("%llu pins, error: %s\n", pinned,
			       strerror(-error));
	check(!error && !pinned, "%s: refused while its page table changes",
	      memory->name);
	ok = !call(fd, XPIN_TEST_OWNER_OWNED, NULL, pages, &count) &&
	     count == pages;
	if (!ok)
		ksft_print_msg("%llu of %llu pages are still owned\n", count,
			       pages);
	check(ok && owned(fd, memory, addr, pages),
	      "%s: still owned after that", memory->name);
	check(!owners_unpin(fd, pages) && is_free(memory, addr, pages),
	      "%s: the owner's unpin ends it", memory->name);
	close(gup);
	close(fd);
}

int main(void)
{
	static const enum memory_kind shmem[] = {
		MEMORY_SHMEM_PAGE, MEMORY_SHMEM_LARGE,
	};
	struct memory memory;
	size_t i;
	int kind;

	ksft_print_header();
	ksft_set_plan(MEMORY_KINDS * (2 * 2 + 3) + ARRAY_SIZE(shmem) * 5);
	stranger_start(&stranger);
	watcher = xpin_open();

	for (kind = 0; kind < MEMORY_KINDS; kind++) {
		if (skip_without(memory_needs(kind), 2 * 2 + 3))
			continue;
		memory_create(&memory, kind);
		unpins(&memory, XPIN_TEST_OWNER_UNPIN, "xpin_unpin_pages()");
		plain_unpins(&memory);
		flipped(&memory);
		memory_destroy(&memory);
	}
	for (i = 0; i < ARRAY_SIZE(shmem); i++) {
		memory_create(&memory, shmem[i]);
		share(&memory);
		memfd(&memory);
		memory_destroy(&memory);
	}

	close(watcher);
	stranger_stop(&stranger);
	ksft_finished();
}
