// SPDX-License-Identifier: GPL-2.0
/*
 * A claim's life: gather folios, publish, drain, share, unshare, release.
 * The protocol is explained at the top of registry.c.
 */
#include <linux/export.h>
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/xpin.h>
#include <uapi/linux/xpin.h>

#include "backend.h"
#include "claim.h"
#include "pin.h"
#include "refs.h"
#include "registry.h"

/* Pages that are pinned, published and drained together: 2 MiB of 4 KiB. */
#define CLAIM_CHUNK	512
/* Runs of pages that calls which must not fail work on, on their stack. */
#define CLAIM_BATCH	32
/*
 * Looks at the counts before sleeping: a refused GUP-fast call gives its pins
 * back within microseconds.
 */
#define DRAIN_BURST	64
#define DRAIN_SLEEP_NS	NSEC_PER_MSEC
/* Attempts to migrate memory that nobody seems to pin. */
#define PIN_TRIES	5

unsigned int claim_max_timeout_ms = 60 * MSEC_PER_SEC;

/**
 * struct xpin_owner - an in-kernel client, or one open /dev/xpin
 * @registry: what the registry knows of it
 * @mm: whose memory it claims
 * @flags: XPIN_OWNER_*
 * @lock: guards @calls, @armed, @get_armed and @charged
 * @calls: calls of ours that are under way
 * @armed: it keeps the backend armed, because it has entries or makes a call
 * @get_armed: likewise for BACKEND_GET, because of entries that refuse plain
 *	references
 * @charged: pages charged to the RLIMIT_MEMLOCK of @mm
 */
struct xpin_owner {
	struct registry_owner registry;
	struct mm_struct *mm;
	unsigned int flags;
	struct mutex lock; /* see above */
	unsigned int calls;
	bool armed;
	bool get_armed;
	long charged;
};

/*
 * Make what is charged follow what is owned. Fails only when that has grown.
 * Near the limit, claims that run at the same time may fail each other.
 */
static int owner_charge(struct xpin_owner *owner)
{
	long more;
	int ret;

	mutex_lock(&owner->lock);
	more = atomic_long_read(&owner->registry.pages) - owner->charged;
	ret = account_locked_vm(owner->mm, abs(more), more > 0);
	if (!ret)
		owner->charged += more;
	mutex_unlock(&owner->lock);
	return ret;
}

/*
 * Needs owner_end_call(), whatever it returns: 0, or an error of backend_get(),
 * and then nothing new may be claimed. An owner that has entries gets no error.
 */
static int owner_begin_call(struct xpin_owner *owner)
{
	int ret = 0;

	mutex_lock(&owner->lock);
	owner->calls++;
	if (!owner->armed) {
		ret = backend_get(BACKEND_PIN);
		owner->armed = !ret;
	}
	mutex_unlock(&owner->lock);
	return ret;
}

static void owner_end_call(struct xpin_owner *owner)
{
	owner_charge(owner);
	mutex_lock(&owner->lock);
	if (!--owner->calls) {
		if (owner->armed &&
		    !atomic_long_read(&owner->registry.entries)) {
			backend_put(BACKEND_PIN);
			owner->armed = false;
		}
		if (owner->get_armed &&
		    !atomic_long_read(&owner->registry.deny_get)) {
			backend_put(BACKEND_GET);
			owner->get_armed = false;
		}
	}
	mutex_unlock(&owner->lock);
}

/* Inside of a call, at the end of which it is seen whether it is still needed. */
static void owner_arm_get(struct xpin_owner *owner)
{
	mutex_lock(&owner->lock);
	if (!owner->get_armed)
		owner->get_armed = !backend_get(BACKEND_GET);
	mutex_unlock(&owner->lock);
}

/**
 * xpin_owner_create() - become an owner for the memory of the current process
 * @flags: 0, or XPIN_OWNER_PLAIN_UNPIN
 *
 * Holds a reference to this module, and one to the mm but not to its users.
 * With XPIN_OWNER_PLAIN_UNPIN, memory that plain unpins gave up stays charged to
 * RLIMIT_MEMLOCK, and pins go on being asked about, until the owner's next call.
 *
 * Context: process context with an mm; may sleep.
 * Return: the owner, to be ended by xpin_owner_destroy(); ERR_PTR of -EINVAL
 * for unknown flags or a task without an mm, -EOPNOTSUPP for
 * XPIN_OWNER_PLAIN_UNPIN where unpins are not reported (a stock kernel), -ENOMEM,
 * or -EBUSY when there are too many owners.
 */
struct xpin_owner *xpin_owner_create(unsigned int flags)
{
	struct xpin_owner *owner;
	int ret;

