// SPDX-License-Identifier: GPL-2.0
/* Since 6.2, with CONFIG_DYNAMIC_FTRACE_WITH_ARGS. */
#include <linux/ftrace.h>

void probe(struct ftrace_regs *fregs)
{
	ftrace_regs_set_instruction_pointer(fregs, 0);
}
