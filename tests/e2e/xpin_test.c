// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/kernel-page-flags.h>
#include <linux/version.h>

#include "xpin_test.h"
#include "module/xpin_test_owner.h"

#define PAGES(length)	((length) / PAGE)

void give_up(const char *file, int line, const char *what)
{
	printf("Bail out! %s:%d: %s (errno: %s)\n", file, line, what,
	       strerror(errno));
	fflush(stdout);
	_exit(1);
}

int xpin_open(void)
{
	int fd = open("/dev/xpin", O_RDWR | O_CLOEXEC);

	require(fd >= 0, "open /dev/xpin");
	return fd;
}

unsigned int xpin_backend(void)
{
	static struct xpin_info info = { .size = sizeof(info) };
	int fd;

	if (!info.backend) {
		fd = xpin_open();
		require(!ioctl(fd, XPIN_IOC_INFO, &info), "XPIN_IOC_INFO");
		close(fd);
	}
	return info.backend;
}

/*
 * By the kernel's version, by how the module is told about pins, and by what
 * Debian configures its own kernels to have.
 */
static const struct {
	unsigned int since;
	enum xpin_backend backend;
	/* On a stock kernel: since when there, and the file that shows it is there. */
	unsigned int stock_since;
	const char *stock_file;
	const char *missing;
} features[FEATURES] = {
	[FEATURE_ANON_MIDDLE] = { KERNEL_VERSION(6, 8, 0),
		.missing = "anonymous folios are of one page or of a PMD" },
	[FEATURE_SHMEM_MIDDLE] = { KERNEL_VERSION(6, 11, 0),
		.missing = "folios of shmem are of one page or of a PMD" },
	[FEATURE_MEMFD_PIN] = { KERNEL_VERSION(6, 11, 0),
		.missing = "there is no memfd_pin_folios(), and so no claim of a memfd" },
#ifdef __aarch64__
	[FEATURE_GUEST_MEMFD] = { KERNEL_VERSION(6, 18, 0),
		.missing = "arm64 has no guest_memfd" },
#else
	[FEATURE_GUEST_MEMFD] = { KERNEL_VERSION(6, 8, 0),
		.stock_since = KERNEL_VERSION(6, 18, 0),
		.missing = "there is no guest_memfd, or for confidential guests only" },
#endif
	[FEATURE_UFFDIO_MOVE] = { KERNEL_VERSION(6, 8, 0),
		.missing = "there is no UFFDIO_MOVE" },
	/* In 7.3 or not long before it; 6.12 is without. */
	[FEATURE_VVAR_PAGES] = { KERNEL_VERSION(7, 3, 0),
		.missing = "[vvar] is made of PFNs, not of pages" },
	[FEATURE_GUP_TEST_LONGTERM] = { KERNEL_VERSION(6, 2, 0),
		.missing = "gup_test has no PIN_LONGTERM_TEST" },
	[FEATURE_UDMABUF_HUGETLB] = { KERNEL_VERSION(6, 11, 0),
		.missing = "a udmabuf of huge pages spoils their counts" },
	[FEATURE_LONGTERM_RETRY] = { KERNEL_VERSION(6, 3, 0),
		.missing = "a long-term pin does not wait for a userfaultfd: EFAULT" },
	[FEATURE_FOLIO_WALK] = { KERNEL_VERSION(6, 12, 0),
		.missing = "move_pages() takes a plain reference to see where a page is" },
	[FEATURE_FAILSLAB_FILE] = { KERNEL_VERSION(6, 2, 0),
		.missing = "only the command line says which caches fail: slub_debug=A" },
	[FEATURE_NOTIFIER] = { .backend = XPIN_BACKEND_NOTIFIER,
		.missing = "the kernel has no pin notifier" },
	[FEATURE_DENY_GET] = { .backend = XPIN_BACKEND_NOTIFIER,
		.missing = "without the notifier plain references are not refused" },
	[FEATURE_PLAIN_UNPIN] = { .backend = XPIN_BACKEND_NOTIFIER,
		.missing = "without the notifier unpins are not reported" },
	[FEATURE_HOOKS] = { .backend = XPIN_BACKEND_FTRACE,
		.missing = "the kernel has the notifier, and nothing is hooked" },
	[FEATURE_GUP_TEST] = { .stock_file = "/sys/kernel/debug/gup_test",
		.missing = "the kernel has no gup_test: CONFIG_GUP_TEST" },
	[FEATURE_FAULT_INJECTION] = { .stock_file = "/sys/kernel/debug/failslab",
		.missing = "the kernel can't have allocations fail: CONFIG_FAILSLAB" },
	[FEATURE_UDMABUF] = { .stock_file = "/dev/udmabuf",
		.missing = "the kernel has no udmabuf: CONFIG_UDMABUF" },
	/* tools/vm/e2e gives it none. */
	[FEATURE_MOVABLE] = { .stock_since = KERNEL_VERSION(6, 2, 0),
		.missing = "no movable memory, of which it could not pin huge pages for long" },
	/* Our own are without. */
	[FEATURE_NUMA_BALANCING] = { .backend = XPIN_BACKEND_FTRACE,
		.stock_file = "/proc/sys/kernel/numa_balancing",
		.missing = "the kernel has no CONFIG_NUMA_BALANCING" },
};

