// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Does the cpu sense count what the kernel counts? For ten seconds a cgroup runs a lone spinner, a
 * task that changes its CPU all the time, and short-lived processes one after the other, 10,000 at
 * least; then its time is compared with its cpu.stat. Each rung in turn with --all.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../live/live.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "sense/cpu.h"

#define RUN_NS	    (10 * NSEC_PER_SEC)
#define LEAST_FORKS 10000

static void die(const char *what, int error)
{
	fprintf(stderr, "bench_cpu_agreement: %s: %s\n", what, strerror(-error));
	exit(1);
}

static void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int spin_alone(void *unused)
{
	pin_to((int)sysconf(_SC_NPROCESSORS_ONLN) - 1);
	return load_spin(unused);
}

static int change_cpus(void *unused)
{
	int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);

	(void)unused;
	for (int i = 0; cpus > 0; i++) {
		pin_to(i % cpus);
		for (volatile int j = 0; j < 50000; j++)
			;
	}
	return 1;
}

static int fork_for_a_while(void *pipe_fd)
{
	uint64_t end = monotonic_ns() + RUN_NS;
	unsigned int forks = 0;

	while (monotonic_ns() < end || forks < LEAST_FORKS) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		if (pid < 0)
			return 1;
		waitpid(pid, NULL, 0);
		forks++;
	}
	return write((int)(intptr_t)pipe_fd, &forks, sizeof(forks)) == sizeof(forks) ? 0 : 1;
}

static void on_crossing(void *user, const struct culprit_cpu_crossing *crossing)
{
	(void)user;
	(void)crossing;
}

struct wanted {
	uint64_t cgroup, used_ns;
};

static void find_cgroup(void *user, const struct cpu_cgroup_use *use)
{
	struct wanted *wanted = user;

	if (use->cgroup == wanted->cgroup)
		wanted->used_ns = use->used_ns;
}

static void run(const char *source, bool first)
{
	const struct sense_options options = { .source = source, .losses_fd = -1 };
	struct wanted wanted = { 0 };
	struct cpu_sense *cpu;
	unsigned int forks = 0;
	pid_t spinner, mover, forker;
	uint64_t kernels_ns;
	double off;
	int pipes[2];
	int r = cpu_open(&cpu, &options, on_crossing, NULL);

	if (r < 0)
		die("cpu_open", r);
	if (pipe(pipes) < 0)
		die("pipe", -1);
	wanted.cgroup = live_cgroup("agree");
	(void)cpu_watch(cpu, wanted.cgroup, NULL, 0);
	spinner = live_fork("agree", spin_alone, NULL);
	mover = live_fork("agree", change_cpus, NULL);
	forker = live_fork("agree", fork_for_a_while, (void *)(intptr_t)pipes[1]);
	if (live_wait(forker) != 0 || read(pipes[0], &forks, sizeof(forks)) != sizeof(forks))
		die("forks", -1);
	live_kill(mover);
	live_kill(spinner);
	kernels_ns = live_cgroup_key("agree", "cpu.stat", "usage_usec") * NSEC_PER_USEC;
	r = cpu_each_cgroup(cpu, find_cgroup, &wanted);
	if (r < 0)
		die("cpu_each_cgroup", r);
	off = (double)wanted.used_ns / (double)kernels_ns - 1;
	printf("%s\"%s\":{\"ours_ns\":%llu,\"cpu_stat_ns\":%llu,\"off_percent\":%.5f,"
	       "\"processes\":%u,\"recursion_misses\":%llu}",
	       first ? "" : ",", cpu_status(cpu)->source, (unsigned long long)wanted.used_ns,
	       (unsigned long long)kernels_ns, 100 * off, forks + 3,
	       (unsigned long long)cpu_missed(cpu));
	close(pipes[0]);
	close(pipes[1]);
	cpu_close(cpu);
	live_rmdir("agree");
}

int main(int argc, char **argv)
{
	bool all = argc > 1 && strcmp(argv[1], "--all") == 0;

	if (live_setup(NULL) < 0)
		return 1;
	printf("{\"bench\":\"cpu_agreement\",\"seconds\":10,");
	if (!all)
		run(NULL, true);
	for (size_t i = 0; all && cpu_sources[i]; i++)
		run(cpu_sources[i], i == 0);
	printf("}\n");
	live_cleanup();
	return 0;
}