	if (flags & ~XPIN_OWNER_PLAIN_UNPIN || !current->mm)
		return ERR_PTR(-EINVAL);
	if (flags & XPIN_OWNER_PLAIN_UNPIN && !backend_can(BACKEND_UNPIN))
		return ERR_PTR(-EOPNOTSUPP);

	owner = kzalloc(sizeof(*owner), GFP_KERNEL_ACCOUNT);
	if (!owner)
		return ERR_PTR(-ENOMEM);

	mutex_init(&owner->lock);
	owner->flags = flags;
	ret = registry_owner_add(&owner->registry);
	if (ret) {
		kfree(owner);
		return ERR_PTR(ret);
	}

	/* The caller's use of this symbol holds a reference already. */
	__module_get(THIS_MODULE);
	owner->mm = current->mm;
	mmgrab(owner->mm);
	if (flags & XPIN_OWNER_PLAIN_UNPIN)
		backend_get(BACKEND_UNPIN);
	return owner;
}
EXPORT_SYMBOL_GPL(xpin_owner_create);

/**
 * xpin_owner_destroy() - stop being an owner
 * @owner: which must have released all it owned, and is in no call
 *
 * Context: as xpin_unpin_pages().
 */
void xpin_owner_destroy(struct xpin_owner *owner)
{
	registry_owner_remove(&owner->registry);
	owner_charge(owner);
	if (owner->armed)
		backend_put(BACKEND_PIN);
	if (owner->get_armed)
		backend_put(BACKEND_GET);
	if (owner->flags & XPIN_OWNER_PLAIN_UNPIN)
		backend_put(BACKEND_UNPIN);
	mmdrop(owner->mm);
	kfree(owner);
	module_put(THIS_MODULE);
}
EXPORT_SYMBOL_GPL(xpin_owner_destroy);

/**
 * xpin_owner_id() - the number by which xpin_folio_owner() names an owner
 * @owner: the owner
 *
 * Context: any.
 * Return: its number, never 0.
 */
u32 xpin_owner_id(const struct xpin_owner *owner)
{
	return owner->registry.id;
}
EXPORT_SYMBOL_GPL(xpin_owner_id);

/**
 * claim_owner_is_current() - does the caller run on the owner's memory?
 * @owner: the owner
 *
 * Return: whether it does.
 */
bool claim_owner_is_current(const struct xpin_owner *owner)
{
	return current->mm == owner->mm;
}

/* --- From pages to folios --- */

/*
 * Reduce pages, from @first on, to runs of the same folio, at most @max.
 * Returns how many runs, and in @next where the pages go on after them.
 */
static unsigned int gather_runs(struct page **pages, unsigned long first,
				unsigned long nr_pages,
				struct folio_pins *runs, unsigned int max,
				unsigned long *next)
{
	unsigned int nr = 0;
	unsigned long i;

	for (i = first; i < nr_pages; i++) {
		struct folio *folio = page_folio(pages[i]);

		if (nr && runs[nr - 1].folio == folio) {
			runs[nr - 1].pins++;
			continue;
		}
		if (nr == max)
			break;
		runs[nr].folio = folio;
		runs[nr].pins = 1;
		runs[nr++].index = i;
	}
	*next = i;
	return nr;
}

static int folio_pins_cmp(const void *a, const void *b)
{
	unsigned long pfn_a = folio_pfn(((const struct folio_pins *)a)->folio);
	unsigned long pfn_b = folio_pfn(((const struct folio_pins *)b)->folio);

	return pfn_a < pfn_b ? -1 : pfn_a > pfn_b;
}

/*
 * Reduce a chunk of pages to distinct folios by ascending PFN. A memfd's page
 * that is mapped twice, or a huge page claimed in odd order, makes two runs.
 */
static unsigned int gather_folios(struct page **pages, unsigned int nr_pages,
				  struct folio_pins *folios)
{
	unsigned int nr, i, last = 0;
	unsigned long next;

	nr = gather_runs(pages, 0, nr_pages, folios, nr_pages, &next);
	for (i = 1; i < nr; i++)
		if (folio_pins_cmp(&folios[i - 1], &folios[i]) >= 0)
			break;
	if (i >= nr)
		return nr;

	sort(folios, nr, sizeof(*folios), folio_pins_cmp, NULL);
	for (i = 1; i < nr; i++) {
		if (folios[i].folio == folios[last].folio) {
			folios[last].pins += folios[i].pins;
			folios[last].index = min(folios[last].index,
						 folios[i].index);
		} else {
			folios[++last] = folios[i];
		}
	}
	return last + 1;
}

/* --- Publish, drain, promote --- */

/* Somebody else is in the way of @folio, which @owner wants. */
static bool folio_busy(const struct xpin_owner *owner, struct folio *folio)
{
	struct xpin_entry entry;

	if (!registry_lookup(folio_pfn(folio), &entry))
		return false;
	if (entry.owner != owner->registry.id)
		return true;
	return entry.state == XPIN_CLAIMING && folio_pins(folio) != entry.pins;
}

