// SPDX-License-Identifier: GPL-2.0
/* xpinctl doctor: from the hardware to a veto, step by step, and what mends each. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../module/version.h"
#include "doctor.h"

static const struct {
	const char *name;
	void (*judge)(const struct facts *facts, struct step *step);
} steps[] = {
	{ "kernel", step_kernel },
	{ "headers", step_headers },
	{ "dkms", step_dkms },
	{ "file", step_file },
	{ "signature", step_signature },
	{ "loaded", step_loaded },
	{ "versions", step_versions },
	{ "backend", step_backend },
	{ "hooks", step_hooks },
	{ "device", step_device },
	{ "memlock", step_memlock },
	{ "self-check", step_veto },
};

static const char * const state_names[] = {
	[STEP_OK] = "ok",
	[STEP_SKIPPED] = "skipped",
	[STEP_DEGRADED] = "degraded",
	[STEP_BROKEN] = "broken",
};

static char *format(const char *fmt, va_list args)
{
	char *text;

	if (vasprintf(&text, fmt, args) < 0)
		abort();
	return text;
}

void step_found(struct step *step, enum step_state state, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	step->state = state;
	step->found = format(fmt, args);
	va_end(args);
}

void step_mend(struct step *step, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	step->mend = format(fmt, args);
	va_end(args);
}

enum step_state unless_loaded(const struct facts *facts)
{
	return facts->loaded ? STEP_DEGRADED : STEP_BROKEN;
}

/* For who reads a report. Not the machine's name: that is nobody's business. */
static struct json_object *system_object(const struct facts *facts)
{
	struct json_object *object = json_object_new_object();

	add_string(object, "release", facts->kernel.release);
	add_string(object, "build", facts->kernel.version);
	add_string(object, "machine", facts->kernel.machine);
	add_string(object, "distribution", facts->distribution);
	add_string(object, "tool", XPIN_VERSION);
	add_string(object, "loaded", facts->loaded_version);
	add_string(object, "installed", facts->file.version);
	add_string(object, "dkms", facts->dkms.version);
	return object;
}

static void print_system(struct json_object *system)
{
	json_object_object_foreach(system, name, value)
		printf("%-14s%s\n", name,
		       value ? json_object_get_string(value) : "unknown or none");
}

static void text(struct json_object *doctor)
{
	struct json_object *list = object_of(doctor, "steps"), *step;
	size_t i;

	print_system(object_of(doctor, "system"));
	for (i = 0; i < json_object_array_length(list); i++) {
		step = json_object_array_get_idx(list, i);
		printf("%-10s%-12s%s\n", string_of(step, "state"),
		       string_of(step, "name"), string_of(step, "found"));
		if (string_of(step, "mend"))
			printf("%10s%-12s%s\n", "", "to mend it:",
			       string_of(step, "mend"));
	}
	printf("%s\n", string_of(doctor, "state"));
}

static enum step_state judge_all(const struct facts *facts,
				 struct json_object *list)
{
	enum step_state worst = STEP_OK;
	struct json_object *object;
	struct step step;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		step = (struct step){};
		steps[i].judge(facts, &step);
		if (step.state > worst)
			worst = step.state;
		object = json_object_new_object();
		add_string(object, "name", steps[i].name);
		add_string(object, "state", state_names[step.state]);
		add_string(object, "found", step.found);
		add_string(object, "mend", step.mend);
		json_object_array_add(list, object);
		free(step.found);
		free(step.mend);
	}
	/* What was not looked at is no worse than what it is because of. */
	return worst == STEP_SKIPPED ? STEP_OK : worst;
}

int command_doctor(int argc, char **argv)
{
	static const int exit_codes[] = {
		[STEP_OK] = 0,
		[STEP_DEGRADED] = 1,
		[STEP_BROKEN] = 2,
	};
	struct json_object *doctor, *list;
	enum step_state worst;
	struct facts facts;

	if (argc > 1)
		usage_error("doctor: '%s' is too much", argv[1]);

	/* No judgement is as bad as a bad one. */
	failure_status = EXIT_USAGE;
	doctor = json_object_new_object();
	list = json_object_new_array();
	facts_gather(&facts);
	worst = judge_all(&facts, list);
	json_object_object_add(doctor, "system", system_object(&facts));
	json_object_object_add(doctor, "steps", list);
	add_string(doctor, "state", state_names[worst]);
	facts_free(&facts);
	answer(doctor, text);
	return exit_codes[worst];
}
