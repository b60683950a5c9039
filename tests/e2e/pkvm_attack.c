// SPDX-License-Identifier: GPL-2.0
/*
 * What becomes of a VM whose memory a hostile process gets at: without
 * xpin_pkvm, with it, and with its deny_get. The table that was seen is printed;
 * each cell that is not as expected fails.
 *
 * Each cell is tried by a process of its own, which has the VM, and forks the
 * attacker before there is memory: fork() is an attack.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"

#include "pkvm/vmm.h"
#include "xpin_test.h"

enum mode {
	MODE_MAINLINE,
	MODE_XPIN,
	MODE_DENY_GET,
	MODES,
};

static const char * const mode_names[MODES] = {
	"without", "xpin_pkvm", "deny_get",
};

/* A cell: what the attack came to, and what became of the VM. */
struct seen {
	char text[64];
};

/**
 * struct attempt - one cell, while it is tried
 * @mode: the column
 * @memory: what the VM has; its wanted folio begins with the guest's code
 * @data: the page after that: what is attacked
 * @vm: the VM
 * @stranger: who attacks
 * @sum: what the guest has counted to in @data
 */
struct attempt {
	enum mode mode;
	struct memory memory;
	unsigned char *data;
	struct vm vm;
	struct stranger stranger;
	__u64 sum;
};

/* Where the guest has the page. */
#define GUEST_DATA	(GUEST_MEMORY + PAGE)
/* In that page a word that the guest leaves alone. */
#define SECRET		64

/**
 * struct row - a way to get at the memory of a VM
 * @name: for people
 * @kind: of the memory
 * @open: the VM is not protected
 * @another: another process than the VMM has the page from before
 * @try: does it; writes what came of it, and of the VM
 * @attack: which it is, if not by its name
 * @mainline: what is expected without the module
 * @owned: and with it; NULL: the same
 * @denied: and with deny_get; NULL: the same as @owned
 * @reason: why that is what is to be expected
 */
struct row {
	const char *name;
	enum memory_kind kind;
	bool open;
	bool another;
	void (*try)(struct attempt *attempt, const struct row *row,
		    struct seen *seen);
	const char *attack;
	const char *mainline;
	const char *owned;
	const char *denied;
	const char *reason;
};

static const char *error_name(int error)
{
	return error == EFAULT ? "EFAULT" : error == EBUSY ? "EBUSY" :
	       error == EIO ? "EIO" : error == EPERM ? "EPERM" :
	       error == ENOMEM ? "ENOMEM" : strerror(error);
}

static __u64 secret_of(const struct attempt *attempt)
{
	return memory_word(&attempt->memory, attempt->data + SECRET);
}

/* One more count, and nothing changed meanwhile: it lives. */
static const char *vm_state(struct attempt *attempt)
{
	struct vcpu *vcpu = &attempt->vm.vcpus[0];
	static char text[32];
	__u64 sum = 0, secret = 0;
	int error;

	error = guest_call(vcpu, GUEST_ADD, GUEST_DATA, &sum);
	if (!error)
		error = guest_call(vcpu, GUEST_LOAD, GUEST_DATA + SECRET,
				   &secret);
	if (error == -EFAULT)
		return "dead";
	if (error) {
		snprintf(text, sizeof(text), "KVM_RUN %s", error_name(-error));
		return text;
	}
	if (sum != attempt->sum + 1 || secret != secret_of(attempt))
		return "spoiled";
	attempt->sum = sum;
	return "alive";
}

static void report(struct seen *seen, struct attempt *attempt,
		   const char *attack)
{
	snprintf(seen->text, sizeof(seen->text), "%s, %s", attack,
		 vm_state(attempt));
}

/* The guest gets its pages, the one with the data last. */
static void donate(struct attempt *attempt)
{
	const char *state = vm_state(attempt);

	require(!strcmp(state, "alive"), state);
}

