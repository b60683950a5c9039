// SPDX-License-Identifier: GPL-2.0
/*
 * Ownership is of folios, not of addresses. What takes a folio out of its owner's
 * page tables, or out of its file, leaves an orphan: owned and pinned, and not
 * freed, until it is released by the claim's id or the file is closed. What
 * comes to be at the same address, or in the same place of the file, is free.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/kernel-page-flags.h>

#include "kselftest.h"
#include "xpin_test.h"

static struct stranger stranger;
static int owner, another;

/* Pages on their way to the LRU lists are referenced, and would not be freed. */
static void settle_references(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	require(fd >= 0 && write(fd, "1", 1) == 1, "drop_caches");
	close(fd);
}

/* Anonymous and shmem pages have this flag from their first use until they go. */
static bool in_use(__u64 pfn)
{
	return page_flag(pfn, KPF_SWAPBACKED);
}

/* A stranger and another owner get it, as soon as they ask. */
static bool for_everybody(const struct memory *memory, void *addr, size_t length)
{
	struct xpin_claim claim;

	return xpin_all_pages(owner, addr, length, XPIN_PAGE_FREE) &&
	       stranger_reaches(&stranger, memory, addr) &&
	       !xpin_claim(another, addr, length, 0, &claim) &&
	       !xpin_release(another, &claim);
}

/* Neither a stranger nor another owner gets it. */
static bool for_nobody_else(const struct memory *memory, void *addr,
			    size_t length)
{
	struct xpin_claim claim;

	return xpin_all_pages(owner, addr, length, XPIN_PAGE_MINE) &&
	       !stranger_reaches(&stranger, memory, addr) &&
	       xpin_claim(another, addr, length, 0, &claim) == -EBUSY;
}

static void claim(const struct memory *memory, struct xpin_claim *claim)
{
	int error = xpin_claim(owner, memory->wanted, memory->folio, 0, claim);

	errno = -error;
	require(!error, "claim");
}

static off_t offset_of(const struct memory *memory, const void *addr)
{
	return (const unsigned char *)addr - memory->base;
}

/* --- The owner takes the folio away, from an address or from the file --- */

static void unmap(const struct memory *memory, size_t length)
{
	void *addr = memory->wanted;

	require(!munmap(addr, length), "munmap");
	require(mmap(addr, length, PROT_READ | PROT_WRITE, MAP_FIXED |
		     (memory->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED),
		     memory->fd, memory->fd < 0 ? 0 : offset_of(memory, addr)) ==
		addr, "mmap");
}

static void drop(const struct memory *memory, size_t length)
{
	require(!madvise(memory->wanted, length, MADV_DONTNEED),
		"MADV_DONTNEED");
}

static void truncate_file(const struct memory *memory, size_t length)
{
	(void)length;
	require(!ftruncate(memory->fd, offset_of(memory, memory->wanted)) &&
		!ftruncate(memory->fd, MEMORY_LENGTH), "ftruncate");
}

static void punch_hole(const struct memory *memory, size_t length)
{
	require(!fallocate(memory->fd,
			   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			   offset_of(memory, memory->wanted), length),
		"fallocate");
}

/**
 * struct way - to take the wanted folio away
 * @name: for people
 * @take: does it with the first bytes of the folio, and has room for new memory
 * @anon: possible for anonymous memory
 * @memfd: possible for a memfd
 * @from_file: the folio is no longer part of the memfd
 */
static const struct way {
	const char *name;
	void (*take)(const struct memory *memory, size_t length);
	bool anon;
	bool memfd;
	bool from_file;
} ways[] = {
	{ "munmap", unmap, true, true, false },
	{ "MADV_DONTNEED", drop, true, true, false },
	{ "ftruncate", truncate_file, false, true, true },
	{ "hole punch", punch_hole, false, true, true },
};

static bool possible(const struct way *way, enum memory_kind kind)
{
	return kind < MEMORY_SHMEM_PAGE ? way->anon : way->memfd;
}

