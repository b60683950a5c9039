// SPDX-License-Identifier: GPL-2.0
/*
 * xpinctl doctor: each of its steps is seen ok, and degraded or broken with what
 * mends it. dkms, modinfo and mokutil are this program under their names, which
 * says what it is told to; files that the kernel writes are mounted over.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../../module/version.h"
#include "kselftest.h"
#include "tool.h"
#include "xpin_test.h"

#define PROGRAMS	"/tmp/doctor"
#define OTHER		"6.1.0-55-amd64"
#define DKMS		"xpin/" XPIN_VERSION
#define SENTENCE	"this kernel can't do it"
#define SIGNER		"DKMS module signing key"
#define ENROL		"sudo mokutil --import /var/lib/dkms/mok.pub, reboot"
#define MACHINE		"vault-machine-4711"
#define DEBUGFS		"/sys/kernel/debug"
#define TRACING		"/sys/kernel/tracing"
#define SECURITY	"/sys/kernel/security"
#define LIVEPATCH	"/sys/kernel/livepatch"
#define SIG_ENFORCE	"/sys/module/module/parameters/sig_enforce"
#define EFIVARS		"/sys/firmware/efi/efivars"
#define SECURE_BOOT	EFIVARS "/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
#define HOOK		"/xpin_test_hook.ko"
#define NOTIFIER	"/xpin_test_notifier.ko"

/* --- What is faked --- */

/* Of the kernel that runs, or that the next xpinctl shall see. */
static struct utsname kernel;

static const char * const programs[] = { "dkms", "modinfo", "mokutil" };

/* What a program says: the environment variable, of no name that anybody has. */
static const char *fake_name(const char *program, const char *asked)
{
	return text_of("FAKE_%s_%s", program, asked);
}

/* NULL: it says nothing. */
static void fake(const char *program, const char *asked, const char *answer)
{
	if (answer)
		setenv(fake_name(program, asked), answer, 1);
	else
		unsetenv(fake_name(program, asked));
}

/* Started by the name of one of them. */
static int pose(const char *program, char **argv)
{
	const char *asked = argv[1] ? argv[1] : "", *answer, *status;

	if (!strcmp(program, "modinfo") && argv[2])
		asked = argv[2];
	answer = getenv(fake_name(program, asked));
	status = getenv(fake_name(program, "exit"));
	if (answer)
		puts(answer);
	if (!strcmp(program, "modinfo"))
		return !answer;
	return status ? atoi(status) : 0;
}

static void have_program(const char *name, bool there)
{
	const char *path = text_of(PROGRAMS "/%s", name);

	unlink(path);
	require(!there || !symlink("/tests/doctor", path), path);
}

static void write_to(const char *path, const char *text, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	require(fd >= 0 && write(fd, text, length) == (ssize_t)length, path);
	close(fd);
}

static const char *modules_dir(const char *rest)
{
	return text_of("/lib/modules/%s%s", kernel.release, rest);
}

static void have_headers(bool there)
{
	if (there) {
		mkdir(modules_dir(""), 0755);
		mkdir(modules_dir("/build"), 0755);
		write_to(modules_dir("/build/Makefile"), "", 0);
	} else {
		unlink(modules_dir("/build/Makefile"));
		rmdir(modules_dir("/build"));
		rmdir(modules_dir(""));
	}
}

/* What this kernel has; only while a module is loaded can one ask it. */
static const char *own_backend;

/* Everything as it should be, with a module that dkms installed. */
static void all_well(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(programs); i++) {
		have_program(programs[i], true);
		fake(programs[i], "exit", NULL);
	}
	have_headers(true);
	fake("dkms", "status", text_of(DKMS ", %s, %s: installed",
				       kernel.release, kernel.machine));
	fake("dkms", "--version", "dkms-3.0.10");
	fake("modinfo", "filename", modules_dir("/updates/dkms/xpin.ko"));
	fake("modinfo", "version", XPIN_VERSION);
	fake("modinfo", "vermagic", text_of("%s SMP preempt mod_unload ",
					    kernel.release));
	fake("modinfo", "backend", own_backend);
	fake("modinfo", "signer", NULL);
	fake("modinfo", "unsupported", NULL);
	fake("mokutil", "--sb-state", "SecureBoot disabled");
	fake("mokutil", "--test-key", NULL);
	setenv("PATH", PROGRAMS, 1);
	become = NULL;
}

/* --- What it says --- */

static struct answer *answer;

static struct json_object *step_of(const char *name)
{
	struct json_object *steps = get(answer->json, "steps"), *step;
	size_t i;

	for (i = 0; steps && i < json_object_array_length(steps); i++) {
		step = json_object_array_get_idx(steps, i);
		if (!strcmp(string(step, "name"), name))
			return step;
	}
	return NULL;
}

