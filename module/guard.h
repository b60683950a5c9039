/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XPIN_GUARD_H
#define _XPIN_GUARD_H

#include <linux/types.h>

struct folio;
struct page;

unsigned int guard_pin(struct page **pages, unsigned int nr, bool get);
bool guard_peek(struct page *page);
void guard_unpin(struct folio *folio, unsigned int refs);
unsigned long guard_vetoes(void);

#endif /* _XPIN_GUARD_H */
