// SPDX-License-Identifier: GPL-2.0
/* Is the module loaded, and if not: could it be? */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
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
	const char * const argv[] = { "modinfo", "-F", field, "xpin", NULL };
	char *answer;
	int status = run_program(argv, &answer);

	if (answer)
		answer[strcspn(answer, "\n")] = '\0';
	if (!status && answer && *answer)
		return answer;
	free(answer);
	errno = status < 0 ? ENOEXEC : ENOENT;
	return NULL;
}

struct module_file module_file(void)
{
	struct module_file file = {};

	file.path = module_field("filename");
	if (!file.path) {
		file.error = errno;
		return file;
	}
	file.version = module_field("version");
	file.vermagic = module_field("vermagic");
	file.signer = module_field("signer");
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
		way_out = "no module is installed for kernel %s; ask 'sudo xpinctl doctor'";
	else if (file->backend && !strcmp(file->backend, "none"))
		way_out = "the module installed for kernel %s only refuses to load: %s";
	else
		way_out = "the module is not loaded; run 'sudo modprobe xpin'";
	if (asprintf(&text, way_out, kernel.release, file->unsupported) < 0)
		abort();
	return text;
}