/*
 * The lowest index whose folio is busy; @guess, where it was noticed first,
 * counts in any case: whoever was in the way may be gone by now.
 */
static unsigned long first_busy(const struct xpin_owner *owner,
				const struct folio_pins *folios,
				unsigned int nr, unsigned int guess)
{
	unsigned long index = folios[guess].index;
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (folios[i].index < index && folio_busy(owner, folios[i].folio))
			index = folios[i].index;
	return index;
}

/* Take the time since @begin from @wait_ns. */
static void charge_wait(u64 *wait_ns, ktime_t begin)
{
	u64 passed = ktime_to_ns(ktime_sub(ktime_get(), begin));

	*wait_ns -= min(*wait_ns, passed);
}

/* Sleep for at most a millisecond, if there is time left and no signal. */
static int drain_sleep(u64 wait_ns)
{
	ktime_t timeout;

	if (!wait_ns)
		return -EBUSY;
	if (signal_pending(current))
		return pin_interrupted();

	timeout = ns_to_ktime(min_t(u64, wait_ns, DRAIN_SLEEP_NS));
	/* Not freezable, as the caller may hold locks: the freezer is a signal. */
	set_current_state(TASK_INTERRUPTIBLE);
	schedule_hrtimeout_range(&timeout, DRAIN_SLEEP_NS / 10,
				 HRTIMER_MODE_REL);
	return 0;
}

/* Wait until nobody else pins @folios. In @at, how many of them are OWNED. */
static int drain(const struct xpin_owner *owner,
		 const struct folio_pins *folios, unsigned int nr,
		 u64 *wait_ns, unsigned int *at)
{
	unsigned int burst;
	ktime_t begin;
	int ret;

	backend_drain_begin();
	do {
		begin = ktime_get();
		for (burst = 0; burst < DRAIN_BURST && *at < nr; burst++) {
			cpu_relax();
			*at += registry_promote(&owner->registry, folios + *at,
						nr - *at);
		}
		ret = *at < nr ? drain_sleep(*wait_ns) : 0;
		charge_wait(wait_ns, begin);
	} while (!ret && *at < nr);
	backend_drain_end();
	return ret;
}

/*
 * Make distinct folios, by ascending PFN, exclusive: all or none of them. In
 * @busy, with -EBUSY, the lowest index in the way.
 */
static int claim_settle(struct xpin_owner *owner,
			const struct folio_pins *folios, unsigned int nr,
			unsigned int counts, u64 *wait_ns, unsigned long *busy)
{
	unsigned int published, at = 0;
	int ret;

	ret = registry_publish(&owner->registry, folios, nr, counts,
			       &published);
	if (ret) {
		at = published;
		goto withdraw;
	}
	if (counts & REGISTRY_PINS) {
		ret = owner_charge(owner);
		if (ret)
			goto withdraw;
	}

	/*
	 * The entries before the counts: [B], pairs with [A], both at the top
	 * of registry.c. tests/litmus/pin-vs-claim*.litmus.
	 */
	smp_mb();
	at = registry_promote(&owner->registry, folios, nr);
	if (at < nr)
		ret = drain(owner, folios, nr, wait_ns, &at);
	if (!ret) {
		/*
		 * The counts before what the owner does to the memory. Pairs
		 * with smp_mb__before_atomic() in gup_pin_notifier_put(), and
		 * for small folios with folio_put_refs().
		 * tests/litmus/unpin-vs-access*.litmus.
		 */
		smp_mb();
		return 0;
	}
withdraw:
	if (ret == -EBUSY)
		*busy = first_busy(owner, folios, nr, at);
	registry_withdraw(&owner->registry, folios, published, counts);
	return ret;
}

/* --- Pin --- */

/* pin_peek(), in a call that is marked as ours: who has it must not matter. */
static struct folio *peek(const struct xpin_owner *owner,
			  const struct pin_source *source, unsigned long index,
			  bool write)
{
	struct folio *folio;

	registry_call_begin(&owner->registry);
	folio = pin_peek(source, index, write);
	registry_call_end();
	return folio;
}

/**
 * claim_page_state() - what a query says of a page
 * @owner: who asks
 * @addr: in the memory of the current process, page aligned
 *
 * Context: process context; may sleep.
 * Return: one of enum xpin_page_state.
 */
