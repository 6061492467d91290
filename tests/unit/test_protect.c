// SPDX-License-Identifier: GPL-2.0-or-later
/* Who cannot be an offender. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "decide/protect.h"
#include "lib/cleanup.h"

static const struct pattern_list none;

static struct pattern work[] = { { .kind = PATTERN_CGROUP, .text = (char *)"/work" },
				 { .kind = PATTERN_COMM, .text = (char *)"vip" } };
static const struct pattern_list some = { work, ARRAY_SIZE(work) };

static const struct protect_rules open_rules = { "/", &none, &none, &none };

/* An ordinary process that nothing protects. */
static struct protect_facts ordinary(void)
{
	return (struct protect_facts){ .pid = 4711,
				       .subject = { .cgroup_path = "/user.slice/app",
						    .comm = "hog",
						    .exe = "/home/u/hog",
						    .known_ids = true,
						    .uid = 1000,
						    .gid = 1000 } };
}

static void an_ordinary_process_or_cgroup_may_be_acted_on(void **state)
{
	struct protect_facts process = ordinary();
	struct protect_facts cgroup = { .subject.cgroup_path = "/user.slice/app" };

	(void)state;
	assert_null(protect_refusal(&open_rules, &process));
	assert_null(protect_refusal(&open_rules, &cgroup));
}

static void each_fact_that_forbids_it_forbids_it(void **state)
{
	struct protect_facts f;

	(void)state;
#define REFUSED(set, text)                                                   \
	do {                                                                 \
		f = ordinary();                                              \
		set;                                                         \
		assert_non_null(protect_refusal(&open_rules, &f));           \
		assert_string_equal(protect_refusal(&open_rules, &f), text); \
	} while (0)
	REFUSED(f.own = true, "the agent itself, or a parent of it");
	REFUSED(f.pid = 1, "pid 1");
	REFUSED(f.kernel_thread = true, "a kernel thread");
	REFUSED(f.oom_score_adj = -1000, "its oom_score_adj is -1000");
	REFUSED(f.traced = true, "being traced by a debugger");
	REFUSED(f.stopped = true, "stopped already");
	REFUSED(f.serves_io = true, "serves a file system or block device");
	REFUSED(f.oomd_omit = true, "its cgroup has user.oomd_omit");
	REFUSED(f.pid = 0; f.holds_own = true, "the agent runs in it or below it");
	REFUSED(f.pid = 0; f.session = true, "a whole login session");
	REFUSED(f.pid = 0; f.holds_protected = true, "holds a protected process");
	REFUSED(f.pid = 0; f.subject.cgroup_path = "/", "the root cgroup");
	REFUSED(f.subject.exe = "/usr/sbin/sshd", "protected by the built-in list");
#undef REFUSED
}

/* A process in a session may be stopped: it is the whole session that must not be. */
static void what_protects_a_cgroup_does_not_protect_each_process_in_it(void **state)
{
	struct protect_facts f = ordinary();

	(void)state;
	f.session = f.holds_protected = f.holds_own = true;
	f.oom_score_adj = -999;
	assert_null(protect_refusal(&open_rules, &f));
}

static void outside_only_nothing_is_touched(void **state)
{
	const struct protect_rules rules = { "/work", &none, &none, &none };
	struct protect_facts f = ordinary();

	(void)state;
	assert_string_equal(protect_refusal(&rules, &f), "outside `only`");
	f.subject.cgroup_path = "/works";
	assert_non_null(protect_refusal(&rules, &f));
	f.subject.cgroup_path = NULL;
	assert_non_null(protect_refusal(&rules, &f));
	f.subject.cgroup_path = "/work";
	assert_null(protect_refusal(&rules, &f));
	f.subject.cgroup_path = "/work/a";
	assert_null(protect_refusal(&rules, &f));
}

static void the_configuration_protects(void **state)
{
	const struct protect_rules rules = { "/", &some, &none, &none };
	struct protect_facts f = ordinary();

	(void)state;
	assert_null(protect_refusal(&rules, &f));
	f.subject.comm = "vip";
	assert_string_equal(protect_refusal(&rules, &f), "protected by the configuration");
	f = ordinary();
	f.subject.cgroup_path = "/work/a";
	assert_non_null(protect_refusal(&rules, &f));
}

