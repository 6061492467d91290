// SPDX-License-Identifier: GPL-2.0-or-later
/* Several hands on one target: policies that want different things, the operator, a reload. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"
#include "stand_in.h"

#define FRONT                                                          \
	"signal = cpu\nof = cgroup:%s/front\nwindow = 250ms\nenter = " \
	"0.04cpu\nleave = 0.02cpu\ntarget = hog\n"
#define OTHER                                                          \
	"signal = cpu\nof = cgroup:%s/other\nwindow = 250ms\nenter = " \
	"0.04cpu\nleave = 0.02cpu\ntarget = hog\n"
#define WORKLOAD "[workload hog]\ncgroup = %s/hog\n"

static const char freezing[] = WORKLOAD "[policy pauses]\n" FRONT "grace = 300ms\n"
					"action = freeze\n";
static const char ending[] = WORKLOAD "[policy ends]\n" FRONT "grace = 300ms\n"
				      "action = terminate\n";
static const char both[] = WORKLOAD "[policy pauses]\n" FRONT "grace = 1m\naction = freeze\n"
				    "[policy ends]\n" OTHER "grace = 300ms\naction = terminate\n";

/* printf: the node, the grace time. */
static const char gpu[] = "[workload hog]\ncgroup = %%s/hog\n[policy wanted]\nsignal = gpu\n"
			  "devices = %s\ngrace = %s\naction = freeze\ntarget = hog\n";

static void make_cgroups(void)
{
	live_cgroup("hog");
	live_cgroup("front");
	live_cgroup("other");
}

static void call(const char *method, json_t *parameters)
{
	char error[128];
	json_t *reply = agent_call(method, parameters, error, sizeof(error));

	if (!reply)
		fail_msg("%s: %s", method, error);
	json_decref(reply);
}

static json_t *hog(void)
{
	return json_pack("{s:s}", "target", live_path("hog"));
}

/* Deaf to SIGTERM. */
static int load_stubborn(void *unused)
{
	signal(SIGTERM, SIG_IGN);
	return load_sleep(unused);
}

static bool is_quiet(void *policy)
{
	char name[32];

	agent_policy_state(policy, name, sizeof(name));
	return strcmp(name, "quiet") == 0;
}

static size_t count_claims(void)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error));
	size_t n;

	assert_non_null(reply);
	n = json_array_size(json_object_get(json_object_get(reply, "status"), "claims"));
	json_decref(reply);
	return n;
}

static bool no_claims(void *unused)
{
	(void)unused;
	return count_claims() == 0;
}

/* How often the agent has gone to sleep meanwhile. */
static unsigned long wakeups_in_ms(unsigned int ms)
{
	unsigned long count[2] = { 0 };
	char path[64], line[128];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)agent_pid());
	for (int i = 0; i < 2; i++) {
		_cleanup_fclose_ FILE *f = NULL;

		if (i)
			usleep(ms * 1000);
		f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f))
			(void)sscanf(line, "voluntary_ctxt_switches: %lu", &count[i]);
	}
	return count[1] - count[0];
}

static void who_ends_it_lets_it_live_for_who_pauses_it(void **state)
{
	pid_t front;

	(void)state;
	make_cgroups();
	live_fork("hog", load_stubborn, NULL);
	agent_start(both);
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "pauses", 5000));
	front = live_fork("other", load_spin, NULL);
	/* Thawed, so that it can take notice of SIGTERM. */
	assert_true(live_until(live_is_thawed, "hog", 5000));
	live_kill(front);
	/* That policy is quiet before the time to SIGKILL is over. */
	assert_true(live_until(live_is_frozen, "hog", 5000));
	assert_true(live_until(is_quiet, "ends", 1000));
	assert_int_equal(agent_count_events("killed", NULL), 0);
	assert_int_equal(agent_stop(), 0);
	assert_false(live_frozen("hog"));
}

static void what_was_ended_is_not_ended_again_once_the_policy_is_quiet(void **state)
{
	pid_t front, again;

	(void)state;
	make_cgroups();
	live_fork("hog", load_sleep, NULL);
	agent_start(ending);
	call("Freeze", hog());
	assert_true(live_until(live_is_frozen, "hog", 2000));
	front = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("terminated", "ends", 5000));
	live_kill(front);
	assert_true(live_until(is_quiet, "ends", 3000));
	again = live_fork("hog", load_sleep, NULL);
	/* Longer than two ticks. */
	usleep(300 * 1000);
	assert_int_equal(kill(again, 0), 0);
	assert_int_equal(live_cgroup_key("hog", "cgroup.events", "populated"), 1);
	assert_false(live_frozen("hog"));
	assert_int_equal(agent_stop(), 0);
}

