// SPDX-License-Identifier: GPL-2.0-or-later
/* action = stop on a workload: its processes are stopped one by one, and only ours are continued.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/procfs.h"
#include "live.h"

#define POLICY(more)                                                                  \
	"[workload batch]\ncgroup = %s/batch*\n[policy up]\nsignal = cpu\n"           \
	"of = cgroup:%s/front\nwindow = 500ms\nenter = 0.04cpu\ngrace = 300ms\n" more \
	"target = batch\n"

static pid_t front;

static int setup(void **state)
{
	if (live_setup(state) < 0)
		return -1;
	live_cgroup("front");
	live_cgroup("batch");
	live_cgroup("batch/inner");
	return 0;
}

static char state_of(pid_t pid)
{
	struct proc_stat st;

	return proc_read_stat(pid, &st) < 0 ? '?' : st.state;
}

static bool is_stopped(void *pid)
{
	return state_of((pid_t)(uintptr_t)pid) == 'T';
}

static bool is_continued(void *pid)
{
	return !is_stopped(pid);
}

static void assert_stops(pid_t pid)
{
	if (!live_until(is_stopped, (void *)(uintptr_t)pid, 5000))
		fail_msg("%d is in state %c", (int)pid, state_of(pid));
}

static void assert_continues(pid_t pid)
{
	if (!live_until(is_continued, (void *)(uintptr_t)pid, 5000))
		fail_msg("%d stays stopped", (int)pid);
}

static void start(const char *text)
{
	agent_start(text);
	front = live_fork("front", load_spin, NULL);
}

static void end_of_front(void)
{
	live_kill(front);
}

static json_t *call_with(const char *method, const char *name, const char *value)
{
	char error[128];
	json_t *reply = agent_call(method, json_pack("{s:s}", name, value), error, sizeof(error));

	if (!reply)
		fail_msg("%s: %s", method, error);
	return reply;
}

static void move_to(pid_t pid, const char *name)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path(name));
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)pid);
	assert_int_equal(cgroupfs_write(dir, "cgroup.procs", text), 0);
}

static void each_process_is_stopped_and_continued(void **state)
{
	pid_t busy = live_fork("batch", load_spin, NULL);
	pid_t below = live_fork("batch/inner", load_sleep, NULL);

	(void)state;
	start(POLICY("action = stop\n"));
	json_decref(agent_wait_event("stopped", "up", 5000));
	json_decref(agent_wait_event("stopped", "up", 5000));
	assert_stops(busy);
	assert_stops(below);
	assert_false(live_frozen("batch"));
	end_of_front();
	assert_continues(busy);
	assert_continues(below);
	json_decref(agent_wait_event("continued", "up", 5000));
	json_decref(agent_wait_event("continued", "up", 5000));
	assert_int_equal(agent_count_events("stopped", "up"), 2);
	assert_int_equal(agent_stop(), 0);
}

static bool is_in_batch(void *pid)
{
	char path[256];

	return proc_read_cgroup((pid_t)(uintptr_t)pid, path, sizeof(path)) == 0 &&
	       strcmp(path + strlen(live_root()), "/batch") == 0;
}

static void who_was_stopped_before_stays_stopped(void **state)
{
	pid_t theirs = live_fork("batch", load_sleep, NULL);
	pid_t ours = live_fork("batch", load_sleep, NULL);

	(void)state;
	/* Stopped before, it would join no more. */
	assert_true(live_until(is_in_batch, (void *)(uintptr_t)theirs, 2000));
	assert_int_equal(kill(theirs, SIGSTOP), 0);
	assert_stops(theirs);
	start(POLICY("action = stop\n"));
	assert_stops(ours);
	end_of_front();
	assert_continues(ours);
	json_decref(agent_wait_event("continued", "up", 5000));
	assert_true(is_stopped((void *)(uintptr_t)theirs));
	assert_int_equal(agent_count_events("refused", "up"), 1);
	assert_int_equal(agent_stop(), 0);
}

static json_t *claims(void)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error)), *list;

	assert_non_null(reply);
	list = json_incref(json_object_get(json_object_get(reply, "status"), "claims"));
	json_decref(reply);
	return list;
}

static bool is_claimed_in(pid_t pid, const char *name)
{
	json_t *list = claims(), *one;
	bool found = false;
	size_t i;

	json_array_foreach (list, i, one) {
		const json_t *target = json_object_get(one, "target");
		const char *path = json_string_value(json_object_get(target, "cgroup"));

		found |= json_integer_value(json_object_get(target, "pid")) == pid && path &&
			 strcmp(path, live_path(name)) == 0;
	}
	json_decref(list);
	return found;
}

