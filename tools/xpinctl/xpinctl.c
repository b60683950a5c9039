// SPDX-License-Identifier: GPL-2.0
/* xpinctl: look at exclusive GUP pins, take one, try to get past one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../module/version.h"
#include "xpinctl.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "status", command_status },
	{ "hold", command_hold },
	{ "probe", command_probe },
	{ "query", command_query },
	{ "doctor", command_doctor },
};

static const char help[] =
	"usage: xpinctl status\n"
	"       xpinctl hold [--size N[K|M|G]] [--kind anon|thp|memfd|hugetlb | --file PATH]\n"
	"                    [--share] [--deny-get] [--timeout SECONDS]\n"
	"       xpinctl probe PID ADDR [--length N[K|M|G]] [--attack WORD]... [--show]\n"
	"                    [--get] [--write[=TEXT]] [--file PATH] [--block PATH]\n"
	"       xpinctl query [PID [ADDR [--length N[K|M|G]]]]\n"
	"       xpinctl doctor\n"
	"       xpinctl --help | --version\n"
	"\n"
	"status  does xpin work here, and if not, what to do\n"
	"hold    own memory until SIGINT (Ctrl-C), SIGTERM or SIGHUP\n"
	"probe   try to get at memory of a process in every way that pins it\n"
	"query   who has claims, and the state of each page of shared memory\n"
	"doctor  step by step from the hardware to a refused pin, and what mends each\n"
	"\n"
	"--json  anywhere: the answer, or the error, as one JSON object\n"
	"\n"
	"Exit code: 0 yes, done; 1 no, failed; 2 wrong usage. probe: 0 all refused,\n"
	"1 something got through, 2 wrong usage or failed. doctor: 0 all ok, 1 degraded,\n"
	"2 broken or wrong usage. See xpinctl(1).\n";

/* --json may be anywhere, so that wrong usage is told in JSON, too. */
static int take_json(int argc, char **argv)
{
	int i, left = 0;

	for (i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			json = true;
		else
			argv[left++] = argv[i];
	}
	argv[left] = NULL;
	return left;
}

int main(int argc, char **argv)
{
	size_t i;

	argc = take_json(argc, argv);
	if (argc < 2)
		usage_error("no command");
	for (i = 1; i < (size_t)argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			fputs(help, stdout);
			flush_or_exit();
			return EXIT_SUCCESS;
		}
	}
	if (!strcmp(argv[1], "--version")) {
		puts("xpinctl " XPIN_VERSION);
		flush_or_exit();
		return EXIT_SUCCESS;
	}
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	}
	usage_error("'%s' is no command", argv[1]);
}