/* If the text goes on with the word, and with space or an end, what is behind it. */
static const char *behind(const char *text, const char *word)
{
	size_t length = strlen(word);

	if (!text || strncmp(text, word, length))
		return NULL;
	text += length;
	return text + strspn(text, " ");
}

/* Has the step a line of the text, and what mends it the next? */
static bool told_in_text(struct json_object *step)
{
	const char *line, *rest;

	for (line = answer->text; *line; line += !!*line) {
		rest = behind(line, string(step, "state"));
		rest = behind(rest, string(step, "name"));
		rest = behind(rest, string(step, "found"));
		line += strcspn(line, "\n");
		if (!rest || *rest != '\n')
			continue;
		if (is_null(step, "mend"))
			return true;
		rest += 1 + strcspn(rest + 1, ":");
		rest = behind(behind(rest, ":"), string(step, "mend"));
		return rest && *rest == '\n';
	}
	return false;
}

static const char * const names[] = {
	"kernel", "headers", "dkms", "file", "signature", "loaded", "versions",
	"backend", "hooks", "device", "memlock", "self-check",
};

/* All steps, in their order, in both languages; a mend where there is a need. */
static bool well_formed(void)
{
	struct json_object *steps = get(answer->json, "steps"), *step;
	bool ok = answer->same &&
		  json_object_array_length(steps) == ARRAY_SIZE(names), bad;
	size_t i;

	for (i = 0; ok && i < ARRAY_SIZE(names); i++) {
		step = json_object_array_get_idx(steps, i);
		bad = !strcmp(string(step, "state"), "degraded") ||
		      !strcmp(string(step, "state"), "broken");
		ok = !strcmp(string(step, "name"), names[i]) &&
		     *string(step, "found") && is_null(step, "mend") == !bad &&
		     told_in_text(step);
	}
	if (!ok)
		ksft_print_msg("ill-formed\n");
	return ok;
}

/* Asks; the exit code must go with the worst state. */
static bool doctor(int status)
{
	static const char * const states[] = { "ok", "degraded", "broken" };
	bool ok;

	answer = ask("doctor");
	ok = well_formed() && answer->status == status &&
	     !strcmp(string(answer->json, "state"), states[status]);
	if (!ok)
		ksft_print_msg("exit %d, not %d: %s\n", answer->status, status,
			       json_object_to_json_string(answer->json));
	return ok;
}

/* Is the step so, with these words in what was found and in what mends it? */
static bool is(const char *name, const char *state, const char *found,
	       const char *mend)
{
	struct json_object *step = step_of(name);
	bool ok = !strcmp(string(step, "state"), state) &&
		  strstr(string(step, "found"), found) &&
		  (mend ? !!strstr(string(step, "mend"), mend) :
			  is_null(step, "mend"));

	if (!ok)
		ksft_print_msg("%s should be %s, '%s', mend '%s': %s\n", name,
			       state, found, mend ? mend : "",
			       json_object_to_json_string(step));
	return ok;
}

#define others_ok(...) others_are_ok((const char *[]){ __VA_ARGS__, NULL })

/* All steps but these are ok, or skipped by what this kernel is. */
static bool others_are_ok(const char **but)
{
	const char *state, **name;
	bool ok = true;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		for (name = but; *name && strcmp(*name, names[i]); name++)
			;
		state = string(step_of(names[i]), "state");
		if (*name || !strcmp(state, "ok") ||
		    (!strcmp(names[i], "hooks") && !strcmp(state, "skipped") &&
		     !strcmp(own_backend, "notifier")))
			continue;
		ksft_print_msg("%s is %s\n", names[i], state);
		ok = false;
	}
	return ok;
}

/* Only this step is bad. */
static bool only(const char *name, const char *state, const char *found,
		 const char *mend)
{
	return is(name, state, found, mend) && others_ok(name);
}

/* --- With a module --- */

#define PLAIN_TESTS	3

