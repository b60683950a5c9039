// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel does with a module's operations to pin the memory of protected
 * VMs, whatever they do: here those of xpin_test_pkvm.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "kselftest.h"
#include "pkvm/vmm.h"
#include "xpin_test.h"

#define MODULE		"/xpin_test_pkvm.ko"
#define PARAMETERS	"/sys/module/xpin_test_pkvm/parameters/"

static struct memory memory;
static struct vm vm;

static void fail(int error, int times)
{
	set_file_number(PARAMETERS "error", error);
	set_file_number(PARAMETERS "times", times);
}

static int touch(unsigned int page)
{
	__u64 answer;

	return guest_call(&vm.vcpus[0], GUEST_LOAD,
			  GUEST_MEMORY + page * PAGE, &answer);
}

static void start_vm(bool protected)
{
	memory_create(&memory, MEMORY_ANON_PAGE);
	guest_place(memory.base);
	vm_create(&vm, protected, 1);
	require(!vm_memory(&vm, 0, GUEST_MEMORY, memory.base, LARGE),
		"memory for the guest");
}

static void end_vm(void)
{
	vm_destroy(&vm);
	memory_destroy(&memory);
}

static atomic_int buses;

static void on_signal(int signal)
{
	buses += signal == SIGBUS;
}

static void errors(void)
{
	static const int passed[] = { EBUSY, EPERM, EOPNOTSUPP, EIO };
	const struct sigaction action = { .sa_handler = on_signal };
	/* Again and again: the first may come before the call. */
	const struct itimerval timer = { { 0, 300000 }, { 0, 300000 } };
	int error;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(passed); i++) {
		fail(passed[i], 1);
		check(touch(10 + i) == -passed[i] && !touch(10 + i),
		      "%s is what KVM_RUN returns", strerror(passed[i]));
	}
	fail(EAGAIN, 5);
	check(!touch(20) && !file_number(PARAMETERS "times"),
	      "EAGAIN has the guest fault again");

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	fail(EAGAIN, 1 << 30);
	error = touch(21);
	setitimer(ITIMER_REAL, &(struct itimerval){}, NULL);
	check(error == -EINTR &&
	      vm.vcpus[0].run->exit_reason == KVM_EXIT_INTR,
	      "unless there is a signal: EINTR, KVM_EXIT_INTR");
	fail(0, 0);

	sigaction(SIGBUS, &action, NULL);
	fail(EHWPOISON, 1);
	check(touch(22) == -EINTR && buses == 1 && !touch(22),
	      "EHWPOISON is a SIGBUS");
}

int main(void)
{
	long long pins = pins_held();
	int pinned;

	ksft_print_header();
	ksft_set_plan(17);

	check(module_load(MODULE) == 0, "load it");
	check(module_load("/xpin_pkvm.ko") == -EBUSY, "one at a time: EBUSY");
	check(module_unload("xpin_test_pkvm") == 0, "unload it");
	check(!module_load("/xpin_pkvm.ko") && module_load(MODULE) == -EBUSY &&
	      !module_unload("xpin_pkvm") && !module_load(MODULE),
	      "the other way round");

	start_vm(false);
	check(!touch(1) && !file_number(PARAMETERS "pins"),
	      "not for a VM that is not protected");
	end_vm();

	start_vm(true);
	check(!touch(0) && !touch(1) && !touch(1) &&
	      file_number(PARAMETERS "pins") == 2 && !file_number(PARAMETERS "unpins"),
	      "called once for each page");
	errors();
	/* The hypervisor does not give one page twice. */
	require(!vm_memory(&vm, 1, 2 * GUEST_MEMORY, memory.base, PAGE),
		"a second memslot");
	check(guest_call(&vm.vcpus[0], GUEST_LOAD, 2 * GUEST_MEMORY,
			 &(__u64){ 0 }) == -EPERM &&
	      file_number(PARAMETERS "unpins") == 1 && !file_number(PARAMETERS "dirty_unpins"),
	      "what is not donated is unpinned, not dirty");
	check(module_unload("xpin_test_pkvm") == -EWOULDBLOCK,
	      "the VM keeps the module");
	pinned = file_number(PARAMETERS "pins");
	end_vm();
	check(file_number(PARAMETERS "unpins") == pinned &&
	      file_number(PARAMETERS "dirty_unpins") == pinned - 1 &&
	      pins_held() == pins, "its end unpins all of it, dirty");
	check(!module_unload("xpin_test_pkvm"), "and lets the module go");
	ksft_finished();
}
