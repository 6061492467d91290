// SPDX-License-Identifier: GPL-2.0-or-later
/* Claims on real cgroups and processes: carried out, verified, undone, and refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "act/process.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"
#include "mini.h"

#define REMOVED_ROUNDS 96

static int setup(void **state)
{
	struct mini *m = calloc(1, sizeof(*m));

	*state = m;
	m->options.terminate_timeout_ns = 200 * NSEC_PER_MSEC;
	m->options.slow_ns = 200 * NSEC_PER_MSEC;
	return mini_start(m);
}

/* With no look that ACT_SLOW would bring. */
static int setup_patient(void **state)
{
	struct mini *m = calloc(1, sizeof(*m));

	*state = m;
	m->options.slow_ns = 3600 * NSEC_PER_SEC;
	return mini_start(m);
}

static int teardown(void **state)
{
	struct mini *m = *state;

	mini_stop(m);
	free(m);
	return 0;
}

/* A cgroup that a test has to itself, with one process in it. */
static uint64_t busy_cgroup(const char *name, int (*load)(void *), pid_t *pid)
{
	uint64_t id = live_cgroup(name);

	*pid = live_fork(name, load, NULL);
	while (live_cgroup_key(name, "cgroup.events", "populated") == 0)
		usleep(500);
	return id;
}

static bool runs(void *pid)
{
	char state = mini_state(*(pid_t *)pid);

	return state == 'R' || state == 'S';
}

static bool is_stopped(void *pid)
{
	return mini_state(*(pid_t *)pid) == 'T';
}

static void assert_refused(struct mini *m, enum claim_action action, struct target target,
			   int error)
{
	struct claim *claim;

	assert_int_equal(act_claim(m->act, action, &target, "test", "", &claim), error);
	assert_null(claim);
	assert_int_equal(act_count(m->act), 0);
	assert_int_equal(mini_ledger_count(), 0);
}

/* --- freeze and stop -------------------------------------------------------------------------- */

static void a_freeze_is_verified_and_undone(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	pid_t pid;
	uint64_t id = busy_cgroup("freeze", load_spin, &pid);

	claim = mini_freeze(m, id);
	assert_int_equal(mini_ledger_count(), 1);
	assert_string_equal(claim->target.path, live_path("freeze"));
	assert_true(mini_told(m, ACT_HELD, claim->id));
	assert_true(live_frozen("freeze"));
	assert_int_equal(claim->state, CLAIM_HELD);
	assert_true(claim->held_ns >= claim->since_ns);
	assert_ptr_equal(act_find_cgroup(m->act, id), claim);

	assert_int_equal(act_undo(m->act, claim), 0);
	assert_false(mini_asked_to_freeze("freeze"));
	assert_int_equal(act_count(m->act), 0);
	assert_int_equal(mini_ledger_count(), 0);
	live_kill(pid);
}

static void a_target_made_ready_is_frozen_as_any_other(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	pid_t pid;
	uint64_t id = busy_cgroup("ready", load_spin, &pid);

	act_make_ready(m->act, id);
	act_make_ready(m->act, id);
	for (int i = 0; i < 2; i++) {
		claim = mini_freeze(m, id);
		assert_string_equal(claim->target.path, live_path("ready"));
		assert_true(mini_told(m, ACT_HELD, claim->id));
		assert_true(live_frozen("ready"));
		/* The claim has descriptors of its own. */
		act_forget(m->act, id);
		assert_int_equal(act_undo(m->act, claim), 0);
		assert_false(mini_asked_to_freeze("ready"));
		act_make_ready(m->act, id);
	}
	live_kill(pid);
	assert_refused(m, CLAIM_FREEZE, (struct target){ .kind = TARGET_CGROUP, .cgroup = id },
		       -ENODATA);
	live_rmdir("ready");
	/* Another one of that name is not it. */
	live_cgroup("ready");
	assert_refused(m, CLAIM_FREEZE, (struct target){ .kind = TARGET_CGROUP, .cgroup = id },
		       -ESTALE);
}

static void what_is_ready_is_outside_only_all_the_same(void **state)
{
	struct mini *m = *state;
	pid_t pid;
	uint64_t id = busy_cgroup("ready-outside", load_sleep, &pid);

	live_cgroup("inside");
	act_make_ready(m->act, id);
	assert_int_equal(act_set_only(m->act, live_path("inside")), 0);
	assert_refused(m, CLAIM_FREEZE, (struct target){ .kind = TARGET_CGROUP, .cgroup = id },
		       -EPERM);
	assert_int_equal(act_set_only(m->act, live_root()), 0);
	live_kill(pid);
}

static void a_stop_is_verified_and_undone(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	pid_t pid;

	busy_cgroup("stop", load_spin, &pid);
	claim = mini_stop_process(m, pid);
	assert_true(mini_told(m, ACT_HELD, claim->id));
	assert_int_equal(mini_state(pid), 'T');
	assert_string_equal(claim->target.path, live_path("stop"));
	assert_int_equal(claim->n_shells, 0);

	assert_int_equal(act_undo(m->act, claim), 0);
	assert_true(live_until(runs, &pid, 1000));
	assert_int_equal(mini_ledger_count(), 0);
	live_kill(pid);
}

static void a_process_that_cannot_stop_is_told_as_slow_and_held_later(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	int fds[2];
	pid_t pid, child;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	/* The parent of a vfork sleeps in the kernel until its child has ended, whatever it is
	 * sent. */
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (vfork() == 0) {
			pid_t self = getpid();

			prctl(PR_SET_PDEATHSIG, SIGKILL);
			(void)!write(fds[1], &self, sizeof(self));
			pause();
			_exit(0);
		}
		pause();
		_exit(0);
	}
	assert_int_equal(read(fds[0], &child, sizeof(child)), sizeof(child));
	assert_int_equal(act_set_only(m->act, "/"), 0);

	claim = mini_stop_process(m, pid);
	assert_true(mini_told(m, ACT_SLOW, claim->id));
	assert_int_equal(claim->state, CLAIM_SLOW);
	assert_int_not_equal(mini_state(pid), 'T');
	kill(child, SIGKILL);
	assert_true(mini_until(m, is_stopped, &pid));
	act_pulse(m->act);
	assert_true(mini_told(m, ACT_HELD, claim->id));
	assert_int_equal(act_undo(m->act, claim), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fds[0]);
	close(fds[1]);
}

