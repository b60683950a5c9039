// SPDX-License-Identifier: GPL-2.0
/*
 * Who owns which folio.
 *
 * The protocol
 * ============
 *
 * Words: a *pin* is a FOLL_PIN reference; an *owner* is an in-kernel client or
 * one open /dev/xpin; a *claim* is what an owner takes in one call; a *veto* is
 * a pin refused; to *drain* is to wait for foreign pins to go.
 *
 * Let pins be the pin count of a folio and owner[pfn] its entry here.
 *
 *   pinner (mm/gup.c, guard.c)      claimer (claim.c), holds k pins of its own
 *   ---------------------------     ------------------------------------------
 *   add to pins                     owner[pfn] = CLAIMING     registry_publish
 *   full barrier              [A]   smp_mb()                           [B]
 *   if owner[pfn]: undo, -EBUSY     if pins == k: OWNED       registry_promote
 *                                   else drain, or undo and -EBUSY
 *
 * This is store buffering with two full barriers: the pinner sees the entry, or
 * the claimer sees the pin, or both. [B] is in claim_settle(); [A] is
 *
 *   smp_mb__after_atomic() in try_grab_folio_fast() and in try_grab_page(), on
 *   6.1 in try_grab_folio() and in try_grab_page_asking();
 *   smp_mb() in gup_ask_folio(), for 6.12's memfd_pin_folios();
 *   smp_mb() in kept() of backend_ftrace.c, on a stock kernel.
 *
 * They pair with each other. tests/litmus/pin-vs-claim*.litmus.
 *
 * An entry is {owner, pins, excl, state, deny_get}. pins counts all pins of its owner on
 * the folio, excl those which want exclusivity. The states, and who changes
 * them, always under the lock of the XArray:
 *
 *   none     -> CLAIMING   publish, by an owner with k pins: {k, k}
 *   CLAIMING -> CLAIMING   publish, by another thread of the same owner: its
 *                          pins are added, and both threads drain down to the
 *                          sum; whoever sees it first promotes for both
 *   CLAIMING -> OWNED      promote, when the folio's pins are the entry's pins
 *   OWNED    -> OWNED      publish, by the same owner: foreign pins are
 *                          impossible, so there is nothing to wait for
 *   OWNED    -> SHARED     withdraw of the last excl (share)
 *   SHARED   -> CLAIMING   publish of excl (unshare, or a new claim): strangers
 *                          may have pinned meanwhile
 *   CLAIMING -> SHARED     withdraw of the last excl (an unshare that failed)
 *   any      -> none       withdraw of the last pin; or count_down() of an
 *                          OWNED entry, in interrupts too
 *
 * CLAIMING and OWNED refuse strangers. Another owner can't publish while there
 * is an entry of any state: -EBUSY at once.
 *
 * deny_get refuses GUP's plain references, too. It is set in an OWNED entry, by
 * an owner that has settled all it claims, and cleared where the entry stops to
 * be OWNED: it is one bit, so it lasts as long as this owner has anything
 * exclusive of the folio, whichever of its claims asked for it. It follows the
 * protocol above with the folio's references in place of its pins: who was not
 * refused after the bit was set and smp_mb() is in the reference count, or has
 * gone. Its [A] in GUP-fast is smp_mb() in gup_fast_ask(), on 6.1 in gup_ask();
 * in the slow path as above. But nobody can tell such references from the many
 * others, so they are not waited for.
 *
 * No lock of an owner's is held from publish to promote: every step is one lock
 * section here, adds or takes away exactly what its caller brought, and so may
 * interleave with those of other threads of the same owner.
 *
 * An entry is erased before the pins it stands for are dropped, so a folio that
 * goes back to the allocator has none. tests/litmus/release*.litmus.
 *
 * The unpin callback looks at the entry before the folio's count drops
 * (smp_mb__before_atomic() in __gup_pin_notifier_unpin()); promote reads the
 * count before it writes OWNED, and the write depends on it. So a stranger's
 * unpin never takes an OWNED entry for its own. tests/litmus/unpin-vs-promote*.
 *
 * What a stranger did to the memory is over when its pin is seen gone:
 * smp_mb__before_atomic() in gup_pin_notifier_put() for large folios, a fully
 * ordered folio_put_refs() for small ones; both pair with the last smp_mb() of
 * claim_settle(). tests/litmus/unpin-vs-access*.litmus, unpin-vs-arm*.litmus.
 *
 * What lies in movable memory migrates before the claimer's pin is its own, and
 * can't while a stranger pins it; so there is no entry yet that would refuse the
 * next stranger. Until the call has its pins, or gives up, the folios in its way
 * are *wanted* (registry_want()): strangers who peek before they grab are
 * refused, and the pins drain. That is advice, like all peeking: a pin that
 * slips through makes the next attempt to migrate fail, and nothing else.
 *
 * The module's own calls of GUP are marked (registry_call_begin()): the guard
 * lets them pin what their owner owns, and their unpins of it are not counted,
 * since the module keeps these books itself.
 *
 * Reading is lock-free, under RCU, and most of the time stops at the filter: a
 * bit per PFN that is set before the entry is stored and cleared after it is
 * erased, both inside the lock section of the change. With the clearing outside
 * of it a release could hide the entry that the next owner has just published.
 * tests/litmus/filter*.litmus.
 *
 * The guard is asked in NMI, too (perf's get_user_page_fast_only()), perhaps in
 * the middle of a change here. It takes no lock: it reads the filter and does
 * xa_load(). That starts again when it meets a node on its way out of the tree,
 * which xas_store() marks only after the tree has stopped to lead there.
 */
