// SPDX-License-Identifier: GPL-2.0
/* The backend for a kernel that has the pin notifier (kpatch/). */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bits.h>
#include <linux/gup_pin_notifier.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/workqueue.h>
#include <uapi/linux/xpin.h>

#include "backend.h"
#include "guard.h"

/* A claim soon after the last release should not pay for arming again. */
unsigned long backend_disarm_delay = HZ;

static const unsigned long notifier_event[BACKEND_EVENTS] = {
	[BACKEND_PIN] = GUP_PIN_NOTIFY_PIN,
	[BACKEND_UNPIN] = GUP_PIN_NOTIFY_UNPIN,
	[BACKEND_GET] = GUP_PIN_NOTIFY_GET,
};

/*
 * Guards users and armed, and is held while arming waits for its grace period:
 * nobody may go on to claim before that, whoever began it.
 * tests/litmus/pin-vs-second-arm*.litmus.
 */
static DEFINE_MUTEX(arm_lock);
static unsigned int users[BACKEND_EVENTS];
static unsigned long armed;

static unsigned int notifier_pin(struct page **pages, unsigned int nr,
				 unsigned int flags)
{
	return guard_pin(pages, nr, flags & FOLL_GET);
}

static const struct gup_pin_notifier notifier = {
	.pin = notifier_pin,
	.peek = guard_peek,
	.unpin = guard_unpin,
};

static void disarm(struct work_struct *work);

static struct delayed_work disarm_work[BACKEND_EVENTS] = {
	[BACKEND_PIN] = __DELAYED_WORK_INITIALIZER(disarm_work[BACKEND_PIN],
						   disarm, 0),
	[BACKEND_UNPIN] = __DELAYED_WORK_INITIALIZER(disarm_work[BACKEND_UNPIN],
						     disarm, 0),
	[BACKEND_GET] = __DELAYED_WORK_INITIALIZER(disarm_work[BACKEND_GET],
						   disarm, 0),
};

static void disarm(struct work_struct *work)
{
	int event = to_delayed_work(work) - disarm_work;

	mutex_lock(&arm_lock);
	if (!users[event] && armed & notifier_event[event]) {
		gup_pin_notifier_disarm(&notifier, notifier_event[event]);
		armed &= ~notifier_event[event];
	}
	mutex_unlock(&arm_lock);
}

/**
 * backend_register() - find out whether pins can be refused on this kernel
 *
 * Arms nothing.
 *
 * Return: 0, or -EBUSY when somebody else is the notifier.
 */
int backend_register(void)
{
	int ret = gup_pin_notifier_register(&notifier);

	if (ret)
		pr_err("another module has registered the kernel's GUP pin notifier; unload it first\n");
	return ret;
}

/**
 * backend_unregister() - undo backend_register()
 *
 * Context: may sleep. The guard is in no call on return.
 */
void backend_unregister(void)
{
	int event;

	for (event = 0; event < BACKEND_EVENTS; event++)
		cancel_delayed_work_sync(&disarm_work[event]);
	gup_pin_notifier_unregister(&notifier);
	armed = 0;
}

/**
 * backend_get() - be told about an event from now on
 * @event: one of enum backend_event
 *
 * For BACKEND_PIN and BACKEND_GET: who was not asked took its pin, or reference,
 * before this returns, and can be seen in the folio's count.
 *
 * Context: may sleep, for a grace period.
 * Return: 0.
 */
int backend_get(enum backend_event event)
{
	mutex_lock(&arm_lock);
	users[event]++;
	if (!(armed & notifier_event[event])) {
		gup_pin_notifier_arm(&notifier, notifier_event[event]);
		armed |= notifier_event[event];
	}
	mutex_unlock(&arm_lock);
	return 0;
}

/**
 * backend_put() - undo one backend_get(); disarms a while after the last
 * @event: one of enum backend_event
 *
 * Context: may sleep.
 */
void backend_put(enum backend_event event)
{
	mutex_lock(&arm_lock);
	/* "Long", because it may wait for the grace period of an arming. */
	if (!--users[event])
		mod_delayed_work(system_long_wq, &disarm_work[event],
				 backend_disarm_delay);
	mutex_unlock(&arm_lock);
}

/**
 * backend_drain_begin() - have pinners look before they grab
 *
 * Context: any. Nests; each call needs a backend_drain_end().
 */
void backend_drain_begin(void)
{
	gup_pin_notifier_drain_begin(&notifier);
}

/**
 * backend_drain_end() - undo one backend_drain_begin()
 *
 * Context: any.
 */
void backend_drain_end(void)
{
	gup_pin_notifier_drain_end(&notifier);
}

/**
 * backend_can() - is there such an event on this kernel?
 * @event: one of enum backend_event
 *
 * Return: whether backend_get() may succeed.
 */
bool backend_can(enum backend_event event)
{
	return true;
}

/**
 * backend_id() - which backend this is
 *
 * Return: one of enum xpin_backend.
 */
u32 backend_id(void)
{
	return XPIN_BACKEND_NOTIFIER;
}

/**
 * backend_armed() - which events are armed
 *
 * Return: a snapshot, BIT(event) for each.
 */
unsigned int backend_armed(void)
{
	unsigned int mask = 0;
	int event;

	for (event = 0; event < BACKEND_EVENTS; event++)
		if (READ_ONCE(armed) & notifier_event[event])
			mask |= BIT(event);
	return mask;
}

/**
 * backend_waits_for() - whose call is in the way of arming
 *
 * Return: 0: nobody's.
 */
pid_t backend_waits_for(void)
{
	return 0;
}

/**
 * backend_name() - which backend this is, for people
 *
 * Return: its name as in modinfo -F backend xpin.
 */
const char *backend_name(void)
{
	return "notifier";
}

/* For who asks before loading it: modinfo -F backend xpin. */
MODULE_INFO(backend, "notifier");