u8 claim_page_state(struct xpin_owner *owner, unsigned long addr)
{
	const struct pin_source source = { .start = addr };
	struct folio *folio = peek(owner, &source, 0, false);
	u8 state = XPIN_PAGE_NONE;
	struct xpin_entry entry;

	if (!folio)
		return state;
	if (!pin_folio_ownable(folio))
		state = XPIN_PAGE_NONE;
	else if (!registry_lookup(folio_pfn(folio), &entry))
		state = folio_pins(folio) ? XPIN_PAGE_PINNED : XPIN_PAGE_FREE;
	else if (entry.state == XPIN_CLAIMING)
		state = XPIN_PAGE_CLAIMING;
	else if (entry.owner != owner->registry.id)
		state = XPIN_PAGE_OTHERS;
	else
		state = entry.state == XPIN_OWNED ? XPIN_PAGE_MINE :
						    XPIN_PAGE_MINE_SHARED;
	folio_put(folio);
	return state;
}

/* A part of a source that is pinned, published and drained together. */
struct chunk {
	const struct pin_source *source;
	unsigned long first;
	unsigned int nr_pages;
	struct page **pages;
};

/*
 * The lowest index of a chunk's pages that a stranger pins, or ULONG_MAX. With
 * @want, no stranger shall pin again what one pins now.
 */
static unsigned long first_pinned(const struct xpin_owner *owner,
				  const struct chunk *chunk, bool want)
{
	unsigned long first = ULONG_MAX;
	struct xpin_entry entry;
	struct folio *folio;
	unsigned int i;

	for (i = 0; i < chunk->nr_pages; i++) {
		/* What can't be written to is not what will be claimed. */
		folio = peek(owner, chunk->source, chunk->first + i, true);
		if (!folio)
			continue;
		if (folio_pins(folio) &&
		    !registry_lookup(folio_pfn(folio), &entry)) {
			first = min_t(unsigned long, first, i);
			/* Else it is no memory that this claim will get. */
			if (want && pin_folio_ownable(folio))
				registry_want(folio);
		}
		folio_put(folio);
		if (first != ULONG_MAX && !want)
			break;
	}
	return first;
}

/* Pin a chunk, in a call that is marked as ours: all of it or nothing. */
static int pin_chunk(struct xpin_owner *owner, const struct chunk *chunk,
		     unsigned long *busy)
{
	int ret;

	registry_call_begin(&owner->registry);
	ret = pin_pages(chunk->source, chunk->first, chunk->nr_pages,
			chunk->pages, busy);
	registry_call_end();
	return ret;
}

/*
 * Movable memory migrates before it is pinned for long, and with -ENOMEM does
 * not while a stranger pins it. Try again while there is time, and have who
 * peeks refused meanwhile; but not for long when no stranger is to be seen, for
 * then memory is short.
 */
static int pin_chunk_wait(struct xpin_owner *owner, const struct chunk *chunk,
			  u64 *wait_ns, unsigned long *busy)
{
	unsigned int unseen = 0;
	ktime_t begin;
	int ret;

	ret = pin_chunk(owner, chunk, busy);
	if (ret != -ENOMEM)
		return ret;

	backend_drain_begin();
	do {
		/* All is faulted in: what takes time now is migration. */
		begin = ktime_get();
		*busy = first_pinned(owner, chunk, *wait_ns);
		if (*busy != ULONG_MAX)
			unseen = 0;
		else if (++unseen > PIN_TRIES)
			break;
		ret = drain_sleep(*wait_ns);
		/* Without time left, too, if there is nobody to wait for. */
		if (!ret || (ret == -EBUSY && unseen))
			ret = pin_chunk(owner, chunk, busy);
		charge_wait(wait_ns, begin);
	} while (ret == -ENOMEM);
	backend_drain_end();
	registry_want_nothing();
	return ret;
}

/* Take one chunk: pinned and exclusive, or as it was. */
static int claim_chunk(struct xpin_owner *owner, const struct chunk *chunk,
		       struct folio_pins *folios, u64 *wait_ns,
		       unsigned long *busy)
{
	unsigned int nr;
	int ret;

	ret = pin_chunk_wait(owner, chunk, wait_ns, busy);
	if (ret)
		return ret;

	nr = gather_folios(chunk->pages, chunk->nr_pages, folios);
	ret = claim_settle(owner, folios, nr, REGISTRY_PINS | REGISTRY_EXCL,
			   wait_ns, busy);
	if (!ret)
		return 0;
	registry_call_begin(&owner->registry);
	unpin_user_pages(chunk->pages, chunk->nr_pages);
	registry_call_end();
	return ret;
}

/* How long to wait, and in @left where to count down. */
static u64 *wait_limit(u64 *timeout_ns, u64 *left)
{
	*left = 0;
	if (!timeout_ns)
		return left;
	*timeout_ns = min_t(u64, *timeout_ns,
			    READ_ONCE(claim_max_timeout_ms) *
			    (u64)NSEC_PER_MSEC);
	return timeout_ns;
}

