// SPDX-License-Identifier: GPL-2.0
/*
 * The backend for a stock kernel: the functions by which others pin are hooked
 * by ftrace, which has a call go to a wrapper here instead. The wrapper calls
 * the original, asks the guard about each page that this has pinned, and gives
 * back what must not be pinned.
 *
 *   pinner                           claimer (claim.c)
 *   ------                           -----------------
 *   original: add to pins            owner[pfn] = CLAIMING
 *   smp_mb()                  [A]    smp_mb()                            [B]
 *   guard: if owner[pfn]: unpin      if pins == k: OWNED, else drain
 *
 * The protocol at the top of registry.c with [A] in kept(), which pairs with [B]
 * in claim_settle(). What is weaker than with the notifier is in docs/ftrace.md.
 *
 * One ftrace_ops for all functions, so that all are hooked or none. IPMODIFY:
 * nobody else redirects them, a live patch for one. PERMANENT: the sysctl
 * kernel.ftrace_enabled can't switch it off; older kernels would do so silently.
 *
 * Nothing is hooked until the first claim. Then what entered the functions before
 * may be asleep in them and pin later what the claim will own, unseen; so arming
 * waits until no such task is left (gup_tasks.c). The claim is refused if that
 * takes too long.
 *
 * The wrappers sleep. So a reference to the module is held from arming on until
 * no task can be in a wrapper any more: the hooks are gone, the number of calls
 * in flight, which is raised before a wrapper begins, is 0, and the last one has
 * left by a grace period of RCU tasks.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/delay.h>
#include <linux/ftrace.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/printk.h>
#include <linux/ratelimit.h>
#include <linux/rcupdate.h>
#include <linux/workqueue.h>
#include <uapi/linux/xpin.h>

#include "backend.h"
#include "compat/compat.h"
#include "compat/ftrace.h"
#include "compat/gup.h"
#include "guard.h"
#include "gup_tasks.h"

/* Pages that are looked at in one RCU read-side critical section. */
#define LOOK_PAGES	512
/* How long one arming waits for calls from before, in milliseconds. */
#define ARM_WAIT_MS	1000
/* How often it is looked whether the last call has left a wrapper. */
#define LEAVE_DELAY	(HZ / 10)
/* How often ftrace is asked that wants to be asked again. */
#define HOOK_TRIES	10
/* From a function's address to where ftrace is called, at most. */
#define ENTRY_SIZE	16

/* Arming takes a while: a claim soon after the last release should not pay it. */
unsigned long backend_disarm_delay = HZ;

/* Calls that were sent to a wrapper, less those that left it. */
static DEFINE_PER_CPU(long, in_flight);
/* Claims that wait for strangers' pins. */
static atomic_t drains = ATOMIC_INIT(0);

/* --- Wrappers --- */

/* How many of the leading @nr @pages the caller may keep. */
static unsigned long kept(struct page **pages, unsigned long nr)
{
	unsigned long done = 0;
	unsigned int part, keep;

	/*
	 * The pins before the entries. Pairs with smp_mb() in claim_settle().
	 * tests/litmus/pin-vs-claim*.litmus.
	 */
	smp_mb();
	do {
		part = min_t(unsigned long, nr - done, LOOK_PAGES);
		rcu_read_lock();
		keep = guard_pin(pages + done, part, false);
		if (unlikely(atomic_read(&drains))) {
			unsigned int i = 0;

			while (i < keep && guard_peek(pages[done + i]))
				i++;
			keep = i;
		}
		rcu_read_unlock();
		done += keep;
	} while (keep == part && done < nr);
	return done;
}

/*
 * Whoever was refused and tries again at once would have the folio pinned nearly
 * all the time: leave a gap for a claim that waits to see none.
 */
static void back_off(void)
{
	if (atomic_read(&drains))
		usleep_range(500, 1000);
}

/* What a call returns that was to return @ret and has pinned so many @pages. */
static long veto(struct page **pages, long ret)
{
	unsigned long keep;

	if (ret <= 0)
		return ret;
	keep = kept(pages, ret);
	if (likely(keep == ret))
		return ret;
	unpin_user_pages(pages + keep, ret - keep);
	return keep ?: -EBUSY;
}

/* Of a call that may sleep. */
static long leave(struct page **pages, long pinned)
{
	long ret = veto(pages, pinned);

	if (unlikely(ret != pinned))
		back_off();
	this_cpu_dec(in_flight);
	return ret;
}

