// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The run-time of the policies: values come in, the pure state machine of decide/policy.h says when
 * something begins or ends, holds.c carries it out.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/thrash_turns.h"
#include "lib/cleanup.h"

bool policy_holds(const struct agent_policy *p)
{
	return p->state.phase != POLICY_QUIET;
}

struct agent_policy *policy_find(struct agent *a, const char *name)
{
	for (unsigned int i = 0; i < a->n_policies; i++)
		if (strcmp(a->policies[i].config->name, name) == 0)
			return &a->policies[i];
	return NULL;
}

const char *policy_unit_name(const struct agent_policy *p)
{
	switch (p->config->signal) {
	case SIGNAL_CPU:
		return p->config->metric == METRIC_DELAY ? "ms" : "cpus";
	case SIGNAL_GPU:
		return "holders";
	default:
		return "share";
	}
}

static double value_of(struct agent *a, struct agent_policy *p)
{
	switch (p->config->signal) {
	case SIGNAL_CPU:
		return p->config->metric == METRIC_DELAY ? delay_signal_value(a, p)
							 : cpu_signal_value(a, p);
	case SIGNAL_GPU:
		return gpu_signal_value(a, p);
	case SIGNAL_THRASH:
		return thrash_signal_value(a, p);
	default:
		return 0;
	}
}

enum claim_action policy_claim_action(const struct policy_config *config)
{
	return claim_action_of(config->action, TARGET_CGROUP);
}

void policy_gather_evidence(struct agent *a, struct agent_policy *p)
{
	_Static_assert(sizeof(p->evidence.device) >= sizeof(p->device),
		       "the path of a device is told whole");

	if (p->config->signal == SIGNAL_THRASH) {
		thrash_signal_evidence(a, p);
		return;
	}
	p->evidence = (struct event_evidence){
		.signal = policy_signal_name(p->config->signal),
		.value = p->value,
		.enter = p->rule.enter,
		.leave = p->rule.leave,
		.unit = policy_unit_name(p),
		.window_ms = p->config->window_ns / NSEC_PER_MSEC,
		.has_waiter = p->waited.wait_ns > 0,
		.waiter = p->waited.waiter,
		.wait_usec = p->waited.wait_ns / NSEC_PER_USEC,
		.wakeups = p->waited.woken,
		.late_wakeups = p->waited.late,
	};
	snprintf(p->evidence.device, sizeof(p->evidence.device), "%s", p->device);
}

static void hold_node(struct agent *a, struct agent_policy *p, const struct tree_node *node,
		      const char *reason)
{
	struct target target;

	if (stops_processes(p)) {
		(void)stop_workload(a, p, node, reason);
		return;
	}
	target_of_node(&target, node);
	(void)hold_begin(a, p, &target, policy_claim_action(p->config), reason);
}

/* Holds whatever cgroups the policy's targets name just now, or the next of them; what is held
 * already is left alone. */
static void hold_targets(struct agent *a, struct agent_policy *p, uint64_t now_ns)
{
	char reason[CLAIM_REASON_LEN];

	if (stops_processes(p))
		stop_go_on(a, p);
	if (p->config->select != SELECT_ALL) {
		select_targets(a, p, now_ns);
		return;
	}
	words_begin(a, p, reason, sizeof(reason));
	for (unsigned int t = 0; t < p->config->n_targets; t++) {
		struct agent_workload *w = &a->workloads[p->config->targets[t]];

		for (unsigned int i = 0; i < w->n_nodes; i++)
			hold_node(a, p, w->nodes[i], reason);
	}
}

static bool targets_path(const struct agent *a, const struct agent_policy *p, const char *path)
{
	for (unsigned int t = 0; t < p->config->n_targets; t++) {
		const struct agent_workload *w = &a->workloads[p->config->targets[t]];

		if (pattern_names_cgroup(&w->config->pattern, path))
			return true;
	}
	return false;
}

bool policies_hold_node(struct agent *a, const struct tree_node *node)
{
	char reason[CLAIM_REASON_LEN];
	bool holds = false;

	/* Nearly always: not once for each policy. */
	if (!workloads_yields(a, node))
		return false;
	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];

		/* Of those that take one at a time, the next look decides. */
		if (p->paused || !policy_holds(p) || p->config->select != SELECT_ALL ||
		    !targets_path(a, p, node->path))
			continue;
		words_begin(a, p, reason, sizeof(reason));
		p->record_ns = 0;
		hold_node(a, p, node, reason);
		holds = true;
	}
	return holds;
}

static void begin(struct agent *a, struct agent_policy *p, uint64_t now_ns)
{
	p->since_ms = unix_ms();
	p->selected_ns = 0;
	policy_gather_evidence(a, p);
	if (p->config->target_offender)
		thrash_signal_begin(a, p);
	else
		hold_targets(a, p, now_ns);
}

