/* SPDX-License-Identifier: GPL-2.0 */
/* What KUnit and GUP have today, for kernels that lack it. */
#ifndef _XPIN_KUNIT_COMPAT_H
#define _XPIN_KUNIT_COMPAT_H

#include <kunit/test.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "compat/compat.h"

/* Before there was a type for a VMA's flags they were a number. */
#ifndef EMPTY_VMA_FLAGS
#define EMPTY_VMA_FLAGS 0
#endif

/* This is a macro, and tells: 6.1 has nothing of what follows, 6.12 has all. */
#ifndef KUNIT_CASE_SLOW

#define KUNIT_CASE_SLOW KUNIT_CASE

/* There was one more argument: where to store the VMAs. */
#define get_user_pages_remote(mm, start, nr, flags, pages, locked)	\
	get_user_pages_remote(mm, start, nr, flags, pages, NULL, locked)

struct kunit_action {
	struct kunit_resource resource;
	void (*run)(void *data);
};

static inline void kunit_run_action(struct kunit_resource *resource)
{
	container_of(resource, struct kunit_action, resource)->run(resource->data);
}

/* Calls @run at the end of the test; what was added last comes first. */
static inline int kunit_add_action(struct kunit *test, void (*run)(void *data),
				   void *data)
{
	struct kunit_action *action;

	action = kunit_kzalloc(test, sizeof(*action), GFP_KERNEL);
	if (!action)
		return -ENOMEM;
	action->run = run;
	return kunit_add_resource(test, NULL, kunit_run_action,
				  &action->resource, data);
}

/* Memory in an mm that goes with the test's thread. */
static inline unsigned long
kunit_vm_mmap(struct kunit *test, struct file *file, unsigned long addr,
	      unsigned long len, unsigned long prot, unsigned long flags,
	      unsigned long offset)
{
	struct mm_struct *mm;

	if (!current->mm) {
		mm = mm_alloc();
		KUNIT_ASSERT_NOT_NULL(test, mm);
		mm->task_size = TASK_SIZE;
		arch_pick_mmap_layout(mm,
				      &current->signal->rlim[RLIMIT_STACK]);
		kthread_use_mm(mm);
	}
	return vm_mmap(file, addr, len, prot, flags, offset);
}

#endif /* KUNIT_CASE_SLOW */

#endif /* _XPIN_KUNIT_COMPAT_H */