/* What was read of the page. */
static const char *content_name(const struct attempt *attempt,
				const unsigned char *read)
{
	__u64 word;
	size_t i;

	memcpy(&word, read + SECRET, sizeof(word));
	if (word == secret_of(attempt))
		return "secret";
	for (i = 0; i < PAGE; i++) {
		if (read[i])
			return "other bytes";
	}
	return "zeros";
}

static const char *result_name(const struct attempt *attempt,
			       const struct attack *attack,
			       const struct attack_result *result)
{
	if (result->outcome == ATTACK_REFUSED)
		return error_name(result->error);
	if (result->outcome == ATTACK_UNAVAILABLE)
		return result->why ? result->why : "unavailable";
	if (result->outcome == ATTACK_SHORT)
		return "a part";
	if (attack->pins_only)
		return "pinned";
	return attack->writes ? "written" :
	       content_name(attempt, attempt->stranger.buffer);
}

static const struct attack *attack_of(const struct row *row)
{
	const char *name = row->attack ? row->attack : row->name;
	const struct attack *attack;

	for (attack = plain_attacks; attack->name; attack++) {
		if (!strcmp(attack->name, name))
			return attack;
	}
	attack = attack_find(name);
	require(attack, name);
	return attack;
}

static void try_attack(struct attempt *attempt, const struct row *row,
		       struct seen *seen)
{
	const struct attack *attack = attack_of(row);
	struct attack_result result;

	donate(attempt);
	memset(attempt->stranger.buffer, 0xa5, PAGE);
	result = stranger_attack(&attempt->stranger, attack, &attempt->memory,
				 attempt->data, PAGE);
	report(seen, attempt, result_name(attempt, attack, &result));
}

static sigjmp_buf fault_jump;

static void on_fault(int signal)
{
	siglongjmp(fault_jump, signal);
}

static void try_load(struct attempt *attempt, const struct row *row,
		     struct seen *seen)
{
	(void)row;
	donate(attempt);
	signal(SIGSEGV, on_fault);
	if (sigsetjmp(fault_jump, 1))
		report(seen, attempt, "SIGSEGV");
	else
		report(seen, attempt, content_name(attempt, attempt->data));
}

/* Through the mapping of the process that makes the call, not through a pin. */
static void try_write(struct attempt *attempt, const struct row *row,
		      struct seen *seen)
{
	int fd = memfd_create("copy", MFD_CLOEXEC);
	ssize_t n;

	(void)row;
	donate(attempt);
	n = write(fd, attempt->data, PAGE);
	report(seen, attempt, n < 0 ? error_name(errno) : "written");
	close(fd);
}

/* Through the page cache's own reference: no mapping, no pin. */
static void try_pread(struct attempt *attempt, const struct row *row,
		      struct seen *seen)
{
	unsigned char *buffer = attempt->stranger.buffer;
	ssize_t n;

	(void)row;
	donate(attempt);
	memset(buffer, 0xa5, PAGE);
	n = pread(attempt->memory.fd, buffer, PAGE,
		  attempt->data - attempt->memory.base);
	report(seen, attempt, n < 0 ? error_name(errno) :
	       content_name(attempt, buffer));
}

static void try_pin(struct attempt *attempt, const struct row *row,
		    struct seen *seen)
{
	int error;

	(void)row;
	donate(attempt);
	error = pin_hold(attempt->data, PAGE);
	report(seen, attempt, error ? error_name(-error) : "pinned");
	if (!error)
		pin_drop();
}

/* --- What has the page before the guest gets it --- */

/**
 * struct holder - a way to have a page
 * @hold: get it
 * @use: have the kernel copy it to @buffer
 * @drop: give it up
 */
struct holder {
	void (*hold)(unsigned char *page);
	void (*use)(unsigned char *page, unsigned char *buffer);
	void (*drop)(void);
};

static struct io_uring ring;

static void ring_hold(unsigned char *page)
{
	struct iovec memory = { page, PAGE };

	require(!io_uring_queue_init(1, &ring, 0) &&
		!io_uring_register_buffers(&ring, &memory, 1), "io_uring");
}