#include <linux/bitmap.h>
#include <linux/hash.h>
#include <linux/jiffies.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "registry.h"

/* At most so many entries change in one lock section, interrupts off. */
#define REGISTRY_BATCH		64

/* PFN of a folio's first page -> packed struct xpin_entry. */
static DEFINE_XARRAY_FLAGS(entries, XA_FLAGS_LOCK_IRQ | XA_FLAGS_ACCOUNT);
static atomic_long_t nr_entries = ATOMIC_LONG_INIT(0);

/* Identity -> struct registry_owner. */
static DEFINE_XARRAY_ALLOC1(owners);
static atomic_long_t nr_owners = ATOMIC_LONG_INIT(0);

/* PID of a task inside one of our calls of GUP -> identity of the owner. */
static DEFINE_XARRAY(calls);

/* PFN of a folio that a claim can't pin yet -> place of the folio, when, and who. */
static DEFINE_XARRAY(wanted);

/* --- The filter: sections of a page, each with a bit for every PFN in it --- */

#define FILTER_MIN_SECTIONS	1

/* Replaced by a larger one when a PFN lies beyond it. */
struct registry_filter_table __rcu *registry_filter_table;
/* Held to add sections and to replace the table. */
static DEFINE_MUTEX(filter_lock);

/* As registry_filter_section(), for who changes the filter. */
static unsigned long *filter_section(unsigned long pfn)
{
	const struct registry_filter_table *table =
		rcu_dereference_check(registry_filter_table,
				      lockdep_is_held(&filter_lock));

	return registry_filter_section(table, pfn);
}

static struct registry_filter_table *filter_alloc(unsigned long nr)
{
	struct registry_filter_table *table;

	table = kvzalloc(struct_size(table, section, nr), GFP_KERNEL);
	if (table)
		table->nr = nr;
	return table;
}

/* A table that has room for the section @nr too, or NULL. The lock is held. */
static struct registry_filter_table *
filter_grow(struct registry_filter_table *old, unsigned long nr)
{
	struct registry_filter_table *table;

	table = filter_alloc(roundup_pow_of_two(nr + 1));
	if (!table)
		return NULL;
	memcpy(table->section, old->section,
	       old->nr * sizeof(old->section[0]));
	/*
	 * Who misses the new table misses it as it would miss the entry: the
	 * claimer's barrier comes later. tests/litmus/filter-growth*.litmus.
	 */
	rcu_assign_pointer(registry_filter_table, table);
	kvfree_rcu(old, rcu);
	return table;
}

/*
 * Make sure that there is a section for @pfn. Sections stay until the module
 * goes, a page for 128 MiB of memory, so they are charged to nobody.
 */
