// SPDX-License-Identifier: GPL-2.0
/* /dev/xpin from its caller's side: sizes, flags, ranges, errnos, states. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"

static struct stranger stranger;
static int owner, other;

/* Where a query's answer goes. */
static __u8 states[PAGE];

static int call(unsigned long request, void *argument)
{
	return ioctl(owner, request, argument) ? -errno : 0;
}

/* --- The general format --- */

union argument {
	struct {
		__u32 size;
		__u32 flags;
	};
	struct xpin_info info;
	struct xpin_claim claim;
	struct xpin_part part;
	struct xpin_query query;
	unsigned char bytes[256];
};

#define NO_SUCH_CLAIM	0xdead

/* Calls in which nothing is wrong but that there is no such claim. */
static const struct format {
	const char *name;
	unsigned long request;
	__u32 size;
	int result;
} formats[] = {
	{ "INFO", XPIN_IOC_INFO, sizeof(struct xpin_info), 0 },
	{ "CLAIM", XPIN_IOC_CLAIM, sizeof(struct xpin_claim), 0 },
	{ "RELEASE", XPIN_IOC_RELEASE, sizeof(struct xpin_part), -ENOENT },
	{ "SHARE", XPIN_IOC_SHARE, sizeof(struct xpin_part), -ENOENT },
	{ "UNSHARE", XPIN_IOC_UNSHARE, sizeof(struct xpin_part), -ENOENT },
	{ "QUERY", XPIN_IOC_QUERY, sizeof(struct xpin_query), 0 },
};

static void valid(union argument *argument, const struct format *format,
		  const struct memory *memory)
{
	memset(argument, 0, sizeof(*argument));
	argument->size = format->size;
	switch (format->request) {
	case XPIN_IOC_CLAIM:
		argument->claim.addr = (uintptr_t)memory->wanted;
		argument->claim.length = PAGE;
		break;
	case XPIN_IOC_QUERY:
		argument->query.addr = (uintptr_t)memory->wanted;
		argument->query.length = PAGE;
		argument->query.states = (uintptr_t)states;
		break;
	case XPIN_IOC_INFO:
		break;
	default:
		argument->part.claim_id = NO_SUCH_CLAIM;
		argument->part.length = XPIN_WHOLE;
	}
}

static bool returns(const struct format *format, union argument *argument,
		    int expected, const char *what)
{
	int result = call(format->request, argument);

	if (!result && format->request == XPIN_IOC_CLAIM)
		require(!xpin_release(owner, &argument->claim), "release");
	if (result == expected)
		return true;
	ksft_print_msg("%s: %s: %d, not %d\n", format->name, what, result,
		       expected);
	return false;
}

static void format_of(const struct format *format, const struct memory *memory)
{
	union argument argument;
	bool ok;

	valid(&argument, format, memory);
	ok = returns(format, &argument, format->result, "as declared");
	valid(&argument, format, memory);
	argument.size += 8;
	ok &= returns(format, &argument, format->result, "a longer one");
	check(ok, "%s: accepted, with a tail of zeros, too", format->name);

	valid(&argument, format, memory);
	argument.bytes[argument.size] = 1;
	argument.size += 8;
	ok = returns(format, &argument, -E2BIG, "a byte behind the end");
	valid(&argument, format, memory);
	argument.size -= 8;
	ok &= returns(format, &argument, -EINVAL, "a shorter one");
	valid(&argument, format, memory);
	argument.size = 0;
	ok &= returns(format, &argument, -EINVAL, "size 0");
	check(ok, "%s: a wrong size is refused", format->name);

	valid(&argument, format, memory);
	argument.flags = 1;
	ok = returns(format, &argument, -EINVAL, "flag 0");
	valid(&argument, format, memory);
	argument.flags = 1U << 31;
	ok &= returns(format, &argument, -EINVAL, "flag 31");
	check(ok, "%s: an unknown flag is refused", format->name);

	check(call(format->request, NULL) == -EFAULT,
	      "%s: no structure is EFAULT", format->name);
}

