// SPDX-License-Identifier: GPL-2.0-or-later
/* Whose fault is it, and what is done about it: from the looks of signal_thrash.c to a hold. */
#include <stdio.h>
#include <string.h>

#include "agent/thrash_turns.h"
#include "agent/thrash_watch.h"
#include "lib/cleanup.h"
#include "lib/procfs.h"

void thrash_target_of_process(struct agent *a, const struct culprit_process *p,
			      struct target *target)
{
	const struct tree_node *node = a->tree ? tree_find(a->tree, p->cgroup) : NULL;

	*target = (struct target){
		.kind = TARGET_PROCESS,
		.cgroup = p->cgroup,
		.pid = (pid_t)p->tgid,
		.start_time_ns = p->start_time_ns,
	};
	memcpy(target->comm, p->comm, sizeof(target->comm));
	snprintf(target->path, sizeof(target->path), "%s", node ? node->path : "");
}

void thrash_target_of_cgroup(struct agent *a, uint64_t cgroup, struct target *target)
{
	*target = (struct target){ .kind = TARGET_CGROUP, .cgroup = cgroup };
	(void)cgroupfs_path_of(&a->cgroups, cgroup, target->path, sizeof(target->path));
}

static void target_of_candidate(struct agent *a, const struct offender_candidate *c,
				struct target *target)
{
	if (c->process)
		thrash_target_of_process(a, c->process, target);
	else
		thrash_target_of_cgroup(a, c->cgroup, target);
}

/* NULL: not held, nor tried in vain; else which of them. */
static const char *held_already(struct agent *a, const struct offender_candidate *c)
{
	const struct hold *h;
	struct target target;

	target_of_candidate(a, c, &target);
	h = hold_find(a, &target);
	if (!h && c->process) {
		thrash_target_of_cgroup(a, c->cgroup, &target);
		h = hold_find(a, &target);
	}
	if (!h)
		return NULL;
	if (h->error)
		return hold_error_text(h->error);
	/* What only yields to others still runs. */
	if ((h->claim || h->shadow) && h->action == CLAIM_DEMOTE)
		return NULL;
	return h->claim || h->shadow ? "it is held already" : "it was thawed by hand";
}

const char *thrash_refusal(void *user, const struct culprit_process *p, uint64_t cgroup)
{
	struct agent *a = user;
	struct thrash_watch *w = a->thrash;
	struct protect_rules rules = facts_rules(a);
	const struct offender_candidate candidate = { .process = p, .cgroup = cgroup };
	const char *held = held_already(a, &candidate);

	if (held)
		return held;
	if (p && p->flags & CULPRIT_PROCESS_FROZEN)
		return "it is frozen already";
	if (p)
		facts_of_process(a, p, &w->facts);
	else
		facts_of_cgroup(a, cgroup, w->now.processes, w->now.n_processes, &w->facts);
	return protect_refusal(&rules, &w->facts.facts);
}

static double weight(void *user, const struct culprit_process *p, uint64_t cgroup)
{
	struct agent *a = user;
	struct thrash_watch *w = a->thrash;
	struct protect_rules rules = facts_rules(a);

	/* Asked for everyone: without preferences there is nothing to look up. */
	if (p && a->config->prefer.count == 0 && a->config->avoid.count == 0)
		return 1;
	if (p)
		facts_of_process(a, p, &w->facts);
	else
		facts_of_cgroup(a, cgroup, NULL, 0, &w->facts);
	return protect_weight(&rules, &w->facts.facts);
}

bool thrash_within(void *user, uint64_t cgroup, uint64_t above)
{
	struct agent *a = user;

	for (const struct tree_node *n = a->tree ? tree_find(a->tree, cgroup) : NULL; n;
	     n = n->parent)
		if (n->id == above)
			return true;
	return false;
}

static void list_candidates(struct agent *a, const struct offender_choice *choice,
			    struct event_evidence *evidence)
{
	for (unsigned int i = 0; i < choice->n_candidates && i < EVENT_CANDIDATES; i++) {
		const struct offender_candidate *c = &choice->candidates[i];
		struct event_candidate *to = &evidence->candidates[evidence->n_candidates++];

		*to = (struct event_candidate){
			.footprint_pages = c->footprint_pages,
			.growth_pages = c->growth_pages,
			.swapin_pages = c->swapin_pages,
			.churn_pages = c->churn_pages,
			.weight = c->weight,
			.refusal = c->refusal,
		};
		target_of_candidate(a, c, &to->target);
	}
}

void thrash_signal_evidence(struct agent *a, struct agent_policy *p)
{
	const struct thrash_verdict *v = &p->verdict;

	p->record_ns = a->thrash->crossing_ns;
	p->evidence = (struct event_evidence){
		.signal = "thrash",
		.value = p->value,
		.enter = p->rule.enter,
		.leave = p->rule.leave,
		.unit = "share",
		.window_ms = v->interval_ns / NSEC_PER_MSEC,
		.swapin_pages = v->swapin_pages,
		.churn_pages = v->churn_pages,
		.pswpin_pages = vmstat_pswpin() - a->pswpin_start,
		.stall = v->stall > 0 ? v->stall : 0,
	};
}

