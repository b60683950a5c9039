// SPDX-License-Identifier: GPL-2.0
/*
 * What an owner may not have more of: locked memory, pins of one folio, time.
 * Each limit is reached, refused with its errno, and nothing is lost.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"

static struct stranger stranger;
static int owner, other;

static int release(__u64 claim_id)
{
	struct xpin_part part;

	return xpin_part(owner, XPIN_IOC_RELEASE, claim_id, 0, XPIN_WHOLE,
			 &part);
}

/* A claim that fails says so in every member. */
static int try_claim(void *addr, size_t length)
{
	struct xpin_claim claim;
	int error = xpin_claim(owner, addr, length, 0, &claim);

	if (!error)
		require(!release(claim.claim_id), "release");
	else
		require(!claim.claim_id && !claim.pages && !claim.folios &&
			claim.busy_addr == XPIN_NO_ADDR,
			"a failed claim says something");
	return error;
}

/* By the file, or by its mapping where there are no claims of files. */
static int claim_memfd(const struct memory *memory, __u64 offset, __u64 length,
		       __u64 timeout_ns, struct xpin_claim_memfd *file)
{
	struct xpin_claim claim;
	int error;

	if (!feature_missing(FEATURE_MEMFD_PIN))
		return xpin_claim_memfd(owner, memory->fd, offset, length,
					timeout_ns, file);
	error = xpin_claim(owner, memory->base + offset, length, timeout_ns,
			   &claim);
	*file = (struct xpin_claim_memfd){
		.claim_id = claim.claim_id,
		.timeout_ns = claim.timeout_ns,
		.busy_offset = claim.busy_addr - (uintptr_t)memory->base,
	};
	return error;
}

