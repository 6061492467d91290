// SPDX-License-Identifier: GPL-2.0-or-later
#include "stand_in.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "live.h"

/* /dev/full last: every kernel has it, and other tests and agents open it now and then. Numbers of
 * the others: Documentation/admin-guide/devices.txt. */
static const struct {
	unsigned int major, minor;
} numbers[] = {
	{ 10, 235 }, /* /dev/autofs */
	{ 10, 234 }, /* /dev/btrfs-control */
	{ 1, 7 },    /* /dev/full */
};

/* Containers may be forbidden all but a few devices. */
static bool can_be_opened(dev_t number)
{
	_cleanup_close_ int fd = -1;
	char path[128];

	snprintf(path, sizeof(path), "%s/stand-in", live_nodedir());
	if (mknod(path, S_IFCHR | 0600, number) < 0)
		fail_msg("mknod %s: %s", path, strerror(errno));
	fd = open(path, O_RDWR | O_CLOEXEC);
	unlink(path);
	return fd >= 0;
}

/* A lock that needs no file of its own, on what sysfs has for a number that has a driver. It goes
 * with the process and its children. */
static bool lock(unsigned int i, int how)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", numbers[i].major, numbers[i].minor);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (flock(fd, how) == 0 && can_be_opened(makedev(numbers[i].major, numbers[i].minor)))
		return true;
	close(fd);
	return false;
}

dev_t stand_in(void)
{
	static const int ways[] = { LOCK_EX | LOCK_NB, LOCK_EX };
	static dev_t chosen;

	for (size_t way = 0; !chosen && way < ARRAY_SIZE(ways); way++)
		for (unsigned int i = 0; !chosen && i < ARRAY_SIZE(numbers); i++)
			if (lock(i, ways[way]))
				chosen = makedev(numbers[i].major, numbers[i].minor);
	if (!chosen)
		fail_msg("no device number can stand in for a GPU's: /dev/full cannot be opened "
			 "here, or /sys is not mounted");
	return chosen;
}

void stand_in_node(const char *path)
{
	if (mknod(path, S_IFCHR | 0666, stand_in()) < 0 || chmod(path, 0666) < 0)
		fail_msg("mknod %s: %s", path, strerror(errno));
}
