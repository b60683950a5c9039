// SPDX-License-Identifier: GPL-2.0
/*
 * PID 1 of the test machine: runs the test programs one by one, looks after
 * each whether it left anything behind, and reports all of it on the
 * second serial port as TAP.
 *
 * Kernel command line:
 *   xpin.run=NAME,NAME...	which programs; without it those of the table
 *   xpin.repeat=N		repetitions of the leak test
 *   xpin.seconds=N	how long traffic goes on
 *   xpin.seed=N		what the random numbers of threads begin with
 *   xpin.modprobe=yes		load what modprobe finds, not /xpin.ko
 *   xpin.root=DEVICE		an ext4 with a Debian that has the packages: test
 *				in there
 *
 * What this kernel has as modules is in /modules: in /modules/list a line for
 * each, its file and its parameters, in the order in which they are loaded.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "xpin_test.h"

#ifdef __aarch64__
#define SECOND_PORT	"/dev/ttyAMA1"
#else
#define SECOND_PORT	"/dev/ttyS1"
#endif
#define KMEMLEAK	"/sys/kernel/debug/kmemleak"
#define THP		"/sys/kernel/mm/transparent_hugepage/"
#define KHUGEPAGED	THP "khugepaged/"
#define HUGETLB		"/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define HUGE_PAGES	"16"

/* Seconds are generous: the debugging kernels run under an emulator. */
static const struct program {
	const char *name;
	unsigned int seconds;
	bool on_request;
	/* Only where xpin.root is. */
	bool in_debian;
} programs[] = {
	{ .name = "installed", .seconds = 300, .in_debian = true },
	{ .name = "abi", .seconds = 120 },
	{ .name = "input", .seconds = 120 },
	{ .name = "parts", .seconds = 120 },
	{ .name = "memfd", .seconds = 120 },
	{ .name = "memfd_input", .seconds = 120 },
	{ .name = "limits", .seconds = 600 },
	{ .name = "orders", .seconds = 600 },
	{ .name = "sequences", .seconds = 600 },
	{ .name = "refusal", .seconds = 900 },
	{ .name = "witness", .seconds = 300 },
	{ .name = "foreign", .seconds = 120 },
	{ .name = "owner", .seconds = 120 },
	{ .name = "owner_driver", .seconds = 120 },
	{ .name = "deny_get", .seconds = 900 },
	{ .name = "deny_get_owner", .seconds = 120 },
	{ .name = "death", .seconds = 120 },
	{ .name = "resident", .seconds = 600 },
	{ .name = "orphan", .seconds = 120 },
	{ .name = "race", .seconds = 600 },
	{ .name = "moving", .seconds = 600 },
	{ .name = "migrate", .seconds = 600 },
	{ .name = "hammer", .seconds = 600 },
	{ .name = "kernel_owner", .seconds = 600 },
	{ .name = "phases", .seconds = 600 },
	{ .name = "threads", .seconds = 600 },
	{ .name = "modules", .seconds = 600 },
	{ .name = "hooks", .seconds = 300 },
	{ .name = "traffic", .seconds = 900 },
	{ .name = "failnth", .seconds = 600 },
	{ .name = "xpinctl", .seconds = 300 },
	{ .name = "doctor", .seconds = 900 },
	{ .name = "leak", .seconds = 1200 },
	{ .name = "gigantic", .seconds = 300, .on_request = true },
	{ .name = "pkvm_attack", .seconds = 600, .on_request = true },
	{ .name = "pkvm_ops", .seconds = 120, .on_request = true },
	{ .name = "pkvm_owner", .seconds = 600, .on_request = true },
	{ .name = "pkvm_siege", .seconds = 600, .on_request = true },
	{ .name = "demo", .seconds = 120, .on_request = true },
	{ .name = "pkvm_demo", .seconds = 120, .on_request = true },
	{ .name = NULL },
};