static void plain(void)
{
	char before[65];
	bool ok;

	/* As it is: loaded by hand, and no other program there. */
	setenv("PATH", "/nowhere", 1);
	ok = doctor(1) && is("headers", "degraded", modules_dir("/build"),
			     "sudo apt-get install linux-headers-") &&
	     is("dkms", "skipped", "not managed by dkms", NULL) &&
	     is("file", "degraded", "no modinfo", "sudo apt-get install kmod") &&
	     others_ok("headers", "dkms", "file");
	check(ok, "a module that was loaded by hand works");

	all_well();
	ok = doctor(0) && others_ok(NULL) &&
	     is("hooks", feature_missing(FEATURE_HOOKS) ? "skipped" : "ok",
		"hooks", NULL) &&
	     is("backend", "ok", own_backend, NULL) &&
	     is("self-check", "ok", "is refused", NULL);
	check(ok, "all is well");

	require(!gethostname(before, sizeof(before)) &&
		!sethostname(MACHINE, strlen(MACHINE)), "sethostname");
	write_to("/etc/os-release", "NAME=x\nPRETTY_NAME=\"Test 4711\"\n", 31);
	ok = doctor(0) && !strstr(answer->text, MACHINE) &&
	     !strcmp(string(get(answer->json, "system"), "release"), kernel.release) &&
	     !strcmp(string(get(answer->json, "system"), "build"), kernel.version) &&
	     !strcmp(string(get(answer->json, "system"), "machine"), kernel.machine) &&
	     !strcmp(string(get(answer->json, "system"), "distribution"), "Test 4711") &&
	     !strcmp(string(get(answer->json, "system"), "tool"), XPIN_VERSION) &&
	     !strcmp(string(get(answer->json, "system"), "loaded"), XPIN_VERSION) &&
	     !strcmp(string(get(answer->json, "system"), "installed"), XPIN_VERSION) &&
	     !strcmp(string(get(answer->json, "system"), "dkms"), "3.0.10");
	check(ok, "a report has the versions, and not the machine's name");
	unlink("/etc/os-release");
	sethostname(before, strlen(before));
}

/* The kernel that a process of this personality sees is 2.6.something. */
static void become_old(void)
{
	personality(ADDR_NO_RANDOMIZE | UNAME26);
}

static void see_kernel(bool old)
{
	if (old)
		personality(UNAME26);
	uname(&kernel);
	personality(PER_LINUX);
}

#define HEADERS_TESTS	2

static void test_headers(void)
{
	bool ok;

	all_well();
	have_headers(false);
	ok = doctor(1) && only("headers", "degraded", modules_dir("/build/Makefile"),
			       text_of("sudo apt-get install linux-headers-%s", kernel.release));
	check(ok, "headers: not there");
	have_headers(true);
	unlink(modules_dir("/build/Makefile"));
	ok = doctor(1) && only("headers", "degraded", modules_dir("/build/Makefile"),
			       "linux-headers-");
	check(ok, "headers: an empty directory");
}

/* What dkms says, with %s for the release that runs, and what that comes to. */
static const struct {
	const char *name;
	const char *says;
	const char *state;
	const char *found;
	const char *mend;
} dkms[] = {
	{ "another was there before, 3.0.10",
	  DKMS ", %s, x86_64: installed (original_module exists)", "ok", DKMS, NULL },
	{ "another was there before, 3.2",
	  DKMS ", %s, x86_64: installed (Original modules exist)", "ok", DKMS, NULL },
	{ "older, too", "xpin/0.0.9, %s, x86_64: built\n" DKMS ", %s, x86_64: installed",
	  "ok", DKMS, NULL },
	{ "as dkms 2 says it", "xpin, " XPIN_VERSION ", %s, x86_64: installed",
	  "ok", DKMS, NULL },
	{ "changed behind its back, 3.0.10",
	  DKMS ", %s, x86_64: installed (WARNING! Diff between built and installed module!)",
	  "degraded", "WARNING!", "sudo dkms install " DKMS " -k " },
	{ "changed behind its back, 3.2",
	  DKMS ", %s, x86_64: installed (Differences between built and installed modules)",
	  "degraded", "Differences", "sudo dkms install " DKMS " -k " },
	{ "for another kernel", DKMS ", " OTHER ", x86_64: installed", "degraded",
	  "installed for: " OTHER "; you run: ", "sudo dkms install " DKMS " -k " },
	{ "for two others", DKMS ", " OTHER ", x86_64: installed\n" DKMS ", %sx, x86_64: installed",
	  "degraded", "installed for: " OTHER ", ", "sudo dkms install " DKMS " -k " },
	{ "for no kernel", DKMS ": added", "degraded", "installed for no kernel",
	  "sudo dkms install " DKMS " -k " },
	{ "built only", DKMS ", %s, x86_64: built", "degraded",
	  "installed for no kernel", "sudo dkms install " DKMS " -k " },
	{ "not known", NULL, "skipped", "not managed by dkms", NULL },
	{ "another module", "xpinned/1.0, %s, x86_64: installed", "skipped",
	  "not managed by dkms", NULL },
};

#define DKMS_TESTS	(ARRAY_SIZE(dkms) + 2)

