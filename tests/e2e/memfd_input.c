// SPDX-License-Identifier: GPL-2.0
/*
 * XPIN_IOC_CLAIM_MEMFD: which files and which parts of them can be claimed, and
 * the errno of those that can't.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/kvm.h>

#include "kselftest.h"
#include "xpin_test.h"

/* Newer than the C library's kernel headers. */
#ifndef KVM_CREATE_GUEST_MEMFD
#define KVM_X86_SW_PROTECTED_VM	1
struct kvm_create_guest_memfd {
	__u64 size;
	__u64 flags;
	__u64 reserved[6];
};

#define KVM_CREATE_GUEST_MEMFD	_IOWR(KVMIO, 0xd4, struct kvm_create_guest_memfd)
#endif

#ifndef KVM_CAP_VM_TYPES
#define KVM_CAP_VM_TYPES	235
#endif

/* arm64 has it for any VM. */
#ifdef __aarch64__
#define VM_WITH_GUEST_MEMFD	0
#else
#define VM_WITH_GUEST_MEMFD	KVM_X86_SW_PROTECTED_VM
#endif

static int owner;

/* A claim that fails says so in every member. */
static int try_claim(int memfd, __u64 offset, __u64 length)
{
	struct xpin_claim_memfd claim;
	int error = xpin_claim_memfd(owner, memfd, offset, length, 0, &claim);
	struct xpin_part part;

	if (!error)
		require(!xpin_part(owner, XPIN_IOC_RELEASE, claim.claim_id, 0,
				   XPIN_WHOLE, &part), "release");
	else
		require(!claim.claim_id && !claim.pages && !claim.folios &&
			claim.busy_offset == XPIN_NO_ADDR,
			"a failed claim says something");
	return error;
}

/* A memfd with @pages pages of data, and nothing behind them. */
static int filled(size_t pages, unsigned int flags)
{
	static const char data[PAGE] = "data";
	int fd = memfd_create("filled", MFD_CLOEXEC | flags);
	size_t i;

	require(fd >= 0, "memfd_create");
	for (i = 0; i < pages; i++)
		require(pwrite(fd, data, PAGE, i * PAGE) == (ssize_t)PAGE,
			"pwrite");
	return fd;
}

static int again(int fd, int flags)
{
	char path[64];
	int opened;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	opened = open(path, flags | O_CLOEXEC);
	require(opened >= 0, path);
	close(fd);
	return opened;
}

/* --- Which files --- */

static int no_file(void)
{
	return -1;
}

static int closed(void)
{
	int fd = filled(1, 0);

	close(fd);
	return fd;
}

static int far_away(void)
{
	return 0x7fffffff;
}

static int read_only(void)
{
	return again(filled(1, 0), O_RDONLY);
}

static int a_path(void)
{
	return again(filled(1, 0), O_PATH);
}

static int read_end(void)
{
	int ends[2];

	require(!pipe2(ends, O_CLOEXEC), "pipe");
	close(ends[1]);
	return ends[0];
}

static int sealed(int seals)
{
	int fd = filled(1, MFD_ALLOW_SEALING);

	require(!fcntl(fd, F_ADD_SEALS, seals), "F_ADD_SEALS");
	return fd;
}

static int write_sealed(void)
{
	return sealed(F_SEAL_WRITE);
}

static int future_write_sealed(void)
{
	return sealed(F_SEAL_FUTURE_WRITE);
}

static int a_huge_page(void)
{
	int fd = memfd_create("hugetlb", MFD_CLOEXEC | MFD_HUGETLB |
			      MFD_ALLOW_SEALING);

	require(fd >= 0 && !fallocate(fd, 0, 0, LARGE), "a huge page");
	return fd;
}

static int huge_read_only(void)
{
	return again(a_huge_page(), O_RDONLY);
}

static int huge_sealed(void)
{
	int fd = a_huge_page();

	require(!fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), "F_ADD_SEALS");
	return fd;
}

