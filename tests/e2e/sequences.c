// SPDX-License-Identifier: GPL-2.0
/*
 * Share, unshare and release in every order, on two sets of pages of one owner
 * that overlap: in one folio, or in a page that both hold. Of all sequences in
 * which no operation comes twice and each has something to do, as many as there
 * is time for are tried, evenly chosen. A small model says after each step what
 * must be: a folio is refused as long as its owner holds any page of it
 * exclusively, and is somebody's as long as he holds any at all. A stranger's
 * pin says whether it is so, and so do queries.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"
#include "module/xpin_test_owner.h"

/* A holds pages 0 and 1, B holds 1 and 2, nobody ever holds 3. */
#define PAGES		4
#define PINNED_PAGE	1
/* The longest sequence, and how many of them are tried of each kind of memory. */
#define LENGTH		7
#define SEQUENCES	60

enum set { A, B, SETS };
enum hold { NONE, EXCLUSIVE, SHARED };

struct model {
	enum hold held[SETS][PAGES];
};

enum action { CLAIM, SHARE, UNSHARE, UNSHARE_WHILE_PINNED, RELEASE, PLAIN_UNPIN };

struct operation {
	const char *name;
	enum action action;
	enum set set;
	/* Pages of the set, from its first on. */
	unsigned int first;
	unsigned int pages;
};

/**
 * struct owner - how a kind of owner does what the sequences say
 * @name: for people
 * @operations: what he can do: the first begins each sequence
 * @nr: how many
 * @begin: called before a sequence
 * @end: called after it: nothing stays owned
 * @act: does it, and returns false if it does not return what it should
 * @fd: of /dev/xpin if he can ask XPIN_IOC_QUERY
 */
struct owner {
	const char *name;
	const struct operation *operations;
	unsigned int nr;
	void (*begin)(void);
	void (*end)(void);
	bool (*act)(const struct memory *memory,
		    const struct operation *operation,
		    const struct model *before, const struct model *after);
	int *fd;
};

static struct stranger stranger;
static int file, kernel_owner, watcher;

/* --- The model --- */

static bool same_folio(const struct memory *memory, unsigned int a,
		       unsigned int b)
{
	return memory->folio > PAGE || a == b;
}

/* How many holds of @hold there are on the folio of @page. */
static unsigned int holds(const struct model *model,
			  const struct memory *memory, unsigned int page,
			  enum hold hold)
{
	unsigned int set, other, count = 0;

	for (set = 0; set < SETS; set++) {
		for (other = 0; other < PAGES; other++)
			count += model->held[set][other] == hold &&
				 same_folio(memory, page, other);
	}
	return count;
}

static bool refused(const struct model *model, const struct memory *memory,
		    unsigned int page)
{
	return holds(model, memory, page, EXCLUSIVE);
}

static bool is_free(const struct model *model, const struct memory *memory,
		    unsigned int page)
{
	return !holds(model, memory, page, EXCLUSIVE) &&
	       !holds(model, memory, page, SHARED);
}

/* Does @page of set A or B belong to the operation? */
static bool concerns(const struct operation *operation, unsigned int page)
{
	unsigned int first = operation->set + operation->first;

	return page >= first && page < first + operation->pages;
}

/* The lowest page that an unshare is about, in the folio somebody pins. */
static int busy_page(const struct model *model, const struct memory *memory,
		     const struct operation *operation)
{
	int page;

	for (page = 0; page < PAGES; page++) {
		if (concerns(operation, page) &&
		    model->held[operation->set][page] == SHARED &&
		    same_folio(memory, page, PINNED_PAGE))
			return page;
	}
	return -1;
}

/* Has it something to do? Then it is done to the model. */
static bool apply(struct model *model, const struct memory *memory,
		  const struct operation *operation)
{
	static const struct {
		enum hold from;
		enum hold also_from;
		enum hold to;
	} changes[] = {
		[CLAIM] = { NONE, NONE, EXCLUSIVE },
		[SHARE] = { EXCLUSIVE, EXCLUSIVE, SHARED },
		[UNSHARE] = { SHARED, SHARED, EXCLUSIVE },
		[RELEASE] = { EXCLUSIVE, SHARED, NONE },
		[PLAIN_UNPIN] = { EXCLUSIVE, EXCLUSIVE, NONE },
	};
	enum action action = operation->action;
	enum hold *held = model->held[operation->set];
	bool changed = false;
	unsigned int page;

	if (action == UNSHARE_WHILE_PINNED)
		return !refused(model, memory, PINNED_PAGE) &&
		       busy_page(model, memory, operation) >= 0;
	for (page = 0; page < PAGES; page++) {
		if (concerns(operation, page) &&
		    (held[page] == changes[action].from ||
		     held[page] == changes[action].also_from)) {
			held[page] = changes[action].to;
			changed = true;
		}
	}
	return changed;
}

