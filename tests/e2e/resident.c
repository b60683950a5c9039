// SPDX-License-Identifier: GPL-2.0
/*
 * Rule R12: what moves, swaps, merges, collapses or removes memory leaves owned
 * memory where and as it is. Each of it works on memory of the same kind before
 * the claim, and on the same memory after the release, or it would prove nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <linux/userfaultfd.h>

#include "kselftest.h"
#include "xpin_test.h"

#define PAGES		(MEMORY_LENGTH / PAGE)
#define KSM		"/sys/kernel/mm/ksm/"
#define NUMA_BALANCING	"/proc/sys/kernel/numa_balancing"
#define BLOCKS		"/sys/devices/system/memory/"
#define HUGE_PAGES	"/proc/sys/vm/nr_hugepages"
/* What else is in the way of a mover changes with the place of the memory. */
#define PLACES		64
#define ROOM_PLACES	8
#define FILLING		(1024 * LARGE)
#define STEP		(64 * PAGE)

/* From Linux 6.8 on; the headers may be older. */
#ifndef UFFDIO_MOVE
struct uffdio_move {
	__u64 dst;
	__u64 src;
	__u64 len;
	__u64 mode;
	__s64 move;
};

#define UFFD_FEATURE_MOVE	0x10000
#define UFFDIO_MOVE		_IOWR(UFFDIO, 0x05, struct uffdio_move)
#endif

static struct stranger stranger;
static int owner;

static int write_number(const char *path, long long number)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), n;

	require(fd >= 0, path);
	n = dprintf(fd, "%lld", number);
	close(fd);
	return n < 0 ? -errno : 0;
}

static void read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	require(fd >= 0, path);
	n = read(fd, text, size - 1);
	require(n > 0, path);
	text[n] = '\0';
	close(fd);
}

static long long read_number(const char *path)
{
	char text[32];

	read_text(path, text, sizeof(text));
	return atoll(text);
}

static void pause_before(time_t deadline, const char *what)
{
	const struct timespec pause = { 0, 10000000 };

	require(time(NULL) < deadline, what);
	nanosleep(&pause, NULL);
}

/* The page frame, when the page was brought back to where it can be seen. */
static __u64 touched_pfn(void *addr)
{
	require(!madvise(addr, PAGE, MADV_POPULATE_READ), "populate");
	return page_pfn(addr);
}

static void claim(const struct memory *memory, struct xpin_claim *claim)
{
	int error = xpin_claim(owner, memory->wanted, memory->folio, 0, claim);

	errno = -error;
	require(!error, "claim");
}

/* The wanted folio is still the one at @pfn, whole, as filled, and owned. */
static bool stays(const struct memory *memory, __u64 pfn)
{
	size_t page;

	if (!memory_untouched(memory, memory->wanted, memory->folio)) {
		ksft_print_msg("the content changed\n");
		return false;
	}
	for (page = 0; page < memory->folio / PAGE; page++) {
		if (page_pfn(memory->wanted + page * PAGE) != pfn + page) {
			ksft_print_msg("page %zu is elsewhere\n", page);
			return false;
		}
	}
	if (stranger_reaches(&stranger, memory, memory->wanted)) {
		ksft_print_msg("a stranger pinned it\n");
		return false;
	}
	/* The entry stands for the folio: had it split, only a part were mine. */
	return xpin_all_pages(owner, memory->wanted, memory->folio,
			      XPIN_PAGE_MINE);
}

/* --- Attempts that may go on until they are killed --- */

/*
 * Runs @attempt in a process of its own with this one's memory, and kills it when
 * the kernel has counted, as @failures tells, that it tried in vain. Returns what the
 * attempt returned, negated, or -EINTR. Even errno is shared: what @attempt
 * finds in it may be ours.
 */
static int until_killed(int (*attempt)(void *), void *argument,
			long long (*failures)(const void *argument))
{
	static alignas(16) char stack[1 << 16];
	long long before = failures(argument);
	time_t deadline = time(NULL) + 60;
	pid_t pid, ended;
	int status;

	pid = clone(attempt, stack + sizeof(stack), CLONE_VM | SIGCHLD, argument);
	require(pid >= 0, "clone");
	while (!(ended = waitpid(pid, &status, WNOHANG)) &&
	       failures(argument) == before)
		pause_before(deadline, "an attempt in vain");
	if (!ended) {
		kill(pid, SIGKILL);
		ended = waitpid(pid, &status, 0);
	}
	require(ended == pid, "waitpid");
	return WIFSIGNALED(status) ? -EINTR : -WEXITSTATUS(status);
}

