// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/xpin: decode and check what userspace asks, have claim.c do it, encode
 * the answer. An open file is one owner.
 */
#include <linux/bitmap.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait_bit.h>
#include <linux/xarray.h>
#include <linux/xpin.h>
#include <uapi/linux/xpin.h>

#include "backend.h"
#include "chardev.h"
#include "claim.h"
#include "compat/compat.h"
#include "pin.h"

/* Pages that calls which must not fail work on, on their stack. */
#define PAGES_BATCH	64
/* A range's pages are counted in 32 bits. A claim of 2^28 finds no memory. */
#define CLAIM_PAGES_MAX	U32_MAX

/**
 * struct run - pages of one folio that follow each other
 * @page: the first of them
 * @nr_pages: how many
 */
struct run {
	struct page *page;
	u32 nr_pages;
};

/* Bits of a claim's flags. */
#define CLAIM_LOCKED		0

/**
 * struct claim - what one XPIN_IOC_CLAIM took
 * @ref: the table of claims, and each ioctl at work on it
 * @flags: CLAIM_LOCKED guards the bitmaps and @left; see lock_claim()
 * @addr: where its memory was when it was claimed, in a process or a memfd
 * @of_memfd: which of them
 * @deny_get: it refuses plain references, too
 * @nr_pages: pages in it
 * @left: pages not released yet
 * @shared: bitmap, which pages are shared
 * @released: bitmap, which pages are released
 * @nr_runs: entries in @runs
 * @runs: the pages, in the order of their addresses
 */
struct claim {
	struct kref ref;
	unsigned long flags;
	unsigned long addr;
	bool of_memfd;
	bool deny_get;
	unsigned long nr_pages;
	unsigned long left;
	unsigned long *shared;
	unsigned long *released;
	unsigned long nr_runs;
	struct run runs[];
};

/**
 * struct xpin_file - one open /dev/xpin
 * @owner: who owns what it claims
 * @claims: the claims by their identity
 * @next_id: where the search for a new identity begins, so that an old one is
 *	not soon used again. Guarded by the lock of @claims.
 */
struct xpin_file {
	struct xpin_owner *owner;
	struct xarray claims;
	u32 next_id;
};

static void claim_free(struct kref *ref)
{
	struct claim *claim = container_of(ref, struct claim, ref);

	kvfree(claim->shared);
	kvfree(claim->released);
	kvfree(claim);
}

static void claim_put(struct claim *claim)
{
	kref_put(&claim->ref, claim_free);
}

static struct claim *claim_get(struct xpin_file *file, u64 id)
{
	struct claim *claim = NULL;

	if (id > U32_MAX)
		return NULL;
	xa_lock(&file->claims);
	claim = xa_load(&file->claims, id);
	if (claim)
		kref_get(&claim->ref);
	xa_unlock(&file->claims);
	return claim;
}

/*
 * Held while parts of the claim change hands, which may wait for pins. A bit, as
 * a file may have a great many claims. Whoever waits for it makes way for signals,
 * and the freezer, by starting again, since nothing was done yet.
 */
static int lock_claim(struct claim *claim)
{
	return wait_on_bit_lock(&claim->flags, CLAIM_LOCKED,
				TASK_INTERRUPTIBLE) ? -ERESTARTNOINTR : 0;
}

static void unlock_claim(struct claim *claim)
{
	clear_and_wake_up_bit(CLAIM_LOCKED, &claim->flags);
}

/* --- Pages and runs --- */

static bool run_continues(const struct run *run, struct page *page)
{
	return page_to_pfn(page) == page_to_pfn(run->page) + run->nr_pages &&
	       page_folio(page) == page_folio(run->page);
}

/* Remember @pages as runs: 16 bytes each, and one for all of a huge page. */
static struct claim *claim_alloc(struct page **pages, unsigned long nr_pages)
{
	unsigned long nr_runs = 1, i;
	struct claim *claim;
	struct run *run;

