// SPDX-License-Identifier: GPL-2.0-or-later
/* The verbs of people beside the policies: by hand, on what others froze, and across reloads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "live.h"

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#else
#define SANITIZED false
#endif

#define POLICY(name, of, target)                                                   \
	"[policy " name "]\nsignal = cpu\nof = cgroup:%s/" of "\nwindow = 250ms\n" \
	"enter = 0.04cpu\ngrace = 300ms\naction = freeze\ntarget = " target "\n"

static const char cpu_config[] =
	"[workload hog]\ncgroup = %s/hog\n" POLICY("front-first", "front", "hog");

/* The client's exit status; what it said is in client.log. */
static int culprit(const char *verb, const char *argument, const char *more, const char *value)
{
	const char *argv[] = { live_program("culprit"),
			       "--socket",
			       agent_file("control"),
			       verb,
			       argument,
			       more,
			       value,
			       NULL };

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

/* The agent hears of made and removed cgroups a little later. */
static bool freezes(void *target)
{
	return culprit("freeze", target, NULL, NULL) == 1 && client_said("held: ");
}

static void done(const char *verb, const char *argument)
{
	char line[1024];
	_cleanup_fclose_ FILE *f = NULL;
	int r = culprit(verb, argument, NULL, NULL);

	f = fopen(agent_file("client.log"), "re");
	while (r && f && fgets(line, sizeof(line), f))
		print_message("    %s", line);
	if (r)
		fail_msg("culprit %s %s: exit status %d", verb, argument, r);
}

static void write_freeze(const char *cgroup, const char *value)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path(cgroup));

	assert_true(dir >= 0);
	assert_int_equal(cgroupfs_write(dir, "cgroup.freeze", value), 0);
}

static void every_kind_of_target_can_be_frozen_and_thawed_by_hand(void **state)
{
	char pid[32], unit[32], slash[128];
	const char *targets[] = { "hog", live_path("hog"), slash, unit, pid };
	pid_t process;

	(void)state;
	/* Others may have a cgroup called hog. */
	snprintf(unit, sizeof(unit), "unit:hog-%d", (int)getpid());
	snprintf(slash, sizeof(slash), "cgroup:%s//", live_path("hog"));
	live_cgroup(strchr(unit, 'h'));
	live_fork(strchr(unit, 'h'), load_sleep, NULL);
	process = live_fork("front", load_sleep, NULL);
	snprintf(pid, sizeof(pid), "pid:%d", (int)process);
	agent_start("[workload hog]\ncgroup = %s/hog\n");
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		done("freeze", targets[i]);
		json_decref(agent_wait_event(targets[i] == pid ? "stopped" : "frozen", "operator",
					     2000));
		done("why", targets[i]);
		done("thaw", targets[i]);
		assert_true(live_until(live_is_thawed, "hog", 1000));
		assert_true(live_until(live_is_thawed, strchr(unit, 'h'), 1000));
		/* Nothing is held any more. */
		if (culprit("thaw", targets[i], NULL, NULL) != 1 ||
		    !client_said("is not held by culprit"))
			fail_msg("thaw %s: twice", targets[i]);
	}
	assert_int_equal(agent_count_events("frozen", "operator"), 4);
	assert_int_equal(agent_count_events("stopped", "operator"), 1);
	assert_int_equal(agent_count_events("continued", "operator"), 1);
	assert_int_equal(agent_stop(), 0);
}

static void what_cannot_be_done_is_refused_and_says_why(void **state)
{
	static const struct {
		const char *verb, *argument, *says;
	} cases[] = {
		{ "freeze", "nobody", "is no workload" },
		{ "freeze", "/no/such", "is not there now" },
		{ "freeze", "unit:none.service", "is not there now" },
		{ "freeze", "pid:", "is no workload" },
		{ "freeze", "unit:", "is no workload" },
		{ "freeze", "pid:4194303", "is not there now" },
		{ "freeze", "/", "outside `only`" },
		{ "freeze", "cgroup:/", "outside `only`" },
		{ "freeze", "//", "outside `only`" },
		{ "freeze", "pid:1", "'pid:1' was not frozen: it is " },
		{ "thaw", "pid:1", "is not held by culprit" },
		{ "freeze", "empty", "nothing runs in it" },
		{ "thaw", "hog", "someone else froze it" },
		{ "freeze", "hog", "someone else has frozen" },
		{ "pause", "nobody", "there is no policy" },
		{ "resume", "nobody", "there is no policy" },
		{ "why", "nobody", "nothing is known of" },
	};
	char pid[32];

	(void)state;
	live_cgroup("empty");
	write_freeze("hog", "1");
	assert_true(live_until(live_is_frozen, "hog", 1000));
	agent_start("[workload hog]\ncgroup = %s/hog\n[workload empty]\ncgroup = %s/empty\n");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (culprit(cases[i].verb, cases[i].argument, NULL, NULL) != 1 ||
		    !client_said(cases[i].says))
			fail_msg("%s %s: expected status 1 and '%s'", cases[i].verb,
				 cases[i].argument, cases[i].says);
	}
	snprintf(pid, sizeof(pid), "pid:%d", (int)agent_pid());
	assert_int_equal(culprit("freeze", pid, NULL, NULL), 1);
	assert_true(client_said("the agent"));
	assert_int_equal(agent_stop(), 0);
	assert_true(live_frozen("hog"));
	write_freeze("hog", "0");
	assert_int_equal(culprit("status", NULL, NULL, NULL), 3);
	assert_true(client_said("no agent answers"));
}

