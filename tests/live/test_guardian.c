// SPDX-License-Identifier: GPL-2.0-or-later
/* The agent dies in every way there is, and nothing stays frozen or stopped. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "act/release.h"
#include "act/freezer.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"
#include "mini.h"

#define N_TARGETS	 6 /* cgroups g0 …, and as many processes, the one in each */
#define RANDOM_ROUNDS	 60
#define REPLACING_ROUNDS 20
#define SILENCE_NS	 (500 * NSEC_PER_MSEC)
#define UNDONE_IN_MS	 100
#define CGROUP_NAME_LEN	 16

/* What the agents that these tests kill share with the test. */
struct shared {
	_Atomic pid_t guardian;
	_Atomic unsigned int claims;
	_Atomic unsigned int restarts;
};

static struct fixture {
	struct shared *shared;
	uint64_t cgroups[N_TARGETS];
	pid_t frozen[N_TARGETS];  /* one in each cgroup */
	pid_t stopped[N_TARGETS]; /* in a cgroup that nobody freezes */
} fixture;

static const char *name_of(int i)
{
	static char name[CGROUP_NAME_LEN];

	snprintf(name, sizeof(name), "g%d", i);
	return name;
}

static int setup_group(void **state)
{
	int r = live_setup(state);

	if (r < 0)
		return r;
	/* Made here, so that the agents forked later have the same. */
	(void)live_tmpdir();
	/* Orphaned guardians become our children, so that none outlives this program unseen. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	fixture.shared = mmap(NULL, sizeof(*fixture.shared), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < N_TARGETS; i++) {
		fixture.cgroups[i] = live_cgroup(name_of(i));
		fixture.frozen[i] = live_fork(name_of(i), load_sleep, NULL);
		live_cgroup("stopped");
		fixture.stopped[i] = live_fork("stopped", load_sleep, NULL);
	}
	for (int i = 0; i < N_TARGETS; i++)
		while (live_cgroup_key(name_of(i), "cgroup.events", "populated") == 0)
			usleep(500);
	return 0;
}

/* --- agents to be killed ------------------------------------------------------------------------
 */

static void note_restart(void *user, enum act_news news, struct claim *claim)
{
	struct mini *m = user;

	(void)claim;
	if (news == ACT_GUARDIAN_LOST) {
		fixture.shared->guardian = guardian_pid(m->guardian);
		fixture.shared->restarts++;
	}
}

static int start_agent(struct mini *m)
{
	int r;

	*m = (struct mini){ 0 };
	m->options.news = note_restart;
	m->options.user = m;
	m->guardian_options.silence_ns = SILENCE_NS;
	r = mini_start(m);
	if (r == 0)
		fixture.shared->guardian = guardian_pid(m->guardian);
	return r;
}

/* Claims and undoes at random for ever. */
static int restless_agent(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;
	struct mini m;

	if (start_agent(&m) < 0)
		return 1;
	for (;;) {
		int i = rand_r(&seed) % N_TARGETS;
		bool cgroup = rand_r(&seed) % 2;
		struct target target = cgroup ? mini_cgroup_target(fixture.cgroups[i])
					      : mini_process_target(fixture.stopped[i]);
		struct claim *claim;
		int r = act_claim(m.act, cgroup ? CLAIM_FREEZE : CLAIM_STOP, &target, "test", "",
				  &claim);

		if (r == -EEXIST)
			act_undo(m.act, claim);
		fixture.shared->claims++;
		act_pulse(m.act);
		sd_event_run(m.event, 0);
	}
	return 0;
}

/* Holds everything and beats. */
static int steady_agent(void *unused)
{
	struct mini m;

	(void)unused;
	if (start_agent(&m) < 0)
		return 1;
	for (int i = 0; i < N_TARGETS; i++) {
		mini_freeze(&m, fixture.cgroups[i]);
		mini_stop_process(&m, fixture.stopped[i]);
	}
	fixture.shared->claims = 2 * N_TARGETS;
	for (;;) {
		sd_event_run(m.event, 20000);
		act_pulse(m.act);
	}
	return 0;
}

/* Holds everything, and its guardian has read none of it. */
static int unheard_agent(void *unused)
{
	struct mini m;

	(void)unused;
	if (start_agent(&m) < 0)
		return 1;
	kill(fixture.shared->guardian, SIGSTOP);
	for (int i = 0; i < N_TARGETS; i++) {
		mini_freeze(&m, fixture.cgroups[i]);
		mini_stop_process(&m, fixture.stopped[i]);
	}
	fixture.shared->claims = 2 * N_TARGETS;
	for (;;)
		pause();
}

static pid_t start(int (*agent)(void *), unsigned int seed)
{
	pid_t pid;

	fixture.shared->claims = 0;
	fixture.shared->guardian = 0;
	fixture.shared->restarts = 0;
	pid = live_fork(NULL, agent, (void *)(uintptr_t)seed);
	return pid;
}

static bool holds_all(void *unused)
{
	(void)unused;
	if (fixture.shared->claims < 2 * N_TARGETS)
		return false;
	for (int i = 0; i < N_TARGETS; i++)
		if (!live_frozen(name_of(i)) || mini_state(fixture.stopped[i]) != 'T')
			return false;
	return true;
}

static bool nothing_held(void *unused)
{
	(void)unused;
	for (int i = 0; i < N_TARGETS; i++)
		if (mini_asked_to_freeze(name_of(i)) || live_frozen(name_of(i)) ||
		    mini_state(fixture.stopped[i]) == 'T')
			return false;
	return true;
}

static bool has_guardian(void *unused)
{
	(void)unused;
	return fixture.shared->guardian != 0;
}

static bool has_claimed(void *unused)
{
	(void)unused;
	return fixture.shared->claims > 0;
}

static bool has_new_guardian(void *unused)
{
	(void)unused;
	return fixture.shared->restarts > 0 && fixture.shared->guardian != 0;
}

static bool ledger_is_empty(void *unused)
{
	(void)unused;
	return mini_ledger_count() == 0;
}

static bool process_is_gone(void *pid)
{
	char state = mini_state(*(pid_t *)pid);

	return state == '-' || state == 'Z';
}

static void reap_guardian(void)
{
	pid_t pid = fixture.shared->guardian;

	assert_true(live_until(process_is_gone, &pid, 1000));
	waitpid(pid, NULL, WNOHANG);
}

static void assert_all_undone(void)
{
	assert_true(live_until(nothing_held, NULL, UNDONE_IN_MS));
	assert_true(live_until(ledger_is_empty, NULL, UNDONE_IN_MS));
	reap_guardian();
}

/* The process that has the guardian's lock of the ledger, 0: none. */
static pid_t locked_by(int ledger)
{
	struct flock lock = { .l_type = F_WRLCK, .l_start = 1, .l_len = 1 };

	assert_int_equal(fcntl(ledger, F_GETLK, &lock), 0);
	return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

/* --- tests ------------------------------------------------------------------------------------ */

static void killed_at_random_the_agent_leaves_nothing_held(void **state)
{
	unsigned int seed = (unsigned int)getpid();

	(void)state;
	for (int round = 0; round < RANDOM_ROUNDS; round++) {
		pid_t pid = start(restless_agent, seed + (unsigned int)round);

		/* From before the first claim to some hundred later. */
		if (round % 4 != 0)
			assert_true(live_until(has_claimed, NULL, 5000));
		else
			assert_true(live_until(has_guardian, NULL, 5000));
		usleep((unsigned int)rand_r(&seed) % 8000);
		live_kill(pid);
		assert_all_undone();
	}
}

static void killed_at_random_with_its_guardians_all_is_released(void **state)
{
	struct release_options release = { .state_dir = mini_state_dir() };
	unsigned int seed = (unsigned int)getpid();
	char what[256];

	(void)state;
	for (int round = 0; round < RANDOM_ROUNDS; round++) {
		pid_t pid = start(restless_agent, seed + (unsigned int)round), holder = 0;

		assert_true(live_until(has_claimed, NULL, 5000));
		/* Once, and sometimes its successor too. */
		for (int i = rand_r(&seed) % 3; i >= 0; i--) {
			pid_t guardian;

			usleep((unsigned int)rand_r(&seed) % 4000);
			guardian = fixture.shared->guardian;
			if (guardian > 0)
				kill(guardian, SIGKILL);
		}
		usleep((unsigned int)rand_r(&seed) % 3000);
		live_kill(pid);
		if (release_all(&release, &holder, what, sizeof(what)) < 0)
			fail_msg("%s, held by %d", what, (int)holder);
		assert_true(live_until(nothing_held, NULL, UNDONE_IN_MS));
		assert_int_equal(mini_ledger_count(), 0);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

static void terminating_signals_do_not_move_the_guardian(void **state)
{
	pid_t pid = start(steady_agent, 0), guardian;

	(void)state;
	assert_true(live_until(holds_all, NULL, 5000));
	guardian = fixture.shared->guardian;
	kill(guardian, SIGTERM);
	kill(guardian, SIGINT);
	kill(guardian, SIGHUP);
	kill(guardian, SIGQUIT);
	kill(guardian, SIGUSR1);
	kill(guardian, SIGPIPE);
	live_kill(pid);
	assert_all_undone();
	assert_int_equal(fixture.shared->restarts, 0);
}

static void a_silent_agent_is_killed_and_undone(void **state)
{
	pid_t pid = start(steady_agent, 0);
	uint64_t begin;

	(void)state;
	assert_true(live_until(holds_all, NULL, 5000));
	kill(pid, SIGSTOP);
	begin = monotonic_ns();
	assert_int_equal(live_wait(pid), 128 + SIGKILL);
	/* Not before its time. */
	assert_true(monotonic_ns() - begin > SILENCE_NS * 3 / 5);
	assert_all_undone();
}

static void an_agent_without_claims_may_be_silent(void **state)
{
	struct mini m;
	struct pollfd p = { .events = POLLIN };

	(void)state;
	assert_int_equal(start_agent(&m), 0);
	p.fd = guardian_pidfd(m.guardian);
	assert_int_equal(poll(&p, 1, (int)(2 * SILENCE_NS / NSEC_PER_MSEC)), 0);
	mini_stop(&m);
}

static void a_killed_guardian_is_replaced_and_the_new_one_undoes(void **state)
{
	pid_t pid = start(steady_agent, 0), old;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_true(live_until(holds_all, NULL, 5000));
		fixture.shared->restarts = 0;
		old = fixture.shared->guardian;
		kill(old, SIGKILL);
		assert_true(live_until(has_new_guardian, NULL, 5000));
		assert_int_not_equal(fixture.shared->guardian, old);
		/* Nothing was let go meanwhile. */
		assert_true(holds_all(NULL));
	}
	live_kill(pid);
	assert_all_undone();
}

static void killed_while_it_replaces_its_guardian_the_agent_leaves_nothing_held(void **state)
{
	char path[256];

	(void)state;
	snprintf(path, sizeof(path), "%s/ledger", mini_state_dir());
	for (unsigned int round = 0; round < REPLACING_ROUNDS; round++) {
		pid_t pid = start(steady_agent, 0), old, new;
		uint64_t end = monotonic_ns() + 5 * NSEC_PER_SEC;
		_cleanup_close_ int ledger = -1;

		assert_true(live_until(holds_all, NULL, 5000));
		ledger = open(path, O_RDWR | O_CLOEXEC);
		assert_true(ledger >= 0);
		old = fixture.shared->guardian;
		kill(old, SIGKILL);
		/* The new one stands, and has not been told of anything yet. */
		do
			new = locked_by(ledger);
		while ((new == 0 || new == old) && monotonic_ns() < end);
		assert_int_not_equal(new, 0);
		assert_int_not_equal(new, old);
		usleep(round % 4 * 50);
		live_kill(pid);
		fixture.shared->guardian = new;
		assert_all_undone();
	}
}

static void a_guardian_that_hangs_is_replaced(void **state)
{
	pid_t pid = start(steady_agent, 0);

	(void)state;
	assert_true(live_until(holds_all, NULL, 5000));
	kill(fixture.shared->guardian, SIGSTOP);
	assert_true(live_until(has_new_guardian, NULL, 5000));
	live_kill(pid);
	assert_all_undone();
}

static void copies_of_its_descriptors_do_not_keep_a_dead_agent_alive(void **state)
{
	enum {
		N_FDS = 64
	};
	pid_t pid = start(steady_agent, 0);
	int copies[N_FDS], agent;

	(void)state;
	assert_true(live_until(holds_all, NULL, 5000));
	/* Holds a copy of all of the agent's descriptors, as a job between fork and exec does. */
	agent = pidfd_open(pid, 0);
	for (int fd = 0; fd < N_FDS; fd++)
		copies[fd] = pidfd_getfd(agent, fd, 0);
	assert_true(copies[3] >= 0);
	live_kill(pid);
	assert_all_undone();
	for (int fd = 0; fd < N_FDS; fd++)
		closep(&copies[fd]);
	close(agent);
}

static void the_guardian_keeps_no_descriptor_but_its_own(void **state)
{
	struct mini m;
	unsigned int n = 0;
	char path[64];
	int extra = open("/dev/zero", O_RDONLY);

	(void)state;
	assert_int_equal(start_agent(&m), 0);
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)guardian_pid(m.guardian));
	_cleanup_closedir_ DIR *dir = opendir(path);

	while (readdir(dir))
		n++;
	/* ".", "..", 0 to 2 on /dev/null, socket, pidfd of the agent, ledger and its directory. */
	assert_int_equal(n, 2 + 3 + 4);
	close(extra);
	mini_stop(&m);
}

static void the_guardian_does_what_it_can_to_survive(void **state)
{
	char path[64], status[4096];
	const char *locked;
	struct mini m;

	(void)state;
	assert_int_equal(start_agent(&m), 0);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)guardian_pid(m.guardian));
	_cleanup_close_ int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, status, sizeof(status) - 1);

	assert_true(n > 0);
	status[n] = '\0';
	assert_non_null(strstr(status, "Name:\t" GUARDIAN_NAME "\n"));
	locked = strstr(status, "VmLck:");
	assert_non_null(locked);
