// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/pins.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define BPFFS "/sys/fs/bpf"

/* The name under which a map is pinned first. bpffs allows no "." in names. */
#define NEW_SUFFIX "_new"

#define MAX_NAME 64

const char *const pins_names[] = { "cgroup_cpu",   "process_cpu", "cpu_budget",
				   "gpu_device",   "gpu_holder",  "swap_cgroup",
				   "swap_process", "swap_total",  "losses",
				   "delay_budget", NULL };

struct pins {
	char dir[PATH_MAX];
	int dir_fd; /* holds the lock */
	int error;  /* of the first map that could not be pinned */
};

static bool known(const char *name)
{
	for (const char *const *n = pins_names; *n; n++)
		if (strcmp(*n, name) == 0)
			return true;
	return false;
}

static bool is_bpffs(const struct statfs *fs)
{
	return (unsigned long)fs->f_type == BPF_FS_MAGIC;
}

/* systemd mounts it at boot; in containers and on other inits it may be missing. */
static int mount_bpffs(void)
{
	struct statfs fs;

	if (statfs(BPFFS, &fs) < 0)
		return -errno;
	if (is_bpffs(&fs))
		return 0;
	if ((unsigned long)fs.f_type != SYSFS_MAGIC)
		return -ENOTSUP;
	if (mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
		return -ENOTSUP;
	return 0;
}

static bool below_bpffs_mountpoint(const char *dir)
{
	size_t n = strlen(BPFFS);

	return strncmp(dir, BPFFS, n) == 0 && (dir[n] == '/' || dir[n] == '\0');
}

/* Makes one directory, if it is missing and its parent is on a bpffs. */
static int make_one(const char *path, const char *parent)
{
	struct statfs fs;

	if (access(path, F_OK) == 0)
		return 0;
	if (errno != ENOENT || statfs(parent, &fs) < 0)
		return -errno;
	if (!is_bpffs(&fs))
		return -ENOTSUP;
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* mkdir -p, but never outside of a bpffs. */
static int make_dirs(const char *dir)
{
	char path[PATH_MAX] = "", parent[PATH_MAX] = "/";
	size_t n = 0;
	int r;

	while (dir[n]) {
		n += 1 + strcspn(dir + n + 1, "/");
		snprintf(path, sizeof(path), "%.*s", (int)n, dir);
		r = make_one(path, parent);
		if (r < 0)
			return r;
		memcpy(parent, path, n + 1);
	}
	return 0;
}

/*
 * Opens and locks the directory. bpffs mounted without a mode is writable by all, so a directory
 * that someone else made is not trusted. Descriptor or -errno.
 */
static int lock_dir(const char *dir)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat opened, named;
	struct statfs fs;

	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &fs) < 0 || fstat(fd, &opened) < 0)
		return -errno;
	if (!is_bpffs(&fs))
		return -ENOTSUP;
	if (opened.st_uid != geteuid())
		return -EPERM;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	/* An agent that ended in between may have removed the directory that we hold. */
	if (stat(dir, &named) < 0)
		return -errno;
	if (named.st_ino != opened.st_ino || named.st_dev != opened.st_dev)
		return -ENOENT;
	return take_fd(fd);
}

static int remove_one(int dir_fd, const char *name)
{
	return unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int remove_all(int dir_fd)
{
	char name[MAX_NAME];
	int r = 0;

	for (const char *const *n = pins_names; *n; n++) {
		int error = remove_one(dir_fd, *n);

		r = error ? error : r;
		snprintf(name, sizeof(name), "%s" NEW_SUFFIX, *n);
		error = remove_one(dir_fd, name);
		r = error ? error : r;
	}
	return r;
}

int pins_open(struct pins **out, const char *dir)
{
	_cleanup_free_ struct pins *pins = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	if (dir[0] != '/' || strlen(dir) >= PATH_MAX)
		return -EINVAL;
	pins = calloc(1, sizeof(*pins));
	if (!pins)
		return -ENOMEM;
	snprintf(pins->dir, sizeof(pins->dir), "%s", dir);
	if (below_bpffs_mountpoint(dir)) {
		r = mount_bpffs();
		if (r < 0)
			return r;
	}
	do {
		r = make_dirs(dir);
		if (r < 0)
			return r;
		fd = lock_dir(dir);
	} while (fd == -ENOENT);
	if (fd < 0)
		return fd;
	if (fchmod(fd, 0700) < 0)
		return -errno;
	r = remove_all(fd);
	if (r < 0)
		return r;
	pins->dir_fd = take_fd(fd);
	*out = take_ptr(pins);
	return 0;
}

static int pin(const struct pins *pins, int map_fd, const char *name)
{
	char path[PATH_MAX + MAX_NAME];
	const char *new_name = path + strlen(pins->dir) + 1;
	int r;

	if (!known(name))
		return -EINVAL;
	snprintf(path, sizeof(path), "%s/%s" NEW_SUFFIX, pins->dir, name);
	r = remove_one(pins->dir_fd, new_name);
	if (r < 0)
		return r;
	if (bpf_obj_pin(map_fd, path) < 0)
		return -errno;
	if (renameat(pins->dir_fd, new_name, pins->dir_fd, name) < 0) {
		r = -errno;
		(void)unlinkat(pins->dir_fd, new_name, 0);
		return r;
	}
	return 0;
}

int pins_add(struct pins *pins, int map_fd, const char *name)
{
	int r = pin(pins, map_fd, name);

	if (r < 0 && pins->error == 0)
		pins->error = r;
	return r;
}

void pins_remove(struct pins *pins, const char *name)
{
	if (known(name))
		(void)remove_one(pins->dir_fd, name);
}

int pins_error(const struct pins *pins)
{
	return pins->error;
}

void pins_close(struct pins *pins)
{
	if (!pins)
		return;
	(void)remove_all(pins->dir_fd);
	/* Still locked; not empty when a user keeps something there. */
	(void)rmdir(pins->dir);
	close(pins->dir_fd);
	free(pins);
}

/* A child that the agent forked a moment before it was killed may hold the lock for as long as it
 * takes to die. */
static int lock_stale(const char *dir)
{
	int fd = lock_dir(dir);

	for (int i = 0; fd == -EBUSY && i < 20; i++) {
		usleep(10 * 1000);
		fd = lock_dir(dir);
	}
	return fd;
}

int pins_remove_stale(const char *dir)
{
	_cleanup_close_ int fd = lock_stale(dir);
	int r;

	if (fd < 0)
		return fd;
	r = remove_all(fd);
	if (r == 0 && rmdir(dir) < 0 && errno != ENOTEMPTY && errno != ENOENT)
		r = -errno;
	return r;
}
