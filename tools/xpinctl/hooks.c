// SPDX-License-Identifier: GPL-2.0
/* A step of xpinctl doctor: does somebody else redirect what xpin hooks? */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/xpin.h>

#include "doctor.h"

#define STATS	"/sys/kernel/debug/xpin/stats"
#define AWAY	"sudo modprobe -r the module in brackets; a live patch first: " \
		"echo 0 | sudo tee /sys/kernel/livepatch/NAME/enabled"

/*
 * GUP's entry points, as module/backend_ftrace.c hooks them; docs/ftrace.md says
 * which kernel has which.
 */
static const char * const entry_points[] = {
	"pin_user_pages",
	"pin_user_pages_remote",
	"pin_user_pages_unlocked",
	"pin_user_pages_fast",
	"pin_user_pages_fast_only",
	"memfd_pin_folios",
};

static bool is_entry_point(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(entry_points); i++) {
		if (!strcmp(name, entry_points[i]))
			return true;
	}
	return false;
}

/* The module has its hooks in place: then nobody else can. */
static bool armed(void)
{
	FILE *file = fopen(STATS, "re");
	unsigned long long value;
	bool armed = false;
	char name[32];

	while (file && fscanf(file, "%31s %llu", name, &value) == 2)
		armed |= !strcmp(name, "armed") && value;
	if (file)
		fclose(file);
	return armed;
}

/*
 * pin_user_pages_fast (1) R I  tramp: 0x... (nothing+0x0/0x10 [other]) ->...
 *
 * "I" is for whoever may redirect it, of whom there is one. His module is in the
 * line if ftrace knows his function.
 */
static bool redirected(const char *line)
{
	const char *flags = strchr(line, ')');

	flags = flags ? flags + 1 : "";
	return memchr(flags, 'I', strcspn(flags, "\t\n"));
}

/* To be freed; "" if nobody does, NULL with an errno if that can't be read. */
static char *others_at_entry_points(void)
{
	static const char * const paths[] = {
		"/sys/kernel/tracing/enabled_functions",
		"/sys/kernel/debug/tracing/enabled_functions",
	};
	char *line = NULL, *others, *longer, *module;
	bool mine = armed();
	char name[128];
	size_t size = 0;
	FILE *file;

	file = fopen(paths[0], "re");
	if (!file)
		file = fopen(paths[1], "re");
	if (!file)
		return NULL;
	others = text_of("%s", "");
	while (getline(&line, &size, file) > 0) {
		if (sscanf(line, "%127s", name) != 1 || !is_entry_point(name) ||
		    !redirected(line) || strstr(line, "[xpin]"))
			continue;
		module = strchr(line, '[');
		if (!module && mine)
			continue;
		longer = text_of("%s%s%s()%s%.*s", others, *others ? ", " : "",
				 name, module ? " by " : "",
				 module ? (int)strcspn(module, "]") + 1 : 0,
				 module ? module : "");
		free(others);
		others = longer;
	}
	free(line);
	fclose(file);
	return others;
}

/* To be freed; "" if there are none. */
static char *live_patches(void)
{
	DIR *dir = opendir("/sys/kernel/livepatch");
	char *names = text_of("%s", ""), *longer;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (*entry->d_name == '.')
			continue;
		longer = text_of("%s%s%s", names, *names ? ", " : "",
				 entry->d_name);
		free(names);
		names = longer;
	}
	if (dir)
		closedir(dir);
	return names;
}

static void judge_hooks(struct step *step, const char *others, int error,
			const char *patches)
{
	const char *and_patches = *patches ? "; live patches: " : "";

	if (!others) {
		step_found(step, STEP_DEGRADED,
			   "not looked at: can't open ftrace's enabled_functions (%s)%s%s",
			   strerrorname_np(error), and_patches, patches);
		step_mend(step, error == EACCES ? WITH_SUDO :
			  "sudo mount -t tracefs none /sys/kernel/tracing");
	} else if (*others) {
		step_found(step, STEP_BROKEN, "somebody else redirects %s%s%s",
			   others, and_patches, patches);
		step_mend(step, AWAY);
	} else {
		step_found(step, STEP_OK, "nobody else redirects what xpin hooks%s%s",
			   and_patches, patches);
	}
}

/* What the loaded module has if that is known, or else what is to be loaded. */
static bool is_hooking(const struct facts *facts)
{
	struct xpin_info info = { .size = sizeof(info) };
	int fd = facts->loaded ? open(DEVICE, O_RDWR | O_CLOEXEC) : -1;
	bool known = fd >= 0 && !ioctl(fd, XPIN_IOC_INFO, &info);

	if (fd >= 0)
		close(fd);
	if (known)
		return info.backend == XPIN_BACKEND_FTRACE;
	return !facts->file.backend || !strcmp(facts->file.backend, "ftrace");
}

void step_hooks(const struct facts *facts, struct step *step)
{
	char *others, *patches;
	int error;

	if (!facts->loaded && !facts->file.backend) {
		step_found(step, STEP_SKIPPED, "not looked at, because of 'file'");
		return;
	}
	if (!is_hooking(facts)) {
		step_found(step, STEP_SKIPPED, "this kernel's module hooks nothing");
		return;
	}
	others = others_at_entry_points();
	error = errno;
	patches = live_patches();
	judge_hooks(step, others, error, patches);
	free(patches);
	free(others);
}
