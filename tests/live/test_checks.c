// SPDX-License-Identifier: GPL-2.0-or-later
/* What of a configuration only the running system tells to be doubtful: it is said once, and is in
 * the status while it is so. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../unit/fake_systemd.h"
#include "agent.h"
#include "lib/cleanup.h"
#include "live.h"

/* --- what the status says --------------------------------------------------------------------- */

static json_t *status(void)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error)), *object;

	assert_non_null(reply);
	object = json_incref(json_object_get(reply, "status"));
	json_decref(reply);
	return object;
}

static unsigned int warnings(const char *text)
{
	json_t *object = status(), *line;
	unsigned int n = 0;
	size_t i;

	json_array_foreach (json_object_get(json_object_get(object, "agent"), "warnings"), i, line)
		n += strstr(json_string_value(line), text) != NULL;
	json_decref(object);
	return n;
}

static bool is_warned(void *text)
{
	return warnings(text) == 1;
}

static bool is_not_warned(void *text)
{
	return warnings(text) == 0;
}

/* How many lines of the log hold this. */
static unsigned int logged(const char *text)
{
	_cleanup_fclose_ FILE *f = fopen(agent_file("agent.log"), "re");
	unsigned int n = 0;
	char line[1024];

	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, text) != NULL;
	return n;
}

/* The workloads that the only policy waits for, with "," between them. */
static void waits_for(char *buf, size_t size)
{
	json_t *object = status(), *list, *workload;
	size_t i;

	buf[0] = '\0';
	list = json_object_get(json_array_get(json_object_get(object, "policies"), 0), "waits_for");
	json_array_foreach (list, i, workload) {
		size_t used = strlen(buf);

		snprintf(buf + used, size - used, "%s%s=%s", i ? "," : "",
			 json_string_value(json_object_get(workload, "workload")),
			 json_string_value(json_object_get(workload, "names")));
	}
	json_decref(object);
}

/* --- nothing to act on ------------------------------------------------------------------------ */

static const char two_units[] = "[workload miner]\nunit = miner.service\n"
				"[workload batch]\ncgroup = %s/batch-*\n"
				"[policy p]\nsignal = cpu\nof = %s/front\n"
				"action = freeze\ntarget = miner, batch\n";

static bool waits_for_nothing(void *unused)
{
	char names[256];

	(void)unused;
	waits_for(names, sizeof(names));
	return names[0] == '\0';
}

static bool waits_for_both(void *unused)
{
	char names[256], expected[256];

	(void)unused;
	snprintf(expected, sizeof(expected), "miner=unit:miner.service,batch=cgroup:%s/batch-*",
		 live_root());
	waits_for(names, sizeof(names));
	return strcmp(names, expected) == 0;
}

static void a_policy_without_targets_waits_and_says_for_whom(void **state)
{
	static const char says[] = "policy p waits, for there is no cgroup of its target miner "
				   "(unit:miner.service), batch (cgroup:";
	char name[32], error[128];

	(void)state;
	agent_start(two_units);
	assert_int_equal(logged(says), 1);
	agent_policy_state("p", name, sizeof(name));
	assert_string_equal(name, "waiting");
	assert_true(waits_for_both(NULL));
	live_cgroup("batch-1");
	assert_true(live_until(waits_for_nothing, NULL, 3000));
	live_rmdir("batch-1");
	assert_true(live_until(waits_for_both, NULL, 3000));
	/* What comes and goes does not fill the log; whoever reloads wants to know. */
	usleep(1200 * 1000);
	assert_int_equal(logged(says), 1);
	json_decref(agent_call("Reload", NULL, error, sizeof(error)));
	assert_int_equal(logged(says), 2);
	assert_int_equal(agent_stop(), 0);
}

/* --- inside of a target ----------------------------------------------------------------------- */

static const char watches_unit[] = "[workload slice]\ncgroup = %s/slice\n"
				   "[policy p]\nsignal = cpu\naction = freeze\n"
				   "of = unit:watched.service\ntarget = slice\n";

static void a_watched_unit_inside_of_the_target_is_told_while_it_is_there(void **state)
{
	static char says[] = "culprit.conf:8: policy p watches unit:watched.service, but that runs "
			     "at /culprit-test-";
	char error[128];

	(void)state;
	live_cgroup("slice");
	live_cgroup("elsewhere");
	agent_start(watches_unit);
	assert_int_equal(warnings(says), 0);
	/* Where the target is not, it counts. */
	live_cgroup("elsewhere/watched.service");
	live_cgroup("slice/watched.service");
	assert_true(live_until(is_warned, says, 3000));
	assert_true(agent_logged("inside of its target slice"));
	live_rmdir("slice/watched.service");
	assert_true(live_until(is_not_warned, says, 3000));
	live_cgroup("slice/watched.service");
	assert_true(live_until(is_warned, says, 3000));
	assert_int_equal(logged(says), 1);
	json_decref(agent_call("Reload", NULL, error, sizeof(error)));
	assert_true(is_warned(says));
	assert_int_equal(logged(says), 2);
	agent_write_config("");
	json_decref(agent_call("Reload", NULL, error, sizeof(error)));
	assert_true(is_not_warned(says));
	assert_int_equal(agent_stop(), 0);
}

