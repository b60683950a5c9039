// SPDX-License-Identifier: GPL-2.0
/* Ways to get at memory through a plain reference that GUP takes, FOLL_GET. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attack.h"

static ssize_t proc_mem(const struct attack *attack,
			const struct attack_target *target, void *buffer,
			const char **why)
{
	uintptr_t addr = (uintptr_t)target->remote;
	char path[32];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", target->pid);
	fd = open(path, (attack->writes ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
	if (fd < 0) {
		*why = "only who may trace the process can";
		return -errno;
	}
	if (attack->writes)
		n = pwrite(fd, buffer, target->length, addr);
	else
		n = pread(fd, buffer, target->length, addr);
	if (n < 0)
		n = -errno;
	close(fd);
	return n;
}

/* Word by word, as a debugger does. */
static ssize_t move_words(const struct attack *attack,
			  const struct attack_target *target, long *words)
{
	char *addr = target->remote;
	size_t i;

	errno = 0;
	for (i = 0; i < target->length / sizeof(*words); i++) {
		char *at = addr + i * sizeof(*words);

		if (attack->writes)
			ptrace(PTRACE_POKEDATA, target->pid, at, words[i]);
		else
			words[i] = ptrace(PTRACE_PEEKDATA, target->pid, at, 0);
		if (errno)
			break;
	}
	if (errno && !attack->writes)
		words[i] = 0;
	return i || !errno ? (ssize_t)(i * sizeof(*words)) : -errno;
}

static ssize_t debugger(const struct attack *attack,
			const struct attack_target *target, void *buffer,
			const char **why)
{
	ssize_t n;

	if (ptrace(PTRACE_SEIZE, target->pid, 0, 0) ||
	    ptrace(PTRACE_INTERRUPT, target->pid, 0, 0) ||
	    waitpid(target->pid, NULL, __WALL) != target->pid) {
		*why = "only who may trace the process, and is the first, can";
		return -errno;
	}
	n = move_words(attack, target, buffer);
	if (ptrace(PTRACE_DETACH, target->pid, 0, 0))
		*why = "the process can't be let go";
	return n;
}

/* The pages themselves go into the pipe: what is read is what is there then. */
static ssize_t splice_out(const struct attack *attack,
			  const struct attack_target *target, void *buffer,
			  const char **why)
{
	struct iovec memory = { target->local, target->length };
	int ends[2];
	ssize_t n;

	(void)attack;
	if (pipe2(ends, O_CLOEXEC)) {
		*why = "no pipe";
		return -errno;
	}
	n = vmsplice(ends[1], &memory, 1, SPLICE_F_NONBLOCK);
	if (n < 0)
		n = -errno;
	else if (read(ends[0], buffer, n) != n)
		*why = "what arrived can't be read back";
	close(ends[0]);
	close(ends[1]);
	return n;
}

/* What each comes to while the memory is claimed with XPIN_CLAIM_DENY_GET. */
static const struct attack_answer proc_mem_answers[] = {
	{
		.first = EIO, .later = ATTACK_SHORT,
		.reason =
			"access_remote_vm() says how many bytes it moved, and mem_rw() EIO when it was none",
	},
};

static const struct attack_answer ptrace_answers[] = {
	{
		.first = EIO, .later = ATTACK_SHORT,
		.reason =
			"generic_ptrace_peekdata() and _pokedata() say EIO when access_remote_vm() did not move the whole word",
	},
};

static const struct attack_answer vmsplice_answers[] = {
	{
		.first = EBUSY, .later = ATTACK_SHORT,
		.reason =
			"iter_to_pipe() passes an error on unless pages went into the pipe before",
	},
};

#define PROC_MEM							       \
	.remote = true, .run = proc_mem, .answers = proc_mem_answers

#define PTRACE								       \
	.remote = true, .run = debugger, .answers = ptrace_answers

#define VMSPLICE							       \
	.run = splice_out, .answers = vmsplice_answers

const struct attack plain_attacks[] = {
	{ "/proc/PID/mem, read", PROC_MEM },
	{ "/proc/PID/mem, written", .writes = true, PROC_MEM },
	{ "ptrace peek", PTRACE },
	{ "ptrace poke", .writes = true, PTRACE },
	{ "vmsplice from it", VMSPLICE },
	{ .name = NULL },
};
