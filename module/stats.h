/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XPIN_STATS_H
#define _XPIN_STATS_H

void stats_init(void);
void stats_exit(void);

#endif /* _XPIN_STATS_H */
