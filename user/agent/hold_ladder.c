// SPDX-License-Identifier: GPL-2.0-or-later
/* The ladders of those who hold a target (escalate): climbed from the claim's start on. */
#include <stdio.h>

#include "agent/holds.h"
#include "lib/units.h"

/* How exactly it is told for how long something was held. */
#define ROUND_NS (100 * NSEC_PER_MSEC)

enum claim_action claim_action_of(enum policy_action action, enum target_kind kind)
{
	switch (action) {
	case ACTION_DEMOTE:
		return CLAIM_DEMOTE;
	case ACTION_TERMINATE:
		return CLAIM_TERMINATE;
	case ACTION_KILL:
		return CLAIM_KILL;
	default:
		return kind == TARGET_CGROUP ? CLAIM_FREEZE : CLAIM_STOP;
	}
}

/* Of the claim, or of the holder that came later. */
static uint64_t start_ns(const struct hold *h, const struct holder *holder)
{
	return h->begun_ns > holder->since_ns ? h->begun_ns : holder->since_ns;
}

static void restart(struct holder *holder)
{
	holder->action = holder->first_action;
	holder->escalate = (struct escalate_state){ 0 };
}

void hold_ladder_restart(struct hold *h)
{
	h->begun_ns = 0;
	for (unsigned int i = 0; i < h->n_holders; i++)
		restart(&h->holders[i]);
}

void hold_ladder_inherit(struct holder *holder, const struct escalate_ladder *old)
{
	if (!escalate_is_same(old, &holder->policy->config->escalate))
		restart(holder);
}

/* What someone else let go is theirs, and no reason to take more. */
static bool is_climbing(const struct hold *h, const struct holder *holder)
{
	return h->begun_ns && !holder->off &&
	       (h->claim ? h->claim->state != CLAIM_EXTERNAL : h->shadow);
}

bool hold_ladder_climb(struct hold *h, uint64_t now_ns, char *reason, size_t size)
{
	bool climbed = false;

	for (unsigned int i = 0; i < h->n_holders; i++) {
		struct holder *holder = &h->holders[i];
		const struct agent_policy *p = holder->policy;
		const struct escalate_ladder *ladder = &p->config->escalate;
		const struct escalate_rung *rung;
		char time[32], held[32];

		/* The value is of this very tick. */
		if (!is_climbing(h, holder) ||
		    !escalate_step(ladder, &holder->escalate, now_ns - start_ns(h, holder),
				   policy_holds(p) && !p->state.below))
			continue;
		rung = &ladder->rungs[holder->escalate.climbed - 1];
		holder->action = claim_action_of(rung->action, h->target.kind);
		units_say_duration(rung->after_ns, time, sizeof(time));
		/* What is overdue comes late. */
		units_say_duration((now_ns - start_ns(h, holder)) / ROUND_NS * ROUND_NS, held,
				   sizeof(held));
		snprintf(reason, size,
			 "policy %s has held it for %s, and its signal is still there (escalate = "
			 "%s:%s)",
			 p->config->name, held, policy_action_name(rung->action), time);
		climbed = true;
	}
	return climbed;
}

bool hold_ladder_next(const struct hold *h, struct ladder_next *next)
{
	next->due_ns = UINT64_MAX;
	for (unsigned int i = 0; i < h->n_holders; i++) {
		const struct holder *holder = &h->holders[i];
		const struct escalate_ladder *ladder = &holder->policy->config->escalate;
		uint64_t due = escalate_due_ns(ladder, &holder->escalate);

		if (!is_climbing(h, holder) || due == UINT64_MAX)
			continue;
		due += start_ns(h, holder);
		if (due >= next->due_ns)
			continue;
		*next = (struct ladder_next){
			.policy = holder->policy,
			.action = ladder->rungs[holder->escalate.climbed].action,
			.due_ns = due,
		};
	}
	return next->due_ns != UINT64_MAX;
}