#ifndef __SANITIZE_ADDRESS__ /* which makes mlockall() do nothing: its shadow is terabytes */
	assert_true(strtoul(locked + 6, NULL, 10) > 100);
#endif
	assert_int_equal(sched_getscheduler(guardian_pid(m.guardian)), SCHED_FIFO);
	/* A session of its own: the terminal's signals do not reach it. */
	assert_int_equal(getsid(guardian_pid(m.guardian)), guardian_pid(m.guardian));
	mini_stop(&m);
}

/* As far as the ledger and no further. */
static int agent_dies_after_the_ledger(void *unused)
{
	struct claim claim = { .id = 1,
			       .holds = true,
			       .target = { .kind = TARGET_CGROUP, .cgroup = fixture.cgroups[0] } };
	struct mini m;

	(void)unused;
	if (start_agent(&m) < 0 || ledger_write(m.ledger, &claim) < 0)
		return 1;
	raise(SIGKILL);
	return 0;
}

static int agent_dies_before_the_kernel(void *unused)
{
	struct claim claim = { .id = 1,
			       .holds = true,
			       .target = { .kind = TARGET_CGROUP, .cgroup = fixture.cgroups[0] } };
	struct guardian_grip grip = { .claim = &claim, .n_fds = 1 };
	_cleanup_close_ int dir = cgroupfs_open_id(live_fs(), fixture.cgroups[0]);
	struct mini m;

	(void)unused;
	grip.fds[0] = openat(dir, "cgroup.freeze", O_RDWR | O_CLOEXEC);
	if (start_agent(&m) < 0 || ledger_write(m.ledger, &claim) < 0 ||
	    guardian_add(m.guardian, &grip) < 0)
		return 1;
	raise(SIGKILL);
	return 0;
}