static noreturn void stop(void)
{
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static noreturn void bail_out(const char *what, const char *object)
{
	printf("Bail out! %s %s: %s\n", what, object, strerror(errno));
	stop();
}

static void mount_on(const char *type, const char *source, const char *path)
{
	mkdir(path, 0755);
	if (mount(source, path, type, 0, NULL) && errno != EBUSY)
		bail_out("mount", path);
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = write(fd, text, strlen(text));
	close(fd);
	return n < 0 ? -1 : 0;
}

static long long number_in(const char *path)
{
	FILE *file = fopen(path, "re");
	long long number;

	if (!file || fscanf(file, "%lld", &number) != 1)
		bail_out("read", path);
	fclose(file);
	return number;
}

static long long huge_pages_free(void)
{
	return number_in(HUGETLB "free_hugepages");
}

/*
 * It would make larger folios of those that a test wants as they are. It looks
 * at once at the first process that has any: that is this one, if only for a
 * moment. Before the next look it sleeps as long as it is told; unless it is
 * ended and started again, by hugepages-2048kB/enabled.
 */
static void put_khugepaged_to_sleep(void)
{
	const struct timespec pause = { 0, 10000000 };
	char *area;

	if (write_file(KHUGEPAGED "scan_sleep_millisecs", "4000000000"))
		bail_out("set", KHUGEPAGED);
	area = mmap(NULL, 2 * LARGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED || madvise(area, 2 * LARGE, MADV_HUGEPAGE))
		bail_out("ask for", "large folios");
	memset(area, 1, 2 * LARGE);
	munmap(area, 2 * LARGE);
	while (!number_in(KHUGEPAGED "full_scans"))
		nanosleep(&pause, NULL);
}

static void report_to(const char *path)
{
	int fd = open(path, O_RDWR | O_NOCTTY);
	struct termios terminal;

	if (fd < 0)
		bail_out("open", path);
	if (!tcgetattr(fd, &terminal)) {
		cfmakeraw(&terminal);
		tcsetattr(fd, TCSANOW, &terminal);
	}
	dup2(fd, STDOUT_FILENO);
	close(fd);
	setvbuf(stdout, NULL, _IOLBF, 0);
}

/*
 * A kernel may refuse one, as KVM on another vendor's processor; what needs it
 * says so.
 */
static void load_listed_modules(void)
{
	char line[256], path[64];
	FILE *list = fopen("/modules/list", "re");
	int fd, parameters;

	while (list && fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = '\0';
		parameters = strcspn(line, " ");
		snprintf(path, sizeof(path), "/modules/%.*s", parameters, line);
		parameters += line[parameters] == ' ';
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			bail_out("open", path);
		if (syscall(SYS_finit_module, fd, line + parameters, 0))
			printf("# load %s: %s\n", path, strerror(errno));
		close(fd);
	}
	if (list)
		fclose(list);
}

static void load_module(const char *path)
{
	errno = -module_load(path);
	if (errno)
		bail_out("load", path);
}

static void load_by_name(const char *module)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		dup2(STDOUT_FILENO, STDERR_FILENO);
		execl("/sbin/modprobe", "modprobe", module, NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		bail_out("start modprobe for", module);
	if (status) {
		printf("Bail out! modprobe %s: wait status %d\n", module,
		       status);
		stop();
	}
}

static void copy(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CLOEXEC);
	static char buffer[1 << 16];
	ssize_t n;

	if (in < 0 || out < 0)
		bail_out("fill", to);
	while ((n = read(in, buffer, sizeof(buffer))) > 0) {
		if (write(out, buffer, n) != n)
			bail_out("fill", to);
	}
	close(in);
	close(out);
}

/* The value of a word "name=value" of the kernel command line, or NULL. */
static char *parameter(const char *name)
{
	static char line[4096];
	size_t length = strlen(name);
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, line, sizeof(line) - 1);
	char *word;

	close(fd);
	if (n < 0)
		bail_out("read", "/proc/cmdline");
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	for (word = strtok(line, " "); word; word = strtok(NULL, " ")) {
		if (!strncmp(word, name, length) && word[length] == '=')
			return word + length + 1;
	}
	return NULL;
}

/*
 * What the tests are and need stays where it is for them. That of the root as it
 * was installed is left: its xpinctl, and the module that its modprobe finds.
 */
