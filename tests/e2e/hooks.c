// SPDX-License-Identifier: GPL-2.0
/*
 * The hooks of a stock kernel: in place only while they are needed; every entry
 * point of GUP has one; who was in GUP before them; who is asleep behind one;
 * who switches ftrace off, or redirects the same functions. docs/ftrace.md.
 * On a patched kernel only: every entry point asks.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"
#include "module/xpin_test_pin.h"

#define TRACING		"/sys/kernel/tracing"
#define ENABLED		TRACING "/enabled_functions"
#define FTRACE_ENABLED	"/proc/sys/kernel/ftrace_enabled"
#define HOOK		"/xpin_test_hook.ko"
#define TEST_PIN	"/xpin_test_pin.ko"

static const char * const entry_names[XPIN_TEST_PIN_ENTRIES] = {
	[XPIN_TEST_PIN_PAGES] = "pin_user_pages",
	[XPIN_TEST_PIN_REMOTE] = "pin_user_pages_remote",
	[XPIN_TEST_PIN_UNLOCKED] = "pin_user_pages_unlocked",
	[XPIN_TEST_PIN_FAST] = "pin_user_pages_fast",
	[XPIN_TEST_PIN_FAST_ONLY] = "pin_user_pages_fast_only",
	[XPIN_TEST_PIN_MEMFD] = "memfd_pin_folios",
};

static struct memory memory;
static int test_pin;

/* Is the function redirected? */
static bool is_hooked(const char *function)
{
	FILE *file = fopen(ENABLED, "re");
	char line[512], name[128], *flags;
	bool hooked = false;

	require(file, ENABLED);
	while (fgets(line, sizeof(line), file)) {
		flags = strchr(line, ')');
		if (sscanf(line, "%127s", name) == 1 &&
		    !strcmp(name, function))
			hooked = flags && strchr(flags, 'I');
	}
	fclose(file);
	return hooked;
}

static bool any_hooked(void)
{
	int entry;

	for (entry = 0; entry < XPIN_TEST_PIN_ENTRIES; entry++)
		if (is_hooked(entry_names[entry]))
			return true;
	return false;
}

/*
 * What others have hooked does not go away by waiting. The module knows of it a
 * moment after ftrace.
 */
static bool all_unhooked(void)
{
	const struct timespec pause = { 0, 100000000 };
	int tries = 300;

	while ((any_hooked() || xpin_stat("armed")) && --tries)
		nanosleep(&pause, NULL);
	return tries;
}

/* Pins of @pages pages by an entry point: what it returned. */
static long pin_by(int entry, void *addr, int pages)
{
	struct xpin_test_pin_call call = {
		.addr = entry == XPIN_TEST_PIN_MEMFD ? (uintptr_t)memory.fd :
						       (uintptr_t)addr,
		.pages = pages,
		.by = entry,
		.repeat = 1,
	};

	if (ioctl(test_pin, XPIN_TEST_PIN, &call))
		return -errno;
	return call.ret;
}

/* --- Every entry point --- */

/* The second page is claimed. */
static bool is_refused(int entry)
{
	/* It has no errno for anything. */
	long refusal = entry == XPIN_TEST_PIN_FAST_ONLY ? 0 : -EBUSY;

	/* A file from its start; and all or nothing. */
	if (entry == XPIN_TEST_PIN_MEMFD)
		return pin_by(entry, NULL, 2) == -EBUSY &&
		       pin_by(entry, NULL, 1) == 1;
	/* Not every one could bring back what NUMA balancing has hidden. */
	require(!madvise(memory.base, PAGE, MADV_POPULATE_READ), "populate");
	return pin_by(entry, memory.wanted, 2) == refusal &&
	       pin_by(entry, memory.base, 3) == 1;
}

