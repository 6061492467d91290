// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The signal `cpu` with metric = delay: how long the tasks of others (or of a pattern) wait for a
 * CPU once they were woken, the 95th percentile over a window, in ms. The kernel watches the
 * budgets, as it does for CPU time; but the sense is loaded only while the configuration has such a
 * policy, and attached only while one is active.
 */
#include <errno.h>
#include <string.h>

#include "agent/agent.h"
#include "lib/cleanup.h"

/* --- budgets ---------------------------------------------------------------------------------- */

static uint64_t ns_of(double ms)
{
	return (uint64_t)(ms * (double)NSEC_PER_MSEC + 0.5);
}

static bool measures_for(const struct agent_budget *b, const struct policy_config *p)
{
	return b->enter_ns == ns_of(p->enter) && b->leave_ns == ns_of(p->leave) &&
	       budget_is_for(b, p);
}

static int find(const struct agent *a, const struct policy_config *p)
{
	for (unsigned int i = 0; i < a->n_delays; i++)
		if (measures_for(&a->delays[i], p))
			return (int)i;
	return -1;
}

/* One more, in the order of the policies. What has the place that it had before goes on with what
 * it has counted. There is room for each: the configuration was checked for that. */
static int add(struct agent *a, const struct policy_config *p)
{
	struct agent_budget *b = &a->delays[a->n_delays];

	b->changed = !b->was_used || !measures_for(b, p);
	b->used = true;
	b->others = p->of_others;
	b->non_nice = p->non_nice;
	b->of = &p->of;
	b->left_out = p->left_out;
	b->window_ns = p->window_ns;
	b->enter_ns = ns_of(p->enter);
	b->leave_ns = ns_of(p->leave);
	return (int)a->n_delays++;
}

static void place_policies(struct agent *a)
{
	a->n_delays = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(a->delays); i++) {
		a->delays[i].was_used = a->delays[i].used;
		a->delays[i].used = false;
	}
	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];

		if (p->config->signal != SIGNAL_CPU || p->config->metric != METRIC_DELAY)
			continue;
		p->delay = find(a, p->config);
		if (p->delay < 0)
			p->delay = add(a, p->config);
	}
}

/* --- the sense -------------------------------------------------------------------------------- */

static int on_delay(sd_event_source *source, int fd, uint32_t events, void *agent)
{
	struct agent *a = agent;

	(void)source;
	(void)fd;
	(void)events;
	(void)delay_dispatch(a->delay);
	return 0;
}

static int load(struct agent *a, unsigned int n_budgets)
{
	struct sense_options o = senses_options(a, SENSE_DELAY);
	int r = delay_open(&a->delay, &o, n_budgets, delay_signal_crossing, a);

	if (r < 0 || !a->event)
		return r;
	r = sd_event_add_io(a->event, &a->delay_source, delay_fd(a->delay), EPOLLIN, on_delay, a);
	if (r >= 0)
		r = sd_event_source_set_priority(a->delay_source, SD_EVENT_PRIORITY_IMPORTANT);
	return r;
}

static void unload(struct agent *a)
{
	a->delay_source = sd_event_source_unref(a->delay_source);
	if (!a->delay)
		return;
	a->delay_missed += delay_missed(a->delay);
	delay_close(a->delay);
	a->delay = NULL;
}

/* Its policies are there all the same; their value is zero. */
static void without(struct agent *a, int error)
{
	struct sense_status *missing = &a->missing[SENSE_DELAY];
	const char *why = a->delay ? delay_status(a->delay)->why : "";

	missing->blind[0] = "everything";
	snprintf(missing->why, sizeof(missing->why), "%s", *why ? why : strerror(-error));
	unload(a);
	agent_degraded_for(a, DEGRADED_CONFIG,
			   "the delay sense has no source here (%.200s), so that policies with "
			   "metric = delay do not act; culprit reload tries again",
			   missing->why);
}

static void off(struct agent *a)
{
	a->missing[SENSE_DELAY].blind[0] = NULL;
	snprintf(a->missing[SENSE_DELAY].why, sizeof(a->missing[SENSE_DELAY].why),
		 "off: no active policy has metric = delay");
}