/* What our own kernels are configured to have must be there. */
static bool stock_lacks(enum feature feature)
{
	const char *file = features[feature].stock_file;

	return (file || features[feature].stock_since) &&
	       xpin_backend() == XPIN_BACKEND_FTRACE &&
	       (kernel_version() < features[feature].stock_since ||
		(file && access(file, F_OK)));
}

const char *feature_missing(enum feature feature)
{
	bool other = features[feature].backend &&
		     features[feature].backend != xpin_backend();

	return other || kernel_version() < features[feature].since ||
	       stock_lacks(feature) ? features[feature].missing : NULL;
}

static int ioctl_errno(int fd, unsigned long request, void *argument)
{
	return ioctl(fd, request, argument) ? -errno : 0;
}

int xpin_claim(int fd, void *addr, size_t length, __u64 timeout_ns,
	       struct xpin_claim *claim)
{
	*claim = (struct xpin_claim){
		.size = sizeof(*claim),
		.addr = (uintptr_t)addr,
		.length = length,
		.timeout_ns = timeout_ns,
	};
	return ioctl_errno(fd, XPIN_IOC_CLAIM, claim);
}

int xpin_claim_deny_get(int fd, void *addr, size_t length,
			struct xpin_claim *claim)
{
	*claim = (struct xpin_claim){
		.size = sizeof(*claim),
		.flags = XPIN_CLAIM_DENY_GET,
		.addr = (uintptr_t)addr,
		.length = length,
	};
	return ioctl_errno(fd, XPIN_IOC_CLAIM, claim);
}

int xpin_claim_memfd(int fd, int memfd, __u64 offset, __u64 length,
		     __u64 timeout_ns, struct xpin_claim_memfd *claim)
{
	*claim = (struct xpin_claim_memfd){
		.size = sizeof(*claim),
		.fd = memfd,
		.offset = offset,
		.length = length,
		.timeout_ns = timeout_ns,
	};
	return ioctl_errno(fd, XPIN_IOC_CLAIM_MEMFD, claim);
}

int xpin_part(int fd, unsigned long request, __u64 claim_id, __u64 offset,
	      __u64 length, struct xpin_part *part)
{
	*part = (struct xpin_part){
		.size = sizeof(*part),
		.claim_id = claim_id,
		.offset = offset,
		.length = length,
	};
	return ioctl_errno(fd, request, part);
}

