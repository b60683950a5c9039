// SPDX-License-Identifier: GPL-2.0
/*
 * What XPIN_CLAIM_DENY_GET breaks for the owner of the memory itself, and what it
 * does not: the rows of the table in docs/deny-get.md. All of it works on memory
 * that nobody owns, and that is claimed without the flag; and where the flag is
 * not for this kernel, that is all there is.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/elf.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <linux/mempolicy.h>
#include <linux/perf_event.h>

#include "kselftest.h"
#include "xpin_test.h"

#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"
#define CORE		"/tmp/core"
#define PROBED		"/tmp/probed"
#define UPROBE_TYPE	"/sys/bus/event_source/devices/uprobe/type"
#define WORDS		"words in owned memory"

static int owner;
static const char *program;

/* --- Uses of memory. All return 0 or -errno; ENODATA: nothing arrived. --- */

static int futex_wake(unsigned char *page, int flags)
{
	return syscall(SYS_futex, page, FUTEX_WAKE | flags, 1, NULL, NULL, 0) ?
	       -errno : 0;
}

static int futex_wait(unsigned char *page, int flags)
{
	__u32 *word = (__u32 *)page;

	/* It does not have that value. */
	require(syscall(SYS_futex, word, FUTEX_WAIT | flags, ~*word, NULL, NULL,
			0) == -1, "FUTEX_WAIT");
	return errno == EAGAIN ? 0 : -errno;
}

/* As between processes; and as the kernel wakes who joins a thread. */
static int shared_wake(unsigned char *page)
{
	return futex_wake(page, 0);
}

static int shared_wait(unsigned char *page)
{
	return futex_wait(page, 0);
}

static int private_wake(unsigned char *page)
{
	return futex_wake(page, FUTEX_PRIVATE_FLAG);
}

static int private_wait(unsigned char *page)
{
	return futex_wait(page, FUTEX_PRIVATE_FLAG);
}

static int node_of(unsigned char *page)
{
	int node;

	return syscall(SYS_get_mempolicy, &node, NULL, 0, page,
		       MPOL_F_NODE | MPOL_F_ADDR) ? -errno : 0;
}

static int proc_self_mem(unsigned char *page)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC), error = 0;
	char word[8];

	require(fd >= 0, "/proc/self/mem");
	if (pread(fd, word, sizeof(word), (uintptr_t)page) != sizeof(word) ||
	    pwrite(fd, word, sizeof(word), (uintptr_t)page) != sizeof(word))
		error = -errno;
	close(fd);
	return error;
}

static int through_pipe(unsigned char *page, bool splice)
{
	struct iovec memory = { page, PAGE };
	char copy[PAGE];
	int ends[2], error = 0;
	ssize_t n;

	require(!pipe2(ends, O_CLOEXEC), "pipe");
	n = splice ? vmsplice(ends[1], &memory, 1, 0) :
		     write(ends[1], page, PAGE);
	if (n < 0)
		error = -errno;
	else if (read(ends[0], copy, PAGE) != n || memcmp(copy, page, PAGE))
		error = -ENODATA;
	close(ends[0]);
	close(ends[1]);
	return error;
}

static int spliced(unsigned char *page)
{
	return through_pipe(page, true);
}

static int written(unsigned char *page)
{
	return through_pipe(page, false);
}

static int read_into(unsigned char *page)
{
	char word[] = WORDS;
	int ends[2], error = 0;

	require(!pipe2(ends, O_CLOEXEC) &&
		write(ends[1], word, sizeof(word)) == sizeof(word), "pipe");
	memset(page, 0, sizeof(word));
	if (read(ends[0], page, sizeof(word)) < 0)
		error = -errno;
	else if (memcmp(page, word, sizeof(word)))
		error = -ENODATA;
	close(ends[0]);
	close(ends[1]);
	return error;
}

/* On which node move_pages() sees it. */
static int located(unsigned char *page)
{
	void *pages[] = { page };
	int status;

	require(!syscall(SYS_move_pages, 0, 1, pages, NULL, &status, 0),
		"move_pages");
	return status < 0 ? status : 0;
}

static int populated(unsigned char *page)
{
	return madvise(page, PAGE, MADV_POPULATE_WRITE) || mlock(page, PAGE) ||
	       munlock(page, PAGE) ? -errno : 0;
}

