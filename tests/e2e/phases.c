// SPDX-License-Identifier: GPL-2.0
/*
 * A signal, a SIGKILL and a suspend of the system, each in every phase of a call
 * in which it waits or takes long. A signal ends a wait for pins with EINTR and
 * leaves all as it was before the call; SIGKILL leaves nothing; and after a
 * suspend the call goes on.
 *
 * The call is made by another process. This one shares its memory, is in its
 * way, and sees from outside how far it has come.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "kselftest.h"
#include "xpin_test.h"
#include "module/xpin_test_owner.h"

/* Pages that a claim takes together: see CLAIM_CHUNK in claim.c. */
#define MANY		4096
#define PATIENCE	(60 * NSEC_PER_SEC)
#define SUSPENDS	5

enum obstacle { PAGE_FAULT, SHORT_PIN, LONG_PIN, NO_OBSTACLE };
enum call { CLAIM, UNSHARE, RELEASE, RELEASE_DURING_UNSHARE };

static const struct phase {
	const char *name;
	enum call call;
	/* What is in the way, at which of the pages. */
	enum obstacle obstacle;
	size_t at;
	size_t pages;
	/* Claimed by XPIN_IOC_CLAIM_MEMFD. */
	bool memfd;
	/* Folios owned or being claimed when the phase is reached. */
	long long entries;
	/* A signal does not end it. */
	bool goes_on;
	/* The system can't suspend: a fault in GUP is not freezable. */
	bool not_freezable;
} phases[] = {
	{
		.name = "a claim in a page fault",
		.call = CLAIM, .obstacle = PAGE_FAULT, .pages = 1,
		.goes_on = true, .not_freezable = true,
	}, {
		.name = "a claim in a page fault, with a chunk owned",
		.call = CLAIM, .obstacle = PAGE_FAULT, .at = CHUNK + 1,
		.pages = CHUNK + 2, .entries = CHUNK,
		.goes_on = true, .not_freezable = true,
	}, {
		.name = "a claim that can't migrate memory yet",
		.call = CLAIM, .obstacle = SHORT_PIN, .pages = 1,
	}, {
		.name = "a claim that can't migrate memory yet, with a chunk owned",
		.call = CLAIM, .obstacle = SHORT_PIN, .at = CHUNK + 1,
		.pages = CHUNK + 2, .entries = CHUNK,
	}, {
		.name = "a claim that drains",
		.call = CLAIM, .obstacle = LONG_PIN, .pages = 1, .entries = 1,
	}, {
		.name = "a claim that drains, with a chunk owned",
		.call = CLAIM, .obstacle = LONG_PIN, .at = CHUNK + 1,
		.pages = CHUNK + 2, .entries = CHUNK + 2,
	}, {
		.name = "a claim of a memfd that can't migrate yet, with a chunk owned",
		.call = CLAIM, .obstacle = SHORT_PIN, .at = CHUNK + 1,
		.pages = CHUNK + 2, .memfd = true, .entries = CHUNK,
	}, {
		.name = "a claim of a memfd that drains, with a chunk owned",
		.call = CLAIM, .obstacle = LONG_PIN, .at = CHUNK + 1,
		.pages = CHUNK + 2, .memfd = true, .entries = CHUNK + 2,
	}, {
		.name = "an unshare that drains",
		.call = UNSHARE, .obstacle = LONG_PIN, .at = CHUNK + 1,
		.pages = CHUNK + 2, .entries = CHUNK + 2,
	}, {
		.name = "a release that waits for an unshare",
		.call = RELEASE_DURING_UNSHARE, .obstacle = LONG_PIN,
		.pages = 2, .entries = 2, .goes_on = true,
	}, {
		.name = "a claim of much memory",
		.call = CLAIM, .obstacle = NO_OBSTACLE, .pages = MANY,
		.goes_on = true,
	}, {
		.name = "a release of much memory",
		.call = RELEASE, .obstacle = NO_OBSTACLE, .pages = MANY,
		.goes_on = true,
	},
};

enum event { SIGNAL, KILL, SUSPEND, EVENTS };

static const char * const event_names[] = {
	[SIGNAL] = "a signal",
	[KILL] = "SIGKILL",
	[SUSPEND] = "the system suspends",
};

enum progress { STARTED, READY, CALLING, RETURNED, ASKED_AGAIN };

/* What the two processes tell each other. */
static struct shared {
	atomic_int progress;
	/* Up to where the other process may go on. */
	atomic_int allowed;
	atomic_int signals;
	atomic_int uffd;
	int result;
	int unshared;
	int again;
} *shared;

static int watcher, memfd, pinner;
static unsigned char *area;

