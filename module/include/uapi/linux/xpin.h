/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
#ifndef _UAPI_LINUX_XPIN_H
#define _UAPI_LINUX_XPIN_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define XPIN_TYPE	0xE7

/**
 * DOC: General ioctl format
 *
 * Every ioctl takes a pointer to a structure whose first member is its size in
 * bytes as the caller knows it, and whose second is a flags word (0 unless
 * flags are documented). A longer structure than the kernel knows is accepted
 * when the tail is zero; a shorter one is accepted down to the size that the
 * structure had when it was introduced. It is written back after errors, too,
 * except for EIO, and a size, flags or a tail that were refused. If it can't be, the
 * answer is EFAULT, and what was claimed is released again, but a part that was
 * released, shared or unshared stays so.
 *
 * An open file of /dev/xpin is one owner, and it is bound to the memory of the
 * process that opened it. When the file is finally closed, all its claims end.
 *
 * errno has one meaning for all of them:
 *
 *  - ENOTTY: there is no such ioctl.
 *  - E2BIG: the structure has a non-zero byte that this kernel does not know, or
 *    is larger than a page.
 *  - EINVAL: a value is out of range, or an address or length is no multiple
 *    of the page size, or a flag is unknown.
 *  - EFAULT: the structure, or memory to be claimed, can't be reached, or is not
 *    there.
 *  - EBUSY: somebody else pins or owns the memory; busy_addr says where. Without
 *    an address: a pin that began before pins could be refused is still under way,
 *    somewhere (XPIN_BACKEND_FTRACE; the kernel's log says whose).
 *  - ENOMEM: RLIMIT_MEMLOCK, or out of memory.
 *  - EOPNOTSUPP: this kind of memory can't be owned, or XPIN_IOC_INFO's features
 *    say that this kernel can't do it.
 *  - EINTR: a signal came while waiting for pins. One that does not kill does
 *    not end the wait in a page fault, or for another call on the same claim.
 *  - EIO: the caller's memory is not that of the process which opened the file.
 *  - ENOENT: this owner has no such claim, or no such part of it.
 *  - EOVERFLOW: too many pins of one folio by this owner.
 *  - EBADF, EPERM: a file that may not be written; XPIN_IOC_CLAIM_MEMFD only.
 *  - EHWPOISON: the memory failed.
 *  - EREMOTEIO: the memory belongs to a PCI device.
 *  - ENODEV: pins can't be refused any more (XPIN_BACKEND_FTRACE; the log says why).
 */

/* All of a claim, from offset 0: a value for the length of a part of a claim. */
#define XPIN_WHOLE	(~0ULL)

/* What busy_addr holds when no address was in the way. */
#define XPIN_NO_ADDR	(~0ULL)

/* enum xpin_backend - how the module is told about pins on this kernel. */
enum xpin_backend {
	/* The kernel has the pin notifier of CONFIG_GUP_PIN_NOTIFIER. */
	XPIN_BACKEND_NOTIFIER = 1,
	/* It has not: the functions by which others pin are hooked. */
	XPIN_BACKEND_FTRACE = 2,
};

#define XPIN_API_VERSION	1

/* XPIN_CLAIM_DENY_GET can be asked for. */
#define XPIN_FEATURE_DENY_GET	0x1ULL
/* XPIN_IOC_CLAIM_MEMFD works: the kernel can pin a file that is not mapped. */
#define XPIN_FEATURE_MEMFD	0x2ULL

/**
 * struct xpin_info - ioctl(XPIN_IOC_INFO): what this module can do
 * @size: sizeof(struct xpin_info)
 * @flags: Must be 0
 * @api_version: out: XPIN_API_VERSION of the module
 * @backend: out: one of enum xpin_backend
 * @features: out: a mask of XPIN_FEATURE_*
 */
struct xpin_info {
	__u32 size;
	__u32 flags;
	__u32 api_version;
	__u32 backend;
	__aligned_u64 features;
};

#define XPIN_IOC_INFO		_IO(XPIN_TYPE, 0x00)

