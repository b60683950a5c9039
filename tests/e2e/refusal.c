// SPDX-License-Identifier: GPL-2.0
/*
 * Rule R2: while a folio is claimed nobody pins it, and its content stays. Each
 * attack works before the claim and after it, or it would prove nothing.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"

static struct stranger stranger;
static int owner;

/* Where the claimed page is in the range that is attacked. */
enum position { FIRST, LATER, POSITIONS };

static const char * const position_names[] = { "first page", "later page" };

static const char *outcome(struct attack_result result)
{
	static char text[128];

	switch (result.outcome) {
	case ATTACK_SUCCEEDED:
		return "succeeded";
	case ATTACK_SHORT:
		snprintf(text, sizeof(text), "%zu bytes", result.bytes);
		break;
	case ATTACK_REFUSED:
		snprintf(text, sizeof(text), "%s", strerror(result.error));
		break;
	case ATTACK_UNAVAILABLE:
		snprintf(text, sizeof(text), "not tried: %s: %s", result.why,
			 strerror(result.error));
		break;
	}
	return text;
}

static bool is_zero(const unsigned char *bytes, size_t length)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, length - 1);
}

/* Did the attack move the bytes, or pin the pages, as it says? */
static bool got_all(const struct memory *memory, const struct attack *attack,
		    unsigned char *addr, size_t length, long long pins)
{
	if (attack->pins_only)
		return pins_taken() - pins >= (long long)(length / PAGE) &&
		       memory_untouched(memory, addr, length);
	return !memcmp(addr, stranger.buffer, length) &&
	       memory_untouched(memory, addr, length) != attack->writes;
}

/* The attack with nobody's claim in the way: it must get at all bytes. */
static bool works(const struct memory *memory, const struct attack *attack,
		  unsigned char *addr, size_t length)
{
	long long pins = attack->pins_only ? pins_taken() : 0;
	struct attack_result result;
	size_t at;
	bool all;

	memory_fill_part(memory, addr, length);
	memset(stranger.buffer, 0xa5, length);
	result = stranger_attack(&stranger, attack, memory, addr, length);
	all = got_all(memory, attack, addr, length, pins);
	/* What AF_XDP pinned goes only some time after its socket. */
	for (at = 0; at < length; at += PAGE)
		wait_for_state(owner, addr + at, XPIN_PAGE_FREE);

	if (result.outcome == ATTACK_SUCCEEDED && all)
		return true;
	ksft_print_msg("not claimed: %s, and %s all of it\n", outcome(result),
		       all ? "got" : "did not get");
	return false;
}

static bool as_expected(struct attack_result result,
			const struct attack_answer *answer,
			enum position position)
{
	if (position == FIRST)
		return answer->first ? result.outcome == ATTACK_REFUSED &&
				       result.error == answer->first :
				       result.outcome == ATTACK_SUCCEEDED;
	return result.outcome == answer->later &&
	       (result.outcome != ATTACK_REFUSED ||
		result.error == answer->later_error) &&
	       (result.outcome != ATTACK_SHORT || result.bytes == PAGE);
}

/* Does all of it arrive although the range has a claimed page? */
static bool passes_by(const struct attack_answer *answer, enum position position)
{
	return position == LATER ? answer->later_unpinned : !answer->first;
}

/* The attack while @memory->wanted is claimed, @before bytes into the range. */
static bool refused(const struct memory *memory, const struct attack *attack,
		    enum position position, unsigned char *addr, size_t length)
{
	const struct attack_answer *answer = attack_answer(attack);
	size_t before = memory->wanted - addr;
	long long vetoes = xpin_stat("vetoes");
	struct attack_result result;
	bool ok = true;

	memory_fill_part(memory, addr, length);
	memset(stranger.buffer, 0xa5, length);
	result = stranger_attack(&stranger, attack, memory, addr, length);

	if (!as_expected(result, answer, position)) {
		ksft_print_msg("claimed: %s\n", outcome(result));
		ok = false;
	}
	if (passes_by(answer, position)) {
		if (memcmp(addr, stranger.buffer, length)) {
			ksft_print_msg("claimed: not all bytes were copied\n");
			ok = false;
		}
	} else if (!memory_untouched(memory, memory->wanted, length - before)) {
		ksft_print_msg("claimed: the content changed\n");
		ok = false;
	} else if (!attack->writes &&
		   !is_zero(stranger.buffer + before, length - before)) {
		ksft_print_msg("claimed: the content arrived\n");
		ok = false;
	}
	/*
	 * Without a veto it failed, or pinned nothing, for another reason. One
	 * that takes no pins is not even asked.
	 */
	if ((xpin_stat("vetoes") > vetoes) != !!answer->first) {
		ksft_print_msg("claimed: %lld vetoes were counted\n",
			       xpin_stat("vetoes") - vetoes);
		ok = false;
	}
	if (xpin_page_state(owner, memory->wanted) != XPIN_PAGE_MINE) {
		ksft_print_msg("claimed: no longer owned\n");
		ok = false;
	}
	return ok;
}

