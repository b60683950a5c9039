// SPDX-License-Identifier: GPL-2.0
/* Counters in debugfs: xpin/stats, a name and a value on each line. */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "backend.h"
#include "guard.h"
#include "registry.h"
#include "stats.h"

static struct dentry *dir;

static int stats_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "owners %lu\n", registry_owners());
	seq_printf(m, "entries %lu\n", registry_entries());
	seq_printf(m, "vetoes %lu\n", guard_vetoes());
	seq_printf(m, "armed %u\n", backend_armed());
	seq_printf(m, "waits_for %d\n", backend_waits_for());
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

/**
 * stats_init() - make the files appear, where there is a debugfs
 */
void stats_init(void)
{
	dir = debugfs_create_dir("xpin", NULL);
	debugfs_create_file("stats", 0400, dir, NULL, &stats_fops);
}

/**
 * stats_exit() - make them go
 */
void stats_exit(void)
{
	debugfs_remove(dir);
}
