/* SPDX-License-Identifier: GPL-2.0 */
/* The ioctls of /dev/xpin_example: its guest, and the page at an address. */
#ifndef OWNER_DRIVER_H
#define OWNER_DRIVER_H

#include <linux/ioctl.h>

/* The guest gets it, from the process that opened the file. EEXIST: it has it. */
#define EXAMPLE_LEND	_IO('x', 0x80)
/* The guest shares it with the host. It does already, or has it not: ENOENT. */
#define EXAMPLE_SHARE	_IO('x', 0x81)
/* It does so no longer. EBUSY while somebody pins it. */
#define EXAMPLE_UNSHARE	_IO('x', 0x82)
/* The guest gives it back, shared or not. */
#define EXAMPLE_RECLAIM	_IO('x', 0x83)

#endif /* OWNER_DRIVER_H */
