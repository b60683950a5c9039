// SPDX-License-Identifier: GPL-2.0
/* Ask other programs and small files. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "xpinctl.h"

char *text_of(const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	return text;
}

char *first_line(const char *path)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;

	if (!file)
		return NULL;
	if (getline(&line, &size, file) > 0) {
		line[strcspn(line, "\n")] = '\0';
	} else {
		free(line);
		line = NULL;
	}
	fclose(file);
	return line;
}

/* What programs are found by, and the language in which they answer. */
static void set_environment(void)
{
	const char *path = getenv("PATH");
	static bool done;
	char *with_sbin;

	if (done)
		return;
	done = true;
	/* An ordinary user's PATH does not lead to modinfo. */
	with_sbin = text_of("%s:/usr/sbin:/sbin", path ? path : "");
	setenv("PATH", with_sbin, 1);
	setenv("LC_ALL", "C", 1);
	free(with_sbin);
}

int run_program(const char * const *argv, char **output)
{
	posix_spawn_file_actions_t actions;
	int answer[2], status, error;
	size_t size = 0;
	FILE *file;
	pid_t pid;

	set_environment();
	*output = NULL;
	if (pipe2(answer, O_CLOEXEC))
		fail(errno, NULL, "can't make a pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, answer[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null",
					 O_WRONLY, 0);
	error = posix_spawnp(&pid, argv[0], &actions, NULL,
			     (char * const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(answer[1]);
	if (error) {
		close(answer[0]);
		return -1;
	}

	file = fdopen(answer[0], "r");
	if (!file)
		fail(errno, NULL, "can't read from %s", argv[0]);
	/* All of it: nobody writes a byte of 0. */
	if (getdelim(output, &size, '\0', file) < 0) {
		free(*output);
		*output = NULL;
	}
	fclose(file);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 127;
	return WEXITSTATUS(status);
}