static void a_thaw_by_others_before_it_was_frozen_is_noticed_without_a_pulse(void **state)
{
	struct mini *m = *state;
	_cleanup_close_ int dir = -1;
	struct claim *claim;
	pid_t pids[16];
	uint64_t id;

	/* Many, so that they are not all frozen when the other hand comes. */
	id = busy_cgroup("hasty", load_spin, &pids[0]);
	for (size_t i = 1; i < ARRAY_SIZE(pids); i++)
		pids[i] = live_fork("hasty", load_spin, NULL);
	dir = cgroupfs_open_id(live_fs(), id);
	assert_true(dir >= 0);
	/* Where that hand comes too late the kernel's own event tells. */
	for (int i = 0; i < 5; i++) {
		claim = mini_freeze(m, id);
		assert_int_equal(cgroupfs_write(dir, "cgroup.freeze", "0"), 0);
		assert_true(mini_told(m, ACT_EXTERNAL_THAW, claim->id));
		assert_int_equal(act_undo(m->act, claim), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		live_kill(pids[i]);
}

static void a_second_claim_on_the_same_target_gives_the_first(void **state)
{
	struct mini *m = *state;
	struct claim *claim, *again;
	struct target target;
	pid_t pid;
	uint64_t id = busy_cgroup("twice", load_sleep, &pid);

	claim = mini_freeze(m, id);
	target = mini_cgroup_target(id);
	assert_int_equal(act_claim(m->act, CLAIM_FREEZE, &target, "test", "", &again), -EEXIST);
	assert_ptr_equal(claim, again);
	assert_int_equal(act_count(m->act), 1);
	assert_int_equal(act_undo(m->act, claim), 0);
	live_kill(pid);
}

static void claims_are_listed_by_age(void **state)
{
	struct mini *m = *state;
	struct claim *a, *b, *c;
	pid_t pids[3];

	a = mini_freeze(m, busy_cgroup("age/a", load_sleep, &pids[0]));
	b = mini_freeze(m, busy_cgroup("age/b", load_sleep, &pids[1]));
	c = mini_freeze(m, busy_cgroup("age/c", load_sleep, &pids[2]));
	assert_int_equal(act_undo(m->act, b), 0);
	assert_ptr_equal(act_get(m->act, 0), a);
	assert_ptr_equal(act_get(m->act, 1), c);
	assert_null(act_get(m->act, 2));
	assert_int_equal(act_undo(m->act, a), 0);
	assert_int_equal(act_undo(m->act, c), 0);
	for (int i = 0; i < 3; i++)
		live_kill(pids[i]);
}

static void freeing_undoes_everything(void **state)
{
	struct mini *m = *state;
	pid_t frozen, stopped;

	mini_freeze(m, busy_cgroup("free/a", load_sleep, &frozen));
	busy_cgroup("free/b", load_sleep, &stopped);
	mini_stop_process(m, stopped);
	assert_true(mini_until(m, is_stopped, &stopped));
	mini_stop(m);
	assert_false(mini_asked_to_freeze("free/a"));
	assert_true(live_until(runs, &stopped, 1000));
	assert_int_equal(mini_ledger_count(), 0);
	assert_int_equal(mini_start(m), 0);
	live_kill(frozen);
	live_kill(stopped);
}

static void narrowing_only_undoes_what_is_outside_now(void **state)
{
	struct mini *m = *state;
	struct claim *inside;
	uint64_t outside_id;
	pid_t a, b;

	inside = mini_freeze(m, busy_cgroup("only/in", load_sleep, &a));
	outside_id = mini_freeze(m, busy_cgroup("only/out", load_sleep, &b))->id;
	assert_int_equal(act_set_only(m->act, live_path("only/in")), 0);
	assert_true(mini_told(m, ACT_OUTSIDE, outside_id));
	assert_int_equal(act_count(m->act), 1);
	assert_false(mini_asked_to_freeze("only/out"));
	assert_true(mini_asked_to_freeze("only/in"));
	assert_int_equal(act_undo(m->act, inside), 0);
	live_kill(a);
	live_kill(b);
}

/* --- refusals --------------------------------------------------------------------------------- */

static void what_the_operator_froze_is_left_alone(void **state)
{
	struct mini *m = *state;
	pid_t pid;
	uint64_t id = busy_cgroup("operator", load_sleep, &pid);

	mini_write_freeze("operator", "1");
	assert_refused(m, CLAIM_FREEZE, mini_cgroup_target(id), -EBUSY);
	assert_true(mini_asked_to_freeze("operator"));
	mini_write_freeze("operator", "0");
	live_kill(pid);
}

static void a_frozen_cgroup_above_is_no_obstacle_and_stays_frozen(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	pid_t pid;
	uint64_t id = busy_cgroup("above/below", load_sleep, &pid);

	mini_write_freeze("above", "1");
	claim = mini_freeze(m, id);
	assert_true(mini_asked_to_freeze("above/below"));
	assert_int_equal(act_undo(m->act, claim), 0);
	assert_false(mini_asked_to_freeze("above/below"));
	assert_true(mini_asked_to_freeze("above"));
	mini_write_freeze("above", "0");
	live_kill(pid);
}

static void what_the_operator_stopped_is_left_alone(void **state)
{
	struct mini *m = *state;
	pid_t pid;

	busy_cgroup("stopped", load_sleep, &pid);
	kill(pid, SIGSTOP);
	assert_true(live_until(is_stopped, &pid, 1000));
	assert_refused(m, CLAIM_STOP, mini_process_target(pid), -EBUSY);
	assert_int_equal(mini_state(pid), 'T');
	live_kill(pid);
}

static void what_is_outside_only_is_refused(void **state)
{
	struct mini *m = *state;
	pid_t pid;
	uint64_t id = busy_cgroup("elsewhere", load_sleep, &pid);

	live_cgroup("only-here");
	assert_int_equal(act_set_only(m->act, live_path("only-here")), 0);
	assert_refused(m, CLAIM_FREEZE, mini_cgroup_target(id), -EPERM);
	assert_refused(m, CLAIM_STOP, mini_process_target(pid), -EPERM);
	assert_refused(m, CLAIM_TERMINATE, mini_process_target(pid), -EPERM);
	live_kill(pid);
}

static void the_root_the_agent_its_guardian_and_ancestors_are_refused(void **state)
{
	struct mini *m = *state;

	assert_int_equal(act_set_only(m->act, "/"), 0);
	assert_refused(m, CLAIM_FREEZE, mini_cgroup_target(live_fs()->root_id), -EPERM);
	assert_refused(m, CLAIM_STOP, mini_process_target(getpid()), -EPERM);
	assert_refused(m, CLAIM_STOP, mini_process_target(getppid()), -EPERM);
	assert_refused(m, CLAIM_STOP, mini_process_target(guardian_pid(m->guardian)), -EPERM);
	assert_refused(m, CLAIM_TERMINATE, mini_process_target(1), -EPERM);
	/* pid 2 is the kernel's thread of threads, where it is visible. */
	if (mini_state(2) != '-')
		assert_refused(m, CLAIM_STOP, mini_process_target(2), -EPERM);
}

/* An agent inside the test root, asked to freeze its own cgroup and the one above it. */
static int claim_own_cgroup(void *arg)
{
	struct mini inner = { 0 };
	struct claim *claim;
	const uint64_t *ids = arg;
	int wrong = 0;

	inner.options.only = "/";
	if (mini_start(&inner) < 0)
		return 9;
	for (int i = 0; i < 2; i++) {
		struct target target = mini_cgroup_target(ids[i]);

		if (act_claim(inner.act, CLAIM_FREEZE, &target, "test", "", &claim) != -EPERM)
			wrong++;
	}
	mini_stop(&inner);
	return wrong;
}

static void the_agents_own_cgroup_and_those_above_it_are_refused(void **state)
{
	uint64_t ids[] = { live_cgroup("own"), live_cgroup("own/agent") };

	/* There can be one agent on a state directory. */
	mini_stop(*state);
	assert_int_equal(live_wait(live_fork("own/agent", claim_own_cgroup, ids)), 0);
	assert_int_equal(mini_start(*state), 0);
}

static void a_recycled_pid_or_cgroup_is_never_touched(void **state)
{
	struct mini *m = *state;
	struct target target;
	uint64_t id;
	pid_t pid;

	busy_cgroup("recycled", load_sleep, &pid);
	target = mini_process_target(pid);
	target.start_time_ns -= NSEC_PER_SEC;
	assert_refused(m, CLAIM_STOP, target, -ESTALE);
	assert_true(runs(&pid));

	target = mini_process_target(pid);
	live_kill(pid);
	assert_refused(m, CLAIM_STOP, target, -ESRCH);

	id = live_cgroup("removed");
	live_rmdir("removed");
	live_cgroup("removed");
	assert_refused(m, CLAIM_FREEZE, mini_cgroup_target(id), -ESTALE);
}

static void an_empty_cgroup_is_refused(void **state)
{
	assert_refused(*state, CLAIM_FREEZE, mini_cgroup_target(live_cgroup("empty")), -ENODATA);
}

/* --- what others do --------------------------------------------------------------------------- */

static void a_thaw_by_someone_else_is_noticed_and_not_fought(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	pid_t pid;
	uint64_t id = busy_cgroup("external", load_sleep, &pid);

	claim = mini_freeze(m, id);
	assert_true(mini_told(m, ACT_HELD, claim->id));
	mini_write_freeze("external", "0");
	assert_true(mini_told(m, ACT_EXTERNAL_THAW, claim->id));
	assert_int_equal(claim->state, CLAIM_EXTERNAL);
	assert_int_equal(claim->external_thaws, 1);
	assert_false(mini_asked_to_freeze("external"));

	/* What the operator freezes now is the operator's: our undoing leaves it. */
	mini_write_freeze("external", "1");
	assert_int_equal(act_refreeze(m->act, claim, "test", "again"), -EBUSY);
	assert_int_equal(act_undo(m->act, claim), 0);
	assert_true(mini_asked_to_freeze("external"));
	mini_write_freeze("external", "0");
	live_kill(pid);
}

static void what_was_let_go_can_be_frozen_again(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	pid_t pid;
	uint64_t id = busy_cgroup("again", load_sleep, &pid);

	claim = mini_freeze(m, id);
	assert_int_equal(act_refreeze(m->act, claim, "test", "again"), -EINVAL);
	assert_true(mini_told(m, ACT_HELD, claim->id));
	mini_write_freeze("again", "0");
	assert_true(mini_told(m, ACT_EXTERNAL_THAW, claim->id));
	m->n_told = 0;
	assert_int_equal(act_refreeze(m->act, claim, "test", "again"), 0);
	assert_true(mini_told(m, ACT_HELD, claim->id));
	assert_true(live_frozen("again"));
	mini_write_freeze("again", "0");
	assert_true(mini_told(m, ACT_EXTERNAL_THAW, claim->id));
	assert_int_equal(claim->external_thaws, 2);
	assert_int_equal(act_undo(m->act, claim), 0);
	live_kill(pid);
}

static bool external_told(void *mini)
{
	const struct mini *m = mini;

	return m->n_told && m->told[m->n_told - 1].news == ACT_EXTERNAL_THAW;
}

static void a_thaw_below_a_frozen_cgroup_is_noticed_at_the_pulse(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	pid_t pid;

	claim = mini_freeze(m, busy_cgroup("veiled/below", load_sleep, &pid));
	assert_true(mini_told(m, ACT_HELD, claim->id));
	mini_write_freeze("veiled", "1");
	mini_write_freeze("veiled/below", "0");
	assert_true(mini_until(m, external_told, m));
	mini_write_freeze("veiled", "0");
	assert_int_equal(act_undo(m->act, claim), 0);
	live_kill(pid);
}

static void a_process_continued_by_someone_else_is_noticed_at_the_pulse(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	pid_t pid;

	busy_cgroup("continued", load_sleep, &pid);
	claim = mini_stop_process(m, pid);
	assert_true(mini_told(m, ACT_HELD, claim->id));
	kill(pid, SIGCONT);
	assert_true(mini_until(m, external_told, m));
	assert_int_equal(claim->external_thaws, 1);
	assert_int_equal(act_refreeze(m->act, claim, "test", "again"), 0);
	assert_true(mini_until(m, is_stopped, &pid));
	assert_int_equal(act_undo(m->act, claim), 0);
	assert_true(live_until(runs, &pid, 1000));
	live_kill(pid);
}

static void a_process_continued_before_it_was_seen_to_stop_is_noticed(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	pid_t pid;

	busy_cgroup("quick", load_spin, &pid);
	/* With no look in between. */
	claim = mini_stop_process(m, pid);
	assert_true(live_until(is_stopped, &pid, 1000));
	kill(pid, SIGCONT);
	assert_true(mini_told(m, ACT_EXTERNAL_THAW, claim->id));
	assert_true(runs(&pid));
	assert_int_equal(act_undo(m->act, claim), 0);
	live_kill(pid);
}

/* It takes SIGSTOP when it is thawed. */
static void a_process_that_is_frozen_was_not_continued(void **state)
{
	struct mini *m = *state;
	uint64_t end = monotonic_ns() + 300 * NSEC_PER_MSEC;
	struct claim *claim;
	pid_t pid;

	busy_cgroup("cold", load_sleep, &pid);
	mini_write_freeze("cold", "1");
	assert_true(live_until(live_is_frozen, "cold", 1000));
	claim = mini_stop_process(m, pid);
	while (monotonic_ns() < end)
		sd_event_run(m->event, 10000);
	assert_int_equal(m->n_told, 0);
	mini_write_freeze("cold", "0");
	assert_true(mini_told(m, ACT_HELD, claim->id));
	assert_int_equal(act_undo(m->act, claim), 0);
	live_kill(pid);
}

static void pin(pid_t pid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	assert_int_equal(sched_setaffinity(pid, sizeof(set), &set), 0);
}

static void take_note(int unused)
{
	(void)unused;
}

static void *sleep_for_ever(void *unused)
{
	pin(0, 0);
	load_sleep(unused);
	return NULL;
}

/* Two threads, of which the first runs only when nobody else wants its CPU. */
static int load_starving(void *unused)
{
	const struct sched_param param = { 0 };
	pthread_t other;

	signal(SIGUSR1, take_note);
	if (pthread_create(&other, NULL, sleep_for_ever, NULL) != 0 ||
	    sched_setscheduler(0, SCHED_IDLE, &param) < 0)
		return 1;
	pin(0, (int)sysconf(_SC_NPROCESSORS_ONLN) - 1);
	return load_spin(unused);
}

static bool is_idle_class(void *pid)
{
	return sched_getscheduler(*(pid_t *)pid) == SCHED_IDLE;
}

/* The other thread takes SIGSTOP, and the first has yet to come to its stop. */
static void a_process_whose_first_thread_waits_for_a_cpu_was_not_continued(void **state)
{
	struct mini *m = *state;
	uint64_t end;
	struct claim *claim;
	pid_t pid, hog;

	busy_cgroup("starving", load_starving, &pid);
	assert_true(live_until(is_idle_class, &pid, 1000));
	hog = live_fork(NULL, load_spin, NULL);
	assert_int_equal(setpriority(PRIO_PROCESS, (id_t)hog, -20), 0);
	pin(hog, (int)sysconf(_SC_NPROCESSORS_ONLN) - 1);
	/* Until it has got the CPU for itself. */
	usleep(50000);
	/* A thread that has a signal to take is not asked to take another one. */
	kill(pid, SIGUSR1);
	claim = mini_stop_process(m, pid);
	end = monotonic_ns() + 400 * NSEC_PER_MSEC;
	while (monotonic_ns() < end)
		sd_event_run(m->event, 10000);
	assert_int_equal(claim->external_thaws, 0);
	live_kill(hog);
	assert_true(mini_told(m, ACT_HELD, claim->id));
	assert_int_equal(act_undo(m->act, claim), 0);
	assert_true(live_until(runs, &pid, 1000));
	live_kill(pid);
}

static void move(pid_t pid, const char *cgroup)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path(cgroup));
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)pid);
	assert_int_equal(cgroupfs_write(dir, "cgroup.procs", text), 0);
}

