// SPDX-License-Identifier: GPL-2.0-or-later
/* action = turn among others: what people, policies and processes beside do while turns are on. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "limit.h"
#include "live.h"
#include "turning.h"

static void call(const char *method, json_t *parameters)
{
	char error[128];
	json_t *reply = agent_call(method, parameters, error, sizeof(error));

	if (!reply)
		fail_msg("%s: %s", method, error);
	json_decref(reply);
}

static void assert_state(const char *expected, unsigned int timeout_ms)
{
	uint64_t end = monotonic_ns() + timeout_ms * NSEC_PER_MSEC;
	char state[16];

	do {
		agent_policy_state("turns", state, sizeof(state));
		if (strcmp(state, expected) == 0)
			return;
		usleep(20 * 1000);
	} while (monotonic_ns() < end);
	fail_msg("the policy is %s, not %s", state, expected);
}

/* Each has had its turn, and waits for the other one. */
static void wait_for_turns(void)
{
	json_decref(turning_next_event("frozen", turning_names[1], PATIENCE_MS));
	json_decref(turning_next_event("frozen", turning_names[0], PATIENCE_MS));
}

static void who_was_let_go_too_soon_takes_turns_again(void **state)
{
	(void)state;
	turning_start_two(TURNS_CONFIG("1m"));
	wait_for_turns();
	turning_size[0] = turning_size[1] = 8;
	assert_true(live_until(turning_none_frozen, NULL, 20000));
	usleep(1500 * 1000);
	turning_from_now();
	/* The policy still holds, so this is no new beginning. */
	turning_size[0] = turning_size[1] = 0;
	json_decref(turning_next_event("frozen", turning_names[0], PATIENCE_MS));
	json_decref(turning_next_event("frozen", turning_names[1], PATIENCE_MS));
	assert_int_equal(agent_stop(), 0);
}

static void who_is_thawed_for_a_time_takes_turns_again_after_it(void **state)
{
	(void)state;
	turning_start_two(TURNS_CONFIG("1m"));
	wait_for_turns();
	call("Thaw", json_pack("{s:s,s:i}", "target", live_path(turning_names[0]), "for_ms", 2500));
	turning_from_now();
	usleep(2000 * 1000);
	assert_false(live_frozen(turning_names[0]));
	json_decref(turning_next_event("frozen", turning_names[0], PATIENCE_MS));
	/* Not held for good, but until its turn comes. */
	turning_assert_reason(turning_next_event("thawed", turning_names[0], PATIENCE_MS),
			      "its turn has come");
	assert_int_equal(agent_stop(), 0);
}

static void shadow_mode_tells_and_ends_with_the_thrashing(void **state)
{
	pid_t one, two;

	(void)state;
	one = turning_start(0, WORK_MIB);
	usleep(50 * 1000);
	agent_start("mode = shadow\n" TURNS_CONFIG("1s"));
	two = turning_start(1, WORK_MIB);
	json_decref(agent_wait_event("frozen", "turns", PATIENCE_MS));
	assert_state("holding", 2000);
	assert_int_equal(turning_frozen_count(), 0);
	live_kill(one);
	live_kill(two);
	assert_state("quiet", 10000);
	assert_int_equal(agent_stop(), 0);
}

static void a_pause_lets_all_run_and_resuming_begins_anew(void **state)
{
	(void)state;
	turning_start_two(TURNS_CONFIG("1m"));
	wait_for_turns();
	call("Pause", json_pack("{s:s}", "policy", "turns"));
	assert_true(live_until(turning_none_frozen, NULL, 2000));
	usleep(1000 * 1000);
	assert_int_equal(turning_frozen_count(), 0);
	turning_from_now();
	call("Resume", json_pack("{s:s}", "policy", "turns"));
	json_decref(turning_next_event("frozen", turning_names[1], PATIENCE_MS));
	assert_int_equal(agent_stop(), 0);
}

static void a_reload_to_another_action_ends_the_turns(void **state)
{
	(void)state;
	turning_start_two(TURNS_CONFIG("1m"));
	wait_for_turns();
	agent_write_config("[policy turns]\nsignal = thrash\naction = freeze\ntarget = offender\n"
			   "enter = 99%\ngrace = 1s\n");
	call("Reload", NULL);
	assert_true(live_until(turning_none_frozen, NULL, 2000));
	agent_write_config(TURNS_CONFIG("1m"));
	turning_from_now();
	call("Reload", NULL);
	json_decref(turning_next_event("frozen", turning_names[0], PATIENCE_MS));
	turning_assert_reason(turning_next_event("thawed", turning_names[0], PATIENCE_MS),
			      "its turn has come");
	assert_int_equal(agent_stop(), 0);
}

static void thaw(const char *name)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path(name));

	assert_true(dir >= 0);
	assert_int_equal(cgroupfs_write(dir, "cgroup.freeze", "0"), 0);
}

