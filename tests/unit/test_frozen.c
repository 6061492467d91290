// SPDX-License-Identifier: GPL-2.0-or-later
/* The file for monitoring: its lines, which claims have one, and how it is put in place. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "act/frozen.h"
#include "lib/cleanup.h"

static const struct claim freeze = {
	.id = 3,
	.action = CLAIM_FREEZE,
	.target = { .kind = TARGET_CGROUP, .cgroup = 4711, .path = "/background.slice/miner" },
	.policy = "miner-yields",
	.reason = "others used 0.92 CPUs",
	.since_ms = 1700000000042,
	.holds = true,
};

static const struct claim stop = {
	.id = 4,
	.action = CLAIM_STOP,
	.target = { .kind = TARGET_PROCESS,
		    .cgroup = 4712,
		    .pid = 815,
		    .comm = "cc1plus",
		    .path = "/build" },
	.policy = "operator",
	.reason = "by hand",
	.since_ms = 951868799000, /* the last second of 29 February */
	.holds = true,
};

static char line[FROZEN_LINE_MAX];

static void each_kind_has_its_columns(void **state)
{
	(void)state;
	assert_string_equal(frozen_line(line, &freeze),
			    "cgroup\t4711\t/background.slice/miner\tminer-yields\t"
			    "2023-11-14T22:13:20.042Z\tothers used 0.92 CPUs\n");
	assert_string_equal(frozen_line(line, &stop),
			    "process\t815\tcc1plus\toperator\t2000-02-29T23:59:59.000Z\tby hand\n");
}

static void the_time_is_utc_wherever_the_machine_is(void **state)
{
	(void)state;
	setenv("TZ", "Asia/Kolkata", 1);
	assert_non_null(strstr(frozen_line(line, &freeze), "\t2023-11-14T22:13:20.042Z\t"));
	unsetenv("TZ");
}

static void what_would_break_the_line_is_escaped(void **state)
{
	struct claim claim = freeze;

	(void)state;
	snprintf(claim.target.path, sizeof(claim.target.path),
		 "/two words\t\n/\r\033[2J/\xff/\xe2\x80\xa8/s\xc3\xb6\\x2d");
	snprintf(claim.reason, sizeof(claim.reason), "a\tb\nc");
	assert_string_equal(frozen_line(line, &claim),
			    "cgroup\t4711\t/two words\\x09\\x0a/\\x0d\\x1b[2J/\\xff/"
			    "\\xe2\\x80\\xa8/s\xc3\xb6\\x2d\tminer-yields\t"
			    "2023-11-14T22:13:20.042Z\ta\\x09b\\x0ac\n");
}

/* read and cut take two tabs in a row for one column less. */
static void no_column_is_empty(void **state)
{
	struct claim claim = stop;

	(void)state;
	claim.target.comm[0] = claim.policy[0] = claim.reason[0] = '\0';
	assert_string_equal(frozen_line(line, &claim),
			    "process\t815\t-\t-\t2000-02-29T23:59:59.000Z\t-\n");
}

static void the_longest_claim_fits_whole(void **state)
{
	struct claim claim = freeze;
	unsigned int tabs = 0;

	(void)state;
	claim.target.cgroup = UINT64_MAX;
	memset(claim.target.path, '\t', sizeof(claim.target.path) - 1);
	memset(claim.policy, '\n', sizeof(claim.policy) - 1);
	memset(claim.reason, '\x01', sizeof(claim.reason) - 1);
	frozen_line(line, &claim);
	for (const char *p = line; *p; p++)
		tabs += *p == '\t';
	assert_int_equal(tabs, 5);
	assert_string_equal(line + strlen(line) - 9, "\\x01\\x01\n");
	assert_int_equal(strlen(line),
			 strlen("cgroup\t18446744073709551615\t\t\t2023-11-14T22:13:20.042Z\t\n") +
				 4 * (CLAIM_PATH_LEN + CLAIM_NAME_LEN + CLAIM_REASON_LEN - 3));
}

