/* SPDX-License-Identifier: GPL-2.0 */
/* The ioctls of /dev/xpin_test_owner: an in-kernel owner on its caller's behalf. */
#ifndef XPIN_TEST_OWNER_H
#define XPIN_TEST_OWNER_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* The most pages that a file can have pinned. */
#define XPIN_TEST_OWNER_PAGES	1024

/**
 * struct xpin_test_owner_call - what to do, and what came of it
 * @addr: PIN, GUP and HOLD: first byte, page aligned; MEMFD: the file descriptor
 * @pages: PIN, GUP and MEMFD: how many. The others work on the last @pages that were
 *	pinned, but for @skip: they are unpinned, shared or unshared.
 * @skip: the others: how many pages were pinned after those
 * @timeout_ns: PIN and UNSHARE: how long to wait
 * @repeat: GUP: how often to try
 * @answer: out: PIN and UNSHARE: the index that was busy, or ~0; SHARE: how many
 *	pages are still refused; OWNED: how many of the pages this file owns; GUP:
 *	how many times any page was pinned and not -EBUSY returned; MEMFD: how many
 *	folios were pinned
 */
struct xpin_test_owner_call {
	__aligned_u64 addr;
	__aligned_u64 pages;
	__aligned_u64 skip;
	__aligned_u64 timeout_ns;
	__aligned_u64 repeat;
	__aligned_u64 answer;
};

#define XPIN_TEST_OWNER_PIN		_IOWR('x', 0, struct xpin_test_owner_call)
#define XPIN_TEST_OWNER_UNPIN		_IOWR('x', 1, struct xpin_test_owner_call)
/* EOPNOTSUPP where there can't be an owner with XPIN_OWNER_PLAIN_UNPIN. */
#define XPIN_TEST_OWNER_PLAIN_UNPIN	_IOWR('x', 2, struct xpin_test_owner_call)
#define XPIN_TEST_OWNER_SHARE		_IOWR('x', 3, struct xpin_test_owner_call)
#define XPIN_TEST_OWNER_UNSHARE		_IOWR('x', 4, struct xpin_test_owner_call)
#define XPIN_TEST_OWNER_OWNED		_IOWR('x', 5, struct xpin_test_owner_call)
/*
 * pin_user_pages_fast() for reading, by nobody in particular, and unpin, in a
 * loop without a system call in between.
 */
#define XPIN_TEST_OWNER_GUP		_IOWR('x', 6, struct xpin_test_owner_call)
/* UNPIN of pages that are shared. */
#define XPIN_TEST_OWNER_UNPIN_SHARED	_IOWR('x', 7, struct xpin_test_owner_call)
/* memfd_pin_folios() of a memfd's first pages, by nobody either, and unpin. */
#define XPIN_TEST_OWNER_MEMFD		_IOWR('x', 8, struct xpin_test_owner_call)

/*
 * pin_user_pages_fast() for writing, for no long time but until DROP or close.
 * One page.
 */
#define XPIN_TEST_OWNER_HOLD		_IOWR('x', 9, struct xpin_test_owner_call)
#define XPIN_TEST_OWNER_DROP		_IOWR('x', 10, struct xpin_test_owner_call)

#endif /* XPIN_TEST_OWNER_H */