static int filter_reserve(unsigned long pfn)
{
	unsigned long nr = pfn >> REGISTRY_FILTER_SHIFT;
	unsigned long *section;
	struct registry_filter_table *table;
	int ret = 0;

	rcu_read_lock();
	section = filter_section(pfn);
	rcu_read_unlock();
	if (section)
		return 0;

	mutex_lock(&filter_lock);
	if (filter_section(pfn))
		goto out;

	ret = -ENOMEM;
	table = rcu_dereference_protected(registry_filter_table, true);
	if (nr >= table->nr)
		table = filter_grow(table, nr);
	if (!table)
		goto out;
	section = (unsigned long *)get_zeroed_page(GFP_KERNEL);
	if (!section)
		goto out;
	/*
	 * The zeroes of the section come first. Pairs with the READ_ONCE() in
	 * registry_filter_section();
	 * tests/litmus/filter-new-section*.litmus.
	 */
	smp_store_release(&table->section[nr], section);
	ret = 0;
out:
	mutex_unlock(&filter_lock);
	return ret;
}

static int filter_init(void)
{
	struct registry_filter_table *table;

	table = filter_alloc(FILTER_MIN_SECTIONS);
	if (!table)
		return -ENOMEM;
	RCU_INIT_POINTER(registry_filter_table, table);
	return 0;
}

static void filter_exit(void)
{
	struct registry_filter_table *table =
		rcu_dereference_protected(registry_filter_table, true);
	unsigned long nr;

	for (nr = 0; nr < table->nr; nr++)
		free_page((unsigned long)table->section[nr]);
	kvfree(table);
}

/* --- Entries --- */

/* Of a packed entry; the state is in the bits below. */
#define PACKED_DENY_GET		BIT(2)
#define PACKED_SHIFT		3

static void *entry_pack(const struct xpin_entry *entry)
{
	BUILD_BUG_ON(3 * XPIN_ENTRY_BITS + PACKED_SHIFT >= BITS_PER_LONG);
	return xa_mk_value(((((unsigned long)entry->owner << XPIN_ENTRY_BITS |
			      entry->pins) << XPIN_ENTRY_BITS |
			     entry->excl) << PACKED_SHIFT) |
			   (entry->deny_get ? PACKED_DENY_GET : 0) |
			   entry->state);
}

/* @packed may be NULL. */
static bool packed_deny_get(void *packed)
{
	return packed && xa_to_value(packed) & PACKED_DENY_GET;
}

static void entry_unpack(struct xpin_entry *entry, void *packed)
{
	unsigned long value = xa_to_value(packed);

	entry->state = value & 3;
	entry->deny_get = value & PACKED_DENY_GET;
	value >>= PACKED_SHIFT;
	entry->excl = value & (BIT(XPIN_ENTRY_BITS) - 1);
	value >>= XPIN_ENTRY_BITS;
	entry->pins = value & (BIT(XPIN_ENTRY_BITS) - 1);
	entry->owner = value >> XPIN_ENTRY_BITS;
}

static bool entry_load(struct xa_state *xas, struct xpin_entry *entry)
{
	void *packed = xas_load(xas);

	if (!packed)
		return false;
	entry_unpack(entry, packed);
	return true;
}

/*
 * Store @entry for @folio at @xas, or erase what is there when it has no pins.
 * The lock is held, which makes the bit and the entry change together.
 */
static void entry_store(struct xa_state *xas, struct registry_owner *owner,
			struct folio *folio, const struct xpin_entry *entry)
{
	void *new = entry->pins ? entry_pack(entry) : NULL, *old;
	unsigned long pfn = folio_pfn(folio);
	int change = 0, deny_get = 0;
	unsigned long *section;

	lockdep_assert_held(&entries.xa_lock);
	rcu_read_lock();
	section = filter_section(pfn);
	if (new)
		set_bit(pfn & (REGISTRY_FILTER_BITS - 1), section);
	old = xas_store(xas, new);
	if (!xas_error(xas)) {
		change = (new ? 1 : 0) - (old ? 1 : 0);
		deny_get = packed_deny_get(new) - packed_deny_get(old);
	}
	if (!new || xas_error(xas))
		clear_bit(pfn & (REGISTRY_FILTER_BITS - 1), section);
	rcu_read_unlock();

	if (change) {
		atomic_long_add(change, &nr_entries);
		atomic_long_add(change, &owner->entries);
		atomic_long_add(change * folio_nr_pages(folio), &owner->pages);
	}
	if (deny_get)
		atomic_long_add(deny_get, &owner->deny_get);
}

