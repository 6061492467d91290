// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/cgroupfs.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"

/* include/linux/exportfs.h: a kernfs node by its 64-bit id; cgroupfs has it since 5.5. */
#define FILEID_KERNFS 0xfe

/* Octal escapes of mountinfo (\040 and friends), undone in place. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* One line of mountinfo: "id parent maj:min ROOT MOUNTPOINT options … - TYPE source superoptions".
 */
static bool is_whole_cgroup2(char *line, char **mountpoint)
{
	char *save = NULL;
	char *dash = strstr(line, " - ");
	char *root = NULL, *point = NULL;

	if (!dash || strncmp(dash + 3, "cgroup2 ", 8) != 0)
		return false;
	*dash = '\0';
	for (int i = 0; i < 5; i++) {
		char *word = strtok_r(i ? NULL : line, " ", &save);

		if (!word)
			return false;
		if (i == 3)
			root = word;
		if (i == 4)
			point = word;
	}
	unescape(point);
	*mountpoint = point;
	return strcmp(root, "/") == 0;
}

int cgroupfs_open(struct cgroupfs *fs)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	fs->mount_fd = -1;
	if (!f)
		return -errno;
	while (getline(&line, &size, f) > 0) {
		_cleanup_close_ int fd = -1;
		char *point;

		if (!is_whole_cgroup2(line, &point) || strlen(point) >= sizeof(fs->mount))
			continue;
		fd = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			continue;
		snprintf(fs->mount, sizeof(fs->mount), "%s", point);
		fs->root_id = cgroupfs_id(fd);
		/* Something else may be mounted over it. */
		if (fs->root_id == 0 || faccessat(fd, "cgroup.procs", F_OK, 0) < 0)
			continue;
		fs->mount_fd = take_fd(fd);
		return 0;
	}
	return -ENOENT;
}

void cgroupfs_close(struct cgroupfs *fs)
{
	if (fs->mount_fd >= 0)
		close(fs->mount_fd);
	fs->mount_fd = -1;
}

uint64_t cgroupfs_id(int dirfd)
{
	struct stat st;

	return fstat(dirfd, &st) < 0 ? 0 : st.st_ino;
}

int cgroupfs_open_id(const struct cgroupfs *fs, uint64_t id)
{
	union {
		struct file_handle handle;
		char space[sizeof(struct file_handle) + sizeof(uint64_t)];
	} u = { .handle = { .handle_bytes = sizeof(uint64_t), .handle_type = FILEID_KERNFS } };
	_cleanup_close_ int fd = -1;

	memcpy(u.handle.f_handle, &id, sizeof(id));
	fd = open_by_handle_at(fs->mount_fd, &u.handle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (cgroupfs_id(fd) != id)
		return -ESTALE;
	return take_fd(fd);
}

/* The first name of the path, opened below `above`. *path is moved behind it. */
static int open_next(int above, const char **path)
{
	char name[NAME_MAX + 1];
	size_t length = strcspn(*path, "/");
	int fd;

	if (length >= sizeof(name))
		return -ENAMETOOLONG;
	memcpy(name, *path, length);
	name[length] = '\0';
	if (strcmp(name, "..") == 0)
		return -EXDEV;
	fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	*path += length;
	*path += strspn(*path, "/");
	return fd < 0 ? -errno : fd;
}

static bool same_device(int x, int y)
{
	struct stat a, b;

	return fstat(x, &a) == 0 && fstat(y, &b) == 0 && a.st_dev == b.st_dev;
}

/* One directory after the other: openat2(2) would do it at once, but in a service with
 * RestrictSUIDSGID= there is no such call, because seccomp cannot look at its arguments. */
int cgroupfs_open_path(const struct cgroupfs *fs, const char *path)
{
	int fd = openat(fs->mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	path += strspn(path, "/");
	while (fd >= 0 && *path) {
		_cleanup_close_ int above = fd;

		fd = open_next(above, &path);
		if (fd < 0 || same_device(fd, above))
			continue;
		close(fd);
		fd = -EXDEV;
	}
	return fd;
}

int cgroupfs_path_of(const struct cgroupfs *fs, uint64_t id, char *buf, size_t size)
{
	char link[64], full[PATH_MAX * 2];
	size_t mount_len = strcmp(fs->mount, "/") == 0 ? 0 : strlen(fs->mount);
	_cleanup_close_ int fd = cgroupfs_open_id(fs, id);
	ssize_t n;

	if (fd < 0)
		return fd == -ESTALE ? -ENOENT : fd;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, full, sizeof(full) - 1);
	if (n < 0)
		return -errno;
	full[n] = '\0';
	/* A directory removed since then reads "/path (deleted)" (dcache's d_path). */
	if (faccessat(fd, "cgroup.procs", F_OK, 0) < 0)
		return -ENOENT;
	if (strncmp(full, fs->mount, mount_len) != 0)
		return -ENOENT;
	if ((size_t)snprintf(buf, size, "%s", full[mount_len] ? full + mount_len : "/") >= size)
		return -ENAMETOOLONG;
	return 0;
}

int cgroupfs_read(int dirfd, const char *file, char *buf, size_t size)
{
	_cleanup_close_ int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t used = 0;

	if (fd < 0)
		return -errno;
	while (used < size - 1) {
		ssize_t n = read(fd, buf + used, size - 1 - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	if (used > 0 && buf[used - 1] == '\n')
		used--;
	buf[used] = '\0';
	return (int)used;
}

int cgroupfs_write(int dirfd, const char *file, const char *text)
{
	_cleanup_close_ int fd = openat(dirfd, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = write(fd, text, strlen(text));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int cgroupfs_read_key(int dirfd, const char *file, const char *key, uint64_t *value)
{
	char buf[4096];
	size_t key_len = strlen(key);
	int n = cgroupfs_read(dirfd, file, buf, sizeof(buf));

	if (n < 0)
		return n;
	for (char *line = buf; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		if (strncmp(line, key, key_len) == 0 && line[key_len] == ' ') {
			*value = strtoull(line + key_len + 1, NULL, 10);
			return 0;
		}
	}
	return -ENOENT;
}

bool cgroup_path_within(const char *path, const char *above)
{
	size_t n = strlen(above);

	while (n > 0 && above[n - 1] == '/')
		n--;
	return strncmp(path, above, n) == 0 && (path[n] == '/' || path[n] == '\0');
}
