// SPDX-License-Identifier: GPL-2.0
/*
 * Getting at pages by the kernel's public means: pin them for long, look at
 * them without a fault, say which of them can be owned. Knows no owners.
 */
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <uapi/linux/fcntl.h>

#include "compat/compat.h"
#include "pin.h"

/**
 * pin_interrupted() - what a wait returns that signal_pending() ended
 *
 * On the way to user mode a handler's signal becomes -EINTR; the call starts
 * again after what only looks like a signal, such as the freezer, and after task
 * work, of io_uring for one.
 *
 * Context: process context.
 * Return: -ERESTARTNOHAND or -ERESTARTNOINTR.
 */
int pin_interrupted(void)
{
	return task_sigpending(current) ? -ERESTARTNOHAND : -ERESTARTNOINTR;
}

/**
 * pin_folio_ownable() - is it memory that can be owned?
 * @folio: to which the caller has a reference
 *
 * Context: any.
 * Return: whether it is anonymous, of tmpfs or of hugetlbfs.
 */
bool pin_folio_ownable(struct folio *folio)
{
	struct address_space *mapping;
	bool ret;

	if (folio_is_zone_device(folio))
		return false;
	if (folio_test_anon(folio) || folio_test_hugetlb(folio))
		return true;
	/*
	 * A pin does not keep the file: it may be truncated, and its inode
	 * goes after a grace period.
	 */
	rcu_read_lock();
	mapping = folio_mapping(folio);
	ret = mapping && shmem_mapping(mapping);
	rcu_read_unlock();
	return ret;
}

/*
 * Why GUP could not reach the page at @addr: a hole, the wrong memory, or memory
 * that failed? GUP-fast can't be asked to tell that. 0: it is there by now. Before
 * 6.3 a long-term pin does not wait for a fault that user space handles; this does.
 */
static int why_fault(unsigned long addr)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	int ret = -EFAULT;
	struct page *page;

	addr = untagged_addr(addr);
	mmap_read_lock(mm);
	vma = find_vma(mm, addr);
	if (vma && vma->vm_start <= addr &&
	    (vma->vm_flags & (VM_IO | VM_PFNMAP) ||
	     (vma->vm_file && vma->vm_flags & VM_MAYSHARE &&
	      !shmem_file(vma->vm_file) && !is_vm_hugetlb_page(vma))))
		ret = -EOPNOTSUPP;
	mmap_read_unlock(mm);
	if (ret == -EOPNOTSUPP)
		return ret;

	ret = pin_user_pages_unlocked(addr, 1, &page, FOLL_WRITE | FOLL_HWPOISON);
	if (ret == 1) {
		unpin_user_page(page);
		return 0;
	}
	return ret == -EHWPOISON ? ret : -EFAULT;
}

static int pin_user_memory(unsigned long start, unsigned int nr_pages,
			   struct page **pages, unsigned int *pinned)
{
	unsigned int i, missed = nr_pages;
	int ret;

again:
	do {
		ret = pin_user_pages_fast(start + *pinned * PAGE_SIZE,
					  nr_pages - *pinned,
					  FOLL_WRITE | FOLL_LONGTERM,
					  pages + *pinned);
		if (ret > 0)
			*pinned += ret;
	} while (ret > 0 && *pinned < nr_pages);

	for (i = 0; ret > 0 && i < nr_pages; i++) {
		if (i && page_folio(pages[i]) == page_folio(pages[i - 1]))
			continue;
		if (!pin_folio_ownable(page_folio(pages[i])))
			ret = -EOPNOTSUPP;
	}
	if (ret > 0)
		return 0;
	/* Killed while it waited for the mmap_lock. */
	if (ret == -EAGAIN)
		return -EINTR;
	if (ret && ret != -EFAULT)
		return ret;
	ret = why_fault(start + *pinned * PAGE_SIZE);
	if (ret)
		return ret;
	/* Once for each page: it may go as often as user space likes. */
	if (missed == *pinned)
		return -EFAULT;
	missed = *pinned;
	goto again;
}