	for (i = 1; i < nr_pages; i++) {
		struct run last = { .page = pages[i - 1], .nr_pages = 1 };

		if (!run_continues(&last, pages[i]))
			nr_runs++;
		cond_resched();
	}

	claim = kvzalloc(struct_size(claim, runs, nr_runs),
			 GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!claim)
		return NULL;
	kref_init(&claim->ref);
	claim->nr_pages = nr_pages;
	claim->left = nr_pages;
	claim->nr_runs = nr_runs;
	claim->shared = kvcalloc(BITS_TO_LONGS(nr_pages), sizeof(long),
				 GFP_KERNEL_ACCOUNT);
	claim->released = kvcalloc(BITS_TO_LONGS(nr_pages), sizeof(long),
				   GFP_KERNEL_ACCOUNT);
	if (!claim->shared || !claim->released) {
		claim_put(claim);
		return NULL;
	}

	run = claim->runs;
	for (i = 0; i < nr_pages; i++) {
		if (run->nr_pages && !run_continues(run, pages[i]))
			run++;
		if (!run->nr_pages)
			run->page = pages[i];
		run->nr_pages++;
		cond_resched();
	}
	return claim;
}

static unsigned long claim_folios(const struct claim *claim)
{
	unsigned long i, nr = 1;

	for (i = 1; i < claim->nr_runs; i++) {
		nr += page_folio(claim->runs[i].page) !=
		      page_folio(claim->runs[i - 1].page);
		cond_resched();
	}
	return nr;
}

/**
 * struct cursor - a place in a claim, moving on page by page
 * @claim: the claim
 * @run: the run it is in
 * @before: pages before that run
 */
struct cursor {
	const struct claim *claim;
	unsigned long run;
	unsigned long before;
};

/* The page at @index, which must not be lower than last time. */
static struct page *cursor_page(struct cursor *at, unsigned long index)
{
	const struct run *run = &at->claim->runs[at->run];

	while (index - at->before >= run->nr_pages) {
		at->before += run->nr_pages;
		run++;
		at->run++;
	}
	return pfn_to_page(page_to_pfn(run->page) + index - at->before);
}

/* --- Release, share, unshare. The claim's lock is held. --- */

static void release_part(struct xpin_file *file, struct claim *claim,
			 unsigned long first, unsigned long end)
{
	struct cursor at = { .claim = claim };
	struct page *pages[PAGES_BATCH];
	unsigned long i, nr = 0;
	bool shared = false;

	claim_release_begin(file->owner);
	for (i = first; i <= end; i++) {
		bool skip = i < end && test_bit(i, claim->released);

		/* A batch is of one kind: shared, or exclusively owned. */
		if (nr && (i == end || nr == PAGES_BATCH ||
			   (!skip && test_bit(i, claim->shared) != shared))) {
			claim_release(file->owner, pages, nr, shared);
			nr = 0;
		}
		if (i == end || skip)
			continue;
		shared = test_bit(i, claim->shared);
		pages[nr++] = cursor_page(&at, i);
		__set_bit(i, claim->released);
		claim->left--;
	}
	claim_release_end(file->owner);
}

/*
 * The pages of a part that are not released and are shared, or are not. *@nr of
 * them; index[i] is where pages[i] stands in the claim.
 */
static struct page **collect_part(const struct claim *claim,
				  unsigned long first, unsigned long end,
				  bool shared, unsigned long *nr)
{
	struct cursor at = { .claim = claim };
	struct page **pages;
	unsigned long i;

	pages = kvmalloc_array(end - first, sizeof(*pages),
			       GFP_KERNEL_ACCOUNT);
	if (!pages)
		return NULL;
	*nr = 0;
	for (i = first; i < end; i++) {
		if (!test_bit(i, claim->released) &&
		    test_bit(i, claim->shared) == shared)
			pages[(*nr)++] = cursor_page(&at, i);
		cond_resched();
	}
	return pages;
}

/* Where the @nth of the pages that collect_part() found stands in the claim. */
static unsigned long part_index(const struct claim *claim, unsigned long first,
				bool shared, unsigned long nth)
{
	unsigned long i;

	for (i = first; ; i++) {
		if (!test_bit(i, claim->released) &&
		    test_bit(i, claim->shared) == shared && !nth--)
			return i;
		cond_resched();
	}
}

