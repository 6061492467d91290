// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Holds: which target is held, and by which policies or by the operator; who of them decides what
 * is done to it.
 */
#include <string.h>

#include "agent/holds.h"
#include "lib/cleanup.h"
#include "lib/procfs.h"

static bool same_target(const struct target *x, const struct target *y)
{
	if (x->kind != y->kind)
		return false;
	if (x->kind == TARGET_CGROUP)
		return x->cgroup == y->cgroup;
	return x->pid == y->pid && proc_same_start_ns(x->start_time_ns, y->start_time_ns);
}

struct hold *hold_find(struct agent *a, const struct target *target)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++)
		if (a->holds[i].used && same_target(&a->holds[i].target, target))
			return &a->holds[i];
	return NULL;
}

bool holds_any(const struct agent *a)
{
	/* What is left alone for some time needs no look: a policy that would hold it has its own.
	 */
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++)
		if (a->holds[i].used && (a->holds[i].claim || !a->holds[i].free_until_ns))
			return true;
	return false;
}

bool holds_shadow(const struct agent *a, const struct agent_policy *p)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++)
		if (a->holds[i].used && a->holds[i].shadow &&
		    hold_holder_index(&a->holds[i], p) >= 0)
			return true;
	return false;
}

bool holds_end_offender(const struct agent *a)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		const struct hold *h = &a->holds[i];

		if (!h->used || !h->claim || !claim_ends(h->claim->action) ||
		    h->claim->state == CLAIM_SLOW)
			continue;
		for (unsigned int j = 0; j < h->n_holders; j++)
			if (h->holders[j].policy->config->target_offender)
				return true;
	}
	return false;
}

struct hold *hold_new(struct agent *a, const struct target *target, enum claim_action action)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		struct hold *h = &a->holds[i];

		if (h->used)
			continue;
		*h = (struct hold){
			.used = true,
			.target = *target,
			.action = action,
			.since_ms = unix_ms(),
		};
		return h;
	}
	return NULL;
}

int hold_holder_index(const struct hold *h, const struct agent_policy *p)
{
	for (unsigned int i = 0; i < h->n_holders; i++)
		if (h->holders[i].policy == p)
			return (int)i;
	return -1;
}

/* Does anybody want it held now? */
bool hold_is_wanted(const struct hold *h)
{
	for (unsigned int i = 0; i < h->n_holders; i++)
		if (!h->holders[i].off)
			return true;
	return h->by_operator;
}

int hold_severity(enum claim_action action)
{
	switch (action) {
	case CLAIM_DEMOTE:
		return 0;
	case CLAIM_TERMINATE:
		return 2;
	case CLAIM_KILL:
		return 3;
	default:
		return 1;
	}
}

/* What the operator does by hand. */
static enum claim_action by_hand(const struct hold *h)
{
	return h->target.kind == TARGET_CGROUP ? CLAIM_FREEZE : CLAIM_STOP;
}

/* Whose want decides what is done: of those that want it held, who wants most, the first among
 * equals. NULL: no policy, but perhaps the operator. */
static const struct holder *leader(const struct hold *h)
{
	const struct holder *first = NULL;

	for (unsigned int i = 0; i < h->n_holders; i++) {
		const struct holder *holder = &h->holders[i];

		if (!holder->off &&
		    (!first || hold_severity(holder->action) > hold_severity(first->action)))
			first = holder;
	}
	if (first && h->by_operator && hold_severity(by_hand(h)) > hold_severity(first->action))
		return NULL;
	return first;
}

struct agent_policy *hold_leading_policy(const struct hold *h)
{
	const struct holder *holder = leader(h);

	return holder ? holder->policy : NULL;
}

enum claim_action hold_wanted_action(const struct hold *h)
{
	const struct holder *holder = leader(h);

	return holder ? holder->action : by_hand(h);
}

/* May it be frozen again for that policy, although someone else let it go? */
bool hold_speaks_again(const struct holder *holder)
{
	const struct agent_policy *p = holder->policy;

	return !holder->off && p->state.phase == POLICY_HOLDING &&
	       (!holder->left_ns || p->below_ns > holder->left_ns);
}

/* In whose name the claim was made; NULL: the operator's. */
const struct agent_policy *hold_claimant(struct agent *a, const struct hold *h)
{
	const struct agent_policy *p = policy_find(a, h->claim->policy);

	if (p || strcmp(h->claim->policy, OPERATOR) == 0)
		return p;
	return hold_leading_policy(h);
}

const char *hold_policy_name(const struct agent_policy *p)
{
	return p ? p->config->name : OPERATOR;
}

/* It was named for what ran in it, and that has gone: what runs in it next is somebody else. */
void hold_forget_offender(struct hold *h)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < h->n_holders; i++)
		if (!h->holders[i].policy->config->target_offender)
			h->holders[kept++] = h->holders[i];
	h->n_holders = kept;
	if (kept == 0 && !h->by_operator)
		h->used = false;
}
