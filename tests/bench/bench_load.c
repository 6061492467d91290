// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A configuration of 1,000 policies, each with a cgroup of its own that it watches and a workload
 * of its own: reading it, and putting it in force in a running agent (reading, building, arming
 * 1,000 budgets and sorting every cgroup in), which is what a start adds to one without policies.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "decide/config.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "stats.h"
#include "../live/agent.h"
#include "../live/live.h"

#define POLICIES 1000
#define RUNS	 9

static char *write_policies(void)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	for (unsigned int i = 0; i < POLICIES; i++)
		fprintf(f,
			"[workload w%u]\ncgroup = %%s/batch-%u\n[policy p%u]\nsignal = cpu\n"
			"of = cgroup:%%s/front-%u\nenter = 15%%%%\nleave = 5%%%%\ngrace = 15s\n"
			"action = freeze\ntarget = w%u\n",
			i, i, i, i, i);
	assert_int_equal(fclose(f), 0);
	return text;
}

/* agent_write_config() knows one escape, %s. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		*to++ = *from;
		if (from[0] == '%' && from[1] == '%')
			from++;
	}
	*to = '\0';
}

static void hear(void *user, bool warning, const char *line)
{
	(void)user;
	(void)warning;
	fprintf(stderr, "%s\n", line);
}

static double read_ms(void)
{
	uint64_t begun = monotonic_ns();
	struct config *config;
	double ms;

	assert_int_equal(config_load(&config, agent_file("culprit.conf"), true, 2, hear, NULL), 0);
	ms = (double)(monotonic_ns() - begun) / 1e6;
	assert_int_equal(config->n_policies, POLICIES);
	config_free(config);
	return ms;
}

static double reload_ms(void)
{
	uint64_t begun = monotonic_ns();
	char error[128];
	json_t *reply = agent_call("Reload", NULL, error, sizeof(error));
	double ms = (double)(monotonic_ns() - begun) / 1e6;

	assert_non_null(reply);
	assert_int_equal(json_integer_value(json_object_get(reply, "policies")), POLICIES);
	json_decref(reply);
	return ms;
}

static void bench(void **state)
{
	static double read[RUNS], first[RUNS], again[RUNS];
	_cleanup_free_ char *text = write_policies();
	char error[128];

	(void)state;
	unescape(text);
	agent_start("");
	for (int i = 0; i < RUNS; i++) {
		agent_write_config("");
		json_decref(agent_call("Reload", NULL, error, sizeof(error)));
		agent_write_config(text);
		read[i] = read_ms();
		first[i] = reload_ms();
		again[i] = reload_ms();
	}
	agent_stop();
	sort_samples(read, RUNS);
	sort_samples(first, RUNS);
	sort_samples(again, RUNS);
	printf("{\"bench\":\"load\",\"policies\":%d,\"read_ms\":%.1f,\"in_force_ms\":%.1f,"
	       "\"in_force_max_ms\":%.1f,\"again_ms\":%.1f}\n",
	       POLICIES, percentile(read, RUNS, 50), percentile(first, RUNS, 50), first[RUNS - 1],
	       percentile(again, RUNS, 50));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bench, live_setup, live_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
