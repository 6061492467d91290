// SPDX-License-Identifier: GPL-2.0-or-later
/* Turns in a simulated memory: how much gets done, who waits, and when it is over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "turns_world.h"

#define S NSEC_PER_SEC

/* How long it takes to read 150 MiB back in, measured: 0.6 to 1.5 s. */
static const double refills[] = { 0.6, 1.0, 1.5 };
#define N_REFILLS (sizeof(refills) / sizeof(*refills))

/* The share of the time in which something gets done, of n of 150 MiB in 200. */
static double useful_share(unsigned int n, double refill_s, bool without_turns)
{
	uint64_t duration_ns = 400 * S;
	double least = 1e300, most = 0;
	struct world w;

	world_init(&w, 200, refill_s, 5 * S);
	w.without_turns = without_turns;
	for (unsigned int i = 0; i < n; i++)
		world_add(&w, i + 1, 150, 0);
	world_run(&w, duration_ns);
	for (unsigned int i = 0; i < n; i++) {
		const struct world_member *m = &w.members[i];

		least = m->useful_ns < least ? m->useful_ns : least;
		most = m->useful_ns > most ? m->useful_ns : most;
		assert_true(without_turns ||
			    m->longest_wait_ns <= (n - 1) * (w.longest_turn_ns + 200000000));
	}
	/* Nobody gets more than one turn more than another. */
	assert_true(without_turns || most - least <= (double)w.longest_turn_ns * 1.05);
	return world_useful_ns(&w) / (double)duration_ns;
}

static void two_get_as_much_done_as_one_alone(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_REFILLS; i++) {
		double with = useful_share(2, refills[i], false);

		print_message("2 of 150 MiB in 200, refill %.1f s: %.3f\n", refills[i], with);
		assert_true(with >= 0.9);
		assert_true(useful_share(2, refills[i], true) < 0.05);
	}
}

static void so_do_three_and_five(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_REFILLS; i++) {
		double three = useful_share(3, refills[i], false);
		double five = useful_share(5, refills[i], false);

		print_message("3, 5, refill %.1f s: %.3f, %.3f\n", refills[i], three, five);
		assert_true(three >= 0.75);
		assert_true(five >= 0.75);
		assert_true(useful_share(3, refills[i], true) < 0.05);
	}
}

/* As in the whole-machine figure; but here the probe is a member, too. */
static void who_fits_beside_everyone_never_waits(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, 420, 1.0, 5 * S);
	world_add(&w, 1, 280, 0);
	world_add(&w, 2, 280, 0);
	world_add(&w, 3, 40, 0);
	world_run(&w, 300 * S);
	assert_int_equal(world_find(&w, 3)->waits, 0);
	assert_true(world_find(&w, 3)->useful_ns > 0.95 * 300 * S);
	assert_true(world_find(&w, 1)->waits > 5);
	assert_true(world_find(&w, 2)->waits > 5);
	assert_true(world_find(&w, 1)->useful_ns + world_find(&w, 2)->useful_ns > 0.9 * 300 * S);
}

/* One that fits beside some takes its turn with them, and the third has half of the time. */
static void two_that_fit_share_a_turn(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, 200, 1.0, 5 * S);
	world_add(&w, 1, 90, 0);
	world_add(&w, 2, 90, 0);
	world_add(&w, 3, 150, 0);
	world_run(&w, 300 * S);
	for (uint64_t key = 1; key <= 3; key++) {
		assert_true(world_find(&w, key)->useful_ns > 0.4 * 300 * S);
		assert_true(world_find(&w, key)->longest_wait_ns <=
			    w.longest_turn_ns + 200 * NSEC_PER_MSEC);
	}
}

static void when_one_shrinks_so_that_all_fit_it_is_over_at_once(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, 200, 1.0, 5 * S);
	world_add(&w, 1, 150, 0);
	world_add(&w, 2, 150, 0);
	world_run(&w, 60 * S);
	assert_false(turns_over(&w.turns));
	world_find(&w, 1)->needed = (double)MIB_PAGES(40);
	if (world_find(&w, 1)->needed_in > (double)MIB_PAGES(40))
		world_find(&w, 1)->needed_in = (double)MIB_PAGES(40);
	world_run(&w, S / 2);
	assert_true(turns_over(&w.turns));
	world_run(&w, 60 * S);
	assert_true(turns_over(&w.turns));
	assert_int_equal(w.times_over, 1);
	assert_false(world_thrashes(&w));
	assert_true(world_find(&w, 1)->runs && world_find(&w, 2)->runs);
}

/* Footprints of 190 and 190 in 200, of which 80 each are used. */
static void stale_pages_are_found_out(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, 200, 1.0, 5 * S);
	world_add(&w, 1, 80, 110);
	world_add(&w, 2, 80, 110);
	world_run(&w, 1);
	assert_false(turns_over(&w.turns));
	world_run(&w, 60 * S);
	assert_true(turns_over(&w.turns));
	world_run(&w, 60 * S);
	assert_int_equal(w.times_over, 1);
	assert_false(world_thrashes(&w));
}

