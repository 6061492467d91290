// SPDX-License-Identifier: GPL-2.0-or-later
/* `top`: for how much of the last minute a cgroup was frozen, and by whom. */
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
	live_cgroup("hog/inner");
	live_cgroup("front");
	live_fork("hog/inner", load_sleep, NULL);
	return 0;
}

struct row {
	bool listed, frozen;
	double frozen_pct;
	char by[64];
};

/* What top says of this cgroup. */
static struct row row_of(const char *name)
{
	char error[128];
	json_t *reply = agent_call("GetTop", NULL, error, sizeof(error));
	const json_t *list, *c;
	struct row row = { .listed = false };
	size_t i;

	if (!reply)
		fail_msg("GetTop: %s", error);
	list = json_object_get(json_object_get(reply, "top"), "cgroups");
	json_array_foreach (list, i, c) {
		const char *by = json_string_value(json_object_get(c, "frozen_by"));

		if (strcmp(json_string_value(json_object_get(c, "path")), live_path(name)) != 0)
			continue;
		row.listed = true;
		row.frozen = json_is_true(json_object_get(c, "frozen"));
		row.frozen_pct = json_real_value(json_object_get(c, "frozen_pct"));
		snprintf(row.by, sizeof(row.by), "%.63s", by ? by : "");
	}
	json_decref(reply);
	return row;
}

static void assert_row(const char *name, bool frozen, double ms, const char *by)
{
	struct row row = row_of(name);
	double percent = ms / 600;

	if (!row.listed || row.frozen != frozen || strcmp(row.by, by) != 0)
		fail_msg("%s: %slisted, %sfrozen, by '%s'", name, row.listed ? "" : "not ",
			 row.frozen ? "" : "not ", row.by);
	/* The answer itself may take half a second, during which it is frozen, too. */
	if (row.frozen_pct < percent * 0.9 || row.frozen_pct > percent * 1.1 + 2)
		fail_msg("%s: frozen for %.2f %% of a minute instead of %.2f %%", name,
			 row.frozen_pct, percent);
}

static double ms_between(const json_t *begin, const json_t *end)
{
	return (double)(json_integer_value(json_object_get(end, "ts")) -
			json_integer_value(json_object_get(begin, "ts")));
}

static void the_share_of_the_last_minute_outlasts_the_claim(void **state)
{
	json_t *frozen, *thawed;
	pid_t front;
	double ms;

	(void)state;
	agent_start(agent_hog_yields);
	assert_false(row_of("hog/inner").listed && row_of("hog/inner").frozen_pct > 0);
	front = live_fork("front", load_spin, NULL);
	frozen = agent_wait_event("frozen", "front-first", 5000);
	usleep(700 * 1000);
	/* What is below it is frozen with it, and by the same. */
	assert_row("hog", true, 700, "front-first");
	assert_row("hog/inner", true, 700, "front-first");
	live_kill(front);
	thawed = agent_wait_event("thawed", "front-first", 5000);
	ms = ms_between(frozen, thawed);
	assert_row("hog", false, ms, "front-first");
	assert_row("hog/inner", false, ms, "front-first");
	/* Whoever was not held has no such numbers. */
	assert_string_equal(row_of("front").by, "");
	json_decref(frozen);
	json_decref(thawed);
	assert_int_equal(agent_stop(), 0);
}

static bool is_thawed_again(void *unused)
{
	(void)unused;
	return agent_count_events("external-thaw", NULL) == 1;
}

static void a_hand_freeze_is_the_operators_and_ends_when_others_thaw_it(void **state)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path("hog"));
	uint64_t begun = monotonic_ns();
	char error[128];
	double ms;

	(void)state;
	agent_start("");
	json_decref(agent_call("Freeze", json_pack("{s:s}", "target", live_path("hog")), error,
			       sizeof(error)));
	assert_true(live_until(live_is_frozen, "hog", 5000));
	begun = monotonic_ns();
	usleep(500 * 1000);
	assert_row("hog", true, 500, "operator");
	assert_int_equal(cgroupfs_write(dir, "cgroup.freeze", "0"), 0);
	assert_true(live_until(is_thawed_again, NULL, 5000));
	ms = (double)(monotonic_ns() - begun) / NSEC_PER_MSEC;
	usleep(1200 * 1000);
	assert_row("hog/inner", false, ms, "operator");
	assert_int_equal(agent_stop(), 0);
}

static void what_others_froze_is_frozen_but_not_by_us(void **state)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path("hog"));

	(void)state;
	agent_start("");
	assert_int_equal(cgroupfs_write(dir, "cgroup.freeze", "1"), 0);
	assert_true(live_until(live_is_frozen, "hog", 5000));
	assert_row("hog", true, 0, "");
	assert_int_equal(agent_stop(), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, live_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_share_of_the_last_minute_outlasts_the_claim),
		T(a_hand_freeze_is_the_operators_and_ends_when_others_thaw_it),
		T(what_others_froze_is_frozen_but_not_by_us),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
