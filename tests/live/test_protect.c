// SPDX-License-Identifier: GPL-2.0-or-later
/* What `protect` names is never acted on, even where a policy or somebody by hand names it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "lib/procfs.h"
#include "live.h"
#include "stand_in.h"

#define POLICY                                                                     \
	"[workload hog]\ncgroup = %s/hog\n[policy pauses]\nsignal = cpu\n"         \
	"of = cgroup:%s/front\nwindow = 250ms\nenter = 0.04cpu\nleave = 0.02cpu\n" \
	"grace = 1m\naction = freeze\ntarget = hog\n"

static const char free_for_all[] = POLICY;
static const char by_path[] = "protect = cgroup:%s/hog/inner\n" POLICY;
static const char by_name[] = "protect = comm:precious\n" POLICY;

static const char by_name_ending[] =
	"protect = comm:precious\n[workload hog]\ncgroup = %s/hog\n[policy ends]\nsignal = cpu\n"
	"of = cgroup:%s/front\nwindow = 250ms\nenter = 0.04cpu\nleave = 0.02cpu\n"
	"grace = 1m\naction = terminate\ntarget = hog\n";

static int load_precious(void *unused)
{
	prctl(PR_SET_NAME, "precious");
	return load_sleep(unused);
}

/* The event says who it is, and the agent holds nothing. */
static void expect_refusal(const char *policy, const char *who)
{
	json_t *event = agent_wait_event("refused", policy, 5000);
	const char *reason = json_string_value(json_object_get(event, "reason"));

	if (!reason || !strstr(reason, who))
		fail_msg("refused because: %s", reason ? reason : "-");
	json_decref(event);
	assert_false(live_frozen("hog"));
}

static void expect_refused_by_hand(void)
{
	char error[128];

	assert_null(agent_call("Freeze", json_pack("{s:s}", "target", live_path("hog")), error,
			       sizeof(error)));
	assert_string_equal(error, "io.culprit.Agent.Refused");
}

static void a_cgroup_with_a_protected_one_below_it_is_left_alone(void **state)
{
	(void)state;
	live_cgroup("hog");
	live_cgroup("hog/inner");
	live_cgroup("front");
	live_fork("hog/inner", load_sleep, NULL);
	agent_start(by_path);
	live_fork("front", load_spin, NULL);
	expect_refusal("pauses", "/hog/inner");
	expect_refused_by_hand();
	assert_false(live_frozen("hog"));
	assert_int_equal(agent_stop(), 0);
}

static void a_cgroup_with_a_protected_process_is_left_alone(void **state)
{
	pid_t precious;

	(void)state;
	live_cgroup("hog");
	live_cgroup("hog/inner");
	live_cgroup("front");
	live_fork("hog", load_sleep, NULL);
	precious = live_fork("hog/inner", load_precious, NULL);
	agent_start(by_name);
	live_fork("front", load_spin, NULL);
	expect_refusal("pauses", "precious");
	expect_refused_by_hand();
	/* Once it has gone there is nothing against it; looked for each 5 s, twice. */
	live_kill(precious);
	assert_true(live_until(live_is_frozen, "hog", 15000));
	assert_int_equal(agent_stop(), 0);
}

static void what_becomes_protected_is_let_go(void **state)
{
	char error[128];

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_precious, NULL);
	agent_start(free_for_all);
	live_fork("front", load_spin, NULL);
	assert_true(live_until(live_is_frozen, "hog", 5000));
	agent_write_config(by_name);
	json_decref(agent_call("Reload", json_object(), error, sizeof(error)));
	assert_true(live_until(live_is_thawed, "hog", 1000));
	json_decref(agent_wait_event("thawed", "pauses", 1000));
	assert_int_equal(agent_stop(), 0);
}

static int hold_device(void *path)
{
	if (open(path, O_RDONLY | O_CLOEXEC) < 0)
		return 1;
	return load_sleep(NULL);
}

/* A device that is held already is news to the policy that the reload brings. */
static void what_a_reload_protects_is_not_touched_by_the_policies_that_it_brings(void **state)
{
	char node[128], text[1024], error[128];

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_precious, NULL);
	agent_start(free_for_all);
	snprintf(node, sizeof(node), "%s/gpu0", live_nodedir());
	stand_in_node(node);
	live_fork("front", hold_device, node);
	/* It has been looked at under the old configuration. */
	usleep(1500 * 1000);
	snprintf(text, sizeof(text),
		 "%s[policy wanted]\nsignal = gpu\ndevices = %s\naction = freeze\ntarget = hog\n",
		 by_name, node);
	agent_write_config(text);
	json_decref(agent_call("Reload", json_object(), error, sizeof(error)));
	expect_refusal("wanted", "precious");
	assert_int_equal(agent_count_events("thawed", "wanted"), 0);
	assert_int_equal(agent_stop(), 0);
}

static void write_freeze(const char *value)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path("hog"));

	assert_true(dir >= 0);
	assert_int_equal(cgroupfs_write(dir, "cgroup.freeze", value), 0);
}

/* Thawed in the second that it has, it becomes protected in the meantime. */
static void what_others_thaw_is_not_frozen_again_once_it_is_protected(void **state)
{
	char error[128];

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_precious, NULL);
	agent_start(free_for_all);
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "pauses", 5000));
	write_freeze("0");
	json_decref(agent_wait_event("external-thaw", "pauses", 1000));
	agent_write_config(by_name);
	json_decref(agent_call("Reload", json_object(), error, sizeof(error)));
	expect_refusal("pauses", "precious");
	expect_refused_by_hand();
	assert_int_equal(agent_stop(), 0);
}

