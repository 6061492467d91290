// SPDX-License-Identifier: GPL-2.0-or-later
/* The agent end to end: a real kernel event leads to a real freeze and to a real thaw. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"
#include "stand_in.h"

static void a_crossed_cpu_budget_freezes_the_target_and_quiet_thaws_it(void **state)
{
	json_t *event;
	pid_t front;

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_spin, NULL);
	agent_start(agent_hog_yields);
	assert_false(live_frozen("hog"));
	front = live_fork("front", load_spin, NULL);
	event = agent_wait_event("frozen", "front-first", 5000);
	assert_true(live_frozen("hog"));
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(event, "target"), "path")),
		live_path("hog"));
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(event, "offender"), "pid")),
		front);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(event, "offender"), "cgroup")),
		live_path("front"));
	json_decref(event);
	live_kill(front);
	json_decref(agent_wait_event("thawed", "front-first", 5000));
	assert_false(live_frozen("hog"));
	assert_int_equal(agent_stop(), 0);
}

static void sigterm_thaws_and_leaves_nothing(void **state)
{
	char pins[128];

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_spin, NULL);
	agent_start(agent_hog_yields);
	snprintf(pins, sizeof(pins), "/sys/fs/bpf/culprit-test-%d", (int)getpid());
	assert_int_equal(access(pins, F_OK), 0);
	live_fork("front", load_spin, NULL);
	assert_true(live_until(live_is_frozen, "hog", 5000));
	assert_int_equal(agent_stop(), 0);
	assert_false(live_frozen("hog"));
	assert_int_equal(access(pins, F_OK), -1);
	assert_int_equal(access(agent_file("control"), F_OK), -1);
}

static void sigkill_of_the_agent_thaws_within_100_ms(void **state)
{
	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_spin, NULL);
	for (int i = 0; i < 5; i++) {
		pid_t front;

		agent_start(agent_hog_yields);
		front = live_fork("front", load_spin, NULL);
		assert_true(live_until(live_is_frozen, "hog", 5000));
		live_kill(agent_pid());
		assert_true(live_until(live_is_thawed, "hog", 100));
		live_kill(front);
	}
}

static void what_the_operator_froze_stays_frozen(void **state)
{
	_cleanup_close_ int dir = -1;

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_spin, NULL);
	dir = cgroupfs_open_path(live_fs(), live_path("hog"));
	assert_true(dir >= 0);
	assert_int_equal(cgroupfs_write(dir, "cgroup.freeze", "1"), 0);
	assert_true(live_until(live_is_frozen, "hog", 1000));
	agent_start(agent_hog_yields);
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("refused", "front-first", 5000));
	assert_int_equal(agent_stop(), 0);
	assert_true(live_frozen("hog"));
}

static void nothing_outside_only_is_touched(void **state)
{
	char error[128];
	json_t *reply;

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_spin, NULL);
	agent_start(agent_hog_yields);
	reply = agent_call("Freeze", json_pack("{s:s}", "target", "/"), error, sizeof(error));
	assert_null(reply);
	assert_string_equal(error, "io.culprit.Agent.Refused");
	assert_int_equal(agent_stop(), 0);
}

static void a_hand_freeze_holds_for_its_time(void **state)
{
	char error[128];
	json_t *reply;

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_spin, NULL);
	agent_start(agent_hog_yields);
	reply = agent_call("Freeze", json_pack("{s:s,s:i}", "target", "hog", "for_ms", 500), error,
			   sizeof(error));
	assert_non_null(reply);
	json_decref(reply);
	json_decref(agent_wait_event("frozen", "operator", 2000));
	assert_true(live_frozen("hog"));
	json_decref(agent_wait_event("thawed", "operator", 2000));
	assert_false(live_frozen("hog"));
	assert_int_equal(agent_stop(), 0);
}

/* The one object that `why` says of a name (new reference). */
static json_t *why(const char *name)
{
	char error[128];
	json_t *reply = agent_call("Why", json_pack("{s:s}", "name", name), error, sizeof(error));
	json_t *one = json_incref(json_array_get(json_object_get(reply, "why"), 0));

	json_decref(reply);
	assert_true(json_is_object(one));
	return one;
}