static void mark_part(struct claim *claim, unsigned long first,
		      unsigned long end, bool shared)
{
	unsigned long i;

	for (i = first; i < end; i++) {
		if (!test_bit(i, claim->released))
			__assign_bit(i, claim->shared, shared);
		cond_resched();
	}
}

/* How many pages of a part, all of them shared, strangers still can't pin. */
static unsigned long refused_part(struct xpin_file *file,
				  const struct claim *claim,
				  unsigned long first, unsigned long end)
{
	struct cursor at = { .claim = claim };
	unsigned long i, refused = 0;
	struct page *page;

	for (i = first; i < end; i++) {
		if (test_bit(i, claim->released))
			continue;
		page = cursor_page(&at, i);
		refused += claim_refused(file->owner, &page, 1);
		cond_resched();
	}
	return refused;
}

static int share_part(struct xpin_file *file, struct claim *claim,
		      unsigned long first, unsigned long end,
		      struct xpin_part *part)
{
	struct page **pages;
	unsigned long nr;

	pages = collect_part(claim, first, end, false, &nr);
	if (!pages)
		return -ENOMEM;
	claim_share(file->owner, pages, nr);
	mark_part(claim, first, end, true);
	part->refused = refused_part(file, claim, first, end);
	kvfree(pages);
	return 0;
}

static int unshare_part(struct xpin_file *file, struct claim *claim,
			unsigned long first, unsigned long end,
			struct xpin_part *part)
{
	u64 timeout_ns = part->timeout_ns;
	unsigned long nr, busy;
	struct page **pages;
	int ret;

	pages = collect_part(claim, first, end, true, &nr);
	if (!pages)
		return -ENOMEM;
	ret = xpin_unshare_pages(file->owner, pages, nr, &timeout_ns, &busy);
	part->timeout_ns = timeout_ns;
	if (!ret && claim->deny_get)
		part->referenced = xpin_deny_get_pages(file->owner, pages, nr);
	if (!ret)
		mark_part(claim, first, end, false);
	else if (busy != ULONG_MAX)
		part->busy_addr = claim->addr +
			part_index(claim, first, true, busy) * PAGE_SIZE;
	kvfree(pages);
	return ret;
}

/* --- ioctls --- */

static int ioctl_info(struct xpin_file *file, void *arg)
{
	struct xpin_info *info = arg;

	info->api_version = XPIN_API_VERSION;
	info->backend = backend_id();
	info->features = 0;
	if (backend_can(BACKEND_GET))
		info->features |= XPIN_FEATURE_DENY_GET;
	if (HAVE_MEMFD_PIN_FOLIOS)
		info->features |= XPIN_FEATURE_MEMFD;
	return 0;
}

/* A range of user memory, in pages; 0 when it is none. */
static unsigned long range_pages(u64 addr, u64 length)
{
	if (!length || !PAGE_ALIGNED(addr) || !PAGE_ALIGNED(length) ||
	    addr + length < addr || length / PAGE_SIZE > CLAIM_PAGES_MAX)
		return 0;
	return length / PAGE_SIZE;
}

