// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/memlimit.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/procfs.h"

/* memory.stat has some 60 lines; what is beyond this is not needed. */
#define TEXT_SIZE 8192

static int open_v1(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	const struct mntent *m;
	int fd = -1;

	while (mounts && fd < 0 && (m = getmntent(mounts)))
		if (strcmp(m->mnt_type, "cgroup") == 0 && hasmntopt(m, "memory"))
			fd = open(m->mnt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mounts)
		endmntent(mounts);
	return fd;
}

void memlimits_open(struct memlimits *m, const struct cgroupfs *fs)
{
	char controllers[256] = "";

	*m = (struct memlimits){ .root = -1 };
	if (cgroupfs_read(fs->mount_fd, "cgroup.controllers", controllers, sizeof(controllers)) >
		    0 &&
	    strstr(controllers, "memory"))
		m->root = openat(fs->mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->root >= 0)
		return;
	m->root = open_v1();
	m->v1 = m->root >= 0;
}

void memlimits_close(struct memlimits *m)
{
	if (m->root >= 0)
		close(m->root);
	m->root = -1;
}

/* --- texts -------------------------------------------------------------------------------------
 */

bool memlimit_key(const char *text, const char *key, uint64_t *value)
{
	size_t length = strlen(key);

	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, length) != 0 || !strchr(" :", line[length]) || !line[length])
			continue;
		*value = strtoull(line + length + 1, NULL, 10);
		return true;
	}
	return false;
}

/* "4:cpu,memory:/a/b": is memory one of the controllers before the second colon? */
static char *path_if_memory(char *line)
{
	char *names = strchr(line, ':'), *path;

	if (!names)
		return NULL;
	path = strchr(++names, ':');
	while (path && names < path) {
		size_t n = strcspn(names, ",:");

		if (n == strlen("memory") && strncmp(names, "memory", n) == 0)
			return path + 1;
		names += n + 1;
	}
	return NULL;
}

char *memlimit_v1_path(char *text)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *path = path_if_memory(line);

		if (path)
			return path;
	}
	return NULL;
}

/* --- files -------------------------------------------------------------------------------------
 */

static ssize_t read_text(int dir, const char *name, char *buf, size_t size)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	while (used < size - 1 && (n = read(fd, buf + used, size - 1 - used)) > 0)
		used += (size_t)n;
	buf[used] = '\0';
	return n < 0 ? -errno : (ssize_t)used;
}

/* Bytes; UINT64_MAX: no limit, or no such file. */
static uint64_t read_bytes(int dir, const char *name)
{
	char text[64] = "";
	uint64_t value;

	if (read_text(dir, name, text, sizeof(text)) <= 0 || !isdigit((unsigned char)*text))
		return UINT64_MAX;
	value = strtoull(text, NULL, 10);
	/* v1's "no limit" is the largest multiple of a page below 2^63. */
	return value >= INT64_MAX - 65536 ? UINT64_MAX : value;
}

static uint64_t limit_bytes(const struct memlimits *m, int dir)
{
	uint64_t max, high;

	if (m->v1)
		return read_bytes(dir, "memory.limit_in_bytes");
	max = read_bytes(dir, "memory.max");
	high = read_bytes(dir, "memory.high");
	return max < high ? max : high;
}

static uint64_t pages_of(uint64_t bytes)
{
	return bytes / (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t machine_pages(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES);
}

static int path_of(const struct memlimits *m, pid_t pid, char *buf, size_t size)
{
	char file[64], text[TEXT_SIZE] = "";
	const char *path;
	ssize_t n;

	if (!m->v1)
		return proc_read_cgroup(pid, buf, size);
	snprintf(file, sizeof(file), "/proc/%d/cgroup", (int)pid);
	n = read_text(AT_FDCWD, file, text, sizeof(text));
	if (n < 0)
		return (int)n;
	path = memlimit_v1_path(text);
	if (!path)
		return -ENOENT;
	return (size_t)snprintf(buf, size, "%s", path) >= size ? -ENAMETOOLONG : 0;
}

/* The directory of the first so many bytes of the path. */
static int open_prefix(const struct memlimits *m, const char *path, size_t length)
{
	char prefix[PATH_MAX];

	snprintf(prefix, sizeof(prefix), ".%.*s", (int)length, path);
	return openat(m->root, prefix, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int memlimit_of(const struct memlimits *m, pid_t pid, struct memlimit *out)
{
	char path[PATH_MAX];
	int r;

	out->id = 0;
	out->path[0] = '\0';
	out->pages = machine_pages();
	if (m->root < 0)
		return 0;
	r = path_of(m, pid, path, sizeof(path));
	/* A living one is in no cgroup of that hierarchy, so nothing limits it there. */
	if (r == -ENOENT)
		return kill(pid, 0) == 0 ? 0 : -ESRCH;
	if (r < 0)
		return r;
	/* From the process up: of two alike, the one nearer to it. */
	for (size_t length = strlen(path); length > 1;) {
		_cleanup_close_ int dir = open_prefix(m, path, length);
		uint64_t pages = dir < 0 ? UINT64_MAX : pages_of(limit_bytes(m, dir));

		if (pages < out->pages) {
			out->pages = pages;
			out->id = cgroupfs_id(dir);
			snprintf(out->path, sizeof(out->path), "%.*s", (int)length, path);
		}
		while (length > 1 && path[--length] != '/')
			;
	}
	return 0;
}

static uint64_t machine_capacity(uint64_t resident_pages)
{
	char text[TEXT_SIZE] = "";
	uint64_t available = 0;

	if (read_text(AT_FDCWD, "/proc/meminfo", text, sizeof(text)) > 0)
		(void)memlimit_key(text, "MemAvailable", &available);
	return pages_of(available * 1024) + resident_pages;
}

static uint64_t take(uint64_t from, uint64_t what)
{
	return from > what ? from - what : 0;
}

int memlimit_capacity(const struct memlimits *m, const struct memlimit *limit,
		      uint64_t resident_pages, uint64_t *capacity_pages)
{
	_cleanup_close_ int dir = -1;
	uint64_t used, pages, files = 0, shared = 0;
	char text[TEXT_SIZE] = "";

	if (!limit->id) {
		*capacity_pages = machine_capacity(resident_pages);
		return 0;
	}
	dir = open_prefix(m, limit->path, strlen(limit->path));
	if (dir < 0)
		return -errno;
	if (cgroupfs_id(dir) != limit->id)
		return -ESTALE;
	used = read_bytes(dir, m->v1 ? "memory.usage_in_bytes" : "memory.current");
	if (used == UINT64_MAX || read_text(dir, "memory.stat", text, sizeof(text)) < 0)
		return -ESTALE;
	(void)memlimit_key(text, m->v1 ? "total_cache" : "file", &files);
	(void)memlimit_key(text, m->v1 ? "total_shmem" : "shmem", &shared);
	/* The limit of now, for people raise it when they see it thrash. */
	pages = pages_of(limit_bytes(m, dir));
	if (pages > machine_pages())
		pages = machine_pages();
	*capacity_pages =
		take(pages, take(pages_of(take(used, take(files, shared))), resident_pages));
	return 0;
}
