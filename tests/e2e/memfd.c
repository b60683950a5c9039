// SPDX-License-Identifier: GPL-2.0
/*
 * What is claimed by XPIN_IOC_CLAIM_MEMFD is owned as what is claimed through a
 * mapping: by whoever looks at it, and in all that is done with the claim.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"

static struct stranger stranger;
static int owner, other;

static int release(int fd, __u64 claim_id)
{
	struct xpin_part part;

	return xpin_part(fd, XPIN_IOC_RELEASE, claim_id, 0, XPIN_WHOLE, &part);
}

/* Another process maps the file: can it pin the page at @addr? */
static bool pinnable(const struct memory *memory, void *addr)
{
	int error = stranger_pin_hold(&stranger, memory, addr, PAGE);

	if (!error)
		stranger_pin_drop(&stranger);
	else
		require(error == -EBUSY, "a pin failed for another reason");
	return !error;
}

/* Where the kernel can't pin a file, a claim says so and does nothing. */
static void supported_or_not(void)
{
	const char *missing = feature_missing(FEATURE_MEMFD_PIN);
	struct xpin_claim_memfd claim;
	struct memory memory;
	int error;

	memory_create(&memory, MEMORY_SHMEM_PAGE);
	error = xpin_claim_memfd(owner, memory.fd, 0, PAGE, 0, &claim);
	if (!error)
		require(!release(owner, claim.claim_id), "release");
	check(error == (missing ? -EOPNOTSUPP : 0) &&
	      xpin_page_state(owner, memory.base) == XPIN_PAGE_FREE,
	      "%s", missing ? missing : "supported");
	memory_destroy(&memory);
}

/* Owned through the file alone: the mapping comes when it is claimed. */
static void not_mapped(const struct memory *memory)
{
	const __u64 offset = memory->folio;
	struct xpin_claim_memfd claim;
	bool ok;

	require(!munmap(memory->base, MEMORY_LENGTH), "munmap");
	ok = pinnable(memory, memory->wanted) &&
	     !xpin_claim_memfd(owner, memory->fd, offset, 2 * PAGE, 0,
			       &claim) &&
	     claim.claim_id && claim.pages == 2 &&
	     claim.folios == (memory->folio == PAGE ? 2 : 1) &&
	     claim.busy_offset == XPIN_NO_ADDR;
	ok = ok && !pinnable(memory, memory->wanted) &&
	     !pinnable(memory, memory->wanted + PAGE) &&
	     pinnable(memory, memory->wanted - PAGE);

	require(mmap(memory->base, MEMORY_LENGTH, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_FIXED, memory->fd, 0) == memory->base &&
		!madvise(memory->base, MEMORY_LENGTH, MADV_POPULATE_WRITE),
		"mmap");
	ok = ok && xpin_all_pages(owner, memory->wanted, 2 * PAGE,
				  XPIN_PAGE_MINE) &&
	     xpin_all_pages(other, memory->wanted, 2 * PAGE,
			    XPIN_PAGE_OTHERS) &&
	     xpin_page_state(owner, memory->wanted - PAGE) == XPIN_PAGE_FREE &&
	     memory_untouched(memory, memory->base, MEMORY_LENGTH);
	ok = ok && !release(owner, claim.claim_id) &&
	     xpin_page_state(owner, memory->wanted) == XPIN_PAGE_FREE &&
	     pinnable(memory, memory->wanted);
	check(ok, "%s: claimed while nobody maps it", memory->name);
}

static void busy(const struct memory *memory)
{
	const __u64 offset = memory->folio;
	unsigned char *pinned = memory->wanted + PAGE;
	/* The lowest claimed offset in the folio that is pinned. */
	const __u64 expected = memory->folio == PAGE ? offset + PAGE : offset;
	struct xpin_claim_memfd claim, refused;
	struct xpin_claim mapped;
	bool ok;

	require(!stranger_pin_hold(&stranger, memory, pinned, PAGE), "pin");
	ok = xpin_claim_memfd(owner, memory->fd, offset - PAGE, 3 * PAGE, 0,
			      &refused) == -EBUSY &&
	     refused.busy_offset == expected && !refused.claim_id &&
	     xpin_claim_memfd(owner, memory->fd, offset - PAGE, 3 * PAGE,
			      NSEC_PER_SEC / 10, &refused) == -EBUSY &&
	     refused.busy_offset == expected && !refused.timeout_ns &&
	     xpin_page_state(owner, pinned) == XPIN_PAGE_PINNED;
	stranger_pin_drop(&stranger);
	check(ok && xpin_all_pages(owner, memory->base, MEMORY_LENGTH,
				   XPIN_PAGE_FREE),
	      "%s: a pin is in the way, and busy_offset says where",
	      memory->name);

	require(!xpin_claim_memfd(owner, memory->fd, offset, PAGE, 0, &claim),
		"claim");
	ok = xpin_claim_memfd(other, memory->fd, offset - PAGE, 2 * PAGE, 0,
			      &refused) == -EBUSY &&
	     refused.busy_offset == offset &&
	     xpin_claim(other, memory->wanted - PAGE, 2 * PAGE, 0, &mapped) ==
	     -EBUSY && mapped.busy_addr == (uintptr_t)memory->wanted;
	ok = ok && !xpin_claim(owner, memory->wanted, PAGE, 0, &mapped) &&
	     !release(owner, claim.claim_id) &&
	     xpin_page_state(owner, memory->wanted) == XPIN_PAGE_MINE &&
	     xpin_claim_memfd(other, memory->fd, offset, PAGE, 0, &refused) ==
	     -EBUSY && !xpin_release(owner, &mapped) &&
	     !xpin_claim_memfd(other, memory->fd, offset, PAGE, 0, &claim) &&
	     xpin_page_state(owner, memory->wanted) == XPIN_PAGE_OTHERS &&
	     !release(other, claim.claim_id);
	check(ok, "%s: one owner, through the file and through a mapping",
	      memory->name);
}

