// SPDX-License-Identifier: GPL-2.0
/*
 * Protected VMs as owners: what they own and when, whom they wait for, what is
 * refused to them, and that nothing of it is left when they have gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "kselftest.h"
#include "pkvm/vmm.h"
#include "xpin_test.h"

/* What a fault would wait for if nothing came between. */
#define TIMEOUT_MS	60000
#define MODULE		"/xpin_pkvm.ko"
/* Where QEMU's machine has it. */
#define SERIAL_PORT	0x09000000
/* A page that is in another folio than the guest's code, however large they are. */
#define OTHER_FOLIO	(LARGE / PAGE)
#define USERS_FILE	"/sys/module/xpin_pkvm/refcnt"

/* One VM, and all that it has; the first page has the code. */
struct guest {
	struct memory memory;
	struct vm vm;
};

static __u64 guest_page(unsigned int page)
{
	return GUEST_MEMORY + page * PAGE;
}

static unsigned char *host_page(const struct guest *guest, unsigned int page)
{
	return guest->memory.base + page * PAGE;
}

static void guest_create(struct guest *guest, enum memory_kind kind,
			 unsigned int vcpus)
{
	memory_create(&guest->memory, kind);
	guest_place(guest->memory.base);
	vm_create(&guest->vm, true, vcpus);
	require(!vm_memory(&guest->vm, 0, GUEST_MEMORY, guest->memory.base,
			   MEMORY_LENGTH),
		"memory for the guest");
}

static void guest_destroy(struct guest *guest)
{
	vm_destroy(&guest->vm);
	memory_destroy(&guest->memory);
}

/* Have the guest touch that page of its memory. */
static int touch(struct guest *guest, unsigned int page)
{
	__u64 answer;

	return guest_call(&guest->vm.vcpus[0], GUEST_LOAD, guest_page(page),
			  &answer);
}

static void set_timeout(unsigned int ms)
{
	set_file_number("/sys/module/xpin_pkvm/parameters/timeout_ms", ms);
}

static long ms_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void sleep_ms(unsigned int ms)
{
	const struct timespec pause = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&pause, NULL);
}

static bool module_used(void)
{
	return !access(USERS_FILE, F_OK) && file_number(USERS_FILE);
}

/* What a VM owned goes with it, if only after a moment when a process died. */
static bool nothing_owned(void)
{
	int tries = 100;

	while (xpin_stat("entries") || xpin_stat("owners") || module_used()) {
		if (!tries--)
			return false;
		sleep_ms(100);
	}
	return true;
}

/* --- Whom the module is for, and how long it stays --- */

static void modules(void)
{
	struct guest guest;
	bool ok;

	require(!module_unload("xpin_pkvm"), "unload");
	guest_create(&guest, MEMORY_ANON_PAGE, 1);
	ok = !touch(&guest, 1);
	require(!module_load(MODULE), "load");
	ok = ok && !touch(&guest, 2) && !xpin_stat("entries");
	check(ok, "a VM from before the module owns nothing");
	check(!module_unload("xpin_pkvm") && !touch(&guest, 3),
	      "the module can go while that VM runs");
	require(!module_load(MODULE), "load");
	guest_destroy(&guest);
	check(nothing_owned(), "such a VM's end is no release");

	vm_create(&guest.vm, true, 1);
	check(module_unload("xpin_pkvm") == -EWOULDBLOCK,
	      "a VM keeps the module from its beginning");
	vm_destroy(&guest.vm);
	ok = !module_unload("xpin_pkvm") && !module_load(MODULE);
	check(ok, "and no longer than it is there");

	vm_create(&guest.vm, false, 1);
	ok = !module_unload("xpin_pkvm");
	vm_destroy(&guest.vm);
	check(ok && !module_load(MODULE),
	      "a VM that is not protected does not keep it");

	guest_create(&guest, MEMORY_ANON_PAGE, 1);
	ok = !touch(&guest, 1) && xpin_stat("entries") == 2 &&
	     xpin_stat("owners") == 1 &&
	     module_unload("xpin_pkvm") == -EWOULDBLOCK;
	check(ok, "a VM owns the pages that it has touched");
	guest_destroy(&guest);
	check(nothing_owned(), "until it ends");
	check(module_load(MODULE) == -EEXIST, "there is one such module");
}

