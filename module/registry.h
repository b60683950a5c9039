/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XPIN_REGISTRY_H
#define _XPIN_REGISTRY_H

#include <linux/atomic.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/types.h>

/**
 * enum xpin_state - of an entry; the protocol at the top of registry.c
 * @XPIN_CLAIMING: strangers are refused, foreign pins may still be there
 * @XPIN_OWNED: strangers are refused, and there are no foreign pins
 * @XPIN_SHARED: strangers may pin, but no other owner may enter
 */
enum xpin_state {
	XPIN_CLAIMING,
	XPIN_OWNED,
	XPIN_SHARED,
};

/*
 * The owner, both counts, the state and a flag share an XArray value: 20 + 20 +
 * 20 + 2 + 1 bits.
 */
#define XPIN_ENTRY_BITS		20
#define XPIN_OWNER_MAX		(BIT(XPIN_ENTRY_BITS) - 1)
/*
 * The most pins one owner may have of a large folio: three times all pages of
 * one of 1 GiB. A small one keeps its pins in the upper 21 bits of a signed
 * refcount; a quarter of that is ours.
 */
#define XPIN_PINS_MAX		(BIT(XPIN_ENTRY_BITS) - 1)
#define XPIN_PINS_MAX_SMALL	(BIT(XPIN_ENTRY_BITS - 1) - 1)

/**
 * struct xpin_entry - what is known about a folio somebody owns
 * @owner: identity of the owner, 1 to XPIN_OWNER_MAX
 * @pins: pins of this owner on the folio
 * @excl: those of @pins that want exclusivity
 * @state: one of enum xpin_state
 * @deny_get: plain references by GUP are refused, too. Only while OWNED.
 */
struct xpin_entry {
	u32 owner;
	u32 pins;
	u32 excl;
	enum xpin_state state;
	bool deny_get;
};

/**
 * struct registry_owner - the registry's side of an owner
 * @id: what entries call it; set by registry_owner_add()
 * @entries: entries it has. Written under the registry's lock.
 * @pages: pages in the folios of those entries. Written under the lock.
 * @deny_get: entries of those that refuse plain references, too. Likewise.
 */
struct registry_owner {
	u32 id;
	atomic_long_t entries;
	atomic_long_t pages;
	atomic_long_t deny_get;
};

/**
 * struct folio_pins - some pins of one folio, on their way through a claim
 * @folio: the folio; whoever passes it holds at least these pins
 * @pins: how many
 * @index: lowest index of their pages in the array they came from
 */
struct folio_pins {
	struct folio *folio;
	u32 pins;
	u32 index;
};

/* Which counts of an entry an operation changes. */
#define REGISTRY_PINS	BIT(0)
#define REGISTRY_EXCL	BIT(1)

int registry_init(void);
void registry_exit(void);

int registry_owner_add(struct registry_owner *owner);
void registry_owner_remove(struct registry_owner *owner);
unsigned long registry_owners(void);
unsigned long registry_entries(void);

int registry_publish(struct registry_owner *owner,
		     const struct folio_pins *folios, unsigned int nr,
		     unsigned int counts, unsigned int *published);
unsigned int registry_promote(const struct registry_owner *owner,
			      const struct folio_pins *folios, unsigned int nr);
void registry_withdraw(struct registry_owner *owner,
		       const struct folio_pins *folios, unsigned int nr,
		       unsigned int counts);
void registry_deny_get(struct registry_owner *owner,
		       const struct folio_pins *folios, unsigned int nr);
void registry_count_down(struct folio *folio, u32 refs, u32 call);

/* What a section has a bit for: as many PFNs as a page has bits. */
#define REGISTRY_FILTER_SHIFT	(PAGE_SHIFT + 3)
#define REGISTRY_FILTER_BITS	BIT(REGISTRY_FILTER_SHIFT)

/**
 * struct registry_filter_table - where the sections are
 * @rcu: frees it when a larger one has replaced it
 * @nr: entries in @section
 * @section: a bit for every PFN that may have an entry; NULL when none ever had
 */
struct registry_filter_table {
	struct rcu_head rcu;
	unsigned long nr;
	unsigned long *section[];
};

extern struct registry_filter_table __rcu *registry_filter_table;

/* The bits for @pfn and its neighbours, or NULL. */
static inline unsigned long *
registry_filter_section(const struct registry_filter_table *table,
			unsigned long pfn)
{
	unsigned long nr = pfn >> REGISTRY_FILTER_SHIFT;

	/* Pairs with smp_store_release() in filter_reserve(). */
	return nr < table->nr ? READ_ONCE(table->section[nr]) : NULL;
}

/**
 * registry_filter() - may there be an entry?
 * @pfn: of a folio's first page
 *
 * In line, for it is what most pins come to while something is claimed.
 *
 * Context: RCU read-side critical section; any context, NMI too.
 * Return: false when there is no entry.
 */
static inline bool registry_filter(unsigned long pfn)
{
	const unsigned long *section =
		registry_filter_section(rcu_dereference(registry_filter_table),
					pfn);

	return section && test_bit(pfn & (REGISTRY_FILTER_BITS - 1), section);
}

bool registry_lookup(unsigned long pfn, struct xpin_entry *entry);

void registry_call_begin(const struct registry_owner *owner);
void registry_call_end(void);
u32 registry_call_owner(void);

void registry_want(struct folio *folio);
void registry_want_nothing(void);
bool registry_wanted(struct folio *folio);

/*
 * Exact for large folios. Small ones keep their pins in the refcount: no pin is
 * ever missed, but 1024 plain references look like one.
 */
static inline unsigned int folio_pins(struct folio *folio)
{
	if (folio_test_large(folio))
		return atomic_read(&folio->_pincount);
	return (unsigned int)folio_ref_count(folio) / GUP_PIN_COUNTING_BIAS;
}

#endif /* _XPIN_REGISTRY_H */
