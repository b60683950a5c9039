/* SPDX-License-Identifier: GPL-2.0 */
/* What doctor's rooms share: facts.c -> installed.c, working.c, hooks.c -> doctor.c. */
#ifndef DOCTOR_H
#define DOCTOR_H

#include <stdbool.h>
#include <sys/utsname.h>

#include "xpinctl.h"

/* The key that dkms makes, and whose signatures modinfo says those are. */
#define DKMS_KEY	"/var/lib/dkms/mok.pub"
#define DKMS_SIGNER	"DKMS module signing key"

/* Is it so? What could not be looked at is not known. */
enum truth { UNKNOWN, NO, YES };

/**
 * struct dkms_entry - one line of dkms status
 * @version: of the module's source
 * @kernel: that it was built for; NULL if it was for none
 * @state: "added", "built", "installed"
 * @note: what dkms says behind that; NULL if nothing
 */
struct dkms_entry {
	char *version;
	char *kernel;
	char *state;
	char *note;
};

/**
 * struct dkms - what dkms says of the module
 * @status: exit code of dkms status; -1 if there is no dkms
 * @version: of dkms itself
 * @entries: one for each line
 * @nr: how many
 */
struct dkms {
	int status;
	char *version;
	struct dkms_entry *entries;
	size_t nr;
};

/**
 * struct facts - what can be seen without trying anything
 * @kernel: that runs
 * @distribution: its name
 * @file: the installed module
 * @loaded: one is loaded
 * @loaded_version: its version
 * @last_words: why it was not loaded at the last attempt, as the log has it; or NULL
 * @dkms: what dkms says
 * @secure_boot: the firmware checks what it boots
 * @sig_enforce: the kernel was told to take no module without a signature
 * @lockdown: "none", or what it is locked down to; NULL if that is not known
 */
struct facts {
	struct utsname kernel;
	char *distribution;
	struct module_file file;
	bool loaded;
	char *loaded_version;
	char *last_words;
	struct dkms dkms;
	enum truth secure_boot;
	bool sig_enforce;
	char *lockdown;
};

void facts_gather(struct facts *facts);
void facts_free(struct facts *facts);

/* The line of dkms for the kernel that runs, the best there is; or NULL. */
const struct dkms_entry *dkms_here(const struct facts *facts);
/* The installed module is one for this kernel, and does not refuse to load. */
bool file_usable(const struct facts *facts);
bool file_refuses(const struct facts *facts);
/* The release that the installed module was built for; NULL if that is not known. */
char *file_kernel(const struct facts *facts);

/* The worst one that there is decides. */
enum step_state {
	STEP_OK,
	/* There is nothing to look at, or a step before says why it can't be. */
	STEP_SKIPPED,
	/* Pins can be refused, but something is in the way or soon will be. */
	STEP_DEGRADED,
	/* Pins can't be refused. */
	STEP_BROKEN,
};

/**
 * struct step - what came of one
 * @state: how it is
 * @found: what was seen
 * @mend: what to do, the command first; NULL if there is nothing to do
 */
struct step {
	enum step_state state;
	char *found;
	char *mend;
};

void step_found(struct step *step, enum step_state state, const char *fmt, ...) __attribute__
	((format(printf, 3, 4)));
void step_mend(struct step *step, const char *fmt, ...) __attribute__
	((format(printf, 2, 3)));
/* For what only keeps a module from being loaded: who has one goes on. */
enum step_state unless_loaded(const struct facts *facts);

/* --- installed.c: what it takes to get a module --- */

void step_kernel(const struct facts *facts, struct step *step);
void step_headers(const struct facts *facts, struct step *step);
void step_dkms(const struct facts *facts, struct step *step);
void step_file(const struct facts *facts, struct step *step);
void step_signature(const struct facts *facts, struct step *step);

/* --- working.c: what it takes to get a veto --- */

void step_loaded(const struct facts *facts, struct step *step);
void step_versions(const struct facts *facts, struct step *step);
void step_backend(const struct facts *facts, struct step *step);
void step_device(const struct facts *facts, struct step *step);
void step_memlock(const struct facts *facts, struct step *step);
void step_veto(const struct facts *facts, struct step *step);

/* --- hooks.c --- */

void step_hooks(const struct facts *facts, struct step *step);

#endif /* DOCTOR_H */
