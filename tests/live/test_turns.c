// SPDX-License-Identifier: GPL-2.0-or-later
/* action = turn end to end: workloads that do not fit together run one after the other. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "limit.h"
#include "live.h"
#include "swapping.h"

#define LIMIT_MIB   64
#define WORK_MIB    48
#define SWAP_MIB    512
#define PATIENCE_MS 20000

static const char config[] = "[policy turns]\nsignal = thrash\naction = turn\nslice = 300ms\n"
			     "target = offender\ngrace = 1s\n";

/* All below one limit. */
static const char *const names[] = { "all/one", "all/two", "all/three" };

/* What each has touched, seen by all. */
static _Atomic uint64_t *work;

/* To what part of its memory it confines itself, in MiB; the rest it gives back. */
static _Atomic uint64_t *shrink_to;

static int setup(void **state)
{
	int r = live_setup(state);

	if (r < 0)
		return r;
	live_swap_on(SWAP_MIB);
	if (!work)
		work = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(work, MAP_FAILED);
	memset((void *)work, 0, 4096);
	shrink_to = work + 64;
	live_cgroup("all");
	live_limit("all", LIMIT_MIB);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		live_cgroup(names[i]);
	return 0;
}

static size_t pages_of(uint64_t mebibytes)
{
	return ((size_t)mebibytes << 20) / (size_t)sysconf(_SC_PAGESIZE);
}

struct load {
	unsigned int index, mebibytes;
};

static void give_back(struct own_pages *own, size_t pages)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (pages == 0 || pages >= own->pages)
		return;
	(void)madvise(own->memory + pages * page, (own->pages - pages) * page, MADV_DONTNEED);
	own->pages = pages;
}

static int touch(void *arg)
{
	const struct load *load = arg;
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint64_t random = (uint64_t)getpid() | 1;
	struct own_pages own;

	if (live_limit_join() < 0)
		return 1;
	if (own_pages_make(&own, pages_of(load->mebibytes)) < 0)
		return 2;
	for (;;) {
		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		own.memory[(random >> 33) % own.pages * page]++;
		if (++work[load->index] % 1024 == 0)
			give_back(&own, pages_of(shrink_to[load->index]));
	}
}

static struct load loads[ARRAY_SIZE(names)];

static pid_t start(unsigned int index, unsigned int mebibytes)
{
	loads[index] = (struct load){ index, mebibytes };
	return live_fork(names[index], touch, &loads[index]);
}

static unsigned int frozen_count(void)
{
	unsigned int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		n += live_frozen(names[i]);
	return n;
}

static json_t *next_event(const char *kind, const char *name, unsigned int timeout_ms)
{
	uint64_t end = monotonic_ns() + timeout_ms * NSEC_PER_MSEC;

	while (monotonic_ns() < end) {
		json_t *event = agent_wait_event(kind, "turns", timeout_ms);
		const char *path = json_string_value(
			json_object_get(json_object_get(event, "target"), "path"));

		if (strcmp(path, live_path(name)) == 0)
			return event;
		json_decref(event);
	}
	fail_msg("%s was not %s within %u ms", name, kind, timeout_ms);
	return NULL;
}

static void assert_reason(json_t *event, const char *text)
{
	const char *reason = json_string_value(json_object_get(event, "reason"));

	if (!strstr(reason, text))
		fail_msg("'%s' has no '%s'", reason, text);
	json_decref(event);
}

/* The older one is "one". */
static void start_two(const char *text)
{
	start(0, WORK_MIB);
	usleep(50 * 1000);
	agent_start(text);
	start(1, WORK_MIB);
}

static bool none_frozen(void *unused)
{
	(void)unused;
	return frozen_count() == 0;
}

static void two_that_do_not_fit_run_one_after_the_other(void **state)
{
	unsigned int samples = 0, neither = 0;
	uint64_t before[2], end;

	(void)state;
	start_two(config);
	/* The newest waits first. */
	assert_reason(next_event("frozen", names[1], PATIENCE_MS), "2 workloads do not fit into");
	assert_reason(next_event("frozen", names[0], PATIENCE_MS), "take turns");
	assert_reason(next_event("thawed", names[0], PATIENCE_MS), "its turn has come");
	before[0] = work[0];
	before[1] = work[1];
	end = monotonic_ns() + 10 * NSEC_PER_SEC;
	while (monotonic_ns() < end) {
		samples++;
		neither += frozen_count() == 2;
		usleep(10 * 1000);
	}
	print_message(
		"    in 10 s they touched %llu and %llu pages; neither ran at %u of %u looks\n",
		(unsigned long long)(work[0] - before[0]),
		(unsigned long long)(work[1] - before[1]), neither, samples);
	assert_true(work[0] - before[0] > 1000000);
	assert_true(work[1] - before[1] > 1000000);
	assert_true(neither * 20 < samples);
	assert_int_equal(agent_stop(), 0);
	assert_int_equal(frozen_count(), 0);
}

