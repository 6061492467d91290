// SPDX-License-Identifier: GPL-2.0-or-later
/* action = turn end to end: workloads that do not fit together run one after the other. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "limit.h"
#include "live.h"
#include "turning.h"

static const char config[] = TURNS_CONFIG("1s");

static void two_that_do_not_fit_run_one_after_the_other(void **state)
{
	unsigned int samples = 0, neither = 0;
	uint64_t before[2], end;

	(void)state;
	turning_start_two(config);
	/* The newest waits first. */
	turning_assert_reason(turning_next_event("frozen", turning_names[1], PATIENCE_MS),
			      "2 workloads do not fit into");
	turning_assert_reason(turning_next_event("frozen", turning_names[0], PATIENCE_MS),
			      "take turns");
	turning_assert_reason(turning_next_event("thawed", turning_names[0], PATIENCE_MS),
			      "its turn has come");
	before[0] = turning_work[0];
	before[1] = turning_work[1];
	end = monotonic_ns() + 10 * NSEC_PER_SEC;
	while (monotonic_ns() < end) {
		samples++;
		neither += turning_frozen_count() == 2;
		usleep(10 * 1000);
	}
	print_message(
		"    in 10 s they touched %llu and %llu pages; neither ran at %u of %u looks\n",
		(unsigned long long)(turning_work[0] - before[0]),
		(unsigned long long)(turning_work[1] - before[1]), neither, samples);
	assert_true(turning_work[0] - before[0] > 1000000);
	assert_true(turning_work[1] - before[1] > 1000000);
	assert_true(neither * 20 < samples);
	assert_int_equal(agent_stop(), 0);
	assert_int_equal(turning_frozen_count(), 0);
}

static void when_one_ends_the_other_runs_on(void **state)
{
	pid_t first;

	(void)state;
	first = turning_start(0, WORK_MIB);
	usleep(50 * 1000);
	agent_start(config);
	turning_start(1, WORK_MIB);
	json_decref(turning_next_event("frozen", turning_names[1], PATIENCE_MS));
	live_kill(first);
	assert_true(live_until(live_is_thawed, (void *)(uintptr_t)turning_names[1], 2000));
	usleep(2500 * 1000);
	assert_int_equal(turning_frozen_count(), 0);
	assert_int_equal(agent_stop(), 0);
}

static void when_they_fit_again_all_run(void **state)
{
	unsigned int frozen;

	(void)state;
	turning_start_two(config);
	json_decref(turning_next_event("frozen", turning_names[0], PATIENCE_MS));
	turning_size[0] = turning_size[1] = 8;
	assert_true(live_until(turning_none_frozen, NULL, PATIENCE_MS));
	usleep(1500 * 1000);
	frozen = agent_count_events("frozen", "turns");
	usleep(2500 * 1000);
	assert_int_equal(turning_frozen_count(), 0);
	assert_int_equal(agent_count_events("frozen", "turns"), frozen);
	assert_int_equal(agent_stop(), 0);
}

static void who_comes_later_joins_in(void **state)
{
	(void)state;
	turning_start_two(config);
	json_decref(turning_next_event("frozen", turning_names[0], PATIENCE_MS));
	turning_start(2, WORK_MIB);
	json_decref(turning_next_event("frozen", turning_names[2], PATIENCE_MS));
	turning_assert_reason(turning_next_event("thawed", turning_names[2], PATIENCE_MS),
			      "its turn has come");
	json_decref(turning_next_event("frozen", turning_names[2], PATIENCE_MS));
	assert_int_equal(agent_stop(), 0);
}

/* Has there been any event about it? */
static bool was_told_of(const char *name)
{
	char error[128];
	json_t *reply = agent_call("Events", NULL, error, sizeof(error)), *event;
	bool told = false;
	size_t i;

	assert_non_null(reply);
	json_array_foreach (json_object_get(reply, "events"), i, event) {
		const char *path = json_string_value(
			json_object_get(json_object_get(event, "target"), "path"));

		told |= path && strcmp(path, live_path(name)) == 0;
	}
	json_decref(reply);
	return told;
}