static int exit_status(pid_t pid)
{
	int status;

	require(waitpid(pid, &status, 0) == pid, "waitpid");
	return status ? -ENODATA : 0;
}

/* The child has a copy, or the memory itself if it is shared. */
static int forked(unsigned char *page)
{
	pid_t pid;

	memcpy(page, WORDS, sizeof(WORDS));
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid)
		_exit(!!strcmp((char *)page, WORDS));
	return exit_status(pid);
}

/* See main(). */
static int executed(unsigned char *page)
{
	char * const argv[] = { (char *)program, (char *)page, NULL };
	char * const environment[] = { NULL };
	pid_t pid;

	memcpy(page, WORDS, sizeof(WORDS));
	require(!posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv,
			     environment), "posix_spawn");
	return exit_status(pid);
}

static int command_line(unsigned char *page)
{
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	char line[256];
	ssize_t n;

	(void)page;
	require(fd >= 0, "/proc/self/cmdline");
	n = read(fd, line, sizeof(line));
	close(fd);
	return n > 0 && !strcmp(line, program) ? 0 : -ENODATA;
}

/* Where a core dump of @size bytes has the page at @address; NULL: it is not in it. */
static const unsigned char *in_core(const unsigned char *core, size_t size,
				    uintptr_t address)
{
	const struct elf64_hdr *header = (const struct elf64_hdr *)core;
	const struct elf64_phdr *part =
		(const struct elf64_phdr *)(core + header->e_phoff);
	int i;

	for (i = 0; i < header->e_phnum; i++, part++) {
		if (part->p_type == PT_LOAD && part->p_vaddr <= address &&
		    address + PAGE <= part->p_vaddr + part->p_filesz &&
		    part->p_offset + part->p_filesz <= size)
			return core + part->p_offset + address - part->p_vaddr;
	}
	return NULL;
}

/* Of a process that has the memory mapped, too, and the claim's file open. */
static int dumped(unsigned char *page)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	static const unsigned char zeros[PAGE];
	int status, fd, error = -EBADMSG;
	const unsigned char *copy;
	unsigned char *core;
	off_t size;
	pid_t pid;

	memset(page, 'x', PAGE);
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid) {
		setrlimit(RLIMIT_CORE, &all);
		raise(SIGABRT);
	}
	require(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
		WCOREDUMP(status), "a core dump");
	fd = open(CORE, O_RDONLY | O_CLOEXEC);
	require(fd >= 0, CORE);
	size = lseek(fd, 0, SEEK_END);
	core = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	require(core != MAP_FAILED, CORE);
	copy = in_core(core, size, (uintptr_t)page);
	if (copy && !memcmp(copy, page, PAGE))
		error = 0;
	else if (copy && !memcmp(copy, zeros, PAGE))
		error = -ENODATA;
	munmap(core, size);
	close(fd);
	unlink(CORE);
	return error;
}

static int perf_open(struct perf_event_attr *attr)
{
	attr->size = sizeof(*attr);
	return syscall(SYS_perf_event_open, attr, 0, -1, -1,
		       PERF_FLAG_FD_CLOEXEC);
}

/* Call what is at the page, with a probe there. */
static int probed(unsigned char *page)
{
	struct perf_event_attr attr = {
		.config1 = (uintptr_t)PROBED,
	};
	__u64 count = 0;
	FILE *file = fopen(UPROBE_TYPE, "re");
	int fd, error = 0;

	require(file && fscanf(file, "%u", &attr.type) == 1, UPROBE_TYPE);
	fclose(file);
	/* A probe is set only in what can't be written; a claim needs that. */
	require(!mprotect(page, PAGE, PROT_READ | PROT_EXEC), "mprotect");
	fd = perf_open(&attr);
	if (fd < 0)
		error = -errno;
	((void (*)(void))page)();
	if (!error && (read(fd, &count, sizeof(count)) != sizeof(count) ||
		       count != 1))
		error = -ENODATA;
	if (fd >= 0)
		close(fd);
	require(!mprotect(page, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC),
		"mprotect");
	return error;
}

