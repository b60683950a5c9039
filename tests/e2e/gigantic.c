// SPDX-License-Identifier: GPL-2.0
/*
 * Hugetlb pages of 1 GiB, which a PUD maps: of anonymous memory and of a memfd.
 * The kernel must have two of them: hugepagesz=1G hugepages=2.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asm-generic/hugetlb_encode.h>

#include "kselftest.h"
#include "xpin_test.h"
#include "module/xpin_test_owner.h"

#define GIGANTIC	(1024UL << 20)
#define MIDDLE_PAGE	(GIGANTIC / 2)
#define FREE_PAGES	"/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages"

/* So many pins an owner may have of a folio, so often all of its pages. */
#define PINS_MAX	0xfffffUL
#define WHOLE_CLAIMS	(PINS_MAX / (GIGANTIC / PAGE))

static struct stranger stranger;
static int owner, other, gup;

static int free_pages(void)
{
	FILE *file = fopen(FREE_PAGES, "re");
	int pages;

	require(file && fscanf(file, "%d", &pages) == 1, FREE_PAGES);
	fclose(file);
	return pages;
}

static bool page_is(const struct memory *memory, void *addr, int mine)
{
	const bool open = mine != XPIN_PAGE_MINE;
	const int theirs = mine == XPIN_PAGE_FREE ? XPIN_PAGE_FREE :
			   XPIN_PAGE_OTHERS;
	long long slow, fast, vetoes = xpin_stat("vetoes");
	bool ok;

	ok = stranger_reaches(&stranger, memory, addr) == open;
	slow = xpin_stat("vetoes") - vetoes;
	ok &= reached_fast(gup, addr) == open;
	fast = xpin_stat("vetoes") - vetoes - slow;
	/*
	 * What GUP-fast is refused, its slow path is refused again; unless the
	 * call as a whole is.
	 */
	ok &= slow == !open &&
	      fast == (feature_missing(FEATURE_NOTIFIER) ? 1 : 2) * !open;
	ok &= xpin_page_state(owner, addr) == mine &&
	      xpin_page_state(other, addr) == theirs;
	if (!ok)
		ksft_print_msg("page %zu: %s; %lld and %lld vetoes\n",
			       ((unsigned char *)addr - memory->base) / PAGE,
			       state_name(xpin_page_state(owner, addr)), slow,
			       fast);
	return ok;
}

/* At both ends, in the middle, and where a PMD would end. */
static bool all_is(const struct memory *memory, int mine)
{
	static const size_t offsets[] = {
		0, PAGE, LARGE - PAGE, LARGE, MIDDLE_PAGE - PAGE, MIDDLE_PAGE,
		MIDDLE_PAGE + PAGE, GIGANTIC - PAGE,
	};
	bool ok = true;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++)
		ok &= page_is(memory, memory->base + offsets[i], mine);
	return ok;
}

static void create(struct memory *memory, bool memfd)
{
	*memory = (struct memory){
		.name = memfd ? "1 GiB memfd page" : "1 GiB page",
		.folio = GIGANTIC,
		.fd = -1,
	};
	if (memfd) {
		memory->fd = memfd_create("memory", MFD_CLOEXEC | MFD_HUGETLB |
					  HUGETLB_FLAG_ENCODE_1GB);
		require(memory->fd >= 0 && !ftruncate(memory->fd, GIGANTIC),
			"memfd_create");
	}
	memory->base = mmap(NULL, GIGANTIC, PROT_READ | PROT_WRITE, memfd ?
			    MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS |
			    MAP_HUGETLB | HUGETLB_FLAG_ENCODE_1GB, memory->fd,
			    0);
	require(memory->base != MAP_FAILED, "mmap");
	memory->base[0] = 1;
	require(folio_size(memory->base) == GIGANTIC, "a folio of 1 GiB");
}

static void one_page(const struct memory *memory)
{
	unsigned char *middle = memory->base + MIDDLE_PAGE;
	struct xpin_claim claim, refused;
	bool ok;

	ok = all_is(memory, XPIN_PAGE_FREE) &&
	     !xpin_claim(owner, middle, PAGE, 0, &claim) &&
	     claim.pages == 1 && claim.folios == 1 &&
	     all_is(memory, XPIN_PAGE_MINE);
	ok &= xpin_claim(other, memory->base, PAGE, 0, &refused) == -EBUSY &&
	      refused.busy_addr == (uintptr_t)memory->base;
	ok &= !xpin_release(owner, &claim) && all_is(memory, XPIN_PAGE_FREE);
	check(ok, "%s: one page's claim is the whole folio's", memory->name);
}

static void busy(const struct memory *memory)
{
	struct xpin_claim claim;
	bool ok;

	require(!pin_hold(memory->base + GIGANTIC - PAGE, PAGE), "pin");
	ok = xpin_claim(owner, memory->base + PAGE, GIGANTIC - PAGE, 0,
			&claim) == -EBUSY &&
	     claim.busy_addr == (uintptr_t)memory->base + PAGE &&
	     xpin_page_state(owner, memory->base) == XPIN_PAGE_PINNED;
	pin_drop();
	check(ok && all_is(memory, XPIN_PAGE_FREE),
	      "%s: no claim while its last page is pinned", memory->name);
}