static void when_one_ends_the_other_runs_on(void **state)
{
	pid_t first;

	(void)state;
	first = start(0, WORK_MIB);
	usleep(50 * 1000);
	agent_start(config);
	start(1, WORK_MIB);
	json_decref(next_event("frozen", names[1], PATIENCE_MS));
	live_kill(first);
	assert_true(live_until(live_is_thawed, (void *)(uintptr_t)names[1], 2000));
	usleep(2500 * 1000);
	assert_int_equal(frozen_count(), 0);
	assert_int_equal(agent_stop(), 0);
}

static void when_they_fit_again_all_run(void **state)
{
	unsigned int frozen;

	(void)state;
	start_two(config);
	json_decref(next_event("frozen", names[0], PATIENCE_MS));
	shrink_to[0] = shrink_to[1] = 16;
	assert_true(live_until(none_frozen, NULL, 10000));
	usleep(1500 * 1000);
	frozen = agent_count_events("frozen", "turns");
	usleep(2500 * 1000);
	assert_int_equal(frozen_count(), 0);
	assert_int_equal(agent_count_events("frozen", "turns"), frozen);
	assert_int_equal(agent_stop(), 0);
}

static void who_comes_later_joins_in(void **state)
{
	(void)state;
	start_two(config);
	json_decref(next_event("frozen", names[0], PATIENCE_MS));
	start(2, WORK_MIB);
	json_decref(next_event("frozen", names[2], PATIENCE_MS));
	assert_reason(next_event("thawed", names[2], PATIENCE_MS), "its turn has come");
	json_decref(next_event("frozen", names[2], PATIENCE_MS));
	assert_int_equal(agent_stop(), 0);
}

static void who_is_small_never_waits(void **state)
{
	(void)state;
	start(2, 4);
	start_two(config);
	for (int i = 0; i < 3; i++) {
		json_decref(next_event("frozen", names[0], PATIENCE_MS));
		json_decref(next_event("thawed", names[0], PATIENCE_MS));
	}
	assert_false(live_frozen(names[2]));
	for (unsigned int i = agent_count_events("frozen", "turns"); i > 0; i--)
		assert_false(live_frozen(names[2]));
	assert_int_equal(agent_stop(), 0);
}

static void an_agent_that_is_killed_in_a_turn_leaves_nobody_waiting(void **state)
{
	(void)state;
	start(0, WORK_MIB);
	start(1, WORK_MIB);
	for (int i = 0; i < 5; i++) {
		agent_start(config);
		json_decref(agent_wait_event("frozen", "turns", PATIENCE_MS));
		usleep((useconds_t)(i * 300) * 1000);
		assert_int_equal(kill(agent_pid(), SIGKILL), 0);
		assert_true(live_until(none_frozen, NULL, 2000));
	}
}

static void a_reload_goes_on_with_the_turns(void **state)
{
	char error[128];
	json_t *reply;

	(void)state;
	start_two(config);
	json_decref(next_event("frozen", names[0], PATIENCE_MS));
	reply = agent_call("Reload", NULL, error, sizeof(error));
	assert_non_null(reply);
	json_decref(reply);
	assert_int_equal(frozen_count(), 1);
	assert_reason(next_event("thawed", names[0], PATIENCE_MS), "its turn has come");
	assert_int_equal(agent_stop(), 0);
}

static void why_says_when_its_turn_comes(void **state)
{
	char error[128];
	json_t *reply;
	const char *undo;

	(void)state;
	start_two(config);
	json_decref(next_event("frozen", names[1], PATIENCE_MS));
	reply = agent_call("Why", json_pack("{s:s}", "name", live_path(names[1])), error,
			   sizeof(error));
	assert_non_null(reply);
	undo = json_string_value(json_array_get(
		json_object_get(json_array_get(json_object_get(reply, "why"), 0), "undo"), 0));
	if (!undo || !strstr(undo, "its turn comes, one of 2"))
		fail_msg("why says '%s'", undo ? undo : "nothing");
	json_decref(reply);
	assert_int_equal(agent_stop(), 0);
}

static void who_is_thawed_by_hand_runs_on(void **state)
{
	char error[128];
	json_t *reply;

	(void)state;
	start_two(config);
	json_decref(next_event("frozen", names[1], PATIENCE_MS));
	assert_true(live_until(live_is_frozen, (void *)(uintptr_t)names[1], 2000));
	reply = agent_call("Thaw", json_pack("{s:s}", "target", live_path(names[1])), error,
			   sizeof(error));
	assert_non_null(reply);
	json_decref(reply);
	usleep(3000 * 1000);
	assert_false(live_frozen(names[1]));
	assert_int_equal(agent_stop(), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, live_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(two_that_do_not_fit_run_one_after_the_other),
		T(when_one_ends_the_other_runs_on),
		T(when_they_fit_again_all_run),
		T(who_comes_later_joins_in),
		T(who_is_small_never_waits),
		T(an_agent_that_is_killed_in_a_turn_leaves_nobody_waiting),
		T(a_reload_goes_on_with_the_turns),
		T(why_says_when_its_turn_comes),
		T(who_is_thawed_by_hand_runs_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
