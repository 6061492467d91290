// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How long one census takes among many sleeping processes of our own, by each rung, as wall time
 * and as CPU time of the agent (which other load on the machine disturbs less), and what that makes
 * for the 20,000 tasks of the figure. CULPRIT_BENCH_TASKS says how many processes (5,000).
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/cgroupfs.h"
#include "lib/clock.h"
#include "sense/census.h"
#include "stats.h"

#define PASSES 21

struct figures {
	double wall_ms, cpu_ms; /* medians */
	size_t processes;
};

static double cpu_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static struct figures measure(const char *source, const struct cgroupfs *fs)
{
	struct sense_options options = {
		.source = source,
		.losses_fd = -1,
		.cgroup_mount = fs->mount,
	};
	double wall[PASSES], cpu[PASSES];
	const struct culprit_process *list;
	struct figures figures = { 0 };
	struct census *census;

	if (census_open(&census, &options) < 0) {
		fprintf(stderr, "bench_census: cannot open %s\n", source);
		exit(1);
	}
	for (int i = 0; i < PASSES; i++) {
		uint64_t start = monotonic_ns();
		double start_cpu = cpu_ms();

		if (census_take(census, 0, &list, &figures.processes) < 0)
			exit(1);
		cpu[i] = cpu_ms() - start_cpu;
		wall[i] = (double)(monotonic_ns() - start) / NSEC_PER_MSEC;
	}
	census_close(census);
	sort_samples(wall, PASSES);
	sort_samples(cpu, PASSES);
	figures.wall_ms = percentile(wall, PASSES, 50);
	figures.cpu_ms = percentile(cpu, PASSES, 50);
	return figures;
}

static void sleep_for_ever(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

/* A leader whose children all die with it. */
static pid_t start_sleepers(unsigned int tasks)
{
	pid_t leader;
	int ready[2];
	char byte;

	if (pipe(ready) < 0)
		exit(1);
	leader = fork();
	if (leader == 0) {
		pid_t pid = 1;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (unsigned int i = 0; i < tasks && pid > 0; i++)
			pid = fork();
		if (pid > 0 && write(ready[1], "", 1) != 1)
			_exit(1);
		if (pid < 0)
			_exit(1);
		sleep_for_ever();
	}
	close(ready[1]);
	if (leader < 0 || read(ready[0], &byte, 1) != 1) {
		fprintf(stderr, "bench_census: cannot start %u processes\n", tasks);
		exit(1);
	}
	close(ready[0]);
	return leader;
}

int main(void)
{
	const char *wanted = getenv("CULPRIT_BENCH_TASKS");
	unsigned int tasks = wanted ? (unsigned int)atoi(wanted) : 5000;
	struct figures iter, proc;
	struct cgroupfs fs;
	pid_t leader;

	if (cgroupfs_open(&fs) < 0)
		return 1;
	leader = start_sleepers(tasks);
	iter = measure("iter/task", &fs);
	proc = measure("/proc", &fs);
	kill(leader, SIGKILL);
	waitpid(leader, NULL, 0);
	cgroupfs_close(&fs);
	printf("{\"bench\":\"census\",\"processes\":%zu,\"iter_ms\":%.2f,\"iter_cpu_ms\":%.2f,"
	       "\"iter_us_per_process\":%.3f,\"iter_ms_at_20000\":%.1f,"
	       "\"iter_cpu_ms_at_20000\":%.1f,\"figure_ms_at_20000\":20,\"proc_ms\":%.1f}\n",
	       iter.processes, iter.wall_ms, iter.cpu_ms,
	       iter.wall_ms * 1000 / (double)iter.processes,
	       iter.wall_ms * 20000 / (double)iter.processes,
	       iter.cpu_ms * 20000 / (double)iter.processes, proc.wall_ms);
	return 0;
}
