// SPDX-License-Identifier: GPL-2.0
/* Every kernel has this. */
#include <linux/mm.h>

void (*probe)(struct page *page) = unpin_user_page;
