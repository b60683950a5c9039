/* SPDX-License-Identifier: GPL-2.0 */
/* What hooking the entry points of GUP takes, as it was on older kernels. */
#ifndef _XPIN_COMPAT_FTRACE_H
#define _XPIN_COMPAT_FTRACE_H

#include <linux/ftrace.h>
#include <linux/module.h>

#include "probed.h"

#if !HAVE_FTRACE_REGS_SET_INSTRUCTION_POINTER
#define ftrace_regs_set_instruction_pointer	ftrace_instruction_pointer_set
#endif

/* Where the module's code is. */
static inline void *compat_module_text(const struct module *module,
				       unsigned long *size)
{
#if HAVE_MODULE_MEM
	*size = module->mem[MOD_TEXT].size;
	return module->mem[MOD_TEXT].base;
#else
	*size = module->core_layout.text_size;
	return module->core_layout.base;
#endif
}

#endif /* _XPIN_COMPAT_FTRACE_H */
