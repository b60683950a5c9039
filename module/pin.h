/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XPIN_PIN_H
#define _XPIN_PIN_H

#include <linux/mm_types.h>
#include <linux/types.h>

struct file;

/**
 * struct pin_source - where the pages of a claim come from
 * @memfd: a file of tmpfs or hugetlbfs; NULL: the current process's memory
 * @start: offset in @memfd, or address, of the first page; page aligned
 */
struct pin_source {
	struct file *memfd;
	unsigned long start;
};

int pin_pages(const struct pin_source *source, unsigned long first,
	      unsigned int nr_pages, struct page **pages, unsigned long *at);
int pin_memfd_check(struct file *memfd, u64 start, unsigned long nr_pages);
struct folio *pin_peek(const struct pin_source *source, unsigned long index,
		       bool write);
int pin_interrupted(void);
bool pin_folio_ownable(struct folio *folio);

#endif /* _XPIN_PIN_H */
