// SPDX-License-Identifier: GPL-2.0-or-later
/* How long a turn is, what a member needs, and when it is over: rule by rule. */
#include "turns_fixture.h"

/* --- the length of a turn ----------------------------------------------------------------------
 */

static void a_long_refill_makes_turns_long(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 150);
	add(&f, 2, 150);
	look(&f);
	f.seen[1].pages_per_s = 30000;
	run_for(&f, S);
	f.seen[2].pages_per_s = 50;
	/* A disk that stops for a moment has not done yet. */
	f.seen[1].pages_per_s = 0;
	run_for(&f, 400 * MS);
	f.seen[1].pages_per_s = 25000;
	run_for(&f, 600 * MS);
	/* A twelfth of what it was. */
	f.seen[1].pages_per_s = 2500;
	run_for(&f, S);
	assert_true(f.t.turn_ns == 16 * 2 * S);
	/* Once it was over for a while, it is over. */
	run_for(&f, 2200 * MS);
	f.seen[1].pages_per_s = 30000;
	run_for(&f, S);
	f.seen[1].pages_per_s = 50;
	assert_true(f.t.turn_ns == 16 * 2 * S);
	next_turn(&f);
	assert_true(f.now == 132 * S);
	/* All get as long turns, also who needs no refill. */
	assert_int_equal(runner(&f), 2);
	next_turn(&f);
	assert_true(f.now == 164 * S);
	/* It falls slowly. */
	next_turn(&f);
	assert_true(f.now == 196 * S);
	assert_true(f.t.turn_ns == 24 * S);
	for (int i = 0; i < 20; i++)
		next_turn(&f);
	assert_true(f.t.turn_ns == SLICE);
}

static void a_disk_that_stops_for_longer_has_not_done_either(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 150);
	add(&f, 2, 150);
	look(&f);
	f.seen[1].pages_per_s = 7000;
	run_for(&f, S);
	f.seen[1].pages_per_s = 0;
	run_for(&f, 2500 * MS);
	assert_true(f.t.turn_ns == 16 * S);
	f.seen[1].pages_per_s = 6000;
	run_for(&f, 500 * MS);
	/* It has stopped again, or is over. */
	f.seen[1].pages_per_s = 0;
	run_for(&f, 4 * S);
	assert_true(f.t.turn_ns == 60 * S);
	f.seen[1].pages_per_s = 6000;
	run_for(&f, S);
	next_turn(&f);
	assert_true(f.t.members[1].refill_ns == 4 * S);
}

static void a_refill_that_never_ends_makes_the_longest_turn(void **state)
{
	const struct {
		uint64_t slice, longest;
	} cases[] = { { 5 * S, 60 * S }, { S, 12 * S }, { 20 * S, 60 * S }, { 90 * S, 90 * S } };
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		begin(&f);
		f.t.slice_ns = cases[i].slice;
		add(&f, 1, 300);
		add(&f, 2, 150);
		f.seen[1].pages_per_s = 30000;
		look(&f);
		next_turn(&f);
		assert_true(f.now == 100 * S + cases[i].longest);
		assert_int_equal(runner(&f), 2);
		/* It goes as it came. */
		turns_remove(&f.t, 1);
		add(&f, 3, 150);
		look(&f);
		assert_true(f.t.turn_ns == cases[i].slice);
	}
}

static void a_few_pages_now_and_then_are_no_refill(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 150);
	add(&f, 2, 150);
	f.seen[1].pages_per_s = 90;
	look(&f);
	next_turn(&f);
	assert_true(f.now == 105 * S);
	f.seen[2].pages_per_s = 200;
	next_turn(&f);
	assert_true(f.now == 165 * S);
}

