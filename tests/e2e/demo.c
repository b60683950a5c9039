// SPDX-License-Identifier: GPL-2.0
/*
 * What xpin does, shown to a person on one screen. Ends with an error as soon as
 * something does not go as the story says.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "xpin_test.h"

#define SECRET	"the vault code is 4711"
#define FORGERY	"the vault code is 0000"

static const struct step {
	const char *attack;
	const char *does;
} steps[] = {
	{ "process_vm_readv", "process_vm_readv() reads it" },
	{ "process_vm_writev", "process_vm_writev() writes over it" },
	{ "io_uring WRITE_FIXED from it", "io_uring saves it to a file" },
	{ "O_DIRECT write from it, disk", "O_DIRECT write puts it on a disk" },
	{ "O_DIRECT read into it, disk", "O_DIRECT read writes over it" },
	{ .attack = NULL },
};

static struct stranger host;
static struct memory memory;
static int unexpected;

static void attempt(const struct step *step, bool claimed)
{
	const struct attack *attack = attack_find(step->attack);
	char *secret = (char *)memory.wanted;
	char *buffer = (char *)host.buffer;
	struct attack_result result;
	const char *now;
	bool ok;

	require(attack, step->attack);
	memset(buffer, 0, PAGE);
	snprintf(secret, PAGE, SECRET);
	snprintf(buffer, PAGE, FORGERY);
	result = stranger_attack(&host, attack, &memory, secret, PAGE);

	/* Where the attack should have changed something. */
	now = attack->writes ? secret : buffer;
	if (claimed)
		ok = result.outcome == ATTACK_REFUSED &&
		     result.error == attack->first &&
		     !strcmp(secret, SECRET) && (attack->writes || !*buffer);
	else
		ok = result.outcome == ATTACK_SUCCEEDED &&
		     !strcmp(now, attack->writes ? FORGERY : SECRET);

	printf("   %-36s", step->does);
	if (!ok)
		printf("NOT AS IT SHOULD BE: %s\n",
		       result.outcome == ATTACK_UNAVAILABLE ? result.why :
		       result.outcome == ATTACK_REFUSED ?
		       strerror(result.error) : "it got through");
	else if (claimed)
		printf("refused: %s\n", strerror(result.error));
	else
		printf("%s \"%s\"\n", attack->writes ? "now" : "got", now);
	unexpected += !ok;
}

static void attempts(bool claimed)
{
	const struct step *step;

	for (step = steps; step->attack; step++)
		attempt(step, claimed);
}

int main(void)
{
	struct xpin_claim claim;
	int owner;

	setvbuf(stdout, NULL, _IOLBF, 0);
	stranger_start(&host);
	owner = xpin_open();
	memory_create(&memory, MEMORY_SHMEM_PAGE);

	printf("Process %d keeps a secret in its memory: \"%s\"\n", getpid(),
	       SECRET);
	printf("1. Nobody owns the page. Process %d, as root, tries to get at it:\n",
	       host.pid);
	attempts(false);

	printf("2. Process %d claims the page through /dev/xpin. The same again:\n",
	       getpid());
	require(!xpin_claim(owner, memory.wanted, PAGE, 0, &claim), "claim");
	attempts(true);
	printf("   The owner itself goes on using it:  has \"%s\"\n",
	       (char *)memory.wanted);

	printf("3. Process %d releases the page. Once more:\n", getpid());
	require(!xpin_release(owner, &claim), "release");
	attempts(false);

	if (unexpected)
		printf("%d attempts did not end as they should.\n", unexpected);
	else
		printf("While it was owned, nobody else could pin it.\n");
	memory_destroy(&memory);
	close(owner);
	stranger_stop(&host);
	return unexpected ? EXIT_FAILURE : EXIT_SUCCESS;
}