static void dkms_says(void)
{
	bool ok, bad;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(dkms); i++) {
		all_well();
		fake("dkms", "status", dkms[i].says ?
		     text_of(dkms[i].says, kernel.release, kernel.release) :
		     NULL);
		bad = !strcmp(dkms[i].state, "degraded");
		ok = doctor(bad) && only("dkms", dkms[i].state, dkms[i].found,
					 dkms[i].mend);
		if (bad)
			ok &= is("dkms", dkms[i].state, dkms[i].found,
				 text_of("-k %s", kernel.release));
		check(ok, "dkms: %s", dkms[i].name);
	}
	all_well();
	fake("dkms", "exit", "3");
	check(doctor(1) && only("dkms", "degraded", "exit code 3", "dkms status xpin"),
	      "dkms: fails");
	all_well();
	have_program("dkms", false);
	ok = doctor(0) && only("dkms", "skipped", "not managed by dkms", NULL) &&
	     is_null(get(answer->json, "system"), "dkms");
	check(ok, "dkms: not there");
}

#define FILE_TESTS	5

static void module_file(void)
{
	bool ok;

	all_well();
	fake("modinfo", "filename", NULL);
	ok = doctor(1) && only("file", "degraded", "loaded by hand",
			       text_of("sudo dkms install " DKMS " -k %s", kernel.release));
	check(ok, "file: not there");

	all_well();
	fake("modinfo", "vermagic", OTHER " SMP mod_unload ");
	ok = doctor(1) && only("file", "degraded",
			       text_of("built for " OTHER "; you run: %s", kernel.release),
			       text_of("sudo dkms unbuild " DKMS " -k %s", kernel.release));
	check(ok, "file: built for another kernel");
	fake("modinfo", "vermagic", text_of("%sx SMP mod_unload ", kernel.release));
	check(doctor(1) && only("file", "degraded", "built for", "sudo dkms unbuild"),
	      "file: built for one whose name begins alike");

	all_well();
	fake("modinfo", "version", NULL);
	fake("modinfo", "vermagic", NULL);
	check(doctor(1) && only("file", "degraded", "built for unknown", "sudo dkms unbuild"),
	      "file: without a word on what it is for");

	all_well();
	fake("modinfo", "backend", "none");
	fake("modinfo", "unsupported", SENTENCE);
	ok = doctor(1) &&
	     is("file", "degraded", "only refuses to load: " SENTENCE, "boot a kernel") &&
	     is("backend", "degraded", "is none", "sudo modprobe -r xpin && sudo modprobe xpin") &&
	     others_ok("file", "backend");
	check(ok, "file: one that refuses to load");
}

/* --- Signature --- */

/* What is wanted of the signature, and what of it there is. */
static const struct {
	const char *name;
	const char *secure_boot;
	const char *signer;
	const char *key;
	/* So that the kernel would not load it. */
	bool wrong;
	const char *state;
	const char *found;
	const char *mend;
} signatures[] = {
	{ "off", "SecureBoot disabled", NULL, NULL, false, "ok",
	  "not needed; Secure Boot is off", NULL },
	{ "on, none", "SecureBoot enabled", NULL, NULL, true, "degraded",
	  "has none", ENROL },
	{ "on, enrolled", "SecureBoot enabled", SIGNER,
	  "/var/lib/dkms/mok.pub is already enrolled", false, "ok", SIGNER, NULL },
	{ "on, not enrolled", "SecureBoot enabled", SIGNER,
	  "/var/lib/dkms/mok.pub is not enrolled", true, "degraded",
	  "is not enrolled", ENROL },
	{ "on, to be enrolled at the next boot", "SecureBoot enabled", SIGNER,
	  "/var/lib/dkms/mok.pub is already in the enrollment request", true, "degraded",
	  "waits to be enrolled", "reboot, choose 'Enroll MOK'" },
	{ "on, somebody's, and dkms has a key, too", "SecureBoot enabled", "somebody",
	  "/var/lib/dkms/mok.pub is not enrolled", false, "degraded",
	  "signed by 'somebody'", "sudo mokutil --list-enrolled" },
	{ "on, no word on the key", "SecureBoot enabled", SIGNER, NULL, false, "degraded",
	  "can't be told", "sudo mokutil --list-enrolled" },
};

/* Files over those that the kernel has, and what they come to. */
static bool mounted(const char *path)
{
	return !mount("fake", path, "tmpfs", 0, "mode=755");
}

#define SIGNATURE_TESTS	(ARRAY_SIZE(signatures) + 7)

static void test_lockdown(void)
{
	bool ok;

	if (access(SECURITY, F_OK)) {
		skip("signature: the kernel has no securityfs");
		skip("signature: the kernel has no securityfs");
		return;
	}
	all_well();
	require(mounted(SECURITY), SECURITY);
	write_to(SECURITY "/lockdown", "none [integrity] confidentiality\n", 33);
	ok = doctor(1) && only("signature", "degraded", "needed (lockdown)", ENROL);
	check(ok, "signature: needed because of lockdown");
	write_to(SECURITY "/lockdown", "[none] integrity confidentiality\n", 33);
	fake("mokutil", "--sb-state", "SecureBoot enabled");
	ok = doctor(0) && only("signature", "ok", "not needed; Secure Boot is on", NULL);
	check(ok, "signature: Secure Boot is on, but the kernel takes what has none");
	require(!umount(SECURITY), SECURITY);
}