/* Nor what was before it was first seen, or before its turn. */
static void a_refill_is_what_was_read_in_its_turn(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 100);
	add(&f, 2, 120);
	add(&f, 3, 190);
	f.seen[1].swapin = 1000000000;
	turns_step(&f.t, f.now, CAP);
	assert_int_equal(runner(&f), 1);
	f.now += S;
	look(&f);
	run_for(&f, 2 * S);
	assert_true(f.t.turn_ns == SLICE);
	f.seen[2].footprint = 90;
	f.seen[2].pages_per_s = 30000;
	look(&f);
	assert_true(runs(&f, 2));
	next_turn(&f);
	assert_true(f.now == 105 * S);
	assert_int_equal(runner(&f), 2);
	f.seen[2].pages_per_s = 0;
	next_turn(&f);
	assert_true(f.now == 110 * S);
}

static void who_does_nothing_gives_its_turn_away(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	for (uint64_t key = 1; key <= 4; key++)
		add(&f, key, 150);
	/* 1: its CPU time is not known; 2 sleeps; 3 waits for its pages; 4 works a little. */
	f.seen[2].cpu_usec = f.seen[3].cpu_usec = f.seen[4].cpu_usec = 1000000;
	look(&f);
	next_turn(&f);
	assert_true(f.now == 105 * S);
	assert_int_equal(runner(&f), 2);
	next_turn(&f);
	assert_true(f.now == 106 * S);
	assert_int_equal(runner(&f), 3);
	f.seen[3].pages_per_s = 50;
	next_turn(&f);
	assert_true(f.now == 111 * S);
	assert_int_equal(runner(&f), 4);
	for (int i = 0; i < 9; i++) {
		f.seen[4].cpu_usec += 15000;
		run_for(&f, 500 * MS);
	}
	assert_int_equal(runner(&f), 4);
	run_for(&f, 500 * MS);
	assert_int_equal(runner(&f), 1);
}

static void who_waits_for_a_busy_disk_keeps_its_turn(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 150);
	add(&f, 2, 150);
	f.seen[1].cpu_usec = f.seen[2].cpu_usec = 1000000;
	f.seen[1].pages_per_s = 1000;
	look(&f);
	run_for(&f, 1 * S);
	assert_int_equal(runner(&f), 1);
	/* In the middle of its refill the disk does nothing for it, and so it does nothing. */
	f.seen[1].pages_per_s = 0;
	f.seen[2].pages_per_s = 50;
	run_for(&f, 2 * S);
	assert_int_equal(runner(&f), 1);
	run_for(&f, 2 * S);
	assert_int_equal(runner(&f), 2);
}

/* --- working sets ------------------------------------------------------------------------------
 */

static void a_turn_tells_what_is_needed(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 150);
	add(&f, 2, 150);
	look(&f);
	f.seen[1].pages_per_s = f.seen[2].pages_per_s = 20;
	f.seen[1].resident = 120;
	run_for(&f, 3 * S);
	assert_int_equal(working_set(&f, 1), 150);
	next_turn(&f);
	assert_int_equal(working_set(&f, 1), 120);
	/* What others make of it while it waits tells nothing. */
	f.seen[1].resident = 10;
	run_for(&f, S);
	assert_int_equal(working_set(&f, 1), 120);
	f.seen[1].resident = 150;
	run_for(&f, S);
	assert_int_equal(working_set(&f, 1), 120);
	f.seen[1].resident = 10;
	/* What is added is needed, also when it is out already. */
	f.seen[1].footprint = 160;
	look(&f);
	assert_int_equal(working_set(&f, 1), 130);
	f.seen[1].footprint = 150;
	look(&f);
	assert_int_equal(working_set(&f, 1), 120);
	next_turn(&f);
	assert_int_equal(runner(&f), 1);
	run_for(&f, S);
	assert_int_equal(working_set(&f, 1), 120);
	f.seen[1].resident = 140;
	look(&f);
	assert_int_equal(working_set(&f, 1), 140);
	f.seen[1].resident = 170;
	look(&f);
	assert_int_equal(working_set(&f, 1), 150);
	f.seen[1].footprint = 60;
	look(&f);
	assert_int_equal(working_set(&f, 1), 60);
}

