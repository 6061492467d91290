// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/subtree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "act/process.h"
#include "lib/cleanup.h"

/* Deeper nests exist in no service manager or container runtime; cgroup.kill has no such limit. */
#define DEPTH_MAX 32

struct walk {
	void (*fn)(void *user, pid_t pid);
	void *user;
};

/* Pids come in no order, and the list may be longer than any buffer: read piece by piece. */
static int walk_procs(const struct walk *walk, int dir)
{
	_cleanup_close_ int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char buf[1024];
	size_t kept = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, buf + kept, sizeof(buf) - 1 - kept)) > 0) {
		char *line = buf, *end;

		buf[kept + (size_t)n] = '\0';
		while ((end = strchr(line, '\n'))) {
			pid_t pid = (pid_t)strtol(line, NULL, 10);

			if (pid > 0)
				walk->fn(walk->user, pid);
			line = end + 1;
		}
		kept = strlen(line);
		memmove(buf, line, kept);
	}
	/* EOPNOTSUPP: a threaded cgroup, whose processes its domain lists. ENODEV: removed. */
	return 0;
}

static int walk_dir(const struct walk *walk, int dir, int depth)
{
	char entries[2048] __attribute__((aligned(8)));
	int r = walk_procs(walk, dir);
	ssize_t n;

	if (r < 0 || depth == DEPTH_MAX)
		return r;
	while ((n = getdents64(dir, entries, sizeof(entries))) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *entry = (const struct dirent64 *)(entries + at);
			_cleanup_close_ int below = -1;

			at += entry->d_reclen;
			if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
				continue;
			below = openat(dir, entry->d_name,
				       O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
			if (below >= 0)
				(void)walk_dir(walk, below, depth + 1);
		}
	}
	return 0;
}

int subtree_each(const struct cgroupfs *fs, uint64_t cgroup, void (*fn)(void *user, pid_t pid),
		 void *user)
{
	_cleanup_close_ int dir = cgroupfs_open_id(fs, cgroup);

	if (dir < 0)
		return dir == -ENOENT ? -ESTALE : dir;
	return walk_dir(&(struct walk){ .fn = fn, .user = user }, dir, 0);
}

struct signalling {
	const struct subtree_signal *order;
	int count;
};

/* The descriptor comes first and is asked after: whatever the pid means later, only a process that
 * was in the cgroup gets the signal. */
static void signal_process(void *user, pid_t pid)
{
	struct signalling *signalling = user;
	const struct subtree_signal *order = signalling->order;
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);
	char path[CLAIM_PATH_LEN];
	struct proc_stat st;

	if (pidfd < 0 || proc_read_stat(pid, &st) < 0 ||
	    proc_read_cgroup(pid, path, sizeof(path)) < 0)
		return;
	if (st.start_ticks < order->since_ticks || !cgroup_path_within(path, order->path) ||
	    !safety_allows_process(order->safety, pid, &st, path))
		return;
	signalling->count += process_signal(pidfd, order->signal) == 0;
}

int subtree_signal(const struct subtree_signal *order)
{
	struct signalling signalling = { .order = order };
	int r = subtree_each(order->fs, order->cgroup, signal_process, &signalling);

	return r < 0 ? r : signalling.count;
}
