// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/room.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "lib/cleanup.h"
#include "lib/procfs.h"

#define TERMINATE_DEFAULT_NS (10 * NSEC_PER_SEC)
#define SLOW_DEFAULT_NS	     (5 * NSEC_PER_SEC)
/* How old the list of what must not be touched may grow. */
#define SAFETY_AGE_NS	     (5 * NSEC_PER_SEC)

/* --- the table -------------------------------------------------------------------------------- */

struct held *table_find_id(struct act *act, uint64_t id)
{
	for (unsigned int i = 0; i < act->count; i++)
		if (act->order[i]->claim.id == id)
			return act->order[i];
	return NULL;
}

static struct held *table_add(struct act *act)
{
	for (unsigned int i = 0; i < CLAIM_MAX; i++) {
		struct held *h = &act->slots[i];

		if (h->used)
			continue;
		memset(h, 0, sizeof(*h));
		h->used = true;
		act->order[act->count++] = h;
		return h;
	}
	return NULL;
}

static void table_remove(struct act *act, struct held *h)
{
	unsigned int i = 0;

	watch_remove(act, h);
	grip_close(h);
	while (act->order[i] != h)
		i++;
	act->count--;
	for (; i < act->count; i++)
		act->order[i] = act->order[i + 1];
	h->used = false;
}

void table_tell(struct act *act, enum act_news news, struct held *h)
{
	if (act->options.news)
		act->options.news(act->options.user, news, h ? &h->claim : NULL);
}

/* Lets go and empties the slot; may be repeated until both have worked. */
static int release(struct act *act, struct held *h)
{
	int r = grip_let_go(act, h);

	if (r < 0)
		return r;
	r = ledger_clear(act->options.ledger, h->claim.id);
	return r == -ENOENT ? 0 : r;
}

int table_end(struct act *act, struct held *h, enum act_news news)
{
	int r = release(act, h);

	if (r < 0) {
		h->undoing = true;
		h->last_news = news;
		watch_remove(act, h);
		return r;
	}
	watch_remove(act, h);
	h->undoing = true; /* a callback must not end it a second time */
	if (news == ACT_TERMINATED)
		h->claim.state = CLAIM_DONE;
	table_tell(act, news, h);
	table_remove(act, h);
	return 0;
}

unsigned int act_count(const struct act *act)
{
	return act->count;
}

struct claim *act_get(const struct act *act, unsigned int index)
{
	return index < act->count ? &act->order[index]->claim : NULL;
}

struct claim *act_find_cgroup(const struct act *act, uint64_t cgroup)
{
	for (unsigned int i = 0; i < act->count; i++) {
		const struct target *target = &act->order[i]->claim.target;

		if (target->kind == TARGET_CGROUP && target->cgroup == cgroup)
			return &act->order[i]->claim;
	}
	return NULL;
}

struct claim *act_find_process(const struct act *act, pid_t pid, uint64_t start_time_ns)
{
	for (unsigned int i = 0; i < act->count; i++) {
		const struct target *target = &act->order[i]->claim.target;

		if (target->kind == TARGET_PROCESS && target->pid == pid &&
		    proc_same_start_ns(target->start_time_ns, start_time_ns))
			return &act->order[i]->claim;
	}
	return NULL;
}

/* --- claims ----------------------------------------------------------------------------------- */

static void describe(struct claim *claim, const char *policy, const char *reason)
{
	snprintf(claim->policy, sizeof(claim->policy), "%s", policy);
	snprintf(claim->reason, sizeof(claim->reason), "%s", reason);
}

static int carry_out(struct act *act, struct held *h)
{
	int r;

	if (claim_ends(h->claim.action)) {
		/* It holds nothing, so the guardian has nothing to undo; but without one there are
		 * no new claims. */
		if (guardian_pid(act->options.guardian) == 0)
			return -EHOSTDOWN;
		r = watch_add(act, h);
		if (r == 0)
			r = ledger_write(act->options.ledger, &h->claim);
		if (r == 0)
			terminate_begin(act, h);
		return r;
	}
	r = grip_is_free(act, h);
	if (r == 0)
		r = grip_take(act, h);
	if (r < 0)
		return r;
	/* After the freeze, which it would delay: what has been told by then is told again. What
	 * cannot be waited for is looked at by the timer and the pulse. */
	(void)watch_add(act, h);
	watch_soon(act, h);
	return 0;
}

