// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Holds: which target is held, by which policies or by the operator, and through which claim. A
 * target is let go when nobody holds it any more.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "lib/procfs.h"

/* systemd thaws a unit to stop it: who thaws something gets as long to do with it what they want,
 * or to end it, before it is frozen again. */
#define AGAIN_NS NSEC_PER_SEC

/* How long something protected is left alone before it is looked at again. */
#define SPARED_NS (5 * NSEC_PER_SEC)

#define OPERATOR "operator"

static bool same_target(const struct target *x, const struct target *y)
{
	if (x->kind != y->kind)
		return false;
	if (x->kind == TARGET_CGROUP)
		return x->cgroup == y->cgroup;
	return x->pid == y->pid && proc_same_start_ns(x->start_time_ns, y->start_time_ns);
}

struct hold *hold_find(struct agent *a, const struct target *target)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++)
		if (a->holds[i].used && same_target(&a->holds[i].target, target))
			return &a->holds[i];
	return NULL;
}

bool holds_any(const struct agent *a)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++)
		if (a->holds[i].used)
			return true;
	return false;
}

static struct hold *new_hold(struct agent *a, const struct target *target, enum claim_action action)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		struct hold *h = &a->holds[i];

		if (h->used)
			continue;
		*h = (struct hold){
			.used = true,
			.target = *target,
			.action = action,
			.since_ms = unix_ms(),
		};
		return h;
	}
	return NULL;
}

static int holder_index(const struct hold *h, const struct agent_policy *p)
{
	for (unsigned int i = 0; i < h->n_holders; i++)
		if (h->holders[i].policy == p)
			return (int)i;
	return -1;
}

/* Does anybody want it held now? */
static bool is_wanted(const struct hold *h)
{
	for (unsigned int i = 0; i < h->n_holders; i++)
		if (!h->holders[i].off)
			return true;
	return h->by_operator;
}

/* Whose want decides what is done: of those that want it held, who wants most; ending is more than
 * pausing. NULL: no policy, but perhaps the operator. */
static const struct holder *leader(const struct hold *h)
{
	const struct holder *first = NULL;

	for (unsigned int i = 0; i < h->n_holders; i++) {
		const struct holder *holder = &h->holders[i];

		if (holder->off)
			continue;
		if (holder->action == CLAIM_TERMINATE)
			return holder;
		if (!first)
			first = holder;
	}
	return first;
}

static struct agent_policy *leading_policy(const struct hold *h)
{
	const struct holder *holder = leader(h);

	return holder ? holder->policy : NULL;
}

/* What the operator does by hand is never more than holding. */
static enum claim_action wanted_action(const struct hold *h)
{
	const struct holder *holder = leader(h);

	if (holder)
		return holder->action;
	return h->target.kind == TARGET_CGROUP ? CLAIM_FREEZE : CLAIM_STOP;
}

/* In whose name the claim was made; NULL: the operator's. */
static const struct agent_policy *claimant(struct agent *a, const struct hold *h)
{
	const struct agent_policy *p = policy_find(a, h->claim->policy);

	if (p || strcmp(h->claim->policy, OPERATOR) == 0)
		return p;
	return leading_policy(h);
}

static const char *name_of(const struct agent_policy *p)
{
	return p ? p->config->name : OPERATOR;
}

static enum event_kind begun_kind(enum claim_action action)
{
	switch (action) {
	case CLAIM_STOP:
		return EVENT_STOPPED;
	case CLAIM_TERMINATE:
		return EVENT_TERMINATED;
	default:
		return EVENT_FROZEN;
	}
}

/* The event about a hold: who (NULL: the operator), whom, on what evidence. */
static void tell_hold(struct agent *a, const struct hold *h, const struct agent_policy *p,
		      enum event_kind kind, const char *reason)
{
	struct event event = { .kind = kind, .has_target = true, .target = h->target };

	snprintf(event.policy, sizeof(event.policy), "%s", name_of(p));
	snprintf(event.reason, sizeof(event.reason), "%s", reason);
	if (h->claim)
		event.claim_id = h->claim->id;
	if (p) {
		event.has_evidence = true;
		event.evidence = p->evidence;
		event.has_offender = p->has_offender;
		event.offender = p->offender;
		if (kind == begun_kind(h->action) && h->claim && h->record_ns &&
		    h->claim->since_ns > h->record_ns)
			event.evidence.latency_us =
				(h->claim->since_ns - h->record_ns) / NSEC_PER_USEC;
	}
	agent_tell(a, &event);
}

static enum event_kind undone_kind(enum claim_action action)
{
	return action == CLAIM_STOP ? EVENT_CONTINUED : EVENT_THAWED;
}

