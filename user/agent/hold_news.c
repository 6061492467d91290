// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is told of a hold, and what the act room's news mean for it: it is held, someone else let it
 * go, it has ended.
 */
#include <errno.h>
#include <stdio.h>

#include "agent/holds.h"

/* systemd thaws a unit to stop it: who thaws something gets as long to do with it what they want,
 * or to end it, before it is frozen again. */
#define AGAIN_NS NSEC_PER_SEC

enum event_kind hold_begun_kind(enum claim_action action)
{
	switch (action) {
	case CLAIM_STOP:
		return EVENT_STOPPED;
	case CLAIM_DEMOTE:
		return EVENT_DEMOTED;
	case CLAIM_TERMINATE:
		return EVENT_TERMINATED;
	case CLAIM_KILL:
		return EVENT_KILLED;
	default:
		return EVENT_FROZEN;
	}
}

/* The kernel's records name the cgroup of a process by its id alone. */
static void complete_path(struct agent *a, struct target *process)
{
	const struct tree_node *node = a->tree ? tree_find(a->tree, process->cgroup) : NULL;

	if (process->path[0])
		return;
	if (node)
		snprintf(process->path, sizeof(process->path), "%s", node->path);
	else
		(void)cgroupfs_path_of(&a->cgroups, process->cgroup, process->path,
				       sizeof(process->path));
}

static bool is_held(void *agent, uint64_t cgroup)
{
	const struct agent *a = agent;
	const struct claim *claim = act_find_cgroup(a->act, cgroup);

	return claim && claim->holds && claim->action != CLAIM_DEMOTE;
}

/* One that is ended is let go without a word of its own, so that it can handle its SIGTERM. */
void holds_note_held(struct agent *a, uint64_t now_ns)
{
	held_check(&a->held, is_held, a, now_ns);
}

static void note_held(struct agent *a, const struct hold *h, enum event_kind kind)
{
	if (kind == EVENT_FROZEN && h->claim)
		held_begin(&a->held, h->target.cgroup, h->claim->policy, monotonic_ns());
	else if (kind == EVENT_THAWED || kind == EVENT_EXTERNAL_THAW)
		held_end(&a->held, h->target.cgroup, monotonic_ns());
}

/* The event about a hold: who (NULL: the operator), whom, on what evidence. */
void hold_tell(struct agent *a, const struct hold *h, const struct agent_policy *p,
	       enum event_kind kind, const char *reason)
{
	struct event event = { .kind = kind, .has_target = true, .target = h->target };

	snprintf(event.policy, sizeof(event.policy), "%s", hold_policy_name(p));
	snprintf(event.reason, sizeof(event.reason), "%s", reason);
	if (h->claim)
		event.claim_id = h->claim->id;
	if (p) {
		event.has_evidence = true;
		event.evidence = p->evidence;
		event.has_offender = p->has_offender;
		event.offender = p->offender;
		if (event.has_offender && event.offender.kind == TARGET_PROCESS)
			complete_path(a, &event.offender);
		if (event.evidence.has_waiter)
			complete_path(a, &event.evidence.waiter);
		if (kind == hold_begun_kind(h->action) && h->claim && h->record_ns &&
		    h->claim->since_ns > h->record_ns)
			event.evidence.latency_us =
				(h->claim->since_ns - h->record_ns) / NSEC_PER_USEC;
	}
	if (h->target.kind == TARGET_CGROUP)
		note_held(a, h, kind);
	agent_tell(a, &event);
}

enum event_kind hold_undone_kind(enum claim_action action)
{
	if (action == CLAIM_DEMOTE)
		return EVENT_RESTORED;
	return action == CLAIM_STOP ? EVENT_CONTINUED : EVENT_THAWED;
}

bool hold_gives_back(const struct hold *h)
{
	/* Who was asked to end and is let go in the middle had nothing taken. */
	if (claim_ends(h->action))
		return false;
	return h->shadow || (h->claim && h->claim->state != CLAIM_EXTERNAL);
}

const char *hold_gone_text(const struct hold *h)
{
	return h->target.kind == TARGET_CGROUP ? "nothing runs in it any more" : "it has ended";
}

/* They are told, and not fought: to set a weight is a decision, and nobody does it in passing. */
static void restored_by_others(struct agent *a, struct hold *h)
{
	hold_tell(a, h, hold_claimant(a, h), EVENT_EXTERNAL_THAW,
		  h->claim->state == CLAIM_EXTERNAL
			  ? "someone else changed its weights; they stay as they are now"
			  : "someone else changed one of its weights; that one stays as it is now, "
			    "the others stay lowered until they are given back");
}

