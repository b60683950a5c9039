/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XPIN_KUNIT_COMMON_H
#define _XPIN_KUNIT_COMMON_H

#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/xpin.h>

#include "compat.h"
#include "registry.h"

/* Longest wait in a test, for what comes at once unless something is broken. */
#define WAIT_NS		(20ULL * NSEC_PER_SEC)

unsigned long map_anon(struct kunit *test, unsigned long nr_pages);
struct file *make_memfd(struct kunit *test, unsigned long nr_pages);
struct xpin_owner *make_owner(struct kunit *test, unsigned int flags);

struct page *stranger_pin(struct kunit *test, unsigned long addr);
void expect_refused(struct kunit *test, unsigned long addr);
void expect_free(struct kunit *test, unsigned long addr);

long pins_outstanding(void);
bool entry_of(struct page *page, struct xpin_entry *entry);
bool filter_has(struct page *page);
bool wait_disarmed(void);

/**
 * struct pin_dropper - drops a stranger's pin once a claimer is seen waiting
 * @work: does it
 * @page: the page
 * @dropped: it did
 */
struct pin_dropper {
	struct work_struct work;
	struct page *page;
	bool dropped;
};

void pin_dropper_start(struct pin_dropper *dropper, struct page *page);
void pin_dropper_finish(struct kunit *test, struct pin_dropper *dropper);

/* Ends a test that needs a pin of a file's pages which are not mapped. */
#define skip_without_memfd_pins(test) do {				\
	if (!HAVE_MEMFD_PIN_FOLIOS)					\
		kunit_skip(test, "there is no memfd_pin_folios()");	\
} while (0)

#endif /* _XPIN_KUNIT_COMMON_H */
