/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The processes of a cgroup and of those below it, and signals to all of them. Allocates nothing.
 */
#ifndef CULPRIT_ACT_SUBTREE_H
#define CULPRIT_ACT_SUBTREE_H

#include <sys/types.h>

#include "act/safety.h"
#include "lib/cgroupfs.h"

/* Calls fn with each process's pid. By then it may have ended, left, or been joined by others. 0,
 * or -errno (-ESTALE: the cgroup is gone). */
int subtree_each(const struct cgroupfs *fs, uint64_t cgroup, void (*fn)(void *user, pid_t pid),
		 void *user);

struct subtree_signal {
	const struct cgroupfs *fs;
	const struct safety *safety; /* its kin are passed over */
	uint64_t cgroup;
	const char *path; /* of the cgroup; a process is signalled only while it is within */
	int signal;
	/* Only processes that started in this clock tick or later (see process_ticks_now()). A
	 * repeated round finds those that were forked meanwhile, without signalling again all that
	 * have had their signal. */
	uint64_t since_ticks;
};

/* Count of processes signalled, or -errno (-ESTALE: the cgroup is gone). */
int subtree_signal(const struct subtree_signal *order);

#endif
