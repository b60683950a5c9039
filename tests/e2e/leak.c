// SPDX-License-Identifier: GPL-2.0
/*
 * A thousand claims lose no more memory than one.
 *
 * What is counted is the pages that no one has: free ones, those that wait in a
 * CPU's list to be allocated again, and the room in slabs. Before that, all
 * caches are told to give back what they don't need: the page cache, and every
 * slab cache, which also empties KASAN's quarantine and the CPUs' slabs; and then
 * the count is taken until it stays. Without the room in slabs it would say by
 * how many slabs a stray dentry holds on to, which changes by dozens of pages.
 *
 * A repetition that loses as little as a 64 byte object costs 16 pages in a
 * thousand; one that loses a page costs a thousand. Others in the system may
 * allocate or free some pages meanwhile, but not in most of several batches. So
 * the loss of a thousand repetitions is the median of three batches, and must be
 * below 8 pages. A thread of the kernel that comes or goes takes about 9 with it:
 * such a batch says nothing, and another one takes its place.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"

#define BATCHES	3
/* At most so many to have those. */
#define TRIES	12
#define SLACK	8

static const struct kind {
	const char *name;
	bool shmem;
	bool large;
} kinds[] = {
	{ "anonymous page", false, false },
	{ "THP", false, true },
	{ "large memfd folio", true, true },
};

/*
 * What is written to. It stays open: each of hundreds of files has a dentry and an
 * inode in caches, and of those that are opened anew some are there at the count.
 */
static int drop_caches, shrinks[1000];
static unsigned int nr_shrinks;

static int open_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	require(fd >= 0, path);
	return fd;
}

static void open_caches(void)
{
	DIR *dir = opendir("/sys/kernel/slab");
	struct dirent *entry;
	char path[512];

	drop_caches = open_file("/proc/sys/vm/drop_caches");
	require(dir, "/sys/kernel/slab");
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		require(nr_shrinks < ARRAY_SIZE(shrinks), "room for all caches");
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink",
			 entry->d_name);
		shrinks[nr_shrinks++] = open_file(path);
	}
	closedir(dir);
}

static void shrink_caches(void)
{
	unsigned int i;

	require(pwrite(drop_caches, "3", 1, 0) == 1, "drop_caches");
	/* Some caches can't be shrunk. */
	for (i = 0; i < nr_shrinks; i++)
		if (pwrite(shrinks[i], "1", 1, 0) < 0)
			ksft_print_msg("shrink: %s\n", strerror(errno));
}

/* Bytes in /proc/zoneinfo's "pages free N" and, per CPU, "count: N". */
static long long free_bytes(void)
{
	FILE *file = fopen("/proc/zoneinfo", "re");
	long long pages, sum = 0;
	char line[256];

	require(file, "/proc/zoneinfo");
	sum_up_counters();
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, " pages free %lld", &pages) == 1 ||
		    sscanf(line, " count: %lld", &pages) == 1)
			sum += pages;
	}
	fclose(file);
	require(sum, "the format of /proc/zoneinfo");
	return sum * PAGE;
}

/* What debugging keeps about other objects: a stock that grows by itself. */
static bool is_of_debugging(const char *cache)
{
	return !strcmp(cache, "debug_objects_cache") ||
	       !strncmp(cache, "kmemleak_", strlen("kmemleak_"));
}

/* Bytes in slabs that no object in use takes. */
static long long slab_room(void)
{
	FILE *file = fopen("/proc/slabinfo", "re");
	long long used, size, pages, slabs, sum = 0;
	char line[512], cache[64];

	require(file, "/proc/slabinfo");
	while (fgets(line, sizeof(line), file)) {
		const char *data = strstr(line, " slabdata ");

		if (!data ||
		    sscanf(line, "%63s %lld %*d %lld %*d %lld", cache, &used,
			   &size, &pages) != 4 ||
		    sscanf(data, " slabdata %*d %lld", &slabs) != 1)
			continue;
		if (is_of_debugging(cache))
			used = 0;
		sum += slabs * pages * PAGE - used * size;
	}
	fclose(file);
	require(sum, "the format of /proc/slabinfo");
	return sum;
}

