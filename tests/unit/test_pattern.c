// SPDX-License-Identifier: GPL-2.0-or-later
/* Patterns: what they take, what they match, what they leave alone. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "decide/pattern.h"
#include "lib/cleanup.h"

static void parse(struct pattern *p, const char *text)
{
	const char *error = NULL;

	if (pattern_parse(p, text, &error) < 0)
		fail_msg("%s: %s", text, error);
}

static bool matches(const char *text, const struct subject *subject)
{
	_cleanup_(pattern_free)
	struct pattern p;

	parse(&p, text);
	return pattern_matches(&p, subject);
}

static bool matches_cgroup(const char *text, const char *path)
{
	return matches(text, &(struct subject){ .cgroup_path = path });
}

static bool names(const char *text, const char *path)
{
	_cleanup_(pattern_free)
	struct pattern p;

	parse(&p, text);
	return pattern_names_cgroup(&p, path);
}

static void a_cgroup_brings_everything_below_it(void **state)
{
	(void)state;
	assert_true(matches_cgroup("/a/b", "/a/b"));
	assert_true(matches_cgroup("cgroup:/a/b", "/a/b/c/d"));
	assert_true(matches_cgroup("/a/b/", "/a/b/c"));
	assert_false(matches_cgroup("/a/b", "/a/bc"));
	assert_false(matches_cgroup("/a/b", "/a"));
	assert_false(matches_cgroup("/a/b", "/x/a/b"));
	assert_true(matches_cgroup("/", "/"));
	assert_true(matches_cgroup("/", "/a/b"));
}

static void a_star_does_not_cross_a_slash(void **state)
{
	(void)state;
	assert_true(matches_cgroup("/a/*", "/a/b"));
	assert_true(matches_cgroup("/a/*", "/a/b/c"));
	assert_false(matches_cgroup("/a/*", "/a"));
	assert_false(matches_cgroup("/a/*/c", "/a/x/y/c"));
	assert_true(matches_cgroup("/a/*/c", "/a/x/c/d"));
	assert_true(matches_cgroup("/*", "/.hidden"));
	assert_false(matches_cgroup("/*", "/"));
	assert_false(matches_cgroup("/a?b", "/a/b"));
	assert_true(matches_cgroup("/a?b", "/axb"));
}

static void a_backslash_is_literal(void **state)
{
	(void)state;
	assert_true(matches_cgroup("/dev-disk\\x2dby*", "/dev-disk\\x2dby-label"));
	assert_false(matches_cgroup("/a\\*", "/a*"));
	assert_true(matches_cgroup("/a\\*", "/a\\bc"));
	assert_true(matches_cgroup("unit:my\\x2dapp.service", "/s/my\\x2dapp.service"));
}

static void brackets_stand_for_one_character(void **state)
{
	(void)state;
	assert_true(matches_cgroup("/gpu[0-9]", "/gpu7"));
	assert_false(matches_cgroup("/gpu[0-9]", "/gpux"));
	assert_true(matches_cgroup("/gpu[!0-9]", "/gpux"));
	assert_true(matches_cgroup("/a[]x]", "/a]"));
	assert_true(matches_cgroup("/a[[:digit:]]b", "/a5b"));
	assert_true(matches_cgroup("/a[[]b", "/a[b"));
	assert_true(matches_cgroup("/a[\\]b", "/a\\b"));
}

static void a_unit_is_a_directory_of_that_name_anywhere(void **state)
{
	(void)state;
	assert_true(matches_cgroup("unit:x.service", "/system.slice/x.service"));
	assert_true(matches_cgroup("unit:x.service", "/a/x.service/sub"));
	assert_true(matches_cgroup("unit:x.service", "/x.service"));
	assert_false(matches_cgroup("unit:x.service", "/system.slice/xx.service"));
	assert_false(matches_cgroup("unit:x.service", "/system.slice/x.services"));
	assert_false(matches_cgroup("unit:x.service", "/"));
	/* Not a glob: a dot or a dash is itself. */
	assert_false(matches_cgroup("unit:a.b", "/axb"));
}

static void naming_a_cgroup_is_not_being_above_it(void **state)
{
	(void)state;
	assert_true(names("/a/*", "/a/b"));
	assert_false(names("/a/*", "/a/b/c"));
	assert_true(names("unit:x.service", "/s/x.service"));
	assert_false(names("unit:x.service", "/s/x.service/sub"));
	assert_true(names("/", "/"));
	assert_false(names("/", "/a"));
	assert_false(names("/*", "/"));
	assert_false(names("comm:a", "/a"));
}

static void programs_are_told_by_path_name_and_owner(void **state)
{
	const struct subject s = { .comm = "cc1plus",
				   .exe = "/usr/lib/gcc/cc1plus",
				   .known_ids = true,
				   .uid = 0,
				   .gid = 5 };

	(void)state;
	assert_true(matches("comm:cc1plus", &s));
	assert_true(matches("comm:cc1*", &s));
	assert_false(matches("comm:cc1", &s));
	assert_true(matches("exe:/usr/lib/*/cc1plus", &s));
	assert_false(matches("exe:/usr/*/cc1plus", &s));
	assert_false(matches("exe:/usr/lib/gcc", &s));
	assert_true(matches("uid:0", &s));
	assert_true(matches("uid:root", &s));
	assert_false(matches("uid:1", &s));
	assert_true(matches("gid:5", &s));
	assert_false(matches("gid:root", &s));
}