/*
 * The seals of a memfd, and in @pages how many pages it has, holes not counted.
 * NULL when the file can't be a memfd.
 */
static const unsigned int *memfd_seals(struct file *memfd,
				       unsigned long *pages)
{
	struct address_space *mapping = memfd->f_mapping;

	if (shmem_mapping(mapping)) {
		*pages = READ_ONCE(SHMEM_I(mapping->host)->alloced);
		return &SHMEM_I(mapping->host)->seals;
	}
#ifdef CONFIG_HUGETLBFS
	if (is_file_hugepages(memfd)) {
		*pages = READ_ONCE(mapping->nrpages);
		return &HUGETLBFS_I(mapping->host)->seals;
	}
#endif
	return NULL;
}

/**
 * pin_memfd_check() - may pages of a file be pinned?
 * @memfd: the file
 * @start: offset of the first page
 * @nr_pages: how many; the range does not wrap around
 *
 * Context: any. The answer holds as long as the file's inode is locked.
 * Return: 0, -EBADF, -EOPNOTSUPP, -EPERM, -EINVAL or, when there must be holes
 * among them, -EFAULT, as xpin_pin_memfd().
 */
int pin_memfd_check(struct file *memfd, u64 start, unsigned long nr_pages)
{
	const unsigned int *seals;
	unsigned long pages;

	if (!HAVE_MEMFD_PIN_FOLIOS)
		return -EOPNOTSUPP;
	if (!(memfd->f_mode & FMODE_WRITE))
		return -EBADF;
	seals = memfd_seals(memfd, &pages);
	if (!seals)
		return -EOPNOTSUPP;
	if (*seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return -EPERM;
	if (start + nr_pages * PAGE_SIZE > i_size_read(memfd->f_mapping->host))
		return -EINVAL;
	return nr_pages > pages ? -EFAULT : 0;
}

/*
 * Have the page at @index in memory and its content valid, as a fault would: it
 * may be swapped out, or allocated by fallocate() and not cleared yet.
 */
static int memfd_read(struct file *memfd, pgoff_t index)
{
	struct address_space *mapping = memfd->f_mapping;
	struct folio *folio;
	bool hole, poisoned;

	/* The inode is locked: a page that is there now can't be punched out. */
	rcu_read_lock();
	hole = !xa_load(&mapping->i_pages, index);
	rcu_read_unlock();
	if (hole)
		return -EFAULT;
	if (is_file_hugepages(memfd))
		folio = filemap_get_folio(mapping, index);
	else
		folio = shmem_read_folio(mapping, index);
	/* What could not be swapped in is lost. */
	if (IS_ERR(folio))
		return folio == ERR_PTR(-EIO) ? -EHWPOISON : PTR_ERR(folio);
	/*
	 * memfd_pin_folios() does not look, and would try to migrate it without
	 * end, as it does when the page is poisoned after this.
	 */
	poisoned = is_page_hwpoison(folio_file_page(folio, index));
	folio_put(folio);
	return poisoned ? -EHWPOISON : 0;
}

static int pin_memfd_page(struct file *memfd, loff_t pos, struct page **page)
{
	struct folio *folio;
	bool replaced;
	pgoff_t offset;
	long ret;

	do {
		ret = memfd_read(memfd, pos >> PAGE_SHIFT);
		if (ret)
			return ret;
		ret = memfd_pin_folios(memfd, pos, pos, &folio, 1, &offset);
		if (ret < 0)
			return ret;
		/*
		 * Whoever migrates, collapses or swaps out a folio looks at its
		 * count under its lock, and may have done so before the pin.
		 * With the lock taken after the pin they are through, or will
		 * see it. tests/e2e/moving.c
		 */
		if (folio_lock_killable(folio)) {
			unpin_folio(folio);
			return -EINTR;
		}
		replaced = folio->mapping != memfd->f_mapping;
		folio_unlock(folio);
		if (replaced)
			unpin_folio(folio);
		if (replaced && fatal_signal_pending(current))
			return -EINTR;
	} while (replaced);
	*page = folio_page(folio, offset >> PAGE_SHIFT);
	return 0;
}

/*
 * memfd_pin_folios() takes one pin of each folio. Asked for one page at a time
 * it takes one for each page, as GUP does, so parts can be released as usual.
 */
static int pin_memfd(struct file *memfd, loff_t start, unsigned int nr_pages,
		     struct page **pages, unsigned int *pinned)
{
	struct inode *inode = memfd->f_mapping->host;
	int ret;

	/* Against truncation, hole punching and new seals. */
	if (down_read_interruptible(&inode->i_rwsem))
		return pin_interrupted();
	ret = pin_memfd_check(memfd, start, nr_pages);
	while (!ret && *pinned < nr_pages) {
		ret = pin_memfd_page(memfd,
				     start + (loff_t)*pinned * PAGE_SIZE,
				     pages + *pinned);
		if (!ret)
			++*pinned;
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	inode_unlock_shared(inode);
	return ret;
}

/**
 * pin_pages() - pin part of a source for writing and for long, all or nothing
 * @source: from where
 * @first: index of the first page in @source
 * @nr_pages: how many pages
 * @pages: out: the pages
 * @at: out: on error the index in @pages of the page that could not be pinned
 *
 * Context: may sleep, also in page faults; takes the mmap_lock, or the lock of
 * the file's inode.
 * Return: 0; -EFAULT when there is nothing at an address or offset;
 * -EOPNOTSUPP when it is memory that can't be owned; -EHWPOISON when it failed;
 * -EBADF, -EPERM and -EINVAL for a file that is not open for writing, is sealed,
 * or ends before; -EINTR when killed; as pin_interrupted() at a signal; what GUP
 * says.
 */
int pin_pages(const struct pin_source *source, unsigned long first,
	      unsigned int nr_pages, struct page **pages, unsigned long *at)
{
	unsigned int pinned = 0;
	int ret;

	if (source->memfd)
		ret = pin_memfd(source->memfd,
				source->start + (loff_t)first * PAGE_SIZE,
				nr_pages, pages, &pinned);
	else
		ret = pin_user_memory(source->start + first * PAGE_SIZE,
				      nr_pages, pages, &pinned);
	if (ret)
		unpin_user_pages(pages, pinned);
	*at = pinned;
	return ret;
}

/*
 * May memory at @addr be accessed like that, and is it not hugetlb? A moment later
 * it may be something else.
 */
static bool can_look(unsigned long addr, bool write)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	bool ret;

	mmap_read_lock(mm);
	vma = find_vma(mm, addr);
	ret = vma && vma->vm_start <= addr && !is_vm_hugetlb_page(vma) &&
	      vma->vm_flags & (write ? VM_WRITE : VM_READ);
	mmap_read_unlock(mm);
	return ret;
}

/**
 * pin_peek() - look at what is there, without a pin and without a fault
 * @source: where
 * @index: of the page in @source
 * @write: only at what could be written to without a fault
 *
 * Context: may sleep.
 * Return: the page's folio, to be given back by folio_put(), or NULL.
 */
struct folio *pin_peek(const struct pin_source *source, unsigned long index,
		       bool write)
{
	unsigned long addr = source->start + index * PAGE_SIZE;
	unsigned int flags = write ? FOLL_WRITE : 0;
	struct folio *folio;
	struct page *page;

	if (source->memfd) {
		folio = filemap_get_folio(source->memfd->f_mapping,
					  (source->start >> PAGE_SHIFT) + index);
		return IS_ERR(folio) ? NULL : folio;
	}
	if (get_user_pages_fast_only(addr, 1, flags, &page) == 1)
		return page_folio(page);
	/*
	 * Where hugetlb memory has a walk of its own, that faults in all the same.
	 * What NUMA balancing wants to see a fault of is there, but older kernels
	 * say so with FOLL_FORCE only: it goes no further than this here.
	 */
	if (!can_look(untagged_addr(addr), write) ||
	    get_user_pages_fast(addr, 1, flags | FOLL_NOFAULT | FOLL_FORCE,
				&page) != 1)
		return NULL;
	return page_folio(page);
}
