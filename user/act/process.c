// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/process.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"

#define NSEC_PER_TICK (NSEC_PER_SEC / 100) /* USER_HZ */

static int open_pid(pid_t pid, struct proc_stat *st)
{
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);
	int r;

	if (pidfd < 0)
		/* EINVAL: a thread's id. Since 6.9 ENOENT says so. */
		return errno == EINVAL || errno == ENOENT ? -ESRCH : -errno;
	r = proc_read_stat(pid, st);
	if (r < 0)
		return r;
	/* If it had ended before /proc was read, that may have been of another one. */
	return process_ended(pidfd) ? -ESRCH : take_fd(pidfd);
}

int process_open(pid_t pid, uint64_t start_time_ns, struct proc_stat *st)
{
	_cleanup_close_ int pidfd = open_pid(pid, st);

	if (pidfd < 0)
		return take_fd(pidfd);
	if (!proc_same_start(start_time_ns, st->start_ticks))
		return -ESTALE;
	return take_fd(pidfd);
}

int process_signal(int pidfd, int signal)
{
	return pidfd_send_signal(pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

bool process_ended(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

bool process_is_stopped(const struct proc_stat *st)
{
	return st->state == 'T' || st->state == 't';
}

bool process_is_stopping(pid_t pid)
{
	_cleanup_closedir_ DIR *threads = NULL;
	const struct dirent *entry;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	threads = opendir(path);
	while (threads && (entry = readdir(threads))) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
		struct proc_stat st;

		if (tid > 0 && proc_read_stat(tid, &st) == 0 && process_is_stopped(&st))
			return true;
	}
	return false;
}

uint64_t process_start_ns(const struct proc_stat *st)
{
	return st->start_ticks * NSEC_PER_TICK;
}

uint64_t process_ticks_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ((uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec) / NSEC_PER_TICK;
}

int process_open_shell(const struct proc_stat *child, pid_t *shell_pid, struct proc_stat *shell)
{
	_cleanup_close_ int pidfd = -1;

	if (child->ppid <= 1 || child->tty_nr == 0)
		return -ENOENT;
	pidfd = open_pid(child->ppid, shell);
	if (pidfd < 0 || shell->session != child->session || shell->tty_nr != child->tty_nr ||
	    shell->pgrp == child->pgrp)
		return -ENOENT;
	*shell_pid = child->ppid;
	return take_fd(pidfd);
}