static void what_has_left_only_is_not_stopped_again_nor_ended(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	pid_t pid;

	busy_cgroup("only/leaves", load_sleep, &pid);
	live_cgroup("left");
	assert_int_equal(act_set_only(m->act, live_path("only")), 0);
	claim = mini_stop_process(m, pid);
	assert_true(mini_told(m, ACT_HELD, claim->id));
	kill(pid, SIGCONT);
	assert_true(mini_until(m, external_told, m));
	move(pid, "left");
	assert_int_equal(act_refreeze(m->act, claim, "test", "again"), -EPERM);
	assert_true(runs(&pid));
	assert_int_equal(act_escalate(m->act, claim, CLAIM_TERMINATE, "test", "more"), -EPERM);
	assert_int_equal(claim->action, CLAIM_STOP);
	assert_true(runs(&pid));
	/* Back again it is one as any other. */
	move(pid, "only/leaves");
	assert_int_equal(act_refreeze(m->act, claim, "test", "again"), 0);
	assert_true(mini_until(m, is_stopped, &pid));
	assert_int_equal(act_undo(m->act, claim), 0);
	assert_true(live_until(runs, &pid, 1000));
	live_kill(pid);
}

static void a_cgroup_that_empties_while_frozen_is_not_left_frozen(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	uint64_t id;
	pid_t pid;

	claim = mini_freeze(m, busy_cgroup("emptied", load_sleep, &pid));
	id = claim->id;
	assert_true(mini_told(m, ACT_HELD, id));
	live_kill(pid);
	assert_true(mini_told(m, ACT_GONE, id));
	assert_false(mini_asked_to_freeze("emptied"));
	assert_int_equal(act_count(m->act), 0);
	assert_int_equal(mini_ledger_count(), 0);
}

