// SPDX-License-Identifier: GPL-2.0
/*
 * Ranges and memory that can't be claimed, each with its errno: nothing stays
 * pinned, QUERY says none of it and faults nothing in. And memory that looks
 * like it, but can.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/bpf.h>
#include <linux/kernel-page-flags.h>

#include "kselftest.h"
#include "xpin_test.h"
#include "module/xpin_test_owner.h"

/*
 * Where user memory ends, and what is at two physical addresses without RAM: no
 * driver uses them, or Debian's kernels would let nobody map them.
 */
#ifdef __aarch64__
#define USER_END	0x1000000000000
#define REGISTERS	0x09020000
#define FIRMWARE	0
#else
#define USER_END	0x800000000000
#define REGISTERS	0xa0000
#define FIRMWARE	0xf0000
#endif

/* In an entry of /proc/self/pagemap. */
#define PRESENT_BIT	63
#define PFN_MASK	((1ULL << 55) - 1)

static int owner;

/* Where a query's answer goes. */
static __u8 states[PAGE];

static int query(__u64 addr, __u64 length, void *answer)
{
	struct xpin_query query = {
		.size = sizeof(query),
		.addr = addr,
		.length = length,
		.states = (uintptr_t)answer,
	};

	return ioctl(owner, XPIN_IOC_QUERY, &query) ? -errno : 0;
}

/* A claim that fails says so in every member. */
static int try_claim(const void *addr, __u64 length)
{
	struct xpin_claim claim;
	int error = xpin_claim(owner, (void *)addr, length, 0, &claim);

	if (!error)
		require(!xpin_release(owner, &claim), "release");
	else
		require(!claim.claim_id && !claim.pages && !claim.folios &&
			claim.busy_addr == XPIN_NO_ADDR,
			"a failed claim says something");
	return error;
}

/* --- Ranges --- */