static void a_claim_that_was_never_carried_out_leaves_the_ledger(void **state)
{
	(void)state;
	assert_int_equal(live_wait(start(agent_dies_after_the_ledger, 0)), 128 + SIGKILL);
	assert_all_undone();
	assert_int_equal(live_wait(start(agent_dies_before_the_kernel, 0)), 128 + SIGKILL);
	assert_all_undone();
}

static bool guardian_is_dead(void *unused)
{
	(void)unused;
	return mini_state(fixture.shared->guardian) == 'Z';
}

/* What it lends while the one guardian is dead, the next one has. */
static int lend_to_the_next(struct mini *m, int freeze)
{
	kill(fixture.shared->guardian, SIGKILL);
	if (!live_until(guardian_is_dead, NULL, 1000))
		return -ETIMEDOUT;
	guardian_lend(m->guardian, 7, freeze);
	return guardian_restart(m->guardian, NULL, 0);
}

enum lent {
	TO_THE_FIRST,
	TO_THE_FIRST_AND_INHERITED,
	TO_THE_NEXT,
	LENT_N
};

/* Frees what it has frozen only if the guardian knows a pledge: nothing was sent. `arg` tells whom
 * the freezer was lent to. */
static int agent_ends_on_a_pledge(void *arg)
{
	struct claim claim = { .id = 1,
			       .holds = true,
			       .target = { .kind = TARGET_CGROUP, .cgroup = fixture.cgroups[0] } };
	_cleanup_close_ int dir = cgroupfs_open_id(live_fs(), fixture.cgroups[0]);
	int freeze = openat(dir, "cgroup.freeze", O_RDWR | O_CLOEXEC);
	enum lent lent = (uintptr_t)arg;
	struct mini m;

	if (start_agent(&m) < 0)
		return 1;
	if (lent == TO_THE_NEXT) {
		if (lend_to_the_next(&m, freeze) < 0)
			return 2;
	} else {
		guardian_lend(m.guardian, 7, freeze);
	}
	if (lent == TO_THE_FIRST_AND_INHERITED && guardian_restart(m.guardian, NULL, 0) < 0)
		return 2;
	fixture.shared->guardian = guardian_pid(m.guardian);
	if (ledger_write(m.ledger, &claim) < 0 || guardian_pledge(m.guardian, 7, 1) < 0 ||
	    freezer_write(freeze, true) < 0)
		return 3;
	fixture.shared->claims = 1;
	pause();
	return 0;
}

