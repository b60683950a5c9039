// SPDX-License-Identifier: GPL-2.0
/* No kernel has this. */
#include <linux/mm.h>

void (*probe)(struct page *page) = xpin_no_kernel_has_this;