/* --- Pins from before --- */

static void waits(enum memory_kind kind)
{
	struct guest guest;
	long begin, took;
	bool waited;
	int error;

	guest_create(&guest, kind, 1);
	require(!touch(&guest, 0), "the guest's code");

	require(!pin_hold(host_page(&guest, OTHER_FOLIO), PAGE), "a pin");
	set_timeout(0);
	check(touch(&guest, OTHER_FOLIO) == -EBUSY,
	      "%s: no time to wait: EBUSY", guest.memory.name);

	set_timeout(700);
	begin = ms_now();
	error = touch(&guest, OTHER_FOLIO);
	took = ms_now() - begin;
	ksft_print_msg("%s: KVM_RUN failed after %ld ms of 700\n",
		       guest.memory.name, took);
	check(error == -EBUSY && took >= 700,
	      "%s: a pin that stays: EBUSY after the timeout",
	      guest.memory.name);

	set_timeout(30000);
	pin_drop_later();
	begin = ms_now();
	error = touch(&guest, OTHER_FOLIO);
	took = ms_now() - begin;
	waited = pin_has_gone();
	ksft_print_msg("%s: KVM_RUN went on after %ld ms, the pin went after 300\n",
		       guest.memory.name, took);
	check(!error && waited,
	      "%s: a pin that goes is waited for", guest.memory.name);
	guest_destroy(&guest);
	check(nothing_owned(), "%s: nothing left", guest.memory.name);
}

static void on_alarm(int signal)
{
	(void)signal;
}

static void interrupted(void)
{
	/* Again and again: the first may come before the call. */
	const struct itimerval timer = { { 0, 300000 }, { 0, 300000 } };
	const struct sigaction action = { .sa_handler = on_alarm };
	struct guest guest;
	int error;

	guest_create(&guest, MEMORY_ANON_PAGE, 1);
	require(!touch(&guest, 0), "the guest's code");
	require(!pin_hold(host_page(&guest, 1), PAGE), "a pin");
	set_timeout(30000);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	error = touch(&guest, 1);
	setitimer(ITIMER_REAL, &(struct itimerval){}, NULL);
	check(error == -EINTR &&
	      guest.vm.vcpus[0].run->exit_reason == KVM_EXIT_INTR,
	      "a signal ends the wait, as ever: EINTR, KVM_EXIT_INTR");
	pin_drop();
	check(!touch(&guest, 1), "and KVM_RUN goes on where it was");
	guest_destroy(&guest);
}

/* A thread that touches page 1, or one that only asks for the vCPU. */
struct thread {
	struct guest *guest;
	atomic_int tid;
	int error;
};

static void *toucher(void *data)
{
	struct thread *thread = data;

	thread->tid = gettid();
	thread->error = touch(thread->guest, 1);
	return NULL;
}

static void *asker(void *data)
{
	struct thread *thread = data;
	struct kvm_mp_state state;

	thread->tid = gettid();
	thread->error = ioctl(thread->guest->vm.vcpus[0].fd, KVM_GET_MP_STATE,
			      &state);
	return NULL;
}

/* Does the thread sleep where no signal but one that kills wakes it? */
static bool sleeps_hard(const struct thread *thread)
{
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", thread->tid);
	file = thread->tid ? fopen(path, "re") : NULL;
	if (!file)
		return false;
	require(fscanf(file, "%*d %*s %c", &state) == 1, path);
	fclose(file);
	return state == 'D';
}

/* It may not sleep at that very moment, so more than once. */
#define SUSPENDS	5

