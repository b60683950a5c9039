// SPDX-License-Identifier: GPL-2.0
/*
 * Release, share and unshare of parts of a claim: what is not there, comes
 * twice or in odd order; and what the states are after each step.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"

static struct stranger stranger;
static int owner, other;

static const unsigned long requests[] = {
	XPIN_IOC_RELEASE, XPIN_IOC_SHARE, XPIN_IOC_UNSHARE,
};

/* --- What is not there --- */

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
		{ "the last page there is", -2 * PAGE, PAGE, -ENOENT },
		{ "a part up to the wrap", -PAGE, PAGE, -EINVAL },
		{ "more pages than a claim can have", 0, PAGE << 32, -EINVAL },
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
		ok &= ioctl(owner, requests[j], &part) && errno == EINVAL;
	}
	check(ok, "RELEASE and SHARE take no timeout");

	require(!xpin_release(owner, &claim), "release");
}

/* True if nothing can be done with what @fd might call @id. */
static bool no_claim(int fd, __u64 id)
{
	struct xpin_part part;
	bool ok = true;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(requests); i++) {
		ok &= xpin_part(fd, requests[i], id, 0, XPIN_WHOLE, &part) ==
		      -ENOENT;
		ok &= xpin_part(fd, requests[i], id, 0, PAGE, &part) ==
		      -ENOENT;
	}
	if (!ok)
		ksft_print_msg("claim 0x%llx is known\n", id);
	return ok;
}

static void bad_identities(const struct memory *memory)
{
	struct xpin_claim claim;
	bool ok;

	check(no_claim(owner, 0) && no_claim(owner, 1) &&
	      no_claim(owner, ~0ULL), "before any claim there is none");

	require(!xpin_claim(owner, memory->wanted, PAGE, 0, &claim), "claim");
	ok = no_claim(owner, 0) && no_claim(owner, claim.claim_id + 1) &&
	     no_claim(owner, ~0U) && no_claim(owner, ~0ULL);
	check(ok, "an invented claim is ENOENT");
	/* The lower half is that of a claim. */
	check(no_claim(owner, claim.claim_id | 1ULL << 32) &&
	      no_claim(owner, claim.claim_id | 1ULL << 63),
	      "a claim of more than 32 bits is ENOENT");
	check(no_claim(other, claim.claim_id) &&
	      xpin_page_state(owner, memory->wanted) == XPIN_PAGE_MINE,
	      "another file's claim is ENOENT");
	require(!xpin_release(owner, &claim), "release");
	check(no_claim(owner, claim.claim_id), "a released claim is ENOENT");
}

/* A new claim is not soon called what an old one was. */
static void new_identities(const struct memory *memory)
{
	struct xpin_claim old, claim;

	require(!xpin_claim(owner, memory->wanted, PAGE, 0, &old) &&
		!xpin_release(owner, &old), "claim and release");
	require(!xpin_claim(owner, memory->wanted, PAGE, 0, &claim), "claim");
	check(claim.claim_id != old.claim_id && no_claim(owner, old.claim_id) &&
	      xpin_page_state(owner, memory->wanted) == XPIN_PAGE_MINE,
	      "an old identity does not end a new claim");
	require(!xpin_release(owner, &claim), "release");
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

static void in_odd_order(const struct memory *memory)
{
	const int mine = XPIN_PAGE_MINE, shared = XPIN_PAGE_MINE_SHARED,
		  is_free = XPIN_PAGE_FREE;
	struct xpin_claim claim;
	struct xpin_part part;

	require(!xpin_claim(owner, memory->wanted, 4 * PAGE, 0, &claim),
		"claim");
	check(!part_of(&claim, XPIN_IOC_UNSHARE, 0, 4, &part) &&
	      !part.refused && part.busy_addr == XPIN_NO_ADDR &&
	      states_are(memory, mine, mine, mine, mine),
	      "unshared, but never shared");
	check(!part_of(&claim, XPIN_IOC_SHARE, 0, 4, &part) && !part.refused &&
	      !part_of(&claim, XPIN_IOC_SHARE, 0, 4, &part) && !part.refused &&
	      states_are(memory, shared, shared, shared, shared),
	      "shared twice");
	check(!part_of(&claim, XPIN_IOC_UNSHARE, 0, 4, &part) &&
	      !part_of(&claim, XPIN_IOC_UNSHARE, 0, 4, &part) &&
	      states_are(memory, mine, mine, mine, mine),
	      "unshared twice");
	check(!part_of(&claim, XPIN_IOC_SHARE, 3, 1, &part) &&
	      states_are(memory, mine, mine, mine, shared),
	      "shared after that: once is enough");
	check(!part_of(&claim, XPIN_IOC_RELEASE, 3, 1, &part) &&
	      part_of(&claim, XPIN_IOC_RELEASE, 3, 1, &part) == -ENOENT &&
	      part_of(&claim, XPIN_IOC_UNSHARE, 3, 1, &part) == -ENOENT &&
	      part_of(&claim, XPIN_IOC_SHARE, 3, 1, &part) == -ENOENT &&
	      states_are(memory, mine, mine, mine, is_free),
	      "released while shared: nothing works on it any more");
	check(!xpin_release(owner, &claim) &&
	      no_claim(owner, claim.claim_id) &&
	      states_are(memory, is_free, is_free, is_free, is_free),
	      "nor on the claim after the last release");
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

	ksft_print_header();
	ksft_set_plan(5 + 1 + 11 + 11 + 6 + 5);
	stranger_start(&stranger);
	owner = xpin_open();
	other = xpin_open();
	memory_create(&small, MEMORY_SHMEM_PAGE);
	memory_create(&large, MEMORY_SHMEM_LARGE);

	bad_identities(&small);
	new_identities(&small);
	bad_parts(&small);
	parts_of_pages(&small);
	in_odd_order(&small);
	parts_of_a_folio(&large);

	memory_destroy(&small);
	memory_destroy(&large);
	close(other);
	close(owner);
	stranger_stop(&stranger);
	ksft_finished();
}
