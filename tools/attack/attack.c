// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <liburing.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/if_xdp.h>
#include <linux/magic.h>
#include <linux/udmabuf.h>
#include <linux/version.h>

#include "attack.h"

static ssize_t or_errno(ssize_t n)
{
	return n < 0 ? -errno : n;
}

static ssize_t process_vm(const struct attack *attack,
			  const struct attack_target *target, void *buffer,
			  const char **why)
{
	struct iovec mine = { buffer, target->length };
	struct iovec theirs = { target->remote, target->length };

	ssize_t n;

	if (attack->writes)
		n = process_vm_writev(target->pid, &mine, 1, &theirs, 1, 0);
	else
		n = process_vm_readv(target->pid, &mine, 1, &theirs, 1, 0);
	n = or_errno(n);
	/* EFAULT is the one that the memory can be the reason of. */
	if (n < 0 && n != -EFAULT)
		*why = n == -EPERM ? "only who may trace the process can" :
		       n == -ESRCH ? "there is no such process" :
		       "process_vm_readv() does not work here";
	return n;
}

/* Registers the memory and has the ring move it from or to @store. */
static ssize_t fixed_buffer(const struct attack *attack,
			    const struct attack_target *target, int store,
			    struct io_uring *ring)
{
	struct iovec memory = { target->local, target->length };
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	ssize_t n;
	int error;

	n = io_uring_register_buffers(ring, &memory, 1);
	if (n)
		return n;

	sqe = io_uring_get_sqe(ring);
	if (attack->writes)
		io_uring_prep_read_fixed(sqe, store, target->local,
					 target->length, 0, 0);
	else
		io_uring_prep_write_fixed(sqe, store, target->local,
					  target->length, 0, 0);
	n = io_uring_submit_and_wait(ring, 1);
	if (n == 1)
		n = io_uring_wait_cqe(ring, &cqe);
	if (!n) {
		n = cqe->res;
		io_uring_cqe_seen(ring, cqe);
	}

	/* Closing the ring drops the pins at some later time; this waits. */
	error = io_uring_unregister_buffers(ring);
	return n < 0 || !error ? n : error;
}

static ssize_t uring(const struct attack *attack,
		     const struct attack_target *target, void *buffer,
		     const char **why)
{
	struct io_uring ring;
	ssize_t n;
	int store;

	store = memfd_create("attack", MFD_CLOEXEC);
	if (store < 0 ||
	    pwrite(store, buffer, target->length, 0) != (ssize_t)target->length) {
		*why = "no memfd";
		n = -errno;
		goto out;
	}
	n = io_uring_queue_init(1, &ring, 0);
	if (n) {
		*why = "no io_uring";
		goto out;
	}

	n = fixed_buffer(attack, target, store, &ring);
	io_uring_queue_exit(&ring);
	if (!attack->writes &&
	    pread(store, buffer, target->length, 0) != (ssize_t)target->length)
		*why = "what arrived can't be read back";
out:
	if (store >= 0)
		close(store);
	return n;
}

static ssize_t buffer_ring(const struct attack *attack,
			   const struct attack_target *target, void *buffer,
			   const char **why)
{
	struct io_uring_buf_reg reg = {
		.ring_addr = (uintptr_t)target->local,
		.ring_entries = target->length / sizeof(struct io_uring_buf),
	};
	struct io_uring ring;
	ssize_t n;

	(void)attack;
	(void)buffer;
	if (target->length & (target->length - 1) || reg.ring_entries > 1 << 15) {
		*why = "such a ring is 2^n bytes long, and not longer than 512 KiB";
		return -EINVAL;
	}
	n = io_uring_queue_init(1, &ring, 0);
	if (n) {
		*why = "no io_uring";
		return n;
	}
	n = io_uring_register_buf_ring(&ring, &reg, 0);
	if (n == -EINVAL)
		*why = "this kernel has no provided-buffer rings";
	/* Closing the ring drops the pins at some later time; this waits. */
	if (!n)
		n = io_uring_unregister_buf_ring(&ring, reg.bgid);
	io_uring_queue_exit(&ring);
	return n ? n : (ssize_t)target->length;
}

