// SPDX-License-Identifier: GPL-2.0
/* The first steps of xpinctl doctor: from the hardware to a module that could be loaded. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../module/version.h"
#include "doctor.h"
#include "versions.h"

#define INSTALL	"'Install it' in README.md"
#define ENROL	"sudo mokutil --import " DKMS_KEY ", reboot, choose 'Enroll MOK' " \
		"and give the same password, sudo modprobe xpin; see " INSTALL
/* Both take the module's version and the kernel's release, twice. */
#define REBUILD	"sudo dkms unbuild xpin/%s -k %s; sudo dkms install xpin/%s -k %s"
#define TRY	"boot one of these; or, to try this one anyway: sudo dkms unbuild xpin/%s -k %s; " \
		"sudo env XPIN_TRY_ANYWAY=1 dkms install xpin/%s -k %s"
/* The kernel's release, the module's version, and the release again. */
#define ADD	"in xpin's source: sudo apt-get install dkms linux-headers-%s; " \
		"sudo dkms add ./module; sudo dkms install xpin/%s -k %s; see " INSTALL
#define SIGN	"sudo apt-get install openssl mokutil; " REBUILD "; then " ENROL
#define OTHERS	"boot a kernel that can refuse pins: Debian's own " SUPPORTED_NAMES \
		", or one with the patch, see kpatch/README.md"

/* --- Kernel --- */

/* From module/compat/versions.tsv, as refusal.awk reads it when the module is built. */
static bool in_range(const char *release)
{
	static const struct {
		unsigned int min;
		unsigned int end;
	} ranges[] = SUPPORTED_RANGES;
	unsigned int major = 0, minor = 0, patch = 0, number;
	size_t i;

	if (sscanf(release, "%u.%u.%u", &major, &minor, &patch) < 2)
		return false;
	number = (major * 1000 + minor) * 1000 + patch;
	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		if (ranges[i].min <= number && number < ranges[i].end)
			return true;
	}
	return false;
}

void step_kernel(const struct facts *facts, struct step *step)
{
	const struct utsname *kernel = &facts->kernel;
	const char *machine = kernel->machine;

	if (strcmp(machine, "x86_64") && strcmp(machine, "aarch64")) {
		step_found(step, unless_loaded(facts),
			   "Linux %s on %s, which xpin is not made for",
			   kernel->release, machine);
		step_mend(step, "run a 64-bit kernel, on x86_64 or arm64");
	} else if (!in_range(kernel->release)) {
		step_found(step, unless_loaded(facts),
			   "Linux %s on %s, and xpin was tried on " SUPPORTED_NAMES " only",
			   kernel->release, machine);
		step_mend(step, TRY, XPIN_VERSION, kernel->release,
			  XPIN_VERSION, kernel->release);
	} else {
		step_found(step, STEP_OK, "Linux %s on %s; xpin works with " SUPPORTED_NAMES,
			   kernel->release, machine);
	}
}

/* --- Headers --- */

void step_headers(const struct facts *facts, struct step *step)
{
	char *build = text_of("/lib/modules/%s/build", facts->kernel.release);
	char *makefile = text_of("%s/Makefile", build);
	bool usable = facts->loaded || file_usable(facts);

	if (!access(makefile, F_OK)) {
		step_found(step, STEP_OK, "%s", build);
	} else {
		step_found(step, usable ? STEP_DEGRADED : STEP_BROKEN,
			   "there is no %s, so no module can be built", makefile);
		step_mend(step, "sudo apt-get install linux-headers-%s",
			  facts->kernel.release);
	}
	free(makefile);
	free(build);
}

/* --- dkms --- */