/* One sentence: what was seen, of whom, and who was passed over. */
static void say_reason(const struct agent_policy *p, const struct offender_choice *choice,
		       char *buf, size_t size)
{
	const struct offender_candidate *o = &choice->offender;
	unsigned long long ms = p->verdict.interval_ns / NSEC_PER_MSEC;
	char who[64];
	int n;

	if (o->process)
		snprintf(who, sizeof(who), "%.16s (pid %u)", o->process->comm, o->process->tgid);
	else
		snprintf(who, sizeof(who), "its processes together");
	if (choice->measure == OFFENDER_BY_GROWTH)
		n = snprintf(buf, size,
			     "memory thrashes, and %s grew by %llu MiB since it was calm; it "
			     "swapped in %llu pages in %llu ms",
			     who, (unsigned long long)(o->growth_pages >> 8),
			     (unsigned long long)o->swapin_pages, ms);
	else
		n = snprintf(
			buf, size,
			"memory thrashes: %s swapped in %llu pages in %llu ms, of which %llu did "
			"not stay",
			who, (unsigned long long)o->swapin_pages, ms,
			(unsigned long long)o->churn_pages);
	for (unsigned int i = 0; i < choice->n_candidates && n > 0 && (size_t)n < size; i++) {
		const struct offender_candidate *c = &choice->candidates[i];

		if (!c->refusal || !c->process)
			continue;
		snprintf(buf + n, size - (size_t)n, "; passed over %.16s (pid %u): %s",
			 c->process->comm, c->process->tgid, c->refusal);
		break;
	}
}

static void tell_nobody(struct agent *a, struct agent_policy *p,
			const struct offender_choice *choice)
{
	struct event event = { .kind = EVENT_REFUSED,
			       .has_evidence = true,
			       .evidence = p->evidence };

	snprintf(event.policy, sizeof(event.policy), "%s", p->config->name);
	if (choice->n_candidates)
		snprintf(event.reason, sizeof(event.reason),
			 "memory thrashes, and nobody who causes it may be acted on (the first of "
			 "them: %s)",
			 choice->candidates[0].refusal ? choice->candidates[0].refusal : "unknown");
	else
		snprintf(event.reason, sizeof(event.reason),
			 "memory thrashes, and no process stands out as its cause");
	agent_tell(a, &event);
}

/* Alone it swaps in what it pushed out itself, and it is nobody's turn but its own. */
static void tell_alone(struct agent *a, struct agent_policy *p)
{
	struct event event = {
		.kind = EVENT_REFUSED,
		.has_evidence = true,
		.evidence = p->evidence,
		.reason = "memory thrashes, but no two that could take turns: who does "
			  "it alone does not fit into its memory, or all but one are too "
			  "small to matter"
	};

	snprintf(event.policy, sizeof(event.policy), "%s", p->config->name);
	agent_tell(a, &event);
}

/* False: the offender is to be held, as with action = freeze, for the others may not be. */
static bool take_turns(struct agent *a, struct agent_policy *p)
{
	enum turns_begin begun;

	thrash_signal_evidence(a, p);
	begun = thrash_turns_begin(a, p);
	if (begun == TURNS_NO_OTHER)
		return false;
	if (begun == TURNS_NOBODY && !p->told_nobody)
		tell_alone(a, p);
	p->told_nobody = begun == TURNS_NOBODY;
	return true;
}

void thrash_signal_begin(struct agent *a, struct agent_policy *p)
{
	struct thrash_watch *w = a->thrash;
	const struct offender_looks looks = {
		.calm = w->calm.sample.n_processes ? &w->calm.sample : NULL,
		.before = &w->before.sample,
		.now = &w->now,
	};
	const struct offender_rules rules = {
		.refusal = thrash_refusal,
		.weight = weight,
		.within = thrash_within,
		.user = a,
	};
	struct offender_choice choice;
	struct target target;
	char reason[CLAIM_REASON_LEN];

	/* Who suffers from it would be the next, and nothing gives back what has been ended. */
	if (holds_end_offender(a))
		return;
	w->offender_ns = monotonic_ns();
	if (p->config->action == ACTION_TURN && take_turns(a, p))
		return;
	if (offender_choose(&w->room, &looks, &rules, &choice) < 0)
		return;
	thrash_signal_evidence(a, p);
	list_candidates(a, &choice, &p->evidence);
	if (choice.measure == OFFENDER_NOBODY) {
		if (!p->told_nobody)
			tell_nobody(a, p, &choice);
		p->told_nobody = true;
		return;
	}
	p->told_nobody = false;
	target_of_candidate(a, &choice.offender, &p->offender);
	p->has_offender = true;
	/* Where no process stands out the offender is a cgroup, and cannot be stopped. */
	if (choice.whole_cgroup && p->config->action != ACTION_STOP)
		thrash_target_of_cgroup(a, choice.offender.cgroup, &target);
	else
		target = p->offender;
	say_reason(p, &choice, reason, sizeof(reason));
	(void)hold_begin(a, p, &target, claim_action_of(p->config->action, target.kind), reason);
}
