// SPDX-License-Identifier: GPL-2.0
/*
 * The answers to a backend's questions: may this be pinned? Being asked about a
 * pin only reads; hearing of an unpin may only count down and erase.
 */
#include <linux/mm.h>
#include <linux/percpu.h>

#include "guard.h"
#include "registry.h"

static DEFINE_PER_CPU(unsigned long, vetoes);

/* guard_refuses(), where there may be an entry: apart, for that is rare. */
static noinline bool entry_refuses(unsigned long pfn, bool get)
{
	struct xpin_entry entry;

	if (!registry_lookup(pfn, &entry) || entry.state == XPIN_SHARED)
		return false;
	/* The module's own calls, whoever they are for, look who has what. */
	if (get)
		return entry.deny_get && !registry_call_owner();
	/* Only the owner's own calls may add pins. */
	return registry_call_owner() != entry.owner;
}

/*
 * Is a pin, or with @get a plain reference, by the current call in the way of the
 * folio's owner?
 */
static __always_inline bool guard_refuses(unsigned long pfn, bool get)
{
	return unlikely(registry_filter(pfn)) && entry_refuses(pfn, get);
}

/**
 * guard_pin() - how many of these pages may stay pinned?
 * @pages: pages that were just pinned; a full barrier came after the counts
 *	rose, and pairs with the one in claim_settle()
 * @nr: how many
 * @get: they were not pinned, but have a plain reference
 *
 * Context: RCU read-side critical section, interrupts perhaps off; with @get any
 * context, NMI too.
 * Return: the number of leading pages that nobody else owns.
 */
unsigned int guard_pin(struct page **pages, unsigned int nr, bool get)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (unlikely(guard_refuses(folio_pfn(page_folio(pages[i])),
					   get))) {
			this_cpu_inc(vetoes);
			break;
		}
	}
	return i;
}

/**
 * guard_peek() - is it worth grabbing this page?
 * @page: a page without a reference, so its folio may change under us: advice
 *
 * Context: RCU read-side critical section, interrupts perhaps off.
 * Return: false when guard_pin() would most likely refuse it, or when a claim
 * waits to pin it and can't because others do.
 */
bool guard_peek(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (likely(!guard_refuses(folio_pfn(folio), false) &&
		   !registry_wanted(folio)))
		return true;
	this_cpu_inc(vetoes);
	return false;
}

/**
 * guard_unpin() - pins are about to drop
 * @folio: whose
 * @refs: by how many
 *
 * Context: as guard_peek(); hard interrupts too.
 */
void guard_unpin(struct folio *folio, unsigned int refs)
{
	if (unlikely(registry_filter(folio_pfn(folio))))
		registry_count_down(folio, refs, registry_call_owner());
}

/**
 * guard_vetoes() - how often somebody was refused
 *
 * Return: a snapshot of the count since the module was loaded. What
 * GUP-fast and then its slow path try counts twice.
 */
unsigned long guard_vetoes(void)
{
	unsigned long sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += per_cpu(vetoes, cpu);
	return sum;
}
