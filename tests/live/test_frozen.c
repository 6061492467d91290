// SPDX-License-Identifier: GPL-2.0-or-later
/* The file for monitoring: there while something is held, and gone whoever lets it go. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"
#include "mini.h"

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })

static const char workload[] = "[workload hog]\ncgroup = %s/hog\n";

static const char *path(void)
{
	return agent_file("state/frozen");
}

static bool is_there(void *unused)
{
	(void)unused;
	return access(path(), F_OK) == 0;
}

static bool is_gone(void *unused)
{
	return !is_there(unused);
}

/* Soon, for it is written when the loop is idle. */
static void wait_there(void)
{
	if (!live_until(is_there, NULL, 1000))
		fail_msg("%s is not there", path());
}

static void wait_gone(void)
{
	if (!live_until(is_gone, NULL, 1000))
		fail_msg("%s is still there", path());
}

static unsigned int count_lines(void)
{
	char line[8192];
	_cleanup_fclose_ FILE *f = fopen(path(), "re");
	unsigned int n = 0;

	while (f && fgets(line, sizeof(line), f))
		n++;
	return n;
}

static bool has_lines(void *n)
{
	return count_lines() == (unsigned int)(uintptr_t)n;
}

static void wait_lines(unsigned int n)
{
	if (!live_until(has_lines, (void *)(uintptr_t)n, 1000))
		fail_msg("%u lines and not %u", count_lines(), n);
}

/* The columns of its line number `at`, as a script reads them. */
struct row {
	char text[8192];
	const char *kind, *id, *name, *policy, *since, *reason;
};

static struct row row(unsigned int at)
{
	static struct row row;
	_cleanup_fclose_ FILE *f = fopen(path(), "re");
	const char **columns[] = { &row.kind,	&row.id,    &row.name,
				   &row.policy, &row.since, &row.reason };
	char *rest = row.text;

	assert_non_null(f);
	for (unsigned int i = 0; i <= at; i++)
		assert_non_null(fgets(row.text, sizeof(row.text), f));
	row.text[strcspn(row.text, "\n")] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		*columns[i] = strsep(&rest, "\t");
		assert_non_null(*columns[i]);
	}
	assert_null(rest);
	return row;
}

/* The client's exit status; what it says is in client.log. */
static int culprit(const char *verb, const char *argument)
{
	const char *argv[] = {
		live_program("culprit"), "--socket", agent_file("control"), verb, argument, NULL
	};

	(void)unlink(agent_file("client.log"));
	return live_wait(live_exec(NULL, agent_file("client.log"), (char *const *)argv));
}

static bool client_said(const char *text)
{
	char line[1024];
	_cleanup_fclose_ FILE *f = fopen(agent_file("client.log"), "re");

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, text))
			return true;
	return false;
}

static pid_t guardian(void)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error));
	pid_t pid;

	assert_non_null(reply);
	pid = (pid_t)json_integer_value(json_object_get(
		json_object_get(json_object_get(reply, "status"), "agent"), "guardian_pid"));
	json_decref(reply);
	assert_true(pid > 1);
	return pid;
}

static unsigned int degraded(const char *text)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error)), *line;
	unsigned int n = 0;
	size_t i;

	assert_non_null(reply);
	json_array_foreach (
		json_object_get(json_object_get(json_object_get(reply, "status"), "agent"),
				"degraded"),
		i, line)
		n += strstr(json_string_value(line), text) != NULL;
	json_decref(reply);
	return n;
}

static void freeze_hog(void)
{
	assert_int_equal(culprit("freeze", "hog"), 0);
	wait_there();
}

