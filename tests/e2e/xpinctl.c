// SPDX-License-Identifier: GPL-2.0
/*
 * The xpinctl tool, from its user's side: what it prints, in text and in JSON,
 * what it exits with, and that it does what it says.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <json-c/json.h>
#include <linux/capability.h>

#include "../../module/version.h"
#include "kselftest.h"
#include "tool.h"
#include "xpin_test.h"

#define DEBUGFS		"/sys/kernel/debug"
#define FILE_IN_MEMORY	"/tmp/held"
#define SECRET		"the vault code is 4711"
#define FORGERY		"the vault code is 0000"

/* --- Usage --- */

static const char * const wrong[][6] = {
	{ NULL },
	{ "fly" },
	{ "--fly" },
	{ "status", "now" },
	{ "status", "--now" },
	{ "doctor", "now" },
	{ "doctor", "--now" },
	{ "hold", "now" },
	{ "hold", "--fly" },
	{ "hold", "--size" },
	{ "hold", "--size", "0" },
	{ "hold", "--size", "-1" },
	{ "hold", "--size", "4X" },
	{ "hold", "--size", "4KK" },
	{ "hold", "--size", "99999999999999999999" },
	{ "hold", "--size", "17179869184G" },
	{ "hold", "--kind", "paper" },
	{ "hold", "--kind", "anon", "--file", "/tmp" },
	{ "hold", "--timeout", "soon" },
	{ "hold", "--timeout", "-1" },
	{ "hold", "--timeout", "nan" },
	{ "probe" },
	{ "probe", "1" },
	{ "probe", "1", "0x10000", "0x20000" },
	{ "probe", "self", "0x10000" },
	{ "probe", "0", "0x10000" },
	{ "probe", "-1", "0x10000" },
	{ "probe", "1", "0x1001" },
	{ "probe", "1", "here" },
	{ "probe", "1", "0x10000", "--length", "5" },
	{ "probe", "1", "0x10000", "--length", "0" },
	{ "probe", "1", "0x10000", "--length", "2G" },
	{ "probe", "1", "0x10000", "--attack", "nonsense" },
	{ "probe", "1", "0x10000", "--attack", "process_vm_writev" },
	{ "query", "self" },
	{ "query", "1", "0x10000", "0x20000" },
	{ "query", "1", "0x1001" },
	{ "query", "1", "--length", "4K" },
	{ "query", "--fly" },
};

#define USAGE_TESTS	3

static void test_usage(void)
{
	static const char * const help[] = { "xpinctl", "hold", "--help", NULL };
	static const char * const version[] = { "xpinctl", "--version", NULL };
	static char out[1 << 16], err[1 << 16];
	bool ok = true;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		if (failed(ask_about((const char **)wrong[i]), 2, "EINVAL",
			   "xpinctl --help"))
			continue;
		ksft_print_msg("wrong usage %zu\n", i);
		ok = false;
	}
	check(ok, "wrong usage is told, and exits with 2");

	ok = !run_tool(help, out, err, sizeof(out)) && !*err &&
	     strstr(out, "xpinctl status") && strstr(out, "xpinctl hold") &&
	     strstr(out, "xpinctl probe") && strstr(out, "xpinctl query") &&
	     strstr(out, "xpinctl doctor");
	check(ok, "--help tells the commands");
	ok = !run_tool(version, out, err, sizeof(out)) && !*err &&
	     !strcmp(out, "xpinctl " XPIN_VERSION "\n");
	check(ok, "--version tells the version");
}

static void into_full_device(void)
{
	int fd = open("/dev/full", O_WRONLY);

	dup2(fd, STDOUT_FILENO);
}

/* --- status --- */

#define STATUS_TESTS	5

static bool stats_agree(struct json_object *stats)
{
	static const char * const names[] = {
		"owners", "entries", "vetoes", "armed",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (!get(stats, names[i]) ||
		    (long long)number(stats, names[i]) != xpin_stat(names[i]))
			return false;
	}
	return true;
}

/* What status and modinfo call it. */
static const char *backend(void)
{
	return feature_missing(FEATURE_NOTIFIER) ? "ftrace" : "notifier";
}

static void test_status(void)
{
	static const char * const plain[] = { "xpinctl", "status", NULL };
	static const char * const as_json[] = {
		"xpinctl", "status", "--json", NULL
	};
	static char out[1 << 16], err[1 << 16];
	struct xpin_claim claim;
	struct memory memory;
	struct answer *answer;
	struct json_object *api;
	int owner;
	bool ok;

	memory_create(&memory, MEMORY_ANON_PAGE);
	owner = xpin_open();
	require(!xpin_claim(owner, memory.wanted, 4 * PAGE, 0, &claim), "claim");
	answer = ask("status");
	api = get(answer->json, "api");
	ok = answer->same && !answer->status && is_true(answer->json, "works") &&
	     is_true(answer->json, "loaded") && is_null(answer->json, "error") &&
	     !strcmp(string(answer->json, "version"), XPIN_VERSION) &&
	     number(api, "version") == XPIN_API_VERSION &&
	     !strcmp(string(api, "backend"), backend()) &&
	     !strcmp(string(get(answer->json, "device"), "mode"), "0600") &&
	     number(get(answer->json, "stats"), "entries") == 4 &&
	     number(get(answer->json, "stats"), "owners") == 1 &&
	     stats_agree(get(answer->json, "stats"));
	close(owner);
	memory_destroy(&memory);
	check(ok, "status: it works, and the counters are the module's");

	become = into_full_device;
	ok = run_tool(plain, out, err, sizeof(out)) == 1 && strstr(err, "ENOSPC") &&
	     run_tool(as_json, out, err, sizeof(out)) == 1 && strstr(err, "ENOSPC");
	become = NULL;
	check(ok, "status: what can't be written is an error");

	become = become_nobody;
	answer = ask("status");
	become = NULL;
	ok = failed(answer, 1, "EACCES", "sudo") &&
	     is_true(answer->json, "loaded") && !is_true(answer->json, "works") &&
	     is_null(answer->json, "stats") &&
	     !strcmp(string(get(answer->json, "stats_error"), "errno"), "EACCES");
	check(ok, "status: an ordinary user may not, and is told so");

	require(!umount(DEBUGFS), "umount " DEBUGFS);
	answer = ask("status");
	require(!mount("debug", DEBUGFS, "debugfs", 0, NULL), "mount " DEBUGFS);
	ok = answer->same && !answer->status && is_null(answer->json, "stats") &&
	     strstr(string(get(answer->json, "stats_error"), "message"),
		    "mount -t debugfs");
	check(ok, "status: without debugfs it works, and says why it can't count");

	require(!rename("/dev/xpin", "/dev/away"), "rename");
	answer = ask("status");
	require(!rename("/dev/away", "/dev/xpin"), "rename");
	ok = failed(answer, 1, "ENOENT", "devtmpfs") &&
	     is_true(answer->json, "loaded") && !is_true(answer->json, "works");
	check(ok, "status: loaded, but without a device file");
}

