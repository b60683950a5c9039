// SPDX-License-Identifier: GPL-2.0
/* Look at the memory of another process. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "xpinctl.h"

int process_open(pid_t pid, const char *name, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ESRCH)
		fail(ESRCH, NULL, "there is no process %d", pid);
	fail(errno, errno == EACCES || errno == EPERM ?
	     "only root, or a user who may trace that process; run it with sudo" :
	     NULL, "can't open %s", path);
}

struct mapping mapping_find(pid_t pid, __u64 addr, size_t length)
{
	FILE *file = fdopen(process_open(pid, "maps", O_RDONLY), "r");
	struct mapping mapping = { .pid = pid };
	__u64 start, end, offset;
	bool found = false;
	char *line = NULL;
	size_t size = 0;
	char mode[5];

	if (!file)
		fail(errno, NULL, "can't read the mappings of process %d", pid);
	while (!found && getline(&line, &size, file) > 0) {
		if (sscanf(line, "%llx-%llx %4s %llx", &start, &end, mode,
			   &offset) == 4)
			found = start <= addr && addr < end;
	}
	free(line);
	fclose(file);
	if (!found)
		fail(EFAULT, "see /proc/PID/maps", "process %d has no memory at %#llx",
		     pid, addr);
	if (end - addr < length)
		fail(EFAULT, "ask for less", "the mapping of process %d at %#llx ends at %#llx",
		     pid, addr, end);

	mapping.start = start;
	mapping.end = end;
	mapping.offset = offset;
	mapping.readable = mode[0] == 'r';
	mapping.writable = mode[1] == 'w';
	mapping.shared = mode[3] == 's';
	return mapping;
}

static void *not_shared(int error, char **why, const char *fmt, pid_t pid)
{
	if (asprintf(why, fmt, pid) < 0)
		abort();
	errno = error;
	return NULL;
}

char *mapping_path(const struct mapping *mapping)
{
	char *path;

	if (asprintf(&path, "/proc/%d/map_files/%llx-%llx", mapping->pid,
		     mapping->start, mapping->end) < 0)
		abort();
	return path;
}

void *mapping_share(const struct mapping *mapping, __u64 addr, char **why)
{
	struct statfs fs;
	void *base;
	char *path;
	int fd;

	if (!mapping->shared)
		return not_shared(EOPNOTSUPP, why, "private memory of process %d",
				  mapping->pid);
	path = mapping_path(mapping);
	fd = open(path, O_RDWR | O_CLOEXEC);
	free(path);
	if (fd < 0)
		return not_shared(errno, why, errno == EPERM ?
				  "only root may map the memory of process %d" :
				  "the file behind the memory of process %d can't be opened for writing",
				  mapping->pid);
	if (fstatfs(fd, &fs) ||
	    (fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC)) {
		close(fd);
		return not_shared(EOPNOTSUPP, why,
				  "process %d maps a file that is not in memory",
				  mapping->pid);
	}

	/* All of it, since huge pages must lie where huge pages may. */
	base = mmap(NULL, mapping->end - mapping->start, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_NORESERVE, fd, mapping->offset);
	close(fd);
	if (base == MAP_FAILED)
		return not_shared(errno, why, "the memory of process %d can't be mapped",
				  mapping->pid);
	return (char *)base + (addr - mapping->start);
}
