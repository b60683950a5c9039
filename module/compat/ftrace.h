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

/* Two entry points had one more parameter. */
#if HAVE_PIN_USER_PAGES_NO_VMAS
#define COMPAT_PAGES_PARAMETERS	struct page **pages
#define compat_pin_user_pages(start, nr_pages, flags, pages, ...) \
	pin_user_pages(start, nr_pages, flags, pages)
#define compat_pin_user_pages_remote(mm, start, nr_pages, flags, pages, \
				     locked, ...) \
	pin_user_pages_remote(mm, start, nr_pages, flags, pages, locked)
#else
#define COMPAT_PAGES_PARAMETERS	struct page **pages, struct vm_area_struct **vmas
#define compat_pin_user_pages	pin_user_pages
#define compat_pin_user_pages_remote(mm, start, nr_pages, flags, pages, \
				     locked, vmas) \
	pin_user_pages_remote(mm, start, nr_pages, flags, pages, vmas, locked)
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