static void go_to_root(const char *device)
{
	static const char * const ours[] = {
		"/tests", "/ext4.img", "/xpin.ko", "/xpin_example.ko",
		"/xpin_test_owner.ko", "/xpin_test_get.ko", "/xpin_test_hook.ko",
		"/xpin_test_notifier.ko", "/xpin_test_pin.ko",
	};
	struct stat file;
	char path[64];
	size_t i;

	mount_on("ext4", device, "/root");
	for (i = 0; i < sizeof(ours) / sizeof(*ours); i++) {
		if (stat(ours[i], &file))
			continue;
		snprintf(path, sizeof(path), "/root%s", ours[i]);
		if (S_ISDIR(file.st_mode) ? mkdir(path, 0755) :
		    mknod(path, S_IFREG | 0644, 0))
			bail_out("make", path);
		if (mount(ours[i], path, NULL, MS_BIND, NULL))
			bail_out("mount", path);
	}
	if (chdir("/root") || mount(".", "/", NULL, MS_MOVE, NULL) ||
	    chroot(".") || chdir("/"))
		bail_out("go to", device);
	mount_on("devtmpfs", "dev", "/dev");
	/* bash takes it for granted. */
	if (symlink("/proc/self/fd", "/dev/fd"))
		bail_out("make", "/dev/fd");
}

static void set_up(void)
{
	const char *root;

	mount_on("devtmpfs", "dev", "/dev");
	report_to(SECOND_PORT);
	mount_on("proc", "proc", "/proc");
	load_listed_modules();
	root = parameter("xpin.root");
	if (root)
		go_to_root(root);
	if (getpagesize() != (int)PAGE)
		bail_out("be built for", "pages of this size");
	mount_on("proc", "proc", "/proc");
	mount_on("sysfs", "sys", "/sys");
	mount_on("debugfs", "debug", "/sys/kernel/debug");
	mount_on("tmpfs", "tmp", "/tmp");

	/*
	 * The tests say which memory shall be large, and get it at once. What a
	 * PMD maps is too large for them if it is not what they call large.
	 */
	if (write_file(THP "enabled", LARGE_HAS_PMD ? "madvise" : "never") ||
	    write_file(THP "shmem_enabled", LARGE_HAS_PMD ? "advise" : "never") ||
	    write_file(THP "defrag", "always"))
		bail_out("set", THP);
	if (!LARGE_HAS_PMD &&
	    (write_file(THP "hugepages-2048kB/enabled", "madvise") ||
	     write_file(THP "hugepages-2048kB/shmem_enabled", "advise")))
		bail_out("get large folios by", THP);
	if (set_middle_folios(false, MIDDLE) ==
	    !!feature_missing(FEATURE_ANON_MIDDLE) ||
	    set_middle_folios(true, MIDDLE) ==
	    !!feature_missing(FEATURE_SHMEM_MIDDLE))
		bail_out("get middle folios by", THP);
	if (LARGE_HAS_PMD)
		put_khugepaged_to_sleep();
	if (write_file("/proc/sys/vm/nr_hugepages", HUGE_PAGES) ||
	    huge_pages_free() != atoll(HUGE_PAGES))
		bail_out("reserve", HUGETLB);

	copy("/ext4.img", "/dev/ram1");
	mount_on("ext4", "/dev/ram1", "/mnt");
}

/* Returns the wait status; -1 if the program was stopped for its time. */
static int run(const struct program *program)
{
	sigset_t child_ended;
	struct timespec now;
	time_t deadline;
	int status = 0, last;
	char path[64];
	pid_t pid;

	snprintf(path, sizeof(path), "/tests/%s", program->name);
	sigemptyset(&child_ended);
	sigaddset(&child_ended, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child_ended, NULL);

	pid = fork();
	if (pid < 0)
		bail_out("fork for", program->name);
	if (!pid) {
		setpgid(0, 0);
		sigprocmask(SIG_UNBLOCK, &child_ended, NULL);
		execl(path, program->name, NULL);
		_exit(127);
	}
	setpgid(pid, pid);

	clock_gettime(CLOCK_MONOTONIC, &now);
	deadline = now.tv_sec + program->seconds;
	while (waitpid(pid, &status, WNOHANG) != pid) {
		struct timespec left = { deadline - now.tv_sec, 0 };

		if (now.tv_sec >= deadline) {
			kill(-pid, SIGKILL);
			waitpid(pid, &status, 0);
			status = -1;
			break;
		}
		sigtimedwait(&child_ended, NULL, &left);
		clock_gettime(CLOCK_MONOTONIC, &now);
	}

	/* What it started must be gone before anything is counted. */
	kill(-pid, SIGKILL);
	while (waitpid(-1, &last, 0) > 0)
		;
	return status;
}

