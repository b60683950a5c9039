// SPDX-License-Identifier: GPL-2.0
/*
 * Rules R2, R9 and R10 as the kernel's own gup_test sees them: while a folio is
 * claimed none of its ways to pin gets it, not even from the claimer's process,
 * and all of its ways to get plain references do.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <mm/gup_test.h>

#include "kselftest.h"
#include "xpin_test.h"

#define PAGES		4
#ifndef PIN_LONGTERM_TEST_START
#define PIN_LONGTERM_TEST_START	_IOW('g', 7, struct pin_longterm_test)
#define PIN_LONGTERM_TEST_STOP	_IO('g', 8)
#define PIN_LONGTERM_TEST_READ	_IOW('g', 9, __u64)
#define PIN_LONGTERM_TEST_FLAG_USE_WRITE	1
#define PIN_LONGTERM_TEST_FLAG_USE_FAST		2

struct pin_longterm_test {
	__u64 addr;
	__u64 size;
	__u32 flags;
};
#endif

/* Of the kernel's enum FOLL_*: gup_test takes it as it is. */
#define FOLL_WRITE	0x01

static int owner;
static int gup_test;

/* Where the claimed pages are in the range: at its start, or after one page. */
enum position { FIRST, LATER, POSITIONS };

static const char * const position_names[] = { "first page", "later page" };

static const struct mode {
	const char *name;
	unsigned long command;
	bool pins;
	__u32 flags;
} modes[] = {
	{ "GUP_FAST_BENCHMARK", GUP_FAST_BENCHMARK },
	{ "GUP_BASIC_TEST", GUP_BASIC_TEST },
	{ "DUMP_USER_PAGES_TEST", DUMP_USER_PAGES_TEST },
	{ "PIN_FAST_BENCHMARK", PIN_FAST_BENCHMARK, true },
	{ "PIN_BASIC_TEST", PIN_BASIC_TEST, true },
	{ "PIN_LONGTERM_BENCHMARK", PIN_LONGTERM_BENCHMARK, true },
	{ "DUMP_USER_PAGES_TEST with pins", DUMP_USER_PAGES_TEST, true,
	  GUP_TEST_FLAG_DUMP_PAGES_USE_PIN },
	{ "PIN_LONGTERM_TEST_START", PIN_LONGTERM_TEST_START, true, 0 },
	{ "PIN_LONGTERM_TEST_START, fast", PIN_LONGTERM_TEST_START, true,
	  PIN_LONGTERM_TEST_FLAG_USE_FAST },
	{ .name = NULL },
};

/*
 * How many pages gup_test gets, @per_call at a time. It counts a call that gets
 * some of its pages like one that gets all. Only DUMP_USER_PAGES_TEST says more:
 * when it has fewer than @dump pages, it clears that wish to see one of them.
 */
static long pages_got(const struct mode *mode, bool write, void *addr,
		      unsigned int per_call, unsigned int dump)
{
	struct gup_test gup = {
		.addr = (uintptr_t)addr,
		.size = PAGES * PAGE,
		.nr_pages_per_call = per_call,
		.gup_flags = write ? FOLL_WRITE : 0,
		.test_flags = mode->flags,
		.which_pages = { dump },
	};

	require(!ioctl(gup_test, mode->command, &gup), mode->name);
	if (gup.size && dump && !gup.which_pages[0])
		return dump - 1;
	return gup.size / PAGE;
}

/* How many it keeps pinned, for as long as it takes to read them: all or none. */
static long pages_held(const struct mode *mode, bool write, void *addr)
{
	static unsigned char seen[PAGES * PAGE];
	struct pin_longterm_test test = {
		.addr = (uintptr_t)addr,
		.size = PAGES * PAGE,
		.flags = mode->flags |
			 (write ? PIN_LONGTERM_TEST_FLAG_USE_WRITE : 0),
	};
	__u64 buffer = (uintptr_t)seen;

	memset(seen, 0, sizeof(seen));
	if (ioctl(gup_test, PIN_LONGTERM_TEST_START, &test)) {
		require(errno == EBUSY, mode->name);
		return 0;
	}
	require(!ioctl(gup_test, PIN_LONGTERM_TEST_READ, &buffer) &&
		!memcmp(seen, addr, sizeof(seen)), "what it pinned");
	require(!ioctl(gup_test, PIN_LONGTERM_TEST_STOP), "stop");
	return PAGES;
}

