// SPDX-License-Identifier: GPL-2.0-or-later
/* The rungs of the senses that lead to a freeze: real work, what the agent makes of it, and the
 * kernel's own count. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "../live/agent.h"
#include "../live/limit.h"
#include "../live/live.h"
#include "../live/stand_in.h"
#include "../live/swapping.h"
#include "rung.h"

#define SPIN_MS	   800
#define OPENS	   200
#define SWAP_PAGES 4096
#define SWAP_MIB   300
#define LIMIT_MIB  64
#define THRASH_MIB 128

/* The grace is longer than a lone task can run without one switch (up to a second): rungs that see
 * switches alone take that for quiet. */
const char cpu_policy[] = "[workload hog]\ncgroup = %s/hog\n"
			  "[policy front-first]\nsignal = cpu\nof = cgroup:%s/front\n"
			  "window = 250ms\nenter = 0.04cpu\ngrace = 2s\n"
			  "action = freeze\ntarget = hog\n";

static const char thrash_policy[] = "[policy thrashing]\nsignal = thrash\ngrace = 300ms\n"
				    "action = freeze\ntarget = offender\n";

static bool thawed(void *name)
{
	return !live_frozen(name);
}

static void expect_frozen_within(const char *name, const char *policy, unsigned int ms)
{
	json_decref(agent_wait_event("frozen", policy, ms));
	assert_true(live_frozen(name));
}

static void expect_frozen(const char *name, const char *policy)
{
	expect_frozen_within(name, policy, PATIENCE_MS);
}

static void expect_thawed(const char *name, const char *policy)
{
	json_decref(agent_wait_event("thawed", policy, PATIENCE_MS));
	assert_false(live_frozen(name));
}

/* --- cpu ----------------------------------------------------------------------------------------
 */

/* Is the CPU time that the agent counts for ROOT/front the kernel's, to a hundredth? The cpu.stat
 * rung learns it at the next pulse only. */
static bool front_is_counted(void *out)
{
	json_t *rows = top_rows("cgroups");
	uint64_t *counted = out;

	*counted = row_count(row_named(rows, "path", live_path("front")), "cpu_usec");
	json_decref(rows);
	return *counted * 100 >= live_cgroup_key("front", "cpu.stat", "usage_usec") * 99;
}

void check_cpu(void **state)
{
	struct rung *rung = *state;
	uint64_t counted = 0;
	pid_t front;

	live_cgroup("hog");
	live_cgroup("front");
	if (!rung_start(rung, cpu_policy))
		return;
	live_fork("hog", load_spin, NULL);
	front = live_fork("front", load_spin, NULL);
	expect_frozen("hog", "front-first");
	usleep(SPIN_MS * 1000);
	live_kill(front);
	expect_thawed("hog", "front-first");
	(void)live_until(front_is_counted, &counted, 5000);
	rung_agrees(rung, counted, live_cgroup_key("front", "cpu.stat", "usage_usec"), 0.02);
	rung_stop(rung);
}

/* --- gpu ----------------------------------------------------------------------------------------
 */

static const char *gpu_node(void)
{
	static char node[128];
	const char *real = getenv("CULPRIT_GPU_NODE");

	if (real)
		return real;
	snprintf(node, sizeof(node), "%s/nvidia0", live_nodedir());
	if (access(node, F_OK) < 0)
		stand_in_node(node);
	return node;
}

static void gpu_policy(char *config, size_t size)
{
	snprintf(config, size,
		 "[workload job]\ncgroup = %%s/job\n[policy wanted]\nsignal = gpu\ndevices = %s\n"
		 "grace = 300ms\naction = freeze\ntarget = job\n",
		 gpu_node());
}

/* Opens the nodes of a NULL-terminated array and keeps them. */
static int hold(void *nodes)
{
	for (const char *const *node = nodes; *node; node++)
		if (open(*node, O_RDWR | O_CLOEXEC) < 0)
			return errno;
	return load_sleep(NULL);
}

static int open_often(void *node)
{
	for (unsigned int i = 0; i < OPENS; i++) {
		int fd = open(node, O_RDWR | O_CLOEXEC);

		if (fd < 0)
			return errno;
		close(fd);
	}
	return 0;
}

static uint64_t opens(void)
{
	json_t *rows = top_rows("gpus");
	uint64_t n = row_count(row_named(rows, "device", gpu_node()), "opens");

	json_decref(rows);
	return n;
}

void check_gpu(void **state)
{
	struct rung *rung = *state;
	bool by_walks = strcmp(rung->source, "iterator") == 0;
	const char *nodes[] = { gpu_node(), NULL };
	char config[512];
	uint64_t before;
	pid_t user;

	gpu_policy(config, sizeof(config));
	live_cgroup("job");
	live_cgroup("user");
	if (!rung_start(rung, config))
		return;
	live_fork("job", load_spin, NULL);
	before = opens();
	user = live_fork("user", hold, nodes);
	expect_frozen("job", "wanted");
	live_kill(user);
	expect_thawed("job", "wanted");
	/* Opens by the job itself are counted and are no reason to freeze it. */
	if (!by_walks)
		assert_int_equal(live_wait(live_fork("job", open_often, (void *)gpu_node())), 0);
	rung_agrees(rung, opens() - before, by_walks ? 1 : OPENS + 1, 0);
	assert_int_equal(agent_count_events("frozen", "wanted"), 1);
	rung_stop(rung);
}

