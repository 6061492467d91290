// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/ids.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/cleanup.h"

typedef bool (*look_up_fn)(const char *name, uint32_t *id);

static bool look_up_user(const char *name, uint32_t *id)
{
	const struct passwd *user = getpwnam(name);

	if (user)
		*id = user->pw_uid;
	return user != NULL;
}

static bool look_up_group(const char *name, uint32_t *id)
{
	const struct group *group = getgrnam(name);

	if (group)
		*id = group->gr_gid;
	return group != NULL;
}

static void answer(look_up_fn look_up, const char *name, pid_t parent, int fd)
{
	uint32_t id;

	child_begin(parent, fd);
	_exit(!look_up(name, &id) || write(fd, &id, sizeof(id)) != sizeof(id));
}

static int ask(look_up_fn look_up, const char *name, uint32_t *id)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	int fds[2];
	ssize_t n;
	pid_t parent = getpid(), pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	ours = fds[0];
	theirs = fds[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		answer(look_up, name, parent, theirs);
	/* The end of the file, if it dies without an answer. */
	closep(&theirs);
	theirs = -1;
	do
		n = read(ours, id, sizeof(*id));
	while (n < 0 && errno == EINTR);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return n == sizeof(*id) ? 0 : -ENOENT;
}

int ids_user(const char *name, uint32_t *uid)
{
	return ask(look_up_user, name, uid);
}

int ids_group(const char *name, uint32_t *gid)
{
	return ask(look_up_group, name, gid);
}
