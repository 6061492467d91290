/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state machine of a policy: quiet → holding → grace → quiet. Pure: time is an argument.
 */
#ifndef CULPRIT_DECIDE_POLICY_H
#define CULPRIT_DECIDE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

enum policy_phase {
	POLICY_QUIET,
	POLICY_HOLDING,
	POLICY_GRACE
};

struct policy_rule {
	double enter, leave; /* leave ≤ enter */
	uint64_t grace_ns;
	/* After a release, holding does not begin again before this; 0: none. */
	uint64_t min_run_ns;
	/* Released at the latest after this, whatever the value; 0: none. */
	uint64_t max_hold_ns;
};

/* All zero is the beginning. */
struct policy_state {
	enum policy_phase phase;
	uint64_t since_ns;	/* when this phase began */
	uint64_t held_since_ns; /* when holding began (holding and grace) */
	uint64_t quiet_ns;	/* grace used up so far */
	uint64_t last_ns;	/* the last step */
	uint64_t released_ns;	/* the last release; 0: never */
	bool below;		/* was the value below leave at the last step */
	bool above;		/* was it at enter or above */
	bool must_be_quiet;	/* a claim was thawed by hand or max_hold ended it: nothing begins
				   until the value has been below leave once */
};

enum policy_verdict {
	VERDICT_NONE,
	VERDICT_BEGIN,
	VERDICT_RELEASE, /* the signal has been quiet for the grace time */
	VERDICT_EXPIRE	 /* released too, but because max_hold was over */
};

/*
 * One look at the value at time now_ns (CLOCK_MONOTONIC, never going back). Holding begins when the
 * value is at enter or above. The grace clock runs while it is below leave, stands still between
 * the two, and starts anew at enter (the hold goes on: no second BEGIN); between two steps the
 * value is taken to have been what it was at the first of them.
 */
enum policy_verdict policy_step(struct policy_state *state, const struct policy_rule *rule,
				double value, uint64_t now_ns);

/* Would a value at enter change nothing now? Then nobody need be woken by one: the next step that
 * the clock brings sees to the rest. */
bool policy_is_deaf(const struct policy_state *state, const struct policy_rule *rule,
		    uint64_t now_ns);

/* By when policy_step() must be called again, at the latest, if the value stays as it is;
 * UINT64_MAX when nothing will happen by time alone. */
uint64_t policy_next_ns(const struct policy_state *state, const struct policy_rule *rule);

/* Ends a hold from outside (thaw by hand, pause): quiet, and nothing begins until the signal has
 * been quiet once, if it is not so now. Does nothing when nothing is held. */
void policy_end(struct policy_state *state, uint64_t now_ns);

#endif