/* --- No module --- */

#define SENTENCE	"this kernel has no CONFIG_GUP_PIN_NOTIFIER"
#define MODINFO		"XPIN_TEST_MODINFO"

/* Started as modinfo: what that says of the module that MODINFO describes. */
static int pose_as_modinfo(const char *field)
{
	const char *module = getenv(MODINFO);

	if (!strcmp(module, "absent"))
		return 1;
	if (!strcmp(field, "filename"))
		puts("/lib/modules/test/xpin.ko");
	else if (!strcmp(field, "version"))
		puts("1.2.3");
	else if (!strcmp(field, "backend"))
		puts(module);
	else if (!strcmp(field, "unsupported") && !strcmp(module, "none"))
		puts(SENTENCE);
	return 0;
}

static void load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	require(fd >= 0 && !syscall(SYS_finit_module, fd, "", 0), path);
	close(fd);
}

static const struct {
	const char *name;
	const char *module;
	const char *way_out;
} files[] = {
	{ "no modinfo", NULL, "is one installed?" },
	{ "none installed", "absent", "no module is installed for kernel" },
	{ "the one that refuses", "none", "only refuses to load: " SENTENCE },
	{ "the real one", "notifier", "sudo modprobe xpin" },
	{ "the one for a stock kernel", "ftrace", "sudo modprobe xpin" },
};

static bool unloaded(size_t i, const struct memory *memory)
{
	struct json_object *file;
	struct answer *answer;
	bool ok;

	setenv("PATH", files[i].module ? "/tmp/bin" : "/nowhere", 1);
	if (files[i].module)
		setenv(MODINFO, files[i].module, 1);
	answer = ask("status");
	file = get(answer->json, "module_file");
	ok = failed(answer, 1, "ENODEV", files[i].way_out) &&
	     !is_true(answer->json, "loaded") && !is_true(answer->json, "works");
	if (i < 2)
		ok &= is_null(answer->json, "module_file");
	else
		ok &= !strcmp(string(file, "backend"), files[i].module) &&
		      !strcmp(string(file, "version"), "1.2.3") &&
		      is_null(file, "unsupported") == (i >= 3);
	ok &= failed(ask("hold"), 1, "ENOENT", files[i].way_out);
	ok &= failed(ask("query", me(), at(memory->base)), 1, "ENOENT",
		     files[i].way_out);
	return ok;
}

static void no_module(void)
{
	struct memory memory;
	bool ok[ARRAY_SIZE(files)];
	size_t i;

	memory_create(&memory, MEMORY_SHMEM_PAGE);
	require(!mkdir("/tmp/bin", 0755) &&
		!symlink("/tests/xpinctl", "/tmp/bin/modinfo"), "/tmp/bin");
	require(!syscall(SYS_delete_module, "xpin_test_owner", O_NONBLOCK) &&
		!module_unload_soon("xpin"), "unload");
	hide_debian(true);
	for (i = 0; i < ARRAY_SIZE(files); i++)
		ok[i] = unloaded(i, &memory);
	hide_debian(false);
	load("/xpin.ko");
	load("/xpin_test_owner.ko");
	for (i = 0; i < ARRAY_SIZE(files); i++)
		check(ok[i], "not loaded: %s", files[i].name);
	memory_destroy(&memory);
}

/* --- hold --- */

struct held {
	pid_t pid;
	FILE *out;
	__u64 addr;
	__u64 length;
	__u64 pages;
	__u64 folios;
	struct json_object *json;
};

#define start_hold(held, ...) \
	start_to_hold(held, (const char *[]){ "xpinctl", "hold", __VA_ARGS__, NULL })

static void start_to_hold(struct held *held, const char **arguments)
{
	int out[2];

	require(!pipe2(out, O_CLOEXEC), "pipe");
	fflush(stdout);
	held->pid = fork();
	require(held->pid >= 0, "fork");
	if (!held->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out[1], STDOUT_FILENO);
		execute(arguments);
	}
	close(out[1]);
	held->out = fdopen(out[0], "r");
	held->json = NULL;
}

/* False if it ended instead of holding. */
static bool holds(struct held *held)
{
	char line[1024];
	int pid;

	if (!fgets(line, sizeof(line), held->out))
		return false;
	if (*line == '{') {
		held->json = parse(line);
		held->addr = address(held->json, "address");
		held->length = number(held->json, "length");
		held->pages = number(held->json, "pages");
		held->folios = number(held->json, "folios");
		return number(held->json, "pid") == (__u64)held->pid;
	}
	return sscanf(line, "pid %d address %llx length %llu pages %llu folios %llu",
		      &pid, &held->addr, &held->length, &held->pages,
		      &held->folios) == 5 && pid == held->pid &&
	       fgets(line, sizeof(line), held->out);
}

