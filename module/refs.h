/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XPIN_REFS_H
#define _XPIN_REFS_H

#include <linux/types.h>

struct folio;

void refs_settle_here(struct folio *folio);
void refs_settle(struct folio *folio);
bool refs_unexplained(struct folio *folio, unsigned int pins);

#endif /* _XPIN_REFS_H */
