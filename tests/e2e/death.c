// SPDX-License-Identifier: GPL-2.0
/*
 * Rules R7 and R8: whatever way an owner ends, its memory is free again; and
 * nothing else ends its ownership.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"

static struct stranger stranger;
static int watcher;

/* Nothing of a claim is left: a pin and another claim of the memory work. */
static bool all_free(const struct memory *memory)
{
	struct xpin_claim claim;

	return xpin_all_pages(watcher, memory->base, MEMORY_LENGTH,
			      XPIN_PAGE_FREE) &&
	       stranger_reaches(&stranger, memory, memory->wanted) &&
	       !xpin_claim(watcher, memory->base, MEMORY_LENGTH, 0, &claim) &&
	       !xpin_release(watcher, &claim);
}

enum ending { KILLED, EXITED, CLOSED, KILLED_WAITING, ENDINGS };

static const char * const ending_names[] = {
	[KILLED] = "kill -9 of the owner",
	[EXITED] = "the owner exits without a release",
	[CLOSED] = "the owner closes its file without a release",
	[KILLED_WAITING] = "kill -9 of an owner that waits in a claim",
};

static noreturn void live(const struct memory *memory, enum ending ending,
			  int ready, int go)
{
	__u64 timeout_ns = ending == KILLED_WAITING ? 60 * NSEC_PER_SEC : 0;
	int fd = xpin_open(), error;
	struct xpin_claim claim;
	char byte = 0;

	error = xpin_claim(fd, memory->base, MEMORY_LENGTH, timeout_ns, &claim);
	require(!error, "the owner's claim");
	require(write(ready, &byte, 1) == 1, "write to a pipe");
	require(read(go, &byte, 1) == 1, "read from a pipe");
	if (ending == EXITED)
		_exit(0);
	close(fd);
	require(write(ready, &byte, 1) == 1, "write to a pipe");
	for (;;)
		pause();
}

static void owner_ends(const struct memory *memory, enum ending ending)
{
	int ready[2], go[2], status;
	bool owned, ok;
	char byte = 0;
	pid_t pid;

	if (ending == KILLED_WAITING)
		require(!stranger_pin_hold(&stranger, memory, memory->wanted,
					   PAGE), "the foreign pin");
	require(!pipe(ready) && !pipe(go), "pipe");
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid)
		live(memory, ending, ready[1], go[0]);
	/* If it dies, the parent reads the end of a file and not for ever. */
	close(ready[1]);
	close(go[0]);

	if (ending == KILLED_WAITING) {
		wait_for_state(watcher, memory->wanted, XPIN_PAGE_CLAIMING);
		owned = true;
	} else {
		require(read(ready[0], &byte, 1) == 1, "read from a pipe");
		owned = xpin_all_pages(watcher, memory->base, MEMORY_LENGTH,
				       XPIN_PAGE_OTHERS) &&
			!stranger_reaches(&stranger, memory, memory->wanted);
	}

	if (ending == EXITED || ending == CLOSED)
		require(write(go[1], &byte, 1) == 1, "write to a pipe");
	if (ending == CLOSED) {
		require(read(ready[0], &byte, 1) == 1, "read from a pipe");
		ok = all_free(memory);
	}
	if (ending != EXITED)
		kill(pid, SIGKILL);
	require(waitpid(pid, &status, 0) == pid, "waitpid");
	if (ending == KILLED_WAITING) {
		ok = xpin_page_state(watcher, memory->wanted) ==
		     XPIN_PAGE_PINNED;
		stranger_pin_drop(&stranger);
		ok = all_free(memory) && ok;
	} else if (ending != CLOSED) {
		ok = all_free(memory);
	}
	check(owned && ok, "%s: %s", memory->name, ending_names[ending]);

	close(ready[0]);
	close(go[1]);
}

/* All that the child of an owner may do with the file is look at it. */
static int eio_calls(int fd, const struct memory *memory,
		     const struct xpin_claim *owned)
{
	struct xpin_claim claim;
	struct xpin_part part;
	int count = 0;

	count += xpin_claim(fd, memory->base, PAGE, 0, &claim) == -EIO;
	count += xpin_part(fd, XPIN_IOC_SHARE, owned->claim_id, 0, XPIN_WHOLE,
			   &part) == -EIO;
	count += xpin_part(fd, XPIN_IOC_UNSHARE, owned->claim_id, 0, XPIN_WHOLE,
			   &part) == -EIO;
	count += xpin_release(fd, owned) == -EIO;
	count += xpin_page_state(fd, memory->base) == -EIO;
	return count;
}

static void inherited(const struct memory *memory)
{
	int ready[2], go[2], fd = xpin_open(), status;
	struct xpin_claim claim;
	char count = 0;
	pid_t pid;
	bool ok;

	require(!xpin_claim(fd, memory->wanted, PAGE, 0, &claim), "claim");
	require(!pipe(ready) && !pipe(go), "pipe");
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid) {
		count = eio_calls(fd, memory, &claim);
		require(write(ready[1], &count, 1) == 1, "write to a pipe");
		require(read(go[0], &count, 1) == 1, "read from a pipe");
		_exit(0);
	}
	close(ready[1]);
	close(go[0]);

	require(read(ready[0], &count, 1) == 1, "read from a pipe");
	check(count == 5 &&
	      xpin_page_state(fd, memory->wanted) == XPIN_PAGE_MINE &&
	      !stranger_reaches(&stranger, memory, memory->wanted),
	      "%s: a child can do nothing with the file", memory->name);

	close(fd);
	ok = xpin_page_state(watcher, memory->wanted) == XPIN_PAGE_OTHERS &&
	     !stranger_reaches(&stranger, memory, memory->wanted);
	check(ok, "%s: owned as long as the file is open somewhere",
	      memory->name);

	require(write(go[1], &count, 1) == 1, "write to a pipe");
	require(waitpid(pid, &status, 0) == pid, "waitpid");
	check(all_free(memory), "%s: the last close ends it", memory->name);

	close(ready[0]);
	close(go[1]);
}

int main(void)
{
	static const enum memory_kind kinds[] = {
		MEMORY_SHMEM_PAGE, MEMORY_SHMEM_LARGE,
	};
	enum ending ending;
	struct memory memory;
	size_t i;

	ksft_print_header();
	ksft_set_plan(ARRAY_SIZE(kinds) * (ENDINGS + 3));
	stranger_start(&stranger);
	watcher = xpin_open();

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		memory_create(&memory, kinds[i]);
		for (ending = 0; ending < ENDINGS; ending++)
			owner_ends(&memory, ending);
		inherited(&memory);
		memory_destroy(&memory);
	}

	close(watcher);
	stranger_stop(&stranger);
	ksft_finished();
}
