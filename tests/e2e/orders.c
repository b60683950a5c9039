// SPDX-License-Identifier: GPL-2.0
/*
 * Ownership is of folios: large ones of every order, of anonymous memory and of
 * shmem, mapped in whole, in part, and twice. That a folio has the order is seen
 * in /proc/kpageflags, so an order that the kernel does not make is a failure.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"
#include "module/xpin_test_owner.h"

#define TMPFS	"/tmp/orders"

static struct stranger stranger;
static int owner, other, gup;

/* Owned for everybody, or free for everybody, by each page. */
static bool all_are(const struct memory *memory, unsigned char *addr,
		    size_t length, bool owned)
{
	size_t i, pages = length / PAGE;
	__u64 slow = 0;

	if (!xpin_all_pages(owner, addr, length,
			    owned ? XPIN_PAGE_MINE : XPIN_PAGE_FREE) ||
	    !xpin_all_pages(other, addr, length,
			    owned ? XPIN_PAGE_OTHERS : XPIN_PAGE_FREE))
		return false;
	for (i = 0; i < pages; i++, addr += PAGE, slow >>= 1) {
		if (i % 64 == 0)
			slow = stranger_reaches_pages(&stranger, memory, addr,
						      pages - i < 64 ?
						      pages - i : 64);
		if (reached_fast(gup, addr) == owned || (slow & 1) == owned) {
			ksft_print_msg("page %zu of %zu is %s\n", i, pages,
				       owned ? "reached" : "refused");
			return false;
		}
	}
	return true;
}

/* What both kinds of claim return, and how they ask. */
struct result {
	__u64 claim_id;
	__u64 pages;
	__u64 folios;
};

static bool claimed(const struct memory *memory, bool by_file,
		    unsigned char *addr, size_t length, struct result *result)
{
	struct xpin_claim_memfd of_file;
	struct xpin_claim claim;
	int error;

	if (by_file) {
		error = xpin_claim_memfd(owner, memory->fd,
					 addr - memory->base, length, 0,
					 &of_file);
		*result = (struct result){ of_file.claim_id, of_file.pages,
					   of_file.folios };
	} else {
		error = xpin_claim(owner, addr, length, 0, &claim);
		*result = (struct result){ claim.claim_id, claim.pages,
					   claim.folios };
	}
	if (error)
		ksft_print_msg("claim: %s\n", strerror(-error));
	return !error;
}

static bool released(const struct result *result)
{
	struct xpin_claim claim = { .claim_id = result->claim_id };

	return !xpin_release(owner, &claim);
}

static bool is_all_of_order(const struct memory *memory)
{
	unsigned char *addr = memory->base;

	for (; addr < memory->base + MEMORY_LENGTH; addr += memory->folio) {
		if (folio_size(addr) != memory->folio ||
		    folio_pfn(addr) != page_pfn(addr)) {
			ksft_print_msg("a folio of %zu KiB at %p\n",
				       folio_size(addr) >> 10, addr);
			return false;
		}
	}
	return true;
}

static void one_page(const struct memory *memory, bool by_file)
{
	unsigned char *middle = memory->wanted +
				memory->folio / PAGE / 2 * PAGE;
	unsigned char *end = memory->wanted + memory->folio;
	struct result claim;
	bool ok;

	if (by_file && skip_without(FEATURE_MEMFD_PIN, 1))
		return;
	ok = all_are(memory, middle, PAGE, false) &&
	     claimed(memory, by_file, middle, PAGE, &claim);
	if (ok) {
		ok = claim.pages == 1 && claim.folios == 1 &&
		     all_are(memory, memory->wanted, memory->folio, true) &&
		     all_are(memory, memory->wanted - PAGE, PAGE, false) &&
		     (end == memory->base + MEMORY_LENGTH ||
		      all_are(memory, end, PAGE, false));
		ok &= released(&claim) &&
		      all_are(memory, memory->wanted, memory->folio, false);
	}
	check(ok, "%s of %zu KiB: one page's claim%s is the whole folio's",
	      memory->name, memory->folio >> 10, by_file ? " by the file" : "");
}