static void signature_enforced(void)
{
	bool ok;

	if (access(SIG_ENFORCE, F_OK)) {
		skip("signature: the kernel knows of none");
		return;
	}
	all_well();
	write_to("/tmp/enforced", "Y\n", 2);
	require(!mount("/tmp/enforced", SIG_ENFORCE, NULL, MS_BIND, NULL),
		SIG_ENFORCE);
	ok = doctor(1) && only("signature", "degraded", "needed (module.sig_enforce)", ENROL);
	require(!umount(SIG_ENFORCE), SIG_ENFORCE);
	check(ok, "signature: the command line wants one");
}

static void test_firmware(void)
{
	bool ok;

	all_well();
	require(mounted("/sys/firmware") && !mkdir("/sys/firmware/efi", 0755) &&
		!mkdir(EFIVARS, 0755), EFIVARS);
	have_program("mokutil", false);
	ok = doctor(1) && only("signature", "degraded", "is Secure Boot on?",
			       "sudo apt-get install mokutil");
	check(ok, "signature: nobody says whether Secure Boot is on");
	write_to(SECURE_BOOT, "\6\0\0\0\1", 5);
	fake("modinfo", "signer", SIGNER);
	ok = doctor(1) && only("signature", "degraded", "there is no mokutil",
			       "sudo apt-get install mokutil");
	check(ok, "signature: nobody says whether the key is enrolled");
	have_program("mokutil", true);
	fake("modinfo", "signer", NULL);
	check(doctor(1) && only("signature", "degraded", "Secure Boot", ENROL),
	      "signature: the firmware says that Secure Boot is on");
	fake("mokutil", "--sb-state", "SecureBoot enabled");
	write_to(SECURE_BOOT, "\6\0\0\0\0", 5);
	check(doctor(0) && only("signature", "ok", "Secure Boot is off", NULL),
	      "signature: the firmware says that it is off");
	require(!umount("/sys/firmware"), "/sys/firmware");
}

static void signature_as(size_t i)
{
	all_well();
	fake("mokutil", "--sb-state", signatures[i].secure_boot);
	fake("mokutil", "--test-key", signatures[i].key);
	/* As it exits for one that is enrolled. */
	fake("mokutil", "exit", signatures[i].key &&
	     strstr(signatures[i].key, "already") ? "1" : NULL);
	fake("modinfo", "signer", signatures[i].signer);
}

static void test_signature(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(signatures); i++) {
		signature_as(i);
		check(doctor(!strcmp(signatures[i].state, "degraded")) &&
		      only("signature", signatures[i].state,
			   signatures[i].found, signatures[i].mend),
		      "signature: %s", signatures[i].name);
	}
	test_lockdown();
	signature_enforced();
	test_firmware();
}

/* --- Versions and backend --- */

/* What of these system calls comes to nothing, and what they return instead. */
static struct {
	int call;
	/* Of ioctl(); 0 is for each. */
	unsigned int request;
	/* 0: the call says that it succeeded. */
	int error;
} forged;

static void become_forged(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, forged.call, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, forged.request, 0, !!forged.request),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | forged.error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { ARRAY_SIZE(filter), filter };

	require(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "seccomp");
}

static void forge(int call, unsigned int request, int error)
{
	forged.call = call;
	forged.request = request;
	forged.error = error;
	become = become_forged;
}

/* If not, skips as many tests. */
static bool can_forge(unsigned int tests)
{
	bool can = !access("/proc/sys/kernel/seccomp", F_OK);

	while (!can && tests--)
		skip("the kernel has no seccomp, by which system calls are forged");
	return can;
}

#define VERSION_TESTS	5

static void test_versions(void)
{
	bool notifier = !strcmp(own_backend, "notifier");
	bool ok;

	all_well();
	fake("modinfo", "version", "0.0.9");
	ok = doctor(1) && only("versions", "degraded",
			       "loaded " XPIN_VERSION ", installed 0.0.9, this tool " XPIN_VERSION,
			       "sudo modprobe -r xpin && sudo modprobe xpin");
	check(ok, "versions: another is installed than is loaded");

	all_well();
	have_program("modinfo", false);
	ok = doctor(1) && only("file", "degraded", "no modinfo", "sudo apt-get install kmod") &&
	     is("versions", "ok", "installed unknown", NULL);
	check(ok, "versions: without knowing of the installed one");

	all_well();
	fake("modinfo", "backend", notifier ? "ftrace" : "notifier");
	ok = doctor(1) && only("backend", "degraded",
			       notifier ? "notifier is active" : "ftrace is active",
			       "sudo modprobe -r xpin && sudo modprobe xpin");
	check(ok, "backend: not what is installed");
	if (!can_forge(2))
		return;
	all_well();
	forge(__NR_ioctl, XPIN_IOC_INFO, EIO);
	check(doctor(2) && only("backend", "broken", "EIO", "sudo modprobe -r xpin"),
	      "backend: no answer");
	/* Then it is 0. */
	forge(__NR_ioctl, XPIN_IOC_INFO, 0);
	ok = doctor(1) && is("backend", "degraded", "is active, the installed",
			     "sudo modprobe -r xpin");
	check(ok, "backend: one that the tool does not know");
}

