// SPDX-License-Identifier: GPL-2.0
/*
 * PID 1 of a machine whose time stamp counter counts instructions: what does a pin
 * and its unpin take without xpin, with it, and with claims here and there?
 *
 * On the second serial port lines of fields that tabs separate:
 *   cost STATE PAGES INSTRUCTIONS		of a pin and an unpin of so many pages
 *   arm TASKS INSTRUCTIONS STOPPED	of a first claim while there are so many
 *		tasks, in its own thread and while all processors are stopped for it
 * What is not as it should be ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <linux/xpin.h>

#include "xpin_bench.h"

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

#define PAGE		4096UL
#define STATS		"/sys/kernel/debug/xpin/stats"

/* PFNs of one section of xpin's filter: 128 MiB. */
#define SECTION		32768
/* Pages that are pinned at once, at most. */
#define WINDOW		512
/* Pages of which some are pinned, and as many between them that are claimed. */
#define PAIRS		(16 * WINDOW)
/* More than one section has. */
#define FAR		(SECTION + PAIRS)
/* In 4 GiB. */
#define PFNS		((4UL << 30) / PAGE)

/*
 * In most batches there is no interrupt, and the fewest instructions are those of
 * one without: 250 ticks per second are 4 million instructions apart.
 */
#define BATCHES		101
#define BATCH		200000
/* So often it is armed. */
#define ROUNDS		5

static unsigned char *pinned, *owned, *far;
static bool is_owned[PFNS];
static int bench;

static void stop(void)
{
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void require(bool condition, const char *what)
{
	if (condition)
		return;
	printf("Bail out! %s: %s\n", what, strerror(errno));
	stop();
}

static void mount_on(const char *type, const char *path)
{
	mkdir(path, 0755);
	require(!mount(type, path, type, 0, NULL) || errno == EBUSY, path);
}

static bool load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok = !syscall(SYS_finit_module, fd, "", 0);

	close(fd);
	return ok;
}

static unsigned char *map(unsigned long pages)
{
	void *area = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	require(area != MAP_FAILED && !madvise(area, pages * PAGE, MADV_NOHUGEPAGE),
		"map");
	return area;
}

static unsigned long pfn_of(void *addr)
{
	static int fd = -1;
	__u64 entry = 0;

	if (fd < 0)
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	require(pread(fd, &entry, sizeof(entry),
		      (uintptr_t)addr / PAGE * sizeof(entry)) == sizeof(entry),
		"pagemap");
	entry &= (1ULL << 55) - 1;
	require(entry && entry < PFNS, "a page's number");
	return entry;
}

static unsigned long section_of(void *addr)
{
	return pfn_of(addr) / SECTION;
}

/* Pages of the two areas take turns in physical memory, too. */
static void make_memory(void)
{
	unsigned long i, pfn, neighbours = 0, window;

	pinned = map(PAIRS);
	owned = map(PAIRS);
	far = map(FAR);
	for (i = 0; i < PAIRS; i++) {
		pinned[i * PAGE] = 1;
		owned[i * PAGE] = 1;
	}
	for (i = 0; i < FAR; i++)
		far[i * PAGE] = 1;
	for (i = 0; i < PAIRS; i++)
		is_owned[pfn_of(owned + i * PAGE)] = true;

	/* A window of one section. */
	for (window = 0; window < PAIRS; window += WINDOW) {
		for (i = 0; i < WINDOW; i++)
			if (section_of(pinned + (window + i) * PAGE) !=
			    section_of(pinned + window * PAGE))
				break;
		if (i == WINDOW)
			break;
	}
	require(window < PAIRS, "a window in one section");
	pinned += window * PAGE;
	for (i = 0; i < WINDOW; i++) {
		pfn = pfn_of(pinned + i * PAGE);
		neighbours += is_owned[pfn - 1] && is_owned[pfn + 1];
	}
	printf("# %lu of %u pinned pages lie between two of those that will be owned\n",
	       neighbours, WINDOW);
	require(neighbours > WINDOW * 9 / 10, "every second page");
}

static int compare(const void *a, const void *b)
{
	__u64 left = *(const __u64 *)a, right = *(const __u64 *)b;

	return (left > right) - (left < right);
}

/* Sorted; of one repetition. */
static const double *batches(unsigned long request, __u64 pages, __u64 repeat)
{
	static __u64 cycles[BATCHES];
	static double each[BATCHES];
	int i;

	for (i = 0; i < BATCHES; i++) {
		struct xpin_bench_call call = {
			.addr = (uintptr_t)pinned,
			.pages = pages,
			.repeat = repeat,
		};

		require(!ioctl(bench, request, &call), "/dev/xpin_bench");
		cycles[i] = call.cycles;
	}
	qsort(cycles, BATCHES, sizeof(cycles[0]), compare);
	for (i = 0; i < BATCHES; i++)
		each[i] = (double)cycles[i] / repeat;
	return each;
}

/* Does the counter count what it should? */
static void check_counter(void)
{
	const double *each = batches(XPIN_BENCH_LOOP, 0, BATCH / 2);

	printf("# a loop of 2 instructions: %.4f at least, %.4f half of the time\n",
	       each[0], each[BATCHES / 2]);
	require(each[0] >= 2 && each[0] < 2.01, "count instructions");
}

