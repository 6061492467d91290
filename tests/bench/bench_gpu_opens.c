// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opens seen against opens done, by every route of tests/live/gpu_routes.c many times over, what
 * counts though it is no open, and how long after the open user space knows.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../live/gpu_routes.h"
#include "../live/live.h"
#include "../live/stand_in.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "sense/gpu.h"

#define TIMES	  5
#define LATENCIES 2000

struct bench {
	struct gpu_sense *gpu;
	char node[128];
	uint64_t cgroup;
	unsigned int seen;
	volatile uint64_t *opened_ns; /* shared with the process that opens */
	double latency_us[LATENCIES];
	unsigned int n_latencies;
};

static void die(const char *what, int error)
{
	fprintf(stderr, "bench_gpu_opens: %s: %s\n", what, strerror(error));
	exit(1);
}

static void on_change(void *user, const struct gpu_change *change)
{
	struct bench *bench = user;

	if (change->news != GPU_OPENED || change->task.cgroup != bench->cgroup)
		return;
	bench->seen++;
	if (*bench->opened_ns && bench->n_latencies < LATENCIES)
		bench->latency_us[bench->n_latencies++] =
			(double)(monotonic_ns() - *bench->opened_ns) / NSEC_PER_USEC;
}

struct run {
	struct bench *bench;
	const struct gpu_route *route;
};

static int run_route(void *arg)
{
	const struct run *run = arg;

	return run->route->go(run->bench->node) ? 1 : 0;
}

static unsigned int run_all(struct bench *bench, const struct gpu_route *routes)
{
	unsigned int done = 0;

	for (; routes->name; routes++) {
		for (unsigned int i = 0; i < TIMES; i++) {
			struct run run = { bench, routes };

			if (live_wait(live_fork("opens", run_route, &run)) != 0)
				die(routes->name, EPROTO);
			done += OPENS;
			(void)gpu_dispatch(bench->gpu);
		}
	}
	(void)gpu_settle(bench->gpu, true);
	return done;
}

/* Opens now and then, each time saying when. */
static int open_slowly(void *arg)
{
	struct bench *bench = arg;

	for (unsigned int i = 0; i < LATENCIES; i++) {
		usleep(500);
		*bench->opened_ns = monotonic_ns();
		close(open(bench->node, O_RDONLY));
	}
	return 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure_latency(struct bench *bench)
{
	struct pollfd readable = { .fd = gpu_fd(bench->gpu), .events = POLLIN };
	pid_t pid = live_fork("opens", open_slowly, bench);

	while (bench->n_latencies < LATENCIES && poll(&readable, 1, 2000) > 0)
		(void)gpu_dispatch(bench->gpu);
	if (live_wait(pid) != 0 || bench->n_latencies == 0)
		die("opens for their latency", EPROTO);
	qsort(bench->latency_us, bench->n_latencies, sizeof(double), by_value);
}

static void measure_source(struct bench *bench, const char *source)
{
	struct sense_options options = {
		.source = source,
		.losses_fd = -1,
		.agent_pid = getpid(),
		.cgroup_mount = live_fs()->mount,
	};
	unsigned int done, seen;

	bench->seen = bench->n_latencies = 0;
	*bench->opened_ns = 0;
	if (gpu_open(&bench->gpu, &options, on_change, bench) < 0) {
		gpu_close(bench->gpu);
		return;
	}
	if (gpu_set_devices(bench->gpu, (const char *[]){ bench->node, NULL }) != 1 ||
	    gpu_want_events(bench->gpu, true) < 0)
		die(source, EPROTO);
	done = run_all(bench, gpu_routes);
	seen = bench->seen;
	run_all(bench, gpu_non_opens);
	printf("{\"bench\":\"gpu_opens\",\"source\":\"%s\",\"done\":%u,\"seen\":%u,"
	       "\"percent\":%.2f,\"non_opens_counted\":%u",
	       source, done, seen, 100.0 * seen / done, bench->seen - seen);
	measure_latency(bench);
	printf(",\"open_to_user_us\":{\"p50\":%.1f,\"p99\":%.1f}}\n",
	       bench->latency_us[bench->n_latencies / 2],
	       bench->latency_us[bench->n_latencies * 99 / 100]);
	fflush(stdout);
	gpu_close(bench->gpu);
}

int main(void)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	char none[160];

	if (!bench || live_setup(NULL) < 0)
		return 1;
	libbpf_set_print(NULL);
	bench->cgroup = live_cgroup("opens");
	bench->opened_ns = mmap(NULL, sizeof(*bench->opened_ns), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (bench->opened_ns == MAP_FAILED)
		die("mmap", errno);
	snprintf(bench->node, sizeof(bench->node), "%s/gpu", live_nodedir());
	snprintf(none, sizeof(none), "%s.none", bench->node);
	stand_in_node(bench->node);
	/* One that no driver has, for the routes that want it. */
	if (chmod(live_nodedir(), 0755) < 0 || mknod(none, S_IFCHR | 0666, makedev(60, 7)) < 0)
		die(bench->node, errno);
	/* The iterator alone sees no open that is closed at once, and says so. */
	for (unsigned int i = 0; gpu_sources[i + 1]; i++)
		measure_source(bench, gpu_sources[i]);
	free(bench);
	live_cleanup();
	return 0;
}
