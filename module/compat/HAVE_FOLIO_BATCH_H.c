// SPDX-License-Identifier: GPL-2.0
/* Since 7.3 or not long before it; 6.12 does not have it. */
#include <linux/folio_batch.h>