/* Nothing of the folio is exclusive any more. */
static void entry_share(struct xpin_entry *entry)
{
	entry->state = XPIN_SHARED;
	entry->deny_get = false;
}

/* Add @pins to an entry, or begin one. The caller drains, unless it is OWNED. */
static int publish_one(struct xa_state *xas, struct registry_owner *owner,
		       const struct folio_pins *pins, unsigned int counts)
{
	struct xpin_entry entry = {
		.owner = owner->id,
		.state = XPIN_CLAIMING,
	};

	if (entry_load(xas, &entry)) {
		if (entry.owner != owner->id)
			return -EBUSY;
		if (entry.state == XPIN_SHARED)
			entry.state = XPIN_CLAIMING;
	} else if (!(counts & REGISTRY_PINS)) {
		return -ENOENT;
	}

	if (counts & REGISTRY_PINS)
		entry.pins += pins->pins;
	entry.excl += pins->pins;
	if (entry.pins > (folio_test_large(pins->folio) ? XPIN_PINS_MAX :
							  XPIN_PINS_MAX_SMALL))
		return -EOVERFLOW;
	if (WARN_ON_ONCE(entry.excl > entry.pins))
		return -EINVAL;

	entry_store(xas, owner, pins->folio, &entry);
	return 0;
}

/**
 * registry_publish() - enter folios as CLAIMING, or add to one's own entries
 * @owner: who claims
 * @folios: what, by ascending PFN and each once
 * @nr: entries in @folios
 * @counts: REGISTRY_PINS | REGISTRY_EXCL for new pins, REGISTRY_EXCL to unshare
 * @published: out: how many of @folios were entered, all on success
 *
 * From here on strangers are refused. The caller must issue smp_mb() before it
 * tries to promote. On error it withdraws what was published.
 *
 * Context: may sleep.
 * Return: 0; -EBUSY when another owner has an entry; -EOVERFLOW when the owner
 * would have too many pins of a folio; -ENOENT when there is nothing to
 * unshare; -ENOMEM.
 */
int registry_publish(struct registry_owner *owner,
		     const struct folio_pins *folios, unsigned int nr,
		     unsigned int counts, unsigned int *published)
{
	XA_STATE(xas, &entries, 0);
	unsigned int i, end;
	int ret = 0;

	*published = 0;
	for (i = 0; i < nr; i++) {
		ret = filter_reserve(folio_pfn(folios[i].folio));
		if (ret)
			return ret;
	}

	i = 0;
	do {
		end = min(i + REGISTRY_BATCH, nr);
		xas_lock_irq(&xas);
		for (; i < end; i++) {
			xas_set(&xas, folio_pfn(folios[i].folio));
			ret = publish_one(&xas, owner, &folios[i], counts);
			if (ret || xas_error(&xas))
				break;
		}
		xas_unlock_irq(&xas);
		*published = i;
		/* Out of nodes: get one without the lock and go on at i. */
	} while (xas_nomem(&xas, GFP_KERNEL) ||
		 (!ret && !xas_error(&xas) && i < nr));
	return ret ?: xas_error(&xas);
}

/**
 * registry_promote() - make entries OWNED as far as nobody else pins the folio
 * @owner: whose entries
 * @folios: what it published
 * @nr: entries in @folios
 *
 * Context: any in which interrupts are on.
 * Return: how many of the leading @folios are OWNED now.
 */
unsigned int registry_promote(const struct registry_owner *owner,
			      const struct folio_pins *folios, unsigned int nr)
{
	XA_STATE(xas, &entries, 0);
	struct xpin_entry entry;
	unsigned int i = 0, end;

	do {
		end = min(i + REGISTRY_BATCH, nr);
		xas_lock_irq(&xas);
		for (; i < end; i++) {
			xas_set(&xas, folio_pfn(folios[i].folio));
			if (WARN_ON_ONCE(!entry_load(&xas, &entry) ||
					 entry.owner != owner->id))
				break;
			if (entry.state == XPIN_OWNED)
				continue;
			/*
			 * The count is read before OWNED is written: control
			 * dependency, pairs with smp_mb__before_atomic() in
			 * __gup_pin_notifier_unpin().
			 */
			if (folio_pins(folios[i].folio) != entry.pins)
				break;
			entry.state = XPIN_OWNED;
			xas_store(&xas, entry_pack(&entry));
		}
		xas_unlock_irq(&xas);
	} while (i == end && i < nr);
	return i;
}

