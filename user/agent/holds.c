// SPDX-License-Identifier: GPL-2.0-or-later
/* Carrying out what those who hold a target want: claims are made, let go, and tried again. */
#include <errno.h>
#include <stdio.h>

#include "agent/holds.h"
#include "lib/cleanup.h"

/* How old the knowledge may grow of what shadow mode has told as held. */
#define SHADOW_NS (1 * NSEC_PER_SEC)
/* How long something protected is left alone before it is looked at again. */
#define SPARED_NS (5 * NSEC_PER_SEC)

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
		hold_tell(a, h, p, EVENT_REFUSED, why);
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

	if (h->free_until_ns || is_spared(a, h, p))
		return;
	if (a->config->shadow)
		r = act_would_claim(a->act, h->action, &h->target);
	else
		r = act_claim(a->act, h->action, &h->target, hold_policy_name(p), h->reason,
			      &claim);
	h->error = r;
	if (r == 0 && !h->begun_ns)
		h->begun_ns = monotonic_ns();
	if (r == 0 && a->config->shadow) {
		h->shadow = true;
		h->shadow_due_ns = monotonic_ns() + SHADOW_NS;
		hold_tell(a, h, p, hold_begun_kind(h->action), h->reason);
		return;
	}
	if (r == 0) {
		h->claim = claim;
		/* The kernel's word comes later, and the policy may have had a tick by then. */
		h->record_ns = p ? p->record_ns : 0;
		claim->user = h;
		return;
	}
	/* A target that is not running is left alone, and that is nothing to talk about. */
	if (r != before && r != -ENODATA && r != -ESTALE && r != -ESRCH)
		hold_tell(a, h, p, is_ours(r) ? EVENT_ERROR : EVENT_REFUSED, hold_error_text(r));
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
		if (hold_speaks_again(&h->holders[i]))
			p = h->holders[i].policy;
	if (!p)
		return 0;
	if (is_spared(a, h, p))
		return -EACCES;
	r = act_refreeze(a->act, h->claim, hold_policy_name(p), h->reason);
	if (r == 0) {
		h->error = 0;
		h->record_ns = p->record_ns;
		/* What was done by hand ended when they let it go. */
		h->by_operator = false;
	}
	/* They have frozen it themselves meanwhile, or taken it out of `only`: now it is theirs,
	 * and so is what they do next. */
	for (unsigned int i = 0; (r == -EBUSY || r == -EPERM) && i < h->n_holders; i++)
		h->holders[i].left_ns = monotonic_ns();
	return r;
}

/* Undoes the hold's claim, for that policy (NULL: the operator). What the kernel does not take is
 * tried again at the pulse. */
static int undo(struct agent *a, struct hold *h, const struct agent_policy *p, const char *why)
{
	bool told = hold_gives_back(h);

	if (h->claim) {
		int r = act_undo(a->act, h->claim);

		if (r < 0) {
			hold_tell(
				a, h, p, EVENT_ERROR,
				r == -EIO
					? "it was let go, but the ledger cannot be written; see "
					  "to the disk under state_dir, it is tried again each "
					  "second"
					: "it could not be let go; it is tried again each second");
			return r;
		}
	}
	if (told)
		hold_tell(a, h, p, hold_undone_kind(h->action), why);
	h->claim = NULL;
	h->again_ns = 0;
	h->shadow = false;
	return 0;
}

/* Makes room for an action that takes more, and leaves things as they are where that would be
 * refused, told once. */
static int give_way(struct agent *a, struct hold *h, enum claim_action action)
{
	char why[CLAIM_REASON_LEN];
	int r = act_would_claim(a->act, action, &h->target);

	if (r < 0) {
		if (r != h->error && r != -ENODATA && r != -ESTALE && r != -ESRCH)
			hold_tell(a, h, hold_leading_policy(h), EVENT_REFUSED, hold_error_text(r));
		h->error = r;
		return r;
	}
	snprintf(why, sizeof(why), "%s holds it now", hold_policy_name(hold_leading_policy(h)));
	return undo(a, h, hold_claimant(a, h), why);
}

/* From one action in force to one that takes more. */
static int raise_to(struct agent *a, struct hold *h, enum claim_action action, const char *reason)
{
	if (claim_ends(action))
		return act_escalate(a->act, h->claim, action,
				    hold_policy_name(hold_leading_policy(h)), reason);
	return give_way(a, h, action);
}

/* What is wanted is in force, unless someone else has undone it. */
static int go_on(struct agent *a, struct hold *h)
{
	if (h->claim->state == CLAIM_EXTERNAL)
		return h->claim->action == CLAIM_DEMOTE ? 0 : freeze_again(a, h);
	h->error = 0;
	return 0;
}

