/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Exclusive GUP pins for in-kernel owners: hypervisor drivers, and /dev/xpin
 * itself. The words and the protocol are explained at the top of registry.c.
 */
#ifndef _LINUX_XPIN_H
#define _LINUX_XPIN_H

#include <linux/bits.h>
#include <linux/mm_types.h>
#include <linux/types.h>

struct file;
struct xpin_owner;

/**
 * XPIN_KERNEL_API_VERSION - what this header describes
 *
 * Raised by each change that a caller can notice: a function more, one that
 * takes or returns something else, or one that now means something else. So
 * what a driver needs is there if this is at least the number that had it, and
 * nothing has changed under it if this is the number it was written for.
 * xpin_kernel_api_version() is this of the module that is loaded.
 */
#define XPIN_KERNEL_API_VERSION	1
u32 xpin_kernel_api_version(void);

/*
 * The owner may drop pins with plain unpin_user_page() and its relatives while
 * it owns the folio exclusively; but not in what may run inside of a call of this
 * owner's, such as mmu notifiers and shrinkers. There, leave it to a work item,
 * and all that the functions below do. Costs everybody a look at each unpin for
 * as long as the owner exists; without it pins go through xpin_unpin_pages() only.
 */
#define XPIN_OWNER_PLAIN_UNPIN	BIT(0)

struct xpin_owner *xpin_owner_create(unsigned int flags);
void xpin_owner_destroy(struct xpin_owner *owner);

int xpin_pin_user_pages(struct xpin_owner *owner, unsigned long start,
			unsigned long nr_pages, struct page **pages,
			u64 *timeout_ns, unsigned long *busy);
int xpin_pin_memfd(struct xpin_owner *owner, struct file *memfd, loff_t start,
		   unsigned long nr_pages, struct page **pages,
		   u64 *timeout_ns, unsigned long *busy);
void xpin_unpin_pages(struct xpin_owner *owner, struct page **pages,
		      unsigned long nr_pages);
void xpin_unpin_shared_pages(struct xpin_owner *owner, struct page **pages,
			     unsigned long nr_pages);
unsigned long xpin_share_pages(struct xpin_owner *owner, struct page **pages,
			       unsigned long nr_pages);
int xpin_unshare_pages(struct xpin_owner *owner, struct page **pages,
		       unsigned long nr_pages, u64 *timeout_ns,
		       unsigned long *busy);
long xpin_deny_get_pages(struct xpin_owner *owner, struct page **pages,
			 unsigned long nr_pages);
u32 xpin_folio_owner(struct folio *folio);
u32 xpin_owner_id(const struct xpin_owner *owner);

#endif /* _LINUX_XPIN_H */