static void bad_ranges(void)
{
	const __u64 there = (uintptr_t)states & ~(PAGE - 1);
	const struct {
		const char *name;
		__u64 addr;
		__u64 length;
	} ranges[] = {
		{ "a misaligned address", there + 1, PAGE },
		{ "a misaligned length", there, PAGE + 1 },
		{ "less than a page", there, 1 },
		{ "no length", there, 0 },
		{ "no address and no length", 0, 0 },
		{ "a range that wraps", there, -PAGE },
		{ "a range up to the wrap", -PAGE, PAGE },
		{ "XPIN_WHOLE", there, XPIN_WHOLE },
		{ "more pages than a claim can have", there, PAGE << 32 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++)
		check(try_claim((void *)ranges[i].addr, ranges[i].length) ==
		      -EINVAL &&
		      query(ranges[i].addr, ranges[i].length, states) ==
		      -EINVAL,
		      "CLAIM and QUERY of %s are EINVAL", ranges[i].name);
}

static void out_of_reach(void)
{
	const struct {
		const char *name;
		__u64 addr;
	} pages[] = {
		{ "the first page", 0 },
		{ "the last one of user memory", USER_END - 2 * PAGE },
		{ "the first one behind it", USER_END },
		{ "the vsyscall page", 0xffffffffff600000 },
		{ "the kernel's memory", -4 * PAGE },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(pages); i++)
		check(try_claim((void *)pages[i].addr, PAGE) == -EFAULT &&
		      !query(pages[i].addr, PAGE, states) &&
		      states[0] == XPIN_PAGE_NONE,
		      "CLAIM of %s is EFAULT, QUERY says none", pages[i].name);

	/* One more than fit in 32 bits would be EINVAL. */
	check(try_claim(NULL, (PAGE << 32) - PAGE) == -EFAULT,
	      "more than there is memory is EFAULT");
}

/* --- Memory that can't be claimed --- */

static unsigned char *map(unsigned char *at, size_t length, int protection,
			  int flags, int fd, off_t offset)
{
	unsigned char *page = mmap(at, length, protection,
				   flags | (at ? MAP_FIXED : 0), fd, offset);

	require(page != MAP_FAILED, "mmap");
	return page;
}

static unsigned char *anonymous(unsigned char *at, size_t length)
{
	return map(at, length, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static unsigned char *hole(unsigned char *at)
{
	require(!munmap(at, PAGE), "munmap");
	return at;
}

static unsigned char *protected(unsigned char *at, int protection)
{
	anonymous(at, PAGE)[0] = 1;
	require(!mprotect(at, PAGE, protection), "mprotect");
	return at;
}

static unsigned char *read_only(unsigned char *at)
{
	return protected(at, PROT_READ);
}

static unsigned char *no_access(unsigned char *at)
{
	return protected(at, PROT_NONE);
}

static void on_bus_error(int signal)
{
	(void)signal;
}

/* The process that has it is told at once, by newer kernels. The page is lost. */
static unsigned char *failed_memory(unsigned char *at)
{
	anonymous(at, PAGE)[0] = 1;
	signal(SIGBUS, on_bus_error);
	require(!madvise(at, PAGE, MADV_HWPOISON), "MADV_HWPOISON");
	signal(SIGBUS, SIG_DFL);
	return at;
}

static unsigned char *mapped_file(unsigned char *at, const char *path,
				  int protection, int flags)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	require(fd >= 0 && !ftruncate(fd, PAGE), path);
	map(at, PAGE, protection, flags, fd, 0);
	close(fd);
	return at;
}

static unsigned char *file(unsigned char *at)
{
	return mapped_file(at, EXT4_FILE, PROT_READ | PROT_WRITE, MAP_SHARED);
}

static unsigned char *file_read_only(unsigned char *at)
{
	return mapped_file(at, EXT4_FILE, PROT_READ, MAP_SHARED);
}

static unsigned char *file_private_read_only(unsigned char *at)
{
	return mapped_file(at, EXT4_FILE, PROT_READ, MAP_PRIVATE);
}

static unsigned char *mapped_memfd(unsigned char *at, int protection,
				   size_t size)
{
	int fd = memfd_create("input", MFD_CLOEXEC);

	require(fd >= 0 && !ftruncate(fd, size), "memfd_create");
	map(at, PAGE, protection, MAP_SHARED, fd, 0);
	close(fd);
	return at;
}

static unsigned char *memfd_read_only(unsigned char *at)
{
	return mapped_memfd(at, PROT_READ, PAGE);
}

static unsigned char *memfd_behind_its_end(unsigned char *at)
{
	return mapped_memfd(at, PROT_READ | PROT_WRITE, 0);
}

static unsigned char *secret(unsigned char *at)
{
	int fd = syscall(SYS_memfd_secret, O_CLOEXEC);

	require(fd >= 0 && !ftruncate(fd, PAGE), "memfd_secret");
	map(at, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return at;
}

static unsigned char *physical(unsigned char *at, off_t address)
{
	int fd = open("/dev/mem", O_RDWR | O_CLOEXEC);

	require(fd >= 0, "/dev/mem");
	map(at, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, address);
	close(fd);
	return at;
}

static unsigned char *registers(unsigned char *at)
{
	return physical(at, REGISTERS);
}

static unsigned char *firmware(unsigned char *at)
{
	return physical(at, FIRMWARE);
}

/* The kernel chooses where the following are. */

static unsigned char *special(const char *name)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[256], found[64];
	unsigned long start = 0;

	require(maps, "/proc/self/maps");
	while (!start && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%*x %*s %*s %*s %*s %63s", &start,
			   found) != 2 || strcmp(found, name))
			start = 0;
	}
	fclose(maps);
	require(start, name);
	return (unsigned char *)start;
}

static unsigned char *vvar_page(unsigned char *at)
{
	(void)at;
	return special("[vvar]");
}

static unsigned char *vdso_page(unsigned char *at)
{
	(void)at;
	return special("[vdso]");
}

static unsigned char *ring(unsigned char *at)
{
	struct io_uring_params params = {};
	unsigned char *page;
	int fd;

	(void)at;
	fd = syscall(SYS_io_uring_setup, 1, &params);
	require(fd >= 0, "io_uring_setup");
	page = map(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   IORING_OFF_SQ_RING);
	close(fd);
	return page;
}