static void info_and_unknown(void)
{
	struct xpin_info info = { .size = sizeof(info) };

	check(!call(XPIN_IOC_INFO, &info) &&
	      info.api_version == XPIN_API_VERSION &&
	      info.backend == XPIN_BACKEND_NOTIFIER && !info.features,
	      "INFO tells version and backend");
	check(call(_IO(XPIN_TYPE, 0x07), &info) == -ENOTTY &&
	      call(_IO(XPIN_TYPE, 0xff), &info) == -ENOTTY &&
	      call(_IO(XPIN_TYPE + 1, 0), &info) == -ENOTTY &&
	      call(_IOWR(XPIN_TYPE, 0, struct xpin_info), &info) == -ENOTTY,
	      "an unknown ioctl is ENOTTY");
}

/* --- Ranges --- */

static void bad_ranges(const struct memory *memory)
{
	const __u64 addr = (uintptr_t)memory->wanted;
	const struct {
		const char *name;
		__u64 addr;
		__u64 length;
	} ranges[] = {
		{ "a misaligned address", addr + 1, PAGE },
		{ "a misaligned length", addr, PAGE + 1 },
		{ "no length", addr, 0 },
		{ "a range that wraps", addr, -PAGE },
		{ "XPIN_WHOLE", addr, XPIN_WHOLE },
	};
	struct xpin_claim claim;
	struct xpin_query query;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		query = (struct xpin_query){
			.size = sizeof(query),
			.addr = ranges[i].addr,
			.length = ranges[i].length,
			.states = (uintptr_t)states,
		};
		check(xpin_claim(owner, (void *)ranges[i].addr,
				 ranges[i].length, 0, &claim) == -EINVAL &&
		      claim.busy_addr == XPIN_NO_ADDR &&
		      call(XPIN_IOC_QUERY, &query) == -EINVAL,
		      "CLAIM and QUERY of %s are EINVAL", ranges[i].name);
	}
}

static void bad_parts(const struct memory *memory)
{
	static const struct {
		const char *name;
		__u64 offset;
		__u64 length;
		int error;
	} parts[] = {
		{ "a misaligned offset", 1, PAGE, -EINVAL },
		{ "a misaligned length", 0, PAGE - 1, -EINVAL },
		{ "no length", 0, 0, -EINVAL },
		{ "a part that wraps", PAGE, -PAGE, -EINVAL },
		{ "XPIN_WHOLE from the middle", PAGE, XPIN_WHOLE, -EINVAL },
		{ "a part behind the end", 4 * PAGE, PAGE, -ENOENT },
		{ "a part beyond the end", 3 * PAGE, 2 * PAGE, -ENOENT },
	};
	static const unsigned long requests[] = {
		XPIN_IOC_RELEASE, XPIN_IOC_SHARE, XPIN_IOC_UNSHARE,
	};
	struct xpin_claim claim;
	struct xpin_part part;
	size_t i, j;
	bool ok;

	require(!xpin_claim(owner, memory->wanted, 4 * PAGE, 0, &claim),
		"claim");
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		ok = true;
		for (j = 0; j < ARRAY_SIZE(requests); j++)
			ok &= xpin_part(owner, requests[j], claim.claim_id,
					parts[i].offset, parts[i].length,
					&part) == parts[i].error;
		check(ok && xpin_all_pages(owner, memory->wanted, 4 * PAGE,
					   XPIN_PAGE_MINE),
		      "%s is %s", parts[i].name,
		      parts[i].error == -EINVAL ? "EINVAL" : "ENOENT");
	}

	ok = true;
	for (j = 0; j < 2; j++) {
		part = (struct xpin_part){
			.size = sizeof(part),
			.claim_id = claim.claim_id,
			.length = XPIN_WHOLE,
			.timeout_ns = 1,
		};
		ok &= call(requests[j], &part) == -EINVAL;
	}
	check(ok, "RELEASE and SHARE take no timeout");

	ok = xpin_release(other, &claim) == -ENOENT &&
	     !xpin_release(owner, &claim) &&
	     xpin_release(owner, &claim) == -ENOENT;
	claim.claim_id = 0;
	ok &= xpin_release(owner, &claim) == -ENOENT;
	claim.claim_id = 1ULL << 40;
	ok &= xpin_release(owner, &claim) == -ENOENT;
	check(ok, "another file's, a released and an invented claim are ENOENT");
}

