// SPDX-License-Identifier: GPL-2.0-or-later
/* The signal `gpu`: who counts as a user of the device, and from when. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"
#include "stand_in.h"

#define CROWD 12

static char node[256];

static int setup(void **state)
{
	if (live_setup(state) < 0)
		return -1;
	live_cgroup("job");
	live_cgroup("user");
	live_fork("job", load_sleep, NULL);
	snprintf(node, sizeof(node), "%s/gpu0", live_nodedir());
	stand_in_node(node);
	return 0;
}

/* "wanted" freezes the job; `more` are lines of the policy. */
static void write_to(char *config, size_t size, const char *agent, const char *more)
{
	snprintf(config, size,
		 "%s[workload job]\ncgroup = %%s/job\n[policy wanted]\nsignal = gpu\ndevices = %s\n"
		 "grace = 300ms\naction = freeze\ntarget = job\n%s",
		 agent, node, more);
}

static void start(const char *agent, const char *more)
{
	char config[1024];

	write_to(config, sizeof(config), agent, more);
	agent_start(config);
}

static void reload(const char *agent, const char *more)
{
	char config[1024], error[128];
	json_t *reply;

	write_to(config, sizeof(config), agent, more);
	agent_write_config(config);
	reply = agent_call("Reload", NULL, error, sizeof(error));
	if (!reply)
		fail_msg("Reload: %s", error);
	json_decref(reply);
}

static int open_and_hold(void *unused)
{
	int fd = open(node, O_RDWR | O_CLOEXEC);

	return fd < 0 ? 1 : load_sleep(unused);
}

static json_t *ask(const char *method, const char *member)
{
	char error[128];
	json_t *reply = agent_call(method, NULL, error, sizeof(error)), *part;

	if (!reply)
		fail_msg("%s: %s", method, error);
	part = json_incref(json_object_get(reply, member));
	json_decref(reply);
	return part;
}

/* --- what is told ------------------------------------------------------------------------------
 */

static void a_long_path_is_told_whole(void **state)
{
	json_t *event, *top;
	pid_t user;

	(void)state;
	snprintf(node, sizeof(node), "%s/%080d", live_nodedir(), 0);
	assert_int_equal(mkdir(node, 0755), 0);
	strcat(node, "/gpu0");
	stand_in_node(node);
	start("", "");
	user = live_fork("user", open_and_hold, NULL);
	event = agent_wait_event("frozen", "wanted", 5000);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(event, "evidence"), "device")),
		node);
	json_decref(event);
	top = ask("GetTop", "top");
	assert_string_equal(json_string_value(json_object_get(
				    json_array_get(json_object_get(top, "gpus"), 0), "device")),
			    node);
	json_decref(top);
	live_kill(user);
	assert_int_equal(agent_stop(), 0);
}

/* --- who does not count ------------------------------------------------------------------------
 */

static bool has_holders(void *n)
{
	json_t *top = ask("GetTop", "top");
	const json_t *gpu = json_array_get(json_object_get(top, "gpus"), 0);
	bool has = json_array_size(json_object_get(gpu, "holders")) == (uintptr_t)n;

	json_decref(top);
	return has;
}

/* Many at once, so that some have ended when the end of the others is told. */
static void a_crowd_comes_and_goes(const char *cgroup)
{
	pid_t pids[CROWD];

	(void)live_cgroup(cgroup);
	for (unsigned int i = 0; i < CROWD; i++)
		pids[i] = live_fork(cgroup, open_and_hold, NULL);
	assert_true(live_until(has_holders, (void *)(uintptr_t)CROWD, 5000));
	for (unsigned int i = 0; i < CROWD; i++)
		kill(pids[i], SIGKILL);
	for (unsigned int i = 0; i < CROWD; i++)
		live_kill(pids[i]);
	live_rmdir(cgroup);
	assert_true(live_until(has_holders, NULL, 5000));
}

static void nobody_counts(const char *policy, const char *cgroup)
{
	start("", policy);
	for (unsigned int i = 0; i < 5; i++)
		a_crowd_comes_and_goes(cgroup);
	assert_int_equal(agent_count_events("frozen", NULL), 0);
	assert_int_equal(agent_stop(), 0);
}

static void the_end_of_those_ignored_by_cgroup_begins_nothing(void **state)
{
	char ignore[128];

	(void)state;
	snprintf(ignore, sizeof(ignore), "ignore = cgroup:%s/monitors\n", live_root());
	nobody_counts(ignore, "monitors");
}

static void the_end_of_those_ignored_by_program_begins_nothing(void **state)
{
	char exe[PATH_MAX], ignore[PATH_MAX + 32];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	(void)state;
	assert_true(n > 0);
	exe[n] = '\0';
	snprintf(ignore, sizeof(ignore), "ignore = exe:%s\n", exe);
	nobody_counts(ignore, "user/x");
}

static int as_another_group(void *unused)
{
	return setgid(12345) < 0 ? 1 : open_and_hold(unused);
}