static void await(const char *what, bool (*is_so)(const struct phase *phase),
		  const struct phase *phase)
{
	const struct timespec pause = { 0, 1000000 };
	time_t deadline = time(NULL) + 100;

	while (!is_so(phase)) {
		require(time(NULL) < deadline, what);
		nanosleep(&pause, NULL);
	}
}

/* --- The other process --- */

static void on_signal(int number)
{
	(void)number;
	atomic_fetch_add(&shared->signals, 1);
}

static void step(int progress)
{
	atomic_store(&shared->progress, progress);
	while (atomic_load(&shared->allowed) <= progress)
		usleep(1000);
}

static int fd;
static struct xpin_claim claim;

static int unshare_claim(void)
{
	struct xpin_part part = {
		.size = sizeof(part),
		.claim_id = claim.claim_id,
		.length = XPIN_WHOLE,
		.timeout_ns = PATIENCE,
	};

	return ioctl(fd, XPIN_IOC_UNSHARE, &part) ? -errno : 0;
}

static void *unshare_in_thread(void *unused)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	shared->unshared = unshare_claim();
	return unused;
}

static bool drains(const struct phase *phase)
{
	return xpin_page_state(fd, area + phase->at * PAGE) ==
	       XPIN_PAGE_CLAIMING;
}

static void catch_faults(size_t at)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register page = {
		.range = { (uintptr_t)area + at * PAGE, PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC);

	require(uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api) &&
		!ioctl(uffd, UFFDIO_REGISTER, &page), "userfaultfd");
	atomic_store(&shared->uffd, uffd);
}

static int claim_memfd(const struct phase *phase)
{
	struct xpin_claim_memfd request = {
		.size = sizeof(request),
		.fd = memfd,
		.length = phase->pages * PAGE,
		.timeout_ns = PATIENCE,
	};
	int error = ioctl(fd, XPIN_IOC_CLAIM_MEMFD, &request) ? -errno : 0;

	claim.claim_id = request.claim_id;
	return error;
}

static int make_claim(const struct phase *phase)
{
	if (phase->memfd)
		return claim_memfd(phase);
	return xpin_claim(fd, area, phase->pages * PAGE, PATIENCE, &claim);
}

static int call_of(const struct phase *phase)
{
	switch (phase->call) {
	case CLAIM:
		return make_claim(phase);
	case UNSHARE:
		return unshare_claim();
	default:
		return xpin_release(fd, &claim);
	}
}

static noreturn void other_process(const struct phase *phase)
{
	/* Even a call that asks to be restarted is not: EINTR says so. */
	struct sigaction action = {
		.sa_handler = on_signal,
		.sa_flags = SA_RESTART,
	};
	struct xpin_part part;
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	require(!sigaction(SIGUSR1, &action, NULL), "sigaction");
	fd = xpin_open();
	if (phase->obstacle == PAGE_FAULT)
		catch_faults(phase->at);
	if (phase->call != CLAIM)
		require(!make_claim(phase), "claim");
	if (phase->call == UNSHARE || phase->call == RELEASE_DURING_UNSHARE)
		require(!xpin_part(fd, XPIN_IOC_SHARE, claim.claim_id, 0,
				   XPIN_WHOLE, &part), "share");
	step(READY);

	if (phase->call == RELEASE_DURING_UNSHARE) {
		require(!pthread_create(&thread, NULL, unshare_in_thread, NULL),
			"pthread_create");
		await("the unshare drains", drains, phase);
	}
	atomic_store(&shared->progress, CALLING);
	shared->result = call_of(phase);
	if (phase->call == RELEASE_DURING_UNSHARE)
		pthread_join(thread, NULL);
	step(RETURNED);

	/* Nothing is in the way any more. */
	if (phase->call == UNSHARE && shared->result)
		shared->again = unshare_claim();
	else if (phase->call != CLAIM || shared->result)
		shared->again = make_claim(phase);
	if (!shared->again)
		shared->again = xpin_release(fd, &claim);
	step(ASKED_AGAIN);
	_exit(0);
}

/* --- This process --- */

static pid_t pid;
static int uffd;

static void put_in_the_way(const struct phase *phase)
{
	unsigned char *page = area + phase->at * PAGE;
	struct xpin_test_owner_call hold = {
		.addr = (uintptr_t)page,
		.pages = 1,
	};
	int pidfd;

	switch (phase->obstacle) {
	case PAGE_FAULT:
		pidfd = syscall(SYS_pidfd_open, pid, 0);
		uffd = syscall(SYS_pidfd_getfd, pidfd, shared->uffd, 0);
		require(uffd >= 0, "pidfd_getfd");
		close(pidfd);
		break;
	case SHORT_PIN:
		require(in_movable_zone(page), "movable memory");
		require(!ioctl(pinner, XPIN_TEST_OWNER_HOLD, &hold), "HOLD");
		break;
	case LONG_PIN:
		require(!pin_hold(page, PAGE), "a pin");
		break;
	case NO_OBSTACLE:
		break;
	}
}

