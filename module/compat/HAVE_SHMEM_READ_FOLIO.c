// SPDX-License-Identifier: GPL-2.0
/* Since 6.6. */
#include <linux/shmem_fs.h>

struct folio *(*probe)(struct address_space *mapping,
		       pgoff_t index) = shmem_read_folio;
