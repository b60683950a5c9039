// SPDX-License-Identifier: GPL-2.0
/* Since 6.7. */
#include <linux/hugetlb.h>

struct folio *(*probe)(struct hstate *h, struct address_space *mapping,
		       pgoff_t idx) = filemap_lock_hugetlb_folio;
