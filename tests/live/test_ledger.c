// SPDX-License-Identifier: GPL-2.0-or-later
/* What a ledger still holds when agent and guardian are both gone is undone from it alone. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "act/process.h"
#include "act/release.h"
#include "lib/clock.h"
#include "live.h"
#include "mini.h"

struct told {
	unsigned int n;
	uint64_t ids[16];
	int errors[16];
	char reason[CLAIM_REASON_LEN];
};

struct shared {
	_Atomic pid_t guardian;
	_Atomic bool holds;
};

static struct shared *shared;

static int setup_group(void **state)
{
	int r = live_setup(state);

	if (r < 0)
		return r;
	(void)live_tmpdir();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	return 0;
}

static void note(void *user, const struct claim *claim, int error)
{
	struct told *told = user;

	told->ids[told->n] = claim->id;
	told->errors[told->n++] = error;
	snprintf(told->reason, sizeof(told->reason), "%s", claim->reason);
}

static int release(struct told *told, pid_t *holder)
{
	struct release_options options = { .state_dir = mini_state_dir(),
					   .told = note,
					   .user = told };
	char what[256];

	*told = (struct told){ 0 };
	return release_all(&options, holder, what, sizeof(what));
}

static bool is_stopped(void *pid)
{
	return mini_state(*(pid_t *)pid) == 'T';
}

static bool is_running(void *pid)
{
	char state = mini_state(*(pid_t *)pid);

	return state == 'R' || state == 'S';
}

static bool agent_holds(void *unused)
{
	(void)unused;
	return shared->holds;
}

struct work {
	uint64_t cgroup;
	pid_t process;
};

static int holding_agent(void *arg)
{
	const struct work *work = arg;
	struct mini m = { 0 };

	if (mini_start(&m) < 0)
		return 1;
	shared->guardian = guardian_pid(m.guardian);
	mini_freeze(&m, work->cgroup);
	mini_stop_process(&m, work->process);
	shared->holds = true;
	for (;;) {
		sd_event_run(m.event, 20000);
		act_pulse(m.act);
	}
}

static void wait_populated(const char *name)
{
	while (live_cgroup_key(name, "cgroup.events", "populated") == 0)
		usleep(500);
}

static pid_t start_holding(struct work *work, pid_t *sleeper)
{
	pid_t pid;

	work->cgroup = live_cgroup("held");
	*sleeper = live_fork("held", load_sleep, NULL);
	live_cgroup("other");
	work->process = live_fork("other", load_sleep, NULL);
	wait_populated("held");
	wait_populated("other");
	shared->holds = false;
	pid = live_fork(NULL, holding_agent, work);
	assert_true(live_until(agent_holds, NULL, 5000));
	assert_true(live_until(is_stopped, &work->process, 1000));
	return pid;
}

static void with_agent_and_guardian_killed_at_once_all_is_released(void **state)
{
	struct told told;
	struct work work;
	pid_t holder, sleeper, pid;

	(void)state;
	for (int i = 0; i < 10; i++) {
		pid = start_holding(&work, &sleeper);
		/* The guardian cannot see the agent's end if it is stopped when that comes. */
		kill(shared->guardian, SIGSTOP);
		kill(pid, SIGKILL);
		kill(shared->guardian, SIGKILL);
		live_kill(pid);
		while (waitpid(shared->guardian, NULL, 0) < 0 && errno == EINTR)
			;
		assert_true(mini_asked_to_freeze("held"));
		assert_int_equal(mini_state(work.process), 'T');
		assert_int_equal(mini_ledger_count(), 2);

		assert_int_equal(release(&told, &holder), 2);
		assert_int_equal(told.n, 2);
		/* Newest first. */
		assert_true(told.ids[0] > told.ids[1]);
		assert_int_equal(told.errors[0], 0);
		assert_false(mini_asked_to_freeze("held"));
		assert_true(live_until(is_running, &work.process, 1000));
		assert_int_equal(mini_ledger_count(), 0);
		live_kill(sleeper);
		live_kill(work.process);
	}
}

static void beside_a_living_agent_nothing_is_released(void **state)
{
	struct told told;
	struct work work;
	pid_t sleeper, holder = 0, pid = start_holding(&work, &sleeper);

	(void)state;
	assert_int_equal(release(&told, &holder), -EBUSY);
	assert_int_equal(holder, pid);
	assert_int_equal(told.n, 0);
	assert_true(mini_asked_to_freeze("held"));
	live_kill(pid);
	assert_true(release(&told, &holder) >= 0);
	assert_false(mini_asked_to_freeze("held"));
	live_kill(sleeper);
	live_kill(work.process);
}

static void without_a_ledger_there_is_nothing_to_release(void **state)
{
	struct release_options options = { .state_dir = "/run/culprit-that-never-was" };
	char what[256];
	pid_t holder;

	(void)state;
	assert_int_equal(release_all(&options, &holder, what, sizeof(what)), 0);
	assert_int_equal(access("/run/culprit-that-never-was", F_OK), -1);
}