/* Does what those who want it held want; what fails is tried again at the next tick. */
static int pursue(struct agent *a, struct hold *h, const char *reason)
{
	enum claim_action action = hold_wanted_action(h);
	int r;

	if (h->shadow && hold_severity(action) <= hold_severity(h->action))
		return 0;
	if (h->claim) {
		if (hold_severity(action) <= hold_severity(h->claim->action))
			return go_on(a, h);
		r = raise_to(a, h, action, reason);
		if (r < 0)
			return r;
	}
	h->action = action;
	if (reason != h->reason)
		snprintf(h->reason, sizeof(h->reason), "%s", reason);
	if (!h->claim)
		try_claim(a, h, hold_leading_policy(h));
	return h->error;
}

/* One more policy for a target that is held already, or was let go by hand. */
static int join(struct agent *a, struct hold *h, struct agent_policy *p, enum claim_action action,
		const char *reason)
{
	if (h->n_holders == MAX_HOLDERS)
		return -E2BIG;
	h->holders[h->n_holders++] = (struct holder){
		.policy = p,
		.first_action = action,
		.action = action,
		.since_ns = monotonic_ns(),
	};
	/* It was let go before this policy had anything to say: that was no word against it. */
	if (h->claim && h->claim->state == CLAIM_EXTERNAL)
		snprintf(h->reason, sizeof(h->reason), "%s", reason);
	return pursue(a, h, reason);
}

int hold_begin(struct agent *a, struct agent_policy *p, const struct target *target,
	       enum claim_action action, const char *reason)
{
	struct hold *h = hold_find(a, target);

	if (h && hold_holder_index(h, p) >= 0)
		return h->error;
	if (!h)
		h = hold_new(a, target, action);
	if (!h) {
		agent_degraded(a, "as many targets are held as there is room for; more are left "
				  "alone");
		return -ENOSPC;
	}
	return join(a, h, p, action, reason);
}

bool hold_must_wait(int error)
{
	return is_ours(error) || error == -EAGAIN;
}

/* It cannot be held now, and whoever wanted it takes another one. Where that was told, or has to be
 * looked at again only later, it is remembered. */
static void pass_over(struct hold *h, const struct agent_policy *p)
{
	int at = hold_holder_index(h, p);

	if (h->error == -ENODATA || h->error == -ESTALE || h->error == -ESRCH) {
		h->holders[at] = h->holders[--h->n_holders];
		if (h->n_holders == 0 && !h->by_operator && !h->claim)
			h->used = h->free_until_ns != 0;
	} else {
		h->holders[at].off = h->holders[at].passed = true;
	}
}

int hold_try(struct agent *a, struct agent_policy *p, const struct target *target,
	     enum claim_action action, const char *reason)
{
	struct hold *h = hold_find(a, target);
	int at = h ? hold_holder_index(h, p) : -1;
	int r;

	if (at >= 0 && h->holders[at].passed) {
		h->holders[at].off = h->holders[at].passed = false;
		r = pursue(a, h, reason);
	} else {
		r = hold_begin(a, p, target, action, reason);
		h = hold_find(a, target);
	}
	if (r < 0 && !hold_must_wait(r) && h && hold_holder_index(h, p) >= 0)
		pass_over(h, p);
	return r;
}

void holds_drop_idle(struct agent *a, const struct agent_policy *p)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		struct hold *h = &a->holds[i];
		int at = h->used ? hold_holder_index(h, p) : -1;

		if (at >= 0 && !h->holders[at].off && !h->claim && !h->shadow &&
		    !hold_must_wait(h->error))
			pass_over(h, p);
	}
}

int hold_by_operator(struct agent *a, const struct target *target, uint64_t until_ns,
		     const char *reason, struct hold **out)
{
	struct hold *h = hold_find(a, target);
	char why[128];
	int r = 0;

	if (h && h->claim && claim_ends(h->claim->action))
		return -EALREADY;
	/* Someone else has let it go meanwhile. */
	if (h && h->claim && h->claim->state == CLAIM_EXTERNAL && h->claim->action != CLAIM_DEMOTE)
		r = target_is_spared(a, target, why, sizeof(why))
			    ? -EACCES
			    : act_refreeze(a->act, h->claim, OPERATOR, reason);
	if (r < 0)
		return r;
	if (!h)
		h = hold_new(a, target, target->kind == TARGET_CGROUP ? CLAIM_FREEZE : CLAIM_STOP);
	if (!h)
		return -ENOSPC;
	h->by_operator = true;
	h->operator_until_ns = until_ns;
	h->free_until_ns = 0;
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
	} else if (hold_severity(hold_wanted_action(h)) > hold_severity(h->claim->action)) {
		r = pursue(a, h, reason);
		if (r < 0) {
			h->by_operator = false;
			return r;
		}
	}
	agent_schedule(a);
	return 0;
}

