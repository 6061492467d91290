// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * CPU budget crossed → the target last ran, with 2 × CPUs busy tasks in the target. The watched
 * program itself notes the moment at which the CPU time that it has used reaches the budget. And
 * how long after the end of the grace time the target runs again.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "stats.h"
#include "../live/agent.h"
#include "../live/crowd.h"
#include "../live/live.h"

#define RUNS	  100
#define BUDGET_NS (50 * NSEC_PER_MSEC) /* 0.2 CPUs over 250 ms */

#define THAWS	       20
#define THAW_WINDOW_NS (250 * NSEC_PER_MSEC)
#define THAW_LEAVE_NS  (25 * NSEC_PER_MSEC) /* 0.1 CPUs over 250 ms */
#define THAW_GRACE_NS  (300 * NSEC_PER_MSEC)

struct shared {
	volatile uint64_t crossed_ns;
	volatile int stop;
};

static uint64_t own_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static int watched(void *arg)
{
	struct shared *s = arg;

	/* So that the budget is used up within one window also while others are busy: what is
	 * measured is the way from the crossing to the freeze, not who gets the CPU. */
	setpriority(PRIO_PROCESS, 0, -20);
	/* The whole of it was used in its cgroup but for the microseconds before it joined. */
	while (own_cpu_ns() < BUDGET_NS)
		;
	s->crossed_ns = monotonic_ns();
	while (!s->stop)
		;
	return 0;
}

/* The watched program runs without a break until it is killed. From then on the window loses what
 * it used at the pace at which it used it, so that the value is below leave once all but LEAVE of
 * the window lies behind, and the grace time ends that much later. */
static void bench_thaw(void **state)
{
	static double ms[THAWS];
	unsigned int cpus = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
	struct crowd *crowd;

	(void)state;
	live_cgroup("batch");
	live_cgroup("front");
	agent_start("[workload batch]\ncgroup = %s/batch\n[policy front]\nsignal = cpu\n"
		    "of = cgroup:%s/front\nwindow = 250ms\nenter = 0.2cpu\nleave = 0.1cpu\n"
		    "grace = 300ms\naction = freeze\ntarget = batch\n");
	crowd = crowd_start("batch", 2 * cpus);
	for (int i = 0; i < THAWS; i++) {
		pid_t pid = live_fork("front", load_spin, NULL);
		uint64_t due, began;

		assert_true(crowd_wait_frozen(crowd, 3000));
		usleep(THAW_WINDOW_NS / NSEC_PER_USEC);
		live_kill(pid);
		due = monotonic_ns() + THAW_WINDOW_NS - THAW_LEAVE_NS + THAW_GRACE_NS;
		began = crowd_last_ran_ns(crowd);
		while (crowd_last_ran_ns(crowd) == began)
			usleep(200);
		ms[i] = ((double)monotonic_ns() - (double)due) / 1e6;
	}
	agent_stop();
	sort_samples(ms, THAWS);
	printf("{\"bench\":\"cpu_thaw\",\"busy\":%u,\"runs\":%d,\"after_grace_p50_ms\":%.1f,"
	       "\"least_ms\":%.1f,\"max_ms\":%.1f}\n",
	       2 * cpus, THAWS, percentile(ms, THAWS, 50), ms[0], ms[THAWS - 1]);
}

static void bench(void **state)
{
	static double us[RUNS];
	unsigned int cpus = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN), n = 0, still = 0,
		     missed = 0;
	struct shared *s =
		mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct crowd *crowd;

	(void)state;
	live_cgroup("batch");
	live_cgroup("front");
	agent_start("[workload batch]\ncgroup = %s/batch\n[policy front]\nsignal = cpu\n"
		    "of = cgroup:%s/front\nwindow = 250ms\nenter = 0.2cpu\ngrace = 10ms\n"
		    "action = freeze\ntarget = batch\n");
	crowd = crowd_start("batch", 2 * cpus);
	for (int i = 0; i < RUNS; i++) {
		pid_t pid;

		/* The window of the run before has to be over, or the budget is crossed early. */
		assert_true(crowd_wait_running(crowd, 5000));
		usleep(300 * 1000);
		s->crossed_ns = 0;
		s->stop = 0;
		pid = live_fork("front", watched, s);
		if (crowd_wait_frozen(crowd, 3000) && s->crossed_ns) {
			uint64_t last = crowd_last_ran_ns(crowd);

			/* On a busy machine nobody of the crowd may have run since: that says
			 * nothing of when it was frozen. */
			if (last > s->crossed_ns)
				us[n++] = (double)(last - s->crossed_ns) / 1e3;
			else
				still++;
		} else {
			missed++;
		}
		s->stop = 1;
		assert_int_equal(live_wait(pid), 0);
	}
	agent_stop();
	sort_samples(us, n);
	printf("{\"bench\":\"cpu_yield\",\"busy\":%u,\"runs\":%u,\"still\":%u,\"missed\":%u,"
	       "\"p50_us\":%.0f,\"p90_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%.0f}\n",
	       2 * cpus, n, still, missed, percentile(us, n, 50), percentile(us, n, 90),
	       percentile(us, n, 99), percentile(us, n, 100));
	assert_int_equal(missed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bench, live_setup, live_teardown),
		cmocka_unit_test_setup_teardown(bench_thaw, live_setup, live_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