static void who_has_not_got_all_it_needs_tells_nothing(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	f.t.slice_ns = S;
	add(&f, 1, 190);
	add(&f, 2, 190);
	look(&f);
	f.seen[1].resident = 30;
	f.seen[1].pages_per_s = 1000;
	/* It has hardly stopped. */
	run_for(&f, 11800 * MS);
	f.seen[1].pages_per_s = 20;
	next_turn(&f);
	assert_true(f.now == 112 * S);
	assert_int_equal(working_set(&f, 1), 190);
	assert_false(runs(&f, 1));
	f.seen[2].pages_per_s = 20;
	next_turn(&f);
	next_turn(&f);
	assert_int_equal(working_set(&f, 1), 30);
	/* Later it needs more: it is not believed any more. */
	next_turn(&f);
	assert_int_equal(runner(&f), 1);
	run_for(&f, 2 * S);
	f.seen[1].pages_per_s = 1000;
	next_turn(&f);
	assert_int_equal(working_set(&f, 1), 190);
}

static void a_turn_cut_short_tells_nothing(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 100);
	add(&f, 2, 90);
	add(&f, 3, 190);
	for (uint64_t key = 1; key <= 3; key++)
		f.seen[key].pages_per_s = 50;
	look(&f);
	f.seen[1].resident = 60;
	next_turn(&f);
	assert_int_equal(working_set(&f, 1), 60);
	next_turn(&f);
	assert_int_equal(runner(&f), 2);
	assert_true(runs(&f, 1));
	f.seen[1].pages_per_s = 30000;
	f.seen[1].resident = 20;
	run_for(&f, 400 * MS);
	assert_true(turns_remove(&f.t, 2));
	look(&f);
	assert_int_equal(runner(&f), 3);
	assert_int_equal(working_set(&f, 1), 60);
}

static void one_that_sleeps_tells_nothing_of_what_it_needs(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 190);
	add(&f, 2, 190);
	f.seen[1].cpu_usec = 1;
	look(&f);
	f.seen[1].resident = 30;
	next_turn(&f);
	assert_true(f.now == 101 * S);
	assert_int_equal(working_set(&f, 1), 190);
}

static void reading_much_is_not_reading_nothing(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	f.t.slice_ns = S;
	add(&f, 1, 150);
	add(&f, 2, 150);
	f.seen[1].pages_per_s = 0;
	f.seen[2].pages_per_s = 90;
	look(&f);
	for (int i = 0; i < 4; i++)
		next_turn(&f);
	/* Once nothing, then without end; while the other comes to need nothing. */
	assert_int_equal(runner(&f), 1);
	f.seen[1].pages_per_s = 1000;
	next_turn(&f);
	f.seen[2].pages_per_s = 0;
	next_turn(&f);
	assert_int_equal(runner(&f), 1);
	assert_false(turns_over(&f.t));
}

static void it_is_over_when_all_fit_with_room_to_spare(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 100);
	add(&f, 2, 100);
	look(&f);
	f.seen[2].footprint = 96;
	assert_false(look(&f));
	assert_false(turns_over(&f.t));
	f.seen[2].footprint = 94;
	assert_true(look(&f));
	assert_true(turns_over(&f.t));
	assert_true(runs(&f, 1) && runs(&f, 2));
	assert_null(turns_runner(&f.t));
	assert_true(turns_next_ns(&f.t) == UINT64_MAX);
	/* Only a new thrash begins anew; a number does not. */
	f.seen[2].footprint = 150;
	f.now += S;
	assert_false(look(&f));
	turns_thrashes_again(&f.t, f.now);
	assert_true(look(&f));
	assert_int_equal(f.t.doubts, 0);
	assert_int_equal(runner(&f), 1);
	assert_false(runs(&f, 2));
}