static void thawed_by_others(struct agent *a, struct hold *h)
{
	/* Twice is an opinion: then it is the operator's. */
	bool opinion = h->claim->external_thaws >= 2 || h->by_operator, again = false;
	uint64_t now = monotonic_ns();

	h->again_ns = now + AGAIN_NS;
	for (unsigned int i = 0; i < h->n_holders; i++) {
		struct holder *holder = &h->holders[i];
		const struct policy_state *s = &holder->policy->state;

		/* What is quiet at this moment need not become so first. */
		holder->left_ns = !s->below && (opinion || s->phase != POLICY_HOLDING) ? now : 0;
		again |= hold_speaks_again(holder);
	}
	hold_tell(a, h, hold_claimant(a, h), EVENT_EXTERNAL_THAW,
		  again		     ? "someone else let it go; in a second it is frozen again if "
				       "the signal still holds"
		  : h->n_holders > 0 ? "someone else let it go; it is left to them until the "
				       "signal has been quiet"
				     : "someone else let it go; it is left to them (culprit freeze "
				       "holds it again)");
}

/* The claim is over and about to be freed. What was done by hand is over with it; a policy whose
 * signal holds has its cgroup claimed again when something runs in it. */
void hold_is_over(struct hold *h, bool gone)
{
	h->claim = NULL;
	h->again_ns = 0;
	h->by_operator = false;
	h->error = gone ? -ENODATA : 0;
	hold_ladder_restart(h);
	if (gone)
		hold_forget_offender(h);
	if ((h->n_holders == 0 && !h->free_until_ns) || (gone && h->target.kind == TARGET_PROCESS))
		h->used = false;
}

void holds_news(void *agent, enum act_news news, struct claim *claim)
{
	struct agent *a = agent;
	struct hold *h = claim ? claim->user : NULL;
	const struct agent_policy *p;

	if (news == ACT_GUARDIAN_LOST) {
		struct event event = { .kind = EVENT_ERROR };

		senses_guardian(a);
		snprintf(event.reason, sizeof(event.reason), "the guardian died; %s",
			 guardian_pid(a->guardian) > 0
				 ? "a new one has taken over all claims"
				 : "none could be started, so nothing new is held");
		agent_tell(a, &event);
		return;
	}
	if (!h)
		return;
	p = hold_claimant(a, h);
	switch (news) {
	case ACT_HELD:
		/* The claim may have ended by the next look. */
		for (unsigned int i = 0; i < h->n_holders; i++)
			if (!h->holders[i].off)
				h->holders[i].policy->selected_ns = claim->held_ns;
		hold_tell(a, h, p, hold_begun_kind(h->action), h->reason);
		break;
	case ACT_SLOW:
		hold_tell(a, h, p, EVENT_ERROR,
			  "it is not frozen after 5 s (a task in it waits inside the kernel); "
			  "it is kept while the signal holds");
		break;
	case ACT_EXTERNAL_THAW:
		if (claim->action == CLAIM_DEMOTE)
			restored_by_others(a, h);
		else
			thawed_by_others(a, h);
		break;
	case ACT_KILLING:
		hold_tell(a, h, p, EVENT_KILLED,
			  h->action == CLAIM_KILL
				  ? h->reason
				  : "it did not end in the time it had after SIGTERM");
		break;
	case ACT_TERMINATED:
		hold_tell(a, h, p, EVENT_TERMINATED, h->reason);
		hold_is_over(h, true);
		break;
	case ACT_GONE:
		/* Who reads of its beginning reads of its end, too. */
		if (claim->state == CLAIM_HELD || claim->state == CLAIM_SLOW)
			hold_tell(a, h, p, hold_undone_kind(h->action), hold_gone_text(h));
		hold_is_over(h, true);
		break;
	case ACT_UNDONE:
		hold_tell(a, h, p, hold_undone_kind(h->action), "it is let go at last");
		hold_is_over(h, false);
		break;
	case ACT_OUTSIDE:
		if (hold_gives_back(h))
			hold_tell(a, h, p, hold_undone_kind(h->action), HOLD_OUTSIDE);
		hold_is_over(h, false);
		break;
	case ACT_GUARDIAN_LOST:
		break;
	}
	agent_schedule(a);
}