static void entry_points(void)
{
	bool patched = feature_missing(FEATURE_HOOKS);
	struct xpin_claim claim;
	int fd = xpin_open(), entry;

	require(patched || all_unhooked(), "nothing is hooked");
	require(!xpin_claim(fd, memory.wanted, PAGE, 0, &claim), "claim");
	for (entry = 0; entry < XPIN_TEST_PIN_ENTRIES; entry++) {
		if (pin_by(entry, memory.base, 1) == -EOPNOTSUPP)
			skip("%s: this kernel has no such function",
			     entry_names[entry]);
		else
			check((patched || is_hooked(entry_names[entry])) &&
			      is_refused(entry), "%s: %srefused",
			      entry_names[entry], patched ? "" : "hooked, and ");
	}
	require(!xpin_release(fd, &claim), "release");
	check(pin_by(XPIN_TEST_PIN_FAST, memory.wanted, 2) == 2,
	      "released, and pinned again");
	close(fd);
}

/* --- Calls that sleep --- */

/* By what it is called: by process_vm_readv(), or one of enum xpin_test_pin_by. */
#define BY_READV	(-1)

/**
 * struct sleeper - a thread with a call of GUP that sleeps in a page fault
 * @by: by what it is called
 * @longterm: with FOLL_LONGTERM
 * @thread: who calls
 * @tid: its ID
 * @uffd: with what the fault is resolved
 * @area: two pages of which the first is the missing one, the second one wanted
 * @pages: how many it got, or an errno
 */
struct sleeper {
	int by;
	bool longterm;
	pthread_t thread;
	atomic_int tid;
	int uffd;
	unsigned char *area;
	long pages;
};

/* Both pages in one call, which sleeps until the first is there. */
static void *sleep_in_pin(void *argument)
{
	static unsigned char buffer[2 * PAGE];
	struct sleeper *sleeper = argument;
	struct iovec local = { buffer, sizeof(buffer) };
	struct iovec remote = { sleeper->area, sizeof(buffer) };
	struct xpin_test_pin_call call = {
		.addr = (uintptr_t)sleeper->area,
		.pages = 2,
		.by = sleeper->by,
		.longterm = sleeper->longterm,
		.repeat = 1,
	};
	ssize_t n;

	atomic_store(&sleeper->tid, gettid());
	if (sleeper->by == BY_READV) {
		n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
		sleeper->pages = n < 0 ? -errno : n / (ssize_t)PAGE;
	} else if (ioctl(test_pin, XPIN_TEST_PIN, &call)) {
		sleeper->pages = -errno;
	} else {
		sleeper->pages = call.pinned;
	}
	return NULL;
}

static void sleeper_start(struct sleeper *sleeper, int by, bool longterm)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register page = {
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffd_msg fault;

	*sleeper = (struct sleeper){ .by = by, .longterm = longterm };
	/* A page of private memory, and after it the one that is wanted. */
	sleeper->area = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(sleeper->area != MAP_FAILED &&
		mmap(sleeper->area + PAGE, PAGE, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_FIXED | MAP_POPULATE, memory.fd,
		     memory.wanted - memory.base) != MAP_FAILED, "mmap");
	page.range.start = (uintptr_t)sleeper->area;
	page.range.len = PAGE;
	sleeper->uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	require(sleeper->uffd >= 0 &&
		!ioctl(sleeper->uffd, UFFDIO_API, &api) &&
		!ioctl(sleeper->uffd, UFFDIO_REGISTER, &page), "userfaultfd");
	require(!pthread_create(&sleeper->thread, NULL, sleep_in_pin, sleeper),
		"pthread_create");
	require(read(sleeper->uffd, &fault, sizeof(fault)) == sizeof(fault),
		"a page fault");
}

/* Resolves the fault. Returns how many pages the call got, or an errno. */
static long sleeper_wake(struct sleeper *sleeper)
{
	struct uffdio_zeropage page = {
		.range = { (uintptr_t)sleeper->area, PAGE },
	};

	require(!ioctl(sleeper->uffd, UFFDIO_ZEROPAGE, &page),
		"UFFDIO_ZEROPAGE");
	pthread_join(sleeper->thread, NULL);
	close(sleeper->uffd);
	munmap(sleeper->area, 2 * PAGE);
	return sleeper->pages;
}