static void all_pages(const struct memory *memory)
{
	struct xpin_claim claims[WHOLE_CLAIMS], more;
	bool ok = true;
	size_t i;

	for (i = 0; i < WHOLE_CLAIMS; i++)
		ok &= !xpin_claim(owner, memory->base, GIGANTIC, 0,
				  &claims[i]) &&
		      claims[i].pages == GIGANTIC / PAGE &&
		      claims[i].folios == 1;
	check(ok && all_is(memory, XPIN_PAGE_MINE),
	      "%s: claimed in whole, %zu times", memory->name, i);
	ok = xpin_claim(owner, memory->base, GIGANTIC, 0, &more) == -EOVERFLOW;
	check(ok && all_is(memory, XPIN_PAGE_MINE),
	      "%s: once more is EOVERFLOW, and nothing lost", memory->name);
	for (i = 0; i < WHOLE_CLAIMS; i++)
		ok &= all_is(memory, XPIN_PAGE_MINE) &&
		      !xpin_release(owner, &claims[i]);
	check(ok && all_is(memory, XPIN_PAGE_FREE),
	      "%s: free after the last release", memory->name);
}

static void share(const struct memory *memory)
{
	struct xpin_claim claim;
	struct xpin_part part;
	bool ok;

	require(!xpin_claim(owner, memory->base, GIGANTIC, 0, &claim), "claim");
	ok = !xpin_part(owner, XPIN_IOC_SHARE, claim.claim_id, 0, MIDDLE_PAGE,
			&part) && part.refused == MIDDLE_PAGE / PAGE &&
	     all_is(memory, XPIN_PAGE_MINE);
	ok &= !xpin_part(owner, XPIN_IOC_SHARE, claim.claim_id, MIDDLE_PAGE,
			 MIDDLE_PAGE, &part) && !part.refused &&
	      all_is(memory, XPIN_PAGE_MINE_SHARED);
	ok &= !xpin_part(owner, XPIN_IOC_UNSHARE, claim.claim_id, 0, XPIN_WHOLE,
			 &part) && all_is(memory, XPIN_PAGE_MINE);
	check(ok && !xpin_release(owner, &claim) &&
	      all_is(memory, XPIN_PAGE_FREE), "%s: shared by halves",
	      memory->name);
}

/* The claim keeps the page from its pool as long as it is not released. */
static void unmapped(struct memory *memory)
{
	struct xpin_claim claim;
	int pages = free_pages();
	bool ok;

	ok = !xpin_claim(owner, memory->base, PAGE, 0, &claim);
	munmap(memory->base, GIGANTIC);
	if (memory->fd >= 0)
		close(memory->fd);
	ok &= free_pages() == pages && !xpin_release(owner, &claim) &&
	      free_pages() == pages + 1;
	check(ok, "%s: the claim outlives its mapping, and no more",
	      memory->name);
}

static void by_file(const struct memory *memory)
{
	struct xpin_claim_memfd file;
	struct xpin_claim claim;
	bool ok;

	if (skip_without(FEATURE_MEMFD_PIN, 1))
		return;
	ok = !xpin_claim_memfd(owner, memory->fd, MIDDLE_PAGE - PAGE, 2 * PAGE,
			       0, &file) && file.pages == 2 &&
	     file.folios == 1 && all_is(memory, XPIN_PAGE_MINE);
	claim.claim_id = file.claim_id;
	check(ok && !xpin_release(owner, &claim) &&
	      all_is(memory, XPIN_PAGE_FREE), "%s: claimed by the file",
	      memory->name);
}

static bool limit(size_t bytes)
{
	const struct rlimit memlock = { bytes, GIGANTIC };

	return !setrlimit(RLIMIT_MEMLOCK, &memlock);
}

/* In a process that root's capabilities don't exempt. */
static bool counted_in_whole(const struct memory *memory)
{
	int fd = xpin_open();
	struct xpin_claim claim, again;

	return limit(GIGANTIC - PAGE) && !setuid(65534) &&
	       xpin_claim(fd, memory->base, PAGE, 0, &claim) == -ENOMEM &&
	       locked_kb() == 0 && limit(GIGANTIC) &&
	       !xpin_claim(fd, memory->base, PAGE, 0, &claim) &&
	       locked_kb() == GIGANTIC / 1024 &&
	       !xpin_claim(fd, memory->base, GIGANTIC, 0, &again) &&
	       locked_kb() == GIGANTIC / 1024 && !xpin_release(fd, &claim) &&
	       !xpin_release(fd, &again) && locked_kb() == 0;
}

static void memlock(const struct memory *memory)
{
	pid_t pid = fork();
	int status;

	require(pid >= 0, "fork");
	if (!pid)
		_exit(!counted_in_whole(memory));
	require(waitpid(pid, &status, 0) == pid, "waitpid");
	check(!status, "%s: RLIMIT_MEMLOCK counts all of it", memory->name);
}

int main(void)
{
	struct memory memory;
	int memfd;

	ksft_print_header();
	ksft_set_plan(2 * 7 + 2);
	stranger_start(&stranger);
	owner = xpin_open();
	other = xpin_open();
	gup = open("/dev/xpin_test_owner", O_RDWR | O_CLOEXEC);
	require(gup >= 0, "open /dev/xpin_test_owner");

	for (memfd = 0; memfd < 2; memfd++) {
		create(&memory, memfd);
		one_page(&memory);
		busy(&memory);
		all_pages(&memory);
		share(&memory);
		if (memfd) {
			by_file(&memory);
			memlock(&memory);
		}
		unmapped(&memory);
	}

	close(gup);
	close(other);
	close(owner);
	stranger_stop(&stranger);
	ksft_finished();
}