static void a_target_that_a_glob_leaves_out_is_meant(void **state)
{
	(void)state;
	live_cgroup("services");
	live_cgroup("services/miner.service");
	live_cgroup("services/web.service");
	agent_start("[workload miner]\nunit = miner.service\n"
		    "[policy p]\nsignal = cpu\naction = freeze\n"
		    "of = %s/services/*\ntarget = miner\n");
	assert_int_equal(warnings("policy p"), 0);
	assert_int_equal(agent_stop(), 0);
}

/* --- WatchdogSec= ----------------------------------------------------------------------------- */

static const struct fake_service services[] = {
	{ "dogged.service", 30000000 },
	{ "free.service", 0 },
	{ "late.service", 500000 },
	{ NULL, 0 },
};
static const char freezes_units[] = "[workload dogged]\nunit = dogged.service\n"
				    "[workload free]\nunit = free.service\n"
				    "[workload slice]\ncgroup = %s/slice\n"
				    "[policy p]\nsignal = cpu\naction = freeze\n"
				    "target = dogged, free, slice\n";
static char dogged[] =
	"culprit.conf:6: workload dogged: systemd kills dogged.service when it gives "
	"no sign of life for 30 s (WatchdogSec=)";
static char late[] = "culprit.conf:10: workload slice: systemd kills late.service when it gives no "
		     "sign of life for 500 ms (WatchdogSec=)";

static void a_unit_that_systemd_would_kill_is_told_at_load_and_when_it_appears(void **state)
{
	pid_t systemd = fake_systemd_start(live_tmpdir(), services);
	char error[128];

	(void)state;
	agent_start(freezes_units);
	assert_true(live_until(is_warned, dogged, 5000));
	assert_true(agent_logged(dogged));
	assert_int_equal(warnings("free.service"), 0);
	live_cgroup("slice");
	live_cgroup("slice/user@1000.service");
	live_cgroup("slice/late.service");
	assert_true(live_until(is_warned, late, 5000));
	json_decref(agent_call("Reload", NULL, error, sizeof(error)));
	assert_true(live_until(is_warned, dogged, 5000));
	assert_true(live_until(is_warned, late, 5000));
	assert_int_equal(logged(dogged), 2);
	/* Ended, it gives no sign of life and need not. */
	agent_write_config("[workload dogged]\nunit = dogged.service\n"
			   "[policy p]\nsignal = cpu\naction = terminate\ntarget = dogged\n");
	json_decref(agent_call("Reload", NULL, error, sizeof(error)));
	usleep(1500 * 1000);
	assert_int_equal(warnings("WatchdogSec="), 0);
	assert_int_equal(agent_stop(), 0);
	fake_systemd_stop(systemd);
}

static void a_check_of_the_configuration_asks_systemd_too(void **state)
{
	pid_t systemd = fake_systemd_start(live_tmpdir(), services);
	const char *const options[] = { "--check", NULL };

	(void)state;
	assert_int_equal(live_wait(agent_spawn_with(NULL, options, freezes_units)), 0);
	assert_true(agent_logged("warning: "));
	assert_true(agent_logged(dogged));
	assert_int_equal(agent_log_lines(), 2);
	fake_systemd_stop(systemd);
}

static void a_bus_that_says_nothing_delays_nobody(void **state)
{
	pid_t systemd = fake_systemd_start(live_tmpdir(), NULL);

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_spin, NULL);
	agent_start("[workload dogged]\nunit = dogged.service\n[workload hog]\ncgroup = %s/hog\n"
		    "[policy p]\nsignal = cpu\naction = freeze\nof = cgroup:%s/front\n"
		    "window = 250ms\nenter = 0.04cpu\ngrace = 300ms\ntarget = dogged, hog\n");
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "p", 1000));
	assert_int_equal(warnings(""), 0);
	assert_int_equal(agent_stop(), 0);
	fake_systemd_stop(systemd);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, live_setup, live_teardown)
	const struct CMUnitTest tests[] = {
		T(a_policy_without_targets_waits_and_says_for_whom),
		T(a_watched_unit_inside_of_the_target_is_told_while_it_is_there),
		T(a_target_that_a_glob_leaves_out_is_meant),
		T(a_unit_that_systemd_would_kill_is_told_at_load_and_when_it_appears),
		T(a_check_of_the_configuration_asks_systemd_too),
		T(a_bus_that_says_nothing_delays_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