static void the_builtin_list_knows_programs_by_their_place(void **state)
{
	static const char *const safe[] = {
		"/usr/lib/systemd/systemd",
		"/usr/lib/systemd/systemd-journald",
		"/usr/lib/systemd/systemd-logind",
		"/usr/bin/udevadm",
		"/lib/systemd/systemd-udevd",
		"/usr/bin/dbus-daemon",
		"/usr/bin/dbus-broker",
		"/usr/lib/xorg/Xorg",
		"/usr/bin/Xwayland",
		"/usr/bin/gnome-shell",
		"/usr/bin/kwin_wayland",
		"/usr/bin/sway",
		"/usr/bin/dbus-daemon (deleted)",
	};
	static const char *const not_safe[] = { "/home/u/Xorg", "/usr/bin/bash", "/tmp/systemd",
						"/usr/lib/systemd/user/x" };
	struct protect_facts f = ordinary();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(safe); i++) {
		f.subject.exe = safe[i];
		if (!protect_refusal(&open_rules, &f))
			fail_msg("%s", safe[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(not_safe); i++) {
		f.subject.exe = not_safe[i];
		/* A name alone protects nobody: anyone can take it. */
		f.subject.comm = "Xorg";
		if (protect_refusal(&open_rules, &f))
			fail_msg("%s", not_safe[i]);
	}
}

static void who_is_about_to_be_a_service_is_not_the_service_manager(void **state)
{
	static const char *const managers[] = { "systemd", "(sd-pam)", "(systemd", "systemd)" };
	struct protect_facts f = ordinary();

	(void)state;
	f.subject.comm = "(postgres)";
	f.subject.exe = "/usr/lib/systemd/systemd-executor";
	assert_null(protect_refusal(&open_rules, &f));
	f.subject.exe = "/lib/systemd/systemd";
	assert_null(protect_refusal(&open_rules, &f));
	for (size_t i = 0; i < ARRAY_SIZE(managers); i++) {
		f.subject.comm = managers[i];
		assert_non_null(protect_refusal(&open_rules, &f));
	}
	/* Nobody else gets rid of what protects them. */
	f.subject.comm = "(x)";
	f.subject.exe = "/usr/bin/sway";
	assert_non_null(protect_refusal(&open_rules, &f));
}

/* --check prints the list, so each must be a pattern as a user would write it. */
static void the_builtin_list_is_of_valid_patterns(void **state)
{
	(void)state;
	for (const char *const *text = protect_builtin; *text; text++) {
		_cleanup_(pattern_free)
		struct pattern p;
		const char *error;

		assert_int_equal(pattern_parse(&p, *text, &error), 0);
		assert_int_equal(p.kind, PATTERN_EXE);
	}
}

static void preference_weighs(void **state)
{
	const struct protect_rules prefer = { "/", &none, &some, &none };
	const struct protect_rules avoid = { "/", &none, &none, &some };
	struct protect_facts f = ordinary();

	(void)state;
	assert_true(protect_weight(&prefer, &f) == 1);
	f.subject.comm = "vip";
	assert_true(protect_weight(&prefer, &f) == 16);
	assert_true(protect_weight(&avoid, &f) == 1.0 / 64);
	f.oomd_avoid = true;
	assert_true(protect_weight(&avoid, &f) == 1.0 / 64);
	assert_true(protect_weight(&prefer, &f) == 0.25);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ordinary_process_or_cgroup_may_be_acted_on),
		cmocka_unit_test(each_fact_that_forbids_it_forbids_it),
		cmocka_unit_test(what_protects_a_cgroup_does_not_protect_each_process_in_it),
		cmocka_unit_test(outside_only_nothing_is_touched),
		cmocka_unit_test(the_configuration_protects),
		cmocka_unit_test(the_builtin_list_knows_programs_by_their_place),
		cmocka_unit_test(who_is_about_to_be_a_service_is_not_the_service_manager),
		cmocka_unit_test(the_builtin_list_is_of_valid_patterns),
		cmocka_unit_test(preference_weighs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
