// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A target that is held is killed, executes another program, or forks: frozen as a cgroup, and
 * stopped as a process. Of pids and paths that somebody else has then see test_reuse.c.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "act/process.h"
#include "lib/cleanup.h"
#include "live.h"
#include "mini.h"

static struct shared {
	_Atomic unsigned int forks;
	int go[2]; /* a pipe */
} * shared;

static int setup_group(void **state)
{
	int r = live_setup(state);

	if (r < 0)
		return r;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	return shared == MAP_FAILED ? -1 : pipe(shared->go);
}

/* --- killed ----------------------------------------------------------------------------------- */

static void one_that_is_killed_in_a_frozen_cgroup_leaves_the_others_frozen(void **state)
{
	struct mini *m = *state;
	pid_t victim = mini_start_in("killed", load_sleep),
	      other = mini_start_in("killed", load_spin);
	struct claim *claim = mini_freeze(m, live_cgroup("killed"));

	assert_true(mini_told(m, ACT_HELD, claim->id));
	kill(victim, SIGKILL);
	assert_int_equal(live_wait(victim), 128 + SIGKILL);
	for (int i = 0; i < 10; i++) {
		sd_event_run(m->event, 10000);
		act_pulse(m->act);
	}
	assert_int_equal(act_count(m->act), 1);
	assert_int_equal(claim->state, CLAIM_HELD);
	assert_true(live_frozen("killed"));
	assert_int_equal(act_undo(m->act, claim), 0);
	assert_true(live_until(live_is_thawed, "killed", 1000));
	assert_true(mini_runs(&other));
	live_kill(other);
}

static void a_stopped_process_that_is_killed_needs_no_sigcont_to_end(void **state)
{
	struct mini *m = *state;
	pid_t pid = mini_start_in("killed", load_spin);
	struct claim *claim = mini_stop_process(m, pid);
	uint64_t id = claim->id;

	assert_true(mini_told(m, ACT_HELD, id));
	kill(pid, SIGKILL);
	assert_true(mini_told(m, ACT_GONE, id));
	assert_int_equal(live_wait(pid), 128 + SIGKILL);
	mini_assert_no_claim(m);
}

static void a_stopped_process_is_killed_by_the_last_rung(void **state)
{
	struct mini *m = *state;
	pid_t pid = mini_start_in("killed", load_spin);
	struct claim *claim = mini_stop_process(m, pid);
	uint64_t id = claim->id;

	assert_true(mini_told(m, ACT_HELD, id));
	assert_int_equal(act_escalate(m->act, claim, CLAIM_KILL, "test", "no more patience"), 0);
	assert_true(mini_told(m, ACT_KILLING, id));
	assert_true(mini_told(m, ACT_TERMINATED, id));
	assert_int_equal(live_wait(pid), 128 + SIGKILL);
	mini_assert_no_claim(m);
}

/* --- executes another program ----------------------------------------------------------------- */

/* A shell that replaces itself by a shell, for ever. */
static int exec_for_ever(void *unused)
{
	static const char again[] = "exec sh -c \"$0\" \"$0\"";

	(void)unused;
	execlp("sh", "sh", "-c", again, again, NULL);
	return 127;
}

static bool has_comm(pid_t pid, const char *comm)
{
	struct proc_stat st;

	return proc_read_stat(pid, &st) == 0 && strcmp(st.comm, comm) == 0;
}

static bool is_shell(void *pid)
{
	return has_comm(*(pid_t *)pid, "sh");
}

static bool is_sleep(void *pid)
{
	return has_comm(*(pid_t *)pid, "sleep");
}

static void in_the_middle_of_an_exec_a_process_is_stopped_as_any_other(void **state)
{
	struct mini *m = *state;
	pid_t pid = mini_start_in("execs", exec_for_ever);
	struct target target = mini_process_target(pid);

	assert_true(live_until(is_shell, &pid, 1000));
	for (int i = 0; i < 30; i++) {
		struct claim *claim;

		/* It is the process that it was, whatever it runs. */
		assert_int_equal(act_claim(m->act, CLAIM_STOP, &target, "test", "", &claim), 0);
		assert_true(mini_told(m, ACT_HELD, claim->id));
		assert_true(mini_is_stopped(&pid));
		assert_int_equal(act_undo(m->act, claim), 0);
		assert_true(live_until(mini_runs, &pid, 1000));
		usleep(1000 * (unsigned int)(i % 4));
	}
	mini_assert_no_claim(m);
	live_kill(pid);
}

static void in_the_middle_of_an_exec_a_cgroup_is_frozen_as_any_other(void **state)
{
	struct mini *m = *state;
	pid_t pid = mini_start_in("execs", exec_for_ever);
	uint64_t id = live_cgroup("execs");

	assert_true(live_until(is_shell, &pid, 1000));
	for (int i = 0; i < 30; i++) {
		struct claim *claim = mini_freeze(m, id);

		assert_true(mini_told(m, ACT_HELD, claim->id));
		assert_true(live_frozen("execs"));
		assert_int_equal(act_undo(m->act, claim), 0);
		assert_true(live_until(live_is_thawed, "execs", 1000));
		usleep(1000 * (unsigned int)(i % 4));
	}
	mini_assert_no_claim(m);
	live_kill(pid);
}

static void *exec_when_told(void *unused)
{
	char c;

	(void)unused;
	if (read(shared->go[0], &c, 1) == 1)
		execlp("sleep", "sleep", "1000", NULL);
	return NULL;
}

static int exec_in_another_thread(void *unused)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, exec_when_told, NULL) != 0)
		return 1;
	return load_sleep(unused);
}