/* Every line of `undo` would release it by itself. */
static void assert_undo(const char *begins, const char *has)
{
	json_t *one = why("hog"), *undo = json_object_get(one, "undo");
	const char *text = json_string_value(json_array_get(undo, 0));

	assert_int_equal(json_array_size(undo), 1);
	if (!text || strncmp(text, begins, strlen(begins)) != 0 || !strstr(text, has))
		fail_msg("'%s' does not begin with '%s' or has no '%s'", text ? text : "", begins,
			 has);
	json_decref(one);
}

static void why_says_what_releases_what_several_hold(void **state)
{
	char error[128];
	json_t *one;

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_spin, NULL);
	agent_start(agent_hog_yields);
	one = why("hog");
	assert_null(json_object_get(one, "target")); /* nothing was decided about it */
	json_decref(one);
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	assert_undo("policy front-first: after ", "");
	json_decref(agent_call("Freeze", json_pack("{s:s,s:i}", "target", "hog", "for_ms", 60000),
			       error, sizeof(error)));
	assert_undo("policy front-first: after ", "; and operator: in ");
	json_decref(
		agent_call("Freeze", json_pack("{s:s}", "target", "hog"), error, sizeof(error)));
	assert_undo("operator: culprit thaw", "");
	assert_int_equal(agent_stop(), 0);
}

static void thaw_keeps_the_policy_off_until_it_was_quiet(void **state)
{
	char error[128];
	json_t *reply;
	pid_t front;

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_spin, NULL);
	agent_start(agent_hog_yields);
	front = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	reply = agent_call("Thaw", json_pack("{s:s}", "target", "hog"), error, sizeof(error));
	assert_non_null(reply);
	json_decref(reply);
	assert_true(live_until(live_is_thawed, "hog", 1000));
	/* The signal still holds; five ticks later nothing has been frozen again. */
	usleep(500 * 1000);
	assert_false(live_frozen("hog"));
	live_kill(front);
	usleep(800 * 1000);
	front = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	assert_int_equal(agent_stop(), 0);
}

static void pause_releases_and_resume_acts_again(void **state)
{
	char error[128], state_name[32];
	json_t *reply;

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_spin, NULL);
	agent_start(agent_hog_yields);
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	reply = agent_call("Pause", json_pack("{s:s}", "policy", "front-first"), error,
			   sizeof(error));
	assert_non_null(reply);
	json_decref(reply);
	assert_true(live_until(live_is_thawed, "hog", 1000));
	agent_policy_state("front-first", state_name, sizeof(state_name));
	assert_string_equal(state_name, "paused");
	reply = agent_call("Resume", json_object(), error, sizeof(error));
	assert_non_null(reply);
	json_decref(reply);
	assert_true(live_until(live_is_frozen, "hog", 3000));
	assert_int_equal(agent_stop(), 0);
}

static void shadow_mode_tells_and_touches_nothing(void **state)
{
	json_t *event;
	char config[1024];

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_spin, NULL);
	snprintf(config, sizeof(config), "mode = shadow\n%s", agent_hog_yields);
	agent_start(config);
	live_fork("front", load_spin, NULL);
	event = agent_wait_event("frozen", "front-first", 5000);
	assert_true(json_is_true(json_object_get(event, "shadow")));
	json_decref(event);
	assert_false(live_frozen("hog"));
	assert_int_equal(agent_stop(), 0);
}

static void a_target_that_appears_later_is_waited_for_and_held(void **state)
{
	char name[32];

	(void)state;
	live_cgroup("front");
	agent_start(agent_hog_yields);
	agent_policy_state("front-first", name, sizeof(name));
	assert_string_equal(name, "waiting");
	live_fork("front", load_spin, NULL);
	usleep(500 * 1000);
	live_cgroup("hog");
	live_fork("hog", load_spin, NULL);
	assert_true(live_until(live_is_frozen, "hog", 1000));
	assert_int_equal(agent_stop(), 0);
}

