// SPDX-License-Identifier: GPL-2.0
/*
 * Rule R10: a claim with XPIN_CLAIM_DENY_GET refuses GUP's plain references, too,
 * to its own folios and for as long as it should; all others go on. Each attack
 * works before the claim and after it, or it would prove nothing.
 *
 * Where plain references can't be refused, such a claim is not made, and what gets
 * through a claim without the flag is all that is left to see.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"
#include "module/xpin_test_get.h"

#define TEST_GET	"/xpin_test_get.ko"
/* Of "armed" in the module's debugfs file: BIT(BACKEND_GET). */
#define ARMED_GET	4

static struct stranger stranger;
static int owner, other;
/* Owned with the flag by another file all the time, and so is armed. */
static struct memory elsewhere;
/* Where the flag is not for this kernel: without it. */
static bool no_flag;

/* A claim with the flag fails as it should, and leaves nothing. */
static bool is_no_claim(int error, unsigned char *addr)
{
	if (error == -EOPNOTSUPP &&
	    xpin_page_state(owner, addr) == XPIN_PAGE_FREE &&
	    !(xpin_stat("armed") & ARMED_GET))
		return true;
	ksft_print_msg("a claim with the flag: %s, armed %#llx\n",
		       strerror(-error), xpin_stat("armed"));
	return false;
}

static struct attack_result attacked(const struct memory *memory,
				     const struct attack *attack,
				     unsigned char *addr, size_t length)
{
	memory_fill_part(memory, addr, length);
	memset(stranger.buffer, 0xa5, length);
	return stranger_attack(&stranger, attack, memory, addr, length);
}

/* It gets at all bytes. */
static bool gets_through(const struct memory *memory,
			 const struct attack *attack, unsigned char *addr,
			 size_t length, const char *when)
{
	struct attack_result result = attacked(memory, attack, addr, length);

	if (result.outcome == ATTACK_SUCCEEDED &&
	    !memcmp(addr, stranger.buffer, length) &&
	    memory_untouched(memory, addr, length) != attack->writes)
		return true;
	ksft_print_msg("%s: %s: outcome %d, %zu bytes, %s %s\n", attack->name,
		       when, result.outcome, result.bytes,
		       strerror(result.error), result.why ? result.why : "");
	return false;
}

/* What it says when it is refused; where it takes no pins, what it said later. */
static int refusal(const struct attack *attack)
{
	const struct attack_answer *answer = attack_answer(attack);

	while (!answer->first)
		answer--;
	return answer->first;
}

/* It gets at the bytes before @memory->wanted, and says what the table says. */
static bool is_refused(const struct memory *memory, const struct attack *attack,
		       unsigned char *addr, size_t length, const char *when)
{
	size_t before = memory->wanted - addr, i;
	long long vetoes = xpin_stat("vetoes");
	struct attack_result result = attacked(memory, attack, addr, length);
	bool ok, arrived = false;

	if (before)
		ok = result.outcome == ATTACK_SHORT && result.bytes == before;
	else
		ok = result.outcome == ATTACK_REFUSED &&
		     result.error == refusal(attack);
	for (i = before; i < length; i++)
		arrived |= stranger.buffer[i];
	/* An attack that writes has its own bytes there. */
	if (ok && (attack->writes || !arrived) &&
	    memory_untouched(memory, memory->wanted, length - before) &&
	    xpin_stat("vetoes") > vetoes)
		return true;
	ksft_print_msg("%s: %s: outcome %d, %zu bytes, %s %s, content %s\n",
		       attack->name, when, result.outcome, result.bytes,
		       strerror(result.error), result.why ? result.why : "",
		       arrived ? "arrived" : "did not arrive");
	return false;
}