static void of_several_targets_it_is_said_which_were_not_frozen_and_why(void **state)
{
	char name[32];

	(void)state;
	live_cgroup("many");
	live_cgroup("many/busy");
	live_cgroup("many/empty");
	live_cgroup("many/theirs");
	live_fork("many/busy", load_sleep, NULL);
	live_fork("many/theirs", load_sleep, NULL);
	while (live_cgroup_key("many/theirs", "cgroup.events", "populated") == 0)
		usleep(500);
	write_freeze("many/theirs", "1");
	agent_start("[workload some]\ncgroup = %s/many/*\n[workload none]\ncgroup = "
		    "%s/many/[et]*\n");
	assert_int_equal(culprit("freeze", "some", NULL, NULL), 1);
	assert_true(client_said("many/busy (claim "));
	assert_true(client_said("many/empty was not frozen: nothing runs in it"));
	assert_true(client_said("many/theirs was not frozen: someone else has frozen"));
	assert_true(live_until(live_is_frozen, "many/busy", 2000));
	assert_int_equal(culprit("freeze", "none", NULL, NULL), 1);
	assert_true(client_said("many/empty: nothing runs in it"));
	assert_true(client_said("none of the 2 cgroups of 'none' was frozen"));
	assert_int_equal(culprit("thaw", "some", NULL, NULL), 0);
	assert_true(live_until(live_is_thawed, "many/busy", 2000));
	assert_true(live_frozen("many/theirs"));
	/* More than can be held is refused whole. */
	for (int i = 0; i < 257 - 3; i++) {
		snprintf(name, sizeof(name), "many/n%d", i);
		live_cgroup(name);
	}
	live_fork("many/n253", load_sleep, NULL);
	while (live_cgroup_key("many/n253", "cgroup.events", "populated") == 0)
		usleep(500);
	assert_int_equal(culprit("freeze", "some", NULL, NULL), 1);
	assert_true(client_said("'some' stands for 257 cgroups"));
	live_rmdir("many/n0");
	assert_true(live_until(freezes, "some", 5000));
	assert_true(client_said("many/n253 (claim "));
	assert_int_equal(agent_stop(), 0);
	write_freeze("many/theirs", "0");
}

static void events_since_a_time_are_the_newer_ones(void **state)
{
	(void)state;
	agent_start("[workload hog]\ncgroup = %s/hog\n");
	assert_int_equal(culprit("freeze", "hog", "--for", "300ms"), 0);
	json_decref(agent_wait_event("thawed", "operator", 3000));
	assert_int_equal(culprit("events", "--since", "1h", NULL), 0);
	assert_true(client_said("thawed"));
	usleep(300 * 1000);
	assert_int_equal(culprit("events", "--since", "100ms", NULL), 0);
	assert_false(client_said("thawed"));
	assert_int_equal(culprit("events", "--since", "yesterday", NULL), 2);
	assert_int_equal(agent_stop(), 0);
}

static void sighup_with_errors_keeps_the_old_configuration(void **state)
{
	(void)state;
	agent_start(cpu_config);
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	agent_write_config("[policy broken]\nsignal = none\n");
	kill(agent_pid(), SIGHUP);
	json_decref(agent_wait_event("config", NULL, 3000));
	assert_true(agent_logged("culprit.conf:7: "));
	assert_true(live_frozen("hog"));
	assert_int_equal(culprit("reload", NULL, NULL, NULL), 1);
	assert_true(client_said("culprit.conf:7: "));
	assert_true(live_frozen("hog"));
	assert_int_equal(agent_stop(), 0);
}