static ssize_t xdp_umem(const struct attack *attack,
			const struct attack_target *target, void *buffer,
			const char **why)
{
	struct xdp_umem_reg reg = {
		.addr = (uintptr_t)target->local,
		.len = target->length,
		.chunk_size = sysconf(_SC_PAGESIZE),
	};
	ssize_t n;
	int fd;

	(void)attack;
	(void)buffer;
	fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		*why = errno == EPERM ? "AF_XDP needs CAP_NET_RAW" :
		       "no AF_XDP";
		return -errno;
	}
	n = or_errno(setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof(reg)));
	if (n == -ENOBUFS)
		*why = "RLIMIT_MEMLOCK is too low";
	close(fd);
	return n ? n : (ssize_t)target->length;
}

/* Moves the bytes through a mapping of the dma-buf. */
static ssize_t through_mapping(const struct attack *attack, int dmabuf,
			       void *buffer, size_t length, const char **why)
{
	void *mapped;

	mapped = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf,
		      0);
	if (mapped == MAP_FAILED) {
		*why = "the dma-buf can't be mapped";
		return -errno;
	}
	if (attack->writes)
		memcpy(mapped, buffer, length);
	else
		memcpy(buffer, mapped, length);
	munmap(mapped, length);
	return length;
}

static ssize_t through_dmabuf(const struct attack *attack,
			      const struct attack_target *target, void *buffer,
			      const char **why)
{
	struct udmabuf_create create = {
		.flags = UDMABUF_FLAGS_CLOEXEC,
		.offset = target->offset,
		.size = target->length,
	};
	int device, memfd, seals, dmabuf;
	struct statfs filesystem;
	ssize_t n;

	device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (device < 0) {
		*why = "/dev/udmabuf can't be opened";
		return -errno;
	}
	memfd = open(target->memfd, O_RDWR | O_CLOEXEC);
	if (memfd < 0) {
		*why = "the memfd can't be opened";
		n = -errno;
		goto close_device;
	}
	/* Its mapping counts users of a huge page's parts; until 6.11. */
	if (kernel_version() < KERNEL_VERSION(6, 11, 0) &&
	    !fstatfs(memfd, &filesystem) &&
	    filesystem.f_type == HUGETLBFS_MAGIC) {
		*why = "on this kernel a udmabuf of huge pages spoils their counts";
		n = -EOPNOTSUPP;
		goto close_memfd;
	}
	seals = fcntl(memfd, F_GET_SEALS);
	if (seals < 0 || !(seals & F_SEAL_SHRINK) ||
	    seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) {
		*why = "it takes a memfd sealed against shrinking and not against writing";
		n = -EINVAL;
		goto close_memfd;
	}

	create.memfd = memfd;
	dmabuf = ioctl(device, UDMABUF_CREATE, &create);
	if (dmabuf < 0) {
		n = -errno;
		goto close_memfd;
	}
	n = through_mapping(attack, dmabuf, buffer, target->length, why);
	close(dmabuf);
close_memfd:
	close(memfd);
close_device:
	close(device);
	return n;
}

static ssize_t linux_aio(bool write, int fd, const struct iovec *vectors,
			 int nr, const char **why)
{
	struct iocb iocb, *list = &iocb;
	io_context_t context = NULL;
	struct io_event event;
	ssize_t n;

	n = io_setup(1, &context);
	if (n) {
		*why = n == -EAGAIN ? "aio-max-nr is reached" : "no Linux AIO";
		return n;
	}
	if (write)
		io_prep_pwritev(&iocb, fd, vectors, nr, 0);
	else
		io_prep_preadv(&iocb, fd, vectors, nr, 0);
	n = io_submit(context, 1, &list);
	if (n == 1)
		n = io_getevents(context, 1, 1, &event, NULL);
	if (n == 1)
		n = (long)event.res;
	io_destroy(context);
	return n;
}