struct kind {
	const char *nodes[5];
	const char *kind;
	pid_t pid;
};

static bool kinds_are_told(void *kinds)
{
	json_t *rows = top_rows("gpus");
	json_t *holders = json_object_get(row_named(rows, "device", gpu_node()), "holders");
	bool all = true;

	for (struct kind *k = kinds; k->kind; k++) {
		json_t *holder = row_numbered(holders, "pid", k->pid);
		const char *is = json_string_value(json_object_get(holder, "kind"));

		all &= is && strcmp(is, k->kind) == 0;
	}
	json_decref(rows);
	return all;
}

/* A GPU's companions, by which its users differ; the nodes are those of tests/vm/live.sh. */
void check_gpu_kinds(void **state)
{
	struct rung *rung = *state;
	struct kind kinds[] = {
		{ { gpu_node(), "/dev/nvidiactl" }, "monitor", 0 },
		{ { gpu_node(), "/dev/nvidiactl", "/dev/nvidia-modeset" }, "display", 0 },
		{ { gpu_node(), "/dev/nvidiactl", "/dev/nvidia-uvm" }, "compute", 0 },
		{ .kind = NULL },
	};
	const char *control[] = { "/dev/nvidiactl", NULL };
	char config[512];

	gpu_policy(config, sizeof(config));
	live_cgroup("job");
	live_cgroup("user");
	if (!rung_start(rung, config))
		return;
	/* Who holds the control node alone holds no GPU. */
	live_fork("user", hold, control);
	for (struct kind *k = kinds; k->kind; k++)
		k->pid = live_fork("user", hold, k->nodes);
	if (!live_until(kinds_are_told, kinds, PATIENCE_MS))
		fail_msg("%s: the kinds of holders are not told", rung->forced);
	json_t *rows = top_rows("gpus");

	rung_agrees(
		rung,
		json_array_size(json_object_get(row_named(rows, "device", gpu_node()), "holders")),
		3, 0);
	json_decref(rows);
	rung_stop(rung);
}

/* --- swap ---------------------------------------------------------------------------------------
 */

static int thrash(void *unused)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (THRASH_MIB << 20) / page;
	uint64_t random = 88172645463325252ULL;
	struct own_pages own;

	(void)unused;
	if (live_limit_join() < 0 || own_pages_make(&own, pages) < 0)
		return 1;
	for (;;) {
		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		own.memory[(random >> 33) % pages * page]++;
	}
}

/* The pages once out and once in; then it stays, so that its count can be read. */
static int swap_and_stay(void *report)
{
	struct own_pages own;
	int r = own_pages_make(&own, SWAP_PAGES);

	if (r == 0)
		r = own_pages_out(&own);
	if (r == 0)
		r = own_pages_in(&own);
	if (r < 0 ||
	    write((int)(intptr_t)report, &own.touched, sizeof(own.touched)) != sizeof(own.touched))
		return 1;
	return load_sleep(NULL);
}

/* Outside of what the agent may act on: it must count there all the same. */
static void check_swap_count(struct rung *rung)
{
	/* It is told in portions of 64 faults (until 6.1) or of 32 pages per CPU, and of what is
	 * mapped, also of what was still in the swap cache. */
	bool by_mapping = strcmp(rung->source, "rss_stat") == 0;
	double owed = by_mapping ? 64.0 * (double)sysconf(_SC_NPROCESSORS_ONLN) : 0;
	uint64_t before = live_vmstat("pswpin"), truth, counted;
	size_t touched = 0;
	int report[2];
	json_t *rows;
	pid_t pid;

	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	pid = live_fork(NULL, swap_and_stay, (void *)(intptr_t)report[1]);
	close(report[1]);
	assert_int_equal(read(report[0], &touched, sizeof(touched)), sizeof(touched));
	close(report[0]);
	truth = live_vmstat("pswpin") - before;
	rows = top_rows("processes");
	counted = row_count(row_numbered(rows, "pid", pid), "swapin_pages");
	json_decref(rows);
	assert_true((double)counted >= (double)truth - owed);
	rung_agrees(rung, counted, truth,
		    by_mapping ? ((double)touched + owed) / (double)truth : 0);
	live_kill(pid);
}

void check_swap(void **state)
{
	struct rung *rung = *state;
	pid_t offender;

	live_swap_on(SWAP_MIB);
	live_cgroup("thrasher");
	live_limit("thrasher", LIMIT_MIB);
	if (!rung_start(rung, thrash_policy))
		return;
	check_swap_count(rung);
	offender = live_fork("thrasher", thrash, NULL);
	/* On a busy host it takes this long until it has written its pages for the first time, and
	 * begins to thrash. */
	expect_frozen_within("thrasher", "thrashing", 5 * PATIENCE_MS);
	live_kill(offender);
	assert_true(live_until(thawed, "thrasher", PATIENCE_MS));
	rung_stop(rung);
}
