// SPDX-License-Identifier: GPL-2.0-or-later
/* What culpritd refuses: with the documented status, in one line that says what to do, and with
 * nothing changed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "live.h"

#define NOBODY 65534

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* It must end by itself with this status, say so in one line, and leave no socket and no pins. */
static void refused(int status, const char *says, const char *const *before,
		    const char *const *options, const char *text)
{
	int got = live_wait(agent_spawn_with(before, options, text));

	if (got != status || !agent_logged(says) || agent_log_lines() != 1) {
		agent_print_log();
		fail_msg("exit status %d (expected %d), expected one line with '%s'", got, status,
			 says);
	}
	assert_true(agent_logged("culpritd: "));
	assert_int_equal(access(agent_file("control"), F_OK), -1);
	assert_int_equal(access(agent_pin_dir(), F_OK), -1);
}

static void every_error_of_a_configuration_is_told_with_its_line(void **state)
{
	static const char text[] = "[workload w]\ncgroup = relative\n"
				   "[policy p]\nsignal = cpu\nenter = 15\naction = freeze\n"
				   "target = stranger\n";

	(void)state;
	assert_int_equal(live_wait(agent_spawn(text)), 2);
	/* The lines before the text are the [agent] section. */
	assert_true(agent_logged("culprit.conf:7: "));
	assert_true(agent_logged("culprit.conf:10: "));
	assert_true(agent_logged("culprit.conf:12: "));
	assert_int_equal(agent_log_lines(), 3);
	assert_int_equal(access(agent_file("state"), F_OK), -1);
}

static void an_ordinary_user_may_check_a_configuration(void **state)
{
	char copy[256];
	char *const cp[] = { "cp", (char *)(uintptr_t)live_program("culpritd"), copy, NULL };

	(void)state;
	snprintf(copy, sizeof(copy), "%s", agent_file("culpritd"));
	assert_int_equal(chmod(live_tmpdir(), 0755), 0);
	/* The tree may lie where others cannot go. */
	assert_int_equal(live_wait(live_exec(NULL, NULL, cp)), 0);
	agent_write_config("");
	assert_int_equal(chmod(agent_file("culprit.conf"), 0644), 0);
	for (int broken = 0; broken < 2; broken++) {
		char *const argv[] = { "setpriv",
				       "--reuid=65534",
				       "--clear-groups",
				       copy,
				       "--check",
				       "--config",
				       (char *)(uintptr_t)agent_file("culprit.conf"),
				       NULL };

		(void)unlink(agent_file("agent.log"));
		assert_int_equal(live_wait(live_exec(NULL, agent_file("agent.log"), argv)),
				 broken ? 2 : 0);
		assert_true(agent_logged(broken ? "culprit.conf:6: " : "is good"));
		agent_write_config("[nonsense]\n");
		assert_int_equal(chmod(agent_file("culprit.conf"), 0644), 0);
	}
}

/* Starts what stands behind it in this cgroup of the test's. */
#define INSIDE(cgroup) LIST("sh", "-c", inside_script(cgroup), "sh")

static const char *inside_script(const char *cgroup)
{
	static char script[2 * PATH_MAX];

	snprintf(script, sizeof(script), "echo 0 > %s%s/cgroup.procs && exec \"$@\"",
		 live_fs()->mount, live_path(cgroup));
	return script;
}

/* The shell stays there, what it starts does not. */
static const char *started_inside_script(const char *cgroup)
{
	static char script[3 * PATH_MAX];

	snprintf(script, sizeof(script),
		 "echo 0 > %s%s/cgroup.procs && (echo 0 > %s%s/cgroup.procs && exec \"$@\"); "
		 "exit $?",
		 live_fs()->mount, live_path(cgroup), live_fs()->mount, live_root());
	return script;
}

/* Behind the five lines of [agent]. */
static const char holds_agent[] =
	"[workload free]\ncgroup = %s/free\n"
	"[workload batch]\ncgroup = %s/batch\n"
	"[policy p]\nsignal = cpu\naction = freeze\ntarget = free, batch\n";