static void release(struct agent *a, struct agent_policy *p, const char *why)
{
	p->since_ms = unix_ms();
	p->has_offender = false;
	p->waited.wait_ns = 0;
	p->told_nobody = false;
	thrash_turns_forget(p);
	holds_release(a, p, why);
}

static void arm(struct agent *a, const struct agent_policy *p)
{
	if (p->budget >= 0)
		cpu_signal_arm(a, (unsigned int)p->budget);
	else if (p->delay >= 0)
		delay_signal_arm(a, (unsigned int)p->delay);
}

/* Each signal's sense listens only while some policy can act on what it hears. */
static void listen_anew(struct agent *a, const struct agent_policy *p)
{
	if (p->delay >= 0)
		delay_signal_want(a);
	if (p->config->signal == SIGNAL_CPU)
		arm(a, p);
	else if (p->config->signal == SIGNAL_GPU)
		gpu_signal_want(a);
	else if (p->config->signal == SIGNAL_THRASH)
		thrash_signal_want(a);
}

/* While some wait for their turn it is quiet because they wait, and that lets nobody go; but for
 * the shadow mode, in which nobody waits. */
static double value_to_step(const struct agent *a, const struct agent_policy *p)
{
	return p->value < p->rule.leave && !a->config->shadow && thrash_turns_active(p)
		       ? p->rule.leave
		       : p->value;
}

static void look(struct agent *a, struct agent_policy *p, double value, uint64_t now_ns)
{
	enum policy_phase before = p->state.phase;
	enum policy_verdict verdict;
	char why[CLAIM_REASON_LEN];

	p->value = value;
	verdict = policy_step(&p->state, &p->rule, value_to_step(a, p), now_ns);
	if (p->state.below)
		p->below_ns = now_ns;
	switch (verdict) {
	case VERDICT_BEGIN:
		begin(a, p, now_ns);
		break;
	case VERDICT_RELEASE:
	case VERDICT_EXPIRE:
		words_end(p, verdict, why, sizeof(why));
		release(a, p, why);
		break;
	case VERDICT_NONE:
		if (before != p->state.phase)
			p->since_ms = unix_ms();
		break;
	}
	if (p->deaf && !policy_is_deaf(&p->state, &p->rule, now_ns))
		arm(a, p);
}

void policy_look(struct agent *a, struct agent_policy *p, double value, uint64_t now_ns)
{
	look(a, p, value, now_ns);
	agent_schedule(a);
}

/* Of several one event: the queue is shorter than a list of policies may be. */
static void end_pauses(struct agent *a, uint64_t now_ns)
{
	struct event event = { .kind = EVENT_CONFIG };
	unsigned int n = 0;

	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];

		if (!p->paused || !p->paused_until_ns || now_ns < p->paused_until_ns)
			continue;
		policy_resume(a, p);
		snprintf(event.policy, sizeof(event.policy), "%s", p->config->name);
		n++;
	}
	if (n == 0)
		return;
	if (n > 1)
		event.policy[0] = '\0';
	if (n > 1)
		snprintf(event.reason, sizeof(event.reason),
			 "the time is over for which %u policies were paused", n);
	else
		snprintf(event.reason, sizeof(event.reason),
			 "the time is over for which the policy was paused");
	agent_tell(a, &event);
}

void policies_tick(struct agent *a, uint64_t now_ns)
{
	end_pauses(a, now_ns);
	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];

		if (p->paused)
			continue;
		/* A crossing wakes us at once; the value read here is for those that hold, and for
		 * `status`. */
		p->record_ns = 0;
		look(a, p, value_of(a, p), now_ns);
		if (policy_holds(p) && !p->config->target_offender)
			hold_targets(a, p, now_ns);
	}
}

uint64_t policies_next_ns(const struct agent *a)
{
	uint64_t next = UINT64_MAX;

	for (unsigned int i = 0; i < a->n_policies; i++) {
		const struct agent_policy *p = &a->policies[i];
		uint64_t t;

		if (p->paused) {
			t = p->paused_until_ns ? p->paused_until_ns : UINT64_MAX;
		} else {
			t = policy_next_ns(&p->state, &p->rule);
			/* From the last tick, not from now: what comes between two of them
			 * must not put off the next. */
			if (policy_holds(p) && t > a->last_tick_ns + TICK_NS)
				t = a->last_tick_ns + TICK_NS;
		}
		if (t < next)
			next = t;
	}
	return next;
}

void policy_pause(struct agent *a, struct agent_policy *p, uint64_t until_ns)
{
	p->paused = true;
	p->paused_until_ns = until_ns;
	policy_end(&p->state, monotonic_ns());
	release(a, p, "the policy was paused");
	listen_anew(a, p);
	agent_schedule(a);
}

