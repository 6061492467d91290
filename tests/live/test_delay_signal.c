// SPDX-License-Identifier: GPL-2.0-or-later
/* signal = cpu with metric = delay: what an agent makes of waits for a CPU. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent.h"
#include "crowding.h"
#include "lib/cleanup.h"
#include "live.h"

/* "front" waits for those of "batch", which is frozen for it. */
static const char front_waits[] =
	"[workload batch]\ncgroup = %s/batch\n"
	"[policy front-waits]\nsignal = cpu\nmetric = delay\nof = cgroup:%s/front\nenter = 1ms\n"
	"window = 500ms\ngrace = 300ms\naction = freeze\ntarget = batch\n";

static const struct crowding often = { .wakes = 1000000, .nice = 19, .batch = true };

/* After the agent, which they would keep from starting. */
static void start_batch(void)
{
	for (int i = 0; i < 2; i++)
		live_fork("batch", crowding_spins, &(struct crowding){ .nice = -20 });
}

/* The "delay" line of status. New reference. */
static json_t *sense(void)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error)), *found = NULL, *s;
	size_t i;

	assert_non_null(reply);
	json_array_foreach (json_object_get(json_object_get(reply, "status"), "senses"), i, s)
		if (strcmp(json_string_value(json_object_get(s, "name")), "delay") == 0)
			found = json_incref(s);
	json_decref(reply);
	assert_non_null(found);
	return found;
}

static bool has_source(void)
{
	_cleanup_(json_decrefp)
	json_t *s = sense();

	return json_is_string(json_object_get(s, "source"));
}

static json_t *policy(void)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error)), *p;

	assert_non_null(reply);
	p = json_incref(
		json_array_get(json_object_get(json_object_get(reply, "status"), "policies"), 0));
	json_decref(reply);
	return p;
}

/* In top, the waits of this cgroup. */
static void assert_shown(const char *name, bool measured)
{
	char error[128];
	json_t *reply = agent_call("GetTop", NULL, error, sizeof(error)), *c;
	bool seen = false;
	size_t i;

	assert_non_null(reply);
	json_array_foreach (json_object_get(json_object_get(reply, "top"), "cgroups"), i, c) {
		const json_t *delay = json_object_get(c, "delay_ms");

		if (strcmp(json_string_value(json_object_get(c, "path")), live_path(name)) != 0)
			continue;
		seen = true;
		assert_int_equal(json_is_number(delay), measured);
		assert_int_equal(json_is_null(delay), !measured);
	}
	assert_true(seen);
	json_decref(reply);
}

static unsigned int loaded_programs(void)
{
	uint32_t id = 0;
	unsigned int n = 0;

	while (bpf_prog_get_next_id(id, &id) == 0) {
		_cleanup_close_ int fd = bpf_prog_get_fd_by_id(id);
		struct bpf_prog_info info = { 0 };
		uint32_t size = sizeof(info);

		if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0)
			n += strncmp(info.name, "delay_", strlen("delay_")) == 0;
	}
	return n;
}

static bool none_loaded(void *unused)
{
	(void)unused;
	return loaded_programs() == 0;
}

static void who_makes_others_wait_is_frozen_until_they_do_not(void **state)
{
	const json_t *evidence, *waiter;
	json_t *event, *p;
	pid_t front;

	(void)state;
	live_cgroup("front");
	live_cgroup("batch");
	agent_start(front_waits);
	start_batch();
	front = live_fork("front", crowding_wakes, (void *)&often);
	event = agent_wait_event("frozen", "front-waits", 10000);
	assert_true(live_until(live_is_frozen, (void *)"batch", 2000));
	evidence = json_object_get(event, "evidence");
	waiter = json_object_get(evidence, "waiter");
	assert_string_equal(json_string_value(json_object_get(evidence, "unit")), "ms");
	assert_true(json_number_value(json_object_get(evidence, "value")) >= 1);
	assert_true(json_number_value(json_object_get(evidence, "enter")) == 1);
	assert_int_equal(json_integer_value(json_object_get(waiter, "pid")), front);
	assert_string_equal(json_string_value(json_object_get(waiter, "cgroup")),
			    live_path("front"));
	assert_true(json_integer_value(json_object_get(evidence, "late_wakeups")) * 20 >
		    json_integer_value(json_object_get(evidence, "wakeups")));
	assert_non_null(
		strstr(json_string_value(json_object_get(event, "reason")),
		       " for a CPU (95th percentile over the last 500 ms), and below 1 ms is "
		       "allowed; "));
	json_decref(event);
	assert_shown("front", true);
	assert_shown("batch", false);
	p = policy();
	assert_string_equal(json_string_value(json_object_get(p, "unit")), "ms");
	assert_string_equal(json_string_value(json_object_get(p, "signal")), "cpu");
	json_decref(p);
	/* Nobody waits any more when the front is gone, whatever else the machine does. */
	live_kill(front);
	json_decref(agent_wait_event("thawed", "front-waits", 10000));
	assert_true(live_until(live_is_thawed, (void *)"batch", 2000));
	assert_int_equal(agent_stop(), 0);
}

