// SPDX-License-Identifier: GPL-2.0-or-later
/* Whose turn it is, and who runs beside: rule by rule. */
#include <errno.h>

#include "turns_fixture.h"

/* --- in line -----------------------------------------------------------------------------------
 */

static void the_oldest_runs_first_then_all_in_turn(void **state)
{
	const uint64_t order[] = { 1, 2, 3, 4, 1, 2, 3, 4, 1 };
	struct fixture f;

	(void)state;
	begin(&f);
	for (uint64_t key = 4; key > 0; key--)
		add(&f, key, 150);
	for (uint64_t key = 4; key > 0; key--)
		f.seen[key].pages_per_s = 50;
	assert_true(look(&f));
	/* From the last: the newest is the first to wait. */
	assert_int_equal(f.t.members[3].key, 4);
	for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++) {
		assert_int_equal(runner(&f), order[i]);
		for (uint64_t key = 1; key <= 4; key++)
			assert_int_equal(runs(&f, key), key == order[i]);
		assert_true(turns_until_ns(&f.t) == f.now + SLICE);
		run_for(&f, SLICE - 1);
		assert_int_equal(runner(&f), order[i]);
		run_for(&f, 1);
	}
}

static void who_comes_joins_at_the_end(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 2, 150);
	add(&f, 3, 150);
	look(&f);
	/* However old it is. */
	add(&f, 1, 150);
	assert_true(turns_next_ns(&f.t) <= f.now);
	assert_true(look(&f));
	assert_false(look(&f));
	assert_false(runs(&f, 1));
	assert_int_equal(runner(&f), 2);
	next_turn(&f);
	assert_int_equal(runner(&f), 3);
	next_turn(&f);
	assert_int_equal(runner(&f), 1);
	next_turn(&f);
	assert_int_equal(runner(&f), 2);
}

static void the_next_turn_begins_in_the_step_in_which_its_runner_is_gone(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	for (uint64_t key = 1; key <= 4; key++)
		add(&f, key, 150);
	look(&f);
	run_for(&f, S);
	assert_true(turns_remove(&f.t, 1));
	assert_false(turns_remove(&f.t, 1));
	assert_null(turns_runner(&f.t));
	assert_int_equal(turns_next_in_line(&f.t)->key, 2);
	assert_true(turns_next_ns(&f.t) <= f.now);
	assert_true(look(&f));
	assert_int_equal(runner(&f), 2);
	assert_true(turns_until_ns(&f.t) == f.now + SLICE);
	/* One that waits: the turn goes on. */
	run_for(&f, S);
	assert_true(turns_remove(&f.t, 3));
	assert_false(look(&f));
	assert_true(turns_until_ns(&f.t) == f.now + SLICE - S);
	next_turn(&f);
	assert_int_equal(runner(&f), 4);
	/* One alone needs no turns. */
	assert_true(turns_remove(&f.t, 4));
	assert_true(look(&f));
	assert_true(turns_over(&f.t));
	assert_null(turns_next_in_line(&f.t));
	assert_true(runs(&f, 2));
	assert_true(turns_next_ns(&f.t) == UINT64_MAX);
}

static void there_is_room_for_so_many(void **state)
{
	struct turns t;

	(void)state;
	turns_init(&t, SLICE);
	assert_false(turns_see(&t, 1, 1, 1, 1, 1, 1));
	for (uint64_t key = 0; key < TURNS_MAX; key++)
		assert_int_equal(turns_add(&t, key, 7), 0);
	assert_int_equal(turns_add(&t, 5, 7), -EEXIST);
	assert_int_equal(turns_add(&t, 500, 7), -ENOSPC);
	assert_true(turns_remove(&t, 5));
	assert_null(turns_find(&t, 5));
	assert_int_equal(turns_add(&t, 500, 7), 0);
	assert_int_equal(turns_find(&t, 500) - t.members, TURNS_MAX - 1);
	assert_true(turns_step(&t, 1, 1));
	/* Nobody was seen yet: they run alone, in the order in which they came. */
	assert_int_equal(turns_runner(&t)->key, 0);
	for (unsigned int i = 1; i < t.count; i++)
		assert_false(t.members[i].runs);
	while (t.count) {
		assert_true(turns_remove(&t, t.members[0].key));
		turns_step(&t, 2, 1);
	}
	assert_true(turns_over(&t));
	assert_true(turns_next_ns(&t) == UINT64_MAX);
}