/* --- Is it so? --- */

static bool page_is_right(const struct owner *owner,
			  const struct memory *memory,
			  const struct model *model, unsigned int page,
			  bool reached)
{
	unsigned char *addr = memory->wanted + page * PAGE;
	bool is_refused = refused(model, memory, page);
	bool nobodys = is_free(model, memory, page);
	int mine = nobodys ? XPIN_PAGE_FREE : is_refused ? XPIN_PAGE_MINE :
		   XPIN_PAGE_MINE_SHARED;
	int theirs = nobodys ? XPIN_PAGE_FREE : XPIN_PAGE_OTHERS;
	int seen = xpin_page_state(watcher, addr);

	if (seen != theirs) {
		ksft_print_msg("page %u: %s, not %s, to another owner\n", page,
			       state_name(seen), state_name(theirs));
		return false;
	}
	seen = owner->fd ? xpin_page_state(*owner->fd, addr) : mine;
	if (seen != mine) {
		ksft_print_msg("page %u: %s, not %s, to its owner\n", page,
			       state_name(seen), state_name(mine));
		return false;
	}
	if (reached == is_refused) {
		ksft_print_msg("page %u: a stranger's pin is %s\n", page,
			       is_refused ? "not refused" : "refused");
		return false;
	}
	return true;
}

static bool is_right(const struct owner *owner, const struct memory *memory,
		     const struct model *model)
{
	__u64 reached = stranger_reaches_pages(&stranger, memory,
					       memory->wanted, PAGES);
	bool ok = true;
	unsigned int page;

	for (page = 0; page < PAGES; page++)
		ok &= page_is_right(owner, memory, model, page,
				    reached >> page & 1);
	return ok;
}

/* Anonymous memory can be pinned only by its own process. */
static void foreign_pin(const struct memory *memory, void *addr)
{
	require(!(memory->fd < 0 ? pin_hold(addr, PAGE) :
		  stranger_pin_hold(&stranger, memory, addr, PAGE)),
		"the foreign pin");
}

static void foreign_unpin(const struct memory *memory)
{
	if (memory->fd < 0)
		pin_drop();
	else
		stranger_pin_drop(&stranger);
}

/* --- An owner by /dev/xpin: A and B are claims --- */

static const struct operation file_operations[] = {
	{ "claim A", CLAIM, A, 0, 2 },
	{ "claim B", CLAIM, B, 0, 2 },
	{ "share A", SHARE, A, 0, 2 },
	{ "share part of B", SHARE, B, 1, 1 },
	{ "share B", SHARE, B, 0, 2 },
	{ "unshare A while somebody pins", UNSHARE_WHILE_PINNED, A, 0, 2 },
	{ "unshare A", UNSHARE, A, 0, 2 },
	{ "unshare B", UNSHARE, B, 0, 2 },
	{ "release part of A", RELEASE, A, 0, 1 },
	{ "release A", RELEASE, A, 0, 2 },
	{ "release B", RELEASE, B, 0, 2 },
};

static __u64 claim_ids[SETS];

static void file_begin(void)
{
	claim_ids[A] = 0;
	claim_ids[B] = 0;
}

static void file_end(void)
{
	struct xpin_part part;
	enum set set;

	/* ENOENT if nothing of it is left. */
	for (set = 0; set < SETS; set++)
		xpin_part(file, XPIN_IOC_RELEASE, claim_ids[set], 0, XPIN_WHOLE,
			  &part);
}