/* Lines of the log since @log was opened that have the words. */
static bool log_says(int log, const char *words, const char *more)
{
	char record[2048];
	bool found = false;
	ssize_t n;

	while ((n = read(log, record, sizeof(record) - 1)) > 0) {
		record[n] = '\0';
		found |= strstr(record, words) && strstr(record, more);
	}
	return found;
}

static int log_open(void)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	require(log >= 0 && lseek(log, 0, SEEK_END) >= 0, "/dev/kmsg");
	return log;
}

static const struct {
	const char *name;
	int by;
	bool longterm;
} sleepers[] = {
	{ "process_vm_readv()", BY_READV, false },
	{ "pin_user_pages_unlocked()", XPIN_TEST_PIN_UNLOCKED, false },
	{ "pin_user_pages_fast()", XPIN_TEST_PIN_FAST, false },
	{ "pin_user_pages_fast(), long-term", XPIN_TEST_PIN_FAST, true },
};

/*
 * What entered GUP before it was hooked would pin, when it goes on, what was
 * claimed meanwhile.
 */
static void asleep_before_arming(unsigned int i)
{
	struct sleeper sleeper;
	struct xpin_claim claim;
	int fd = xpin_open(), log = log_open();
	char who[64];
	int error;
	bool said;
	long n;

	require(all_unhooked(), "nothing is hooked");
	sleeper_start(&sleeper, sleepers[i].by, sleepers[i].longterm);
	snprintf(who, sizeof(who), "[%d]", sleeper.tid);
	error = xpin_claim(fd, memory.wanted, PAGE, 0, &claim);
	check(error == -EBUSY && claim.busy_addr == XPIN_NO_ADDR,
	      "%s: no claim while it sleeps since before the hooks",
	      sleepers[i].name);
	/* The log has at most ten such lines in five seconds. */
	said = log_says(log, "no claims yet", who);
	check((said || i) && xpin_stat("waits_for") == sleeper.tid,
	      "%s: the statistics, and the log, say who", sleepers[i].name);
	error = xpin_claim(fd, memory.wanted, PAGE, NSEC_PER_SEC, &claim);
	check(error == -EBUSY && !claim.timeout_ns,
	      "%s: nor one that waits a second for it", sleepers[i].name);
	n = sleeper_wake(&sleeper);
	check(n == 2, "%s: it gets what it wanted (%ld)", sleepers[i].name, n);
	error = xpin_claim(fd, memory.wanted, PAGE, 0, &claim);
	check(!error && !xpin_stat("waits_for") &&
	      pin_by(XPIN_TEST_PIN_REMOTE, memory.wanted, 1) == -EBUSY,
	      "%s: then the claim succeeds", sleepers[i].name);
	close(log);
	close(fd);
}

/* What entered GUP by a hook is refused when it goes on. */
static void asleep_after_arming(void)
{
	struct sleeper sleeper;
	struct xpin_claim claim, other;
	int fd = xpin_open(), error;
	long n;

	require(!xpin_claim(fd, memory.wanted + PAGE, PAGE, 0, &other),
		"claim of another page");
	sleeper_start(&sleeper, BY_READV, false);
	error = xpin_claim(fd, memory.wanted, PAGE, 0, &claim);
	n = sleeper_wake(&sleeper);
	check(!error && n == 1,
	      "who sleeps behind a hook is no obstacle, and gets nothing claimed (%d, %ld pages)",
	      error, n);
	close(fd);
}

/*
 * For longer than it takes the module to see that the hooks are gone, and who
 * was on a processor then.
 */