static void a_target_with_the_agent_in_it_is_refused_with_its_line(void **state)
{
	static const char *const says = "culprit.conf:8: workload batch is a target and has the "
					"agent in it (/culprit-test-";

	(void)state;
	live_cgroup("batch");
	live_cgroup("batch/agent");
	refused(2, says, INSIDE("batch"), NULL, holds_agent);
	refused(2, says, INSIDE("batch/agent"), NULL, holds_agent);
	refused(2, ", which started the agent, in it (/culprit-test-",
		LIST("sh", "-c", started_inside_script("batch"), "sh"), NULL, holds_agent);
	assert_int_equal(access(agent_file("state"), F_OK), -1);
}

static void a_check_inside_of_a_target_warns_and_finds_the_rest_good(void **state)
{
	(void)state;
	live_cgroup("batch");
	assert_int_equal(live_wait(agent_spawn_with(INSIDE("batch"), LIST("--check"), holds_agent)),
			 0);
	assert_true(agent_logged("warning: "));
	assert_true(agent_logged("culprit.conf:8: workload batch is a target and has this check"));
	assert_true(agent_logged("is good"));
	assert_int_equal(agent_log_lines(), 2);
}

static void a_reload_with_the_agent_in_a_target_keeps_the_old_configuration(void **state)
{
	char error[128], policy[32];

	(void)state;
	live_cgroup("batch");
	live_cgroup("free");
	agent_start_with(INSIDE("batch"), NULL,
			 "[workload free]\ncgroup = %s/free\n"
			 "[policy old]\nsignal = cpu\naction = freeze\ntarget = free\n");
	agent_write_config(holds_agent);
	assert_null(agent_call("Reload", NULL, error, sizeof(error)));
	assert_string_equal(error, "io.culprit.Agent.BadConfiguration");
	assert_true(agent_logged("culprit.conf:8: workload batch is a target and has the agent"));
	agent_policy_state("old", policy, sizeof(policy));
	assert_string_not_equal(policy, "absent");
	assert_int_equal(agent_stop(), 0);
}

