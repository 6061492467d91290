// SPDX-License-Identifier: GPL-2.0-or-later
/* What somebody else lets go: how long, and against which policies, it is left to them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "live.h"

#define WORKLOAD "[workload hog]\ncgroup = %s/hog\n"
/* Not quiet before its cgroup was kept from every CPU for the whole window. */
#define POLICY(name, of, grace)                                                 \
	"[policy " name "]\nsignal = cpu\nof = cgroup:%s/" of "\nwindow = 2s\n" \
	"enter = 0.04cpu\nleave = 0.0001cpu\ngrace = " grace "\naction = freeze\ntarget = hog\n"

static bool is_in_grace(void *policy)
{
	char name[32];

	agent_policy_state(policy, name, sizeof(name));
	return strcmp(name, "grace") == 0;
}

static int setup(void **state)
{
	if (live_setup(state) < 0)
		return -1;
	live_cgroup("hog");
	live_cgroup("front");
	live_cgroup("other");
	live_fork("hog", load_sleep, NULL);
	return 0;
}

static void write_freeze(const char *cgroup, const char *value)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path(cgroup));

	assert_true(dir >= 0);
	assert_int_equal(cgroupfs_write(dir, "cgroup.freeze", value), 0);
}

/* Thaws it twice, which is an opinion. */
static void thaw_for_good(void)
{
	for (int i = 0; i < 2; i++) {
		/* After a second, if the signal still holds. */
		assert_true(live_until(live_is_frozen, "hog", 3000));
		write_freeze("hog", "0");
		json_decref(agent_wait_event("external-thaw", "front-first", 3000));
	}
	usleep(1500 * 1000);
	assert_false(live_frozen("hog"));
}

static void what_others_thaw_is_frozen_again_once_and_then_left(void **state)
{
	(void)state;
	agent_start(WORKLOAD POLICY("front-first", "front", "300ms"));
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	thaw_for_good();
	/* What they freeze now is theirs, also when our policy ends. */
	write_freeze("hog", "1");
	assert_true(live_until(live_is_frozen, "hog", 1000));
	assert_int_equal(agent_stop(), 0);
	assert_true(live_frozen("hog"));
	write_freeze("hog", "0");
}

static void what_others_thaw_in_the_grace_time_is_frozen_when_the_signal_returns(void **state)
{
	pid_t front;

	(void)state;
	agent_start(WORKLOAD POLICY("front-first", "front", "1m"));
	front = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	live_kill(front);
	assert_true(live_until(is_in_grace, "front-first", 10000));
	write_freeze("hog", "0");
	json_decref(agent_wait_event("external-thaw", "front-first", 3000));
	/* Longer than anyone has to do what they thawed it for. */
	usleep(1500 * 1000);
	assert_false(live_frozen("hog"));
	live_fork("front", load_spin, NULL);
	assert_true(live_until(live_is_frozen, "hog", 5000));
	assert_int_equal(agent_stop(), 0);
	assert_false(live_frozen("hog"));
}

static void what_others_thaw_against_one_policy_another_may_freeze(void **state)
{
	(void)state;
	agent_start(WORKLOAD POLICY("front-first", "front", "300ms")
			    POLICY("other-first", "other", "300ms"));
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	thaw_for_good();
	live_fork("other", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "other-first", 5000));
	assert_true(live_frozen("hog"));
	assert_int_equal(agent_stop(), 0);
	assert_false(live_frozen("hog"));
}

static void what_others_thaw_of_the_operators_is_not_said_to_wait_for_a_signal(void **state)
{
	char error[128];
	json_t *event, *reply;

	(void)state;
	agent_start(WORKLOAD);
	reply = agent_call("Freeze", json_pack("{s:s}", "target", "hog"), error, sizeof(error));
	assert_non_null(reply);
	json_decref(reply);
	assert_true(live_until(live_is_frozen, "hog", 3000));
	write_freeze("hog", "0");
	event = agent_wait_event("external-thaw", "operator", 3000);
	assert_null(strstr(json_string_value(json_object_get(event, "reason")), "signal"));
	json_decref(event);
	assert_int_equal(agent_stop(), 0);
	assert_false(live_frozen("hog"));
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, live_teardown)
	const struct CMUnitTest tests[] = {
		T(what_others_thaw_is_frozen_again_once_and_then_left),
		T(what_others_thaw_in_the_grace_time_is_frozen_when_the_signal_returns),
		T(what_others_thaw_against_one_policy_another_may_freeze),
		T(what_others_thaw_of_the_operators_is_not_said_to_wait_for_a_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
