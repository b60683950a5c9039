/* SPDX-License-Identifier: GPL-2.0 */
/* GUP's entry points, as they were on older kernels. */
#ifndef _XPIN_COMPAT_GUP_H
#define _XPIN_COMPAT_GUP_H

#include <linux/errno.h>
#include <linux/mm.h>

#include "probed.h"

/* Two entry points had one more parameter. */
#if HAVE_PIN_USER_PAGES_NO_VMAS
#define COMPAT_PAGES_PARAMETERS	struct page **pages
#define compat_pin_user_pages(start, nr_pages, flags, pages, ...) \
	pin_user_pages(start, nr_pages, flags, pages)
#define compat_pin_user_pages_remote(mm, start, nr_pages, flags, pages, \
				     locked, ...) \
	pin_user_pages_remote(mm, start, nr_pages, flags, pages, locked)
#else
#define COMPAT_PAGES_PARAMETERS	struct page **pages, struct vm_area_struct **vmas
#define compat_pin_user_pages	pin_user_pages
#define compat_pin_user_pages_remote(mm, start, nr_pages, flags, pages, \
				     locked, vmas) \
	pin_user_pages_remote(mm, start, nr_pages, flags, pages, vmas, locked)
#endif

#if HAVE_NO_PIN_USER_PAGES_FAST_ONLY
#define compat_pin_user_pages_fast_only(...)	(-EOPNOTSUPP)
#else
#define compat_pin_user_pages_fast_only	pin_user_pages_fast_only
#endif

#endif /* _XPIN_COMPAT_GUP_H */
