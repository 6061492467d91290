// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "lib/cleanup.h"

void target_of_node(struct target *target, const struct tree_node *node)
{
	*target = (struct target){ .kind = TARGET_CGROUP, .cgroup = node->id };
	snprintf(target->path, sizeof(target->path), "%s", node->path);
}

struct agent_workload *workload_find(struct agent *a, const char *name)
{
	for (unsigned int i = 0; i < a->n_workloads; i++)
		if (strcmp(a->workloads[i].config->name, name) == 0)
			return &a->workloads[i];
	return NULL;
}

bool workload_contains(const struct agent_workload *w, const char *cgroup_path)
{
	struct subject subject = { .cgroup_path = cgroup_path };

	return pattern_matches(&w->config->pattern, &subject);
}

static int workload_add(struct agent_workload *w, struct tree_node *node)
{
	if (w->n_nodes == w->cap_nodes) {
		unsigned int cap = w->cap_nodes ? w->cap_nodes * 2 : 4;
		struct tree_node **nodes = realloc(w->nodes, cap * sizeof(struct tree_node *));

		if (!nodes)
			return -ENOMEM;
		w->nodes = nodes;
		w->cap_nodes = cap;
	}
	w->nodes[w->n_nodes++] = node;
	return 0;
}

static void workload_remove(struct agent_workload *w, const struct tree_node *node)
{
	for (unsigned int i = 0; i < w->n_nodes; i++) {
		if (w->nodes[i] == node) {
			w->nodes[i] = w->nodes[--w->n_nodes];
			return;
		}
	}
}

static const struct agent_budget *budget_of(const struct agent *a, const struct agent_policy *p)
{
	if (p->budget >= 0)
		return &a->budgets[p->budget];
	return p->delay >= 0 ? &a->delays[p->delay] : NULL;
}

/* Is it in a target of a policy with that budget? */
static bool yields_to(const struct agent *a, const struct agent_budget *b, const char *path)
{
	for (unsigned int i = 0; i < a->n_policies; i++) {
		const struct agent_policy *p = &a->policies[i];

		if (budget_of(a, p) != b)
			continue;
		for (unsigned int t = 0; t < p->config->n_targets; t++)
			if (workload_contains(&a->workloads[p->config->targets[t]], path))
				return true;
	}
	return false;
}

/* Do the cgroup's own tasks count for this budget? A target's own never does:
 * where a unit is shows only now, and it would be frozen, so be quiet, so be thawed, for ever. */
static bool counts_for(const struct agent *a, const struct agent_budget *b,
		       const struct tree_node *node)
{
	struct subject subject = { .cgroup_path = node->path };

	if (!b->others)
		return pattern_matches(b->of, &subject) && !yields_to(a, b, node->path);
	for (unsigned int i = 0; i < a->n_workloads; i++)
		if (a->workloads[i].yields && workload_contains(&a->workloads[i], node->path))
			return false;
	return true;
}

_Static_assert(CULPRIT_CPU_BUDGETS_PER_CGROUP == CULPRIT_DELAY_BUDGETS_PER_CGROUP,
	       "one list for both");

/* Those of the n budgets that this cgroup counts for, as many as fit. */
static unsigned int list_budgets(struct agent *a, const struct agent_budget *budgets,
				 unsigned int n, const struct tree_node *node,
				 uint16_t list[static CULPRIT_CPU_BUDGETS_PER_CGROUP])
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < n; i++) {
		if (!budgets[i].used || !counts_for(a, &budgets[i], node))
			continue;
		if (count == CULPRIT_CPU_BUDGETS_PER_CGROUP) {
			agent_degraded_for(
				a, DEGRADED_CONFIG,
				"a cgroup is watched by more than 8 cpu policies with "
				"different `of` or window; the later ones do not see it");
			break;
		}
		list[count++] = (uint16_t)i;
	}
	return count;
}

/* Tells the senses which budgets this cgroup's tasks count for. */
static void watch_node(struct agent *a, struct tree_node *node)
{
	uint16_t list[CULPRIT_CPU_BUDGETS_PER_CGROUP];
	int r = 0;

	if (a->cpu)
		r = cpu_watch(a->cpu, node->id, list,
			      list_budgets(a, a->budgets, a->n_budgets, node, list));
	if (r == 0 && a->delay)
		r = delay_watch(a->delay, node->id, list,
				list_budgets(a, a->delays, a->n_delays, node, list));
	if (r < 0)
		agent_degraded_for(a, DEGRADED_CONFIG,
				   "the kernel has no room for the watch list of every cgroup");
}

static void add_node(void *agent, struct tree_node *node)
{
	struct agent *a = agent;

	for (unsigned int i = 0; i < a->n_workloads; i++) {
		struct agent_workload *w = &a->workloads[i];

		if (!pattern_names_cgroup(&w->config->pattern, node->path))
			continue;
		if (workload_add(w, node) < 0)
			agent_degraded(a, "out of memory: a workload's cgroup is not watched");
		if (w->yields)
			act_make_ready(a->act, node->id);
		if (w->compared)
			target_use_add(a, node->id);
	}
	watch_node(a, node);
	checks_node(a, node);
}

bool workloads_yields(const struct agent *a, const struct tree_node *node)
{
	for (unsigned int i = 0; i < a->n_workloads; i++) {
		const struct agent_workload *w = &a->workloads[i];

		if (w->yields && pattern_names_cgroup(&w->config->pattern, node->path))
			return true;
	}
	return false;
}

void workloads_news(struct agent *a, enum tree_news news, struct tree_node *node)
{
	if (news != TREE_MADE && a->act)
		act_forget(a->act, node->id);
	if (news != TREE_MADE)
		for (unsigned int i = 0; i < a->n_workloads; i++)
			workload_remove(&a->workloads[i], node);
	if (news != TREE_MADE)
		checks_node_gone(a, node);
	if (news == TREE_REMOVED) {
		spared_drop(a, node->id);
		target_use_drop(a, node->id);
		if (a->delay)
			delay_forget(a->delay, node->id);
		sampler_forget(a, node);
	} else {
		add_node(a, node);
	}
}

int workloads_build(struct agent *a)
{
	unsigned int n = a->config->n_workloads;

	a->workloads = calloc(n ? n : 1, sizeof(*a->workloads));
	if (!a->workloads)
		return -ENOMEM;
	a->n_workloads = n;
	for (unsigned int i = 0; i < a->n_workloads; i++)
		a->workloads[i].config = &a->config->workloads[i];
	for (unsigned int i = 0; i < a->config->n_policies; i++) {
		const struct policy_config *p = &a->config->policies[i];

		for (unsigned int t = 0; t < p->n_targets; t++) {
			a->workloads[p->targets[t]].yields = true;
			a->workloads[p->targets[t]].compared |= p->select == SELECT_TOP;
		}
	}
	return 0;
}

void workloads_sort_in(struct agent *a)
{
	act_forget_all(a->act);
	a->n_uses = 0;
	if (a->tree)
		tree_each(a->tree, add_node, a);
}

void workloads_free(struct agent *a)
{
	for (unsigned int i = 0; i < a->n_workloads; i++)
		free(a->workloads[i].nodes);
	free(a->workloads);
	a->workloads = NULL;
	a->n_workloads = 0;
}