static unsigned char *hugetlb_read_only(unsigned char *at)
{
	unsigned char *page;
	int fd;

	(void)at;
	fd = memfd_create("input", MFD_CLOEXEC | MFD_HUGETLB);
	require(fd >= 0 && !ftruncate(fd, LARGE), "memfd_create");
	page = map(NULL, LARGE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	return page;
}

static unsigned char *bpf_array(unsigned char *at)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = 8,
		.max_entries = PAGE / 8,
		.map_flags = BPF_F_MMAPABLE,
	};
	int fd = syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));

	require(fd >= 0, "BPF_MAP_CREATE");
	map(at, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return at;
}

/*
 * EFAULT: GUP can't write there, EHWPOISON: because it failed. EOPNOTSUPP:
 * because of what memory it is; or GUP can, for its pages are pages of a kind that
 * nobody can own.
 */
static const struct wrong {
	const char *name;
	unsigned char *(*make)(unsigned char *at);
	int error;
	/* What QUERY says of it; what is seen to be there may be free. */
	int state;
	/* GUP pins it for reading. */
	bool pinned;
	/* Reading it is the end. */
	bool untouchable;
	/* With this feature it is as [vdso] is: GUP reads it, and can't write. */
	enum feature readable;
} wrongs[] = {
	{ "a hole", hole, -EFAULT, XPIN_PAGE_NONE, .untouchable = true },
	{ "read-only memory", read_only, -EFAULT, XPIN_PAGE_FREE,
	  .pinned = true },
	{ "PROT_NONE memory", no_access, -EFAULT, XPIN_PAGE_NONE,
	  .untouchable = true },
	{ "memory that failed", failed_memory, -EHWPOISON, XPIN_PAGE_NONE,
	  .untouchable = true },
	{ "a shared file on ext4", file, -EOPNOTSUPP, XPIN_PAGE_NONE,
	  .pinned = true },
	{ "a shared file on ext4, read-only", file_read_only, -EOPNOTSUPP,
	  XPIN_PAGE_NONE, .pinned = true },
	{ "a private file, read-only", file_private_read_only, -EFAULT,
	  XPIN_PAGE_NONE, .pinned = true },
	{ "a read-only memfd", memfd_read_only, -EFAULT, XPIN_PAGE_FREE,
	  .pinned = true },
	{ "a memfd behind its end", memfd_behind_its_end, -EFAULT,
	  XPIN_PAGE_NONE, .untouchable = true },
	{ "hugetlb, read-only", hugetlb_read_only, -EFAULT, XPIN_PAGE_FREE,
	  .pinned = true },
	{ "secretmem", secret, -EOPNOTSUPP, XPIN_PAGE_NONE,
	  .pinned = false },
	{ "a device's memory", registers, -EOPNOTSUPP, XPIN_PAGE_NONE,
	  .pinned = false },
	{ "the firmware's memory", firmware, -EOPNOTSUPP, XPIN_PAGE_NONE,
	  .pinned = false },
	{ "[vvar]", vvar_page, -EOPNOTSUPP, XPIN_PAGE_NONE,
	  .pinned = false, .readable = FEATURE_VVAR_PAGES },
	{ "[vdso]", vdso_page, -EFAULT, XPIN_PAGE_NONE, .pinned = true },
	{ "an io_uring's ring", ring, -EOPNOTSUPP, XPIN_PAGE_NONE,
	  .pinned = true },
	{ "a BPF array", bpf_array, -EOPNOTSUPP, XPIN_PAGE_NONE,
	  .pinned = true },
};

static bool gup_pins(const void *addr)
{
	struct xpin_test_owner_call gup = {
		.addr = (uintptr_t)addr,
		.pages = 1,
		.repeat = 1,
	};
	int fd = open("/dev/xpin_test_owner", O_RDWR | O_CLOEXEC);

	require(fd >= 0, "open /dev/xpin_test_owner");
	require(!ioctl(fd, XPIN_TEST_OWNER_GUP, &gup) || errno == EFAULT,
		"GUP");
	close(fd);
	return gup.answer;
}

static void touch(const unsigned char *page)
{
	asm volatile("" : : "r" (page[0]));
}

static __u64 page_entry(const void *addr)
{
	return entry_of("/proc/self/pagemap", (uintptr_t)addr / PAGE);
}

