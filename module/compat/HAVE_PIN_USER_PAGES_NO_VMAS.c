// SPDX-License-Identifier: GPL-2.0
/* Since 6.5: pin_user_pages() and pin_user_pages_remote() tell no VMAs. */
#include <linux/mm.h>

long (*probe)(unsigned long start, unsigned long nr_pages,
	      unsigned int gup_flags, struct page **pages) = pin_user_pages;
