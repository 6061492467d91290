/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The census: one pass over all processes, by a BPF iterator or, without one, by /proc. */
#ifndef CULPRIT_SENSE_CENSUS_H
#define CULPRIT_SENSE_CENSUS_H

#include "culprit/census.h"
#include "sense/sense.h"

struct census;

/*
 * Opens the best rung that finds this very process with its memory, cgroup and start time. *out is
 * freed by census_close(). -ENOTSUP: no rung (or not the forced one), -EINVAL: no such rung.
 */
int census_open(struct census **out, const struct sense_options *options);
void census_close(struct census *census);
const struct sense_status *census_status(const struct census *census);

/*
 * Takes one census into memory of the census itself: *list of *count records, sorted by pid, valid
 * until the next call. `pid` > 0 restricts it to one process (0 records when it is gone). The
 * memory grows with the number of processes and is used again: after the first passes the iterator
 * allocates nothing (/proc now and then, for cgroups that it has not met). 0, or -errno; then
 * *count is 0.
 */
int census_take(struct census *census, pid_t pid, const struct culprit_process **list,
		size_t *count);

extern const char *const census_sources[];

#endif
