/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all senses have in common. A sense turns kernel events into evidence; it knows no policy,
 * takes no action and writes no log: it returns errors and describes itself, the agent tells.
 */
#ifndef CULPRIT_SENSE_SENSE_H
#define CULPRIT_SENSE_SENSE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "culprit/losses.h"

#define SENSE_MAX_BLIND 8

/* How a sense describes itself in `culprit status` and `culpritd --support`. Texts are static or
 * belong to the sense. */
struct sense_status {
	const char *name;
	const char *source; /* the rung in use; NULL: the sense is without any source */
	const char *blind[SENSE_MAX_BLIND]; /* what this rung cannot see, NULL-terminated */
	/* Why better rungs were passed over, and what is not proven about this one; "" when the
	 * best one is in use. Room for a word on each rung of the longest ladder. */
	char why[400];
};

struct pins;

/* What every sense is opened with. Everything pointed to outlives the sense. */
struct sense_options {
	const char *source; /* force this rung (its name); NULL: the best that proves itself */
	struct pins *pins;  /* where maps are pinned; NULL: nowhere */
	int losses_fd;	    /* the shared losses map; -1: an own one */
	pid_t agent_pid;    /* the agent itself: never evidence against anyone */
	pid_t guardian_pid;
	const char *cgroup_mount; /* where cgroup2 is mounted */
};

#endif
