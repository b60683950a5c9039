/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XPIN_BACKEND_H
#define _XPIN_BACKEND_H

#include <linux/types.h>

/*
 * How the guard is told about pins on this kernel. One backend is built for a
 * kernel; main.c registers it when the module is loaded.
 */

/**
 * enum backend_event - what can be armed
 * @BACKEND_PIN: pins are asked about
 * @BACKEND_UNPIN: unpins by others than the module are reported
 * @BACKEND_GET: plain references by GUP are asked about
 */
enum backend_event {
	BACKEND_PIN,
	BACKEND_UNPIN,
	BACKEND_GET,
	BACKEND_EVENTS,
};

/* In jiffies, how long after its last use an event is disarmed. */
extern unsigned long backend_disarm_delay;

int backend_register(void);
void backend_unregister(void);

bool backend_can(enum backend_event event);
int backend_get(enum backend_event event);
void backend_put(enum backend_event event);

void backend_drain_begin(void);
void backend_drain_end(void);

const char *backend_name(void);
u32 backend_id(void);
unsigned int backend_armed(void);
pid_t backend_waits_for(void);

#endif /* _XPIN_BACKEND_H */
