// SPDX-License-Identifier: GPL-2.0
/* xpin_pkvm where xpin can't work. An object can be part of one module only. */
#include "unsupported.c"