/* Claim @nr_pages pages of the caller's memory, or of @memfd. */
static int do_claim(struct xpin_file *file, struct file *memfd,
		    unsigned long nr_pages, struct xpin_claim *req)
{
	struct claim *claim = NULL;
	u64 timeout_ns = req->timeout_ns;
	unsigned long busy;
	struct page **pages;
	u32 id;
	int ret;

	if (req->flags & XPIN_CLAIM_DENY_GET && !backend_can(BACKEND_GET))
		return -EOPNOTSUPP;
	/* Mapped or not: asking for so much room would have others killed. */
	if (nr_pages > totalram_pages())
		return -ENOMEM;
	pages = kvmalloc_array(nr_pages, sizeof(*pages),
			       GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!pages)
		return -ENOMEM;
	if (memfd)
		ret = xpin_pin_memfd(file->owner, memfd, req->addr, nr_pages,
				     pages, &timeout_ns, &busy);
	else
		ret = xpin_pin_user_pages(file->owner, req->addr, nr_pages,
					  pages, &timeout_ns, &busy);
	/* Restarted after task work, it waits for the rest of the time. */
	req->timeout_ns = timeout_ns;
	if (ret) {
		if (busy != ULONG_MAX)
			req->busy_addr = req->addr + busy * PAGE_SIZE;
		goto out;
	}

	ret = -ENOMEM;
	claim = claim_alloc(pages, nr_pages);
	if (!claim)
		goto unpin;
	claim->addr = req->addr;
	claim->of_memfd = memfd;
	claim->deny_get = req->flags & XPIN_CLAIM_DENY_GET;
	ret = xa_alloc_cyclic(&file->claims, &id, NULL, xa_limit_32b,
			      &file->next_id, GFP_KERNEL_ACCOUNT);
	if (ret < 0)
		goto unpin;
	/* 1 when identities have wrapped around. From here on nothing fails. */
	ret = 0;
	if (claim->deny_get)
		req->referenced = xpin_deny_get_pages(file->owner, pages,
						      nr_pages);
	req->claim_id = id;
	req->pages = nr_pages;
	req->folios = claim_folios(claim);
	/* There is room for it. Other threads can see it now: the last step. */
	xa_store(&file->claims, id, claim, 0);
	goto out;
unpin:
	xpin_unpin_pages(file->owner, pages, nr_pages);
	if (claim)
		claim_put(claim);
out:
	kvfree(pages);
	return ret;
}

static int ioctl_claim(struct xpin_file *file, void *arg)
{
	struct xpin_claim *req = arg;
	unsigned long nr_pages = range_pages(req->addr, req->length);

	req->claim_id = 0;
	req->pages = 0;
	req->folios = 0;
	req->busy_addr = XPIN_NO_ADDR;
	req->referenced = 0;
	if (!nr_pages)
		return -EINVAL;
	/* Before anything as large as the length is allocated. */
	if (!access_ok((void __user *)req->addr, req->length) ||
	    nr_pages > READ_ONCE(current->mm->total_vm))
		return -EFAULT;
	return do_claim(file, NULL, nr_pages, req);
}

static int ioctl_claim_memfd(struct xpin_file *file, void *arg)
{
	struct xpin_claim_memfd *req = arg;
	unsigned long nr_pages = range_pages(req->offset, req->length);
	struct xpin_claim claim = {
		.flags = req->flags,
		.addr = req->offset,
		.timeout_ns = req->timeout_ns,
		.busy_addr = XPIN_NO_ADDR,
	};
	struct file *memfd;
	int ret;

	if (req->reserved || !nr_pages) {
		ret = -EINVAL;
		goto out;
	}
	memfd = fget(req->fd);
	if (!memfd) {
		ret = -EBADF;
		goto out;
	}
	/* Before anything as large as the length is allocated. */
	ret = pin_memfd_check(memfd, req->offset, nr_pages);
	if (!ret)
		ret = do_claim(file, memfd, nr_pages, &claim);
	fput(memfd);
out:
	req->timeout_ns = claim.timeout_ns;
	req->claim_id = claim.claim_id;
	req->pages = claim.pages;
	req->folios = claim.folios;
	req->busy_offset = claim.busy_addr;
	req->referenced = claim.referenced;
	return ret;
}

enum part_op { PART_RELEASE, PART_SHARE, PART_UNSHARE };

static int do_part(struct xpin_file *file, struct xpin_part *part,
		   enum part_op op)
{
	bool whole = part->length == XPIN_WHOLE && !part->offset;
	unsigned long first, end;
	struct claim *claim;
	int ret;

	part->refused = 0;
	part->busy_addr = XPIN_NO_ADDR;
	part->referenced = 0;
	if (!whole && !range_pages(part->offset, part->length))
		return -EINVAL;
	if (part->timeout_ns && op != PART_UNSHARE)
		return -EINVAL;