/**
 * claim_release_begin() - before claim_release()
 * @owner: who is going to release
 *
 * Context: process context, any mm; may sleep. Does not fail.
 */
void claim_release_begin(struct xpin_owner *owner)
{
	/* It is armed: what is released was claimed. */
	owner_begin_call(owner);
	registry_call_begin(&owner->registry);
}

/**
 * claim_release_end() - after claim_release()
 * @owner: who has released
 *
 * Context: process context, any mm; may sleep. Does not fail.
 */
void claim_release_end(struct xpin_owner *owner)
{
	registry_call_end();
	owner_end_call(owner);
}

/**
 * claim_release() - end ownership of pages and drop their pins
 * @owner: who owns them
 * @pages: all shared, or none
 * @nr_pages: how many
 * @shared: which
 *
 * Context: process context, any mm; may sleep. Does not fail.
 */
void claim_release(struct xpin_owner *owner, struct page **pages,
		   unsigned long nr_pages, bool shared)
{
	unsigned int counts = REGISTRY_PINS | (shared ? 0 : REGISTRY_EXCL);
	struct folio_pins runs[CLAIM_BATCH];
	unsigned long done, next;
	unsigned int nr;

	for (done = 0; done < nr_pages; done = next) {
		nr = gather_runs(pages, done, nr_pages, runs, CLAIM_BATCH,
				 &next);
		/* Entries go before the pins they stand for. */
		registry_withdraw(&owner->registry, runs, nr, counts);
		/* Claimed for writing, by means that leave no dirty bit. */
		unpin_user_pages_dirty_lock(pages + done, next - done, true);
		cond_resched();
	}
}

/*
 * Begin a call that claims, and wait for who may still pin without being asked:
 * as long as the timeout allows, of which arming that succeeds takes nothing.
 * Needs owner_end_call(), whatever it returns.
 */
static int owner_begin_claim(struct xpin_owner *owner, u64 *wait_ns)
{
	ktime_t begin;
	int ret;

	for (;;) {
		begin = ktime_get();
		ret = owner_begin_call(owner);
		if (ret != -EBUSY)
			return ret;
		charge_wait(wait_ns, begin);
		if (signal_pending(current))
			return pin_interrupted();
		if (!*wait_ns)
			return ret;
		owner_end_call(owner);
	}
}

/* Take all of a source, chunk by chunk, or nothing. */
static int claim_source(struct xpin_owner *owner,
			const struct pin_source *source, unsigned long nr_pages,
			struct page **pages, u64 *timeout_ns,
			unsigned long *busy)
{
	u64 left, *wait_ns = wait_limit(timeout_ns, &left);
	unsigned long done, at = ULONG_MAX;
	struct folio_pins *folios;
	struct chunk chunk;
	int ret;

	if (!PAGE_ALIGNED(source->start) || !nr_pages ||
	    nr_pages > (ULONG_MAX - source->start) / PAGE_SIZE)
		return -EINVAL;

	folios = kvmalloc_array(min_t(unsigned long, nr_pages, CLAIM_CHUNK),
				sizeof(*folios), GFP_KERNEL_ACCOUNT);
	if (!folios)
		return -ENOMEM;

	ret = owner_begin_claim(owner, wait_ns);
	for (done = 0; !ret && done < nr_pages; done += chunk.nr_pages) {
		chunk = (struct chunk){
			.source = source,
			.first = done,
			.nr_pages = min_t(unsigned long, nr_pages - done,
					  CLAIM_CHUNK),
			.pages = pages + done,
		};
		ret = fatal_signal_pending(current) ? -EINTR :
		      claim_chunk(owner, &chunk, folios, wait_ns, &at);
		if (ret)
			break;
	}
	if (ret && done) {
		claim_release_begin(owner);
		claim_release(owner, pages, done, false);
		claim_release_end(owner);
	}
	owner_end_call(owner);
	kvfree(folios);

	if (ret == -EBUSY && busy)
		*busy = done + at;
	return ret;
}