static ssize_t move(const struct attack *attack, bool write, int fd,
		    const struct iovec *vectors, int nr, const char **why)
{
	if (attack->aio)
		return linux_aio(write, fd, vectors, nr, why);
	return or_errno(write ? pwritev2(fd, vectors, nr, 0, 0) :
				preadv2(fd, vectors, nr, 0, 0));
}

/*
 * Has the memory transferred as the vector at @memory, after @before bytes of
 * something else.
 */
static ssize_t through_file(const struct attack *attack,
			    const struct attack_target *target, void *buffer,
			    int fd, const struct iovec *vectors, int nr,
			    struct iovec *memory, size_t before,
			    const char **why)
{
	ssize_t length = target->length, n;

	/* What a read brings in; for a write, something else than its data. */
	memory->iov_base = buffer;
	n = or_errno(pwritev(fd, vectors, nr, 0));
	if (n < (ssize_t)before + length) {
		*why = "O_DIRECT does not work there";
		return n;
	}

	memory->iov_base = target->local;
	n = move(attack, !attack->writes, fd, vectors, nr, why);
	if (!attack->writes && pread(fd, buffer, length, before) != length)
		*why = "what arrived can't be read back";

	/* Of the memory alone. */
	if (n < 0)
		return n;
	n = n > (ssize_t)before ? n - before : 0;
	return n < length ? n : length;
}

static ssize_t direct_io(const struct attack *attack,
			 const struct attack_target *target, void *buffer,
			 const char **why)
{
	const char *path = attack->file ? target->file : target->block;
	int flags = O_RDWR | O_DIRECT | O_CLOEXEC;
	size_t page = sysconf(_SC_PAGESIZE);
	size_t size = (1 + ATTACK_BIO_PAGES) * page;
	struct iovec vectors[3] = { };
	unsigned char *others;
	ssize_t n;
	int fd;

	if (!path) {
		*why = "no place for O_DIRECT was given";
		return -ENODEV;
	}
	fd = open(path, flags | (attack->file ? O_CREAT : 0), 0600);
	if (fd < 0) {
		*why = "O_DIRECT does not work there";
		return -errno;
	}
	others = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (others == MAP_FAILED) {
		*why = "no memory";
		n = -errno;
		goto out;
	}

	vectors[0] = (struct iovec){ others, page };
	vectors[1].iov_len = target->length;
	vectors[2] = (struct iovec){ others + page, size - page };
	if (attack->vectors)
		n = through_file(attack, target, buffer, fd, vectors, 3,
				 &vectors[1], page, why);
	else
		n = through_file(attack, target, buffer, fd, &vectors[1], 1,
				 &vectors[1], 0, why);
	munmap(others, size);
out:
	close(fd);
	return n;
}

/*
 * What each comes to while the memory is owned, by kernel: the newest first, the
 * last one for all that is older. Until bio_iov_iter_get_pages() could pin, all
 * direct I/O took plain references, which nobody refuses.
 */
static const struct attack_answer process_vm_answers[] = {
	{
		.first = EFAULT, .later = ATTACK_SHORT,
		.reason =
			"process_vm_rw_single_vec() says EFAULT for every failure, process_vm_rw_core() the bytes so far if there are any",
	},
};

static const struct attack_answer io_pin_pages_answers[] = {
	{
		.first = EBUSY, .later = ATTACK_REFUSED, .later_error = EFAULT,
		.reason =
			"io_pin_pages() passes an error on and says EFAULT for a short count",
	},
};

static const struct attack_answer xdp_umem_answers[] = {
	{
		.first = EBUSY, .later = ATTACK_REFUSED, .later_error = ENOMEM,
		.reason =
			"xdp_umem_pin_pages() passes an error on and says ENOMEM for a short count",
	},
};

static const struct attack_answer udmabuf_answers[] = {
	{
		.since = KERNEL_VERSION(6, 11, 0),
		.first = EBUSY, .later = ATTACK_REFUSED, .later_error = EBUSY,
		.reason =
			"memfd_pin_folios() pins all of the range or nothing; udmabuf_create() passes its error on",
	},
	{
		.later = ATTACK_SUCCEEDED, .later_unpinned = true,
		.reason = "it took plain references from the page cache",
	},
};

