// SPDX-License-Identifier: GPL-2.0
/* Since 6.3 or not long after it: the function has gone, and its name is free. */
#include <linux/mm.h>

int pin_user_pages_fast_only;