/* --- Memory that can't be claimed --- */

static int try_claim(void *addr, size_t length)
{
	struct xpin_claim claim;
	int error = xpin_claim(owner, addr, length, 0, &claim);

	if (!error)
		require(!xpin_release(owner, &claim), "release");
	return error;
}

static void wrong_memory(void)
{
	unsigned char *area;
	int fd;

	area = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(area != MAP_FAILED, "mmap");
	memset(area, 1, 4 * PAGE);
	require(!munmap(area + 2 * PAGE, PAGE), "munmap");
	require(!mprotect(area + 3 * PAGE, PAGE, PROT_READ), "mprotect");

	check(try_claim(area + 2 * PAGE, PAGE) == -EFAULT &&
	      try_claim(area, 3 * PAGE) == -EFAULT &&
	      xpin_all_pages(owner, area, 2 * PAGE, XPIN_PAGE_FREE),
	      "a hole is EFAULT, and what is before it stays free");
	check(xpin_page_state(owner, area + 2 * PAGE) == XPIN_PAGE_NONE,
	      "QUERY of a hole says none");
	check(try_claim(area + 3 * PAGE, PAGE) == -EFAULT,
	      "memory that may not be written is EFAULT");
	check(try_claim((void *)(-4 * PAGE), PAGE) == -EFAULT,
	      "the kernel's memory is EFAULT");
	munmap(area, 4 * PAGE);

	area = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(area != MAP_FAILED, "mmap");
	check(xpin_page_state(owner, area) == XPIN_PAGE_NONE &&
	      xpin_page_state(owner, area) == XPIN_PAGE_NONE,
	      "QUERY faults nothing in");
	check(!try_claim(area, PAGE), "CLAIM does");
	munmap(area, PAGE);

	fd = open(EXT4_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	require(fd >= 0 && !ftruncate(fd, PAGE), EXT4_FILE);
	area = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	require(area != MAP_FAILED, "mmap");
	area[0] = 1;
	check(try_claim(area, PAGE) == -EOPNOTSUPP &&
	      xpin_page_state(owner, area) == XPIN_PAGE_NONE,
	      "a shared mapping of a file on ext4 is EOPNOTSUPP");
	munmap(area, PAGE);

	area = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	require(area != MAP_FAILED, "mmap");
	check(xpin_page_state(owner, area) == XPIN_PAGE_NONE &&
	      !try_claim(area, PAGE) &&
	      xpin_page_state(owner, area) == XPIN_PAGE_FREE,
	      "of a private one the copy is claimed");
	munmap(area, PAGE);
	close(fd);
}

/* --- RLIMIT_MEMLOCK --- */

#define LIMIT	(16 * PAGE)

/* Kilobytes, from a line "VmLck:	64 kB". */
static long long locked(void)
{
	char line[128];
	long long kilobytes = -1;
	FILE *file = fopen("/proc/self/status", "re");

	require(file, "/proc/self/status");
	while (fgets(line, sizeof(line), file))
		sscanf(line, "VmLck: %lld", &kilobytes);
	fclose(file);
	return kilobytes;
}

/* In a process that root's capabilities don't exempt. Bit n: step n failed. */
static unsigned int memlock_steps(void)
{
	const struct rlimit limit = { LIMIT, LIMIT };
	struct xpin_claim claim, again;
	struct memory small, large;
	unsigned int failed = 0;

	memory_create(&small, MEMORY_ANON_PAGE);
	memory_create(&large, MEMORY_ANON_LARGE);
	owner = xpin_open();
	require(!setrlimit(RLIMIT_MEMLOCK, &limit) && !setuid(65534),
		"become an ordinary user");

	failed |= (try_claim(small.base, LIMIT + PAGE) != -ENOMEM) << 0;
	failed |= (try_claim(large.base, PAGE) != -ENOMEM) << 1;
	failed |= (locked() != 0) << 2;
	failed |= !!xpin_claim(owner, small.base, LIMIT, 0, &claim) << 3;
	failed |= (locked() != LIMIT / 1024) << 4;
	failed |= !!xpin_claim(owner, small.base, LIMIT, 0, &again) << 5;
	failed |= (try_claim(small.base + LIMIT, PAGE) != -ENOMEM) << 6;
	failed |= !!xpin_release(owner, &claim) << 7;
	failed |= !!xpin_release(owner, &again) << 8;
	failed |= (locked() != 0) << 9;
	failed |= !!try_claim(small.base + LIMIT, LIMIT) << 10;
	return failed;
}

static void memlock(void)
{
	static const char * const names[] = {
		"more than the limit is ENOMEM",
		"a folio counts as a whole",
		"a failed claim is not accounted",
		"as much as the limit is claimed",
		"a claim is accounted",
		"a folio counts once per owner",
		"one page more is ENOMEM",
		"the first claim is released",
		"the second claim is released",
		"released memory is not accounted",
		"there is room again",
	};
	unsigned int failed;
	int answer[2];
	size_t i;
	pid_t pid;

	require(!pipe(answer), "pipe");
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid) {
		failed = memlock_steps();
		require(write(answer[1], &failed, sizeof(failed)) ==
			sizeof(failed), "write to a pipe");
		_exit(0);
	}
	close(answer[1]);
	if (read(answer[0], &failed, sizeof(failed)) != sizeof(failed))
		failed = -1;
	close(answer[0]);
	require(waitpid(pid, NULL, 0) == pid, "waitpid");
	for (i = 0; i < ARRAY_SIZE(names); i++)
		check(!(failed >> i & 1), "RLIMIT_MEMLOCK: %s", names[i]);
}

