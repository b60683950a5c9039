/* SPDX-License-Identifier: GPL-2.0 */
/* What the references to a folio are made of, as it was on older kernels. */
#ifndef _XPIN_COMPAT_REFS_H
#define _XPIN_COMPAT_REFS_H

#include <linux/hugetlb.h>
#include <linux/mm.h>

#include "probed.h"

/* References of the page cache to a folio of a file. */
static inline long compat_file_refs(struct folio *folio)
{
	/* Until they were indexed as others are, one for all of a huge page. */
	if (!HAVE_FILEMAP_LOCK_HUGETLB_FOLIO && folio_test_hugetlb(folio))
		return 1;
	return folio_nr_pages(folio);
}

#if HAVE_FOLIO_LARGE_MAPCOUNT
#define compat_folio_mapcount	folio_mapcount
#else
static inline int compat_folio_mapcount(struct folio *folio)
{
	int whole, i, nr = folio_nr_pages(folio), parts = 0;

	if (!folio_test_large(folio))
		return atomic_read(&folio->_mapcount) + 1;
	whole = folio_entire_mapcount(folio);
	if (folio_test_hugetlb(folio))
		return whole;
	for (i = 0; i < nr; i++)
		parts += atomic_read(&folio_page(folio, i)->_mapcount) + 1;
	/* Mappings of the whole count in each part, too; of a THP only one. */
	if (!folio_test_anon(folio))
		parts -= whole * nr;
	else if (folio_test_double_map(folio))
		parts -= nr;
	return whole + parts;
}
#endif

#endif /* _XPIN_COMPAT_REFS_H */
