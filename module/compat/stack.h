/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The stack of a task that does not run, and whether all of it was read: what
 * livepatch has in stack_trace_save_tsk_reliable(), which modules can't call.
 */
#ifndef _XPIN_COMPAT_STACK_H
#define _XPIN_COMPAT_STACK_H

#include <linux/kallsyms.h>
#include <linux/sched.h>
#include <linux/string.h>
#ifdef CONFIG_UNWINDER_ORC
#include <asm/unwind.h>
#else
#include <linux/stacktrace.h>
#endif

/* Frames that are read. */
#define COMPAT_FRAMES	128

/**
 * struct compat_frames - where a task is
 * @user: the frames lead to user space, by the registers that ORC finds there
 * @nr: entries in @addr
 * @addr: return addresses, from the innermost frame on
 */
struct compat_frames {
	bool user;
	unsigned int nr;
	unsigned long addr[COMPAT_FRAMES];
};

static inline bool compat_is_named(unsigned long addr, const char *beginning)
{
	char name[KSYM_SYMBOL_LEN];

	sprint_symbol_no_offset(name, addr);
	return str_has_prefix(name, beginning);
}

#ifdef CONFIG_UNWINDER_ORC

static inline void compat_read_frames(struct compat_frames *frames,
				      struct task_struct *task)
{
	struct unwind_state state;
	struct pt_regs *regs;

	frames->nr = 0;
	frames->user = false;
#ifdef CONFIG_RETHOOK
	/*
	 * Of a task about to run, the unwinder does not tell where a function
	 * returns to that has a kretprobe; 6.1's warns if it is asked.
	 */
	if (task_is_running(task) && !llist_empty(&task->rethooks))
		return;
#endif
	for (unwind_start(&state, task, NULL, NULL);
	     !unwind_done(&state) && !unwind_error(&state) &&
	     frames->nr < COMPAT_FRAMES; unwind_next_frame(&state)) {
		regs = unwind_get_entry_regs(&state, NULL);
		frames->user = regs && user_mode(regs);
		if (frames->user)
			return;
		frames->addr[frames->nr++] = unwind_get_return_address(&state);
	}
}

/*
 * An unwinder that does not know some code ends there, as if that were the end,
 * on 6.1 without a word.
 */
static inline bool compat_frames_are_whole(const struct compat_frames *frames)
{
	return frames->user ||
	       (frames->nr && compat_is_named(frames->addr[frames->nr - 1],
					      "ret_from_fork"));
}

#else /* arm64 */

static inline void compat_read_frames(struct compat_frames *frames,
				      struct task_struct *task)
{
	frames->user = false;
	frames->nr = stack_trace_save_tsk(task, frames->addr, COMPAT_FRAMES, 0);
}

/*
 * A function that calls another has made a frame record before, and so has all
 * that leads to a task asleep. Not so what an exception interrupts: it may hold
 * its return address in a register, where the unwinder does not look, and its
 * caller is then missing. An access to user memory that faults is one, too.
 */
static inline bool compat_frames_are_whole(const struct compat_frames *frames)
{
	unsigned long end;
	unsigned int i;

	if (!frames->nr)
		return false;
	end = frames->addr[frames->nr - 1];
	/* The entries from user space. */
	if (!compat_is_named(end, "el0t_") &&
	    !compat_is_named(end, "ret_from_fork"))
		return false;
	/* Those from the kernel. */
	for (i = 0; i < frames->nr; i++)
		if (compat_is_named(frames->addr[i], "el1h_"))
			return false;
	return true;
}

#endif
#endif /* _XPIN_COMPAT_STACK_H */