static void attack_around_claims(const struct memory *memory,
				 const struct attack *attack, size_t before)
{
	size_t length = before + 2 * PAGE;
	unsigned char *addr = memory->wanted - before;
	struct xpin_claim claim;
	struct xpin_part part;
	bool ok;

	ok = gets_through(memory, attack, addr, length, "nobody owns it");

	require(!xpin_claim(owner, memory->wanted, 2 * PAGE, 0, &claim),
		"claim");
	ok &= gets_through(memory, attack, addr, length, "without the flag");
	require(!xpin_release(owner, &claim), "release");

	if (no_flag) {
		ok &= is_no_claim(xpin_claim_deny_get(owner, memory->wanted,
						      2 * PAGE, &claim),
				  memory->wanted) &&
		      gets_through(memory, attack, addr, length, "not claimed");
		goto out;
	}
	require(!xpin_claim_deny_get(owner, memory->wanted, 2 * PAGE, &claim),
		"claim");
	ok &= is_refused(memory, attack, addr, length, "with the flag");
	require(!xpin_part(owner, XPIN_IOC_SHARE, claim.claim_id, 0, XPIN_WHOLE,
			   &part), "share");
	ok &= gets_through(memory, attack, addr, length, "shared");
	require(!xpin_part(owner, XPIN_IOC_UNSHARE, claim.claim_id, 0,
			   XPIN_WHOLE, &part), "unshare");
	ok &= is_refused(memory, attack, addr, length, "unshared");
	require(!xpin_release(owner, &claim), "release");
	ok &= gets_through(memory, attack, addr, length, "released");
out:
	check(ok, "%s, %s page: %s", memory->name, before ? "later" : "first",
	      attack->name);
}

/*
 * On older kernels some of the attacks that pin took plain references. Refused,
 * they say what they said when they first took pins.
 */
static void direct_io(const struct memory *memory)
{
	const struct attack *attack;
	struct xpin_claim claim;
	unsigned int count = 0;
	bool ok = true;

	for (attack = attacks; attack->name; attack++) {
		/* Older udmabufs had the pages from the page cache. */
		if (attack_answer(attack)->first || attack->memfd)
			continue;
		count++;
		ok &= gets_through(memory, attack, memory->wanted, PAGE,
				   "nobody owns it");
		if (no_flag) {
			require(!xpin_claim(owner, memory->wanted, PAGE, 0,
					    &claim), "claim");
			ok &= gets_through(memory, attack, memory->wanted, PAGE,
					   "without the flag");
		} else {
			require(!xpin_claim_deny_get(owner, memory->wanted,
						     PAGE, &claim), "claim");
			ok &= is_refused(memory, attack, memory->wanted, PAGE,
					 "with the flag");
		}
		require(!xpin_release(owner, &claim), "release");
	}
	if (count)
		check(ok, "%s: %u kinds of direct I/O take plain references here",
		      memory->name, count);
	else
		skip("%s: no direct I/O takes plain references here",
		     memory->name);
}

/* The neighbours of a folio with the flag, and pins of that folio. */
static void others_are_not_concerned(const struct memory *memory)
{
	const struct attack *reads = &plain_attacks[0];
	unsigned char *neighbour = memory->wanted + memory->folio;
	struct xpin_claim claim;
	bool ok;

	if (neighbour >= memory->base + MEMORY_LENGTH)
		neighbour = memory->base;
	require(!xpin_claim_deny_get(owner, memory->wanted, PAGE, &claim),
		"claim");
	ok = gets_through(memory, reads, neighbour, PAGE, "the next folio");
	ok &= !stranger_reaches(&stranger, memory, memory->wanted) &&
	      stranger_reaches(&stranger, memory, neighbour);
	ok &= xpin_page_state(owner, memory->wanted) == XPIN_PAGE_MINE &&
	      xpin_page_state(other, memory->wanted) == XPIN_PAGE_OTHERS &&
	      xpin_page_state(owner, neighbour) == XPIN_PAGE_FREE;
	require(!xpin_release(owner, &claim), "release");
	check(ok && xpin_page_state(owner, memory->wanted) == XPIN_PAGE_FREE,
	      "%s: pins are refused, too, other folios are not, and a query sees",
	      memory->name);
}

