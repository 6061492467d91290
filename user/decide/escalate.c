// SPDX-License-Identifier: GPL-2.0-or-later
#include "decide/escalate.h"

int policy_action_severity(enum policy_action action)
{
	switch (action) {
	case ACTION_NOTIFY:
		return 0;
	case ACTION_DEMOTE:
		return 1;
	case ACTION_TERMINATE:
		return 3;
	case ACTION_KILL:
		return 4;
	default:
		return 2;
	}
}

bool escalate_is_same(const struct escalate_ladder *x, const struct escalate_ladder *y)
{
	if (x->count != y->count)
		return false;
	for (unsigned int i = 0; i < x->count; i++)
		if (x->rungs[i].action != y->rungs[i].action ||
		    x->rungs[i].after_ns != y->rungs[i].after_ns)
			return false;
	return true;
}

uint64_t escalate_due_ns(const struct escalate_ladder *ladder, const struct escalate_state *state)
{
	const struct escalate_rung *next = &ladder->rungs[state->climbed];
	uint64_t due;

	if (state->climbed >= ladder->count)
		return UINT64_MAX;
	if (state->climbed == 0)
		return next->after_ns;
	due = state->climbed_ns + (next->after_ns - next[-1].after_ns);
	return due > next->after_ns ? due : next->after_ns;
}

bool escalate_step(const struct escalate_ladder *ladder, struct escalate_state *state,
		   uint64_t held_ns, bool speaks)
{
	if (!speaks || state->climbed >= ladder->count || held_ns < escalate_due_ns(ladder, state))
		return false;
	state->climbed++;
	state->climbed_ns = held_ns;
	return true;
}
