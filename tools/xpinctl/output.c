// SPDX-License-Identifier: GPL-2.0
/* How answers and errors get out, for people and for programs. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xpinctl.h"

bool json;
int failure_status = EXIT_FAILED;

void add_string(struct json_object *object, const char *key, const char *value)
{
	json_object_object_add(object, key,
			       value ? json_object_new_string(value) : NULL);
}

void add_number(struct json_object *object, const char *key, __u64 value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

void add_bool(struct json_object *object, const char *key, bool value)
{
	json_object_object_add(object, key, json_object_new_boolean(value));
}

void add_address(struct json_object *object, const char *key, __u64 value)
{
	char text[32];

	snprintf(text, sizeof(text), "%#llx", value);
	add_string(object, key, text);
}

struct json_object *object_of(struct json_object *object, const char *key)
{
	return json_object_object_get(object, key);
}

const char *string_of(struct json_object *object, const char *key)
{
	struct json_object *value = object_of(object, key);

	return value ? json_object_get_string(value) : NULL;
}

__u64 number_of(struct json_object *object, const char *key)
{
	return json_object_get_uint64(object_of(object, key));
}

bool bool_of(struct json_object *object, const char *key)
{
	return json_object_get_boolean(object_of(object, key));
}

/* Of the character of UTF-8 that @text begins with; 0 if it begins with none. */
static size_t utf8_length(const unsigned char *text)
{
	unsigned char lowest = 0x80, highest = 0xbf;
	size_t length, i;

	if (*text < 0x80)
		return 1;
	if (*text < 0xc2 || *text > 0xf4)
		return 0;
	length = *text < 0xe0 ? 2 : *text < 0xf0 ? 3 : 4;
	/* Nothing that is shorter, no surrogate, nothing above U+10FFFF. */
	switch (*text) {
	case 0xe0:
		lowest = 0xa0;
		break;
	case 0xed:
		highest = 0x9f;
		break;
	case 0xf0:
		lowest = 0x90;
		break;
	case 0xf4:
		highest = 0x8f;
		break;
	}
	for (i = 1; i < length; i++) {
		if (text[i] < lowest || text[i] > highest)
			return 0;
		lowest = 0x80;
		highest = 0xbf;
	}
	return length;
}

/* JSON is UTF-8; a file's name need not be. */
static void print_json(struct json_object *object)
{
	const char *text = json_object_to_json_string_ext(object,
			JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE);
	size_t n;

	for (; *text; text += n ? n : 1) {
		n = utf8_length((const unsigned char *)text);
		if (n)
			fwrite(text, 1, n, stdout);
		else
			fputs("\xef\xbf\xbd", stdout);
	}
	putchar('\n');
}

void flush_or_exit(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return;
	fprintf(stderr, "xpinctl: can't write to standard output: %s\n",
		strerrorname_np(errno));
	exit(failure_status);
}

void answer(struct json_object *object,
	    void (*text)(struct json_object *object))
{
	if (json)
		print_json(object);
	else
		text(object);
	json_object_put(object);
	flush_or_exit();
}

static struct json_object *verror_object(int error, const char *way_out,
					 const char *fmt, va_list args)
{
	struct json_object *object = json_object_new_object();
	char *what, *message, *reason = strdup(strerror(error));

	if (!reason || vasprintf(&what, fmt, args) < 0)
		abort();
	*reason = tolower(*reason);
	if (asprintf(&message, "%s: %s (%s)%s%s", what, strerrorname_np(error),
		     reason, way_out ? ": " : "", way_out ? way_out : "") < 0)
		abort();
	add_string(object, "errno", strerrorname_np(error));
	add_string(object, "message", message);
	free(message);
	free(what);
	free(reason);
	return object;
}

struct json_object *error_object(int error, const char *way_out,
				 const char *fmt, ...)
{
	struct json_object *object;
	va_list args;

	va_start(args, fmt);
	object = verror_object(error, way_out, fmt, args);
	va_end(args);
	return object;
}

noreturn void fail_with(struct json_object *error)
{
	struct json_object *object = json_object_new_object();

	/* Programs read standard output, people see standard error. */
	fprintf(stderr, "xpinctl: %s\n", string_of(error, "message"));
	json_object_object_add(object, "error", error);
	if (json)
		print_json(object);
	json_object_put(object);
	exit(failure_status);
}

noreturn void fail(int error, const char *way_out, const char *fmt, ...)
{
	struct json_object *object;
	va_list args;

	va_start(args, fmt);
	object = verror_object(error, way_out, fmt, args);
	va_end(args);
	fail_with(object);
}

noreturn void usage_error(const char *fmt, ...)
{
	struct json_object *object;
	va_list args;

	failure_status = EXIT_USAGE;
	va_start(args, fmt);
	object = verror_object(EINVAL, "see 'xpinctl --help'", fmt, args);
	va_end(args);
	fail_with(object);
}