static void piece_by_piece(const struct memory *memory)
{
	const __u64 offset = memory->folio;
	unsigned char *second = memory->wanted + PAGE;
	/* Half of a folio's pages shared is not yet shared. */
	const bool whole = memory->folio != PAGE;
	struct xpin_claim_memfd claim;
	struct xpin_part part;
	bool ok;

	require(!xpin_claim_memfd(owner, memory->fd, offset, 2 * PAGE, 0,
				  &claim), "claim");
	ok = !xpin_part(owner, XPIN_IOC_SHARE, claim.claim_id, PAGE, PAGE,
			&part) && part.refused == whole &&
	     pinnable(memory, second) == !whole &&
	     !xpin_part(owner, XPIN_IOC_SHARE, claim.claim_id, 0, XPIN_WHOLE,
			&part) && !part.refused && pinnable(memory, second) &&
	     xpin_all_pages(owner, memory->wanted, 2 * PAGE,
			    XPIN_PAGE_MINE_SHARED);
	check(ok, "%s: shared", memory->name);

	require(!stranger_pin_hold(&stranger, memory, second, PAGE), "pin");
	ok = xpin_part(owner, XPIN_IOC_UNSHARE, claim.claim_id, 0, XPIN_WHOLE,
		       &part) == -EBUSY &&
	     part.busy_addr == (whole ? offset : offset + PAGE);
	stranger_pin_drop(&stranger);
	ok = ok && !xpin_part(owner, XPIN_IOC_UNSHARE, claim.claim_id, 0,
			      XPIN_WHOLE, &part) &&
	     part.busy_addr == XPIN_NO_ADDR && !pinnable(memory, second);
	check(ok, "%s: unshared; busy_addr is an offset", memory->name);

	ok = !xpin_part(owner, XPIN_IOC_RELEASE, claim.claim_id, 0, PAGE,
			&part) && pinnable(memory, memory->wanted) == !whole &&
	     !pinnable(memory, second) &&
	     !xpin_part(owner, XPIN_IOC_RELEASE, claim.claim_id, PAGE, PAGE,
			&part) && pinnable(memory, second) &&
	     release(owner, claim.claim_id) == -ENOENT;
	check(ok, "%s: released in parts", memory->name);
}

static void whole_file(const struct memory *memory)
{
	struct xpin_claim_memfd claim;
	bool ok;

	ok = !xpin_claim_memfd(owner, memory->fd, 0, MEMORY_LENGTH, 0,
			       &claim) &&
	     claim.pages == MEMORY_LENGTH / PAGE &&
	     claim.folios == MEMORY_LENGTH / memory->folio &&
	     xpin_all_pages(owner, memory->base, MEMORY_LENGTH,
			    XPIN_PAGE_MINE) &&
	     memory_untouched(memory, memory->base, MEMORY_LENGTH) &&
	     !release(owner, claim.claim_id) &&
	     xpin_all_pages(owner, memory->base, MEMORY_LENGTH,
			    XPIN_PAGE_FREE);
	check(ok, "%s: all of the file", memory->name);
}

/* The last user of @memory. */
static void file_closed(struct memory *memory)
{
	struct xpin_claim_memfd claim;
	int fd = dup(memory->fd);
	bool ok;

	ok = fd >= 0 && !xpin_claim_memfd(owner, fd, 0, 2 * PAGE, 0, &claim) &&
	     !close(fd) && !pinnable(memory, memory->base);
	memory_destroy(memory);
	/* Now there is no such file any more. */
	ok = ok && xpin_stat("entries") == (memory->folio == PAGE ? 2 : 1) &&
	     !release(owner, claim.claim_id) && !xpin_stat("entries");
	check(ok, "%s: the claim needs no open file", memory->name);
}

int main(void)
{
	static const enum memory_kind kinds[] = {
		MEMORY_SHMEM_PAGE, MEMORY_SHMEM_LARGE, MEMORY_SHMEM_LARGE_PTES,
		MEMORY_SHMEM_MIDDLE, MEMORY_HUGETLB_MEMFD,
	};
	struct memory memory;
	size_t i;

	ksft_print_header();
	ksft_set_plan(1 + ARRAY_SIZE(kinds) * 8);
	stranger_start(&stranger);
	owner = xpin_open();
	other = xpin_open();

	supported_or_not();
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (skip_without(FEATURE_MEMFD_PIN, 8))
			continue;
		memory_create(&memory, kinds[i]);
		not_mapped(&memory);
		busy(&memory);
		piece_by_piece(&memory);
		whole_file(&memory);
		file_closed(&memory);
	}

	close(other);
	close(owner);
	stranger_stop(&stranger);
	ksft_finished();
}