static void a_reload_follows_changed_targets_and_only(void **state)
{
	static const char other[] =
		"[workload hog]\ncgroup = %s/hog2\n" POLICY("front-first", "front", "hog");
	char config[1024];

	(void)state;
	live_cgroup("hog2");
	live_fork("hog2", load_spin, NULL);
	agent_start(cpu_config);
	live_fork("front", load_spin, NULL);
	assert_true(live_until(live_is_frozen, "hog", 5000));
	agent_write_config(other);
	assert_int_equal(culprit("reload", NULL, NULL, NULL), 0);
	assert_true(live_until(live_is_thawed, "hog", 1000));
	assert_true(live_until(live_is_frozen, "hog2", 3000));
	/* The later section wins key by key in a file of its own; here the same one is rewritten.
	 */
	snprintf(config, sizeof(config), "%s", cpu_config);
	agent_write_config(config);
	assert_int_equal(culprit("reload", NULL, NULL, NULL), 0);
	assert_true(live_until(live_is_thawed, "hog2", 1000));
	assert_true(live_until(live_is_frozen, "hog", 3000));
	assert_int_equal(agent_stop(), 0);
	assert_false(live_frozen("hog"));
}

static int asked_to_end[2];

static void note_term(int unused)
{
	(void)unused;
	(void)!write(asked_to_end[1], "", 1);
}

static int load_deaf(void *unused)
{
	signal(SIGTERM, note_term);
	return load_sleep(unused);
}

static void write_more_config(const char *text)
{
	FILE *f;

	assert_int_equal(mkdir(agent_file("conf.d"), 0755), 0);
	f = fopen(agent_file("conf.d/more.conf"), "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void what_is_being_ended_when_only_narrows_was_not_thawed(void **state)
{
	char only[256], c;
	pid_t deaf;

	(void)state;
	assert_int_equal(pipe2(asked_to_end, O_CLOEXEC), 0);
	deaf = live_fork("hog", load_deaf, NULL);
	agent_start("[workload hog]\ncgroup = %s/hog\n[policy ends]\nsignal = cpu\n"
		    "of = cgroup:%s/front\nwindow = 250ms\nenter = 0.04cpu\n"
		    "action = terminate\ntarget = hog\n");
	live_fork("front", load_spin, NULL);
	assert_int_equal(read(asked_to_end[0], &c, 1), 1);
	snprintf(only, sizeof(only), "[agent]\nonly = %s\n", live_path("front"));
	write_more_config(only);
	assert_int_equal(culprit("reload", NULL, NULL, NULL), 0);
	json_decref(agent_wait_event("refused", "ends", 3000));
	assert_int_equal(agent_count_events("thawed", NULL), 0);
	assert_int_equal(kill(deaf, 0), 0);
	assert_int_equal(agent_stop(), 0);
	close(asked_to_end[0]);
	close(asked_to_end[1]);
}

static double value_of(const char *policy)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error));
	double value = -1;
	json_t *p;
	size_t i;

	assert_non_null(reply);
	json_array_foreach (json_object_get(json_object_get(reply, "status"), "policies"), i, p)
		if (strcmp(json_string_value(json_object_get(p, "name")), policy) == 0)
			value = json_number_value(json_object_get(p, "value"));
	json_decref(reply);
	return value;
}

/* A place for a policy that watches `of` and never acts. */
#define SUMS(name, of)                                                          \
	"[policy " name "]\nsignal = cpu\nof = cgroup:%s/" of "\nwindow = 1m\n" \
	"enter = 0.9cpu\naction = freeze\ntarget = hog\n"

static void a_reload_that_moves_a_policy_keeps_its_sum(void **state)
{
	static const char workload[] = "[workload hog]\ncgroup = %s/hog\n";
	static const char *const orders[] = {
		SUMS("new", "new") SUMS("sums", "front"),
		SUMS("sums", "front"),
		SUMS("sums", "front") SUMS("new", "new"),
		SUMS("new", "new") SUMS("new-too", "new-too") SUMS("sums", "front"),
	};
	char config[2048];
	double sum;

	(void)state;
	live_cgroup("new");
	snprintf(config, sizeof(config), "%s%s", workload, orders[1]);
	agent_start(config);
	assert_int_equal(live_wait(live_fork("front", load_spin_ms, (void *)1500UL)), 0);
	/* Until a pulse has read it. */
	usleep(1200 * 1000);
	sum = value_of("sums");
	assert_true(sum > 0.02);
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
		snprintf(config, sizeof(config), "%s%s", workload, orders[i]);
		agent_write_config(config);
		done("reload", NULL);
		if (value_of("sums") < 0.9 * sum || value_of("new") > 0.001)
			fail_msg("order %zu: %.3f of %.3f, and %.3f of nothing", i,
				 value_of("sums"), sum, value_of("new"));
	}
	/* And goes on. */
	assert_int_equal(live_wait(live_fork("front", load_spin_ms, (void *)1500UL)), 0);
	usleep(1200 * 1000);
	assert_true(value_of("sums") > 1.5 * sum);
	assert_int_equal(agent_stop(), 0);
}