/* Where perf says that the page is, when a fault maps it again. */
static int sampled(unsigned char *page)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_PAGE_FAULTS_MIN,
		.sample_period = 1,
		.sample_type = PERF_SAMPLE_ADDR | PERF_SAMPLE_PHYS_ADDR,
		.disabled = 1,
	};
	struct perf_event_mmap_page *control;
	struct {
		struct perf_event_header header;
		__u64 addr;
		__u64 phys;
	} *sample;
	int fd = perf_open(&attr), error = -ESRCH;
	__u64 at;

	require(fd >= 0, "perf_event_open");
	control = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		       0);
	require(control != MAP_FAILED, "mmap of perf's buffer");
	require(!madvise(page, PAGE, MADV_DONTNEED), "madvise");
	require(!ioctl(fd, PERF_EVENT_IOC_ENABLE, 0), "PERF_EVENT_IOC_ENABLE");
	__atomic_load_n(page, __ATOMIC_RELAXED);
	require(!ioctl(fd, PERF_EVENT_IOC_DISABLE, 0),
		"PERF_EVENT_IOC_DISABLE");
	for (at = 0; at < control->data_head; at += sample->header.size) {
		sample = (void *)((char *)control + control->data_offset + at);
		if (sample->header.type == PERF_RECORD_SAMPLE &&
		    sample->addr / PAGE == (uintptr_t)page / PAGE)
			error = sample->phys ? 0 : -ENODATA;
	}
	munmap(control, 2 * PAGE);
	close(fd);
	return error;
}

