// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the gpu sense costs programs that have nothing to do with a GPU, while events are wanted:
 * getppid(2), open+close of an ordinary file and of /dev/null, with the sense ÷ without; and beside
 * it what one empty program at sys_exit costs, which is the tax that any syscall hook has.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../live/live.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "sense/gpu.h"

#define ROUNDS 21

enum job {
	GETPPID,
	OPEN_FILE,
	OPEN_NULL,
	N_JOBS
};

static const struct {
	const char *name;
	unsigned int times;
} jobs[N_JOBS] = {
	[GETPPID] = { "getppid", 40000 },
	[OPEN_FILE] = { "open_close_file", 6000 },
	[OPEN_NULL] = { "open_close_dev_null", 6000 },
};

static void die(const char *what, int error)
{
	fprintf(stderr, "bench_gpu_tax: %s: %s\n", what, strerror(error));
	exit(1);
}

static void open_close(const char *path)
{
	int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		die(path, errno);
	close(fd);
}

/* CPU time of this thread: what others do on a busy machine is not in it. */
static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static const char *path_of(enum job job)
{
	static char path[128];

	if (job == OPEN_NULL)
		return "/dev/null";
	snprintf(path, sizeof(path), "%s/file", live_tmpdir());
	return path;
}

static double time_job(enum job job)
{
	const char *path = path_of(job);
	uint64_t start = cpu_ns();

	for (unsigned int i = 0; i < jobs[job].times; i++) {
		if (job == GETPPID)
			syscall(SYS_getppid);
		else
			open_close(path);
	}
	return (double)(cpu_ns() - start) / jobs[job].times;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values)
{
	qsort(values, ROUNDS, sizeof(*values), by_value);
	return values[ROUNDS / 2];
}

/* What is switched on and off in turn, so that the noise of a busy machine hits both alike. */
struct burden {
	const char *name;
	struct gpu_sense *gpu; /* NULL: the empty program */
	int empty;
	int link;
};

static void switch_burden(struct burden *burden, bool on)
{
	int r;

	if (burden->gpu) {
		r = gpu_want_events(burden->gpu, on);
		if (r < 0)
			die(burden->name, -r);
	} else if (on) {
		burden->link = bpf_raw_tracepoint_open("sys_exit", burden->empty);
		if (burden->link < 0)
			die("attach an empty program to sys_exit", errno);
	} else {
		close(burden->link);
	}
}

static void measure(struct burden *burden)
{
	double with[N_JOBS][ROUNDS], without[N_JOBS][ROUNDS], ratio[N_JOBS][ROUNDS];

	for (unsigned int round = 0; round < ROUNDS; round++) {
		for (enum job job = 0; job < N_JOBS; job++)
			without[job][round] = time_job(job);
		switch_burden(burden, true);
		for (enum job job = 0; job < N_JOBS; job++) {
			with[job][round] = time_job(job);
			ratio[job][round] = with[job][round] / without[job][round];
		}
		switch_burden(burden, false);
	}
	printf("{\"bench\":\"gpu_tax\",\"with\":\"%s\"", burden->name);
	for (enum job job = 0; job < N_JOBS; job++)
		printf(",\"%s\":{\"ratio\":%.3f,\"with_ns\":%.0f,\"without_ns\":%.0f}",
		       jobs[job].name, median(ratio[job]), median(with[job]), median(without[job]));
	printf("}\n");
	fflush(stdout);
}

static int load_empty(void)
{
	struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "empty", "GPL", insns, ARRAY_SIZE(insns),
			     NULL);
}

static void measure_source(const char *source)
{
	struct sense_options options = {
		.source = source,
		.losses_fd = -1,
		.agent_pid = getpid(),
		.cgroup_mount = live_fs()->mount,
	};
	struct burden burden = { .name = source };
	int r = gpu_open(&burden.gpu, &options, NULL, NULL);

	if (r == 0) {
		r = gpu_set_devices(burden.gpu, (const char *[]){ "/dev/full", NULL });
		if (r < 0)
			die("watch /dev/full", -r);
		measure(&burden);
	}
	gpu_close(burden.gpu);
}

int main(void)
{
	struct burden empty = { .name = "an empty program at sys_exit" };

	if (live_setup(NULL) < 0)
		return 1;
	libbpf_set_print(NULL);
	empty.empty = load_empty();
	if (empty.empty < 0)
		die("load an empty program", errno);
	measure(&empty);
	/* Sources that this kernel lacks are left out; the iterator has nothing to attach. */
	for (unsigned int i = 0; gpu_sources[i + 1]; i++)
		measure_source(gpu_sources[i]);
	live_cleanup();
	return 0;
}
