// SPDX-License-Identifier: GPL-2.0-or-later
/* action = demote: weights that are lowered, verified, and given back, whatever happens. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "live.h"

#define WEIGHT 250 /* of the hog, before anything is done to it */
#define IO     300

static const char demoting[] =
	"[workload hog]\ncgroup = %s/hog\n[policy front-first]\nsignal = cpu\nof = "
	"cgroup:%s/front\n"
	"window = 250ms\nenter = 0.04cpu\nleave = 0.02cpu\ngrace = 300ms\naction = demote\n"
	"target = hog\n";

/* --- the cgroups --------------------------------------------------------------------------------
 */

static bool write_file(const char *cgroup, const char *file, const char *text)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), cgroup);

	return dir >= 0 && cgroupfs_write(dir, file, text) == 0;
}

/* The number in a file of the hog's; -1: it has none. */
static long read_file(const char *file)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path("hog"));
	char buf[256], *number;

	if (dir < 0 || cgroupfs_read(dir, file, buf, sizeof(buf)) < 0)
		return -1;
	number = strncmp(buf, "default ", 8) == 0 ? buf + 8 : buf;
	return strtol(number, NULL, 10);
}

static bool has_weights(void)
{
	return read_file("cpu.weight") >= 0;
}

static bool host_has_controller(void)
{
	struct cgroupfs fs;
	char controllers[256];
	bool has = false;

	if (cgroupfs_open(&fs) < 0)
		return false;
	if (cgroupfs_read(fs.mount_fd, "cgroup.controllers", controllers, sizeof(controllers)) > 0)
		for (char *word = strtok(controllers, " "); word; word = strtok(NULL, " "))
			has |= strcmp(word, "cpu") == 0;
	cgroupfs_close(&fs);
	return has;
}

static int setup(void **state)
{
	char text[32];

	if (live_setup(state) < 0)
		return -1;
	/* Where the host has them on v1 neither works, and only the refusal can be tested. What is
	 * enabled in the root stays, for others there may need it by now. */
	for (int i = 0; i < 2; i++) {
		const char *controller = i ? "+io" : "+cpu";

		(void)write_file("/", "cgroup.subtree_control", controller);
		(void)write_file(live_root(), "cgroup.subtree_control", controller);
	}
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_sleep, NULL);
	snprintf(text, sizeof(text), "%d", WEIGHT);
	(void)write_file(live_path("hog"), "cpu.weight", text);
	snprintf(text, sizeof(text), "default %d", IO);
	(void)write_file(live_path("hog"), "io.weight", text);
	return 0;
}

static bool is_demoted(void *unused)
{
	long idle = read_file("cpu.idle"), io = read_file("io.weight");

	(void)unused;
	return (idle < 0 ? read_file("cpu.weight") == 1 : idle == 1) && (io < 0 || io == 1);
}

static bool is_restored(void *unused)
{
	long idle = read_file("cpu.idle"), io = read_file("io.weight");

	(void)unused;
	return idle <= 0 && read_file("cpu.weight") == WEIGHT && (io < 0 || io == IO);
}

static pid_t start_demoting(void)
{
	pid_t front;

	agent_start(demoting);
	front = live_fork("front", load_spin, NULL);
	assert_true(live_until(is_demoted, NULL, 5000));
	json_decref(agent_wait_event("demoted", "front-first", 3000));
	return front;
}

