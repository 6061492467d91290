// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"

/* /proc counts in USER_HZ, which is 100 on every architecture that Debian has. */
#define NSEC_PER_TICK (NSEC_PER_SEC / 100)

/* Reads a small file whole, NUL-terminated. A process that is gone is -ESRCH, however it shows. */
static int read_file(const char *path, char *buf, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return (int)n;
}

int proc_read_stat(pid_t pid, struct proc_stat *st)
{
	char path[64], buf[1024];
	char *open_paren, *close_paren;
	unsigned long long user, system, start;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	r = read_file(path, buf, sizeof(buf));
	if (r < 0)
		return r;
	/* comm may hold anything, also ") R 1": it ends at the last parenthesis. */
	open_paren = strchr(buf, '(');
	close_paren = strrchr(buf, ')');
	if (!open_paren || !close_paren)
		return -EBADMSG;
	*close_paren = '\0';
	memset(st, 0, sizeof(*st));
	snprintf(st->comm, sizeof(st->comm), "%s", open_paren + 1);
	if (sscanf(close_paren + 2,
		   "%c %d %d %d %d %*d %u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu",
		   &st->state, &st->ppid, &st->pgrp, &st->session, &st->tty_nr, &st->flags, &user,
		   &system, &start) != 9)
		return -EBADMSG;
	st->cpu_ns = (user + system) * NSEC_PER_TICK;
	st->start_ticks = start;
	return 0;
}

bool proc_same_start(uint64_t start_time_ns, uint64_t start_ticks)
{
	return start_time_ns / NSEC_PER_TICK == start_ticks;
}

bool proc_same_start_ns(uint64_t a_ns, uint64_t b_ns)
{
	return a_ns / NSEC_PER_TICK == b_ns / NSEC_PER_TICK;
}

bool proc_is_pending(pid_t pid, int signal)
{
	static const char *const names[] = { "\nSigPnd:", "\nShdPnd:" };
	char path[64], buf[8192];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (read_file(path, buf, sizeof(buf)) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *set = strstr(buf, names[i]);

		if (set && (strtoull(set + strlen(names[i]), NULL, 16) >> (signal - 1) & 1))
			return true;
	}
	return false;
}

int proc_read_cgroup(pid_t pid, char *buf, size_t size)
{
	/* A line for each v1 hierarchy, too. On the stack: this is read on the way to a freeze. */
	char path[64], lines[16384];
	char *line, *end;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	r = read_file(path, lines, sizeof(lines));
	if (r < 0)
		return r;
	line = strncmp(lines, "0::", 3) == 0 ? lines : strstr(lines, "\n0::");
	if (!line)
		return -ENOENT;
	line = strchr(line, '/');
	if (!line)
		return -EBADMSG;
	end = strchr(line, '\n');
	if (!end)
		return -ENAMETOOLONG;
	*end = '\0';
	return (size_t)snprintf(buf, size, "%s", line) >= size ? -ENAMETOOLONG : 0;
}

int proc_read_exe(pid_t pid, char *buf, size_t size)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	n = readlink(path, buf, size - 1);
	if (n < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	buf[n] = '\0';
	return 0;
}

uint64_t vmstat_pswpin(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/vmstat", "re");
	unsigned long long value;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "pswpin %llu", &value) == 1)
			return value;
	return 0;
}
