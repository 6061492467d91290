// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/freezer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"

int freezer_open(const struct cgroupfs *fs, uint64_t cgroup, struct freezer *out)
{
	_cleanup_close_ int dir = cgroupfs_open_id(fs, cgroup);
	_cleanup_close_ int freeze = -1, events = -1;

	*out = (struct freezer){ -1, -1 };
	if (dir < 0)
		return dir == -ENOENT ? -ESTALE : dir;
	freeze = openat(dir, "cgroup.freeze", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (freeze >= 0)
		events = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (events < 0)
		/* A cgroup that is being removed loses them. (The root never had them.) */
		return errno == ENODEV || errno == ENOENT ? -ESTALE : -errno;
	out->freeze = take_fd(freeze);
	out->events = take_fd(events);
	return 0;
}

int freezer_dup(const struct freezer *freezer, struct freezer *out)
{
	_cleanup_close_ int freeze = fcntl(freezer->freeze, F_DUPFD_CLOEXEC, 0);
	_cleanup_close_ int events = fcntl(freezer->events, F_DUPFD_CLOEXEC, 0);

	*out = (struct freezer){ -1, -1 };
	if (freeze < 0 || events < 0)
		return -errno;
	out->freeze = take_fd(freeze);
	out->events = take_fd(events);
	return 0;
}

void freezer_close(struct freezer *freezer)
{
	closep(&freezer->freeze);
	closep(&freezer->events);
	*freezer = (struct freezer){ -1, -1 };
}

int freezer_write(int freeze_fd, bool freeze)
{
	/* EBUSY passes: kernfs answers so while the file is being moved about. */
	for (int attempt = 0; attempt < 100; attempt++) {
		if (pwrite(freeze_fd, freeze ? "1" : "0", 1, 0) == 1)
			return 0;
		if (errno == EBUSY)
			(void)poll(NULL, 0, 1);
		else if (errno != EINTR)
			break;
	}
	/* ENOENT: the write was let in before the files went, and then had to wait until the
	 * cgroup was removed (cgroup_kn_lock_live). */
	return errno == ENOENT ? -ENODEV : -errno;
}

int freezer_read(int freeze_fd)
{
	char c;

	if (pread(freeze_fd, &c, 1, 0) != 1)
		return -errno;
	return c == '1';
}

int freezer_state(int events_fd, struct freezer_state *state)
{
	char buf[256];
	ssize_t n = pread(events_fd, buf, sizeof(buf) - 1, 0);

	if (n < 0)
		return -errno;
	buf[n] = '\0';
	state->populated = strstr(buf, "populated 1") != NULL;
	state->frozen = strstr(buf, "frozen 1") != NULL;
	return 0;
}
