// SPDX-License-Identifier: GPL-2.0-or-later
/* The sliding window of CPU budgets, which the kernel's programs and the polling rung share. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "culprit/cpu_window.h"

#define MS    1000000ULL
#define SLOT  (125 * MS) /* of a window of 2 s */
#define START (1000000 * MS)

static void add(struct culprit_cpu_budget *budget, uint64_t now_ns, uint64_t ns)
{
	cpu_window_roll(budget, SLOT, now_ns);
	budget->total_ns += ns;
}

static void what_was_added_is_in_the_window(void **state)
{
	struct culprit_cpu_budget budget = { 0 };

	(void)state;
	add(&budget, START, 30 * MS);
	add(&budget, START + 1000 * MS, 20 * MS);
	assert_int_equal(cpu_window_sum(&budget, SLOT, START + 1000 * MS), 50 * MS);
}

static void what_is_older_than_the_window_is_not(void **state)
{
	struct culprit_cpu_budget budget = { 0 };

	(void)state;
	add(&budget, START, 30 * MS);
	add(&budget, START + 1000 * MS, 20 * MS);
	assert_int_equal(cpu_window_sum(&budget, SLOT, START + 2000 * MS), 20 * MS);
	assert_int_equal(cpu_window_sum(&budget, SLOT, START + 3000 * MS), 0);
	add(&budget, START + 60000 * MS, 7 * MS);
	assert_int_equal(cpu_window_sum(&budget, SLOT, START + 60000 * MS), 7 * MS);
}

/* The case that a tumbling window misses: it may cut the burst in two. */
static void a_burst_is_seen_whole_wherever_it_falls(void **state)
{
	(void)state;
	for (uint64_t phase = 0; phase < 2000; phase += 7) {
		struct culprit_cpu_budget budget = { 0 };
		uint64_t most = 0;

		for (uint64_t t = 0; t < 250; t++) {
			uint64_t now = START + (phase + t) * MS, sum;

			add(&budget, now, MS);
			sum = cpu_window_sum(&budget, SLOT, now);
			most = sum > most ? sum : most;
		}
		assert_int_equal(most, 250 * MS);
	}
}

/* Two CPUs read the clock and come to the budget in the other order. */
static void a_late_cpu_does_not_wipe_the_window(void **state)
{
	struct culprit_cpu_budget budget = { 0 };

	(void)state;
	add(&budget, START, 10 * MS);
	add(&budget, START + SLOT, 10 * MS);
	add(&budget, START + SLOT - MS, 10 * MS);
	assert_int_equal(cpu_window_sum(&budget, SLOT, START + SLOT), 30 * MS);
	assert_int_equal(cpu_window_sum(&budget, SLOT, START + SLOT - MS), 30 * MS);
}

/* A reader is held up between the two numbers: another CPU adds, and opens the sub-window. */
static void a_total_older_than_the_window_is_no_time(void **state)
{
	struct culprit_cpu_budget budget = { 0 }, torn;

	(void)state;
	add(&budget, START, 30 * MS);
	torn = budget;
	for (uint64_t slot = 1; slot <= 2 * CULPRIT_CPU_SLOTS; slot++)
		add(&budget, START + slot * SLOT, 10 * MS);
	budget.total_ns = torn.total_ns;
	assert_int_equal(cpu_window_sum(&budget, SLOT, START + 2 * CULPRIT_CPU_SLOTS * SLOT), 0);
}

static void a_budget_set_back_begins_a_new_window(void **state)
{
	struct culprit_cpu_budget budget = { 0 };

	(void)state;
	add(&budget, START, 10 * MS);
	budget.epoch = 0; /* as cpu_set_budget() does */
	assert_int_equal(cpu_window_sum(&budget, SLOT, START), 0);
	add(&budget, START, 3 * MS);
	assert_int_equal(cpu_window_sum(&budget, SLOT, START), 3 * MS);
}

static void a_steady_load_reads_as_between_15_and_16_slots(void **state)
{
	struct culprit_cpu_budget budget = { 0 };

	(void)state;
	for (uint64_t t = 0; t < 10000; t++) {
		uint64_t now = START + t * MS, sum;

		add(&budget, now, MS);
		sum = cpu_window_sum(&budget, SLOT, now);
		if (t >= 2000)
			assert_in_range(sum, 15 * SLOT, 16 * SLOT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_added_is_in_the_window),
		cmocka_unit_test(what_is_older_than_the_window_is_not),
		cmocka_unit_test(a_burst_is_seen_whole_wherever_it_falls),
		cmocka_unit_test(a_late_cpu_does_not_wipe_the_window),
		cmocka_unit_test(a_total_older_than_the_window_is_no_time),
		cmocka_unit_test(a_budget_set_back_begins_a_new_window),
		cmocka_unit_test(a_steady_load_reads_as_between_15_and_16_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
