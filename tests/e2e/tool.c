// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"
#include "tool.h"
#include "xpin_test.h"

#define ARGUMENTS_MAX	16

void (*become)(void);

noreturn void execute(const char * const *arguments)
{
	/* So that two runs tell the same addresses. */
	personality(ADDR_NO_RANDOMIZE);
	if (become)
		become();
	execv(XPINCTL, (char * const *)arguments);
	_exit(127);
}

int run_tool(const char * const *arguments, char *out, char *err, size_t size)
{
	int files[2], status, i;
	char *to[2] = { out, err };
	ssize_t n;
	pid_t pid;

	for (i = 0; i < 2; i++) {
		files[i] = memfd_create("output", MFD_CLOEXEC);
		require(files[i] >= 0, "memfd_create");
	}
	fflush(stdout);
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid) {
		dup2(files[0], STDOUT_FILENO);
		dup2(files[1], STDERR_FILENO);
		execute(arguments);
	}
	require(waitpid(pid, &status, 0) == pid, "waitpid");
	for (i = 0; i < 2; i++) {
		n = pread(files[i], to[i], size - 1, 0);
		require(n >= 0, "read its output");
		to[i][n] = '\0';
		close(files[i]);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

struct json_object *get(struct json_object *object, const char *key)
{
	return json_object_object_get(object, key);
}

const char *string(struct json_object *object, const char *key)
{
	const char *value = json_object_get_string(get(object, key));

	return value ? value : "";
}

__u64 number(struct json_object *object, const char *key)
{
	return json_object_get_uint64(get(object, key));
}

bool is_true(struct json_object *object, const char *key)
{
	return json_object_get_boolean(get(object, key));
}

__u64 address(struct json_object *object, const char *key)
{
	return strtoull(string(object, key), NULL, 16);
}

bool is_null(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) && !value;
}

struct json_object *parse(const char *text)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *object;
	const char *rest;

	object = json_tokener_parse_ex(tokener, text, -1);
	rest = text + json_tokener_get_parse_end(tokener);
	rest += strspn(rest, "\n");
	if (object && (!json_object_is_type(object, json_type_object) || *rest ||
		       strchr(text, '\n') + 1 != rest)) {
		json_object_put(object);
		object = NULL;
	}
	json_tokener_free(tokener);
	return object;
}

/* Is every string and number in @text? That there are 0 need not be said. */
static bool all_in(struct json_object *value, const char *text)
{
	size_t i;

	switch (json_object_get_type(value)) {
	case json_type_object: {
		json_object_object_foreach(value, key, member) {
			if (!all_in(member, text)) {
				ksft_print_msg("%s is not in the text\n", key);
				return false;
			}
		}
		return true;
	}
	case json_type_array:
		for (i = 0; i < json_object_array_length(value); i++) {
			if (!all_in(json_object_array_get_idx(value, i), text))
				return false;
		}
		return true;
	case json_type_string:
	case json_type_int:
		return !strcmp(json_object_get_string(value), "0") ||
		       strstr(text, json_object_get_string(value));
	default:
		return true;
	}
}

/* Did both say the same, an error on standard error in both? */
static bool say_the_same(const struct answer *answer, const char *json_err,
			 const char *text_err)
{
	char expected[4096];

	if (!answer->json)
		return false;
	if (json_object_object_length(answer->json) > 1 || !answer->error)
		return !*json_err && !*text_err &&
		       all_in(answer->json, answer->text);
	snprintf(expected, sizeof(expected), "xpinctl: %s\n",
		 string(answer->error, "message"));
	return !*answer->text && !strcmp(json_err, expected) &&
	       !strcmp(text_err, expected) &&
	       strstr(expected, string(answer->error, "errno"));
}

/* None of them shall look like a test's result. */
static void print_lines(const char *text)
{
	size_t length;

	for (; *text; text += length + !!text[length]) {
		length = strcspn(text, "\n");
		ksft_print_msg("%.*s\n", (int)length, text);
	}
}

struct answer *ask_about(const char **words)
{
	static char json[1 << 16], json_err[1 << 16], text_err[1 << 16];
	const char *arguments[ARGUMENTS_MAX] = { "xpinctl" };
	static struct answer answer;
	int status, nr = 1;

	for (; *words; words++)
		arguments[nr++] = *words;
	status = run_tool(arguments, answer.text, text_err, sizeof(json));
	arguments[nr] = "--json";
	answer.status = run_tool(arguments, json, json_err, sizeof(json));

	json_object_put(answer.json);
	answer.json = parse(json);
	answer.error = get(answer.json, "error");
	answer.same = status == answer.status &&
		      say_the_same(&answer, json_err, text_err);
	if (!answer.same) {
		ksft_print_msg("exit %d, then %d\n", status, answer.status);
		print_lines(answer.text);
		print_lines(text_err);
		print_lines(json);
		print_lines(json_err);
	}
	return &answer;
}

bool failed(const struct answer *answer, int status, const char *error,
	    const char *way_out)
{
	bool ok = answer->same && answer->status == status &&
		  !strcmp(string(answer->error, "errno"), error) &&
		  strstr(string(answer->error, "message"), way_out);

	if (!ok)
		ksft_print_msg("exit %d, %s\n", answer->status,
			       json_object_get_string(answer->json));
	return ok;
}

const char *text_of(const char *fmt, ...)
{
	static char texts[8][256];
	static int next;
	va_list args;

	next = (next + 1) % 8;
	va_start(args, fmt);
	vsnprintf(texts[next], sizeof(texts[next]), fmt, args);
	va_end(args);
	return texts[next];
}

const char *me(void)
{
	return text_of("%d", getpid());
}

const char *at(const void *addr)
{
	return text_of("%#lx", (unsigned long)addr);
}

void become_nobody(void)
{
	require(!setgid(65534) && !setuid(65534), "become an ordinary user");
}

static const char * const hidden[] = {
	"/etc", "/lib/modules", "/sbin", "/usr/sbin",
};

void hide_debian(bool on)
{
	struct stat file;
	size_t i;

	mkdir("/lib", 0755);
	for (i = 0; i < ARRAY_SIZE(hidden); i++) {
		mkdir(hidden[i], 0755);
		/* In Debian one is a link to the other; or there is no /usr. */
		if (lstat(hidden[i], &file) || !S_ISDIR(file.st_mode))
			continue;
		require(on ? !mount("hidden", hidden[i], "tmpfs", 0, "mode=755") :
			     !umount(hidden[i]), hidden[i]);
	}
}