/* Returns the exit code. */
static int end_hold(struct held *held, int signal)
{
	int status;

	if (signal)
		kill(held->pid, signal);
	require(waitpid(held->pid, &status, 0) == held->pid, "waitpid");
	fclose(held->out);
	json_object_put(held->json);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool reached(const struct held *held)
{
	static alignas(PAGE) unsigned char buffer[PAGE];
	const struct attack *attack = attack_find("process_vm_readv");
	struct attack_target target = {
		.pid = held->pid,
		.remote = (void *)held->addr,
		.length = PAGE,
	};

	return attack_run(attack, &target, buffer).outcome == ATTACK_SUCCEEDED;
}

/* Does `query PID` tell the claim? */
static bool told(const struct held *held)
{
	struct answer *answer = ask("query", text_of("%d", held->pid));
	struct json_object *owners = get(answer->json, "owners"), *owner, *claim;

	if (!answer->same || answer->status ||
	    json_object_array_length(owners) != 1)
		return false;
	owner = json_object_array_get_idx(owners, 0);
	if (number(owner, "pid") != (__u64)held->pid ||
	    json_object_array_length(get(owner, "claims")) != 1)
		return false;
	claim = json_object_array_get_idx(get(owner, "claims"), 0);
	return address(claim, "address") == held->addr &&
	       number(claim, "pages") == held->pages &&
	       number(claim, "left") == held->pages;
}

static const struct {
	const char *kind;
	const char *size;
	size_t length;
	unsigned int folios;
} kinds[] = {
	{ "anon", "256K", 256 << 10, (256 << 10) / PAGE },
	{ "anon", "1", PAGE, 1 },
	{ "memfd", "131073", (128 << 10) + PAGE, (128 << 10) / PAGE + 1 },
	{ "thp", "2M", LARGE, 1 },
	{ "thp", "0x200001", 2 * LARGE, 2 },
	{ "hugetlb", "4096", LARGE, 1 },
};

static bool held_as(struct held *held, size_t i)
{
	return held->length == kinds[i].length &&
	       held->pages == kinds[i].length / PAGE &&
	       held->folios == kinds[i].folios &&
	       xpin_stat("entries") == kinds[i].folios && told(held);
}

/* Returns how many there were. */
static long set_huge_pages(long nr)
{
	FILE *file = fopen("/proc/sys/vm/nr_hugepages", "r+e");
	long before;

	require(file && fscanf(file, "%ld", &before) == 1, "nr_hugepages");
	rewind(file);
	require(fprintf(file, "%ld", nr) > 0 && !fclose(file), "nr_hugepages");
	return before;
}

#define HOLD_KIND_TESTS	(2 * ARRAY_SIZE(kinds) + 3)

static void hold_kinds(void)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	long huge_pages;
	struct held held;
	bool ok;
	size_t i;

	huge_pages = set_huge_pages(0);
	check(failed(ask("hold", "--kind", "hugetlb"), 1, "ENOMEM",
		     "nr_hugepages"),
	      "hold: no huge pages are reserved");

	set_huge_pages(4);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!LARGE_HAS_PMD && !strcmp(kinds[i].kind, "thp")) {
			skip("hold: THP: they are of a PMD's size, 512 MiB");
			skip("hold: THP, shared: they are of a PMD's size, 512 MiB");
			continue;
		}
		start_hold(&held, "--kind", kinds[i].kind, "--size",
			   kinds[i].size);
		ok = holds(&held) && held_as(&held, i) && !reached(&held);
		ok &= !end_hold(&held, signals[i % ARRAY_SIZE(signals)]);
		check(ok && !xpin_stat("entries"),
		      "hold: %s bytes of %s, until a signal comes",
		      kinds[i].size, kinds[i].kind);

		start_hold(&held, "--share", "--json", "--kind", kinds[i].kind,
			   "--size", kinds[i].size);
		ok = holds(&held) && held_as(&held, i) && reached(&held) &&
		     is_true(held.json, "shared") &&
		     !strcmp(string(held.json, "kind"), kinds[i].kind);
		ok &= !end_hold(&held, SIGTERM);
		check(ok && !xpin_stat("entries"),
		      "hold: %s bytes of %s, shared, in JSON", kinds[i].size,
		      kinds[i].kind);
	}
	set_huge_pages(huge_pages);

	start_hold(&held, "--json");
	ok = holds(&held) && !is_true(held.json, "shared") &&
	     !strcmp(string(held.json, "kind"), "anon") &&
	     held.length == PAGE && !reached(&held);
	ok &= !end_hold(&held, SIGTERM);
	check(ok, "hold: one small anonymous page if nothing is said");

	start_hold(&held, "--kind", "memfd");
	ok = holds(&held) && !reached(&held);
	ok &= end_hold(&held, SIGKILL) == -1;
	check(ok && !xpin_stat("entries"), "hold: killed, it owns nothing");
}

/* Pages of FILE_IN_MEMORY, mapped here. */
static unsigned char *create_file(size_t pages)
{
	int fd = open(FILE_IN_MEMORY, O_RDWR | O_CREAT | O_TRUNC, 0600);
	unsigned char *base;

	require(fd >= 0 && !ftruncate(fd, pages * PAGE), FILE_IN_MEMORY);
	base = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	require(base != MAP_FAILED, "mmap");
	close(fd);
	return base;
}

