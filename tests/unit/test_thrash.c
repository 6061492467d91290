// SPDX-License-Identifier: GPL-2.0-or-later
/* Thrash is told from reading back, by the numbers that were measured. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "decide/thrash.h"
#include "lib/cleanup.h"

#define MIB 256 /* pages */
#define MS  1000000ULL

static const struct thrash_rule by_default = { .enter = 0.10,
					       .leave = 0.05,
					       .enter_is_default = true };
static const struct thrash_rule explicit = { .enter = 0.10, .leave = 0.05 };

/* One process: so many pages in, so many out, by which its own swap entries change. */
struct story {
	uint64_t in, out;
	int64_t entries;
	double stall;
	uint64_t ms; /* 0: 100 */
};

static struct thrash_verdict judge(const struct thrash_rule *rule, struct story s)
{
	struct culprit_process p0 = {
		.tgid = 10, .start_time_ns = 1, .anon_pages = 100 * MIB, .swap_pages = 50 * MIB
	};
	struct culprit_process p1 = p0;
	struct thrash_swapin i0 = { .tgid = 10, .start_time_ns = 1, .swapin_pages = 7000 };
	struct thrash_swapin i1 = i0;
	struct thrash_sample before = { .time_ns = 5000 * MS,
					.processes = &p0,
					.n_processes = 1,
					.swapins = &i0,
					.n_swapins = 1,
					.swapin_pages = 9000,
					.swapout_pages = 9000,
					.stall_usec = 400,
					.has_stall = true };
	struct thrash_sample now = before;
	struct thrash_verdict v;
	uint64_t ms = s.ms ? s.ms : 100;

	p1.swap_pages = (uint64_t)((int64_t)p0.swap_pages + s.entries);
	i1.swapin_pages += s.in;
	now.processes = &p1;
	now.swapins = &i1;
	now.time_ns += ms * MS;
	now.swapin_pages += s.in;
	now.swapout_pages += s.out;
	now.stall_usec += (uint64_t)(s.stall * (double)ms * 1000);
	now.has_stall = s.stall >= 0;
	thrash_judge(&before, &now, rule, &v);
	return v;
}

static void a_thrasher_is_confirmed(void **state)
{
	struct thrash_verdict v = judge(&by_default, (struct story){ 900, 900, 0, 0.15 });

	(void)state;
	assert_true(v.confirmed);
	assert_null(v.why_not);
	assert_int_equal(v.churn_pages, 900);
	assert_int_equal(v.swapin_pages, 900);
	assert_true(v.stall > 0.149 && v.stall < 0.151);
	assert_true(v.value > 0.149);
	assert_true(v.interval_ns == 100 * MS);
}

static void who_reads_its_pages_back_once_is_not(void **state)
{
	/* As many in, as many out, stalled for 5 %: only its own entries tell. */
	struct thrash_verdict v = judge(&by_default, (struct story){ 900, 900, -900, 0.05 });

	(void)state;
	assert_false(v.confirmed);
	assert_non_null(v.why_not);
	assert_int_equal(v.churn_pages, 0);
	/* Readahead brought in a third of others' pages. */
	v = judge(&by_default, (struct story){ 900, 900, -600, 0.30 });
	assert_false(v.confirmed);
	assert_int_equal(v.churn_pages, 0);
}

static void little_churn_is_none(void **state)
{
	(void)state;
	assert_false(judge(&by_default, (struct story){ 63, 900, 0, 0.5 }).confirmed);
	assert_true(judge(&by_default, (struct story){ 64, 900, 0, 0.5 }).confirmed);
}

static void a_slow_disk_needs_a_longer_look(void **state)
{
	struct thrash_verdict v = judge(&by_default, (struct story){ 40, 40, 0, 0.5, .ms = 200 });

	(void)state;
	/* 200 pages a second: thrash, if it is not the counters that lag. */
	assert_false(v.confirmed);
	assert_true(v.undecided);
	assert_true(v.value < by_default.enter);
	v = judge(&by_default, (struct story){ 80, 80, 0, 0.5, .ms = 400 });
	assert_true(v.confirmed);
	assert_false(v.undecided);
	/* Too slow to matter, or none at all: no longer look would tell more. */
	assert_false(judge(&by_default, (struct story){ 15, 15, 0, 0.5, .ms = 200 }).undecided);
	assert_false(judge(&by_default, (struct story){ 0, 0, 0, 0.5, .ms = 200 }).undecided);
	assert_false(judge(&by_default, (struct story){ 40, 40, -40, 0.5, .ms = 200 }).undecided);
	/* It comes to an end. */
	v = judge(&by_default, (struct story){ 63, 63, 0, 0.5, .ms = 640 });
	assert_false(v.confirmed);
	assert_false(v.undecided);
}

