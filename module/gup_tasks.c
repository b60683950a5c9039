// SPDX-License-Identifier: GPL-2.0
/*
 * Which tasks are inside GUP? Looks at their stacks, as a live patch does before
 * it goes on. Knows no folios and no owners.
 *
 * A call of GUP may sleep for as long as a page fault takes, and that is as long
 * as user space likes (userfaultfd, FUSE). RCU in none of its kinds waits for it:
 * to sleep is a quiescent state of RCU tasks.
 *
 * A stack holds still, and does not go away, while its task neither runs nor can
 * begin to. Live patches hold a lock of the scheduler for that, which modules
 * can't. So all processors are stopped for the moment that it takes to read the
 * return addresses of a few tasks; what they mean is looked up afterwards.
 */
#include <linux/jiffies.h>
#include <linux/kallsyms.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/stop_machine.h>
#include <linux/string.h>

#include "compat/gup_functions.h"
#include "compat/stack.h"
#include "gup_tasks.h"

/* Stacks that are read in one stop. */
#define STACKS		64
/* The longest pause before those that are left are looked at again, in jiffies. */
#define PAUSE_MAX	(HZ / 10)

static bool is_gup(unsigned long addr)
{
	char name[KSYM_SYMBOL_LEN];
	unsigned int i;

	sprint_symbol_no_offset(name, addr);
	for (i = 0; i < ARRAY_SIZE(gup_functions); i++)
		if (str_has_prefix(name, gup_functions[i]))
			return true;
	return false;
}

/**
 * struct stack - where a task is
 * @task: which
 * @gone: it has ended, or is a stopper thread
 * @frames: where, if it has not
 */
struct stack {
	struct task_struct *task;
	bool gone;
	struct compat_frames frames;
};

/**
 * struct stacks - that are read in one stop
 * @nr: entries in @stack
 * @stack: them
 */
struct stacks {
	unsigned int nr;
	struct stack stack[STACKS];
};

static void read_stack(struct stack *stack)
{
	/* Nothing runs but stopper threads. */
	stack->gone = !refcount_read(&stack->task->stack_refcount) ||
		      READ_ONCE(stack->task->on_cpu);
	if (!stack->gone)
		compat_read_frames(&stack->frames, stack->task);
}

/* All processors are stopped in their stopper threads. */
static int read_stacks(void *arg)
{
	struct stacks *stacks = arg;
	unsigned int i;

	for (i = 0; i < stacks->nr; i++)
		read_stack(&stacks->stack[i]);
	return 0;
}

/* Is the task outside of GUP for certain, or in a call that this module made? */
static bool is_outside(const struct stack *stack)
{
	const struct compat_frames *frames = &stack->frames;
	bool outside = true;
	unsigned int i;

	if (stack->gone)
		return true;
	for (i = 0; i < frames->nr; i++) {
		if (within_module(frames->addr[i], THIS_MODULE))
			outside = true;
		else if (is_gup(frames->addr[i]))
			outside = false;
	}
	return outside && compat_frames_are_whole(frames);
}

/**
 * struct tasks - that are still to be seen outside of GUP
 * @nr: entries in @task
 * @room: for so many
 * @task: them, with a reference to each
 */
struct tasks {
	unsigned long nr;
	unsigned long room;
	struct task_struct **task;
};

static void forget_tasks(struct tasks *tasks)
{
	while (tasks->nr)
		put_task_struct(tasks->task[--tasks->nr]);
	kvfree(tasks->task);
}

/* All there are. Returns false, with nothing to forget, without memory for them. */
static bool get_tasks(struct tasks *tasks)
{
	struct task_struct *group, *task;
	unsigned long nr = 256;

	do {
		*tasks = (struct tasks){ .room = nr + nr / 8 };
		tasks->task = kvmalloc_array(tasks->room, sizeof(*tasks->task),
					     GFP_KERNEL);
		if (!tasks->task)
			return false;
		nr = 0;
		rcu_read_lock();
		for_each_process_thread(group, task) {
			if (nr++ < tasks->room) {
				get_task_struct(task);
				tasks->task[tasks->nr++] = task;
			}
		}
		rcu_read_unlock();
		if (nr > tasks->room)
			forget_tasks(tasks);
	} while (nr > tasks->room);
	return true;
}

/* Look once at each of @tasks and forget those that are outside. */
static void look_at(struct tasks *tasks, struct stacks *stacks)
{
	unsigned long done, left = 0;
	unsigned int i;

	for (done = 0; done < tasks->nr; done += stacks->nr) {
		stacks->nr = min_t(unsigned long, tasks->nr - done, STACKS);
		for (i = 0; i < stacks->nr; i++)
			stacks->stack[i].task = tasks->task[done + i];
		stop_machine(read_stacks, stacks, NULL);
		for (i = 0; i < stacks->nr; i++) {
			if (is_outside(&stacks->stack[i]))
				put_task_struct(stacks->stack[i].task);
			else
				tasks->task[left++] = stacks->stack[i].task;
		}
		cond_resched();
	}
	tasks->nr = left;
}

/**
 * gup_tasks_wait() - wait until every task has been seen outside of GUP
 * @timeout_ms: how long at most, in milliseconds
 * @stuck: out: with -EBUSY, one that was not
 *
 * New tasks are outside. So whoever is inside of GUP afterwards has entered it
 * since this was called; and what was pinned before can be seen in the folio's
 * count, since stopping orders as a full barrier does.
 *
 * Context: process context; may sleep.
 * Return: 0; -EBUSY when the time is over, or at a signal; -ENOMEM.
 */
int gup_tasks_wait(unsigned int timeout_ms, struct gup_task *stuck)
{
	unsigned long end = jiffies + msecs_to_jiffies(timeout_ms);
	struct stacks *stacks;
	struct tasks tasks;
	long pause = 1;
	int ret = 0;

	stacks = kvmalloc(sizeof(*stacks), GFP_KERNEL);
	if (!stacks)
		return -ENOMEM;
	if (!get_tasks(&tasks)) {
		ret = -ENOMEM;
		goto free;
	}
	look_at(&tasks, stacks);
	while (tasks.nr) {
		schedule_timeout_interruptible(pause);
		pause = min_t(long, 2 * pause, PAUSE_MAX);
		look_at(&tasks, stacks);
		if (tasks.nr && (time_after(jiffies, end) ||
				 signal_pending(current))) {
			stuck->pid = task_pid_nr(tasks.task[0]);
			strscpy(stuck->comm, tasks.task[0]->comm,
				sizeof(stuck->comm));
			ret = -EBUSY;
			break;
		}
	}
	forget_tasks(&tasks);
free:
	kvfree(stacks);
	return ret;
}