static void what_is_told_adds_up(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	assert_true(turns_until_ns(&f.t) == 0);
	for (uint64_t key = 1; key <= 3; key++)
		add(&f, key, 150);
	look(&f);
	run_for(&f, 2 * S);
	assert_true(f.t.turn_ns == SLICE);
	assert_true(turns_longest_wait_ns(&f.t) == 2 * SLICE);
	assert_true(turns_until_ns(&f.t) == 105 * S);
	assert_true(turns_runs_by_ns(&f.t, turns_find(&f.t, 1)) == 100 * S);
	assert_true(turns_runs_by_ns(&f.t, turns_find(&f.t, 2)) == 105 * S);
	assert_true(turns_runs_by_ns(&f.t, turns_find(&f.t, 3)) == 110 * S);
	assert_int_equal(turns_next_in_line(&f.t)->key, 2);
	assert_int_equal(f.t.capacity_pages, CAP);
	run_for(&f, 4 * S);
	assert_true(turns_find(&f.t, 2)->since_ns == 105 * S);
	assert_true(turns_find(&f.t, 1)->since_ns == 105 * S);
	assert_true(turns_find(&f.t, 3)->since_ns == 100 * S);
	assert_true(turns_runs_by_ns(&f.t, turns_find(&f.t, 1)) == 115 * S);
}

/* --- beside ------------------------------------------------------------------------------------
 */

static void those_that_fit_run_beside_in_the_order_of_the_line(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 80);
	add(&f, 2, 130);
	add(&f, 3, 60);
	add(&f, 4, 50);
	add(&f, 5, 100);
	look(&f);
	/* 4 fits beside everyone. 3 would, without it. */
	assert_true(runs(&f, 1) && runs(&f, 4) && runs(&f, 3));
	assert_false(runs(&f, 2) || runs(&f, 5));
	assert_int_equal(turns_next_in_line(&f.t)->key, 2);
	/* Who runs beside has had its turn by then. */
	assert_true(turns_runs_by_ns(&f.t, turns_find(&f.t, 5)) == f.now + 2 * SLICE);
	next_turn(&f);
	assert_int_equal(runner(&f), 2);
	assert_true(runs(&f, 4));
	assert_false(runs(&f, 1) || runs(&f, 3) || runs(&f, 5));
	/* Not 3 and not 1: they ran later than 5. */
	next_turn(&f);
	assert_int_equal(runner(&f), 5);
	assert_true(runs(&f, 4));
	assert_false(runs(&f, 1) || runs(&f, 2));
}

/* One that runs alone anyway does not make the others any less small. */
static void beside_who_is_too_large_nobody_is_small(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 300);
	add(&f, 2, 100);
	add(&f, 3, 80);
	add(&f, 4, 30);
	look(&f);
	assert_true(runs(&f, 1));
	assert_false(runs(&f, 2) || runs(&f, 3) || runs(&f, 4));
	next_turn(&f);
	assert_true(runs(&f, 2) && runs(&f, 4));
	assert_false(runs(&f, 1) || runs(&f, 3));
	next_turn(&f);
	assert_int_equal(runner(&f), 3);
	assert_true(runs(&f, 4));
}

static void who_grows_too_large_to_run_beside_waits_until_the_next_turn(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 100);
	add(&f, 2, 90);
	add(&f, 3, 190);
	look(&f);
	assert_true(runs(&f, 1) && runs(&f, 2));
	/* What runs already may use all there is. */
	f.seen[2].footprint = 100;
	assert_false(look(&f));
	f.seen[2].footprint = 101;
	assert_true(look(&f));
	assert_false(runs(&f, 2));
	assert_int_equal(runner(&f), 1);
	f.seen[2].footprint = 50;
	run_for(&f, S);
	assert_false(runs(&f, 2));
	next_turn(&f);
	assert_int_equal(runner(&f), 2);
	assert_true(runs(&f, 1));
}

static void who_has_become_small_enough_joins_at_once(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 100);
	add(&f, 2, 120);
	add(&f, 3, 190);
	look(&f);
	assert_false(runs(&f, 2));
	/* There must be room to spare. */
	f.seen[2].footprint = 96;
	assert_false(look(&f));
	f.seen[2].footprint = 93;
	assert_true(look(&f));
	assert_true(runs(&f, 2));
	/* It had not the whole turn: it keeps its own. */
	next_turn(&f);
	assert_int_equal(runner(&f), 2);
}

static void capacity_may_come_and_go(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 100);
	add(&f, 2, 90);
	add(&f, 3, 190);
	look(&f);
	f.capacity = 0;
	assert_true(look(&f));
	assert_true(runs(&f, 1) && !runs(&f, 2) && !runs(&f, 3));
	f.capacity = UINT64_MAX;
	assert_true(look(&f));
	assert_true(turns_over(&f.t));
	f.capacity = 0;
	assert_false(look(&f));
	assert_true(turns_over(&f.t));
}