	claim = claim_get(file, part->claim_id);
	if (!claim)
		return -ENOENT;

	ret = lock_claim(claim);
	if (ret)
		goto put;
	ret = -ENOENT;
	first = whole ? 0 : part->offset / PAGE_SIZE;
	end = whole ? claim->nr_pages : first + part->length / PAGE_SIZE;
	if (end > claim->nr_pages || !claim->left ||
	    (!whole && find_next_bit(claim->released, end, first) < end))
		goto out;

	ret = 0;
	switch (op) {
	case PART_RELEASE:
		release_part(file, claim, first, end);
		break;
	case PART_SHARE:
		ret = share_part(file, claim, first, end, part);
		break;
	case PART_UNSHARE:
		ret = unshare_part(file, claim, first, end, part);
		break;
	}
	if (!claim->left) {
		xa_erase(&file->claims, part->claim_id);
		claim_put(claim);
	}
out:
	unlock_claim(claim);
put:
	claim_put(claim);
	return ret;
}

static int ioctl_release(struct xpin_file *file, void *arg)
{
	return do_part(file, arg, PART_RELEASE);
}

static int ioctl_share(struct xpin_file *file, void *arg)
{
	return do_part(file, arg, PART_SHARE);
}

static int ioctl_unshare(struct xpin_file *file, void *arg)
{
	return do_part(file, arg, PART_UNSHARE);
}

