// SPDX-License-Identifier: GPL-2.0-or-later
/* One run of one scenario, from an idle machine to an idle machine. */
#include "scenarios.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "../live/agent.h"
#include "../live/live.h"
#include "../live/swapping.h"

#define BIN_MS	       100
#define TICK_MS	       50
/* Asking costs the guest a few milliseconds, for which others wait; where they are compared only
 * the end is looked at. The time of a pick stands in its event. */
#define ASK_MS	       200
/* As the agent's sense: so many swap-ins within a second are worth a look. */
#define CROSSING       100
#define CROSSING_BINS  10
/* How long after the start signal a pick must have come. */
#define PATIENCE_MS    30000
/* After the first pick: long enough for the next one, should there be one. */
#define AFTERWARDS_MS  1500
/* Its BPF programs are verified for seconds, where that is emulated on a busy host. */
#define AGENT_START_MS 120000
#define CALM_MS	       300
#define MAX_BINS       1024

struct watch {
	uint64_t begin_ms[MAX_BINS]; /* of each bin, Unix time */
	uint64_t swapin_pages[MAX_BINS];
	unsigned int n_bins;
	uint64_t bin_ms, bin_pages; /* where the bin in progress began */
};

/* --- what the machine does -------------------------------------------------------------------- */

static void watch_begin(struct watch *watch)
{
	watch->n_bins = 0;
	watch->bin_ms = unix_ms();
	watch->bin_pages = live_vmstat("pswpin");
}

static void watch_tick(struct watch *watch)
{
	uint64_t now = unix_ms(), pages;

	if (now < watch->bin_ms + BIN_MS || watch->n_bins == MAX_BINS)
		return;
	pages = live_vmstat("pswpin");
	watch->begin_ms[watch->n_bins] = watch->bin_ms;
	watch->swapin_pages[watch->n_bins++] = pages - watch->bin_pages;
	watch->bin_ms = now;
	watch->bin_pages = pages;
}

/* When the thrash began: the begin of the first bin at whose end as many pages had come in within a
 * second as make the agent look. 0: they never had. */
static uint64_t watch_crossing_ms(const struct watch *watch)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < watch->n_bins; i++) {
		sum += watch->swapin_pages[i];
		if (i >= CROSSING_BINS)
			sum -= watch->swapin_pages[i - CROSSING_BINS];
		if (sum >= CROSSING)
			return watch->begin_ms[i];
	}
	return 0;
}

/* Nothing has come in for a while; bounded, for somebody may read back a page now and then. */
static void wait_for_calm(void)
{
	uint64_t pages = live_vmstat("pswpin"), end = monotonic_ns() + 5 * NSEC_PER_SEC;

	for (;;) {
		uint64_t now;

		usleep(CALM_MS * 1000);
		now = live_vmstat("pswpin");
		if (now == pages || monotonic_ns() >= end)
			return;
		pages = now;
	}
}

/* Late or swapped out we would measure ourselves. The loads inherit none of it. */
static void be_punctual(void)
{
	const struct sched_param param = { .sched_priority = 1 };

	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		fail_msg("mlockall failed");
	(void)sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param);
}

/* --- the agent -------------------------------------------------------------------------------- */

static bool agent_answers(void *unused)
{
	char error[128];
	json_t *reply = agent_call("Ping", NULL, error, sizeof(error));

	(void)unused;
	json_decref(reply);
	return reply != NULL;
}

static void start_agent(const struct stage *stage)
{
	/* The file confines it to the test root; here it is to have the whole machine. */
	static const char *const whole_machine[] = { "--only", "/", NULL };
	char config[1024];
	size_t n = 0;

	for (unsigned int i = 1; i <= stage->scenario->n_loads; i++)
		if (stage->scenario->loads[i - 1].role_in_it == PROTECTED)
			n += (size_t)snprintf(config + n, sizeof(config) - n,
					      "protect = cgroup:%%s/%s\n", stage_cgroup(stage, i));
	snprintf(config + n, sizeof(config) - n,
		 "[policy thrashing]\nsignal = thrash\naction = freeze\ntarget = offender\n");
	agent_spawn_with(NULL, whole_machine, config);
	if (!live_until(agent_answers, NULL, AGENT_START_MS)) {
		agent_print_log();
		fail_msg("culpritd does not answer");
	}
}

/* --- the run ---------------------------------------------------------------------------------- */

struct work {
	uint64_t all, innocent;
};

static struct work work_done(const struct stage *stage)
{
	struct work work = { 0 };

	for (unsigned int i = 1; i <= stage->scenario->n_loads; i++) {
		uint64_t touches = atomic_load(&stage->board->slots[i].touches);

		work.all += touches;
		if (stage->scenario->loads[i - 1].role_in_it != CULPRIT)
			work.innocent += touches;
	}
	return work;
}

/* What is told of a run: of all of it, or, where it is compared with another, from the crossing on,
 * for before that all is well with both. */
struct measure {
	uint64_t begin_ns;
	struct work work;
	uint32_t samples;
	bool crossed;
};

