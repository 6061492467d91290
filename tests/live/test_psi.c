// SPDX-License-Identifier: GPL-2.0-or-later
/* Pressure as this kernel reports it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "live.h"
#include "sense/psi.h"

static void the_machine_has_all_three_resources(void **state)
{
	const enum psi_resource resources[] = { PSI_MEMORY, PSI_CPU, PSI_IO };
	struct psi_values values[PSI_KINDS];
	struct psi *psi;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
		assert_int_equal(psi_open(&psi, -1, resources[i]), 0);
		assert_int_equal(psi_read(psi, values), 0);
		assert_true(values[PSI_FULL].total_usec <= values[PSI_SOME].total_usec);
		psi_close(psi);
	}
}

static bool has_stalled(void *arg)
{
	uint64_t usec = 0;

	return psi_stall(arg, PSI_SOME, &usec) == 0 && usec > 0;
}

/* More busy loops than CPUs: someone always waits. */
static void a_cgroup_that_waits_for_the_cpu_stalls(void **state)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN) + 1;
	pid_t pids[64];
	struct psi *psi;

	(void)state;
	live_cgroup("busy");

	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path("busy"));

	assert_int_equal(psi_open(&psi, dir, PSI_CPU), 0);
	assert_false(has_stalled(psi));
	for (long i = 0; i < n && i < 64; i++)
		pids[i] = live_fork("busy", load_spin, NULL);
	assert_true(live_until(has_stalled, psi, 10000));
	for (long i = 0; i < n && i < 64; i++)
		live_kill(pids[i]);
	psi_close(psi);
}

static void a_removed_cgroup_is_an_error_and_not_calm(void **state)
{
	struct psi *psi, *again;
	uint64_t usec;

	(void)state;
	live_cgroup("gone");

	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path("gone"));

	assert_int_equal(psi_open(&psi, dir, PSI_MEMORY), 0);
	live_rmdir("gone");
	assert_int_equal(psi_stall(psi, PSI_SOME, &usec), -ENODEV);
	assert_int_equal(psi_open(&again, dir, PSI_MEMORY), -ENOENT);
	psi_close(psi);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_machine_has_all_three_resources),
		cmocka_unit_test(a_cgroup_that_waits_for_the_cpu_stalls),
		cmocka_unit_test(a_removed_cgroup_is_an_error_and_not_calm),
	};

	return cmocka_run_group_tests(tests, live_setup, live_teardown);
}