/*
 * A fault that waits has the vCPU's lock. Were it frozen with that, who waits for
 * the lock, and can't be frozen, would keep the system from suspending.
 */
static void suspended(void)
{
	struct thread touches, asks;
	pthread_t threads[2];
	struct guest guest;
	bool ok = true;
	int i, tries;

	guest_create(&guest, MEMORY_ANON_PAGE, 1);
	require(!touch(&guest, 0), "the guest's code");
	require(!pin_hold(host_page(&guest, 1), PAGE), "a pin");
	set_timeout(TIMEOUT_MS);
	for (i = 0; i < SUSPENDS; i++) {
		touches = (struct thread){ .guest = &guest };
		asks = (struct thread){ .guest = &guest };
		require(!pthread_create(&threads[0], NULL, toucher, &touches),
			"thread");
		for (tries = 1000; xpin_stat("entries") < 2; tries--) {
			require(tries, "the fault waits");
			sleep_ms(10);
		}
		require(!pthread_create(&threads[1], NULL, asker, &asks),
			"thread");
		for (tries = 1000; !sleeps_hard(&asks); tries--) {
			require(tries, "another thread wants the vCPU");
			sleep_ms(10);
		}
		ok &= freeze_all();
		pthread_join(threads[0], NULL);
		pthread_join(threads[1], NULL);
		ok &= touches.error == -EINTR && !asks.error;
	}
	check(ok, "the system suspends while a fault waits: EINTR");
	pin_drop();
	check(!touch(&guest, 1), "and KVM_RUN goes on after it");
	guest_destroy(&guest);
}

/* --- Death --- */

/* A process with a VM, in @ready when it is as far as it gets. */
static pid_t start_vmm(bool pinned, int *ready)
{
	struct guest guest;
	int ends[2];
	pid_t pid;

	require(!pipe2(ends, O_CLOEXEC), "pipe");
	fflush(stdout);
	pid = fork();
	require(pid >= 0, "fork");
	*ready = ends[0];
	if (pid) {
		close(ends[1]);
		return pid;
	}
	guest_create(&guest, MEMORY_SHMEM_LARGE, 1);
	require(!touch(&guest, 0) && !touch(&guest, 1), "the guest");
	if (pinned)
		require(!pin_hold(host_page(&guest, OTHER_FOLIO), PAGE), "a pin");
	require(write(ends[1], "", 1) == 1, "pipe");
	while (!pinned && !touch(&guest, 2))
		;
	touch(&guest, OTHER_FOLIO);
	_exit(0);
}

static void kill_vmm(bool pinned, const char *when)
{
	long long pins = pins_held();
	int ready, status;
	long begin, took;
	pid_t pid;
	char byte;

	set_timeout(TIMEOUT_MS);
	pid = start_vmm(pinned, &ready);
	require(read(ready, &byte, 1) == 1, "the VMM is ready");
	close(ready);
	sleep_ms(200);
	require(xpin_stat("entries") > 0, "it owns memory");
	begin = ms_now();
	kill(pid, SIGKILL);
	require(waitpid(pid, &status, 0) == pid, "waitpid");
	took = ms_now() - begin;
	ksft_print_msg("killed %s: gone after %ld ms\n", when, took);
	check(WIFSIGNALED(status) && took < TIMEOUT_MS, "kill -9 %s ends it",
	      when);
	check(nothing_owned(), "kill -9 %s leaves nothing owned", when);
	/* The ring's pins go after its process. */
	for (took = 0; pins_held() != pins && took < 100; took++)
		sleep_ms(100);
	check(pins_held() == pins, "kill -9 %s leaves no pins", when);
}

/* A process that has all that its parent has, until nobody has @ends[1] open. */
static pid_t start_keeper(int ends[2])
{
	pid_t pid;
	char byte;

	fflush(stdout);
	pid = fork();
	require(pid >= 0, "fork");
	if (pid)
		return pid;
	close(ends[1]);
	require(!read(ends[0], &byte, 1), "pipe");
	_exit(0);
}

