// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tree with many cgroups of our own: opening and scanning it, a pulse in which nothing has
 * happened, and how long after mkdir(2) returned the news is told. CULPRIT_BENCH_CGROUPS says how
 * many (10,000).
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../live/live.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "sense/tree.h"
#include "stats.h"

#define PASSES 11
#define NEWS   300

/* Groups of a hundred, as slices with services are. */
#define PER_GROUP 100

static void name_of(char *name, size_t size, unsigned int i)
{
	snprintf(name, size, "many-%u/unit-%u.service", i / PER_GROUP, i);
}

static void make_cgroups(unsigned int count)
{
	char name[64];

	for (unsigned int i = 0; i < count; i++) {
		name_of(name, sizeof(name), i);
		live_cgroup(name);
	}
}

static void remove_cgroups(unsigned int count)
{
	char name[64];

	for (unsigned int i = 0; i < count; i++) {
		name_of(name, sizeof(name), i);
		live_rmdir(name);
		if (i % PER_GROUP == PER_GROUP - 1 || i == count - 1) {
			*strchr(name, '/') = '\0';
			live_rmdir(name);
		}
	}
}

static void on_news(void *user, enum tree_news news, struct tree_node *node)
{
	uint64_t *told_ns = user;

	(void)node;
	if (news == TREE_MADE)
		*told_ns = monotonic_ns();
}

static struct tree *open_tree(uint64_t *told_ns)
{
	struct sense_options options = { .losses_fd = -1, .cgroup_mount = live_fs()->mount };
	struct tree *tree;

	if (tree_open(&tree, &options, live_fs(), on_news, told_ns) < 0) {
		fprintf(stderr, "bench_tree: cannot open the tree\n");
		exit(1);
	}
	return tree;
}

/* Wall time, and CPU time of the agent, which other load on the machine disturbs less. */
struct watch {
	uint64_t wall_ns, cpu_ns;
};

static struct watch now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (struct watch){
		.wall_ns = monotonic_ns(),
		.cpu_ns = (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec,
	};
}

struct samples {
	double wall_ms[PASSES], cpu_ms[PASSES];
};

/* Takes one sample and begins the next. */
static void lap(struct watch *start, struct samples *samples, int pass)
{
	struct watch end = now();

	samples->wall_ms[pass] = (double)(end.wall_ns - start->wall_ns) / NSEC_PER_MSEC;
	samples->cpu_ms[pass] = (double)(end.cpu_ns - start->cpu_ns) / NSEC_PER_MSEC;
	*start = end;
}

static double median(double *samples)
{
	sort_samples(samples, PASSES);
	return percentile(samples, PASSES, 50);
}

/* From mkdir's return to the callback, in a loop that sleeps until the descriptor is readable. */
static void measure_news(struct tree *tree, const uint64_t *told_ns, double *samples)
{
	struct pollfd pollfd = { .fd = tree_fd(tree), .events = POLLIN };

	for (int i = 0; i < NEWS; i++) {
		uint64_t made_ns;

		live_cgroup("news");
		made_ns = monotonic_ns();
		while (*told_ns < made_ns && poll(&pollfd, 1, 1000) == 1)
			tree_dispatch(tree);
		samples[i] = (double)(*told_ns - made_ns) / NSEC_PER_MSEC;
		live_rmdir("news");
		tree_dispatch(tree);
	}
	sort_samples(samples, NEWS);
}

int main(void)
{
	const char *wanted = getenv("CULPRIT_BENCH_CGROUPS");
	unsigned int count = wanted ? (unsigned int)atoi(wanted) : 10000;
	struct samples opened, scanned, pulsed;
	double news[NEWS];
	uint64_t told_ns = 0;
	size_t cgroups = 0;

	if (live_setup(NULL) < 0)
		return 1;
	make_cgroups(count);
	for (int i = 0; i < PASSES; i++) {
		struct watch start = now();
		struct tree *tree = open_tree(&told_ns);

		lap(&start, &opened, i);
		tree_scan(tree);
		lap(&start, &scanned, i);
		tree_pulse(tree);
		lap(&start, &pulsed, i);
		cgroups = tree_count(tree);
		if (i == PASSES - 1)
			measure_news(tree, &told_ns, news);
		tree_close(tree);
	}
	remove_cgroups(count);
	live_cleanup();
	printf("{\"bench\":\"tree\",\"cgroups\":%zu,\"open_ms\":%.1f,\"open_cpu_ms\":%.1f,"
	       "\"figure_open_ms\":100,\"scan_ms\":%.1f,\"scan_cpu_ms\":%.1f,"
	       "\"pulse_ms\":%.3f,\"news_p50_ms\":%.3f,\"news_p99_ms\":%.3f,"
	       "\"figure_news_ms\":1}\n",
	       cgroups, median(opened.wall_ms), median(opened.cpu_ms), median(scanned.wall_ms),
	       median(scanned.cpu_ms), median(pulsed.wall_ms), percentile(news, NEWS, 50),
	       percentile(news, NEWS, 99));
	return 0;
}
