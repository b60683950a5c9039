// SPDX-License-Identifier: GPL-2.0
/* What xpinctl doctor judges by. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "doctor.h"

#define EFI		"/sys/firmware/efi"
#define SECURE_BOOT	EFI "/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
#define SIG_ENFORCE	"/sys/module/module/parameters/sig_enforce"
#define LOCKDOWN	"/sys/kernel/security/lockdown"

/* --- dkms --- */

/* Takes what is before one of @ends off the line; to be freed. */
static char *take(char **line, const char *ends)
{
	size_t length = strcspn(*line, ends);
	char *word = strndup(*line, length);

	*line += length;
	*line += strspn(*line, ",:/ ");
	return word;
}

/*
 * xpin/0.1.0: added
 * xpin/0.1.0, 6.1.0-56-amd64, x86_64: built
 * xpin/0.1.0, 6.1.0-56-amd64, x86_64: installed (WARNING! Diff between built
 * and installed module!)
 *
 * so 3.0.10 and 3.2, whose notes differ; 2 began "xpin, 0.1.0".
 */
static void read_dkms_line(struct dkms *dkms, char *line)
{
	struct dkms_entry entry = {};
	char *name;

	if (strncmp(line, "xpin/", 5) && strncmp(line, "xpin,", 5))
		return;
	name = take(&line, "/,");
	free(name);
	entry.version = take(&line, ",:");
	if (strchr(line, ':')) {
		entry.kernel = take(&line, ",:");
		free(take(&line, ":"));
	}
	entry.state = take(&line, " (");
	if (*line == '(')
		entry.note = strdup(line);
	dkms->entries = reallocarray(dkms->entries, dkms->nr + 1, sizeof(entry));
	if (!dkms->entries)
		abort();
	dkms->entries[dkms->nr++] = entry;
}

static void ask_dkms(struct dkms *dkms)
{
	const char * const status[] = { "dkms", "status", "xpin", NULL };
	const char * const version[] = { "dkms", "--version", NULL };
	char *output, *line, *rest;

	dkms->status = run_program(status, &output);
	for (line = output ? strtok_r(output, "\n", &rest) : NULL; line;
	     line = strtok_r(NULL, "\n", &rest))
		read_dkms_line(dkms, line);
	free(output);
	if (dkms->status < 0)
		return;
	run_program(version, &output);
	if (output) {
		output[strcspn(output, "\n")] = '\0';
		/* "dkms-3.0.10" */
		line = strncmp(output, "dkms-", 5) ? output : output + 5;
		dkms->version = strdup(line);
		free(output);
	}
}

const struct dkms_entry *dkms_here(const struct facts *facts)
{
	const struct dkms_entry *entry, *best = NULL;
	size_t i;

	for (i = 0; i < facts->dkms.nr; i++) {
		entry = &facts->dkms.entries[i];
		if (entry->kernel &&
		    !strcmp(entry->kernel, facts->kernel.release) &&
		    (!best || !strcmp(entry->state, "installed")))
			best = entry;
	}
	return best;
}

/* --- The installed module --- */

bool file_refuses(const struct facts *facts)
{
	return facts->file.backend && !strcmp(facts->file.backend, "none");
}

char *file_kernel(const struct facts *facts)
{
	const char *vermagic = facts->file.vermagic;

	return vermagic ? strndup(vermagic, strcspn(vermagic, " ")) : NULL;
}

bool file_usable(const struct facts *facts)
{
	char *kernel = file_kernel(facts);
	bool same = kernel && !strcmp(kernel, facts->kernel.release);

	free(kernel);
	return !facts->file.error && !file_refuses(facts) && same;
}

/* --- What the kernel takes --- */

/* The file has four bytes of attributes, and one of value. */
static enum truth secure_boot_file(void)
{
	int fd = open(SECURE_BOOT, O_RDONLY | O_CLOEXEC);
	enum truth truth = UNKNOWN;
	unsigned char bytes[5];

	if (fd < 0)
		return UNKNOWN;
	if (read(fd, bytes, sizeof(bytes)) == sizeof(bytes))
		truth = bytes[4] ? YES : NO;
	close(fd);
	return truth;
}