/* Is page @index of the range that the message speaks of the one in the way? */
static bool busy_at(const struct answer *answer, size_t index)
{
	const char *message = string(answer->error, "message");
	__u64 length, base;

	return sscanf(message, "can't claim %llu bytes at %llx:", &length,
		      &base) == 2 &&
	       address(answer->error, "address") == base + index * PAGE &&
	       strstr(message, string(answer->error, "address"));
}

#define HOLD_FILE_TESTS	9

static void hold_file(void)
{
	static const char * const odd[] = {
		"xpinctl", "hold", "--json", "--file", "/tmp/\xff", NULL
	};
	static char out[1 << 16], err[1 << 16];
	unsigned char *base = create_file(4);
	struct xpin_claim claim;
	struct answer *answer;
	int owner = xpin_open();
	struct held held;
	bool ok;

	start_hold(&held, "--file", FILE_IN_MEMORY);
	ok = holds(&held) && held.pages == 4 &&
	     xpin_all_pages(owner, base, 4 * PAGE, XPIN_PAGE_NONE) &&
	     !madvise(base, 4 * PAGE, MADV_POPULATE_READ) &&
	     xpin_all_pages(owner, base, 4 * PAGE, XPIN_PAGE_OTHERS);
	ok &= !end_hold(&held, SIGTERM);
	ok &= xpin_all_pages(owner, base, 4 * PAGE, XPIN_PAGE_FREE);
	check(ok, "hold: all of a file in memory");

	require(!xpin_claim(owner, base + 2 * PAGE, PAGE, 0, &claim), "claim");
	answer = ask("hold", "--file", FILE_IN_MEMORY);
	ok = failed(answer, 1, "EBUSY", "xpinctl query") && busy_at(answer, 2);
	require(!xpin_release(owner, &claim), "release");
	check(ok, "hold: what another owns is EBUSY, with the address");

	require(!pin_hold(base + PAGE, PAGE), "pin");
	answer = ask("hold", "--file", FILE_IN_MEMORY, "--timeout", "0.1");
	ok = failed(answer, 1, "EBUSY", "--timeout") && busy_at(answer, 1);
	check(ok, "hold: what is still pinned after --timeout, too");

	start_hold(&held, "--file", FILE_IN_MEMORY, "--timeout", "60");
	wait_for_state(owner, base + PAGE, XPIN_PAGE_CLAIMING);
	pin_drop();
	ok = holds(&held) && !end_hold(&held, SIGTERM);
	check(ok, "hold: --timeout waits for a pin to go");

	ok = failed(ask("hold", "--file", FILE_IN_MEMORY, "--size",
			text_of("%lu", 5 * PAGE)), 1,
		    "EFAULT", "beyond the end");
	check(ok, "hold: beyond the end of the file");
	require(!truncate(FILE_IN_MEMORY, 0), "truncate");
	check(failed(ask("hold", "--file", FILE_IN_MEMORY), 1, "EINVAL", "empty"),
	      "hold: an empty file");
	require(!unlink(FILE_IN_MEMORY), "unlink");
	check(failed(ask("hold", "--file", FILE_IN_MEMORY), 1, "ENOENT",
		     FILE_IN_MEMORY),
	      "hold: a file that is not there");
	check(run_tool(odd, out, err, sizeof(out)) == 1 &&
	      strstr(out, "/tmp/\xef\xbf\xbd:") && !strchr(out, '\xff'),
	      "hold: JSON is UTF-8 whatever a file is called");
	require(!access(EXT4_FILE, F_OK) || !mknod(EXT4_FILE, S_IFREG | 0600, 0),
		EXT4_FILE);
	require(!truncate(EXT4_FILE, PAGE), EXT4_FILE);
	check(failed(ask("hold", "--file", EXT4_FILE), 1, "EOPNOTSUPP",
		     "tmpfs or hugetlbfs"),
	      "hold: a file that is not in memory");
	unlink(EXT4_FILE);
	munmap(base, 4 * PAGE);
	close(owner);
}

#define LIMIT		(16 * PAGE)

static void become_limited(void)
{
	const struct rlimit limit = { LIMIT, LIMIT };

	require(!setrlimit(RLIMIT_MEMLOCK, &limit), "setrlimit");
	become_nobody();
}

#define HOLD_LIMIT_TESTS	3

static void hold_limits(void)
{
	struct held held;
	bool ok;

	become = become_nobody;
	check(failed(ask("hold"), 1, "EACCES", "sudo"),
	      "hold: not for an ordinary user");

	become = become_limited;
	require(!chmod("/dev/xpin", 0666), "chmod");
	start_hold(&held, "--size", text_of("%lu", LIMIT));
	ok = holds(&held);
	ok &= !end_hold(&held, SIGTERM);
	check(ok, "hold: as much as RLIMIT_MEMLOCK");
	ok = failed(ask("hold", "--size", text_of("%lu", LIMIT + PAGE)), 1,
		    "ENOMEM", text_of("RLIMIT_MEMLOCK, %lu bytes", LIMIT));
	check(ok, "hold: more than RLIMIT_MEMLOCK");
	require(!chmod("/dev/xpin", 0600), "chmod");
	become = NULL;
}

/* --- probe --- */

#define PROBED_FILE	"/mnt/probed"

static struct json_object *attempts_of(const struct answer *answer)
{
	return get(answer->json, "attempts");
}

static size_t nr_attempts(const struct answer *answer)
{
	return json_object_array_length(attempts_of(answer));
}

static struct json_object *nth(const struct answer *answer, size_t i)
{
	return json_object_array_get_idx(attempts_of(answer), i);
}

static struct json_object *attempt(const struct answer *answer, const char *name)
{
	size_t i;

	for (i = 0; i < nr_attempts(answer); i++) {
		if (!strcmp(string(nth(answer, i), "attack"), name))
			return nth(answer, i);
	}
	return NULL;
}

