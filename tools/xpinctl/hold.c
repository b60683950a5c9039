// SPDX-License-Identifier: GPL-2.0
/* xpinctl hold: own memory until a signal comes. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>
#include <linux/xpin.h>

#include "xpinctl.h"

#define SIZE_MAX_HELD	(16ULL << 40)
#define SECONDS_MAX	1e9
#define MORE_HUGE_PAGES	"reserve huge pages: sudo sysctl vm.nr_hugepages=N"

/**
 * struct memory - what is to be held
 * @kind: for people
 * @fd: its file; -1 if it is anonymous
 * @huge: bytes of a huge page that it shall be made of; otherwise 0
 * @hugetlb: its file is in hugetlbfs
 * @size: bytes; 0 is all of a file that was there before, or else one page
 */
struct memory {
	const char *kind;
	int fd;
	size_t huge;
	bool hugetlb;
	size_t size;
};

static size_t thp_size(void)
{
	const char *path = "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size";
	FILE *file = fopen(path, "re");
	size_t size;

	if (!file)
		fail(errno, "this kernel has no THP", "can't open %s", path);
	if (fscanf(file, "%zu", &size) != 1)
		fail(EINVAL, NULL, "can't read %s", path);
	fclose(file);
	return size;
}

static void create_memfd(struct memory *memory, unsigned int flags)
{
	memory->fd = memfd_create("xpinctl", MFD_CLOEXEC | flags);
	if (memory->fd < 0)
		fail(errno, flags ? "has this kernel huge pages of that size?" :
		     NULL, "can't create a memfd");
}

static void open_file(struct memory *memory, const char *path)
{
	struct stat file;

	memory->fd = open(path, O_RDWR | O_CLOEXEC);
	if (memory->fd < 0 || fstat(memory->fd, &file))
		fail(errno, NULL, "can't open %s", path);
	if (!memory->size)
		memory->size = file.st_size;
	if (!memory->size)
		fail(EINVAL, NULL, "%s is empty", path);
}

static void choose_kind(struct memory *memory)
{
	memory->fd = -1;
	if (!strcmp(memory->kind, "thp"))
		memory->huge = thp_size();
	else if (!strcmp(memory->kind, "memfd"))
		create_memfd(memory, 0);
	else if (!strcmp(memory->kind, "hugetlb"))
		create_memfd(memory, MFD_HUGETLB);
	else if (strcmp(memory->kind, "anon"))
		usage_error("hold: --kind: '%s' is not anon, thp, memfd or hugetlb",
			    memory->kind);
}

/* Brings the size to whole pages of the memory's kind. */
static void round_size(struct memory *memory)
{
	size_t unit = memory->huge ? memory->huge : page_size();
	struct statfs fs;

	if (memory->fd >= 0 && !fstatfs(memory->fd, &fs) &&
	    fs.f_type == HUGETLBFS_MAGIC) {
		memory->hugetlb = true;
		unit = fs.f_bsize;
	}
	if (!memory->size)
		memory->size = unit;
	memory->size = (memory->size + unit - 1) / unit * unit;
}