static bool file_act(const struct memory *memory,
		     const struct operation *operation,
		     const struct model *before, const struct model *after)
{
	static const unsigned long requests[] = {
		[SHARE] = XPIN_IOC_SHARE,
		[UNSHARE] = XPIN_IOC_UNSHARE,
		[UNSHARE_WHILE_PINNED] = XPIN_IOC_UNSHARE,
		[RELEASE] = XPIN_IOC_RELEASE,
	};
	const bool pinned = operation->action == UNSHARE_WHILE_PINNED;
	unsigned char *addr = memory->wanted + operation->set * PAGE;
	__u64 busy = XPIN_NO_ADDR, still_refused = 0;
	struct xpin_claim claim;
	struct xpin_part part;
	unsigned int page;
	int error;

	if (operation->action == CLAIM) {
		error = xpin_claim(file, addr, operation->pages * PAGE, 0,
				   &claim);
		claim_ids[operation->set] = claim.claim_id;
		return !error;
	}

	if (pinned) {
		foreign_pin(memory, memory->wanted + PINNED_PAGE * PAGE);
		busy = (uintptr_t)memory->wanted +
		       busy_page(before, memory, operation) * PAGE;
	}
	/* A whole claim may have a part that was released before. */
	error = xpin_part(file, requests[operation->action],
			  claim_ids[operation->set], operation->first * PAGE,
			  operation->pages == 2 ? XPIN_WHOLE :
			  operation->pages * PAGE, &part);
	if (pinned)
		foreign_unpin(memory);

	for (page = 0; operation->action == SHARE && page < PAGES; page++)
		still_refused += concerns(operation, page) &&
				 after->held[operation->set][page] != NONE &&
				 refused(after, memory, page);
	if (error == (pinned ? -EBUSY : 0) && part.busy_addr == busy &&
	    part.refused == still_refused)
		return true;
	ksft_print_msg("%s, busy_addr 0x%llx not 0x%llx, %llu refused not %llu\n",
		       strerror(-error), part.busy_addr, busy, part.refused,
		       still_refused);
	return false;
}

/* --- An in-kernel owner: A and B are what he pinned first and last --- */

static const struct operation kernel_operations[] = {
	{ "pin A", CLAIM, A, 0, 2 },
	{ "share A", SHARE, A, 0, 2 },
	{ "unshare A", UNSHARE, A, 0, 2 },
	{ "unpin A", RELEASE, A, 0, 2 },
	{ "plain unpin of A", PLAIN_UNPIN, A, 0, 2 },
	{ "pin B", CLAIM, B, 0, 2 },
	{ "share part of B", SHARE, B, 1, 1 },
	{ "unshare part of B", UNSHARE, B, 1, 1 },
	{ "plain unpin of part of B", PLAIN_UNPIN, B, 1, 1 },
	{ "unpin B", RELEASE, B, 0, 2 },
};

static void kernel_begin(void)
{
	kernel_owner = open("/dev/xpin_test_owner", O_RDWR | O_CLOEXEC);
	require(kernel_owner >= 0, "open /dev/xpin_test_owner");
}

static void kernel_end(void)
{
	close(kernel_owner);
}

/* How many pages of the model were pinned after @page of @set. */
static unsigned int pinned_after(const struct model *model, enum set set,
				 unsigned int page)
{
	unsigned int count = 0;

	while (++page < PAGES || (page = 0, ++set < SETS))
		count += model->held[set][page] != NONE;
	return count;
}

static bool kernel_act(const struct memory *memory,
		       const struct operation *operation,
		       const struct model *before, const struct model *after)
{
	static const unsigned long requests[] = {
		[CLAIM] = XPIN_TEST_OWNER_PIN,
		[SHARE] = XPIN_TEST_OWNER_SHARE,
		[UNSHARE] = XPIN_TEST_OWNER_UNSHARE,
		[RELEASE] = XPIN_TEST_OWNER_UNPIN,
		[PLAIN_UNPIN] = XPIN_TEST_OWNER_PLAIN_UNPIN,
	};
	const enum set set = operation->set;
	struct xpin_test_owner_call call = { .pages = 1 };
	unsigned long request;
	int page;

	if (operation->action == CLAIM) {
		call.addr = (uintptr_t)memory->wanted + set * PAGE;
		call.pages = operation->pages;
		return !ioctl(kernel_owner, XPIN_TEST_OWNER_PIN, &call);
	}
	/* What was pinned last goes first, so that what is before it stays. */
	for (page = PAGES - 1; page >= 0; page--) {
		if (before->held[set][page] == after->held[set][page])
			continue;
		request = requests[operation->action];
		if (request == XPIN_TEST_OWNER_UNPIN &&
		    before->held[set][page] == SHARED)
			request = XPIN_TEST_OWNER_UNPIN_SHARED;
		call.skip = pinned_after(after, set, page);
		if (ioctl(kernel_owner, request, &call))
			return false;
	}
	return true;
}