static bool stays_loaded(void)
{
	const struct timespec pause = { 0, 100000000 };
	int tries = 30;

	while (module_unload("xpin") == -EWOULDBLOCK && --tries)
		nanosleep(&pause, NULL);
	return !tries;
}

/*
 * Nobody can unload the code that a sleeper returns to; and what it was sent to
 * by hooks that are gone does not hold up the next claim.
 */
static void asleep_while_disarmed(void)
{
	struct sleeper sleeper;
	struct xpin_claim claim;
	int fd = xpin_open(), error;
	long n;

	require(!xpin_claim(fd, memory.wanted, PAGE, 0, &claim), "claim");
	sleeper_start(&sleeper, BY_READV, false);
	close(fd);
	check(all_unhooked() && stays_loaded(),
	      "unhooked, but not unloaded while somebody sleeps behind a hook");

	fd = xpin_open();
	error = xpin_claim(fd, memory.wanted, PAGE, 0, &claim);
	n = sleeper_wake(&sleeper);
	check(!error && n == 1,
	      "hooked again: it is no obstacle, and gets nothing claimed (%d, %ld pages)",
	      error, n);
	close(fd);
	check(!module_unload_soon("xpin") && !any_hooked(), "unloaded after it");
	require(!module_load("/xpin.ko"), "load again");
}

static atomic_bool loading;

/* Calls that sleep, one after the other, as many as there is room for. */
#define LOAD_SLEEPERS	64

static void *start_sleepers(void *argument)
{
	struct sleeper *started = argument;
	long i = 0;

	while (atomic_load(&loading) && i < LOAD_SLEEPERS)
		sleeper_start(&started[i++], BY_READV, false);
	return (void *)i;
}

/*
 * When it is loaded, the module tries whether it can hook. Nobody may sleep behind
 * these hooks: it could be unloaded at once.
 */
static void asleep_while_loading(bool fails)
{
	static struct sleeper started[LOAD_SLEEPERS];
	pthread_t starter;
	bool ok = true;
	int error;
	void *nr;
	long i;

	require(!module_unload_soon("xpin"), "unload xpin");
	require(!fails || !module_load(HOOK), "load xpin_test_hook");
	atomic_store(&loading, true);
	require(!pthread_create(&starter, NULL, start_sleepers, started),
		"pthread_create");
	error = module_load("/xpin.ko");
	atomic_store(&loading, false);
	pthread_join(starter, &nr);
	if (!error)
		ok = !module_unload("xpin");
	for (i = 0; i < (long)nr; i++)
		ok &= sleeper_wake(&started[i]) == 2;
	check(ok && error == (fails ? -EBUSY : 0) && nr,
	      "%sloaded while %ld calls fell asleep, unloaded, woken",
	      fails ? "not " : "", (long)nr);
	require(!fails || !module_unload("xpin_test_hook"),
		"unload xpin_test_hook");
	require(!module_load("/xpin.ko"), "load xpin");
}

/* --- Others who use ftrace --- */

static int ftrace_enable(bool on)
{
	int fd = open(FTRACE_ENABLED, O_WRONLY | O_CLOEXEC), error = 0;

	require(fd >= 0, FTRACE_ENABLED);
	if (write(fd, on ? "1" : "0", 1) < 0)
		error = -errno;
	close(fd);
	return error;
}

static bool refused(void)
{
	return pin_by(XPIN_TEST_PIN_FAST, memory.wanted, 1) == -EBUSY;
}