static bool suits(enum claim_action action, enum target_kind kind)
{
	if (action == CLAIM_FREEZE || action == CLAIM_DEMOTE)
		return kind == TARGET_CGROUP;
	return action != CLAIM_STOP || kind == TARGET_PROCESS;
}

int act_would_claim(struct act *act, enum claim_action action, const struct target *target)
{
	struct held h = { .claim = { .action = action, .target = *target } };
	int r;

	if (!suits(action, target->kind))
		return -EINVAL;
	r = grip_open(act, &h);
	if (r == 0 && !claim_ends(action))
		r = grip_is_free(act, &h);
	grip_close(&h);
	return r;
}

int act_claim(struct act *act, enum claim_action action, const struct target *target,
	      const char *policy, const char *reason, struct claim **out)
{
	struct held *h;
	int r;

	*out = target->kind == TARGET_CGROUP
		       ? act_find_cgroup(act, target->cgroup)
		       : act_find_process(act, target->pid, target->start_time_ns);
	if (*out)
		return -EEXIST;
	if (!suits(action, target->kind))
		return -EINVAL;
	h = table_add(act);
	if (!h)
		return -ENOSPC;
	h->claim.id = act->next_id;
	h->claim.action = action;
	h->claim.target = *target;
	h->claim.since_ms = unix_ms();
	describe(&h->claim, policy, reason);
	r = grip_open(act, h);
	if (r == 0)
		r = carry_out(act, h);
	if (r < 0) {
		(void)ledger_clear(act->options.ledger, h->claim.id);
		table_remove(act, h);
		return r;
	}
	act->next_id++;
	*out = &h->claim;
	return 0;
}

_Static_assert(READY_MAX <= GUARDIAN_LOANS, "each is lent to the guardian under its place");

void act_make_ready(struct act *act, uint64_t cgroup)
{
	int place = ready_add(&act->ready, act->options.cgroups, cgroup);

	if (place >= 0)
		guardian_lend(act->options.guardian, (unsigned int)place,
			      act->ready.entries[place].freezer.freeze);
}

static void forget_place(struct act *act, unsigned int place)
{
	if (act->ready.entries[place].cgroup == 0)
		return;
	guardian_return(act->options.guardian, place);
	ready_remove(&act->ready, place);
}

void act_forget(struct act *act, uint64_t cgroup)
{
	const struct ready_entry *entry = ready_find(&act->ready, cgroup);

	if (entry)
		forget_place(act, ready_place(&act->ready, entry));
}

void act_forget_all(struct act *act)
{
	for (unsigned int i = 0; i < READY_MAX; i++)
		forget_place(act, i);
}

int act_undo(struct act *act, struct claim *claim)
{
	struct held *h = held_of(claim);
	int r = release(act, h);

	watch_remove(act, h);
	if (r < 0) {
		h->undoing = true;
		h->last_news = ACT_UNDONE;
		return r;
	}
	table_remove(act, h);
	return 0;
}

int act_refreeze(struct act *act, struct claim *claim, const char *policy, const char *reason)
{
	struct held *h = held_of(claim);
	struct claim before;
	int r;

	if (claim->state != CLAIM_EXTERNAL || h->undoing || claim->action == CLAIM_DEMOTE)
		return -EINVAL;
	safety_refresh(&act->safety, guardian_pid(act->options.guardian));
	r = grip_renew(act, h);
	if (r < 0)
		return r;
	before = *claim;
	describe(claim, policy, reason);
	r = grip_take(act, h);
	if (r < 0) {
		*claim = before;
		(void)ledger_write(act->options.ledger, claim);
		return r;
	}
	claim->state = CLAIM_ACTING;
	claim->held_ns = 0;
	watch_soon(act, h);
	return 0;
}

