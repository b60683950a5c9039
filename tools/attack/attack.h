/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Ways in which a process gets at memory through GUP's FOLL_PIN, and in plain.c
 * through FOLL_GET, which is refused only for memory claimed with
 * XPIN_CLAIM_DENY_GET. What they return then, on which kernel, and why, are the
 * tables at the ends of the files.
 */
#ifndef ATTACK_H
#define ATTACK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/**
 * struct attack_target - the memory that is attacked
 * @pid: process whose memory it is
 * @remote: address in that process
 * @local: address of the same memory in the calling process; NULL if it is not
 *	mapped there
 * @length: bytes, a multiple of the page size
 * @block: path of a block device whose first @length bytes, and 257 pages after
 *	these, may be overwritten
 * @file: path of a file that may be created and overwritten, on a filesystem
 *	that can do O_DIRECT
 * @memfd: path by which the memfd that has the memory can be opened; NULL if it
 *	is not in a memfd, or not known
 * @offset: of the memory in @memfd
 *
 * What is not known stays NULL or 0: the attacks that need it are then
 * unavailable.
 */
struct attack_target {
	pid_t pid;
	void *remote;
	void *local;
	size_t length;
	const char *block;
	const char *file;
	const char *memfd;
	off_t offset;
};

enum attack_outcome {
	/* All bytes were transferred. */
	ATTACK_SUCCEEDED,
	/* Only the leading bytes were. */
	ATTACK_SHORT,
	/* The call failed. */
	ATTACK_REFUSED,
	/* It could not be tried. */
	ATTACK_UNAVAILABLE,
};

/**
 * struct attack_result - what came of an attempt
 * @outcome: one of enum attack_outcome
 * @error: the call's errno if refused; why the preparation failed if unavailable
 * @bytes: how many bytes the call said it transferred
 * @why: what is missing if unavailable
 */
struct attack_result {
	enum attack_outcome outcome;
	int error;
	size_t bytes;
	const char *why;
};

/**
 * struct attack_answer - what an attack comes to while the memory is owned
 * @since: the first kernel for which this holds, as by KERNEL_VERSION()
 * @first: errno when the first page of the range is owned by somebody; 0 if the
 *	attack takes no pin on these kernels, and so gets at owned memory
 * @later: outcome when only a later page is
 * @later_error: errno if @later is %ATTACK_REFUSED
 * @later_unpinned: with a later page owned the rest is copied without a pin
 * @reason: why they are as they are
 */
struct attack_answer {
	unsigned int since;
	int first;
	enum attack_outcome later;
	int later_error;
	bool later_unpinned;
	const char *reason;
};

/**
 * struct attack - one way to get at memory
 * @name: for people
 * @writes: overwrites the memory; otherwise reads it
 * @remote: uses &attack_target.remote; otherwise, and unless @memfd,
 *	&attack_target.local
 * @memfd: uses &attack_target.memfd, and needs no mapping of the memory
 * @pins_only: takes the pins, says that it transferred all, but moves nothing.
 *	The pins may outlive attack_run() by a moment
 * @answers: what it comes to by kernel, for attack_answer()
 * @run: tries it
 * @file: direct I/O only: with &attack_target.file; otherwise with
 *	&attack_target.block
 * @aio: direct I/O only: by Linux AIO
 * @vectors: direct I/O only: the memory is the second of three vectors, which
 *	together are more than one bio holds
 */
struct attack {
	const char *name;
	bool writes;
	bool remote;
	bool memfd;
	bool pins_only;
	const struct attack_answer *answers;
	ssize_t (*run)(const struct attack *attack,
		       const struct attack_target *target, void *buffer,
		       const char **why);
	bool file;
	bool aio;
	bool vectors;
};

/*
 * One bio has no more pages: BIO_MAX_VECS. With @vectors, so many pages and one
 * more are written to the block device or file behind what is attacked.
 */
#define ATTACK_BIO_PAGES	256

/* Ends with one whose name is NULL. */
extern const struct attack attacks[];
extern const struct attack plain_attacks[];

unsigned int kernel_version(void);
const struct attack *attack_find(const char *name);
const struct attack_answer *attack_answer(const struct attack *attack);
struct attack_result attack_run(const struct attack *attack,
				const struct attack_target *target,
				void *buffer);

#endif /* ATTACK_H */
