/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which of several targets a policy acts on that takes one at a time, and when it takes the next.
 * Pure: use, age and time are arguments.
 */
#ifndef CULPRIT_DECIDE_SELECT_H
#define CULPRIT_DECIDE_SELECT_H

#include <stdbool.h>
#include <stdint.h>

enum select_rule {
	SELECT_ALL, /* all at once: nothing to choose */
	SELECT_TOP, /* the largest user first */
	SELECT_NEWEST,
	SELECT_LOWEST_PRIORITY
};

struct select_candidate {
	/* Ids rise with age: 64 bits, of which the lower ones come from a cyclic allocator and the
	 * upper ones count how often that began anew (__kernfs_new_node in fs/kernfs/dir.c). */
	uint64_t cgroup;
	double use;  /* CPUs, of the cgroup and all below it */
	bool passed; /* acted on already, or cannot be */
};

/* The index of the one that is next, -1: none is left. Of two that use the same, the newer one: it
 * has done the least work that others may be waiting for. */
int select_next(const struct select_candidate *candidates, unsigned int count,
		enum select_rule rule);

/*
 * Is it time for the next one? `above`: the value is at enter or above; last_ns: when the one
 * before was held, 0: none has been since the policy began. What the window still has in it from
 * before that says nothing of whether it was enough.
 */
bool select_is_due(bool above, uint64_t last_ns, uint64_t window_ns, uint64_t now_ns);

#endif