/* --- Hooks --- */

#define HOOKS_TESTS	5

static void test_hooks(void)
{
	struct xpin_claim claim;
	struct memory memory;
	int owner;
	bool ok;

	if (skip_without(FEATURE_HOOKS, HOOKS_TESTS))
		return;
	all_well();
	memory_create(&memory, MEMORY_ANON_PAGE);
	owner = xpin_open();
	require(!xpin_claim(owner, memory.wanted, PAGE, 0, &claim), "claim");
	check(doctor(0) && is("hooks", "ok", "nobody else", NULL),
	      "hooks: the module's own are nobody else's");
	close(owner);
	memory_destroy(&memory);

	/* Which frees what is hooked, at the latest. */
	require(!module_unload("xpin_test_owner") && !module_unload_soon("xpin") &&
		!module_load("/xpin.ko"), "load again");
	require(!module_load(HOOK), "load " HOOK);
	ok = doctor(2) &&
	     is("hooks", "broken", "pin_user_pages_fast() by [xpin_test_hook]",
		"sudo modprobe -r") &&
	     is("self-check", "broken", "ENODEV", "'hooks'") &&
	     others_ok("hooks", "self-check");
	check(ok, "hooks: somebody else redirects what pins");
	require(!module_unload("xpin_test_hook"), "unload " HOOK);
	check(doctor(0) && others_ok(NULL), "hooks: not any more");

	if (access(LIVEPATCH, F_OK)) {
		skip("hooks: the kernel has no live patches");
	} else {
		require(mounted(LIVEPATCH) && !mkdir(LIVEPATCH "/fix_4711", 0755),
			LIVEPATCH);
		check(doctor(0) && is("hooks", "ok", "live patches: fix_4711", NULL),
		      "hooks: a live patch of something else");
		require(!umount(LIVEPATCH), LIVEPATCH);
	}

	require(!umount(TRACING), "umount " TRACING);
	umount(DEBUGFS "/tracing");
	require(!umount(DEBUGFS), "umount " DEBUGFS);
	ok = doctor(1) && only("hooks", "degraded", "enabled_functions (ENOENT)",
			       "sudo mount -t tracefs none " TRACING);
	check(ok, "hooks: nobody says");
	require(!mount("debug", DEBUGFS, "debugfs", 0, NULL) &&
		!mount("tracefs", TRACING, "tracefs", 0, NULL), "mount again");
	require(!module_load("/xpin_test_owner.ko"), "load xpin_test_owner");
}

/* --- Device and limit --- */

static void become_limited_to(rlim_t bytes)
{
	const struct rlimit limit = { bytes, bytes };

	require(!setrlimit(RLIMIT_MEMLOCK, &limit) &&
		!prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK), "RLIMIT_MEMLOCK");
}

static void become_limited(void)
{
	become_limited_to((2UL << 20) - 1);
}

static void become_just_unlimited(void)
{
	become_limited_to(2UL << 20);
}

static void become_unable(void)
{
	become_limited_to(0);
}

#define DEVICE_TESTS	6

static void test_device(void)
{
	bool ok;

	all_well();
	become = become_nobody;
	ok = doctor(1) && is("device", "degraded", "EACCES", "sudo") &&
	     is("backend", "skipped", "'device'", NULL) &&
	     is("self-check", "skipped", "'device'", NULL) &&
	     others_ok("device", "backend", "self-check", "hooks");
	if (!strcmp(own_backend, "ftrace"))
		ok &= is("hooks", "degraded", "EACCES", "sudo");
	check(ok, "device: an ordinary user");

	all_well();
	require(!chmod("/dev/xpin", 0666), "chmod");
	ok = doctor(1) && only("device", "degraded", "0666", "sudo chmod 600 /dev/xpin");
	require(!chmod("/dev/xpin", 0600), "chmod");
	check(ok, "device: open to anybody");
	require(!rename("/dev/xpin", "/dev/away"), "rename");
	ok = doctor(2) && is("device", "broken", "missing", "sudo mknod -m 600 /dev/xpin c 10 ") &&
	     is("backend", "skipped", "'device'", NULL) &&
	     is("self-check", "skipped", "'device'", NULL) &&
	     others_ok("device", "backend", "self-check");
	require(!rename("/dev/away", "/dev/xpin"), "rename");
	check(ok, "device: missing");

	become = become_limited;
	ok = doctor(1) && only("memlock", "degraded", "2097151 bytes", "ulimit -l");
	check(ok, "memlock: a byte too little for a huge page");
	become = become_just_unlimited;
	check(doctor(0) && only("memlock", "ok", "2097152 bytes", NULL),
	      "memlock: just enough");
	become = become_unable;
	ok = doctor(2) && is("memlock", "degraded", "0 bytes", "ulimit -l") &&
	     is("self-check", "broken", "ENOMEM", "'memlock'") &&
	     others_ok("memlock", "self-check");
	check(ok, "memlock: nothing, and so no claim");
}

