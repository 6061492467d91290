// SPDX-License-Identifier: GPL-2.0-or-later
/* Waits for a CPU: sorted by length, their 95th percentile, and the window over three sums. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "culprit/delay_waits.h"
#include "sense/delay.h"

#define US    1000ULL
#define MS    1000000ULL
#define SLOT  (125 * MS) /* of a window of 2 s */
#define START (1000000 * MS)

static void every_wait_lies_between_the_ends_of_its_step(void **state)
{
	uint64_t ns = 0;

	(void)state;
	while (ns < 17000 * MS) {
		uint32_t step = delay_step(ns);

		assert_in_range(step, 0, CULPRIT_DELAY_STEPS - 1);
		assert_true(delay_step_ns(step) <= ns);
		assert_true(ns < delay_step_ns(step + 1));
		ns += ns / 97 + 13;
	}
	assert_int_equal(delay_step(20000 * MS), CULPRIT_DELAY_STEPS - 1);
	assert_int_equal(delay_step(UINT64_MAX), CULPRIT_DELAY_STEPS - 1);
}

static void no_step_is_wider_than_three_percent(void **state)
{
	(void)state;
	for (uint32_t step = 0; step < CULPRIT_DELAY_STEPS; step++) {
		uint64_t low = delay_step_ns(step), width = delay_step_ns(step + 1) - low;

		assert_true(width <= 1100 || width * 1000 <= low * 32);
	}
}

static int compare(const void *x, const void *y)
{
	uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

	return (a > b) - (a < b);
}

/* Against the definition: the nearest rank of the sorted waits. */
static void the_percentile_is_the_nearest_ranks(void **state)
{
	static uint64_t waits[1000];

	(void)state;
	srand(1);
	for (unsigned int n = 1; n <= 1000; n += n < 50 ? 1 : 37) {
		uint32_t counts[CULPRIT_DELAY_STEPS] = { 0 };
		uint64_t p95, is;

		for (unsigned int i = 0; i < n; i++) {
			waits[i] = (uint64_t)(rand() % 1000) * (uint64_t)(rand() % 20) * US;
			counts[delay_step(waits[i])]++;
		}
		qsort(waits, n, sizeof(waits[0]), compare);
		p95 = waits[n - n / 20 - 1];
		is = delay_p95_ns(counts);
		assert_true(is <= p95 + p95 / 30 + 1100);
		assert_true(is + is / 30 + 1100 >= p95);
	}
}

static void of_no_wait_the_percentile_is_zero(void **state)
{
	const uint32_t counts[CULPRIT_DELAY_STEPS] = { 0 };

	(void)state;
	assert_int_equal(delay_p95_ns(counts), 0);
}

/* That the percentile has reached a limit is told by two counters, without sorting anything. */
static void more_than_one_in_twenty_is_what_reaches_it(void **state)
{
	(void)state;
	for (unsigned int n = 1; n <= 300; n++) {
		for (unsigned int late = 0; late <= n; late++) {
			uint32_t counts[CULPRIT_DELAY_STEPS] = { 0 };
			bool reaches;

			counts[delay_step(1 * MS)] = n - late;
			counts[delay_step(9 * MS)] += late;
			reaches = delay_p95_ns(counts) > 5 * MS;
			assert_int_equal(reaches, late * CULPRIT_DELAY_ONE_IN > n);
		}
	}
}

static void each_sum_of_a_window_is_its_own(void **state)
{
	struct culprit_delay_budget b = { 0 };
	__u64 *woken = &b.sums[CULPRIT_DELAY_WOKEN], *late = &b.sums[CULPRIT_DELAY_LATE];

	(void)state;
	for (unsigned int i = 0; i < 64; i++) {
		uint64_t now = START + i * SLOT;

		window_roll(&b.epoch, b.sums, b.begins, CULPRIT_DELAY_SUMS, SLOT, now);
		*woken += 10;
		*late += i % 2;
	}
	assert_int_equal(window_sum(&b.epoch, woken, &b.begins[CULPRIT_DELAY_WOKEN], SLOT,
				    START + 63 * SLOT),
			 160);
	assert_int_equal(
		window_sum(&b.epoch, late, &b.begins[CULPRIT_DELAY_LATE], SLOT, START + 63 * SLOT),
		8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_wait_lies_between_the_ends_of_its_step),
		cmocka_unit_test(no_step_is_wider_than_three_percent),
		cmocka_unit_test(the_percentile_is_the_nearest_ranks),
		cmocka_unit_test(of_no_wait_the_percentile_is_zero),
		cmocka_unit_test(more_than_one_in_twenty_is_what_reaches_it),
		cmocka_unit_test(each_sum_of_a_window_is_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