int xpin_release(int fd, const struct xpin_claim *claim)
{
	struct xpin_part part;

	return xpin_part(fd, XPIN_IOC_RELEASE, claim->claim_id, 0, XPIN_WHOLE,
			 &part);
}

static int query(int fd, void *addr, size_t length, __u8 *states)
{
	struct xpin_query query = {
		.size = sizeof(query),
		.addr = (uintptr_t)addr,
		.length = length,
		.states = (uintptr_t)states,
	};

	return ioctl_errno(fd, XPIN_IOC_QUERY, &query);
}

int xpin_page_state(int fd, void *addr)
{
	__u8 state = 0;
	int error = query(fd, addr, PAGE, &state);

	return error ? error : state;
}

bool xpin_all_pages(int fd, void *addr, size_t length, int state)
{
	__u8 states[PAGES(MEMORY_LENGTH)];
	size_t i;
	int error;

	error = query(fd, addr, length, states);
	if (error) {
		printf("# query: %s\n", strerror(-error));
		return false;
	}
	for (i = 0; i < PAGES(length); i++) {
		if (states[i] != state) {
			printf("# page %zu is %s, not %s\n", i,
			       state_name(states[i]), state_name(state));
			return false;
		}
	}
	return true;
}

void wait_for_state(int fd, void *addr, int state)
{
	time_t deadline = time(NULL) + 60;

	while (xpin_page_state(fd, addr) != state) {
		require(time(NULL) < deadline, state_name(state));
		sched_yield();
	}
}

const char *state_name(int state)
{
	static const char * const names[] = {
		[XPIN_PAGE_NONE] = "none",
		[XPIN_PAGE_FREE] = "free",
		[XPIN_PAGE_PINNED] = "pinned",
		[XPIN_PAGE_CLAIMING] = "being claimed",
		[XPIN_PAGE_MINE] = "mine",
		[XPIN_PAGE_MINE_SHARED] = "mine and shared",
		[XPIN_PAGE_OTHERS] = "another's",
	};

	if (state < 0)
		return strerror(-state);
	return state <= XPIN_PAGE_OTHERS ? names[state] : "unknown";
}

int module_load_with(const char *path, const char *parameters)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;

	if (fd < 0 || syscall(SYS_finit_module, fd, parameters, 0))
		error = -errno;
	if (fd >= 0)
		close(fd);
	return error;
}

int module_load(const char *path)
{
	return module_load_with(path, "");
}

long file_number(const char *path)
{
	FILE *file = fopen(path, "re");
	long number;

	require(file && fscanf(file, "%ld", &number) == 1, path);
	fclose(file);
	return number;
}

void set_file_number(const char *path, long number)
{
	FILE *file = fopen(path, "we");

	require(file && fprintf(file, "%ld\n", number) > 0 && !fclose(file),
		path);
}

static bool write_text(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_CLOEXEC);
	bool ok;

	require(file >= 0, path);
	ok = write(file, text, strlen(text)) == (ssize_t)strlen(text);
	if (!ok)
		printf("# %s: %s\n", path, strerror(errno));
	close(file);
	return ok;
}

bool freeze_all(void)
{
	return write_text("/sys/power/pm_test", "freezer") &&
	       write_text("/sys/module/suspend/parameters/pm_test_delay", "0") &&
	       write_text("/sys/power/state", "freeze");
}

int module_unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

int module_unload_soon(const char *name)
{
	const struct timespec pause = { 0, 100000000 };
	int tries = feature_missing(FEATURE_HOOKS) ? 1 : 300, error;

	do {
		error = module_unload(name);
		if (error == -EWOULDBLOCK)
			nanosleep(&pause, NULL);
	} while (error == -EWOULDBLOCK && --tries);
	return error;
}

long long named_value(const char *path, const char *name)
{
	long long value, found = -1;
	FILE *file = fopen(path, "re");
	char word[64];

	require(file, path);
	while (found < 0 && fscanf(file, "%63s %lld", word, &value) == 2) {
		if (!strcmp(word, name))
			found = value;
	}
	fclose(file);
	require(found >= 0, name);
	return found;
}

