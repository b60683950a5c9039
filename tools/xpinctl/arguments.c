// SPDX-License-Identifier: GPL-2.0
/* Numbers that users type. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "xpinctl.h"

/* io_uring takes no larger buffer, and would fail as if it was refused. */
#define LENGTH_MAX	(1024UL << 20)

size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

__u64 parse_number(const char *name, const char *text, __u64 min, __u64 max,
		   bool size)
{
	static const char units[] = "KMG";
	const char *unit = NULL;
	unsigned int shift = 0;
	__u64 number;
	char *end;

	errno = 0;
	number = strtoull(text, &end, strncasecmp(text, "0x", 2) ? 10 : 16);
	if (size && *end)
		unit = strchr(units, toupper(*end));
	if (unit) {
		shift = 10 * (unit - units + 1);
		end++;
	}
	/* strtoull() takes " -1", too. */
	if (!isdigit(*text) || *end || errno)
		usage_error("%s: '%s' is no number%s", name, text,
			    size ? " of bytes, such as 4096, 64K, 2M" : "");
	if (number > max >> shift || number << shift < min)
		usage_error("%s: '%s' is not between %llu and %llu", name, text,
			    min, max);
	return number << shift;
}

pid_t parse_pid(const char *text)
{
	return parse_number("PID", text, 1, INT_MAX, false);
}

__u64 parse_address(const char *text)
{
	__u64 addr = parse_number("ADDR", text, 0, UINT64_MAX, false);

	if (addr % page_size())
		usage_error("ADDR: '%s' is no multiple of the page size, %zu",
			    text, page_size());
	return addr;
}

size_t parse_length(const char *text)
{
	size_t length = parse_number("--length", text, 1, LENGTH_MAX, true);

	if (length % page_size())
		usage_error("--length: '%s' is no multiple of the page size, %zu",
			    text, page_size());
	return length;
}
