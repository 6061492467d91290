// SPDX-License-Identifier: GPL-2.0-or-later
/* Pressure files, in a directory that stands in for a cgroup. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sense/psi.h"

static char dir[] = "/tmp/culprit-psi-XXXXXX";
static int dir_fd;

static void put(const char *name, const char *text)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void put_memory(unsigned long long some, unsigned long long full)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "some avg10=12.34 avg60=0.05 avg300=100.00 total=%llu\n"
		 "full avg10=0.00 avg60=0.00 avg300=0.00 total=%llu\n",
		 some, full);
	put("memory.pressure", text);
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put("cgroup.procs", "");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlinkat(dir_fd, "cgroup.procs", 0);
	unlinkat(dir_fd, "memory.pressure", 0);
	unlinkat(dir_fd, "cpu.pressure", 0);
	close(dir_fd);
	return rmdir(dir);
}

static void both_lines_are_read(void **state)
{
	struct psi_values values[PSI_KINDS];
	struct psi *psi;

	(void)state;
	put_memory(123456789012ULL, 7);
	assert_int_equal(psi_open(&psi, dir_fd, PSI_MEMORY), 0);
	assert_int_equal(psi_read(psi, values), 0);
	assert_int_equal(values[PSI_SOME].avg10, 1234);
	assert_int_equal(values[PSI_SOME].avg60, 5);
	assert_int_equal(values[PSI_SOME].avg300, 10000);
	assert_int_equal(values[PSI_SOME].total_usec, 123456789012ULL);
	assert_int_equal(values[PSI_FULL].avg10, 0);
	assert_int_equal(values[PSI_FULL].total_usec, 7);
	psi_close(psi);
}

static void stall_is_counted_from_look_to_look(void **state)
{
	struct psi *psi;
	uint64_t usec;

	(void)state;
	put_memory(1000, 100);
	assert_int_equal(psi_open(&psi, dir_fd, PSI_MEMORY), 0);
	put_memory(1500, 130);
	assert_int_equal(psi_stall(psi, PSI_SOME, &usec), 0);
	assert_int_equal(usec, 500);
	assert_int_equal(psi_stall(psi, PSI_SOME, &usec), 0);
	assert_int_equal(usec, 0);
	put_memory(1600, 130);
	/* A look at one kind is no look at the other. */
	assert_int_equal(psi_stall(psi, PSI_FULL, &usec), 0);
	assert_int_equal(usec, 30);
	assert_int_equal(psi_stall(psi, PSI_SOME, &usec), 0);
	assert_int_equal(usec, 100);
	psi_close(psi);
}

static void a_total_that_went_backwards_is_no_stall(void **state)
{
	struct psi *psi;
	uint64_t usec;

	(void)state;
	put_memory(1000, 0);
	assert_int_equal(psi_open(&psi, dir_fd, PSI_MEMORY), 0);
	put_memory(10, 0);
	assert_int_equal(psi_stall(psi, PSI_SOME, &usec), 0);
	assert_int_equal(usec, 0);
	put_memory(30, 0);
	assert_int_equal(psi_stall(psi, PSI_SOME, &usec), 0);
	assert_int_equal(usec, 20);
	psi_close(psi);
}

static void a_missing_full_line_is_zero(void **state)
{
	struct psi_values values[PSI_KINDS];
	struct psi *psi;

	(void)state;
	put("cpu.pressure", "some avg10=1.00 avg60=0.00 avg300=0.00 total=5\n");
	assert_int_equal(psi_open(&psi, dir_fd, PSI_CPU), 0);
	assert_int_equal(psi_read(psi, values), 0);
	assert_int_equal(values[PSI_SOME].total_usec, 5);
	assert_int_equal(values[PSI_FULL].total_usec, 0);
	psi_close(psi);
}

static void a_broken_file_is_an_error(void **state)
{
	static const char *const broken[] = {
		"",
		"some avg10=1.00 avg60=0.00 avg300=0.00 total=\n",
		"some avg10=1.00 avg60=0.00 avg300=0.00 total=5",
		"full\n",
	};
	struct psi *psi;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		put("memory.pressure", broken[i]);
		assert_int_equal(psi_open(&psi, dir_fd, PSI_MEMORY), -EBADMSG);
	}
}

static void no_psi_and_no_cgroup_are_told_apart(void **state)
{
	struct psi *psi;

	(void)state;
	assert_int_equal(psi_open(&psi, dir_fd, PSI_IO), -ENOTSUP);
	unlinkat(dir_fd, "cgroup.procs", 0);
	assert_int_equal(psi_open(&psi, dir_fd, PSI_IO), -ENOENT);
	put("cgroup.procs", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_lines_are_read),
		cmocka_unit_test(stall_is_counted_from_look_to_look),
		cmocka_unit_test(a_total_that_went_backwards_is_no_stall),
		cmocka_unit_test(a_missing_full_line_is_zero),
		cmocka_unit_test(a_broken_file_is_an_error),
		cmocka_unit_test(no_psi_and_no_cgroup_are_told_apart),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