static void those_of_a_group_are_ignored_and_nobody_else_is(void **state)
{
	pid_t user;

	(void)state;
	start("", "ignore = gid:12345\n");
	user = live_fork("user", as_another_group, NULL);
	assert_true(live_until(has_holders, (void *)(uintptr_t)1, 5000));
	assert_int_equal(agent_count_events("frozen", NULL), 0);
	live_kill(user);
	user = live_fork("user", open_and_hold, NULL);
	json_decref(agent_wait_event("frozen", "wanted", 5000));
	live_kill(user);
	json_decref(agent_wait_event("thawed", "wanted", 5000));
	assert_int_equal(agent_stop(), 0);
	/* The agent's own group is one like others. */
	start("", "ignore = gid:0\n");
	user = live_fork("user", as_another_group, NULL);
	json_decref(agent_wait_event("frozen", "wanted", 5000));
	assert_int_equal(agent_stop(), 0);
}

static void the_end_of_the_targets_own_processes_begins_nothing(void **state)
{
	(void)state;
	nobody_counts("", "job/inner");
}

/* --- from when ---------------------------------------------------------------------------------
 */

/* No pulse comes to its help, and the holder is named though nobody opened anything just now. */
static void a_holder_counts_when_hold_is_over_and_not_later(void **state)
{
	uint64_t opened, frozen;
	json_t *event;
	pid_t user;

	(void)state;
	start("pulse = 3s\n", "hold = 700ms\n");
	for (unsigned int i = 0; i < 3; i++) {
		opened = monotonic_ns();
		user = live_fork("user", open_and_hold, NULL);
		event = agent_wait_event("frozen", "wanted", 10000);
		frozen = monotonic_ns();
		assert_true(frozen - opened >= 700 * NSEC_PER_MSEC);
		assert_true(frozen - opened < 1000 * NSEC_PER_MSEC);
		assert_int_equal(json_integer_value(json_object_get(
					 json_object_get(event, "offender"), "pid")),
				 user);
		json_decref(event);
		live_kill(user);
		json_decref(agent_wait_event("thawed", "wanted", 5000));
	}
	assert_int_equal(agent_stop(), 0);
}

static int open_again_and_again(void *unused)
{
	(void)unused;
	for (;;) {
		close(open(node, O_RDWR | O_CLOEXEC));
		usleep(500);
	}
	return 0;
}

static void those_who_do_not_keep_it_for_so_long_do_not_count(void **state)
{
	(void)state;
	start("", "hold = 700ms\n");
	live_fork("user", open_again_and_again, NULL);
	for (unsigned int i = 0; i < 4; i++) {
		pid_t user = live_fork("user", open_and_hold, NULL);

		usleep(400 * 1000);
		live_kill(user);
	}
	usleep(1000 * 1000);
	assert_int_equal(agent_count_events("frozen", NULL), 0);
	assert_int_equal(agent_stop(), 0);
}

/* --- several policies, and another configuration ------------------------------------------------
 */

static void a_reload_decides_anew_who_counts(void **state)
{
	char second[512], ignore[256];

	(void)state;
	live_cgroup("second");
	live_fork("second", load_sleep, NULL);
	snprintf(ignore, sizeof(ignore), "ignore = cgroup:%s/user\n", live_root());
	/* Both over the same device, by globs that overlap. */
	snprintf(second, sizeof(second),
		 "[workload second]\ncgroup = %%s/second\n[policy too]\nsignal = gpu\n"
		 "devices = %s/gpu*, %s/g*0\ngrace = 300ms\naction = freeze\ntarget = second\n",
		 live_nodedir(), live_nodedir());
	start("", second);
	live_fork("user", open_and_hold, NULL);
	json_decref(agent_wait_event("frozen", "wanted", 5000));
	assert_true(live_until(live_is_frozen, "second", 5000));
	for (unsigned int i = 0; i < 3; i++) {
		reload("", second);
		assert_true(live_frozen("job"));
		assert_true(live_frozen("second"));
	}
	/* The other policy is gone, and this one counts somebody less. */
	reload("", ignore);
	assert_true(live_until(live_is_thawed, "second", 1000));
	assert_true(live_until(live_is_thawed, "job", 3000));
	/* And who has been there all the time counts again. */
	reload("", "");
	assert_true(live_until(live_is_frozen, "job", 500));
	assert_int_equal(agent_stop(), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, live_teardown)
	const struct CMUnitTest tests[] = {
		T(a_long_path_is_told_whole),
		T(the_end_of_those_ignored_by_cgroup_begins_nothing),
		T(the_end_of_those_ignored_by_program_begins_nothing),
		T(the_end_of_the_targets_own_processes_begins_nothing),
		T(those_of_a_group_are_ignored_and_nobody_else_is),
		T(a_holder_counts_when_hold_is_over_and_not_later),
		T(those_who_do_not_keep_it_for_so_long_do_not_count),
		T(a_reload_decides_anew_who_counts),
	};

	cmocka_set_test_filter(getenv("CULPRIT_TEST_FILTER"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
