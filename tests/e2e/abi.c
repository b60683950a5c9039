// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/xpin from its caller's side: the format that all ioctls have in common,
 * and whom they serve.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"
#include "xpin_test.h"

static int owner;
static struct memory memory;

/* Two pages for an argument, and behind them there is nothing. */
static unsigned char *room;

#define ROOM		(2 * PAGE)
#define ROOM_END	(room + ROOM)

/* Where a query's answer goes. */
static __u8 states[PAGE];

static int call(int fd, unsigned long request, void *argument)
{
	return ioctl(fd, request, argument) ? -errno : 0;
}

/* --- The general format --- */

union argument {
	struct {
		__u32 size;
		__u32 flags;
	};
	struct xpin_info info;
	struct xpin_claim claim;
	struct xpin_claim_memfd memfd;
	struct xpin_part part;
	struct xpin_query query;
};

#define NO_SUCH_CLAIM	0xdead

/* Calls in which nothing is wrong but that there is no such claim. */
static const struct format {
	const char *name;
	unsigned long request;
	__u32 size;
	/* When it was introduced: what has been added since may be missing. */
	__u32 min_size;
	__u32 flags;
	int result;
} formats[] = {
	{ "INFO", XPIN_IOC_INFO, sizeof(struct xpin_info), 24, 0, 0 },
	{ "CLAIM", XPIN_IOC_CLAIM, sizeof(struct xpin_claim), 64,
	  XPIN_CLAIM_DENY_GET, 0 },
	{ "CLAIM_MEMFD", XPIN_IOC_CLAIM_MEMFD, sizeof(struct xpin_claim_memfd),
	  72, XPIN_CLAIM_DENY_GET, 0 },
	{ "RELEASE", XPIN_IOC_RELEASE, sizeof(struct xpin_part), 56, 0,
	  -ENOENT },
	{ "SHARE", XPIN_IOC_SHARE, sizeof(struct xpin_part), 56, 0, -ENOENT },
	{ "UNSHARE", XPIN_IOC_UNSHARE, sizeof(struct xpin_part), 56, 0,
	  -ENOENT },
	{ "QUERY", XPIN_IOC_QUERY, sizeof(struct xpin_query), 32, 0, 0 },
};

static int result_of(const struct format *format)
{
	if (format->request == XPIN_IOC_CLAIM_MEMFD &&
	    feature_missing(FEATURE_MEMFD_PIN))
		return -EOPNOTSUPP;
	return format->result;
}

static void fill_in(union argument *argument, const struct format *format)
{
	memset(argument, 0, sizeof(*argument));
	argument->size = format->size;
	switch (format->request) {
	case XPIN_IOC_CLAIM:
		argument->claim.addr = (uintptr_t)memory.wanted;
		argument->claim.length = PAGE;
		break;
	case XPIN_IOC_CLAIM_MEMFD:
		argument->memfd.fd = memory.fd;
		argument->memfd.offset = PAGE;
		argument->memfd.length = PAGE;
		break;
	case XPIN_IOC_QUERY:
		argument->query.addr = (uintptr_t)memory.wanted;
		argument->query.length = PAGE;
		argument->query.states = (uintptr_t)states;
		break;
	case XPIN_IOC_INFO:
		break;
	default:
		argument->part.claim_id = NO_SUCH_CLAIM;
		argument->part.length = XPIN_WHOLE;
	}
}

static bool returns(const struct format *format, void *argument, int expected,
		    const char *what)
{
	int result = call(owner, format->request, argument);
	const union argument *answer = argument;
	struct xpin_part part;

	if (!result && (format->request == XPIN_IOC_CLAIM ||
			format->request == XPIN_IOC_CLAIM_MEMFD))
		require(!xpin_part(owner, XPIN_IOC_RELEASE,
				   format->request == XPIN_IOC_CLAIM ?
				   answer->claim.claim_id :
				   answer->memfd.claim_id, 0, XPIN_WHOLE, &part),
			"release");
	if (result == expected)
		return true;
	ksft_print_msg("%s: %s: %d, not %d\n", format->name, what, result,
		       expected);
	return false;
}