void policy_resume(struct agent *a, struct agent_policy *p)
{
	p->paused = false;
	p->paused_until_ns = 0;
	p->since_ms = unix_ms();
	/* Whoever resumes a policy wants it to act on what is going on now. */
	p->state = (struct policy_state){ .phase = POLICY_QUIET, .since_ns = monotonic_ns() };
	listen_anew(a, p);
	agent_schedule(a);
}

static bool has_target(const struct agent *a, const struct agent_policy *p)
{
	if (p->config->target_offender)
		return true;
	for (unsigned int t = 0; t < p->config->n_targets; t++)
		if (a->workloads[p->config->targets[t]].n_nodes > 0)
			return true;
	return false;
}

bool policy_waits(const struct agent *a, const struct agent_policy *p)
{
	return !p->paused && !policy_holds(p) && !has_target(a, p);
}

const char *policy_state_name(const struct agent *a, const struct agent_policy *p)
{
	if (p->paused)
		return "paused";
	if (p->state.phase == POLICY_HOLDING)
		return "holding";
	if (p->state.phase == POLICY_GRACE)
		return "grace";
	return policy_waits(a, p) ? "waiting" : "quiet";
}

int policies_build(struct agent *a)
{
	uint64_t now = monotonic_ns();
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	a->n_cpus = cpus > 0 ? (unsigned int)cpus : 1;
	a->n_policies = a->config->n_policies;
	a->policies = calloc(a->n_policies ? a->n_policies : 1, sizeof(*a->policies));
	if (!a->policies)
		return -ENOMEM;
	for (unsigned int i = 0; i < a->n_policies; i++) {
		const struct policy_config *c = &a->config->policies[i];

		a->policies[i] = (struct agent_policy){
			.config = c,
			.rule = { .enter = c->enter,
				  .leave = c->leave,
				  .grace_ns = c->grace_ns,
				  .min_run_ns = c->min_run_ns,
				  .max_hold_ns = c->max_hold_ns },
			.state = { .phase = POLICY_QUIET, .since_ns = now },
			.budget = -1,
			.delay = -1,
			.since_ms = unix_ms(),
		};
		/* A device is open or it is not; the fraction only keeps enter above leave. */
		if (c->signal == SIGNAL_GPU) {
			a->policies[i].rule.enter = 1;
			a->policies[i].rule.leave = 0.5;
		}
		if (thrash_turns_build(&a->policies[i]) < 0)
			return -ENOMEM;
	}
	return 0;
}

bool policy_targets(const struct agent *a, const struct agent_policy *p,
		    const struct target *target)
{
	if (p->config->target_offender)
		return true;
	if (target->kind == TARGET_CGROUP)
		return targets_path(a, p, target->path);
	for (unsigned int t = 0; t < p->config->n_targets; t++)
		if (workload_contains(&a->workloads[p->config->targets[t]], target->path))
			return stops_processes(p);
	return false;
}

/* Does it go on with what the old one of its name was at? */
static bool goes_on(const struct agent_policy *old, const struct agent_policy *p)
{
	const struct policy_config *x = old->config, *y = p->config;

	if (x->signal != y->signal || x->metric != y->metric ||
	    x->target_offender != y->target_offender)
		return false;
	/* What is left of the grace time is no reason for another action. */
	return x->action == y->action || old->state.phase != POLICY_GRACE;
}

static void inherit(struct agent *a, struct agent_policy *old, struct agent_policy *p)
{
	p->state = old->state;
	p->below_ns = old->below_ns;
	p->value = old->value;
	p->since_ms = old->since_ms;
	p->evidence = old->evidence;
	p->has_offender = old->has_offender;
	p->offender = old->offender;
	p->waited = old->waited;
	p->verdict = old->verdict;
	p->told_nobody = old->told_nobody;
	p->selected_ns = old->selected_ns;
	memcpy(p->device, old->device, sizeof(p->device));
	thrash_turns_inherit(old, p);
	holds_inherit(a, old, p);
}

void policies_inherit(struct agent *a, const struct config *old_config,
		      struct agent_policy *old_policies, unsigned int n_old)
{
	for (unsigned int i = 0; i < n_old; i++) {
		struct agent_policy *old = &old_policies[i];
		struct agent_policy *p = policy_find(a, old->config->name);

		/* Whatever it does now, it was switched off by hand. */
		if (p) {
			p->paused = old->paused;
			p->paused_until_ns = old->paused_until_ns;
		}
		/* What was held in one mode says nothing about the other. */
		if (!p || old_config->shadow != a->config->shadow)
			holds_release(a, old, "the configuration has no such policy any more");
		else if (!goes_on(old, p))
			holds_release(a, old, "the policy does something else now");
		else
			inherit(a, old, p);
	}
}

void policies_free(struct agent *a)
{
	for (unsigned int i = 0; i < a->n_policies; i++)
		free(a->policies[i].turns);
	free(a->policies);
	a->policies = NULL;
	a->n_policies = 0;
}