static void taken_away(const struct way *way, enum memory_kind kind)
{
	long long pins = pins_held(), pinned, entries;
	bool orphaned, hole, held, now, freed = true;
	struct xpin_claim claimed;
	struct memory memory;
	__u64 pfn;

	memory_create(&memory, kind);
	orphaned = memory.fd < 0 || way->from_file;
	claim(&memory, &claimed);
	pfn = page_pfn(memory.wanted);
	pinned = pins_held();
	entries = xpin_stat("entries");

	way->take(&memory, memory.folio);
	hole = xpin_all_pages(owner, memory.wanted, memory.folio,
			      XPIN_PAGE_NONE);
	require(!madvise(memory.wanted, memory.folio, MADV_POPULATE_WRITE),
		"populate");
	held = in_use(pfn) && pins_held() == pinned &&
	       xpin_stat("entries") == entries &&
	       (page_pfn(memory.wanted) == pfn) != orphaned;
	if (orphaned)
		now = for_everybody(&memory, memory.wanted, memory.folio);
	else
		now = for_nobody_else(&memory, memory.wanted, memory.folio) &&
		      memory_untouched(&memory, memory.wanted, memory.folio);
	/* What others got and gave back was not the orphan. */
	held = held && xpin_stat("entries") == entries;

	settle_references();
	require(!xpin_release(owner, &claimed), "release");
	if (orphaned)
		freed = !in_use(pfn);
	if (!hole || !held || !now || !freed)
		ksft_print_msg("hole: %d, held: %d, in its place: %d, freed: %d\n",
			       hole, held, now, freed);
	check(hole && held && now && freed && !xpin_stat("entries") &&
	      pins_held() == pins &&
	      for_everybody(&memory, memory.wanted, memory.folio),
	      "%s: %s: %s", memory.name, way->name, orphaned ?
	      "the orphan is kept, what comes after it is free" :
	      "the file's folio stays owned");
	memory_destroy(&memory);
}

/* Half of a large folio: it is not split, and all that is left of it is owned. */
static void half_taken_away(const struct way *way, enum memory_kind kind)
{
	struct xpin_claim claimed;
	unsigned char *rest;
	struct memory memory;
	bool held, now, left;
	size_t half;
	__u64 pfn;

	memory_create(&memory, kind);
	half = memory.folio / 2;
	rest = memory.wanted + half;
	claim(&memory, &claimed);
	pfn = page_pfn(memory.wanted);

	way->take(&memory, half);
	require(!madvise(memory.wanted, memory.folio, MADV_POPULATE_WRITE),
		"populate");
	held = page_flag(pfn, KPF_COMPOUND_HEAD) &&
	       page_flag(pfn + half / PAGE, KPF_COMPOUND_TAIL) &&
	       page_pfn(rest) == pfn + half / PAGE;
	left = for_nobody_else(&memory, rest, half) &&
	       memory_untouched(&memory, rest, half);
	/* The hole in a folio that can't be split is but zeros. */
	if (memory.fd < 0)
		now = for_everybody(&memory, memory.wanted, half);
	else
		now = for_nobody_else(&memory, memory.wanted, half) &&
		      page_pfn(memory.wanted) == pfn &&
		      memory_untouched(&memory, memory.wanted, half) !=
		      way->from_file;

	require(!xpin_release(owner, &claimed), "release");
	if (!held || !left || !now)
		ksft_print_msg("whole: %d, rest: %d, in its place: %d\n", held,
			       left, now);
	check(held && left && now && !xpin_stat("entries") &&
	      for_everybody(&memory, rest, half) &&
	      for_everybody(&memory, memory.wanted, half),
	      "%s: %s of a half: the rest stays owned", memory.name, way->name);
	memory_destroy(&memory);
}

