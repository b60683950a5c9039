// SPDX-License-Identifier: GPL-2.0
/* xpinctl query: who has claims, and what state is each page in? */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/xpin.h>

#include "xpinctl.h"

/* In /proc/PID/pagemap. */
#define PAGE_PRESENT	0x8000000000000000ULL

/* --- Claims --- */

/* "addr" in memory, or "offset" in a memfd. */
#define CLAIM_LINE	"xpin-claim: %lu %15s %llx pages %lu left %lu"

/* What fdinfo says of one open file; NULL unless it is one of /dev/xpin. */
static struct json_object *read_owner(int dir, const char *fd)
{
	int info = openat(dir, fd, O_RDONLY | O_CLOEXEC);
	struct json_object *owner = NULL, *claims = NULL, *object;
	unsigned long id, pages, left;
	unsigned long long addr;
	char where[16];
	char *line = NULL;
	size_t size = 0;
	FILE *file;

	if (info < 0)
		return NULL;
	file = fdopen(info, "r");
	while (file && getline(&line, &size, file) > 0) {
		if (sscanf(line, "xpin-owner: %lu", &id) == 1) {
			owner = json_object_new_object();
			claims = json_object_new_array();
			add_number(owner, "fd", atoi(fd));
			add_number(owner, "owner", id);
			json_object_object_add(owner, "claims", claims);
		} else if (owner && sscanf(line, CLAIM_LINE, &id, where, &addr,
					   &pages, &left) == 5) {
			object = json_object_new_object();
			add_number(object, "claim", id);
			add_string(object, "where", where);
			add_address(object, "address", addr);
			add_number(object, "pages", pages);
			add_number(object, "left", left);
			add_bool(object, "deny_get",
				 strstr(line, " deny-get"));
			json_object_array_add(claims, object);
		}
	}
	free(line);
	if (file)
		fclose(file);
	return owner;
}

/* @dir: /proc/PID/fdinfo, which is closed. */
static void add_owners(struct json_object *owners, pid_t pid, int dir)
{
	struct json_object *owner;
	DIR *stream = fdopendir(dir);
	struct dirent *entry;

	if (!stream)
		return;
	while ((entry = readdir(stream))) {
		owner = isdigit(*entry->d_name) ?
			read_owner(dirfd(stream), entry->d_name) : NULL;
		if (!owner)
			continue;
		add_number(owner, "pid", pid);
		json_object_array_add(owners, owner);
	}
	closedir(stream);
}

/* Returns how many processes could not be looked at. */
static unsigned int all_owners(struct json_object *owners)
{
	DIR *proc = opendir("/proc");
	unsigned int unreadable = 0;
	struct dirent *entry;
	char path[300];
	int dir;

	if (!proc)
		fail(errno, NULL, "can't open /proc");
	while ((entry = readdir(proc))) {
		if (!isdigit(*entry->d_name))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/fdinfo", entry->d_name);
		dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir >= 0)
			add_owners(owners, atoi(entry->d_name), dir);
		else if (errno == EACCES)
			unreadable++;
	}
	closedir(proc);
	return unreadable;
}

static void claims_text(struct json_object *answer)
{
	struct json_object *owners = object_of(answer, "owners"), *owner;
	struct json_object *claims, *claim;
	size_t i, j;

	for (i = 0; i < json_object_array_length(owners); i++) {
		owner = json_object_array_get_idx(owners, i);
		claims = object_of(owner, "claims");
		printf("pid %s fd %s owner %s: %zu claims\n",
		       string_of(owner, "pid"), string_of(owner, "fd"),
		       string_of(owner, "owner"),
		       json_object_array_length(claims));
		for (j = 0; j < json_object_array_length(claims); j++) {
			claim = json_object_array_get_idx(claims, j);
			printf("  claim %s %s %s pages %s left %s%s\n",
			       string_of(claim, "claim"),
			       string_of(claim, "where"),
			       string_of(claim, "address"),
			       string_of(claim, "pages"),
			       string_of(claim, "left"),
			       bool_of(claim, "deny_get") ? " deny-get" : "");
		}
	}
	if (!json_object_array_length(owners))
		printf("no owner found\n");
	if (number_of(answer, "unreadable"))
		printf("%s processes could not be looked at; run it with sudo\n",
		       string_of(answer, "unreadable"));
}

