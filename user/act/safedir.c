// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/safedir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"

static bool is_safe(int fd, bool above)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || (st.st_uid != 0 && st.st_uid != geteuid()))
		return false;
	return !(st.st_mode & (S_IWGRP | S_IWOTH)) || (above && (st.st_mode & S_ISVTX));
}

/* Walks the resolved path name by name; every directory on the way is checked while it is open, so
 * it does not matter what is renamed meanwhile. */
static int open_above(const char *resolved, char *what, size_t what_size)
{
	_cleanup_close_ int at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char path[PATH_MAX], *save = NULL;

	if (at < 0)
		return -errno;
	snprintf(path, sizeof(path), "%s", resolved);
	snprintf(what, what_size, "/");
	if (!is_safe(at, true))
		return -EPERM;
	for (char *name = strtok_r(path, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
		int next = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		snprintf(what, what_size, "%.*s", (int)(name - path + (long)strlen(name)),
			 resolved);
		if (next < 0)
			return errno == ENOTDIR ? -EPERM : -errno;
		close(at);
		at = next;
		if (!is_safe(at, true))
			return -EPERM;
	}
	return take_fd(at);
}

int safedir_open(const char *dir, bool *made, char *what, size_t what_size)
{
	_cleanup_close_ int above = -1, fd = -1;
	_cleanup_free_ char *resolved = NULL;
	char parent[PATH_MAX];
	char *name;

	snprintf(what, what_size, "%s", dir);
	if (snprintf(parent, sizeof(parent), "%s%s", *dir == '/' ? "" : "./", dir) >=
	    (int)sizeof(parent))
		return -ENAMETOOLONG;
	for (size_t n = strlen(parent); n > 1 && parent[n - 1] == '/'; n--)
		parent[n - 1] = '\0';
	name = strrchr(parent, '/');
	*name++ = '\0';
	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;

	resolved = realpath(*parent ? parent : "/", NULL);
	if (!resolved) {
		snprintf(what, what_size, "%s", parent);
		return -errno;
	}
	above = open_above(resolved, what, what_size);
	if (above < 0)
		return above;
	snprintf(what, what_size, "%s", dir);
	if (made) {
		*made = mkdirat(above, name, 0755) == 0;
		if (!*made && errno != EEXIST)
			return -errno;
	}
	fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOTDIR || errno == ELOOP ? -EPERM : -errno;
	if (!is_safe(fd, false))
		return -EPERM;
	return take_fd(fd);
}
