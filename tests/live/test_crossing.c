// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a policy of signal cpu must see, from the kernel's record to the freeze: bursts, a task that
 * never leaves its CPU, processes that hardly live, and cgroups that come later. While any of these
 * still runs the target stays frozen.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"

#define HOG "[workload hog]\ncgroup = %s/hog\n"
#define POLICY(of, window, enter, grace)                                                  \
	"[policy p]\nsignal = cpu\nof = " of "\nwindow = " window "\nenter = " enter "\n" \
	"grace = " grace "\naction = freeze\ntarget = hog\n"

static int setup(void **state)
{
	if (live_setup(state) < 0)
		return -1;
	live_cgroup("hog");
	live_fork("hog", load_spin, NULL);
	return 0;
}

static void assert_frozen_until_now(void)
{
	if (agent_count_events("frozen", "p") != 1 || agent_count_events("thawed", "p") != 0) {
		agent_print_log();
		fail_msg("it was thawed while the foreground still ran");
	}
	assert_true(live_frozen("hog"));
}

/* --- bursts ----------------------------------------------------------------------------------- */

struct bursts {
	unsigned int count;
	uint64_t cpu_ms, period_ms;
};

/* As its CPU time has it, so that others on the machine make a burst longer and not smaller. */
static int burst(void *arg)
{
	const struct bursts *b = arg;
	uint64_t begun = monotonic_ns();

	for (unsigned int i = 0; i < b->count; i++) {
		uint64_t next = begun + (i + 1) * b->period_ms * NSEC_PER_MSEC, now;

		load_spin_ms((void *)(uintptr_t)((i + 1) * b->cpu_ms));
		now = monotonic_ns();
		if (now < next)
			usleep((useconds_t)((next - now) / 1000));
	}
	return 0;
}

static void bursts_of_an_eighth_of_the_time_are_seen_and_hold(void **state)
{
	/* The last of them ends a quarter of a second after the sixth second began. */
	struct bursts b = { .count = 4, .cpu_ms = 250, .period_ms = 2000 };
	pid_t pid;

	(void)state;
	live_cgroup("front");
	agent_start(HOG POLICY("cgroup:%s/front", "2s", "0.1cpu", "300ms"));
	pid = live_fork("front", burst, &b);
	/* The first is enough: 0.25 s in 2 s are more than 0.1 CPUs. */
	json_decref(agent_wait_event("frozen", "p", 1900));
	usleep(6 * 1000 * 1000);
	assert_frozen_until_now();
	live_kill(pid);
	json_decref(agent_wait_event("thawed", "p", 5000));
	assert_false(live_frozen("hog"));
	assert_int_equal(agent_stop(), 0);
}

static void a_grace_longer_than_the_gap_between_bursts_holds_on(void **state)
{
	/* Each is above the window's budget, and in each gap the window is empty. */
	struct bursts b = { .count = 5, .cpu_ms = 60, .period_ms = 800 };
	pid_t pid;

	(void)state;
	live_cgroup("front");
	agent_start(HOG POLICY("cgroup:%s/front", "250ms", "0.1cpu", "900ms"));
	pid = live_fork("front", burst, &b);
	json_decref(agent_wait_event("frozen", "p", 1000));
	assert_int_equal(live_wait(pid), 0);
	assert_frozen_until_now();
	json_decref(agent_wait_event("thawed", "p", 5000));
	assert_int_equal(agent_stop(), 0);
}

/* --- one that never leaves its CPU ------------------------------------------------------------ */

static int spin_on_the_last_cpu(void *unused)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((int)sysconf(_SC_NPROCESSORS_ONLN) - 1, &set);
	sched_setaffinity(0, sizeof(set), &set);
	return load_spin(unused);
}

static void a_task_that_never_leaves_its_cpu_holds(void **state)
{
	pid_t pid;

	(void)state;
	live_cgroup("front");
	agent_start(HOG POLICY("cgroup:%s/front", "500ms", "0.2cpu", "300ms"));
	pid = live_fork("front", spin_on_the_last_cpu, NULL);
	json_decref(agent_wait_event("frozen", "p", 3000));
	usleep(2500 * 1000);
	assert_frozen_until_now();
	live_kill(pid);
	json_decref(agent_wait_event("thawed", "p", 5000));
	assert_int_equal(agent_stop(), 0);
}

/* --- processes that live a millisecond -------------------------------------------------------- */

#define SHORT_LIVES 10000

static int fork_short_lives(void *unused)
{
	(void)unused;
	for (int i = 0; i < SHORT_LIVES; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(load_spin_ms((void *)1));
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			return 1;
	}
	return 0;
}

static void ten_thousand_processes_of_a_millisecond_each_hold(void **state)
{
	pid_t pid;

	(void)state;
	live_cgroup("front");
	agent_start(HOG POLICY("cgroup:%s/front", "1s", "0.05cpu", "300ms"));
	pid = live_fork("front", fork_short_lives, NULL);
	json_decref(agent_wait_event("frozen", "p", 5000));
	assert_int_equal(live_wait(pid), 0);
	assert_frozen_until_now();
	json_decref(agent_wait_event("thawed", "p", 5000));
	assert_int_equal(agent_stop(), 0);
}

/* --- what is watched comes later -------------------------------------------------------------- */

