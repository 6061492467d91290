// SPDX-License-Identifier: GPL-2.0-or-later
/* What came of all runs, as a table and as JSON. */
#include "scenarios.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../bench/stats.h"

/* So many of the picks must be right: 19 of 20. */
#define RIGHT_PART 0.95

enum side {
	WITHOUT,
	WITH,
	SIDES
};

struct samples {
	double *values;
	size_t n, room;
};

/* Of one scenario. */
struct line {
	unsigned int runs, right, newest, forbidden, later_innocent, unfinished;
	struct samples freeze_ms;
	struct samples latency_ms[SIDES];
	double work[SIDES], innocent_work[SIDES];
	unsigned int compared[SIDES];
};

struct scenario_score {
	struct line *lines;
};

struct scenario_score *score_new(void)
{
	struct scenario_score *score = calloc(1, sizeof(*score));

	if (score)
		score->lines = calloc(n_scenarios, sizeof(*score->lines));
	if (!score || !score->lines) {
		perror("scenarios");
		exit(1);
	}
	return score;
}

void score_free(struct scenario_score *score)
{
	for (unsigned int i = 0; i < n_scenarios; i++) {
		free(score->lines[i].freeze_ms.values);
		for (int side = 0; side < SIDES; side++)
			free(score->lines[i].latency_ms[side].values);
	}
	free(score->lines);
	free(score);
}

static void add_sample(struct samples *samples, double value)
{
	if (samples->n == samples->room) {
		size_t room = samples->room ? samples->room * 2 : 256;
		double *values = reallocarray(samples->values, room, sizeof(*values));

		if (!values) {
			perror("scenarios");
			exit(1);
		}
		samples->values = values;
		samples->room = room;
	}
	samples->values[samples->n++] = value;
}

void score_add(struct scenario_score *score, const struct scenario_order *order,
	       const struct scenario_result *result)
{
	struct line *line = &score->lines[order->scenario - scenarios];
	enum side side = order->with_agent ? WITH : WITHOUT;

	line->unfinished += !result->done;
	line->forbidden += result->forbidden > 0;
	if (!order->to_the_end) {
		line->runs++;
		line->right += result->done && result->right;
		line->newest += result->newest;
		line->later_innocent += result->later_innocent;
		if (!isnan(result->freeze_ms))
			add_sample(&line->freeze_ms, result->freeze_ms);
		return;
	}
	if (!result->done)
		return;
	line->compared[side]++;
	line->work[side] += result->work_per_s;
	line->innocent_work[side] += result->innocent_work_per_s;
	for (unsigned int i = 0; i < result->n_samples; i++)
		add_sample(&line->latency_ms[side], (double)result->latency_ms[i]);
}

/* --- one run ---------------------------------------------------------------------------------- */

static json_t *number_or_null(double value)
{
	return isnan(value) ? json_null() : json_real(value);
}

static void print_json(json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6));

	if (text)
		puts(text);
	free(text);
	json_decref(object);
}