/* Not who made the VM has it last. Of shared memory a fork copies nothing. */
static void passed_on(void)
{
	long long locked = locked_kb();
	struct guest guest;
	int ends[2];
	pid_t pid;

	require(!pipe2(ends, O_CLOEXEC), "pipe");
	guest_create(&guest, MEMORY_SHMEM_LARGE, 1);
	require(!touch(&guest, 0), "the guest");
	pid = start_keeper(ends);
	guest_destroy(&guest);
	check(xpin_stat("entries") == 1 &&
	      module_unload("xpin_pkvm") == -EWOULDBLOCK,
	      "a VM that was passed on owns its memory");
	close(ends[0]);
	close(ends[1]);
	require(waitpid(pid, NULL, 0) == pid, "waitpid");
	check(nothing_owned() && locked_kb() == locked,
	      "until the last one has closed it");

	require(!pipe2(ends, O_CLOEXEC), "pipe");
	fflush(stdout);
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid) {
		guest_create(&guest, MEMORY_SHMEM_LARGE, 1);
		require(!touch(&guest, 0), "the guest");
		start_keeper(ends);
		_exit(0);
	}
	require(waitpid(pid, NULL, 0) == pid, "waitpid");
	check(module_unload("xpin_pkvm") == -EWOULDBLOCK,
	      "a VM whose maker has died keeps the module");
	close(ends[0]);
	close(ends[1]);
	check(nothing_owned(), "until the last one has closed it, too");
}

/* --- Several processors --- */

#define RACE_PAGES	256

struct racer {
	struct vcpu *vcpu;
	unsigned int number;
	pthread_barrier_t *start;
	int error;
	bool wrong;
};

/* All touch the same page at the same time, each at a word of its own. */
static void *race(void *data)
{
	struct racer *racer = data;
	__u64 first, second;
	unsigned int page;

	for (page = 1; page <= RACE_PAGES; page++) {
		__u64 at = guest_page(page) + 8 * (1 + racer->number);
		int error;

		pthread_barrier_wait(racer->start);
		error = guest_call(racer->vcpu, GUEST_ADD, at, &first);
		if (!error)
			error = guest_call(racer->vcpu, GUEST_ADD, at, &second);
		racer->wrong = racer->wrong || (!error && second != first + 1);
		if (error && !racer->error)
			racer->error = error;
	}
	return NULL;
}

/* All vCPUs of the guest at once, each by a thread; true if all went well. */
static bool on_all_vcpus(struct guest *guest, void *(*run)(void *))
{
	struct racer racers[VM_VCPUS];
	pthread_t threads[VM_VCPUS];
	pthread_barrier_t start;
	unsigned int i;
	bool ok = true;

	pthread_barrier_init(&start, NULL, VM_VCPUS);
	for (i = 0; i < VM_VCPUS; i++) {
		racers[i] = (struct racer){
			.vcpu = &guest->vm.vcpus[i],
			.number = i,
			.start = &start,
		};
		require(!pthread_create(&threads[i], NULL, run, &racers[i]),
			"thread");
	}
	for (i = 0; i < VM_VCPUS; i++) {
		pthread_join(threads[i], NULL);
		if (racers[i].error)
			ksft_print_msg("vCPU %u: %s\n", i,
				       strerror(-racers[i].error));
		ok = ok && !racers[i].error && !racers[i].wrong;
	}
	pthread_barrier_destroy(&start);
	return ok;
}

static void processors(enum memory_kind kind)
{
	struct guest guest;

	set_timeout(10000);
	guest_create(&guest, kind, VM_VCPUS);
	check(on_all_vcpus(&guest, race), "%s: %d vCPUs touch the same pages", guest.memory.name,
	      VM_VCPUS);
	check(xpin_stat("entries") == (guest.memory.folio == LARGE ? 1 :
				       RACE_PAGES + 1) &&
	      xpin_stat("owners") == 1,
	      "%s: one owner, each folio once", guest.memory.name);
	guest_destroy(&guest);
	check(nothing_owned(), "%s: nothing left", guest.memory.name);
}