static bool is_pledged(void *unused)
{
	(void)unused;
	return fixture.shared->claims == 1 && live_frozen(name_of(0));
}

static void what_is_pledged_only_is_undone(void **state)
{
	(void)state;
	for (unsigned int lent = 0; lent < LENT_N; lent++) {
		pid_t pid = start(agent_ends_on_a_pledge, lent);

		assert_true(live_until(is_pledged, NULL, 5000));
		live_kill(pid);
		assert_all_undone();
	}
}

static void a_silent_agent_with_a_pledge_is_killed_and_undone(void **state)
{
	pid_t pid = start(agent_ends_on_a_pledge, TO_THE_FIRST);

	(void)state;
	assert_true(live_until(is_pledged, NULL, 5000));
	assert_int_equal(live_wait(pid), 128 + SIGKILL);
	assert_all_undone();
}

static void what_was_not_lent_cannot_be_pledged(void **state)
{
	struct claim claim = { .id = 1, .target.kind = TARGET_CGROUP };
	int freeze = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct mini m;

	(void)state;
	assert_int_equal(start_agent(&m), 0);
	assert_int_equal(ledger_write(m.ledger, &claim), 0);
	assert_int_equal(guardian_pledge(m.guardian, 0, 1), -ENOENT);
	guardian_lend(m.guardian, 0, freeze);
	assert_int_equal(guardian_pledge(m.guardian, 0, 2), -ENOENT);
	assert_int_equal(guardian_pledge(m.guardian, 0, 1), 0);
	guardian_redeem(m.guardian, 0);
	guardian_return(m.guardian, 0);
	assert_int_equal(guardian_pledge(m.guardian, 0, 1), -ENOENT);
	assert_int_equal(guardian_pledge(m.guardian, GUARDIAN_LOANS, 1), -ENOENT);
	close(freeze);
	assert_int_equal(ledger_clear(m.ledger, 1), 0);
	mini_stop(&m);
}

