// SPDX-License-Identifier: GPL-2.0
/*
 * For tests: takes plain references by get_user_page_fast_only(), which perf calls
 * in NMI, in every context.
 */
#include <linux/fs.h>
#include <linux/irq_work.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/uaccess.h>

#ifdef CONFIG_X86
#include <asm/nmi.h>
#endif

#include "xpin_test_get.h"

/**
 * struct get - a reference to be taken
 * @work: takes it in an interrupt
 * @task: on top of which
 * @addr: in its memory
 * @wanted: it has not been taken yet
 * @from: where it was taken
 * @got: it could be taken
 */
struct get {
	struct irq_work work;
	struct task_struct *task;
	unsigned long addr;
	bool wanted;
	enum xpin_test_get_from from;
	bool got;
};

/* One at a time. */
static DEFINE_MUTEX(lock);
static struct get get;

static void take(void)
{
	struct page *page;

	if (!get.wanted || get.task != current)
		return;
	get.wanted = false;
	get.from = in_nmi() ? XPIN_TEST_GET_FROM_NMI :
		   in_hardirq() ? XPIN_TEST_GET_FROM_INTERRUPT :
		   XPIN_TEST_GET_FROM_TASK;
	pagefault_disable();
	get.got = get_user_page_fast_only(get.addr, 0, &page);
	if (get.got)
		put_page(page);
	pagefault_enable();
}

static void take_in_interrupt(struct irq_work *work)
{
	take();
}

#ifdef CONFIG_X86
static int take_in_nmi(unsigned int type, struct pt_regs *regs)
{
	if (!get.wanted || get.task != current)
		return NMI_DONE;
	take();
	return NMI_HANDLED;
}

/* Through the processor's real entry for NMIs, the way KVM passes them on. */
static int raise_nmi(void)
{
	asm volatile("int $2");
	return 0;
}

static int nmi_init(void)
{
	return register_nmi_handler(NMI_LOCAL, take_in_nmi, 0, "xpin_test");
}

static void nmi_exit(void)
{
	unregister_nmi_handler(NMI_LOCAL, "xpin_test");
}
#else
static int raise_nmi(void)
{
	return -EOPNOTSUPP;
}

static int nmi_init(void)
{
	return 0;
}

static void nmi_exit(void)
{
}
#endif

static int take_from(enum xpin_test_get_from from)
{
	switch (from) {
	case XPIN_TEST_GET_FROM_TASK:
		take();
		return 0;
	case XPIN_TEST_GET_FROM_INTERRUPT:
		/* It comes to this processor, on top of this task. */
		preempt_disable();
		irq_work_queue(&get.work);
		while (READ_ONCE(get.wanted))
			cpu_relax();
		preempt_enable();
		irq_work_sync(&get.work);
		return 0;
	case XPIN_TEST_GET_FROM_NMI:
		return raise_nmi();
	}
	return -EINVAL;
}

static long test_get_ioctl(struct file *file, unsigned int cmd,
			   unsigned long arg)
{
	void __user *user = (void __user *)arg;
	struct xpin_test_get_call call;
	int ret;

	if (cmd != XPIN_TEST_GET)
		return -ENOTTY;
	if (copy_from_user(&call, user, sizeof(call)))
		return -EFAULT;

	mutex_lock(&lock);
	get.task = current;
	get.addr = call.addr;
	get.wanted = true;
	ret = take_from(call.from);
	if (!ret && (get.wanted || get.from != call.from))
		ret = -EIO;
	get.wanted = false;
	call.got = get.got;
	mutex_unlock(&lock);

	if (!ret && copy_to_user(user, &call, sizeof(call)))
		return -EFAULT;
	return ret;
}

static const struct file_operations test_get_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = test_get_ioctl,
};

static struct miscdevice test_get_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "xpin_test_get",
	.fops = &test_get_fops,
	.mode = 0600,
};

static int __init xpin_test_get_init(void)
{
	int ret = nmi_init();

	if (ret)
		return ret;
	init_irq_work(&get.work, take_in_interrupt);
	ret = misc_register(&test_get_device);
	if (ret)
		nmi_exit();
	return ret;
}

static void __exit xpin_test_get_exit(void)
{
	misc_deregister(&test_get_device);
	nmi_exit();
}

module_init(xpin_test_get_init);
module_exit(xpin_test_get_exit);

MODULE_DESCRIPTION("Plain references in every context, for xpin's tests");
MODULE_LICENSE("GPL");