static void reading_nothing_for_a_rotation_is_fitting(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 150);
	add(&f, 2, 150);
	f.seen[1].pages_per_s = f.seen[2].pages_per_s = 50;
	look(&f);
	for (int i = 0; i < 10; i++)
		next_turn(&f);
	assert_false(turns_over(&f.t));
	/* Read back in for it by somebody else, while it waits. */
	f.seen[1].pages_per_s = f.seen[2].pages_per_s = 0;
	for (int i = 0; i < 10; i++) {
		f.seen[3 - runner(&f)].swapin += 1000;
		next_turn(&f);
	}
	assert_false(turns_over(&f.t));
	/* A page here and there is nothing. */
	for (int i = 0; i < 4; i++) {
		f.seen[runner(&f)].swapin += 10;
		next_turn(&f);
	}
	assert_true(turns_over(&f.t));
}

static void estimates_that_were_refuted_are_not_believed_for_a_while(void **state)
{
	const uint64_t minutes[] = { 1, 4, 16, 60, 60 };
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 150);
	add(&f, 2, 150);
	f.seen[1].resident = f.seen[2].resident = 80;
	f.seen[1].pages_per_s = f.seen[2].pages_per_s = 50;
	look(&f);
	for (size_t i = 0; i < sizeof(minutes) / sizeof(*minutes); i++) {
		uint64_t began;

		while (!turns_over(&f.t))
			next_turn(&f);
		turns_thrashes_again(&f.t, f.now);
		assert_int_equal(f.t.doubts, i + 1);
		/* While it is not over, it is not again. */
		turns_thrashes_again(&f.t, f.now);
		assert_int_equal(f.t.doubts, i + 1);
		look(&f);
		assert_int_equal(runner(&f), 1);
		assert_int_equal(working_set(&f, 1), 150);
		began = f.now;
		while (!turns_over(&f.t))
			next_turn(&f);
		assert_true(f.now - began >= minutes[i] * 60 * S);
		assert_true(f.now - began <= minutes[i] * 60 * S + 2 * SLICE);
	}
}

static void nothing_is_refuted_before_it_is_over(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 150);
	add(&f, 2, 150);
	look(&f);
	f.seen[1].footprint = 20;
	see(&f, 1);
	turns_thrashes_again(&f.t, f.now);
	assert_int_equal(f.t.doubts, 0);
	look(&f);
	assert_true(turns_over(&f.t));
}

static void when_even_footprints_fit_the_capacity_is_not_believed(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	add(&f, 1, 90);
	add(&f, 2, 90);
	add(&f, 3, 10);
	look(&f);
	assert_true(turns_over(&f.t));
	turns_thrashes_again(&f.t, f.now);
	assert_true(look(&f));
	assert_false(turns_over(&f.t));
	assert_true(runs(&f, 1) && runs(&f, 3));
	assert_false(runs(&f, 2));
	run_for(&f, 59 * S);
	assert_false(turns_over(&f.t));
	run_for(&f, 2 * S);
	assert_true(turns_over(&f.t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_long_refill_makes_turns_long),
		cmocka_unit_test(a_disk_that_stops_for_longer_has_not_done_either),
		cmocka_unit_test(a_refill_that_never_ends_makes_the_longest_turn),
		cmocka_unit_test(a_few_pages_now_and_then_are_no_refill),
		cmocka_unit_test(a_refill_is_what_was_read_in_its_turn),
		cmocka_unit_test(who_does_nothing_gives_its_turn_away),
		cmocka_unit_test(who_waits_for_a_busy_disk_keeps_its_turn),
		cmocka_unit_test(a_turn_tells_what_is_needed),
		cmocka_unit_test(who_has_not_got_all_it_needs_tells_nothing),
		cmocka_unit_test(a_turn_cut_short_tells_nothing),
		cmocka_unit_test(one_that_sleeps_tells_nothing_of_what_it_needs),
		cmocka_unit_test(reading_much_is_not_reading_nothing),
		cmocka_unit_test(it_is_over_when_all_fit_with_room_to_spare),
		cmocka_unit_test(reading_nothing_for_a_rotation_is_fitting),
		cmocka_unit_test(estimates_that_were_refuted_are_not_believed_for_a_while),
		cmocka_unit_test(nothing_is_refuted_before_it_is_over),
		cmocka_unit_test(when_even_footprints_fit_the_capacity_is_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
