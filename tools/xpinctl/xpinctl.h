/* SPDX-License-Identifier: GPL-2.0 */
/* What the commands of xpinctl share. */
#ifndef XPINCTL_H
#define XPINCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <sys/types.h>

#include <json-c/json.h>

#include <linux/types.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#define DEVICE			"/dev/xpin"
#define WITH_SUDO		"only root may; run it with sudo"

/* Exit codes, where a command gives 1 no other meaning. */
enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* A command gets its own arguments and returns the exit code. */
int command_status(int argc, char **argv);
int command_hold(int argc, char **argv);
int command_probe(int argc, char **argv);
int command_query(int argc, char **argv);
int command_doctor(int argc, char **argv);

/* --- output.c: every answer is a JSON object; the text is made from it --- */

/* --json was given. */
extern bool json;
/* What fail() exits with. */
extern int failure_status;

void add_string(struct json_object *object, const char *key, const char *value);
void add_number(struct json_object *object, const char *key, __u64 value);
void add_bool(struct json_object *object, const char *key, bool value);
/* As a string in hexadecimal: not every reader of JSON knows 64-bit numbers. */
void add_address(struct json_object *object, const char *key, __u64 value);

/* NULL, 0 or false when there is no such key. */
struct json_object *object_of(struct json_object *object, const char *key);
const char *string_of(struct json_object *object, const char *key);
__u64 number_of(struct json_object *object, const char *key);
bool bool_of(struct json_object *object, const char *key);

/* Puts @object out and frees it: with --json as it is, else by @text. */
void answer(struct json_object *object,
	    void (*text)(struct json_object *object));
/* Was everything written? Otherwise says so, and exits. */
void flush_or_exit(void);

/* {"errno", "message"}: what failed, the errno, what to do (unless NULL). */
struct json_object *error_object(int error, const char *way_out,
				 const char *fmt, ...) __attribute__
	((format(printf, 3, 4)));
noreturn void fail_with(struct json_object *error);
noreturn void fail(int error, const char *way_out, const char *fmt, ...) __attribute__
	((format(printf, 3, 4)));
noreturn void usage_error(const char *fmt, ...) __attribute__
	((format(printf, 1, 2)));

/* --- arguments.c --- */

/* A whole number that starts at @min, with a K, M or G behind it if @size. */
__u64 parse_number(const char *name, const char *text, __u64 min, __u64 max,
		   bool size);
pid_t parse_pid(const char *text);
/* Both multiples of the page size. */
__u64 parse_address(const char *text);
size_t parse_length(const char *text);
size_t page_size(void);

/* --- run.c: all strings are to be freed --- */

char *text_of(const char *fmt, ...) __attribute__
	((format(printf, 1, 2)));
/* NULL if there is none. */
char *first_line(const char *path);
/*
 * Runs the program and returns its exit code; -1 if there is none of that name.
 * @output is all that it wrote to standard output, NULL if that was nothing.
 */
int run_program(const char * const *argv, char **output);

/* --- module.c --- */

/**
 * struct module_file - what modinfo says of the module for the running kernel
 * @error: 0; ENOENT: there is none; ENOEXEC: there is no modinfo
 * @path: its path
 * @version: its version
 * @vermagic: the kernel's release it was built for, and more
 * @signer: whose signature it has
 * @backend: "none" for the one that only refuses to load
 * @unsupported: why that one refuses
 */
struct module_file {
	int error;
	char *path;
	char *version;
	char *vermagic;
	char *signer;
	char *backend;
	char *unsupported;
};

bool module_loaded(void);
struct module_file module_file(void);
/* Why there is no /dev/xpin, and what to do. To be freed. */
char *module_way_out(const struct module_file *file);

/* --- device.c --- */

/* Returns -1 and the reason in @error if /dev/xpin can't be opened. */
int device_try_open(struct json_object **error);
int device_open(void);
/* As modinfo calls it. */
const char *backend_name(unsigned int backend);

/* --- process.c --- */

/**
 * struct mapping - one line of /proc/PID/maps
 * @pid: the process
 * @start: first byte
 * @end: first byte behind it
 * @offset: of @start in the file
 * @readable: the process may read it
 * @writable: the process may write it
 * @shared: it is a shared one
 */
struct mapping {
	pid_t pid;
	__u64 start;
	__u64 end;
	__u64 offset;
	bool readable;
	bool writable;
	bool shared;
};

/* Leads to the mapping's file, if it has one. To be freed. */
char *mapping_path(const struct mapping *mapping);
/* Fails unless one mapping holds all of the range. */
struct mapping mapping_find(pid_t pid, __u64 addr, size_t length);
/*
 * Where @addr of a shared mapping of a file in memory now is in this process;
 * NULL and the reason in @why (to be freed), with an errno, for other memory.
 */
void *mapping_share(const struct mapping *mapping, __u64 addr, char **why);
/* Opens a file of /proc/PID; fails if it can't. */
int process_open(pid_t pid, const char *name, int flags);

#endif /* XPINCTL_H */
