// SPDX-License-Identifier: GPL-2.0
/* The last steps of xpinctl doctor: from a module that could be loaded to a veto. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/xpin.h>

#include "../../module/version.h"
#include "../attack/attack.h"
#include "doctor.h"

#define NOT_LOADED	"not looked at, because of 'loaded'"
#define RELOAD		"sudo modprobe -r xpin && sudo modprobe xpin"
#define UPGRADE		"sudo apt-get update && sudo apt-get upgrade, or build both anew"

/* --- Loaded, and which version --- */

void step_loaded(const struct facts *facts, struct step *step)
{
	const char *words = facts->last_words;

	if (facts->loaded) {
		step_found(step, STEP_OK, "version %s",
			   facts->loaded_version ? facts->loaded_version : "unknown");
		return;
	}
	step_found(step, STEP_BROKEN, "no module is loaded%s%s",
		   words ? "; the log says: " : "", words ? words : "");
	if (facts->file.error != ENOEXEC && !file_usable(facts))
		step_mend(step, "what 'file' says; then sudo modprobe xpin");
	else
		step_mend(step, "sudo modprobe xpin; if it fails, why: sudo dmesg | grep xpin");
}

static bool differ(const char *one, const char *other)
{
	return one && other && strcmp(one, other);
}

void step_versions(const struct facts *facts, struct step *step)
{
	const char *loaded = facts->loaded_version;
	const char *installed = facts->file.version;
	bool stale = differ(loaded, installed);
	bool other_tool = differ(installed ? installed : loaded, XPIN_VERSION);

	if (!loaded && !installed) {
		step_found(step, STEP_SKIPPED, NOT_LOADED);
		return;
	}
	step_found(step, stale || other_tool ? STEP_DEGRADED : STEP_OK,
		   "loaded %s, installed %s, this tool %s",
		   loaded ? loaded : facts->loaded ? "unknown" : "none",
		   installed ? installed :
		   facts->file.error == ENOENT ? "none" : "unknown",
		   XPIN_VERSION);
	if (stale)
		step_mend(step, other_tool ? RELOAD "; " UPGRADE : RELOAD);
	else if (other_tool)
		step_mend(step, UPGRADE);
}

/* --- Backend --- */

/* Returns an open /dev/xpin, or -1 if the step is judged. */
static int open_for(const struct facts *facts, struct step *step)
{
	int fd;

	if (!facts->loaded) {
		step_found(step, STEP_SKIPPED, NOT_LOADED);
		return -1;
	}
	fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		step_found(step, STEP_SKIPPED, "not looked at, because of 'device'");
	return fd;
}

void step_backend(const struct facts *facts, struct step *step)
{
	struct xpin_info info = { .size = sizeof(info) };
	const char *possible = facts->file.backend, *active;
	int fd = open_for(facts, step);

	if (fd < 0)
		return;
	if (ioctl(fd, XPIN_IOC_INFO, &info)) {
		step_found(step, STEP_BROKEN, "%s does not answer: %s", DEVICE,
			   strerrorname_np(errno));
		step_mend(step, RELOAD);
		close(fd);
		return;
	}
	close(fd);
	active = backend_name(info.backend);
	if (differ(possible, active)) {
		step_found(step, STEP_DEGRADED,
			   "%s is active, the installed module's is %s",
			   active, possible);
		step_mend(step, RELOAD);
	} else if (!strcmp(active, "unknown") || info.api_version != XPIN_API_VERSION) {
		step_found(step, STEP_DEGRADED,
			   "backend %u, API version %u; this tool knows API version %u",
			   info.backend, info.api_version, XPIN_API_VERSION);
		step_mend(step, UPGRADE);
	} else {
		step_found(step, STEP_OK, "%s, API version %u, features %#llx",
			   active, info.api_version, info.features);
	}
}

/* --- Device --- */

static void judge_open(const struct stat *file, int error, struct step *step)
{
	bool forbidden = error == EACCES || error == EPERM;
	char *seen = text_of("%s, mode %04o, of user %u and group %u", DEVICE,
			     file->st_mode & 07777, file->st_uid, file->st_gid);

	if (error) {
		step_found(step, forbidden ? STEP_DEGRADED : STEP_BROKEN,
			   "%s, does not open (%s)", seen,
			   strerrorname_np(error));
		step_mend(step, forbidden ? WITH_SUDO : RELOAD);
	} else if (file->st_mode & 06) {
		step_found(step, STEP_DEGRADED, "%s: anybody may refuse others' pins",
			   seen);
		step_mend(step, "sudo chmod 600 %s", DEVICE);
	} else {
		step_found(step, STEP_OK, "%s, opens", seen);
	}
	free(seen);
}