long long xpin_stat(const char *name)
{
	return named_value("/sys/kernel/debug/xpin/stats", name);
}

void sum_up_counters(void)
{
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);

	require(fd >= 0 && write(fd, "1", 1) == 1, "stat_refresh");
	close(fd);
}

long long pins_taken(void)
{
	sum_up_counters();
	return named_value("/proc/vmstat", "nr_foll_pin_acquired");
}

long long pins_held(void)
{
	return pins_taken() -
	       named_value("/proc/vmstat", "nr_foll_pin_released");
}

long long locked_kb(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	long long value = -1;
	char line[256];

	require(file, "/proc/self/status");
	while (value < 0 && fgets(line, sizeof(line), file))
		sscanf(line, "VmLck: %lld kB", &value);
	fclose(file);
	require(value >= 0, "VmLck");
	return value;
}

static const struct {
	const char *name;
	size_t folio;
	bool hugetlb;
	bool memfd;
	/* What a PMD could map is mapped by PTEs. */
	bool ptes;
	enum feature needs;
} kinds[MEMORY_KINDS] = {
	[MEMORY_ANON_PAGE] = { "anonymous page", PAGE },
	[MEMORY_ANON_LARGE] = { "THP", LARGE },
	[MEMORY_ANON_LARGE_PTES] = { "THP mapped by PTEs", LARGE,
				     .ptes = true },
	[MEMORY_ANON_MIDDLE] = { "middle folio", MIDDLE,
				 .needs = FEATURE_ANON_MIDDLE },
	[MEMORY_SHMEM_PAGE] = { "memfd page", PAGE, .memfd = true },
	[MEMORY_SHMEM_LARGE] = { "large memfd folio", LARGE, .memfd = true },
	[MEMORY_SHMEM_LARGE_PTES] = { "large memfd folio mapped by PTEs", LARGE,
				      .memfd = true, .ptes = true },
	[MEMORY_SHMEM_MIDDLE] = { "middle memfd folio", MIDDLE,
				  .memfd = true,
				  .needs = FEATURE_SHMEM_MIDDLE },
	[MEMORY_HUGETLB] = { "hugetlb page", LARGE, .hugetlb = true },
	[MEMORY_HUGETLB_MEMFD] = { "hugetlb memfd page", LARGE,
				   .hugetlb = true, .memfd = true },
};

enum feature memory_needs(enum memory_kind kind)
{
	return kinds[kind].needs;
}

long repetitions(long normal)
{
	const char *times = getenv("XPIN_REPEAT");

	return times ? normal * atol(times) / 1000 : normal;
}

__u64 entry_of(const char *path, __u64 index)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	__u64 entry;

	require(fd >= 0, path);
	require(pread(fd, &entry, sizeof(entry), index * sizeof(entry)) ==
		sizeof(entry), path);
	close(fd);
	return entry;
}