static int write_end(void)
{
	int ends[2];

	require(!pipe2(ends, O_CLOEXEC), "pipe");
	close(ends[0]);
	return ends[1];
}

static int a_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int an_eventfd(void)
{
	return eventfd(0, EFD_CLOEXEC);
}

static int on_ext4(void)
{
	static const char data[PAGE] = "data";
	int fd = open(EXT4_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	require(pwrite(fd, data, PAGE, 0) == (ssize_t)PAGE, EXT4_FILE);
	return fd;
}

static int dev_zero(void)
{
	return open("/dev/zero", O_RDWR | O_CLOEXEC);
}

static int block_device(void)
{
	return open(BLOCK_DEVICE, O_RDWR | O_CLOEXEC);
}

static int fifo_on_tmpfs(void)
{
	int fd;

	require(!mkfifo("/tmp/fifo", 0600), "mkfifo");
	fd = open("/tmp/fifo", O_RDWR | O_CLOEXEC);
	unlink("/tmp/fifo");
	return fd;
}

static int secret(void)
{
	int fd = syscall(SYS_memfd_secret, O_CLOEXEC);
	unsigned char *page;

	require(fd >= 0 && !ftruncate(fd, PAGE), "memfd_secret");
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	require(page != MAP_FAILED, "mmap");
	page[0] = 1;
	munmap(page, PAGE);
	return fd;
}

static int guest_memfd(void)
{
	struct kvm_create_guest_memfd create = { .size = PAGE };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, fd;
	int type = VM_WITH_GUEST_MEMFD;

	require(kvm >= 0, "/dev/kvm");
	/* Debian's kernels have no such VMs, and since 6.18 it goes with any. */
	if (!(ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_VM_TYPES) & 1 << type))
		type = 0;
	vm = ioctl(kvm, KVM_CREATE_VM, type);
	require(vm >= 0, "KVM_CREATE_VM");
	fd = ioctl(vm, KVM_CREATE_GUEST_MEMFD, &create);
	require(fd >= 0 && !fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, PAGE),
		"KVM_CREATE_GUEST_MEMFD");
	close(vm);
	close(kvm);
	return fd;
}

static int its_own(void)
{
	return open("/dev/xpin", O_RDWR | O_CLOEXEC);
}

static int write_only(void)
{
	return again(filled(1, 0), O_WRONLY);
}