static void a_hand_freeze_ends_with_what_ran_there(void **state)
{
	pid_t pid;

	(void)state;
	make_cgroups();
	pid = live_fork("hog", load_sleep, NULL);
	agent_start(freezing);
	call("Freeze", hog());
	assert_true(live_until(live_is_frozen, "hog", 2000));
	live_kill(pid);
	assert_true(live_until(no_claims, NULL, 2000));
	live_fork("hog", load_sleep, NULL);
	usleep(300 * 1000);
	assert_false(live_frozen("hog"));
	assert_int_equal(agent_stop(), 0);
}

static void what_is_frozen_by_hand_after_a_thaw_is_the_operators(void **state)
{
	(void)state;
	make_cgroups();
	live_fork("hog", load_sleep, NULL);
	agent_start(freezing);
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "pauses", 5000));
	call("Thaw", hog());
	assert_true(live_until(live_is_thawed, "hog", 1000));
	call("Freeze", hog());
	json_decref(agent_wait_event("frozen", "operator", 2000));
	call("Thaw", hog());
	assert_true(live_until(live_is_thawed, "hog", 1000));
	assert_int_equal(agent_stop(), 0);
}

static void a_reload_into_another_mode_decides_anew(void **state)
{
	char text[1024];

	(void)state;
	make_cgroups();
	live_fork("hog", load_sleep, NULL);
	agent_start(freezing);
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "pauses", 5000));
	/* Still in the section [agent]. */
	snprintf(text, sizeof(text), "mode = shadow\n%s", freezing);
	agent_write_config(text);
	call("Reload", json_object());
	assert_true(live_until(live_is_thawed, "hog", 1000));
	json_decref(agent_wait_event("frozen", "pauses", 5000));
	assert_false(live_frozen("hog"));
	agent_write_config(freezing);
	call("Reload", json_object());
	assert_true(live_until(live_is_frozen, "hog", 5000));
	assert_int_equal(agent_stop(), 0);
}

static void a_policy_stays_paused_over_a_reload_and_hears_again_when_resumed(void **state)
{
	char node[256], config[1024], name[32];
	_cleanup_close_ int fd = -1;

	(void)state;
	make_cgroups();
	live_fork("hog", load_sleep, NULL);
	snprintf(node, sizeof(node), "%s/gpu0", live_nodedir());
	stand_in_node(node);
	snprintf(config, sizeof(config), gpu, node, "300ms");
	agent_start(config);
	call("Pause", json_object());
	snprintf(config, sizeof(config), gpu, node, "400ms");
	agent_write_config(config);
	call("Reload", json_object());
	agent_policy_state("wanted", name, sizeof(name));
	assert_string_equal(name, "paused");
	call("Resume", json_object());
	fd = open(node, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(live_until(live_is_frozen, "hog", 3000));
	assert_int_equal(agent_stop(), 0);
}

#define MORE "[workload more]\ncgroup = %s/more\n"
#define PAUSES(target, action)                                                                   \
	WORKLOAD MORE                                                                            \
		"[policy pauses]\nsignal = cpu\nof = cgroup:%s/front\nwindow = 250ms\nenter = "  \
		"0.04cpu\nleave = 0.02cpu\ngrace = 300ms\ntarget = " target "\naction = " action \
		"\n"

static void a_thaw_by_hand_outlives_a_reload_that_changes_the_policy(void **state)
{
	pid_t front, sleeper;

	(void)state;
	make_cgroups();
	live_cgroup("more");
	sleeper = live_fork("hog", load_sleep, NULL);
	live_fork("more", load_sleep, NULL);
	agent_start(PAUSES("hog", "freeze"));
	front = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "pauses", 5000));
	call("Thaw", hog());
	assert_true(live_until(live_is_thawed, "hog", 1000));
	agent_write_config(PAUSES("hog, more", "freeze"));
	call("Reload", json_object());
	assert_true(live_until(live_is_frozen, "more", 3000));
	usleep(500 * 1000);
	assert_false(live_frozen("hog"));
	agent_write_config(PAUSES("hog", "terminate"));
	call("Reload", json_object());
	assert_true(live_until(live_is_thawed, "more", 1000));
	usleep(500 * 1000);
	assert_int_equal(kill(sleeper, 0), 0);
	assert_int_equal(agent_count_events("terminated", NULL), 0);
	/* Until the signal has been quiet, and no longer. */
	live_kill(front);
	assert_true(live_until(is_quiet, "pauses", 3000));
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("terminated", "pauses", 5000));
	assert_int_equal(agent_stop(), 0);
}

static json_t *hog_for(int ms)
{
	json_t *parameters = hog();

	json_object_set_new(parameters, "for_ms", json_integer(ms));
	return parameters;
}

/* Frozen at that time or later, and nearly at once then. */
static void assert_frozen_at(uint64_t due_ns)
{
	while (monotonic_ns() < due_ns) {
		assert_false(live_frozen("hog"));
		usleep(10 * 1000);
	}
	assert_true(live_until(live_is_frozen, "hog", 2500));
}