/**
 * registry_withdraw() - take one's own counts out of entries again
 * @owner: whose entries
 * @folios: what, in any order
 * @nr: entries in @folios
 * @counts: REGISTRY_EXCL to share, or after an unshare that failed;
 *	REGISTRY_PINS | REGISTRY_EXCL to release; REGISTRY_PINS to release what
 *	is shared
 *
 * An entry without pins is erased; the caller drops the pins afterwards. An
 * entry with pins but nothing exclusive is SHARED.
 *
 * Context: any in which interrupts are on. Does not fail.
 */
void registry_withdraw(struct registry_owner *owner,
		       const struct folio_pins *folios, unsigned int nr,
		       unsigned int counts)
{
	XA_STATE(xas, &entries, 0);
	struct xpin_entry entry;
	unsigned int i = 0, end;

	while (i < nr) {
		end = min(i + REGISTRY_BATCH, nr);
		xas_lock_irq(&xas);
		for (; i < end; i++) {
			u32 pins = folios[i].pins;

			xas_set(&xas, folio_pfn(folios[i].folio));
			if (WARN_ON_ONCE(!entry_load(&xas, &entry) ||
					 entry.owner != owner->id))
				continue;
			/* What was never taken can't be given back. */
			if (counts & REGISTRY_PINS)
				entry.pins -= WARN_ON_ONCE(pins > entry.pins) ?
					      entry.pins : pins;
			if (counts & REGISTRY_EXCL)
				entry.excl -= WARN_ON_ONCE(pins > entry.excl) ?
					      entry.excl : pins;
			if (WARN_ON_ONCE(entry.excl > entry.pins))
				entry.excl = entry.pins;
			if (!entry.excl)
				entry_share(&entry);
			entry_store(&xas, owner, folios[i].folio, &entry);
		}
		xas_unlock_irq(&xas);
	}
}

/**
 * registry_deny_get() - refuse plain references to folios, too
 * @owner: who has published and promoted them, and does not share or withdraw
 *	that meanwhile
 * @folios: what, in any order
 * @nr: entries in @folios
 *
 * For as long as the owner has anything exclusive of a folio. The caller must
 * issue smp_mb() before it looks for references that were taken before.
 *
 * Context: any in which interrupts are on. Does not fail.
 */
void registry_deny_get(struct registry_owner *owner,
		       const struct folio_pins *folios, unsigned int nr)
{
	XA_STATE(xas, &entries, 0);
	struct xpin_entry entry;
	unsigned int i = 0, end;

	while (i < nr) {
		end = min(i + REGISTRY_BATCH, nr);
		xas_lock_irq(&xas);
		for (; i < end; i++) {
			xas_set(&xas, folio_pfn(folios[i].folio));
			if (WARN_ON_ONCE(!entry_load(&xas, &entry) ||
					 entry.owner != owner->id ||
					 entry.state != XPIN_OWNED))
				continue;
			entry.deny_get = true;
			entry_store(&xas, owner, folios[i].folio, &entry);
		}
		xas_unlock_irq(&xas);
	}
}

/**
 * registry_count_down() - an owner drops pins by plain unpin_user_page()
 * @folio: whose pins are about to drop
 * @refs: by how many
 * @call: registry_call_owner() of the call that drops them
 *
 * Only an OWNED entry is counted down: whoever pins such a folio is its owner.
 * For its owner's own marked calls the module keeps the books itself: GUP's
 * long-term migration inside them unpins what is owned, and unwinding a claim
 * must not end another.
 *
 * Context: any but NMI; hard interrupts too.
 */
