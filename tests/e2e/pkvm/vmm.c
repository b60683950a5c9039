// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "../xpin_test.h"
#include "vmm.h"

/* Older headers do not have it. */
#ifndef KVM_VM_TYPE_ARM_PROTECTED
#define KVM_VM_TYPE_ARM_PROTECTED	0x80000000UL
#endif

/* They all begin with the code at the first address of the guest's memory. */
static void vcpu_create(struct vm *vm, unsigned int index)
{
	struct vcpu *vcpu = &vm->vcpus[index];
	struct kvm_vcpu_init init;
	__u64 pc = GUEST_MEMORY;
	struct kvm_one_reg set_pc = {
		.id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE |
		      KVM_REG_ARM_CORE_REG(regs.pc),
		.addr = (uintptr_t)&pc,
	};

	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, index);
	require(vcpu->fd >= 0, "KVM_CREATE_VCPU");
	require(!ioctl(vm->fd, KVM_ARM_PREFERRED_TARGET, &init),
		"KVM_ARM_PREFERRED_TARGET");
	init.features[0] |= 1 << KVM_ARM_VCPU_PSCI_0_2;
	require(!ioctl(vcpu->fd, KVM_ARM_VCPU_INIT, &init),
		"KVM_ARM_VCPU_INIT");
	require(!ioctl(vcpu->fd, KVM_SET_ONE_REG, &set_pc), "set the pc");
	vcpu->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE,
			 MAP_SHARED, vcpu->fd, 0);
	require(vcpu->run != MAP_FAILED, "map the vCPU");
}

void vm_create(struct vm *vm, bool protected, unsigned int vcpus)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	unsigned int i;

	require(kvm >= 0, "open /dev/kvm");
	*vm = (struct vm){
		.run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0),
	};
	require(vm->run_size > 0, "KVM_GET_VCPU_MMAP_SIZE");
	vm->fd = ioctl(kvm, KVM_CREATE_VM,
		       protected ? KVM_VM_TYPE_ARM_PROTECTED : 0);
	require(vm->fd >= 0, "KVM_CREATE_VM");
	close(kvm);
	for (i = 0; i < vcpus; i++)
		vcpu_create(vm, i);
}

/* A vCPU keeps its VM, and its mapping the vCPU. */
void vm_destroy(struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < VM_VCPUS && vm->vcpus[i].run; i++) {
		munmap(vm->vcpus[i].run, vm->run_size);
		close(vm->vcpus[i].fd);
	}
	close(vm->fd);
}

void guest_place(void *code)
{
	memcpy(code, guest_code, guest_code_end - guest_code);
}

int vm_memory(struct vm *vm, unsigned int slot, __u64 guest, void *host,
	      size_t length)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = guest,
		.memory_size = length,
		.userspace_addr = (uintptr_t)host,
	};

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) ? -errno : 0;
}

int guest_call(struct vcpu *vcpu, __u64 command, __u64 argument,
	       __u64 *answer)
{
	struct kvm_run *run = vcpu->run;
	const __u64 *said;

	for (;;) {
		if (ioctl(vcpu->fd, KVM_RUN, 0))
			return -errno;
		if (run->exit_reason != KVM_EXIT_MMIO)
			return -EPROTO;
		if (run->mmio.is_write)
			break;
		said = run->mmio.phys_addr == GUEST_WIRES + WIRE_COMMAND ?
		       &command : &argument;
		memcpy(run->mmio.data, said, sizeof(*said));
	}
	memcpy(answer, run->mmio.data, sizeof(*answer));
	return 0;
}
