// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/frozen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define NAME	 "frozen"
#define NEW_NAME "frozen.new"

bool frozen_is_listed(const struct claim *claim)
{
	return claim->holds && claim->action != CLAIM_DEMOTE && !claim_ends(claim->action);
}

static const char *say_since(char *buf, size_t size, uint64_t unix_ms)
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm;
	size_t n;

	if (!gmtime_r(&seconds, &tm))
		return "-";
	n = strftime(buf, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, size - n, ".%03uZ", (unsigned int)(unix_ms % 1000));
	return buf;
}

static const char *say(char *buf, size_t size, const char *text)
{
	return *text ? text_printable(buf, size, text) : "-";
}

char *frozen_line(char buf[static FROZEN_LINE_MAX], const struct claim *claim)
{
	const struct target *target = &claim->target;
	bool process = target->kind == TARGET_PROCESS;
	char name[TEXT_ESCAPED_SIZE(CLAIM_PATH_LEN)], policy[TEXT_ESCAPED_SIZE(CLAIM_NAME_LEN)];
	char reason[TEXT_ESCAPED_SIZE(CLAIM_REASON_LEN)], since[64];

	snprintf(buf, FROZEN_LINE_MAX, "%s\t%llu\t%s\t%s\t%s\t%s\n", process ? "process" : "cgroup",
		 process ? (unsigned long long)target->pid : (unsigned long long)target->cgroup,
		 say(name, sizeof(name), process ? target->comm : target->path),
		 say(policy, sizeof(policy), claim->policy),
		 say_since(since, sizeof(since), claim->since_ms),
		 say(reason, sizeof(reason), claim->reason));
	return buf;
}

static int write_lines(int dir, const struct claim *const *claims, unsigned int n)
{
	_cleanup_close_ int fd =
		openat(dir, NEW_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	char line[FROZEN_LINE_MAX];
	FILE *f;
	int r = 0;

	/* Who monitors is no root, and the umask is somebody else's. */
	if (fd < 0 || fchmod(fd, 0644) < 0)
		return -errno;
	f = fdopen(fd, "w");
	if (!f)
		return -errno;
	(void)take_fd(fd);
	for (unsigned int i = 0; r == 0 && i < n; i++)
		if (fputs(frozen_line(line, claims[i]), f) < 0)
			r = -errno;
	if (fclose(f) != 0 && r == 0)
		r = -errno;
	return r;
}

int frozen_write(int dir, const struct claim *const *claims, unsigned int n)
{
	int r;

	/* Left by an agent that was killed in the middle. */
	(void)unlinkat(dir, NEW_NAME, 0);
	r = write_lines(dir, claims, n);
	if (r == 0 && renameat(dir, NEW_NAME, dir, NAME) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dir, NEW_NAME, 0);
	return r;
}

void frozen_remove(int dir)
{
	(void)unlinkat(dir, NAME, 0);
	(void)unlinkat(dir, NEW_NAME, 0);
}
