// SPDX-License-Identifier: GPL-2.0
/*
 * Every allocation and every copy to or from user memory of a call fails once:
 * the first, the second, and so on, until the call is over before its turn comes.
 * Each time the call fails with ENOMEM or EFAULT and leaves all as it was, or it
 * does without and succeeds; and the same call without a failure succeeds then.
 *
 * /proc/thread-self/fail-nth makes the n-th of them fail, in this thread only.
 * The kernel's arrays try twice to get a node, so for them one failure is none:
 * in the last part all allocations of nodes fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"

/* More than any call here needs: the loop has an end. */
#define MOST	10000

static int fail_nth;

/* The file copies, too: taking the order back may be what it makes fail. */
static void order(unsigned int n)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", n);

	while (pwrite(fail_nth, text, length, 0) != length)
		require(errno == EFAULT, "write to fail-nth");
}

/* Was the order carried out? It ends in any case. */
static bool carried_out(void)
{
	char text[16] = "";
	ssize_t length = pread(fail_nth, text, sizeof(text) - 1, 0);

	require(length > 0 || errno == EFAULT, "read fail-nth");
	order(0);
	return length > 0 && !atoi(text);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	require(fd >= 0 && write(fd, text, strlen(text)) > 0, path);
	close(fd);
}

static void set(const char *file, const char *value)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s", file);
	write_file(path, value);
}

/* All allocations may fail, those that sleep and those for user memory, too. */
static void set_up(void)
{
	set("failslab/ignore-gfp-wait", "N");
	set("failslab/cache-filter", "N");
	set("fail_page_alloc/ignore-gfp-wait", "N");
	set("fail_page_alloc/ignore-gfp-highmem", "N");
	set("fail_page_alloc/min-order", "0");
	set("failslab/verbose", "0");
	set("fail_page_alloc/verbose", "0");
	set("fail_usercopy/verbose", "0");
	fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	require(fail_nth >= 0, "fail-nth");
}

/* --- What is claimed --- */

/* An area is that many bytes of small folios, and after them one large folio. */
#define SMALL	(2 * CHUNK * PAGE)
/* So many of the small folios, and the large one, are more than a chunk. */
#define BEFORE	(CHUNK + 100 - LARGE / PAGE)

/**
 * struct scene - memory, and what a claim of it adds to the books
 * @name: for people
 * @first: byte in the area
 * @pages: how many
 * @timeout_ns: how long the claim may wait
 * @entries: folios owned
 * @locked_kb: charged: whole folios
 * @fresh: not faulted in yet
 * @touched: fresh, but then touched, so that it is movable and must migrate
 * @again: the owner has a page of the same folio already
 * @memfd: of the memfd, and claimed by XPIN_IOC_CLAIM_MEMFD
 */
static const struct scene {
	const char *name;
	size_t first;
	size_t pages;
	__u64 timeout_ns;
	long long entries;
	long long locked_kb;
	bool fresh;
	bool touched;
	bool again;
	bool memfd;
} scenes[] = {
	{
		.name = "small folios",
		.pages = 3, .entries = 3, .locked_kb = 3 * PAGE / 1024,
	}, {
		.name = "a large folio",
		.first = SMALL, .pages = 4, .entries = 1,
		.locked_kb = LARGE / 1024,
	}, {
		.name = "small folios and a large one, two chunks",
		.first = SMALL - BEFORE * PAGE, .pages = BEFORE + LARGE / PAGE,
		.entries = BEFORE + 1,
		.locked_kb = (BEFORE * PAGE + LARGE) / 1024,
	}, {
		.name = "a folio owned already",
		.first = SMALL, .pages = 4, .again = true,
	}, {
		.name = "memory not faulted in",
		.pages = 3, .entries = 3, .locked_kb = 3 * PAGE / 1024,
		.fresh = true,
	}, {
		.name = "memory that must migrate",
		.pages = 3, .entries = 3, .locked_kb = 3 * PAGE / 1024,
		.fresh = true, .touched = true,
	}, {
		.name = "memory that must migrate, with time",
		.pages = 3, .entries = 3, .locked_kb = 3 * PAGE / 1024,
		.fresh = true, .touched = true, .timeout_ns = NSEC_PER_SEC,
	}, {
		.name = "small folios of a memfd",
		.pages = 3, .entries = 3, .locked_kb = 3 * PAGE / 1024,
		.memfd = true,
	}, {
		.name = "a large folio of a memfd",
		.first = SMALL, .pages = 4, .entries = 1,
		.locked_kb = LARGE / 1024, .memfd = true,
	}, {
		.name = "a memfd that must migrate",
		.pages = 3, .entries = 3, .locked_kb = 3 * PAGE / 1024,
		.fresh = true, .touched = true, .memfd = true,
	},
};