static void query_claims(pid_t pid)
{
	struct json_object *object = json_object_new_object();
	struct json_object *owners = json_object_new_array();
	unsigned int unreadable = 0;

	if (pid)
		add_owners(owners, pid, process_open(pid, "fdinfo",
						     O_RDONLY | O_DIRECTORY));
	else
		unreadable = all_owners(owners);
	json_object_object_add(object, "owners", owners);
	add_number(object, "unreadable", unreadable);
	answer(object, claims_text);
}

/* --- States of pages --- */

static const char *state_name(__u8 state)
{
	static const char * const names[] = {
		[XPIN_PAGE_NONE] = "none",
		[XPIN_PAGE_FREE] = "free",
		[XPIN_PAGE_PINNED] = "pinned",
		[XPIN_PAGE_CLAIMING] = "claiming",
		[XPIN_PAGE_MINE] = "owned",
		[XPIN_PAGE_MINE_SHARED] = "owned",
		[XPIN_PAGE_OTHERS] = "owned",
	};

	return state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

static void states_text(struct json_object *answer)
{
	struct json_object *states = object_of(answer, "states"), *state;
	size_t i;

	printf("pid %s address %s length %s\n", string_of(answer, "pid"),
	       string_of(answer, "address"), string_of(answer, "length"));
	for (i = 0; i < json_object_array_length(states); i++) {
		state = json_object_array_get_idx(states, i);
		printf("  address %s pages %s %s\n", string_of(state, "address"),
		       string_of(state, "pages"), string_of(state, "state"));
	}
}

/*
 * The module looks at what is in the caller's page table and faults nothing in.
 * So this does, but only what the process has: more would fill the file's holes.
 */
static void fault_in(pid_t pid, __u64 addr, char *local, size_t length)
{
	int pagemap = process_open(pid, "pagemap", O_RDONLY);
	size_t page = page_size(), i;
	__u64 entry;

	for (i = 0; i < length / page; i++) {
		if (pread(pagemap, &entry, sizeof(entry),
			  (addr / page + i) * sizeof(entry)) != sizeof(entry))
			fail(errno, NULL, "can't read the page table of process %d",
			     pid);
		/* One that fails, because the file has shrunk, is "none". */
		if (entry & PAGE_PRESENT)
			madvise(local + i * page, page, MADV_POPULATE_READ);
	}
	close(pagemap);
}

static void query_states(pid_t pid, __u64 addr, size_t length)
{
	struct json_object *object = json_object_new_object(), *run = NULL;
	struct json_object *runs = json_object_new_array();
	struct xpin_query query = { .size = sizeof(query), .length = length };
	size_t page = page_size(), i, pages = 0;
	struct mapping mapping;
	__u8 *states;
	int device;
	char *why;
	void *local;

	device = device_open();
	mapping = mapping_find(pid, addr, length);
	local = mapping_share(&mapping, addr, &why);
	if (!local)
		fail(errno, "without an address, query tells the claims", "%s", why);
	states = malloc(length / page);
	if (!states)
		fail(errno, "ask for less", "can't get %zu bytes", length / page);
	fault_in(pid, addr, local, length);
	query.addr = (uintptr_t)local;
	query.states = (uintptr_t)states;
	if (ioctl(device, XPIN_IOC_QUERY, &query))
		fail(errno, NULL, "can't query %zu bytes at %p", length, local);

	for (i = 0; i < length / page; i++) {
		if (!i || strcmp(state_name(states[i]), state_name(states[i - 1]))) {
			run = json_object_new_object();
			add_address(run, "address", addr + i * page);
			add_string(run, "state", state_name(states[i]));
			json_object_array_add(runs, run);
			pages = 0;
		}
		add_number(run, "pages", ++pages);
	}
	free(states);
	add_number(object, "pid", pid);
	add_address(object, "address", addr);
	add_number(object, "length", length);
	json_object_object_add(object, "states", runs);
	answer(object, states_text);
}

int command_query(int argc, char **argv)
{
	static const struct option options[] = {
		{ "length", required_argument, NULL, 'l' },
		{}
	};
	size_t length = 0;
	int option, nr;
	pid_t pid;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option != 'l')
			usage_error("query: '%s' is no option, or lacks its value",
				    argv[optind - 1]);
		length = parse_length(optarg);
	}
	nr = argc - optind;
	if (nr > 2)
		usage_error("query: '%s' is too much", argv[optind + 2]);
	if (nr < 2 && length)
		usage_error("query: --length needs PID and ADDR");

	pid = nr ? parse_pid(argv[optind]) : 0;
	if (nr == 2)
		query_states(pid, parse_address(argv[optind + 1]),
			     length ? length : page_size());
	else
		query_claims(pid);
	return EXIT_SUCCESS;
}
