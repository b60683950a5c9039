/* SPDX-License-Identifier: GPL-2.0 */
/* The least virtual machine monitor, and what its guest can be told to do. */
#ifndef PKVM_VMM_H
#define PKVM_VMM_H

/* The guest's physical addresses: of its memory, and of its wires to the VMM. */
#define GUEST_MEMORY	0x80000000
#define GUEST_WIRES	0x09000000
/* On these it asks for a command and the argument, and gives the answer. */
#define WIRE_COMMAND	0
#define WIRE_ARGUMENT	8
#define WIRE_ANSWER	16

/* Add one to the 64 bits at the argument, and answer with the sum. */
#define GUEST_ADD	1
/* Answer with the 64 bits at the argument. */
#define GUEST_LOAD	2
/* Share the page at the argument with the host, or end that; answers 0. */
#define GUEST_SHARE	3
#define GUEST_UNSHARE	4

#ifndef __ASSEMBLER__

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#define VM_VCPUS	4

/**
 * struct vm - a virtual machine
 * @fd: what KVM calls it
 * @run_size: bytes of each &vcpus.run
 * @vcpus: its processors
 * @vcpus.fd: what KVM calls it
 * @vcpus.run: what it shares with KVM
 */
struct vm {
	int fd;
	int run_size;
	struct vcpu {
		int fd;
		struct kvm_run *run;
	} vcpus[VM_VCPUS];
};

extern const unsigned char guest_code[], guest_code_end[];

/* All of these end the program if they fail. */
void vm_create(struct vm *vm, bool protected, unsigned int vcpus);
void vm_destroy(struct vm *vm);
/* Puts the guest's code there. To be done before it is the guest's. */
void guest_place(void *code);

/* Have memory of ours at that address of the guest's; 0 or -errno. */
int vm_memory(struct vm *vm, unsigned int slot, __u64 guest, void *host,
	      size_t length);
/*
 * Have a processor do one command. 0, or the -errno of KVM_RUN; after that it can be
 * called again, and goes on where it was.
 */
int guest_call(struct vcpu *vcpu, __u64 command, __u64 argument,
	       __u64 *answer);

#endif /* __ASSEMBLER__ */
#endif /* PKVM_VMM_H */