/* Works there until it was seen, and is quiet again. */
static void assert_seen(const char *cgroup)
{
	pid_t pid = live_fork(cgroup, load_spin, NULL);

	json_decref(agent_wait_event("frozen", "p", 3000));
	live_kill(pid);
	json_decref(agent_wait_event("thawed", "p", 3000));
}

static void a_glob_sees_all_below_it_and_what_is_made_later(void **state)
{
	(void)state;
	live_cgroup("svc-1");
	agent_start(HOG POLICY("cgroup:%s/svc-*", "250ms", "0.1cpu", "100ms"));
	assert_seen("svc-1");
	live_cgroup("svc-1/inner");
	live_cgroup("svc-1/inner/deep");
	assert_seen("svc-1/inner/deep");
	live_cgroup("svc-2");
	live_cgroup("svc-2/inner");
	assert_seen("svc-2/inner");
	/* Made again: the same path, another cgroup. */
	live_rmdir("svc-2/inner");
	live_rmdir("svc-2");
	live_cgroup("svc-2");
	assert_seen("svc-2");
	assert_int_equal(agent_stop(), 0);
}

static void a_unit_that_starts_later_and_one_that_is_restarted_are_seen(void **state)
{
	(void)state;
	live_cgroup("a.slice");
	agent_start(HOG POLICY("unit:web.service", "250ms", "0.1cpu", "100ms"));
	live_cgroup("a.slice/web.service");
	assert_seen("a.slice/web.service");
	live_rmdir("a.slice/web.service");
	live_cgroup("a.slice/web.service");
	live_cgroup("a.slice/web.service/worker");
	assert_seen("a.slice/web.service/worker");
	assert_int_equal(agent_stop(), 0);
}

/* --- targets that come later ------------------------------------------------------------------ */

#define APPEARANCES 20

static uint64_t to_frozen_ns(const char *cgroup)
{
	uint64_t joined;

	live_cgroup(cgroup);
	live_fork(cgroup, load_spin, NULL);
	joined = monotonic_ns();
	assert_true(live_until(live_is_frozen, (void *)(uintptr_t)cgroup, 2000));
	return monotonic_ns() - joined;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The tick, which comes ten times a second, would take 50 ms in the middle. */
static uint64_t at_once_ns(void)
{
	return live_is_emulated() ? 500 * NSEC_PER_MSEC : 25 * NSEC_PER_MSEC;
}

static void a_target_that_appears_while_the_policy_holds_is_held_at_once(void **state)
{
	static uint64_t took_ns[APPEARANCES];
	char name[32];

	(void)state;
	live_cgroup("front");
	agent_start("[workload hog]\ncgroup = %s/hog*\n" POLICY("cgroup:%s/front", "250ms",
								"0.1cpu", "1s"));
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "p", 3000));
	for (unsigned int i = 0; i < APPEARANCES; i++) {
		snprintf(name, sizeof(name), "hog-%u", i);
		took_ns[i] = to_frozen_ns(name);
	}
	qsort(took_ns, APPEARANCES, sizeof(took_ns[0]), by_size);
	print_message("| a target that appears is frozen after %.1f ms (median), %.1f ms at most\n",
		      (double)took_ns[APPEARANCES / 2] / 1e6,
		      (double)took_ns[APPEARANCES - 1] / 1e6);
	assert_true(took_ns[APPEARANCES / 2] < at_once_ns());
	assert_int_equal(agent_stop(), 0);
}

static void whoever_joins_an_empty_target_is_held_at_once(void **state)
{
	static uint64_t took_ns[APPEARANCES];

	(void)state;
	live_cgroup("front");
	live_cgroup("hog-empty");
	agent_start("[workload hog]\ncgroup = %s/hog*\n" POLICY("cgroup:%s/front", "250ms",
								"0.1cpu", "1s"));
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "p", 3000));
	for (unsigned int i = 0; i < APPEARANCES; i++) {
		pid_t pid;
		uint64_t joined;

		/* So that it was waited for, and not only just emptied. */
		usleep(150 * 1000);
		pid = live_fork("hog-empty", load_spin, NULL);
		joined = monotonic_ns();
		assert_true(live_until(live_is_frozen, "hog-empty", 2000));
		took_ns[i] = monotonic_ns() - joined;
		live_kill(pid);
		assert_true(live_until(live_is_thawed, "hog-empty", 2000));
	}
	qsort(took_ns, APPEARANCES, sizeof(took_ns[0]), by_size);
	print_message("| who joins an empty target is frozen after %.1f ms (median), %.1f ms at "
		      "most\n",
		      (double)took_ns[APPEARANCES / 2] / 1e6,
		      (double)took_ns[APPEARANCES - 1] / 1e6);
	assert_true(took_ns[APPEARANCES / 2] < at_once_ns());
	assert_int_equal(agent_stop(), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, live_teardown)
	const struct CMUnitTest tests[] = {
		T(bursts_of_an_eighth_of_the_time_are_seen_and_hold),
		T(a_grace_longer_than_the_gap_between_bursts_holds_on),
		T(a_task_that_never_leaves_its_cpu_holds),
		T(ten_thousand_processes_of_a_millisecond_each_hold),
		T(a_glob_sees_all_below_it_and_what_is_made_later),
		T(a_unit_that_starts_later_and_one_that_is_restarted_are_seen),
		T(a_target_that_appears_while_the_policy_holds_is_held_at_once),
		T(whoever_joins_an_empty_target_is_held_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
