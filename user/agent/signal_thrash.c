// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The signal `thrash`: a crossing of swap-ins in the kernel begins the question, two looks at the
 * machine answer it (decide/thrash.h), and the looks say whose fault it is (decide/offender.h).
 *
 * A look is a census, the swap-ins of each process, and the stall time. Looks are taken after a
 * crossing and while something is held; when all is calm one in a while is kept, so that growth can
 * be told later.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/thrash_turns.h"
#include "agent/thrash_watch.h"

/* So many swap-ins within a second make it worth looking; thrash.c asks for as many of churn. */
#define CROSSING_PAGES	   100
#define CROSSING_WINDOW_NS NSEC_PER_SEC
/* Between the two looks: long enough for churn to stand out from the counters' lag, short enough to
 * freeze within 300 ms of the onset. */
#define CONFIRM_NS	   (150 * NSEC_PER_MSEC)
/* While something is held, or while pages still come in faster than the crossing. */
#define LOOK_NS		   (200 * NSEC_PER_MSEC)
/* A freeze takes effect on the signal within this; only then is the next offender looked for. */
#define NEXT_OFFENDER_NS   NSEC_PER_SEC
#define CALM_NS		   (10 * NSEC_PER_SEC)
/* Growth is told from the last calm look; when it is never quite calm, from one this old. */
#define CALM_MAX_NS	   (60 * NSEC_PER_SEC)

/* --- looking -----------------------------------------------------------------------------------
 */

static void take_swapin(void *user, const struct swap_process_use *use)
{
	struct thrash_watch *w = user;

	if (w->n_swapins == w->room_swapins) {
		size_t room = w->room_swapins ? w->room_swapins * 2 : 256;
		struct thrash_swapin *grown =
			reallocarray(w->swapins, room, sizeof(struct thrash_swapin));

		if (!grown) {
			w->swapins_lost = true;
			return;
		}
		w->swapins = grown;
		w->room_swapins = room;
	}
	w->swapins[w->n_swapins++] = (struct thrash_swapin){
		.tgid = use->tgid,
		.start_time_ns = use->start_time_ns,
		.cgroup = use->cgroup,
		.swapin_pages = use->use.swapin_pages,
	};
}

static int by_tgid(const void *a, const void *b)
{
	const struct thrash_swapin *x = a, *y = b;

	if (x->tgid != y->tgid)
		return x->tgid < y->tgid ? -1 : 1;
	return (x->start_time_ns > y->start_time_ns) - (x->start_time_ns < y->start_time_ns);
}

/* Of two with one pid the younger one lives; the arrays are searched by pid. */
static void keep_youngest(struct thrash_watch *w)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->n_swapins; i++) {
		if (kept && w->swapins[kept - 1].tgid == w->swapins[i].tgid)
			w->swapins[kept - 1] = w->swapins[i];
		else
			w->swapins[kept++] = w->swapins[i];
	}
	w->n_swapins = kept;
}

static int look(struct agent *a)
{
	struct thrash_watch *w = a->thrash;
	struct psi_values stall[PSI_KINDS];
	struct swap_use total = { 0 };
	int r;

	if (!a->census || !a->swap)
		return -ENOTSUP;
	w->now = (struct thrash_sample){ .time_ns = monotonic_ns() };
	r = census_take(a->census, 0, &w->now.processes, &w->now.n_processes);
	if (r < 0)
		return r;
	w->n_swapins = 0;
	w->swapins_lost = false;
	r = swap_each_process(a->swap, take_swapin, w);
	if (r < 0)
		return r;
	if (w->n_swapins)
		qsort(w->swapins, w->n_swapins, sizeof(*w->swapins), by_tgid);
	keep_youngest(w);
	w->now.swapins = w->swapins;
	w->now.n_swapins = w->n_swapins;
	(void)swap_total(a->swap, &total);
	w->now.swapin_pages = total.swapin_pages;
	w->now.swapout_pages = total.swapout_pages;
	if (w->psi && psi_read(w->psi, stall) == 0) {
		w->now.has_stall = true;
		w->now.stall_usec = stall[PSI_SOME].total_usec;
	}
	return w->swapins_lost ? -ENOMEM : 0;
}