/* --- Self-check --- */

static const struct {
	const char *name;
	int call;
	unsigned int request;
	int error;
	int status;
	const char *state;
	const char *found;
	const char *mend;
} checks[] = {
	{ "no claim", __NR_ioctl, XPIN_IOC_CLAIM, EIO, 2, "broken",
	  "no page can be claimed (EIO)", "sudo modprobe -r xpin" },
	{ "a claim in name only", __NR_ioctl, XPIN_IOC_CLAIM, 0, 2, "broken",
	  "a pin of it is not refused", "report" },
	{ "no release", __NR_ioctl, XPIN_IOC_RELEASE, EIO, 2, "broken",
	  "can't be released", "report" },
	{ "a release in name only", __NR_ioctl, XPIN_IOC_RELEASE, 0, 2, "broken",
	  "still is when it was released", "report" },
	{ "a pin from before", __NR_ioctl, XPIN_IOC_CLAIM, EBUSY, 2, "broken",
	  "no page can be claimed (EBUSY)", "again" },
	{ "what can't be tried", __NR_process_vm_readv, 0, EPERM, 1, "degraded",
	  "not looked at", "process_vm_readv()" },
	/* EFAULT is what a refusal is, too. */
	{ "what fails anyhow", __NR_process_vm_readv, 0, EFAULT, 1, "degraded",
	  "not looked at", "process_vm_readv()" },
};

static void self_check(void)
{
	size_t i;

	if (!can_forge(ARRAY_SIZE(checks)))
		return;
	for (i = 0; i < ARRAY_SIZE(checks); i++) {
		all_well();
		forge(checks[i].call, checks[i].request, checks[i].error);
		check(doctor(checks[i].status) &&
		      only("self-check", checks[i].state, checks[i].found,
			   checks[i].mend),
		      "self-check: %s", checks[i].name);
	}
}

/* --- A kernel outside of the table --- */

static void outside(bool loaded)
{
	const char *state = loaded ? "degraded" : "broken";
	bool ok;

	see_kernel(true);
	all_well();
	become = become_old;
	ok = doctor(loaded ? 1 : 2) &&
	     is("kernel", state, text_of("Linux %s", kernel.release),
		text_of("sudo env XPIN_TRY_ANYWAY=1 dkms install " DKMS " -k %s",
			kernel.release)) &&
	     is("kernel", state, "6.1, 6.12, 7.3", "boot");
	if (loaded)
		ok &= others_ok("kernel");
	have_headers(false);
	see_kernel(false);
	check(ok, "kernel: not in the table, and %s", loaded ? "it works" : "no module");
}

/* --- Without a module --- */

/* Those that can't be judged then. */
static bool rest_skipped(void)
{
	return is("backend", "skipped", "'loaded'", NULL) &&
	       is("device", "skipped", "'loaded'", NULL) &&
	       is("self-check", "skipped", "'loaded'", NULL);
}

