// SPDX-License-Identifier: GPL-2.0
/* Claims of a memfd that nobody maps. */
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <uapi/linux/falloc.h>
#include <uapi/linux/fcntl.h>

#include "common.h"

#define NR	600	/* Two chunks, the last one not full. */
#define HOLE	550	/* A page of the second one that is not there. */

struct fixture {
	struct xpin_owner *owner;
	struct file *memfd;
	struct page **pages;
	long pins;
};

static void allocate(struct kunit *test, struct file *memfd,
		     unsigned long first, unsigned long nr)
{
	KUNIT_ASSERT_EQ(test, 0,
			vfs_fallocate(memfd, 0, first * PAGE_SIZE,
				      nr * PAGE_SIZE));
}

static int memfd_test_init(struct kunit *test)
{
	struct fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, f);
	test->priv = f;
	f->pages = kunit_kcalloc(test, NR, sizeof(*f->pages), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, f->pages);
	/* An owner needs an mm. */
	map_anon(test, 1);
	f->owner = make_owner(test, 0);
	f->memfd = make_memfd(test, NR);
	allocate(test, f->memfd, 0, HOLE);
	allocate(test, f->memfd, HOLE + 1, NR - HOLE - 1);
	f->pins = pins_outstanding();
	return 0;
}

/* R4, R7: whatever a test did, nothing is pinned or owned at its end. */
static void memfd_test_exit(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, f->pins, pins_outstanding());
	KUNIT_EXPECT_EQ(test, 0, registry_entries());
	xpin_owner_destroy(f->owner);
}

static int claim(struct fixture *f, unsigned long first, unsigned long nr,
		 u64 timeout_ns, unsigned long *busy)
{
	return xpin_pin_memfd(f->owner, f->memfd, first * PAGE_SIZE, nr,
			      f->pages + first, &timeout_ns, busy);
}

/* What a stranger's memfd_pin_folios() of a page returns; @folio if it is 1. */
static long stranger(struct fixture *f, unsigned long index,
		     struct folio **folio)
{
	pgoff_t offset;

	return memfd_pin_folios(f->memfd, index * PAGE_SIZE,
				(index + 1) * PAGE_SIZE - 1, folio, 1, &offset);
}

static void expect_memfd_free(struct kunit *test, unsigned long index)
{
	struct folio *folio;

	KUNIT_ASSERT_EQ(test, 1, stranger(test->priv, index, &folio));
	KUNIT_EXPECT_EQ(test, 1, folio_pins(folio));
	unpin_folio(folio);
}

static void claim_and_release(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct xpin_entry entry;
	struct folio *folio;
	unsigned long busy = 0, i;

	skip_without_memfd_pins(test);
	allocate(test, f->memfd, HOLE, 1);
	KUNIT_ASSERT_EQ(test, 0, claim(f, 0, NR, 0, &busy));
	KUNIT_EXPECT_EQ(test, ULONG_MAX, busy);
	KUNIT_EXPECT_EQ(test, NR, registry_entries());
	for (i = 0; i < NR; i++) {
		KUNIT_ASSERT_TRUE(test, entry_of(f->pages[i], &entry));
		KUNIT_EXPECT_EQ(test, XPIN_OWNED, entry.state);
		KUNIT_EXPECT_EQ(test, i, page_folio(f->pages[i])->index);
	}
	KUNIT_EXPECT_EQ(test, -EBUSY, stranger(f, 0, &folio));
	KUNIT_EXPECT_EQ(test, -EBUSY, stranger(f, NR - 1, &folio));

	xpin_unpin_pages(f->owner, f->pages, 300);
	expect_memfd_free(test, 299);
	KUNIT_EXPECT_EQ(test, -EBUSY, stranger(f, 300, &folio));
	xpin_unpin_pages(f->owner, f->pages + 300, NR - 300);
	expect_memfd_free(test, 300);
}

/* R5: what was claimed before the hole is not, and the hole is still one. */
static void holes_are_not_filled(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long busy;

	skip_without_memfd_pins(test);
	KUNIT_EXPECT_EQ(test, -EFAULT, claim(f, 0, NR, 0, &busy));
	KUNIT_EXPECT_EQ(test, ULONG_MAX, busy);
	KUNIT_EXPECT_NULL(test, xa_load(&f->memfd->f_mapping->i_pages, HOLE));
	expect_memfd_free(test, 0);
	expect_memfd_free(test, HOLE - 1);
}