static void boundary(const struct memory *memory, bool by_file)
{
	unsigned char *before = memory->wanted - PAGE;
	struct result claim;
	bool ok;

	if (by_file && skip_without(FEATURE_MEMFD_PIN, 1))
		return;
	ok = claimed(memory, by_file, before, 2 * PAGE, &claim);
	if (ok) {
		ok = claim.pages == 2 && claim.folios == 2 &&
		     all_are(memory, memory->base, PAGE, true) &&
		     all_are(memory, before, 2 * PAGE, true) &&
		     all_are(memory, memory->wanted + memory->folio - PAGE,
			     PAGE, true);
		ok &= released(&claim) &&
		      all_are(memory, before, 2 * PAGE, false);
	}
	check(ok, "%s of %zu KiB: a claim%s of two pages, two folios",
	      memory->name, memory->folio >> 10, by_file ? " by the file" : "");
}

/* What is no longer mapped here is owned, too: a file's may be mapped elsewhere. */
static void in_part(const struct memory *memory)
{
	size_t half = memory->folio / 2;
	unsigned char *rest = memory->wanted + half, *view = NULL;
	__u64 pfn = folio_pfn(memory->wanted);
	struct result claim;
	bool ok;

	if (memory->fd >= 0) {
		view = mmap(NULL, half, PROT_READ | PROT_WRITE, MAP_SHARED,
			    memory->fd, memory->folio);
		require(view != MAP_FAILED &&
			!madvise(view, half, MADV_POPULATE_WRITE), "mmap");
	}
	/* A file's PMD is not split, but dropped. */
	require(!munmap(memory->wanted, half) &&
		!madvise(rest, half, MADV_POPULATE_WRITE), "munmap");
	ok = claimed(memory, false, rest, PAGE, &claim);
	if (ok) {
		ok = claim.folios == 1 && folio_pfn(rest) == pfn &&
		     folio_size(rest) == memory->folio &&
		     all_are(memory, rest, half, true) &&
		     (!view || all_are(memory, view, half, true));
		ok &= released(&claim) && all_are(memory, rest, half, false) &&
		      (!view || all_are(memory, view, half, false));
	}
	check(ok, "%s of %zu KiB: mapped in part, owned in whole", memory->name,
	      memory->folio >> 10);
	if (view)
		munmap(view, half);
}