static bool takes_too_much(const struct hold *h)
{
	return (h->claim || h->shadow) &&
	       hold_severity(h->action) > hold_severity(hold_wanted_action(h));
}

/* Who wanted most does so no more, others still want something. */
static void lower(struct agent *a, struct hold *h, const struct agent_policy *gone)
{
	const char *name = hold_policy_name(hold_leading_policy(h));
	bool ended = claim_ends(h->action);
	char reason[CLAIM_REASON_LEN];

	snprintf(reason, sizeof(reason), "it need not %s any more, but %s still %s it",
		 ended ? "end" : "stand still", name,
		 hold_wanted_action(h) == CLAIM_DEMOTE ? "demotes" : "holds");
	/* Where it fails it is told as ACT_UNDONE when it works, and pursued then. */
	if (undo(a, h, gone, reason) == 0)
		(void)pursue(a, h, reason);
}

/* After somebody has gone: lets the target go if nobody wants it held any more, and forgets it if
 * nobody has to keep off. */
static void settle(struct agent *a, struct hold *h, const struct agent_policy *gone,
		   const char *why)
{
	if (hold_is_wanted(h)) {
		if (takes_too_much(h))
			lower(a, h, gone);
	} else if (undo(a, h, gone, why) == 0) {
		hold_ladder_restart(h);
		if (h->n_holders == 0)
			h->used = h->free_until_ns != 0;
	}
}

void hold_release_one(struct agent *a, struct hold *h, const char *why)
{
	const struct agent_policy *p = hold_leading_policy(h);

	h->by_operator = false;
	for (unsigned int i = 0; i < h->n_holders; i++) {
		h->holders[i].off = true;
		h->holders[i].passed = false;
	}
	settle(a, h, p, why);
}

int hold_free_by_operator(struct agent *a, const struct target *target, uint64_t until_ns)
{
	struct hold *h = hold_find(a, target);

	if (!h)
		h = hold_new(a, target, target->kind == TARGET_CGROUP ? CLAIM_FREEZE : CLAIM_STOP);
	if (!h)
		return -ENOSPC;
	h->free_until_ns = until_ns;
	hold_release_one(a, h, "it was thawed by hand");
	return 0;
}

/* A process that has ended keeps its place until the time is over. */
static bool is_gone(const struct agent *a, const struct hold *h)
{
	return h->target.kind == TARGET_CGROUP && a->tree && !tree_find(a->tree, h->target.cgroup);
}

/* Does it hold what is in the cgroup rather than the cgroup? Then it is here to keep off it. */
static bool is_by_process(const struct hold *h, const struct holder *holder)
{
	return h->target.kind == TARGET_CGROUP && holder->first_action == CLAIM_STOP;
}

/* The operator's time is over: whoever would hold it now does. */
static void end_freedom(struct hold *h)
{
	h->free_until_ns = 0;
	for (unsigned int i = 0; i < h->n_holders; i++) {
		struct holder *holder = &h->holders[i];

		/* Where they take turns, the next look says when it has to wait. */
		if (is_by_process(h, holder) || holder->policy->config->action == ACTION_TURN) {
			h->holders[i--] = h->holders[--h->n_holders];
			continue;
		}
		/* Who takes one at a time has had reason enough, or not, to take another one. */
		holder->passed = holder->policy->config->select != SELECT_ALL;
		holder->off = holder->passed;
	}
	if (h->n_holders == 0 && !h->claim)
		h->used = false;
}

/* Takes one of its holders off the hold. */
static void leave(struct agent *a, struct hold *h, unsigned int at, const char *why)
{
	h->holders[at].off = true;
	settle(a, h, h->holders[at].policy, why);
	h->holders[at] = h->holders[--h->n_holders];
	if (h->n_holders == 0 && !h->by_operator && !h->claim)
		h->used = h->free_until_ns != 0;
}

void hold_leave(struct agent *a, struct hold *h, const struct agent_policy *p, const char *why)
{
	int at = h->used ? hold_holder_index(h, p) : -1;

	if (at >= 0)
		leave(a, h, (unsigned int)at, why);
}

void hold_step_back(struct agent *a, struct hold *h, const struct agent_policy *p, const char *why)
{
	int at = hold_holder_index(h, p);

	if (at < 0 || h->holders[at].off)
		return;
	h->holders[at].off = true;
	settle(a, h, p, why);
}

void holds_release(struct agent *a, struct agent_policy *p, const char *why)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++)
		hold_leave(a, &a->holds[i], p, why);
}