/**
 * DOC: XPIN_CLAIM_DENY_GET
 *
 * A flag of XPIN_IOC_CLAIM and XPIN_IOC_CLAIM_MEMFD. Without it a claim refuses
 * pins, FOLL_PIN, and nothing else. With it the plain references that the kernel
 * takes by get_user_pages(), FOLL_GET, to the folios of the claim are refused,
 * too: vmsplice(), /proc/PID/mem, ptrace() and others can't reach them. They can't
 * for the owner itself, either: docs/deny-get.md says what that breaks. Mappings
 * and accesses through them go on.
 *
 * It lasts as long as this file owns anything of a folio exclusively. So after
 * this claim is released or shared its folios stay like that where another claim
 * of the same file, with the flag or without it, still owns them. XPIN_IOC_UNSHARE
 * of such a claim has plain references refused again.
 *
 * References from before are not waited for, and stay. @referenced counts the
 * pages in folios to which there are more references than the mappings, the file,
 * the swap cache and this file's pins have. 0 means that no get_user_pages() from
 * before is left, as long as nobody mapped or unmapped the memory in that moment.
 * Otherwise there may be one left, which reads or writes the memory for as long as
 * it lasts (a page in a pipe since a vmsplice(), for one); or the kernel has a
 * reference of its own for a moment, to look at the page or to move it, for nobody
 * can tell one from the other. Release the claim and try again, if it matters.
 */
#define XPIN_CLAIM_DENY_GET	0x1

/**
 * struct xpin_claim - ioctl(XPIN_IOC_CLAIM): own the folios behind a range
 * @size: sizeof(struct xpin_claim)
 * @flags: 0 or XPIN_CLAIM_DENY_GET
 * @addr: First byte of the range in the caller's memory, page aligned
 * @length: Bytes, a multiple of the page size, not 0
 * @timeout_ns: How long to wait for the pins of others to go, in nanoseconds;
 *	0 does not wait. Page faults are not counted in. Capped by the
 *	module's parameter max_timeout_ms. out: what is left of it
 * @claim_id: out: names the claim in other ioctls of the same file, never 0
 * @pages: out: pages in the claim
 * @folios: out: folios in the claim, since ownership is of whole folios. One
 *	that the range comes back to after another folio counts again
 * @busy_addr: out: with EBUSY the lowest address in the 2 MiB part being worked
 *	on that is pinned or owned by somebody else, otherwise XPIN_NO_ADDR
 * @referenced: out: with XPIN_CLAIM_DENY_GET, see there, pages to which there were
 *	plain references when they were claimed; otherwise 0
 *
 * All or nothing. The pages are faulted in for writing and pinned for long.
 * Threads that claim the same folio at the same time see each other's pins for a
 * moment: without a timeout one of them may get EBUSY.
 */
struct xpin_claim {
	__u32 size;
	__u32 flags;
	__aligned_u64 addr;
	__aligned_u64 length;
	__aligned_u64 timeout_ns;
	__aligned_u64 claim_id;
	__aligned_u64 pages;
	__aligned_u64 folios;
	__aligned_u64 busy_addr;
	__aligned_u64 referenced;
};

#define XPIN_IOC_CLAIM		_IO(XPIN_TYPE, 0x01)

/**
 * struct xpin_claim_memfd - ioctl(XPIN_IOC_CLAIM_MEMFD): own a memfd's folios
 * @size: sizeof(struct xpin_claim_memfd)
 * @flags: As in struct xpin_claim
 * @fd: A memfd, or another file of tmpfs or hugetlbfs, that is open for writing
 * @reserved: Must be 0
 * @offset: First byte of the range in the file, a multiple of the page size
 * @length: Bytes, a multiple of the page size, not 0
 * @timeout_ns: As in struct xpin_claim
 * @claim_id: out: as in struct xpin_claim
 * @pages: out: as in struct xpin_claim
 * @folios: out: as in struct xpin_claim
 * @busy_offset: out: with EBUSY the lowest offset in the file, of the 2 MiB part
 *	being worked on, that is pinned or owned by somebody else, otherwise
 *	XPIN_NO_ADDR
 * @referenced: out: as in struct xpin_claim
 *
 * As XPIN_IOC_CLAIM, without a mapping. EBADF when the file is not open for
 * writing, EPERM when it is sealed against it, EOPNOTSUPP when it is no file of
 * tmpfs or hugetlbfs, or without XPIN_FEATURE_MEMFD, EINVAL when the range is not
 * inside the file's size, EFAULT when there is a hole in it: holes are not filled.
 */