/* Does the fault lie with the agent rather than with the target? Then it is an error, and loud. */
static bool is_ours(int error)
{
	return error == -ENOSPC || error == -EIO || error == -EIDRM || error == -EHOSTDOWN;
}

/* Must it be left alone? Told once, and looked at again later: who is protected may leave. */
static bool is_spared(struct agent *a, struct hold *h, const struct agent_policy *p)
{
	char why[128];

	if (h->error == -EACCES && monotonic_ns() < h->spared_until_ns)
		return true;
	if (!target_is_spared(a, &h->target, why, sizeof(why)))
		return false;
	if (h->error != -EACCES)
		tell_hold(a, h, p, EVENT_REFUSED, why);
	h->error = -EACCES;
	h->spared_until_ns = monotonic_ns() + SPARED_NS;
	return true;
}

/* Tries to claim the hold's target. What is refused stays a hold without a claim, told once, and is
 * tried again: the reason may go away while the signal still holds. */
static void try_claim(struct agent *a, struct hold *h, const struct agent_policy *p)
{
	struct claim *claim = NULL;
	int before = h->error;
	int r;

	if (is_spared(a, h, p))
		return;
	if (a->config->shadow) {
		h->error = 0;
		h->shadow = true;
		tell_hold(a, h, p, begun_kind(h->action), h->reason);
		return;
	}
	r = act_claim(a->act, h->action, &h->target, name_of(p), h->reason, &claim);
	h->error = r;
	if (r == 0) {
		h->claim = claim;
		/* The kernel's word comes later, and the policy may have had a tick by then. */
		h->record_ns = p ? p->record_ns : 0;
		claim->user = h;
		return;
	}
	/* A target that is not running is left alone, and that is nothing to talk about. */
	if (r != before && r != -ENODATA && r != -ESTALE && r != -ESRCH)
		tell_hold(a, h, p, is_ours(r) ? EVENT_ERROR : EVENT_REFUSED, hold_error_text(r));
}

/* May it be frozen again for that policy, although someone else let it go? */
static bool speaks_again(const struct holder *holder)
{
	const struct agent_policy *p = holder->policy;

	return !holder->off && p->state.phase == POLICY_HOLDING &&
	       (!holder->left_ns || p->below_ns > holder->left_ns);
}

/* Freezes again what someone else let go, when their second is over and some policy has reason to.
 */
static int freeze_again(struct agent *a, struct hold *h)
{
	const struct agent_policy *p = NULL;
	int r;

	if (monotonic_ns() < h->again_ns)
		return 0;
	for (unsigned int i = 0; !p && i < h->n_holders; i++)
		if (speaks_again(&h->holders[i]))
			p = h->holders[i].policy;
	if (!p)
		return 0;
	if (is_spared(a, h, p))
		return -EACCES;
	r = act_refreeze(a->act, h->claim, name_of(p), h->reason);
	if (r == 0) {
		h->error = 0;
		h->record_ns = p->record_ns;
		/* What was done by hand ended when they let it go. */
		h->by_operator = false;
	}
	/* They have frozen it themselves meanwhile: now it is theirs, and so is what they do next.
	 */
	for (unsigned int i = 0; r == -EBUSY && i < h->n_holders; i++)
		h->holders[i].left_ns = monotonic_ns();
	return r;
}

/* Does what those who want it held want; what fails is tried again at the next tick. */
static int pursue(struct agent *a, struct hold *h, const char *reason)
{
	const struct agent_policy *p = leading_policy(h);
	enum claim_action action = wanted_action(h);
	int r;

	if (h->claim) {
		if (action != CLAIM_TERMINATE || h->claim->action == CLAIM_TERMINATE)
			return h->claim->state == CLAIM_EXTERNAL ? freeze_again(a, h) : 0;
		r = act_escalate(a->act, h->claim, name_of(p), reason);
		if (r < 0)
			return r;
	}
	h->action = action;
	if (reason != h->reason)
		snprintf(h->reason, sizeof(h->reason), "%s", reason);
	if (!h->claim)
		try_claim(a, h, p);
	return h->error;
}

/* One more policy for a target that is held already, or was let go by hand. */
static int join(struct agent *a, struct hold *h, struct agent_policy *p, enum claim_action action,
		const char *reason)
{
	if (h->n_holders == MAX_HOLDERS)
		return -E2BIG;
	h->holders[h->n_holders++] = (struct holder){ .policy = p, .action = action };
	/* It was let go before this policy had anything to say: that was no word against it. */
	if (h->claim && h->claim->state == CLAIM_EXTERNAL)
		snprintf(h->reason, sizeof(h->reason), "%s", reason);
	return pursue(a, h, reason);
}