static bool as_many(long expected, long got, const char *when)
{
	if (got == expected)
		return true;
	ksft_print_msg("%s: %ld pages, not %ld\n", when, got, expected);
	return false;
}

static bool gets_all(const struct mode *mode, bool write, void *addr,
		     const char *when)
{
	if (mode->command == PIN_LONGTERM_TEST_START)
		return as_many(PAGES, pages_held(mode, write, addr), when);
	return as_many(PAGES, pages_got(mode, write, addr, 1, 0), when) &
	       as_many(PAGES, pages_got(mode, write, addr, PAGES, 0), when);
}

/* It must get the pages before the claimed ones, and no more. */
static bool stops(const struct mode *mode, bool write, void *addr,
		  enum position position)
{
	long before = position == LATER;
	bool ok;

	if (mode->command == PIN_LONGTERM_TEST_START)
		return as_many(0, pages_held(mode, write, addr), "claimed");

	ok = as_many(before, pages_got(mode, write, addr, 1, 0), "claimed");
	if (position == FIRST)
		ok &= as_many(0, pages_got(mode, write, addr, PAGES, 0),
			      "claimed, in one call");
	else if (mode->command == DUMP_USER_PAGES_TEST)
		ok &= as_many(before, pages_got(mode, write, addr, PAGES,
						before + 1),
			      "claimed, in one call");
	return ok;
}

static void around_a_claim(const struct memory *memory, const struct mode *mode,
			   bool write, enum position position)
{
	size_t before = position == LATER ? PAGE : 0;
	unsigned char *addr = memory->wanted - before;
	struct xpin_claim claim;
	long long vetoes, pins;
	bool ok;

	ok = gets_all(mode, write, addr, "before the claim");
	require(!xpin_claim(owner, memory->wanted, PAGES * PAGE - before, 0,
			    &claim), "claim");

	vetoes = xpin_stat("vetoes");
	pins = pins_held();
	ok &= mode->pins ? stops(mode, write, addr, position) :
			   gets_all(mode, write, addr, "claimed");
	if (pins_held() != pins) {
		ksft_print_msg("%lld pins left\n", pins_held() - pins);
		ok = false;
	}
	/* A plain reference is not even asked about. */
	if ((xpin_stat("vetoes") > vetoes) != mode->pins) {
		ksft_print_msg("%lld vetoes\n", xpin_stat("vetoes") - vetoes);
		ok = false;
	}
	ok &= xpin_all_pages(owner, memory->wanted, PAGES * PAGE - before,
			     XPIN_PAGE_MINE);

	require(!xpin_release(owner, &claim), "release");
	ok &= gets_all(mode, write, addr, "after the claim");
	check(ok, "%s, %s: %s for %s", memory->name, position_names[position],
	      mode->name, write ? "writing" : "reading");
}

int main(void)
{
	const struct mode *mode;
	enum position position;
	struct memory memory;
	unsigned int count = 0;
	int kind;

	for (mode = modes; mode->name; mode++)
		count++;
	ksft_print_header();
	ksft_set_plan(MEMORY_KINDS * POSITIONS * count * 2);
	if (skip_without(FEATURE_GUP_TEST, MEMORY_KINDS * POSITIONS * count * 2))
		ksft_finished();
	gup_test = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC);
	require(gup_test >= 0, "open gup_test");
	owner = xpin_open();

	for (kind = 0; kind < MEMORY_KINDS; kind++) {
		if (skip_without(memory_needs(kind), POSITIONS * count * 2))
			continue;
		memory_create(&memory, kind);
		for (position = 0; position < POSITIONS; position++) {
			for (mode = modes; mode->name; mode++) {
				if (mode->command == PIN_LONGTERM_TEST_START &&
				    skip_without(FEATURE_GUP_TEST_LONGTERM, 2))
					continue;
				around_a_claim(&memory, mode, false, position);
				around_a_claim(&memory, mode, true, position);
			}
		}
		memory_destroy(&memory);
	}

	close(owner);
	close(gup_test);
	ksft_finished();
}
