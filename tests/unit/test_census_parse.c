// SPDX-License-Identifier: GPL-2.0-or-later
/* The texts of /proc, and the putting together of processes and threads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "sense/census_rungs.h"

#define STAT_TAIL                                                                         \
	" 7 42 43 44 -1 4194304 1234 0 56 0 10 20 0 0 20 0 3 0 98765 1000000 200 184467 " \
	"1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"

static void test_stat_whose_name_looks_like_more_fields(void **state)
{
	struct culprit_process p = { 0 };
	struct census_stat st;

	(void)state;
	assert_int_equal(census_parse_stat("12 (a) Z 1 (b) S" STAT_TAIL, &p, &st), 0);
	assert_string_equal(p.comm, "a) Z 1 (b");
	assert_int_equal(st.state, 'S');
	assert_int_equal(st.threads, 3);
	assert_int_equal(p.ppid, 7);
	assert_int_equal(p.pgrp, 42);
	assert_int_equal(p.session, 43);
	assert_int_equal(p.minor_faults, 1234);
	assert_int_equal(p.major_faults, 56);
	assert_int_equal(p.start_time_ns, 987650000000ULL);
	assert_int_equal(p.flags, 0);
}

static void test_stat_with_an_overlong_name_is_cut(void **state)
{
	struct culprit_process p = { 0 };
	struct census_stat st;

	(void)state;
	memset(p.comm, 'x', sizeof(p.comm));
	assert_int_equal(census_parse_stat("12 (kworker/u8:0-events_unbound) I" STAT_TAIL, &p, &st),
			 0);
	assert_string_equal(p.comm, "kworker/u8:0-ev");
}

static void test_states_become_flags(void **state)
{
	static const struct {
		const char *text;
		unsigned int flags;
	} cases[] = {
		{ "1 (x) T 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 0 0 1 0 5", CULPRIT_PROCESS_STOPPED },
		{ "1 (x) Z 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 0 0 1 0 5", CULPRIT_PROCESS_EXITING },
		{ "1 (x) Z 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 0 0 2 0 5", CULPRIT_PROCESS_HEADLESS },
		{ "1 (x) t 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 0 0 1 0 5", 0 },
		{ "1 (x) S 1 1 1 0 -1 2097152 0 0 0 0 0 0 0 0 0 0 1 0 5", CULPRIT_PROCESS_KERNEL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct culprit_process p = { 0 };
		struct census_stat st = { .threads = 1 };

		assert_int_equal(census_parse_stat(cases[i].text, &p, &st), 0);
		assert_int_equal(p.flags, cases[i].flags);
	}
}

static void test_broken_stat_is_refused(void **state)
{
	static const char *const texts[] = { "", "12 (x", "12 x) S 1 2 3", ")(", "12 (x) S 1 2" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct culprit_process p = { 0 };
		struct census_stat st;

		assert_int_equal(census_parse_stat(texts[i], &p, &st), -EBADMSG);
	}
}

static void test_status(void **state)
{
	static const char text[] = "Name:\tUid: 5\nTracerPid:\t17\nUid:\t1000\t0\t0\t0\n"
				   "VmRSS:\t  100 kB\nRssAnon:\t   40 kB\nRssFile:\t  16 kB\n"
				   "RssShmem:\t  8 kB\nVmSwap:\t 12 kB\n";
	struct culprit_process p = { 0 };

	(void)state;
	census_parse_status(text, 4096, &p);
	assert_int_equal(p.uid, 1000);
	assert_int_equal(p.anon_pages, 10);
	assert_int_equal(p.file_pages, 4);
	assert_int_equal(p.shmem_pages, 2);
	assert_int_equal(p.swap_pages, 3);
	assert_int_equal(p.flags, CULPRIT_PROCESS_TRACED);
}

static void test_status_of_a_kernel_thread_has_no_memory(void **state)
{
	struct culprit_process p = { 0 };

	(void)state;
	census_parse_status("Name:\tkthreadd\nTracerPid:\t0\nUid:\t0\t0\t0\t0\n", 4096, &p);
	assert_int_equal(p.anon_pages + p.file_pages + p.shmem_pages + p.swap_pages, 0);
	assert_int_equal(p.flags, 0);
}

static void test_cgroup_line_is_the_one_of_v2(void **state)
{
	char hybrid[] = "12:pids:/x\n1:name=systemd:/0::/y\n0::/a.slice/b\n";
	char old[] = "12:pids:/x\n";

	(void)state;
	assert_string_equal(census_parse_cgroup(hybrid), "/a.slice/b");
	assert_null(census_parse_cgroup(old));
}

/* --- the list -------------------------------------------------------------------------------- */