#define FIRST_ROUNDS	50

static void *first_touch(void *data)
{
	struct racer *racer = data;
	__u64 answer;

	pthread_barrier_wait(racer->start);
	racer->error = guest_call(racer->vcpu, GUEST_LOAD,
				  guest_page(1 + racer->number), &answer);
	return NULL;
}

/* A VM becomes an owner with the first page that it gets, by whichever vCPU. */
static void become_owner(void)
{
	struct guest guest;
	bool ok = true;
	int round;

	set_timeout(10000);
	for (round = 0; round < FIRST_ROUNDS; round++) {
		guest_create(&guest, MEMORY_ANON_PAGE, VM_VCPUS);
		ok = on_all_vcpus(&guest, first_touch) &&
		     xpin_stat("owners") == 1 && ok;
		guest_destroy(&guest);
	}
	check(ok, "%d vCPUs that are all the first: one owner", VM_VCPUS);
	check(nothing_owned(), "nothing left of it");
}

/* --- Memory that is not theirs --- */

/* A second VM on memory of the first one. */
static void two_vms(enum memory_kind kind)
{
	struct guest first, second;

	set_timeout(0);
	guest_create(&first, kind, 1);
	require(!touch(&first, 0) && !touch(&first, 1), "the first guest");
	second.memory = first.memory;
	vm_create(&second.vm, true, 1);
	require(!vm_memory(&second.vm, 0, GUEST_MEMORY, first.memory.base,
			   4 * PAGE), "memory for the second guest");
	check(touch(&second, 0) == -EBUSY, "%s: a second VM does not get it",
	      first.memory.name);
	check(!touch(&first, 1) && !touch(&first, 2),
	      "%s: the first one has it", first.memory.name);
	vm_destroy(&first.vm);
	/* The pages come back empty, but for what the guest did not touch. */
	guest_place(first.memory.base);
	check(!touch(&second, 1), "%s: the second one, after it",
	      first.memory.name);
	vm_destroy(&second.vm);
	memory_destroy(&first.memory);
	check(nothing_owned(), "%s: nothing left", first.memory.name);
}

/* The first VM, of another process: touches its pages once for each byte. */
static pid_t start_first(const struct memory *memory, int requests, int answers,
			 const int theirs[2])
{
	struct guest guest = { .memory = *memory };
	pid_t pid;
	char ok;

	fflush(stdout);
	pid = fork();
	require(pid >= 0, "fork");
	if (pid)
		return pid;
	close(theirs[0]);
	close(theirs[1]);
	vm_create(&guest.vm, true, 1);
	require(!vm_memory(&guest.vm, 0, GUEST_MEMORY, memory->base, 4 * PAGE),
		"memory for the first guest");
	while (read(requests, &ok, 1) == 1) {
		ok = !touch(&guest, 0) && !touch(&guest, 1);
		require(write(answers, &ok, 1) == 1, "pipe");
	}
	_exit(0);
}

static bool first_has_it(int request, int answer)
{
	char ok;

	require(write(request, "", 1) == 1 && read(answer, &ok, 1) == 1, "pipe");
	return ok;
}