static void reload_without_the_policy_releases_and_with_errors_keeps_the_old_one(void **state)
{
	char error[128];
	json_t *reply;

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_spin, NULL);
	agent_start(agent_hog_yields);
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	agent_write_config("[policy broken]\nsignal = none\n");
	assert_null(agent_call("Reload", NULL, error, sizeof(error)));
	assert_string_equal(error, "io.culprit.Agent.BadConfiguration");
	assert_true(live_frozen("hog"));
	agent_write_config("");
	reply = agent_call("Reload", NULL, error, sizeof(error));
	assert_non_null(reply);
	json_decref(reply);
	assert_true(live_until(live_is_thawed, "hog", 1000));
	/* What the removed policy did can still be asked. */
	reply = why("front-first");
	assert_int_equal(json_array_size(json_object_get(reply, "events")), 2);
	json_decref(reply);
	assert_int_equal(agent_stop(), 0);
}

static void a_second_agent_on_the_same_state_directory_is_refused(void **state)
{
	char program[PATH_MAX], config[256];
	char *argv[] = { program, "--config", config, NULL };

	(void)state;
	agent_start("");
	snprintf(program, sizeof(program), "%s", live_program("culpritd"));
	snprintf(config, sizeof(config), "%s", agent_file("culprit.conf"));
	assert_int_equal(live_wait(live_exec(NULL, agent_file("second.log"), argv)), 1);
	assert_int_equal(agent_stop(), 0);
}

/* Where a node can be opened, which in the agent's own directory it need not be. */
static const char *node_path(void)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/nvidia0", live_nodedir());
	return path;
}

/* Neither source is on every kernel; where one is missing, so is the sense. */
static void a_sense_without_a_source_leaves_the_rest_at_work(void **state)
{
	static const char *const sources[] = { "gpu=fexit", "gpu=cgroup/dev+work" };
	char config[2048];

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_spin, NULL);
	snprintf(config, sizeof(config),
		 "%s[policy wanted]\nsignal = gpu\ndevices = %s\naction = freeze\n"
		 "target = hog\n[policy thrashing]\nsignal = thrash\naction = freeze\n"
		 "target = offender\n",
		 agent_hog_yields, node_path());
	stand_in_node(node_path());
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		pid_t front;

		agent_force(sources[i]);
		agent_start(config);
		front = live_fork("front", load_spin, NULL);
		json_decref(agent_wait_event("frozen", "front-first", 5000));
		live_kill(front);
		assert_int_equal(agent_stop(), 0);
	}
	agent_force(NULL);
}

static void a_broken_configuration_is_refused_with_status_2(void **state)
{
	(void)state;
	agent_spawn("[policy p]\nsignal = cpu\nenter = 15\n");
	assert_int_equal(live_wait(agent_pid()), 2);
}

static int open_and_hold(void *path)
{
	int fd = open(path, O_RDWR);

	if (fd < 0)
		return 1;
	for (;;)
		pause();
}

static void an_open_of_the_device_freezes_the_job_and_its_close_thaws_it(void **state)
{
	char node[256], config[1024];
	json_t *event;
	pid_t user;

	(void)state;
	live_cgroup("job");
	live_cgroup("user");
	snprintf(node, sizeof(node), "%s", node_path());
	stand_in_node(node);
	snprintf(config, sizeof(config),
		 "[workload job]\ncgroup = %%s/job\n[policy wanted]\nsignal = gpu\ndevices = %s\n"
		 "grace = 300ms\naction = freeze\ntarget = job\n",
		 node);
	live_fork("job", load_spin, NULL);
	agent_start(config);
	user = live_fork("user", open_and_hold, node);
	event = agent_wait_event("frozen", "wanted", 5000);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(event, "offender"), "pid")),
		user);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(event, "offender"), "cgroup")),
		live_path("user"));
	json_decref(event);
	assert_true(live_frozen("job"));
	live_kill(user);
	json_decref(agent_wait_event("thawed", "wanted", 3000));
	assert_false(live_frozen("job"));
	assert_int_equal(agent_stop(), 0);
}

/* Does the agent watch the node of this path? */
static bool has_device(void *path)
{
	char error[128];
	json_t *reply = agent_call("GetTop", NULL, error, sizeof(error));
	const json_t *gpu;
	bool found = false;
	size_t i;

	if (!reply)
		fail_msg("GetTop: %s", error);
	json_array_foreach (json_object_get(json_object_get(reply, "top"), "gpus"), i, gpu)
		found |= strcmp(json_string_value(json_object_get(gpu, "device")), path) == 0;
	json_decref(reply);
	return found;
}

static bool has_no_device(void *path)
{
	return !has_device(path);
}

