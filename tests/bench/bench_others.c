// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the agent costs other programs: getppid(2) and open+close of an ordinary file, with the
 * agent ÷ without, in turns so that a drifting machine drifts for both.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/clock.h"
#include "stats.h"
#include "../live/agent.h"
#include "../live/live.h"
#include "../live/stand_in.h"

#define ROUNDS	 7
#define BATCH_NS (60 * NSEC_PER_MSEC)

enum {
	GETPPID,
	OPEN_CLOSE,
	CALLS
};

static char file[256];

static void call(int which)
{
	int fd;

	if (which == GETPPID) {
		syscall(SYS_getppid);
		return;
	}
	fd = open(file, O_RDONLY);
	assert_true(fd >= 0);
	close(fd);
}

/* The fastest of ten batches: what disturbs only ever makes it slower. */
static double ns_per_call(int which)
{
	double best = 1e9;

	for (int batch = 0; batch < 10; batch++) {
		uint64_t begin = monotonic_ns(), now = begin;
		unsigned int n = 0;

		while (now - begin < BATCH_NS / 10) {
			for (int i = 0; i < 200; i++)
				call(which);
			n += 200;
			now = monotonic_ns();
		}
		if ((double)(now - begin) / n < best)
			best = (double)(now - begin) / n;
	}
	return best;
}

static void measure(double ns[CALLS])
{
	for (int c = 0; c < CALLS; c++)
		ns[c] = ns_per_call(c);
}

/* The machine's own pace drifts (clock rates, neighbours): each run with the agent is held against
 * the mean of one before and one after it. */
static void measure_around(const char *config, double ratio[CALLS], double plain[CALLS])
{
	double before[CALLS], with[CALLS], after[CALLS];

	measure(before);
	agent_start(config);
	/* What starting takes is not what running costs. */
	usleep(200 * 1000);
	measure(with);
	agent_stop();
	measure(after);
	for (int c = 0; c < CALLS; c++) {
		plain[c] = (before[c] + after[c]) / 2;
		ratio[c] = with[c] / plain[c];
	}
}

static void bench(void **state)
{
	double idle[CALLS][ROUNDS], watching[CALLS][ROUNDS], plain_ns[CALLS][ROUNDS];
	char config[512], node[256];

	(void)state;
	snprintf(file, sizeof(file), "%s", agent_file("ordinary"));
	snprintf(node, sizeof(node), "%s/nvidia0", live_nodedir());
	assert_true(creat(file, 0644) >= 0);
	live_cgroup("job");
	stand_in_node(node);
	snprintf(config, sizeof(config),
		 "[workload job]\ncgroup = %%s/job\n[policy gpu]\nsignal = gpu\ndevices = %s\n"
		 "action = freeze\ntarget = job\n",
		 node);
	for (int i = 0; i < ROUNDS; i++) {
		double plain[CALLS], ratio[CALLS];

		measure_around("", ratio, plain);
		for (int c = 0; c < CALLS; c++) {
			plain_ns[c][i] = plain[c];
			idle[c][i] = ratio[c];
		}
		measure_around(config, ratio, plain);
		for (int c = 0; c < CALLS; c++)
			watching[c][i] = ratio[c];
	}
	for (int c = 0; c < CALLS; c++) {
		sort_samples(idle[c], ROUNDS);
		sort_samples(watching[c], ROUNDS);
		sort_samples(plain_ns[c], ROUNDS);
	}
	printf("{\"bench\":\"others\",\"getppid_ns\":%.0f,\"open_close_ns\":%.0f,"
	       "\"no_gpu_policy\":{\"getppid\":%.3f,\"open_close\":%.3f},"
	       "\"gpu_policy\":{\"getppid\":%.3f,\"open_close\":%.3f}}\n",
	       percentile(plain_ns[GETPPID], ROUNDS, 50),
	       percentile(plain_ns[OPEN_CLOSE], ROUNDS, 50), percentile(idle[GETPPID], ROUNDS, 50),
	       percentile(idle[OPEN_CLOSE], ROUNDS, 50), percentile(watching[GETPPID], ROUNDS, 50),
	       percentile(watching[OPEN_CLOSE], ROUNDS, 50));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bench, live_setup, live_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