static void ftrace_switched_off(void)
{
	struct xpin_claim claim;
	int fd = xpin_open(), error, log;

	require(!xpin_claim(fd, memory.wanted, PAGE, 0, &claim), "claim");
	error = ftrace_enable(false);
	check(error && refused(),
	      "ftrace can't be switched off while something is claimed (%d)",
	      error);
	require(!xpin_release(fd, &claim), "release");
	require(all_unhooked(), "nothing is hooked");

	/* 7.3 does not let anybody. */
	log = log_open();
	error = ftrace_enable(false);
	if (error) {
		skip("this kernel's ftrace can't be switched off at all");
		skip("this kernel's ftrace can't be switched off at all");
	} else {
		error = xpin_claim(fd, memory.wanted, PAGE, 0, &claim);
		check(error == -ENODEV && log_says(log, "no claims", "xpin"),
		      "no claim while ftrace is switched off, and the log says so");
		close(fd);
		require(!module_unload_soon("xpin"), "unload xpin");
		error = module_load("/xpin.ko");
		check(error == -EBUSY && access("/dev/xpin", F_OK) &&
		      log_says(log, "ftrace does not hook", "ftrace_enabled"),
		      "not loaded then; the log says why");
		require(!ftrace_enable(true) && !module_load("/xpin.ko"),
			"load xpin");
		fd = xpin_open();
	}
	close(log);
	error = xpin_claim(fd, memory.wanted, PAGE, 0, &claim);
	check(!error && refused(), "it goes on as before");
	close(fd);
}

static void another_redirects(void)
{
	struct xpin_claim claim;
	int fd = xpin_open(), error, log;

	require(!xpin_claim(fd, memory.wanted, PAGE, 0, &claim), "claim");
	check(module_load(HOOK) == -EBUSY && refused(),
	      "nobody else can redirect what is hooked");
	require(!xpin_release(fd, &claim), "release");
	require(all_unhooked(), "nothing is hooked");

	log = log_open();
	require(!module_load(HOOK), "load xpin_test_hook");
	error = xpin_claim(fd, memory.wanted, PAGE, 0, &claim);
	check(error == -ENODEV && log_says(log, "no claims", "xpin"),
	      "no claim while somebody else redirects an entry point");
	close(fd);

	require(!module_unload_soon("xpin"), "unload");
	error = module_load("/xpin.ko");
	check(error == -EBUSY && access("/dev/xpin", F_OK) &&
	      log_says(log, "pin_user_pages_fast()", "live patch"),
	      "not loaded then; the log names the function");
	close(log);
	require(!module_unload("xpin_test_hook") && !module_load("/xpin.ko"),
		"load again");
	fd = xpin_open();
	check(!xpin_claim(fd, memory.wanted, PAGE, 0, &claim) && refused(),
	      "it works again without the other one");
	close(fd);
}

static void hooks(void)
{
	unsigned int i;

	check(all_unhooked(), "no hook is left after the last claim");
	for (i = 0; i < ARRAY_SIZE(sleepers); i++) {
		if (!sleepers[i].longterm ||
		    !skip_without(FEATURE_LONGTERM_RETRY, 5))
			asleep_before_arming(i);
	}
	asleep_after_arming();
	asleep_while_disarmed();
	asleep_while_loading(false);
	asleep_while_loading(true);
	ftrace_switched_off();
	another_redirects();
}

#define HOOKS_TESTS	35

int main(void)
{
	ksft_print_header();
	ksft_set_plan(XPIN_TEST_PIN_ENTRIES + 1 + HOOKS_TESTS);
	require(!mount("tracefs", TRACING, "tracefs", 0, NULL) ||
		errno == EBUSY, TRACING);
	memory_create(&memory, MEMORY_SHMEM_PAGE);
	require(!module_unload("xpin_test_owner") && !module_load(TEST_PIN),
		"load xpin_test_pin");
	test_pin = open("/dev/xpin_test_pin", O_RDWR | O_CLOEXEC);
	require(test_pin >= 0, "open xpin_test_pin");

	entry_points();
	if (!skip_without(FEATURE_HOOKS, HOOKS_TESTS))
		hooks();

	close(test_pin);
	require(!module_unload("xpin_test_pin") &&
		!module_load("/xpin_test_owner.ko"), "load xpin_test_owner");
	memory_destroy(&memory);
	ksft_finished();
}