/* Three pages: one, one of another folio, and the first again. */
static void mapped_twice(const struct memory *memory)
{
	const size_t offsets[] = { memory->folio, 0, memory->folio };
	unsigned char *area = mmap(NULL, 3 * PAGE, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct xpin_part part;
	struct result claim;
	bool ok;
	int i;

	require(area != MAP_FAILED, "mmap");
	for (i = 0; i < 3; i++) {
		require(mmap(area + i * PAGE, PAGE, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_FIXED, memory->fd, offsets[i]) !=
			MAP_FAILED, "mmap");
	}
	ok = claimed(memory, false, area, 3 * PAGE, &claim);
	if (ok) {
		/* A folio that the range comes back to counts again. */
		ok = claim.pages == 3 && claim.folios == 3 &&
		     all_are(memory, area, 3 * PAGE, true) &&
		     all_are(memory, memory->wanted, memory->folio, true);
		/* Without its first and second page the third still holds it. */
		ok &= !xpin_part(owner, XPIN_IOC_RELEASE, claim.claim_id, 0,
				 2 * PAGE, &part) &&
		      all_are(memory, area, PAGE, true) &&
		      all_are(memory, area + PAGE, PAGE, false) &&
		      all_are(memory, memory->base, PAGE, false);
		ok &= released(&claim) &&
		      all_are(memory, area, 3 * PAGE, false);
	}
	check(ok, "%s of %zu KiB: a page twice in one claim", memory->name,
	      memory->folio >> 10);
	munmap(area, 3 * PAGE);
}

#define TESTS_ANON	4
#define TESTS_FILE	7
#define TESTS_TMPFS	3

static void test(struct memory *memory)
{
	check(is_all_of_order(memory), "%s of %zu KiB: each is a folio",
	      memory->name, memory->folio >> 10);
	one_page(memory, false);
	boundary(memory, false);
	if (memory->fd >= 0) {
		one_page(memory, true);
		boundary(memory, true);
		mapped_twice(memory);
	}
	in_part(memory);
	memory_destroy(memory);
}

static void middle(bool shmem, size_t size)
{
	struct memory memory;

	if (skip_without(shmem ? FEATURE_SHMEM_MIDDLE : FEATURE_ANON_MIDDLE,
			 shmem ? TESTS_FILE : TESTS_ANON))
		return;
	require(set_middle_folios(shmem, size),
		"the kernel does not offer an order");
	memory_create_as(&memory, shmem ? MEMORY_SHMEM_MIDDLE :
			 MEMORY_ANON_MIDDLE, size, -1);
	set_middle_folios(shmem, MIDDLE);
	memory.name = shmem ? "memfd folio" : "anonymous folio";
	test(&memory);
}

/* What huge= of a mount of tmpfs says, with memory that asks for large folios. */
static const struct mount_option {
	const char *huge;
	enum memory_kind kind;
	size_t folio;
	/* Not by faults, which ask for large folios, but by write(). */
	bool write;
} mount_options[] = {
	{ "huge=never", MEMORY_SHMEM_PAGE, PAGE, false },
	{ "huge=advise", MEMORY_SHMEM_LARGE, LARGE, false },
	{ "huge=within_size", MEMORY_SHMEM_LARGE, LARGE, true },
	{ "huge=always", MEMORY_SHMEM_LARGE, LARGE, true },
};

static void on_tmpfs(const struct mount_option *option)
{
	static const char page[PAGE];
	struct memory memory;
	size_t offset;
	int fd, i;

	if (!LARGE_HAS_PMD && option->folio > PAGE) {
		for (i = 0; i < TESTS_TMPFS; i++)
			skip("tmpfs, %s: its huge folios are of a PMD's size, 512 MiB",
			     option->huge);
		return;
	}
	mkdir(TMPFS, 0700);
	require(!mount("orders", TMPFS, "tmpfs", 0, option->huge), option->huge);
	fd = open(TMPFS "/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	require(fd >= 0 && !ftruncate(fd, MEMORY_LENGTH), "a file on tmpfs");
	for (offset = 0; option->write && offset < MEMORY_LENGTH;
	     offset += PAGE)
		require(pwrite(fd, page, PAGE, offset) == (ssize_t)PAGE,
			"write");

	memory_create_as(&memory, option->kind, option->folio, fd);
	memory.name = option->huge;
	check(is_all_of_order(&memory), "tmpfs, %s: each is a folio of %zu KiB",
	      option->huge, option->folio >> 10);
	one_page(&memory, false);
	boundary(&memory, true);
	memory_destroy(&memory);
	require(!umount(TMPFS), "umount");
}

int main(void)
{
	static const enum memory_kind large[] = {
		MEMORY_ANON_LARGE, MEMORY_ANON_LARGE_PTES, MEMORY_SHMEM_LARGE,
		MEMORY_SHMEM_LARGE_PTES,
	};
	struct memory memory;
	unsigned int plan = 2 * (TESTS_ANON + TESTS_FILE) +
			    TESTS_TMPFS * ARRAY_SIZE(mount_options);
	size_t i, size;

	/* From 4 and from 2 pages up to 1 MiB. */
	for (size = 4 * PAGE; size < LARGE; size *= 2)
		plan += TESTS_ANON;
	for (size = 2 * PAGE; size < LARGE; size *= 2)
		plan += TESTS_FILE;
	ksft_print_header();
	ksft_set_plan(plan);
	stranger_start(&stranger);
	owner = xpin_open();
	other = xpin_open();
	gup = open("/dev/xpin_test_owner", O_RDWR | O_CLOEXEC);
	require(gup >= 0, "open /dev/xpin_test_owner");

	/* Anonymous folios of two pages do not exist. */
	for (size = 4 * PAGE; size < LARGE; size *= 2)
		middle(false, size);
	for (size = 2 * PAGE; size < LARGE; size *= 2)
		middle(true, size);
	for (i = 0; i < ARRAY_SIZE(large); i++) {
		memory_create(&memory, large[i]);
		test(&memory);
	}
	for (i = 0; i < ARRAY_SIZE(mount_options); i++)
		on_tmpfs(&mount_options[i]);

	close(gup);
	close(other);
	close(owner);
	stranger_stop(&stranger);
	ksft_finished();
}
