// SPDX-License-Identifier: GPL-2.0-or-later
/* The support probe's answers, against what is known to be so or found by another way. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sense/support.h"

static struct support *support;

static int setup(void **state)
{
	(void)state;
	return support_open(&support);
}

static int teardown(void **state)
{
	(void)state;
	support_close(support);
	return 0;
}

static void what_every_kernel_has_is_found(void **state)
{
	(void)state;
	assert_true(support_btf(support));
	assert_true(support_tracepoint(support, "sched_switch"));
	assert_true(support_function(support, "bpf_fentry_test1"));
	assert_true(support_member(support, "task_struct", "tgid"));
	assert_true(support_enum_value(support, "vm_event_item", "PSWPIN"));
}

/* Members of unnamed unions belong to the type around them. */
static void a_member_of_an_unnamed_member_is_found(void **state)
{
	(void)state;
	assert_true(support_member(support, "page", "lru"));
}

static void what_no_kernel_has_is_not_found(void **state)
{
	(void)state;
	assert_false(support_tracepoint(support, "culprit"));
	assert_false(support_function(support, "culprit"));
	assert_false(support_member(support, "task_struct", "culprit"));
	assert_false(support_member(support, "culprit", "tgid"));
	assert_false(support_enum_value(support, "vm_event_item", "CULPRIT"));
	assert_int_equal(support_tracepoint_args(support, "culprit"), -ENOENT);
}

static void a_tracepoints_arguments_are_counted(void **state)
{
	(void)state;
	/* preempt, prev, next, and since 5.18 the previous state. */
	assert_in_range(support_tracepoint_args(support, "sched_switch"), 3, 4);
	assert_int_equal(support_tracepoint_args(support, "sched_process_exit") >= 1, 1);
}

static void the_programs_that_culprit_cannot_do_without_load(void **state)
{
	(void)state;
	assert_int_equal(support_program(support, SUPPORT_TP_BTF), 0);
	assert_int_equal(support_program(support, SUPPORT_ITER_TASK), 0);
	assert_int_equal(support_program(support, SUPPORT_ITER_TASK_FILE), 0);
	assert_int_equal(support_program(support, SUPPORT_CGROUP_DEVICE), 0);
}

static void a_kprobe_needs_its_event_source(void **state)
{
	bool there = access("/sys/bus/event_source/devices/kprobe/type", F_OK) == 0;

	(void)state;
	assert_int_equal(support_program(support, SUPPORT_KPROBE), there ? 0 : -ENOENT);
}

static void swap_is_what_proc_lists(void **state)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/swaps", "re");
	int lines = 0;

	(void)state;
	for (int c; (c = fgetc(f)) != EOF;)
		lines += c == '\n';
	assert_int_equal(support_swap(), lines > 1);
}

static void psi_and_bpffs_are_told_by_their_files(void **state)
{
	(void)state;
	assert_int_equal(support_psi(), access("/proc/pressure/memory", R_OK) == 0);
	assert_false(support_bpffs("/proc"));
	assert_false(support_bpffs("/no/such/path"));
}

static void asking_for_real_time_leaves_no_trace(void **state)
{
	(void)state;
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	assert_true(support_realtime());
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_every_kernel_has_is_found),
		cmocka_unit_test(a_member_of_an_unnamed_member_is_found),
		cmocka_unit_test(what_no_kernel_has_is_not_found),
		cmocka_unit_test(a_tracepoints_arguments_are_counted),
		cmocka_unit_test(the_programs_that_culprit_cannot_do_without_load),
		cmocka_unit_test(a_kprobe_needs_its_event_source),
		cmocka_unit_test(swap_is_what_proc_lists),
		cmocka_unit_test(psi_and_bpffs_are_told_by_their_files),
		cmocka_unit_test(asking_for_real_time_leaves_no_trace),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
