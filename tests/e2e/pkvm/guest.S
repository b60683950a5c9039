/* SPDX-License-Identifier: GPL-2.0 */
/*
 * All that the guest is: a loop that does what it is told. It runs on all of its
 * processors, with the MMU off, and wherever it is put.
 */
#include "vmm.h"

/* Vendor specific hypervisor calls, as in linux/arm-smccc.h. */
#define HYPERCALL_SHARE		0xc6000003
#define HYPERCALL_UNSHARE	0xc6000004

	.section .rodata
	.balign	8
	.global	guest_code, guest_code_end
guest_code:
	mov	x20, #GUEST_WIRES
next:
	ldr	x1, [x20, #WIRE_COMMAND]
	ldr	x2, [x20, #WIRE_ARGUMENT]
	cmp	x1, #GUEST_ADD
	b.eq	add_one
	cmp	x1, #GUEST_LOAD
	b.eq	load
	ldr	w0, =HYPERCALL_SHARE
	cmp	x1, #GUEST_SHARE
	b.eq	call
	ldr	w0, =HYPERCALL_UNSHARE
call:
	mov	x1, x2
	mov	x2, #0
	mov	x3, #0
	hvc	#0
	mov	x3, x0
	b	answer
load:
	ldr	x3, [x2]
	b	answer
add_one:
	ldr	x3, [x2]
	add	x3, x3, #1
	str	x3, [x2]
answer:
	str	x3, [x20, #WIRE_ANSWER]
	b	next
	.ltorg
guest_code_end:

	.section .note.GNU-stack, "", %progbits