/* QUERY's answer; it must not change what is there. */
static int page_state(unsigned char *page)
{
	__u64 before = page_entry(page);
	int state = xpin_page_state(owner, page);

	if (page_entry(page) != before) {
		ksft_print_msg("QUERY faulted it in\n");
		return -1;
	}
	return state;
}

/* Between two pages that can be claimed, and are free afterwards. */
static bool between(const struct wrong *wrong, unsigned char *area)
{
	bool ok = true;

	ok &= try_claim(area, 3 * PAGE) == wrong->error;
	ok &= try_claim(area, 2 * PAGE) == wrong->error;
	ok &= try_claim(area + PAGE, 2 * PAGE) == wrong->error;
	ok &= xpin_page_state(owner, area) == XPIN_PAGE_FREE &&
	      xpin_page_state(owner, area + 2 * PAGE) == XPIN_PAGE_FREE;
	return ok && !try_claim(area, PAGE) && !try_claim(area + 2 * PAGE, PAGE);
}

static void wrong_memory(const struct wrong *wrong)
{
	unsigned char *area = anonymous(NULL, 3 * PAGE), *page;
	bool ok, present, pinned;
	long long pins;
	int state;

	memset(area, 1, 3 * PAGE);
	page = wrong->make(area + PAGE);
	present = page_entry(page) >> PRESENT_BIT;
	state = page_state(page);
	ok = state == (present ? wrong->state : XPIN_PAGE_NONE);
	if (!wrong->untouchable) {
		touch(page);
		state = page_state(page);
		ok &= state == wrong->state;
	}
	check(ok, "%s: QUERY says %s, and faults nothing in", wrong->name,
	      state_name(wrong->state));

	pinned = gup_pins(page);
	pins = pins_held();
	ok = try_claim(page, PAGE) == wrong->error;
	if (page == area + PAGE)
		ok &= between(wrong, area);
	if (pinned != wrong->pinned)
		ksft_print_msg("GUP %s it\n", pinned ? "pins" : "does not pin");
	check(ok && pinned == wrong->pinned && pins_held() == pins &&
	      page_state(page) == wrong->state,
	      "%s: CLAIM is %s, and nothing is pinned", wrong->name,
	      strerrorname_np(-wrong->error));
	munmap(area, 3 * PAGE);
}

/* --- Memory that is not yet what is claimed, or only looks wrong --- */

static bool is_zero_page(const void *page)
{
	__u64 entry = page_entry(page);

	return entry >> PRESENT_BIT &&
	       entry_of("/proc/kpageflags", entry & PFN_MASK) >>
	       KPF_ZERO_PAGE & 1;
}

static bool is_zero(const unsigned char *bytes, size_t length)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, length - 1);
}

/* A claim of @length bytes works, and is seen to. */
static bool claimable(unsigned char *page, size_t length)
{
	struct xpin_claim claim;

	return !xpin_claim(owner, page, length, 0, &claim) &&
	       claim.pages == length / PAGE &&
	       xpin_all_pages(owner, page, length, XPIN_PAGE_MINE) &&
	       !gup_pins(page) && !xpin_release(owner, &claim) &&
	       xpin_all_pages(owner, page, length, XPIN_PAGE_FREE) &&
	       gup_pins(page);
}

static void not_there_yet(void)
{
	unsigned char *page = anonymous(NULL, PAGE);

	check(page_state(page) == XPIN_PAGE_NONE &&
	      page_state(page) == XPIN_PAGE_NONE && claimable(page, PAGE),
	      "what is not there yet is faulted in by CLAIM, not by QUERY");
	munmap(page, PAGE);
}

static void zero_page(void)
{
	unsigned char *page = anonymous(NULL, PAGE);
	bool ok;

	touch(page);
	ok = is_zero_page(page) && page_state(page) == XPIN_PAGE_NONE &&
	     claimable(page, PAGE) && !is_zero_page(page) &&
	     is_zero(page, PAGE);
	check(ok, "instead of the zero page a new one is claimed");
	munmap(page, PAGE);
}

