// SPDX-License-Identifier: GPL-2.0-or-later
/* Several targets: all at once, or one at a time with a look in between. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"

#define WINDOW_MS 500

/* "front" uses more than is allowed for as long as it runs, whatever is held. */
#define POLICY(select)                                                              \
	"[policy one-by-one]\nsignal = cpu\nof = cgroup:%s/front\nwindow = 500ms\n" \
	"enter = 0.04cpu\ngrace = 300ms\naction = freeze\nselect = " select "\ntarget = "

static const char top[] = "[workload batch]\ncgroup = %s/batch-*\n" POLICY("top") "batch\n";
static const char newest[] = "[workload batch]\ncgroup = %s/batch-*\n" POLICY("newest") "batch\n";

static pid_t front;

/* "batch-1", of which others are made later. */
static int setup(void **state)
{
	if (live_setup(state) < 0)
		return -1;
	live_cgroup("front");
	live_cgroup("batch-1");
	live_cgroup("batch-2");
	live_cgroup("batch-3");
	return 0;
}

static int64_t unix_now_ms(void)
{
	return (int64_t)unix_ms();
}

struct frozen {
	char name[64];
	char reason[512];
	int64_t ts_ms;
};

/* The next one that is frozen. */
static struct frozen next_frozen(unsigned int timeout_ms)
{
	json_t *event = agent_wait_event("frozen", "one-by-one", timeout_ms);
	const char *path =
		json_string_value(json_object_get(json_object_get(event, "target"), "path"));
	struct frozen f = { .ts_ms = json_integer_value(json_object_get(event, "ts")) };

	snprintf(f.name, sizeof(f.name), "%.63s", path + strlen(live_root()) + 1);
	snprintf(f.reason, sizeof(f.reason), "%.511s",
		 json_string_value(json_object_get(event, "reason")));
	json_decref(event);
	return f;
}

/* Also of nothing else; the events of those that are frozen may still come. */
static void assert_frozen(const char *names)
{
	static const char *const all[] = { "batch-1", "batch-2", "batch-3" };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (live_frozen(all[i]) != (strstr(names, all[i]) != NULL))
			fail_msg("%s is %sfrozen", all[i], live_frozen(all[i]) ? "" : "not ");
}

static bool all_are_thawed(void *unused)
{
	(void)unused;
	return !live_frozen("batch-1") && !live_frozen("batch-2") && !live_frozen("batch-3");
}

/* Uses so many ms of a CPU, and sleeps for 10 ms in between. */
static int load_stints(void *ms)
{
	for (uintptr_t total = (uintptr_t)ms; total < INT32_MAX; total += (uintptr_t)ms) {
		(void)load_spin_ms((void *)total);
		usleep(10 * 1000);
	}
	return 0;
}

/* Two pulses have passed by then, so that it is known what each uses. */
static void let_it_see(void)
{
	usleep(2200 * 1000);
}

static void the_largest_user_is_frozen_first_and_the_next_after_a_whole_window(void **state)
{
	struct frozen first, second, third;

	(void)state;
	live_cgroup("batch-2/inner");
	live_fork("batch-1", load_stints, (void *)1);
	/* What is below it counts. */
	live_fork("batch-2/inner", load_stints, (void *)20);
	live_fork("batch-3", load_sleep, NULL);
	agent_start(top);
	let_it_see();
	front = live_fork("front", load_spin, NULL);
	first = next_frozen(5000);
	assert_string_equal(first.name, "batch-2");
	assert_non_null(strstr(first.reason, "of its targets this one used most"));
	second = next_frozen(5000);
	assert_string_equal(second.name, "batch-1");
	assert_non_null(strstr(second.reason, "holding the one before was not enough"));
	assert_true(second.ts_ms - first.ts_ms >= WINDOW_MS - 20);
	third = next_frozen(5000);
	assert_string_equal(third.name, "batch-3");
	assert_true(third.ts_ms - second.ts_ms >= WINDOW_MS - 20);
	print_message("    the second came %d ms, the third %d ms after the one before\n",
		      (int)(second.ts_ms - first.ts_ms), (int)(third.ts_ms - second.ts_ms));
	/* The end undoes all of it. */
	live_kill(front);
	assert_true(live_until(all_are_thawed, NULL, 5000));
	assert_int_equal(agent_stop(), 0);
}

