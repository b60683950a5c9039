/* SPDX-License-Identifier: GPL-2.0 */
/* The ioctls of /dev/xpin_bench: what a number of pins takes. */
#ifndef XPIN_BENCH_H
#define XPIN_BENCH_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct xpin_bench_call - what to do, and what it took
 * @addr: PIN: first byte, page aligned
 * @pages: PIN: how many
 * @repeat: how often
 * @cycles: out: of the processor's time stamp counter
 */
struct xpin_bench_call {
	__aligned_u64 addr;
	__aligned_u64 pages;
	__aligned_u64 repeat;
	__aligned_u64 cycles;
};

/* pin_user_pages_fast() for writing, and unpin_user_pages(). */
#define XPIN_BENCH_PIN		_IOWR('x', 64, struct xpin_bench_call)
/* A loop of two instructions. */
#define XPIN_BENCH_LOOP		_IOWR('x', 65, struct xpin_bench_call)

#endif /* XPIN_BENCH_H */
