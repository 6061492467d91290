/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two ways to take a census; census.c chooses. */
#ifndef CULPRIT_SENSE_CENSUS_RUNGS_H
#define CULPRIT_SENSE_CENSUS_RUNGS_H

#include <sys/types.h>

#include "sense/census_list.h"

struct census_iter;
struct census_proc;

/* Loads the iterator. 0 or -errno; *out is freed by census_iter_close() (NULL is fine). */
int census_iter_open(struct census_iter **out);
void census_iter_close(struct census_iter *iter);
/* Adds what one pass over all processes (pid 0), or over one, finds. 0 or -errno. */
int census_iter_take(struct census_iter *iter, pid_t pid, struct census_list *list);

/* The same by /proc; cgroup_mount is where cgroup2 is mounted, NULL: cgroups stay 0. */
int census_proc_open(struct census_proc **out, const char *cgroup_mount);
void census_proc_close(struct census_proc *proc);
int census_proc_take(struct census_proc *proc, pid_t pid, struct census_list *list);

/* What /proc/PID/stat says beyond the record. */
struct census_stat {
	char state;
	unsigned int threads;
};

/*
 * Fills comm, ids, faults, start time and flags from the text of /proc/PID/stat, whose comm may
 * hold anything. -EBADMSG when it is no such text.
 */
int census_parse_stat(const char *text, struct culprit_process *p, struct census_stat *st);
/* Fills uid, pages and the tracer from the text of /proc/PID/status; absent lines stay 0. */
void census_parse_status(const char *text, unsigned int page_size, struct culprit_process *p);
/* The path of the "0::" line in the text of /proc/PID/cgroup, which it cuts there; NULL: none. */
char *census_parse_cgroup(char *text);

#endif
