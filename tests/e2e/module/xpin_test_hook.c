// SPDX-License-Identifier: GPL-2.0
/*
 * For tests: somebody else who may redirect one of GUP's entry points, as a live
 * patch does. Loaded, it has pin_user_pages_fast() hooked, and changes nothing.
 */
#include <linux/ftrace.h>
#include <linux/mm.h>
#include <linux/module.h>

static void notrace nothing(unsigned long ip, unsigned long parent_ip,
			    struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
}

static struct ftrace_ops ops = {
	.func = nothing,
	.flags = FTRACE_OPS_FL_IPMODIFY,
};

static int __init test_hook_init(void)
{
	int ret = ftrace_set_filter_ip(&ops, (unsigned long)pin_user_pages_fast,
				       0, 1);

	return ret ?: register_ftrace_function(&ops);
}

static void __exit test_hook_exit(void)
{
	unregister_ftrace_function(&ops);
	ftrace_free_filter(&ops);
}

module_init(test_hook_init);
module_exit(test_hook_exit);

MODULE_DESCRIPTION("Another user of ftrace's IPMODIFY for xpin's tests");
MODULE_LICENSE("GPL");
