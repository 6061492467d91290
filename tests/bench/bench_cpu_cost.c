// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the cpu sense costs per task switch, both accountings and both programs together, net of an
 * empty program at each of the same two events in the same run. Processes pass a byte round a ring
 * of pipes on one CPU, so that nearly all that happens there is switching.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../live/live.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "sense/cpu.h"

#define RUNS	 7
#define RUN_USEC 200000
#define MAX_RING 256
#define WATCHED	 100

enum {
	OURS_SWITCH,
	OURS_RUNTIME,
	EMPTY_SWITCH,
	EMPTY_RUNTIME,
	N_PROGRAMS
};

struct bench {
	int stats_fd;
	int program[N_PROGRAMS];
	struct cpu_sense *cpu;
};

struct scenario {
	const char *name;
	unsigned int processes;
	unsigned int cgroups; /* among which they are spread */
	unsigned int watched; /* cgroups with budgets; the ring's are the first */
	unsigned int budgets; /* of each */
};

static const struct scenario scenarios[] = {
	{ "pair_same_cgroup", 2, 1, 1, 1 },
	{ "pair_two_cgroups", 2, 2, 2, 1 },
	{ "pair_two_cgroups_100_watched", 2, 2, WATCHED, 1 },
	{ "pair_two_cgroups_8_budgets", 2, 2, 2, CULPRIT_CPU_BUDGETS_PER_CGROUP },
	{ "ring_of_24_in_24_cgroups", 24, 24, 24, 1 },
	{ "ring_of_64_in_64_cgroups", 64, 64, 64, 1 },
	/* The same work, in one watched cgroup and in a hundred. */
	{ "ring_of_100_in_1_cgroup", 100, 1, 1, 1 },
	{ "ring_of_100_in_100_cgroups", 100, WATCHED, WATCHED, 1 },
	/* More than the write-back cache has room for: every switch writes to both maps. */
	{ "ring_of_256_in_64_cgroups", 256, 64, 64, 1 },
};

static void die(const char *what, int error)
{
	fprintf(stderr, "bench_cpu_cost: %s: %s\n", what, strerror(error < 0 ? -error : error));
	exit(1);
}

/* --- programs --------------------------------------------------------------------------------- */

static int attach_empty(const char *tracepoint)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_RAW_TP);
	int fd;

	opts.attach_btf_id = (__u32)libbpf_find_vmlinux_btf_id(tracepoint, BPF_TRACE_RAW_TP);
	fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, "empty", "GPL", insns, ARRAY_SIZE(insns), &opts);
	if (fd < 0)
		die("empty program", errno);
	if (bpf_raw_tracepoint_open(NULL, fd) < 0)
		die(tracepoint, errno);
	return fd;
}

/* The newest loaded program of this name: ours. */
static int find_program(const char *name)
{
	int newest = -1;
	uint32_t id = 0;

	while (bpf_prog_get_next_id(id, &id) == 0) {
		struct bpf_prog_info info = { 0 };
		uint32_t size = sizeof(info);
		int fd = bpf_prog_get_fd_by_id(id);

		if (fd < 0)
			continue;
		if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && !strcmp(info.name, name)) {
			if (newest >= 0)
				close(newest);
			newest = fd;
		} else {
			close(fd);
		}
	}
	if (newest < 0)
		die(name, ENOENT);
	return newest;
}

struct reading {
	double ns, runs;
};

static struct reading read_program(int fd)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		die("program statistics", errno);
	return (struct reading){ (double)info.run_time_ns, (double)info.run_cnt };
}

/* --- load ------------------------------------------------------------------------------------- */

static int ring_pipes[MAX_RING][2];
static unsigned int ring_size;