/* A structure that says it has @size bytes; where it ends, @tail follows. */
static bool sized(const struct format *format, size_t size, size_t tail,
		  int expected, const char *what)
{
	union argument *argument = (void *)room;

	memset(room, 0, ROOM);
	fill_in(argument, format);
	argument->size = size;
	if (tail)
		room[tail] = 1;
	return returns(format, argument, expected, what);
}

static void sizes(const struct format *format)
{
	const size_t size = format->size, min_size = format->min_size;
	const int result = result_of(format);
	bool ok;

	ok = sized(format, size, 0, result, "as declared");
	ok &= sized(format, size + 1, 0, result, "a byte longer");
	ok &= sized(format, size + 8, 0, result, "a member longer");
	ok &= sized(format, PAGE, 0, result, "a page");
	ok &= sized(format, size, size, result, "a byte behind the end");
	check(ok, "%s: accepted, with a tail of zeros, too", format->name);

	ok = sized(format, size + 1, size, -E2BIG, "a byte in the tail");
	ok &= sized(format, size + 8, size + 7, -E2BIG, "the member's last");
	ok &= sized(format, PAGE, PAGE - 1, -E2BIG, "the page's last byte");
	check(ok, "%s: a tail that is not zero is E2BIG", format->name);

	ok = sized(format, PAGE + 1, 0, -E2BIG, "a page and a byte");
	ok &= sized(format, ROOM, 0, -E2BIG, "two pages");
	ok &= sized(format, ~0U, 0, -E2BIG, "4 GiB");
	check(ok, "%s: more than a page is E2BIG", format->name);

	/* What follows such a one is the caller's. */
	ok = sized(format, min_size, min_size, result, "as introduced") &&
	     room[min_size] == 1;
	check(ok, "%s: accepted as it was introduced", format->name);

	ok = sized(format, min_size - 1, 0, -EINVAL, "a byte shorter");
	ok &= sized(format, min_size - 8, 0, -EINVAL, "a member shorter");
	ok &= sized(format, 4, 0, -EINVAL, "the size alone");
	ok &= sized(format, 0, 0, -EINVAL, "nothing");
	check(ok, "%s: a shorter one is EINVAL", format->name);
}

/* A flag that is known, but not for this kernel, is something else. */
static void unknown_flags(const struct format *format)
{
	const int known = feature_missing(FEATURE_DENY_GET) ? -EOPNOTSUPP :
							      result_of(format);
	union argument argument;
	bool ok = true;
	int bit;

	for (bit = 0; bit < 32; bit++) {
		fill_in(&argument, format);
		argument.flags = 1U << bit;
		if (argument.flags & format->flags)
			ok &= returns(format, &argument, known, "a known flag");
		else
			ok &= returns(format, &argument, -EINVAL, "a flag");
	}
	check(ok, "%s: an unknown flag is EINVAL", format->name);
}

/* The first @readable bytes of a structure of @size are in front of the hole. */
static bool cut_off(const struct format *format, size_t size, size_t readable,
		    const char *what)
{
	unsigned char *start = ROOM_END - readable;
	union argument argument;

	memset(room, 0, ROOM);
	fill_in(&argument, format);
	argument.size = size;
	memcpy(start, &argument, readable < format->size ? readable :
							   format->size);
	return returns(format, start, -EFAULT, what);
}

static void unreadable(const struct format *format)
{
	const size_t size = format->size;
	bool ok;

	ok = returns(format, NULL, -EFAULT, "NULL");
	ok &= returns(format, (void *)-PAGE, -EFAULT, "the kernel's memory");
	ok &= cut_off(format, size, 0, "all in a hole");
	ok &= cut_off(format, size, 2, "half of the size readable");
	ok &= cut_off(format, size, 4, "the size readable");
	ok &= cut_off(format, size, 8, "size and flags readable");
	ok &= cut_off(format, size, size - 1, "the last byte in a hole");
	ok &= cut_off(format, size + 8, size, "the tail in a hole");
	check(ok, "%s: one that can't be read is EFAULT", format->name);
}