/**
 * xpin_pin_user_pages() - pin pages of the current process and own their folios
 * @owner: who claims; bound to the current mm
 * @start: address of the first page, page aligned
 * @nr_pages: how many pages, not 0
 * @pages: out: the pages; room for @nr_pages. Undefined after an error.
 * @timeout_ns: how long to wait for pins of others to go, in nanoseconds; page
 *	faults are not counted in; 0 or NULL: don't wait. Capped by
 *	max_timeout_ms. Out: what is left of it. A kernel thread that can be
 *	frozen must not wait: the freezer sends it no signal.
 * @busy: out, may be NULL: with -EBUSY the lowest index seen in the way, in the
 *	chunk of 512 pages at work; otherwise ULONG_MAX
 *
 * All or nothing. The pages are pinned for writing and for long. An owner may
 * claim folios again that it owns, from several threads at once. Two threads
 * that claim one folio for the first time see each other's pins for a moment:
 * without a timeout one of them may get -EBUSY.
 *
 * Context: process context of the owner's mm; may sleep, also in page faults.
 * Takes the mmap_lock, so not from an mmu notifier or a fault handler.
 * Return: 0; -EIO on another mm; -EINVAL for a misaligned or empty range;
 * -EBUSY when somebody else pins or owns a folio, or pins anything since before
 * pins could be refused (a stock kernel; without @busy); -ENODEV when pins can't be
 * refused any more (likewise); -EFAULT when GUP can't reach a page, -EOPNOTSUPP
 * when it is memory that can't be owned (files, devices), -EHWPOISON when it
 * failed; -ENOMEM for RLIMIT_MEMLOCK or memory; -EINTR when killed;
 * -ERESTARTNOHAND at a signal, or when the system suspends, and -ERESTARTNOINTR
 * when the task must go to user mode before it waits on, both to be returned from
 * the system call with what is left of @timeout_ns; -EOVERFLOW for too many pins
 * of a folio; -EREMOTEIO from GUP.
 */
int xpin_pin_user_pages(struct xpin_owner *owner, unsigned long start,
			unsigned long nr_pages, struct page **pages,
			u64 *timeout_ns, unsigned long *busy)
{
	const struct pin_source source = { .start = start };

	if (busy)
		*busy = ULONG_MAX;
	if (!claim_owner_is_current(owner))
		return -EIO;
	return claim_source(owner, &source, nr_pages, pages, timeout_ns, busy);
}
EXPORT_SYMBOL_GPL(xpin_pin_user_pages);

/**
 * xpin_pin_memfd() - pin pages of a memfd and own their folios
 * @owner: who claims
 * @memfd: a file of tmpfs or hugetlbfs
 * @start: offset in it of the first page, in bytes, page aligned
 * @nr_pages: how many pages, not 0
 * @pages: out: as for xpin_pin_user_pages(), and released in the same ways
 * @timeout_ns: as for xpin_pin_user_pages()
 * @busy: as for xpin_pin_user_pages()
 *
 * As xpin_pin_user_pages(), without a mapping of the file, and from any process:
 * the memory is charged to the owner's mm, against the limit of the current
 * task. What is swapped out is read; holes are not filled. The reference to
 * @memfd is the caller's and not needed later.
 *
 * Context: process context, any mm; may sleep. Takes the lock of the file's
 * inode, for which @timeout_ns does not count, and the mmap_lock of the owner's
 * mm.
 * Return: as xpin_pin_user_pages(), but never -EIO; -EFAULT for a hole, -EINVAL
 * also for a range that is not inside the file, -EBADF when @memfd is not open
 * for writing, -EPERM when it is sealed against it, -EOPNOTSUPP for other files,
 * and for all on a kernel without memfd_pin_folios().
 */
int xpin_pin_memfd(struct xpin_owner *owner, struct file *memfd, loff_t start,
		   unsigned long nr_pages, struct page **pages,
		   u64 *timeout_ns, unsigned long *busy)
{
	const struct pin_source source = { .memfd = memfd, .start = start };

	if (busy)
		*busy = ULONG_MAX;
	return claim_source(owner, &source, nr_pages, pages, timeout_ns, busy);
}
EXPORT_SYMBOL_GPL(xpin_pin_memfd);

/**
 * xpin_unpin_pages() - give exclusively owned pages up and drop their pins
 * @owner: who owns them
 * @pages: pages from xpin_pin_user_pages() that are not shared
 * @nr_pages: how many
 *
 * The folio stays owned as long as the owner has other pins on it. The pages
 * are marked dirty.
 *
 * Context: process context, any mm; may sleep; takes the mmap_lock of the
 * owner's mm. Does not fail.
 */
void xpin_unpin_pages(struct xpin_owner *owner, struct page **pages,
		      unsigned long nr_pages)
{
	claim_release_begin(owner);
	claim_release(owner, pages, nr_pages, false);
	claim_release_end(owner);
}
EXPORT_SYMBOL_GPL(xpin_unpin_pages);

/**
 * xpin_unpin_shared_pages() - drop the pins of shared pages
 * @owner: who shared them
 * @pages: pages after xpin_share_pages()
 * @nr_pages: how many
 *
 * Plain unpin_user_page() won't do here: while a folio is shared, nobody can
 * tell whose pin it drops.
 *
 * Context: as xpin_unpin_pages(). Does not fail.
 */
