/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tightest memory limit above a process, and how much those below it may have resident
 * together: memory.max and memory.high of cgroup v2, or memory.limit_in_bytes of v1, whichever
 * hierarchy has the controller; else the machine's own memory.
 */
#ifndef CULPRIT_SENSE_MEMLIMIT_H
#define CULPRIT_SENSE_MEMLIMIT_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/cgroupfs.h"

struct memlimits {
	int root; /* directory of the hierarchy that has the memory controller; -1: none has */
	bool v1;
};

struct memlimit {
	uint64_t id;	     /* inode of the cgroup that has the limit; 0: the machine */
	uint64_t pages;	     /* the limit, as it was when asked for */
	char path[PATH_MAX]; /* in its hierarchy; "" for the machine */
};

/* Never fails: where there is no controller all is judged by the machine. `fs` outlives it. */
void memlimits_open(struct memlimits *m, const struct cgroupfs *fs);
void memlimits_close(struct memlimits *m);

/* 0, or -errno: the process is gone. */
int memlimit_of(const struct memlimits *m, pid_t pid, struct memlimit *out);

/*
 * How many pages can be resident of those who have resident_pages of it now: what is free, what is
 * theirs, and what holds files and can be dropped. Allocates nothing. 0, or -errno: the cgroup is
 * gone.
 */
int memlimit_capacity(const struct memlimits *m, const struct memlimit *limit,
		      uint64_t resident_pages, uint64_t *capacity_pages);

/* The number behind "key" in text of lines "key number"; false: there is none. Pure. */
bool memlimit_key(const char *text, const char *key, uint64_t *value);
/* The path of a process in the v1 memory hierarchy, from its /proc/PID/cgroup; NULL: none. Pure;
 * cuts `text` off behind it. */
char *memlimit_v1_path(char *text);

#endif