void registry_count_down(struct folio *folio, u32 refs, u32 call)
{
	XA_STATE(xas, &entries, folio_pfn(folio));
	struct registry_owner *owner;
	struct xpin_entry entry;
	unsigned long flags;

	xas_lock_irqsave(&xas, flags);
	if (entry_load(&xas, &entry) && entry.state == XPIN_OWNED &&
	    entry.owner != call) {
		/* An owner is not removed as long as it has entries. */
		owner = xa_load(&owners, entry.owner);
		entry.pins -= min(refs, entry.pins);
		entry.excl -= min(refs, entry.excl);
		if (!entry.excl)
			entry_share(&entry);
		entry_store(&xas, owner, folio, &entry);
	}
	xas_unlock_irqrestore(&xas, flags);
}

/**
 * registry_lookup() - who owns a folio
 * @pfn: of the folio's first page
 * @entry: out: a snapshot of its entry
 *
 * Context: any, NMI too.
 * Return: false when there is no entry.
 */
bool registry_lookup(unsigned long pfn, struct xpin_entry *entry)
{
	void *packed = xa_load(&entries, pfn);

	if (!packed)
		return false;
	entry_unpack(entry, packed);
	return true;
}

/* --- Calls of GUP that are ours --- */

/**
 * registry_call_begin() - mark what this task pins and unpins as an owner's
 * @owner: whose
 *
 * A task looks for its own mark only, so the mark needs no order. It must not
 * fail, since releasing must not.
 *
 * Context: may sleep. Does not nest.
 */
void registry_call_begin(const struct registry_owner *owner)
{
	WARN_ON_ONCE(xa_store(&calls, task_pid_nr(current),
			      xa_mk_value(owner->id),
			      GFP_KERNEL | __GFP_NOFAIL));
}

/**
 * registry_call_end() - undo registry_call_begin()
 *
 * Context: process context.
 */
void registry_call_end(void)
{
	xa_erase(&calls, task_pid_nr(current));
}

/**
 * registry_call_owner() - is this one of our own calls?
 *
 * Context: any; an interrupt that came during such a call is not part of it.
 * Return: identity of the owner it is made for, 0 for a stranger's call.
 */
u32 registry_call_owner(void)
{
	void *owner;

	if (!in_task())
		return 0;
	owner = xa_load(&calls, task_pid_nr(current));
	return owner ? xa_to_value(owner) : 0;
}

/* --- What claims can't pin yet --- */

/* A PID, as in PID_MAX_LIMIT, a time and a hash share an XArray value. */
#define WANTED_PID_BITS		22
#define WANTED_TIME_BITS	10
#define WANTED_PLACE_SHIFT	(WANTED_PID_BITS + WANTED_TIME_BITS)
#define WANTED_PLACE_BITS	(BITS_PER_LONG - 1 - WANTED_PLACE_SHIFT)

/*
 * Where a folio belongs. Nobody holds a reference, so the folio may be freed,
 * and its PFN be another's; a hash, since what mapping points to may be gone.
 */
static unsigned long wanted_place(struct folio *folio)
{
	unsigned long mapping = (unsigned long)READ_ONCE(folio->mapping);

	return hash_long(mapping ^ hash_long(READ_ONCE(folio->index),
					     BITS_PER_LONG),
			 WANTED_PLACE_BITS);
}

/* Seconds, which wrap around. */
static unsigned long wanted_time(void)
{
	return (jiffies / HZ) & (BIT(WANTED_TIME_BITS) - 1);
}

/**
 * registry_want() - have strangers refused who peek at a folio
 * @folio: which the caller holds a reference to, for now
 *
 * Until this task's registry_want_nothing(), but not for longer than two seconds:
 * the claimer may be held up in a page fault, which no timeout ends. So it has to
 * say again what it still wants. Once the folio has migrated or is gone for
 * another reason, this refuses nobody: then its PFN stands for another place. The
 * new folio needs no mark, nothing keeps the claimer from pinning it.
 * Of two tasks that want a folio the last one counts: when it is through, the
 * other's next attempt marks the folio again. Must not fail, since nobody would
 * notice that claims starve.
 *
 * Context: may sleep.
 */
void registry_want(struct folio *folio)
{
	unsigned long value = wanted_place(folio) << WANTED_PLACE_SHIFT |
			      wanted_time() << WANTED_PID_BITS |
			      task_pid_nr(current);

	BUILD_BUG_ON(BIT(WANTED_PID_BITS) < PID_MAX_LIMIT);
	WARN_ON_ONCE(xa_err(xa_store(&wanted, folio_pfn(folio),
				     xa_mk_value(value),
				     GFP_KERNEL | __GFP_NOFAIL)));
}

