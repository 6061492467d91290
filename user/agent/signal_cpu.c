// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The signal `cpu`: CPU time of others, all of it or that of tasks that are not niced (or of a
 * pattern, less what of it are the policy's own targets) over a window. The kernel watches the
 * budgets; policies with the same watched set and window share one. A budget is armed with the
 * lowest threshold at which some policy would begin.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "lib/cleanup.h"

/* A threshold that is never reached: the budget is summed but silent. */
#define NEVER UINT64_MAX

/* --- places ----------------------------------------------------------------------------------- */

bool budget_is_for(const struct agent_budget *b, const struct policy_config *p)
{
	return b->window_ns == p->window_ns && b->left_out == p->left_out &&
	       b->others == p->of_others && b->non_nice == p->non_nice &&
	       (b->others || pattern_equal(b->of, &p->of));
}

/* Of the configuration that was in force until now, whose patterns are still there. */
static int find_old(struct agent *a, const struct policy_config *p)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->budgets); i++)
		if (a->budgets[i].was_used && budget_is_for(&a->budgets[i], p))
			return (int)i;
	return -1;
}

static int find_used(struct agent *a, const struct policy_config *p)
{
	for (unsigned int i = 0; i < a->n_budgets; i++)
		if (a->budgets[i].used && budget_is_for(&a->budgets[i], p))
			return (int)i;
	return -1;
}

/* One that was not in use until now, if there is one: a crossing that was sent for what had the
 * place before is still on its way, and must not be booked to who comes after it. There is a place
 * for each: the configuration was checked for that. */
static int find_free(struct agent *a)
{
	int freed = -1;

	for (unsigned int i = 0; i < ARRAY_SIZE(a->budgets); i++) {
		if (a->budgets[i].used)
			continue;
		if (!a->budgets[i].was_used)
			return (int)i;
		if (freed < 0)
			freed = (int)i;
	}
	return freed;
}

static void use(struct agent *a, int index, const struct policy_config *p)
{
	struct agent_budget *b = &a->budgets[index];

	b->used = true;
	b->others = p->of_others;
	b->non_nice = p->non_nice;
	b->of = &p->of;
	b->left_out = p->left_out;
	b->window_ns = p->window_ns;
	if (a->n_budgets <= (unsigned int)index)
		a->n_budgets = (unsigned int)index + 1;
}

static bool sums_use(const struct policy_config *p)
{
	return p->signal == SIGNAL_CPU && p->metric == METRIC_USE;
}

/* Policies with the same watched set and window share a place, and what had one keeps it, with its
 * sum, wherever its policy stands now. */
static void place_policies(struct agent *a)
{
	a->n_budgets = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(a->budgets); i++) {
		a->budgets[i].was_used = a->budgets[i].used;
		a->budgets[i].used = false;
	}
	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];

		p->budget = sums_use(p->config) ? find_old(a, p->config) : -1;
		if (p->budget >= 0)
			use(a, p->budget, p->config);
	}
	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];

		if (!sums_use(p->config) || p->budget >= 0)
			continue;
		p->budget = find_used(a, p->config);
		if (p->budget >= 0)
			continue;
		p->budget = find_free(a);
		a->budgets[p->budget].changed = a->budgets[p->budget].was_used;
		use(a, p->budget, p->config);
	}
}

/* --- thresholds ------------------------------------------------------------------------------- */

/* A policy that cannot begin now is left out: while the value stays up the kernel would send one
 * crossing per clock tick. */
static uint64_t threshold_ns(struct agent *a, unsigned int budget)
{
	uint64_t lowest = NEVER, now = monotonic_ns();

	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];
		uint64_t ns;

		if (p->budget != (int)budget)
			continue;
		p->deaf = p->paused || policy_is_deaf(&p->state, &p->rule, now);
		if (p->deaf)
			continue;
		ns = (uint64_t)(p->rule.enter * (double)p->config->window_ns);
		if (ns < lowest)
			lowest = ns;
	}
	return lowest;
}

void cpu_signal_arm(struct agent *a, unsigned int budget)
{
	if (a->cpu)
		(void)cpu_arm(a->cpu, budget, threshold_ns(a, budget));
}

static void set_budget(struct agent *a, unsigned int index)
{
	struct agent_budget *b = &a->budgets[index];
	char of[128];
	int r;

	/* What the one before it used would cross for it. */
	if (b->changed || !b->used)
		(void)cpu_set_budget(a->cpu, index, 0, 0, false);
	b->changed = false;
	if (!b->used)
		return;
	r = cpu_set_budget(a->cpu, index, b->window_ns, threshold_ns(a, index), b->non_nice);
	if (r == 0)
		return;
	if (r == -EOPNOTSUPP) {
		agent_degraded_for(a, DEGRADED_CONFIG,
				   "the cpu sense runs on %s and cannot tell niced tasks from "
				   "others, so policies with of = non-nice do not act; write of = "
				   "others, or see `culpritd --support` for what is missing",
				   cpu_status(a->cpu)->source);
		return;
	}
	if (b->others)
		snprintf(of, sizeof(of), b->non_nice ? "non-nice" : "others");
	else
		pattern_print(b->of, of, sizeof(of));
	agent_degraded_for(a, DEGRADED_CONFIG,
			   "the kernel did not take the budget for the CPU time of %s (%s), "
			   "and policies with it do not act; culprit reload tries again",
			   of, strerror(-r));
}

void cpu_signal_build(struct agent *a)
{
	place_policies(a);
	for (unsigned int i = 0; a->cpu && i < ARRAY_SIZE(a->budgets); i++)
		if (a->budgets[i].used || a->budgets[i].was_used)
			set_budget(a, i);
}

double cpu_signal_value(struct agent *a, struct agent_policy *p)
{
	uint64_t used_ns = 0;

	if (!a->cpu || p->budget < 0 || cpu_value(a->cpu, (unsigned int)p->budget, &used_ns) < 0)
		return 0;
	return (double)used_ns / (double)p->config->window_ns;
}

void target_of_task(struct target *target, const struct culprit_task *task)
{
	*target = (struct target){
		.kind = TARGET_PROCESS,
		.cgroup = task->cgroup,
		.pid = (pid_t)task->tgid,
		.start_time_ns = task->start_time_ns,
	};
	memcpy(target->comm, task->comm, sizeof(target->comm));
	target->comm[sizeof(target->comm) - 1] = '\0';
}

/* The hot path: from here to the write into cgroup.freeze nothing blocks and nothing allocates. */
void cpu_signal_crossing(void *agent, const struct culprit_cpu_crossing *crossing)
{
	struct agent *a = agent;
	uint64_t now = monotonic_ns();

	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];
		double value = (double)crossing->used_ns / (double)p->config->window_ns;

		if (p->budget != (int)crossing->budget || p->paused || policy_holds(p))
			continue;
		p->record_ns = crossing->time_ns;
		target_of_task(&p->offender, &crossing->task);
		p->has_offender = true;
		policy_look(a, p, value, now);
	}
	cpu_signal_arm(a, crossing->budget);
}
