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

/* The descriptor comes first and is asked after: whatever the pid means later, only a process that
 * was in the cgroup gets the signal. */
static int signal_process(const struct subtree_signal *order, pid_t pid)
{
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);
	char path[CLAIM_PATH_LEN];
	struct proc_stat st;

	if (pidfd < 0 || proc_read_stat(pid, &st) < 0 ||
	    proc_read_cgroup(pid, path, sizeof(path)) < 0)
		return 0;
	if (st.start_ticks < order->since_ticks || !cgroup_path_within(path, order->path) ||
	    !safety_allows_process(order->safety, pid, &st, path))
		return 0;
	return process_signal(pidfd, order->signal) == 0;
}

/* Pids come in no order, and the list may be longer than any buffer: read piece by piece. */
static int signal_procs(const struct subtree_signal *order, int dir)
{
	_cleanup_close_ int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char buf[1024];
	size_t kept = 0;
	int count = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, buf + kept, sizeof(buf) - 1 - kept)) > 0) {
		char *line = buf, *end;

		buf[kept + (size_t)n] = '\0';
		while ((end = strchr(line, '\n'))) {
			pid_t pid = (pid_t)strtol(line, NULL, 10);

			if (pid > 0)
				count += signal_process(order, pid);
			line = end + 1;
		}
		kept = strlen(line);
		memmove(buf, line, kept);
	}
	/* EOPNOTSUPP: a threaded cgroup, whose processes its domain lists. ENODEV: removed. */
	return count;
}

static int walk(const struct subtree_signal *order, int dir, int depth)
{
	char entries[2048] __attribute__((aligned(8)));
	int count = signal_procs(order, dir);
	ssize_t n;

	if (count < 0 || depth == DEPTH_MAX)
		return count;
	while ((n = getdents64(dir, entries, sizeof(entries))) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *entry = (const struct dirent64 *)(entries + at);
			_cleanup_close_ int below = -1;
			int r;

			at += entry->d_reclen;
			if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
				continue;
			below = openat(dir, entry->d_name,
				       O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
			r = below < 0 ? 0 : walk(order, below, depth + 1);
			if (r > 0)
				count += r;
		}
	}
	return count;
}

int subtree_signal(const struct subtree_signal *order)
{
	_cleanup_close_ int dir = cgroupfs_open_id(order->fs, order->cgroup);

	if (dir < 0)
		return dir == -ENOENT ? -ESTALE : dir;
	return walk(order, dir, 0);
}