/* Before anyone has noticed that it died. */
static void nothing_is_pledged_to_a_dead_guardian(void **state)
{
	struct claim claim = { .id = 1, .target.kind = TARGET_CGROUP };
	int freeze = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct mini m;

	(void)state;
	assert_int_equal(start_agent(&m), 0);
	assert_int_equal(ledger_write(m.ledger, &claim), 0);
	guardian_lend(m.guardian, 0, freeze);
	kill(fixture.shared->guardian, SIGKILL);
	assert_true(live_until(guardian_is_dead, NULL, 1000));
	assert_int_equal(guardian_pledge(m.guardian, 0, 1), -EHOSTDOWN);
	assert_int_equal(guardian_restart(m.guardian, NULL, 0), 0);
	assert_int_equal(guardian_pledge(m.guardian, 0, 1), 0);
	guardian_redeem(m.guardian, 0);
	close(freeze);
	assert_int_equal(ledger_clear(m.ledger, 1), 0);
	mini_stop(&m);
}

/* Finds a claim of an earlier agent, lets it go, and uses its place. */
static int agent_dies_in_an_old_place(void *unused)
{
	struct guardian_options options = { 0 };
	struct claim claim = { .holds = true,
			       .target = { .kind = TARGET_CGROUP, .cgroup = fixture.cgroups[0] } };
	struct guardian *guardian;
	char what[256];
	pid_t holder;

	(void)unused;
	if (ledger_open(&options.ledger, mini_state_dir(), &holder, what, sizeof(what)) < 0 ||
	    guardian_start(&guardian, &options) < 0 ||
	    ledger_release(options.ledger, live_fs(), NULL, NULL) != 1)
		return 1;
	fixture.shared->guardian = guardian_pid(guardian);
	claim.id = ledger_next_id(options.ledger);
	if (ledger_write(options.ledger, &claim) < 0)
		return 2;
	raise(SIGKILL);
	return 0;
}

