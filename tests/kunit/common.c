// SPDX-License-Identifier: GPL-2.0
/* What the suites share: memory, owners, strangers. */
#include <linux/file.h>
#include <linux/mman.h>
#include <linux/mmzone.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/shmem_fs.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>

#include "backend.h"
#include "common.h"

/* Memory in an mm of the test's own. */
unsigned long map_anon(struct kunit *test, unsigned long nr_pages)
{
	unsigned long addr = kunit_vm_mmap(test, NULL, 0, nr_pages * PAGE_SIZE,
					   PROT_READ | PROT_WRITE,
					   MAP_ANONYMOUS | MAP_PRIVATE, 0);

	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr) || !addr);
	return addr;
}

static void put_file(void *file)
{
	fput(file);
}

struct file *make_memfd(struct kunit *test, unsigned long nr_pages)
{
	struct file *file = shmem_file_setup("xpin_kunit", nr_pages * PAGE_SIZE,
					     EMPTY_VMA_FLAGS);

	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, put_file, file));
	return file;
}

/* The test destroys it. The memory must have been mapped before. */
struct xpin_owner *make_owner(struct kunit *test, unsigned int flags)
{
	struct xpin_owner *owner = xpin_owner_create(flags);

	KUNIT_ASSERT_FALSE(test, IS_ERR(owner));
	return owner;
}

/* A pin by anybody but an owner; it must be granted. */
struct page *stranger_pin(struct kunit *test, unsigned long addr)
{
	struct page *page = NULL;

	KUNIT_ASSERT_EQ(test, 1, pin_user_pages_fast(addr, 1,
						     FOLL_WRITE | FOLL_LONGTERM,
						     &page));
	return page;
}

/* A stranger is refused, and no count is different afterwards. */
void expect_refused(struct kunit *test, unsigned long addr)
{
	struct page *page;
	long pins, refs;
	long before;

	KUNIT_ASSERT_EQ(test, 1, get_user_pages_fast(addr, 1, 0, &page));
	pins = folio_pins(page_folio(page));
	refs = page_ref_count(page);
	before = pins_outstanding();
	KUNIT_EXPECT_EQ(test, -EBUSY,
			pin_user_pages_fast(addr, 1, FOLL_WRITE, &page));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			pin_user_pages_unlocked(addr, 1, &page, 0));
	KUNIT_EXPECT_EQ(test, pins, (long)folio_pins(page_folio(page)));
	KUNIT_EXPECT_EQ(test, refs, (long)page_ref_count(page));
	KUNIT_EXPECT_EQ(test, before, pins_outstanding());
	put_page(page);
}

/* A stranger is let in, and nobody else pins the page. */
void expect_free(struct kunit *test, unsigned long addr)
{
	struct page *page = stranger_pin(test, addr);
	struct xpin_entry entry;

	KUNIT_EXPECT_EQ(test, 1, folio_pins(page_folio(page)));
	KUNIT_EXPECT_FALSE(test, entry_of(page, &entry));
	KUNIT_EXPECT_FALSE(test, filter_has(page));
	unpin_user_page(page);
}

/* A counter, with what processors have not added to it yet: exact when all is quiet. */
static long node_counter(enum node_stat_item item)
{
	long sum = global_node_page_state(item);
	struct pglist_data *pgdat;
	int cpu;

	for_each_online_pgdat(pgdat)
		for_each_possible_cpu(cpu)
			sum += per_cpu_ptr(pgdat->per_cpu_nodestats,
					   cpu)->vm_node_stat_diff[item];
	return sum;
}

/* Pins granted and not given back yet, by everybody. */
long pins_outstanding(void)
{
	return node_counter(NR_FOLL_PIN_ACQUIRED) -
	       node_counter(NR_FOLL_PIN_RELEASED);
}

bool entry_of(struct page *page, struct xpin_entry *entry)
{
	return registry_lookup(folio_pfn(page_folio(page)), entry);
}

bool filter_has(struct page *page)
{
	bool ret;

	rcu_read_lock();
	ret = registry_filter(folio_pfn(page_folio(page)));
	rcu_read_unlock();
	return ret;
}

/* The last release was a while ago: false when it is not even now. */
bool wait_disarmed(void)
{
	unsigned int tries = 1000;

	while (backend_armed() && --tries)
		schedule_timeout_uninterruptible(HZ / 50);
	return tries;
}

static void drop_pin(struct work_struct *work)
{
	struct pin_dropper *dropper = container_of(work, struct pin_dropper,
						   work);
	struct xpin_entry entry;

	/* Ends when the claim is there, or the test sees its -EBUSY. */
	while (!entry_of(dropper->page, &entry) ||
	       entry.state != XPIN_CLAIMING) {
		if (READ_ONCE(dropper->dropped))
			return;
		schedule_timeout_uninterruptible(1);
	}
	/* First, or the claim may be there before. */
	WRITE_ONCE(dropper->dropped, true);
	unpin_user_page(dropper->page);
}

void pin_dropper_start(struct pin_dropper *dropper, struct page *page)
{
	INIT_WORK_ONSTACK(&dropper->work, drop_pin);
	dropper->page = page;
	dropper->dropped = false;
	schedule_work(&dropper->work);
}

void pin_dropper_finish(struct kunit *test, struct pin_dropper *dropper)
{
	bool dropped = READ_ONCE(dropper->dropped);

	KUNIT_EXPECT_TRUE(test, dropped);
	WRITE_ONCE(dropper->dropped, true);
	flush_work(&dropper->work);
	destroy_work_on_stack(&dropper->work);
}
