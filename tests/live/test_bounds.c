// SPDX-License-Identifier: GPL-2.0-or-later
/* Many events, many nodes, and a reload that comes to nothing: the agent stays quick, and says what
 * it does without. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"

/* Unused numbers: nobody opens these. */
#define SPARE_MAJOR 240
#define NODES	    70

#define TARGETS 4

static int setup(void **state)
{
	if (live_setup(state) < 0)
		return -1;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_sleep, NULL);
	return 0;
}

/* How many of agent.degraded hold this text. */
static unsigned int degraded(const char *text)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error));
	const json_t *agent, *line;
	unsigned int n = 0;
	size_t i;

	if (!reply)
		fail_msg("GetStatus: %s", error);
	agent = json_object_get(json_object_get(reply, "status"), "agent");
	json_array_foreach (json_object_get(agent, "degraded"), i, line)
		n += strstr(json_string_value(line), text) != NULL;
	json_decref(reply);
	return n;
}

static bool is_whole(void *text)
{
	return degraded(text) == 0;
}

static bool reloads(void)
{
	char error[128];
	json_t *reply = agent_call("Reload", NULL, error, sizeof(error));

	json_decref(reply);
	return reply != NULL;
}

static void gpu_config(char *text, size_t size, const char *globs, const char *more)
{
	snprintf(text, size,
		 "%s[workload hog]\ncgroup = %%s/hog\n[policy wanted]\nsignal = gpu\n"
		 "devices = %s\nignore = comm:storm\ngrace = 200ms\naction = freeze\n"
		 "target = hog\n",
		 more, globs);
}

static const char *node(const char *name, unsigned int number, unsigned int minor)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", live_nodedir(), name);
	assert_int_equal(mknod(path, S_IFCHR | 0666, makedev(number, minor)), 0);
	return path;
}

static void more_nodes_than_there_is_room_for_are_told_as_long_as_it_is_so(void **state)
{
	char text[1024], globs[512], name[32];

	(void)state;
	agent_start("");
	for (unsigned int i = 0; i < NODES; i++) {
		snprintf(name, sizeof(name), "spare%u", i);
		(void)node(name, SPARE_MAJOR, i);
	}
	snprintf(globs, sizeof(globs), "%s/spare*", live_nodedir());
	gpu_config(text, sizeof(text), globs, "");
	agent_write_config(text);
	/* It is in force, and what it does not do is said. */
	assert_true(reloads());
	agent_policy_state("wanted", name, sizeof(name));
	assert_string_equal(name, "quiet");
	assert_int_equal(degraded("more than 64 device nodes"), 1);
	for (unsigned int i = 0; i < NODES; i++) {
		snprintf(text, sizeof(text), "%s/spare%u", live_nodedir(), i);
		if (i >= 10)
			assert_int_equal(unlink(text), 0);
	}
	assert_true(live_until(is_whole, (void *)(uintptr_t) "more than 64", 3000));
	assert_int_equal(agent_stop(), 0);
}

static void a_refused_reload_changes_nothing_and_status_shows_it(void **state)
{
	static const char good[] = "[workload hog]\ncgroup = %s/hog\n[policy p]\nsignal = cpu\n"
				   "of = cgroup:%s/front\nwindow = 250ms\nenter = 0.04cpu\n"
				   "grace = 300ms\naction = freeze\ntarget = hog\n";
	pid_t front;

	(void)state;
	agent_start(good);
	agent_write_config("[policy p]\nsignal = cpu\n");
	assert_false(reloads());
	assert_false(reloads());
	assert_int_equal(degraded("the one before it is in force"), 1);
	front = live_fork("front", load_spin, NULL);
	assert_true(live_until(live_is_frozen, "hog", 5000));
	live_kill(front);
	assert_true(live_until(live_is_thawed, "hog", 5000));
	agent_write_config(good);
	assert_true(reloads());
	assert_int_equal(degraded("the one before it is in force"), 0);
	assert_int_equal(agent_stop(), 0);
}

/* CPU time that the agent has used, in ns. */
static uint64_t agent_cpu_ns(void)
{
	char path[64];
	_cleanup_fclose_ FILE *f = NULL;
	unsigned long long ns = 0;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)agent_pid());
	f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%llu", &ns), 1);
	return ns;
}

static bool is_idle(void *last)
{
	uint64_t now = agent_cpu_ns(), *before = last;
	bool same = now - *before < NSEC_PER_MSEC;

	*before = now;
	usleep(20 * 1000);
	return same;
}