static int try_claim_memfd(const struct memory *memory, __u64 offset,
			   __u64 length)
{
	struct xpin_claim_memfd claim;
	int error = claim_memfd(memory, offset, length, 0, &claim);

	if (!error)
		require(!release(claim.claim_id), "release");
	return error;
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

static void set_limit(rlim_t bytes)
{
	const struct rlimit limit = { bytes, bytes };

	require(!setrlimit(RLIMIT_MEMLOCK, &limit), "RLIMIT_MEMLOCK");
}

/* In a process that root's capabilities don't exempt. Bit n: step n failed. */
static unsigned int memlock_steps(void)
{
	struct memory small, large, memfd;
	struct xpin_claim claim, again;
	struct xpin_claim_memfd file;
	unsigned int failed = 0;
	struct xpin_part part;

	memory_create(&small, MEMORY_ANON_PAGE);
	memory_create(&large, MEMORY_ANON_LARGE);
	memory_create(&memfd, MEMORY_SHMEM_PAGE);
	owner = xpin_open();
	set_limit(LIMIT);
	require(!setuid(65534), "become an ordinary user");

	failed |= (try_claim(small.base, LIMIT + PAGE) != -ENOMEM) << 0;
	failed |= (try_claim(large.base, PAGE) != -ENOMEM) << 1;
	failed |= (locked() != 0) << 2;
	failed |= !!xpin_claim(owner, small.base, LIMIT, 0, &claim) << 3;
	failed |= (locked() != LIMIT / 1024) << 4;
	failed |= !!xpin_claim(owner, small.base, LIMIT, 0, &again) << 5;
	failed |= (try_claim(small.base + LIMIT, PAGE) != -ENOMEM) << 6;
	failed |= !!release(claim.claim_id) << 7;
	failed |= !!release(again.claim_id) << 8;
	failed |= (locked() != 0) << 9;
	failed |= !!try_claim(small.base + LIMIT, LIMIT) << 10;

	failed |= (try_claim_memfd(&memfd, 0, LIMIT + PAGE) != -ENOMEM ||
		   locked() != 0) << 11;
	failed |= !!claim_memfd(&memfd, 0, LIMIT, 0, &file) << 12;
	failed |= (locked() != LIMIT / 1024) << 13;
	failed |= !!try_claim(memfd.base, LIMIT) << 14;
	failed |= (xpin_part(owner, XPIN_IOC_SHARE, file.claim_id, 0,
			     XPIN_WHOLE, &part) ||
		   locked() != LIMIT / 1024) << 15;
	set_limit(LIMIT / 2);
	failed |= !!xpin_part(owner, XPIN_IOC_UNSHARE, file.claim_id, 0,
			      XPIN_WHOLE, &part) << 16;
	failed |= (xpin_part(owner, XPIN_IOC_RELEASE, file.claim_id, 0, PAGE,
			     &part) ||
		   locked() != (LIMIT - PAGE) / 1024 ||
		   try_claim(memfd.base, PAGE) != -ENOMEM) << 17;
	failed |= !!try_claim(memfd.base + PAGE, LIMIT - PAGE) << 18;
	failed |= (release(file.claim_id) || locked() != 0) << 19;
	failed |= !!try_claim(memfd.base, LIMIT / 2) << 20;
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
		"more of a memfd than the limit is ENOMEM",
		"as much as the limit is claimed of a memfd",
		"a memfd's claim is accounted",
		"a folio counts once, through a memfd and through a mapping",
		"what is shared stays accounted",
		"unshare needs no room, and a lower limit does not stop it",
		"above a lower limit a page more is ENOMEM",
		"what is owned already can be claimed again",
		"a memfd's claim is released",
		"there is room again, as much as the lower limit",
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

/* --- Pins of one folio --- */

#define MANY		5000

/*
 * XPIN_PINS_MAX of module/registry.h: a quarter of the 2^21 pins of 1024
 * references that a small folio's refcount holds; of a large one as many as an
 * entry counts in 20 bits.
 */
#define SMALL_MAX	((1L << 19) - 1)
#define LARGE_MAX	((1L << 20) - 1)
#define RUN		(CHUNK * PAGE)

static __u64 ids[MANY];

/* Owned for everybody: its owner's view, another's, and a pin's. */
static bool owned(const struct memory *memory)
{
	return xpin_page_state(owner, memory->wanted) == XPIN_PAGE_MINE &&
	       xpin_page_state(other, memory->wanted) == XPIN_PAGE_OTHERS &&
	       !stranger_reaches(&stranger, memory, memory->wanted);
}

static bool is_free(const struct memory *memory)
{
	return xpin_page_state(owner, memory->wanted) == XPIN_PAGE_FREE &&
	       xpin_page_state(other, memory->wanted) == XPIN_PAGE_FREE &&
	       stranger_reaches(&stranger, memory, memory->wanted);
}

/* Each of the first @nr claims, the neighbours far from each other. */
#define STEP		389

/* All but one, and then that. True if it was owned until then. */
static bool release_in_odd_order(const struct memory *memory, int nr)
{
	bool ok = true;
	int i;

	for (i = 0; i < nr - 1; i++)
		ok &= !release(ids[(long)i * STEP % nr]);
	return ok && owned(memory) && !release(ids[(long)i * STEP % nr]) &&
	       is_free(memory);
}

static void many_claims(enum memory_kind kind)
{
	struct xpin_claim claim;
	struct memory memory;
	long long pins;
	int i;
	bool ok;

	memory_create(&memory, kind);
	pins = pins_held();
	for (i = 0, ok = true; i < MANY && ok; i++) {
		ok = !xpin_claim(owner, memory.wanted, PAGE, 0, &claim);
		ids[i] = claim.claim_id;
	}
	check(ok && pins_held() == pins + MANY && xpin_stat("entries") == 1 &&
	      owned(&memory), "%s: %d claims of a page", memory.name, MANY);
	check(ok && release_in_odd_order(&memory, MANY) &&
	      pins_held() == pins, "%s: released in odd order", memory.name);
	memory_destroy(&memory);
}

/*
 * Claims of the RUN bytes at @pages, which are all of the folio at
 * @memory->wanted, up to @max pins.
 */
static void up_to_the_limit(const struct memory *memory, unsigned char *pages,
			    long max)
{
	const __u64 offset = memory->wanted - memory->base;
	const int nr = max * PAGE / RUN + 1;
	long long pins = pins_held();
	struct xpin_claim claim;
	struct xpin_part part;
	size_t length;
	int i;
	bool ok;

	require(nr <= MANY, "room for so many claims");
	for (i = 0, ok = true; i < nr && ok; i++) {
		length = i < nr - 1 ? RUN : max * PAGE % RUN;
		if (i == nr - 1)
			ok = try_claim(pages, length + PAGE) == -EOVERFLOW &&
			     pins_held() == pins + i * (long)(RUN / PAGE);
		ok = ok && !xpin_claim(owner, pages, length, 0, &claim);
		ids[i] = claim.claim_id;
	}
	check(ok && pins_held() == pins + max && owned(memory),
	      "%s: %ld pins", memory->name, max);

	ok = try_claim(pages, PAGE) == -EOVERFLOW &&
	     try_claim(pages, RUN) == -EOVERFLOW &&
	     try_claim_memfd(memory, offset, PAGE) == -EOVERFLOW;
	check(ok && pins_held() == pins + max && owned(memory),
	      "%s: one more is EOVERFLOW", memory->name);
	ok = try_claim(memory->wanted - PAGE, 2 * PAGE) == -EOVERFLOW &&
	     try_claim_memfd(memory, offset - PAGE, 2 * PAGE) == -EOVERFLOW;
	check(ok && pins_held() == pins + max && owned(memory) &&
	      xpin_page_state(owner, memory->wanted - PAGE) ==
	      XPIN_PAGE_FREE && !try_claim(memory->wanted - PAGE, PAGE),
	      "%s: nor is what comes before it claimed", memory->name);
	check(xpin_claim(other, memory->wanted, PAGE, 0, &claim) == -EBUSY &&
	      claim.busy_addr == (uintptr_t)memory->wanted,
	      "%s: for another owner it is EBUSY", memory->name);

	for (i = 0, ok = true; i < nr; i++)
		ok &= !xpin_part(owner, XPIN_IOC_SHARE, ids[i], 0, XPIN_WHOLE,
				 &part) && !part.refused == (i == nr - 1);
	ok = ok && stranger_reaches(&stranger, memory, memory->wanted) &&
	     try_claim(pages, PAGE) == -EOVERFLOW &&
	     xpin_page_state(owner, memory->wanted) == XPIN_PAGE_MINE_SHARED;
	for (i = 0; i < nr; i++)
		ok &= !xpin_part(owner, XPIN_IOC_UNSHARE, ids[i], 0,
				 XPIN_WHOLE, &part);
	check(ok && owned(memory), "%s: shared and unshared all the same",
	      memory->name);

	ok = !release(ids[nr - 1]) && !try_claim(pages, PAGE) &&
	     !xpin_claim(owner, pages, PAGE, 0, &claim);
	ids[nr - 1] = claim.claim_id;
	check(ok && release_in_odd_order(memory, nr) && pins_held() == pins,
	      "%s: released in odd order, and nothing stays", memory->name);
}

/* The folio again and again in a row. */
static void one_folio(enum memory_kind kind, long max)
{
	struct memory memory;
	unsigned char *pages, *folio;

	memory_create(&memory, kind);
	pages = mmap(NULL, RUN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(pages != MAP_FAILED, "mmap");
	for (folio = pages; folio < pages + RUN; folio += memory.folio)
		require(mmap(folio, memory.folio, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_FIXED | MAP_POPULATE, memory.fd,
			     memory.wanted - memory.base) == folio, "mmap");
	up_to_the_limit(&memory, pages, max);
	munmap(pages, RUN);
	memory_destroy(&memory);
}

/* --- More than there is --- */

#define TOO_MUCH	(1000ULL << 30)

/*
 * Eight bytes for each page are about what the machine has: the kernel would
 * kill for them, although there is nothing behind the range.
 */
static void more_than_there_is(void)
{
	const int error = feature_missing(FEATURE_MEMFD_PIN) ? -EOPNOTSUPP :
							       -EFAULT;
	int fd = memfd_create("limits", MFD_CLOEXEC);
	struct xpin_claim_memfd claim;
	void *area;

	require(fd >= 0 && !ftruncate(fd, TOO_MUCH), "memfd_create");
	area = mmap(NULL, TOO_MUCH, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	require(area != MAP_FAILED, "mmap");
	check(try_claim(area, TOO_MUCH) == -ENOMEM &&
	      xpin_claim_memfd(owner, fd, 0, TOO_MUCH, 0, &claim) == error,
	      "a range larger than the machine's memory kills nobody");
	munmap(area, TOO_MUCH);
	close(fd);
}

/* --- Time --- */

#define MAX_TIMEOUT	"/sys/module/xpin/parameters/max_timeout_ms"
#define HOURS		(10 * 3600 * NSEC_PER_SEC)
#define FOR_EVER	(~0ULL)

/* Each waits for a pin that does not go, and ends by itself. */
static bool gives_up(const struct memory *memory, __u64 shared,
		     __u64 timeout_ns)
{
	const __u64 offset = memory->wanted - memory->base;
	struct xpin_part part = {
		.size = sizeof(part),
		.claim_id = shared,
		.length = XPIN_WHOLE,
		.timeout_ns = timeout_ns,
	};
	struct xpin_claim_memfd file;
	struct xpin_claim claim;

	return xpin_claim(owner, memory->wanted, PAGE, timeout_ns, &claim) ==
	       -EBUSY && !claim.timeout_ns &&
	       claim.busy_addr == (uintptr_t)memory->wanted &&
	       claim_memfd(memory, offset, PAGE, timeout_ns, &file) ==
	       -EBUSY && !file.timeout_ns &&
	       file.busy_offset == offset &&
	       ioctl(owner, XPIN_IOC_UNSHARE, &part) && errno == EBUSY &&
	       !part.timeout_ns && part.busy_addr == (uintptr_t)memory->wanted;
}

/* What is left of the time for which nobody had to wait. */
static bool leaves(const struct memory *memory, __u64 timeout_ns,
		   __u64 most, __u64 least)
{
	struct xpin_claim claim;

	return !xpin_claim(owner, memory->wanted, PAGE, timeout_ns, &claim) &&
	       claim.timeout_ns <= most && claim.timeout_ns >= least &&
	       !release(claim.claim_id);
}

static void timeouts(const struct memory *memory)
{
	static const struct {
		const char *name;
		__u64 timeout_ns;
		unsigned int max_ms;
	} waits[] = {
		{ "no time", 0, 60000 },
		{ "a nanosecond", 1, 60000 },
		{ "a hundredth of a second", NSEC_PER_SEC / 100, ~0U },
		{ "hours, and less allowed", HOURS, 20 },
		{ "for ever, and less allowed", FOR_EVER, 20 },
		{ "half of for ever, and less allowed", 1ULL << 63, 20 },
		{ "for ever, and nothing allowed", FOR_EVER, 0 },
	};
	const unsigned int max = file_number(MAX_TIMEOUT);
	struct xpin_claim claim;
	struct xpin_part part;
	long long pins;
	size_t i;
	bool ok;

	require(!xpin_claim(owner, memory->wanted, PAGE, 0, &claim) &&
		!xpin_part(owner, XPIN_IOC_SHARE, claim.claim_id, 0,
			   XPIN_WHOLE, &part), "claim and share");
	require(!stranger_pin_hold(&stranger, memory, memory->wanted, PAGE),
		"the foreign pin");
	pins = pins_held();
	for (i = 0; i < ARRAY_SIZE(waits); i++) {
		set_file_number(MAX_TIMEOUT, waits[i].max_ms);
		ok = gives_up(memory, claim.claim_id, waits[i].timeout_ns);
		check(ok && pins_held() == pins &&
		      xpin_page_state(owner, memory->wanted) ==
		      XPIN_PAGE_MINE_SHARED,
		      "a wait for %s ends with EBUSY", waits[i].name);
	}
	stranger_pin_drop(&stranger);
	require(!release(claim.claim_id), "release");

	set_file_number(MAX_TIMEOUT, 20);
	ok = leaves(memory, FOR_EVER, 20 * NSEC_PER_SEC / 1000, 1) &&
	     leaves(memory, 1000, 1000, 0);
	set_file_number(MAX_TIMEOUT, 0);
	ok = ok && leaves(memory, FOR_EVER, 0, 0);
	set_file_number(MAX_TIMEOUT, max);
	check(ok, "no more time is left than there was");
}

int main(void)
{
	struct memory memory;

	ksft_print_header();
	ksft_set_plan(21 + 2 * 2 + 2 * 6 + 1 + 7 + 1);
	stranger_start(&stranger);
	memlock();
	owner = xpin_open();
	other = xpin_open();

	many_claims(MEMORY_SHMEM_PAGE);
	many_claims(MEMORY_ANON_LARGE);
	one_folio(MEMORY_SHMEM_LARGE, LARGE_MAX);
	one_folio(MEMORY_SHMEM_PAGE, SMALL_MAX);
	more_than_there_is();
	memory_create(&memory, MEMORY_SHMEM_PAGE);
	timeouts(&memory);
	memory_destroy(&memory);

	close(other);
	close(owner);
	stranger_stop(&stranger);
	ksft_finished();
}
