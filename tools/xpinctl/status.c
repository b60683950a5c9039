// SPDX-License-Identifier: GPL-2.0
/* xpinctl status: does it work here, and if not, what to do? */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/xpin.h>

#include "xpinctl.h"

#define STATS	"/sys/kernel/debug/xpin/stats"

static void add_module_file(struct json_object *status,
			    struct json_object **error)
{
	struct module_file file = module_file();
	struct json_object *object = NULL;
	char *way_out;

	if (!file.error) {
		object = json_object_new_object();
		add_string(object, "path", file.path);
		add_string(object, "version", file.version);
		add_string(object, "backend", file.backend);
		add_string(object, "unsupported", file.unsupported);
	}
	json_object_object_add(status, "module_file", object);
	way_out = module_way_out(&file);
	*error = error_object(ENODEV, way_out, "xpin does not work");
	free(way_out);
}

static void add_device(struct json_object *status, struct json_object **error)
{
	struct json_object *device = json_object_new_object(), *info_object = NULL;
	struct xpin_info info = { .size = sizeof(info) };
	struct stat file;
	char mode[16];
	int fd = -1;

	add_string(device, "path", DEVICE);
	if (stat(DEVICE, &file)) {
		add_string(device, "mode", NULL);
	} else {
		snprintf(mode, sizeof(mode), "%04o", file.st_mode & 07777);
		add_string(device, "mode", mode);
	}
	if (!*error)
		fd = device_try_open(error);
	if (fd >= 0 && ioctl(fd, XPIN_IOC_INFO, &info)) {
		*error = error_object(errno, NULL, "%s does not answer", DEVICE);
	} else if (fd >= 0) {
		info_object = json_object_new_object();
		add_number(info_object, "version", info.api_version);
		add_string(info_object, "backend", backend_name(info.backend));
		add_address(info_object, "features", info.features);
	}
	if (fd >= 0)
		close(fd);
	add_bool(device, "opens", fd >= 0);
	json_object_object_add(status, "device", device);
	json_object_object_add(status, "api", info_object);
}

static void add_stats(struct json_object *status, bool loaded)
{
	struct json_object *stats = NULL, *error = NULL;
	FILE *file = loaded ? fopen(STATS, "re") : NULL;
	unsigned long long value;
	char name[32];

	if (file) {
		stats = json_object_new_object();
		while (fscanf(file, "%31s %llu", name, &value) == 2)
			add_number(stats, name, value);
		fclose(file);
	} else if (loaded) {
		error = error_object(errno, errno == EACCES ? WITH_SUDO :
				     "run 'sudo mount -t debugfs none /sys/kernel/debug'",
				     "can't open %s", STATS);
	}
	json_object_object_add(status, "stats", stats);
	json_object_object_add(status, "stats_error", error);
}

static void add_limit(struct json_object *status)
{
	struct rlimit limit;

	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (limit.rlim_cur == RLIM_INFINITY)
		json_object_object_add(status, "memlock", NULL);
	else
		add_number(status, "memlock", limit.rlim_cur);
}

static void print_error(struct json_object *error)
{
	printf("  %s\n", string_of(error, "message"));
}

static void print_line(const char *name, const char *value)
{
	printf("%-10s%s\n", name, value);
}

static const char *or_unknown(const char *value)
{
	return value ? value : "unknown";
}

static void text(struct json_object *status)
{
	struct json_object *device = object_of(status, "device");
	struct json_object *file = object_of(status, "module_file");
	struct json_object *stats = object_of(status, "stats");
	struct json_object *error = object_of(status, "error");
	struct json_object *api = object_of(status, "api");
	const char *version = string_of(status, "version");

	printf("%-10s%s%s\n", "module",
	       bool_of(status, "loaded") ? "loaded, version " : "not loaded",
	       version ? version : "");
	if (file)
		printf("%-10s%s, version %s, backend %s\n", "file",
		       string_of(file, "path"),
		       or_unknown(string_of(file, "version")),
		       or_unknown(string_of(file, "backend")));
	if (api)
		printf("%-10sversion %s, backend %s, features %s\n", "API",
		       string_of(api, "version"), string_of(api, "backend"),
		       string_of(api, "features"));
	if (string_of(device, "mode"))
		printf("%-10s%s, mode %s, %s\n", "device",
		       string_of(device, "path"), string_of(device, "mode"),
		       bool_of(device, "opens") ? "opens" : "does not open");
	else
		printf("%-10s%s, missing\n", "device", string_of(device, "path"));
	if (stats) {
		json_object_object_foreach(stats, name, value)
			print_line(name, json_object_get_string(value));
	}
	if (object_of(status, "memlock"))
		printf("%-10s%s bytes\n", "memlock", string_of(status, "memlock"));
	else
		print_line("memlock", "unlimited");
	if (error)
		print_error(error);
	if (object_of(status, "stats_error"))
		print_error(object_of(status, "stats_error"));
}

int command_status(int argc, char **argv)
{
	struct json_object *status = json_object_new_object();
	struct json_object *error = NULL;
	bool loaded = module_loaded(), works;
	char *version;

	if (argc > 1)
		usage_error("status: '%s' is too much", argv[1]);

	version = first_line("/sys/module/xpin/version");
	add_bool(status, "loaded", loaded);
	add_string(status, "version", version);
	free(version);
	if (loaded)
		json_object_object_add(status, "module_file", NULL);
	else
		add_module_file(status, &error);
	add_device(status, &error);
	add_stats(status, loaded);
	add_limit(status);
	works = !error;
	add_bool(status, "works", works);
	json_object_object_add(status, "error", error);
	answer(status, text);
	return works ? EXIT_SUCCESS : EXIT_FAILED;
}
