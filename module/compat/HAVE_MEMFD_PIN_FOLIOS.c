// SPDX-License-Identifier: GPL-2.0
/* Since 6.11, with unpin_folio() and unpin_folios(). */
#include <linux/mm.h>

long (*probe)(struct file *memfd, loff_t start, loff_t end,
	      struct folio **folios, unsigned int max_folios,
	      pgoff_t *offset) = memfd_pin_folios;