/* --- judging -----------------------------------------------------------------------------------
 */

static bool is_thrash(const struct agent_policy *p)
{
	return p->config->signal == SIGNAL_THRASH && !p->paused;
}

static bool any_policy(const struct agent *a)
{
	for (unsigned int i = 0; i < a->n_policies; i++)
		if (is_thrash(&a->policies[i]))
			return true;
	return false;
}

static bool any_holds(const struct agent *a)
{
	for (unsigned int i = 0; i < a->n_policies; i++)
		if (is_thrash(&a->policies[i]) && policy_holds(&a->policies[i]))
			return true;
	return false;
}

static void judge(struct agent *a, struct agent_policy *p)
{
	struct thrash_watch *w = a->thrash;
	const struct thrash_rule rule = {
		.enter = p->rule.enter,
		.leave = p->rule.leave,
		.enter_is_default = p->config->enter_is_default,
	};
	bool held = policy_holds(p);

	thrash_judge(&w->before.sample, &w->now, &rule, &p->verdict);
	policy_look(a, p, p->verdict.value, w->now.time_ns);
	if (held && policy_holds(p) && !a->config->shadow)
		thrash_turns_step(a, p);
	/* Still thrashing although someone is held: then that one was not all of it. Where nobody
	 * is held but in words, it says nothing. */
	if (held && p->config->target_offender && p->state.phase == POLICY_HOLDING &&
	    p->verdict.confirmed && !holds_shadow(a, p) &&
	    w->now.time_ns >= w->offender_ns + NEXT_OFFENDER_NS)
		thrash_signal_begin(a, p);
}

void thrash_signal_want(struct agent *a)
{
	if (a->swap)
		(void)swap_arm(a->swap, CROSSING_WINDOW_NS, any_policy(a) ? CROSSING_PAGES : 0);
}

