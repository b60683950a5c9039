// SPDX-License-Identifier: GPL-2.0
/*
 * What xpin_pkvm does, shown to a person on one screen: the same attacks on a
 * protected VM, without it and with it. Ends with an error if something does not
 * go as the story says.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pkvm/vmm.h"
#include "xpin_test.h"

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#define COUNTER		(GUEST_MEMORY + PAGE)

static const char * const attempts[] = {
	"process_vm_readv", "process_vm_writev", "io_uring WRITE_FIXED from it",
	"O_DIRECT write from it, disk", "O_DIRECT read into it, disk",
};

static struct stranger stranger;
static struct memory memory;
static struct vm vm;
static unsigned char *page;
static int unexpected;

static void expect(bool condition, const char *what)
{
	if (condition)
		return;
	printf("   NOT AS IT SHOULD BE: %s\n", what);
	unexpected++;
}

static void start_vm(void)
{
	const __u64 begin = 1000;

	memory_create(&memory, MEMORY_SHMEM_PAGE);
	page = memory.base + PAGE;
	guest_place(memory.base);
	memcpy(page, &begin, sizeof(begin));
	vm_create(&vm, true, 1);
	require(!vm_memory(&vm, 0, GUEST_MEMORY, memory.base, 2 * PAGE),
		"memory for the guest");
}

static void end_vm(void)
{
	vm_destroy(&vm);
	memory_destroy(&memory);
}

/* Have it count to five more. What KVM_RUN says at last. */
static int count(void)
{
	int error, i;
	__u64 sum;

	printf("   the guest counts");
	for (i = 0; i < 5; i++) {
		error = guest_call(&vm.vcpus[0], GUEST_ADD, COUNTER, &sum);
		if (error)
			break;
		printf(" %llu", sum);
	}
	printf(error ? ": KVM_RUN fails, %s\n" : "\n", strerror(-error));
	return error;
}

static bool zeros(const unsigned char *bytes)
{
	size_t i;

	for (i = 0; i < PAGE && !bytes[i]; i++)
		;
	return i == PAGE;
}

static bool attack_vm(const char *name)
{
	const struct attack *attack = attack_find(name);
	struct attack_result result;

	memset(stranger.buffer, 0xa5, PAGE);
	result = stranger_attack(&stranger, attack, &memory, page, PAGE);
	if (result.outcome == ATTACK_SUCCEEDED)
		printf("   %-30s succeeds: %s\n", name, attack->writes ?
		       "the page is overwritten" : zeros(stranger.buffer) ?
		       "4096 zeros, the page was taken away from the guest" :
		       "THE GUEST'S DATA");
	else
		printf("   %-30s is refused: %s\n", name,
		       strerror(result.error));
	return result.outcome == ATTACK_REFUSED &&
	       result.error == attack_answer(attack)->first;
}

int main(void)
{
	size_t i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	stranger_start(&stranger);

	printf("1. A protected VM, and a process that has its memory mapped. Linux as it is:\n");
	start_vm();
	expect(!count(), "it counts");
	expect(!attack_vm(attempts[0]), "it is not refused");
	expect(count() == -EFAULT, "that was the end of it");
	end_vm();

	printf("2. The same with xpin_pkvm:\n");
	require(!module_load("/xpin_pkvm.ko"), "load xpin_pkvm");
	start_vm();
	expect(!count(), "it counts");
	for (i = 0; i < ARRAY_SIZE(attempts); i++)
		expect(attack_vm(attempts[i]), "it is refused");
	expect(!count(), "it goes on");
	end_vm();

	require(!module_unload("xpin_pkvm"), "unload xpin_pkvm");
	stranger_stop(&stranger);
	if (unexpected)
		printf("%d things were not as they should be.\n", unexpected);
	else
		printf("The guest did not notice.\n");
	return unexpected;
}