static void what_is_held_by_hand_has_its_line_as_long(void **state)
{
	char id[32], pid[32], target[48];
	uint64_t before_ms = unix_ms();
	pid_t process = live_fork("front", load_sleep, NULL);
	struct tm tm;
	struct row r;

	(void)state;
	agent_start(workload);
	assert_int_equal(culprit("status", NULL), 0);
	assert_true(client_said("claims: none"));
	assert_false(is_there(NULL));

	freeze_hog();
	r = row(0);
	snprintf(id, sizeof(id), "%llu", (unsigned long long)live_cgroup("hog"));
	assert_string_equal(r.kind, "cgroup");
	assert_string_equal(r.id, id);
	assert_string_equal(r.name, live_path("hog"));
	assert_string_equal(r.policy, "operator");
	assert_non_null(strptime(r.since, "%Y-%m-%dT%H:%M:%S", &tm));
	tm.tm_isdst = 0;
	assert_in_range(timegm(&tm), before_ms / 1000, unix_ms() / 1000);
	assert_string_not_equal(r.reason, "-");

	snprintf(pid, sizeof(pid), "%d", (int)process);
	snprintf(target, sizeof(target), "pid:%d", (int)process);
	assert_int_equal(culprit("freeze", target), 0);
	wait_lines(2);
	assert_string_equal(row(0).id, id);
	r = row(1);
	assert_string_equal(r.kind, "process");
	assert_string_equal(r.id, pid);
	assert_string_equal(r.name, "test_frozen");

	/* The same to people, and it is no failure that something is held. */
	assert_int_equal(culprit("status", NULL), 0);
	assert_true(client_said(id));
	assert_true(client_said(pid));
	assert_true(client_said(live_path("hog")));

	assert_int_equal(culprit("thaw", "hog"), 0);
	wait_lines(1);
	assert_string_equal(row(0).kind, "process");
	assert_int_equal(culprit("thaw", target), 0);
	wait_gone();
	assert_int_equal(agent_stop(), 0);
}

static int load_named(void *name)
{
	prctl(PR_SET_NAME, name);
	return load_sleep(NULL);
}

static bool has_name(void *pid)
{
	char file[64], comm[64] = "";
	_cleanup_fclose_ FILE *f = NULL;

	snprintf(file, sizeof(file), "/proc/%d/comm", *(pid_t *)pid);
	f = fopen(file, "re");
	return f && fread(comm, 1, sizeof(comm) - 1, f) > 0 && strncmp(comm, "a\tb", 3) == 0;
}

static void a_name_cannot_make_lines_of_its_own(void **state)
{
	pid_t process = live_fork("front", load_named, "a\tb\ncgroup\t1\t/");
	char target[48];

	(void)state;
	assert_true(live_until(has_name, &process, 1000));
	agent_start("");
	snprintf(target, sizeof(target), "pid:%d", (int)process);
	assert_int_equal(culprit("freeze", target), 0);
	wait_there();
	assert_int_equal(count_lines(), 1);
	assert_string_equal(row(0).name, "a\\x09b\\x0acgroup\\x091\\x09/");
	assert_int_equal(agent_stop(), 0);
	assert_false(is_there(NULL));
}

static void it_follows_a_policy_and_is_not_written_again_for_nothing(void **state)
{
	struct stat before, after;
	pid_t front;

	(void)state;
	agent_start(agent_hog_yields);
	front = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	wait_there();
	assert_string_equal(row(0).policy, "front-first");
	assert_int_equal(stat(path(), &before), 0);
	/* Events that change nothing about it, ticks and pulses. */
	assert_int_equal(culprit("reload", NULL), 0);
	usleep(1500 * 1000);
	assert_int_equal(stat(path(), &after), 0);
	assert_int_equal(after.st_ino, before.st_ino);
	assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
	live_kill(front);
	json_decref(agent_wait_event("thawed", "front-first", 5000));
	wait_gone();
	assert_int_equal(agent_stop(), 0);
}

static void what_shadow_mode_would_hold_is_not_in_it(void **state)
{
	(void)state;
	agent_start_with(NULL, LIST("--shadow"), agent_hog_yields);
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	usleep(300 * 1000);
	assert_false(is_there(NULL));
	assert_int_equal(agent_stop(), 0);
}

