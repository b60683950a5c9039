/* SPDX-License-Identifier: GPL-2.0 */
/* The ioctl of /dev/xpin_test_get: a plain reference, taken as perf takes one. */
#ifndef XPIN_TEST_GET_H
#define XPIN_TEST_GET_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* enum xpin_test_get_from - on top of the calling task, what takes it */
enum xpin_test_get_from {
	XPIN_TEST_GET_FROM_TASK,
	XPIN_TEST_GET_FROM_INTERRUPT,
	/* EOPNOTSUPP where a module can't raise one. */
	XPIN_TEST_GET_FROM_NMI,
};

/**
 * struct xpin_test_get_call - what to do, and what came of it
 * @addr: in the caller's memory
 * @from: one of enum xpin_test_get_from
 * @got: out: get_user_page_fast_only() got it; it is given back
 */
struct xpin_test_get_call {
	__aligned_u64 addr;
	__u32 from;
	__u32 got;
};

#define XPIN_TEST_GET		_IOWR('x', 32, struct xpin_test_get_call)

#endif /* XPIN_TEST_GET_H */
