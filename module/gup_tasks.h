/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XPIN_GUP_TASKS_H
#define _XPIN_GUP_TASKS_H

#include <linux/sched.h>
#include <linux/types.h>

/**
 * struct gup_task - a task that a wait was in vain for
 * @pid: as in the initial PID namespace; 0: there is none
 * @comm: its name
 */
struct gup_task {
	pid_t pid;
	char comm[TASK_COMM_LEN];
};

int gup_tasks_wait(unsigned int timeout_ms, struct gup_task *stuck);

#endif /* _XPIN_GUP_TASKS_H */
