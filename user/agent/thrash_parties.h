/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who takes part when there is thrashing and they are to take turns: who thrashes, and who uses the
 * memory that they lack.
 */
#ifndef CULPRIT_AGENT_THRASH_PARTIES_H
#define CULPRIT_AGENT_THRASH_PARTIES_H

#include "agent/thrash_turns.h"

#define PARTIES_MAX (2 * TURNS_MAX)

struct party {
	struct target target;
	pid_t pid; /* one of its processes */
	uint64_t start_time_ns, footprint_pages, resident_pages, swapin_pages;
	bool refused;	/* may not be acted on */
	bool thrashes;	/* or else only has memory */
	bool is_member; /* takes turns already */
	struct memlimit limit;
};

/* CPU time of a large process, at two looks. */
struct party_use {
	uint32_t tgid;
	uint64_t start_time_ns, footprint_pages;
	const struct culprit_process *process; /* in the look just taken; NULL: it has ended */
	uint64_t used_ns, at_ns, before_ns, before_at_ns;
};

struct parties {
	struct agent *agent;
	const struct agent_policy *policy;
	struct party list[PARTIES_MAX];
	unsigned int count;
	uint64_t swapin_pages; /* of all, within the interval */
	uint64_t least_pages;  /* who swapped in no more is not looked at */
	bool refused;	       /* one that thrashes may not be acted on */
	struct party_use uses[PARTIES_MAX];
	unsigned int n_uses;
};

/* Notes what is used now, so that parties_find() can tell who does something. */
void parties_prepare(struct agent *a, struct parties *ps);
/* By the last two looks. Leaves in the list those who may be acted on, below limits below which
 * there is thrashing. Allocates nothing. */
void parties_find(struct agent *a, const struct agent_policy *p, struct parties *ps);
/* Does one of them thrash below that limit? */
bool parties_thrash_below(const struct parties *ps, uint64_t limit);

/* Is that process, with that cgroup, the target or in it? */
bool party_is_of(struct agent *a, const struct target *target, uint32_t tgid,
		 uint64_t start_time_ns, uint64_t cgroup);
/* Adds up its footprint and what is resident of it, in the look just taken; start_time_ns becomes
 * that of the oldest of its processes, and stays as it is where there is none. */
void party_measure(struct agent *a, struct party *party);

#endif