#define DIRECT_IO_BY_GET						       \
	{								       \
		.later = ATTACK_SUCCEEDED, .later_unpinned = true,	       \
		.reason = "direct I/O took plain references",		       \
	}

static const struct attack_answer direct_block_answers[] = {
	{
		.since = KERNEL_VERSION(6, 5, 0),
		.first = EBUSY, .later = ATTACK_SUCCEEDED, .later_unpinned = true,
		.reason =
			"a short direct part is no error to the block device: it does the rest through the page cache, which copies with the process's own mapping and pins nothing",
	},
	DIRECT_IO_BY_GET,
};

static const struct attack_answer aio_block_answers[] = {
	{
		.since = KERNEL_VERSION(6, 5, 0),
		.first = EBUSY, .later = ATTACK_SHORT,
		.reason =
			"__blkdev_direct_IO_async() submits the pages it got, and when these are done nobody does the rest",
	},
	DIRECT_IO_BY_GET,
};

static const struct attack_answer vectors_block_answers[] = {
	{
		.since = KERNEL_VERSION(6, 5, 0),
		.first = EBUSY, .later = ATTACK_REFUSED, .later_error = EBUSY,
		.reason =
			"__blkdev_direct_IO(), which is for more than one bio, returns the error although earlier bios were transferred",
	},
	DIRECT_IO_BY_GET,
};

static const struct attack_answer aio_vectors_block_answers[] = {
	{
		.since = KERNEL_VERSION(7, 3, 0),
		.first = EBUSY, .later = ATTACK_REFUSED, .later_error = EBUSY,
		.reason =
			"__blkdev_direct_IO() completes the bio that it can't fill with the status that stands for the errno",
	},
	{
		.since = KERNEL_VERSION(6, 5, 0),
		.first = EIO, .later = ATTACK_REFUSED, .later_error = EIO,
		.reason =
			"__blkdev_direct_IO() completes the bio that it can't fill with BLK_STS_IOERR, and nobody waits for the errno",
	},
	DIRECT_IO_BY_GET,
};

static const struct attack_answer direct_file_answers[] = {
	{
		.since = KERNEL_VERSION(6, 5, 0),
		.first = EBUSY, .later = ATTACK_REFUSED, .later_error = EBUSY,
		.reason =
			"__iomap_dio_rw() fails the whole call although the pages before were transferred; only EFAULT would be masked",
	},
	DIRECT_IO_BY_GET,
};

#define PROCESS_VM							       \
	.remote = true, .run = process_vm, .answers = process_vm_answers

#define URING								       \
	.run = uring, .answers = io_pin_pages_answers

/* The ring itself is what is pinned. */
#define BUFFER_RING							       \
	.run = buffer_ring, .pins_only = true, .answers = io_pin_pages_answers

#define XDP_UMEM							       \
	.run = xdp_umem, .pins_only = true, .answers = xdp_umem_answers

#define UDMABUF								       \
	.run = through_dmabuf, .memfd = true, .answers = udmabuf_answers

#define DIRECT_BLOCK							       \
	.run = direct_io, .answers = direct_block_answers

#define AIO_BLOCK							       \
	.run = direct_io, .aio = true, .answers = aio_block_answers

#define VECTORS_BLOCK							       \
	.run = direct_io, .vectors = true, .answers = vectors_block_answers

#define AIO_VECTORS_BLOCK						       \
	.run = direct_io, .vectors = true, .aio = true,			       \
	.answers = aio_vectors_block_answers

#define DIRECT_FILE							       \
	.run = direct_io, .file = true, .answers = direct_file_answers

