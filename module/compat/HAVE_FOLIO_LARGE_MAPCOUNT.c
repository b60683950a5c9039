// SPDX-License-Identifier: GPL-2.0
/* Since 6.10, where folio_mapcount() has become something that modules can call. */
#include <linux/mm.h>

int (*probe)(const struct folio *folio) = folio_large_mapcount;