static void what_is_not_known_matches_nothing(void **state)
{
	static const char *const all[] = { "/", "unit:a", "exe:/*", "comm:*", "uid:0", "gid:0" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		assert_false(matches(all[i], &(struct subject){ 0 }));
}

static void an_upgraded_program_is_still_itself(void **state)
{
	(void)state;
	assert_true(matches("exe:/usr/bin/dbus-daemon",
			    &(struct subject){ .exe = "/usr/bin/dbus-daemon (deleted)" }));
	assert_false(matches("exe:/usr/bin/dbus", &(struct subject){ .exe = " (deleted)" }));
}

static void a_long_comm_is_cut_as_the_kernel_cuts_it(void **state)
{
	_cleanup_(pattern_free)
	struct pattern p;

	(void)state;
	parse(&p, "comm:gnome-software-daemon");
	assert_true(p.cut);
	assert_string_equal(p.text, "gnome-software-");
	assert_true(pattern_matches(&p, &(struct subject){ .comm = "gnome-software-" }));
	pattern_free(&p);
	parse(&p, "comm:exactly-15-long");
	assert_false(p.cut);
}

static void what_can_match_nothing_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"foo",
		"cgroup:",
		"cgroup:a/b",
		"unit:",
		"unit:a/b",
		"unit:a*",
		"unit:..",
		"exe:",
		"exe:sshd",
		"exe:*/sshd",
		"comm:",
		"uid:",
		"uid:-1",
		"uid:no such",
		"uid:4294967295",
		"gid:x y",
		"uid:1.5",
		"/a/../b",
		"/a//b",
		"/./a",
		"/a/..",
		"/a[b",
		"/a[b/c]",
		"/a[]b",
		"comm:[a",
		"Comm:x",
		"pid:1",
		"unit:unit:a.service",
		"comm:a-glob-that-is-long*",
		"cgroup:/a[[:alpha:]",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *error = NULL;
		struct pattern p;

		if (pattern_parse(&p, bad[i], &error) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
		assert_non_null(error);
		assert_non_null(strchr(error, ' '));
		assert_null(p.text);
	}
}

static void everything_is_recognized(void **state)
{
	static const struct {
		const char *text;
		bool everything;
	} cases[] = {
		{ "/", true },	 { "/*", true },      { "cgroup:/**", true }, { "/*/*", true },
		{ "/?*", true }, { "/*/", true },     { "/a*", false },	      { "/*/a", false },
		{ "/?", false }, { "/[a-z]", false }, { "unit:a", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(pattern_free)
		struct pattern p;

		parse(&p, cases[i].text);
		if (pattern_is_everything(&p) != cases[i].everything)
			fail_msg("%s", cases[i].text);
	}
}

static void a_list_gives_the_first_that_matches(void **state)
{
	_cleanup_(pattern_list_free)
	struct pattern_list list = { 0 };
	struct pattern p;
	char buf[64];

	(void)state;
	parse(&p, "comm:a");
	assert_int_equal(pattern_list_add(&list, &p), 0);
	parse(&p, "/x");
	assert_int_equal(pattern_list_add(&list, &p), 0);
	parse(&p, "unit:y");
	assert_int_equal(pattern_list_add(&list, &p), 0);
	pattern_print(pattern_list_match(&list, &(struct subject){ .cgroup_path = "/x/y" }), buf,
		      sizeof(buf));
	assert_string_equal(buf, "cgroup:/x");
	assert_null(pattern_list_match(&list, &(struct subject){ .cgroup_path = "/z" }));
}

static void paths_longer_than_the_system_allows_do_no_harm(void **state)
{
	char path[3 * 4096];
	const char *error;
	struct pattern p;

	(void)state;
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(pattern_parse(&p, path, &error), -EINVAL);
	assert_false(matches_cgroup("/a", path));
	assert_false(matches("exe:/a", &(struct subject){ .exe = path }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cgroup_brings_everything_below_it),
		cmocka_unit_test(a_star_does_not_cross_a_slash),
		cmocka_unit_test(a_backslash_is_literal),
		cmocka_unit_test(brackets_stand_for_one_character),
		cmocka_unit_test(a_unit_is_a_directory_of_that_name_anywhere),
		cmocka_unit_test(naming_a_cgroup_is_not_being_above_it),
		cmocka_unit_test(programs_are_told_by_path_name_and_owner),
		cmocka_unit_test(what_is_not_known_matches_nothing),
		cmocka_unit_test(an_upgraded_program_is_still_itself),
		cmocka_unit_test(a_long_comm_is_cut_as_the_kernel_cuts_it),
		cmocka_unit_test(what_can_match_nothing_is_refused),
		cmocka_unit_test(everything_is_recognized),
		cmocka_unit_test(a_list_gives_the_first_that_matches),
		cmocka_unit_test(paths_longer_than_the_system_allows_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