__u64 page_pfn(void *addr)
{
	__u64 entry = entry_of("/proc/self/pagemap", (uintptr_t)addr / PAGE);

	return entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

bool page_flag(__u64 pfn, int flag)
{
	return entry_of("/proc/kpageflags", pfn) >> flag & 1;
}

__u64 folio_pfn(void *addr)
{
	__u64 pfn = page_pfn(addr);
	unsigned int order = 0;

	require(pfn, "a page has no PFN");
	/* A folio is aligned to its size. */
	while (page_flag(pfn, KPF_COMPOUND_TAIL))
		pfn &= ~0ULL << ++order;
	return pfn;
}

void swap_on(void)
{
	static union {
		unsigned char page[PAGE];
		struct {
			unsigned char boot[1024];
			__u32 version;
			__u32 last_page;
		};
	} header = { .version = 1 };
	int fd = open(SWAP_DEVICE, O_RDWR | O_CLOEXEC);

	require(fd >= 0, SWAP_DEVICE);
	header.last_page = lseek(fd, 0, SEEK_END) / PAGE - 1;
	memcpy(header.page + PAGE - 10, "SWAPSPACE2", 10);
	require(pwrite(fd, &header, PAGE, 0) == PAGE && !fsync(fd), SWAP_DEVICE);
	close(fd);
	require(!swapon(SWAP_DEVICE, 0), "swapon");
}

void swap_off(void)
{
	require(!swapoff(SWAP_DEVICE), "swapoff");
}

/*
 * Processors sort folios into the LRU lists by batches, in which they have a
 * reference to each; and who touched the memory last, if only by a pin that was
 * refused then, may have done it on another one. The call empties the batches of
 * the processor that it runs on.
 */
int page_out(void *addr, size_t length)
{
	cpu_set_t all, one;
	int cpu, ret = 0;

	require(!sched_getaffinity(0, sizeof(all), &all), "sched_getaffinity");
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		require(!sched_setaffinity(0, sizeof(one), &one),
			"sched_setaffinity");
		if (madvise(addr, length, MADV_PAGEOUT))
			ret = -errno;
	}
	require(!sched_setaffinity(0, sizeof(all), &all), "sched_setaffinity");
	return ret;
}

size_t folio_size(void *addr)
{
	__u64 first = folio_pfn(addr);
	size_t pages = 1;

	while (page_flag(first, KPF_COMPOUND_HEAD) &&
	       page_flag(first + pages, KPF_COMPOUND_TAIL))
		pages *= 2;
	return pages * PAGE;
}

bool in_movable_zone(void *addr)
{
	FILE *file = fopen("/proc/zoneinfo", "re");
	__u64 pfn = page_pfn(addr), spanned = 0, start;
	bool movable = false, found = false;
	char line[256], zone[32];

	require(file, "/proc/zoneinfo");
	require(pfn, "a page has no PFN");
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Node %*d, zone %31s", zone) == 1)
			movable = !strcmp(zone, "Movable");
		else if (movable && sscanf(line, " start_pfn: %llu", &start) == 1)
			found |= pfn >= start && pfn - start < spanned;
		else if (movable)
			sscanf(line, " spanned %llu", &spanned);
	}
	fclose(file);
	return found;
}

bool set_middle_folios(bool shmem, size_t size)
{
	const char *yes = shmem ? "advise" : "madvise";
	bool offered = false;
	char path[128];
	size_t other;
	int fd;

	for (other = 2 * PAGE; other < LARGE; other *= 2) {
		const char *word = other == size ? yes : "never";

		snprintf(path, sizeof(path),
			 "/sys/kernel/mm/transparent_hugepage/hugepages-%zukB/%s",
			 other >> 10, shmem ? "shmem_enabled" : "enabled");
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		require(write(fd, word, strlen(word)) == (ssize_t)strlen(word),
			path);
		close(fd);
		offered |= other == size;
	}
	return offered;
}

/*
 * Maps @fd, or anonymous memory, so that its large folios get a PMD each; or so
 * that they can't, because they lie across its boundaries. Folios of a
 * middle size are made where a mapping has no room for larger ones.
 */
static void *map(enum memory_kind kind, int fd)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	size_t skew = fd >= 0 && kinds[kind].ptes ? PAGE : 0;
	size_t step = kinds[kind].folio == MIDDLE ? LARGE / 2 : MEMORY_LENGTH;
	unsigned char *area, *base;
	size_t done;

	if (fd < 0 && kinds[kind].hugetlb)
		flags |= MAP_HUGETLB;

	area = mmap(NULL, MEMORY_LENGTH + 2 * LARGE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(area != MAP_FAILED, "mmap");
	base = area + LARGE - (uintptr_t)area % LARGE + skew;
	munmap(area, base - area);
	munmap(base + MEMORY_LENGTH,
	       area + 2 * LARGE - base);
	for (done = 0; done < MEMORY_LENGTH; done += step) {
		require(mmap(base + done, step, PROT_READ | PROT_WRITE,
			     flags | MAP_FIXED, fd, done) == base + done,
			"mmap");
		require(kinds[kind].hugetlb ||
			!madvise(base + done, step, kinds[kind].folio > PAGE ?
				 MADV_HUGEPAGE : MADV_NOHUGEPAGE), "madvise");
		/* GUP's fast path sees only what is in the page table. */
		require(!madvise(base + done, step, MADV_POPULATE_WRITE),
			"populate");
	}
	return base;
}