static int otherwise_sealed(void)
{
	return sealed(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

static int on_tmpfs(void)
{
	int fd = open("/tmp/memfd", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	require(fd >= 0 && pwrite(fd, "data", 4, PAGE - 4) == 4, "/tmp/memfd");
	unlink("/tmp/memfd");
	return fd;
}

static int cleared_later(void)
{
	int fd = filled(0, 0);

	require(!fallocate(fd, 0, 0, PAGE), "fallocate");
	return fd;
}

static void which_files(void)
{
	static const struct {
		const char *name;
		int (*open)(void);
		int error;
	} files[] = {
		{ "no file", no_file, -EBADF },
		{ "a closed file", closed, -EBADF },
		{ "a file number far away", far_away, -EBADF },
		{ "a file open for reading only", read_only, -EBADF },
		{ "a file open as a path only", a_path, -EBADF },
		{ "a pipe's end for reading", read_end, -EBADF },
		{ "hugetlb open for reading only", huge_read_only, -EBADF },
		{ "F_SEAL_WRITE", write_sealed, -EPERM },
		{ "F_SEAL_FUTURE_WRITE", future_write_sealed, -EPERM },
		{ "F_SEAL_WRITE of hugetlb", huge_sealed, -EPERM },
		{ "a pipe", write_end, -EOPNOTSUPP },
		{ "a socket", a_socket, -EOPNOTSUPP },
		{ "an eventfd", an_eventfd, -EOPNOTSUPP },
		{ "a file on ext4", on_ext4, -EOPNOTSUPP },
		{ "/dev/zero", dev_zero, -EOPNOTSUPP },
		{ "a block device", block_device, -EOPNOTSUPP },
		{ "a fifo on tmpfs", fifo_on_tmpfs, -EOPNOTSUPP },
		{ "secretmem", secret, -EOPNOTSUPP },
		{ "guest_memfd", guest_memfd, -EOPNOTSUPP },
		{ "/dev/xpin", its_own, -EOPNOTSUPP },
		{ "a file open for writing only", write_only, 0 },
		{ "a file with other seals", otherwise_sealed, 0 },
		{ "a file on tmpfs", on_tmpfs, 0 },
		{ "a page that fallocate() made", cleared_later, 0 },
		{ "a huge page that fallocate() made", a_huge_page, 0 },
	};
	long long pins;
	int fd, error;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		if (files[i].open == guest_memfd &&
		    skip_without(FEATURE_GUEST_MEMFD, 1))
			continue;
		fd = files[i].open();
		require(fd >= 0 || files[i].error == -EBADF, files[i].name);
		pins = pins_held();
		error = try_claim(fd, 0, PAGE);
		check(error == files[i].error && pins_held() == pins,
		      "%s: %s", files[i].name,
		      files[i].error ? strerror(-files[i].error) : "claimed");
		close(fd);
	}
}

/* --- Which parts --- */

static void bad_ranges(void)
{
	static const struct {
		const char *name;
		__u64 offset;
		__u64 length;
	} ranges[] = {
		{ "a misaligned offset", 1, PAGE },
		{ "a misaligned length", 0, PAGE + 1 },
		{ "no length", 0, 0 },
		{ "a range that wraps", PAGE, -PAGE },
		{ "a range up to the wrap", -PAGE, PAGE },
		{ "XPIN_WHOLE", 0, XPIN_WHOLE },
		{ "a negative offset", 1ULL << 63, PAGE },
		{ "a range behind the end", 4 * PAGE, PAGE },
		{ "a range beyond the end", 2 * PAGE, 3 * PAGE },
		{ "a page that the end is in", 3 * PAGE, PAGE },
		{ "more pages than a claim can have", 0, PAGE << 32 },
	};
	struct xpin_claim_memfd claim;
	int fd = filled(3, 0), empty;
	size_t i;

	require(pwrite(fd, "end", 3, 3 * PAGE) == 3, "pwrite");
	for (i = 0; i < ARRAY_SIZE(ranges); i++)
		check(try_claim(fd, ranges[i].offset, ranges[i].length) ==
		      -EINVAL, "%s is EINVAL", ranges[i].name);
	check(!try_claim(fd, 0, 3 * PAGE), "what is before it is claimed");

	empty = filled(0, 0);
	check(try_claim(empty, 0, PAGE) == -EINVAL, "an empty file is EINVAL");
	close(empty);

	claim = (struct xpin_claim_memfd){
		.size = sizeof(claim),
		.fd = fd,
		.reserved = 1,
		.length = PAGE,
	};
	check(ioctl(owner, XPIN_IOC_CLAIM_MEMFD, &claim) && errno == EINVAL &&
	      !claim.claim_id, "a reserved member that is not 0 is EINVAL");
	close(fd);
}

/* Where there is data and where there is not; and how much of it. */
struct layout {
	blkcnt_t blocks;
	off_t data;
	off_t hole;
	off_t next_data;
};

static struct layout layout(int fd)
{
	struct layout layout = {};
	struct stat status;

	require(!fstat(fd, &status), "fstat");
	layout.blocks = status.st_blocks;
	layout.data = lseek(fd, 0, SEEK_DATA);
	layout.hole = lseek(fd, layout.data > 0 ? layout.data : 0, SEEK_HOLE);
	layout.next_data = lseek(fd, layout.hole, SEEK_DATA);
	return layout;
}

/* EFAULT for the hole and each range around it that has it; it stays one. */
static bool stays_a_hole(int fd, off_t hole, size_t before, size_t after)
{
	struct layout was = layout(fd), is;
	long long pins = pins_held();
	bool ok;

	ok = try_claim(fd, hole, PAGE) == -EFAULT &&
	     try_claim(fd, hole - before, before + PAGE) == -EFAULT &&
	     try_claim(fd, hole, PAGE + after) == -EFAULT &&
	     try_claim(fd, hole - before, before + PAGE + after) == -EFAULT;
	is = layout(fd);
	return ok && !memcmp(&is, &was, sizeof(is)) && pins_held() == pins &&
	       !xpin_stat("entries") &&
	       (!before || !try_claim(fd, hole - before, before)) &&
	       (!after || !try_claim(fd, hole + PAGE, after));
}

static void holes(void)
{
	int fd = filled(0, 0);

	require(!ftruncate(fd, 1ULL << 30), "ftruncate");
	check(stays_a_hole(fd, 0, 0, 0) &&
	      try_claim(fd, 0, 1ULL << 30) == -EFAULT,
	      "a file that is a hole is EFAULT, and stays one");
	close(fd);

	fd = filled(4, 0);
	require(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			   2 * PAGE, PAGE), "fallocate");
	check(stays_a_hole(fd, 2 * PAGE, 2 * PAGE, PAGE),
	      "a hole in the middle is EFAULT, and stays one");
	close(fd);

	/* More than is worked on at once: what was claimed is released. */
	fd = filled(CHUNK + 2, 0);
	require(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			   CHUNK * PAGE, PAGE), "fallocate");
	check(stays_a_hole(fd, CHUNK * PAGE, CHUNK * PAGE, PAGE),
	      "a hole after a chunk is EFAULT, and stays one");
	close(fd);
}