static void a_second_witness_is_asked(void **state)
{
	(void)state;
	/* Default: stall, or both ways. */
	assert_true(judge(&by_default, (struct story){ 900, 0, 0, 0.10 }).confirmed);
	assert_true(judge(&by_default, (struct story){ 900, 900, 0, 0.01 }).confirmed);
	assert_false(judge(&by_default, (struct story){ 900, 5, 0, 0.01 }).confirmed);
	/* A threshold that was set counts alone. */
	assert_false(judge(&explicit, (struct story){ 900, 900, 0, 0.09 }).confirmed);
	assert_true(judge(&explicit, (struct story){ 900, 900, 0, 0.10 }).confirmed);
	/* A kernel without pressure files. */
	assert_true(judge(&explicit, (struct story){ 900, 900, 0, -1 }).confirmed);
	assert_false(judge(&explicit, (struct story){ 900, 5, 0, -1 }).confirmed);
}

static void the_value_begins_nothing_unless_confirmed(void **state)
{
	struct thrash_verdict v;

	(void)state;
	v = judge(&by_default, (struct story){ 900, 900, 0, 0.01 });
	assert_true(v.value >= by_default.enter);
	v = judge(&by_default, (struct story){ 900, 900, -900, 0.5 });
	assert_true(v.value < by_default.enter && v.value >= by_default.leave);
	v = judge(&by_default, (struct story){ 0, 0, 0, 0.01 });
	assert_true(v.value < by_default.leave);
	v = judge(&by_default, (struct story){ 0, 0, 0, -1 });
	assert_true(v.value >= 0 && v.value < by_default.leave && v.stall < 0);
}

static void counters_that_go_backwards_have_not_moved(void **state)
{
	struct culprit_process p = { .tgid = 10, .start_time_ns = 1 };
	struct thrash_swapin i0 = { .tgid = 10, .start_time_ns = 1, .swapin_pages = 9000 };
	struct thrash_swapin i1 = { .tgid = 10, .start_time_ns = 1, .swapin_pages = 10 };
	struct thrash_sample before = { .time_ns = 500 * MS,
					.processes = &p,
					.n_processes = 1,
					.swapins = &i0,
					.n_swapins = 1,
					.swapin_pages = 900,
					.swapout_pages = 900,
					.stall_usec = 900,
					.has_stall = true };
	struct thrash_sample now = { .time_ns = 400 * MS,
				     .processes = &p,
				     .n_processes = 1,
				     .swapins = &i1,
				     .n_swapins = 1,
				     .has_stall = true };
	struct thrash_verdict v;

	(void)state;
	thrash_judge(&before, &now, &by_default, &v);
	assert_false(v.confirmed);
	assert_int_equal(v.interval_ns + v.churn_pages + v.swapin_pages + v.swapout_pages, 0);
}

static void churn_is_what_did_not_stay(void **state)
{
	struct culprit_process then = { .swap_pages = 1000, .shmem_pages = 10 };
	struct culprit_process same = then, read = then, shm = then, more = then;

	(void)state;
	read.swap_pages = 0;
	shm.shmem_pages = 1010;
	more.swap_pages = 2000;
	assert_int_equal(thrash_churn(&then, &same, 1000), 1000);
	assert_int_equal(thrash_churn(&then, &more, 1000), 1000);
	assert_int_equal(thrash_churn(&then, &read, 1000), 0);
	assert_int_equal(thrash_churn(&then, &read, 3000), 2000);
	assert_int_equal(thrash_churn(&then, &shm, 1000), 0);
	assert_int_equal(thrash_churn(&then, &same, 0), 0);
}

static void the_newborn_and_the_dead_kept_at_most_what_they_had(void **state)
{
	struct culprit_process child = { .anon_pages = 300 };
	struct culprit_process gone = { .swap_pages = 300 };

	(void)state;
	assert_int_equal(thrash_churn(NULL, &child, 300), 0);
	assert_int_equal(thrash_churn(NULL, &child, 1000), 700);
	assert_int_equal(thrash_churn(&gone, NULL, 300), 0);
	assert_int_equal(thrash_churn(&gone, NULL, 1000), 700);
	assert_int_equal(thrash_churn(NULL, NULL, 50), 50);
}