/* --- Share, unshare, release in parts --- */

static int part_of(const struct xpin_claim *claim, unsigned long request,
		   size_t page, size_t pages, struct xpin_part *part)
{
	return xpin_part(owner, request, claim->claim_id, page * PAGE,
			 pages * PAGE, part);
}

static bool states_are(const struct memory *memory, int a, int b, int c, int d)
{
	const int expected[] = { a, b, c, d };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(expected); i++) {
		unsigned char *page = memory->wanted + i * PAGE;
		/* Only what is free or shared may be pinned by others. */
		bool open = expected[i] == XPIN_PAGE_FREE ||
			    expected[i] == XPIN_PAGE_MINE_SHARED;

		if (!xpin_all_pages(owner, page, PAGE, expected[i]) ||
		    !xpin_all_pages(other, page, PAGE,
				    expected[i] == XPIN_PAGE_FREE ?
				    XPIN_PAGE_FREE : XPIN_PAGE_OTHERS) ||
		    stranger_reaches(&stranger, memory, page) != open) {
			ksft_print_msg("page %zu is not as it should be\n", i);
			return false;
		}
	}
	return true;
}

static void parts_of_pages(const struct memory *memory)
{
	const int mine = XPIN_PAGE_MINE, shared = XPIN_PAGE_MINE_SHARED,
		  is_free = XPIN_PAGE_FREE;
	unsigned char *second = memory->wanted + PAGE;
	struct xpin_claim claim, refused;
	struct xpin_part part;
	bool ok;

	require(!xpin_claim(owner, memory->wanted, 4 * PAGE, 0, &claim),
		"claim");
	check(claim.pages == 4 && claim.folios == 4 &&
	      claim.busy_addr == XPIN_NO_ADDR &&
	      states_are(memory, mine, mine, mine, mine), "four pages claimed");

	check(!part_of(&claim, XPIN_IOC_SHARE, 1, 1, &part) && !part.refused &&
	      states_are(memory, mine, shared, mine, mine), "one of them shared");
	check(!part_of(&claim, XPIN_IOC_SHARE, 1, 2, &part) && !part.refused &&
	      states_are(memory, mine, shared, shared, mine),
	      "shared again, with its neighbour");
	check(xpin_claim(other, memory->wanted + PAGE, PAGE, 0, &refused) ==
	      -EBUSY && refused.busy_addr == (uintptr_t)second &&
	      states_are(memory, mine, shared, shared, mine),
	      "nobody else can own a shared page");

	require(!stranger_pin_hold(&stranger, memory, second, PAGE), "pin");
	ok = part_of(&claim, XPIN_IOC_UNSHARE, 0, 4, &part) == -EBUSY &&
	     part.busy_addr == (uintptr_t)second &&
	     states_are(memory, mine, shared, shared, mine);
	stranger_pin_drop(&stranger);
	check(ok, "no unshare while somebody pins, and the address of that");
	check(!part_of(&claim, XPIN_IOC_UNSHARE, 0, 2, &part) &&
	      part.busy_addr == XPIN_NO_ADDR &&
	      states_are(memory, mine, mine, shared, mine), "one unshared");

	check(!part_of(&claim, XPIN_IOC_RELEASE, 1, 2, &part) &&
	      states_are(memory, mine, is_free, is_free, mine),
	      "two released, one of them shared");
	check(part_of(&claim, XPIN_IOC_RELEASE, 0, 2, &part) == -ENOENT &&
	      part_of(&claim, XPIN_IOC_SHARE, 0, 4, &part) == -ENOENT &&
	      part_of(&claim, XPIN_IOC_UNSHARE, 2, 1, &part) == -ENOENT &&
	      states_are(memory, mine, is_free, is_free, mine),
	      "a part with released pages is ENOENT");
	check(!xpin_part(owner, XPIN_IOC_SHARE, claim.claim_id, 0, XPIN_WHOLE,
			 &part) &&
	      states_are(memory, shared, is_free, is_free, shared),
	      "XPIN_WHOLE passes over them");
	check(!xpin_release(owner, &claim) &&
	      states_are(memory, is_free, is_free, is_free, is_free) &&
	      xpin_release(owner, &claim) == -ENOENT,
	      "the rest released, shared as it is");

	require(!xpin_claim(owner, memory->wanted, 2 * PAGE, 0, &claim),
		"claim");
	check(!part_of(&claim, XPIN_IOC_RELEASE, 0, 1, &part) &&
	      !part_of(&claim, XPIN_IOC_RELEASE, 1, 1, &part) &&
	      part_of(&claim, XPIN_IOC_RELEASE, 1, 1, &part) == -ENOENT,
	      "the last part's release ends the claim");
}

