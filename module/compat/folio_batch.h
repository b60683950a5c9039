/* SPDX-License-Identifier: GPL-2.0 */
/* struct folio_batch has been moved to a header of its own. */
#ifndef _XPIN_COMPAT_FOLIO_BATCH_H
#define _XPIN_COMPAT_FOLIO_BATCH_H

#include "probed.h"

#if HAVE_FOLIO_BATCH_H
#include <linux/folio_batch.h>
#else
#include <linux/pagevec.h>
#endif

#endif /* _XPIN_COMPAT_FOLIO_BATCH_H */