static void remove_from_the_way(const struct phase *phase)
{
	struct uffdio_zeropage page = {
		.range = { (uintptr_t)area + phase->at * PAGE, PAGE },
	};
	struct xpin_test_owner_call drop = {};

	switch (phase->obstacle) {
	case PAGE_FAULT:
		/* Nobody waits for it when the process is dead. */
		if (ioctl(uffd, UFFDIO_ZEROPAGE, &page))
			require(errno == ESRCH, "UFFDIO_ZEROPAGE");
		close(uffd);
		break;
	case SHORT_PIN:
		require(!ioctl(pinner, XPIN_TEST_OWNER_DROP, &drop), "DROP");
		break;
	case LONG_PIN:
		pin_drop();
		break;
	case NO_OBSTACLE:
		break;
	}
}

static bool is_ready(const struct phase *phase)
{
	(void)phase;
	return shared->progress == READY;
}

static bool is_back(const struct phase *phase)
{
	(void)phase;
	return shared->progress == RETURNED;
}

static bool is_through(const struct phase *phase)
{
	(void)phase;
	return shared->progress == ASKED_AGAIN;
}

static bool handled(const struct phase *phase)
{
	(void)phase;
	return shared->signals;
}

/* Is the main thread of the other process in an interruptible sleep? */
static bool sleeps(void)
{
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	require(file && fscanf(file, "%*d %*s %c", &state) == 1, path);
	fclose(file);
	return state == 'S';
}

/* Each attempt to migrate takes a pin. */
static bool tries_again(void)
{
	long long taken = pins_taken();
	int i;

	for (i = 0; i < 3; i++) {
		while (pins_taken() == taken && shared->progress == CALLING)
			usleep(1000);
		taken = pins_taken();
	}
	return shared->progress == CALLING;
}

static bool reached(const struct phase *phase)
{
	struct pollfd fault = { .fd = uffd, .events = POLLIN };
	long long entries = xpin_stat("entries");

	if (shared->progress != CALLING)
		return false;
	if (phase->obstacle == NO_OBSTACLE)
		return entries && entries < (long long)phase->pages;
	if (entries != phase->entries)
		return false;
	if (phase->obstacle == PAGE_FAULT)
		return poll(&fault, 1, 0) == 1;
	if (phase->obstacle == SHORT_PIN)
		return tries_again();
	return xpin_page_state(watcher, area + phase->at * PAGE) ==
	       XPIN_PAGE_CLAIMING &&
	       (phase->call != RELEASE_DURING_UNSHARE || sleeps());
}

/* The phase is over before it was seen: it does not wait for anything. */
static bool reached_or_missed(const struct phase *phase)
{
	return reached(phase) ||
	       (phase->obstacle == NO_OBSTACLE && is_back(phase));
}

static void fresh_memory(const struct phase *phase)
{
	struct xpin_claim mine;
	size_t i;

	require(!fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			   MANY * PAGE), "punch");
	for (i = 0; i < phase->pages; i++) {
		if (phase->obstacle != PAGE_FAULT || i != phase->at)
			area[i * PAGE] = 1;
	}
	/* It shall not wait because memory can't migrate for a moment. */
	if (phase->obstacle == NO_OBSTACLE)
		require(!xpin_claim(watcher, area, phase->pages * PAGE,
				    PATIENCE, &mine) &&
			!xpin_release(watcher, &mine), "claim");
}

/* Returns when the other process is in that phase. */
static void start(const struct phase *phase)
{
	fresh_memory(phase);
	memset(shared, 0, sizeof(*shared));
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid)
		other_process(phase);
	await("the other process is ready", is_ready, phase);
	put_in_the_way(phase);
	atomic_store(&shared->allowed, CALLING);
	await(phase->name, reached_or_missed, phase);
}

/* What the call did not get, or gave back, is nobody's. */
static bool left_as_before(const struct phase *phase, long long pins)
{
	bool pinned = phase->obstacle == SHORT_PIN ||
		      phase->obstacle == LONG_PIN;
	int page = pinned ? XPIN_PAGE_PINNED : XPIN_PAGE_FREE;

	if (phase->call == UNSHARE) {
		page = XPIN_PAGE_OTHERS;
		pins += phase->pages;
	}
	return pins_held() == pins + pinned &&
	       xpin_stat("entries") ==
	       (phase->call == UNSHARE ? phase->entries : 0) &&
	       xpin_page_state(watcher, area) ==
	       (phase->at && page == XPIN_PAGE_PINNED ? XPIN_PAGE_FREE : page) &&
	       xpin_page_state(watcher, area + phase->at * PAGE) == page;
}