/* Of two that fit without room to spare both run, though it is not over yet. */
static void where_nobody_waits_nobody_needs_to_give_a_turn_away(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 100);
	add(&f, 2, 90);
	add(&f, 3, 190);
	f.seen[1].cpu_usec = 1000000;
	look(&f);
	f.seen[2].footprint = f.seen[2].resident = 98;
	look(&f);
	assert_true(turns_remove(&f.t, 3));
	look(&f);
	assert_true(runs(&f, 1) && runs(&f, 2));
	run_for(&f, 4 * S);
	assert_false(turns_over(&f.t));
	assert_int_equal(runner(&f), 1);
	assert_int_equal(turns_next_in_line(&f.t)->key, 2);
	run_for(&f, S);
	assert_int_equal(runner(&f), 2);
	assert_true(runs(&f, 1) && runs(&f, 2));
}

static void who_comes_after_it_is_over_begins_it_anew(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 2, 90);
	add(&f, 3, 90);
	look(&f);
	assert_true(turns_over(&f.t));
	add(&f, 1, 150);
	assert_true(look(&f));
	assert_false(turns_over(&f.t));
	/* The oldest first. */
	assert_int_equal(runner(&f), 1);
	assert_false(runs(&f, 2) || runs(&f, 3));
}

/* --- odd input ---------------------------------------------------------------------------------
 */

static void odd_clocks_and_counters_do_no_harm(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 150);
	add(&f, 2, 150);
	f.seen[1].swapin = f.seen[1].cpu_usec = 1000000;
	look(&f);
	assert_false(look(&f));
	f.seen[1].swapin += 500000;
	assert_false(look(&f));
	f.now -= 50 * S;
	assert_false(look(&f));
	assert_true(f.t.now_ns == 100 * S);
	assert_true(turns_until_ns(&f.t) == 105 * S);
	f.now += 51 * S;
	f.seen[1].swapin = f.seen[1].cpu_usec = 1000;
	assert_false(look(&f));
	assert_true(f.t.turn_ns == SLICE);
	assert_int_equal(runner(&f), 1);
	f.seen[1].cpu_usec += 100000;
	run_for(&f, S);
	f.seen[1].cpu_usec += 100000;
	run_for(&f, S);
	assert_int_equal(runner(&f), 1);
	/* What it does while the clock is behind is done now. */
	f.now -= 50 * S;
	f.seen[1].cpu_usec += 100000;
	look(&f);
	f.now += 50 * S + 200 * MS;
	look(&f);
	assert_int_equal(runner(&f), 1);
	/* A machine that slept: the turn is over, once. */
	f.now += 3600 * S;
	assert_true(look(&f));
	assert_int_equal(runner(&f), 2);
	assert_int_equal(f.t.turns, 2);
}

static void huge_numbers_do_not_overflow(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	f.now = UINT64_MAX - 7 * S;
	f.t.slice_ns = UINT64_MAX;
	f.capacity = UINT64_MAX;
	for (uint64_t key = 1; key <= 3; key++)
		add(&f, key, UINT64_MAX - key);
	look(&f);
	assert_false(turns_over(&f.t));
	assert_true(runs(&f, 1) && !runs(&f, 2) && !runs(&f, 3));
	assert_true(turns_until_ns(&f.t) == UINT64_MAX);
	assert_true(turns_longest_wait_ns(&f.t) == UINT64_MAX);
	assert_true(turns_runs_by_ns(&f.t, turns_find(&f.t, 3)) == UINT64_MAX);
	f.seen[1].swapin = UINT64_MAX;
	f.now += S;
	look(&f);
	f.t.slice_ns = 5 * S;
	f.now = UINT64_MAX;
	look(&f);
	assert_int_equal(runner(&f), 1);
	assert_true(f.t.turn_ns == 16 * S);
	f.t.slice_ns = S / 2;
	look(&f);
	assert_int_equal(runner(&f), 2);
	f.seen[1] = f.seen[2] = f.seen[3] = (struct seen){ 0 };
	look(&f);
	assert_true(turns_over(&f.t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_oldest_runs_first_then_all_in_turn),
		cmocka_unit_test(who_comes_joins_at_the_end),
		cmocka_unit_test(the_next_turn_begins_in_the_step_in_which_its_runner_is_gone),
		cmocka_unit_test(there_is_room_for_so_many),
		cmocka_unit_test(what_is_told_adds_up),
		cmocka_unit_test(those_that_fit_run_beside_in_the_order_of_the_line),
		cmocka_unit_test(beside_who_is_too_large_nobody_is_small),
		cmocka_unit_test(who_grows_too_large_to_run_beside_waits_until_the_next_turn),
		cmocka_unit_test(who_has_become_small_enough_joins_at_once),
		cmocka_unit_test(capacity_may_come_and_go),
		cmocka_unit_test(where_nobody_waits_nobody_needs_to_give_a_turn_away),
		cmocka_unit_test(who_comes_after_it_is_over_begins_it_anew),
		cmocka_unit_test(odd_clocks_and_counters_do_no_harm),
		cmocka_unit_test(huge_numbers_do_not_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