static unsigned char *map_memory(const struct memory *memory)
{
	int flags = memory->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	/* A huge page is made only where its address allows it. */
	size_t spare = memory->huge ? memory->huge : 0;
	unsigned char *base;

	base = mmap(NULL, memory->size + spare, PROT_READ | PROT_WRITE, flags,
		    memory->fd, 0);
	if (base == MAP_FAILED)
		fail(errno, memory->hugetlb ? MORE_HUGE_PAGES : NULL,
		     "can't map %zu bytes", memory->size);
	/*
	 * A fault by a long-term pin takes no huge page from ZONE_MOVABLE, an
	 * ordinary one does, and the pin then moves it.
	 */
	if (memory->hugetlb && madvise(base, memory->size, MADV_POPULATE_WRITE))
		fail(errno, MORE_HUGE_PAGES, "can't populate %zu bytes",
		     memory->size);
	if (spare)
		base += spare - (uintptr_t)base % spare;
	if (memory->fd < 0)
		madvise(base, memory->size,
			memory->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return base;
}

static noreturn void claim_failed(int error, const struct xpin_claim *claim)
{
	struct json_object *object;
	char way_out[160] = "";
	struct rlimit limit;

	switch (error) {
	case EBUSY:
		if (claim->busy_addr == XPIN_NO_ADDR)
			snprintf(way_out, sizeof(way_out),
				 "somebody has been pinning memory since before that could be refused; see dmesg, or wait with --timeout");
		else
			snprintf(way_out, sizeof(way_out),
				 "somebody pins or owns what is at %#llx; see 'xpinctl query', or wait with --timeout",
				 claim->busy_addr);
		break;
	case ENOMEM:
		getrlimit(RLIMIT_MEMLOCK, &limit);
		snprintf(way_out, sizeof(way_out),
			 "too little memory, or RLIMIT_MEMLOCK, %lld bytes; raise it (ulimit -l) or hold less",
			 (long long)limit.rlim_cur);
		break;
	case ENODEV:
		snprintf(way_out, sizeof(way_out),
			 "pins can't be refused any more; see dmesg");
		break;
	case EFAULT:
		snprintf(way_out, sizeof(way_out),
			 "it is not there; is --size beyond the end of the file?");
		break;
	case EOPNOTSUPP:
		snprintf(way_out, sizeof(way_out),
			 "only anonymous memory and files of tmpfs or hugetlbfs can be owned");
		break;
	}
	object = error_object(error, *way_out ? way_out : NULL,
			      "can't claim %llu bytes at %#llx",
			      claim->length, claim->addr);
	if (error == EBUSY && claim->busy_addr != XPIN_NO_ADDR)
		add_address(object, "address", claim->busy_addr);
	fail_with(object);
}

static void need_deny_get(int device)
{
	struct xpin_info info = { .size = sizeof(info) };

	if (ioctl(device, XPIN_IOC_INFO, &info))
		fail(errno, NULL, "%s does not answer", DEVICE);
	if (!(info.features & XPIN_FEATURE_DENY_GET))
		fail(EOPNOTSUPP, "leave --deny-get out",
		     "this kernel can't refuse plain references");
}

static void share_claim(int device, const struct xpin_claim *claim)
{
	struct xpin_part part = {
		.size = sizeof(part),
		.claim_id = claim->claim_id,
		.length = XPIN_WHOLE,
	};

	if (ioctl(device, XPIN_IOC_SHARE, &part))
		fail(errno, NULL, "can't share the claim");
}

static void release_claim(int device, const struct xpin_claim *claim)
{
	struct xpin_part part = {
		.size = sizeof(part),
		.claim_id = claim->claim_id,
		.length = XPIN_WHOLE,
	};

	if (ioctl(device, XPIN_IOC_RELEASE, &part))
		fail(errno, NULL, "can't release the claim");
}

static void text(struct json_object *held)
{
	printf("pid %s address %s length %s pages %s folios %s\n",
	       string_of(held, "pid"), string_of(held, "address"),
	       string_of(held, "length"), string_of(held, "pages"),
	       string_of(held, "folios"));
	printf("%s memory, %s until SIGINT (Ctrl-C), SIGTERM or SIGHUP\n",
	       string_of(held, "kind"), bool_of(held, "shared") ?
	       "owned, and shared with who wants to pin it," :
	       bool_of(held, "deny_get") ?
	       "owned exclusively, plain references refused, too," :
	       "owned exclusively");
	if (number_of(held, "referenced"))
		printf("to %s pages there were plain references before\n",
		       string_of(held, "referenced"));
}

static __u64 parse_seconds(const char *text)
{
	double seconds;
	char *end;

	seconds = strtod(text, &end);
	if (end == text || *end || !(seconds >= 0 && seconds <= SECONDS_MAX))
		usage_error("--timeout: '%s' is no number of seconds", text);
	return seconds * 1e9;
}

int command_hold(int argc, char **argv)
{
	static const struct option options[] = {
		{ "size", required_argument, NULL, 's' },
		{ "kind", required_argument, NULL, 'k' },
		{ "file", required_argument, NULL, 'f' },
		{ "share", no_argument, NULL, 'S' },
		{ "deny-get", no_argument, NULL, 'd' },
		{ "timeout", required_argument, NULL, 't' },
		{}
	};
	struct xpin_claim claim = { .size = sizeof(claim) };
	struct json_object *held = json_object_new_object();
	const char *path = NULL, *kind = NULL;
	struct memory memory = {};
	bool shared = false;
	sigset_t ends;
	int device, option, signal;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 's':
			memory.size = parse_number("--size", optarg, 1,
						   SIZE_MAX_HELD, true);
			break;
		case 'k':
			kind = optarg;
			break;
		case 'f':
			path = optarg;
			break;
		case 'S':
			shared = true;
			break;
		case 'd':
			claim.flags |= XPIN_CLAIM_DENY_GET;
			break;
		case 't':
			claim.timeout_ns = parse_seconds(optarg);
			break;
		default:
			usage_error("hold: '%s' is no option, or lacks its value",
				    argv[optind - 1]);
		}
	}
	if (optind < argc)
		usage_error("hold: '%s' is too much", argv[optind]);
	if (kind && path)
		usage_error("hold: either --kind or --file");

	memory.kind = path ? "file" : kind ? kind : "anon";
	if (path)
		open_file(&memory, path);
	else
		choose_kind(&memory);
	device = device_open();
	if (claim.flags & XPIN_CLAIM_DENY_GET)
		need_deny_get(device);
	round_size(&memory);
	if (memory.fd >= 0 && !path && ftruncate(memory.fd, memory.size))
		fail(errno, NULL, "can't make a memfd of %zu bytes", memory.size);

	claim.addr = (uintptr_t)map_memory(&memory);
	claim.length = memory.size;
	if (ioctl(device, XPIN_IOC_CLAIM, &claim))
		claim_failed(errno, &claim);
	if (shared)
		share_claim(device, &claim);

	/* Before anybody is told: from then on a signal is what ends it. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGHUP);
	sigprocmask(SIG_BLOCK, &ends, NULL);

	add_number(held, "pid", getpid());
	add_address(held, "address", claim.addr);
	add_number(held, "length", claim.length);
	add_number(held, "pages", claim.pages);
	add_number(held, "folios", claim.folios);
	add_string(held, "kind", memory.kind);
	add_bool(held, "shared", shared);
	add_bool(held, "deny_get", claim.flags & XPIN_CLAIM_DENY_GET);
	add_number(held, "referenced", claim.referenced);
	answer(held, text);

	sigwait(&ends, &signal);
	release_claim(device, &claim);
	return EXIT_SUCCESS;
}
