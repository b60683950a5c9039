/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XPIN_CLAIM_H
#define _XPIN_CLAIM_H

#include <linux/types.h>
#include <linux/xpin.h>

/* The most a claim or an unshare may wait for foreign pins, in milliseconds. */
extern unsigned int max_timeout_ms;

bool claim_owner_is_current(const struct xpin_owner *owner);
u8 claim_page_state(struct xpin_owner *owner, unsigned long addr);

#endif /* _XPIN_CLAIM_H */
