// SPDX-License-Identifier: GPL-2.0
/* Every kernel has this, none with this signature. */
#include <linux/mm.h>

void (*probe)(struct page *page, int xpin_no_kernel_has_this) = unpin_user_page;
