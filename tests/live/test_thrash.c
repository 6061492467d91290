// SPDX-License-Identifier: GPL-2.0-or-later
/* The signal `thrash` end to end: real swap, a real memory limit, the offender named and held. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "lib/clock.h"
#include "limit.h"
#include "live.h"
#include "swapping.h"
#include "thrashing.h"

static const char config[] = "[policy thrashing]\nsignal = thrash\naction = freeze\n"
			     "target = offender\ngrace = 1s\n";

static json_int_t member(json_t *object, const char *outer, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(object, outer), key));
}

static void a_thrasher_is_named_and_its_cgroup_frozen(void **state)
{
	json_t *event;
	pid_t pid;

	(void)state;
	live_cgroup("thrasher");
	live_limit("thrasher", LIMIT_MIB);
	agent_start(config);
	pid = live_fork("thrasher", load_thrash, (void *)(uintptr_t)THRASH_MIB);
	event = agent_wait_event("frozen", "thrashing", PATIENCE_MS);
	assert_int_equal(member(event, "offender", "pid"), pid);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(event, "target"), "path")),
		live_path("thrasher"));
	assert_true(live_frozen("thrasher"));
	assert_true(member(event, "evidence", "churn_pages") > 0);
	json_decref(event);
	/* Frozen it swaps no more; after the grace time it goes on. */
	json_decref(agent_wait_event("thawed", "thrashing", 10000));
	assert_int_equal(agent_stop(), 0);
}

static void who_comes_after_the_offender_is_not_held_for_it(void **state)
{
	static const char patient[] = "[policy thrashing]\nsignal = thrash\naction = freeze\n"
				      "target = offender\ngrace = 1m\n";
	pid_t pid;

	(void)state;
	live_cgroup("thrasher");
	live_limit("thrasher", LIMIT_MIB);
	agent_start(patient);
	pid = live_fork("thrasher", load_thrash, (void *)(uintptr_t)THRASH_MIB);
	json_decref(agent_wait_event("frozen", "thrashing", PATIENCE_MS));
	live_kill(pid);
	json_decref(agent_wait_event("thawed", "thrashing", 2000));
	live_fork("thrasher", load_sleep, NULL);
	/* The policy holds on; longer than a few of its ticks. */
	usleep(500 * 1000);
	assert_false(live_frozen("thrasher"));
	assert_int_equal(agent_count_events("frozen", "thrashing"), 1);
	assert_int_equal(agent_stop(), 0);
}

static void a_reload_does_not_forget_how_it_was_when_all_was_calm(void **state)
{
	const char *reason;
	char error[128];
	json_t *event, *reply;

	(void)state;
	live_cgroup("thrasher");
	live_limit("thrasher", LIMIT_MIB);
	agent_start(config);
	live_fork("thrasher", load_thrash, (void *)(uintptr_t)THRASH_MIB);
	json_decref(agent_wait_event("frozen", "thrashing", PATIENCE_MS));
	reply = agent_call("Reload", NULL, error, sizeof(error));
	assert_non_null(reply);
	json_decref(reply);
	/* Until it is let go for a moment it cannot thrash. */
	json_decref(agent_wait_event("thawed", "thrashing", 10000));
	event = agent_wait_event("frozen", "thrashing", 10000);
	reason = json_string_value(json_object_get(event, "reason"));
	if (!strstr(reason, "grew by"))
		fail_msg("of one who has grown it is said: %s", reason);
	json_decref(event);
	assert_int_equal(agent_stop(), 0);
}

static void shadow_mode_names_one_and_not_all_one_after_the_other(void **state)
{
	char shadowing[512];
	uint64_t end;

	(void)state;
	live_cgroup("thrasher");
	live_limit("thrasher", LIMIT_MIB);
	snprintf(shadowing, sizeof(shadowing), "mode = shadow\n%s", config);
	agent_start(shadowing);
	live_fork("thrasher", load_sleep, NULL);
	for (int i = 0; i < 2; i++)
		live_fork("thrasher", load_thrash, (void *)(uintptr_t)THRASH_MIB);
	end = monotonic_ns() + PATIENCE_MS * NSEC_PER_MSEC;
	while (agent_count_events("frozen", NULL) + agent_count_events("stopped", NULL) == 0 &&
	       monotonic_ns() < end)
		usleep(10000);
	/* It goes on, for nobody is held; had it been done, it might be over. */
	usleep(3500 * 1000);
	assert_int_equal(agent_count_events("frozen", NULL) + agent_count_events("stopped", NULL),
			 1);
	assert_int_equal(agent_stop(), 0);
}

static void beside_innocents_only_the_thrasher_is_stopped(void **state)
{
	json_t *event;
	pid_t pid;

	(void)state;
	live_cgroup("shared");
	live_limit("shared", LIMIT_MIB);
	live_fork("shared", load_sleep, NULL);
	agent_start(config);
	pid = live_fork("shared", load_thrash, (void *)(uintptr_t)THRASH_MIB);
	event = agent_wait_event("stopped", "thrashing", PATIENCE_MS);
	assert_int_equal(member(event, "target", "pid"), pid);
	assert_false(live_frozen("shared"));
	json_decref(event);
	assert_int_equal(agent_stop(), 0);
}