/* What the agent uses for this many cgroups that come and go. */
static uint64_t cost_of_cgroups(unsigned int n)
{
	uint64_t begun = agent_cpu_ns(), last = 0;
	char name[32];

	for (unsigned int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "many%u", i % 8);
		(void)live_cgroup(name);
		live_rmdir(name);
	}
	assert_true(live_until(is_idle, &last, 5000));
	return agent_cpu_ns() - begun;
}

/* What the agent uses for this many nodes that appear, and go again. */
static uint64_t cost_of_nodes(unsigned int n)
{
	uint64_t begun = agent_cpu_ns(), last = 0;
	char path[256], name[32];

	for (unsigned int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "spare%u", i);
		(void)node(name, SPARE_MAJOR, i);
	}
	for (unsigned int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/spare%u", live_nodedir(), i);
		assert_int_equal(unlink(path), 0);
	}
	/* The last ones are listed a little later. */
	usleep(200 * 1000);
	assert_true(live_until(is_idle, &last, 5000));
	return agent_cpu_ns() - begun;
}

static void nodes_that_come_together_are_listed_together(void **state)
{
	char text[1024], globs[512];
	uint64_t one, many;

	(void)state;
	snprintf(globs, sizeof(globs), "%s/spare*", live_nodedir());
	gpu_config(text, sizeof(text), globs, "");
	agent_start(text);
	usleep(200 * 1000);
	one = cost_of_nodes(1);
	many = cost_of_nodes(60);
	print_message("    one node that comes and goes: %.2f ms of CPU time, 60: %.2f ms\n",
		      (double)one / 1e6, (double)many / 1e6);
	assert_true(many < 15 * one);
	assert_int_equal(agent_stop(), 0);
}

/* What it uses in as long a time when nothing comes or goes: ten ticks a second while it holds. */
static uint64_t cost_of_rest(uint64_t ns)
{
	uint64_t begun = agent_cpu_ns();

	usleep((useconds_t)(ns / NSEC_PER_USEC));
	return agent_cpu_ns() - begun;
}

static void a_new_cgroup_costs_as_little_while_something_is_held(void **state)
{
	static char text[65536];
	char name[16];
	uint64_t calm, held = UINT64_MAX, begun, rest = 0;
	size_t used = 0;

	(void)state;
	/* As many as can hold one target, sharing as many budgets as one cgroup can count for. */
	for (unsigned int i = 0; i < TARGETS * 32; i++) {
		if (i % 32 == 0)
			used += (size_t)snprintf(text + used, sizeof(text) - used,
						 "[workload w%u]\ncgroup = %%s/hog%u\n", i / 32,
						 i / 32);
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "[policy p%u]\nsignal = cpu\nof = cgroup:%%s/front\n"
					 "window = %ums\nenter = 0.04cpu\ngrace = 300ms\n"
					 "action = freeze\ntarget = w%u\n",
					 i, 250 + i % 8, i / 32);
	}
	for (unsigned int i = 0; i < TARGETS; i++) {
		snprintf(name, sizeof(name), "hog%u", i);
		(void)live_cgroup(name);
		live_fork(name, load_sleep, NULL);
	}
	agent_start(text);
	calm = cost_of_cgroups(2000);
	live_fork("front", load_spin, NULL);
	for (unsigned int i = 0; i < TARGETS; i++) {
		snprintf(name, sizeof(name), "hog%u", i);
		assert_true(live_until(live_is_frozen, name, 5000));
	}
	/* Whoever else is on the machine makes what is short dearer: the best of three. */
	for (int i = 0; i < 3 && held >= 4 * calm + rest; i++) {
		begun = monotonic_ns();
		held = cost_of_cgroups(2000);
		rest = cost_of_rest(monotonic_ns() - begun);
		print_message("    2000 cgroups: %.1f ms of CPU time, %.1f ms while something is "
			      "held, of which %.1f ms for holding it\n",
			      (double)calm / 1e6, (double)held / 1e6, (double)rest / 1e6);
	}
	/* With a tick for each it was seven times as much. */
	assert_true(held < 4 * calm + rest);
	assert_int_equal(agent_stop(), 0);
}

/* --- who is in a target -------------------------------------------------------------------------
 */

/* From the kernel's record to the freeze, in µs, soon after a start. */
static int64_t latency_after_start(void)
{
	json_t *event;
	int64_t us;
	pid_t front;

	agent_start(agent_hog_yields);
	front = live_fork("front", load_spin, NULL);
	event = agent_wait_event("frozen", "front-first", 10000);
	us = json_integer_value(json_object_get(json_object_get(event, "evidence"), "latency_us"));
	json_decref(event);
	live_kill(front);
	assert_int_equal(agent_stop(), 0);
	return us;
}