int hold_begin(struct agent *a, struct agent_policy *p, const struct target *target,
	       enum claim_action action, const char *reason)
{
	struct hold *h = hold_find(a, target);

	if (h && holder_index(h, p) >= 0)
		return h->error;
	if (!h)
		h = new_hold(a, target, action);
	if (!h) {
		agent_degraded(a, "as many targets are held as there is room for; more are left "
				  "alone");
		return -ENOSPC;
	}
	return join(a, h, p, action, reason);
}

int hold_by_operator(struct agent *a, const struct target *target, uint64_t until_ns,
		     const char *reason, struct hold **out)
{
	struct hold *h = hold_find(a, target);
	char why[128];
	int r = 0;

	if (h && h->claim && h->claim->action == CLAIM_TERMINATE)
		return -EALREADY;
	/* Someone else has let it go meanwhile. */
	if (h && h->claim && h->claim->state == CLAIM_EXTERNAL)
		r = target_is_spared(a, target, why, sizeof(why))
			    ? -EACCES
			    : act_refreeze(a->act, h->claim, OPERATOR, reason);
	if (r < 0)
		return r;
	if (!h)
		h = new_hold(a, target, target->kind == TARGET_CGROUP ? CLAIM_FREEZE : CLAIM_STOP);
	if (!h)
		return -ENOSPC;
	h->by_operator = true;
	h->operator_until_ns = until_ns;
	*out = h;
	if (!h->claim) {
		h->action = target->kind == TARGET_CGROUP ? CLAIM_FREEZE : CLAIM_STOP;
		snprintf(h->reason, sizeof(h->reason), "%s", reason);
		try_claim(a, h, NULL);
		if (h->error) {
			r = h->error;
			h->by_operator = false;
			if (h->n_holders == 0)
				h->used = false;
			return r;
		}
	}
	agent_schedule(a);
	return 0;
}

/* Undoes the hold's claim, for that policy (NULL: the operator). What the kernel does not take is
 * tried again at the pulse. */
static int undo(struct agent *a, struct hold *h, const struct agent_policy *p, const char *why)
{
	bool told = h->shadow;

	if (h->claim) {
		/* A terminate that is let go in the middle has nothing that could be given back. */
		bool external = h->claim->state == CLAIM_EXTERNAL;
		int r = act_undo(a->act, h->claim);

		if (r < 0) {
			tell_hold(
				a, h, p, EVENT_ERROR,
				r == -EIO
					? "it was let go, but the ledger cannot be written; see "
					  "to the disk under state_dir, it is tried again each "
					  "second"
					: "it could not be let go; it is tried again each second");
			return r;
		}
		told = h->action != CLAIM_TERMINATE && !external;
	}
	if (told)
		tell_hold(a, h, p, undone_kind(h->action), why);
	h->claim = NULL;
	h->again_ns = 0;
	h->shadow = false;
	return 0;
}

/* Who wanted it ended does so no more, others still want it held. */
static void hold_only(struct agent *a, struct hold *h)
{
	char reason[CLAIM_REASON_LEN];
	const struct agent_policy *p = leading_policy(h);

	if (act_undo(a->act, h->claim) < 0)
		return; /* told as ACT_UNDONE when it works, and pursued then */
	h->claim = NULL;
	snprintf(reason, sizeof(reason), "it need not end any more, but %s still holds it",
		 name_of(p));
	(void)pursue(a, h, reason);
}

/* After somebody has gone: lets the target go if nobody wants it held any more, and forgets it if
 * nobody has to keep off. */
static void settle(struct agent *a, struct hold *h, const struct agent_policy *gone,
		   const char *why)
{
	if (is_wanted(h)) {
		if (h->claim && h->claim->action == CLAIM_TERMINATE &&
		    wanted_action(h) != CLAIM_TERMINATE)
			hold_only(a, h);
	} else if (undo(a, h, gone, why) == 0 && h->n_holders == 0) {
		h->used = false;
	}
}

void hold_release_one(struct agent *a, struct hold *h, const char *why)
{
	const struct agent_policy *p = leading_policy(h);

	h->by_operator = false;
	for (unsigned int i = 0; i < h->n_holders; i++)
		h->holders[i].off = true;
	settle(a, h, p, why);
}

void holds_release(struct agent *a, struct agent_policy *p, const char *why)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		struct hold *h = &a->holds[i];
		int at = h->used ? holder_index(h, p) : -1;

		if (at < 0)
			continue;
		h->holders[at].off = true;
		settle(a, h, p, why);
		h->holders[at] = h->holders[--h->n_holders];
		if (h->n_holders == 0 && !h->by_operator && !h->claim)
			h->used = false;
	}
}