/* The event comes, and the call ends by itself. */
static bool survives(const struct phase *phase, enum event event,
		     long long pins)
{
	int expected = event == SIGNAL && !phase->goes_on ? -EINTR : 0;
	/* An unshare that begins again may come behind the release. */
	bool overtaken = event == SUSPEND &&
			 phase->call == RELEASE_DURING_UNSHARE;
	bool ok = true, removed = false;
	int i;

	if (event == SIGNAL)
		require(!syscall(SYS_tgkill, pid, pid, SIGUSR1), "tgkill");
	for (i = 0; event == SUSPEND && i < SUSPENDS; i++)
		ok &= freeze_all();
	/* Its wait begins again when the handler is through. */
	if (event == SIGNAL && phase->call == RELEASE_DURING_UNSHARE)
		await("the signal is handled", handled, phase);
	if (!expected) {
		ok &= phase->obstacle == NO_OBSTACLE || overtaken ||
		      shared->progress == CALLING;
		remove_from_the_way(phase);
		removed = true;
	}
	await("the call returns", is_back, phase);
	/* It may have returned before the signal came. */
	if (event == SIGNAL)
		await("the signal is handled", handled, phase);
	if (shared->result != expected ||
	    (shared->unshared && !(overtaken && shared->unshared == -ENOENT)) ||
	    shared->signals != (event == SIGNAL ? 1 : 0)) {
		ksft_print_msg("returned %d, the unshare %d, %d signals\n",
			       shared->result, shared->unshared,
			       shared->signals);
		ok = false;
	}
	if (expected)
		ok &= left_as_before(phase, pins);
	if (!removed)
		remove_from_the_way(phase);

	atomic_store(&shared->allowed, ASKED_AGAIN);
	await("the other process is through", is_through, phase);
	if (shared->again) {
		ksft_print_msg("after that: %s\n", strerror(-shared->again));
		ok = false;
	}
	return ok;
}

static void happens(const struct phase *phase, enum event event)
{
	long long pins = pins_held(), owners = xpin_stat("owners");
	struct xpin_claim mine;
	int status, error;
	bool ok = true;

	for (;;) {
		start(phase);
		if (phase->obstacle != NO_OBSTACLE ||
		    shared->progress == CALLING)
			break;
		/* Too late: again. */
		kill(pid, SIGKILL);
		require(waitpid(pid, &status, 0) == pid, "waitpid");
	}

	if (event != KILL)
		ok = survives(phase, event, pins);
	kill(pid, SIGKILL);
	require(waitpid(pid, &status, 0) == pid, "waitpid");
	if (event == KILL) {
		ok = xpin_stat("owners") == owners && !xpin_stat("entries") &&
		     pins_held() == pins + (phase->obstacle == SHORT_PIN ||
					    phase->obstacle == LONG_PIN);
		remove_from_the_way(phase);
	}

	ok &= pins_held() == pins && !xpin_stat("entries");
	error = xpin_claim(watcher, area, phase->pages * PAGE, PATIENCE, &mine);
	ok &= !error && !xpin_release(watcher, &mine);
	check(ok, "%s: %s", phase->name, event_names[event]);
}

int main(void)
{
	const struct phase *phase;
	unsigned int plan = 0;
	enum event event;
	size_t i;

	ksft_print_header();
	for (i = 0; i < ARRAY_SIZE(phases); i++)
		plan += EVENTS - phases[i].not_freezable;
	ksft_set_plan(plan);

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	require(shared != MAP_FAILED, "mmap");
	memfd = memfd_create("phases", MFD_CLOEXEC);
	require(memfd >= 0 && !ftruncate(memfd, MANY * PAGE), "memfd");
	area = mmap(NULL, MANY * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd,
		    0);
	require(area != MAP_FAILED &&
		!madvise(area, MANY * PAGE, MADV_NOHUGEPAGE), "mmap");
	pinner = open("/dev/xpin_test_owner", O_RDWR | O_CLOEXEC);
	require(pinner >= 0, "open /dev/xpin_test_owner");
	watcher = xpin_open();

	for (i = 0; i < ARRAY_SIZE(phases); i++) {
		phase = &phases[i];
		if (phase->obstacle == SHORT_PIN &&
		    skip_without(FEATURE_MOVABLE,
				 EVENTS - phase->not_freezable))
			continue;
		if (phase->memfd &&
		    skip_without(FEATURE_MEMFD_PIN,
				 EVENTS - phase->not_freezable))
			continue;
		for (event = 0; event < EVENTS; event++) {
			if (event != SUSPEND || !phase->not_freezable)
				happens(phase, event);
		}
	}
	close(watcher);
	ksft_finished();
}
