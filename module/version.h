/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XPIN_VERSION_H
#define _XPIN_VERSION_H

#define XPIN_VERSION	"0.1.0"

#endif /* _XPIN_VERSION_H */