static void parts_of_a_folio(const struct memory *memory)
{
	const int mine = XPIN_PAGE_MINE, shared = XPIN_PAGE_MINE_SHARED,
		  is_free = XPIN_PAGE_FREE;
	struct xpin_claim claim;
	struct xpin_part part;

	require(!xpin_claim(owner, memory->wanted, 4 * PAGE, 0, &claim),
		"claim");
	check(claim.pages == 4 && claim.folios == 1 &&
	      !part_of(&claim, XPIN_IOC_SHARE, 0, 2, &part) &&
	      part.refused == 2 && states_are(memory, mine, mine, mine, mine),
	      "half of a folio's pages shared: nobody pins it yet");
	check(!part_of(&claim, XPIN_IOC_SHARE, 2, 2, &part) && !part.refused &&
	      states_are(memory, shared, shared, shared, shared),
	      "the other half shared: everybody does");
	check(!part_of(&claim, XPIN_IOC_UNSHARE, 3, 1, &part) &&
	      states_are(memory, mine, mine, mine, mine),
	      "one page unshared is all of the folio");
	check(!part_of(&claim, XPIN_IOC_RELEASE, 3, 1, &part) &&
	      states_are(memory, shared, shared, shared, shared),
	      "its release leaves what is shared");
	check(!xpin_release(owner, &claim) &&
	      states_are(memory, is_free, is_free, is_free, is_free),
	      "all of the folio released");
}

int main(void)
{
	struct memory small, large;
	size_t i;

	ksft_print_header();
	ksft_set_plan(2 + 4 * ARRAY_SIZE(formats) + 5 + 9 + 8 + 11 + 11 + 5);
	stranger_start(&stranger);
	owner = xpin_open();
	other = xpin_open();
	memory_create(&small, MEMORY_SHMEM_PAGE);
	memory_create(&large, MEMORY_SHMEM_LARGE);

	info_and_unknown();
	for (i = 0; i < ARRAY_SIZE(formats); i++)
		format_of(&formats[i], &small);
	bad_ranges(&small);
	bad_parts(&small);
	wrong_memory();
	memlock();
	parts_of_pages(&small);
	parts_of_a_folio(&large);

	memory_destroy(&small);
	memory_destroy(&large);
	close(other);
	close(owner);
	stranger_stop(&stranger);
	ksft_finished();
}
