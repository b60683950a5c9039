/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XPIN_COMPAT_GUP_FUNCTIONS_H
#define _XPIN_COMPAT_GUP_FUNCTIONS_H

#include "probed.h"

/*
 * Beginnings of names of functions in mm/gup.c. Some entry points end in a jump to
 * another function: docs/ftrace.md says for each kernel why one of these is on the
 * stack as long as a call may pin.
 */
static const char * const gup_functions[] = {
	"pin_user_pages",
	"__gup_longterm",
	"memfd_pin_folios",
	/* By their name until 6.9, and since. */
	"internal_get_user_pages_fast",
	"gup_fast_fallback",
#if !HAVE_PIN_USER_PAGES_NO_VMAS
	/* Since then the callers of these have to come back to. */
	"__get_user_pages",
	"get_user_pages_unlocked",
#endif
};

#endif /* _XPIN_COMPAT_GUP_FUNCTIONS_H */