static void measure(const char *state)
{
	static const __u64 pages[] = { 1, WINDOW };
	const double *each;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		each = batches(XPIN_BENCH_PIN, pages[i],
			       pages[i] == 1 ? BATCH / 1000 : 1);
		printf("# %.1f at least, %.1f half of the time, %.1f at most\n",
		       each[0], each[BATCHES / 2], each[BATCHES - 1]);
		printf("cost\t%s\t%llu\t%.0f\n", state, pages[i], each[0]);
	}
}

static void claim(int fd, unsigned char *addr, unsigned long pages)
{
	struct xpin_claim claim = {
		.size = sizeof(claim),
		.addr = (uintptr_t)addr,
		.length = pages * PAGE,
	};

	require(!ioctl(fd, XPIN_IOC_CLAIM, &claim), "claim");
	require(claim.folios == pages, "folios of one page");
}

static void measure_claimed(const char *state, unsigned char *addr,
			    unsigned long pages)
{
	int fd = open("/dev/xpin", O_RDWR | O_CLOEXEC);

	claim(fd, addr, pages);
	measure(state);
	close(fd);
}

static unsigned char *first_in(unsigned char *area, bool same_section)
{
	while ((section_of(area) == section_of(pinned)) != same_section)
		area += PAGE;
	return area;
}

static bool is_armed(void)
{
	FILE *file = fopen(STATS, "re");
	unsigned int armed = 0;
	char line[64];

	require(file, STATS);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "armed %u", &armed) == 1)
			break;
	fclose(file);
	return armed;
}

static void wait_until_idle(void)
{
	const struct timespec pause = { 0, 100000000 };

	while (is_armed())
		nanosleep(&pause, NULL);
}

/* --- The first claim, which arms --- */

static void *sleep_for_ever(void *unused)
{
	for (;;)
		pause();
	return unused;
}

/* What the thread that stops the processor has run for, in nanoseconds. */
static __u64 stopper_time(void)
{
	__u64 time = 0;
	char path[64], line[64];
	FILE *file;
	int pid;

	for (pid = 1; pid < 100; pid++) {
		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (!fgets(line, sizeof(line), file))
			line[0] = '\0';
		fclose(file);
		if (!strcmp(line, "migration/0\n"))
			break;
	}
	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	file = fopen(path, "re");
	require(file && fscanf(file, "%llu", &time) == 1, path);
	fclose(file);
	return time;
}

static __u64 own_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/* With so many threads that sleep, besides the system's own. */
static void measure_arming(unsigned int threads)
{
	static unsigned int running;
	__u64 own[ROUNDS], stopped[ROUNDS];
	struct sysinfo info;
	pthread_t thread;
	int fd, i;

	for (; running < threads; running++)
		require(!pthread_create(&thread, NULL, sleep_for_ever, NULL),
			"pthread_create");
	for (i = 0; i < ROUNDS; i++) {
		wait_until_idle();
		fd = open("/dev/xpin", O_RDWR | O_CLOEXEC);
		stopped[i] = stopper_time();
		own[i] = own_time();
		claim(fd, owned, 1);
		own[i] = own_time() - own[i];
		stopped[i] = stopper_time() - stopped[i];
		close(fd);
	}
	qsort(own, ROUNDS, sizeof(own[0]), compare);
	qsort(stopped, ROUNDS, sizeof(stopped[0]), compare);
	printf("# claims: %llu to %llu, stopped: %llu to %llu\n", own[0],
	       own[ROUNDS - 1], stopped[0], stopped[ROUNDS - 1]);
	sysinfo(&info);
	printf("arm\t%u\t%llu\t%llu\n", info.procs, own[ROUNDS / 2],
	       stopped[ROUNDS / 2]);
}

int main(void)
{
	struct utsname name;
	struct termios terminal;
	int fd;

	mount_on("devtmpfs", "/dev");
	fd = open("/dev/ttyS1", O_RDWR | O_NOCTTY);
	if (!tcgetattr(fd, &terminal)) {
		cfmakeraw(&terminal);
		tcsetattr(fd, TCSANOW, &terminal);
	}
	dup2(fd, STDOUT_FILENO);
	mount_on("proc", "/proc");
	mount_on("sysfs", "/sys");
	mount_on("debugfs", "/sys/kernel/debug");
	uname(&name);
	printf("kernel\t%s\n", name.release);

	make_memory();
	require(load("/xpin_bench.ko"), "load xpin_bench");
	bench = open("/dev/xpin_bench", O_RDWR | O_CLOEXEC);
	check_counter();
	measure("without xpin");
	if (!access("/xpin.ko", F_OK)) {
		require(load("/xpin.ko"), "load xpin");
		measure("loaded, nothing claimed");
		measure_claimed("a claim in another section",
				first_in(far, false), 1);
		measure_claimed("a claim in the same section",
				first_in(owned, true), 1);
		measure_claimed("every second folio claimed", owned, PAIRS);
		wait_until_idle();
		measure("nothing claimed any more");
		measure_arming(0);
		measure_arming(50);
		measure_arming(1000);
	}
	printf("# end\n");
	stop();
}