int hold_keep_off(struct agent *a, struct agent_policy *p, const struct target *cgroup)
{
	struct hold *h = hold_find(a, cgroup);

	if (!h)
		h = hold_new(a, cgroup, CLAIM_STOP);
	if (!h)
		return -ENOSPC;
	if (hold_holder_index(h, p) >= 0)
		return 0;
	if (h->n_holders == MAX_HOLDERS)
		return -ENOSPC;
	h->holders[h->n_holders++] = (struct holder){
		.policy = p,
		.first_action = CLAIM_STOP,
		.action = CLAIM_STOP,
		.since_ns = monotonic_ns(),
		.off = true,
	};
	return 0;
}

void holds_release_all(struct agent *a, const char *why)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++)
		if (a->holds[i].used)
			hold_release_one(a, &a->holds[i], why);
}

void holds_inherit(struct agent *a, const struct agent_policy *old, struct agent_policy *p)
{
	bool same_action = old->config->action == p->config->action;

	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		struct hold *h = &a->holds[i];
		int at = h->used ? hold_holder_index(h, old) : -1;
		struct holder *holder = at < 0 ? NULL : &h->holders[at];

		if (!holder)
			continue;
		if (holder->passed || (is_by_process(h, holder) && !stops_processes(p))) {
			leave(a, h, (unsigned int)at, "");
			continue;
		}
		if (!holder->off && !(same_action && policy_targets(a, p, &h->target))) {
			leave(a, h, (unsigned int)at, "the policy does something else now");
			continue;
		}
		holder->policy = p;
		if (holder->off && !is_by_process(h, holder))
			holder->first_action = holder->action =
				claim_action_of(p->config->action, h->target.kind);
		hold_ladder_inherit(holder, &old->config->escalate);
		if (hold_is_wanted(h) && takes_too_much(h))
			lower(a, h, p);
	}
}

static void release_spared(struct agent *a, struct hold *h, const char *why)
{
	const struct agent_policy *p = hold_leading_policy(h);
	/* Of such a one nothing else is told. */
	bool ends = h->claim && claim_ends(h->action);

	if (undo(a, h, p, why) < 0)
		return;
	if (ends)
		hold_tell(a, h, p, EVENT_REFUSED, why);
	hold_ladder_restart(h);
	h->error = -EACCES;
	h->spared_until_ns = monotonic_ns() + SPARED_NS;
	h->by_operator = false;
	if (h->n_holders == 0)
		h->used = false;
}

void holds_release_spared(struct agent *a)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		struct hold *h = &a->holds[i];
		char why[128];

		if (!h->used || (!h->claim && !h->shadow))
			continue;
		/* What others let go is not held, and stays theirs when nothing protects it. */
		if (h->claim && h->claim->state == CLAIM_EXTERNAL)
			continue;
		if (target_is_spared(a, &h->target, why, sizeof(why)))
			release_spared(a, h, why);
	}
}

/* What enforcing held would have ended by itself: it is gone, or outside a new `only`. That others
 * freeze it meanwhile changes nothing. */
static void look_at_shadow(struct agent *a, struct hold *h, uint64_t now_ns)
{
	bool gone;
	int r;

	if (now_ns < h->shadow_due_ns)
		return;
	h->shadow_due_ns = now_ns + SHADOW_NS;
	r = act_would_claim(a->act, h->action, &h->target);
	gone = r == -ENODATA || r == -ESTALE || r == -ESRCH;
	if (!gone && r != -EPERM)
		return;
	(void)undo(a, h, hold_leading_policy(h), gone ? hold_gone_text(h) : HOLD_OUTSIDE);
	hold_is_over(h, gone);
}

void holds_retry(struct agent *a, uint64_t now_ns)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		struct hold *h = &a->holds[i];
		char reason[CLAIM_REASON_LEN];

		if (!h->used)
			continue;
		if (h->shadow)
			look_at_shadow(a, h, now_ns);
		if (h->free_until_ns && (now_ns >= h->free_until_ns || is_gone(a, h)))
			end_freedom(h);
		if (h->by_operator && h->operator_until_ns && now_ns >= h->operator_until_ns) {
			h->by_operator = false;
			settle(a, h, NULL, "the time that the operator gave is over");
		} else if (!h->claim && (h->error == -ESTALE || h->error == -ESRCH)) {
			h->used = false;
		} else if (!h->claim && h->error == -ENODATA) {
			hold_forget_offender(h);
		}
		if (h->used && hold_is_wanted(h))
			(void)pursue(a, h,
				     hold_ladder_climb(h, now_ns, reason, sizeof(reason))
					     ? reason
					     : h->reason);
	}
}