static void who_comes_is_stopped_and_who_leaves_is_continued(void **state)
{
	pid_t first = live_fork("batch", load_sleep, NULL), later;

	(void)state;
	start(POLICY("action = stop\n"));
	assert_stops(first);
	later = live_fork("batch/inner", load_sleep, NULL);
	assert_stops(later);
	live_cgroup("batch2");
	assert_stops(live_fork("batch2", load_sleep, NULL));
	live_cgroup("elsewhere");
	move_to(later, "elsewhere");
	assert_continues(later);
	assert_stops(first);
	/* Within the target it stays stopped, and is told where it is. */
	move_to(first, "batch/inner");
	usleep(300 * 1000);
	assert_true(is_stopped((void *)(uintptr_t)first));
	assert_true(is_claimed_in(first, "batch/inner"));
	assert_int_equal(agent_stop(), 0);
	assert_continues(first);
}

/* Each forks the next one and ends, and all the while there are some. */
static int load_relay(void *unused)
{
	(void)unused;
	for (unsigned int i = 0; i < 2000; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return 1;
		if (pid > 0)
			_exit(0);
		usleep(1000);
	}
	return load_sleep(NULL);
}

static bool is_any_stopped(void *unused)
{
	(void)unused;
	return agent_count_events("stopped", "up") > 0;
}

static void who_forks_on_and_on_is_caught(void **state)
{
	pid_t relay = live_fork("batch", load_relay, NULL);
	unsigned int stopped;

	(void)state;
	agent_start(POLICY("action = stop\n"));
	front = live_fork("front", load_spin, NULL);
	assert_int_equal(live_wait(relay), 0);
	assert_true(live_until(is_any_stopped, NULL, 5000));
	/* The one that was caught was the only one: nobody forks any more. */
	usleep(300 * 1000);
	stopped = agent_count_events("stopped", "up");
	usleep(300 * 1000);
	assert_int_equal(agent_count_events("stopped", "up"), stopped);
	assert_int_equal(agent_stop(), 0);
}

static void what_is_thawed_by_hand_is_let_alone_until_it_was_quiet(void **state)
{
	pid_t one = live_fork("batch", load_sleep, NULL);
	pid_t two = live_fork("batch/inner", load_sleep, NULL), later;
	json_t *reply, *claims;

	(void)state;
	start(POLICY("action = stop\n"));
	assert_stops(one);
	assert_stops(two);
	reply = call_with("Thaw", "target", "batch");
	claims = json_object_get(reply, "claims");
	assert_int_equal(json_array_size(claims), 2);
	json_decref(reply);
	assert_continues(one);
	assert_continues(two);
	later = live_fork("batch", load_sleep, NULL);
	usleep(500 * 1000);
	assert_true(is_continued((void *)(uintptr_t)later));
	assert_true(is_continued((void *)(uintptr_t)one));
	end_of_front();
	usleep(1500 * 1000);
	front = live_fork("front", load_spin, NULL);
	assert_stops(one);
	assert_stops(two);
	assert_stops(later);
	assert_int_equal(agent_stop(), 0);
}

static void thaw_for_a_time_lets_them_alone_for_that_time(void **state)
{
	pid_t one = live_fork("batch", load_sleep, NULL), later;
	uint64_t begun;
	char error[128];

	(void)state;
	start(POLICY("action = stop\n"));
	assert_stops(one);
	begun = monotonic_ns();
	json_decref(agent_call("Thaw", json_pack("{s:s,s:i}", "target", "batch", "for_ms", 1200),
			       error, sizeof(error)));
	assert_continues(one);
	later = live_fork("batch", load_sleep, NULL);
	assert_stops(later);
	assert_stops(one);
	assert_true(monotonic_ns() - begun >= 1200 * NSEC_PER_MSEC);
	/* Not the cgroup instead. */
	assert_false(live_frozen("batch"));
	assert_int_equal(agent_stop(), 0);
}

static void why_and_status_know_them_by_their_workload(void **state)
{
	pid_t one = live_fork("batch", load_sleep, NULL);
	json_t *reply, *why;

	(void)state;
	start(POLICY("action = stop\n"));
	json_decref(agent_wait_event("stopped", "up", 5000));
	reply = call_with("Why", "name", "batch");
	why = json_array_get(json_object_get(reply, "why"), 0);
	assert_int_equal(json_array_size(json_object_get(why, "events")), 1);
	assert_true(json_array_size(json_object_get(why, "undo")) > 0);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(why, "target"), "pid")),
			 one);
	json_decref(reply);
	reply = call_with("Why", "name", live_path("batch"));
	why = json_array_get(json_object_get(reply, "why"), 0);
	assert_int_equal(json_array_size(json_object_get(why, "events")), 1);
	json_decref(reply);
	assert_int_equal(agent_stop(), 0);
}