static int pass_on(void *position)
{
	uintptr_t i = (uintptr_t)position;
	cpu_set_t set;
	char byte;

	CPU_ZERO(&set);
	CPU_SET((int)sysconf(_SC_NPROCESSORS_ONLN) - 1, &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (;;)
		if (read(ring_pipes[i][0], &byte, 1) != 1 ||
		    write(ring_pipes[(i + 1) % ring_size][1], &byte, 1) != 1)
			return 1;
}

static void start_ring(const struct scenario *scenario, pid_t *pids)
{
	char name[32];

	ring_size = scenario->processes;
	for (unsigned int i = 0; i < ring_size; i++)
		if (pipe(ring_pipes[i]) < 0)
			die("pipe", errno);
	for (unsigned int i = 0; i < ring_size; i++) {
		snprintf(name, sizeof(name), "c%u", i % scenario->cgroups);
		pids[i] = live_fork(name, pass_on, (void *)(uintptr_t)i);
	}
	if (write(ring_pipes[0][1], "", 1) != 1)
		die("write", errno);
}

static void stop_ring(const pid_t *pids)
{
	for (unsigned int i = 0; i < ring_size; i++) {
		live_kill(pids[i]);
		close(ring_pipes[i][0]);
		close(ring_pipes[i][1]);
	}
}

static void watch_cgroups(struct bench *bench, const struct scenario *scenario)
{
	uint16_t budgets[CULPRIT_CPU_BUDGETS_PER_CGROUP];
	char name[32];

	for (unsigned int i = 0; i < WATCHED; i++) {
		unsigned int count = i < scenario->watched ? scenario->budgets : 0;
		int r;

		for (unsigned int b = 0; b < count; b++) {
			budgets[b] = (uint16_t)(i * CULPRIT_CPU_BUDGETS_PER_CGROUP + b);
			cpu_set_budget(bench->cpu, budgets[b], NSEC_PER_SEC, 3600 * NSEC_PER_SEC,
				       false);
		}
		snprintf(name, sizeof(name), "c%u", i);
		r = cpu_watch(bench->cpu, live_cgroup(name), budgets, count);
		if (r < 0)
			die("cpu_watch", r);
	}
}

/* --- measuring -------------------------------------------------------------------------------- */

struct result {
	double net_ns;	 /* per switch, both programs */
	double gross_ns; /* the same, with what measuring costs */
	double empty_ns; /* one run of an empty program */
	double events;	 /* sched_stat_runtime per switch */
};

static struct result measure(const struct bench *bench)
{
	struct reading before[N_PROGRAMS], d[N_PROGRAMS];
	double switches;

	for (int i = 0; i < N_PROGRAMS; i++)
		before[i] = read_program(bench->program[i]);
	usleep(RUN_USEC);
	for (int i = 0; i < N_PROGRAMS; i++) {
		struct reading after = read_program(bench->program[i]);

		d[i] = (struct reading){ after.ns - before[i].ns, after.runs - before[i].runs };
	}
	switches = d[OURS_SWITCH].runs;
	return (struct result){
		.net_ns = (d[OURS_SWITCH].ns + d[OURS_RUNTIME].ns - d[EMPTY_SWITCH].ns -
			   d[EMPTY_RUNTIME].ns) /
			  switches,
		.gross_ns = (d[OURS_SWITCH].ns + d[OURS_RUNTIME].ns) / switches,
		.empty_ns = (d[EMPTY_SWITCH].ns + d[EMPTY_RUNTIME].ns) /
			    (d[EMPTY_SWITCH].runs + d[EMPTY_RUNTIME].runs),
		.events = d[OURS_RUNTIME].runs / switches,
	};
}

static int by_net(const void *a, const void *b)
{
	const struct result *x = a, *y = b;

	return (x->net_ns > y->net_ns) - (x->net_ns < y->net_ns);
}

static void run(struct bench *bench, const struct scenario *scenario, bool first)
{
	struct result results[RUNS], *median = &results[RUNS / 2];
	pid_t pids[MAX_RING];

	watch_cgroups(bench, scenario);
	start_ring(scenario, pids);
	for (int i = 0; i < RUNS; i++)
		results[i] = measure(bench);
	stop_ring(pids);
	qsort(results, RUNS, sizeof(results[0]), by_net);
	printf("%s\"%s\":{\"net_ns_per_switch\":%.1f,\"least\":%.1f,\"most\":%.1f,"
	       "\"gross_ns\":%.1f,\"empty_program_ns\":%.1f,\"runtime_events_per_switch\":%.2f}",
	       first ? "" : ",", scenario->name, median->net_ns, results[0].net_ns,
	       results[RUNS - 1].net_ns, median->gross_ns, median->empty_ns, median->events);
}

static void on_crossing(void *user, const struct culprit_cpu_crossing *crossing)
{
	(void)user;
	(void)crossing;
}

int main(void)
{
	const struct sense_options options = { .losses_fd = -1 };
	struct bench bench;
	int r;

	if (live_setup(NULL) < 0)
		return 1;
	r = cpu_open(&bench.cpu, &options, on_crossing, NULL);
	if (r < 0)
		die("cpu_open", r);
	bench.stats_fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
	if (bench.stats_fd < 0)
		die("bpf_enable_stats", errno);
	bench.program[OURS_SWITCH] = find_program("on_switch");
	bench.program[OURS_RUNTIME] = find_program("on_runtime");
	bench.program[EMPTY_SWITCH] = attach_empty("sched_switch");
	bench.program[EMPTY_RUNTIME] = attach_empty("sched_stat_runtime");
	printf("{\"bench\":\"cpu_cost\",\"source\":\"%s\",", cpu_status(bench.cpu)->source);
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		run(&bench, &scenarios[i], i == 0);
	printf("}\n");
	cpu_close(bench.cpu);
	live_cleanup();
	return 0;
}