static void print_run_json(const struct scenario_order *order, const struct scenario_result *result,
			   unsigned int run)
{
	json_t *o = json_object(), *event = json_loads(result->event, 0, NULL);
	double sorted[RESULT_SAMPLES];

	for (unsigned int i = 0; i < result->n_samples; i++)
		sorted[i] = (double)result->latency_ms[i];
	sort_samples(sorted, result->n_samples);
	json_object_set_new(o, "scenario", json_string(order->scenario->name));
	json_object_set_new(o, "run", json_integer(run));
	json_object_set_new(o, "seed", json_integer((json_int_t)order->seed));
	json_object_set_new(o, "agent", json_boolean(order->with_agent));
	json_object_set_new(o, "compared", json_boolean(order->to_the_end));
	json_object_set_new(o, "done", json_boolean(result->done));
	json_object_set_new(o, "started", json_string(result->started));
	json_object_set_new(o, "room_mib", json_integer(result->room_mib));
	if (order->with_agent) {
		json_object_set_new(o, "right", json_boolean(result->right));
		json_object_set_new(o, "picked", json_string(result->whom));
		json_object_set_new(o, "process", json_boolean(result->process));
		json_object_set_new(o, "newest", json_boolean(result->newest));
		json_object_set_new(o, "why_wrong", json_string(result->why_wrong));
		json_object_set_new(o, "freeze_ms", number_or_null(result->freeze_ms));
		json_object_set_new(o, "later", json_integer(result->later));
		json_object_set_new(o, "later_innocent", json_integer(result->later_innocent));
		json_object_set_new(o, "later_whom", json_string(result->later_whom));
		json_object_set_new(o, "forbidden", json_integer(result->forbidden));
		json_object_set_new(o, "forbidden_whom", json_string(result->forbidden_whom));
	}
	json_object_set_new(o, "probe_p50_ms",
			    json_real(percentile(sorted, result->n_samples, 50)));
	json_object_set_new(o, "probe_p99_ms",
			    json_real(percentile(sorted, result->n_samples, 99)));
	json_object_set_new(o, "work_per_s", json_real(result->work_per_s));
	json_object_set_new(o, "innocent_work_per_s", json_real(result->innocent_work_per_s));
	if (event)
		json_object_set_new(o, "event", event);
	print_json(o);
}

static void print_run_text(const struct scenario_order *order, const struct scenario_result *result,
			   unsigned int run)
{
	printf("%-12s %2u  %s", order->scenario->name, run,
	       order->to_the_end ? order->with_agent ? "with, " : "without, " : "");
	if (!result->done)
		printf("FAILED");
	else if (order->to_the_end)
		printf("work %.0f/s", result->work_per_s);
	else if (!result->picked)
		printf("nobody picked: WRONG");
	else
		printf("%s%s, %.0f ms: %s%s", result->whom, result->process ? " (process)" : "",
		       result->freeze_ms, result->right ? "right" : "WRONG, ", result->why_wrong);
	if (result->forbidden)
		printf("; FORBIDDEN: %s", result->forbidden_whom);
	printf("  [seed %llu: %s]\n", (unsigned long long)order->seed, result->started);
	if (order->with_agent && result->picked && !result->right)
		printf("             %s\n", result->event);
}

void score_print_run(const struct scenario_order *order, const struct scenario_result *result,
		     unsigned int run, bool json)
{
	if (json)
		print_run_json(order, result, run);
	else
		print_run_text(order, result, run);
	fflush(stdout);
}

/* --- all runs --------------------------------------------------------------------------------- */

static double mean(double sum, unsigned int n)
{
	return n ? sum / n : NAN;
}

static bool is_good(const struct line *line)
{
	return line->forbidden == 0 && line->unfinished == 0 &&
	       (double)line->right >= RIGHT_PART * (double)line->runs;
}

static void sort_all(struct line *line)
{
	sort_samples(line->freeze_ms.values, line->freeze_ms.n);
	for (int side = 0; side < SIDES; side++)
		sort_samples(line->latency_ms[side].values, line->latency_ms[side].n);
}

/* In at most six characters. */
static const char *brief(double value)
{
	static char ring[16][16];
	static unsigned int next;
	char *buf = ring[next++ % 16];

	if (isnan(value))
		snprintf(buf, sizeof(ring[0]), "-");
	else if (value >= 1e6)
		snprintf(buf, sizeof(ring[0]), "%.1fM", value / 1e6);
	else if (value >= 1e4)
		snprintf(buf, sizeof(ring[0]), "%.0fk", value / 1e3);
	else
		snprintf(buf, sizeof(ring[0]), "%.0f", value);
	return buf;
}

static const char *brief_percentile(const struct samples *samples, double p)
{
	return brief(samples->n ? percentile(samples->values, samples->n, p) : NAN);
}