static struct ledger *open_ledger(void)
{
	struct ledger *ledger;
	char what[256];
	pid_t holder;

	assert_int_equal(ledger_open(&ledger, mini_state_dir(), &holder, what, sizeof(what)), 0);
	return ledger;
}

static void leave(const struct claim *claim)
{
	struct ledger *ledger = open_ledger();

	assert_int_equal(ledger_write(ledger, claim), 0);
	ledger_close(ledger);
}

static void a_claim_on_what_is_gone_is_simply_forgotten(void **state)
{
	struct claim claim = { .id = 1, .holds = true, .target.kind = TARGET_CGROUP };
	struct told told;
	pid_t holder;

	(void)state;
	claim.target.cgroup = live_cgroup("gone");
	live_rmdir("gone");
	leave(&claim);
	assert_int_equal(release(&told, &holder), 1);
	assert_int_equal(told.errors[0], 0);
	assert_int_equal(mini_ledger_count(), 0);
}

static void a_pid_that_is_another_process_now_gets_no_signal(void **state)
{
	struct claim claim = { .id = 1, .action = CLAIM_STOP, .holds = true };
	struct told told;
	pid_t holder, pid = live_fork(NULL, load_sleep, NULL);

	(void)state;
	claim.target = mini_process_target(pid);
	claim.target.start_time_ns -= NSEC_PER_SEC;
	kill(pid, SIGSTOP);
	assert_true(live_until(is_stopped, &pid, 1000));
	leave(&claim);
	assert_int_equal(release(&told, &holder), 1);
	assert_int_equal(mini_state(pid), 'T');

	/* And the right one does. */
	claim.target = mini_process_target(pid);
	leave(&claim);
	assert_int_equal(release(&told, &holder), 1);
	assert_true(live_until(is_running, &pid, 1000));
	live_kill(pid);
}

static void shells_are_continued_too(void **state)
{
	struct claim claim = { .id = 1, .action = CLAIM_STOP, .holds = true, .n_shells = 1 };
	struct told told;
	pid_t holder, job = live_fork(NULL, load_sleep, NULL),
		      shell = live_fork(NULL, load_sleep, NULL);

	(void)state;
	claim.target = mini_process_target(job);
	claim.shells[0].pid = shell;
	claim.shells[0].start_time_ns = mini_process_target(shell).start_time_ns;
	kill(job, SIGSTOP);
	kill(shell, SIGSTOP);
	assert_true(live_until(is_stopped, &job, 1000));
	assert_true(live_until(is_stopped, &shell, 1000));
	leave(&claim);
	assert_int_equal(release(&told, &holder), 1);
	assert_true(live_until(is_running, &job, 1000));
	assert_true(live_until(is_running, &shell, 1000));
	live_kill(job);
	live_kill(shell);
}

static void a_claim_that_holds_nothing_thaws_nothing(void **state)
{
	struct claim claim = { .id = 1, .action = CLAIM_TERMINATE };
	struct told told;
	pid_t holder;

	(void)state;
	claim.target = mini_cgroup_target(live_cgroup("operators"));
	mini_write_freeze("operators", "1");
	leave(&claim);
	assert_int_equal(release(&told, &holder), 1);
	assert_true(mini_asked_to_freeze("operators"));
	mini_write_freeze("operators", "0");
}

static void a_damaged_slot_is_told_and_the_rest_is_released(void **state)
{
	struct claim claim = { .id = 1, .holds = true };
	struct ledger *ledger;
	struct told told;
	pid_t holder;

	(void)state;
	claim.target = mini_cgroup_target(live_cgroup("sane"));
	mini_write_freeze("sane", "1");
	ledger = open_ledger();
	assert_int_equal(ledger_write(ledger, &claim), 0);
	assert_int_equal(pwrite(ledger_fd(ledger), "what is this", 12, 5 * LEDGER_SLOT_SIZE), 12);
	ledger_close(ledger);

	assert_int_equal(release(&told, &holder), 1);
	assert_int_equal(told.n, 2);
	assert_int_equal(told.errors[0], 0);
	assert_int_equal(told.errors[1], -EBADMSG);
	assert_int_equal(told.ids[1], 0);
	assert_memory_equal(told.reason, "what is this", 12);
	assert_false(mini_asked_to_freeze("sane"));
	assert_int_equal(release(&told, &holder), 0);
	assert_int_equal(told.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_agent_and_guardian_killed_at_once_all_is_released),
		cmocka_unit_test(beside_a_living_agent_nothing_is_released),
		cmocka_unit_test(without_a_ledger_there_is_nothing_to_release),
		cmocka_unit_test(a_claim_on_what_is_gone_is_simply_forgotten),
		cmocka_unit_test(a_pid_that_is_another_process_now_gets_no_signal),
		cmocka_unit_test(shells_are_continued_too),
		cmocka_unit_test(a_claim_that_holds_nothing_thaws_nothing),
		cmocka_unit_test(a_damaged_slot_is_told_and_the_rest_is_released),
	};

	return cmocka_run_group_tests(tests, setup_group, live_teardown);
}