void memory_create_as(struct memory *memory, enum memory_kind kind,
		      size_t folio, int fd)
{
	*memory = (struct memory){
		.kind = kind,
		.name = kinds[kind].name,
		.folio = folio,
		.fd = fd,
	};
	if (kinds[kind].memfd && fd < 0) {
		memory->fd = memfd_create("memory",
					  MFD_CLOEXEC | MFD_ALLOW_SEALING |
					  (kinds[kind].hugetlb ?
					   MFD_HUGETLB : 0));
		require(memory->fd >= 0, "memfd_create");
		require(!ftruncate(memory->fd, MEMORY_LENGTH), "ftruncate");
	}
	/* Folios are made where a PMD could map them. */
	if (kinds[kind].memfd && kinds[kind].ptes)
		munmap(map(MEMORY_SHMEM_LARGE, memory->fd), MEMORY_LENGTH);

	memory->base = map(kind, memory->fd);
	memory->wanted = memory->base + memory->folio;
	memory_fill(memory);

	if (!kinds[kind].memfd && kinds[kind].ptes) {
		/* Two protections in one PMD: it becomes PTEs. */
		require(!mprotect(memory->base, PAGE, PROT_READ) &&
			!mprotect(memory->base, PAGE, PROT_READ | PROT_WRITE) &&
			!mprotect(memory->wanted, PAGE, PROT_READ) &&
			!mprotect(memory->wanted, PAGE, PROT_READ | PROT_WRITE),
			"mprotect");
	}

	require(folio_size(memory->base) == memory->folio &&
		folio_size(memory->wanted) == memory->folio,
		"the kernel did not give folios of the kind wanted");
}

void memory_create(struct memory *memory, enum memory_kind kind)
{
	memory_create_as(memory, kind, kinds[kind].folio, -1);
}

void memory_destroy(struct memory *memory)
{
	munmap(memory->base, MEMORY_LENGTH);
	if (memory->fd >= 0)
		close(memory->fd);
}

/* No two words of it are equal, and none is 0. */
__u64 memory_word(const struct memory *memory, const void *word)
{
	size_t offset = (const unsigned char *)word - memory->base;

	return 0x5ec3e70000000000 | offset;
}

void memory_fill(const struct memory *memory)
{
	memory_fill_part(memory, memory->base, MEMORY_LENGTH);
}

void memory_fill_part(const struct memory *memory, void *addr, size_t length)
{
	__u64 *word = addr;
	__u64 *end = (__u64 *)((char *)addr + length);

	for (; word < end; word++)
		*word = memory_word(memory, word);
}

bool memory_untouched(const struct memory *memory, const void *addr,
		      size_t length)
{
	const __u64 *word = addr;
	const __u64 *end = (const __u64 *)((const char *)addr + length);

	for (; word < end; word++) {
		if (*word != memory_word(memory, word))
			return false;
	}
	return true;
}

static struct io_uring pin_ring;

int pin_hold(void *addr, size_t length)
{
	struct iovec memory = { addr, length };
	int error;

	require(!io_uring_queue_init(1, &pin_ring, 0), "io_uring");
	error = io_uring_register_buffers(&pin_ring, &memory, 1);
	if (error)
		io_uring_queue_exit(&pin_ring);
	return error;
}