static void *sleep_in_threads(void *ready)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path("domain/hog"));
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)gettid());
	(void)!write(*(int *)ready, cgroupfs_write(dir, "cgroup.threads", text) < 0 ? "n" : "y", 1);
	(void)load_sleep(NULL);
	return NULL;
}

static int load_precious_threads(void *ready)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, sleep_in_threads, ready))
		return 1;
	return load_precious(NULL);
}

/* Of a threaded cgroup the kernel lists no processes. */
static void a_cgroup_with_a_protected_thread_is_left_alone(void **state)
{
	_cleanup_close_ int dir = -1;
	char error[128], c;
	int ready[2];

	(void)state;
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	live_cgroup("domain/hog");
	dir = cgroupfs_open_path(live_fs(), live_path("domain/hog"));
	assert_int_equal(cgroupfs_write(dir, "cgroup.type", "threaded"), 0);
	live_fork("domain", load_precious_threads, &ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(c, 'y');
	agent_start(by_name);
	assert_null(agent_call("Freeze", json_pack("{s:s}", "target", live_path("domain/hog")),
			       error, sizeof(error)));
	assert_string_equal(error, "io.culprit.Agent.Refused");
	assert_false(live_frozen("domain/hog"));
	assert_int_equal(agent_stop(), 0);
	close(ready[0]);
	close(ready[1]);
}

static char state_of(pid_t pid)
{
	struct proc_stat st;

	return proc_read_stat(pid, &st) < 0 ? '-' : st.state;
}

static int told_to_end[2];

static void note_term(int sig)
{
	(void)sig;
	(void)!write(told_to_end[1], "", 1);
}

static int load_deaf(void *unused)
{
	signal(SIGTERM, note_term);
	return load_sleep(unused);
}

static void move(pid_t pid, const char *cgroup)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path(cgroup));
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)pid);
	assert_int_equal(cgroupfs_write(dir, "cgroup.procs", text), 0);
}

/* Who is in a target is looked for each 5 s: here at 5 s and at 10 s or a little later. */
static void who_is_protected_and_joins_before_the_sigkill_is_not_killed(void **state)
{
	pid_t deaf, precious;
	char c;

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_cgroup("other");
	assert_int_equal(pipe2(told_to_end, O_CLOEXEC), 0);
	deaf = live_fork("hog", load_deaf, NULL);
	precious = live_fork("other", load_precious, NULL);
	agent_start(by_name_ending);
	usleep(3000 * 1000);
	live_fork("front", load_spin, NULL);
	assert_int_equal(read(told_to_end[0], &c, 1), 1);
	/* Ten seconds after SIGTERM comes SIGKILL. */
	usleep(9700 * 1000);
	move(precious, "hog");
	expect_refusal("ends", "precious");
	assert_int_equal(state_of(precious), 'S');
	assert_int_equal(live_cgroup_key("hog", "cgroup.events", "populated"), 1);
	assert_int_equal(agent_count_events("killed", NULL), 0);
	assert_int_equal(agent_stop(), 0);
	live_kill(precious);
	live_kill(deaf);
	close(told_to_end[0]);
	close(told_to_end[1]);
}

struct terminal {
	int report[2];
	pid_t shell, job;
};

/* A shell that is protected, with a job in a process group of its own. */
static int load_terminal(void *arg)
{
	struct terminal *t = arg;
	int master;

	t->shell = forkpty(&master, NULL, NULL, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (t->shell > 0)
		return load_sleep(NULL);
	t->shell = getpid();
	t->job = fork();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (t->job == 0) {
		setpgid(0, 0);
		return load_sleep(NULL);
	}
	setpgid(t->job, t->job);
	prctl(PR_SET_NAME, "precious");
	(void)!write(t->report[1], t, sizeof(*t));
	return load_sleep(NULL);
}

static bool is_stopped(void *pid)
{
	return state_of(*(pid_t *)pid) == 'T';
}

static void a_protected_shell_is_not_stopped_with_its_job(void **state)
{
	struct terminal t;
	char name[32], error[128];
	json_t *reply;

	(void)state;
	live_cgroup("hog");
	assert_int_equal(pipe2(t.report, O_CLOEXEC), 0);
	live_fork("hog", load_terminal, &t);
	assert_int_equal(read(t.report[0], &t, sizeof(t)), sizeof(t));
	agent_start(by_name);
	snprintf(name, sizeof(name), "pid:%d", (int)t.job);
	reply = agent_call("Freeze", json_pack("{s:s}", "target", name), error, sizeof(error));
	assert_non_null(reply);
	json_decref(reply);
	assert_true(live_until(is_stopped, &t.job, 1000));
	assert_int_not_equal(state_of(t.shell), 'T');
	assert_int_equal(agent_stop(), 0);
	close(t.report[0]);
	close(t.report[1]);
}

#define T(test) cmocka_unit_test_setup_teardown(test, live_setup, live_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_cgroup_with_a_protected_one_below_it_is_left_alone),
		T(a_cgroup_with_a_protected_process_is_left_alone),
		T(a_cgroup_with_a_protected_thread_is_left_alone),
		T(what_becomes_protected_is_let_go),
		T(what_a_reload_protects_is_not_touched_by_the_policies_that_it_brings),
		T(what_others_thaw_is_not_frozen_again_once_it_is_protected),
		T(a_protected_shell_is_not_stopped_with_its_job),
		T(who_is_protected_and_joins_before_the_sigkill_is_not_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