/* The flag is the folio's until the same owner has nothing of it left. */
static void two_claims(const struct memory *memory)
{
	const struct attack *reads = &plain_attacks[0];
	struct xpin_claim plain, deny, failed;
	unsigned char *next = memory->wanted + memory->folio;
	bool ok;

	require(!xpin_claim(owner, memory->wanted, PAGE, 0, &plain), "claim");
	require(!xpin_claim_deny_get(owner, memory->wanted, PAGE, &deny),
		"claim");
	ok = is_refused(memory, reads, memory->wanted, PAGE, "two claims");
	require(!xpin_release(owner, &plain), "release");
	ok &= is_refused(memory, reads, memory->wanted, PAGE,
			 "the other one released");
	require(!xpin_claim(owner, memory->wanted, PAGE, 0, &plain), "claim");
	require(!xpin_release(owner, &deny), "release");
	ok &= is_refused(memory, reads, memory->wanted, PAGE,
			 "the one with the flag released");
	require(!xpin_release(owner, &plain), "release");
	ok &= gets_through(memory, reads, memory->wanted, PAGE,
			   "both released");
	check(ok, "%s: plain references are refused until the last claim ends",
	      memory->name);

	/* Rule R4: a claim that fails leaves an older one as it was. */
	if (next >= memory->base + MEMORY_LENGTH)
		return;
	require(!xpin_claim(owner, memory->wanted, memory->folio, 0, &plain),
		"claim");
	require(!xpin_claim(other, next, PAGE, 0, &deny), "claim");
	ok = xpin_claim_deny_get(owner, memory->wanted, memory->folio + PAGE,
				 &failed) == -EBUSY &&
	     failed.busy_addr == (uintptr_t)next && !failed.referenced &&
	     gets_through(memory, reads, memory->wanted, PAGE, "after EBUSY");
	require(!xpin_release(other, &deny) && !xpin_release(owner, &plain),
		"release");
	check(ok, "%s: a failed claim changes nothing", memory->name);
}

/* What the answer says of references from before. */
static void from_before(const struct memory *memory)
{
	struct iovec page = { memory->wanted, PAGE };
	static char copy[PAGE];
	struct xpin_claim claim;
	struct xpin_part part;
	int ends[2];
	bool ok;

	require(!pipe2(ends, O_CLOEXEC), "pipe");
	require(!xpin_claim_deny_get(owner, memory->wanted, 2 * PAGE, &claim),
		"claim");
	ok = !claim.referenced;
	if (!ok)
		ksft_print_msg("nobody has any, and it says %llu pages\n",
			       claim.referenced);
	require(!xpin_part(owner, XPIN_IOC_SHARE, claim.claim_id, 0, XPIN_WHOLE,
			   &part), "share");
	ok &= !part.referenced;
	require(vmsplice(ends[1], &page, 1, 0) == (ssize_t)PAGE, "vmsplice");
	require(!xpin_part(owner, XPIN_IOC_UNSHARE, claim.claim_id, 0,
			   XPIN_WHOLE, &part), "unshare");
	/* Of two small pages one; or both pages of one large folio. */
	ok &= part.referenced == (memory->folio == PAGE ? 1 : 2);
	require(!xpin_release(owner, &claim), "release");

	require(!xpin_claim(owner, memory->wanted, 2 * PAGE, 0, &claim),
		"claim");
	ok &= !claim.referenced;
	require(!xpin_release(owner, &claim), "release");
	require(!xpin_claim_deny_get(owner, memory->wanted, 2 * PAGE, &claim),
		"claim");
	ok &= claim.referenced == (memory->folio == PAGE ? 1 : 2);
	/* They stay, and read what is there now. */
	memset(memory->wanted, 0x5a, PAGE);
	ok &= read(ends[0], copy, PAGE) == (ssize_t)PAGE &&
	      !memcmp(copy, memory->wanted, PAGE);
	require(!xpin_release(owner, &claim), "release");

	require(!xpin_claim_deny_get(owner, memory->wanted, 2 * PAGE, &claim),
		"claim");
	ok &= !claim.referenced;
	require(!xpin_release(owner, &claim), "release");
	close(ends[0]);
	close(ends[1]);
	check(ok, "%s: the answer tells of references from before",
	      memory->name);
}