/* What gets a module for this kernel: with dkms, if that has the source. */
static void mend_by_install(const struct facts *facts, struct step *step,
			    bool again)
{
	const struct dkms_entry *entry = dkms_here(facts);
	const char *release = facts->kernel.release;

	/* The last line is of the newest. */
	if (!entry && facts->dkms.nr)
		entry = &facts->dkms.entries[facts->dkms.nr - 1];
	if (entry && again)
		step_mend(step, REBUILD, entry->version, release,
			  entry->version, release);
	else if (entry)
		step_mend(step, "sudo dkms install xpin/%s -k %s",
			  entry->version, release);
	else
		step_mend(step, ADD, release, XPIN_VERSION, release);
}

/* As dkms has it. */
static bool is_installed(const struct facts *facts)
{
	const struct dkms_entry *here = dkms_here(facts);

	return here && !strcmp(here->state, "installed");
}

/* The kernels that it is installed for, or NULL. */
static char *kernels(const struct dkms *dkms)
{
	char *list = NULL, *longer;
	size_t i;

	for (i = 0; i < dkms->nr; i++) {
		if (!dkms->entries[i].kernel ||
		    strcmp(dkms->entries[i].state, "installed"))
			continue;
		longer = text_of("%s%s%s", list ? list : "", list ? ", " : "",
				 dkms->entries[i].kernel);
		free(list);
		list = longer;
	}
	return list;
}

static void not_for_this_kernel(const struct facts *facts, struct step *step)
{
	bool usable = facts->loaded || file_usable(facts);
	char *list = kernels(&facts->dkms);

	if (list)
		step_found(step, usable ? STEP_DEGRADED : STEP_BROKEN,
			   "installed for: %s; you run: %s", list,
			   facts->kernel.release);
	else
		step_found(step, usable ? STEP_DEGRADED : STEP_BROKEN,
			   "dkms has xpin, but installed for no kernel; you run: %s",
			   facts->kernel.release);
	free(list);
	mend_by_install(facts, step, false);
}

/* In the words of 3.0.10, and of 3.2. That there was another before is none. */
static bool is_complaint(const char *note)
{
	return note && (strstr(note, "WARNING!") ||
			strstr(note, "Differences") ||
			strstr(note, "missing"));
}

void step_dkms(const struct facts *facts, struct step *step)
{
	const struct dkms_entry *here = dkms_here(facts);
	bool usable = facts->loaded || file_usable(facts);

	if (facts->dkms.status > 0) {
		step_found(step, STEP_DEGRADED, "'dkms status xpin' fails with exit code %d",
			   facts->dkms.status);
		step_mend(step, "dkms status xpin, which says why");
	} else if (!facts->dkms.nr && usable) {
		step_found(step, STEP_SKIPPED,
			   "the module is not managed by dkms: the next kernel is without");
	} else if (!facts->dkms.nr) {
		step_found(step, STEP_BROKEN, facts->dkms.status < 0 ?
			   "there is no dkms, and no module" :
			   "dkms does not know of xpin");
		mend_by_install(facts, step, false);
	} else if (!is_installed(facts)) {
		not_for_this_kernel(facts, step);
	} else if (is_complaint(here->note)) {
		step_found(step, STEP_DEGRADED, "xpin/%s is installed for %s %s",
			   here->version, here->kernel, here->note);
		mend_by_install(facts, step, true);
	} else {
		step_found(step, STEP_OK, "xpin/%s is installed for %s",
			   here->version, here->kernel);
	}
}

/* --- The module's file --- */

static const char *or_unknown(const char *value)
{
	return value ? value : "unknown";
}

