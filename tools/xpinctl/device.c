// SPDX-License-Identifier: GPL-2.0
/* Open /dev/xpin, or say what to do about it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include <linux/xpin.h>

#include "xpinctl.h"

const char *backend_name(unsigned int backend)
{
	switch (backend) {
	case XPIN_BACKEND_NOTIFIER:
		return "notifier";
	case XPIN_BACKEND_FTRACE:
		return "ftrace";
	}
	return "unknown";
}

static char *missing_way_out(void)
{
	struct module_file file;

	if (module_loaded())
		return NULL;
	file = module_file();
	return module_way_out(&file);
}

int device_try_open(struct json_object **error)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC), reason = errno;
	const char *way_out = NULL;
	char *missing = NULL;

	if (fd >= 0)
		return fd;
	switch (reason) {
	case EACCES:
	case EPERM:
		way_out = WITH_SUDO;
		break;
	case ENOENT:
	case ENXIO:
	case ENODEV:
		missing = missing_way_out();
		way_out = missing ? missing :
			  "the module is loaded, but the device file is missing; "
			  "is devtmpfs mounted on /dev?";
		break;
	}
	*error = error_object(reason, way_out, "can't open %s", DEVICE);
	free(missing);
	return -1;
}

int device_open(void)
{
	struct json_object *error;
	int fd = device_try_open(&error);

	if (fd < 0)
		fail_with(error);
	return fd;
}
