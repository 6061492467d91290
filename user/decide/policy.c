// SPDX-License-Identifier: GPL-2.0-or-later
#include "decide/policy.h"

static void enter_phase(struct policy_state *state, enum policy_phase phase, uint64_t now_ns)
{
	state->phase = phase;
	state->since_ns = now_ns;
	state->quiet_ns = 0;
}

/* Saturates: a rule may say "ten years" on a clock that began yesterday or at UINT64_MAX. */
static uint64_t after(uint64_t since_ns, uint64_t span_ns)
{
	return since_ns > UINT64_MAX - span_ns ? UINT64_MAX : since_ns + span_ns;
}

static uint64_t may_begin_ns(const struct policy_state *state, const struct policy_rule *rule)
{
	return state->released_ns ? after(state->released_ns, rule->min_run_ns) : 0;
}

static void release(struct policy_state *state, uint64_t now_ns)
{
	enter_phase(state, POLICY_QUIET, now_ns);
	state->held_since_ns = 0;
	state->released_ns = now_ns;
}

static enum policy_verdict step_quiet(struct policy_state *state, const struct policy_rule *rule,
				      uint64_t now_ns)
{
	if (state->below)
		state->must_be_quiet = false;
	if (!state->above || state->must_be_quiet || now_ns < may_begin_ns(state, rule))
		return VERDICT_NONE;
	enter_phase(state, POLICY_HOLDING, now_ns);
	state->held_since_ns = now_ns;
	return VERDICT_BEGIN;
}

/* Holding and grace. `quiet_for_ns`: for how long up to now the value was below leave. */
static enum policy_verdict step_held(struct policy_state *state, const struct policy_rule *rule,
				     uint64_t quiet_for_ns, uint64_t now_ns)
{
	if (rule->max_hold_ns && now_ns >= after(state->held_since_ns, rule->max_hold_ns)) {
		state->must_be_quiet = !state->below;
		release(state, now_ns);
		return VERDICT_EXPIRE;
	}
	if (state->above) {
		if (state->phase == POLICY_GRACE)
			enter_phase(state, POLICY_HOLDING, now_ns);
		return VERDICT_NONE;
	}
	if (state->phase == POLICY_HOLDING) {
		if (!state->below)
			return VERDICT_NONE;
		enter_phase(state, POLICY_GRACE, now_ns);
		quiet_for_ns = 0;
	}
	state->quiet_ns = after(state->quiet_ns, quiet_for_ns);
	if (state->quiet_ns < rule->grace_ns)
		return VERDICT_NONE;
	release(state, now_ns);
	return VERDICT_RELEASE;
}

enum policy_verdict policy_step(struct policy_state *state, const struct policy_rule *rule,
				double value, uint64_t now_ns)
{
	/* What the value was at the last step it was until now. */
	uint64_t quiet_for_ns =
		state->below && now_ns > state->last_ns ? now_ns - state->last_ns : 0;

	state->last_ns = now_ns;
	state->below = value < rule->leave;
	state->above = value >= rule->enter;
	if (state->phase == POLICY_QUIET)
		return step_quiet(state, rule, now_ns);
	return step_held(state, rule, quiet_for_ns, now_ns);
}

bool policy_is_deaf(const struct policy_state *state, const struct policy_rule *rule,
		    uint64_t now_ns)
{
	if (state->phase != POLICY_QUIET || state->must_be_quiet)
		return true;
	return state->above && now_ns < may_begin_ns(state, rule);
}

uint64_t policy_next_ns(const struct policy_state *state, const struct policy_rule *rule)
{
	uint64_t next = UINT64_MAX;

	if (state->phase == POLICY_QUIET)
		return state->above && !state->must_be_quiet ? may_begin_ns(state, rule) : next;
	if (rule->max_hold_ns)
		next = after(state->held_since_ns, rule->max_hold_ns);
	if (state->phase == POLICY_GRACE && state->below) {
		uint64_t left =
			state->quiet_ns < rule->grace_ns ? rule->grace_ns - state->quiet_ns : 0;
		uint64_t end = after(state->last_ns, left);

		if (end < next)
			next = end;
	}
	return next;
}

void policy_end(struct policy_state *state, uint64_t now_ns)
{
	if (state->phase == POLICY_QUIET)
		return;
	state->must_be_quiet = !state->below;
	release(state, now_ns);
}