void pin_drop(void)
{
	/* Closing the ring drops the pins at some later time; this waits. */
	require(!io_uring_unregister_buffers(&pin_ring), "unregister buffers");
	io_uring_queue_exit(&pin_ring);
}

static pthread_t dropper;
static atomic_bool dropped;

static void *drop_pin(void *unused)
{
	usleep(300000);
	atomic_store(&dropped, true);
	pin_drop();
	return unused;
}

void pin_drop_later(void)
{
	atomic_store(&dropped, false);
	require(!pthread_create(&dropper, NULL, drop_pin, NULL), "thread");
}

bool pin_has_gone(void)
{
	bool gone = atomic_load(&dropped);

	require(!pthread_join(dropper, NULL), "thread");
	return gone;
}

struct stranger_request {
	enum {
		STRANGER_ATTACK,
		STRANGER_REACH,
		STRANGER_HOLD,
		STRANGER_DROP,
	} what;
	const struct attack *attack;
	pid_t owner;
	enum memory_kind kind;
	int fd;
	unsigned char *addr;
	size_t offset;
	size_t length;
};

static void read_all(int fd, void *data, size_t length)
{
	require(read(fd, data, length) == (ssize_t)length, "read from a pipe");
}

static void write_all(int fd, const void *data, size_t length)
{
	require(write(fd, data, length) == (ssize_t)length, "write to a pipe");
}

/* By which a process opens what another one has open. */
static const char *path_of(pid_t pid, int fd)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	return path;
}

static struct attack_result attack_here(const struct attack *attack,
					const struct stranger_request *request,
					void *local, void *buffer)
{
	struct attack_target target = {
		.pid = request->owner,
		.remote = request->addr,
		.local = local,
		.length = request->length,
		.block = BLOCK_DEVICE,
		.file = EXT4_FILE,
		.offset = request->offset,
	};

	if (request->fd >= 0)
		target.memfd = path_of(request->owner, request->fd);
	return attack_run(attack, &target, buffer);
}

static unsigned char *map_others(const struct stranger_request *request)
{
	const char *path = path_of(request->owner, request->fd);
	unsigned char *base;
	int fd;

	fd = open(path, O_RDWR | O_CLOEXEC);
	require(fd >= 0, path);
	base = map(request->kind, fd);
	close(fd);
	/* GUP's fast path sees only what is in the page table. */
	require(!madvise(base + request->offset, request->length,
			 MADV_POPULATE_WRITE), "populate");
	return base;
}

static __u64 reach_pages(const struct stranger_request *request, void *buffer)
{
	struct stranger_request one = *request;
	struct attack_result result;
	__u64 reached = 0;
	size_t page;

	one.length = PAGE;
	for (page = 0; page < PAGES(request->length); page++) {
		one.addr = request->addr + page * PAGE;
		result = attack_here(request->attack, &one, NULL, buffer);
		if (result.outcome == ATTACK_SUCCEEDED)
			reached |= 1ULL << page;
		else
			require(result.outcome == ATTACK_REFUSED &&
				result.error ==
				attack_answer(request->attack)->first,
				"a stranger failed for a reason of its own");
	}
	return reached;
}

static struct attack_result stranger_serve(const struct stranger *stranger,
					   const struct stranger_request *request)
{
	static unsigned char *held;
	struct attack_result result = { .outcome = ATTACK_SUCCEEDED };
	const struct attack *attack = request->attack;
	unsigned char *base;

	if (request->what == STRANGER_DROP) {
		pin_drop();
		munmap(held, MEMORY_LENGTH);
		return result;
	}
	if (request->what == STRANGER_ATTACK &&
	    (attack->remote || attack->memfd))
		return attack_here(attack, request, NULL, stranger->buffer);

	if (request->what == STRANGER_REACH) {
		result.bytes = reach_pages(request, stranger->buffer);
		return result;
	}

	base = map_others(request);
	if (request->what == STRANGER_ATTACK) {
		result = attack_here(attack, request, base + request->offset,
				     stranger->buffer);
	} else {
		result.error = -pin_hold(base + request->offset,
					 request->length);
		if (!result.error) {
			held = base;
			return result;
		}
	}
	munmap(base, MEMORY_LENGTH);
	return result;
}

