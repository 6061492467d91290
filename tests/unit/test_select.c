// SPDX-License-Identifier: GPL-2.0-or-later
/* One at a time: who is next, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "decide/select.h"
#include "lib/cleanup.h"
#include "lib/clock.h"

#define S NSEC_PER_SEC

static void assert_order(struct select_candidate *list, unsigned int n, enum select_rule rule,
			 const int *order)
{
	for (unsigned int i = 0; i < n; i++) {
		int next = select_next(list, n, rule);

		assert_int_equal(next, order[i]);
		list[next].passed = true;
	}
	assert_int_equal(select_next(list, n, rule), -1);
}

static void the_largest_user_comes_first(void **state)
{
	struct select_candidate list[] = {
		{ 10, 0.5, false }, { 11, 1.5, false }, { 12, 0.0, false }, { 13, 0.7, false }
	};

	(void)state;
	assert_order(list, 4, SELECT_TOP, (const int[]){ 1, 3, 0, 2 });
}

static void of_equal_users_the_newer_comes_first(void **state)
{
	struct select_candidate list[] = { { 10, 0, false }, { 12, 0, false }, { 11, 0, false } };

	(void)state;
	assert_order(list, 3, SELECT_TOP, (const int[]){ 1, 2, 0 });
}

/* Also across the lower half's beginning anew. */
static void the_newest_comes_first_whatever_it_uses(void **state)
{
	struct select_candidate list[] = { { 0x7fffffff, 2, false },
					   { 0x100000005, 0, false },
					   { 300, 1, false },
					   { 0x100000004, 3, false } };

	(void)state;
	assert_order(list, 4, SELECT_NEWEST, (const int[]){ 1, 3, 0, 2 });
}

static void what_is_passed_over_is_never_next(void **state)
{
	struct select_candidate list[] = { { 10, 9, true }, { 11, 1, false }, { 12, 8, true } };

	(void)state;
	assert_int_equal(select_next(list, 3, SELECT_TOP), 1);
	assert_int_equal(select_next(list, 3, SELECT_NEWEST), 1);
	assert_int_equal(select_next(list, 0, SELECT_TOP), -1);
	assert_int_equal(select_next(list, 1, SELECT_NEWEST), -1);
}

static void the_first_is_due_at_once_and_the_next_after_a_whole_window(void **state)
{
	(void)state;
	assert_true(select_is_due(true, 0, S, 5 * S));
	assert_false(select_is_due(true, 5 * S, S, 5 * S));
	assert_false(select_is_due(true, 5 * S, S, 6 * S - 1));
	assert_true(select_is_due(true, 5 * S, S, 6 * S));
	/* Held a moment after this look began. */
	assert_false(select_is_due(true, 5 * S + 1, S, 5 * S));
}

static void nobody_follows_while_the_value_is_below_enter(void **state)
{
	(void)state;
	assert_false(select_is_due(false, 0, S, 5 * S));
	assert_false(select_is_due(false, 5 * S, S, 60 * S));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_largest_user_comes_first),
		cmocka_unit_test(of_equal_users_the_newer_comes_first),
		cmocka_unit_test(the_newest_comes_first_whatever_it_uses),
		cmocka_unit_test(what_is_passed_over_is_never_next),
		cmocka_unit_test(the_first_is_due_at_once_and_the_next_after_a_whole_window),
		cmocka_unit_test(nobody_follows_while_the_value_is_below_enter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