static void attack_around_a_claim(const struct memory *memory,
				  const struct attack *attack,
				  enum position position)
{
	unsigned char *addr = memory->wanted - (position == LATER ? PAGE : 0);
	/* A provided-buffer ring has a power of two of pages. */
	size_t length = position == LATER ? 4 * PAGE : PAGE;
	const struct attack_answer *answer = attack_answer(attack);
	struct xpin_claim claim;
	bool before, during, after;
	int error;

	before = works(memory, attack, addr, length);
	error = xpin_claim(owner, memory->wanted, length - (position == LATER ?
			   PAGE : 0), 0, &claim);
	if (error)
		ksft_print_msg("claim: %s\n", strerror(-error));
	during = !error && refused(memory, attack, position, addr, length);
	error = error ? error : xpin_release(owner, &claim);
	after = works(memory, attack, addr, length);

	check(before && during && !error && after &&
	      xpin_all_pages(owner, addr, length, XPIN_PAGE_FREE),
	      "%s, %s: %s%s%s", memory->name, position_names[position],
	      attack->name, passes_by(answer, position) ? " passes: " : "",
	      passes_by(answer, position) ? answer->reason : "");
}

/* With what it needs not there, it says so; and it pinned nothing. */
static void unavailable(const struct attack *attack,
			const struct attack_target *target, const char *what)
{
	long long pins = pins_taken();
	struct attack_result result;
	bool ok;

	result = attack_run(attack, target, stranger.buffer);
	ok = result.outcome == ATTACK_UNAVAILABLE && result.why &&
	     pins_taken() == pins;
	if (!ok)
		ksft_print_msg("%s\n", outcome(result));
	check(ok, "%s: %s is not available: %s", what, attack->name,
	      ok ? result.why : "");
}

static void without_what_it_needs(void)
{
	struct attack_target target = { .length = PAGE };
	const struct attack *attack;
	struct memory memory;
	char path[64];

	for (attack = attacks; attack->name; attack++)
		unavailable(attack, &target, "nothing known");

	memory_create(&memory, MEMORY_SHMEM_PAGE);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memory.fd);
	target.memfd = path;
	unavailable(attack_find("udmabuf of it, read"), &target, "not sealed");
	memory_destroy(&memory);
}

static void try(const struct memory *memory, const struct attack *attack,
		enum position position)
{
	struct attack_target target = {
		.local = memory->wanted,
		.length = PAGE,
	};

	if (attack->memfd && memory->fd < 0)
		unavailable(attack, &target, memory->name);
	else if (attack->memfd && skip_without(FEATURE_UDMABUF, 1))
		return;
	else if (!attack->memfd || memory->kind != MEMORY_HUGETLB_MEMFD ||
		 !skip_without(FEATURE_UDMABUF_HUGETLB, 1))
		attack_around_a_claim(memory, attack, position);
}

int main(void)
{
	const struct attack *attack;
	enum position position;
	struct memory memory;
	unsigned int count = 0;
	int kind;

	for (attack = attacks; attack->name; attack++)
		count++;
	ksft_print_header();
	ksft_set_plan((MEMORY_KINDS * POSITIONS + 1) * count + 1);
	stranger_start(&stranger);
	owner = xpin_open();

	without_what_it_needs();
	for (kind = 0; kind < MEMORY_KINDS; kind++) {
		if (skip_without(memory_needs(kind), POSITIONS * count))
			continue;
		memory_create(&memory, kind);
		/* udmabuf wants this of a memfd. */
		require(memory.fd < 0 ||
			!fcntl(memory.fd, F_ADD_SEALS, F_SEAL_SHRINK),
			"F_ADD_SEALS");
		for (position = 0; position < POSITIONS; position++) {
			for (attack = attacks; attack->name; attack++)
				try(&memory, attack, position);
		}
		memory_destroy(&memory);
	}

	close(owner);
	stranger_stop(&stranger);
	ksft_finished();
}
