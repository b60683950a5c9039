/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What newer kernels have, by their names, for those that lack it. The files
 * HAVE_*.c say since when a kernel has it.
 */
#ifndef _XPIN_COMPAT_H
#define _XPIN_COMPAT_H

#include <linux/err.h>
#include <linux/mm.h>
#include <linux/shmem_fs.h>

#include "probed.h"

#if !HAVE_SHMEM_READ_FOLIO
static inline struct folio *shmem_read_folio(struct address_space *mapping,
					     pgoff_t index)
{
	struct page *page = shmem_read_mapping_page(mapping, index);

	return IS_ERR(page) ? ERR_CAST(page) : page_folio(page);
}
#endif

#if !HAVE_MEMFD_PIN_FOLIOS
/*
 * There is no other way to pin a file's pages that are not mapped: moving them
 * out of movable memory first takes functions that modules can't call.
 */
static inline long memfd_pin_folios(struct file *memfd, loff_t start,
				    loff_t end, struct folio **folios,
				    unsigned int max_folios, pgoff_t *offset)
{
	return -EOPNOTSUPP;
}

static inline void unpin_folio(struct folio *folio)
{
}

static inline void unpin_folios(struct folio **folios, unsigned long nfolios)
{
}
#endif

#endif /* _XPIN_COMPAT_H */