static void what_others_let_go_twice_is_left_to_them(void **state)
{
	(void)state;
	turning_start_two(TURNS_CONFIG("1m"));
	wait_for_turns();
	thaw(turning_names[0]);
	json_decref(turning_next_event("external-thaw", turning_names[0], 5000));
	/* With each turn there is a new claim, and they have not changed their mind. */
	turning_from_now();
	turning_assert_reason(turning_next_event("thawed", turning_names[0], PATIENCE_MS),
			      "its turn has come");
	json_decref(turning_next_event("frozen", turning_names[0], PATIENCE_MS));
	thaw(turning_names[0]);
	json_decref(turning_next_event("external-thaw", turning_names[0], 5000));
	/* Longer than a turn of the other one can be, and a second for the agent to think again. */
	assert_false(live_until(live_is_frozen, (void *)(uintptr_t)turning_names[0], 6000));
	assert_int_equal(agent_stop(), 0);
}

/* Protected, and in no way part of it. */
static void a_protected_bystander_is_no_reason_to_hold_who_thrashes_alone(void **state)
{
	(void)state;
	turning_start(2, 8);
	usleep(300 * 1000);
	agent_start("protect = cgroup:%s/all/three\n" TURNS_CONFIG("1s"));
	turning_start(0, 2 * WORK_MIB);
	turning_assert_reason(agent_wait_event("refused", "turns", PATIENCE_MS),
			      "no two that could take turns");
	usleep(2500 * 1000);
	assert_int_equal(turning_frozen_count(), 0);
	assert_int_equal(agent_count_events("frozen", "turns"), 0);
	assert_int_equal(agent_stop(), 0);
}

/* The processes of a cgroup that may not be frozen as a whole take turns, each by itself, also the
 * one that has its memory undisturbed. */
static void in_a_shared_cgroup_processes_take_turns(void **state)
{
	char *argv[] = { "sleep", "1000", NULL };

	(void)state;
	live_exec(turning_names[0], NULL, argv);
	turning_start_in(turning_names[0], 0, WORK_MIB);
	usleep(50 * 1000);
	agent_start("protect = comm:sleep\n" TURNS_CONFIG("1m"));
	turning_start_in(turning_names[0], 1, WORK_MIB);
	for (int i = 0; i < 2; i++) {
		json_decref(agent_wait_event("stopped", "turns", PATIENCE_MS));
		turning_assert_reason(agent_wait_event("continued", "turns", PATIENCE_MS),
				      "its turn has come");
	}
	assert_false(live_frozen(turning_names[0]));
	assert_int_equal(agent_stop(), 0);
}

/* One in a cgroup below the other's, which could not run while that one waits. */
static void who_is_below_another_takes_turns_with_it(void **state)
{
	char inner[64];

	(void)state;
	snprintf(inner, sizeof(inner), "%s/inner", turning_names[0]);
	live_cgroup(inner);
	turning_start(0, WORK_MIB);
	usleep(50 * 1000);
	agent_start(TURNS_CONFIG("1m"));
	turning_start_in(inner, 1, WORK_MIB);
	json_decref(turning_next_event("frozen", inner, PATIENCE_MS));
	json_decref(turning_next_event("stopped", turning_names[0], PATIENCE_MS));
	turning_assert_reason(turning_next_event("continued", turning_names[0], PATIENCE_MS),
			      "its turn has come");
	assert_false(live_frozen(turning_names[0]));
	assert_int_equal(agent_stop(), 0);
}

/* What cannot be held for want of a ledger is held as soon as there is one, and has turns still. */
static void turns_go_on_when_the_ledger_is_back(void **state)
{
	char away[256];

	(void)state;
	turning_start_two(TURNS_CONFIG("1m"));
	wait_for_turns();
	snprintf(away, sizeof(away), "%s.away", agent_file("state/ledger"));
	assert_int_equal(rename(agent_file("state/ledger"), away), 0);
	json_decref(agent_wait_event("error", "turns", PATIENCE_MS));
	assert_int_equal(rename(away, agent_file("state/ledger")), 0);
	turning_from_now();
	for (int i = 0; i < 2; i++) {
		json_decref(turning_next_event("frozen", turning_names[0], PATIENCE_MS));
		json_decref(turning_next_event("thawed", turning_names[0], PATIENCE_MS));
	}
	assert_int_equal(agent_stop(), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, turning_setup, live_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(who_was_let_go_too_soon_takes_turns_again),
		T(who_is_thawed_for_a_time_takes_turns_again_after_it),
		T(shadow_mode_tells_and_ends_with_the_thrashing),
		T(a_pause_lets_all_run_and_resuming_begins_anew),
		T(a_reload_to_another_action_ends_the_turns),
		T(what_others_let_go_twice_is_left_to_them),
		T(a_protected_bystander_is_no_reason_to_hold_who_thrashes_alone),
		T(in_a_shared_cgroup_processes_take_turns),
		T(who_is_below_another_takes_turns_with_it),
		T(turns_go_on_when_the_ledger_is_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