#ifdef __x86_64__
/* A guest that starts at the page, its address 0, and halts there. */
static int guest(unsigned char *page)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = PAGE,
		.userspace_addr = (uintptr_t)page,
	};
	struct kvm_regs regs = { .rflags = 2 };
	int kvm, vm, vcpu, length, error = 0;
	struct kvm_sregs sregs;
	struct kvm_run *run;

	page[0] = 0xf4;
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	require(kvm >= 0, "/dev/kvm");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	require(vm >= 0, "KVM_CREATE_VM");
	require(!ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region),
		"KVM_SET_USER_MEMORY_REGION");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	length = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	run = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	require(run != MAP_FAILED, "KVM_CREATE_VCPU");
	require(!ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	require(!ioctl(vcpu, KVM_SET_SREGS, &sregs) &&
		!ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	if (ioctl(vcpu, KVM_RUN, 0))
		error = -errno;
	else if (run->exit_reason != KVM_EXIT_HLT)
		error = -ENODATA;
	munmap(run, length);
	close(vcpu);
	close(vm);
	close(kvm);
	return error;
}
#endif

/* --- The memory that is used and claimed --- */

/* A function that returns, in a private mapping of a file. */
static unsigned char *map_code(void)
{
#ifdef __x86_64__
	/* nop; ret */
	static const unsigned char code[] = { 0x90, 0xc3 };
#elif defined(__aarch64__)
	static const __u32 code[] = { 0xd503201f, 0xd65f03c0 };
#endif
	int fd = open(PROBED, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	unsigned char *page;

	require(fd >= 0 && write(fd, code, sizeof(code)) == sizeof(code) &&
		!ftruncate(fd, PAGE), PROBED);
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE,
		    fd, 0);
	require(page != MAP_FAILED, "mmap of code");
	close(fd);
	return page;
}

enum place { ANON, SHMEM, CODE, ARGUMENTS, PLACES };

static const struct row {
	const char *name;
	enum place place;
	int (*use)(unsigned char *page);
	/* What it returns with the flag; 0: it works. */
	int denied;
	const char *reason;
} rows[] = {
	{ "waking by a shared futex in it", ANON, shared_wake, -EBUSY,
	  "get_futex_key() passes GUP's error on" },
	{ "waiting by a shared futex in it", ANON, shared_wait, -EBUSY,
	  "get_futex_key() passes GUP's error on" },
	{ "waking by a shared futex in a memfd", SHMEM, shared_wake, -EBUSY,
	  "get_futex_key() passes GUP's error on" },
	{ "waiting by a shared futex in a memfd", SHMEM, shared_wait, -EBUSY,
	  "get_futex_key() passes GUP's error on" },
	{ "waking by a private futex in it", ANON, private_wake, 0,
	  "its key is the address: no GUP" },
	{ "waiting by a private futex in it", ANON, private_wait, 0,
	  "its key is the address: no GUP" },
	{ "get_mempolicy(MPOL_F_ADDR)", ANON, node_of, -EBUSY,
	  "lookup_node() passes GUP's error on" },
	{ "/proc/self/mem", ANON, proc_self_mem, -EIO,
	  "mem_rw() says EIO when access_remote_vm() moved nothing" },
	{ "vmsplice()", ANON, spliced, -EBUSY,
	  "iter_to_pipe() passes GUP's error on" },
	{ "write()", ANON, written, 0, "copies by way of the mapping" },
	{ "read() into it", ANON, read_into, 0,
	  "copies by way of the mapping" },
	{ "move_pages()", ANON, located, -EBUSY,
	  "do_pages_stat_array() looks by GUP before 6.12" },
	{ "mlock() and MADV_POPULATE_WRITE", ANON, populated, 0,
	  "they walk, but take no reference" },
	{ "core dump", SHMEM, dumped, -ENODATA,
	  "get_dump_page() returns NULL: zeros" },
	{ "uprobe in it", CODE, probed, -EBUSY,
	  "uprobe_write_opcode() passes GUP's error on" },
	{ "physical address in perf's samples", SHMEM, sampled, -ENODATA,
	  "perf_virt_to_phys() says 0" },
	{ "fork() of private memory", ANON, forked, 0,
	  "copy_present_page() copies without GUP" },
	{ "fork() of a memfd", SHMEM, forked, 0, "maps it, without GUP" },
	{ "argument of execve()", ANON, executed, 0,
	  "only the new stack is reached by GUP" },
	{ "/proc/PID/cmdline", ARGUMENTS, command_line, -ENODATA,
	  "get_mm_cmdline() ends where access_remote_vm() moves nothing" },
#ifdef __x86_64__
	{ "fault of a KVM guest", ANON, guest, -EFAULT,
	  "hva_to_pfn() makes each error of GUP KVM_PFN_ERR_FAULT" },
#endif
};

static bool returns(const struct row *row, unsigned char *page, int expected,
		    const char *when)
{
	int error = row->use(page);

	if (error == expected)
		return true;
	ksft_print_msg("%s: %s: %s, not %s\n", row->name, when,
		       error ? strerror(-error) : "works",
		       expected ? strerror(-expected) : "works");
	return false;
}

static void use(const struct row *row, unsigned char *page)
{
	bool spared = row->use == located && !feature_missing(FEATURE_FOLIO_WALK);
	int denied = spared ? 0 : row->denied;
	struct xpin_claim claim;
	bool ok;

	ok = returns(row, page, 0, "nobody owns it");
	require(!xpin_claim(owner, page, PAGE, 0, &claim), "claim");
	ok &= returns(row, page, 0, "without the flag");
	require(!xpin_release(owner, &claim), "release");
	if (feature_missing(FEATURE_DENY_GET)) {
		check(ok && xpin_claim_deny_get(owner, page, PAGE, &claim) ==
		      -EOPNOTSUPP, "%s works, claimed or not", row->name);
		return;
	}
	require(!xpin_claim_deny_get(owner, page, PAGE, &claim), "claim");
	ok &= returns(row, page, denied, "with the flag");
	require(!xpin_release(owner, &claim), "release");
	ok &= returns(row, page, 0, "released");
	check(ok, "%s %s: %s", row->name, denied ? "fails" : "works",
	      row->reason);
}

static void set_core_pattern(const char *pattern)
{
	int fd = open(CORE_PATTERN, O_WRONLY | O_CLOEXEC);
	ssize_t length = strlen(pattern);

	require(fd >= 0 && write(fd, pattern, length) == length, CORE_PATTERN);
	close(fd);
}

int main(int argc, char **argv)
{
	struct memory anon, shmem;
	unsigned char *pages[PLACES];
	size_t i;

	if (argc > 1)
		return !!strcmp(argv[1], WORDS);

	program = argv[0];
	ksft_print_header();
	ksft_set_plan(ARRAY_SIZE(rows));
	owner = xpin_open();
	set_core_pattern(CORE);
	memory_create(&anon, MEMORY_ANON_PAGE);
	memory_create(&shmem, MEMORY_SHMEM_PAGE);
	pages[ANON] = anon.wanted;
	pages[SHMEM] = shmem.wanted;
	pages[CODE] = map_code();
	pages[ARGUMENTS] = (void *)((uintptr_t)argv[0] & ~(PAGE - 1));

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		use(&rows[i], pages[rows[i].place]);

	munmap(pages[CODE], PAGE);
	unlink(PROBED);
	memory_destroy(&shmem);
	memory_destroy(&anon);
	set_core_pattern("core");
	close(owner);
	ksft_finished();
}