static int ioctl_query(struct xpin_file *file, void *arg)
{
	struct xpin_query *query = arg;
	unsigned long i, nr = range_pages(query->addr, query->length);
	u8 __user *states = u64_to_user_ptr(query->states);

	if (!nr)
		return -EINVAL;
	for (i = 0; i < nr; i++) {
		if (put_user(claim_page_state(file->owner,
					      query->addr + i * PAGE_SIZE),
			     states + i))
			return -EFAULT;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/* What all argument structures begin with. */
struct ioctl_header {
	u32 size;
	u32 flags;
};

union ioctl_arg {
	struct ioctl_header header;
	struct xpin_info info;
	struct xpin_claim claim;
	struct xpin_claim_memfd claim_memfd;
	struct xpin_part part;
	struct xpin_query query;
};

/**
 * struct ioctl_op - how to serve an ioctl
 * @size: of its argument here
 * @min_size: of its argument when it was introduced
 * @flags: that it knows
 * @claim_id: offset in its argument of the identity of a claim that it made
 * @run: does it; what it leaves in its argument is copied out in any case
 */
struct ioctl_op {
	u32 size;
	u32 min_size;
	u32 flags;
	u32 claim_id;
	int (*run)(struct xpin_file *file, void *arg);
};

#define IOCTL_OP(nr, type, last, fn) \
	[_IOC_NR(nr)] = { sizeof(type), offsetofend(type, last), 0, 0, fn }
#define IOCTL_CLAIM_OP(nr, type, last, fn) \
	[_IOC_NR(nr)] = { sizeof(type), offsetofend(type, last), \
			  XPIN_CLAIM_DENY_GET, offsetof(type, claim_id), fn }

static const struct ioctl_op ioctl_ops[] = {
	IOCTL_OP(XPIN_IOC_INFO, struct xpin_info, features, ioctl_info),
	IOCTL_CLAIM_OP(XPIN_IOC_CLAIM, struct xpin_claim, busy_addr,
		       ioctl_claim),
	IOCTL_OP(XPIN_IOC_RELEASE, struct xpin_part, busy_addr, ioctl_release),
	IOCTL_OP(XPIN_IOC_SHARE, struct xpin_part, busy_addr, ioctl_share),
	IOCTL_OP(XPIN_IOC_UNSHARE, struct xpin_part, busy_addr, ioctl_unshare),
	IOCTL_OP(XPIN_IOC_QUERY, struct xpin_query, states, ioctl_query),
	IOCTL_CLAIM_OP(XPIN_IOC_CLAIM_MEMFD, struct xpin_claim_memfd,
		       busy_offset, ioctl_claim_memfd),
};

static long chardev_ioctl(struct file *filp, unsigned int cmd,
			  unsigned long user_arg)
{
	struct xpin_file *file = filp->private_data;
	void __user *user = (void __user *)user_arg;
	const struct ioctl_op *op;
	union ioctl_arg arg = {};
	u32 size;
	int ret;

	if (_IOC_TYPE(cmd) != XPIN_TYPE || _IOC_DIR(cmd) != _IOC_NONE ||
	    _IOC_SIZE(cmd) || _IOC_NR(cmd) >= ARRAY_SIZE(ioctl_ops))
		return -ENOTTY;
	if (!claim_owner_is_current(file->owner))
		return -EIO;

	op = &ioctl_ops[_IOC_NR(cmd)];
	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size < op->min_size)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(&arg, op->size, user, size);
	if (ret)
		return ret;
	if (arg.header.flags & ~op->flags)
		return -EINVAL;

	ret = op->run(file, &arg);
	/* An identity that can't be told would be a claim that can't be ended. */
	if (copy_to_user(user, &arg, min(size, op->size))) {
		if (!ret && op->claim_id) {
			struct xpin_part part = {
				.claim_id = *(u64 *)((char *)&arg +
						     op->claim_id),
				.length = XPIN_WHOLE,
			};

			do_part(file, &part, PART_RELEASE);
		}
		return -EFAULT;
	}
	return ret;
}

static int chardev_open(struct inode *inode, struct file *filp)
{
	struct xpin_file *file;

	file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);
	if (!file)
		return -ENOMEM;
	/* Its pages are unpinned through the API alone. */
	file->owner = xpin_owner_create(0);
	if (IS_ERR(file->owner)) {
		int ret = PTR_ERR(file->owner);

		kfree(file);
		return ret;
	}
	xa_init_flags(&file->claims, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	filp->private_data = file;
	return nonseekable_open(inode, filp);
}

static int chardev_release(struct inode *inode, struct file *filp)
{
	struct xpin_file *file = filp->private_data;
	struct claim *claim;
	unsigned long id;

	xa_for_each(&file->claims, id, claim) {
		release_part(file, claim, 0, claim->nr_pages);
		claim_put(claim);
	}
	xa_destroy(&file->claims);
	xpin_owner_destroy(file->owner);
	kfree(file);
	return 0;
}

#ifdef CONFIG_PROC_FS
static void chardev_show_fdinfo(struct seq_file *m, struct file *filp)
{
	struct xpin_file *file = filp->private_data;
	struct claim *claim;
	unsigned long id;

	seq_printf(m, "xpin-owner:\t%u\n", xpin_owner_id(file->owner));
	/* There may be a great many; seq_file asks again when it has more room. */
	xa_for_each(&file->claims, id, claim) {
		claim = claim_get(file, id);
		if (!claim)
			continue;
		seq_printf(m, "xpin-claim:\t%lu %s %#lx pages %lu left %lu%s\n",
			   id, claim->of_memfd ? "offset" : "addr",
			   claim->addr, claim->nr_pages,
			   READ_ONCE(claim->left),
			   claim->deny_get ? " deny-get" : "");
		claim_put(claim);
		if (seq_has_overflowed(m))
			break;
		cond_resched();
	}
}
#endif

static const struct file_operations chardev_fops = {
	.owner = THIS_MODULE,
	.open = chardev_open,
	.release = chardev_release,
	.unlocked_ioctl = chardev_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
#ifdef CONFIG_PROC_FS
	.show_fdinfo = chardev_show_fdinfo,
#endif
};

static struct miscdevice chardev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "xpin",
	.fops = &chardev_fops,
	.mode = 0600,
};

/**
 * chardev_register() - make /dev/xpin appear
 *
 * Return: 0 or an errno of misc_register().
 */
int chardev_register(void)
{
	return misc_register(&chardev);
}

/**
 * chardev_unregister() - make /dev/xpin go; nobody has it open
 */
void chardev_unregister(void)
{
	misc_deregister(&chardev);
}
