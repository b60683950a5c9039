// SPDX-License-Identifier: GPL-2.0
/* Is the module loaded, and if not: could it be? */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "xpinctl.h"

bool module_loaded(void)
{
	return !access("/sys/module/xpin", F_OK);
}

/*
 * What modinfo says of the installed module's @field; to be freed. NULL with
 * errno ENOENT if there is no module or no such field, ENOEXEC if there is no
 * modinfo.
 */
static char *module_field(const char *field)
{
	char * const argv[] = { "modinfo", "-F", (char *)field, "xpin", NULL };
	posix_spawn_file_actions_t actions;
	int answer[2], status, error;
	char text[4096];
	size_t length;
	FILE *file;
	pid_t pid;

	if (pipe2(answer, O_CLOEXEC))
		fail(errno, NULL, "can't make a pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, answer[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null",
					 O_WRONLY, 0);
	error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(answer[1]);
	if (error) {
		close(answer[0]);
		errno = ENOEXEC;
		return NULL;
	}

	file = fdopen(answer[0], "r");
	if (!file)
		fail(errno, NULL, "can't read from modinfo");
	length = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[length] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (waitpid(pid, &status, 0) != pid || status || !*text) {
		errno = ENOENT;
		return NULL;
	}
	return strdup(text);
}

struct module_file module_file(void)
{
	const char *path = getenv("PATH");
	struct module_file file = {};
	char *with_sbin;

	/* An ordinary user's PATH does not lead to modinfo. */
	if (asprintf(&with_sbin, "%s:/usr/sbin:/sbin", path ? path : "") < 0)
		abort();
	setenv("PATH", with_sbin, 1);
	free(with_sbin);

	file.path = module_field("filename");
	if (!file.path) {
		file.error = errno;
		return file;
	}
	file.version = module_field("version");
	file.backend = module_field("backend");
	file.unsupported = module_field("unsupported");
	return file;
}

char *module_way_out(const struct module_file *file)
{
	const char *way_out;
	struct utsname kernel;
	char *text;

	uname(&kernel);
	if (file->error == ENOEXEC)
		way_out = "no module is loaded; is one installed? run 'sudo modprobe xpin'";
	else if (file->error)
		way_out = "no module is installed for kernel %s; see README.md";
	else if (file->backend && !strcmp(file->backend, "none"))
		way_out = "the module installed for kernel %s only refuses to load: %s";
	else
		way_out = "the module is not loaded; run 'sudo modprobe xpin'";
	if (asprintf(&text, way_out, kernel.release, file->unsupported) < 0)
		abort();
	return text;
}