static void without_waits_nobody_is_frozen(void **state)
{
	struct crowding some = { .wakes = 700 };
	json_t *p;

	(void)state;
	live_cgroup("front");
	live_cgroup("batch");
	live_fork("batch", load_sleep, NULL);
	agent_start("[workload batch]\ncgroup = %s/batch\n"
		    "[policy front-waits]\nsignal = cpu\nmetric = delay\nof = cgroup:%s/front\n"
		    "enter = 100ms\naction = freeze\ntarget = batch\n");
	assert_int_equal(live_wait(live_fork("front", crowding_wakes, &some)), 0);
	p = policy();
	assert_string_equal(json_string_value(json_object_get(p, "state")), "quiet");
	json_decref(p);
	assert_int_equal(agent_count_events("frozen", NULL), 0);
	assert_int_equal(agent_stop(), 0);
}

/* A target in what is watched: its own waits, of which there are plenty, are none of them. */
static void a_targets_own_waits_never_count(void **state)
{
	json_t *p;

	(void)state;
	live_cgroup("all");
	live_cgroup("all/batch");
	agent_start("[workload batch]\ncgroup = %s/*/batch\n"
		    "[policy p]\nsignal = cpu\nmetric = delay\nof = cgroup:%s/all\nenter = 1ms\n"
		    "action = freeze\ntarget = batch\n");
	for (int i = 0; i < 2; i++)
		live_fork("all/batch", crowding_spins, &(struct crowding){ .nice = -20 });
	live_fork("all/batch", crowding_wakes, (void *)&often);
	usleep(1500 * 1000);
	p = policy();
	assert_true(json_number_value(json_object_get(p, "value")) == 0);
	json_decref(p);
	assert_int_equal(agent_count_events("frozen", NULL), 0);
	assert_int_equal(agent_stop(), 0);
}

static void call(const char *method, const char *name)
{
	char error[128] = "";
	json_t *reply =
		agent_call(method, json_pack("{s:s}", "policy", name), error, sizeof(error));

	if (!reply)
		fail_msg("%s: %s", method, error);
	json_decref(reply);
}

static void it_is_there_only_while_a_policy_needs_it(void **state)
{
	char error[128];
	json_t *s;

	(void)state;
	/* The kernel takes its time with what was closed a moment ago. */
	assert_true(live_until(none_loaded, NULL, 3000));
	live_cgroup("front");
	live_cgroup("batch");
	agent_start("[workload batch]\ncgroup = %s/batch\n"
		    "[policy p]\nsignal = cpu\nof = cgroup:%s/front\naction = freeze\n"
		    "target = batch\n");
	assert_int_equal(loaded_programs(), 0);
	s = sense();
	assert_true(json_is_null(json_object_get(s, "source")));
	assert_int_equal(json_array_size(json_object_get(s, "blind")), 0);
	assert_non_null(strstr(json_string_value(json_object_get(s, "why")), "off: "));
	json_decref(s);
	agent_write_config(front_waits);
	json_decref(agent_call("Reload", NULL, error, sizeof(error)));
	assert_true(has_source());
	assert_int_equal(loaded_programs(), 3);
	/* Paused, it costs nobody anything. */
	call("Pause", "front-waits");
	assert_false(has_source());
	call("Resume", "front-waits");
	assert_true(has_source());
	agent_write_config("");
	json_decref(agent_call("Reload", NULL, error, sizeof(error)));
	assert_false(has_source());
	assert_true(live_until(none_loaded, NULL, 3000));
	assert_int_equal(agent_stop(), 0);
}

static rlim_t open_files(pid_t pid)
{
	_cleanup_closedir_ DIR *dir = NULL;
	char path[64];
	rlim_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	return n;
}

static void reload(void)
{
	char error[128] = "";
	json_t *reply = agent_call("Reload", NULL, error, sizeof(error));

	if (!reply)
		fail_msg("Reload: %s", error);
	json_decref(reply);
}

/* Room for a client and a file that is read, and not for what is loaded. */
static void where_it_does_not_load_its_policies_do_not_act(void **state)
{
	struct rlimit before, few;
	json_t *p, *s;
	pid_t front;

	(void)state;
	live_cgroup("front");
	live_cgroup("batch");
	agent_start("");
	assert_int_equal(prlimit(agent_pid(), RLIMIT_NOFILE, NULL, &before), 0);
	few = before;
	few.rlim_cur = open_files(agent_pid()) + 4;
	assert_int_equal(prlimit(agent_pid(), RLIMIT_NOFILE, &few, NULL), 0);
	agent_write_config(front_waits);
	reload();
	assert_true(
		agent_logged("the delay sense has no source here (sched_wakeup+sched_switch: "));
	start_batch();
	front = live_fork("front", crowding_wakes, (void *)&often);
	usleep(1000 * 1000);
	s = sense();
	assert_true(json_is_null(json_object_get(s, "source")));
	assert_string_equal(json_string_value(json_array_get(json_object_get(s, "blind"), 0)),
			    "everything");
	json_decref(s);
	p = policy();
	assert_string_equal(json_string_value(json_object_get(p, "state")), "quiet");
	json_decref(p);
	assert_int_equal(agent_count_events("frozen", NULL), 0);
	/* Another reload tries it again. */
	assert_int_equal(prlimit(agent_pid(), RLIMIT_NOFILE, &before, NULL), 0);
	reload();
	assert_true(has_source());
	json_decref(agent_wait_event("frozen", "front-waits", 10000));
	live_kill(front);
	assert_int_equal(agent_stop(), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, live_setup, live_teardown)
	const struct CMUnitTest tests[] = {
		TEST(who_makes_others_wait_is_frozen_until_they_do_not),
		TEST(without_waits_nobody_is_frozen),
		TEST(a_targets_own_waits_never_count),
		TEST(it_is_there_only_while_a_policy_needs_it),
		TEST(where_it_does_not_load_its_policies_do_not_act),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
