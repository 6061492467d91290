// SPDX-License-Identifier: GPL-2.0-or-later
/* What was held has ended, and somebody else has its pid or its path: they are left alone. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "act/release.h"
#include "agent.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"
#include "mini.h"

static struct shared {
	_Atomic pid_t guardian;
	_Atomic bool holds;
} * shared;

static int setup_group(void **state)
{
	int r = live_setup(state);

	if (r < 0)
		return r;
	/* Orphaned guardians become our children, so that none outlives this program unseen. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void)live_tmpdir();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	return shared == MAP_FAILED ? -1 : 0;
}

/* A process with this very pid, which nobody has any more: asleep in the cgroup ROOT/cgroup. */
static pid_t sleep_as(pid_t pid, const char *cgroup)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path(cgroup));
	pid_t parent = getpid(), wanted = pid;
	struct clone_args args = {
		.flags = CLONE_INTO_CGROUP,
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&wanted,
		.set_tid_size = 1,
		.cgroup = (uint64_t)dir,
	};
	long r;

	assert_true(dir >= 0);
	/* Start times are told in hundredths of a second. */
	usleep(25 * 1000);
	r = syscall(SYS_clone3, &args, sizeof(args));
	if (r < 0)
		fail_msg("a second process with pid %d: %s", (int)pid, strerror(errno));
	if (r == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(getppid() == parent ? load_sleep(NULL) : 125);
	}
	assert_int_equal(r, pid);
	return (pid_t)r;
}

static void who_gets_the_pid_of_a_stopped_process_is_left_alone(void **state)
{
	struct mini *m = *state;
	pid_t pid = mini_start_in("reused", load_sleep);
	struct target old = mini_process_target(pid);
	struct claim *claim = mini_stop_process(m, pid), *none;
	uint64_t id = claim->id;

	assert_true(mini_told(m, ACT_HELD, id));
	live_kill(pid);
	/* Before the agent hears of the end of the first one. */
	assert_int_equal(sleep_as(pid, "reused"), pid);
	assert_true(mini_told(m, ACT_GONE, id));
	mini_assert_no_claim(m);
	assert_true(mini_runs(&pid));
	assert_int_equal(act_claim(m->act, CLAIM_STOP, &old, "test", "", &none), -ESTALE);
	assert_int_equal(act_claim(m->act, CLAIM_TERMINATE, &old, "test", "", &none), -ESTALE);
	assert_int_equal(act_claim(m->act, CLAIM_KILL, &old, "test", "", &none), -ESTALE);
	assert_true(mini_runs(&pid));
	/* It may be held itself. */
	claim = mini_stop_process(m, pid);
	assert_true(mini_told(m, ACT_HELD, claim->id));
	assert_int_equal(act_undo(m->act, claim), 0);
	assert_true(live_until(mini_runs, &pid, 1000));
	live_kill(pid);
}

/* Continued by mistake, it would run; killed by mistake, it would be gone. */
static void assert_still_the_operators(pid_t pid)
{
	usleep(100 * 1000);
	assert_true(mini_is_stopped(&pid));
	live_kill(pid);
}

static void stop_as_operator(pid_t pid)
{
	kill(pid, SIGSTOP);
	assert_true(live_until(mini_is_stopped, &pid, 1000));
}

static void undoing_touches_nobody_who_has_the_pid_now(void **state)
{
	struct mini *m = *state;
	pid_t pid = mini_start_in("reused", load_sleep);
	struct claim *claim = mini_stop_process(m, pid);

	assert_true(mini_told(m, ACT_HELD, claim->id));
	live_kill(pid);
	stop_as_operator(sleep_as(pid, "reused"));
	assert_int_equal(act_undo(m->act, claim), 0);
	mini_assert_no_claim(m);
	assert_still_the_operators(pid);
}

static int deaf_to_sigterm(void *unused)
{
	signal(SIGTERM, SIG_IGN);
	return load_sleep(unused);
}

static void the_sigkill_after_a_sigterm_hits_nobody_who_has_the_pid_now(void **state)
{
	struct mini *m = *state;
	pid_t pid = mini_start_in("reused", deaf_to_sigterm);
	struct target target = mini_process_target(pid);
	struct claim *claim;
	uint64_t id;

	mini_stop(m);
	m->options.terminate_timeout_ns = 200 * NSEC_PER_MSEC;
	assert_int_equal(mini_start(m), 0);
	assert_int_equal(act_claim(m->act, CLAIM_TERMINATE, &target, "test", "", &claim), 0);
	id = claim->id;
	live_kill(pid);
	stop_as_operator(sleep_as(pid, "reused"));
	/* Its time is up before the agent looks. */
	usleep(300 * 1000);
	assert_true(mini_told(m, ACT_TERMINATED, id));
	mini_assert_no_claim(m);
	assert_still_the_operators(pid);
}

