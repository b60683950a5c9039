/* SPDX-License-Identifier: GPL-2.0 */
/* The ioctl of /dev/xpin_test_pin: pins by each of GUP's entry points. */
#ifndef XPIN_TEST_PIN_H
#define XPIN_TEST_PIN_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* enum xpin_test_pin_by - pin_user_pages(), pin_user_pages_remote() and so on */
enum xpin_test_pin_by {
	XPIN_TEST_PIN_PAGES,
	XPIN_TEST_PIN_REMOTE,
	XPIN_TEST_PIN_UNLOCKED,
	XPIN_TEST_PIN_FAST,
	/* Where there is none: EOPNOTSUPP. */
	XPIN_TEST_PIN_FAST_ONLY,
	XPIN_TEST_PIN_MEMFD,
	XPIN_TEST_PIN_ENTRIES,
};

#define XPIN_TEST_PIN_MAX	64

/**
 * struct xpin_test_pin_call - what to do, and what came of it
 * @addr: first byte, page aligned, in the caller's memory; PIN_MEMFD: the file
 * @pages: how many from there, or from the file's start, at most XPIN_TEST_PIN_MAX;
 *	PIN_MEMFD: each is a folio
 * @by: one of enum xpin_test_pin_by
 * @repeat: how often
 * @longterm: with FOLL_LONGTERM; PIN_MEMFD always is
 * @ret: out: what the function returned the last time
 * @pinned: out: how many that are. They are unpinned again
 * @refused: out: how often it was EBUSY, or fewer than @pages. Another error is the
 *	ioctl's
 */
struct xpin_test_pin_call {
	__aligned_u64 addr;
	__u32 pages;
	__u32 by;
	__u64 repeat;
	__u64 longterm;
	__s64 ret;
	__u64 pinned;
	__u64 refused;
};

#define XPIN_TEST_PIN		_IOWR('x', 48, struct xpin_test_pin_call)

#endif /* XPIN_TEST_PIN_H */