/* When told so, removes the cgroup, as its owner would; again and again. */
static int load_remover(void *go)
{
	int dir = cgroupfs_open_path(live_fs(), live_root());
	_Atomic unsigned int *turn = go;

	for (unsigned int seen = 0;; seen = *turn) {
		while (*turn == seen)
			;
		while (unlinkat(dir, "removed-meanwhile", AT_REMOVEDIR) < 0 && errno == EBUSY)
			;
	}
	return 0;
}

static bool is_empty(void *name)
{
	return live_cgroup_key(name, "cgroup.events", "populated") == 0;
}

static bool is_removed(void *name)
{
	int dir = cgroupfs_open_path(live_fs(), live_path(name));

	if (dir >= 0)
		close(dir);
	return dir == -ENOENT;
}

static void a_thaw_that_meets_an_rmdir_frees_its_place_in_the_ledger(void **state)
{
	_Atomic unsigned int *go =
		mmap(NULL, sizeof(*go), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct mini *m = *state;
	pid_t remover = live_fork(NULL, load_remover, (void *)go);

	for (int i = 0; i < REMOVED_ROUNDS; i++) {
		struct claim *claim;
		uint64_t begin;
		pid_t pid;

		claim = mini_freeze(m, busy_cgroup("removed-meanwhile", load_sleep, &pid));
		live_kill(pid);
		assert_true(live_until(is_empty, "removed-meanwhile", 1000));
		begin = monotonic_ns();
		(*go)++;
		/* The kernel is within the removal some microseconds from now. */
		while (monotonic_ns() - begin < (uint64_t)i % 16 * NSEC_PER_USEC)
			;
		assert_int_equal(act_undo(m->act, claim), 0);
		assert_int_equal(act_count(m->act), 0);
		assert_int_equal(mini_ledger_count(), 0);
		assert_true(live_until(is_removed, "removed-meanwhile", 1000));
	}
	live_kill(remover);
	munmap((void *)go, sizeof(*go));
}

static void a_process_that_ends_while_stopped_ends_its_claim(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	uint64_t id;
	pid_t pid;

	busy_cgroup("ended", load_sleep, &pid);
	claim = mini_stop_process(m, pid);
	id = claim->id;
	assert_true(mini_told(m, ACT_HELD, id));
	live_kill(pid);
	assert_true(mini_told(m, ACT_GONE, id));
	assert_int_equal(act_count(m->act), 0);
	assert_int_equal(mini_ledger_count(), 0);
}

/* --- terminate -------------------------------------------------------------------------------- */

static void exit_politely(int sig)
{
	(void)sig;
	_exit(42);
}

static int load_polite(void *unused)
{
	(void)unused;
	signal(SIGTERM, exit_politely);
	return load_sleep(NULL);
}

static int load_stubborn(void *unused)
{
	(void)unused;
	signal(SIGTERM, SIG_IGN);
	return load_sleep(NULL);
}

static void leave_a_child(int sig)
{
	/* Born after everyone was told to end: it has not heard of it. */
	if (fork() == 0) {
		sigset_t set;

		signal(sig, SIG_DFL);
		/* Blocked while its handler runs, and so in the child. */
		sigemptyset(&set);
		sigprocmask(SIG_SETMASK, &set, NULL);
		load_sleep(NULL);
	}
	_exit(0);
}

static int load_forks_when_told(void *unused)
{
	(void)unused;
	signal(SIGTERM, leave_a_child);
	return load_sleep(NULL);
}

static bool catches_term(void *pid)
{
	char path[64], buf[4096];
	const char *line;

	snprintf(path, sizeof(path), "/proc/%d/status", *(pid_t *)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	buf[n > 0 ? n : 0] = '\0';
	for (int i = 0; i < 2; i++) {
		line = strstr(buf, i ? "SigIgn:" : "SigCgt:");
		if (line && (strtoull(line + 7, NULL, 16) & (1ULL << (SIGTERM - 1))))
			return true;
	}
	return false;
}

static struct claim *terminate(struct mini *m, struct target target)
{
	struct claim *claim;

	assert_int_equal(act_claim(m->act, CLAIM_TERMINATE, &target, "test", "", &claim), 0);
	return claim;
}

static void terminate_reaches_all_of_a_cgroup_and_below(void **state)
{
	struct mini *m = *state;
	uint64_t id = live_cgroup("term"), claim_id;
	pid_t top, below;

	busy_cgroup("term", load_polite, &top);
	busy_cgroup("term/a/b", load_polite, &below);
	assert_true(live_until(catches_term, &top, 1000));
	assert_true(live_until(catches_term, &below, 1000));
	claim_id = terminate(m, mini_cgroup_target(id))->id;
	assert_int_equal(mini_ledger_count(), 1);
	assert_int_equal(live_wait(top), 42);
	assert_int_equal(live_wait(below), 42);
	assert_true(mini_told(m, ACT_TERMINATED, claim_id));
	assert_int_equal(act_count(m->act), 0);
	assert_int_equal(mini_ledger_count(), 0);
}

static void terminate_finds_what_was_forked_meanwhile(void **state)
{
	struct mini *m = *state;
	uint64_t claim_id;
	pid_t pid;
	uint64_t id = busy_cgroup("forks", load_forks_when_told, &pid);

	assert_true(live_until(catches_term, &pid, 1000));
	claim_id = terminate(m, mini_cgroup_target(id))->id;
	assert_int_equal(live_wait(pid), 0);
	assert_true(mini_told(m, ACT_TERMINATED, claim_id));
	for (unsigned int i = 0; i < m->n_told; i++)
		assert_int_not_equal(m->told[i].news, ACT_KILLING);
}

static void assert_kills(struct mini *m, const char *name)
{
	uint64_t claim_id;
	pid_t pid;
	uint64_t id = busy_cgroup(name, load_stubborn, &pid);

	assert_true(live_until(catches_term, &pid, 1000));
	claim_id = terminate(m, mini_cgroup_target(id))->id;
	assert_true(mini_told(m, ACT_KILLING, claim_id));
	assert_int_equal(live_wait(pid), 128 + SIGKILL);
	assert_true(mini_told(m, ACT_TERMINATED, claim_id));
	assert_false(mini_asked_to_freeze(name));
	assert_int_equal(mini_ledger_count(), 0);
}

static void terminate_kills_when_the_time_is_up(void **state)
{
	assert_kills(*state, "stubborn");
}

static void terminate_kills_without_cgroup_kill_too(void **state)
{
	struct mini *m = *state;

	mini_stop(m);
	m->options.terminate_timeout_ns = 50 * NSEC_PER_MSEC;
	m->options.without_cgroup_kill = true;
	assert_int_equal(mini_start(m), 0);
	assert_kills(m, "old-kernel");
}

static void terminate_of_what_the_operator_froze_leaves_it_frozen(void **state)
{
	struct mini *m = *state;
	uint64_t claim_id;
	pid_t pid;
	uint64_t id = busy_cgroup("term-frozen", load_polite, &pid);

	assert_true(live_until(catches_term, &pid, 1000));
	mini_write_freeze("term-frozen", "1");
	claim_id = terminate(m, mini_cgroup_target(id))->id;
	assert_true(mini_told(m, ACT_KILLING, claim_id));
	assert_int_equal(live_wait(pid), 128 + SIGKILL);
	assert_true(mini_told(m, ACT_TERMINATED, claim_id));
	assert_true(mini_asked_to_freeze("term-frozen"));
	mini_write_freeze("term-frozen", "0");
}

struct moved_in {
	uint64_t cgroup;
	const char *name;
};

/* An agent that is moved into the cgroup while it is ending what runs there. */
static int end_around_itself(void *arg)
{
	struct moved_in *in = arg;
	struct mini inner = { .options.terminate_timeout_ns = 100 * NSEC_PER_MSEC,
			      .guardian_options.silence_ns = NSEC_PER_SEC };

	if (mini_start(&inner) < 0)
		return 9;
	terminate(&inner, mini_cgroup_target(in->cgroup));
	move(getpid(), in->name);
	if (!mini_told(&inner, ACT_KILLING, 0))
		return 8;
	mini_stop(&inner);
	return 0;
}

static void an_agent_that_is_moved_among_what_it_ends_goes_on(void **state)
{
	struct moved_in in = { .name = "around" };
	pid_t pid;

	in.cgroup = busy_cgroup(in.name, load_stubborn, &pid);
	assert_true(live_until(catches_term, &pid, 1000));
	/* There can be one agent on a state directory. */
	mini_stop(*state);
	assert_int_equal(live_wait(live_fork(NULL, end_around_itself, &in)), 0);
	assert_int_equal(live_wait(pid), 128 + SIGKILL);
	assert_false(mini_asked_to_freeze(in.name));
	assert_int_equal(mini_start(*state), 0);
}

static void an_undone_terminate_kills_nobody(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	uint64_t end;
	pid_t pid;
	uint64_t id = busy_cgroup("mercy", load_stubborn, &pid);

	assert_true(live_until(catches_term, &pid, 1000));
	claim = terminate(m, mini_cgroup_target(id));
	assert_int_equal(act_undo(m->act, claim), 0);
	/* Past the time at which it would have been killed. */
	end = monotonic_ns() + 2 * m->options.terminate_timeout_ns;
	while (monotonic_ns() < end)
		sd_event_run(m->event, 10000);
	assert_true(runs(&pid));
	live_kill(pid);
}

static void terminate_ends_a_process_politely_or_not(void **state)
{
	struct mini *m = *state;
	uint64_t claim_id;
	pid_t polite, stubborn;

	busy_cgroup("one/polite", load_polite, &polite);
	assert_true(live_until(catches_term, &polite, 1000));
	claim_id = terminate(m, mini_process_target(polite))->id;
	assert_true(mini_told(m, ACT_TERMINATED, claim_id));
	assert_int_equal(live_wait(polite), 42);

	busy_cgroup("one/stubborn", load_stubborn, &stubborn);
	assert_true(live_until(catches_term, &stubborn, 1000));
	claim_id = terminate(m, mini_process_target(stubborn))->id;
	assert_true(mini_told(m, ACT_TERMINATED, claim_id));
	assert_int_equal(live_wait(stubborn), 128 + SIGKILL);
}

static void what_has_left_only_after_sigterm_is_not_killed(void **state)
{
	struct mini *m = *state;
	uint64_t claim_id;
	pid_t pid;

	busy_cgroup("only/asked", load_stubborn, &pid);
	live_cgroup("left");
	assert_true(live_until(catches_term, &pid, 1000));
	assert_int_equal(act_set_only(m->act, live_path("only")), 0);
	claim_id = terminate(m, mini_process_target(pid))->id;
	move(pid, "left");
	assert_true(mini_told(m, ACT_OUTSIDE, claim_id));
	assert_int_equal(act_count(m->act), 0);
	assert_int_equal(mini_ledger_count(), 0);
	assert_true(runs(&pid));
	live_kill(pid);
}

static void a_freeze_escalates_to_a_terminate_that_is_handled(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	uint64_t claim_id;
	pid_t pid;
	uint64_t id = busy_cgroup("escalate", load_polite, &pid);

	assert_true(live_until(catches_term, &pid, 1000));
	claim = mini_freeze(m, id);
	claim_id = claim->id;
	assert_true(mini_told(m, ACT_HELD, claim_id));
	assert_int_equal(act_escalate(m->act, claim, CLAIM_TERMINATE, "test", "it went on"), 0);
	assert_false(mini_asked_to_freeze("escalate"));
	assert_int_equal(live_wait(pid), 42);
	assert_true(mini_told(m, ACT_TERMINATED, claim_id));
}

static void assert_killed(struct mini *m, const char *name)
{
	struct claim *claim;
	struct target target;
	uint64_t claim_id, start;
	pid_t pid;

	target = mini_cgroup_target(busy_cgroup(name, load_stubborn, &pid));
	assert_true(live_until(catches_term, &pid, 1000));
	start = monotonic_ns();
	assert_int_equal(act_claim(m->act, CLAIM_KILL, &target, "test", "", &claim), 0);
	claim_id = claim->id;
	assert_int_equal(mini_ledger_count(), 1);
	assert_int_equal(live_wait(pid), 128 + SIGKILL);
	/* Nobody was asked to end first, and given time for it. */
	assert_true(monotonic_ns() - start < NSEC_PER_SEC);
	assert_true(mini_told(m, ACT_TERMINATED, claim_id));
	assert_false(mini_asked_to_freeze(name));
	assert_int_equal(mini_ledger_count(), 0);
}

static void kill_waits_for_nothing(void **state)
{
	struct mini *m = *state;

	mini_stop(m);
	m->options.terminate_timeout_ns = 60 * NSEC_PER_SEC;
	assert_int_equal(mini_start(m), 0);
	assert_killed(m, "killed");
	mini_stop(m);
	m->options.without_cgroup_kill = true;
	assert_int_equal(mini_start(m), 0);
	assert_killed(m, "killed-on-old");
}

static void a_freeze_escalates_to_a_kill_and_leaves_nothing_frozen(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	uint64_t claim_id;
	pid_t pid;

	claim = mini_freeze(m, busy_cgroup("kill-frozen", load_stubborn, &pid));
	claim_id = claim->id;
	assert_true(mini_told(m, ACT_HELD, claim_id));
	assert_int_equal(act_escalate(m->act, claim, CLAIM_KILL, "test", "it went on"), 0);
	assert_int_equal(live_wait(pid), 128 + SIGKILL);
	assert_true(mini_told(m, ACT_TERMINATED, claim_id));
	/* Whatever joined it later would be born frozen. */
	assert_false(mini_asked_to_freeze("kill-frozen"));
	assert_int_equal(mini_ledger_count(), 0);
}

static void a_terminate_escalates_to_a_kill_once(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	uint64_t claim_id;
	pid_t pid;
	uint64_t id;

	mini_stop(m);
	m->options.terminate_timeout_ns = 60 * NSEC_PER_SEC;
	assert_int_equal(mini_start(m), 0);
	id = busy_cgroup("kill-asked", load_stubborn, &pid);
	assert_true(live_until(catches_term, &pid, 1000));
	claim = terminate(m, mini_cgroup_target(id));
	claim_id = claim->id;
	assert_int_equal(act_escalate(m->act, claim, CLAIM_TERMINATE, "test", "x"), -EINVAL);
	assert_int_equal(act_escalate(m->act, claim, CLAIM_FREEZE, "test", "x"), -EINVAL);
	assert_int_equal(act_escalate(m->act, claim, CLAIM_KILL, "test", "it went on"), 0);
	assert_int_equal(act_escalate(m->act, claim, CLAIM_KILL, "test", "x"), -EINVAL);
	assert_int_equal(live_wait(pid), 128 + SIGKILL);
	assert_true(mini_told(m, ACT_TERMINATED, claim_id));
}

static bool spare_all(void *user, const struct target *target)
{
	(void)user;
	(void)target;
	return true;
}

static void what_is_spared_is_not_killed(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	struct target target;
	pid_t pid;

	mini_stop(m);
	m->options.spares = spare_all;
	assert_int_equal(mini_start(m), 0);
	target = mini_cgroup_target(busy_cgroup("kill-spared", load_stubborn, &pid));
	assert_int_equal(act_claim(m->act, CLAIM_KILL, &target, "test", "", &claim), 0);
	for (int i = 0; i < 10; i++) {
		sd_event_run(m->event, 20000);
		act_pulse(m->act);
	}
	assert_true(runs(&pid));
	assert_int_equal(act_undo(m->act, claim), 0);
	live_kill(pid);
}

/* --- shells ----------------------------------------------------------------------------------- */

/* A shell with job control: puts its job into a process group of its own, gives it the terminal,
 * waits, and would say so if it saw the job stop. */
static void be_a_shell(int report, bool stuck)
{
	pid_t job = fork();
	int status;

	if (job == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		for (;;)
			pause();
	}
	setpgid(job, job);
	signal(SIGTTOU, SIG_IGN);
	tcsetpgrp(STDIN_FILENO, job);
	/* Waits in the kernel for the end of this child, and does not stop before. */
	if (stuck && vfork() == 0) {
		pid_t self = getpid();

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)!write(report, &job, sizeof(job));
		(void)!write(report, &self, sizeof(self));
		pause();
		_exit(0);
	}
	(void)!write(report, &job, sizeof(job));
	for (;;) {
		if (waitpid(job, &status, WUNTRACED) == job && WIFSTOPPED(status))
			(void)!write(report, &job, sizeof(job));
	}
}

struct terminal {
	pid_t shell;
	pid_t job;
	int report;
	int master;
};

static struct terminal open_terminal(bool stuck)
{
	struct terminal t;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	t.report = fds[0];
	t.shell = forkpty(&t.master, NULL, NULL, NULL);
	if (t.shell == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		be_a_shell(fds[1], stuck);
	}
	close(fds[1]);
	assert_int_equal(read(t.report, &t.job, sizeof(t.job)), sizeof(t.job));
	fcntl(t.report, F_SETFL, O_NONBLOCK);
	return t;
}

static void close_terminal(struct terminal *t)
{
	kill(t->job, SIGKILL);
	kill(t->shell, SIGKILL);
	waitpid(t->shell, NULL, 0);
	close(t->master);
	close(t->report);
}

static void a_shell_does_not_notice_that_its_job_is_stopped(void **state)
{
	struct mini *m = *state;
	struct terminal t = open_terminal(false);
	struct claim *claim;
	pid_t job;

	assert_int_equal(act_set_only(m->act, "/"), 0);
	for (int round = 0; round < 20; round++) {
		m->n_told = 0;
		claim = mini_stop_process(m, t.job);
		assert_int_equal(claim->n_shells, 1);
		assert_int_equal(claim->shells[0].pid, t.shell);
		assert_true(mini_told(m, ACT_HELD, claim->id));
		assert_int_equal(mini_state(t.shell), 'T');
		assert_int_equal(mini_state(t.job), 'T');
		assert_int_equal(act_undo(m->act, claim), 0);
		assert_true(live_until(runs, &t.job, 1000));
		assert_true(live_until(runs, &t.shell, 1000));
		assert_int_equal(read(t.report, &job, sizeof(job)), -1);
	}
	close_terminal(&t);
}

static void a_job_is_not_stopped_before_its_shell(void **state)
{
	struct mini *m = *state;
	struct terminal t = open_terminal(true);
	struct claim *claim;
	pid_t child;

	fcntl(t.report, F_SETFL, 0);
	assert_int_equal(read(t.report, &child, sizeof(child)), sizeof(child));
	assert_int_equal(act_set_only(m->act, "/"), 0);
	claim = mini_stop_process(m, t.job);
	/* The loop does not run here, so that no time passes for the claim. */
	assert_false(live_until(is_stopped, &t.job, 20));
	kill(child, SIGKILL);
	assert_true(mini_told(m, ACT_HELD, claim->id));
	assert_true(live_until(is_stopped, &t.shell, 1000));
	assert_int_equal(act_undo(m->act, claim), 0);
	close_terminal(&t);
}

static void a_shell_stopped_by_the_operator_is_left_alone(void **state)
{
	struct mini *m = *state;
	struct terminal t = open_terminal(false);
	struct claim *claim;

	assert_int_equal(act_set_only(m->act, "/"), 0);
	kill(t.shell, SIGSTOP);
	assert_true(live_until(is_stopped, &t.shell, 1000));
	claim = mini_stop_process(m, t.job);
	assert_int_equal(claim->n_shells, 0);
	assert_int_equal(act_undo(m->act, claim), 0);
	assert_int_equal(mini_state(t.shell), 'T');
	close_terminal(&t);
}

static void a_shell_stopped_by_the_operator_meanwhile_is_left_alone(void **state)
{
	struct mini *m = *state;
	struct terminal t = open_terminal(false);
	struct claim *claim;

	assert_int_equal(act_set_only(m->act, "/"), 0);
	claim = mini_stop_process(m, t.job);
	assert_true(mini_told(m, ACT_HELD, claim->id));
	assert_int_equal(claim->n_shells, 1);
	kill(t.job, SIGCONT);
	assert_true(mini_until(m, external_told, m));
	assert_true(live_until(runs, &t.shell, 1000));
	kill(t.shell, SIGSTOP);
	assert_true(live_until(is_stopped, &t.shell, 1000));
	assert_int_equal(act_refreeze(m->act, claim, "test", "again"), 0);
	assert_int_equal(claim->n_shells, 0);
	assert_true(mini_until(m, is_stopped, &t.job));
	assert_int_equal(act_undo(m->act, claim), 0);
	assert_true(live_until(runs, &t.job, 1000));
	assert_int_equal(mini_state(t.shell), 'T');
	close_terminal(&t);
}

static void a_shell_stays_stopped_while_another_claim_needs_it(void **state)
{
	struct mini *m = *state;
	struct terminal t = open_terminal(false);
	struct claim *job, *shell;

	assert_int_equal(act_set_only(m->act, "/"), 0);
	job = mini_stop_process(m, t.job);
	assert_true(mini_told(m, ACT_HELD, job->id));
	/* Stopped by us as a shell, it may become a target of its own. */
	shell = mini_stop_process(m, t.shell);
	assert_int_equal(act_undo(m->act, shell), 0);
	assert_int_equal(mini_state(t.shell), 'T');
	assert_int_equal(act_undo(m->act, job), 0);
	assert_true(live_until(runs, &t.shell, 1000));
	close_terminal(&t);
}

/* --- the guardian's end ----------------------------------------------------------------------- */

static void without_a_guardian_there_is_no_new_claim(void **state)
{
	struct mini *m = *state;
	struct claim *claim;
	struct target target;
	pid_t pid, old = guardian_pid(m->guardian);
	uint64_t id = busy_cgroup("unguarded", load_sleep, &pid);

	kill(old, SIGKILL);
	/* Until the loop has seen it and has started another one. */
	while (mini_state(old) != 'Z')
		usleep(500);
	target = mini_cgroup_target(id);
	assert_int_equal(act_claim(m->act, CLAIM_FREEZE, &target, "test", "", &claim), -EHOSTDOWN);
	assert_false(mini_asked_to_freeze("unguarded"));
	assert_int_equal(mini_ledger_count(), 0);

	assert_true(mini_told(m, ACT_GUARDIAN_LOST, 0));
	assert_int_not_equal(guardian_pid(m->guardian), old);
	claim = mini_freeze(m, id);
	assert_int_equal(act_undo(m->act, claim), 0);
	live_kill(pid);
}

#define test_with_agent(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test_with_agent(a_freeze_is_verified_and_undone),
		test_with_agent(a_target_made_ready_is_frozen_as_any_other),
		test_with_agent(what_is_ready_is_outside_only_all_the_same),
		test_with_agent(a_stop_is_verified_and_undone),
		test_with_agent(a_process_that_cannot_stop_is_told_as_slow_and_held_later),
		cmocka_unit_test_setup_teardown(
			a_thaw_by_others_before_it_was_frozen_is_noticed_without_a_pulse,
			setup_patient, teardown),
		test_with_agent(a_second_claim_on_the_same_target_gives_the_first),
		test_with_agent(claims_are_listed_by_age),
		test_with_agent(freeing_undoes_everything),
		test_with_agent(narrowing_only_undoes_what_is_outside_now),
		test_with_agent(what_the_operator_froze_is_left_alone),
		test_with_agent(a_frozen_cgroup_above_is_no_obstacle_and_stays_frozen),
		test_with_agent(what_the_operator_stopped_is_left_alone),
		test_with_agent(what_is_outside_only_is_refused),
		test_with_agent(the_root_the_agent_its_guardian_and_ancestors_are_refused),
		test_with_agent(the_agents_own_cgroup_and_those_above_it_are_refused),
		test_with_agent(a_recycled_pid_or_cgroup_is_never_touched),
		test_with_agent(an_empty_cgroup_is_refused),
		test_with_agent(a_thaw_by_someone_else_is_noticed_and_not_fought),
		test_with_agent(what_was_let_go_can_be_frozen_again),
		test_with_agent(a_thaw_below_a_frozen_cgroup_is_noticed_at_the_pulse),
		test_with_agent(a_process_continued_by_someone_else_is_noticed_at_the_pulse),
		cmocka_unit_test_setup_teardown(
			a_process_continued_before_it_was_seen_to_stop_is_noticed, setup_patient,
			teardown),
		cmocka_unit_test_setup_teardown(a_process_that_is_frozen_was_not_continued,
						setup_patient, teardown),
		cmocka_unit_test_setup_teardown(
			a_process_whose_first_thread_waits_for_a_cpu_was_not_continued,
			setup_patient, teardown),
		test_with_agent(what_has_left_only_is_not_stopped_again_nor_ended),
		test_with_agent(a_cgroup_that_empties_while_frozen_is_not_left_frozen),
		test_with_agent(a_thaw_that_meets_an_rmdir_frees_its_place_in_the_ledger),
		test_with_agent(a_process_that_ends_while_stopped_ends_its_claim),
		test_with_agent(terminate_reaches_all_of_a_cgroup_and_below),
		test_with_agent(terminate_finds_what_was_forked_meanwhile),
		test_with_agent(terminate_kills_when_the_time_is_up),
		test_with_agent(terminate_kills_without_cgroup_kill_too),
		test_with_agent(kill_waits_for_nothing),
		test_with_agent(a_freeze_escalates_to_a_kill_and_leaves_nothing_frozen),
		test_with_agent(a_terminate_escalates_to_a_kill_once),
		test_with_agent(what_is_spared_is_not_killed),
		test_with_agent(terminate_of_what_the_operator_froze_leaves_it_frozen),
		test_with_agent(an_agent_that_is_moved_among_what_it_ends_goes_on),
		test_with_agent(an_undone_terminate_kills_nobody),
		test_with_agent(terminate_ends_a_process_politely_or_not),
		test_with_agent(what_has_left_only_after_sigterm_is_not_killed),
		test_with_agent(a_freeze_escalates_to_a_terminate_that_is_handled),
		test_with_agent(a_shell_does_not_notice_that_its_job_is_stopped),
		test_with_agent(a_job_is_not_stopped_before_its_shell),
		test_with_agent(a_shell_stopped_by_the_operator_is_left_alone),
		test_with_agent(a_shell_stopped_by_the_operator_meanwhile_is_left_alone),
		test_with_agent(a_shell_stays_stopped_while_another_claim_needs_it),
		test_with_agent(without_a_guardian_there_is_no_new_claim),
	};

	return cmocka_run_group_tests(tests, live_setup, live_teardown);
}
