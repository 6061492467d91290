// SPDX-License-Identifier: GPL-2.0-or-later
/* Between the thresholds and between two holds: what bounds it, and what people are told of it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"

static int setup(void **state)
{
	if (live_setup(state) < 0)
		return -1;
	live_cgroup("hog");
	live_cgroup("front");
	live_cgroup("second");
	live_fork("hog", load_sleep, NULL);
	return 0;
}

#define HOG "[workload hog]\ncgroup = %s/hog\n"
#define P(name, of)                                                                \
	"[policy " name "]\nsignal = cpu\nof = cgroup:%s/" of "\nwindow = 250ms\n" \
	"action = freeze\ntarget = hog\n"
/* What load_between() uses is far from both. */
#define WIDE "enter = 0.6cpu\nleave = 0.02cpu\n"

/* Some 2 ms of every 12, if nobody presses. */
static int load_between(void *unused)
{
	(void)unused;
	for (uintptr_t ms = 2; ms < INT32_MAX; ms += 2) {
		(void)load_spin_ms((void *)ms);
		usleep(10 * 1000);
	}
	return 0;
}

static json_t *call(const char *method, json_t *parameters)
{
	char error[128];
	json_t *reply = agent_call(method, parameters, error, sizeof(error));

	if (!reply)
		fail_msg("%s: %s", method, error);
	return reply;
}

/* The status object's policy p; *reply is the caller's. */
static const json_t *policy_of(json_t **reply)
{
	const json_t *list, *p;
	size_t i;

	*reply = call("GetStatus", NULL);
	list = json_object_get(json_object_get(*reply, "status"), "policies");
	json_array_foreach (list, i, p)
		if (strcmp(json_string_value(json_object_get(p, "name")), "p") == 0)
			return p;
	fail_msg("no policy p");
	return NULL;
}

/* What it does next, in a static buffer. */
static const char *next(void)
{
	static char text[512];
	json_t *reply;
	const char *what = json_string_value(json_object_get(policy_of(&reply), "next"));

	snprintf(text, sizeof(text), "%s", what ? what : "");
	json_decref(reply);
	return text;
}

static bool next_has(void *text)
{
	return strstr(next(), text) != NULL;
}

static bool next_is_nothing(void *unused)
{
	(void)unused;
	return next()[0] == '\0';
}

static void assert_next(const char *text)
{
	if (!live_until(next_has, (void *)(uintptr_t)text, 5000))
		fail_msg("'%s' has no '%s'", next(), text);
}

/* Has a line of this list of `why NAME` the text? */
static bool why_has(const char *name, const char *list, const char *text)
{
	json_t *reply = call("Why", json_pack("{s:s}", "name", name));
	const json_t *one = json_array_get(json_object_get(reply, "why"), 0), *line;
	bool found = false;
	size_t i;

	json_array_foreach (json_object_get(one, list), i, line)
		found |= strstr(json_string_value(line), text) != NULL;
	json_decref(reply);
	return found;
}

static bool is_state(void *name)
{
	char state[16];

	agent_policy_state("p", state, sizeof(state));
	return strcmp(state, name) == 0;
}

static bool is_below_enter(void *unused)
{
	json_t *reply;
	const json_t *p = policy_of(&reply);
	bool below = json_number_value(json_object_get(p, "value")) < 0.5;

	(void)unused;
	json_decref(reply);
	return below;
}

