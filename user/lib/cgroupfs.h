/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cgroup v2 hierarchy as files. A cgroup is named by its id, the inode number of its directory,
 * which is never used again while the machine runs; its path is what people see and may change
 * hands. Whatever is written goes through a directory descriptor whose inode was compared.
 */
#ifndef CULPRIT_LIB_CGROUPFS_H
#define CULPRIT_LIB_CGROUPFS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cgroupfs {
	char mount[PATH_MAX]; /* where cgroup2 is mounted, from /proc/self/mountinfo */
	int mount_fd;	      /* O_DIRECTORY descriptor of it */
	uint64_t root_id;     /* id of the root cgroup that this mount shows */
};

/* Finds the cgroup2 mount (the first whose root is "/"). -ENOENT when there is none. */
int cgroupfs_open(struct cgroupfs *fs);
void cgroupfs_close(struct cgroupfs *fs);

/*
 * Opens the directory of the cgroup with this id by file handle (no path is walked, so it cannot be
 * another). Returns a descriptor that the caller closes, or -ESTALE/-ENOENT when it is gone,
 * -EPERM.
 */
int cgroupfs_open_id(const struct cgroupfs *fs, uint64_t id);

/* Opens /a/b relative to the mount, never leaving it (no "..", no links, nothing mounted over it).
 * Descriptor or -errno; -EXDEV: it would leave it. */
int cgroupfs_open_path(const struct cgroupfs *fs, const char *path);

/* The id of the cgroup whose directory is open at dirfd; 0 on failure (no cgroup has id 0). */
uint64_t cgroupfs_id(int dirfd);

/*
 * Writes the path of the cgroup with this id, relative to the mount and beginning with "/", into
 * buf. 0, -ENOENT when it is gone, -ENAMETOOLONG.
 */
int cgroupfs_path_of(const struct cgroupfs *fs, uint64_t id, char *buf, size_t size);

/* Reads a cgroup file into buf, NUL-terminated, without the last newline. Bytes read or -errno. */
int cgroupfs_read(int dirfd, const char *file, char *buf, size_t size);

/* Writes a short text into a cgroup file in one write(2). 0 or -errno. */
int cgroupfs_write(int dirfd, const char *file, const char *text);

/* The number behind "key " in a flat-keyed file such as cgroup.events or cpu.stat; -errno. */
int cgroupfs_read_key(int dirfd, const char *file, const char *key, uint64_t *value);

/* Is `path` equal to `above`, or below it? "/" is above everything. */
bool cgroup_path_within(const char *path, const char *above);

#endif
