// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

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

	if (!target->pid) {
		*why = "no process was given";
		return -ESRCH;
	}
	if (attack->writes)
		return or_errno(process_vm_writev(target->pid, &mine, 1,
						  &theirs, 1, 0));
	return or_errno(process_vm_readv(target->pid, &mine, 1, &theirs, 1, 0));
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

static ssize_t direct_io(const struct attack *attack,
			 const struct attack_target *target, void *buffer,
			 const char *path, int flags, const char **why)
{
	ssize_t length = target->length, n;
	int fd;

	if (!path) {
		*why = "no place for O_DIRECT was given";
		return -ENODEV;
	}
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC | flags, 0600);
	if (fd < 0) {
		*why = "O_DIRECT does not work there";
		return -errno;
	}

	/* What a read brings in; for a write, something else than its data. */
	n = pwrite(fd, buffer, length, 0);
	if (n != length) {
		*why = "O_DIRECT does not work there";
		n = or_errno(n);
		goto out;
	}
	if (attack->writes) {
		n = or_errno(pread(fd, target->local, length, 0));
		goto out;
	}
	n = or_errno(pwrite(fd, target->local, length, 0));
	if (pread(fd, buffer, length, 0) != length)
		*why = "what arrived can't be read back";
out:
	close(fd);
	return n;
}

static ssize_t direct_block(const struct attack *attack,
			    const struct attack_target *target, void *buffer,
			    const char **why)
{
	return direct_io(attack, target, buffer, target->block, 0, why);
}

static ssize_t direct_file(const struct attack *attack,
			   const struct attack_target *target, void *buffer,
			   const char **why)
{
	return direct_io(attack, target, buffer, target->file, O_CREAT, why);
}

#define PROCESS_VM							       \
	.remote = true, .run = process_vm,				       \
	.first = EFAULT, .later = ATTACK_SHORT,				       \
	.reason = "process_vm_rw_single_vec() says EFAULT for every failure, " \
		  "process_vm_rw_core() the bytes so far if there are any"

#define URING								       \
	.run = uring,							       \
	.first = EBUSY, .later = ATTACK_REFUSED, .later_error = EFAULT,	       \
	.reason = "io_pin_pages() passes an error on and says EFAULT for a "   \
		  "short count"

#define DIRECT_BLOCK							       \
	.run = direct_block,						       \
	.first = EBUSY, .later = ATTACK_SUCCEEDED, .later_unpinned = true,     \
	.reason = "a short direct part is no error to the block device: it "   \
		  "does the rest through the page cache, which copies with "   \
		  "the process's own mapping and pins nothing"

#define DIRECT_FILE							       \
	.run = direct_file,						       \
	.first = EBUSY, .later = ATTACK_REFUSED, .later_error = EBUSY,	       \
	.reason = "__iomap_dio_rw() fails the whole call although the pages "  \
		  "before were transferred; only EFAULT would be masked"

const struct attack attacks[] = {
	{ "process_vm_readv", PROCESS_VM },
	{ "process_vm_writev", .writes = true, PROCESS_VM },
	{ "io_uring WRITE_FIXED from it", URING },
	{ "io_uring READ_FIXED into it", .writes = true, URING },
	{ "O_DIRECT write from it, disk", DIRECT_BLOCK },
	{ "O_DIRECT read into it, disk", .writes = true, DIRECT_BLOCK },
	{ "O_DIRECT write from it, ext4", DIRECT_FILE },
	{ "O_DIRECT read into it, ext4", .writes = true, DIRECT_FILE },
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
	struct attack_result result = { .why = NULL };
	ssize_t n;

	if (!attack->writes)
		memset(buffer, 0, target->length);
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
