// SPDX-License-Identifier: GPL-2.0
/*
 * Rules R1, R4 and R5: a claim of memory that somebody pins fails, says where,
 * and leaves nothing behind; or it waits until the pin goes. Rule R6: while it
 * waits nobody else gets a pin; with the notifier not even for a moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"
#include "module/xpin_test_owner.h"

#define PATIENCE	(60 * NSEC_PER_SEC)
#define ATTEMPTS	100

static struct stranger stranger;
static int owner;

/* A pin by the other process; of anonymous memory, by this one. */
static void foreign_pin(const struct memory *memory, void *addr)
{
	int error;

	if (memory->fd < 0)
		error = pin_hold(addr, PAGE);
	else
		error = stranger_pin_hold(&stranger, memory, addr, PAGE);
	require(!error, "the foreign pin");
}

static void foreign_unpin(const struct memory *memory)
{
	if (memory->fd < 0)
		pin_drop();
	else
		stranger_pin_drop(&stranger);
}

/*
 * Claims @before bytes in front of the wanted folio and two pages of it, with a
 * pin on the second of these.
 */
static void busy(const struct memory *memory, size_t before,
		 __u64 timeout_ns, const char *what)
{
	unsigned char *addr = memory->wanted - before;
	unsigned char *pinned = memory->wanted + PAGE;
	/* The lowest claimed address in the folio that is pinned. */
	unsigned char *expected = memory->folio == PAGE ? pinned :
				  memory->wanted;
	struct xpin_claim claim;
	long long pins;
	int error;
	bool ok;

	foreign_pin(memory, pinned);
	pins = pins_held();
	error = xpin_claim(owner, addr, before + 2 * PAGE, timeout_ns, &claim);
	ok = error == -EBUSY && claim.busy_addr == (uintptr_t)expected;
	if (!ok)
		ksft_print_msg("claim at %p: %s, busy_addr 0x%llx, not %p\n",
			       addr, strerror(-error), claim.busy_addr,
			       expected);
	ok = ok && pins_held() == pins &&
	     xpin_page_state(owner, pinned) == XPIN_PAGE_PINNED &&
	     (!before || xpin_all_pages(owner, addr, before, XPIN_PAGE_FREE));
	foreign_unpin(memory);

	ok = ok && xpin_all_pages(owner, addr, before + 2 * PAGE,
				  XPIN_PAGE_FREE);
	error = xpin_claim(owner, addr, before + 2 * PAGE, timeout_ns, &claim);
	if (!error)
		error = xpin_release(owner, &claim);
	check(ok && !error && claim.busy_addr == XPIN_NO_ADDR, "%s: %s",
	      memory->name, what);
}

struct waiter {
	pthread_t thread;
	void *addr;
	struct xpin_claim claim;
	int error;
};

static void *wait_in_claim(void *argument)
{
	struct waiter *waiter = argument;

	waiter->error = xpin_claim(owner, waiter->addr, PAGE, PATIENCE,
				   &waiter->claim);
	return NULL;
}

/* Returns when the claim is seen to wait for the pin. */
static void start_to_wait(struct waiter *waiter, const struct memory *memory)
{
	waiter->addr = memory->wanted;
	foreign_pin(memory, memory->wanted);
	require(!pthread_create(&waiter->thread, NULL, wait_in_claim, waiter),
		"pthread_create");
	wait_for_state(owner, memory->wanted, XPIN_PAGE_CLAIMING);
}

/*
 * GUP-fast and the slow path of process_vm_readv(). A refusal that first raises
 * the count would show in the number of pins ever taken; that is what each one
 * does, and takes back, where GUP is hooked and does not ask.
 */
static bool refused_before_the_grab(const struct memory *memory)
{
	struct xpin_test_owner_call gup = {
		.addr = (uintptr_t)memory->wanted,
		.pages = 1,
		.repeat = ATTEMPTS,
	};
	int i, fd = open("/dev/xpin_test_owner", O_RDWR | O_CLOEXEC);
	long long taken, held, expected;
	bool reached;

	require(fd >= 0, "open /dev/xpin_test_owner");
	expected = feature_missing(FEATURE_NOTIFIER) ? 2 * ATTEMPTS : 0;
	held = pins_held();
	taken = pins_taken();
	require(!ioctl(fd, XPIN_TEST_OWNER_GUP, &gup), "GUP");
	reached = gup.answer;
	for (i = 0; i < ATTEMPTS; i++)
		reached |= stranger_reaches(&stranger, memory, memory->wanted);
	taken = pins_taken() - taken;
	held = pins_held() - held;
	close(fd);

	if (reached || taken != expected || held)
		ksft_print_msg("%d attempts took %lld pins, and have %lld\n",
			       2 * ATTEMPTS, taken, held);
	return !reached && taken == expected && !held;
}

static void pin_goes(const struct memory *memory)
{
	struct waiter waiter;
	bool refused, ok;

	start_to_wait(&waiter, memory);
	refused = refused_before_the_grab(memory);
	foreign_unpin(memory);
	pthread_join(waiter.thread, NULL);

	if (waiter.error)
		ksft_print_msg("claim: %s\n", strerror(-waiter.error));
	ok = !waiter.error &&
	     xpin_page_state(owner, memory->wanted) == XPIN_PAGE_MINE &&
	     !stranger_reaches(&stranger, memory, memory->wanted);
	if (!waiter.error)
		require(!xpin_release(owner, &waiter.claim), "release");
	check(ok, "%s: the claim succeeds when the pin goes", memory->name);
	check(refused, "%s: no new pin while a claim waits", memory->name);
}

static void on_signal(int number)
{
	(void)number;
}

static void interrupted(const struct memory *memory)
{
	/* Even a call that asks to be restarted is not: EINTR says so. */
	struct sigaction action = {
		.sa_handler = on_signal,
		.sa_flags = SA_RESTART,
	};
	struct waiter waiter;
	bool ok;

	require(!sigaction(SIGUSR1, &action, NULL), "sigaction");
	start_to_wait(&waiter, memory);
	pthread_kill(waiter.thread, SIGUSR1);
	pthread_join(waiter.thread, NULL);

	ok = waiter.error == -EINTR &&
	     xpin_page_state(owner, memory->wanted) == XPIN_PAGE_PINNED &&
	     !xpin_stat("entries");
	if (!ok)
		ksft_print_msg("claim: %s\n", strerror(-waiter.error));
	foreign_unpin(memory);
	check(ok && stranger_reaches(&stranger, memory, memory->wanted),
	      "%s: a signal ends the wait", memory->name);
}

int main(void)
{
	struct memory memory;
	int kind;

	ksft_print_header();
	ksft_set_plan(MEMORY_KINDS * 6);
	stranger_start(&stranger);
	owner = xpin_open();

	for (kind = 0; kind < MEMORY_KINDS; kind++) {
		if (skip_without(memory_needs(kind), 6))
			continue;
		memory_create(&memory, kind);
		busy(&memory, 0, 0, "pinned at the start of the range");
		busy(&memory, memory.folio, 0, "pinned later in the range");
		busy(&memory, memory.folio, NSEC_PER_SEC / 10,
		     "still pinned when the time is over");
		pin_goes(&memory);
		interrupted(&memory);
		memory_destroy(&memory);
	}

	close(owner);
	stranger_stop(&stranger);
	ksft_finished();
}