static void measure_begin(struct measure *m, const struct stage *stage, bool crossed)
{
	*m = (struct measure){
		.begin_ns = monotonic_ns(),
		.work = work_done(stage),
		.samples = atomic_load(&stage->board->n_samples),
		.crossed = crossed,
	};
}

static void add_sample(struct scenario_result *r, float ms)
{
	if (r->n_samples < RESULT_SAMPLES)
		r->latency_ms[r->n_samples++] = ms;
}

static void measure_end(const struct measure *m, const struct stage *stage,
			struct scenario_result *r)
{
	struct work work = work_done(stage);
	double seconds = (double)(monotonic_ns() - m->begin_ns) / (double)NSEC_PER_SEC;
	uint32_t to = atomic_load(&stage->board->n_samples);
	uint64_t now = monotonic_ns(), due = atomic_load(&stage->board->due_ns);

	r->work_per_s = (double)(work.all - m->work.all) / seconds;
	r->innocent_work_per_s = (double)(work.innocent - m->work.innocent) / seconds;
	for (uint32_t i = m->samples; i < to; i++)
		add_sample(r, (float)stage->board->latency_us[i] / 1000);
	/* Those that it owes still: a probe that stands still must not look like a quick one. */
	for (; due < now; due += PROBE_PERIOD_MS * NSEC_PER_MSEC)
		add_sample(r, (float)(now - due) / (float)NSEC_PER_MSEC);
}

static bool is_over(const struct scenario_order *order, const struct judge *judge,
		    const struct measure *m, uint64_t begin_ns)
{
	uint64_t now = monotonic_ns();

	if (order->to_the_end && m->crossed)
		return now >= m->begin_ns + order->scenario->seconds * NSEC_PER_SEC;
	if (judge->result->picked)
		return unix_ms() >= judge->first_ms + AFTERWARDS_MS;
	return now >= begin_ns + PATIENCE_MS * NSEC_PER_MSEC;
}

/* From the start signal until it is over. */
static void let_them(const struct scenario_order *order, struct stage *stage, struct judge *judge,
		     struct watch *watch)
{
	uint64_t begin = monotonic_ns(), asked = begin;
	struct measure m;

	measure_begin(&m, stage, false);
	watch_begin(watch);
	atomic_store(&stage->board->go, 1);
	while (!is_over(order, judge, &m, begin)) {
		usleep(TICK_MS * 1000);
		watch_tick(watch);
		stage_listen(stage);
		if (order->to_the_end && !m.crossed && watch_crossing_ms(watch))
			measure_begin(&m, stage, true);
		if (order->with_agent && !order->to_the_end &&
		    monotonic_ns() >= asked + ASK_MS * NSEC_PER_MSEC) {
			judge_events(judge);
			judge_states(judge);
			asked = monotonic_ns();
		}
	}
	measure_end(&m, stage, judge->result);
	if (order->with_agent) {
		judge_events(judge);
		judge_states(judge);
	}
}

static void tell_order(const struct stage *stage, struct scenario_result *r)
{
	size_t n = 0;

	r->room_mib = stage->room_mib;
	for (unsigned int i = 0; i <= stage->scenario->n_loads; i++)
		n += (size_t)snprintf(r->started + n, sizeof(r->started) - n, "%s%s", i ? " " : "",
				      stage_name(stage, stage->order[i]));
}

static bool goes_on(void *arg)
{
	const struct stage *stage = arg;
	struct work work = work_done(stage);
	static uint64_t before = UINT64_MAX;

	if (before == UINT64_MAX)
		before = work.all - work.innocent;
	return work.all - work.innocent > before;
}

static void end_loads(void)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_root());

	if (dir >= 0)
		(void)cgroupfs_write(dir, "cgroup.kill", "1");
}

/* What was held in a shell goes on as if nothing had been; of the others there is nothing more to
 * learn, and without them the agent ends sooner. */
static void stop_agent(struct stage *stage, struct judge *judge)
{
	if (!stage->shell_pid)
		end_loads();
	(void)agent_stop();
	if (!stage->shell_pid)
		return;
	if (!live_until(goes_on, stage, 5000) && judge->result->right) {
		judge->result->right = false;
		snprintf(judge->result->why_wrong, sizeof(judge->result->why_wrong),
			 "the job does not go on");
	}
	stage_listen(stage);
	judge_shell(judge);
}

void scenario_run(const struct scenario_order *order, struct scenario_result *result)
{
	static struct stage stage;
	static struct watch watch;
	struct judge judge = { .stage = &stage, .result = result };
	uint64_t crossing;

	*result = (struct scenario_result){ .freeze_ms = NAN };
	if (live_setup(NULL) < 0)
		exit(1);
	stage_set(&stage, order->scenario, order->seed);
	tell_order(&stage, result);
	if (order->with_agent)
		start_agent(&stage);
	wait_for_calm();
	be_punctual();
	let_them(order, &stage, &judge, &watch);
	crossing = watch_crossing_ms(&watch);
	if (result->picked && crossing)
		result->freeze_ms = (double)judge.first_ms - (double)crossing;
	if (order->with_agent)
		stop_agent(&stage, &judge);
	live_cleanup();
	result->done = true;
}
