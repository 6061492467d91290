// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A wait for a CPU that is too long → the target last ran, with 2 × CPUs busy tasks in the target.
 * The watched program itself notes the moment at which it comes to run so late.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "stats.h"
#include "../live/agent.h"
#include "../live/crowd.h"
#include "../live/live.h"

#define RUNS	  60
#define ENTER_NS  NSEC_PER_MSEC
#define WINDOW_NS (250 * NSEC_PER_MSEC)

struct shared {
	volatile uint64_t crossed_ns;
	volatile int ready, go, stop;
};

static int watched(void *arg)
{
	static const struct timespec pause = { .tv_nsec = NSEC_PER_MSEC };
	static const struct sched_param none;
	struct shared *s = arg;

	/* It takes the CPU from nobody; else it would hardly ever wait. */
	sched_setscheduler(0, SCHED_BATCH, &none);
	setpriority(PRIO_PROCESS, 0, 19);
	prctl(PR_SET_TIMERSLACK, 1UL);
	/* It has waited to join its cgroup: that has to leave the window first. */
	for (uint64_t end_ns = monotonic_ns() + 2 * WINDOW_NS; monotonic_ns() < end_ns;)
		;
	s->ready = 1;
	while (!s->go)
		;
	while (!s->stop) {
		uint64_t due_ns = monotonic_ns() + NSEC_PER_MSEC, now_ns;

		nanosleep(&pause, NULL);
		now_ns = monotonic_ns();
		if (!s->crossed_ns && now_ns > due_ns + ENTER_NS)
			s->crossed_ns = now_ns;
	}
	return 0;
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
		    "metric = delay\nof = cgroup:%s/front\nwindow = 250ms\nenter = 1ms\n"
		    "grace = 10ms\naction = freeze\ntarget = batch\n");
	crowd = crowd_start("batch", 2 * cpus);
	for (int i = 0; i < RUNS; i++) {
		pid_t pid;

		*s = (struct shared){ 0 };
		pid = live_fork("front", watched, s);
		while (!s->ready)
			usleep(1000);
		assert_true(crowd_wait_running(crowd, 5000));
		s->go = 1;
		if (crowd_wait_frozen(crowd, 3000)) {
			uint64_t last = crowd_last_ran_ns(crowd);

			/* On a busy machine nobody of the crowd may have run since: that says
			 * nothing of when it was frozen. */
			if (s->crossed_ns && last > s->crossed_ns)
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
	printf("{\"bench\":\"delay_yield\",\"busy\":%u,\"runs\":%u,\"still\":%u,\"missed\":%u,"
	       "\"p50_us\":%.0f,\"p90_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%.0f}\n",
	       2 * cpus, n, still, missed, percentile(us, n, 50), percentile(us, n, 90),
	       percentile(us, n, 99), percentile(us, n, 100));
	assert_int_equal(missed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bench, live_setup, live_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