static long hooked_pin_user_pages(unsigned long start, unsigned long nr_pages,
				  unsigned int gup_flags,
				  COMPAT_PAGES_PARAMETERS)
{
	return leave(pages, compat_pin_user_pages(start, nr_pages, gup_flags,
						  pages, vmas));
}

static long hooked_pin_user_pages_remote(struct mm_struct *mm,
					 unsigned long start,
					 unsigned long nr_pages,
					 unsigned int gup_flags,
					 COMPAT_PAGES_PARAMETERS, int *locked)
{
	return leave(pages, compat_pin_user_pages_remote(mm, start, nr_pages,
							 gup_flags, pages,
							 locked, vmas));
}

static long hooked_pin_user_pages_unlocked(unsigned long start,
					   unsigned long nr_pages,
					   struct page **pages,
					   unsigned int gup_flags)
{
	return leave(pages, pin_user_pages_unlocked(start, nr_pages, pages,
						    gup_flags));
}

static int hooked_pin_user_pages_fast(unsigned long start, int nr_pages,
				      unsigned int gup_flags,
				      struct page **pages)
{
	return leave(pages, pin_user_pages_fast(start, nr_pages, gup_flags,
						pages));
}

#if !HAVE_NO_PIN_USER_PAGES_FAST_ONLY
/* It never sleeps, and has no errors. */
static int hooked_pin_user_pages_fast_only(unsigned long start, int nr_pages,
					   unsigned int gup_flags,
					   struct page **pages)
{
	long ret = veto(pages, pin_user_pages_fast_only(start, nr_pages,
							gup_flags, pages));

	this_cpu_dec(in_flight);
	return max(ret, 0L);
}
#endif

#if HAVE_MEMFD_PIN_FOLIOS
/* All or nothing: its callers take fewer folios for the end of the file. */
static long hooked_memfd_pin_folios(struct file *memfd, loff_t start,
				    loff_t end, struct folio **folios,
				    unsigned int max_folios, pgoff_t *offset)
{
	long ret = memfd_pin_folios(memfd, start, end, folios, max_folios,
				    offset);
	struct page *page;
	long i;

	for (i = 0; i < ret; i++) {
		page = folio_page(folios[i], 0);
		if (likely(kept(&page, 1)))
			continue;
		unpin_folios(folios, ret);
		back_off();
		ret = -EBUSY;
	}
	this_cpu_dec(in_flight);
	return ret;
}
#endif

/* --- Hooks --- */

/**
 * struct hook - a function that pins
 * @name: for people
 * @function: its address
 * @wrapper: the function here that is called instead
 */
struct hook {
	const char *name;
	void *function;
	void *wrapper;
};

#define HOOK(name) { #name, name, hooked_##name }

/* All that takes pins and is not called by another of them: docs/ftrace.md. */
static const struct hook hooks[] = {
	HOOK(pin_user_pages),
	HOOK(pin_user_pages_remote),
	HOOK(pin_user_pages_unlocked),
	HOOK(pin_user_pages_fast),
#if !HAVE_NO_PIN_USER_PAGES_FAST_ONLY
	HOOK(pin_user_pages_fast_only),
#endif
#if HAVE_MEMFD_PIN_FOLIOS
	HOOK(memfd_pin_folios),
#endif
};

/* The module's code: what it calls is the original. */
static unsigned long text, text_size;

static void notrace redirect(unsigned long ip, unsigned long parent_ip,
			     struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	unsigned long wrapper;
	unsigned int i;

	if (parent_ip - text < text_size)
		return;
	for (i = 0; i < ARRAY_SIZE(hooks); i++) {
		if (ip - (unsigned long)hooks[i].function < ENTRY_SIZE) {
			wrapper = (unsigned long)hooks[i].wrapper;
			this_cpu_inc(in_flight);
			ftrace_regs_set_instruction_pointer(fregs, wrapper);
			return;
		}
	}
}

/* For finding out whether functions can be hooked: the calls go on as they are. */
static void notrace pass(unsigned long ip, unsigned long parent_ip,
			 struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
}

static struct ftrace_ops hook_ops = {
	.func = pass,
	.flags = FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT,
};

/*
 * Once the hooks are gone, the counts only fall: a sum of 0 is final, even if
 * they fall while they are summed up.
 */
static bool calls_in_flight(void)
{
	long sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu(in_flight, cpu));
	return sum;
}

/* --- Arming --- */