static void an_agent_that_is_killed_leaves_nobody_stopped(void **state)
{
	pid_t pids[20];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		pids[i] = live_fork(i % 2 ? "batch" : "batch/inner", load_sleep, NULL);
	start(POLICY("action = stop\n"));
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		assert_stops(pids[i]);
	assert_int_equal(kill(agent_pid(), SIGKILL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		assert_continues(pids[i]);
}

static void one_group_at_a_time_where_that_is_wanted(void **state)
{
	pid_t old = live_fork("batch", load_sleep, NULL), new, later;

	(void)state;
	live_cgroup("batch2");
	new = live_fork("batch2", load_sleep, NULL);
	start(POLICY("action = stop\nselect = newest\n"));
	assert_stops(new);
	assert_false(is_stopped((void *)(uintptr_t)old));
	/* Who comes to what is stopped is stopped, too, whoever's turn it is. */
	later = live_fork("batch2", load_sleep, NULL);
	assert_stops(later);
	assert_stops(old);
	end_of_front();
	assert_continues(old);
	assert_continues(new);
	assert_continues(later);
	assert_int_equal(agent_stop(), 0);
}

static void who_is_protected_goes_on_and_the_others_do_not(void **state)
{
	char *argv[] = { "sleep", "1000", NULL };
	pid_t spared = live_exec("batch", NULL, argv);
	pid_t other = live_fork("batch", load_spin, NULL);

	(void)state;
	start("protect = comm:sleep\n" POLICY("action = stop\n"));
	assert_stops(other);
	json_decref(agent_wait_event("refused", "up", 5000));
	assert_false(is_stopped((void *)(uintptr_t)spared));
	assert_int_equal(agent_stop(), 0);
}

static void a_ladder_ends_them(void **state)
{
	pid_t one = live_fork("batch", load_sleep, NULL);
	pid_t two = live_fork("batch/inner", load_spin, NULL);

	(void)state;
	start(POLICY("action = stop\nescalate = kill:500ms\n"));
	json_decref(agent_wait_event("stopped", "up", 5000));
	assert_int_equal(live_wait(one), 128 + SIGKILL);
	assert_int_equal(live_wait(two), 128 + SIGKILL);
	assert_int_equal(agent_stop(), 0);
}

static void a_reload_to_freeze_continues_them_and_freezes_the_cgroup(void **state)
{
	pid_t one = live_fork("batch", load_sleep, NULL);

	(void)state;
	start(POLICY("action = stop\n"));
	assert_stops(one);
	agent_write_config(POLICY("action = freeze\n"));
	json_decref(agent_call("Reload", NULL, (char[128]){ 0 }, 128));
	assert_true(live_until(live_is_frozen, "batch", 5000));
	assert_continues(one);
	end_of_front();
	assert_true(live_until(live_is_thawed, "batch", 5000));
	assert_int_equal(agent_stop(), 0);
}

static bool are_192_claimed(void *unused)
{
	json_t *list = claims();
	size_t n = json_array_size(list);

	(void)unused;
	json_decref(list);
	return n == 192;
}

static void one_policy_leaves_room_for_others(void **state)
{
	char error[128];
	json_t *reply;

	(void)state;
	live_cgroup("batch2");
	live_cgroup("other");
	live_fork("other", load_sleep, NULL);
	for (int i = 0; i < 150; i++) {
		live_fork("batch", load_sleep, NULL);
		live_fork("batch2", load_sleep, NULL);
	}
	start(POLICY("action = stop\n"));
	assert_true(live_until(are_192_claimed, NULL, 10000));
	usleep(500 * 1000);
	assert_true(are_192_claimed(NULL));
	assert_true(agent_logged("the targets of policy up have more than 192 processes"));
	reply = agent_call("Freeze", json_pack("{s:s}", "target", live_path("other")), error,
			   sizeof(error));
	assert_non_null(reply);
	json_decref(reply);
	assert_int_equal(agent_stop(), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, live_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(each_process_is_stopped_and_continued),
		T(who_was_stopped_before_stays_stopped),
		T(who_comes_is_stopped_and_who_leaves_is_continued),
		T(who_forks_on_and_on_is_caught),
		T(what_is_thawed_by_hand_is_let_alone_until_it_was_quiet),
		T(thaw_for_a_time_lets_them_alone_for_that_time),
		T(why_and_status_know_them_by_their_workload),
		T(an_agent_that_is_killed_leaves_nobody_stopped),
		T(one_group_at_a_time_where_that_is_wanted),
		T(who_is_protected_goes_on_and_the_others_do_not),
		T(a_ladder_ends_them),
		T(one_policy_leaves_room_for_others),
		T(a_reload_to_freeze_continues_them_and_freezes_the_cgroup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