static void without_a_mapping(enum memory_kind kind)
{
	const struct attack *reads = &plain_attacks[0];
	struct xpin_claim_memfd claim;
	struct xpin_part part;
	struct memory memory;
	int error;
	bool ok;

	memory_create(&memory, kind);
	claim = (struct xpin_claim_memfd){
		.size = sizeof(claim),
		.flags = XPIN_CLAIM_DENY_GET,
		.fd = memory.fd,
		.offset = memory.folio,
		.length = PAGE,
	};
	if (no_flag) {
		error = ioctl(owner, XPIN_IOC_CLAIM_MEMFD, &claim) ? -errno : 0;
		ok = is_no_claim(error, memory.wanted);
		goto out;
	}
	ok = !ioctl(owner, XPIN_IOC_CLAIM_MEMFD, &claim) && !claim.referenced &&
	     is_refused(&memory, reads, memory.wanted, PAGE, "by its file") &&
	     !xpin_part(owner, XPIN_IOC_RELEASE, claim.claim_id, 0, XPIN_WHOLE,
			&part) &&
	     gets_through(&memory, reads, memory.wanted, PAGE, "released");
out:
	check(ok, "%s: claimed by its file", memory.name);
	memory_destroy(&memory);
}

static bool got_from(int get, void *addr, enum xpin_test_get_from from,
		     bool *possible)
{
	struct xpin_test_get_call call = {
		.addr = (uintptr_t)addr,
		.from = from,
	};

	*possible = !ioctl(get, XPIN_TEST_GET, &call);
	require(*possible || errno == EOPNOTSUPP, "/dev/xpin_test_get");
	return call.got;
}

/* perf asks in NMI, on top of anything. */
static void in_every_context(const struct memory *memory)
{
	static const char * const names[] = {
		[XPIN_TEST_GET_FROM_TASK] = "a task",
		[XPIN_TEST_GET_FROM_INTERRUPT] = "an interrupt",
		[XPIN_TEST_GET_FROM_NMI] = "an NMI",
	};
	struct xpin_claim claim;
	unsigned int from;
	bool ok, possible;
	int get;

	require(!module_load(TEST_GET), TEST_GET);
	get = open("/dev/xpin_test_get", O_RDWR | O_CLOEXEC);
	require(get >= 0, "/dev/xpin_test_get");
	for (from = 0; from < ARRAY_SIZE(names); from++) {
		ok = got_from(get, memory->wanted, from, &possible);
		if (!possible) {
			ksft_test_result_skip("%s: from %s: a module can't raise one here\n",
					      program_invocation_short_name,
					      names[from]);
			continue;
		}
		require(!xpin_claim(owner, memory->wanted, PAGE, 0, &claim),
			"claim");
		ok &= got_from(get, memory->wanted, from, &possible);
		require(!xpin_release(owner, &claim), "release");
		if (no_flag) {
			check(ok, "%s: not refused from %s", memory->name,
			      names[from]);
			continue;
		}
		require(!xpin_claim_deny_get(owner, memory->wanted, PAGE,
					     &claim), "claim");
		ok &= !got_from(get, memory->wanted, from, &possible);
		require(!xpin_release(owner, &claim), "release");
		ok &= got_from(get, memory->wanted, from, &possible);
		check(ok, "%s: refused from %s", memory->name, names[from]);
	}
	close(get);
	require(!module_unload("xpin_test_get"), "unload " TEST_GET);
}