static void unwritable(const struct format *format)
{
	long long pins = pins_held();
	bool ok;

	fill_in((union argument *)room, format);
	require(!mprotect(room, ROOM, PROT_READ), "mprotect");
	ok = returns(format, room, -EFAULT, "read-only");
	require(!mprotect(room, ROOM, PROT_READ | PROT_WRITE), "mprotect");
	check(ok && pins_held() == pins && !xpin_stat("entries") &&
	      xpin_page_state(owner, memory.wanted) == XPIN_PAGE_FREE,
	      "%s: one that can't be written is EFAULT, and nothing is claimed",
	      format->name);
}

static bool kernel_has(const char *function)
{
	FILE *symbols = fopen("/proc/kallsyms", "r");
	char line[512], name[512];
	bool found = false;

	require(symbols, "/proc/kallsyms");
	while (!found && fgets(line, sizeof(line), symbols))
		found = sscanf(line, "%*s %*s %511s", name) == 1 &&
			!strcmp(name, function);
	fclose(symbols);
	return found;
}

static void info(void)
{
	/* What comes out must not depend on what was there. */
	struct xpin_info info = {
		.size = sizeof(info), .api_version = ~0, .backend = ~0,
		.features = ~0ULL,
	};
	enum xpin_backend backend = XPIN_BACKEND_FTRACE;
	__u64 features = 0;

	/* Symbols are there at all, or no feature would ever be expected. */
	require(kernel_has("pin_user_pages_fast"), "the kernel's symbols");
	if (kernel_has("gup_pin_notifier_register")) {
		backend = XPIN_BACKEND_NOTIFIER;
		features |= XPIN_FEATURE_DENY_GET;
	}
	if (kernel_has("memfd_pin_folios"))
		features |= XPIN_FEATURE_MEMFD;
	check(!call(owner, XPIN_IOC_INFO, &info) &&
	      info.api_version == XPIN_API_VERSION &&
	      info.backend == backend,
	      "INFO tells version and backend");
	check(info.features == features,
	      "INFO tells what this kernel can do: features %#llx",
	      (unsigned long long)info.features);
}

static bool unknown(unsigned long request)
{
	union argument argument;
	int result;

	/* Well-formed for the first ioctl, if it were that. */
	fill_in(&argument, &formats[0]);
	result = call(owner, request, &argument);
	if (result != -ENOTTY)
		ksft_print_msg("ioctl 0x%lx: %d\n", request, result);
	return result == -ENOTTY;
}

static void unknown_ioctls(void)
{
	unsigned int number, type, direction;
	bool ok = true;

	for (number = ARRAY_SIZE(formats); number < 256; number++)
		ok &= unknown(_IO(XPIN_TYPE, number));
	check(ok, "an unknown number is ENOTTY");

	ok = true;
	for (type = 0; type < 256; type++) {
		if (type != XPIN_TYPE)
			ok &= unknown(_IO(type, 0));
	}
	check(ok, "another type is ENOTTY");

	ok = true;
	for (number = 0; number < ARRAY_SIZE(formats); number++) {
		ok &= unknown(_IOC(_IOC_NONE, XPIN_TYPE, number, 8));
		for (direction = 1; direction < 4; direction++) {
			ok &= unknown(_IOC(direction, XPIN_TYPE, number, 0));
			ok &= unknown(_IOC(direction, XPIN_TYPE, number,
					   sizeof(struct xpin_info)));
		}
	}
	check(ok, "a direction or a size in the number is ENOTTY");
}

/* --- Other processes (rule R8) --- */

/* How many of the ioctls, which work for the opener, are -EIO here. */
static char count_eio(int fd)
{
	union argument argument;
	char count = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(formats); i++) {
		fill_in(&argument, &formats[i]);
		count += call(fd, formats[i].request, &argument) == -EIO;
	}
	return count;
}