static long long settled_pages(void)
{
	/* Longer than it takes RCU to free what waits for it. */
	const struct timespec pause = { 0, 200000000 };
	long long pages = -1, last;
	int same = 0, i;

	for (i = 0; i < 50 && same < 2; i++) {
		shrink_caches();
		nanosleep(&pause, NULL);
		last = pages;
		pages = (free_bytes() + slab_room()) / (long long)PAGE;
		same = pages == last ? same + 1 : 0;
	}
	return pages;
}

/* Memory of its own for each repetition, or a lost reference loses nothing. */
static void repeat(const struct kind *kind, unsigned char *area, int times)
{
	struct xpin_claim claim;
	struct xpin_part part;
	int fd, memfd = -1;

	for (; times; times--) {
		if (kind->shmem) {
			memfd = memfd_create("leak", MFD_CLOEXEC);
			require(memfd >= 0 && !ftruncate(memfd, LARGE),
				"memfd");
		}
		require(mmap(area, LARGE, PROT_READ | PROT_WRITE, MAP_FIXED |
			     (kind->shmem ? MAP_SHARED :
			      MAP_PRIVATE | MAP_ANONYMOUS), memfd, 0) == area,
			"mmap");
		require(!madvise(area, LARGE, kind->large ? MADV_HUGEPAGE :
				 MADV_NOHUGEPAGE), "madvise");
		area[0] = 1;
		require(folio_size(area) == (kind->large ? LARGE : PAGE),
			"the kernel did not give folios of the kind wanted");

		fd = xpin_open();
		require(!xpin_claim(fd, area, PAGE, 0, &claim), "claim");
		require(!xpin_part(fd, XPIN_IOC_SHARE, claim.claim_id, 0,
				   XPIN_WHOLE, &part), "share");
		require(!xpin_part(fd, XPIN_IOC_UNSHARE, claim.claim_id, 0,
				   XPIN_WHOLE, &part), "unshare");
		require(!xpin_release(fd, &claim), "release");
		/* The close has a claim to release, too. */
		require(!xpin_claim(fd, area, PAGE, 0, &claim), "claim");
		close(fd);

		munmap(area, LARGE);
		if (kind->shmem)
			close(memfd);
	}
}

static int compare(const void *a, const void *b)
{
	long long left = *(const long long *)a, right = *(const long long *)b;

	return (left > right) - (left < right);
}

struct threads {
	long alive;
	/* Since the machine was booted. */
	long made;
};

static struct threads threads(void)
{
	FILE *file = fopen("/proc/loadavg", "re");
	struct threads threads = { 0 };
	char line[4096];

	require(file && fscanf(file, "%*f %*f %*f %*d/%ld", &threads.alive) == 1,
		"the format of /proc/loadavg");
	fclose(file);
	file = fopen("/proc/stat", "re");
	require(file, "/proc/stat");
	while (fgets(line, sizeof(line), file))
		sscanf(line, "processes %ld", &threads.made);
	fclose(file);
	require(threads.made, "the format of /proc/stat");
	return threads;
}

static void leak(const struct kind *kind, unsigned char *area, int times)
{
	long long before, after, lost[BATCHES];
	struct threads earlier, now;
	int i = 0, tries;

	repeat(kind, area, 1);
	before = settled_pages();
	earlier = threads();
	for (tries = 0; i < BATCHES && tries < TRIES; tries++) {
		repeat(kind, area, times);
		after = settled_pages();
		now = threads();
		lost[i] = before - after;
		ksft_print_msg("%s: %d repetitions lost %lld pages; %ld threads came, now %+ld\n",
			       kind->name, times, lost[i],
			       now.made - earlier.made,
			       now.alive - earlier.alive);
		i += now.made == earlier.made && now.alive == earlier.alive;
		before = after;
		earlier = now;
	}
	qsort(lost, i, sizeof(lost[0]), compare);
	check(i == BATCHES && lost[BATCHES / 2] < SLACK,
	      "%s: %d repetitions lose no memory", kind->name, times);
}

int main(void)
{
	unsigned char *area;
	size_t i;

	ksft_print_header();
	ksft_set_plan(ARRAY_SIZE(kinds));
	/* Somewhere in it 2 MiB are aligned. */
	area = mmap(NULL, 2 * LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	require(area != MAP_FAILED, "mmap");
	area += LARGE - (uintptr_t)area % LARGE;
	open_caches();

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		leak(&kinds[i], area, repetitions(1000));
	ksft_finished();
}