/* Ownership goes with the folio to another address. */
static void moved(enum memory_kind kind)
{
	static unsigned char content[LARGE];
	struct xpin_claim claimed;
	bool hole, same, before;
	unsigned char *area, *to;
	struct memory memory;
	__u64 pfn;

	memory_create(&memory, kind);
	claim(&memory, &claimed);
	pfn = page_pfn(memory.wanted);
	memcpy(content, memory.wanted, memory.folio);
	area = mmap(NULL, 2 * LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	require(area != MAP_FAILED, "mmap");
	to = area + (uintptr_t)(memory.wanted - area) % LARGE;

	require(mremap(memory.wanted, memory.folio, memory.folio,
		       MREMAP_MAYMOVE | MREMAP_FIXED, to) == to, "mremap");
	same = for_nobody_else(&memory, to, memory.folio) &&
	       page_pfn(to) == pfn && !memcmp(to, content, memory.folio);
	hole = xpin_all_pages(owner, memory.wanted, memory.folio,
			      XPIN_PAGE_NONE);
	require(mmap(memory.wanted, memory.folio, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		memory.wanted &&
		!madvise(memory.wanted, memory.folio, MADV_POPULATE_WRITE),
		"new memory");
	before = for_everybody(&memory, memory.wanted, memory.folio);

	require(!xpin_release(owner, &claimed), "release");
	if (!same || !hole || !before)
		ksft_print_msg("same: %d, hole: %d, in its place: %d\n", same,
			       hole, before);
	check(same && hole && before && !xpin_stat("entries") &&
	      for_everybody(&memory, to, memory.folio),
	      "%s: mremap: owned where it is now, free where it was",
	      memory.name);
	munmap(area, 2 * LARGE);
	memory_destroy(&memory);
}

/* --- Other processes --- */

struct pipes {
	int ready[2];
	int go[2];
};

static void pipes_open(struct pipes *pipes)
{
	require(!pipe(pipes->ready) && !pipe(pipes->go), "pipe");
}

/* If the other process dies, the parent reads the end of a file. */
static void pipes_keep_one_end(struct pipes *pipes)
{
	close(pipes->ready[1]);
	close(pipes->go[0]);
}

static void pipes_close(struct pipes *pipes)
{
	close(pipes->ready[0]);
	close(pipes->go[1]);
}

static void tell(int fd, __u64 value)
{
	require(write(fd, &value, sizeof(value)) == sizeof(value),
		"write to a pipe");
}

static __u64 hear(int fd)
{
	__u64 value;

	require(read(fd, &value, sizeof(value)) == sizeof(value),
		"read from a pipe");
	return value;
}

/* How many of five calls are refused because the memory is not the opener's. */
static int eio_calls(int fd)
{
	unsigned char *addr = (unsigned char *)PAGE;
	struct xpin_claim claim;
	struct xpin_part part;

	return (xpin_claim(fd, addr, PAGE, 0, &claim) == -EIO) +
	       (xpin_part(fd, XPIN_IOC_SHARE, 1, 0, XPIN_WHOLE, &part) == -EIO) +
	       (xpin_part(fd, XPIN_IOC_UNSHARE, 1, 0, XPIN_WHOLE, &part) ==
		-EIO) +
	       (xpin_part(fd, XPIN_IOC_RELEASE, 1, 0, XPIN_WHOLE, &part) ==
		-EIO) +
	       (xpin_page_state(fd, addr) == -EIO);
}

/* A pin of the memory of @pid by this process. */
static bool reaches(pid_t pid, void *addr)
{
	const struct attack *attack = attack_find("process_vm_readv");
	struct attack_target target = {
		.pid = pid,
		.remote = addr,
		.length = PAGE,
	};
	static alignas(PAGE) unsigned char buffer[PAGE];
	struct attack_result result = attack_run(attack, &target, buffer);

	if (result.outcome == ATTACK_SUCCEEDED)
		return true;
	require(result.outcome == ATTACK_REFUSED &&
		result.error == attack_answer(attack)->first,
		"a stranger failed for a reason of its own");
	return false;
}

/*
 * The child gets a copy of a pinned anonymous page, since the owner's own must stay
 * where it is; a memfd's page it shares, and is refused it as everybody is.
 */
static void forked(enum memory_kind kind)
{
	bool copied, theirs, ours;
	struct xpin_claim claimed;
	struct memory memory;
	struct pipes pipes;
	__u64 pfn, error;
	pid_t pid;

	memory_create(&memory, kind);
	claim(&memory, &claimed);
	pfn = page_pfn(memory.wanted);
	pipes_open(&pipes);
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid) {
		struct xpin_claim own;

		tell(pipes.ready[1], eio_calls(owner));
		require(!madvise(memory.wanted, PAGE, MADV_POPULATE_READ),
			"populate");
		tell(pipes.ready[1], page_pfn(memory.wanted));
		tell(pipes.ready[1], memory_untouched(&memory, memory.wanted,
						      memory.folio));
		hear(pipes.go[0]);
		tell(pipes.ready[1], -xpin_claim(xpin_open(), memory.wanted,
						 memory.folio, 0, &own));
		hear(pipes.go[0]);
		_exit(0);
	}
	pipes_keep_one_end(&pipes);

	theirs = hear(pipes.ready[0]) == 5;
	copied = hear(pipes.ready[0]) != pfn;
	theirs = hear(pipes.ready[0]) && theirs;
	theirs = reaches(pid, memory.wanted) == copied && theirs;
	tell(pipes.go[1], 0);
	error = hear(pipes.ready[0]);
	if (error != (copied ? 0 : EBUSY))
		ksft_print_msg("the child's claim: %s\n", strerror(error));
	theirs = error == (copied ? 0 : EBUSY) && theirs;

	memory_fill(&memory);
	ours = page_pfn(memory.wanted) == pfn &&
	       for_nobody_else(&memory, memory.wanted, memory.folio);
	tell(pipes.go[1], 0);
	require(waitpid(pid, NULL, 0) == pid, "waitpid");
	ours = for_nobody_else(&memory, memory.wanted, memory.folio) && ours;
	require(!xpin_release(owner, &claimed), "release");

	if (!ours || !theirs)
		ksft_print_msg("copied: %d, owner's: %d, child's: %d\n", copied,
			       ours, theirs);
	check(copied == (memory.fd < 0) && theirs && ours &&
	      for_everybody(&memory, memory.wanted, memory.folio),
	      "%s: fork: %s", memory.name,
	      memory.fd < 0 ? "the child has a copy, which is free" :
			      "the child is refused the same folio");
	pipes_close(&pipes);
	memory_destroy(&memory);
}

/* Has nothing of the owner but its file, and at last closes it. */
static noreturn void keep(int fd, int ready, int go)
{
	tell(ready, eio_calls(fd));
	hear(go);
	close(fd);
	tell(ready, 0);
	hear(go);
	exit(0);
}

static noreturn void open_and_go(struct memory *memory, bool exec, int ready,
				 int go)
{
	char texts[3][16];
	pid_t opener = getpid();
	struct xpin_claim claimed;

	/* Not of the parent's anonymous memory, which would still be there. */
	if (memory->fd < 0)
		memory_create(memory, memory->kind);
	owner = xpin_open();
	claim(memory, &claimed);
	tell(ready, page_pfn(memory->wanted));
	hear(go);
	if (exec) {
		require(!fcntl(owner, F_SETFD, 0), "F_SETFD");
		snprintf(texts[0], sizeof(texts[0]), "%d", owner);
		snprintf(texts[1], sizeof(texts[1]), "%d", ready);
		snprintf(texts[2], sizeof(texts[2]), "%d", go);
		execl("/proc/self/exe", program_invocation_short_name, texts[0],
		      texts[1], texts[2], NULL);
		require(false, "exec");
	}
	if (fork())
		_exit(0);
	while (getppid() == opener)
		sched_yield();
	keep(owner, ready, go);
}

/* The memory of the opener is gone, but the file is open: that is what counts. */
static void opener_goes(enum memory_kind kind, bool exec)
{
	long long pins = pins_held(), pinned;
	struct xpin_claim claimed;
	struct memory memory;
	struct pipes pipes;
	bool refused, held, eio, freed = true;
	__u64 pfn;
	pid_t pid;

	memory_create(&memory, kind);
	pipes_open(&pipes);
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid)
		open_and_go(&memory, exec, pipes.ready[1], pipes.go[0]);
	pipes_keep_one_end(&pipes);
	pfn = hear(pipes.ready[0]);
	pinned = pins_held();
	tell(pipes.go[1], 0);
	if (!exec)
		require(waitpid(pid, NULL, 0) == pid, "waitpid");

	eio = hear(pipes.ready[0]) == 5;
	held = in_use(pfn) && pinned > pins && pins_held() == pinned &&
	       xpin_stat("entries") == 1;
	refused = memory.fd < 0 ||
		  (xpin_all_pages(another, memory.wanted, memory.folio,
				  XPIN_PAGE_OTHERS) &&
		   !stranger_reaches(&stranger, &memory, memory.wanted) &&
		   xpin_claim(another, memory.wanted, memory.folio, 0,
			      &claimed) == -EBUSY);

	settle_references();
	tell(pipes.go[1], 0);
	hear(pipes.ready[0]);
	if (memory.fd < 0)
		freed = !in_use(pfn);
	if (!eio || !held || !refused || !freed)
		ksft_print_msg("EIO: %d, held: %d, refused: %d, freed: %d\n",
			       eio, held, refused, freed);
	check(eio && held && refused && freed && !xpin_stat("entries") &&
	      pins_held() == pins &&
	      for_everybody(&memory, memory.wanted, memory.folio),
	      "%s: %s: owned until the file is closed", memory.name,
	      exec ? "execve" : "the opener exits, a child keeps the file");
	tell(pipes.go[1], 0);
	if (exec)
		require(waitpid(pid, NULL, 0) == pid, "waitpid");
	pipes_close(&pipes);
	memory_destroy(&memory);
}