/* A moment's use, and no more: the value is below enter before the window is over. */
static void one_is_enough_when_the_value_has_fallen(void **state)
{
	pid_t burst;

	(void)state;
	live_fork("batch-1", load_sleep, NULL);
	live_fork("batch-2", load_sleep, NULL);
	live_fork("batch-3", load_sleep, NULL);
	agent_start(newest);
	burst = live_fork("front", load_spin_ms, (void *)30);
	assert_string_equal(next_frozen(5000).name, "batch-3");
	assert_int_equal(live_wait(burst), 0);
	assert_frozen("batch-3");
	assert_true(live_until(all_are_thawed, NULL, 5000));
	assert_int_equal(agent_count_events("frozen", "one-by-one"), 1);
	assert_int_equal(agent_stop(), 0);
}

static void the_newest_is_frozen_first_and_one_that_comes_later_is_next(void **state)
{
	(void)state;
	live_fork("batch-1", load_stints, (void *)20);
	live_fork("batch-2", load_sleep, NULL);
	agent_start(newest);
	front = live_fork("front", load_spin, NULL);
	/* batch-3 is newer, but nothing runs in it. */
	assert_string_equal(next_frozen(5000).name, "batch-2");
	live_cgroup("batch-4");
	live_fork("batch-4", load_sleep, NULL);
	assert_false(live_frozen("batch-4"));
	assert_string_equal(next_frozen(5000).name, "batch-4");
	assert_string_equal(next_frozen(5000).name, "batch-1");
	/* And when all are held, the next one that comes. */
	live_fork("batch-3", load_sleep, NULL);
	assert_string_equal(next_frozen(5000).name, "batch-3");
	assert_int_equal(agent_stop(), 0);
}

static void write_freeze(const char *name, const char *value)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path(name));

	assert_true(dir >= 0);
	assert_int_equal(cgroupfs_write(dir, "cgroup.freeze", value), 0);
}

static void what_is_protected_or_frozen_by_others_is_passed_over(void **state)
{
	char text[1024];

	(void)state;
	live_fork("batch-1", load_sleep, NULL);
	live_fork("batch-2", load_sleep, NULL);
	live_fork("batch-3", load_sleep, NULL);
	write_freeze("batch-3", "1");
	assert_true(live_until(live_is_frozen, "batch-3", 5000));
	snprintf(text, sizeof(text), "protect = cgroup:%%s/batch-2\n%s", newest);
	agent_start(text);
	front = live_fork("front", load_spin, NULL);
	assert_string_equal(next_frozen(5000).name, "batch-1");
	assert_int_equal(agent_count_events("refused", "one-by-one"), 2);
	assert_false(live_frozen("batch-2"));
	/* Theirs no more, it is a candidate again, and not told twice meanwhile. */
	usleep(2 * WINDOW_MS * 1000);
	assert_int_equal(agent_count_events("refused", "one-by-one"), 2);
	write_freeze("batch-3", "0");
	assert_string_equal(next_frozen(5000).name, "batch-3");
	assert_false(live_frozen("batch-2"));
	assert_int_equal(agent_stop(), 0);
}

static json_t *call_with(const char *method, const char *name, const char *value)
{
	char error[128];
	json_t *reply = agent_call(method, json_pack("{s:s}", name, value), error, sizeof(error));

	if (!reply)
		fail_msg("%s: %s", method, error);
	return reply;
}