/* A parent that was swapped out; its children read what they have from it, and are gone. */
static void a_short_life_may_read_what_its_cgroup_had_out_but_once(void **state)
{
	const struct culprit_process parent = {
		.tgid = 5, .start_time_ns = 1, .cgroup = 77, .swap_pages = 1000
	};
	const struct thrash_swapin s[] = {
		{ .tgid = 5, .start_time_ns = 1, .cgroup = 77, .swapin_pages = 5000 },
		{ .tgid = 10, .start_time_ns = 60 * MS, .cgroup = 77, .swapin_pages = 900 },
		{ .tgid = 11, .start_time_ns = 70 * MS, .cgroup = 77, .swapin_pages = 900 },
		{ .tgid = 12, .start_time_ns = 80 * MS, .cgroup = 78, .swapin_pages = 900 },
	};
	struct thrash_sample before = { .time_ns = 5000 * MS,
					.processes = &parent,
					.n_processes = 1,
					.swapins = s,
					.n_swapins = 1 };
	struct thrash_sample now = before;
	struct thrash_verdict v;

	(void)state;
	now.time_ns += 150 * MS;
	now.n_swapins = 2;
	now.swapin_pages = now.swapout_pages = 3000;
	thrash_judge(&before, &now, &by_default, &v);
	assert_int_equal(v.churn_pages, 0);
	assert_false(v.confirmed);
	/* The second one reads again what must have gone out again. */
	now.n_swapins = 3;
	thrash_judge(&before, &now, &by_default, &v);
	assert_int_equal(v.churn_pages, 800);
	assert_true(v.confirmed);
	/* The same from look to look. */
	before.n_swapins = 2;
	thrash_judge(&before, &now, &by_default, &v);
	assert_int_equal(v.churn_pages, 800);
	/* In the other's cgroup nobody had anything out. */
	before.n_swapins = 3;
	now.n_swapins = 4;
	thrash_judge(&before, &now, &by_default, &v);
	assert_int_equal(v.churn_pages, 900);
}

static void another_process_with_the_same_pid_is_another(void **state)
{
	const struct culprit_process list[] = { { .tgid = 3, .start_time_ns = 50 * MS },
						{ .tgid = 7, .start_time_ns = 60 * MS },
						{ .tgid = 9, .start_time_ns = 70 * MS } };
	const struct thrash_sample s = { .processes = list, .n_processes = 3 };

	(void)state;
	assert_ptr_equal(thrash_find(&s, 7, 60 * MS), &list[1]);
	assert_ptr_equal(thrash_find(&s, 3, 50 * MS), &list[0]);
	assert_null(thrash_find(&s, 7, 50 * MS));
	assert_null(thrash_find(&s, 8, 60 * MS));
	assert_null(thrash_find(NULL, 7, 60 * MS));
	assert_null(thrash_find(&(struct thrash_sample){ 0 }, 7, 60 * MS));
}

/* The last rung of the census has its times from /proc, in ticks of 10 ms; the swap-ins have not.
 */
static void a_start_time_of_proc_is_the_same_to_the_tick(void **state)
{
	const struct culprit_process list[] = { { .tgid = 3, .start_time_ns = 50 * MS } };
	const struct thrash_swapin in[] = { { .tgid = 3, .start_time_ns = 50 * MS + 1234567 } };
	const struct thrash_sample s = {
		.processes = list, .n_processes = 1, .swapins = in, .n_swapins = 1
	};

	(void)state;
	assert_ptr_equal(thrash_find(&s, 3, in[0].start_time_ns), &list[0]);
	assert_ptr_equal(thrash_find_swapin(&s, 3, list[0].start_time_ns), &in[0]);
	assert_null(thrash_find_swapin(&s, 3, 60 * MS));
}

static void a_kept_look_outlives_its_arrays(void **state)
{
	struct culprit_process list[20] = { 0 };
	struct thrash_swapin swapins[2] = { { .tgid = 1, .swapin_pages = 11 } };
	struct thrash_sample s = { .time_ns = 5,
				   .processes = list,
				   .n_processes = 2,
				   .swapins = swapins,
				   .n_swapins = 1 };
	_cleanup_(thrash_copy_free)
	struct thrash_copy copy = { 0 };

	(void)state;
	list[1].tgid = 42;
	assert_int_equal(thrash_keep(&copy, &s), 0);
	memset(list, 0xff, sizeof(list));
	memset(swapins, 0xff, sizeof(swapins));
	assert_int_equal(copy.sample.processes[1].tgid, 42);
	assert_int_equal(copy.sample.swapins[0].swapin_pages, 11);
	assert_true(copy.sample.time_ns == 5);
	s.n_processes = 20;
	assert_int_equal(thrash_keep(&copy, &s), 0);
	assert_int_equal(copy.sample.n_processes, 20);
	s.n_processes = s.n_swapins = 0;
	assert_int_equal(thrash_keep(&copy, &s), 0);
	assert_int_equal(copy.sample.n_processes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thrasher_is_confirmed),
		cmocka_unit_test(who_reads_its_pages_back_once_is_not),
		cmocka_unit_test(little_churn_is_none),
		cmocka_unit_test(a_slow_disk_needs_a_longer_look),
		cmocka_unit_test(a_second_witness_is_asked),
		cmocka_unit_test(the_value_begins_nothing_unless_confirmed),
		cmocka_unit_test(counters_that_go_backwards_have_not_moved),
		cmocka_unit_test(churn_is_what_did_not_stay),
		cmocka_unit_test(the_newborn_and_the_dead_kept_at_most_what_they_had),
		cmocka_unit_test(a_short_life_may_read_what_its_cgroup_had_out_but_once),
		cmocka_unit_test(another_process_with_the_same_pid_is_another),
		cmocka_unit_test(a_start_time_of_proc_is_the_same_to_the_tick),
		cmocka_unit_test(a_kept_look_outlives_its_arrays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
