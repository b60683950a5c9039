/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests of xpinctl share: run it, and take its answer. */
#ifndef TOOL_H
#define TOOL_H

#include <stdbool.h>
#include <stdnoreturn.h>

#include <json-c/json.h>
#include <linux/types.h>

#define XPINCTL		"/bin/xpinctl"

/**
 * struct answer - what came of a command, run once with --json and once without
 * @status: the exit code
 * @json: the JSON object
 * @error: the object's "error"; NULL if there is none
 * @text: what the text run wrote to standard output
 * @same: both exited alike and said the same
 */
struct answer {
	int status;
	struct json_object *json;
	struct json_object *error;
	char text[1 << 16];
	bool same;
};

/* What the process shall be when it becomes xpinctl. */
extern void (*become)(void);
void become_nobody(void);

noreturn void execute(const char * const *arguments);
/* Returns the exit code; what it wrote goes to @out and @err. */
int run_tool(const char * const *arguments, char *out, char *err, size_t size);

#define ask(...) ask_about((const char *[]){ __VA_ARGS__, NULL })

struct answer *ask_about(const char **words);
/* Did it fail with that exit code and errno, and name the way out? */
bool failed(const struct answer *answer, int status, const char *error,
	    const char *way_out);

/* One object on one line, and nothing else. */
struct json_object *parse(const char *text);
struct json_object *get(struct json_object *object, const char *key);
/* "" if there is none. */
const char *string(struct json_object *object, const char *key);
__u64 number(struct json_object *object, const char *key);
bool is_true(struct json_object *object, const char *key);
__u64 address(struct json_object *object, const char *key);
bool is_null(struct json_object *object, const char *key);

/* Nothing that is really installed shall be found, or changed. */
void hide_debian(bool on);

/* These are good until eight more were made. */
const char *text_of(const char *fmt, ...) __attribute__
	((format(printf, 1, 2)));
const char *me(void);
const char *at(const void *addr);

#endif /* TOOL_H */
