// SPDX-License-Identifier: GPL-2.0-or-later
/* action = kill, and escalate: what is done when a hold goes on, and what is not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "lib/clock.h"
#include "live.h"
#include "mini.h"

#define POLICY(action, grace, more)                                                             \
	"[workload hog]\ncgroup = %s/hog\n[policy up]\nsignal = cpu\nof = cgroup:%s/front\n"    \
	"window = 250ms\nenter = 0.04cpu\nleave = 0.02cpu\ngrace = " grace "\naction = " action \
	"\ntarget = hog\n" more

/* Deaf to SIGTERM. */
static int load_stubborn(void *unused)
{
	signal(SIGTERM, SIG_IGN);
	return load_spin(unused);
}

static int setup(void **state)
{
	if (live_setup(state) < 0)
		return -1;
	live_cgroup("hog");
	live_cgroup("front");
	return 0;
}

static uint64_t ts_of(json_t *event)
{
	uint64_t ts = (uint64_t)json_integer_value(json_object_get(event, "ts"));

	json_decref(event);
	return ts;
}

static bool is_populated(void)
{
	return live_cgroup_key("hog", "cgroup.events", "populated") == 1;
}

static bool is_empty(void *unused)
{
	(void)unused;
	return !is_populated();
}

static void wait_populated(void)
{
	while (!is_populated())
		usleep(500);
}

/* What why says of the hog; new reference. */
static json_t *why(void)
{
	char error[128];
	json_t *reply = agent_call("Why", json_pack("{s:s}", "name", live_path("hog")), error,
				   sizeof(error));
	json_t *one;

	assert_non_null(reply);
	one = json_incref(json_array_get(json_object_get(reply, "why"), 0));
	json_decref(reply);
	return one;
}

static bool says(const json_t *list, const char *text)
{
	const json_t *one;
	size_t i;

	json_array_foreach (list, i, one)
		if (strstr(json_string_value(one), text))
			return true;
	return false;
}

static json_t *claim_of_status(void)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error)), *claim;

	assert_non_null(reply);
	claim = json_incref(
		json_array_get(json_object_get(json_object_get(reply, "status"), "claims"), 0));
	json_decref(reply);
	return claim;
}

static void killing_leaves_nothing_and_no_frozen_cgroup(void **state)
{
	pid_t hog = live_fork("hog", load_stubborn, NULL);

	(void)state;
	wait_populated();
	agent_start(POLICY("kill", "300ms", ""));
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("killed", "up", 5000));
	assert_true(live_until(is_empty, NULL, 2000));
	assert_int_equal(live_wait(hog), 128 + SIGKILL);
	json_decref(agent_wait_event("terminated", "up", 2000));
	assert_false(mini_asked_to_freeze("hog"));
	assert_int_equal(agent_stop(), 0);
}

static void a_ladder_is_climbed_while_the_signal_holds(void **state)
{
	uint64_t frozen, killed;
	pid_t hog = live_fork("hog", load_stubborn, NULL);
	json_t *one, *claim;

	(void)state;
	wait_populated();
	agent_start(POLICY("freeze", "300ms", "escalate = terminate:800ms, kill:1600ms\n"));
	live_fork("front", load_spin, NULL);
	frozen = ts_of(agent_wait_event("frozen", "up", 5000));
	/* It is told beforehand what comes. */
	one = why();
	assert_true(says(json_object_get(one, "next"), "terminate in "));
	json_decref(one);
	claim = claim_of_status();
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(claim, "next"), "action")),
		"terminate");
	json_decref(claim);
	usleep(600 * 1000);
	assert_true(live_frozen("hog"));
	/* Asked to end, it runs: it could not handle the signal otherwise. */
	assert_true(live_until(live_is_thawed, "hog", 1000));
	usleep(300 * 1000);
	assert_true(is_populated());
	killed = ts_of(agent_wait_event("killed", "up", 3000));
	assert_true(killed - frozen >= 1500 && killed - frozen < 2500);
	assert_true(live_until(is_empty, NULL, 2000));
	assert_int_equal(live_wait(hog), 128 + SIGKILL);
	json_decref(agent_wait_event("terminated", "up", 2000));
	assert_int_equal(agent_stop(), 0);
}

static void when_the_signal_is_quiet_nothing_more_is_done(void **state)
{
	pid_t front;

	(void)state;
	live_fork("hog", load_spin, NULL);
	wait_populated();
	agent_start(POLICY("freeze", "3s", "escalate = kill:1s\n"));
	front = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "up", 5000));
	live_kill(front);
	usleep(2000 * 1000);
	assert_true(is_populated());
	assert_true(live_frozen("hog"));
	assert_int_equal(agent_count_events("killed", NULL), 0);
	/* The clock went on: when the signal is back, that time is over. */
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("killed", "up", 2000));
	assert_true(live_until(is_empty, NULL, 2000));
	assert_int_equal(agent_stop(), 0);
}

static void a_new_claim_begins_at_the_bottom(void **state)
{
	uint64_t frozen, killed;

	(void)state;
	live_fork("hog", load_spin, NULL);
	wait_populated();
	agent_start(POLICY("freeze", "300ms", "escalate = kill:700ms\n"));
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("killed", "up", 5000));
	assert_true(live_until(is_empty, NULL, 2000));
	json_decref(agent_wait_event("terminated", "up", 2000));
	/* What runs there next is frozen first, and has its time. */
	live_fork("hog", load_spin, NULL);
	frozen = ts_of(agent_wait_event("frozen", "up", 2000));
	killed = ts_of(agent_wait_event("killed", "up", 5000));
	assert_true(killed - frozen >= 600);
	assert_int_equal(agent_stop(), 0);
}

static void what_someone_else_thawed_is_not_escalated(void **state)
{
	(void)state;
	live_fork("hog", load_spin, NULL);
	wait_populated();
	agent_start(POLICY("freeze", "300ms", "escalate = kill:3s\n"));
	live_fork("front", load_spin, NULL);
	/* Twice is an opinion. */
	for (int i = 0; i < 2; i++) {
		json_decref(agent_wait_event("frozen", "up", 5000));
		mini_write_freeze("hog", "0");
		json_decref(agent_wait_event("external-thaw", "up", 3000));
	}
	usleep(3000 * 1000);
	assert_true(is_populated());
	assert_int_equal(agent_count_events("killed", NULL), 0);
	assert_int_equal(agent_stop(), 0);
}

static void shadow_mode_only_tells_of_it(void **state)
{
	static const char *const shadow[] = { "--shadow", NULL };

	(void)state;
	live_fork("hog", load_spin, NULL);
	wait_populated();
	agent_start_with(NULL, shadow, POLICY("freeze", "300ms", "escalate = kill:500ms\n"));
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "up", 5000));
	json_decref(agent_wait_event("killed", "up", 3000));
	assert_true(is_populated());
	assert_int_equal(agent_stop(), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, live_teardown)
	const struct CMUnitTest tests[] = {
		T(killing_leaves_nothing_and_no_frozen_cgroup),
		T(a_ladder_is_climbed_while_the_signal_holds),
		T(when_the_signal_is_quiet_nothing_more_is_done),
		T(a_new_claim_begins_at_the_bottom),
		T(what_someone_else_thawed_is_not_escalated),
		T(shadow_mode_only_tells_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
