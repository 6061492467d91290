// SPDX-License-Identifier: GPL-2.0-or-later
/* Demotion, on plain files in the place of a cgroup's: what is lowered, and what is given back. */
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

#include "act/weights.h"
#include "lib/cleanup.h"

struct fixture {
	char path[64];
	int dir;
	struct weights weights;
	struct claim_weight plan[CLAIM_WEIGHTS];
};

static const char *const names[] = { "cpu.idle", "cpu.weight", "io.weight" };

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->path, sizeof(f->path), "/tmp/culprit-unit-XXXXXX");
	if (!mkdtemp(f->path))
		return -1;
	f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->weights = WEIGHTS_CLOSED;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	weights_close(&f->weights);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)unlinkat(f->dir, names[i], 0);
	close(f->dir);
	rmdir(f->path);
	free(f);
	return 0;
}

static void put(struct fixture *f, const char *name, const char *text)
{
	_cleanup_close_ int fd =
		openat(f->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* The kernel reads up to the end of the line, and so do we: behind it is what was there before. */
static void assert_reads(struct fixture *f, const char *name, const char *line)
{
	_cleanup_close_ int fd = openat(f->dir, name, O_RDONLY | O_CLOEXEC);
	char buf[64] = "";

	assert_true(read(fd, buf, sizeof(buf) - 1) > 0);
	buf[strcspn(buf, "\n")] = '\0';
	assert_string_equal(buf, line);
}

static int plan(struct fixture *f)
{
	int r = weights_open(f->dir, &f->weights);

	return r < 0 ? r : weights_plan(&f->weights, f->plan);
}

static void without_cpu_idle_the_weights_are_lowered_and_given_back(void **state)
{
	struct fixture *f = *state;

	put(f, "cpu.weight", "250\n");
	put(f, "io.weight", "default 300\n8:0 700\n");
	assert_int_equal(plan(f), 0);
	assert_int_equal(weights_lower(&f->weights, f->plan), 0);
	assert_reads(f, "cpu.weight", "1");
	assert_reads(f, "io.weight", "default 1");
	assert_int_equal(weights_changed(&f->weights, f->plan), 0);
	/* A second time changes nothing: an undoing may be repeated. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(weights_restore(&f->weights, f->plan), 0);
		assert_reads(f, "cpu.weight", "250");
		assert_reads(f, "io.weight", "default 300");
	}
}

static void with_cpu_idle_the_weight_comes_back_too(void **state)
{
	struct fixture *f = *state;

	put(f, "cpu.idle", "0\n");
	put(f, "cpu.weight", "250\n");
	assert_int_equal(plan(f), 0);
	assert_int_equal(weights_lower(&f->weights, f->plan), 0);
	assert_reads(f, "cpu.idle", "1");
	/* Nothing was written there: the kernel takes nothing while cpu.idle is 1. */
	assert_reads(f, "cpu.weight", "250");
	put(f, "cpu.weight", "0\n");
	assert_int_equal(weights_changed(&f->weights, f->plan), 0);
	/* What the kernel does when cpu.idle ends, before the rest of an undoing that was broken
	 * off is done again. */
	put(f, "cpu.idle", "0\n");
	put(f, "cpu.weight", "100\n");
	assert_int_equal(weights_restore(&f->weights, f->plan), 0);
	assert_reads(f, "cpu.idle", "0");
	assert_reads(f, "cpu.weight", "250");
}

static void what_others_changed_stays_theirs(void **state)
{
	struct fixture *f = *state;

	put(f, "cpu.weight", "250\n");
	put(f, "io.weight", "default 300\n");
	assert_int_equal(plan(f), 0);
	assert_int_equal(weights_lower(&f->weights, f->plan), 0);
	put(f, "cpu.weight", "77\n");
	assert_int_equal(weights_changed(&f->weights, f->plan), 1 << WEIGHT_CPU);
	assert_int_equal(weights_restore(&f->weights, f->plan), 0);
	assert_reads(f, "cpu.weight", "77");
	assert_reads(f, "io.weight", "default 300");
}

static void who_ends_cpu_idle_has_the_weight_too(void **state)
{
	struct fixture *f = *state;

	put(f, "cpu.idle", "0\n");
	put(f, "cpu.weight", "250\n");
	assert_int_equal(plan(f), 0);
	assert_int_equal(weights_lower(&f->weights, f->plan), 0);
	put(f, "cpu.idle", "0\n");
	put(f, "cpu.weight", "60\n");
	assert_int_equal(weights_changed(&f->weights, f->plan),
			 1 << WEIGHT_CPU_IDLE | 1 << WEIGHT_CPU);
	assert_int_equal(weights_restore(&f->weights, f->plan), 0);
	assert_reads(f, "cpu.weight", "60");
}

static void what_is_low_already_is_left_alone(void **state)
{
	struct fixture *f = *state;

	put(f, "cpu.idle", "1\n");
	put(f, "cpu.weight", "0\n");
	put(f, "io.weight", "default 1\n");
	assert_int_equal(plan(f), -ERANGE);
	put(f, "io.weight", "default 2\n");
	assert_int_equal(weights_plan(&f->weights, f->plan), 0);
	assert_false(claim_weight_is_ours(&f->plan[WEIGHT_CPU_IDLE]));
	assert_false(claim_weight_is_ours(&f->plan[WEIGHT_CPU]));
	assert_true(claim_weight_is_ours(&f->plan[WEIGHT_IO]));
}

static void without_any_of_the_files_it_cannot_be_demoted(void **state)
{
	assert_int_equal(plan(*state), -EOPNOTSUPP);
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
	struct fixture *f = *state;

	put(f, "cpu.weight", "max\n");
	assert_int_equal(plan(f), -EBADMSG);
	weights_close(&f->weights);
	assert_int_equal(symlinkat("/dev/null", f->dir, "cpu.idle"), 0);
	assert_int_equal(weights_open(f->dir, &f->weights), -ELOOP);
}

#define test_in_dir(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test_in_dir(without_cpu_idle_the_weights_are_lowered_and_given_back),
		test_in_dir(with_cpu_idle_the_weight_comes_back_too),
		test_in_dir(what_others_changed_stays_theirs),
		test_in_dir(who_ends_cpu_idle_has_the_weight_too),
		test_in_dir(what_is_low_already_is_left_alone),
		test_in_dir(without_any_of_the_files_it_cannot_be_demoted),
		test_in_dir(a_file_that_cannot_be_read_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