static void add(struct census_list *list, unsigned int tgid, unsigned int flags,
		unsigned int faults, unsigned int pages)
{
	struct culprit_process p = {
		.tgid = tgid,
		.flags = flags,
		.minor_faults = faults,
		.anon_pages = pages,
		.cgroup = pages,
	};

	assert_int_equal(census_list_add(list, &p), 0);
}

static void test_threads_add_to_their_process(void **state)
{
	struct census_list list = { 0 };
	const struct culprit_process *p;

	(void)state;
	add(&list, 5, 0, 10, 100);
	add(&list, 5, CULPRIT_PROCESS_THREAD | CULPRIT_PROCESS_TRACED, 3, 0);
	add(&list, 9, 0, 1, 7);
	add(&list, 5, CULPRIT_PROCESS_THREAD, 4, 0);
	census_list_finish(&list);
	assert_int_equal(list.processes.count, 2);
	p = census_list_find(&list, 5);
	assert_int_equal(p->minor_faults, 17);
	assert_int_equal(p->anon_pages, 100);
	assert_int_equal(p->flags, CULPRIT_PROCESS_TRACED);
	census_list_free(&list);
}

static void test_a_thread_may_come_before_its_process(void **state)
{
	struct census_list list = { 0 };

	(void)state;
	add(&list, 9, CULPRIT_PROCESS_THREAD, 2, 0);
	add(&list, 4, 0, 1, 1);
	add(&list, 9, 0, 1, 7);
	add(&list, 9, CULPRIT_PROCESS_THREAD, 3, 0);
	census_list_finish(&list);
	assert_int_equal(list.processes.count, 2);
	assert_int_equal(list.processes.all[0].tgid, 4);
	assert_int_equal(list.processes.all[1].tgid, 9);
	assert_int_equal(list.processes.all[1].minor_faults, 6);
	census_list_free(&list);
}

static void test_a_thread_without_process_is_dropped(void **state)
{
	struct census_list list = { 0 };

	(void)state;
	add(&list, 3, 0, 1, 1);
	add(&list, 9, CULPRIT_PROCESS_THREAD, 2, 0);
	census_list_finish(&list);
	assert_int_equal(list.processes.count, 1);
	assert_null(census_list_find(&list, 9));
	census_list_free(&list);
}

static void test_a_living_thread_speaks_for_a_dead_main_thread(void **state)
{
	struct census_list list = { 0 };
	const struct culprit_process *p;

	(void)state;
	add(&list, 5, CULPRIT_PROCESS_HEADLESS, 1, 0);
	add(&list, 5, CULPRIT_PROCESS_THREAD | CULPRIT_PROCESS_FROZEN, 1, 50);
	add(&list, 5, CULPRIT_PROCESS_THREAD | CULPRIT_PROCESS_FROZEN, 1, 50);
	/* One that is ending itself has nothing to say. */
	add(&list, 5, CULPRIT_PROCESS_THREAD, 1, 0);
	census_list_finish(&list);
	p = census_list_find(&list, 5);
	assert_int_equal(p->anon_pages, 50);
	assert_int_equal(p->cgroup, 50);
	assert_int_equal(p->minor_faults, 4);
	assert_int_equal(p->flags, CULPRIT_PROCESS_HEADLESS | CULPRIT_PROCESS_FROZEN);
	census_list_free(&list);
}

static void test_many_processes_in_any_order_are_sorted(void **state)
{
	struct census_list list = { 0 };

	(void)state;
	for (unsigned int i = 0; i < 2000; i++)
		add(&list, (i * 7919) % 2003 + 1, 0, i, i);
	census_list_finish(&list);
	assert_int_equal(list.processes.count, 2000);
	for (size_t i = 1; i < list.processes.count; i++)
		assert_true(list.processes.all[i - 1].tgid < list.processes.all[i].tgid);
	census_list_free(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stat_whose_name_looks_like_more_fields),
		cmocka_unit_test(test_stat_with_an_overlong_name_is_cut),
		cmocka_unit_test(test_states_become_flags),
		cmocka_unit_test(test_broken_stat_is_refused),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_status_of_a_kernel_thread_has_no_memory),
		cmocka_unit_test(test_cgroup_line_is_the_one_of_v2),
		cmocka_unit_test(test_threads_add_to_their_process),
		cmocka_unit_test(test_a_thread_may_come_before_its_process),
		cmocka_unit_test(test_a_thread_without_process_is_dropped),
		cmocka_unit_test(test_a_living_thread_speaks_for_a_dead_main_thread),
		cmocka_unit_test(test_many_processes_in_any_order_are_sorted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