/* As after a fault: a page that fallocate() did not clear yet is valid now. */
static void pages_are_cleared(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct folio *folio;
	unsigned long busy;

	skip_without_memfd_pins(test);
	folio = filemap_get_folio(f->memfd->f_mapping, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(folio));
	KUNIT_EXPECT_FALSE(test, folio_test_uptodate(folio));
	KUNIT_EXPECT_EQ(test, 0, claim(f, 0, 1, 0, &busy));
	KUNIT_EXPECT_TRUE(test, folio_test_uptodate(folio));
	folio_put(folio);
	xpin_unpin_pages(f->owner, f->pages, 1);
}

static void foreign_pin_is_busy(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct folio *folio;
	unsigned long busy;

	skip_without_memfd_pins(test);
	KUNIT_ASSERT_EQ(test, 1, stranger(f, 530, &folio));
	KUNIT_EXPECT_EQ(test, -EBUSY, claim(f, 10, HOLE - 10, 0, &busy));
	KUNIT_EXPECT_EQ(test, 520, busy);
	expect_memfd_free(test, 10);
	unpin_folio(folio);
	KUNIT_EXPECT_EQ(test, 0, claim(f, 10, HOLE - 10, 0, &busy));
	xpin_unpin_pages(f->owner, f->pages + 10, HOLE - 10);
}

static void claim_waits_for_foreign_pins(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct pin_dropper dropper;
	struct folio *folio;
	unsigned long busy;

	skip_without_memfd_pins(test);
	KUNIT_ASSERT_EQ(test, 1, stranger(f, 5, &folio));
	pin_dropper_start(&dropper, folio_page(folio, 0));
	KUNIT_EXPECT_EQ(test, 0, claim(f, 0, 10, WAIT_NS, &busy));
	pin_dropper_finish(test, &dropper);
	xpin_unpin_pages(f->owner, f->pages, 10);
}

static void wrong_files(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned int *seals = &SHMEM_I(file_inode(f->memfd))->seals;
	const unsigned int before = *seals;
	unsigned long busy;

	if (!HAVE_MEMFD_PIN_FOLIOS) {
		KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, claim(f, 0, 1, 0, &busy));
		return;
	}

	*seals = before | F_SEAL_WRITE;
	KUNIT_EXPECT_EQ(test, -EPERM, claim(f, 0, 1, 0, &busy));
	*seals = before | F_SEAL_FUTURE_WRITE;
	KUNIT_EXPECT_EQ(test, -EPERM, claim(f, 0, 1, 0, &busy));
	/* These don't keep anybody from writing what is there. */
	*seals = before | F_SEAL_SHRINK | F_SEAL_GROW;
	KUNIT_EXPECT_EQ(test, 0, claim(f, 0, 1, 0, &busy));
	xpin_unpin_pages(f->owner, f->pages, 1);
	*seals = before;

	f->memfd->f_mode &= ~FMODE_WRITE;
	KUNIT_EXPECT_EQ(test, -EBADF, claim(f, 0, 1, 0, &busy));
	f->memfd->f_mode |= FMODE_WRITE;
}

static void wrong_ranges(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long busy;

	skip_without_memfd_pins(test);
	KUNIT_EXPECT_EQ(test, -EINVAL, claim(f, NR - 1, 2, 0, &busy));
	KUNIT_EXPECT_EQ(test, -EINVAL, claim(f, NR, 1, 0, &busy));
	KUNIT_EXPECT_EQ(test, -EINVAL, claim(f, 0, 0, 0, &busy));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			xpin_pin_memfd(f->owner, f->memfd, 1, 1, f->pages,
				       NULL, NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			xpin_pin_memfd(f->owner, f->memfd, -PAGE_SIZE, 1,
				       f->pages, NULL, NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			xpin_pin_memfd(f->owner, f->memfd,
				       LLONG_MAX & PAGE_MASK, 1, f->pages,
				       NULL, NULL));
}

static struct kunit_case memfd_cases[] = {
	KUNIT_CASE(claim_and_release),
	KUNIT_CASE(holes_are_not_filled),
	KUNIT_CASE(pages_are_cleared),
	KUNIT_CASE(foreign_pin_is_busy),
	KUNIT_CASE(claim_waits_for_foreign_pins),
	KUNIT_CASE(wrong_files),
	KUNIT_CASE(wrong_ranges),
	{}
};

static struct kunit_suite memfd_suite = {
	.name = "xpin_memfd",
	.init = memfd_test_init,
	.exit = memfd_test_exit,
	.test_cases = memfd_cases,
};

kunit_test_suite(memfd_suite);