static void in_an_old_place_it_leaves_the_ledger_too(void **state)
{
	struct claim claim = { .id = 1,
			       .holds = true,
			       .target = { .kind = TARGET_CGROUP, .cgroup = fixture.cgroups[1] } };
	struct ledger *ledger;
	char what[256];
	pid_t holder;

	(void)state;
	assert_int_equal(ledger_open(&ledger, mini_state_dir(), &holder, what, sizeof(what)), 0);
	assert_int_equal(ledger_write(ledger, &claim), 0);
	ledger_close(ledger);
	assert_int_equal(live_wait(start(agent_dies_in_an_old_place, 0)), 128 + SIGKILL);
	assert_all_undone();
}

static void count_told(void *user, const struct claim *claim, int error)
{
	unsigned int *n = user;

	assert_true(claim->undone);
	assert_int_equal(error, 0);
	(*n)++;
}

static void what_it_undid_can_be_told_afterwards(void **state)
{
	unsigned int told = 0;
	struct release_options release = { .state_dir = mini_state_dir(),
					   .told = count_told,
					   .user = &told };
	pid_t pid = start(steady_agent, 0), holder;
	char what[256];

	(void)state;
	assert_true(live_until(holds_all, NULL, 5000));
	live_kill(pid);
	assert_all_undone();
	assert_int_equal(release_all(&release, &holder, what, sizeof(what)), 0);
	assert_int_equal(told, 2 * N_TARGETS);
	assert_int_equal(release_all(&release, &holder, what, sizeof(what)), 0);
	assert_int_equal(told, 2 * N_TARGETS);
}

static void claims_that_the_guardian_had_not_read_yet_are_undone(void **state)
{
	pid_t pid = start(unheard_agent, 0);

	(void)state;
	assert_true(live_until(holds_all, NULL, 5000));
	live_kill(pid);
	assert_true(holds_all(NULL));
	kill(fixture.shared->guardian, SIGCONT);
	assert_all_undone();
}

static void a_new_agent_waits_for_the_guardian_of_a_dead_one(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		pid_t pid = start(steady_agent, 0);
		struct mini m;

		assert_true(live_until(holds_all, NULL, 5000));
		live_kill(pid);
		/* At once: the guardian of the dead one is still at work. */
		assert_int_equal(start_agent(&m), 0);
		assert_true(nothing_held(NULL));
		assert_int_equal(mini_ledger_count(), 0);
		mini_stop(&m);
	}
}