static int hold_and_stand_still(void *pid)
{
	struct mini m = { 0 };

	if (mini_start(&m) < 0)
		return 1;
	shared->guardian = guardian_pid(m.guardian);
	mini_stop_process(&m, *(pid_t *)pid);
	shared->holds = true;
	/* It hears nothing of what comes. */
	raise(SIGSTOP);
	return 0;
}

static bool agent_holds(void *unused)
{
	(void)unused;
	return shared->holds;
}

static void end_guardian(void)
{
	while (waitpid(shared->guardian, NULL, 0) < 0 && errno == EINTR)
		;
}

static pid_t start_agent(pid_t *pid)
{
	pid_t agent;

	shared->holds = false;
	agent = live_fork(NULL, hold_and_stand_still, pid);
	assert_true(live_until(agent_holds, NULL, 5000));
	assert_true(live_until(mini_is_stopped, pid, 1000));
	assert_true(live_until(mini_is_stopped, &agent, 1000));
	return agent;
}

static void the_guardian_touches_nobody_who_has_the_pid_now(void **state)
{
	pid_t pid = mini_start_in("reused", load_sleep), agent = start_agent(&pid);

	(void)state;
	live_kill(pid);
	stop_as_operator(sleep_as(pid, "reused"));
	kill(agent, SIGKILL);
	live_wait(agent);
	end_guardian();
	assert_still_the_operators(pid);
}

static void a_ledger_touches_nobody_who_has_the_pid_now(void **state)
{
	const struct release_options options = { .state_dir = mini_state_dir() };
	pid_t pid = mini_start_in("reused", load_sleep), agent = start_agent(&pid), holder;
	char what[PATH_MAX];

	(void)state;
	kill(shared->guardian, SIGKILL);
	end_guardian();
	kill(agent, SIGKILL);
	live_wait(agent);
	assert_int_equal(mini_ledger_count(), 1);
	live_kill(pid);
	stop_as_operator(sleep_as(pid, "reused"));
	assert_int_equal(release_all(&options, &holder, what, sizeof(what)), 1);
	assert_int_equal(mini_ledger_count(), 0);
	assert_still_the_operators(pid);
}

static void who_gets_the_path_of_a_frozen_cgroup_is_left_alone(void **state)
{
	struct mini *m = *state;
	pid_t pid = mini_start_in("remade", load_sleep);
	struct claim *claim = mini_freeze(m, live_cgroup("remade"));

	assert_true(mini_told(m, ACT_HELD, claim->id));
	live_kill(pid);
	live_rmdir("remade");
	pid = mini_start_in("remade", load_sleep);
	mini_write_freeze("remade", "1");
	assert_true(live_until(live_is_frozen, "remade", 1000));
	assert_int_equal(act_undo(m->act, claim), 0);
	mini_assert_no_claim(m);
	usleep(50 * 1000);
	assert_true(live_frozen("remade"));
	mini_write_freeze("remade", "0");
	live_kill(pid);
}

static void call(const char *method, pid_t pid)
{
	char error[128], name[32];
	json_t *reply;

	snprintf(name, sizeof(name), "pid:%d", (int)pid);
	reply = agent_call(method, json_pack("{s:s}", "target", name), error, sizeof(error));
	if (!reply)
		fail_msg("%s %s: %s", method, name, error);
	json_decref(reply);
}

static void a_hold_by_hand_ends_with_its_process_and_not_with_its_pid(void **state)
{
	pid_t pid = mini_start_in("reused", load_sleep);

	(void)state;
	agent_start("");
	call("Freeze", pid);
	json_decref(agent_wait_event("stopped", "operator", 2000));
	live_kill(pid);
	sleep_as(pid, "reused");
	json_decref(agent_wait_event("continued", "operator", 2000));
	assert_int_equal(mini_ledger_count(), 0);
	assert_true(mini_runs(&pid));
	call("Freeze", pid);
	json_decref(agent_wait_event("stopped", "operator", 2000));
	assert_true(mini_is_stopped(&pid));
	call("Thaw", pid);
	json_decref(agent_wait_event("continued", "operator", 2000));
	assert_true(live_until(mini_runs, &pid, 1000));
	assert_int_equal(agent_stop(), 0);
	live_kill(pid);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, mini_setup, mini_teardown)
	const struct CMUnitTest tests[] = {
		T(who_gets_the_pid_of_a_stopped_process_is_left_alone),
		T(undoing_touches_nobody_who_has_the_pid_now),
		T(the_sigkill_after_a_sigterm_hits_nobody_who_has_the_pid_now),
		T(who_gets_the_path_of_a_frozen_cgroup_is_left_alone),
		cmocka_unit_test(the_guardian_touches_nobody_who_has_the_pid_now),
		cmocka_unit_test(a_ledger_touches_nobody_who_has_the_pid_now),
		cmocka_unit_test(a_hold_by_hand_ends_with_its_process_and_not_with_its_pid),
	};

	return cmocka_run_group_tests(tests, setup_group, live_teardown);
}