struct xpin_claim_memfd {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 reserved;
	__aligned_u64 offset;
	__aligned_u64 length;
	__aligned_u64 timeout_ns;
	__aligned_u64 claim_id;
	__aligned_u64 pages;
	__aligned_u64 folios;
	__aligned_u64 busy_offset;
	__aligned_u64 referenced;
};

#define XPIN_IOC_CLAIM_MEMFD	_IO(XPIN_TYPE, 0x06)

/**
 * struct xpin_part - ioctl(XPIN_IOC_RELEASE, _SHARE, _UNSHARE): part of a claim
 * @size: sizeof(struct xpin_part)
 * @flags: Must be 0
 * @claim_id: As XPIN_IOC_CLAIM returned it
 * @offset: Bytes from the start of the claim, a multiple of the page size
 * @length: Bytes, a multiple of the page size, not 0; or, with an offset of 0,
 *	XPIN_WHOLE for all of the claim that was not released
 * @timeout_ns: XPIN_IOC_UNSHARE only, as in struct xpin_claim; otherwise 0
 * @refused: out: XPIN_IOC_SHARE only, pages of the part that strangers still
 *	can't pin, because the same owner holds another part of their folio
 *	exclusively
 * @busy_addr: out: XPIN_IOC_UNSHARE only, as in struct xpin_claim; an offset in
 *	the file if the claim was made by XPIN_IOC_CLAIM_MEMFD
 * @referenced: out: XPIN_IOC_UNSHARE only, as in struct xpin_claim; of the pages
 *	that were shared
 *
 * XPIN_IOC_RELEASE ends ownership of the part and drops its pins. When the last
 * part of a claim is released, the claim is gone.
 *
 * XPIN_IOC_SHARE gives exclusivity up and keeps the pins: strangers may pin the
 * memory, nobody else may own it. Memory that is shared already stays so.
 *
 * XPIN_IOC_UNSHARE takes exclusivity back, all or nothing. Memory that is not
 * shared stays as it is.
 *
 * All three return ENOENT when a page of the part was released before; with
 * XPIN_WHOLE released pages are passed over.
 */
struct xpin_part {
	__u32 size;
	__u32 flags;
	__aligned_u64 claim_id;
	__aligned_u64 offset;
	__aligned_u64 length;
	__aligned_u64 timeout_ns;
	__aligned_u64 refused;
	__aligned_u64 busy_addr;
	__aligned_u64 referenced;
};

#define XPIN_IOC_RELEASE	_IO(XPIN_TYPE, 0x02)
#define XPIN_IOC_SHARE		_IO(XPIN_TYPE, 0x03)
#define XPIN_IOC_UNSHARE	_IO(XPIN_TYPE, 0x04)

/* enum xpin_page_state - what XPIN_IOC_QUERY says of a page, one byte each. */
enum xpin_page_state {
	/* Not present, or memory that can't be owned (a file's page, for one). */
	XPIN_PAGE_NONE = 0,
	/* Nobody pins it, nobody owns it. */
	XPIN_PAGE_FREE = 1,
	/* Somebody pins it (or 1024 plain references look like it). */
	XPIN_PAGE_PINNED = 2,
	/* An owner, perhaps this one, is waiting for pins to go. */
	XPIN_PAGE_CLAIMING = 3,
	/* This file owns it. */
	XPIN_PAGE_MINE = 4,
	/* This file owns it and shares it. */
	XPIN_PAGE_MINE_SHARED = 5,
	/* Another owner has it, shared or not. */
	XPIN_PAGE_OTHERS = 6,
};

/**
 * struct xpin_query - ioctl(XPIN_IOC_QUERY): who owns what
 * @size: sizeof(struct xpin_query)
 * @flags: Must be 0
 * @addr: First byte of the range in the caller's memory, page aligned
 * @length: Bytes, a multiple of the page size, not 0
 * @states: User address of length / page size bytes, which receive an enum
 *	xpin_page_state each
 *
 * Faults nothing in. A snapshot: it may be out of date when it is read.
 */
struct xpin_query {
	__u32 size;
	__u32 flags;
	__aligned_u64 addr;
	__aligned_u64 length;
	__aligned_u64 states;
};

#define XPIN_IOC_QUERY		_IO(XPIN_TYPE, 0x05)

#endif /* _UAPI_LINUX_XPIN_H */
