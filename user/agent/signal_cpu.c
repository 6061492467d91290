// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The signal `cpu`: CPU time of others (or of a pattern) over a window. The kernel watches the
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

/* A place that summed something else before begins at zero, or what the old set used would cross
 * for the new one. */
static void take_place(struct agent_budget *b, const struct policy_config *p)
{
	char sums[sizeof(b->sums)] = "others";

	if (!p->of_others)
		pattern_print(&p->of, sums, sizeof(sums));
	b->changed = strcmp(b->sums, sums) != 0;
	b->others = p->of_others;
	b->of = &p->of;
	b->window_ns = p->window_ns;
	snprintf(b->sums, sizeof(b->sums), "%s", sums);
}

static int find_budget(struct agent *a, const struct policy_config *p)
{
	for (unsigned int i = 0; i < a->n_budgets; i++) {
		const struct agent_budget *b = &a->budgets[i];

		if (b->window_ns == p->window_ns && b->others == p->of_others &&
		    (b->others || pattern_equal(b->of, &p->of)))
			return (int)i;
	}
	/* There is a place for each: the configuration was checked for that. */
	take_place(&a->budgets[a->n_budgets], p);
	return (int)a->n_budgets++;
}

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
	const struct agent_budget *b = &a->budgets[index];
	int r;

	if (b->changed)
		(void)cpu_set_budget(a->cpu, index, 0, 0, false);
	r = cpu_set_budget(a->cpu, index, b->window_ns, threshold_ns(a, index), false);
	if (r < 0)
		agent_degraded_for(
			a, DEGRADED_CONFIG,
			"the kernel did not take the budget for the CPU time of %s (%s), "
			"and policies with it do not act; culprit reload tries again",
			b->sums, strerror(-r));
}

void cpu_signal_build(struct agent *a)
{
	unsigned int before = a->n_budgets;

	a->n_budgets = 0;
	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];

		p->budget = -1;
		if (p->config->signal != SIGNAL_CPU)
			continue;
		p->budget = find_budget(a, p->config);
	}
	for (unsigned int i = 0; a->cpu && i < a->n_budgets; i++)
		set_budget(a, i);
	/* Those that an earlier configuration had and this one has not. */
	for (unsigned int i = a->n_budgets; a->cpu && i < before; i++)
		(void)cpu_set_budget(a->cpu, i, 0, 0, false);
}

double cpu_signal_value(struct agent *a, struct agent_policy *p)
{
	uint64_t used_ns = 0;

	if (!a->cpu || p->budget < 0 || cpu_value(a->cpu, (unsigned int)p->budget, &used_ns) < 0)
		return 0;
	return (double)used_ns / (double)p->config->window_ns;
}

static void offender_of(struct target *offender, const struct culprit_task *task)
{
	*offender = (struct target){
		.kind = TARGET_PROCESS,
		.cgroup = task->cgroup,
		.pid = (pid_t)task->tgid,
		.start_time_ns = task->start_time_ns,
	};
	memcpy(offender->comm, task->comm, sizeof(offender->comm));
	offender->comm[sizeof(offender->comm) - 1] = '\0';
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
		offender_of(&p->offender, &crossing->task);
		p->has_offender = true;
		policy_look(a, p, value, now);
	}
	cpu_signal_arm(a, crossing->budget);
}