/* Rule R11: FOLL_GET's sites are NOPs unless there is a claim with the flag. */
static void key(const struct memory *memory)
{
	time_t deadline = time(NULL) + 60;
	struct xpin_claim plain, deny;
	bool ok;

	if (skip_without(FEATURE_DENY_GET, 1))
		return;
	while (xpin_stat("armed") & ARMED_GET && time(NULL) < deadline)
		sched_yield();
	ok = !(xpin_stat("armed") & ARMED_GET);
	require(!xpin_claim(owner, memory->wanted, PAGE, 0, &plain), "claim");
	ok &= !(xpin_stat("armed") & ARMED_GET);
	require(!xpin_claim_deny_get(other, memory->base, PAGE, &deny),
		"claim");
	ok &= !!(xpin_stat("armed") & ARMED_GET);
	require(!xpin_release(other, &deny), "release");

	deadline = time(NULL) + 60;
	while (xpin_stat("armed") & ARMED_GET && time(NULL) < deadline)
		sched_yield();
	ok &= !(xpin_stat("armed") & ARMED_GET);
	require(!xpin_release(owner, &plain), "release");
	check(ok, "armed while there is a claim with the flag, not longer");
}

int main(void)
{
	static const enum memory_kind memfd[] = {
		MEMORY_SHMEM_PAGE, MEMORY_SHMEM_LARGE, MEMORY_HUGETLB_MEMFD,
	};
	const struct attack *attack;
	struct xpin_claim claim;
	struct memory memory;
	unsigned int count = 0, failing = 0;
	size_t i;
	int kind;

	for (attack = plain_attacks; attack->name; attack++)
		count++;
	/* Only where there are three folios a claim can fail at the third. */
	for (kind = 0; kind < MEMORY_KINDS; kind++) {
		if (feature_missing(memory_needs(kind)))
			continue;
		memory_create(&memory, kind);
		failing += 3 * memory.folio <= MEMORY_LENGTH;
		memory_destroy(&memory);
	}
	no_flag = feature_missing(FEATURE_DENY_GET);
	ksft_print_header();
	ksft_set_plan(MEMORY_KINDS * (2 * count + 4) + failing +
		      ARRAY_SIZE(memfd) + 3 + 1);
	stranger_start(&stranger);
	owner = xpin_open();
	other = xpin_open();

	memory_create(&elsewhere, MEMORY_SHMEM_PAGE);
	require(!(no_flag ? xpin_claim(other, elsewhere.wanted, PAGE, 0, &claim) :
		  xpin_claim_deny_get(other, elsewhere.wanted, PAGE, &claim)),
		"claim");
	for (kind = 0; kind < MEMORY_KINDS; kind++) {
		if (skip_without(memory_needs(kind), 2 * count + 4))
			continue;
		memory_create(&memory, kind);
		for (attack = plain_attacks; attack->name; attack++) {
			attack_around_claims(&memory, attack, 0);
			attack_around_claims(&memory, attack, PAGE);
		}
		direct_io(&memory);
		if (!skip_without(FEATURE_DENY_GET, 3 +
				  (3 * memory.folio <= MEMORY_LENGTH))) {
			others_are_not_concerned(&memory);
			two_claims(&memory);
			from_before(&memory);
		}
		memory_destroy(&memory);
	}
	for (i = 0; i < ARRAY_SIZE(memfd); i++) {
		if (!skip_without(FEATURE_MEMFD_PIN, 1))
			without_a_mapping(memfd[i]);
	}
	memory_create(&memory, MEMORY_ANON_PAGE);
	in_every_context(&memory);
	require(!xpin_release(other, &claim), "release");
	key(&memory);

	memory_destroy(&memory);
	memory_destroy(&elsewhere);
	close(other);
	close(owner);
	stranger_stop(&stranger);
	ksft_finished();
}