static void large_hole(enum memory_kind kind)
{
	struct memory memory;
	bool ok;

	memory_create(&memory, kind);
	require(!fallocate(memory.fd, FALLOC_FL_PUNCH_HOLE |
			   FALLOC_FL_KEEP_SIZE, LARGE, LARGE), "fallocate");
	ok = stays_a_hole(memory.fd, LARGE, LARGE, 0) &&
	     xpin_all_pages(owner, memory.base, LARGE, XPIN_PAGE_FREE);
	check(ok, "a hole after a %s is EFAULT, and stays one", memory.name);
	memory_destroy(&memory);
}

/* --- Swap --- */

static void swapped_out(void)
{
	struct memory memory;
	bool ok, out;
	int i;

	swap_on();
	memory_create(&memory, MEMORY_SHMEM_PAGE);
	/* Pages are spared while something else looks at them. */
	for (i = 0, out = false; i < 100 && !out; i++) {
		page_out(memory.base, LARGE);
		out = xpin_all_pages(owner, memory.base, 4 * PAGE,
				     XPIN_PAGE_NONE);
	}
	require(out, "the pages are not swapped out");
	ok = layout(memory.fd).hole == MEMORY_LENGTH &&
	     !try_claim(memory.fd, 0, 4 * PAGE) &&
	     memory_untouched(&memory, memory.base, 4 * PAGE);
	check(ok, "what is swapped out is no hole");
	memory_destroy(&memory);
	swap_off();
}

int main(void)
{
	ksft_print_header();
	ksft_set_plan(25 + 14 + 3 + 2 + 1);
	if (skip_without(FEATURE_MEMFD_PIN, 25 + 14 + 3 + 2 + 1))
		ksft_finished();
	owner = xpin_open();

	which_files();
	bad_ranges();
	holes();
	large_hole(MEMORY_SHMEM_LARGE);
	large_hole(MEMORY_HUGETLB_MEMFD);
	swapped_out();

	close(owner);
	ksft_finished();
}