static void huge_zero_page(void)
{
	unsigned char *area = anonymous(NULL, 2 * LARGE);
	unsigned char *page = area + LARGE - (uintptr_t)area % LARGE;
	bool ok;

	if (!LARGE_HAS_PMD) {
		skip("the huge zero page is of a PMD's size, 512 MiB");
		return;
	}
	require(!madvise(page, LARGE, MADV_HUGEPAGE), "madvise");
	touch(page);
	ok = is_zero_page(page) && is_zero_page(page + LARGE - PAGE) &&
	     page_state(page) == XPIN_PAGE_NONE && claimable(page, LARGE) &&
	     !is_zero_page(page) && !is_zero_page(page + LARGE - PAGE) &&
	     is_zero(page, LARGE);
	check(ok, "instead of the huge zero page new memory is claimed");
	munmap(area, 2 * LARGE);
}

static void private_file(void)
{
	unsigned char *page = anonymous(NULL, PAGE);
	int fd;

	mapped_file(page, EXT4_FILE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	fd = open(EXT4_FILE, O_RDWR | O_CLOEXEC);
	require(fd >= 0 && pwrite(fd, "of the file", 11, 0) == 11, EXT4_FILE);
	touch(page);
	check(page_state(page) == XPIN_PAGE_NONE && claimable(page, PAGE) &&
	      !memcmp(page, "of the file", 11),
	      "of a private file the copy is claimed");
	close(fd);
	munmap(page, PAGE);
}

static void like_anonymous(void)
{
	unsigned char *area = anonymous(NULL, 4 * PAGE);
	int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
	bool ok;

	require(zero >= 0, "/dev/zero");
	map(area, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	    0);
	map(area + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
	mapped_file(area + 2 * PAGE, "/tmp/input", PROT_READ | PROT_WRITE,
		    MAP_SHARED);
	require(!unlink("/tmp/input"), "unlink");
	ok = claimable(area, PAGE) && claimable(area + PAGE, PAGE) &&
	     claimable(area + 2 * PAGE, PAGE) && claimable(area, 4 * PAGE);
	check(ok, "shared anonymous memory, /dev/zero and tmpfs are claimed");
	close(zero);
	munmap(area, 4 * PAGE);
}

/* --- The answer of a query --- */

static void answers(void)
{
	unsigned char *area = anonymous(NULL, 3 * PAGE);
	const __u64 pages = (uintptr_t)area;
	bool ok;

	memset(area, 1, 3 * PAGE);
	ok = query(pages, PAGE, NULL) == -EFAULT &&
	     query(pages, PAGE, (void *)-PAGE) == -EFAULT;
	require(!mprotect(area + 2 * PAGE, PAGE, PROT_READ), "mprotect");
	ok &= query(pages, PAGE, area + 2 * PAGE) == -EFAULT &&
	      query(pages, 2 * PAGE, area + 2 * PAGE - 1) == -EFAULT;
	require(!munmap(area + 2 * PAGE, PAGE), "munmap");
	ok &= query(pages, PAGE, area + 2 * PAGE) == -EFAULT &&
	      query(pages, 2 * PAGE, area + 2 * PAGE - 1) == -EFAULT;
	check(ok, "QUERY: an answer that can't be written is EFAULT");

	memset(area, 0xa5, 2 * PAGE);
	check(!query(pages, 2 * PAGE, area + 2 * PAGE - 2) &&
	      area[2 * PAGE - 3] == 0xa5 &&
	      area[2 * PAGE - 2] == XPIN_PAGE_FREE &&
	      area[2 * PAGE - 1] == XPIN_PAGE_FREE,
	      "QUERY: one byte for a page, and no more");
	munmap(area, 2 * PAGE);
}

int main(void)
{
	size_t i;

	ksft_print_header();
	ksft_set_plan(9 + 6 + 2 * ARRAY_SIZE(wrongs) + 5 + 2);
	owner = xpin_open();

	bad_ranges();
	out_of_reach();
	for (i = 0; i < ARRAY_SIZE(wrongs); i++) {
		struct wrong wrong = wrongs[i];

		if (wrong.readable && !feature_missing(wrong.readable)) {
			wrong.error = -EFAULT;
			wrong.pinned = true;
		}
		wrong_memory(&wrong);
	}
	not_there_yet();
	zero_page();
	huge_zero_page();
	private_file();
	like_anonymous();
	answers();

	close(owner);
	ksft_finished();
}
