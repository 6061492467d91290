// SPDX-License-Identifier: GPL-2.0-or-later
/* The ladder of a policy: when it is climbed, and when not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "decide/escalate.h"

static const struct escalate_ladder ladder = {
	.rungs = { { ACTION_TERMINATE, 600 }, { ACTION_KILL, 660 } },
	.count = 2,
};

static void it_is_climbed_while_the_signal_speaks(void **state)
{
	struct escalate_state s = { 0 };

	(void)state;
	assert_int_equal(escalate_due_ns(&ladder, &s), 600);
	assert_false(escalate_step(&ladder, &s, 599, true));
	assert_true(escalate_step(&ladder, &s, 600, true));
	assert_int_equal(s.climbed, 1);
	assert_false(escalate_step(&ladder, &s, 600, true));
	assert_int_equal(escalate_due_ns(&ladder, &s), 660);
	assert_true(escalate_step(&ladder, &s, 660, true));
	assert_int_equal(s.climbed, 2);
	assert_int_equal(escalate_due_ns(&ladder, &s), UINT64_MAX);
	assert_false(escalate_step(&ladder, &s, UINT64_MAX, true));
}

static void while_it_is_quiet_nothing_more_is_done(void **state)
{
	struct escalate_state s = { 0 };

	(void)state;
	assert_false(escalate_step(&ladder, &s, 600, false));
	assert_false(escalate_step(&ladder, &s, 5000, false));
	assert_int_equal(s.climbed, 0);
	/* The clock went on. */
	assert_true(escalate_step(&ladder, &s, 5001, true));
}

static void what_is_overdue_is_done_one_by_one_with_the_time_between(void **state)
{
	struct escalate_state s = { 0 };

	(void)state;
	assert_true(escalate_step(&ladder, &s, 5000, true));
	assert_int_equal(s.climbed, 1);
	assert_int_equal(escalate_due_ns(&ladder, &s), 5060);
	assert_false(escalate_step(&ladder, &s, 5059, true));
	assert_true(escalate_step(&ladder, &s, 5060, true));
	assert_int_equal(s.climbed, 2);
}

static void without_rungs_there_is_nothing_to_climb(void **state)
{
	struct escalate_ladder none = { 0 };
	struct escalate_state s = { 0 };

	(void)state;
	assert_int_equal(escalate_due_ns(&none, &s), UINT64_MAX);
	assert_false(escalate_step(&none, &s, UINT64_MAX, true));
}

static void actions_are_ordered_by_what_they_take(void **state)
{
	static const enum policy_action rising[] = { ACTION_NOTIFY, ACTION_DEMOTE, ACTION_FREEZE,
						     ACTION_TERMINATE, ACTION_KILL };

	(void)state;
	for (int i = 1; i < 5; i++)
		assert_true(policy_action_severity(rising[i]) >
			    policy_action_severity(rising[i - 1]));
	assert_int_equal(policy_action_severity(ACTION_STOP),
			 policy_action_severity(ACTION_FREEZE));
}

static void ladders_are_compared_rung_by_rung(void **state)
{
	struct escalate_ladder other = ladder;

	(void)state;
	assert_true(escalate_is_same(&ladder, &other));
	other.rungs[1].after_ns++;
	assert_false(escalate_is_same(&ladder, &other));
	other = ladder;
	other.count = 1;
	assert_false(escalate_is_same(&ladder, &other));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_climbed_while_the_signal_speaks),
		cmocka_unit_test(while_it_is_quiet_nothing_more_is_done),
		cmocka_unit_test(what_is_overdue_is_done_one_by_one_with_the_time_between),
		cmocka_unit_test(without_rungs_there_is_nothing_to_climb),
		cmocka_unit_test(actions_are_ordered_by_what_they_take),
		cmocka_unit_test(ladders_are_compared_rung_by_rung),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