static void a_protected_thrasher_is_passed_over(void **state)
{
	char protecting[512];

	(void)state;
	live_cgroup("thrasher");
	live_limit("thrasher", LIMIT_MIB);
	snprintf(protecting, sizeof(protecting), "protect = cgroup:%%s/thrasher\n%s", config);
	agent_start(protecting);
	live_fork("thrasher", load_thrash, (void *)(uintptr_t)THRASH_MIB);
	json_decref(agent_wait_event("refused", "thrashing", PATIENCE_MS));
	assert_false(live_frozen("thrasher"));
	assert_int_equal(agent_count_events("frozen", NULL), 0);
	assert_int_equal(agent_count_events("stopped", NULL), 0);
	assert_int_equal(agent_stop(), 0);
}

static void a_workload_as_target_is_held_and_never_the_offender(void **state)
{
	static const char yielding[] = "[workload background]\ncgroup = %s/background\n"
				       "[policy thrashing]\nsignal = thrash\naction = freeze\n"
				       "target = background\ngrace = 1m\n";
	const char *reason;
	json_t *event;

	(void)state;
	live_cgroup("background");
	live_cgroup("thrasher");
	live_limit("thrasher", LIMIT_MIB);
	live_fork("background", load_sleep, NULL);
	agent_start(yielding);
	live_fork("thrasher", load_thrash, (void *)(uintptr_t)THRASH_MIB);
	event = agent_wait_event("frozen", "thrashing", PATIENCE_MS);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(event, "target"), "path")),
		live_path("background"));
	reason = json_string_value(json_object_get(event, "reason"));
	if (!strstr(reason, "memory thrashes"))
		fail_msg("of a thrash it is said: %s", reason);
	assert_true(member(event, "evidence", "churn_pages") > 0);
	json_decref(event);
	/* It goes on; longer than until a next offender would be looked for. */
	usleep(2500 * 1000);
	assert_true(live_frozen("background"));
	assert_false(live_frozen("thrasher"));
	assert_int_equal(agent_count_events("frozen", NULL), 1);
	assert_int_equal(agent_count_events("stopped", NULL), 0);
	assert_int_equal(agent_stop(), 0);
}

/* Its pages have been out for a while, as those of somebody who was idle, when it reads them. */
static int read_back_once(void *pages)
{
	struct own_pages own;

	if (own_pages_make(&own, (size_t)(uintptr_t)pages) < 0 || own_pages_out(&own) < 0)
		return 1;
	/* Longer than between two looks: none has one before they went out and one while they come
	 * back, which together do not show that each came once. */
	usleep(500 * 1000);
	return own_pages_in(&own) < 0 ? 2 : 0;
}

static void reading_pages_back_once_is_not_thrash(void **state)
{
	(void)state;
	live_cgroup("reader");
	agent_start(config);
	for (int i = 0; i < 3; i++)
		assert_int_equal(live_wait(live_fork("reader", read_back_once, (void *)8192UL)), 0);
	/* Longer than the two looks take. */
	usleep(500 * 1000);
	assert_int_equal(agent_count_events("frozen", NULL), 0);
	assert_int_equal(agent_count_events("stopped", NULL), 0);
	assert_int_equal(agent_stop(), 0);
}

static void sigkill_of_the_agent_continues_a_stopped_thrasher(void **state)
{
	char path[64], word[32] = "";
	json_t *event;
	pid_t pid;

	(void)state;
	live_cgroup("shared");
	live_limit("shared", LIMIT_MIB);
	live_fork("shared", load_sleep, NULL);
	agent_start(config);
	pid = live_fork("shared", load_thrash, (void *)(uintptr_t)THRASH_MIB);
	event = agent_wait_event("stopped", "thrashing", PATIENCE_MS);
	json_decref(event);
	live_kill(agent_pid());
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	for (uint64_t end = monotonic_ns() + 100 * NSEC_PER_MSEC; monotonic_ns() < end;) {
		FILE *f = fopen(path, "re");

		assert_non_null(f);
		assert_int_equal(fscanf(f, "%*d (%*[^)]) %31s", word), 1);
		fclose(f);
		if (word[0] != 'T')
			break;
		usleep(1000);
	}
	assert_true(word[0] != 'T');
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, thrashing_setup, live_teardown)
	const struct CMUnitTest tests[] = {
		T(a_thrasher_is_named_and_its_cgroup_frozen),
		T(who_comes_after_the_offender_is_not_held_for_it),
		T(a_reload_does_not_forget_how_it_was_when_all_was_calm),
		T(shadow_mode_names_one_and_not_all_one_after_the_other),
		T(beside_innocents_only_the_thrasher_is_stopped),
		T(a_protected_thrasher_is_passed_over),
		T(a_workload_as_target_is_held_and_never_the_offender),
		T(reading_pages_back_once_is_not_thrash),
		T(sigkill_of_the_agent_continues_a_stopped_thrasher),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
