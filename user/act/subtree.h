/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signals to all processes of a cgroup and of those below it. Allocates nothing. */
#ifndef CULPRIT_ACT_SUBTREE_H
#define CULPRIT_ACT_SUBTREE_H

#include "act/safety.h"
#include "lib/cgroupfs.h"

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
