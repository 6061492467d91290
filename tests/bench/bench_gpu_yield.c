// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * GPU open → the job on it last ran, with every CPU busy with the job. The clock starts in the
 * opener right before open(2) and stops at the last moment at which any process of the job ran.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/clock.h"
#include "stats.h"
#include "../live/agent.h"
#include "../live/crowd.h"
#include "../live/live.h"
#include "../live/stand_in.h"

#define RUNS 200

struct shared {
	char node[256];
	volatile uint64_t before_open_ns;
	volatile int close_now;
};

static int opener(void *arg)
{
	struct shared *s = arg;
	int fd;

	s->before_open_ns = monotonic_ns();
	fd = open(s->node, O_RDWR);
	if (fd < 0)
		return 1;
	/* Asleep, as a program is that waits for its GPU. */
	while (!s->close_now)
		usleep(1000);
	return 0;
}

/* 0 when the job did not get to run any more at all. */
static double last_ran_after_us(const struct crowd *crowd, uint64_t since_ns)
{
	uint64_t last = crowd_last_ran_ns(crowd);

	return last > since_ns ? (double)(last - since_ns) / 1e3 : 0;
}

static void bench(void **state)
{
	static double us[RUNS];
	char config[1024];
	unsigned int cpus = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN), n = 0, missed = 0;
	struct shared *s =
		mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct crowd *crowd;

	(void)state;
	live_cgroup("job");
	live_cgroup("user");
	snprintf(s->node, sizeof(s->node), "%s/nvidia0", live_nodedir());
	stand_in_node(s->node);
	snprintf(config, sizeof(config),
		 "[workload job]\ncgroup = %%s/job\n[policy wanted]\nsignal = gpu\ndevices = %s\n"
		 "grace = 10ms\naction = freeze\ntarget = job\n",
		 s->node);
	agent_start(config);
	crowd = crowd_start("job", cpus);
	for (int i = 0; i < RUNS; i++) {
		pid_t pid;

		assert_true(crowd_wait_running(crowd, 5000));
		s->close_now = 0;
		pid = live_fork("user", opener, s);
		if (crowd_wait_frozen(crowd, 2000))
			us[n++] = last_ran_after_us(crowd, s->before_open_ns);
		else
			missed++;
		s->close_now = 1;
		assert_int_equal(live_wait(pid), 0);
	}
	agent_stop();
	sort_samples(us, n);
	printf("{\"bench\":\"gpu_yield\",\"busy\":%u,\"runs\":%u,\"missed\":%u,\"p50_us\":%.0f,"
	       "\"p90_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%.0f}\n",
	       cpus, n, missed, percentile(us, n, 50), percentile(us, n, 90), percentile(us, n, 99),
	       percentile(us, n, 100));
	assert_int_equal(missed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bench, live_setup, live_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