static void print_line(const struct scenario *scenario, const struct line *line)
{
	const struct samples *without = &line->latency_ms[WITHOUT], *with = &line->latency_ms[WITH];

	printf("| %-12s  %3u of %-3u %6s  %6s %6s  %6s %6s  %6s %6s  %6s %6s  %9u  %s\n",
	       scenario->name, line->right, line->runs,
	       scenario->n_loads && line->newest ? brief(line->newest) : "0",
	       brief_percentile(&line->freeze_ms, 50), brief_percentile(&line->freeze_ms, 100),
	       brief_percentile(without, 50), brief_percentile(without, 99),
	       brief_percentile(with, 50), brief_percentile(with, 99),
	       brief(mean(line->work[WITHOUT], line->compared[WITHOUT])),
	       brief(mean(line->work[WITH], line->compared[WITH])), line->forbidden,
	       is_good(line) ? "ok" : "FAILED");
}

static void print_line_json(const struct scenario *scenario, const struct line *line)
{
	static const char *const sides[SIDES] = { [WITHOUT] = "without", [WITH] = "with" };
	json_t *o = json_object();

	json_object_set_new(o, "summary", json_string(scenario->name));
	json_object_set_new(o, "runs", json_integer(line->runs));
	json_object_set_new(o, "right", json_integer(line->right));
	json_object_set_new(o, "newest", json_integer(line->newest));
	json_object_set_new(o, "forbidden", json_integer(line->forbidden));
	json_object_set_new(o, "later_innocent", json_integer(line->later_innocent));
	json_object_set_new(o, "unfinished", json_integer(line->unfinished));
	json_object_set_new(o, "freeze_p50_ms",
			    json_real(percentile(line->freeze_ms.values, line->freeze_ms.n, 50)));
	json_object_set_new(o, "freeze_max_ms",
			    json_real(percentile(line->freeze_ms.values, line->freeze_ms.n, 100)));
	for (int side = 0; side < SIDES; side++) {
		const struct samples *s = &line->latency_ms[side];
		json_t *of = json_object();

		json_object_set_new(of, "runs", json_integer(line->compared[side]));
		json_object_set_new(of, "samples", json_integer((json_int_t)s->n));
		json_object_set_new(of, "probe_p50_ms", json_real(percentile(s->values, s->n, 50)));
		json_object_set_new(of, "probe_p99_ms", json_real(percentile(s->values, s->n, 99)));
		json_object_set_new(of, "work_per_s",
				    number_or_null(mean(line->work[side], line->compared[side])));
		json_object_set_new(
			of, "innocent_work_per_s",
			number_or_null(mean(line->innocent_work[side], line->compared[side])));
		json_object_set_new(o, sides[side], of);
	}
	json_object_set_new(o, "ok", json_boolean(is_good(line)));
	print_json(o);
}

bool score_print(struct scenario_score *score, bool json)
{
	bool good = true;

	printf("| the first pick, and how long after the begin of the thrash (ms, p50 and worst);\n"
	       "| the probe (ms, p50 and p99) and the work done (touches/s), without and with the "
	       "agent\n"
	       "| %-12s  %-10s %6s  %6s %6s  %6s %6s  %6s %6s  %6s %6s  %9s\n",
	       "scenario", "right", "newest", "p50", "worst", "p50", "p99", "p50", "p99", "work",
	       "work", "forbidden");
	printf("| %-12s  %-10s %6s  %6s %6s  %-13s  %-13s  %-6s %-6s\n", "", "", "", "", "",
	       "without", "with", "w/o", "with");
	for (unsigned int i = 0; i < n_scenarios; i++) {
		struct line *line = &score->lines[i];

		if (line->runs + line->compared[WITH] + line->compared[WITHOUT] +
			    line->unfinished ==
		    0)
			continue;
		sort_all(line);
		print_line(&scenarios[i], line);
		good = good && is_good(line);
	}
	for (unsigned int i = 0; json && i < n_scenarios; i++)
		if (score->lines[i].runs)
			print_line_json(&scenarios[i], &score->lines[i]);
	fflush(stdout);
	return good;
}