/* Stale pages that nothing pushes out keep the estimates high; but nobody reads anything in. */
static void it_is_over_when_nobody_reads_anything_in(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, 200, 1.0, 5 * S);
	world_add(&w, 1, 90, 60);
	world_add(&w, 2, 90, 60);
	for (int i = 0; i < 2; i++) {
		w.members[i].needed_in = (double)MIB_PAGES(90);
		w.members[i].stale_in = (double)MIB_PAGES(10);
	}
	world_run(&w, 60 * S);
	assert_true(turns_over(&w.turns));
	assert_int_equal(w.times_over, 1);
}

static void who_is_larger_than_the_capacity_runs_alone(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, 200, 1.0, 5 * S);
	world_add(&w, 1, 300, 0);
	world_add(&w, 2, 100, 0);
	world_add(&w, 3, 30, 0);
	world_run(&w, 600 * S);
	assert_false(turns_over(&w.turns));
	/* It never has all that it needs: the longest turns there are. */
	assert_true(w.longest_turn_ns == 60 * S);
	assert_true(world_find(&w, 2)->useful_ns > 0.4 * 600 * S);
	assert_true(world_find(&w, 3)->useful_ns > 0.4 * 600 * S);
	/* But nobody waits for it for longer than one turn of it. */
	assert_true(world_find(&w, 2)->longest_wait_ns <= 60 * S + 200 * NSEC_PER_MSEC);
	assert_true(world_find(&w, 3)->longest_wait_ns <= 60 * S + 200 * NSEC_PER_MSEC);
}

static void one_that_sleeps_does_not_waste_the_time_of_others(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, 200, 1.0, 5 * S);
	world_add(&w, 1, 150, 0);
	world_add(&w, 2, 150, 0);
	world_add(&w, 3, 150, 0);
	world_find(&w, 3)->sleeps = true;
	world_run(&w, 300 * S);
	assert_false(turns_over(&w.turns));
	assert_true(world_useful_ns(&w) > 0.85 * 300 * S);
	world_find(&w, 2)->sleeps = true;
	/* One alone is awake: it needs no turns. */
	world_run(&w, 300 * S);
	assert_true(turns_over(&w.turns));
	assert_true(world_find(&w, 1)->runs);
}

static void who_ends_leaves_its_turn_to_the_next(void **state)
{
	struct world w;
	uint64_t key;

	(void)state;
	world_init(&w, 200, 1.0, 5 * S);
	for (uint64_t k = 1; k <= 3; k++)
		world_add(&w, k, 150, 0);
	world_run(&w, 21 * S);
	key = turns_runner(&w.turns)->key;
	world_end(&w, key);
	world_run(&w, 1);
	assert_true(turns_runner(&w.turns)->key != key);
	assert_true(w.turns.turn_began_ns >= w.now_ns - 200 * NSEC_PER_MSEC);
	world_run(&w, 100 * S);
	assert_true(world_useful_ns(&w) > 0.9 * 100 * S);
	world_end(&w, w.turns.members[1].key);
	world_run(&w, S);
	assert_true(turns_over(&w.turns));
	assert_true(w.members[0].runs);
}

/* After it is over one of them begins to need more again and again: it must not flap for ever. */
static void who_thrashes_again_and_again_is_believed_less_and_less(void **state)
{
	unsigned int again = 0;
	struct world w;

	(void)state;
	world_init(&w, 200, 1.0, 5 * S);
	world_add(&w, 1, 80, 110);
	world_add(&w, 2, 80, 110);
	for (unsigned int i = 0; i < 3600; i++) {
		world_run(&w, S);
		if (!turns_over(&w.turns)) {
			/* Alone it is content with little. */
			for (int k = 0; k < 2; k++)
				if (w.members[k].needed > (double)MIB_PAGES(80)) {
					w.members[k].needed -= (double)MIB_PAGES(70);
					w.members[k].stale += (double)MIB_PAGES(70);
					w.members[k].stale_in = w.members[k].needed_in;
					w.members[k].needed_in = 0;
				}
			continue;
		}
		for (int k = 0; k < 2; k++)
			if (w.members[k].needed < (double)MIB_PAGES(150)) {
				w.members[k].needed += (double)MIB_PAGES(70);
				w.members[k].stale -= (double)MIB_PAGES(70);
				w.members[k].stale_in = 0;
			}
		if (!world_thrashes(&w))
			continue;
		turns_thrashes_again(&w.turns, w.now_ns);
		again++;
	}
	print_message("thrashed again %u times in an hour\n", again);
	assert_in_range(again, 2, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_get_as_much_done_as_one_alone),
		cmocka_unit_test(so_do_three_and_five),
		cmocka_unit_test(who_fits_beside_everyone_never_waits),
		cmocka_unit_test(two_that_fit_share_a_turn),
		cmocka_unit_test(when_one_shrinks_so_that_all_fit_it_is_over_at_once),
		cmocka_unit_test(stale_pages_are_found_out),
		cmocka_unit_test(it_is_over_when_nobody_reads_anything_in),
		cmocka_unit_test(who_is_larger_than_the_capacity_runs_alone),
		cmocka_unit_test(one_that_sleeps_does_not_waste_the_time_of_others),
		cmocka_unit_test(who_ends_leaves_its_turn_to_the_next),
		cmocka_unit_test(who_thrashes_again_and_again_is_believed_less_and_less),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