static void what_is_thawed_for_a_time_is_left_alone_for_so_long(void **state)
{
	uint64_t due_ns;
	pid_t front;

	(void)state;
	make_cgroups();
	live_fork("hog", load_sleep, NULL);
	agent_start(PAUSES("hog", "freeze"));
	/* Before anybody wants to hold it, over a reload, */
	due_ns = monotonic_ns() + 1500 * NSEC_PER_MSEC;
	call("Thaw", hog_for(1500));
	call("Reload", json_object());
	front = live_fork("front", load_spin, NULL);
	assert_frozen_at(due_ns);
	/* while it is held, and whether its signal has been quiet or not. */
	due_ns = monotonic_ns() + 3 * NSEC_PER_SEC;
	call("Thaw", hog_for(3000));
	assert_true(live_until(live_is_thawed, "hog", 1000));
	live_kill(front);
	assert_true(live_until(is_quiet, "pauses", 2000));
	live_fork("front", load_spin, NULL);
	assert_frozen_at(due_ns);
	/* What is frozen by hand is not left alone any more. */
	call("Thaw", hog_for(60000));
	assert_true(live_until(live_is_thawed, "hog", 1000));
	call("Freeze", hog());
	assert_true(live_until(live_is_frozen, "hog", 1000));
	assert_int_equal(agent_stop(), 0);
}

static void a_reload_that_adds_and_removes_targets_keeps_the_others_held(void **state)
{
	(void)state;
	make_cgroups();
	live_cgroup("more");
	live_fork("hog", load_sleep, NULL);
	live_fork("more", load_sleep, NULL);
	agent_start(PAUSES("hog", "freeze"));
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "pauses", 5000));
	agent_write_config(PAUSES("more, hog", "freeze"));
	call("Reload", json_object());
	assert_true(live_until(live_is_frozen, "more", 3000));
	assert_int_equal(agent_count_events("thawed", NULL), 0);
	assert_int_equal(agent_count_events("frozen", "pauses"), 2);
	agent_write_config(PAUSES("more", "freeze"));
	call("Reload", json_object());
	assert_true(live_until(live_is_thawed, "hog", 1000));
	assert_true(live_frozen("more"));
	assert_int_equal(agent_count_events("thawed", "pauses"), 1);
	assert_int_equal(agent_count_events("frozen", "pauses"), 2);
	assert_int_equal(agent_stop(), 0);
	assert_false(live_frozen("more"));
}

static void a_held_off_policy_does_not_keep_the_agent_awake(void **state)
{
	char config[1024];

	(void)state;
	make_cgroups();
	live_fork("hog", load_sleep, NULL);
	snprintf(config, sizeof(config), "%smax_hold = 300ms\n", freezing);
	/* Cgroups that others make and remove on this machine would wake it, too. */
	agent_force("tree=scan");
	agent_start(config);
	agent_force(NULL);
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("thawed", "pauses", 8000));
	/* The value stays above enter, and nothing begins until it has been below leave: the
	 * kernel would have news at each clock tick. */
	assert_true(wakeups_in_ms(2000) <= 60);
	assert_false(live_frozen("hog"));
	assert_int_equal(agent_stop(), 0);
}

static void the_end_that_max_hold_made_is_told_as_such_in_the_grace_time_too(void **state)
{
	json_t *event;
	pid_t front;

	(void)state;
	make_cgroups();
	live_fork("hog", load_sleep, NULL);
	agent_start(WORKLOAD "[policy pauses]\n" FRONT
			     "grace = 1m\nmax_hold = 1500ms\naction = freeze\n");
	front = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "pauses", 5000));
	live_kill(front);
	event = agent_wait_event("thawed", "pauses", 8000);
	assert_non_null(
		strstr(json_string_value(json_object_get(event, "reason")), "max_hold (1.5 s)"));
	json_decref(event);
	assert_int_equal(agent_stop(), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, live_setup, live_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(who_ends_it_lets_it_live_for_who_pauses_it),
		T(what_was_ended_is_not_ended_again_once_the_policy_is_quiet),
		T(a_hand_freeze_ends_with_what_ran_there),
		T(what_is_frozen_by_hand_after_a_thaw_is_the_operators),
		T(a_reload_into_another_mode_decides_anew),
		T(a_policy_stays_paused_over_a_reload_and_hears_again_when_resumed),
		T(a_thaw_by_hand_outlives_a_reload_that_changes_the_policy),
		T(what_is_thawed_for_a_time_is_left_alone_for_so_long),
		T(a_reload_that_adds_and_removes_targets_keeps_the_others_held),
		T(a_held_off_policy_does_not_keep_the_agent_awake),
		T(the_end_that_max_hold_made_is_told_as_such_in_the_grace_time_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