static bool came_to(const struct answer *answer, const char *name,
		    const char *outcome)
{
	return !strcmp(string(attempt(answer, name), "outcome"), outcome);
}

/* Do the totals say what the attempts say, and does the exit code? */
static bool adds_up(const struct answer *answer)
{
	size_t refused = 0, unavailable = 0, i;
	struct json_object *json = answer->json;
	const char *outcome;

	for (i = 0; i < nr_attempts(answer); i++) {
		outcome = string(nth(answer, i), "outcome");
		refused += !strcmp(outcome, "refused");
		unavailable += !strcmp(outcome, "unavailable");
	}
	return answer->same && number(json, "refused") == refused &&
	       number(json, "unavailable") == unavailable &&
	       number(json, "got_through") ==
	       nr_attempts(answer) - refused - unavailable &&
	       answer->status == (refused + unavailable < nr_attempts(answer) ?
				  1 : refused ? 0 : 2);
}

/* Nothing was refused, each kind of attack got through; reading ones only? */
static bool all_through(const struct answer *answer, bool writes)
{
	static const char * const names[] = {
		"process_vm_readv", "io_uring WRITE_FIXED from it",
		"O_DIRECT write from it, disk", "O_DIRECT write from it, ext4",
		"udmabuf of it, read", "AF_XDP umem in it",
		"process_vm_writev", "io_uring READ_FIXED into it",
		"O_DIRECT read into it, disk", "O_DIRECT read into it, ext4",
		"udmabuf of it, written",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (feature_missing(FEATURE_UDMABUF) &&
		    !strncmp(names[i], "udmabuf", strlen("udmabuf")))
			continue;
		if (i < 6 || writes ?
		    !came_to(answer, names[i], "succeeded") ||
		    number(attempt(answer, names[i]), "bytes") != PAGE :
		    !!attempt(answer, names[i])) {
			ksft_print_msg("%s: %s\n", names[i],
				       json_object_get_string(attempt(answer,
								      names[i])));
			return false;
		}
	}
	return adds_up(answer) && !number(answer->json, "refused");
}

/*
 * No pin got through, and each failed as it does when the page is owned. What
 * takes no pins on this kernel got through.
 */
static bool all_refused(const struct answer *answer)
{
	const struct attack *attack;
	size_t unasked = 0, i;

	for (i = 0; i < nr_attempts(answer); i++) {
		attack = attack_find(string(nth(answer, i), "attack"));
		if (!strcmp(string(nth(answer, i), "outcome"), "unavailable"))
			continue;
		if (!attack_answer(attack)->first)
			unasked++;
		else if (strcmp(string(nth(answer, i), "errno"),
				strerrorname_np(attack_answer(attack)->first)))
			return false;
	}
	return adds_up(answer) &&
	       number(answer->json, "got_through") == unasked &&
	       number(answer->json, "refused");
}

/* Did the attempt show this, if it got through and moves anything? */
static bool is_text(struct json_object *attempt, const char *text)
{
	return strcmp(string(attempt, "outcome"), "succeeded") ||
	       is_true(attempt, "pins_only") ||
	       !strcmp(string(attempt, "text"), text);
}

/* A pattern at the start of the device, and where the attacks' longest bio ends. */
static bool block_untouched(bool write)
{
	const off_t places[] = { 0, ATTACK_BIO_PAGES * PAGE };
	int fd = open(BLOCK_DEVICE, O_RDWR | O_CLOEXEC);
	char pattern[PAGE], found[PAGE];
	bool same = true;
	size_t i;

	require(fd >= 0, BLOCK_DEVICE);
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		memset(pattern, 'a' + i, sizeof(pattern));
		if (write)
			require(pwrite(fd, pattern, PAGE, places[i]) == PAGE,
				"write");
		require(pread(fd, found, PAGE, places[i]) == PAGE, "read");
		same &= !memcmp(pattern, found, PAGE);
	}
	close(fd);
	return same;
}

#define PLACES	"--block", BLOCK_DEVICE, "--file", PROBED_FILE

#define PROBE_SHARED_TESTS	8

static bool fails_to_answer(const char *addr)
{
	const char * const arguments[] = {
		"xpinctl", "probe", me(), addr, "--write", PLACES, NULL
	};
	static char out[1 << 16], err[1 << 16];
	int status;

	become = into_full_device;
	status = run_tool(arguments, out, err, sizeof(out));
	become = NULL;
	return status == 2 && strstr(err, "ENOSPC");
}