#define not_loaded(...) (doctor(2) && rest_skipped() &&			\
	others_ok("loaded", "backend", "device", "self-check", ##__VA_ARGS__))

#define UNLOADED_TESTS	12

static void unloaded(void)
{
	bool ok;
	size_t i;

	require(!module_unload("xpin_test_owner") && !module_unload_soon("xpin"),
		"unload");
	all_well();
	ok = not_loaded() &&
	     is("loaded", "broken", "no module is loaded", "sudo modprobe xpin") &&
	     !strstr(answer->text, "the log says");
	check(ok, "not loaded: just so");

	fake("modinfo", "version", "9.9.9");
	ok = not_loaded("versions") &&
	     is("versions", "degraded", "loaded none, installed 9.9.9", "sudo apt-get upgrade");
	check(ok, "not loaded: the tool is of another version");

	outside(false);

	all_well();
	have_headers(false);
	check(not_loaded("headers") && is("headers", "degraded", "Makefile", "linux-headers-"),
	      "not loaded: no headers, but a module");

	all_well();
	fake("dkms", "status", DKMS ", " OTHER ", x86_64: installed");
	fake("modinfo", "filename", NULL);
	ok = not_loaded("dkms", "file", "versions", "hooks") &&
	     is("dkms", "broken", text_of("installed for: " OTHER "; you run: %s", kernel.release),
		text_of("sudo dkms install " DKMS " -k %s", kernel.release)) &&
	     is("file", "broken", "no module is installed", "'dkms'") &&
	     is("loaded", "broken", "no module is loaded", "'file'") &&
	     is("versions", "skipped", "'loaded'", NULL) &&
	     is("hooks", "skipped", "'file'", NULL);
	check(ok, "not loaded: installed for another kernel");

	have_headers(false);
	fake("dkms", "status", NULL);
	have_program("dkms", false);
	ok = doctor(2) && rest_skipped() &&
	     is("headers", "broken", "Makefile", "linux-headers-") &&
	     is("dkms", "broken", "no dkms", "sudo dkms add ./module") &&
	     is("file", "broken", "no module is installed", "'dkms'");
	check(ok, "not loaded: there is nothing at all");

	all_well();
	fake("modinfo", "vermagic", OTHER " SMP mod_unload ");
	check(not_loaded("file") &&
	      is("file", "broken", "built for " OTHER, "sudo dkms unbuild") &&
	      is("loaded", "broken", "no module is loaded", "'file'"),
	      "not loaded: built for another kernel");

	all_well();
	fake("modinfo", "backend", "none");
	fake("modinfo", "unsupported", SENTENCE);
	ok = not_loaded("file", "hooks") &&
	     is("file", "broken", "only refuses to load: " SENTENCE, "boot a kernel") &&
	     is("loaded", "broken", "no module is loaded", "'file'");
	check(ok, "not loaded: one that refuses to load");

	for (i = 0, ok = true; i < ARRAY_SIZE(signatures); i++) {
		if (!signatures[i].wrong)
			continue;
		signature_as(i);
		ok &= not_loaded("signature") &&
		      is("signature", "broken", signatures[i].found, signatures[i].mend);
	}
	check(ok, "not loaded: a signature that is needed and won't do");

	all_well();
	fake("mokutil", "--sb-state", "SecureBoot enabled");
	fake("modinfo", "filename", NULL);
	ok = doctor(2) && is("signature", "skipped", "'file'", NULL);
	check(ok, "not loaded: nothing to have a signature");

	if (!strcmp(own_backend, "ftrace")) {
		all_well();
		require(!module_load(HOOK) && module_load("/xpin.ko") == -EBUSY,
			"be refused");
		ok = not_loaded("hooks") &&
		     is("loaded", "broken", "pin_user_pages_fast() can't be hooked",
			"sudo modprobe xpin") &&
		     is("hooks", "broken", "[xpin_test_hook]", "sudo modprobe -r");
		check(ok, "not loaded: somebody else redirects what pins; the log has it");
		require(!module_unload("xpin_test_hook"), "unload " HOOK);
	} else {
		all_well();
		require(!module_load(NOTIFIER) && module_load("/xpin.ko") == -EBUSY,
			"be refused");
		ok = not_loaded() &&
		     is("loaded", "broken", "another module has registered",
			"sudo modprobe xpin");
		check(ok, "not loaded: another module was there before; the log has it");
		require(!module_unload("xpin_test_notifier"), "unload " NOTIFIER);
	}

	require(!module_load("/xpin.ko") && !module_load("/xpin_test_owner.ko"),
		"load");
	all_well();
	check(doctor(0) && others_ok(NULL), "loaded again: all is well");
}

int main(int argc, char **argv)
{
	size_t i;

	(void)argc;
	for (i = 0; i < ARRAY_SIZE(programs); i++) {
		if (!strcmp(program_invocation_short_name, programs[i]))
			return pose(programs[i], argv);
	}

	ksft_print_header();
	ksft_set_plan(PLAIN_TESTS + HEADERS_TESTS + DKMS_TESTS + FILE_TESTS +
		      SIGNATURE_TESTS + VERSION_TESTS + HOOKS_TESTS + DEVICE_TESTS +
		      ARRAY_SIZE(checks) + 1 + UNLOADED_TESTS);
	hide_debian(true);
	mkdir(PROGRAMS, 0755);
	require(!mount("tracefs", TRACING, "tracefs", 0, NULL) ||
		errno == EBUSY || errno == ENOENT, TRACING);
	own_backend = feature_missing(FEATURE_NOTIFIER) ? "ftrace" : "notifier";
	see_kernel(false);

	plain();
	test_headers();
	dkms_says();
	module_file();
	test_signature();
	test_versions();
	test_hooks();
	test_device();
	self_check();
	outside(true);
	unloaded();

	for (i = 0; i < ARRAY_SIZE(programs); i++)
		have_program(programs[i], false);
	rmdir(PROGRAMS);
	hide_debian(false);
	ksft_finished();
}
