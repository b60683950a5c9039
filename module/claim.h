/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XPIN_CLAIM_H
#define _XPIN_CLAIM_H

#include <linux/types.h>
#include <linux/xpin.h>

/* The most a claim or an unshare may wait for foreign pins, in milliseconds. */
extern unsigned int claim_max_timeout_ms;

bool claim_owner_is_current(const struct xpin_owner *owner);
void claim_release_begin(struct xpin_owner *owner);
void claim_release(struct xpin_owner *owner, struct page **pages,
		   unsigned long nr_pages, bool shared);
void claim_release_end(struct xpin_owner *owner);
void claim_share(struct xpin_owner *owner, struct page **pages,
		 unsigned long nr_pages);
unsigned long claim_refused(struct xpin_owner *owner, struct page **pages,
			    unsigned long nr_pages);
u8 claim_page_state(struct xpin_owner *owner, unsigned long addr);

#endif /* _XPIN_CLAIM_H */