void step_device(const struct facts *facts, struct step *step)
{
	char *numbers = first_line("/sys/class/misc/xpin/dev");
	struct stat file;
	int fd, error = 0;

	if (!facts->loaded) {
		step_found(step, STEP_SKIPPED, NOT_LOADED);
	} else if (stat(DEVICE, &file)) {
		if (numbers && strchr(numbers, ':'))
			*strchr(numbers, ':') = ' ';
		step_found(step, STEP_BROKEN, "%s is missing", DEVICE);
		step_mend(step, "sudo mknod -m 600 %s c %s; is devtmpfs mounted on /dev?",
			  DEVICE, numbers ? numbers : "10 MINOR");
	} else {
		fd = open(DEVICE, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			error = errno;
		else
			close(fd);
		judge_open(&file, error, step);
	}
	free(numbers);
}

/* --- Limit on locked memory --- */

#define MORE		"ulimit -l unlimited, as root"
/* What a claim of one byte of a huge page is charged. */
#define HUGE_PAGE	(2UL << 20)

static bool above_limits(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long capabilities = 0;
	char *line = NULL;
	size_t size = 0;

	while (file && getline(&line, &size, file) > 0)
		sscanf(line, "CapEff: %llx", &capabilities);
	free(line);
	if (file)
		fclose(file);
	return capabilities >> CAP_IPC_LOCK & 1;
}

void step_memlock(const struct facts *facts, struct step *step)
{
	struct rlimit limit;

	(void)facts;
	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (above_limits()) {
		step_found(step, STEP_OK, "none for who has CAP_IPC_LOCK");
	} else if (limit.rlim_cur == RLIM_INFINITY) {
		step_found(step, STEP_OK, "unlimited");
	} else if (limit.rlim_cur < HUGE_PAGE) {
		step_found(step, STEP_DEGRADED, "%llu bytes, and a huge page has %lu",
			   (unsigned long long)limit.rlim_cur, HUGE_PAGE);
		step_mend(step, MORE "; LimitMEMLOCK=infinity for a service of systemd");
	} else {
		step_found(step, STEP_OK, "%llu bytes",
			   (unsigned long long)limit.rlim_cur);
	}
}

/* --- The whole way, once --- */

#define RELOAD_OR_REPORT	RELOAD "; if that is no help, please report it"
/* Moments of others' are waited for. */
#define PATIENCE_NS	1000000000ULL

/* What makes a claim of fresh memory fail. */
static const char *claim_way_out(int error)
{
	switch (error) {
	case ENOMEM:
		return MORE ": see 'memlock'";
	case EBUSY:
		return "again, a pin from before is under way; whose: sudo dmesg | grep xpin";
	case ENODEV:
		return "what 'hooks' says; why: sudo dmesg | grep xpin";
	}
	return RELOAD_OR_REPORT;
}

/**
 * struct trial - what came of reading a page
 * @before: while it was free
 * @claim: errno of claiming it
 * @held: while it was claimed
 * @release: errno of releasing it
 * @after: since then
 */
struct trial {
	struct attack_result before;
	int claim;
	struct attack_result held;
	int release;
	struct attack_result after;
};

static struct trial try_page(int fd, const struct attack_target *page)
{
	const struct attack *attack = attack_find("process_vm_readv");
	struct xpin_claim claim = {
		.size = sizeof(claim),
		.addr = (uintptr_t)page->remote,
		.length = page->length,
		.timeout_ns = PATIENCE_NS,
	};
	struct xpin_part part = {
		.size = sizeof(part),
		.length = XPIN_WHOLE,
	};
	void *buffer = aligned_alloc(page->length, page->length);
	struct trial trial = {};

	if (!buffer)
		abort();
	trial.before = attack_run(attack, page, buffer);
	if (ioctl(fd, XPIN_IOC_CLAIM, &claim)) {
		trial.claim = errno;
	} else {
		trial.held = attack_run(attack, page, buffer);
		part.claim_id = claim.claim_id;
		if (ioctl(fd, XPIN_IOC_RELEASE, &part))
			trial.release = errno;
		trial.after = attack_run(attack, page, buffer);
	}
	free(buffer);
	return trial;
}

static void judge_trial(const struct trial *trial, struct step *step)
{
	const char *half = NULL;

	if (trial->before.outcome != ATTACK_SUCCEEDED) {
		step_found(step, STEP_DEGRADED,
			   "not looked at: process_vm_readv() of free memory fails (%s)",
			   strerrorname_np(trial->before.error));
		step_mend(step, "sudo xpinctl doctor, where nothing forbids process_vm_readv()");
	} else if (trial->claim) {
		step_found(step, STEP_BROKEN, "no page can be claimed (%s)",
			   strerrorname_np(trial->claim));
		step_mend(step, "%s", claim_way_out(trial->claim));
	} else if (trial->held.outcome != ATTACK_REFUSED ||
		   trial->held.error != EFAULT) {
		half = "a page was claimed, but a pin of it is not refused";
	} else if (trial->release) {
		half = "a pin of a claimed page is refused, but the page can't be released";
	} else if (trial->after.outcome != ATTACK_SUCCEEDED) {
		half = "a pin of a claimed page is refused, and still is when it was released";
	} else {
		step_found(step, STEP_OK,
			   "a pin of a claimed page is refused, of a released one it succeeds");
	}
	if (half) {
		step_found(step, STEP_BROKEN, "%s", half);
		step_mend(step, RELOAD_OR_REPORT);
	}
}

/* The owner's own pins are refused as anybody's. */
void step_veto(const struct facts *facts, struct step *step)
{
	struct attack_target page = { .pid = getpid(), .length = page_size() };
	struct trial trial;
	int fd = open_for(facts, step);

	if (fd < 0)
		return;
	page.remote = mmap(NULL, page.length, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page.remote == MAP_FAILED)
		fail(errno, NULL, "can't get a page");
	/* Claims are of whole folios: this one shall be of one page. */
	madvise(page.remote, page.length, MADV_NOHUGEPAGE);
	memset(page.remote, 1, page.length);
	trial = try_page(fd, &page);
	judge_trial(&trial, step);
	munmap(page.remote, page.length);
	close(fd);
}
