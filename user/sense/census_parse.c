// SPDX-License-Identifier: GPL-2.0-or-later
/* The texts of /proc, see proc(5). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "sense/census_rungs.h"

/* include/linux/sched.h: field 9 of stat */
#define PF_EXITING 0x00000004
#define PF_KTHREAD 0x00200000

/* /proc counts in USER_HZ, which is 100 on every architecture that Debian has. */
#define NSEC_PER_TICK (NSEC_PER_SEC / 100)

static __u32 flags_of(unsigned int kernel_flags, const struct census_stat *st)
{
	__u32 flags = 0;
	bool over = st->state == 'Z' || st->state == 'X' || kernel_flags & PF_EXITING;

	if (kernel_flags & PF_KTHREAD)
		flags |= CULPRIT_PROCESS_KERNEL;
	if (st->state == 'T')
		flags |= CULPRIT_PROCESS_STOPPED;
	if (over)
		flags |= st->threads > 1 ? CULPRIT_PROCESS_HEADLESS : CULPRIT_PROCESS_EXITING;
	return flags;
}

int census_parse_stat(const char *text, struct culprit_process *p, struct census_stat *st)
{
	const char *open = strchr(text, '(');
	/* comm may hold anything, also ") R 1": it ends at the last parenthesis. */
	const char *close = strrchr(text, ')');
	unsigned long long minor, major, start;
	unsigned int kernel_flags;
	int threads;
	size_t n;

	if (!open || !close || close < open)
		return -EBADMSG;
	if (sscanf(close + 1,
		   " %c %u %u %u %*d %*d %u %llu %*u %llu %*u %*u %*u %*d %*d %*d %*d %d %*d %llu",
		   &st->state, &p->ppid, &p->pgrp, &p->session, &kernel_flags, &minor, &major,
		   &threads, &start) != 9)
		return -EBADMSG;
	n = (size_t)(close - open - 1);
	if (n >= sizeof(p->comm))
		n = sizeof(p->comm) - 1;
	memset(p->comm, 0, sizeof(p->comm));
	memcpy(p->comm, open + 1, n);
	st->threads = threads > 0 ? (unsigned int)threads : 0;
	p->minor_faults = minor;
	p->major_faults = major;
	p->start_time_ns = start * NSEC_PER_TICK;
	p->flags |= flags_of(kernel_flags, st);
	return 0;
}

/* The number behind "\nKEY:"; 0 when there is no such line. Keys in status start their lines. */
static unsigned long long number_of(const char *text, const char *key)
{
	size_t length = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, length) == 0 && line[length] == ':')
			return strtoull(line + length + 1, NULL, 10);
	}
	return 0;
}

void census_parse_status(const char *text, unsigned int page_size, struct culprit_process *p)
{
	unsigned int kib = page_size / 1024;

	p->uid = (__u32)number_of(text, "Uid");
	p->anon_pages = number_of(text, "RssAnon") / kib;
	p->file_pages = number_of(text, "RssFile") / kib;
	p->shmem_pages = number_of(text, "RssShmem") / kib;
	p->swap_pages = number_of(text, "VmSwap") / kib;
	if (number_of(text, "TracerPid"))
		p->flags |= CULPRIT_PROCESS_TRACED;
}

char *census_parse_cgroup(char *text)
{
	for (char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, "0::", 3) == 0) {
			line[strcspn(line, "\n")] = '\0';
			return line + 3;
		}
	}
	return NULL;
}