/**
 * registry_want_nothing() - undo what this task did by registry_want()
 *
 * Context: process context.
 */
void registry_want_nothing(void)
{
	unsigned long pfn, pid;
	void *packed;

	xa_for_each(&wanted, pfn, packed) {
		pid = xa_to_value(packed) & (BIT(WANTED_PID_BITS) - 1);
		if (pid == task_pid_nr(current))
			xa_cmpxchg(&wanted, pfn, packed, NULL, 0);
	}
}

/**
 * registry_wanted() - does a claim wait for strangers to leave this folio?
 * @folio: perhaps without a reference, so that it may change under us
 *
 * Context: any.
 * Return: whether a stranger should keep away. False for the owners' own calls.
 */
bool registry_wanted(struct folio *folio)
{
	void *packed = xa_load(&wanted, folio_pfn(folio));
	unsigned long value, age;

	if (!packed)
		return false;
	value = xa_to_value(packed);
	age = (wanted_time() - (value >> WANTED_PID_BITS)) &
	      (BIT(WANTED_TIME_BITS) - 1);
	return age <= 1 &&
	       value >> WANTED_PLACE_SHIFT == wanted_place(folio) &&
	       !registry_call_owner();
}

/* --- Owners --- */

/**
 * registry_owner_add() - give an owner its identity
 * @owner: whose id is set
 *
 * Context: may sleep.
 * Return: 0, -ENOMEM, or -EBUSY when there are XPIN_OWNER_MAX owners.
 */
int registry_owner_add(struct registry_owner *owner)
{
	int ret = xa_alloc(&owners, &owner->id, owner,
			   XA_LIMIT(1, XPIN_OWNER_MAX), GFP_KERNEL_ACCOUNT);

	if (!ret)
		atomic_long_inc(&nr_owners);
	return ret;
}

/* Erase an entry whose owner is going without having released it. */
static void owner_forget(unsigned long pfn)
{
	xa_lock_irq(&entries);
	__xa_erase(&entries, pfn);
	rcu_read_lock();
	clear_bit(pfn & (REGISTRY_FILTER_BITS - 1), filter_section(pfn));
	rcu_read_unlock();
	xa_unlock_irq(&entries);
	atomic_long_dec(&nr_entries);
}

/**
 * registry_owner_remove() - take an owner's identity away
 * @owner: who should have no entries left; those it has lose their protection
 *
 * Context: may sleep.
 */
void registry_owner_remove(struct registry_owner *owner)
{
	struct xpin_entry entry;
	unsigned long pfn;
	void *packed;
	long left;

	/* The lock: an interrupt that counts the last entry down is through. */
	xa_lock_irq(&entries);
	left = atomic_long_read(&owner->entries);
	xa_unlock_irq(&entries);
	if (WARN_ON_ONCE(left)) {
		xa_for_each(&entries, pfn, packed) {
			entry_unpack(&entry, packed);
			if (entry.owner == owner->id)
				owner_forget(pfn);
		}
		atomic_long_set(&owner->pages, 0);
		atomic_long_set(&owner->deny_get, 0);
	}
	xa_erase(&owners, owner->id);
	atomic_long_dec(&nr_owners);
}

/**
 * registry_owners() - how many owners there are
 *
 * Return: a snapshot.
 */
unsigned long registry_owners(void)
{
	return atomic_long_read(&nr_owners);
}

/**
 * registry_entries() - how many folios are owned or being claimed
 *
 * Return: a snapshot.
 */
unsigned long registry_entries(void)
{
	return atomic_long_read(&nr_entries);
}

/**
 * registry_init() - make the registry usable
 *
 * Return: 0 or -ENOMEM.
 */
int registry_init(void)
{
	return filter_init();
}

/**
 * registry_exit() - free what registry_init() and publishing allocated
 *
 * No owner is left, and nobody looks anything up any more.
 */
void registry_exit(void)
{
	WARN_ON_ONCE(registry_entries());
	/* Nodes may be left where memory ran out half way to an entry. */
	xa_destroy(&entries);
	xa_destroy(&owners);
	xa_destroy(&calls);
	xa_destroy(&wanted);
	filter_exit();
}