void delay_signal_build(struct agent *a)
{
	int r;

	place_policies(a);
	if (a->delay && (a->n_delays == 0 || a->n_delays > delay_room(a->delay)))
		unload(a);
	if (a->n_delays == 0 || a->delay)
		return;
	for (unsigned int i = 0; i < a->n_delays; i++)
		a->delays[i].changed = true;
	off(a);
	r = load(a, a->n_delays);
	if (r < 0)
		without(a, r);
}

static void set_budget(struct agent *a, unsigned int index)
{
	struct agent_budget *b = &a->delays[index];
	const struct delay_rule rule = { b->window_ns, b->enter_ns, b->leave_ns, b->non_nice };

	if (b->changed || !b->used)
		(void)delay_set_budget(a->delay, index, NULL);
	b->changed = false;
	if (b->used)
		(void)delay_set_budget(a->delay, index, &rule);
}

void delay_signal_start(struct agent *a)
{
	if (!a->delay)
		return;
	for (unsigned int i = 0; i < delay_room(a->delay); i++)
		(void)delay_arm(a->delay, i, false);
	/* What was sent for those before must not be booked to these. */
	delay_drop(a->delay);
	for (unsigned int i = 0; i < delay_room(a->delay); i++)
		set_budget(a, i);
	delay_signal_want(a);
}

static bool any_active(const struct agent *a)
{
	for (unsigned int i = 0; i < a->n_policies; i++)
		if (a->policies[i].delay >= 0 && !a->policies[i].paused)
			return true;
	return false;
}

void delay_signal_want(struct agent *a)
{
	int r;

	if (!a->delay)
		return;
	if (!any_active(a)) {
		delay_detach(a->delay);
		return;
	}
	r = delay_attach(a->delay);
	if (r < 0) {
		without(a, r);
		return;
	}
	for (unsigned int i = 0; i < a->n_delays; i++)
		delay_signal_arm(a, i);
}

void delay_signal_close(struct agent *a)
{
	unload(a);
}

void delay_signal_try(struct agent *a)
{
	int r = load(a, 1);

	if (r >= 0)
		r = delay_attach(a->delay);
	if (r < 0)
		without(a, r);
}

/* --- values ----------------------------------------------------------------------------------- */

/* Only for those that can begin now. */
void delay_signal_arm(struct agent *a, unsigned int budget)
{
	uint64_t now = monotonic_ns();
	bool armed = false;

	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];

		if (p->delay != (int)budget)
			continue;
		p->deaf = p->paused || policy_is_deaf(&p->state, &p->rule, now);
		armed |= !p->deaf;
	}
	if (a->delay)
		(void)delay_arm(a->delay, budget, armed);
}

double delay_signal_value(struct agent *a, struct agent_policy *p)
{
	struct delay_value value;

	if (!a->delay || !delay_attached(a->delay) || p->delay < 0 ||
	    delay_value(a->delay, (unsigned int)p->delay, &value) < 0)
		return 0;
	return (double)value.p95_ns / (double)NSEC_PER_MSEC;
}

static void note(struct agent_policy *p, const struct culprit_delay_crossing *crossing)
{
	p->record_ns = crossing->time_ns;
	target_of_task(&p->waited.waiter, &crossing->waiter);
	p->waited.wait_ns = crossing->wait_ns;
	p->waited.woken = crossing->woken;
	p->waited.late = crossing->late;
	/* Whoever had the CPU meanwhile, if anybody had. */
	p->has_offender = crossing->runner.tgid != 0;
	if (p->has_offender)
		target_of_task(&p->offender, &crossing->runner);
}

/* The hot path: from here to the write into cgroup.freeze nothing blocks and nothing allocates. */
void delay_signal_crossing(void *agent, const struct culprit_delay_crossing *crossing)
{
	struct agent *a = agent;
	uint64_t now = monotonic_ns();

	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];
		double value;

		if (p->delay != (int)crossing->budget || p->paused || policy_holds(p))
			continue;
		/* It was reached, whatever has left the window since. */
		value = delay_signal_value(a, p);
		if (value < p->rule.enter)
			value = p->rule.enter;
		note(p, crossing);
		policy_look(a, p, value, now);
	}
	delay_signal_arm(a, crossing->budget);
}