static void nonsense_on_the_command_line_is_refused_with_status_2(void **state)
{
	static const struct {
		const char *option, *value, *says;
	} cases[] = {
		{ "--nonsense", NULL, "--nonsense: no such option" },
		{ "--only", NULL, "--only: its value is missing" },
		{ "--only", "relative", "--only 'relative': give an absolute path" },
		{ "--only", "/a/../b", "without .." },
		{ "--state-dir", "state", "--state-dir 'state': give an absolute path" },
		{ "--socket", "./x", "--socket './x': give an absolute path" },
		{ "--pin-dir", "", "--pin-dir '': give an absolute path" },
		{ "--pin-dir", "/", "is the root directory" },
		{ "--state-dir", "//", "is the root directory" },
		{ "--config", "", "--config '': name a configuration file" },
		{ "--log-level", "loud", "error, warning, notice, info or debug" },
		{ "--source", "cpu", "say SENSE=SOURCE" },
		{ "--source", "cpu=magic", "cpu.stat" },
		{ "--source", "smell=any", "the senses are cpu" },
		{ "--json", NULL, "--support" },
		{ "surplus", NULL, "'surplus': culpritd takes options only" },
		{ "--a\nb\033[31m", NULL, "--a\\x0ab\\x1b[31m: no such option" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		refused(2, cases[i].says, NULL,
			(const char *[]){ cases[i].option, cases[i].value, NULL }, "");
		assert_int_equal(access(agent_file("state"), F_OK), -1);
	}
	refused(2, "exclude one another", NULL, LIST("--check", "--release"), "");
	/* agent_spawn_with() itself gives --config, which two of the modes do not listen to. */
	refused(2, "--config: --release does not listen to it", NULL, LIST("--release"), "");
	refused(2, "--config: --support does not listen to it", NULL, LIST("--support"), "");
	refused(2, "--shadow: --check does not listen to it", NULL, LIST("--check", "--shadow"),
		"");
	refused(2, "--only: --check does not listen to it", NULL, LIST("--only", "/a", "--check"),
		"");
}

static void who_may_not_is_told_so_before_anything_is_touched(void **state)
{
	char copy[256];
	char *const cp[] = { "cp", (char *)(uintptr_t)live_program("culpritd"), copy, NULL };
	char *const argv[] = { "setpriv", "--reuid=65534", "--clear-groups", copy, NULL };

	(void)state;
	refused(1, "CAP_BPF", LIST("setpriv", "--bounding-set=-sys_admin,-bpf,-perfmon"), NULL, "");
	assert_int_equal(access(agent_file("state"), F_OK), -1);
	snprintf(copy, sizeof(copy), "%s", agent_file("culpritd"));
	assert_int_equal(chmod(live_tmpdir(), 0755), 0);
	assert_int_equal(live_wait(live_exec(NULL, NULL, cp)), 0);
	(void)unlink(agent_file("agent.log"));
	assert_int_equal(live_wait(live_exec(NULL, agent_file("agent.log"), argv)), 1);
	assert_true(agent_logged("run culpritd as root"));
	assert_int_equal(agent_log_lines(), 1);
}

static void an_unsafe_or_unwritable_state_directory_is_refused(void **state)
{
	char dir[256], below[280], mount_full[400], mount_readonly[400];
	const char *const *with_dir = (const char *[]){ "--state-dir", dir, NULL };
	const char *const *with_below = (const char *[]){ "--state-dir", below, NULL };

	(void)state;
	snprintf(dir, sizeof(dir), "%s", agent_file("directory"));
	snprintf(below, sizeof(below), "%s/below", dir);
	snprintf(mount_full, sizeof(mount_full),
		 "mount -t tmpfs -o size=64k,mode=755 none %s && exec \"$@\"", dir);
	snprintf(mount_readonly, sizeof(mount_readonly),
		 "mount -t tmpfs -o ro,mode=755 none %s && exec \"$@\"", dir);
	refused(1, "mkdir -p", NULL, with_below, "");
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_int_equal(chown(dir, NOBODY, 0), 0);
	refused(1, "chown root", NULL, with_dir, "");
	refused(1, "chown root", NULL, with_below, "");
	assert_int_equal(access(below, F_OK), -1);
	assert_int_equal(chown(dir, 0, 0), 0);
	assert_int_equal(chmod(dir, 0777), 0);
	refused(1, "chmod go-w", NULL, with_dir, "");
	refused(1, "chmod go-w", NULL, with_below, "");
	assert_int_equal(access(below, F_OK), -1);
	assert_int_equal(chmod(dir, 0755), 0);
	refused(1, "make room", LIST("unshare", "-m", "sh", "-c", mount_full, "sh"), with_below,
		"");
	refused(1, "Read-only file system", LIST("unshare", "-m", "sh", "-c", mount_readonly, "sh"),
		with_below, "");
	assert_int_equal(symlink(dir, agent_file("link")), 0);
	snprintf(below, sizeof(below), "%s", agent_file("link"));
	refused(1, "must be root's", NULL, with_below, "");
	assert_int_equal(access(agent_file("directory/ledger"), F_OK), -1);
}

static void a_second_agent_is_refused_whatever_it_shares_with_the_first(void **state)
{
	static const struct {
		const char *own[2][2];
		const char *says;
	} cases[] = {
		{ { { "--socket", "control2" }, { "--pin-dir", NULL } },
		  "uses this state directory" },
		{ { { "--state-dir", "state2" }, { "--pin-dir", NULL } }, "another agent answers" },
		{ { { "--state-dir", "state2" }, { "--socket", "control2" } },
		  "another agent pins its maps" },
	};
	char pin_dir[160], pid[32];

	(void)state;
	agent_start("");
	snprintf(pid, sizeof(pid), "(pid %d)", (int)agent_pid());
	snprintf(pin_dir, sizeof(pin_dir), "%s-second", agent_pin_dir());
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *argv[16] = { live_program("culpritd"), "--config",
					 agent_file("culprit.conf") };
		unsigned int n = 3;

		for (unsigned int o = 0; o < 2; o++) {
			const char *value = cases[i].own[o][1];

			argv[n++] = cases[i].own[o][0];
			argv[n++] = value ? agent_file(value) : pin_dir;
		}
		assert_int_equal(
			live_wait(live_exec(NULL, agent_file("agent.log"), (char *const *)argv)),
			1);
		assert_true(agent_logged(cases[i].says));
		assert_int_equal(access(pin_dir, F_OK), -1);
		assert_int_equal(access(agent_file("state2"), F_OK), -1);
		assert_int_equal(access(agent_file("control2"), F_OK), -1);
	}
	assert_true(agent_logged(pid));
	assert_int_equal(agent_stop(), 0);
}