/* A byte, and a file unless @fd is -1. */
static void send_file(int to, int fd, char byte)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(fd))];
	} control = {
		.header = {
			.cmsg_len = CMSG_LEN(sizeof(fd)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		},
	};
	struct iovec data = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	require(sendmsg(to, &message, 0) == 1, "sendmsg");
}

static int receive_file(int from, char *byte)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec data = { byte, 1 };
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	require(recvmsg(from, &message, MSG_CMSG_CLOEXEC) == 1, "recvmsg");
	require(message.msg_controllen >= CMSG_LEN(sizeof(fd)),
		"no file was received");
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	return fd;
}

static void over_a_socket(void)
{
	struct xpin_claim claim;
	int ends[2], fd, back;
	char count = 0;
	pid_t pid;
	bool ok;

	require(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends),
		"socketpair");
	/* Before there is a file that it could inherit. */
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid) {
		close(ends[0]);
		fd = receive_file(ends[1], &count);
		send_file(ends[1], fd, count_eio(fd));
		_exit(0);
	}
	close(ends[1]);

	fd = xpin_open();
	require(!xpin_claim(fd, memory.wanted, PAGE, 0, &claim), "claim");
	send_file(ends[0], fd, 0);
	back = receive_file(ends[0], &count);
	require(waitpid(pid, NULL, 0) == pid, "waitpid");
	check(count == ARRAY_SIZE(formats) &&
	      xpin_page_state(fd, memory.wanted) == XPIN_PAGE_MINE,
	      "passed to another process: every ioctl is EIO there");

	close(fd);
	ok = xpin_page_state(back, memory.wanted) == XPIN_PAGE_MINE &&
	     xpin_page_state(owner, memory.wanted) == XPIN_PAGE_OTHERS &&
	     !xpin_release(back, &claim) &&
	     xpin_page_state(owner, memory.wanted) == XPIN_PAGE_FREE;
	check(ok, "passed back: it works");
	close(back);
	close(ends[0]);
}

static void in_a_child(void)
{
	struct xpin_claim claim;
	int status;
	pid_t pid;

	require(!xpin_claim(owner, memory.wanted, PAGE, 0, &claim), "claim");
	pid = fork();
	require(pid >= 0, "fork");
	if (!pid)
		_exit(count_eio(owner));
	require(waitpid(pid, &status, 0) == pid, "waitpid");
	check(WIFEXITED(status) &&
	      WEXITSTATUS(status) == ARRAY_SIZE(formats) &&
	      xpin_page_state(owner, memory.wanted) == XPIN_PAGE_MINE &&
	      !xpin_release(owner, &claim),
	      "inherited over fork: every ioctl is EIO in the child");
}

/* The same memory in another process, as a thread has it. */
static void same_memory(void)
{
	struct xpin_claim claim;
	int status;
	pid_t pid;

	require(!xpin_claim(owner, memory.wanted, PAGE, 0, &claim), "claim");
	pid = vfork();
	require(pid >= 0, "vfork");
	if (!pid)
		_exit(xpin_page_state(owner, memory.wanted));
	require(waitpid(pid, &status, 0) == pid, "waitpid");
	check(WIFEXITED(status) && WEXITSTATUS(status) == XPIN_PAGE_MINE &&
	      !xpin_release(owner, &claim),
	      "a process with the opener's memory may use the file");
}

int main(void)
{
	size_t i;

	ksft_print_header();
	ksft_set_plan(5 + 8 * ARRAY_SIZE(formats) + 4);
	owner = xpin_open();
	memory_create(&memory, MEMORY_SHMEM_PAGE);
	room = mmap(NULL, ROOM + PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(room != MAP_FAILED && !munmap(ROOM_END, PAGE), "mmap");

	info();
	unknown_ioctls();
	for (i = 0; i < ARRAY_SIZE(formats); i++) {
		sizes(&formats[i]);
		unknown_flags(&formats[i]);
		unreadable(&formats[i]);
		unwritable(&formats[i]);
	}
	over_a_socket();
	in_a_child();
	same_memory();

	memory_destroy(&memory);
	close(owner);
	ksft_finished();
}