static void assert_next(const char *text)
{
	json_t *reply = call_with("Why", "name", "one-by-one");
	const json_t *why = json_array_get(json_object_get(reply, "why"), 0);
	const char *next = json_string_value(json_array_get(json_object_get(why, "next"), 0));

	if (!next || !strstr(next, text))
		fail_msg("'%s' has no '%s'", next ? next : "", text);
	json_decref(reply);
}

static void the_next_follows_one_that_ends_or_is_thawed_by_hand(void **state)
{
	pid_t ends;
	int64_t begun;

	(void)state;
	live_fork("batch-1", load_sleep, NULL);
	live_fork("batch-2", load_sleep, NULL);
	ends = live_fork("batch-3", load_sleep, NULL);
	agent_start(newest);
	front = live_fork("front", load_spin, NULL);
	begun = next_frozen(5000).ts_ms;
	live_kill(ends);
	assert_string_equal(next_frozen(5000).name, "batch-2");
	/* From when it was held; the event came a little later. */
	assert_true(unix_now_ms() - begun >= WINDOW_MS - 100);
	json_decref(call_with("Thaw", "target", live_path("batch-2")));
	assert_true(live_until(live_is_thawed, "batch-2", 5000));
	assert_string_equal(next_frozen(5000).name, "batch-1");
	/* Kept off until the signal has been quiet. */
	usleep(3 * WINDOW_MS * 1000);
	assert_frozen("batch-1");
	assert_int_equal(agent_stop(), 0);
}

static void shadow_mode_tells_of_one_at_a_time_too(void **state)
{
	char text[1024];
	int64_t first;

	(void)state;
	live_fork("batch-1", load_sleep, NULL);
	live_fork("batch-2", load_sleep, NULL);
	snprintf(text, sizeof(text), "mode = shadow\n%s", newest);
	agent_start(text);
	front = live_fork("front", load_spin, NULL);
	first = next_frozen(5000).ts_ms;
	assert_true(next_frozen(5000).ts_ms - first >= WINDOW_MS - 20);
	assert_frozen("");
	assert_int_equal(agent_stop(), 0);
}

static void a_reload_to_all_holds_the_rest(void **state)
{
	(void)state;
	live_fork("batch-1", load_sleep, NULL);
	live_fork("batch-2", load_sleep, NULL);
	live_fork("batch-3", load_sleep, NULL);
	agent_start("[workload batch]\ncgroup = %s/batch-*\n"
		    "[policy one-by-one]\nsignal = cpu\nof = cgroup:%s/front\nwindow = 60s\n"
		    "enter = 0.0005cpu\ngrace = 300ms\naction = freeze\nselect = newest\n"
		    "target = batch\n");
	front = live_fork("front", load_spin, NULL);
	assert_string_equal(next_frozen(5000).name, "batch-3");
	assert_frozen("batch-3");
	assert_next("the next target follows in ");
	agent_write_config("[workload batch]\ncgroup = %s/batch-*\n"
			   "[policy one-by-one]\nsignal = cpu\nof = cgroup:%s/front\nwindow = 60s\n"
			   "enter = 0.0005cpu\ngrace = 300ms\naction = freeze\ntarget = batch\n");
	json_decref(agent_call("Reload", NULL, (char[128]){ 0 }, 128));
	assert_true(live_until(live_is_frozen, "batch-1", 5000));
	assert_true(live_until(live_is_frozen, "batch-2", 5000));
	assert_int_equal(agent_count_events("thawed", "one-by-one"), 0);
	assert_int_equal(agent_stop(), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, live_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_largest_user_is_frozen_first_and_the_next_after_a_whole_window),
		T(one_is_enough_when_the_value_has_fallen),
		T(the_newest_is_frozen_first_and_one_that_comes_later_is_next),
		T(what_is_protected_or_frozen_by_others_is_passed_over),
		T(the_next_follows_one_that_ends_or_is_thawed_by_hand),
		T(shadow_mode_tells_of_one_at_a_time_too),
		T(a_reload_to_all_holds_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