static void ring_use(unsigned char *page, unsigned char *buffer)
{
	int store = memfd_create("store", MFD_CLOEXEC);
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;

	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_write_fixed(sqe, store, page, PAGE, 0, 0);
	require(io_uring_submit_and_wait(&ring, 1) == 1 &&
		!io_uring_wait_cqe(&ring, &cqe), "submit");
	require(cqe->res == (int)PAGE &&
		pread(store, buffer, PAGE, 0) == (ssize_t)PAGE, "read back");
	close(store);
}

static void ring_drop(void)
{
	require(!io_uring_unregister_buffers(&ring), "unregister");
	io_uring_queue_exit(&ring);
}

static int pipe_ends[2];

static void pipe_hold(unsigned char *page)
{
	struct iovec memory = { page, PAGE };

	require(!pipe2(pipe_ends, O_CLOEXEC) &&
		vmsplice(pipe_ends[1], &memory, 1, 0) == (ssize_t)PAGE,
		"vmsplice");
}

static void pipe_use(unsigned char *page, unsigned char *buffer)
{
	(void)page;
	require(read(pipe_ends[0], buffer, PAGE) == (ssize_t)PAGE, "read");
}

static void pipe_drop(void)
{
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

static const struct holder holder_ring = { ring_hold, ring_use, ring_drop };
static const struct holder holder_pipe = { pipe_hold, pipe_use, pipe_drop };

enum step { STEP_HOLD, STEP_USE, STEP_DROP };

static void do_step(const struct attempt *attempt, const struct holder *holder,
		    enum step step)
{
	if (step == STEP_HOLD)
		holder->hold(attempt->data);
	else if (step == STEP_USE)
		holder->use(attempt->data, attempt->stranger.buffer);
	else
		holder->drop();
}

/**
 * struct accomplice - a process that has the memory mapped, too
 * @pid: its id; 0: there is none
 * @steps: pipe that it reads what to do from
 * @done: pipe that it writes to when it is done
 */
struct accomplice {
	pid_t pid;
	int steps;
	int done;
};

static void accomplice_start(struct accomplice *accomplice,
			     const struct attempt *attempt,
			     const struct holder *holder)
{
	int steps[2], done[2];
	enum step step;
	pid_t pid;

	require(!pipe2(steps, O_CLOEXEC) && !pipe2(done, O_CLOEXEC), "pipe");
	fflush(stdout);
	pid = fork();
	require(pid >= 0, "fork");
	if (pid) {
		close(steps[0]);
		close(done[1]);
		*accomplice = (struct accomplice){ pid, steps[1], done[0] };
		return;
	}
	close(steps[1]);
	while (read(steps[0], &step, sizeof(step)) == sizeof(step)) {
		do_step(attempt, holder, step);
		require(write(done[1], "", 1) == 1, "pipe");
	}
	_exit(0);
}

static void take_step(const struct accomplice *accomplice,
		      const struct attempt *attempt,
		      const struct holder *holder, enum step step)
{
	char byte;

	if (!accomplice->pid)
		do_step(attempt, holder, step);
	else
		require(write(accomplice->steps, &step, sizeof(step)) ==
			sizeof(step) && read(accomplice->done, &byte, 1) == 1,
			"the accomplice");
}

static void have_before(struct attempt *attempt, const struct holder *holder,
			bool another, struct seen *seen)
{
	struct accomplice accomplice = { };
	const char *state;
	size_t length;

	if (another)
		accomplice_start(&accomplice, attempt, holder);
	memset(attempt->stranger.buffer, 0xa5, PAGE);
	take_step(&accomplice, attempt, holder, STEP_HOLD);
	state = vm_state(attempt);
	if (!strcmp(state, "alive")) {
		take_step(&accomplice, attempt, holder, STEP_USE);
		report(seen, attempt, content_name(attempt,
						   attempt->stranger.buffer));
		take_step(&accomplice, attempt, holder, STEP_DROP);
	} else {
		snprintf(seen->text, sizeof(seen->text), "%s", state);
		take_step(&accomplice, attempt, holder, STEP_DROP);
		/* It goes on as soon as the page is nobody else's. */
		length = strlen(seen->text);
		snprintf(seen->text + length, sizeof(seen->text) - length,
			 ", then %s", vm_state(attempt));
	}
	if (!another)
		return;
	close(accomplice.steps);
	close(accomplice.done);
	require(waitpid(accomplice.pid, NULL, 0) == accomplice.pid, "waitpid");
}

static void try_ring_before(struct attempt *attempt, const struct row *row,
			    struct seen *seen)
{
	have_before(attempt, &holder_ring, row->another, seen);
}

static void try_pipe_before(struct attempt *attempt, const struct row *row,
			    struct seen *seen)
{
	have_before(attempt, &holder_pipe, row->another, seen);
}

/* --- The kernel by itself --- */

#define KSM	"/sys/kernel/mm/ksm/"

static void try_ksm(struct attempt *attempt, const struct row *row,
		    struct seen *seen)
{
	long pause = file_number(KSM "sleep_millisecs"), scans;

	(void)row;
	donate(attempt);
	require(!madvise(attempt->memory.base, MEMORY_LENGTH, MADV_MERGEABLE),
		"MADV_MERGEABLE");
	set_file_number(KSM "sleep_millisecs", 0);
	set_file_number(KSM "run", 1);
	/* The first of them may have begun before. */
	scans = file_number(KSM "full_scans") + 2;
	while (file_number(KSM "full_scans") < scans)
		usleep(10000);
	/* Forgets what it has seen; then it sleeps again. */
	set_file_number(KSM "run", 2);
	set_file_number(KSM "run", 0);
	set_file_number(KSM "sleep_millisecs", pause);
	report(seen, attempt, "scanned");
}

/* --- fork() --- */

static void fork_and_look(struct attempt *attempt, struct seen *seen)
{
	pid_t pid;
	int status;

	pid = fork();
	require(pid >= 0, "fork");
	if (!pid)
		_exit(0);
	require(waitpid(pid, &status, 0) == pid && !status, "waitpid");
	report(seen, attempt, "forked");
}

static void try_fork(struct attempt *attempt, const struct row *row,
		     struct seen *seen)
{
	(void)row;
	donate(attempt);
	fork_and_look(attempt, seen);
}

static void try_fork_dontfork(struct attempt *attempt, const struct row *row,
			      struct seen *seen)
{
	(void)row;
	require(!madvise(attempt->memory.base, MEMORY_LENGTH, MADV_DONTFORK),
		"MADV_DONTFORK");
	donate(attempt);
	fork_and_look(attempt, seen);
}

/* --- What is refused without need --- */

static void try_shared(struct attempt *attempt, const struct row *row,
		       struct seen *seen)
{
	struct vcpu *vcpu = &attempt->vm.vcpus[0];
	__u64 answer = 1;

	donate(attempt);
	require(!guest_call(vcpu, GUEST_SHARE, GUEST_DATA, &answer) && !answer,
		"the guest shares its page");
	try_attack(attempt, row, seen);
}

/* The guest has two pages of the folio; the one after them it has not. */
static void try_neighbour(struct attempt *attempt, const struct row *row,
			  struct seen *seen)
{
	const struct attack *attack = attack_of(row);
	struct attack_result result;

	donate(attempt);
	result = stranger_attack(&attempt->stranger, attack, &attempt->memory,
				 attempt->data + PAGE, PAGE);
	report(seen, attempt, result.outcome == ATTACK_SUCCEEDED ? "read" :
	       result_name(attempt, attack, &result));
}

static const struct row rows[] = {
	{
		"process_vm_readv, VM not protected", MEMORY_ANON_PAGE,
		.open = true,
		.try = try_attack,
		.attack = "process_vm_readv",
		.mainline = "secret, alive",
		.reason = "its pages stay the host's",
	},
	{
		"load by the VMM", MEMORY_ANON_PAGE,
		.try = try_load,
		.mainline = "SIGSEGV, alive",
		.reason = "user access faults in the host's stage 2",
	},
	{
		"write() from it", MEMORY_ANON_PAGE,
		.try = try_write,
		.mainline = "EFAULT, alive",
		.reason = "the kernel copies through the user's mapping",
	},
	{
		"process_vm_readv", MEMORY_ANON_PAGE,
		.try = try_attack,
		.mainline = "zeros, dead",
		.owned = "EFAULT, alive",
		.reason = "the access goes through a pin",
	},
	{
		"process_vm_readv", MEMORY_SHMEM_PAGE,
		.try = try_attack,
		.mainline = "zeros, dead",
		.owned = "EFAULT, alive",
		.reason = "the access goes through a pin",
	},
	{
		"process_vm_readv", MEMORY_ANON_LARGE,
		.try = try_attack,
		.mainline = "zeros, dead",
		.owned = "EFAULT, alive",
		.reason = "the access goes through a pin",
	},
	{
		"process_vm_readv", MEMORY_SHMEM_LARGE,
		.try = try_attack,
		.mainline = "zeros, dead",
		.owned = "EFAULT, alive",
		.reason = "the access goes through a pin",
	},
	{
		"process_vm_writev", MEMORY_ANON_PAGE,
		.try = try_attack,
		.mainline = "written, dead",
		.owned = "EFAULT, alive",
		.reason = "the access goes through a pin",
	},
	{
		"process_vm_writev", MEMORY_SHMEM_LARGE,
		.try = try_attack,
		.mainline = "written, dead",
		.owned = "EFAULT, alive",
		.reason = "the access goes through a pin",
	},
	{
		"O_DIRECT write from it, disk", MEMORY_ANON_PAGE,
		.try = try_attack,
		.mainline = "zeros, dead",
		.owned = "EBUSY, alive",
		.reason = "the access goes through a pin",
	},
	{
		"O_DIRECT write from it, disk", MEMORY_SHMEM_PAGE,
		.try = try_attack,
		.mainline = "zeros, dead",
		.owned = "EBUSY, alive",
		.reason = "the access goes through a pin",
	},
	{
		"O_DIRECT read into it, disk", MEMORY_ANON_PAGE,
		.try = try_attack,
		.mainline = "written, dead",
		.owned = "EBUSY, alive",
		.reason = "the access goes through a pin",
	},
	{
		"O_DIRECT write from it, ext4", MEMORY_ANON_LARGE,
		.try = try_attack,
		.mainline = "zeros, dead",
		.owned = "EBUSY, alive",
		.reason = "the access goes through a pin",
	},
	{
		"Linux AIO write from it, disk", MEMORY_SHMEM_PAGE,
		.try = try_attack,
		.mainline = "zeros, dead",
		.owned = "EBUSY, alive",
		.reason = "the access goes through a pin",
	},
	{
		"io_uring WRITE_FIXED from it", MEMORY_ANON_PAGE,
		.try = try_attack,
		.mainline = "zeros, dead",
		.owned = "EBUSY, alive",
		.reason = "the access goes through a pin",
	},
	{
		"io_uring WRITE_FIXED from it", MEMORY_SHMEM_PAGE,
		.try = try_attack,
		.mainline = "zeros, dead",
		.owned = "EBUSY, alive",
		.reason = "the access goes through a pin",
	},
	{
		"io_uring READ_FIXED into it", MEMORY_SHMEM_LARGE,
		.try = try_attack,
		.mainline = "written, dead",
		.owned = "EBUSY, alive",
		.reason = "the access goes through a pin",
	},
	{
		"io_uring buffer, no access", MEMORY_ANON_PAGE,
		.try = try_pin,
		.mainline = "pinned, alive",
		.owned = "EBUSY, alive",
		.reason = "the access kills, not the pin",
	},
	{
		"io_uring buffer from before", MEMORY_ANON_PAGE,
		.try = try_ring_before,
		.mainline = "zeros, dead",
		.owned = "KVM_RUN EBUSY, then alive",
		.reason = "what others pin is not donated",
	},
	{
		"io_uring buffer of another, before", MEMORY_SHMEM_PAGE,
		.another = true,
		.try = try_ring_before,
		.mainline = "zeros, dead",
		.owned = "KVM_RUN EBUSY, then alive",
		.reason = "what others pin is not donated",
	},
	{
		"/proc/PID/mem, read", MEMORY_ANON_PAGE,
		.try = try_attack,
		.mainline = "zeros, dead",
		.denied = "EIO, alive",
		.reason = "the access goes through a plain reference",
	},
	{
		"/proc/PID/mem, written", MEMORY_SHMEM_PAGE,
		.try = try_attack,
		.mainline = "written, dead",
		.denied = "EIO, alive",
		.reason = "the access goes through a plain reference",
	},
	{
		"ptrace peek", MEMORY_ANON_PAGE,
		.try = try_attack,
		.mainline = "zeros, dead",
		.denied = "EIO, alive",
		.reason = "the access goes through a plain reference",
	},
	{
		"vmsplice from it", MEMORY_ANON_PAGE,
		.try = try_attack,
		.mainline = "zeros, dead",
		.denied = "EBUSY, alive",
		.reason = "the access goes through a plain reference",
	},
	{
		"vmsplice from it", MEMORY_SHMEM_LARGE,
		.try = try_attack,
		.mainline = "zeros, dead",
		.denied = "EBUSY, alive",
		.reason = "the access goes through a plain reference",
	},
	{
		"vmsplice before, read after", MEMORY_ANON_PAGE,
		.try = try_pipe_before,
		.mainline = "zeros, dead",
		.denied = "KVM_RUN EBUSY, then alive",
		.reason =
			"deny_get waits for plain references from before, too",
	},
	{
		"vmsplice by another, read after", MEMORY_SHMEM_PAGE,
		.another = true,
		.try = try_pipe_before,
		.mainline = "zeros, dead",
		.denied = "KVM_RUN EBUSY, then alive",
		.reason =
			"deny_get waits for plain references from before, too",
	},
	{
		"fork() by the VMM", MEMORY_ANON_PAGE,
		.try = try_fork,
		.mainline = "forked, dead",
		.reason =
			"copy_present_page() copies pinned private pages for the child",
	},
	{
		"fork() by the VMM, MADV_DONTFORK", MEMORY_ANON_PAGE,
		.try = try_fork_dontfork,
		.mainline = "forked, alive",
		.reason = "the child has none of it",
	},
	{
		"fork() by the VMM", MEMORY_SHMEM_PAGE,
		.try = try_fork,
		.mainline = "forked, alive",
		.reason = "shared memory is not copied",
	},
	{
		"pread() of the memfd", MEMORY_SHMEM_PAGE,
		.try = try_pread,
		.mainline = "zeros, dead",
		.reason = "the page cache has a reference of its own",
	},
	{
		"KSM, MADV_MERGEABLE by the VMM", MEMORY_ANON_PAGE,
		.try = try_ksm,
		.mainline = "scanned, dead",
		.reason = "ksmd reads pages and takes no reference by GUP",
	},
	{
		"process_vm_readv, shared by the guest", MEMORY_ANON_PAGE,
		.try = try_shared,
		.attack = "process_vm_readv",
		.mainline = "secret, alive",
		.owned = "EFAULT, alive",
		.reason =
			"the hypervisor does not tell the host: refused without need",
	},
	{
		"process_vm_readv of the folio's rest", MEMORY_ANON_LARGE,
		.try = try_neighbour,
		.attack = "process_vm_readv",
		.mainline = "read, alive",
		.owned = "EFAULT, alive",
		.reason = "ownership is of folios: refused without need",
	},
};

static const char *expected(const struct row *row, enum mode mode)
{
	if (mode == MODE_DENY_GET && row->denied)
		return row->denied;
	return mode != MODE_MAINLINE && row->owned ? row->owned : row->mainline;
}

/* With the module as the column has it; it is seen that it goes, too. */
static void set_mode(enum mode mode)
{
	const char *parameters = mode == MODE_DENY_GET ?
				 "deny_get=1 timeout_ms=300" : "timeout_ms=300";

	if (mode != MODE_MAINLINE)
		require(!module_load_with("/xpin_pkvm.ko", parameters),
			"load xpin_pkvm");
}

static void end_mode(enum mode mode)
{
	if (mode != MODE_MAINLINE)
		require(!module_unload("xpin_pkvm"), "unload xpin_pkvm");
}

static void attempt_row(const struct row *row, enum mode mode,
			struct seen *seen)
{
	struct attempt attempt = { .mode = mode };

	stranger_start(&attempt.stranger);
	memory_create(&attempt.memory, row->kind);
	attempt.data = attempt.memory.wanted + PAGE;
	memcpy(&attempt.sum, attempt.data, sizeof(attempt.sum));
	guest_place(attempt.memory.wanted);
	vm_create(&attempt.vm, !row->open, 1);
	require(!vm_memory(&attempt.vm, 0, GUEST_MEMORY, attempt.memory.wanted,
			   4 * PAGE), "memory for the guest");
	row->try(&attempt, row, seen);
	vm_destroy(&attempt.vm);
	memory_destroy(&attempt.memory);
	stranger_stop(&attempt.stranger);
}

/* By a process of its own: some of what is tried ends it. */
static void try_row(const struct row *row, enum mode mode, struct seen *seen)
{
	int ends[2], status;
	pid_t pid;

	*seen = (struct seen){ };
	require(!pipe2(ends, O_CLOEXEC), "pipe");
	fflush(stdout);
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid) {
		alarm(60);
		attempt_row(row, mode, seen);
		if (write(ends[1], seen, sizeof(*seen)) != sizeof(*seen))
			_exit(1);
		_exit(0);
	}
	close(ends[1]);
	if (read(ends[0], seen, sizeof(*seen)) != sizeof(*seen))
		*seen = (struct seen){ "nothing" };
	close(ends[0]);
	require(waitpid(pid, &status, 0) == pid, "waitpid");
	if (status)
		snprintf(seen->text, sizeof(seen->text), "%s %d",
			 WIFSIGNALED(status) ? "signal" : "exit",
			 WIFSIGNALED(status) ? WTERMSIG(status) :
			 WEXITSTATUS(status));
}