static int64_t best_latency_after_start(void)
{
	int64_t best = INT64_MAX;

	for (unsigned int i = 0; i < 5; i++) {
		int64_t us = latency_after_start();

		assert_true(us > 0);
		best = us < best ? us : best;
	}
	return best;
}

/* Whether one of them is protected has been found out before. */
static void the_number_of_processes_in_a_target_does_not_delay_its_freezing(void **state)
{
	int64_t few, many;

	(void)state;
	few = best_latency_after_start();
	for (unsigned int i = 0; i < 1000; i++)
		live_fork("hog", load_sleep, NULL);
	many = best_latency_after_start();
	print_message("    crossed to frozen with 1 process: %.2f ms, with 1001: %.2f ms\n",
		      (double)few / 1e3, (double)many / 1e3);
	/* Where each is looked at first, it is 6 ms and more, twenty times as much; the CPUs of an
	 * emulated machine wait for each other. */
	assert_true(many < (live_is_emulated() ? 4 : 2) * few + 1500);
}

/* --- a look that is due -------------------------------------------------------------------------
 */

static int storm(void *path)
{
	prctl(PR_SET_NAME, "storm");
	for (;;) {
		close(open(path, O_RDONLY | O_CLOEXEC));
		usleep(2000);
	}
	return 0;
}

/* No exit of a system call resolves this one: a look at the process does. */
static int hold_by_uring(void *path)
{
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	struct io_uring ring;

	if (io_uring_queue_init(8, &ring, 0) < 0)
		return 1;
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_openat(sqe, AT_FDCWD, path, O_RDONLY, 0);
	if (io_uring_submit(&ring) < 0 || io_uring_wait_cqe(&ring, &cqe) < 0 || cqe->res < 0)
		return 1;
	return load_sleep(NULL);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void a_stream_of_events_does_not_put_off_a_look(void **state)
{
	char text[1024], path[256];
	uint64_t took[5];

	(void)state;
	snprintf(path, sizeof(path), "%s", node("busy0", 1, 7));
	/* Nothing but the look itself shows it before the pulse. */
	gpu_config(text, sizeof(text), path, "pulse = 3s\n");
	agent_start(text);
	live_fork(NULL, storm, path);
	for (unsigned int i = 0; i < ARRAY_SIZE(took); i++) {
		uint64_t begun = monotonic_ns();
		pid_t pid = live_fork("front", hold_by_uring, path);

		assert_true(live_until(live_is_frozen, "hog", 10000));
		took[i] = monotonic_ns() - begun;
		live_kill(pid);
		assert_true(live_until(live_is_thawed, "hog", 10000));
	}
	qsort(took, ARRAY_SIZE(took), sizeof(*took), by_value);
	print_message("    io_uring open to frozen amid a stream of opens: %.1f ms\n",
		      (double)took[2] / 1e6);
	assert_true(took[2] < 500 * NSEC_PER_MSEC);
	assert_int_equal(agent_stop(), 0);
}

/* --- opens without end --------------------------------------------------------------------------
 */

static int flood(void *path)
{
	for (;;)
		close(open(path, O_RDONLY | O_CLOEXEC));
	return 0;
}

/* Each open is another process's. */
static int flood_of_processes(void *path)
{
	for (;;) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(close(open(path, O_RDONLY | O_CLOEXEC)));
		waitpid(pid, NULL, 0);
	}
	return 0;
}

/* Each inherits what one holds. */
static int flood_of_heirs(void *path)
{
	if (open(path, O_RDONLY) < 0)
		return 1;
	for (;;) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		waitpid(pid, NULL, 0);
	}
	return 0;
}

static json_int_t status_number(const char *object, const char *member)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error));
	json_int_t number;

	if (!reply)
		fail_msg("GetStatus: %s", error);
	number = json_integer_value(
		json_object_get(json_object_get(json_object_get(reply, "status"), object), member));
	json_decref(reply);
	return number;
}

/* The longest of some answers, each of which any client may ask for. */
static uint64_t longest_ping(void)
{
	uint64_t longest = 0;

	for (unsigned int i = 0; i < 20; i++) {
		uint64_t begun = monotonic_ns(), took;
		char error[128];
		json_t *reply = agent_call("Ping", NULL, error, sizeof(error));

		assert_non_null(reply);
		json_decref(reply);
		took = monotonic_ns() - begun;
		longest = took > longest ? took : longest;
	}
	return longest;
}