static void a_refused_start_takes_away_what_it_has_made_and_nothing_else(void **state)
{
	char file[256], socket[512];
	const char *const *options = (const char *[]){ "--socket", socket, NULL };

	(void)state;
	/* The directory of the socket would be a file. */
	snprintf(file, sizeof(file), "%s", agent_file("file"));
	snprintf(socket, sizeof(socket), "%s/control", file);
	close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	refused(1, "the control socket cannot be made", NULL, options, "");
	assert_int_equal(access(agent_file("state"), F_OK), -1);
	assert_int_equal(mkdir(agent_file("state"), 0755), 0);
	refused(1, "the control socket cannot be made", NULL, options, "");
	assert_int_equal(access(agent_file("state"), F_OK), 0);
	assert_int_equal(access(agent_file("state/ledger"), F_OK), -1);
	/* One that an agent has used stays. */
	agent_start("");
	assert_int_equal(agent_stop(), 0);
	assert_int_equal(access(agent_file("state/ledger"), F_OK), 0);
	refused(1, "the control socket cannot be made", NULL, options, "");
	assert_int_equal(access(agent_file("state/ledger"), F_OK), 0);
	assert_int_equal(unlink(file), 0);
	snprintf(socket, sizeof(socket), "%s/%0100d", file, 0);
	refused(1, "at most 103 bytes", NULL, options, "");
	assert_int_equal(access(file, F_OK), -1);
}

static int release(const char *log)
{
	const char *argv[] = { live_program("culpritd"),
			       "--release",
			       "--state-dir",
			       agent_file("state"),
			       "--socket",
			       agent_file("control"),
			       "--pin-dir",
			       agent_pin_dir(),
			       NULL };

	(void)unlink(log);
	return live_wait(live_exec(NULL, log, (char *const *)argv));
}

static void release_is_refused_beside_an_agent_and_quiet_without_work(void **state)
{
	char pid[32];

	(void)state;
	assert_int_equal(release(agent_file("agent.log")), 0);
	assert_int_equal(agent_log_lines(), 0);
	agent_start("");
	snprintf(pid, sizeof(pid), "(pid %d)", (int)agent_pid());
	assert_int_equal(release(agent_file("agent.log")), 1);
	assert_true(agent_logged(pid));
	assert_int_equal(agent_log_lines(), 1);
	assert_int_equal(access(agent_file("control"), F_OK), 0);
	assert_int_equal(access(agent_pin_dir(), F_OK), 0);
	assert_int_equal(agent_stop(), 0);
	assert_int_equal(release(agent_file("agent.log")), 0);
	assert_int_equal(agent_log_lines(), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, live_setup, live_teardown)
	const struct CMUnitTest tests[] = {
		T(every_error_of_a_configuration_is_told_with_its_line),
		T(an_ordinary_user_may_check_a_configuration),
		T(a_target_with_the_agent_in_it_is_refused_with_its_line),
		T(a_check_inside_of_a_target_warns_and_finds_the_rest_good),
		T(a_reload_with_the_agent_in_a_target_keeps_the_old_configuration),
		T(nonsense_on_the_command_line_is_refused_with_status_2),
		T(who_may_not_is_told_so_before_anything_is_touched),
		T(an_unsafe_or_unwritable_state_directory_is_refused),
		T(a_second_agent_is_refused_whatever_it_shares_with_the_first),
		T(a_refused_start_takes_away_what_it_has_made_and_nothing_else),
		T(release_is_refused_beside_an_agent_and_quiet_without_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