static void time_between_the_thresholds_does_not_freeze_and_ends_with_max_hold(void **state)
{
	pid_t between, burst;
	json_t *event;

	(void)state;
	agent_start(HOG P("p", "front") WIDE "grace = 100ms\nmax_hold = 3s\n");
	between = live_fork("front", load_between, NULL);
	usleep(700 * 1000);
	assert_false(live_frozen("hog"));
	assert_string_equal(next(), "");
	burst = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "p", 5000));
	live_kill(burst);
	assert_true(live_until(is_below_enter, NULL, 2000));
	/* Many times the grace time: neither released nor begun again. */
	usleep(1000 * 1000);
	assert_true(live_frozen("hog"));
	assert_next("waits for ");
	assert_non_null(strstr(next(), "/front below 0.02 CPUs (now "));
	assert_non_null(strstr(next(), "and then 100 ms of that (grace); lets go in "));
	assert_non_null(strstr(next(), "at the latest (max_hold)"));
	assert_true(why_has("hog", "next", "policy p waits for "));
	assert_true(why_has("p", "next", "policy p waits for "));
	event = agent_wait_event("thawed", "p", 5000);
	assert_non_null(strstr(json_string_value(json_object_get(event, "reason")), "max_hold"));
	json_decref(event);
	assert_next("does not begin again before it has seen ");
	assert_true(why_has("hog", "next", "was ended by max_hold or by hand"));
	live_kill(between);
	assert_true(live_until(next_is_nothing, NULL, 5000));
	assert_int_equal(agent_count_events("frozen", "p"), 1);
	assert_int_equal(agent_stop(), 0);
}

/* "… with 4.3 s to go"; -1: it does not stand still. */
static double stands_at(void)
{
	const char *at = strstr(next(), "the grace time stands still with ");

	return at ? strtod(at + strlen("the grace time stands still with "), NULL) : -1;
}

static bool stands_still(void *unused)
{
	(void)unused;
	return stands_at() > 0;
}

static void between_the_thresholds_the_grace_time_stands_still_and_is_not_lost(void **state)
{
	pid_t burst, between;
	double left;

	(void)state;
	agent_start(HOG P("p", "front") WIDE "grace = 5s\n");
	burst = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "p", 5000));
	live_kill(burst);
	assert_true(live_until(is_state, (void *)(uintptr_t) "grace", 5000));
	assert_next("lets go in ");
	usleep(1000 * 1000);
	between = live_fork("front", load_between, NULL);
	assert_true(live_until(stands_still, NULL, 5000));
	left = stands_at();
	assert_true(left < 4.5);
	usleep(800 * 1000);
	assert_true(stands_at() == left);
	live_kill(between);
	/* It goes on from there. */
	assert_next("lets go in ");
	assert_true(live_until(live_is_thawed, "hog", (unsigned int)(left * 1000) + 1000));
	assert_int_equal(agent_stop(), 0);
}

static void min_run_keeps_the_target_running_between_two_holds(void **state)
{
	json_t *thawed, *frozen;
	json_int_t ran_ms;
	pid_t burst;

	(void)state;
	agent_start(HOG P("p", "front") "enter = 0.1cpu\ngrace = 100ms\nmin_run = 3s\n");
	burst = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "p", 5000));
	live_kill(burst);
	thawed = agent_wait_event("thawed", "p", 5000);
	assert_next("min_run keeps its target running for ");
	live_fork("front", load_spin, NULL);
	assert_next(" more, then it begins again");
	assert_false(live_frozen("hog"));
	frozen = agent_wait_event("frozen", "p", 8000);
	ran_ms = json_integer_value(json_object_get(frozen, "ts")) -
		 json_integer_value(json_object_get(thawed, "ts"));
	print_message("    it ran for %d ms between two holds\n", (int)ran_ms);
	assert_true(ran_ms >= 2950 && ran_ms < 3500);
	json_decref(thawed);
	json_decref(frozen);
	assert_int_equal(agent_stop(), 0);
}

static void several_policies_let_go_only_when_none_holds(void **state)
{
	pid_t front, second;

	(void)state;
	agent_start(HOG P("p", "front") "enter = 0.1cpu\ngrace = 100ms\n" P(
		"q", "second") "enter = 0.1cpu\ngrace = 100ms\n");
	front = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "p", 5000));
	second = live_fork("second", load_spin, NULL);
	usleep(500 * 1000);
	live_kill(front);
	assert_true(live_until(is_state, (void *)(uintptr_t) "quiet", 5000));
	assert_true(live_frozen("hog"));
	front = live_fork("front", load_spin, NULL);
	assert_true(live_until(is_state, (void *)(uintptr_t) "holding", 5000));
	live_kill(second);
	usleep(700 * 1000);
	assert_true(live_frozen("hog"));
	assert_int_equal(agent_count_events("thawed", NULL), 0);
	live_kill(front);
	assert_true(live_until(live_is_thawed, "hog", 5000));
	assert_int_equal(agent_count_events("frozen", NULL), 1);
	assert_int_equal(agent_count_events("thawed", NULL), 1);
	assert_int_equal(agent_stop(), 0);
}