static unsigned char *area, *memfd_area;
static int owner, watcher, memfd;
static struct xpin_claim claim, sibling;

static unsigned char *start(const struct scene *scene)
{
	return (scene->memfd ? memfd_area : area) + scene->first;
}

static int claim_memfd(const struct scene *scene, __u64 timeout_ns)
{
	struct xpin_claim_memfd request = {
		.size = sizeof(request),
		.fd = memfd,
		.offset = scene->first,
		.length = scene->pages * PAGE,
		.timeout_ns = timeout_ns,
	};
	int error = ioctl(owner, XPIN_IOC_CLAIM_MEMFD, &request) ? -errno : 0;

	claim.claim_id = request.claim_id;
	return error;
}

static int claim_scene(const struct scene *scene, __u64 timeout_ns)
{
	if (scene->memfd)
		return claim_memfd(scene, timeout_ns);
	return xpin_claim(owner, start(scene), scene->pages * PAGE, timeout_ns,
			  &claim);
}

enum stage { NOTHING, CLAIMED, SHARED };

struct books {
	long long pins;
	long long entries;
	long long owners;
	long long locked_kb;
};

/* What is not as it should be. */
static char difference[256];

static void read_books(struct books *books)
{
	books->pins = pins_held();
	books->entries = xpin_stat("entries");
	books->owners = xpin_stat("owners");
	books->locked_kb = locked_kb();
}

static bool same_books(const struct books *books, const struct books *expected)
{
	if (!memcmp(books, expected, sizeof(*books)))
		return true;
	snprintf(difference, sizeof(difference),
		 "pins %lld, entries %lld, owners %lld, locked %lld kB, not %lld, %lld, %lld, %lld",
		 books->pins, books->entries, books->owners,
		 books->locked_kb, expected->pins, expected->entries,
		 expected->owners, expected->locked_kb);
	return false;
}

/* Of the scene, while nothing of it is claimed. */
static struct books base;

/* Is @page of a folio of which the owner has another claim? */
static bool owned_anyway(const unsigned char *page)
{
	const unsigned char *other = (const unsigned char *)sibling.addr;
	const unsigned char *large = area + SMALL;

	return sibling.claim_id &&
	       (page == other ||
		(page >= large && page < large + LARGE &&
		 other >= large && other < large + LARGE));
}

/* Page by page, from inside and from outside, and the books. */
static bool at_stage(const struct scene *scene, enum stage stage)
{
	static const int states[] = {
		[NOTHING] = XPIN_PAGE_FREE,
		[CLAIMED] = XPIN_PAGE_MINE,
		[SHARED] = XPIN_PAGE_MINE_SHARED,
	};
	struct books books, sum = base;
	size_t i;

	for (i = 0; i < scene->pages; i++) {
		unsigned char *page = start(scene) + i * PAGE;
		int expected = owned_anyway(page) ? XPIN_PAGE_MINE :
						    states[stage];
		int mine = xpin_page_state(owner, page);
		int others = xpin_page_state(watcher, page);

		/* A call that failed need not have faulted in all of it. */
		if (mine == XPIN_PAGE_NONE && scene->fresh && stage == NOTHING)
			continue;
		if (mine == expected &&
		    others == (mine == XPIN_PAGE_FREE ? XPIN_PAGE_FREE :
							XPIN_PAGE_OTHERS))
			continue;
		snprintf(difference, sizeof(difference),
			 "page %zu is %s, not %s; others see %s", i,
			 state_name(mine), state_name(expected),
			 state_name(others));
		return false;
	}

	if (stage != NOTHING) {
		sum.pins += scene->pages;
		sum.entries += scene->entries;
		sum.locked_kb += scene->locked_kb;
	}
	read_books(&books);
	return same_books(&books, &sum);
}

