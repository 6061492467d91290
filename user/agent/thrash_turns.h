/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `action = turn` of the signal `thrash`, between signal_thrash.c, which looks, and the holds. */
#ifndef CULPRIT_AGENT_THRASH_TURNS_H
#define CULPRIT_AGENT_THRASH_TURNS_H

#include "agent/agent.h"
#include "decide/turns.h"
#include "sense/memlimit.h"

#define TURNS_ROTATIONS 4 /* memory limits below which there is thrashing at the same time */

enum turns_begin {
	TURNS_TAKEN,	/* two or more take turns */
	TURNS_NO_OTHER, /* whoever else thrashes may not be acted on */
	TURNS_NOBODY,	/* at most one thrashes, and for whom should it wait? */
};

/* Room for a policy with action = turn, in the others nothing. 0 or -ENOMEM. */
int thrash_turns_build(struct agent_policy *p);
/* At the look at which thrashing is suspected: so that the next one tells who does something. */
void thrash_turns_prepare(struct agent *a, struct agent_policy *p);
/* Those who thrash now, by the last two looks, take turns from now on, or join those who do. */
enum turns_begin thrash_turns_begin(struct agent *a, struct agent_policy *p);
/* After each look. */
void thrash_turns_step(struct agent *a, struct agent_policy *p);
/* Does somebody have to wait? Then the policy goes on, however quiet it has become. */
bool thrash_turns_active(const struct agent_policy *p);
/* All have been let go. */
void thrash_turns_forget(struct agent_policy *p);
/* Reload: the turns go on. */
void thrash_turns_inherit(struct agent_policy *old, struct agent_policy *p);
/* When the turn of this target comes; "" if it does not wait for one. */
void thrash_turns_words(const struct agent_policy *p, const struct target *target, char *buf,
			size_t size);

/* For thrash_parties.c: who takes turns for this process, NULL: nobody; and does somebody who is in
 * a cgroup below that one take turns? */
const struct target *thrash_turns_member_of(struct agent *a, const struct agent_policy *p,
					    const struct culprit_process *process);
bool thrash_turns_any_below(struct agent *a, const struct agent_policy *p, uint64_t cgroup);

/* thrash_offender.c: what both need */
void thrash_target_of_process(struct agent *a, const struct culprit_process *process,
			      struct target *target);
void thrash_target_of_cgroup(struct agent *a, uint64_t cgroup, struct target *target);
/* Why it may not be acted on; process NULL: the whole cgroup. NULL: it may. */
const char *thrash_refusal(void *agent, const struct culprit_process *process, uint64_t cgroup);
bool thrash_within(void *agent, uint64_t cgroup, uint64_t above);

#endif