void stranger_start(struct stranger *stranger)
{
	int request[2], answer[2];
	struct stranger_request todo;
	struct attack_result result;

	stranger->buffer = mmap(NULL, STRANGER_BUFFER, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	require(stranger->buffer != MAP_FAILED, "mmap");
	require(!pipe2(request, O_CLOEXEC) && !pipe2(answer, O_CLOEXEC), "pipe");
	stranger->pid = fork();
	require(stranger->pid >= 0, "fork");
	if (stranger->pid) {
		close(request[0]);
		close(answer[1]);
		stranger->request = request[1];
		stranger->answer = answer[0];
		return;
	}

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(request[1]);
	close(answer[0]);
	while (read(request[0], &todo, sizeof(todo)) == sizeof(todo)) {
		result = stranger_serve(stranger, &todo);
		write_all(answer[1], &result, sizeof(result));
	}
	_exit(0);
}

void stranger_stop(struct stranger *stranger)
{
	close(stranger->request);
	close(stranger->answer);
	require(waitpid(stranger->pid, NULL, 0) == stranger->pid, "waitpid");
	munmap(stranger->buffer, STRANGER_BUFFER);
}

static struct attack_result ask(struct stranger *stranger,
				struct stranger_request request,
				const struct memory *memory, void *addr,
				size_t length)
{
	struct attack_result result;

	request.owner = getpid();
	if (memory) {
		request.fd = memory->fd;
		request.kind = memory->kind;
		request.addr = addr;
		request.offset = (unsigned char *)addr - memory->base;
		request.length = length;
	}
	write_all(stranger->request, &request, sizeof(request));
	read_all(stranger->answer, &result, sizeof(result));
	return result;
}

struct attack_result stranger_attack(struct stranger *stranger,
				     const struct attack *attack,
				     const struct memory *memory, void *addr,
				     size_t length)
{
	struct stranger_request request = {
		.what = STRANGER_ATTACK,
		.attack = attack,
		.owner = getpid(),
		.fd = memory->fd,
		.addr = addr,
		.length = length,
	};

	if (memory->fd < 0 && !attack->remote)
		return attack_here(attack, &request, addr, stranger->buffer);
	return ask(stranger, request, memory, addr, length);
}

bool stranger_reaches(struct stranger *stranger, const struct memory *memory,
		      void *addr)
{
	return stranger_reaches_pages(stranger, memory, addr, 1);
}

__u64 stranger_reaches_pages(struct stranger *stranger,
			     const struct memory *memory, void *addr,
			     unsigned int pages)
{
	struct stranger_request request = {
		.what = STRANGER_REACH,
		.attack = attack_find("process_vm_readv"),
	};

	return ask(stranger, request, memory, addr, pages * PAGE).bytes;
}

bool reached_fast(int test_owner, void *addr)
{
	struct xpin_test_owner_call call = {
		.addr = (uintptr_t)addr,
		.pages = 1,
		.repeat = 1,
	};

	require(!ioctl(test_owner, XPIN_TEST_OWNER_GUP, &call), "GUP");
	return call.answer;
}

int stranger_pin_hold(struct stranger *stranger, const struct memory *memory,
		      void *addr, size_t length)
{
	struct stranger_request request = { .what = STRANGER_HOLD };

	return -ask(stranger, request, memory, addr, length).error;
}

void stranger_pin_drop(struct stranger *stranger)
{
	struct stranger_request request = { .what = STRANGER_DROP };

	ask(stranger, request, NULL, NULL, 0);
}