static void a_unit_inside_what_is_watched_does_not_yield_to_itself(void **state)
{
	char unit[32], config[1024];

	(void)state;
	/* Others may have a cgroup called hog. */
	snprintf(unit, sizeof(unit), "hog-%d", (int)getpid());
	live_cgroup("slice");
	snprintf(config, sizeof(config), "slice/%s", unit);
	live_cgroup(config);
	live_fork(config, load_spin, NULL);
	snprintf(config, sizeof(config), "[workload hog]\nunit = %s\n%s", unit,
		 POLICY("slice-first", "slice", "hog"));
	agent_start(config);
	usleep(800 * 1000);
	assert_true(value_of("slice-first") < 0.01);
	assert_int_equal(agent_count_events("frozen", NULL), 0);
	live_fork("slice", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "slice-first", 5000));
	assert_int_equal(agent_stop(), 0);
}

/* Nor does another unit's policy, that watches the same, leave it out. */
static void of_two_units_inside_what_is_watched_the_one_yields_to_the_other(void **state)
{
	char busy[32], idle[32], cgroup[64], config[1024];

	(void)state;
	snprintf(busy, sizeof(busy), "busy-%d", (int)getpid());
	snprintf(idle, sizeof(idle), "idle-%d", (int)getpid());
	live_cgroup("slice");
	snprintf(cgroup, sizeof(cgroup), "slice/%s", idle);
	live_cgroup(cgroup);
	live_fork(cgroup, load_sleep, NULL);
	snprintf(cgroup, sizeof(cgroup), "slice/%s", busy);
	live_cgroup(cgroup);
	snprintf(config, sizeof(config),
		 "[workload busy]\nunit = %s\n[workload idle]\nunit = %s\n%s%s", busy, idle,
		 POLICY("busy-yields", "slice", "busy"), POLICY("idle-yields", "slice", "idle"));
	agent_start(config);
	live_fork(cgroup, load_spin, NULL);
	json_decref(agent_wait_event("frozen", "idle-yields", 5000));
	usleep(500 * 1000);
	assert_int_equal(agent_count_events("frozen", "busy-yields"), 0);
	assert_int_equal(agent_stop(), 0);
}

static unsigned int count_fds(void)
{
	char path[64];
	_cleanup_closedir_ DIR *dir = NULL;
	unsigned int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)agent_pid());
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	return n;
}

static unsigned long rss_kib(void)
{
	char path[64], line[256];
	_cleanup_fclose_ FILE *f = NULL;
	unsigned long kib = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)agent_pid());
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmRSS: %lu", &kib) == 1)
			break;
	assert_int_not_equal(kib, 0);
	return kib;
}

static void fifty_reloads_while_something_is_held_leak_nothing(void **state)
{
	unsigned int fds = 0;
	unsigned long kib = 0;

	(void)state;
	agent_start(cpu_config);
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	for (int i = 0; i < 60; i++) {
		/* The first ten fill caches and pools. */
		if (i == 10) {
			fds = count_fds();
			kib = rss_kib();
		}
		assert_int_equal(culprit("reload", NULL, NULL, NULL), 0);
		assert_true(live_frozen("hog"));
	}
	assert_int_equal(count_fds(), fds);
	/* The address sanitizer keeps for a while what was freed. */
	assert_in_range(rss_kib(), 0, kib + (SANITIZED ? 65536 : 256));
	assert_int_equal(agent_count_events("frozen", "front-first"), 1);
	assert_int_equal(agent_count_events("thawed", NULL), 0);
	assert_int_equal(agent_stop(), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, agent_hog_setup, live_teardown)
	const struct CMUnitTest tests[] = {
		T(every_kind_of_target_can_be_frozen_and_thawed_by_hand),
		T(what_cannot_be_done_is_refused_and_says_why),
		T(of_several_targets_it_is_said_which_were_not_frozen_and_why),
		T(events_since_a_time_are_the_newer_ones),
		T(sighup_with_errors_keeps_the_old_configuration),
		T(a_reload_follows_changed_targets_and_only),
		T(what_is_being_ended_when_only_narrows_was_not_thawed),
		T(a_reload_that_moves_a_policy_keeps_its_sum),
		T(a_unit_inside_what_is_watched_does_not_yield_to_itself),
		T(of_two_units_inside_what_is_watched_the_one_yields_to_the_other),
		T(fifty_reloads_while_something_is_held_leak_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