static void what_others_let_go_has_no_line_until_it_is_held_again(void **state)
{
	(void)state;
	agent_start(agent_hog_yields);
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	wait_there();
	mini_write_freeze("hog", "0");
	wait_gone();
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	wait_there();
	assert_int_equal(count_lines(), 1);
	assert_int_equal(agent_stop(), 0);
}

static int load_stubborn(void *unused)
{
	signal(SIGTERM, SIG_IGN);
	return load_spin(unused);
}

/* Of which no event tells. */
static void what_is_asked_to_end_runs_again_and_has_no_line(void **state)
{
	char config[512];

	(void)state;
	live_fork("hog", load_stubborn, NULL);
	snprintf(config, sizeof(config), "%sescalate = terminate:700ms\n", agent_hog_yields);
	agent_start(config);
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	wait_there();
	assert_true(live_until(live_is_thawed, "hog", 2000));
	wait_gone();
	assert_int_equal(live_cgroup_key("hog", "cgroup.events", "populated"), 1);
	assert_int_equal(agent_stop(), 0);
}

static void killed_it_is_gone_when_its_guardian_has_let_go(void **state)
{
	(void)state;
	agent_start(workload);
	freeze_hog();
	live_kill(agent_pid());
	wait_gone();
	assert_false(live_frozen("hog"));
}

/* The agent and its guardian at once, as systemd does it when it must. */
static void kill_both(void)
{
	pid_t pid = guardian();

	kill(agent_pid(), SIGSTOP);
	kill(pid, SIGKILL);
	live_kill(agent_pid());
}

static void release(void)
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

	assert_int_equal(live_wait(live_exec(NULL, agent_file("release.log"), (char *const *)argv)),
			 0);
}

static void of_a_dead_guardian_too_release_or_the_next_agent_removes_it(void **state)
{
	(void)state;
	agent_start(workload);
	freeze_hog();
	kill_both();
	/* It says what is so: that is held. */
	assert_true(live_frozen("hog"));
	assert_int_equal(count_lines(), 1);
	release();
	assert_false(live_frozen("hog"));
	assert_false(is_there(NULL));

	agent_start(workload);
	freeze_hog();
	kill_both();
	assert_true(is_there(NULL));
	agent_start(workload);
	assert_false(live_frozen("hog"));
	assert_false(is_there(NULL));
	assert_int_equal(agent_stop(), 0);
}

static void where_it_cannot_be_written_it_is_told_once_and_tried_again(void **state)
{
	unsigned int lines;

	(void)state;
	agent_start(workload);
	assert_int_equal(mkdir(path(), 0755), 0);
	assert_int_equal(culprit("freeze", "hog"), 0);
	assert_true(live_until(live_is_frozen, "hog", 1000));
	json_decref(agent_wait_event("frozen", "operator", 2000));
	assert_int_equal(degraded("the file frozen under state_dir cannot be written"), 1);
	/* What is told of the freeze is written later than it can be asked for. */
	usleep(500 * 1000);
	lines = agent_log_lines();
	usleep(2500 * 1000);
	assert_int_equal(agent_log_lines(), lines);
	assert_int_equal(rmdir(path()), 0);
	assert_true(live_until(has_lines, (void *)1UL, 3000));
	assert_int_equal(degraded("the file frozen"), 0);
	assert_int_equal(agent_stop(), 0);
	assert_false(is_there(NULL));
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, agent_hog_setup, live_teardown)
	const struct CMUnitTest tests[] = {
		T(what_is_held_by_hand_has_its_line_as_long),
		T(a_name_cannot_make_lines_of_its_own),
		T(it_follows_a_policy_and_is_not_written_again_for_nothing),
		T(what_shadow_mode_would_hold_is_not_in_it),
		T(what_others_let_go_has_no_line_until_it_is_held_again),
		T(what_is_asked_to_end_runs_again_and_has_no_line),
		T(killed_it_is_gone_when_its_guardian_has_let_go),
		T(of_a_dead_guardian_too_release_or_the_next_agent_removes_it),
		T(where_it_cannot_be_written_it_is_told_once_and_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
