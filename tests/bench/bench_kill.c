// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent is killed with SIGKILL at a random moment, again and again, while it freezes and thaws:
 * nothing may be left frozen after 100 ms.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/clock.h"
#include "stats.h"
#include "../live/agent.h"
#include "../live/live.h"

#define TARGETS 4

static bool any_frozen(void)
{
	char name[16];

	for (int i = 0; i < TARGETS; i++) {
		snprintf(name, sizeof(name), "hog%d", i);
		if (live_cgroup_key(name, "cgroup.events", "frozen"))
			return true;
	}
	return false;
}

static bool none_frozen(void *unused)
{
	(void)unused;
	return !any_frozen();
}

static void bench(void **state)
{
	const char *wanted = getenv("CULPRIT_KILLS");
	int kills = wanted ? atoi(wanted) : 100, left = 0, while_held = 0;
	static double ms[10000];
	char error[128];

	(void)state;
	srandom((unsigned int)getpid());
	for (int i = 0; i < TARGETS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "hog%d", i);
		live_cgroup(name);
		live_fork(name, load_spin, NULL);
	}
	for (int k = 0; k < kills && k < 10000; k++) {
		uint64_t begin, end;
		bool held;

		agent_start("[workload hogs]\ncgroup = %s/hog*\n");
		end = monotonic_ns() + (uint64_t)(random() % 40) * NSEC_PER_MSEC;
		for (int i = 0; monotonic_ns() < end; i++)
			json_decref(agent_call(i % 2 ? "Thaw" : "Freeze",
					       json_pack("{s:s}", "target", "hogs"), error,
					       sizeof(error)));
		begin = monotonic_ns();
		held = any_frozen();
		kill(agent_pid(), SIGKILL);
		while_held += held;
		if (!live_until(none_frozen, NULL, 100))
			left++;
		ms[k] = (double)(monotonic_ns() - begin) / 1e6;
		live_kill(agent_pid());
	}
	sort_samples(ms, (size_t)kills);
	printf("{\"bench\":\"kill\",\"kills\":%d,\"while_frozen\":%d,\"left_frozen_after_100_ms\":%"
	       "d,"
	       "\"p50_ms\":%.2f,\"max_ms\":%.2f}\n",
	       kills, while_held, left, percentile(ms, (size_t)kills, 50),
	       percentile(ms, (size_t)kills, 100));
	assert_int_equal(left, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bench, live_setup, live_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
