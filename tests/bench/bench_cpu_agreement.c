// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Does the cpu sense count what the kernel counts? For ten seconds a cgroup runs a lone spinner, a
 * task that changes its CPU all the time, and short-lived processes one after the other, 10,000 at
 * least; then its time is compared with its cpu.stat. So once more with ten cgroups in one another,
 * each with such a task and such processes of its own. Each rung in turn with --all.
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

/* --- ten cgroups in one another --------------------------------------------------------------- */

#define DEPTH 10

struct nest {
	uint64_t ids[DEPTH];
	uint64_t used_ns[DEPTH]; /* own tasks alone */
};

static void find_nested(void *user, const struct cpu_cgroup_use *use)
{
	struct nest *nest = user;

	for (unsigned int i = 0; i < DEPTH; i++)
		if (use->cgroup == nest->ids[i])
			nest->used_ns[i] = use->used_ns;
}

static int fork_and_move(void *unused)
{
	int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);

	(void)unused;
	for (int i = 0; cpus > 0; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(load_spin_ms((void *)1));
		if (pid < 0)
			return 1;
		pin_to(i % cpus);
		waitpid(pid, NULL, 0);
	}
	return 1;
}

static const char *nested_name(unsigned int depth)
{
	static char name[DEPTH * 2 + 1];

	for (unsigned int i = 0; i <= depth; i++)
		memcpy(name + 2 * i, "/n", 3);
	return name + 1;
}

static void run_nested(const char *source)
{
	const struct sense_options options = { .source = source, .losses_fd = -1 };
	struct nest nest = { 0 };
	struct cpu_sense *cpu;
	pid_t pids[2 * DEPTH];
	double worst = 0;
	uint64_t sum_ns = 0;
	int r = cpu_open(&cpu, &options, on_crossing, NULL);

	if (r < 0)
		die("cpu_open", r);
	for (unsigned int i = 0; i < DEPTH; i++) {
		nest.ids[i] = live_cgroup(nested_name(i));
		(void)cpu_watch(cpu, nest.ids[i], NULL, 0);
	}
	for (unsigned int i = 0; i < DEPTH; i++) {
		pids[2 * i] = live_fork(nested_name(i), change_cpus, NULL);
		pids[2 * i + 1] = live_fork(nested_name(i), fork_and_move, NULL);
	}
	usleep(RUN_NS / NSEC_PER_USEC);
	for (unsigned int i = 0; i < 2 * DEPTH; i++)
		live_kill(pids[i]);
	/* The last child of each is nobody's now; it ends within a millisecond of CPU time. */
	for (unsigned int i = 0; i < 1000 && live_cgroup_key("n", "cgroup.events", "populated");
	     i++)
		usleep(1000);
	r = cpu_each_cgroup(cpu, find_nested, &nest);
	if (r < 0)
		die("cpu_each_cgroup", r);
	for (unsigned int i = DEPTH; i-- > 0;) {
		double theirs = (double)live_cgroup_key(nested_name(i), "cpu.stat", "usage_usec") *
				NSEC_PER_USEC;
		double off;

		sum_ns += nest.used_ns[i];
		off = (double)sum_ns / theirs - 1;
		if ((off < 0 ? -off : off) > (worst < 0 ? -worst : worst))
			worst = off;
	}
	printf("\"nested\":{\"cgroups\":%d,\"ours_ns\":%llu,\"worst_off_percent\":%.5f}", DEPTH,
	       (unsigned long long)sum_ns, 100 * worst);
	cpu_close(cpu);
	for (unsigned int i = DEPTH; i-- > 0;)
		live_rmdir(nested_name(i));
}

/* --- one cgroup ------------------------------------------------------------------------------- */

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
	       "\"processes\":%u,\"recursion_misses\":%llu,",
	       first ? "" : ",", cpu_status(cpu)->source, (unsigned long long)wanted.used_ns,
	       (unsigned long long)kernels_ns, 100 * off, forks + 3,
	       (unsigned long long)cpu_missed(cpu));
	close(pipes[0]);
	close(pipes[1]);
	cpu_close(cpu);
	live_rmdir("agree");
	run_nested(source);
	printf("}");
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