/* The thread takes the pid of the first one, which ends: the process is still the same. */
static void an_exec_by_another_thread_ends_no_claim(void **state)
{
	struct mini *m = *state;
	pid_t pid = mini_start_in("execs", exec_in_another_thread);
	struct claim *claim = mini_stop_process(m, pid);
	uint64_t id = claim->id;

	assert_true(mini_told(m, ACT_HELD, id));
	kill(pid, SIGCONT);
	while (claim->state != CLAIM_EXTERNAL) {
		sd_event_run(m->event, 10000);
		act_pulse(m->act);
	}
	assert_int_equal(write(shared->go[1], "", 1), 1);
	assert_true(live_until(is_sleep, &pid, 1000));
	for (int i = 0; i < 10; i++) {
		sd_event_run(m->event, 10000);
		act_pulse(m->act);
	}
	assert_int_equal(act_count(m->act), 1);
	assert_int_equal(act_refreeze(m->act, claim, "test", "again"), 0);
	assert_true(mini_until(m, mini_is_stopped, &pid));
	assert_int_equal(act_undo(m->act, claim), 0);
	assert_true(live_until(mini_runs, &pid, 1000));
	mini_assert_no_claim(m);
	live_kill(pid);
}

/* --- forks ------------------------------------------------------------------------------------ */

/* Its children count themselves, and end. */
static int fork_for_ever(void *unused)
{
	(void)unused;
	for (;;) {
		pid_t pid = fork();

		if (pid == 0) {
			shared->forks++;
			_exit(0);
		}
		while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	return 0;
}

static bool has_forked(void *than)
{
	return shared->forks > (unsigned int)(uintptr_t)than;
}

static bool forks_on(void)
{
	return live_until(has_forked, (void *)(uintptr_t)shared->forks, 1000);
}

static bool has_forked_meanwhile(void)
{
	unsigned int before;

	/* The last child may be on its way. */
	usleep(50 * 1000);
	before = shared->forks;
	usleep(100 * 1000);
	return shared->forks != before;
}

static void in_the_middle_of_a_fork_a_process_is_stopped_and_forks_no_more(void **state)
{
	struct mini *m = *state;
	pid_t pid = mini_start_in("forks", fork_for_ever);

	for (int i = 0; i < 5; i++) {
		struct claim *claim;

		assert_true(forks_on());
		claim = mini_stop_process(m, pid);
		assert_true(mini_told(m, ACT_HELD, claim->id));
		assert_false(has_forked_meanwhile());
		assert_int_equal(act_undo(m->act, claim), 0);
		assert_true(forks_on());
	}
	mini_assert_no_claim(m);
	live_kill(pid);
}

static void in_the_middle_of_forks_a_cgroup_is_frozen_whole(void **state)
{
	struct mini *m = *state;
	pid_t pids[3];

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		pids[i] = mini_start_in("forks", fork_for_ever);
	for (int i = 0; i < 5; i++) {
		struct claim *claim;

		assert_true(forks_on());
		claim = mini_freeze(m, live_cgroup("forks"));
		assert_true(mini_told(m, ACT_HELD, claim->id));
		assert_false(has_forked_meanwhile());
		assert_true(live_frozen("forks"));
		assert_int_equal(act_undo(m->act, claim), 0);
		assert_true(forks_on());
	}
	mini_assert_no_claim(m);
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		live_kill(pids[i]);
}

static int count_myself(void *unused)
{
	shared->forks++;
	return load_sleep(unused);
}

static bool is_frozen_again(void *mini)
{
	struct mini *m = mini;

	sd_event_run(m->event, 1000);
	return live_frozen("joined");
}

static void who_joins_a_frozen_cgroup_is_frozen_and_let_go_with_it(void **state)
{
	struct mini *m = *state;
	pid_t first = mini_start_in("joined", load_sleep), second;
	struct claim *claim = mini_freeze(m, live_cgroup("joined"));
	unsigned int before = shared->forks;

	assert_true(mini_told(m, ACT_HELD, claim->id));
	second = live_fork("joined", count_myself, NULL);
	/* For a moment it is not frozen whole, and that is nobody's thaw. */
	assert_true(live_until(is_frozen_again, m, 1000));
	usleep(50 * 1000);
	assert_int_equal(shared->forks, before);
	act_pulse(m->act);
	assert_int_equal(claim->external_thaws, 0);
	assert_int_equal(claim->state, CLAIM_HELD);
	assert_int_equal(act_undo(m->act, claim), 0);
	assert_true(live_until(has_forked, (void *)(uintptr_t)before, 1000));
	mini_assert_no_claim(m);
	live_kill(first);
	live_kill(second);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, mini_setup, mini_teardown)
	const struct CMUnitTest tests[] = {
		T(one_that_is_killed_in_a_frozen_cgroup_leaves_the_others_frozen),
		T(a_stopped_process_that_is_killed_needs_no_sigcont_to_end),
		T(a_stopped_process_is_killed_by_the_last_rung),
		T(in_the_middle_of_an_exec_a_process_is_stopped_as_any_other),
		T(in_the_middle_of_an_exec_a_cgroup_is_frozen_as_any_other),
		T(an_exec_by_another_thread_ends_no_claim),
		T(in_the_middle_of_a_fork_a_process_is_stopped_and_forks_no_more),
		T(in_the_middle_of_forks_a_cgroup_is_frozen_whole),
		T(who_joins_a_frozen_cgroup_is_frozen_and_let_go_with_it),
	};

	return cmocka_run_group_tests(tests, setup_group, live_teardown);
}