/* --- Movers: what they return, and in @moved whether the wanted folio went --- */

static int node_of(void *page)
{
	int status = -1;

	require(!syscall(SYS_move_pages, 0, 1, &page, NULL, &status, 0) &&
		status >= 0, "move_pages");
	return status;
}

static int to_another_node(const struct memory *memory, bool *moved)
{
	int to = !node_of(memory->wanted), status;
	void *page = memory->wanted;
	long ret;

	ret = syscall(SYS_move_pages, 0, 1, &page, &to, &status, MPOL_MF_MOVE);
	if (ret < 0)
		ret = -errno;
	*moved = node_of(page) == to;
	return ret;
}

static int out_to_swap(const struct memory *memory, bool *moved)
{
	unsigned char resident;
	int ret;

	ret = page_out(memory->wanted, memory->folio);
	require(!mincore(memory->wanted, PAGE, &resident), "mincore");
	*moved = !(resident & 1) ||
		 /* On the way out a folio that crosses two PMDs is split. */
		 (touched_pfn(memory->wanted) &&
		  folio_size(memory->wanted) < memory->folio);
	return ret;
}

/* The folio in front of the wanted one is nobody's, and merges in any case. */
static int merge(const struct memory *memory, bool *moved)
{
	size_t length = memory->wanted + memory->folio - memory->base;
	time_t deadline = time(NULL) + 60;
	struct memory twin;
	long long scans;
	int ret;

	memory_create(&twin, memory->kind);
	ret = madvise(memory->base, length, MADV_MERGEABLE) ? -errno : 0;
	require(!madvise(twin.base, length, MADV_MERGEABLE), "MADV_MERGEABLE");

	write_number(KSM "run", 1);
	while (page_pfn(memory->base) != page_pfn(twin.base))
		pause_before(deadline, "KSM merges nothing");
	/* One to see that the content rests, one to merge; a bit of each is over. */
	scans = read_number(KSM "full_scans") + 3;
	while (read_number(KSM "full_scans") < scans)
		pause_before(deadline, "KSM scans");
	write_number(KSM "run", 0);

	*moved = page_pfn(memory->wanted) == page_pfn(twin.wanted);
	require(!madvise(memory->base, length, MADV_UNMERGEABLE),
		"MADV_UNMERGEABLE");
	memory_destroy(&twin);
	return ret;
}

static int collapse(const struct memory *memory, bool *moved)
{
	unsigned char *start = memory->wanted - (uintptr_t)memory->wanted % LARGE;
	__u64 pfn = touched_pfn(memory->wanted);
	int ret;

	require(!madvise(start, LARGE, MADV_HUGEPAGE), "MADV_HUGEPAGE");
	ret = madvise(start, LARGE, MADV_COLLAPSE) ? -errno : 0;
	*moved = touched_pfn(memory->wanted) != pfn &&
		 folio_size(memory->wanted) == LARGE;
	return ret;
}

struct userfaultfd_call {
	int fd;
	struct uffdio_move move;
};

static int userfaultfd_move(void *argument)
{
	struct userfaultfd_call *call = argument;

	ioctl(call->fd, UFFDIO_MOVE, &call->move);
	/* The bytes moved, or a negative errno. */
	return call->move.move < 0 ? -call->move.move : 0;
}

/* The older counter knows folios of a PMD's size only. */
static long long splits_failed(const void *argument)
{
	const struct userfaultfd_call *call = argument;
	char path[128];

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/transparent_hugepage/hugepages-%llukB/stats/split_failed",
		 call->move.len >> 10);
	return access(path, F_OK) ?
	       named_value("/proc/vmstat", "thp_split_page_failed") :
	       file_number(path);
}