static void probe_shared(void)
{
	struct xpin_claim claim;
	struct memory memory;
	struct answer *answer;
	int owner = xpin_open();
	const char *addr;
	size_t nr_through, i;
	bool ok;

	memory_create(&memory, MEMORY_SHMEM_PAGE);
	/* udmabuf wants this. */
	require(!fcntl(memory.fd, F_ADD_SEALS, F_SEAL_SHRINK), "F_ADD_SEALS");
	addr = strdup(at(memory.wanted));
	snprintf((char *)memory.wanted, PAGE, SECRET);
	require(block_untouched(true), "write");

	answer = ask("probe", me(), addr, "--show", PLACES);
	ok = all_through(answer, false);
	for (i = 0; i < nr_attempts(answer); i++)
		ok &= is_text(nth(answer, i), SECRET);
	check(ok, "probe: each way to read gets it");

	answer = ask("probe", me(), addr, "--show", "--write=" FORGERY, PLACES);
	ok = all_through(answer, true);
	for (i = 0; i < nr_attempts(answer); i++)
		ok &= is_text(nth(answer, i), is_true(nth(answer, i), "writes") ?
					      FORGERY : SECRET);
	check(ok, "probe: each way to write overwrites it");
	check(!strcmp((char *)memory.wanted, SECRET),
	      "probe: what was overwritten is put back");

	memory_fill(&memory);
	answer = ask("probe", me(), addr, "--write", PLACES);
	nr_through = number(answer->json, "got_through");
	check(all_through(answer, true) &&
	      memory_untouched(&memory, memory.base, MEMORY_LENGTH),
	      "probe: --write alone writes what is there");

	/* What the attempts pinned may go a moment after them. */
	require(!xpin_claim(owner, memory.wanted, PAGE, 10 * NSEC_PER_SEC, &claim),
		"claim");
	answer = ask("probe", me(), addr, "--write=" FORGERY, PLACES);
	check(all_refused(answer) && number(answer->json, "refused") +
	      number(answer->json, "got_through") == nr_through &&
	      memory_untouched(&memory, memory.base, MEMORY_LENGTH),
	      "probe: on owned memory each pin is refused");

	answer = ask("probe", me(), at(memory.wanted - PAGE), "--length", text_of("%lu", 2 * PAGE),
		     "--attack", "process_vm");
	ok = adds_up(answer) && answer->status == 1 &&
	     came_to(answer, "process_vm_readv", "short") &&
	     number(attempt(answer, "process_vm_readv"), "bytes") == PAGE;
	require(!xpin_release(owner, &claim), "release");
	check(ok, "probe: the page before an owned one got through");

	check(block_untouched(false) && access(PROBED_FILE, F_OK),
	      "probe: disk and file are as before");

	check(fails_to_answer(addr) && block_untouched(false) &&
	      access(PROBED_FILE, F_OK),
	      "probe: so they are when its answer can't be written");
	free((void *)addr);
	memory_destroy(&memory);
	close(owner);
}

/* --- Plain references --- */

#define PLAIN	"--get", "--attack", "PID/mem", "--attack", "ptrace",	\
		"--attack", "vmsplice", "--attack", "process_vm"

/* What `query` says of the claim. */
static bool query_tells_deny_get(const struct held *held)
{
	struct answer *answer = ask("query", text_of("%d", held->pid));
	struct json_object *owner, *claim;

	owner = json_object_array_get_idx(get(answer->json, "owners"), 0);
	claim = json_object_array_get_idx(get(owner, "claims"), 0);
	return answer->same && is_true(claim, "deny_get") &&
	       strstr(answer->text, " deny-get\n");
}

#define DENY_GET_TESTS	5

static void deny_get(void)
{
	static const char reads[] = "/proc/PID/mem, read";
	unsigned char *base = create_file(2);
	struct iovec page = { base, PAGE };
	struct answer *answer;
	struct held held;
	const char *pid;
	int ends[2];
	bool ok;

	snprintf((char *)base, PAGE, SECRET);
	start_hold(&held, "--json", "--file", FILE_IN_MEMORY);
	ok = holds(&held) && !is_true(held.json, "deny_get") &&
	     !query_tells_deny_get(&held);
	pid = text_of("%d", held.pid);
	answer = ask("probe", pid, at((void *)held.addr), PLAIN);
	ok &= adds_up(answer) && answer->status == 1 &&
	      came_to(answer, reads, "succeeded") &&
	      came_to(answer, "ptrace peek", "succeeded") &&
	      came_to(answer, "vmsplice from it", "succeeded") &&
	      came_to(answer, "process_vm_readv", "refused");
	ok &= !end_hold(&held, SIGTERM);
	check(ok, "probe: --get gets through without --deny-get");

	if (feature_missing(FEATURE_DENY_GET)) {
		answer = ask("hold", "--deny-get", "--file", FILE_IN_MEMORY);
		check(failed(answer, 1, "EOPNOTSUPP", "leave --deny-get out"),
		      "hold, query: --deny-get");
		skip_without(FEATURE_DENY_GET, DENY_GET_TESTS - 2);
		goto out;
	}
	start_hold(&held, "--json", "--deny-get", "--file", FILE_IN_MEMORY);
	ok = holds(&held) && is_true(held.json, "deny_get") &&
	     !number(held.json, "referenced") && query_tells_deny_get(&held);
	check(ok, "hold, query: --deny-get");
	pid = text_of("%d", held.pid);
	answer = ask("probe", pid, at((void *)held.addr), "--write=" FORGERY,
		     PLAIN);
	ok = adds_up(answer) && !answer->status &&
	     number(answer->json, "refused") == 7 &&
	     !strcmp((char *)base, SECRET);
	ok &= !end_hold(&held, SIGTERM);
	check(ok, "probe: --get is refused with --deny-get");

	start_hold(&held, "--deny-get");
	ok = holds(&held);
	answer = ask("probe", text_of("%d", held.pid), at((void *)held.addr));
	ok &= failed(answer, 2, "EFAULT", "--deny-get");
	ok &= !end_hold(&held, SIGTERM);
	check(ok, "probe: private memory that nothing reaches");

	require(!pipe2(ends, O_CLOEXEC) &&
		vmsplice(ends[1], &page, 1, 0) == (ssize_t)PAGE, "vmsplice");
	start_hold(&held, "--json", "--deny-get", "--file", FILE_IN_MEMORY);
	ok = holds(&held) && number(held.json, "referenced") == 1;
	ok &= !end_hold(&held, SIGTERM);
	close(ends[0]);
	close(ends[1]);
	check(ok, "hold: tells of plain references from before");
out:
	munmap(base, 2 * PAGE);
	unlink(FILE_IN_MEMORY);
}

static void become_unable_to_lock(void)
{
	const struct rlimit none = { 0, 0 };

	require(!setrlimit(RLIMIT_MEMLOCK, &none) &&
		!prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK), "drop CAP_IPC_LOCK");
}