static void only_what_stands_still_for_us_has_a_line(void **state)
{
	static const struct {
		enum claim_action action;
		bool holds, listed;
	} cases[] = {
		{ CLAIM_FREEZE, true, true },
		{ CLAIM_STOP, true, true },
		/* Someone else has let it go. */
		{ CLAIM_FREEZE, false, false },
		{ CLAIM_STOP, false, false },
		{ CLAIM_DEMOTE, true, false },
		{ CLAIM_TERMINATE, false, false },
		/* Frozen for a moment, to be killed. */
		{ CLAIM_TERMINATE, true, false },
		{ CLAIM_KILL, true, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct claim claim = freeze;

		claim.action = cases[i].action;
		claim.holds = cases[i].holds;
		if (frozen_is_listed(&claim) != cases[i].listed)
			fail_msg("case %zu", i);
	}
}

/* --- the file --------------------------------------------------------------------------------- */

struct fixture {
	char path[64];
	int dir;
};

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->path, sizeof(f->path), "/tmp/culprit-unit-XXXXXX");
	if (!mkdtemp(f->path))
		return -1;
	f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->dir);
	nftw(f->path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static const struct claim *const both[] = { &freeze, &stop };

static void assert_says(int fd, const char *text)
{
	char buf[1024];
	ssize_t n = pread(fd, buf, sizeof(buf) - 1, 0);

	assert_true(n >= 0);
	buf[n] = '\0';
	assert_string_equal(buf, text);
}

static bool is_there(const struct fixture *f, const char *name)
{
	return faccessat(f->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void everyone_may_read_it_whatever_the_umask(void **state)
{
	struct fixture *f = *state;
	mode_t before = umask(077);
	struct stat st;

	assert_int_equal(frozen_write(f->dir, both, 2), 0);
	umask(before);
	assert_int_equal(fstatat(f->dir, "frozen", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0644);
}

static void a_new_one_takes_the_place_of_the_old_one_at_once(void **state)
{
	struct fixture *f = *state;
	char text[2 * FROZEN_LINE_MAX];

	assert_int_equal(frozen_write(f->dir, both, 1), 0);
	_cleanup_close_ int old = openat(f->dir, "frozen", O_RDONLY | O_CLOEXEC);

	assert_int_equal(frozen_write(f->dir, both, 2), 0);
	_cleanup_close_ int new = openat(f->dir, "frozen", O_RDONLY | O_CLOEXEC);

	/* Who had begun to read it reads it to its end. */
	assert_says(old, frozen_line(line, &freeze));
	snprintf(text, sizeof(text), "%s", frozen_line(line, &freeze));
	strcat(text, frozen_line(line, &stop));
	assert_says(new, text);
	assert_false(is_there(f, "frozen.new"));
}

static void what_was_cut_short_is_in_nobodys_way(void **state)
{
	struct fixture *f = *state;

	/* Also a link, which must not be followed. */
	assert_int_equal(symlinkat("elsewhere", f->dir, "frozen.new"), 0);
	assert_int_equal(frozen_write(f->dir, both, 1), 0);
	assert_false(is_there(f, "elsewhere"));
	assert_int_equal(symlinkat("elsewhere", f->dir, "frozen.new"), 0);
	frozen_remove(f->dir);
	assert_false(is_there(f, "frozen"));
	assert_false(is_there(f, "frozen.new"));
	/* Nothing to remove is fine. */
	frozen_remove(f->dir);
}

static void where_it_cannot_be_written_the_old_one_stays(void **state)
{
	struct fixture *f = *state;

	/* A directory in its place, for root may do all else. */
	assert_int_equal(mkdirat(f->dir, "frozen", 0755), 0);
	assert_int_equal(frozen_write(f->dir, both, 1), -EISDIR);
	assert_true(is_there(f, "frozen"));
	assert_false(is_there(f, "frozen.new"));
	assert_int_equal(unlinkat(f->dir, "frozen", AT_REMOVEDIR), 0);
	assert_int_equal(rmdir(f->path), 0);
	assert_int_equal(frozen_write(f->dir, both, 1), -ENOENT);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_has_its_columns),
		cmocka_unit_test(the_time_is_utc_wherever_the_machine_is),
		cmocka_unit_test(what_would_break_the_line_is_escaped),
		cmocka_unit_test(no_column_is_empty),
		cmocka_unit_test(the_longest_claim_fits_whole),
		cmocka_unit_test(only_what_stands_still_for_us_has_a_line),
		T(everyone_may_read_it_whatever_the_umask),
		T(a_new_one_takes_the_place_of_the_old_one_at_once),
		T(what_was_cut_short_is_in_nobodys_way),
		T(where_it_cannot_be_written_the_old_one_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