/* Guards what follows, and is held while arming waits: nobody may claim before. */
static DEFINE_MUTEX(arm_lock);
static unsigned int users;
/* The hooks are in place, since when, and nobody is left who came before them. */
static bool hooked;
static unsigned long hooked_at;
static bool alone;
/* A reference to the module is held. */
static bool held;
/* ftrace found a fault of its own: nobody knows what is still hooked. */
static bool broken;
/* Who came before them, at the last look. */
static struct gup_task stuck;

static void disarm(struct work_struct *work);

static DECLARE_DELAYED_WORK(disarm_work, disarm);

static void fail_for_good(int error)
{
	pr_err("ftrace has gone wrong (%d), GUP's entry points may be hooked or not: no claims, and no unloading, until the next boot\n",
	       error);
	broken = true;
}

/* Returns as register_ftrace_function(), but for what passes. */
static int hook(void)
{
	int tries = HOOK_TRIES, ret;

	/* A BPF program at one of the functions is in the middle of a change. */
	do {
		ret = register_ftrace_function(&hook_ops);
	} while (ret == -EAGAIN && --tries);
	/* It has died since the filter was set. */
	if (ret == -ENODEV)
		fail_for_good(ret);
	return ret;
}

static void unhook(void)
{
	int ret = unregister_ftrace_function(&hook_ops);

	if (ret)
		fail_for_good(ret);
	WRITE_ONCE(hooked, false);
	WRITE_ONCE(alone, false);
}

static void disarm(struct work_struct *work)
{
	mutex_lock(&arm_lock);
	if (users || !held)
		goto out;
	if (hooked)
		unhook();
	if (broken)
		goto out;
	if (calls_in_flight()) {
		mod_delayed_work(system_long_wq, &disarm_work, LEAVE_DELAY);
		goto out;
	}
	/* Who has counted itself out has returned from the wrapper. */
	synchronize_rcu_tasks();
	held = false;
	/* backend_unregister() waits for this function to end. */
	module_put(THIS_MODULE);
out:
	mutex_unlock(&arm_lock);
}

/* Why do the hooks not work together? Try each by itself. */
static void say_why(int error)
{
	int failed[ARRAY_SIZE(hooks)];
	unsigned int i, nr = 0;
	unsigned long function;

	for (i = 0; i < ARRAY_SIZE(hooks); i++) {
		function = (unsigned long)hooks[i].function;
		failed[i] = ftrace_set_filter_ip(&hook_ops, function, 0, 1);
		if (!failed[i])
			failed[i] = hook();
		if (!failed[i])
			unhook();
		if (broken)
			return;
		nr += !!failed[i];
	}
	if (!nr)
		pr_err("this kernel can't refuse pins just now: ftrace did not hook (%d); try again\n",
		       error);
	if (nr == ARRAY_SIZE(hooks))
		pr_err("this kernel can't refuse pins: ftrace does not hook (%d); is kernel.ftrace_enabled 0?\n",
		       error);
	for (i = 0; i < ARRAY_SIZE(hooks) && nr < ARRAY_SIZE(hooks); i++)
		if (failed[i])
			pr_err("this kernel can't refuse pins: %s() can't be hooked (%d), perhaps because of a live patch\n",
			       hooks[i].name, failed[i]);
}

/**
 * backend_register() - find out whether pins can be refused on this kernel
 *
 * Hooks all there is to hook, once, and unhooks it; who calls meanwhile goes on as
 * without, for there is nobody yet who would wait for them before unloading.
 *
 * Return: 0, or what ftrace says: -EBUSY when it is switched off or somebody else
 * redirects one of the functions, -EINVAL when one can't be traced, -EAGAIN while
 * BPF programs at them are being changed. 0 also when ftrace has died of this.
 */
int backend_register(void)
{
	unsigned int i;
	int ret;

	text = (unsigned long)compat_module_text(THIS_MODULE, &text_size);
	for (i = 0; i < ARRAY_SIZE(hooks); i++) {
		ret = ftrace_set_filter_ip(&hook_ops,
					   (unsigned long)hooks[i].function,
					   0, !i);
		if (ret) {
			pr_err("this kernel can't refuse pins: %s() can't be hooked (%d), ftrace does not know it\n",
			       hooks[i].name, ret);
			goto free;
		}
	}
	ret = hook();
	if (!ret)
		unhook();
	else if (!broken)
		say_why(ret);
	if (broken) {
		/* What may still be called must not go away. */
		__module_get(THIS_MODULE);
		return 0;
	}
	if (ret)
		goto free;
	hook_ops.func = redirect;
	return 0;
free:
	ftrace_free_filter(&hook_ops);
	return ret;
}