static const struct owner owners[] = {
	{
		.name = "/dev/xpin",
		.operations = file_operations,
		.nr = ARRAY_SIZE(file_operations),
		.begin = file_begin,
		.end = file_end,
		.act = file_act,
		.fd = &file,
	},
	{
		.name = "in-kernel owner",
		.operations = kernel_operations,
		.nr = ARRAY_SIZE(kernel_operations),
		.begin = kernel_begin,
		.end = kernel_end,
		.act = kernel_act,
	},
};

/* --- All sequences --- */

static struct {
	const struct owner *owner;
	const struct memory *memory;
	unsigned int steps[LENGTH];
	unsigned int length;
	/* How many there are; every how many-th is tried, if any. */
	long nr;
	long stride;
	long tried;
	bool failed;
} sequences;

static bool step_is_right(const struct operation *operation,
			  struct model *model)
{
	const struct model before = *model;

	require(apply(model, sequences.memory, operation), operation->name);
	return sequences.owner->act(sequences.memory, operation, &before,
				    model) &&
	       is_right(sequences.owner, sequences.memory, model);
}

static void try_sequence(void)
{
	const struct owner *owner = sequences.owner;
	struct model model = { 0 };
	unsigned int i, j;
	bool ok = true;

	owner->begin();
	for (i = 0; ok && i < sequences.length; i++) {
		ok = step_is_right(&owner->operations[sequences.steps[i]],
				   &model);
		for (j = 0; !ok && j <= i; j++)
			ksft_print_msg("step %u: %s\n", j + 1,
				       owner->operations[sequences.steps[j]].name);
	}
	owner->end();
	memset(&model, 0, sizeof(model));
	ok &= is_right(owner, sequences.memory, &model);
	sequences.failed |= !ok;
	sequences.tried++;
}

/* Where nobody hears of plain unpins, an owner must not make any. */
static bool is_forbidden(const struct operation *operation)
{
	return operation->action == PLAIN_UNPIN &&
	       feature_missing(FEATURE_PLAIN_UNPIN);
}

/* Goes through all that begin with what is there, in @model after @done. */
static void explore(const struct model *model, unsigned int done)
{
	const struct owner *owner = sequences.owner;
	bool last = true;
	unsigned int i;

	for (i = 0; sequences.length < LENGTH && i < owner->nr; i++) {
		struct model after = *model;

		if (done >> i & 1 || (!done && i) ||
		    is_forbidden(&owner->operations[i]) ||
		    !apply(&after, sequences.memory, &owner->operations[i]))
			continue;
		last = false;
		sequences.steps[sequences.length++] = i;
		explore(&after, done | 1U << i);
		sequences.length--;
	}
	if (!last || sequences.failed)
		return;
	if (sequences.stride && sequences.nr % sequences.stride == 0)
		try_sequence();
	sequences.nr++;
}

static void in_every_order(const struct owner *owner,
			   const struct memory *memory)
{
	const struct model nothing = { 0 };
	long wanted = repetitions(SEQUENCES), nr;

	memset(&sequences, 0, sizeof(sequences));
	sequences.owner = owner;
	sequences.memory = memory;
	explore(&nothing, 0);
	nr = sequences.nr;
	sequences.nr = 0;
	sequences.stride = nr > wanted ? nr / wanted : 1;
	explore(&nothing, 0);
	check(!sequences.failed, "%s, %s: %ld of %ld sequences", memory->name,
	      owner->name, sequences.tried, nr);
}

int main(void)
{
	static const enum memory_kind kinds[] = {
		MEMORY_SHMEM_PAGE, MEMORY_ANON_LARGE, MEMORY_SHMEM_LARGE,
		MEMORY_SHMEM_MIDDLE, MEMORY_HUGETLB_MEMFD,
	};
	struct memory memory;
	size_t i, j;

	ksft_print_header();
	ksft_set_plan(ARRAY_SIZE(kinds) * ARRAY_SIZE(owners));
	stranger_start(&stranger);
	file = xpin_open();
	watcher = xpin_open();

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (skip_without(memory_needs(kinds[i]), ARRAY_SIZE(owners)))
			continue;
		memory_create(&memory, kinds[i]);
		for (j = 0; j < ARRAY_SIZE(owners); j++)
			in_every_order(&owners[j], &memory);
		memory_destroy(&memory);
	}

	close(watcher);
	close(file);
	stranger_stop(&stranger);
	ksft_finished();
}