void step_file(const struct facts *facts, struct step *step)
{
	const struct module_file *file = &facts->file;
	const char *release = facts->kernel.release;
	char *built_for = file_kernel(facts);

	if (file->error == ENOEXEC) {
		step_found(step, STEP_DEGRADED, "not looked at: there is no modinfo");
		step_mend(step, "sudo apt-get install kmod");
	} else if (file->error) {
		step_found(step, unless_loaded(facts),
			   "no module is installed for %s%s", release,
			   facts->loaded ? ": the loaded one was loaded by hand" : "");
		/* Once is enough. */
		if (facts->dkms.nr ? is_installed(facts) : facts->loaded)
			mend_by_install(facts, step, true);
		else
			step_mend(step, "what 'dkms' says");
	} else if (!built_for || strcmp(built_for, release)) {
		step_found(step, unless_loaded(facts),
			   "%s was built for %s; you run: %s",
			   file->path, or_unknown(built_for), release);
		mend_by_install(facts, step, true);
	} else if (file_refuses(facts)) {
		step_found(step, unless_loaded(facts), "%s only refuses to load: %s",
			   file->path, or_unknown(file->unsupported));
		step_mend(step, OTHERS);
	} else {
		step_found(step, STEP_OK, "%s, version %s, backend %s, for %s",
			   file->path, or_unknown(file->version),
			   or_unknown(file->backend), built_for);
	}
	free(built_for);
}

/* --- Signature and Secure Boot --- */

#define NEEDED	"needed (%s); "

/* Why the kernel takes no module without a signature; NULL if it does. */
static const char *enforced_by(const struct facts *facts)
{
	if (facts->sig_enforce)
		return "module.sig_enforce";
	if (facts->lockdown && strcmp(facts->lockdown, "none"))
		return "lockdown";
	/* A kernel that is locked down by Secure Boot says so, where one can look. */
	if (!facts->lockdown && facts->secure_boot == YES)
		return "Secure Boot";
	return NULL;
}

static void judge_key(const struct facts *facts, struct step *step,
		      const char *why)
{
	const char * const argv[] = { "mokutil", "--test-key", DKMS_KEY, NULL };
	const char *signer = facts->file.signer;
	int status = 0;
	char *output = NULL;

	/* Where somebody else's was put in dkms's place, that says nothing. */
	if (!strcmp(signer, DKMS_SIGNER))
		status = run_program(argv, &output);
	/* Its exit code is 0 for one that is not. */
	if (output && strstr(output, "is already enrolled")) {
		step_found(step, STEP_OK, NEEDED "signed by '%s', and dkms's key is enrolled",
			   why, signer);
	} else if (output && strstr(output, "enrollment request")) {
		step_found(step, unless_loaded(facts),
			   NEEDED "signed by '%s', but dkms's key waits to be enrolled",
			   why, signer);
		step_mend(step, "reboot, choose 'Enroll MOK'; sudo modprobe xpin");
	} else if (output && strstr(output, "is not enrolled")) {
		step_found(step, unless_loaded(facts),
			   NEEDED "signed by '%s', but dkms's key is not enrolled",
			   why, signer);
		step_mend(step, ENROL);
	} else {
		step_found(step, STEP_DEGRADED,
			   NEEDED "signed by '%s'; whether the key is enrolled can't be told%s",
			   why, signer, status < 0 ? ": there is no mokutil" : "");
		step_mend(step, status < 0 ? "sudo apt-get install mokutil" :
			  "sudo mokutil --list-enrolled: who signed it must be among them");
	}
	free(output);
}

void step_signature(const struct facts *facts, struct step *step)
{
	static const char * const states[] = {
		[UNKNOWN] = "unknown", [NO] = "off", [YES] = "on",
	};
	const char *why = enforced_by(facts);

	if (!why && !facts->lockdown && facts->secure_boot == UNKNOWN) {
		step_found(step, STEP_DEGRADED, "not looked at: is Secure Boot on?");
		step_mend(step, "sudo apt-get install mokutil");
	} else if (!why) {
		step_found(step, STEP_OK, "not needed; Secure Boot is %s",
			   states[facts->secure_boot]);
	} else if (facts->file.error) {
		step_found(step, STEP_SKIPPED,
			   NEEDED "not looked at, because of 'file'", why);
	} else if (!facts->file.signer) {
		step_found(step, unless_loaded(facts), NEEDED "%s has none",
			   why, facts->file.path);
		step_mend(step, SIGN, XPIN_VERSION, facts->kernel.release,
			  XPIN_VERSION, facts->kernel.release);
	} else {
		judge_key(facts, step, why);
	}
}