/* What the agent takes of a second, with what it would take anyway: it holds something. */
static void expect_bounded(const char *what)
{
	json_int_t wakeups = status_number("agent", "wakeups");
	uint64_t cpu = agent_cpu_ns(), begun = monotonic_ns(), longest;
	double seconds, share, rate;

	usleep(1500 * 1000);
	cpu = agent_cpu_ns() - cpu;
	wakeups = status_number("agent", "wakeups") - wakeups;
	seconds = (double)(monotonic_ns() - begun) / 1e9;
	share = (double)cpu / 1e9 / seconds;
	rate = (double)wakeups / seconds;
	longest = longest_ping();
	print_message("    %s: %.1f %% of a CPU, %.0f wake-ups/s, longest ping %.1f ms, "
		      "%lld records lost\n",
		      what, share * 100, rate, (double)longest / 1e6,
		      (long long)status_number("losses", "gpu_record_dropped"));
	/* Where all takes ten times as long, its share of what little there is grows. */
	assert_true(share < (live_is_emulated() ? 0.9 : 0.15));
	assert_true(rate < 700);
	assert_true(longest < 200 * NSEC_PER_MSEC);
	assert_int_equal(status_number("losses", "gpu_record_dropped"), 0);
}

static void opens_without_end(const char *what, int (*fn)(void *path), const char *ignore)
{
	static char path[256];
	char text[2048];
	pid_t pids[2], pid;

	snprintf(path, sizeof(path), "%s", node("busy0", 1, 7));
	/* The stream is held for as long as it lasts, or ignored; the other policy has to act
	 * meanwhile. */
	snprintf(text, sizeof(text),
		 "[workload hog]\ncgroup = %%s/hog\n[workload other]\ncgroup = %%s/other\n"
		 "[policy wanted]\nsignal = gpu\ndevices = %s\n%sgrace = 1s\n"
		 "action = freeze\ntarget = hog\n"
		 "[policy front-first]\nsignal = cpu\nof = cgroup:%%s/front\nwindow = 250ms\n"
		 "enter = 0.04cpu\ngrace = 300ms\naction = freeze\ntarget = other\n",
		 path, ignore);
	live_cgroup("other");
	live_cgroup("flood");
	live_fork("other", load_sleep, NULL);
	agent_start(text);
	for (unsigned int i = 0; i < ARRAY_SIZE(pids); i++)
		pids[i] = live_fork("flood", fn, path);
	if (!*ignore)
		assert_true(live_until(live_is_frozen, "hog", 5000));
	expect_bounded(what);
	pid = live_fork("front", load_spin, NULL);
	assert_true(live_until(live_is_frozen, "other", 5000));
	live_kill(pid);
	assert_true(live_until(live_is_thawed, "other", 5000));
	assert_int_equal(live_frozen("hog"), !*ignore);
	/* Somebody who counts is noticed in the midst of it. */
	pid = live_fork("front", hold_by_uring, path);
	assert_true(live_until(live_is_frozen, "hog", 500));
	live_kill(pid);
	for (unsigned int i = 0; i < ARRAY_SIZE(pids); i++)
		live_kill(pids[i]);
	assert_true(live_until(live_is_thawed, "hog", 5000));
	assert_int_equal(agent_stop(), 0);
	unlink(path);
}

static void opens_without_end_leave_the_agent_to_others(void **state)
{
	char ignore[256];

	(void)state;
	opens_without_end("two that open and close", flood, "");
	opens_without_end("many that open and end", flood_of_processes, "");
	opens_without_end("many that inherit and end", flood_of_heirs, "");
	snprintf(ignore, sizeof(ignore), "ignore = cgroup:%s/flood\n", live_root());
	opens_without_end("two that are ignored", flood, ignore);
	opens_without_end("many that are ignored", flood_of_processes, ignore);
	opens_without_end("many heirs that are ignored", flood_of_heirs, ignore);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, live_teardown)
	const struct CMUnitTest tests[] = {
		T(more_nodes_than_there_is_room_for_are_told_as_long_as_it_is_so),
		T(nodes_that_come_together_are_listed_together),
		T(a_refused_reload_changes_nothing_and_status_shows_it),
		T(a_new_cgroup_costs_as_little_while_something_is_held),
		T(the_number_of_processes_in_a_target_does_not_delay_its_freezing),
		T(a_stream_of_events_does_not_put_off_a_look),
		T(opens_without_end_leave_the_agent_to_others),
	};

	cmocka_set_test_filter(getenv("CULPRIT_TEST_FILTER"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
