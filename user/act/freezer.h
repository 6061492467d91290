/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The freezer of one cgroup, held open. The descriptors belong to the cgroup itself, not to its
 * path: once opened from a directory whose id was compared they can never reach another cgroup, and
 * fail with ENODEV when it is gone.
 */
#ifndef CULPRIT_ACT_FREEZER_H
#define CULPRIT_ACT_FREEZER_H

#include <stdbool.h>

#include "lib/cgroupfs.h"

struct freezer {
	int freeze; /* cgroup.freeze: what was asked of this cgroup itself */
	int events; /* cgroup.events: what is so, also because of a cgroup above; POLLPRI on change
		     */
};

struct freezer_state {
	bool populated; /* some process is in it or below it */
	bool frozen;	/* all of them are frozen */
};

/* -ESTALE: the cgroup is gone; -errno. */
int freezer_open(const struct cgroupfs *fs, uint64_t cgroup, struct freezer *out);
/* Descriptors of the same two open files. 0 or -errno. */
int freezer_dup(const struct freezer *freezer, struct freezer *out);
void freezer_close(struct freezer *freezer);

/* Writes cgroup.freeze of the open file. 0 or -errno, -ENODEV when the cgroup is gone. */
int freezer_write(int freeze_fd, bool freeze);
/* 1 or 0 as cgroup.freeze reads, or -errno. */
int freezer_read(int freeze_fd);
/* Also re-arms POLLPRI. 0 or -errno. */
int freezer_state(int events_fd, struct freezer_state *state);

#endif
