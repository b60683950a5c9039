// SPDX-License-Identifier: GPL-2.0
/*
 * Protected VMs of KVM/arm64 (pKVM) own the memory that they are given: while
 * a VM has a page, nobody else can pin it, and a page that somebody else pins
 * is not given to it.
 *
 * Each VM is one owner, made with the first page that it gets and gone with the
 * last that comes back. KVM keeps this module while there is a VM that was
 * created with it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/xpin.h>

#include <asm/kvm_pkvm.h>

#include "version.h"

static unsigned int timeout_ms = 1000;
module_param(timeout_ms, uint, 0644);
MODULE_PARM_DESC(timeout_ms,
		 "Longest time a vCPU's fault waits for pins of others, in milliseconds (default 1000; not longer than xpin's max_timeout_ms)");

static bool deny_get;
module_param(deny_get, bool, 0444);
MODULE_PARM_DESC(deny_get,
		 "Refuse plain references (FOLL_GET) to the memory of protected VMs, too (default no)");

/**
 * struct vm - a protected VM that has pages
 * @node: in &vms
 * @kvm: whose they are; a name, nothing of it is read
 * @owner: what it is to xpin
 * @pages: how many, and faults that are about to get one
 */
struct vm {
	struct list_head node;
	struct kvm *kvm;
	struct xpin_owner *owner;
	unsigned long pages;
};

/* pKVM has room for 255 VMs: nothing to hash. */
static LIST_HEAD(vms);
/* Holds &vms, and of each of them &vm.pages. */
static DEFINE_MUTEX(vms_lock);

static struct vm *vm_find(struct kvm *kvm)
{
	struct vm *vm;

	lockdep_assert_held(&vms_lock);
	list_for_each_entry(vm, &vms, node)
		if (vm->kvm == kvm)
			return vm;
	return NULL;
}

static struct vm *vm_create(struct kvm *kvm)
{
	struct vm *vm;
	int ret;

	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return ERR_PTR(-ENOMEM);
	vm->kvm = kvm;
	vm->owner = xpin_owner_create(0);
	if (IS_ERR(vm->owner)) {
		ret = PTR_ERR(vm->owner);
		kfree(vm);
		return ERR_PTR(ret);
	}
	return vm;
}

static void vm_destroy(struct vm *vm)
{
	xpin_owner_destroy(vm->owner);
	kfree(vm);
}

/* For a fault, in the memory of the VM's process. */
static struct vm *vm_get(struct kvm *kvm)
{
	struct vm *vm, *new = NULL;

	mutex_lock(&vms_lock);
	vm = vm_find(kvm);
	if (!vm) {
		/* A VM that is killed for its memory takes the lock, too. */
		mutex_unlock(&vms_lock);
		new = vm_create(kvm);
		if (IS_ERR(new))
			return new;
		mutex_lock(&vms_lock);
		vm = vm_find(kvm);
	}
	if (!vm) {
		vm = new;
		list_add(&vm->node, &vms);
	}
	vm->pages++;
	mutex_unlock(&vms_lock);

	/* Another vCPU was faster. */
	if (new && new != vm)
		vm_destroy(new);
	return vm;
}

static void vm_put(struct vm *vm)
{
	mutex_lock(&vms_lock);
	if (--vm->pages) {
		mutex_unlock(&vms_lock);
		return;
	}
	list_del(&vm->node);
	mutex_unlock(&vms_lock);
	vm_destroy(vm);
}

/*
 * Who has a plain reference may be the kernel for a moment, or somebody who will
 * read the page through it whenever he likes. So wait for them as for pins.
 */
static int deny_get_page(struct vm *vm, struct page **page, u64 timeout_ns)
{
	ktime_t end = ktime_add_ns(ktime_get(), timeout_ns);
	unsigned long pause = 1;
	long referenced;
	s64 left;

	for (;;) {
		referenced = xpin_deny_get_pages(vm->owner, page, 1);
		if (referenced <= 0)
			return referenced;
		if (signal_pending(current))
			return -EAGAIN;
		left = ktime_to_ns(ktime_sub(end, ktime_get()));
		if (left <= 0)
			return -EBUSY;
		/* Each look may ask all processors for what they keep. */
		schedule_timeout_interruptible(min(pause, nsecs_to_jiffies(left) + 1));
		pause = min(2 * pause, HZ / 10UL);
	}
}

static int pkvm_pin(struct kvm *kvm, unsigned long hva, struct page **page)
{
	u64 timeout_ns = READ_ONCE(timeout_ms) * (u64)NSEC_PER_MSEC;
	struct vm *vm = vm_get(kvm);
	int ret;

	if (IS_ERR(vm))
		return PTR_ERR(vm);
	ret = xpin_pin_user_pages(vm->owner, hva, 1, page, &timeout_ns, NULL);
	if (!ret && deny_get) {
		ret = deny_get_page(vm, page, timeout_ns);
		if (ret)
			xpin_unpin_pages(vm->owner, page, 1);
	}
	if (ret)
		vm_put(vm);
	/* KVM_RUN handles signals and other work before the guest runs again. */
	return ret == -ERESTARTNOHAND || ret == -ERESTARTNOINTR ? -EAGAIN : ret;
}

static void pkvm_unpin(struct kvm *kvm, struct page *page, bool dirty)
{
	struct vm *vm;

	mutex_lock(&vms_lock);
	vm = vm_find(kvm);
	mutex_unlock(&vms_lock);

	/* It has this page at least. What xpin unpins is dirty in any case. */
	xpin_unpin_pages(vm->owner, &page, 1);
	vm_put(vm);
}

static const struct pkvm_pin_ops pkvm_ops = {
	.owner = THIS_MODULE,
	.pin = pkvm_pin,
	.unpin = pkvm_unpin,
};

static int __init xpin_pkvm_init(void)
{
	int ret = pkvm_set_pin_ops(NULL, &pkvm_ops);

	if (ret == -EOPNOTSUPP)
		pr_err("there are no protected VMs here: the kernel was not started with kvm-arm.mode=protected, or can't do that\n");
	else if (ret == -EBUSY)
		pr_err("another module pins the memory of protected VMs\n");
	else if (!ret)
		pr_info("version %s: protected VMs that are created from now on own their memory\n",
			XPIN_VERSION);
	return ret;
}

static void __exit xpin_pkvm_exit(void)
{
	pkvm_set_pin_ops(&pkvm_ops, NULL);
}

module_init(xpin_pkvm_init);
module_exit(xpin_pkvm_exit);

MODULE_DESCRIPTION("Exclusive ownership of the memory of protected VMs (pKVM)");
MODULE_AUTHOR("xpin maintainers");
MODULE_VERSION(XPIN_VERSION);
MODULE_LICENSE("GPL");