#define ROWS	(sizeof(rows) / sizeof(*rows))

static struct seen seen[ROWS][MODES];

static const char *kind_name(const struct row *row)
{
	return row->kind == MEMORY_ANON_PAGE ? "anon" :
	       row->kind == MEMORY_ANON_LARGE ? "anon THP" :
	       row->kind == MEMORY_SHMEM_PAGE ? "memfd" : "memfd THP";
}

int main(void)
{
	enum mode mode;
	size_t i;

	ksft_print_header();
	ksft_set_plan(ROWS * MODES);
	for (mode = 0; mode < MODES; mode++) {
		set_mode(mode);
		for (i = 0; i < ROWS; i++)
			try_row(&rows[i], mode, &seen[i][mode]);
		end_mode(mode);
	}

	ksft_print_msg("| %-37s | %-9s | %-16s | %-25s | %-25s |\n", "attack",
		       "memory", mode_names[0], mode_names[1], mode_names[2]);
	for (i = 0; i < ROWS; i++)
		ksft_print_msg("| %-37s | %-9s | %-16s | %-25s | %-25s |\n",
			       rows[i].name, kind_name(&rows[i]),
			       seen[i][0].text, seen[i][1].text,
			       seen[i][2].text);
	for (i = 0; i < ROWS; i++) {
		for (mode = 0; mode < MODES; mode++) {
			const char *wanted = expected(&rows[i], mode);
			bool same = !strcmp(seen[i][mode].text, wanted);

			if (!same)
				ksft_print_msg("expected '%s', because %s\n",
					       wanted, rows[i].reason);
			check(same, "%s, %s, %s: %s", rows[i].name,
			      kind_name(&rows[i]), mode_names[mode],
			      seen[i][mode].text);
		}
	}
	ksft_finished();
}