/* 4 MiB, read at random; another program, which is small also where this one has a sanitizer. */
static int touch_little(void *unused)
{
	(void)unused;
	if (live_limit_join() < 0)
		return 1;
	execlp("awk", "awk",
	       "BEGIN { s = \"x\"; for (i = 0; i < 22; i++) s = s s;"
	       " for (;;) if (substr(s, int(rand() * length(s)) + 1, 1) != \"x\") exit }",
	       NULL);
	return 1;
}

static void who_is_small_never_waits(void **state)
{
	pid_t small;
	int status;

	(void)state;
	small = live_fork(turning_names[2], touch_little, NULL);
	turning_start_two(config);
	for (int i = 0; i < 3; i++) {
		json_decref(turning_next_event("frozen", turning_names[0], PATIENCE_MS));
		json_decref(turning_next_event("thawed", turning_names[0], PATIENCE_MS));
	}
	assert_false(was_told_of(turning_names[2]));
	assert_int_equal(waitpid(small, &status, WNOHANG), 0);
	assert_int_equal(agent_stop(), 0);
}

static void an_agent_that_is_killed_in_a_turn_leaves_nobody_waiting(void **state)
{
	(void)state;
	turning_start(0, WORK_MIB);
	turning_start(1, WORK_MIB);
	for (int i = 0; i < 5; i++) {
		agent_start(config);
		json_decref(agent_wait_event("frozen", "turns", PATIENCE_MS));
		usleep((useconds_t)(i * 300) * 1000);
		assert_int_equal(kill(agent_pid(), SIGKILL), 0);
		assert_true(live_until(turning_none_frozen, NULL, 2000));
	}
}

static void a_reload_goes_on_with_the_turns(void **state)
{
	char error[128];
	json_t *reply;

	(void)state;
	turning_start_two(config);
	json_decref(turning_next_event("frozen", turning_names[0], PATIENCE_MS));
	reply = agent_call("Reload", NULL, error, sizeof(error));
	assert_non_null(reply);
	json_decref(reply);
	assert_int_equal(turning_frozen_count(), 1);
	turning_assert_reason(turning_next_event("thawed", turning_names[0], PATIENCE_MS),
			      "its turn has come");
	assert_int_equal(agent_stop(), 0);
}

static void why_says_when_its_turn_comes(void **state)
{
	char error[128];
	json_t *reply;
	const char *undo;

	(void)state;
	turning_start_two(config);
	json_decref(turning_next_event("frozen", turning_names[1], PATIENCE_MS));
	reply = agent_call("Why", json_pack("{s:s}", "name", live_path(turning_names[1])), error,
			   sizeof(error));
	assert_non_null(reply);
	undo = json_string_value(json_array_get(
		json_object_get(json_array_get(json_object_get(reply, "why"), 0), "undo"), 0));
	if (!undo || !strstr(undo, "its turn comes, one of 2"))
		fail_msg("why says '%s'", undo ? undo : "nothing");
	json_decref(reply);
	assert_int_equal(agent_stop(), 0);
}

static void who_is_thawed_by_hand_runs_on(void **state)
{
	char error[128];
	json_t *reply;

	(void)state;
	turning_start_two(config);
	json_decref(turning_next_event("frozen", turning_names[1], PATIENCE_MS));
	assert_true(live_until(live_is_frozen, (void *)(uintptr_t)turning_names[1], 2000));
	reply = agent_call("Thaw", json_pack("{s:s}", "target", live_path(turning_names[1])), error,
			   sizeof(error));
	assert_non_null(reply);
	json_decref(reply);
	usleep(3000 * 1000);
	assert_false(live_frozen(turning_names[1]));
	assert_int_equal(agent_stop(), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, turning_setup, live_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(two_that_do_not_fit_run_one_after_the_other),
		T(when_one_ends_the_other_runs_on),
		T(when_they_fit_again_all_run),
		T(who_comes_later_joins_in),
		T(who_is_small_never_waits),
		T(an_agent_that_is_killed_in_a_turn_leaves_nobody_waiting),
		T(a_reload_goes_on_with_the_turns),
		T(why_says_when_its_turn_comes),
		T(who_is_thawed_by_hand_runs_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
