/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * escalate: the ladder that is climbed while a claim lasts and its signal still speaks for it.
 * Pure: time is an argument. All times count from the claim's start.
 *
 * The clock goes on while the signal is quiet, but nothing more is done then; when the signal comes
 * back, what is overdue is done one rung at a time, with no less between two rungs than the
 * configuration has there: who is to get a minute to end gets that minute.
 */
#ifndef CULPRIT_DECIDE_ESCALATE_H
#define CULPRIT_DECIDE_ESCALATE_H

#include <stdbool.h>
#include <stdint.h>

#include "decide/action.h"

#define ESCALATE_MAX 4

struct escalate_rung {
	enum policy_action action;
	uint64_t after_ns;
};

/* Rising in time, and in how much each takes from the target. */
struct escalate_ladder {
	struct escalate_rung rungs[ESCALATE_MAX];
	unsigned int count;
};

/* All zero is the beginning. */
struct escalate_state {
	unsigned int climbed; /* how many rungs */
	uint64_t climbed_ns;  /* when the last of them was */
};

/* How much it takes from the target: the more, the higher; alike for freeze and stop. */
int policy_action_severity(enum policy_action action);

bool escalate_is_same(const struct escalate_ladder *x, const struct escalate_ladder *y);

/* When the next rung is due; UINT64_MAX: there is none. */
uint64_t escalate_due_ns(const struct escalate_ladder *ladder, const struct escalate_state *state);

/* True: one rung is climbed now, ladder->rungs[state->climbed - 1]. speaks: the value is not below
 * leave. */
bool escalate_step(const struct escalate_ladder *ladder, struct escalate_state *state,
		   uint64_t held_ns, bool speaks);

#endif