/* --- by hand ---------------------------------------------------------------------------------- */

static bool has_reason(const json_t *event, const char *text)
{
	return strstr(json_string_value(json_object_get(event, "reason")), text) != NULL;
}

static void a_pause_says_how_long_it_lasts_and_leaves_events(void **state)
{
	json_t *reply, *event;
	json_int_t until;

	(void)state;
	agent_start(HOG P("p", "front") "enter = 0.1cpu\n");
	json_decref(call("Pause", json_pack("{s:s,s:i}", "policy", "p", "for_ms", 2000)));
	until = json_integer_value(json_object_get(policy_of(&reply), "paused_until"));
	assert_true(until > (json_int_t)unix_ms() && until <= (json_int_t)unix_ms() + 2000);
	json_decref(reply);
	assert_non_null(strstr(next(), "is paused for "));
	assert_true(why_has("p", "next", "policy p is paused for "));
	event = agent_wait_event("config", "p", 2000);
	assert_true(has_reason(event, "the policy was paused by hand, by user id 0, for 2 s"));
	json_decref(event);
	event = agent_wait_event("config", "p", 5000);
	assert_true(has_reason(event, "the time is over for which the policy was paused"));
	json_decref(event);
	assert_string_equal(next(), "");
	json_decref(call("Pause", NULL));
	assert_string_equal(next(), "is paused until culprit resume");
	assert_null(json_object_get(policy_of(&reply), "paused_until"));
	json_decref(reply);
	event = agent_wait_event("config", NULL, 2000);
	assert_true(has_reason(event, "every policy was paused by hand, by user id 0, until "));
	json_decref(event);
	json_decref(call("Resume", json_pack("{s:s}", "policy", "p")));
	event = agent_wait_event("config", "p", 2000);
	assert_true(has_reason(event, "the policy was resumed by hand, by user id 0"));
	json_decref(event);
	/* Nothing was switched by that. */
	json_decref(call("Resume", NULL));
	assert_int_equal(agent_count_events("config", NULL), 4);
	assert_int_equal(agent_stop(), 0);
}

static void what_is_left_alone_by_hand_is_shown_with_its_time(void **state)
{
	const json_t *free, *one;
	json_t *reply;
	pid_t front;

	(void)state;
	agent_start(HOG P("p", "front") "enter = 0.1cpu\ngrace = 100ms\n");
	json_decref(call("Thaw", json_pack("{s:s,s:i}", "target", "hog", "for_ms", 60000)));
	reply = call("GetStatus", NULL);
	free = json_object_get(json_object_get(reply, "status"), "free");
	assert_int_equal(json_array_size(free), 1);
	one = json_array_get(free, 0);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(one, "target"), "path")),
		live_path("hog"));
	assert_true(json_integer_value(json_object_get(one, "until")) >
		    (json_int_t)unix_ms() + 50000);
	json_decref(reply);
	assert_true(why_has("hog", "next", "it is left alone for "));
	assert_int_equal(agent_stop(), 0);
	/* Without a time it is until the signal has been quiet. */
	agent_start(HOG P("p", "front") "enter = 0.1cpu\ngrace = 100ms\n");
	front = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "p", 5000));
	json_decref(call("Thaw", json_pack("{s:s}", "target", "hog")));
	assert_true(
		why_has("hog", "next", "policy p keeps off it until its signal has been quiet"));
	live_kill(front);
	assert_int_equal(agent_stop(), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, live_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(time_between_the_thresholds_does_not_freeze_and_ends_with_max_hold),
		T(between_the_thresholds_the_grace_time_stands_still_and_is_not_lost),
		T(min_run_keeps_the_target_running_between_two_holds),
		T(several_policies_let_go_only_when_none_holds),
		T(a_pause_says_how_long_it_lasts_and_leaves_events),
		T(what_is_left_alone_by_hand_is_shown_with_its_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