void xpin_unpin_shared_pages(struct xpin_owner *owner, struct page **pages,
			     unsigned long nr_pages)
{
	claim_release_begin(owner);
	claim_release(owner, pages, nr_pages, true);
	claim_release_end(owner);
}
EXPORT_SYMBOL_GPL(xpin_unpin_shared_pages);

/**
 * claim_refused() - how many pages strangers can't pin
 * @owner: who has pins on them
 * @pages: the pages
 * @nr_pages: how many
 *
 * Context: process context.
 * Return: how many are in a folio of which the owner holds a page exclusively.
 */
unsigned long claim_refused(struct xpin_owner *owner, struct page **pages,
			    unsigned long nr_pages)
{
	unsigned long i, refused = 0;
	struct xpin_entry entry;

	for (i = 0; i < nr_pages; i++) {
		refused += registry_lookup(folio_pfn(page_folio(pages[i])),
					   &entry) &&
			   entry.owner == owner->registry.id && entry.excl;
		cond_resched();
	}
	return refused;
}

/**
 * claim_share() - xpin_share_pages(), for who does not ask what is still refused
 * @owner: who owns them
 * @pages: pages from xpin_pin_user_pages() that are not shared
 * @nr_pages: how many
 *
 * Context: as xpin_unpin_pages(). Does not fail.
 */
void claim_share(struct xpin_owner *owner, struct page **pages,
		 unsigned long nr_pages)
{
	struct folio_pins runs[CLAIM_BATCH];
	unsigned long done, next;
	unsigned int nr;

	/* At its end it is seen what need not be armed any more. */
	owner_begin_call(owner);
	for (done = 0; done < nr_pages; done = next) {
		nr = gather_runs(pages, done, nr_pages, runs, CLAIM_BATCH,
				 &next);
		registry_withdraw(&owner->registry, runs, nr, REGISTRY_EXCL);
		cond_resched();
	}
	owner_end_call(owner);
}

/**
 * xpin_share_pages() - let others pin pages, and keep one's own pins
 * @owner: who owns them
 * @pages: pages from xpin_pin_user_pages() that are not shared
 * @nr_pages: how many
 *
 * Context: as xpin_unpin_pages(). Does not fail.
 * Return: how many of the pages strangers still can't pin, because the owner
 * holds other pages of their folio exclusively.
 */
unsigned long xpin_share_pages(struct xpin_owner *owner, struct page **pages,
			       unsigned long nr_pages)
{
	claim_share(owner, pages, nr_pages);
	/* Only now: a folio's last exclusive page may have come last. */
	return claim_refused(owner, pages, nr_pages);
}
EXPORT_SYMBOL_GPL(xpin_share_pages);

/**
 * xpin_unshare_pages() - take exclusivity of shared pages back
 * @owner: who shared them
 * @pages: pages after xpin_share_pages()
 * @nr_pages: how many
 * @timeout_ns: as for xpin_pin_user_pages()
 * @busy: as for xpin_pin_user_pages()
 *
 * All or nothing.
 *
 * Context: as xpin_unpin_pages().
 * Return: 0; -EBUSY while somebody else pins a folio; -ERESTARTNOHAND and
 * -ERESTARTNOINTR as xpin_pin_user_pages(); -ENOMEM; -ENOENT for a folio that
 * the owner has no pins on.
 */
int xpin_unshare_pages(struct xpin_owner *owner, struct page **pages,
		       unsigned long nr_pages, u64 *timeout_ns,
		       unsigned long *busy)
{
	u64 left, *wait_ns = wait_limit(timeout_ns, &left);
	unsigned long done, at = ULONG_MAX;
	struct folio_pins *folios;
	unsigned int nr, nr_folios;
	int ret;

	if (busy)
		*busy = ULONG_MAX;
	folios = kvmalloc_array(min_t(unsigned long, nr_pages, CLAIM_CHUNK),
				sizeof(*folios), GFP_KERNEL_ACCOUNT);
	if (!folios)
		return -ENOMEM;

	ret = owner_begin_claim(owner, wait_ns);
	for (done = 0; !ret && done < nr_pages; done += nr) {
		nr = min_t(unsigned long, nr_pages - done, CLAIM_CHUNK);
		nr_folios = gather_folios(pages + done, nr, folios);
		ret = claim_settle(owner, folios, nr_folios, REGISTRY_EXCL,
				   wait_ns, &at);
		if (ret)
			break;
	}
	if (ret && done)
		claim_share(owner, pages, done);
	owner_end_call(owner);
	kvfree(folios);

	if (ret == -EBUSY && busy)
		*busy = done + at;
	return ret;
}
EXPORT_SYMBOL_GPL(xpin_unshare_pages);

/* --- Plain references --- */