/* Does /proc/PID/mem lead to what nobody may access? Since 6.12 that is configured. */
static bool mem_forces(const void *addr)
{
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	char byte;
	bool ok;

	require(fd >= 0, "/proc/self/mem");
	ok = pread(fd, &byte, 1, (uintptr_t)addr) == 1;
	close(fd);
	return ok;
}

#define PROBE_OTHER_TESTS	7

static void probe_other(void)
{
	static const char uring[] = "io_uring WRITE_FIXED from it";
	struct memory private, shared;
	struct xpin_claim claim;
	struct answer *answer;
	int owner = xpin_open(), fd;
	bool ok;
	void *area;

	memory_create(&private, MEMORY_ANON_PAGE);
	memory_create(&shared, MEMORY_SHMEM_PAGE);

	answer = ask("probe", me(), at(private.wanted), PLACES);
	ok = adds_up(answer) && answer->status == 1 &&
	     came_to(answer, "process_vm_readv", "succeeded") &&
	     came_to(answer, uring, "unavailable") &&
	     strstr(string(attempt(answer, uring), "why"), "private memory");
	check(ok, "probe: private memory can be reached by process_vm_readv()");
	require(!xpin_claim(owner, private.wanted, PAGE, 0, &claim), "claim");
	answer = ask("probe", me(), at(private.wanted));
	ok = adds_up(answer) && !answer->status &&
	     came_to(answer, "process_vm_readv", "refused");
	require(!xpin_release(owner, &claim), "release");
	check(ok, "probe: and when it is owned, by none");

	answer = ask("probe", me(), at(private.wanted), "--attack", "io_uring");
	check(adds_up(answer) && answer->status == 2,
	      "probe: nothing could be tried");

	require(!mprotect(private.wanted, PAGE, PROT_NONE), "mprotect");
	answer = ask("probe", me(), at(private.wanted));
	check(mem_forces(private.wanted) ?
	      adds_up(answer) && answer->status == 2 &&
	      came_to(answer, "process_vm_readv", "unavailable") :
	      failed(answer, 2, "EFAULT", "may nobody read it"),
	      "probe: what its process may not read is no refusal");

	become = become_unable_to_lock;
	answer = ask("probe", me(), at(shared.wanted));
	become = NULL;
	ok = adds_up(answer) && came_to(answer, uring, "unavailable") &&
	     !strcmp(string(attempt(answer, uring), "errno"), "ENOMEM");
	check(ok, "probe: nor is RLIMIT_MEMLOCK");

	answer = ask("probe", me(), at(shared.wanted));
	check(adds_up(answer) && answer->status == 1 &&
	      came_to(answer, "O_DIRECT write from it, disk", "unavailable") &&
	      came_to(answer, "O_DIRECT write from it, ext4", "unavailable"),
	      "probe: without a place for it no O_DIRECT");

	fd = open("/mnt/mapped", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	require(fd >= 0 && !ftruncate(fd, PAGE), "/mnt/mapped");
	area = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	require(area != MAP_FAILED, "mmap");
	answer = ask("probe", me(), at(area));
	ok = adds_up(answer) && answer->status == 1 &&
	     strstr(string(attempt(answer, uring), "why"), "not in memory");
	check(ok, "probe: a file that is not in memory is not attacked");
	munmap(area, PAGE);
	close(fd);
	unlink("/mnt/mapped");
	memory_destroy(&shared);
	memory_destroy(&private);
	close(owner);
}

/* A process id that nobody has: a child's that was waited for. */
static const char *nobodys_pid(void)
{
	pid_t pid = fork();

	require(pid >= 0, "fork");
	if (!pid)
		_exit(0);
	require(waitpid(pid, NULL, 0) == pid, "waitpid");
	return text_of("%d", pid);
}

#define PROBE_ERROR_TESTS	9

static void probe_errors(void)
{
	struct memory memory;
	struct stat file;
	int fd;

	memory_create(&memory, MEMORY_SHMEM_PAGE);
	check(failed(ask("probe", nobodys_pid(), "0x10000"), 2, "ESRCH",
		     "no process"),
	      "probe: no such process");
	check(failed(ask("probe", me(), "0x10000"), 2, "EFAULT", "no memory at"),
	      "probe: no memory at that address");
	check(failed(ask("probe", me(), at(memory.base + MEMORY_LENGTH - PAGE),
			 "--length", text_of("%lu", 2 * PAGE)), 2, "EFAULT", "ends at"),
	      "probe: more than there is");
	require(!ftruncate(memory.fd, MEMORY_LENGTH - PAGE), "ftruncate");
	check(failed(ask("probe", me(), at(memory.base + MEMORY_LENGTH - PAGE)),
		     2, "EFAULT", "can't be reached"),
	      "probe: memory that nobody can reach");

	become = become_nobody;
	check(failed(ask("probe", "1", at(memory.base)), 2, "EACCES", "sudo"),
	      "probe: not for an ordinary user");
	become = NULL;

	fd = open(PROBED_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	require(fd >= 0 && write(fd, "x", 1) == 1, PROBED_FILE);
	check(failed(ask("probe", me(), at(memory.base), "--file", PROBED_FILE),
		     2, "EEXIST", "new one") &&
	      !fstat(fd, &file) && file.st_size == 1 && file.st_nlink == 1,
	      "probe: --file overwrites no file");
	check(failed(ask("probe", me(), at(memory.base), "--block", PROBED_FILE),
		     2, "ENOTBLK", PROBED_FILE),
	      "probe: --block with a file");
	close(fd);
	unlink(PROBED_FILE);
	fd = open("/dev/ram2", O_RDONLY | O_EXCL | O_CLOEXEC);
	require(fd >= 0, "/dev/ram2");
	check(failed(ask("probe", me(), at(memory.base), "--block", "/dev/ram2"),
		     2, "EBUSY", "in use"),
	      "probe: --block with a device that is in use");
	close(fd);
	check(failed(ask("probe", me(), at(memory.base), "--block", "/dev/none"),
		     2, "ENOENT", "/dev/none"),
	      "probe: --block with nothing");
	memory_destroy(&memory);
}

/* --- query --- */

static bool is_state(const struct answer *answer, size_t i, const void *addr,
		     unsigned int pages, const char *state)
{
	struct json_object *run;

	run = json_object_array_get_idx(get(answer->json, "states"), i);
	return address(run, "address") == (uintptr_t)addr &&
	       number(run, "pages") == pages &&
	       !strcmp(string(run, "state"), state);
}

#define QUERY_TESTS	10

static void test_query(void)
{
	struct memory shared, private;
	struct xpin_claim claim;
	struct answer *answer;
	struct stat before, after;
	struct held held;
	struct xpin_part part;
	struct xpin_claim_memfd memfd = {
		.size = sizeof(memfd),
		.offset = 3 * PAGE,
		.length = 7 * PAGE,
	};
	int owner = xpin_open();
	bool ok;
	int i;

	memory_create(&shared, MEMORY_SHMEM_PAGE);
	memfd.fd = shared.fd;
	memory_create(&private, MEMORY_ANON_PAGE);
	start_hold(&held, "--size", text_of("%lu", 3 * PAGE));
	require(holds(&held), "hold");
	answer = ask("query");
	ok = answer->same && !answer->status &&
	     json_object_array_length(get(answer->json, "owners")) == 2 &&
	     strstr(answer->text, text_of("%#llx pages 3", held.addr));
	check(ok, "query: all processes that have /dev/xpin open");
	answer = ask("query", me());
	ok = answer->same && !answer->status && told(&held);
	check(ok, "query: the claims of one process");
	require(!end_hold(&held, SIGTERM), "hold");

	if (!skip_without(FEATURE_MEMFD_PIN, 1)) {
		require(!ioctl(owner, XPIN_IOC_CLAIM_MEMFD, &memfd) &&
			!xpin_part(owner, XPIN_IOC_RELEASE, memfd.claim_id, 0,
				   2 * PAGE, &part),
			"claim a memfd, release a part");
		answer = ask("query", me());
		ok = answer->same &&
		     strstr(answer->text, text_of("offset %#lx pages 7 left 5",
						  3 * PAGE));
		part.length = XPIN_WHOLE;
		require(!ioctl(owner, XPIN_IOC_RELEASE, &part), "release");
		check(ok, "query: a claim of a memfd, of which a part is released");
	}
	answer = ask("query", "1");
	check(answer->same && !answer->status &&
	      !json_object_array_length(get(answer->json, "owners")),
	      "query: a process without claims");

	become = become_nobody;
	/* It counts the kernel's threads, too, which come and go. */
	for (i = 0; i < 5; i++) {
		answer = ask("query");
		if (answer->same)
			break;
	}
	ok = answer->same && !answer->status &&
	     number(answer->json, "unreadable") &&
	     strstr(answer->text, "sudo");
	become = NULL;
	check(ok, "query: says that it could not look at all");

	/* Pages: a hole, free, owned, pinned. */
	require(!fallocate(shared.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			   0, 2 * PAGE), "punch a hole");
	require(!xpin_claim(owner, shared.base + 3 * PAGE, PAGE, 0, &claim),
		"claim");
	require(!pin_hold(shared.base + 4 * PAGE, 2 * PAGE), "pin");
	require(!fstat(shared.fd, &before), "fstat");
	answer = ask("query", me(), at(shared.base), "--length", text_of("%lu", 7 * PAGE));
	ok = answer->same && !answer->status &&
	     is_state(answer, 0, shared.base, 2, "none") &&
	     is_state(answer, 1, shared.base + 2 * PAGE, 1, "free") &&
	     is_state(answer, 2, shared.base + 3 * PAGE, 1, "owned") &&
	     is_state(answer, 3, shared.base + 4 * PAGE, 2, "pinned") &&
	     is_state(answer, 4, shared.base + 6 * PAGE, 1, "free");
	check(ok, "query: the state of each page");
	check(!fstat(shared.fd, &after) && after.st_blocks == before.st_blocks,
	      "query: fills no hole");
	pin_drop();
	require(!xpin_release(owner, &claim), "release");

	check(failed(ask("query", me(), at(private.base)), 1, "EOPNOTSUPP",
		     "private memory"),
	      "query: private memory can't be looked at");
	check(failed(ask("query", nobodys_pid()), 1, "ESRCH", "no process"),
	      "query: no such process");
	check(failed(ask("query", me(), "0x10000"), 1, "EFAULT", "no memory at"),
	      "query: no memory at that address");
	memory_destroy(&private);
	memory_destroy(&shared);
	close(owner);
}

int main(int argc, char **argv)
{
	if (!strcmp(program_invocation_short_name, "modinfo"))
		return pose_as_modinfo(argc > 2 ? argv[2] : "");

	ksft_print_header();
	ksft_set_plan(USAGE_TESTS + STATUS_TESTS + ARRAY_SIZE(files) +
		      HOLD_KIND_TESTS + HOLD_FILE_TESTS + HOLD_LIMIT_TESTS +
		      PROBE_SHARED_TESTS + DENY_GET_TESTS + PROBE_OTHER_TESTS +
		      PROBE_ERROR_TESTS + QUERY_TESTS);
	test_usage();
	test_status();
	no_module();
	hold_kinds();
	hold_file();
	hold_limits();
	probe_shared();
	deny_get();
	probe_other();
	probe_errors();
	test_query();
	ksft_finished();
}