static void a_hanging_guardian_of_a_dead_agent_is_done_with(void **state)
{
	pid_t pid = start(steady_agent, 0), holder, guardian;
	struct release_options release = { .state_dir = mini_state_dir() };
	char what[256];

	(void)state;
	assert_true(live_until(holds_all, NULL, 5000));
	guardian = fixture.shared->guardian;
	kill(guardian, SIGSTOP);
	live_kill(pid);
	assert_true(holds_all(NULL));
	assert_int_equal(release_all(&release, &holder, what, sizeof(what)), 2 * N_TARGETS);
	assert_all_undone();
}

static void stopping_the_guardian_lets_it_end(void **state)
{
	struct mini m;
	pid_t pid;

	(void)state;
	assert_int_equal(start_agent(&m), 0);
	pid = guardian_pid(m.guardian);
	mini_stop(&m);
	assert_int_equal(mini_state(pid), '-');
}

static int remove_pin(const char *dir)
{
	return unlink(dir) < 0 ? -errno : 0;
}

static const char *pin_path(void)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/pin", live_tmpdir());
	return path;
}

static int agent_with_pins(void *unused)
{
	struct mini m = { .guardian_options = { .pin_dir = pin_path(),
						.remove_pins = remove_pin } };

	(void)unused;
	if (mini_start(&m) < 0)
		return 1;
	fixture.shared->guardian = guardian_pid(m.guardian);
	pause();
	return 0;
}

static bool pin_is_gone(void *unused)
{
	(void)unused;
	return access(pin_path(), F_OK) < 0;
}

static void a_dead_agents_pins_are_removed(void **state)
{
	pid_t pid;

	(void)state;
	close(open(pin_path(), O_CREAT | O_WRONLY, 0600));
	pid = start(agent_with_pins, 0);
	assert_true(live_until(has_guardian, NULL, 5000));
	assert_false(pin_is_gone(NULL));
	live_kill(pid);
	assert_true(live_until(pin_is_gone, NULL, 1000));
	reap_guardian();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_at_random_the_agent_leaves_nothing_held),
		cmocka_unit_test(killed_at_random_with_its_guardians_all_is_released),
		cmocka_unit_test(terminating_signals_do_not_move_the_guardian),
		cmocka_unit_test(a_silent_agent_is_killed_and_undone),
		cmocka_unit_test(an_agent_without_claims_may_be_silent),
		cmocka_unit_test(a_killed_guardian_is_replaced_and_the_new_one_undoes),
		cmocka_unit_test(
			killed_while_it_replaces_its_guardian_the_agent_leaves_nothing_held),
		cmocka_unit_test(a_guardian_that_hangs_is_replaced),
		cmocka_unit_test(copies_of_its_descriptors_do_not_keep_a_dead_agent_alive),
		cmocka_unit_test(the_guardian_keeps_no_descriptor_but_its_own),
		cmocka_unit_test(the_guardian_does_what_it_can_to_survive),
		cmocka_unit_test(a_claim_that_was_never_carried_out_leaves_the_ledger),
		cmocka_unit_test(what_is_pledged_only_is_undone),
		cmocka_unit_test(a_silent_agent_with_a_pledge_is_killed_and_undone),
		cmocka_unit_test(what_was_not_lent_cannot_be_pledged),
		cmocka_unit_test(nothing_is_pledged_to_a_dead_guardian),
		cmocka_unit_test(in_an_old_place_it_leaves_the_ledger_too),
		cmocka_unit_test(what_it_undid_can_be_told_afterwards),
		cmocka_unit_test(claims_that_the_guardian_had_not_read_yet_are_undone),
		cmocka_unit_test(a_new_agent_waits_for_the_guardian_of_a_dead_one),
		cmocka_unit_test(a_hanging_guardian_of_a_dead_agent_is_done_with),
		cmocka_unit_test(stopping_the_guardian_lets_it_end),
		cmocka_unit_test(a_dead_agents_pins_are_removed),
	};

	return cmocka_run_group_tests(tests, setup_group, live_teardown);
}