const struct attack attacks[] = {
	{ "process_vm_readv", PROCESS_VM },
	{ "process_vm_writev", .writes = true, PROCESS_VM },
	{ "io_uring WRITE_FIXED from it", URING },
	{ "io_uring READ_FIXED into it", .writes = true, URING },
	{ "io_uring provided-buffer ring in it", BUFFER_RING },
	{ "AF_XDP umem in it", XDP_UMEM },
	{ "udmabuf of it, read", UDMABUF },
	{ "udmabuf of it, written", .writes = true, UDMABUF },
	{ "O_DIRECT write from it, disk", DIRECT_BLOCK },
	{ "O_DIRECT read into it, disk", .writes = true, DIRECT_BLOCK },
	{ "O_DIRECT write from it, ext4", DIRECT_FILE },
	{ "O_DIRECT read into it, ext4", .writes = true, DIRECT_FILE },
	{ "pwritev2 from it and more, disk", VECTORS_BLOCK },
	{ "preadv2 into it and more, disk", .writes = true, VECTORS_BLOCK },
	{ "pwritev2 from it and more, ext4", .vectors = true, DIRECT_FILE },
	{ "preadv2 into it and more, ext4", .writes = true, .vectors = true,
	  DIRECT_FILE },
	{ "Linux AIO write from it, disk", AIO_BLOCK },
	{ "Linux AIO read into it, disk", .writes = true, AIO_BLOCK },
	{ "Linux AIO write from it, ext4", .aio = true, DIRECT_FILE },
	{ "Linux AIO read into it, ext4", .writes = true, .aio = true,
	  DIRECT_FILE },
	{ "Linux AIO write from it and more, disk", AIO_VECTORS_BLOCK },
	{ "Linux AIO read into it and more, disk", .writes = true,
	  AIO_VECTORS_BLOCK },
	{ .name = NULL },
};

const struct attack *attack_find(const char *name)
{
	const struct attack *attack;

	for (attack = attacks; attack->name; attack++) {
		if (!strcmp(attack->name, name))
			return attack;
	}
	return NULL;
}

/**
 * kernel_version() - which kernel runs
 *
 * Return: its number as by KERNEL_VERSION(), without what comes after the
 * second dot.
 */
unsigned int kernel_version(void)
{
	unsigned int major, minor;
	struct utsname name;

	if (uname(&name) || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return 0;
	return KERNEL_VERSION(major, minor, 0);
}

/**
 * attack_answer() - what an attack comes to on this kernel
 * @attack: which
 *
 * Return: its answer while the memory is owned.
 */
const struct attack_answer *attack_answer(const struct attack *attack)
{
	const struct attack_answer *answer = attack->answers;

	while (answer->since > kernel_version())
		answer++;
	return answer;
}

static const char *missing(const struct attack *attack,
			   const struct attack_target *target)
{
	if (attack->memfd && !target->memfd)
		return "it needs memory of a memfd that is known";
	if (attack->remote && !target->pid)
		return "no process was given";
	if (!attack->memfd && !attack->remote && !target->local)
		return "the memory is not mapped in this process";
	return NULL;
}

/**
 * attack_run() - try one way to get at memory
 * @attack: which
 * @target: the memory
 * @buffer: page aligned, &attack_target.length bytes. When @attack writes, they
 *	are written to the memory; otherwise it receives what arrived where the
 *	attack moved the memory to, whatever the call returned: bytes that did
 *	not arrive are 0.
 *
 * Return: what came of it.
 */
struct attack_result attack_run(const struct attack *attack,
				const struct attack_target *target,
				void *buffer)
{
	struct attack_result result = { .why = missing(attack, target) };
	ssize_t n = -EINVAL;

	if (!attack->writes)
		memset(buffer, 0, target->length);
	if (!result.why)
		n = attack->run(attack, target, buffer, &result.why);

	if (n < 0)
		result.error = -n;
	else
		result.bytes = n;

	if (result.why)
		result.outcome = ATTACK_UNAVAILABLE;
	else if (n < 0)
		result.outcome = ATTACK_REFUSED;
	else if (result.bytes < target->length)
		result.outcome = ATTACK_SHORT;
	else
		result.outcome = ATTACK_SUCCEEDED;
	return result;
}
