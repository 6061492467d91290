// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every rung of every sense, forced in turn on the real agent: from the event in the kernel to the
 * frozen cgroup, and to its thaw. Ends with a table; its lines begin with "| ".
 *
 * CULPRIT_MISSING_RUNGS names what this kernel is known not to have, "SENSE=SOURCE …". All others
 * must work: were the agent itself asked what the kernel has, a rung that it fails to find would go
 * unnoticed.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "sense/census.h"
#include "sense/cpu.h"
#include "sense/gpu.h"
#include "sense/swap.h"
#include "sense/tree.h"
#include "../live/agent.h"
#include "../live/live.h"
#include "rung.h"

#define MAX_RUNGS 40

static struct rung rungs[MAX_RUNGS];
static char names[MAX_RUNGS][96];
static struct CMUnitTest tests[MAX_RUNGS];
static unsigned int n_rungs;

/* --- one rung ----------------------------------------------------------------------------------
 */

static json_t *sense_status(json_t *reply, const char *sense)
{
	json_t *senses = json_object_get(json_object_get(reply, "status"), "senses");

	return row_named(senses, "name", sense);
}

static void find_use(struct rung *rung)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error));
	json_t *sense = reply ? sense_status(reply, rung->sense) : NULL;
	const char *source = json_string_value(json_object_get(sense, "source"));
	const char *why = json_string_value(json_object_get(sense, "why"));

	if (!sense)
		fail_msg("GetStatus says nothing of %s: %s", rung->sense, reply ? "" : error);
	rung->in_use = source && strcmp(source, rung->source) == 0;
	if (source && !rung->in_use)
		fail_msg("%s was forced, but %s is in use", rung->forced, source);
	if (rung->in_use != rung->expected)
		fail_msg("%s is %s; the agent says: %s", rung->forced,
			 rung->in_use ? "in use, but this kernel is known not to have it"
				      : "not in use",
			 why && *why ? why : "nothing");
	json_decref(reply);
}

bool rung_start(struct rung *rung, const char *config)
{
	agent_force(rung->forced);
	agent_start(config);
	find_use(rung);
	if (!rung->in_use)
		rung_stop(rung);
	return rung->in_use;
}

void rung_stop(struct rung *rung)
{
	assert_int_equal(agent_stop(), 0);
	rung->ok = true;
}

void rung_agrees(struct rung *rung, uint64_t counted, uint64_t truth, double tolerance)
{
	double ratio = truth ? (double)counted / (double)truth : 0;

	snprintf(rung->agreement, sizeof(rung->agreement), "%.4f (%llu/%llu)", ratio,
		 (unsigned long long)counted, (unsigned long long)truth);
	if (ratio < 1 - tolerance || ratio > 1 + tolerance)
		fail_msg("%s: counted %llu, the kernel %llu", rung->forced,
			 (unsigned long long)counted, (unsigned long long)truth);
}

/* --- top ---------------------------------------------------------------------------------------
 */

json_t *top_rows(const char *key)
{
	char error[128];
	json_t *reply = agent_call("GetTop", NULL, error, sizeof(error));
	json_t *rows;

	if (!reply)
		fail_msg("GetTop: %s", error);
	rows = json_incref(json_object_get(json_object_get(reply, "top"), key));
	json_decref(reply);
	assert_non_null(rows);
	return rows;
}

json_t *row_named(json_t *rows, const char *key, const char *value)
{
	json_t *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		const char *text = json_string_value(json_object_get(row, key));

		if (text && strcmp(text, value) == 0)
			return row;
	}
	return NULL;
}

json_t *row_numbered(json_t *rows, const char *key, json_int_t value)
{
	json_t *row;
	size_t i;

	json_array_foreach (rows, i, row)
		if (json_integer_value(json_object_get(row, key)) == value)
			return row;
	return NULL;
}

uint64_t row_count(const json_t *row, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(row, key));
}

/* --- all of them -------------------------------------------------------------------------------
 */

static bool is_missing(const char *forced)
{
	const char *missing = getenv("CULPRIT_MISSING_RUNGS");
	char list[1024];

	snprintf(list, sizeof(list), "%s", missing ? missing : "");
	for (char *word = strtok(list, " "); word; word = strtok(NULL, " "))
		if (strcmp(word, forced) == 0)
			return true;
	return false;
}

static int setup(void **state)
{
	return live_setup(state);
}

static int teardown(void **state)
{
	(void)state;
	live_cleanup();
	return 0;
}

static void add(const char *sense, const char *what, const char *source, CMUnitTestFunction check)
{
	struct rung *rung = &rungs[n_rungs];

	if (n_rungs == MAX_RUNGS) {
		fprintf(stderr, "rungs: more than %d rungs\n", MAX_RUNGS);
		exit(1);
	}
	rung->sense = sense;
	rung->what = what;
	rung->source = source;
	snprintf(rung->forced, sizeof(rung->forced), "%s=%s", sense, source);
	rung->expected = !is_missing(rung->forced);
	snprintf(names[n_rungs], sizeof(names[0]), "%s: %s", what, rung->forced);
	tests[n_rungs] = (struct CMUnitTest){ names[n_rungs], check, setup, teardown, rung };
	n_rungs++;
}

static void add_all(const char *sense, const char *what, const char *const *sources,
		    CMUnitTestFunction check)
{
	for (; *sources; sources++)
		add(sense, what, *sources, check);
}

static int print_table(void **unused)
{
	(void)unused;
	print_message("| %-9s  %-32s  %-6s  %-24s  %s\n", "sense", "rung", "in use", "agreement",
		      "ok");
	for (unsigned int i = 0; i < n_rungs; i++) {
		const struct rung *r = &rungs[i];

		print_message("| %-9s  %-32s  %-6s  %-24s  %s\n", r->what, r->source,
			      r->in_use	    ? "yes"
			      : r->expected ? "NO"
					    : "absent",
			      r->agreement[0] ? r->agreement : "-", r->ok ? "ok" : "FAILED");
	}
	return 0;
}

/* With a pattern: only the tests whose names it matches, "swap: *". */
int main(int argc, char **argv)
{
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	add_all("cpu", "cpu", cpu_sources, check_cpu);
	add_all("gpu", "gpu", gpu_sources, check_gpu);
	if (getenv("CULPRIT_GPU_NODE"))
		add_all("gpu", "gpu kinds", gpu_sources, check_gpu_kinds);
	add_all("swap", "swap", swap_sources, check_swap);
	add_all("census", "census", census_sources, check_census);
	add_all("tree", "tree", tree_sources, check_tree);
	/* cmocka's macro wants an array of constant size; the unused rest is not to be run. */
	return _cmocka_run_group_tests("rungs", tests, n_rungs, NULL, print_table);
}