void holds_release_all(struct agent *a, const char *why)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++)
		if (a->holds[i].used)
			hold_release_one(a, &a->holds[i], why);
}

void holds_inherit(struct agent *a, const struct agent_policy *old, struct agent_policy *p)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++)
		for (unsigned int j = 0; a->holds[i].used && j < a->holds[i].n_holders; j++)
			if (a->holds[i].holders[j].policy == old)
				a->holds[i].holders[j].policy = p;
}

void holds_release_spared(struct agent *a)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		struct hold *h = &a->holds[i];
		char why[128];

		if (!h->used || (!h->claim && !h->shadow))
			continue;
		/* What others let go is not held, and stays theirs when nothing protects it. */
		if ((h->claim && h->claim->state == CLAIM_EXTERNAL) ||
		    !target_is_spared(a, &h->target, why, sizeof(why)) ||
		    undo(a, h, leading_policy(h), why) < 0)
			continue;
		h->error = -EACCES;
		h->spared_until_ns = monotonic_ns() + SPARED_NS;
		h->by_operator = false;
		if (h->n_holders == 0)
			h->used = false;
	}
}

/* It was named for what ran in it, and that has gone: what runs in it next is somebody else. */
static void forget_offender(struct hold *h)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < h->n_holders; i++)
		if (!h->holders[i].policy->config->target_offender)
			h->holders[kept++] = h->holders[i];
	h->n_holders = kept;
	if (kept == 0 && !h->by_operator)
		h->used = false;
}

void holds_retry(struct agent *a, uint64_t now_ns)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		struct hold *h = &a->holds[i];

		if (!h->used)
			continue;
		if (h->by_operator && h->operator_until_ns && now_ns >= h->operator_until_ns) {
			h->by_operator = false;
			settle(a, h, NULL, "the time that the operator gave is over");
		} else if (!h->claim && (h->error == -ESTALE || h->error == -ESRCH)) {
			h->used = false;
		} else if (!h->claim && h->error == -ENODATA) {
			forget_offender(h);
		}
		if (h->used && is_wanted(h) && !h->shadow)
			(void)pursue(a, h, h->reason);
	}
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
		again |= speaks_again(holder);
	}
	tell_hold(a, h, claimant(a, h), EVENT_EXTERNAL_THAW,
		  again		     ? "someone else let it go; in a second it is frozen again if "
				       "the signal still holds"
		  : h->n_holders > 0 ? "someone else let it go; it is left to them until the "
				       "signal has been quiet"
				     : "someone else let it go; it is left to them (culprit freeze "
				       "holds it again)");
}

/* The claim is over and about to be freed. What was done by hand is over with it; a policy whose
 * signal holds has its cgroup claimed again when something runs in it. */
static void over(struct hold *h, bool gone)
{
	h->claim = NULL;
	h->again_ns = 0;
	h->by_operator = false;
	h->error = gone ? -ENODATA : 0;
	if (gone)
		forget_offender(h);
	if (h->n_holders == 0 || (gone && h->target.kind == TARGET_PROCESS))
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
	p = claimant(a, h);
	switch (news) {
	case ACT_HELD:
		tell_hold(a, h, p, begun_kind(h->action), h->reason);
		break;
	case ACT_SLOW:
		tell_hold(a, h, p, EVENT_ERROR,
			  "it is not frozen after 5 s (a task in it waits inside the kernel); "
			  "it is kept while the signal holds");
		break;
	case ACT_EXTERNAL_THAW:
		thawed_by_others(a, h);
		break;
	case ACT_KILLING:
		tell_hold(a, h, p, EVENT_KILLED, "it did not end in the time it had after SIGTERM");
		break;
	case ACT_TERMINATED:
		tell_hold(a, h, p, EVENT_TERMINATED, h->reason);
		over(h, true);
		break;
	case ACT_GONE:
		/* Who reads of its beginning reads of its end, too. */
		if (claim->state == CLAIM_HELD || claim->state == CLAIM_SLOW)
			tell_hold(a, h, p, undone_kind(h->action),
				  h->target.kind == TARGET_CGROUP ? "nothing runs in it any more"
								  : "it has ended");
		over(h, true);
		break;
	case ACT_UNDONE:
		tell_hold(a, h, p, undone_kind(h->action), "it is let go at last");
		over(h, false);
		break;
	case ACT_OUTSIDE:
		tell_hold(a, h, p, undone_kind(h->action), "it is outside the new `only`");
		over(h, false);
		break;
	case ACT_GUARDIAN_LOST:
		break;
	}
	agent_schedule(a);
}