/* Does @folio, of ours, have plain references that nothing we know of explains? */
static bool has_references(struct folio *folio)
{
	unsigned long pfn = folio_pfn(folio);
	struct xpin_entry entry, now;
	bool ret;

	/* Pins that another thread releases meanwhile must explain nothing. */
	do {
		if (!registry_lookup(pfn, &entry))
			return false;
		ret = refs_unexplained(folio, entry.pins);
	} while (!ret && registry_lookup(pfn, &now) && now.pins != entry.pins);
	return ret;
}

/* The pages in such folios. */
static unsigned long count_referenced(struct page **pages,
				      unsigned long nr_pages)
{
	struct folio_pins runs[CLAIM_BATCH];
	unsigned long done, next, referenced = 0;
	unsigned int i, nr;

	for (done = 0; done < nr_pages; done = next) {
		nr = gather_runs(pages, done, nr_pages, runs, CLAIM_BATCH,
				 &next);
		for (i = 0; i < nr; i++)
			if (has_references(runs[i].folio))
				referenced += runs[i].pins;
		cond_resched();
	}
	return referenced;
}

/**
 * xpin_deny_get_pages() - refuse GUP's plain references to pages, too
 * @owner: who owns them
 * @pages: pages from xpin_pin_user_pages() that are not shared, and are neither
 *	released nor shared meanwhile
 * @nr_pages: how many
 *
 * FOLL_GET of their folios is refused as FOLL_PIN is, with a short count or
 * -EBUSY, from now on and for as long as the owner holds anything of the folio
 * exclusively: releasing or sharing these pages does not end it while the same
 * owner has others of the folio, claimed with this call or not. After
 * xpin_unshare_pages() it takes another call of this.
 *
 * From the first such call to the last release of what it was made for, everybody
 * pays for a look at each plain reference that GUP takes.
 *
 * What was taken before stays, and there is no waiting for it: plain references
 * are many, and do not tell what they are for. The answer says whether there are
 * any beside those of mappings, the page cache, the swap cache and this owner's
 * pins. 0 means that no FOLL_GET from before is left, unless somebody mapped or
 * unmapped the folio just now. More may be a FOLL_GET, by vmsplice() for one, that
 * reads or writes the memory as long as it lasts; or the kernel's own for a moment,
 * as compaction or a walk of a page table takes one.
 *
 * Context: process context, any mm; may sleep.
 * Return: how many of the pages are in folios with such references; -EOPNOTSUPP
 * where plain references can't be refused (a stock kernel), its only error.
 */
long xpin_deny_get_pages(struct xpin_owner *owner, struct page **pages,
			 unsigned long nr_pages)
{
	struct folio_pins runs[CLAIM_BATCH];
	unsigned long done, next;
	unsigned int nr;
	long referenced;

	if (!backend_can(BACKEND_GET))
		return -EOPNOTSUPP;
	owner_begin_call(owner);
	owner_arm_get(owner);
	for (done = 0; done < nr_pages; done = next) {
		nr = gather_runs(pages, done, nr_pages, runs, CLAIM_BATCH,
				 &next);
		registry_deny_get(&owner->registry, runs, nr);
		cond_resched();
	}
	/*
	 * The flags before the references: who was not refused can be seen.
	 * Pairs with [A] for plain references, at the top of registry.c.
	 * tests/litmus/pin-vs-claim*.litmus.
	 */
	smp_mb();
	referenced = count_referenced(pages, nr_pages);
	/* Most often of this processor, which has just faulted the pages in. */
	if (referenced) {
		refs_settle_here(page_folio(pages[0]));
		referenced = count_referenced(pages, nr_pages);
	}
	if (referenced) {
		refs_settle(page_folio(pages[0]));
		referenced = count_referenced(pages, nr_pages);
	}
	owner_end_call(owner);
	return referenced;
}
EXPORT_SYMBOL_GPL(xpin_deny_get_pages);

/**
 * xpin_folio_owner() - who has a folio, shared or not
 * @folio: which the caller holds a reference to
 *
 * Context: any.
 * Return: the number of the owner as in xpin_owner_id(), 0 when there is none.
 * A snapshot, unless the caller is that owner.
 */
u32 xpin_folio_owner(struct folio *folio)
{
	struct xpin_entry entry;

	return registry_lookup(folio_pfn(folio), &entry) ? entry.owner : 0;
}
EXPORT_SYMBOL_GPL(xpin_folio_owner);

/**
 * xpin_kernel_api_version() - XPIN_KERNEL_API_VERSION of the loaded module
 *
 * For a driver that was built with the header of another: modversions, where
 * the kernel has them, see that functions take the same, but not that they mean
 * the same.
 *
 * Context: any.
 * Return: the number.
 */
u32 xpin_kernel_api_version(void)
{
	return XPIN_KERNEL_API_VERSION;
}
EXPORT_SYMBOL_GPL(xpin_kernel_api_version);