/**
 * backend_unregister() - undo backend_register()
 *
 * No hook is left, nor anybody in a wrapper: from the first redirected call to the
 * last's return the module has a reference.
 *
 * Context: may sleep.
 */
void backend_unregister(void)
{
	cancel_delayed_work_sync(&disarm_work);
	ftrace_free_filter(&hook_ops);
}

/* The lock is held. */
static int arm(void)
{
	int ret;

	if (broken)
		return -ENODEV;
	if (!held) {
		/* Whoever claims has one, too. */
		__module_get(THIS_MODULE);
		held = true;
	}
	if (!hooked) {
		ret = hook();
		if (ret == -EAGAIN)
			return -EBUSY;
		if (ret == -ENOMEM)
			return ret;
		if (ret) {
			pr_err_ratelimited("ftrace does not hook GUP's entry points any more (%d): no claims\n",
					   ret);
			return -ENODEV;
		}
		hooked_at = jiffies;
		WRITE_ONCE(hooked, true);
	}
	ret = gup_tasks_wait(ARM_WAIT_MS, &stuck);
	if (ret == -EBUSY)
		pr_warn_ratelimited("no claims yet: %s[%d] may be inside GUP since before it was hooked, %u ms ago\n",
				    stuck.comm, stuck.pid,
				    jiffies_to_msecs(jiffies - hooked_at));
	if (ret)
		return ret;
	stuck.pid = 0;
	WRITE_ONCE(alone, true);
	return 0;
}

/**
 * backend_get() - be told about an event from now on
 * @event: BACKEND_PIN
 *
 * Who was not asked took its pin before this returns, and can be seen in the
 * folio's count.
 *
 * Context: may sleep, for a second and what ftrace takes: who comes while it is
 * just being disarmed waits for grace periods of RCU tasks.
 * Return: 0; -EBUSY when somebody may be inside GUP for longer or changes BPF
 * programs at the functions, or at a signal; -ENODEV when ftrace does not hook;
 * -ENOMEM; -EOPNOTSUPP for other events.
 */
int backend_get(enum backend_event event)
{
	int ret = 0;

	if (!backend_can(event))
		return -EOPNOTSUPP;
	if (mutex_lock_interruptible(&arm_lock))
		return -EBUSY;
	if (!hooked || !alone)
		ret = arm();
	if (!ret)
		users++;
	else if (!users)
		mod_delayed_work(system_long_wq, &disarm_work,
				 backend_disarm_delay);
	mutex_unlock(&arm_lock);
	return ret;
}

/**
 * backend_put() - undo one backend_get(); disarms a while after the last
 * @event: BACKEND_PIN
 *
 * Context: may sleep.
 */
void backend_put(enum backend_event event)
{
	mutex_lock(&arm_lock);
	if (!--users)
		mod_delayed_work(system_long_wq, &disarm_work,
				 backend_disarm_delay);
	mutex_unlock(&arm_lock);
}

/**
 * backend_drain_begin() - have who is refused wait a moment
 *
 * Context: any. Nests; each call needs a backend_drain_end().
 */
void backend_drain_begin(void)
{
	atomic_inc(&drains);
}

/**
 * backend_drain_end() - undo one backend_drain_begin()
 *
 * Context: any.
 */
void backend_drain_end(void)
{
	atomic_dec(&drains);
}

/**
 * backend_can() - is there such an event on this kernel?
 * @event: one of enum backend_event
 *
 * Return: whether backend_get() may succeed.
 */
bool backend_can(enum backend_event event)
{
	return event == BACKEND_PIN;
}

/**
 * backend_id() - which backend this is
 *
 * Return: one of enum xpin_backend.
 */
u32 backend_id(void)
{
	return XPIN_BACKEND_FTRACE;
}

/**
 * backend_armed() - which events are armed
 *
 * Return: a snapshot, BIT(event) for each.
 */
unsigned int backend_armed(void)
{
	return READ_ONCE(hooked) && READ_ONCE(alone) ? BIT(BACKEND_PIN) : 0;
}

/**
 * backend_waits_for() - whose call is in the way of arming
 *
 * Return: its PID in the initial namespace at the last attempt, or 0.
 */
pid_t backend_waits_for(void)
{
	return READ_ONCE(stuck.pid);
}

/**
 * backend_name() - which backend this is, for people
 *
 * Return: its name as in modinfo -F backend xpin.
 */
const char *backend_name(void)
{
	return "ftrace";
}

/* For who asks before loading it: modinfo -F backend xpin. */
MODULE_INFO(backend, "ftrace");