static void look_again_in(struct agent *a, uint64_t ns)
{
	struct thrash_watch *w = a->thrash;

	(void)sd_event_source_set_time_relative(w->timer, ns / NSEC_PER_USEC);
	(void)sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

/* Do pages still come in as fast as at a crossing? */
static bool still_coming(const struct thrash_watch *w)
{
	uint64_t interval_ns = w->now.time_ns - w->before.sample.time_ns;
	uint64_t pages = w->now.swapin_pages - w->before.sample.swapin_pages;

	return pages * NSEC_PER_SEC >= CROSSING_PAGES * interval_ns;
}

static void prepare_turns(struct agent *a)
{
	for (unsigned int i = 0; i < a->n_policies; i++)
		if (is_thrash(&a->policies[i]) && !policy_holds(&a->policies[i]))
			thrash_turns_prepare(a, &a->policies[i]);
}

/* On a slow disk, 200 ms are too short to tell the little that comes in from noise. */
static bool is_undecided(const struct agent *a)
{
	for (unsigned int i = 0; i < a->n_policies; i++)
		if (is_thrash(&a->policies[i]) && a->policies[i].verdict.undecided)
			return true;
	return false;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *agent)
{
	struct agent *a = agent;
	struct thrash_watch *w = a->thrash;
	bool again;

	(void)source;
	(void)usec;
	if (look(a) < 0) {
		thrash_signal_want(a);
		/* Who waits for a turn waits for the next look: no crossing need come before. */
		if (any_holds(a))
			look_again_in(a, LOOK_NS);
		return 0;
	}
	if (!w->first_look) {
		w->first_look = thrash_keep(&w->before, &w->now) == 0;
		prepare_turns(a);
		look_again_in(a, CONFIRM_NS);
		return 0;
	}
	w->judged_ns = w->now.time_ns;
	/* Until it is gone, and as long after that as after a freeze, it may be all of it. */
	if (holds_end_offender(a))
		w->offender_ns = w->now.time_ns;
	for (unsigned int i = 0; i < a->n_policies; i++)
		if (is_thrash(&a->policies[i]))
			judge(a, &a->policies[i]);
	again = any_holds(a) || still_coming(w);
	if (any_holds(a) || !still_coming(w) || !is_undecided(a))
		(void)thrash_keep(&w->before, &w->now);
	if (again)
		look_again_in(a, LOOK_NS);
	else
		thrash_signal_want(a);
	return 0;
}

void thrash_signal_crossing(void *agent, const struct culprit_swap_crossing *crossing)
{
	struct agent *a = agent;
	struct thrash_watch *w = a->thrash;

	if (!any_policy(a))
		return;
	w->crossing_ns = crossing->time_ns;
	/* No other crossing comes before the sense is armed again: what fails now, for want of
	 * memory, is tried again. */
	w->first_look = look(a) == 0 && thrash_keep(&w->before, &w->now) == 0;
	prepare_turns(a);
	look_again_in(a, CONFIRM_NS);
}

double thrash_signal_value(struct agent *a, struct agent_policy *p)
{
	const struct thrash_watch *w = a->thrash;

	/* Between looks the last verdict stands; without a crossing there is no signal. */
	if (!w->judged_ns || monotonic_ns() > w->judged_ns + 2 * LOOK_NS)
		return 0;
	/* Only two looks begin anything (judge()), not the memory of them. */
	if (!policy_holds(p) && p->verdict.value >= p->rule.enter)
		return p->rule.leave;
	return p->verdict.value;
}

/* --- calm looks --------------------------------------------------------------------------------
 */

void thrash_signal_pulse(struct agent *a, uint64_t now_ns)
{
	struct thrash_watch *w = a->thrash;
	struct swap_use total = { 0 };
	uint64_t age = now_ns - w->calm.sample.time_ns;
	bool calm;

	if (!a->swap || !any_policy(a) || sd_event_source_get_enabled(w->timer, NULL) > 0)
		return;
	(void)swap_total(a->swap, &total);
	calm = total.swapin_pages == w->last_pulse.swapin_pages &&
	       total.swapout_pages == w->last_pulse.swapout_pages;
	w->last_pulse = total;
	if (age < CALM_NS || (!calm && age < CALM_MAX_NS))
		return;
	if (look(a) == 0)
		(void)thrash_keep(&w->calm, &w->now);
}

int thrash_signal_open(struct agent *a)
{
	struct thrash_watch *w = a->thrash = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	r = sd_event_add_time_relative(a->event, &w->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, a);
	if (r < 0)
		return r;
	(void)sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
	(void)sd_event_source_set_priority(w->timer, SD_EVENT_PRIORITY_IMPORTANT);
	memlimits_open(&w->limits, &a->cgroups);
	if (psi_open(&w->psi, -1, PSI_MEMORY) < 0)
		w->psi = NULL;
	return 0;
}

void thrash_signal_build(struct agent *a)
{
	struct thrash_watch *w = a->thrash;
	bool looking = sd_event_source_get_enabled(w->timer, NULL) > 0;

	if (!any_policy(a)) {
		thrash_signal_want(a);
		return;
	}
	/* All that a look needs is allocated now, not when memory is short. What an earlier
	 * configuration has looked at is kept: it may not be calm now, and who grew is told from
	 * what was. */
	if (look(a) == 0) {
		if (!w->calm.sample.n_processes ||
		    w->now.time_ns >= w->calm.sample.time_ns + CALM_MAX_NS)
			(void)thrash_keep(&w->calm, &w->now);
		if (!looking)
			(void)thrash_keep(&w->before, &w->now);
		(void)offender_reserve(&w->room, w->now.n_processes + w->now.n_swapins);
	}
	thrash_signal_want(a);
}

void thrash_signal_free(struct agent *a)
{
	struct thrash_watch *w = a->thrash;

	if (!w)
		return;
	sd_event_source_unref(w->timer);
	psi_close(w->psi);
	memlimits_close(&w->limits);
	thrash_copy_free(&w->calm);
	thrash_copy_free(&w->before);
	offender_room_free(&w->room);
	free(w->swapins);
	free(w);
	a->thrash = NULL;
}
