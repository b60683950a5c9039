// SPDX-License-Identifier: GPL-2.0
/*
 * Plain references to a folio: are there more than the kernel's own books
 * explain? Knows no owners.
 */
#include <linux/cpu.h>
#include <linux/mm.h>
#include <linux/workqueue.h>

#include "compat/folio_batch.h"
#include "compat/refs.h"
#include "refs.h"

/*
 * Releasing a batch has this processor sort into the LRU lists what it keeps for
 * that in batches of its own, with a reference to each folio.
 */
static long settle_cpu(void *folio)
{
	struct folio_batch batch;

	folio_batch_init(&batch);
	folio_get(folio);
	folio_batch_add(&batch, folio);
	folio_batch_release(&batch);
	return 0;
}

/**
 * refs_settle_here() - have this processor drop the references it keeps
 * @folio: any that the caller has a reference to
 *
 * Context: process context.
 */
void refs_settle_here(struct folio *folio)
{
	settle_cpu(folio);
}

/**
 * refs_settle() - have all processors drop the references they keep for a while
 * @folio: any that the caller has a reference to
 *
 * Context: may sleep.
 */
void refs_settle(struct folio *folio)
{
	int cpu;

	cpus_read_lock();
	for_each_online_cpu(cpu)
		work_on_cpu(cpu, settle_cpu, folio);
	cpus_read_unlock();
}

/* References of mappings, the page cache and the swap cache. */
static long refs_explained(struct folio *folio)
{
	long refs = compat_folio_mapcount(folio);

	if (folio_test_swapcache(folio))
		refs += folio_nr_pages(folio);
	if (!folio_test_anon(folio) && folio->mapping)
		refs += compat_file_refs(folio);
	if (!folio_test_anon(folio) && folio_test_private(folio))
		refs++;
	return refs;
}

/**
 * refs_unexplained() - does anybody have a plain reference?
 * @folio: ownable memory to which the caller has a reference
 * @pins: pins on it, all of them
 *
 * Beside those of mappings, of the page cache and of the swap cache.
 *
 * Context: any.
 * Return: true when somebody has, or when the folio is mapped at this moment.
 * False when nobody has, unless it is unmapped at this moment.
 */
bool refs_unexplained(struct folio *folio, unsigned int pins)
{
	/* A small folio keeps its pins there, a large one beside it. */
	long per_pin = folio_test_large(folio) ? 1 : GUP_PIN_COUNTING_BIAS;
	long explained = refs_explained(folio) + pins * per_pin;

	/* What is mapped meanwhile must not explain somebody's reference. */
	smp_rmb();
	return folio_ref_count(folio) > explained;
}
