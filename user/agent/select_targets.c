// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Policies that act on one of their targets at a time: decide/select.h says on which and when, from
 * what is known here of each.
 */
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/holds.h"
#include "lib/cleanup.h"

struct selection {
	struct agent *agent;
	struct agent_policy *policy;
	uint64_t now_ns;
	struct select_candidate candidates[CLAIM_MAX];
	const struct tree_node *nodes[CLAIM_MAX];
	unsigned int count;
};

/* Would holding it change nothing? What only yields to others still runs. */
static bool is_held_by(const struct hold *h, const struct agent_policy *p)
{
	if (!h->shadow && (!h->claim || h->claim->state == CLAIM_EXTERNAL))
		return false;
	return h->action != CLAIM_DEMOTE || policy_claim_action(p->config) == CLAIM_DEMOTE;
}

/* Is it held already, by itself or with a cgroup above it? Or left alone, as somebody wants it? */
static bool is_settled(struct agent *a, const struct agent_policy *p, const struct tree_node *node)
{
	if (stops_processes(p) && stop_holds_any(a, p, node->path))
		return true;
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		const struct hold *h = &a->holds[i];
		int at;

		if (!h->used || h->target.kind != TARGET_CGROUP)
			continue;
		if (is_held_by(h, p) && cgroup_path_within(node->path, h->target.path))
			return true;
		if (h->target.cgroup != node->id)
			continue;
		at = hold_holder_index(h, p);
		if (h->free_until_ns || (at >= 0 && !h->holders[at].passed))
			return true;
	}
	return false;
}

static bool is_listed(const struct selection *s, uint64_t cgroup)
{
	for (unsigned int i = 0; i < s->count; i++)
		if (s->candidates[i].cgroup == cgroup)
			return true;
	return false;
}

static void add_candidate(struct selection *s, const struct tree_node *node)
{
	struct select_candidate *c = &s->candidates[s->count];

	/* Two workloads may name the same. */
	if (s->count == ARRAY_SIZE(s->candidates) || is_listed(s, node->id))
		return;
	*c = (struct select_candidate){
		.cgroup = node->id,
		.passed = is_settled(s->agent, s->policy, node),
	};
	if (!c->passed && s->policy->config->select == SELECT_TOP)
		c->use = target_use_now(s->agent, node->id, s->now_ns);
	s->nodes[s->count++] = node;
}

static void list_candidates(struct selection *s)
{
	const struct policy_config *config = s->policy->config;

	for (unsigned int t = 0; t < config->n_targets; t++) {
		const struct agent_workload *w = &s->agent->workloads[config->targets[t]];

		for (unsigned int i = 0; i < w->n_nodes; i++)
			add_candidate(s, w->nodes[i]);
	}
}

/* When the last one was held; now, while it is not known whether it is. */
static uint64_t last_held_ns(const struct agent *a, const struct agent_policy *p, uint64_t now_ns)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		const struct hold *h = &a->holds[i];
		int at = h->used ? hold_holder_index(h, p) : -1;

		if (at < 0 || h->holders[at].off)
			continue;
		if (h->claim ? h->claim->state == CLAIM_ACTING : !h->shadow)
			return now_ns;
	}
	return p->selected_ns;
}

static void hold_next(struct selection *s)
{
	struct agent_policy *p = s->policy;
	char reason[CLAIM_REASON_LEN];
	int next;

	while ((next = select_next(s->candidates, s->count, p->config->select)) >= 0) {
		struct select_candidate *c = &s->candidates[next];
		struct target target;
		int r;

		words_select(s->agent, p, c, reason, sizeof(reason));
		target_of_node(&target, s->nodes[next]);
		r = stops_processes(p) ? stop_workload(s->agent, p, s->nodes[next], reason)
				       : hold_try(s->agent, p, &target,
						  policy_claim_action(p->config), reason);
		if (r == 0)
			p->selected_ns = s->now_ns;
		if (r == 0 || hold_must_wait(r))
			return;
		c->passed = true;
	}
}

void select_targets(struct agent *a, struct agent_policy *p, uint64_t now_ns)
{
	struct selection s;

	holds_drop_idle(a, p);
	if (!select_is_due(p->state.above, last_held_ns(a, p, now_ns), p->config->window_ns,
			   now_ns))
		return;
	/* What led to the first one is in its event. */
	if (p->selected_ns)
		policy_gather_evidence(a, p);
	s.agent = a;
	s.policy = p;
	s.now_ns = now_ns;
	s.count = 0;
	list_candidates(&s);
	hold_next(&s);
}
