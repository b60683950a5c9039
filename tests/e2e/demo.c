// SPDX-License-Identifier: GPL-2.0
/*
 * What xpin does, shown to a person on one screen, with xpinctl as the owner and
 * the attacker. Ends with an error as soon as something does not go as the story
 * says.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "xpin_test.h"

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

#define VAULT	"/dev/shm/vault"
#define SECRET	"the vault code is 4711"
#define FORGERY	"the vault code is 0000"

static const char * const attempts[] = {
	"process_vm_readv", "process_vm_writev", "io_uring WRITE_FIXED from it",
	"O_DIRECT write from it, disk", "O_DIRECT read into it, disk",
};

#define ATTEMPTS	ARRAY_SIZE(attempts)

static char *secret;
static int unexpected;

/* Starts xpinctl; what it prints can be read from *@out. */
static pid_t start(const char * const *arguments, FILE **out)
{
	pid_t pid;
	int output[2];

	require(!pipe2(output, O_CLOEXEC), "pipe");
	fflush(stdout);
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(output[1], STDOUT_FILENO);
		execv("/bin/xpinctl", (char * const *)arguments);
		_exit(127);
	}
	close(output[1]);
	*out = fdopen(output[0], "r");
	require(*out, "fdopen");
	return pid;
}

/* Returns its exit code. */
static int finish(pid_t pid, FILE *out)
{
	int status;

	fclose(out);
	require(waitpid(pid, &status, 0) == pid, "waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect(bool condition, const char *what)
{
	if (condition)
		return;
	printf("   NOT AS IT SHOULD BE: %s\n", what);
	unexpected++;
}

/* Direct I/O took no pins once, and then is no part of the story. */
static bool takes_pins(const char *name)
{
	return attack_answer(attack_find(name))->first;
}

/* What xpinctl must print of an attempt. */
static void expected_end(const struct attack *attack, bool owned, char *end,
			 size_t size)
{
	if (owned)
		snprintf(end, size, "refused (%s)\n",
			 strerrorname_np(attack_answer(attack)->first));
	else
		snprintf(end, size, "succeeded (%lu bytes): %s\n", PAGE,
			 attack->writes ? "now \"" FORGERY "\"" :
					  "got \"" SECRET "\"");
}

static void probe_page(bool owned)
{
	const char *arguments[2 * ATTEMPTS + 9] = { "xpinctl", "probe" };
	char pid[16], addr[32], line[256], end[128];
	size_t i, nr = 2;
	pid_t host;
	FILE *out;

	snprintf(pid, sizeof(pid), "%d", getpid());
	snprintf(addr, sizeof(addr), "%p", secret);
	arguments[nr++] = pid;
	arguments[nr++] = addr;
	arguments[nr++] = "--show";
	arguments[nr++] = "--write=" FORGERY;
	arguments[nr++] = "--block";
	arguments[nr++] = BLOCK_DEVICE;
	for (i = 0; i < ATTEMPTS; i++) {
		if (!takes_pins(attempts[i]))
			continue;
		arguments[nr++] = "--attack";
		arguments[nr++] = attempts[i];
	}
	host = start(arguments, &out);

	/* A heading, the attempts, the sum. */
	require(fgets(line, sizeof(line), out), "xpinctl probe");
	for (i = 0; i < ATTEMPTS; i++) {
		const struct attack *attack = attack_find(attempts[i]);

		if (!takes_pins(attempts[i])) {
			printf("   %-36s not covered on %u.%u (FOLL_GET)\n",
			       attempts[i], kernel_version() >> 16,
			       kernel_version() >> 8 & 0xff);
			continue;
		}
		require(fgets(line, sizeof(line), out), "xpinctl probe");
		printf(" %s", line);
		expected_end(attack, owned, end, sizeof(end));
		expect(strstr(line, attempts[i]) && strstr(line, end), end);
	}
	require(fgets(line, sizeof(line), out), "xpinctl probe");
	expect(finish(host, out) == !owned, "its exit code");
	expect(!strcmp(secret, SECRET), "the secret is what it was");
}

static pid_t start_owner(FILE **out)
{
	static const char * const arguments[] = {
		"xpinctl", "hold", "--file", VAULT, NULL
	};
	pid_t owner = start(arguments, out);
	char line[256];

	require(fgets(line, sizeof(line), *out), "xpinctl hold");
	printf("   %s", line);
	return owner;
}

/* One line of `xpinctl status`. */
static void show_status(const char *name, long long value)
{
	static const char * const arguments[] = { "xpinctl", "status", NULL };
	long long found, told = -1;
	char line[256], word[64];
	FILE *out;
	pid_t pid;

	pid = start(arguments, &out);
	while (fgets(line, sizeof(line), out)) {
		if (sscanf(line, "%63s %lld", word, &found) != 2 ||
		    strcmp(word, name))
			continue;
		printf("   %s", line);
		told = found;
	}
	expect(told == value, name);
	expect(!finish(pid, out), "xpinctl status");
}

static void keep_secret(void)
{
	int fd;

	mkdir("/dev/shm", 01777);
	fd = open(VAULT, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	require(fd >= 0 && !ftruncate(fd, PAGE), VAULT);
	secret = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	require(secret != MAP_FAILED, "mmap");
	close(fd);
	snprintf(secret, PAGE, SECRET);
}

int main(void)
{
	FILE *out;
	pid_t owner;

	setvbuf(stdout, NULL, _IOLBF, 0);
	keep_secret();

	printf("Process %d keeps a secret in " VAULT ": \"%s\"\n", getpid(),
	       secret);
	printf("1. Nobody owns the page. Root reads it, and overwrites it for a moment:\n");
	printf("   xpinctl probe %d %p --show --write=\"" FORGERY "\"\n",
	       getpid(), secret);
	probe_page(false);

	printf("2. It gets an owner: xpinctl hold --file " VAULT "\n");
	owner = start_owner(&out);
	printf("   The same probe again:\n");
	probe_page(true);
	printf("   Process %d goes on using it, it has \"%s\". xpinctl status:\n",
	       getpid(), secret);
	show_status("entries", 1);
	show_status("vetoes", xpin_stat("vetoes"));

	printf("3. The owner is told to end: kill %d. The same probe again:\n",
	       owner);
	kill(owner, SIGTERM);
	expect(!finish(owner, out), "the owner's exit code");
	probe_page(false);

	if (unexpected)
		printf("%d things were not as they should be.\n", unexpected);
	else
		printf("While it was owned, nobody else could pin it.\n");
	munmap(secret, PAGE);
	unlink(VAULT);
	return unexpected ? EXIT_FAILURE : EXIT_SUCCESS;
}
