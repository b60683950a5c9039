// SPDX-License-Identifier: GPL-2.0
/*
 * A Debian in which the packages were installed, and nothing else was done: the
 * doctor finds nothing to mend, the module is the one that dkms built, and a
 * driver that was built against the package is loaded after it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <json-c/json.h>

#include "kselftest.h"
#include "xpin_test.h"

#define DRIVER		"xpin_example"
#define HOLDER		"/sys/module/xpin/holders/" DRIVER

/* The exit code; what it says goes to the results. */
static int run(const char *command)
{
	int status;

	fflush(stdout);
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/**
 * struct doctor - what it said
 * @status: what it exited with
 * @steps: how many there were
 * @unwell: how many were degraded or broken
 * @mend: what mends the first of these; "" if nothing was said
 */
struct doctor {
	int status;
	size_t steps;
	size_t unwell;
	char mend[256];
};

static const char *member(struct json_object *object, const char *name)
{
	const char *text = json_object_get_string(json_object_object_get(object, name));

	return text ? text : "";
}

static struct doctor ask_doctor(void)
{
	FILE *file = popen("xpinctl doctor --json", "r");
	struct json_object *answer, *steps, *step;
	struct doctor doctor = {};
	static char text[1 << 16];
	const char *state;
	size_t length, i;
	int status;

	require(file, "popen");
	length = fread(text, 1, sizeof(text) - 1, file);
	text[length] = '\0';
	status = pclose(file);
	doctor.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	answer = json_tokener_parse(text);
	require(answer, "a JSON object");
	steps = json_object_object_get(answer, "steps");
	require(steps, "steps in it");
	doctor.steps = json_object_array_length(steps);
	for (i = 0; i < doctor.steps; i++) {
		step = json_object_array_get_idx(steps, i);
		state = member(step, "state");
		printf("# %s: %s: %s\n", member(step, "name"), state,
		       member(step, "found"));
		if (!strcmp(state, "ok") || !strcmp(state, "skipped"))
			continue;
		printf("# mend: %s\n", member(step, "mend"));
		if (!doctor.unwell++)
			snprintf(doctor.mend, sizeof(doctor.mend), "%s",
				 member(step, "mend"));
	}
	json_object_put(answer);
	return doctor;
}

static bool built_by_dkms(void)
{
	FILE *file = popen("modinfo -F filename xpin", "r");
	char wanted[200], path[256] = "";
	struct utsname kernel;

	uname(&kernel);
	snprintf(wanted, sizeof(wanted), "/lib/modules/%s/updates/dkms/xpin.ko",
		 kernel.release);
	require(file && fgets(path, sizeof(path), file), "modinfo");
	pclose(file);
	return !strncmp(path, wanted, strlen(wanted));
}

int main(void)
{
	struct doctor doctor;

	ksft_print_header();
	ksft_set_plan(10);
	/* Of init there is nothing but what the kernel gave it. */
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	/* The tests' own driver is in the way of unloading, too. */
	require(!module_unload("xpin_test_owner"), "unload xpin_test_owner");

	doctor = ask_doctor();
	ksft_test_result(!doctor.status && doctor.steps, "the doctor is content\n");
	ksft_test_result(!doctor.unwell, "no step is degraded or broken\n");
	ksft_test_result(built_by_dkms(), "modprobe has the module that dkms built\n");

	/* The hooks of the doctor's claim hold it, too, for a second. */
	while (file_number("/sys/module/xpin/refcnt"))
		usleep(100000);
	ksft_test_result(!run("modprobe " DRIVER), "a driver built against it loads\n");
	ksft_test_result(!access(HOLDER, F_OK), "and holds it\n");
	ksft_test_result(run("rmmod xpin") && !access("/sys/module/xpin", F_OK),
			 "so it can't be unloaded\n");
	ksft_test_result(!run("rmmod " DRIVER) && !module_unload_soon("xpin"),
			 "without the driver it can\n");

	doctor = ask_doctor();
	ksft_test_result(doctor.status == 2 && doctor.unwell, "the doctor misses it\n");
	ksft_test_result(!strncmp(doctor.mend, "sudo modprobe xpin", 18),
			 "and says how to load it\n");
	require(!run("modprobe xpin"), "modprobe");
	ksft_test_result(!ask_doctor().status, "that mends it\n");
	require(!module_load("/xpin_test_owner.ko"), "load xpin_test_owner");
	ksft_finished();
}