/* As two_vms(), with the VMs of two processes. */
static void two_processes(enum memory_kind kind)
{
	int requests[2], answers[2];
	struct guest second;
	pid_t pid;

	require(!pipe2(requests, O_CLOEXEC) && !pipe2(answers, O_CLOEXEC),
		"pipe");
	set_timeout(0);
	memory_create(&second.memory, kind);
	guest_place(second.memory.base);
	pid = start_first(&second.memory, requests[0], answers[1],
			  (int[]){ requests[1], answers[0] });
	close(requests[0]);
	close(answers[1]);
	require(first_has_it(requests[1], answers[0]), "the first guest");
	vm_create(&second.vm, true, 1);
	require(!vm_memory(&second.vm, 0, GUEST_MEMORY, second.memory.base,
			   4 * PAGE), "memory for the second guest");
	check(touch(&second, 0) == -EBUSY &&
	      first_has_it(requests[1], answers[0]),
	      "%s: another process's VM does not get it", second.memory.name);
	kill(pid, SIGKILL);
	require(waitpid(pid, NULL, 0) == pid, "waitpid");
	guest_place(second.memory.base);
	set_timeout(10000);
	check(!touch(&second, 0) && !touch(&second, 1),
	      "%s: until that one is killed", second.memory.name);
	guest_destroy(&second);
	close(requests[1]);
	close(answers[0]);
	check(nothing_owned(), "%s: nothing left", second.memory.name);
}

static void aliases(enum memory_kind kind)
{
	const __u64 alias = 2 * GUEST_MEMORY;
	struct stranger stranger;
	struct guest guest;
	__u64 answer;
	int error;

	set_timeout(0);
	stranger_start(&stranger);
	guest_create(&guest, kind, 1);
	require(!vm_memory(&guest.vm, 1, alias, guest.memory.base, 4 * PAGE),
		"a second memslot");
	require(!touch(&guest, 0) && !touch(&guest, 1), "the guest");
	error = guest_call(&guest.vm.vcpus[0], GUEST_LOAD, alias + PAGE,
			   &answer);
	check(error == -EPERM, "%s: one page at two addresses: %s",
	      guest.memory.name, strerror(-error));
	check(!stranger_reaches(&stranger, &guest.memory,
				host_page(&guest, 1)),
	      "%s: and it is owned as before", guest.memory.name);
	guest_destroy(&guest);
	stranger_stop(&stranger);
	check(nothing_owned(), "%s: nothing left", guest.memory.name);
}

static void owned_by_device(void)
{
	struct xpin_claim claim;
	struct guest guest;
	int fd = xpin_open();

	set_timeout(0);
	guest_create(&guest, MEMORY_SHMEM_PAGE, 1);
	require(!touch(&guest, 0), "the guest's code");
	require(!xpin_claim(fd, host_page(&guest, 1), PAGE, 0, &claim),
		"claim");
	check(touch(&guest, 1) == -EBUSY,
	      "no VM gets what /dev/xpin owns: EBUSY");
	require(!xpin_release(fd, &claim), "release");
	check(!touch(&guest, 1) &&
	      xpin_claim(fd, host_page(&guest, 1), PAGE, 0, &claim) == -EBUSY,
	      "nor the other way round");
	guest_destroy(&guest);
	close(fd);
}

/* What the guest gets when its second page is that. */
static int touch_mapping(void *mapping)
{
	struct guest guest;
	int error;

	memory_create(&guest.memory, MEMORY_ANON_PAGE);
	guest_place(guest.memory.base);
	vm_create(&guest.vm, true, 1);
	require(!vm_memory(&guest.vm, 0, GUEST_MEMORY, guest.memory.base,
			   PAGE), "memory for the guest");
	error = vm_memory(&guest.vm, 1, guest_page(1), mapping, PAGE);
	if (!error)
		error = touch(&guest, 1);
	guest_destroy(&guest);
	return error;
}

static void mapped(int fd, off_t offset, bool private, const char *name,
		   int expected)
{
	void *mapping;
	int error;

	mapping = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		       private ? MAP_PRIVATE : MAP_SHARED, fd, offset);
	require(mapping != MAP_FAILED, name);
	error = touch_mapping(mapping);
	check(error == expected, "%s: %s", name,
	      error ? strerror(-error) : "it is the guest's");
	munmap(mapping, PAGE);
}