static int to_another_address(const struct memory *memory, bool *moved)
{
	struct uffdio_api api = { UFFD_API, .features = UFFD_FEATURE_MOVE };
	struct uffdio_register area = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct userfaultfd_call call;
	unsigned char *map, *to;
	__u64 pfn = touched_pfn(memory->wanted);
	int ret;

	map = mmap(NULL, 2 * LARGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(map != MAP_FAILED, "mmap");
	to = map + LARGE - (uintptr_t)map % LARGE;
	area.range = (struct uffdio_range){ (uintptr_t)to, memory->folio };
	call = (struct userfaultfd_call){
		.fd = syscall(SYS_userfaultfd, O_CLOEXEC),
		.move = {
			.dst = (uintptr_t)to,
			.src = (uintptr_t)memory->wanted,
			.len = memory->folio,
		},
	};
	require(call.fd >= 0 && !ioctl(call.fd, UFFDIO_API, &api) &&
		!ioctl(call.fd, UFFDIO_REGISTER, &area), "userfaultfd");

	ret = until_killed(userfaultfd_move, &call, splits_failed);
	*moved = page_pfn(to) == pfn && !page_pfn(memory->wanted);
	close(call.fd);
	munmap(map, 2 * LARGE);
	return ret;
}

/**
 * struct mover - something that gives memory another place
 * @name: for people
 * @move: tries that on the wanted folio
 * @owned: what @move returns when the folio is owned
 * @fixed: what it returns since a fix that stable kernels got, too, from some day
 *	on; 0 if there is none
 * @kinds: which memory it moves
 * @needs: what the kernel must have for it
 */
static const struct mover {
	const char *name;
	int (*move)(const struct memory *memory, bool *moved);
	int owned;
	int fixed;
	bool kinds[MEMORY_KINDS];
	enum feature needs;
} movers[] = {
	{
		/*
		 * folio_migrate_mapping() finds more references than it
		 * expects; the call returns how many folios did not move.
		 */
		.name = "move_pages()",
		.move = to_another_node, .owned = 1,
		.kinds = {
			[MEMORY_ANON_PAGE] = true,
			[MEMORY_ANON_LARGE] = true,
			[MEMORY_ANON_LARGE_PTES] = true,
			[MEMORY_ANON_MIDDLE] = true,
			[MEMORY_SHMEM_PAGE] = true,
			[MEMORY_SHMEM_LARGE] = true,
			[MEMORY_SHMEM_LARGE_PTES] = true,
			[MEMORY_SHMEM_MIDDLE] = true,
			[MEMORY_HUGETLB] = true,
			[MEMORY_HUGETLB_MEMFD] = true,
		},
	}, {
		/* shrink_folio_list() keeps what is pinned; it is advice. */
		.name = "MADV_PAGEOUT",
		.move = out_to_swap, .owned = 0,
		.kinds = {
			[MEMORY_ANON_PAGE] = true,
			[MEMORY_ANON_LARGE] = true,
			[MEMORY_ANON_LARGE_PTES] = true,
			[MEMORY_ANON_MIDDLE] = true,
			[MEMORY_SHMEM_PAGE] = true,
			[MEMORY_SHMEM_LARGE] = true,
			[MEMORY_SHMEM_LARGE_PTES] = true,
			[MEMORY_SHMEM_MIDDLE] = true,
		},
	}, {
		/*
		 * write_protect_page() leaves alone what has more references
		 * than mappings, and a pinned THP is not split; it is advice.
		 */
		.name = "KSM after MADV_MERGEABLE",
		.move = merge, .owned = 0,
		.kinds = {
			[MEMORY_ANON_PAGE] = true,
			[MEMORY_ANON_LARGE] = true,
			[MEMORY_ANON_LARGE_PTES] = true,
			[MEMORY_ANON_MIDDLE] = true,
		},
	}, {
		/* More references than mappings: SCAN_PAGE_COUNT is EAGAIN. */
		.name = "MADV_COLLAPSE",
		.move = collapse, .owned = -EAGAIN,
		.kinds = {
			[MEMORY_ANON_PAGE] = true,
			[MEMORY_ANON_LARGE_PTES] = true,
			[MEMORY_SHMEM_PAGE] = true,
		},
	}, {
		/* EBUSY says that folio_maybe_dma_pinned(). */
		.name = "UFFDIO_MOVE",
		.move = to_another_address, .owned = -EBUSY,
		.kinds = {
			[MEMORY_ANON_PAGE] = true,
			[MEMORY_ANON_LARGE] = LARGE_HAS_PMD,
		},
		.needs = FEATURE_UFFDIO_MOVE,
	}, {
		/*
		 * split_folio() says EAGAIN, since there are more references
		 * than mappings, and move_pages() tries again; until it was
		 * told that they may stay for ever, and says EBUSY (in 7.3.4).
		 */
		.name = "UFFDIO_MOVE, which may go on until it is killed",
		.move = to_another_address, .owned = -EINTR, .fixed = -EBUSY,
		.kinds = {
			[MEMORY_ANON_LARGE] = !LARGE_HAS_PMD,
			[MEMORY_ANON_LARGE_PTES] = true,
		},
		.needs = FEATURE_UFFDIO_MOVE,
	},
};

static void moves_only_unowned(const struct mover *mover, enum memory_kind kind)
{
	bool before, during, after, same;
	struct xpin_claim claimed;
	struct memory memory;
	int ret;
	__u64 pfn;
	bool said;

	memory_create(&memory, kind);
	if (mover->move == collapse && !LARGE_HAS_PMD) {
		skip("%s: %s: makes folios of a PMD's size, 512 MiB", memory.name,
		     mover->name);
		memory_destroy(&memory);
		return;
	}
	ret = mover->move(&memory, &before);
	if (ret || !before)
		ksft_print_msg("nobody's: %d\n", ret);
	before = before && !ret;
	memory_destroy(&memory);

	memory_create(&memory, kind);
	claim(&memory, &claimed);
	pfn = page_pfn(memory.wanted);
	ret = mover->move(&memory, &during);
	said = ret == mover->owned || (mover->fixed && ret == mover->fixed);
	if (!said || during)
		ksft_print_msg("owned: %d, %s\n", ret,
			       during ? "moved" : "not moved");
	same = !during && said && stays(&memory, pfn);
	require(!xpin_release(owner, &claimed), "release");

	ret = mover->move(&memory, &after);
	if (ret || !after)
		ksft_print_msg("released: %d\n", ret);
	after = after && !ret;
	memory_destroy(&memory);
	check(before && same && after, "%s: %s", memory.name, mover->name);
}

/* --- The second node --- */

/* All processors are on the first node, and so is most of what does not move. */
static void use_second_node(bool only)
{
	unsigned long node = 1UL << 1;

	require(!syscall(SYS_set_mempolicy, only ? MPOL_BIND : MPOL_DEFAULT,
			 only ? &node : NULL, 8 * sizeof(node)),
		"set_mempolicy");
}

static void create_on_second_node(struct memory *memory, enum memory_kind kind)
{
	use_second_node(true);
	memory_create(memory, kind);
	use_second_node(false);
}

/*
 * NUMA balancing unmaps memory in a way, to see from a fault who uses it. It is
 * there as before for a query, which makes no fault; whoever owns it.
 */
static void hints(enum memory_kind kind)
{
	const char *counter = kind == MEMORY_ANON_LARGE ?
			      "numa_huge_pte_updates" : "numa_pte_updates";
	time_t deadline = time(NULL) + 60;
	struct xpin_claim claimed;
	struct memory memory;
	long long before;
	size_t folios;
	bool same = true;

	create_on_second_node(&memory, kind);
	claim(&memory, &claimed);
	folios = MEMORY_LENGTH / memory.folio;
	before = named_value("/proc/vmstat", counter);
	write_number(NUMA_BALANCING, 1);
	/* Who is to be looked at must run. */
	while (same && time(NULL) < deadline &&
	       named_value("/proc/vmstat", counter) < before + (long long)folios / 2)
		same = xpin_all_pages(owner, memory.base, memory.folio,
				      XPIN_PAGE_FREE) &&
		       xpin_all_pages(owner, memory.wanted, memory.folio,
				      XPIN_PAGE_MINE);
	require(!same || time(NULL) < deadline, counter);
	check(same && xpin_all_pages(owner, memory.base, memory.folio,
				     XPIN_PAGE_FREE) &&
	      xpin_all_pages(owner, memory.wanted, memory.folio, XPIN_PAGE_MINE),
	      "%s: NUMA balancing hides it from no query", memory.name);
	write_number(NUMA_BALANCING, 0);
	require(!xpin_release(owner, &claimed), "release");
	memory_destroy(&memory);
}

/* --- Compaction --- */

/* How many of every fourth page, from @first on, are no longer at @pfns. */
static int count_moved(const struct memory *memory, const __u64 *pfns,
		       size_t first)
{
	int moved = 0;
	size_t page;

	for (page = first; page < PAGES; page += 4)
		moved += touched_pfn(memory->base + page * PAGE) != pfns[page];
	return moved;
}

static void compact(void)
{
	require(!write_number("/proc/sys/vm/compact_memory", 1),
		"compact_memory");
}

/*
 * Of four pages the first is owned, the third nobody's, the others are holes.
 * Returns whether compaction moved nobody's pages, and the others when they had
 * been released.
 */
static bool compact_around(struct memory *memory, enum memory_kind kind,
			   bool second_node, bool *same)
{
	struct xpin_claim claimed;
	struct xpin_part part;
	__u64 pfns[PAGES];
	unsigned char *page;
	bool moved;
	size_t i;

	if (second_node)
		create_on_second_node(memory, kind);
	else
		memory_create(memory, kind);
	require(!xpin_claim(owner, memory->base, MEMORY_LENGTH, 0, &claimed),
		"claim");
	for (i = 0; i < PAGES; i += 4) {
		page = memory->base + i * PAGE;
		require(!xpin_part(owner, XPIN_IOC_RELEASE, claimed.claim_id,
				   (i + 1) * PAGE, 3 * PAGE, &part), "release");
		require(!madvise(page + PAGE, PAGE, memory->fd < 0 ?
				 MADV_DONTNEED : MADV_REMOVE) &&
			!madvise(page + 3 * PAGE, PAGE, memory->fd < 0 ?
				 MADV_DONTNEED : MADV_REMOVE), "make holes");
		pfns[i] = page_pfn(page);
		pfns[i + 2] = page_pfn(page + 2 * PAGE);
	}

	compact();
	moved = count_moved(memory, pfns, 2);
	*same = !count_moved(memory, pfns, 0) &&
		!stranger_reaches(&stranger, memory, memory->base);
	for (i = 0; i < PAGES; i += 4) {
		page = memory->base + i * PAGE;
		*same = *same && memory_untouched(memory, page, PAGE) &&
			xpin_page_state(owner, page) == XPIN_PAGE_MINE;
	}

	require(!xpin_release(owner, &claimed), "release");
	compact();
	return count_moved(memory, pfns, 0) && moved;
}

/*
 * Compaction fills blocks of movable memory that are partly free, and no others:
 * every second page of half of what is free makes many, and not in ZONE_MOVABLE
 * alone, where nothing is that was claimed.
 */
static void *make_room(size_t *length)
{
	unsigned char *room, *page;

	*length = sysconf(_SC_AVPHYS_PAGES) / 2 * PAGE;
	room = mmap(NULL, *length, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(room != MAP_FAILED && !madvise(room, *length, MADV_NOHUGEPAGE),
		"mmap");
	for (page = room; page < room + *length; page += PAGE)
		*page = 1;
	for (page = room; page + PAGE < room + *length; page += 2 * PAGE)
		require(!madvise(page, PAGE, MADV_DONTNEED), "MADV_DONTNEED");
	return room;
}

static void compacts_only_unowned(enum memory_kind kind)
{
	const bool anywhere = feature_missing(FEATURE_MOVABLE);
	/*
	 * A room that was made again has the kernel take memory of its own on the
	 * second node, so that blocks of it can't go: seldom, where they shall.
	 */
	const int room_places = anywhere ? ROOM_PLACES : PLACES / 4;
	struct memory memory[PLACES];
	bool moved = false, same = true;
	int places = 0;
	size_t length;
	void *room = make_room(&length);

	/*
	 * What lies where moved pages are put does not move, nor does anything
	 * where all has been filled. Memory that was claimed has left a zone of
	 * movable memory for somewhere else; without one it lies anywhere.
	 */
	for (; places < PLACES && !moved && same; places++) {
		if (places && places % room_places == 0) {
			munmap(room, length);
			room = make_room(&length);
		}
		moved = compact_around(&memory[places], kind,
				       anywhere && places & 1, &same);
	}
	if (!moved || !same)
		ksft_print_msg("nobody's pages moved: %d, owned ones stayed: %d\n",
			       moved, same);
	check(moved && same, "%s: compaction", memory->name);
	while (places--)
		memory_destroy(&memory[places]);
	munmap(room, length);
}

/* --- Removal of memory --- */

static unsigned long block_of(__u64 pfn)
{
	char text[32];

	read_text(BLOCKS "block_size_bytes", text, sizeof(text));
	return pfn * PAGE / strtoull(text, NULL, 16);
}

static bool set_state(unsigned long block, const char *state)
{
	char path[64];
	bool ok;
	int fd;

	snprintf(path, sizeof(path), BLOCKS "memory%lu/state", block);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	require(fd >= 0, path);
	ok = write(fd, state, strlen(state)) > 0;
	close(fd);
	return ok;
}

static int set_offline(void *block)
{
	return set_state(*(unsigned long *)block, "offline") ? 0 : EBUSY;
}

static long long migrations_failed(const void *block)
{
	(void)block;
	return named_value("/proc/vmstat", "pgmigrate_fail");
}

/* Offlining tries to empty the block until it has done so, or a signal comes. */
static int offline(unsigned long block)
{
	return until_killed(set_offline, &block, migrations_failed);
}

static void online(unsigned long block, bool movable)
{
	require(set_state(block, movable ? "online_movable" : "online_kernel"),
		"online");
}

/*
 * Uses up the second node's movable memory: large folios, then what is left in
 * small pages. Memory comes from elsewhere on that node then.
 */
static unsigned char *fill_movable_zone(void)
{
	unsigned char *area, *large, *small;

	area = mmap(NULL, FILLING, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	require(area != MAP_FAILED, "mmap");
	large = area + LARGE - (uintptr_t)area % LARGE;
	use_second_node(true);
	require(!madvise(area, FILLING, MADV_HUGEPAGE), "MADV_HUGEPAGE");
	do {
		require(!madvise(large, LARGE, MADV_POPULATE_WRITE), "populate");
		large += LARGE;
	} while (in_movable_zone(large - LARGE));
	small = large;
	require(!madvise(small, FILLING - (small - area), MADV_NOHUGEPAGE),
		"MADV_NOHUGEPAGE");
	do {
		require(!madvise(small, STEP, MADV_POPULATE_WRITE), "populate");
		small += STEP;
	} while (in_movable_zone(small - PAGE));
	use_second_node(false);
	return area;
}

/* Takes a block of the second node offline. */
static unsigned long block_taken(void)
{
	DIR *dir = opendir("/sys/devices/system/node/node1");
	struct dirent *entry;
	unsigned long block;

	require(dir, "a second node");
	while ((entry = readdir(dir))) {
		if (sscanf(entry->d_name, "memory%lu", &block) == 1 &&
		    !offline(block))
			break;
	}
	require(entry, "no memory can be removed");
	closedir(dir);
	return block;
}

static void destroy_all(struct memory *memory, struct memory *last)
{
	do {
		memory_destroy(last);
	} while (last-- > memory);
}

/* Zones may span memory of each other: a block knows in which one it is. */
static bool in_movable_block(void *addr)
{
	char path[64], zone[64];

	snprintf(path, sizeof(path), BLOCKS "memory%lu/valid_zones",
		 block_of(page_pfn(addr)));
	read_text(path, zone, sizeof(zone));
	return !strcmp(zone, "Movable\n");
}

/* @block is almost all that is free of the second node's movable zone. */
static void leaves_movable_zone(enum memory_kind kind, unsigned long block)
{
	struct memory memory[PLACES], *last = memory;
	bool before, left, moved, same;
	struct xpin_claim claimed;
	__u64 pfn;
	int ret;

	create_on_second_node(last, kind);
	while (block_of(page_pfn(last->wanted)) != block ||
	       block_of(page_pfn(last->base)) != block) {
		require(++last < memory + PLACES, "memory of the block");
		create_on_second_node(last, kind);
	}
	before = in_movable_block(last->wanted);
	claim(last, &claimed);
	pfn = page_pfn(last->wanted);
	left = !in_movable_block(last->wanted);

	/* What nobody owns has to go now. */
	ret = offline(block);
	moved = !ret && block_of(touched_pfn(last->base)) != block &&
		memory_untouched(last, last->base, MEMORY_LENGTH);
	same = stays(last, pfn);
	if (!ret)
		online(block, true);
	require(!xpin_release(owner, &claimed), "release");
	if (!before || !left || !moved)
		ksft_print_msg("was there: %d, left: %d, nobody's moved: %d (%s)\n",
			       before, left, moved, strerror(-ret));
	check(before && left && moved && same,
	      "%s: leaves the movable zone, whose memory can go", last->name);
	destroy_all(memory, last);
}

/* Looks for a block where nothing but the owned folio is in the way. */
static void keeps_its_block(enum memory_kind kind)
{
	struct memory memory[PLACES], *last = memory;
	unsigned long block, busy = 0;
	struct xpin_claim claimed;
	bool same, after = false;
	__u64 pfn;
	int ret;

	for (;;) {
		create_on_second_node(last, kind);
		claim(last, &claimed);
		pfn = page_pfn(last->wanted);
		block = block_of(pfn);
		ret = block == busy ? -EBUSY : offline(block);
		same = stays(last, pfn);
		if (!ret || ret == -EINTR)
			break;
		/* Not movable, or with a hole in it, whoever owns what. */
		busy = block;
		require(!xpin_release(owner, &claimed), "release");
		require(++last < memory + PLACES, "a block of user memory only");
	}

	if (ret == -EINTR) {
		require(!xpin_release(owner, &claimed), "release");
		after = !offline(block);
	}
	if (after)
		after = touched_pfn(last->wanted) != pfn &&
			memory_untouched(last, last->base, MEMORY_LENGTH);
	if (ret != -EINTR || !after)
		ksft_print_msg("owned: %s, released: %s\n", strerror(-ret),
			       after ? "goes" : "does not go");
	check(ret == -EINTR && same && after,
	      "%s: the memory block it is in can't go", last->name);
	if (!ret || after)
		online(block, false);
	if (ret != -EINTR)
		require(!xpin_release(owner, &claimed), "release");
	destroy_all(memory, last);
}

int main(void)
{
	static const enum memory_kind small[] = {
		MEMORY_ANON_PAGE, MEMORY_SHMEM_PAGE,
	};
	static const enum memory_kind any[] = {
		MEMORY_ANON_PAGE, MEMORY_ANON_LARGE,
		MEMORY_SHMEM_PAGE, MEMORY_SHMEM_LARGE,
	};
	long long huge_pages = read_number(HUGE_PAGES), numa_balancing = 0;
	unsigned int plan = 2 + ARRAY_SIZE(small) + 2 * ARRAY_SIZE(any);
	unsigned char *filling;
	unsigned long block;
	int kind;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(movers); i++) {
		for (kind = 0; kind < MEMORY_KINDS; kind++)
			plan += movers[i].kinds[kind];
	}
	ksft_print_header();
	ksft_set_plan(plan);
	stranger_start(&stranger);
	owner = xpin_open();
	swap_on();
	/* What it has hidden is nothing to KSM of 6.1 until its process touches it. */
	if (!access(NUMA_BALANCING, F_OK)) {
		numa_balancing = read_number(NUMA_BALANCING);
		write_number(NUMA_BALANCING, 0);
	}
	/* Since 6.7. */
	if (!access(KSM "smart_scan", F_OK))
		write_number(KSM "smart_scan", 0);
	write_number(KSM "sleep_millisecs", 0);
	write_number(KSM "pages_to_scan", PAGES);

	for (i = 0; i < ARRAY_SIZE(movers); i++) {
		for (kind = 0; kind < MEMORY_KINDS; kind++) {
			if (movers[i].kinds[kind] &&
			    !skip_without(memory_needs(kind), 1) &&
			    !skip_without(movers[i].needs, 1))
				moves_only_unowned(&movers[i], kind);
		}
	}
	if (!skip_without(FEATURE_NUMA_BALANCING, 2)) {
		hints(MEMORY_ANON_PAGE);
		hints(MEMORY_ANON_LARGE);
	}
	for (i = 0; i < ARRAY_SIZE(small); i++)
		compacts_only_unowned(small[i]);
	/* Filling a zone wakes kswapd. */
	swap_off();
	filling = fill_movable_zone();
	for (i = 0; i < ARRAY_SIZE(any); i++)
		keeps_its_block(any[i]);
	block = block_taken();
	online(block, true);
	for (i = 0; i < ARRAY_SIZE(any); i++)
		leaves_movable_zone(any[i], block);
	require(!offline(block), "offline");
	online(block, false);

	munmap(filling, FILLING);

	/* Free huge pages go with the memory that is removed. */
	write_number(HUGE_PAGES, huge_pages);
	if (!access(NUMA_BALANCING, F_OK))
		write_number(NUMA_BALANCING, numa_balancing);
	close(owner);
	stranger_stop(&stranger);
	ksft_finished();
}