int act_escalate(struct act *act, struct claim *claim, enum claim_action action, const char *policy,
		 const char *reason)
{
	struct held *h = held_of(claim);
	struct claim before;
	int r;

	if (!claim_ends(action) || claim->action == action || claim->action == CLAIM_KILL ||
	    h->undoing)
		return -EINVAL;
	safety_refresh(&act->safety, guardian_pid(act->options.guardian));
	r = grip_is_allowed(act, h);
	if (r < 0)
		return r;
	before = *claim;
	claim->action = action;
	describe(claim, policy, reason);
	r = ledger_write(act->options.ledger, claim);
	if (r < 0) {
		*claim = before;
		return r;
	}
	claim->state = CLAIM_ACTING;
	claim->held_ns = 0;
	h->waits_for_shells = false;
	/* Where it yields it would take the longer to end. */
	if (claim_has_weights(claim->weights))
		(void)grip_let_go(act, h);
	/* The signal first, so that it is the first thing they see when they run again. */
	terminate_begin(act, h);
	if (grip_let_go(act, h) == 0)
		(void)ledger_write(act->options.ledger, claim);
	return 0;
}

/* --- the pulse -------------------------------------------------------------------------------- */

static bool holds_any(const struct act *act)
{
	for (unsigned int i = 0; i < act->count; i++)
		if (act->order[i]->claim.holds)
			return true;
	return false;
}

/* Starts a new guardian, which is born with all that is held. */
static void replace_guardian(struct act *act)
{
	struct guardian *guardian = act->options.guardian;
	struct guardian_grip grips[CLAIM_MAX];
	int fd = guardian_pidfd(guardian);
	unsigned int n = 0;

	if (fd >= 0)
		(void)epoll_ctl(act->epoll, EPOLL_CTL_DEL, fd, NULL);
	for (unsigned int i = 0; i < act->count; i++)
		if (act->order[i]->claim.holds)
			grips[n++] = grip_for_guardian(act->order[i]);
	if (guardian_restart(guardian, grips, n) < 0)
		return;
	watch_guardian(act);
	safety_refresh(&act->safety, guardian_pid(guardian));
}

void guardian_lost(struct act *act)
{
	replace_guardian(act);
	table_tell(act, ACT_GUARDIAN_LOST, NULL);
}

void act_pulse(struct act *act)
{
	guardian_beat(act->options.guardian);
	if (guardian_pid(act->options.guardian) == 0)
		replace_guardian(act);
	else if (guardian_hangs(act->options.guardian, holds_any(act)))
		guardian_lost(act);
	if (monotonic_ns() - act->safety.read_ns >= SAFETY_AGE_NS)
		safety_refresh(&act->safety, guardian_pid(act->options.guardian));
	/* From the end, because a look may end the claim; by index, because news may end others. */
	for (unsigned int i = act->count; i-- > 0;) {
		struct held *h = i < act->count ? act->order[i] : NULL;

		if (h && h->undoing)
			(void)table_end(act, h, h->last_news);
		else if (h)
			watch_look(act, h);
	}
}

int act_set_only(struct act *act, const char *only)
{
	if (strlen(only) >= sizeof(act->safety.only))
		return -ENAMETOOLONG;
	snprintf(act->safety.only, sizeof(act->safety.only), "%s", only);
	for (unsigned int i = act->count; i-- > 0;) {
		struct held *h = i < act->count ? act->order[i] : NULL;

		if (h && !h->undoing && !cgroup_path_within(h->claim.target.path, only))
			(void)table_end(act, h, ACT_OUTSIDE);
	}
	return 0;
}

int act_new(struct act **out, const struct act_options *options)
{
	struct act *act = calloc(1, sizeof(*act));
	int r;

	if (!act)
		return -ENOMEM;
	act->options = *options;
	act->epoll = act->timer = -1;
	if (act->options.terminate_timeout_ns == 0)
		act->options.terminate_timeout_ns = TERMINATE_DEFAULT_NS;
	if (act->options.slow_ns == 0)
		act->options.slow_ns = SLOW_DEFAULT_NS;
	act->next_id = ledger_next_id(options->ledger);
	safety_refresh(&act->safety, guardian_pid(options->guardian));
	r = act_set_only(act, options->only);
	if (r == 0)
		r = watch_open(act);
	if (r < 0) {
		act_free(act);
		return r;
	}
	*out = act;
	return 0;
}

void act_free(struct act *act)
{
	if (!act)
		return;
	/* Newest first. */
	for (unsigned int i = act->count; i-- > 0;) {
		(void)release(act, act->order[i]);
		table_remove(act, act->order[i]);
	}
	watch_close(act);
	act_forget_all(act);
	free(act);
}
