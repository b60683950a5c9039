/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XPIN_CHARDEV_H
#define _XPIN_CHARDEV_H

int chardev_register(void);
void chardev_unregister(void);

#endif /* _XPIN_CHARDEV_H */