static void map_small(void)
{
	require(mmap(area, SMALL, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == area &&
		!madvise(area, SMALL, MADV_NOHUGEPAGE), "mmap");
}

static void touch(const struct scene *scene)
{
	size_t i;

	for (i = 0; i < scene->pages; i++)
		start(scene)[i * PAGE] = 1;
}

static void bring_to(const struct scene *scene, enum stage stage)
{
	struct xpin_part part;

	if (scene->fresh && scene->memfd)
		/* Only the small folios, which are in front. */
		require(!fallocate(memfd, FALLOC_FL_PUNCH_HOLE |
				   FALLOC_FL_KEEP_SIZE, 0, SMALL), "punch");
	else if (scene->fresh)
		map_small();
	if (scene->touched) {
		touch(scene);
		require(in_movable_zone(start(scene)), "movable memory");
	}
	/* Now and then movable memory must be waited for. */
	if (stage != NOTHING)
		require(!claim_scene(scene, NSEC_PER_SEC), "claim");
	if (stage == SHARED)
		require(!xpin_part(owner, XPIN_IOC_SHARE, claim.claim_id, 0,
				   XPIN_WHOLE, &part), "share");
}

/* --- The calls --- */

static int call_claim(const struct scene *scene)
{
	return claim_scene(scene, scene->timeout_ns);
}

static int call_part(unsigned long request)
{
	struct xpin_part part;

	return xpin_part(owner, request, claim.claim_id, 0, XPIN_WHOLE, &part);
}

static int call_share(const struct scene *scene)
{
	(void)scene;
	return call_part(XPIN_IOC_SHARE);
}

static int call_unshare(const struct scene *scene)
{
	(void)scene;
	return call_part(XPIN_IOC_UNSHARE);
}

static int call_release(const struct scene *scene)
{
	(void)scene;
	return call_part(XPIN_IOC_RELEASE);
}

static const struct operation {
	const char *name;
	int (*call)(const struct scene *scene);
	enum stage from;
	enum stage to;
} operations[] = {
	{ "CLAIM", call_claim, NOTHING, CLAIMED },
	{ "SHARE", call_share, CLAIMED, SHARED },
	{ "UNSHARE", call_unshare, SHARED, CLAIMED },
	{ "RELEASE", call_release, CLAIMED, NOTHING },
	{ "RELEASE of what is shared", call_release, SHARED, NOTHING },
};

/* The call failed with @error: all is as before, and without a failure it works. */
static bool recovers(const struct scene *scene,
		     const struct operation *operation, int error)
{
	bool done = false;
	int again;

	snprintf(difference, sizeof(difference), "%s", strerror(-error));
	if (error != -ENOMEM && error != -EFAULT)
		return false;
	if (!at_stage(scene, operation->from)) {
		/*
		 * Perhaps only the answer could not be told. What was asked for
		 * is done and may be asked for again; but a claim that can't be
		 * named must be undone.
		 */
		done = error == -EFAULT && operation->from != NOTHING &&
		       at_stage(scene, operation->to);
		if (!done)
			return false;
	}
	again = operation->call(scene);
	snprintf(difference, sizeof(difference), "when repeated: %s",
		 strerror(-again));
	return !again || (done && operation->to == NOTHING && again == -ENOENT);
}

static void fail_each(const struct scene *scene,
		      const struct operation *operation)
{
	unsigned int n = 0, failed = 0;
	bool hit, ok;
	int error;

	do {
		bring_to(scene, operation->from);
		order(++n);
		error = operation->call(scene);
		hit = carried_out();

		failed += !!error;
		ok = (hit || !error) &&
		     (!error || recovers(scene, operation, error)) &&
		     at_stage(scene, operation->to);
		if (ok && operation->to != NOTHING)
			ok = !xpin_release(owner, &claim) &&
			     at_stage(scene, NOTHING);
	} while (ok && hit && n < MOST);

	if (!ok)
		ksft_print_msg("failure %u: %s, then: %s\n", n,
			       strerror(-error), difference);
	ksft_print_msg("%s, %s: %u could fail, the call failed with %u\n",
		       scene->name, operation->name, n - 1, failed);
	check(ok && failed && n < MOST, "%s: %s", scene->name, operation->name);
}

/* A close does not fail, and it releases all. */
static void fail_close(const struct scene *scene)
{
	unsigned int n = 0;
	struct books books;
	bool hit, ok;

	do {
		bring_to(scene, CLAIMED);
		order(++n);
		ok = !close(owner);
		hit = carried_out();
		owner = xpin_open();
		read_books(&books);
		ok = ok && same_books(&books, &base) &&
		     xpin_all_pages(owner, start(scene), scene->pages * PAGE,
				    XPIN_PAGE_FREE);
	} while (ok && hit && n < MOST);
	check(ok && n < MOST, "%s: close", scene->name);
}

static void fail_query(const struct scene *scene)
{
	unsigned int n = 0, failed = 0;
	bool hit, ok;
	int state;

	bring_to(scene, CLAIMED);
	do {
		order(++n);
		state = xpin_page_state(owner, start(scene));
		hit = carried_out();
		failed += state < 0;
		ok = (state == XPIN_PAGE_MINE || (hit && state == -EFAULT)) &&
		     at_stage(scene, CLAIMED);
	} while (ok && hit && n < MOST);
	require(!xpin_release(owner, &claim), "release");
	check(ok && failed && n < MOST, "%s: QUERY", scene->name);
}

/* Memory that the module needs once for all claims is allocated by the first. */
static void fail_first_claim(void)
{
	/* One folio: a second one would get what the first did not. */
	const struct scene one = {
		.name = "one folio", .pages = 1, .entries = 1,
		.locked_kb = PAGE / 1024,
	}, *scene = &one;
	unsigned int n = 0, failed = 0;
	bool hit, ok;
	int error;

	read_books(&base);
	require(!module_unload("xpin_test_owner"), "unload xpin_test_owner");
	do {
		close(owner);
		close(watcher);
		require(!module_unload_soon("xpin") && !module_load("/xpin.ko"),
			"load xpin again");
		owner = xpin_open();
		watcher = xpin_open();
		order(++n);
		error = claim_scene(scene, 0);
		hit = carried_out();
		failed += !!error;
		ok = (hit || !error) &&
		     (!error || recovers(scene, &operations[0], error)) &&
		     at_stage(scene, CLAIMED);
		ok = ok && !xpin_release(owner, &claim) &&
		     at_stage(scene, NOTHING);
	} while (ok && hit && n < MOST);
	require(!module_load("/xpin_test_owner.ko"), "load xpin_test_owner");

	if (!ok)
		ksft_print_msg("failure %u: %s, then: %s\n", n,
			       strerror(-error), difference);
	ksft_print_msg("first CLAIM: %u could fail, the call failed with %u\n",
		       n - 1, failed);
	check(ok && failed && n < MOST, "the first CLAIM");
}

static void fail_open(void)
{
	unsigned int n = 0, failed = 0;
	struct books before, after;
	int fd, error;
	bool hit, ok;

	read_books(&before);
	do {
		order(++n);
		fd = open("/dev/xpin", O_RDWR | O_CLOEXEC);
		error = fd < 0 ? errno : 0;
		hit = carried_out();
		if (!error)
			close(fd);
		failed += !!error;
		read_books(&after);
		ok = (!error || (hit && (error == ENOMEM || error == EFAULT))) &&
		     same_books(&after, &before);
	} while (ok && hit && n < MOST);
	ksft_print_msg("open: %u could fail, the call failed with %u\n", n - 1,
		       failed);
	check(ok && failed && n < MOST, "open");
}

/* Every allocation of an array's node by this process fails from now on, or not. */
static void no_nodes(bool fail)
{
	write_file("/proc/thread-self/make-it-fail", fail ? "1" : "0");
}

static void without_nodes(void)
{
	/*
	 * A node has 64 entries. The first of the folios is owned already, and
	 * needs none; but not all of them can find room next to it.
	 */
	const struct scene scene = {
		.name = "without nodes", .pages = 100, .entries = 99,
		.locked_kb = 99 * PAGE / 1024,
	};
	unsigned char *lowest = start(&scene);
	int error, fd;
	size_t i;
	bool ok;

	/* Otherwise tools/vm/e2e did it. */
	if (!feature_missing(FEATURE_FAILSLAB_FILE))
		write_file("/sys/kernel/slab/radix_tree_node/failslab", "1");
	set("failslab/cache-filter", "Y");
	set("failslab/task-filter", "Y");
	set("failslab/times", "-1");
	set("failslab/probability", "100");

	touch(&scene);
	close(owner);
	close(watcher);
	no_nodes(true);
	fd = open("/dev/xpin", O_RDWR | O_CLOEXEC);
	error = errno;
	no_nodes(false);
	check(fd < 0 && error == ENOMEM && !xpin_stat("owners"),
	      "open without nodes");

	owner = xpin_open();
	watcher = xpin_open();
	/* Once, so that it needs not migrate any more. */
	bring_to(&scene, CLAIMED);
	require(!xpin_release(owner, &claim), "release");
	for (i = 0; i < scene.pages; i++) {
		if (page_pfn(start(&scene) + i * PAGE) < page_pfn(lowest))
			lowest = start(&scene) + i * PAGE;
	}
	require(!xpin_claim(owner, lowest, PAGE, 0, &sibling), "claim");
	read_books(&base);
	no_nodes(true);
	error = claim_scene(&scene, 0);
	no_nodes(false);
	check(error == -ENOMEM && recovers(&scene, &operations[0], error) &&
	      at_stage(&scene, CLAIMED), "CLAIM without nodes");

	no_nodes(true);
	ok = !call_share(&scene) && !call_unshare(&scene) &&
	     !call_release(&scene);
	no_nodes(false);
	check(ok && at_stage(&scene, NOTHING),
	      "SHARE, UNSHARE and RELEASE without nodes");

	bring_to(&scene, CLAIMED);
	no_nodes(true);
	ok = !close(owner);
	no_nodes(false);
	check(ok && xpin_stat("owners") == 1 && !xpin_stat("entries") &&
	      xpin_all_pages(watcher, start(&scene), scene.pages * PAGE,
			     XPIN_PAGE_FREE), "close without nodes");
	owner = xpin_open();

	set("failslab/probability", "0");
	set("failslab/task-filter", "N");
	set("failslab/cache-filter", "N");
}

static unsigned char *map_area(int fd)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	unsigned char *base;

	base = mmap(NULL, SMALL + 2 * LARGE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(base != MAP_FAILED, "mmap");
	base += LARGE - (uintptr_t)base % LARGE;
	require(mmap(base, SMALL + LARGE, PROT_READ | PROT_WRITE,
		     flags | MAP_FIXED, fd, 0) == base, "mmap");
	require(!madvise(base, SMALL, MADV_NOHUGEPAGE) &&
		!madvise(base + SMALL, LARGE, MADV_HUGEPAGE), "madvise");
	base[SMALL] = 1;
	require(folio_size(base + SMALL) == LARGE, "a large folio");
	return base;
}

int main(void)
{
	const struct scene *scene;
	size_t i, j;

	ksft_print_header();
	ksft_set_plan(ARRAY_SIZE(scenes) * ARRAY_SIZE(operations) + 8);
	if (skip_without(FEATURE_FAULT_INJECTION,
			 ARRAY_SIZE(scenes) * ARRAY_SIZE(operations) + 8))
		ksft_finished();
	set_up();
	area = map_area(-1);
	memfd = memfd_create("failnth", MFD_CLOEXEC);
	require(memfd >= 0 && !ftruncate(memfd, SMALL + LARGE), "memfd");
	memfd_area = map_area(memfd);
	fail_open();
	owner = xpin_open();
	watcher = xpin_open();

	for (i = 0; i < ARRAY_SIZE(scenes); i++) {
		scene = &scenes[i];
		if (scene->memfd &&
		    skip_without(FEATURE_MEMFD_PIN, ARRAY_SIZE(operations)))
			continue;
		if (scene->touched &&
		    skip_without(FEATURE_MOVABLE, ARRAY_SIZE(operations)))
			continue;
		if (!scene->fresh)
			touch(scene);
		if (scene->again)
			require(!xpin_claim(owner, start(scene) + 7 * PAGE,
					    PAGE, NSEC_PER_SEC, &sibling),
				"claim");
		/* Once, so that what is not fresh needs not migrate any more. */
		bring_to(scene, CLAIMED);
		require(!xpin_release(owner, &claim), "release");
		read_books(&base);
		for (j = 0; j < ARRAY_SIZE(operations); j++)
			fail_each(scene, &operations[j]);
		if (scene->again) {
			require(!xpin_release(owner, &sibling), "release");
			sibling.claim_id = 0;
		}
	}
	read_books(&base);
	fail_close(&scenes[0]);
	fail_query(&scenes[0]);
	fail_first_claim();
	without_nodes();

	close(owner);
	close(watcher);
	ksft_finished();
}