/* As /dev/dri, which is there from when the driver is loaded until it is unloaded. */
static void a_node_in_a_directory_that_is_made_later_is_watched_at_once(void **state)
{
	char above[128], dir[160], node[192], config[1024];

	(void)state;
	live_cgroup("job");
	live_cgroup("user");
	snprintf(above, sizeof(above), "%s/later", live_nodedir());
	snprintf(dir, sizeof(dir), "%s/x", above);
	snprintf(node, sizeof(node), "%s/nvidia0", dir);
	snprintf(config, sizeof(config),
		 "[workload job]\ncgroup = %%s/job\n[policy wanted]\nsignal = gpu\n"
		 "devices = %s/nvidia[0-9]*, %s/*/card0\ngrace = 300ms\naction = freeze\n"
		 "target = job\n",
		 dir, above);
	live_fork("job", load_spin, NULL);
	agent_start(config);
	for (int round = 0; round < 3; round++) {
		pid_t user;

		/* The agent is told of each of them, and waits for none. */
		if (round == 0)
			assert_int_equal(mkdir(above, 0755), 0);
		assert_int_equal(mkdir(dir, 0755), 0);
		snprintf(node, sizeof(node), "%s/%s", dir, round == 2 ? "card0" : "nvidia0");
		stand_in_node(node);
		assert_true(live_until(has_device, node, 2000));
		user = live_fork("user", open_and_hold, node);
		json_decref(agent_wait_event("frozen", "wanted", 3000));
		assert_true(live_frozen("job"));
		live_kill(user);
		json_decref(agent_wait_event("thawed", "wanted", 3000));
		assert_int_equal(unlink(node), 0);
		assert_int_equal(rmdir(dir), 0);
		assert_true(live_until(has_no_device, node, 2000));
	}
	assert_int_equal(agent_stop(), 0);
	assert_int_equal(rmdir(above), 0);
}

static bool has_holder(void *unused)
{
	char error[128];
	json_t *reply = agent_call("GetTop", NULL, error, sizeof(error));
	json_t *gpu;
	size_t n;

	(void)unused;
	if (!reply)
		fail_msg("GetTop: %s", error);
	gpu = json_array_get(json_object_get(json_object_get(reply, "top"), "gpus"), 0);
	n = json_array_size(json_object_get(gpu, "holders"));
	json_decref(reply);
	return n > 0;
}

static void the_jobs_own_opens_do_not_count(void **state)
{
	char node[256], config[1024];

	(void)state;
	live_cgroup("job");
	snprintf(node, sizeof(node), "%s", node_path());
	stand_in_node(node);
	snprintf(config, sizeof(config),
		 "[workload job]\ncgroup = %%s/job\n[policy wanted]\nsignal = gpu\ndevices = %s\n"
		 "grace = 300ms\naction = freeze\ntarget = job\n",
		 node);
	agent_start(config);
	live_fork("job", open_and_hold, node);
	assert_true(live_until(has_holder, NULL, 5000));
	assert_int_equal(agent_count_events("frozen", NULL), 0);
	assert_int_equal(agent_stop(), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, live_setup, live_teardown)
	const struct CMUnitTest tests[] = {
		T(a_crossed_cpu_budget_freezes_the_target_and_quiet_thaws_it),
		T(sigterm_thaws_and_leaves_nothing),
		T(sigkill_of_the_agent_thaws_within_100_ms),
		T(what_the_operator_froze_stays_frozen),
		T(nothing_outside_only_is_touched),
		T(a_hand_freeze_holds_for_its_time),
		T(why_says_what_releases_what_several_hold),
		T(thaw_keeps_the_policy_off_until_it_was_quiet),
		T(pause_releases_and_resume_acts_again),
		T(shadow_mode_tells_and_touches_nothing),
		T(a_target_that_appears_later_is_waited_for_and_held),
		T(reload_without_the_policy_releases_and_with_errors_keeps_the_old_one),
		T(a_second_agent_on_the_same_state_directory_is_refused),
		T(a_sense_without_a_source_leaves_the_rest_at_work),
		T(a_broken_configuration_is_refused_with_status_2),
		T(an_open_of_the_device_freezes_the_job_and_its_close_thaws_it),
		T(a_node_in_a_directory_that_is_made_later_is_watched_at_once),
		T(the_jobs_own_opens_do_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