int main(int argc, char **argv)
{
	static const enum memory_kind kinds[] = {
		MEMORY_ANON_PAGE, MEMORY_ANON_LARGE, MEMORY_ANON_LARGE_PTES,
		MEMORY_ANON_MIDDLE, MEMORY_SHMEM_PAGE, MEMORY_SHMEM_LARGE,
		MEMORY_SHMEM_LARGE_PTES, MEMORY_SHMEM_MIDDLE,
	};
	/* What is left of a truncated folio is the end of the file: not a half. */
	const struct way *halves[] = { &ways[0], &ways[1], &ways[3] };
	unsigned int tests[ARRAY_SIZE(kinds)], plan = 0;
	size_t i, way;
	bool large;

	if (argc == 4)
		keep(atoi(argv[1]), atoi(argv[2]), atoi(argv[3]));

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		large = kinds[i] != MEMORY_ANON_PAGE &&
			kinds[i] != MEMORY_SHMEM_PAGE;
		tests[i] = 4;
		for (way = 0; way < ARRAY_SIZE(ways); way++)
			tests[i] += possible(&ways[way], kinds[i]);
		for (way = 0; large && way < ARRAY_SIZE(halves); way++)
			tests[i] += possible(halves[way], kinds[i]);
		plan += tests[i];
	}
	ksft_print_header();
	ksft_set_plan(plan);
	stranger_start(&stranger);
	owner = xpin_open();
	another = xpin_open();

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (skip_without(memory_needs(kinds[i]), tests[i]))
			continue;
		large = kinds[i] != MEMORY_ANON_PAGE &&
			kinds[i] != MEMORY_SHMEM_PAGE;
		for (way = 0; way < ARRAY_SIZE(ways); way++) {
			if (possible(&ways[way], kinds[i]))
				taken_away(&ways[way], kinds[i]);
		}
		for (way = 0; large && way < ARRAY_SIZE(halves); way++) {
			if (possible(halves[way], kinds[i]))
				half_taken_away(halves[way], kinds[i]);
		}
		moved(kinds[i]);
		forked(kinds[i]);
		opener_goes(kinds[i], true);
		opener_goes(kinds[i], false);
	}

	close(owner);
	close(another);
	stranger_stop(&stranger);
	ksft_finished();
}
