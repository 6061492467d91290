// SPDX-License-Identifier: GPL-2.0-or-later
/* Shadow mode tells what enforcing would do, and nothing else. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "live.h"

#define WORKLOAD "[workload hog]\ncgroup = %s/hog\n"
#define POLICY(name, of, action)                                                   \
	"[policy " name "]\nsignal = cpu\nof = cgroup:%s/" of "\nwindow = 250ms\n" \
	"enter = 0.04cpu\nleave = 0.02cpu\ngrace = 300ms\ntarget = hog\naction = " action "\n"

/* The harness ends the section [agent] with what this begins with. */
static const char freezing[] = "mode = shadow\n" WORKLOAD POLICY("front-first", "front", "freeze");

static int setup(void **state)
{
	if (live_setup(state) < 0)
		return -1;
	live_cgroup("hog");
	live_cgroup("front");
	live_cgroup("other");
	return 0;
}

static bool is_holding(void *policy)
{
	char name[32];

	agent_policy_state(policy, name, sizeof(name));
	return strcmp(name, "holding") == 0;
}

static bool is_quiet(void *policy)
{
	char name[32];

	agent_policy_state(policy, name, sizeof(name));
	return strcmp(name, "quiet") == 0;
}

static void write_freeze(const char *value)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path("hog"));

	assert_true(dir >= 0);
	assert_int_equal(cgroupfs_write(dir, "cgroup.freeze", value), 0);
}

/* The claims of status (new reference). */
static json_t *claims(void)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error));
	json_t *status = json_object_get(reply, "status");
	json_t *list = json_incref(json_object_get(status ? status : reply, "claims"));

	json_decref(reply);
	assert_true(json_is_array(list));
	return list;
}

static void what_would_be_held_stands_in_the_status(void **state)
{
	json_t *list, *one;
	pid_t front;

	(void)state;
	live_fork("hog", load_sleep, NULL);
	agent_start(freezing);
	front = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	list = claims();
	assert_int_equal(json_array_size(list), 1);
	one = json_array_get(list, 0);
	assert_true(json_is_true(json_object_get(one, "shadow")));
	assert_null(json_object_get(one, "id"));
	assert_string_equal(json_string_value(json_object_get(one, "policy")), "front-first");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(one, "target"), "path")),
		live_path("hog"));
	json_decref(list);
	live_kill(front);
	json_decref(agent_wait_event("thawed", "front-first", 3000));
	list = claims();
	assert_int_equal(json_array_size(list), 0);
	json_decref(list);
	assert_int_equal(agent_stop(), 0);
}

static void what_others_froze_is_told_as_refused(void **state)
{
	pid_t front;

	(void)state;
	live_fork("hog", load_sleep, NULL);
	write_freeze("1");
	assert_true(live_until(live_is_frozen, "hog", 1000));
	agent_start(freezing);
	front = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("refused", "front-first", 5000));
	assert_int_equal(agent_count_events("frozen", NULL), 0);
	/* Theirs no more: now it could be done. */
	write_freeze("0");
	json_decref(agent_wait_event("frozen", "front-first", 2000));
	live_kill(front);
	json_decref(agent_wait_event("thawed", "front-first", 3000));
	assert_int_equal(agent_count_events("refused", NULL), 1);
	assert_int_equal(agent_stop(), 0);
}

static void what_is_outside_only_is_told_as_refused(void **state)
{
	const char *const options[] = { "--only", live_path("front"), NULL };

	(void)state;
	live_fork("hog", load_sleep, NULL);
	agent_start_with(NULL, options, freezing);
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("refused", "front-first", 5000));
	assert_int_equal(agent_count_events("frozen", NULL), 0);
	assert_int_equal(agent_stop(), 0);
}

static void of_a_cgroup_in_which_nothing_runs_nothing_is_told(void **state)
{
	pid_t hog;

	(void)state;
	agent_start(freezing);
	live_fork("front", load_spin, NULL);
	assert_true(live_until(is_holding, "front-first", 5000));
	usleep(300 * 1000);
	assert_int_equal(agent_count_events("frozen", NULL), 0);
	/* As when enforcing: with somebody in it, and until they are gone. */
	hog = live_fork("hog", load_sleep, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 2000));
	live_kill(hog);
	json_decref(agent_wait_event("thawed", "front-first", 3000));
	assert_true(is_holding("front-first"));
	live_fork("hog", load_sleep, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 2000));
	assert_int_equal(agent_stop(), 0);
}

static void two_policies_on_one_target_are_told_as_one_hold(void **state)
{
	pid_t front, other;

	(void)state;
	live_fork("hog", load_sleep, NULL);
	agent_start("mode = shadow\n" WORKLOAD POLICY("front-first", "front", "freeze")
			    POLICY("other-first", "other", "freeze"));
	front = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	other = live_fork("other", load_spin, NULL);
	assert_true(live_until(is_holding, "other-first", 5000));
	live_kill(front);
	assert_true(live_until(is_quiet, "front-first", 3000));
	assert_int_equal(agent_count_events("thawed", NULL), 0);
	live_kill(other);
	json_decref(agent_wait_event("thawed", "other-first", 3000));
	assert_int_equal(agent_count_events("frozen", NULL), 1);
	assert_int_equal(agent_stop(), 0);
}

static void what_was_ended_is_not_told_as_thawed(void **state)
{
	pid_t front;

	(void)state;
	live_fork("hog", load_sleep, NULL);
	agent_start("mode = shadow\n" WORKLOAD POLICY("front-first", "front", "terminate"));
	front = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("terminated", "front-first", 5000));
	live_kill(front);
	assert_true(live_until(is_quiet, "front-first", 3000));
	assert_int_equal(agent_count_events("thawed", NULL), 0);
	assert_int_equal(agent_count_events("terminated", NULL), 1);
	assert_int_equal(agent_stop(), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, live_teardown)
	const struct CMUnitTest tests[] = {
		T(what_would_be_held_stands_in_the_status),
		T(what_others_froze_is_told_as_refused),
		T(what_is_outside_only_is_told_as_refused),
		T(of_a_cgroup_in_which_nothing_runs_nothing_is_told),
		T(two_policies_on_one_target_are_told_as_one_hold),
		T(what_was_ended_is_not_told_as_thawed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