static void by_hand(const char *method, int for_ms)
{
	char error[128];
	json_t *parameters = json_pack("{s:s}", "target", live_path("hog")), *reply;

	if (for_ms)
		json_object_set_new(parameters, "for_ms", json_integer(for_ms));
	reply = agent_call(method, parameters, error, sizeof(error));
	if (!reply)
		fail_msg("%s: %s", method, error);
	json_decref(reply);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void without_weights_it_is_refused_once_with_what_to_do(void **state)
{
	json_t *event;

	(void)state;
	assert_false(has_weights());
	agent_start(demoting);
	live_fork("front", load_spin, NULL);
	event = agent_wait_event("refused", "front-first", 5000);
	assert_non_null(strstr(json_string_value(json_object_get(event, "reason")),
			       "cgroup.subtree_control"));
	json_decref(event);
	/* It is tried again at each tick. */
	usleep(500 * 1000);
	assert_int_equal(agent_count_events("refused", NULL), 1);
	assert_int_equal(agent_count_events("demoted", NULL), 0);
	assert_int_equal(agent_stop(), 0);
}

static void it_is_demoted_and_gets_its_weights_back(void **state)
{
	pid_t front;
	json_t *event;

	(void)state;
	assert_true(has_weights());
	front = start_demoting();
	assert_false(live_frozen("hog"));
	live_kill(front);
	event = agent_wait_event("restored", "front-first", 5000);
	assert_non_null(strstr(json_string_value(json_object_get(event, "reason")), "grace"));
	json_decref(event);
	assert_true(is_restored(NULL));
	assert_int_equal(agent_stop(), 0);
}

static void the_agents_end_gives_them_back(void **state)
{
	(void)state;
	assert_true(has_weights());
	start_demoting();
	assert_int_equal(agent_stop(), 0);
	assert_true(is_restored(NULL));
}

static void its_guardian_gives_them_back(void **state)
{
	json_t *event;
	pid_t front;

	(void)state;
	assert_true(has_weights());
	front = start_demoting();
	live_kill(agent_pid());
	assert_true(live_until(is_restored, NULL, 1000));
	live_kill(front);
	agent_start("");
	event = agent_wait_event("recovered", "front-first", 3000);
	assert_non_null(strstr(json_string_value(json_object_get(event, "reason")), "guardian"));
	json_decref(event);
	assert_int_equal(agent_stop(), 0);
}

static void without_a_guardian_the_ledger_gives_them_back(void **state)
{
	char error[128];
	json_t *reply;
	pid_t guardian, front;

	(void)state;
	assert_true(has_weights());
	front = start_demoting();
	reply = agent_call("GetStatus", NULL, error, sizeof(error));
	guardian = (pid_t)json_integer_value(json_object_get(
		json_object_get(json_object_get(reply, "status"), "agent"), "guardian_pid"));
	json_decref(reply);
	assert_true(guardian > 1);
	/* Stopped, the agent can neither notice nor replace it. */
	kill(agent_pid(), SIGSTOP);
	kill(guardian, SIGKILL);
	live_kill(agent_pid());
	assert_true(is_demoted(NULL));
	live_kill(front);
	agent_start("");
	json_decref(agent_wait_event("recovered", "front-first", 3000));
	assert_true(is_restored(NULL));
	assert_int_equal(agent_stop(), 0);
}

static void what_someone_else_sets_stays_theirs(void **state)
{
	json_t *event;

	(void)state;
	assert_true(has_weights());
	start_demoting();
	if (read_file("cpu.idle") == 1)
		assert_true(write_file(live_path("hog"), "cpu.idle", "0"));
	assert_true(write_file(live_path("hog"), "cpu.weight", "60"));
	event = agent_wait_event("external-thaw", "front-first", 3000);
	assert_non_null(strstr(json_string_value(json_object_get(event, "reason")), "weights"));
	json_decref(event);
	/* It is told once, not fought, and not given "back". */
	usleep(1200 * 1000);
	assert_int_equal(agent_count_events("external-thaw", NULL), 1);
	assert_int_equal(read_file("cpu.weight"), 60);
	assert_int_equal(agent_stop(), 0);
	assert_int_equal(read_file("cpu.weight"), 60);
	assert_true(read_file("io.weight") < 0 || read_file("io.weight") == IO);
}

static void what_is_low_already_is_left_alone(void **state)
{
	json_t *event;
	bool idle;

	(void)state;
	assert_true(has_weights());
	idle = read_file("cpu.idle") >= 0;
	assert_true(write_file(live_path("hog"), idle ? "cpu.idle" : "cpu.weight", "1"));
	(void)write_file(live_path("hog"), "io.weight", "default 1");
	agent_start(demoting);
	live_fork("front", load_spin, NULL);
	event = agent_wait_event("refused", "front-first", 5000);
	assert_non_null(strstr(json_string_value(json_object_get(event, "reason")), "left alone"));
	json_decref(event);
	assert_int_equal(agent_stop(), 0);
	assert_true(is_demoted(NULL));
}

static void a_freeze_takes_more_and_gives_way_again(void **state)
{
	(void)state;
	assert_true(has_weights());
	start_demoting();
	by_hand("Freeze", 700);
	json_decref(agent_wait_event("restored", "front-first", 1000));
	json_decref(agent_wait_event("frozen", "operator", 1000));
	assert_true(live_frozen("hog"));
	assert_true(is_restored(NULL));
	json_decref(agent_wait_event("thawed", "operator", 3000));
	json_decref(agent_wait_event("demoted", "front-first", 3000));
	assert_true(is_demoted(NULL));
	assert_false(live_frozen("hog"));
	by_hand("Thaw", 0);
	assert_true(is_restored(NULL));
	assert_int_equal(agent_stop(), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, live_teardown)
	const struct CMUnitTest without[] = {
		T(without_weights_it_is_refused_once_with_what_to_do),
	};
	const struct CMUnitTest with[] = {
		T(it_is_demoted_and_gets_its_weights_back),
		T(the_agents_end_gives_them_back),
		T(its_guardian_gives_them_back),
		T(without_a_guardian_the_ledger_gives_them_back),
		T(what_someone_else_sets_stays_theirs),
		T(what_is_low_already_is_left_alone),
		T(a_freeze_takes_more_and_gives_way_again),
	};

	/* Where cgroup2 has the cpu controller all of it has to work, and is never skipped. */
	if (host_has_controller())
		return cmocka_run_group_tests(with, NULL, NULL);
	return cmocka_run_group_tests(without, NULL, NULL);
}