static enum truth ask_secure_boot(void)
{
	const char * const argv[] = { "mokutil", "--sb-state", NULL };
	enum truth truth = secure_boot_file();
	char *output;

	if (truth != UNKNOWN)
		return truth;
	run_program(argv, &output);
	if (output && strstr(output, "SecureBoot enabled"))
		truth = YES;
	else if (output && strstr(output, "SecureBoot disabled"))
		truth = NO;
	else if (access(EFI, F_OK) && errno == ENOENT)
		truth = NO;
	free(output);
	return truth;
}

/* The word in brackets of "none [integrity] confidentiality". */
static char *lockdown(void)
{
	char *line = first_line(LOCKDOWN), *word = NULL, *start;

	start = line ? strchr(line, '[') : NULL;
	if (start)
		word = strndup(start + 1, strcspn(start + 1, "]"));
	free(line);
	return word;
}

static bool sig_enforce(void)
{
	char *line = first_line(SIG_ENFORCE);
	bool enforced = line && *line == 'Y';

	free(line);
	return enforced;
}

/* --- The rest --- */

static char *distribution(void)
{
	FILE *file = fopen("/etc/os-release", "re");
	char *line = NULL, *name = NULL;
	size_t size = 0;

	while (file && !name && getline(&line, &size, file) > 0) {
		if (strncmp(line, "PRETTY_NAME=", 12))
			continue;
		name = line + 12;
		name += strspn(name, "\"'");
		name = strndup(name, strcspn(name, "\"'\n"));
	}
	free(line);
	if (file)
		fclose(file);
	return name;
}

/* What a module says that is not loaded; one that is says other things, too. */
static bool is_refusal(const char *words)
{
	static const char * const beginnings[] = {
		"this kernel can't refuse pins",
		"another module has registered",
		/* "... is not a kernel that xpin supports" */
		"Linux ",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(beginnings); i++) {
		if (!strncmp(words, beginnings[i], strlen(beginnings[i])))
			return true;
	}
	return false;
}

/* Why it was not loaded at the last attempt; NULL if it was, or if that is not known. */
static char *last_words(void)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char record[8192], *text, *words = NULL;
	ssize_t n;

	/* What was overwritten meanwhile is EPIPE, and the next is there. */
	while (log >= 0 && ((n = read(log, record, sizeof(record) - 1)) > 0 ||
			    errno == EPIPE)) {
		if (n < 0)
			continue;
		record[n] = '\0';
		text = strchr(record, ';');
		if (!text || strncmp(text + 1, "xpin: ", 6))
			continue;
		text += 7;
		text[strcspn(text, "\n")] = '\0';
		if (is_refusal(text) || !strncmp(text, "version ", 8)) {
			free(words);
			words = is_refusal(text) ? strdup(text) : NULL;
		}
	}
	if (log >= 0)
		close(log);
	return words;
}

void facts_gather(struct facts *facts)
{
	*facts = (struct facts){};
	uname(&facts->kernel);
	facts->distribution = distribution();
	facts->file = module_file();
	facts->loaded = module_loaded();
	if (facts->loaded)
		facts->loaded_version = first_line("/sys/module/xpin/version");
	else
		facts->last_words = last_words();
	ask_dkms(&facts->dkms);
	facts->secure_boot = ask_secure_boot();
	facts->sig_enforce = sig_enforce();
	facts->lockdown = lockdown();
}

void facts_free(struct facts *facts)
{
	size_t i;

	for (i = 0; i < facts->dkms.nr; i++) {
		free(facts->dkms.entries[i].version);
		free(facts->dkms.entries[i].kernel);
		free(facts->dkms.entries[i].state);
		free(facts->dkms.entries[i].note);
	}
	free(facts->dkms.entries);
	free(facts->dkms.version);
	free(facts->distribution);
	free(facts->loaded_version);
	free(facts->last_words);
	free(facts->lockdown);
	free(facts->file.path);
	free(facts->file.version);
	free(facts->file.vermagic);
	free(facts->file.signer);
	free(facts->file.backend);
	free(facts->file.unsupported);
}