/* True once it holds; what io_uring pinned goes only after its process. */
static bool settles(bool (*holds)(long long), long long value)
{
	const struct timespec pause = { 0, 100000000 };
	int i;

	for (i = 0; i < 100; i++) {
		if (holds(value))
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

static bool pins_are(long long value)
{
	return pins_held() == value;
}

static bool registry_holds(long long value)
{
	return xpin_stat("entries") == value && xpin_stat("owners") == value;
}

/* A folio that kept a reference does not go back to hugetlb's pool. */
static bool huge_pages_are(long long value)
{
	return huge_pages_free() == value;
}

/* The kernel was started with kmemleak=on, and so must have it. */
static bool look_for_leaks;

/* True if kmemleak found nothing. */
static bool no_leak(void)
{
	const struct timespec pause = { 6, 0 };
	char line[256];
	bool clean = true;
	FILE *file;

	/* It does not look at what is younger than five seconds. */
	nanosleep(&pause, NULL);
	if (write_file(KMEMLEAK, "scan") || write_file(KMEMLEAK, "scan")) {
		printf("# kmemleak can't scan: %s\n", strerror(errno));
		return false;
	}
	file = fopen(KMEMLEAK, "re");
	while (file && fgets(line, sizeof(line), file)) {
		printf("# %s", line);
		clean = false;
	}
	if (file)
		fclose(file);
	write_file(KMEMLEAK, "clear");
	return clean;
}

static void result(bool ok, int number, const char *program, const char *what)
{
	printf("%s %d %s-after: %s\n", ok ? "ok" : "not ok", number, program,
	       what);
}

static void run_and_look(const struct program *program)
{
	const char *name = program->name;
	long long pins = pins_held(), huge_pages = huge_pages_free();
	int status;
	bool ok;

	printf("# program %s\n", name);
	status = run(program);

	printf("# program %s-after\n1..%d\n", name, 4 + look_for_leaks);
	if (status == -1)
		printf("# stopped after %u seconds\n", program->seconds);
	else if (status)
		printf("# %s %d\n", WIFSIGNALED(status) ? "signal" : "exit",
		       WIFSIGNALED(status) ? WTERMSIG(status) :
		       WEXITSTATUS(status));
	result(!status, 1, name, "it ended by itself and without an error");

	ok = settles(pins_are, pins);
	if (!ok)
		printf("# %lld pins before, now %lld\n", pins, pins_held());
	result(ok, 2, name, "as many pins as before");

	ok = settles(registry_holds, 0);
	if (!ok)
		printf("# %lld entries, %lld owners\n", xpin_stat("entries"),
		       xpin_stat("owners"));
	result(ok, 3, name, "the registry is empty");

	result(settles(huge_pages_are, huge_pages), 4, name,
	       "as many free huge pages as before");

	if (look_for_leaks)
		result(no_leak(), 5, name, "kmemleak finds nothing");
}

int main(void)
{
	const struct program *program;
	char *names, *name, *repeat, *seconds, *seed;

	set_up();
	if (parameter("xpin.modprobe"))
		load_by_name("xpin");
	else
		load_module("/xpin.ko");
	load_module("/xpin_test_owner.ko");

	look_for_leaks = parameter("kmemleak");
	repeat = parameter("xpin.repeat");
	if (repeat)
		setenv("XPIN_REPEAT", repeat, 1);
	seconds = parameter("xpin.seconds");
	if (seconds)
		setenv("XPIN_SECONDS", seconds, 1);
	seed = parameter("xpin.seed");
	if (seed)
		setenv("XPIN_SEED", seed, 1);

	printf("TAP version 13\n");
	names = parameter("xpin.run");
	if (!names) {
		for (program = programs; program->name; program++) {
			if (!program->on_request &&
			    (!program->in_debian || parameter("xpin.root")))
				run_and_look(program);
		}
	}
	for (name = names ? strtok(names, ",") : NULL; name;
	     name = strtok(NULL, ",")) {
		for (program = programs; program->name; program++) {
			if (!strcmp(program->name, name))
				break;
		}
		if (!program->name) {
			errno = ENOENT;
			bail_out("run", name);
		}
		run_and_look(program);
	}

	printf("# end of tests\n");
	stop();
}