static void other_memory(void)
{
	int file = open("/mnt/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int device = open("/dev/mem", O_RDWR | O_CLOEXEC), error;
	void *mapping;

	require(file >= 0 && device >= 0 && !ftruncate(file, LARGE), "open");
	set_timeout(0);
	mapped(file, 0, false, "a file", -EOPNOTSUPP);
	mapped(file, 0, true, "a file, mapped privately", 0);
	mapped(device, SERIAL_PORT, false, "a device", -EOPNOTSUPP);
	close(file);
	close(device);

	mapping = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		       MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	require(mapping != MAP_FAILED, "hugetlb");
	memset(mapping, 1, PAGE);
	error = touch_mapping(mapping);
	check(error == -EIO, "hugetlb, as without the module: %s",
	      strerror(-error));
	munmap(mapping, LARGE);

	mapping = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);
	error = touch_mapping(mapping);
	check(error == -EFAULT, "nothing to be read there: %s",
	      strerror(-error));
	munmap(mapping, PAGE);
	check(nothing_owned(), "nothing of that is owned");
}

static atomic_int bus_errors;

static void on_bus_error(int signal)
{
	(void)signal;
	bus_errors++;
}

/* KVM says of it what it says without the module. */
static void failed_memory(void)
{
	const struct sigaction action = { .sa_handler = on_bus_error };
	struct guest guest;

	guest_create(&guest, MEMORY_ANON_PAGE, 1);
	require(!touch(&guest, 0), "the guest's code");
	sigaction(SIGBUS, &action, NULL);
	require(!madvise(host_page(&guest, 1), PAGE, MADV_HWPOISON),
		"MADV_HWPOISON");
	bus_errors = 0;
	check(touch(&guest, 1) == -EINTR && bus_errors == 1,
	      "memory that failed: SIGBUS");
	signal(SIGBUS, SIG_DFL);
	guest_destroy(&guest);
	check(nothing_owned(), "nothing of that is owned");
}

/* Two pages may be locked, by somebody who may not have more. */
static void limit(void)
{
	struct rlimit limit = { 2 * PAGE, RLIM_INFINITY };
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid) {
		struct guest guest;
		bool ok;

		guest_create(&guest, MEMORY_ANON_PAGE, 1);
		require(!setrlimit(RLIMIT_MEMLOCK, &limit) &&
			!setresuid(65534, 65534, 65534), "become nobody");
		ok = !touch(&guest, 0) && !touch(&guest, 1) &&
		     touch(&guest, 2) == -ENOMEM;
		limit.rlim_cur = 3 * PAGE;
		ok = ok && !setrlimit(RLIMIT_MEMLOCK, &limit) &&
		     !touch(&guest, 2);
		_exit(!ok);
	}
	require(waitpid(pid, &status, 0) == pid, "waitpid");
	check(!status, "RLIMIT_MEMLOCK: ENOMEM for a page too many");
	check(nothing_owned(), "and nothing left");
}

int main(void)
{
	static const enum memory_kind kinds[] = {
		MEMORY_ANON_PAGE, MEMORY_ANON_LARGE,
		MEMORY_SHMEM_PAGE, MEMORY_SHMEM_LARGE,
	};
	long long locked = locked_kb();
	size_t i;

	ksft_print_header();
	ksft_set_plan(11 + ARRAY_SIZE(kinds) * (4 + 3 + 4 + 3) + 2 + 2 * 3 + 2 +
		      2 * 3 + 4 + 2 + 6 + 2 + 2 + 1);
	require(!module_load(MODULE), "load " MODULE);
	modules();
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		waits(kinds[i]);
		processors(kinds[i]);
		two_vms(kinds[i]);
		aliases(kinds[i]);
	}
	become_owner();
	two_processes(MEMORY_SHMEM_PAGE);
	two_processes(MEMORY_SHMEM_LARGE);
	interrupted();
	suspended();
	kill_vmm(false, "while the guest runs");
	kill_vmm(true, "while its fault waits");
	passed_on();
	owned_by_device();
	other_memory();
	failed_memory();
	limit();
	check(locked_kb() == locked, "as much locked memory as before");
	require(!module_unload("xpin_pkvm"), "unload xpin_pkvm");
	ksft_finished();
}
