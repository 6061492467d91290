// SPDX-License-Identifier: GPL-2.0-or-later
/* For how much of the last minute something was held, and by whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "tell/held.h"

#define S NSEC_PER_SEC

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct held));
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static double share(const struct held *held, uint64_t cgroup, uint64_t now_ns)
{
	const char *by;

	return held_share(held, &cgroup, 1, now_ns, &by);
}

static bool near(double a, double b)
{
	return a - b < 1e-9 && b - a < 1e-9;
}

static void what_lasts_counts_up_to_now_and_what_ended_up_to_its_end(void **state)
{
	struct held *held = *state;

	held_begin(held, 7, "a", 100 * S);
	assert_true(near(share(held, 7, 106 * S), 0.1));
	assert_true(share(held, 8, 106 * S) == 0);
	held_end(held, 7, 112 * S);
	assert_true(near(share(held, 7, 130 * S), 0.2));
	/* Twelve seconds, of which half are a minute ago. */
	assert_true(near(share(held, 7, 166 * S), 0.1));
	assert_true(share(held, 7, 172 * S) == 0);
	held_begin(held, 7, "a", 180 * S);
	assert_true(near(share(held, 7, 1000 * S), 1));
}

static void a_second_beginning_changes_nothing(void **state)
{
	struct held *held = *state;
	const char *by;

	held_begin(held, 7, "a", 100 * S);
	held_begin(held, 7, "b", 103 * S);
	assert_true(near(held_share(held, (const uint64_t[]){ 7 }, 1, 106 * S, &by), 0.1));
	assert_string_equal(by, "a");
	held_end(held, 7, 106 * S);
	held_end(held, 7, 109 * S);
	assert_true(near(share(held, 7, 112 * S), 0.1));
}

static void time_under_several_counts_once(void **state)
{
	const uint64_t chain[] = { 9, 8, 7 };
	struct held *held = *state;
	const char *by;

	/* 7 from 100 to 112, 9 within that, 8 from 109 to 118. */
	held_begin(held, 7, "outer", 100 * S);
	held_begin(held, 9, "inner", 103 * S);
	held_end(held, 9, 106 * S);
	held_begin(held, 8, "middle", 109 * S);
	held_end(held, 7, 112 * S);
	held_end(held, 8, 118 * S);
	assert_true(near(held_share(held, chain, 3, 120 * S, &by), 0.3));
	assert_string_equal(by, "middle");
	assert_true(near(held_share(held, chain, 1, 120 * S, &by), 0.05));
	assert_string_equal(by, "inner");
	assert_true(held_share(held, chain, 0, 120 * S, &by) == 0);
	assert_null(by);
}

static void the_last_to_hold_it_is_named(void **state)
{
	struct held *held = *state;
	const uint64_t chain[] = { 9, 7 };
	const char *by;

	held_begin(held, 7, "outer", 100 * S);
	held_begin(held, 9, "inner", 103 * S);
	held_end(held, 9, 106 * S);
	(void)held_share(held, chain, 2, 120 * S, &by);
	assert_string_equal(by, "outer");
}

static bool is_seven(void *user, uint64_t cgroup)
{
	(void)user;
	return cgroup == 7;
}

static void what_is_not_held_any_more_ends_at_the_check_and_old_ones_go(void **state)
{
	struct held *held = *state;

	held_begin(held, 7, "a", 100 * S);
	held_begin(held, 8, "a", 100 * S);
	held_check(held, is_seven, NULL, 106 * S);
	assert_int_equal(held->count, 2);
	assert_true(near(share(held, 7, 112 * S), 0.2));
	assert_true(near(share(held, 8, 112 * S), 0.1));
	held_check(held, is_seven, NULL, 166 * S);
	assert_int_equal(held->count, 2);
	held_check(held, is_seven, NULL, 167 * S);
	assert_int_equal(held->count, 1);
	assert_true(near(share(held, 7, 167 * S), 1));
}

static void when_it_is_full_what_ended_first_gives_its_place(void **state)
{
	struct held *held = *state;

	held_begin(held, 1, "long", 10 * S);
	for (unsigned int i = 0; i < 2 * HELD_SPANS; i++) {
		held_begin(held, 1000 + i, "short", 20 * S + i);
		held_end(held, 1000 + i, 21 * S + i);
	}
	assert_int_equal(held->count, HELD_SPANS);
	assert_true(near(share(held, 1, 70 * S), 1));
	assert_true(share(held, 1000, 30 * S) == 0);
	assert_true(near(share(held, 1000 + 2 * HELD_SPANS - 1, 30 * S), 1.0 / 60));
	/* Where nothing has ended there is no room, and nothing is lost of what is there. */
	for (unsigned int i = 0; i < HELD_SPANS; i++)
		held_begin(held, 9000 + i, "long", 40 * S);
	held_begin(held, 5, "one too many", 41 * S);
	assert_true(share(held, 5, 70 * S) == 0);
	assert_true(near(share(held, 1, 70 * S), 1));
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_lasts_counts_up_to_now_and_what_ended_up_to_its_end),
		T(a_second_beginning_changes_nothing),
		T(time_under_several_counts_once),
		T(the_last_to_hold_it_is_named),
		T(what_is_not_held_any_more_ends_at_the_check_and_old_ones_go),
		T(when_it_is_full_what_ended_first_gives_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
