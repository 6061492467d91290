// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the delay sense costs while it is attached, per task switch: its programs at the wake-up and
 * at the switch together, net of an empty program at each of the same two events in the same run.
 * Two processes pass a byte to and fro on one CPU, so that nearly all that happens there is
 * switching: once in cgroups that nobody watches, once watched.
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
#include "sense/delay.h"

#define RUNS	 7
#define RUN_USEC 200000

enum {
	OURS_SWITCH,
	OURS_WAKEUP,
	EMPTY_SWITCH,
	EMPTY_WAKEUP,
	N_PROGRAMS
};

static int programs[N_PROGRAMS];
static int pipes[2][2];

static void die(const char *what, int error)
{
	fprintf(stderr, "bench_delay_cost: %s: %s\n", what, strerror(error < 0 ? -error : error));
	exit(1);
}

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
	if (fd < 0 || bpf_raw_tracepoint_open(NULL, fd) < 0)
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
		if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0 || strcmp(info.name, name) != 0) {
			close(fd);
			continue;
		}
		if (newest >= 0)
			close(newest);
		newest = fd;
	}
	if (newest < 0)
		die(name, ENOENT);
	return newest;
}

static int pass_on(void *position)
{
	uintptr_t i = (uintptr_t)position;
	cpu_set_t set;
	char byte;

	CPU_ZERO(&set);
	CPU_SET((int)sysconf(_SC_NPROCESSORS_ONLN) - 1, &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (;;)
		if (read(pipes[i][0], &byte, 1) != 1 || write(pipes[1 - i][1], &byte, 1) != 1)
			return 1;
}

struct reading {
	double ns, runs;
};

static void read_all(struct reading *readings)
{
	for (int i = 0; i < N_PROGRAMS; i++) {
		struct bpf_prog_info info = { 0 };
		uint32_t size = sizeof(info);

		if (bpf_obj_get_info_by_fd(programs[i], &info, &size) < 0)
			die("program statistics", errno);
		readings[i] = (struct reading){ (double)info.run_time_ns, (double)info.run_cnt };
	}
}

static double net_ns_per_switch(void)
{
	struct reading before[N_PROGRAMS], after[N_PROGRAMS];
	double net = 0;

	read_all(before);
	usleep(RUN_USEC);
	read_all(after);
	for (int i = 0; i < N_PROGRAMS; i++)
		net += (after[i].ns - before[i].ns) * (i < EMPTY_SWITCH ? 1 : -1);
	return net / (after[OURS_SWITCH].runs - before[OURS_SWITCH].runs);
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void run(const char *name)
{
	double ns[RUNS];
	pid_t pids[2];

	for (int i = 0; i < 2; i++)
		if (pipe(pipes[i]) < 0)
			die("pipe", errno);
	for (int i = 0; i < 2; i++)
		pids[i] = live_fork(i ? "b" : "a", pass_on, (void *)(uintptr_t)i);
	if (write(pipes[0][1], "", 1) != 1)
		die("write", errno);
	for (int i = 0; i < RUNS; i++)
		ns[i] = net_ns_per_switch();
	for (int i = 0; i < 2; i++) {
		live_kill(pids[i]);
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
	qsort(ns, RUNS, sizeof(ns[0]), compare);
	printf(",\"%s\":{\"net_ns_per_switch\":%.1f,\"least\":%.1f,\"most\":%.1f}", name,
	       ns[RUNS / 2], ns[0], ns[RUNS - 1]);
}

static void on_crossing(void *user, const struct culprit_delay_crossing *crossing)
{
	(void)user;
	(void)crossing;
}

int main(void)
{
	const struct sense_options options = { .losses_fd = -1 };
	const struct delay_rule rule = { NSEC_PER_SEC, 3600 * NSEC_PER_SEC, NSEC_PER_SEC, false };
	const uint16_t budget = 0;
	struct delay_sense *delay;
	uint64_t cgroups[2];
	int r;

	if (live_setup(NULL) < 0)
		return 1;
	r = delay_open(&delay, &options, 1, on_crossing, NULL);
	if (r == 0)
		r = delay_attach(delay);
	if (r < 0)
		die("delay", r);
	if (bpf_enable_stats(BPF_STATS_RUN_TIME) < 0)
		die("bpf_enable_stats", errno);
	programs[OURS_SWITCH] = find_program("delay_switch");
	programs[OURS_WAKEUP] = find_program("delay_wakeup");
	programs[EMPTY_SWITCH] = attach_empty("sched_switch");
	programs[EMPTY_WAKEUP] = attach_empty("sched_wakeup");
	cgroups[0] = live_cgroup("a");
	cgroups[1] = live_cgroup("b");
	printf("{\"bench\":\"delay_cost\",\"source\":\"%s\"", delay_status(delay)->source);
	run("unwatched");
	(void)delay_set_budget(delay, 0, &rule);
	(void)delay_arm(delay, 0, true);
	for (int i = 0; i < 2; i++)
		(void)delay_watch(delay, cgroups[i], &budget, 1);
	run("watched");
	printf("}\n");
	delay_close(delay);
	live_cleanup();
	return 0;
}
