// SPDX-License-Identifier: GPL-2.0-or-later
/* The delay sense in the running kernel. What a policy makes of it is in test_delay_signal.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crowding.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"
#include "sense/delay.h"

#define MS NSEC_PER_MSEC

struct heard {
	unsigned int crossings;
	struct culprit_delay_crossing last;
};

static void on_crossing(void *user, const struct culprit_delay_crossing *crossing)
{
	struct heard *heard = user;

	heard->crossings++;
	heard->last = *crossing;
}

static void close_delayp(struct delay_sense **delay)
{
	delay_close(*delay);
}

#define _cleanup_delay_ _cleanup_(close_delayp)

static struct delay_sense *open_sense(struct heard *heard)
{
	struct sense_options options = { .losses_fd = -1, .agent_pid = getpid() };
	struct delay_sense *delay = NULL;
	int r = delay_open(&delay, &options, 4, on_crossing, heard);

	if (r == 0)
		r = delay_attach(delay);
	if (r < 0)
		fail_msg("delay: %s", delay_status(delay)->why);
	return delay;
}

static void watch(struct delay_sense *delay, uint64_t cgroup, uint16_t budget)
{
	assert_int_equal(delay_watch(delay, cgroup, &budget, 1), 0);
}

static void set_budget(struct delay_sense *delay, unsigned int index, uint64_t window_ns,
		       uint64_t enter_ns)
{
	const struct delay_rule rule = { window_ns, enter_ns, enter_ns / 3, false };

	assert_int_equal(delay_set_budget(delay, index, &rule), 0);
	assert_int_equal(delay_arm(delay, index, true), 0);
}

struct waiting {
	struct delay_sense *delay;
	struct heard *heard;
	unsigned int wanted;
};

static bool has_crossed(void *arg)
{
	struct waiting *w = arg;
	struct pollfd pollfd = { .fd = delay_fd(w->delay), .events = POLLIN };

	if (poll(&pollfd, 1, 0) > 0)
		assert_true(delay_dispatch(w->delay) >= 0);
	return w->heard->crossings >= w->wanted;
}

static bool crosses(struct delay_sense *delay, struct heard *heard, unsigned int wanted,
		    unsigned int timeout_ms)
{
	struct waiting waiting = { delay, heard, wanted };

	return live_until(has_crossed, &waiting, timeout_ms);
}

static struct delay_value value(struct delay_sense *delay, unsigned int budget)
{
	struct delay_value v;

	assert_int_equal(delay_value(delay, budget, &v), 0);
	return v;
}

struct finding {
	uint64_t cgroup;
	struct culprit_delay_cgroup_waits waits;
};

static void find(void *user, uint64_t cgroup, const struct culprit_delay_cgroup_waits *waits)
{
	struct finding *finding = user;

	if (cgroup == finding->cgroup)
		finding->waits = *waits;
}

static struct culprit_delay_cgroup_waits waits_of(struct delay_sense *delay, uint64_t cgroup)
{
	struct finding finding = { .cgroup = cgroup };

	assert_int_equal(delay_each_cgroup(delay, find, &finding), 0);
	return finding.waits;
}

/* --- what the programs are -------------------------------------------------------------------- */

/* Loaded programs whose names begin with "delay_", of anybody. */
static unsigned int loaded_programs(void)
{
	uint32_t id = 0;
	unsigned int n = 0;

	while (bpf_prog_get_next_id(id, &id) == 0) {
		_cleanup_close_ int fd = bpf_prog_get_fd_by_id(id);
		struct bpf_prog_info info = { 0 };
		uint32_t size = sizeof(info);

		if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0)
			n += strncmp(info.name, "delay_", strlen("delay_")) == 0;
	}
	return n;
}

static bool none_loaded(void *unused)
{
	(void)unused;
	return loaded_programs() == 0;
}

static void it_is_gone_when_it_is_closed(void **state)
{
	struct heard heard = { 0 };
	struct delay_sense *delay;

	(void)state;
	/* The kernel takes its time with what was closed a moment ago. */
	assert_true(live_until(none_loaded, NULL, 3000));
	delay = open_sense(&heard);
	assert_int_equal(loaded_programs(), 3);
	assert_string_equal(delay_status(delay)->source, delay_sources[0]);
	delay_close(delay);
	assert_true(live_until(none_loaded, NULL, 3000));
}

static void detached_it_counts_nothing(void **state)
{
	struct heard heard = { 0 };
	_cleanup_delay_ struct delay_sense *delay = open_sense(&heard);
	uint64_t cgroup = live_cgroup("front");
	uint64_t before;

	(void)state;
	set_budget(delay, 0, 1000 * MS, 3600 * NSEC_PER_SEC);
	watch(delay, cgroup, 0);
	assert_int_equal(
		live_wait(live_fork("front", crowding_wakes, &(struct crowding){ .wakes = 50 })),
		0);
	before = waits_of(delay, cgroup).woken;
	assert_true(before >= 45);
	delay_detach(delay);
	assert_null(delay_status(delay)->source);
	assert_int_equal(
		live_wait(live_fork("front", crowding_wakes, &(struct crowding){ .wakes = 50 })),
		0);
	assert_int_equal(waits_of(delay, cgroup).woken, before);
	assert_int_equal(delay_attach(delay), 0);
	assert_int_equal(
		live_wait(live_fork("front", crowding_wakes, &(struct crowding){ .wakes = 50 })),
		0);
	assert_true(waits_of(delay, cgroup).woken >= before + 45);
}

static void what_it_cannot_do_is_refused(void **state)
{
	struct sense_options options = { .source = "smell", .losses_fd = -1 };
	const struct delay_rule rule = { 1000 * MS, 2 * MS, MS, false };
	_cleanup_delay_ struct delay_sense *none = NULL;
	struct heard heard = { 0 };
	_cleanup_delay_ struct delay_sense *delay = open_sense(&heard);
	const uint16_t lists[] = { 0, 1, 2, 3, 0, 1, 2, 3, 0 }, out_of_range = 4;
	struct delay_value v;

	(void)state;
	assert_int_equal(delay_open(&none, &options, 1, on_crossing, NULL), -EINVAL);
	assert_int_equal(delay_set_budget(delay, 4, &rule), -EINVAL);
	assert_int_equal(delay_arm(delay, 0, true), -EINVAL);
	assert_int_equal(delay_value(delay, 0, &v), -EINVAL);
	assert_int_equal(delay_watch(delay, 1, lists, ARRAY_SIZE(lists)), -E2BIG);
	assert_int_equal(delay_watch(delay, 1, &out_of_range, 1), -EINVAL);
}

/* --- what is counted -------------------------------------------------------------------------- */

static bool has_begun(void *account)
{
	return ((struct crowding_account *)account)->begun;
}

struct account {
	struct culprit_delay_cgroup_waits ours;
	struct crowding_account kernels;
};

static struct account account_of_400_wakes(struct delay_sense *delay, uint64_t cgroup)
{
	struct crowding crowding = { .wakes = 400, .fifo = true };
	struct crowding_account *account = crowding_account(&crowding);
	struct culprit_delay_cgroup_waits before, after;
	pid_t hog, front;

	hog = live_fork("hogs", crowding_bursts, &(struct crowding){ .fifo = true });
	front = live_fork("front", crowding_wakes, &crowding);
	assert_true(live_until(has_begun, account, 10000));
	before = waits_of(delay, cgroup);
	assert_int_equal(live_wait(front), 0);
	live_kill(hog);
	after = waits_of(delay, cgroup);
	after.woken -= before.woken;
	after.waited_ns -= before.waited_ns;
	printf("waits: %llu, ours %.3f ms, the kernel's %.3f ms (preempted %llu times)\n",
	       (unsigned long long)after.woken, (double)after.waited_ns / 1e6,
	       (double)account->waited_ns / 1e6, (unsigned long long)account->preempted);
	return (struct account){ after, *account };
}

/* The kernel's own account of a task that is not preempted: what it has waited is what it waited
 * when it was woken. */
static void waits_are_as_long_as_the_kernel_says(void **state)
{
	struct heard heard = { 0 };
	_cleanup_delay_ struct delay_sense *delay = open_sense(&heard);
	uint64_t cgroup = live_cgroup("front"), apart;
	struct account a;

	(void)state;
	live_cgroup("hogs");
	set_budget(delay, 0, 10000 * MS, 3600 * NSEC_PER_SEC);
	watch(delay, cgroup, 0);
	a = account_of_400_wakes(delay, cgroup);
	/* By the kernel's own threads, seldom. */
	for (int i = 0; i < 10 && a.kernels.preempted; i++)
		a = account_of_400_wakes(delay, cgroup);
	/* Each program that was not run takes a wait away. */
	assert_in_range(a.ours.woken, 390, 410);
	apart = a.ours.waited_ns > a.kernels.waited_ns ? a.ours.waited_ns - a.kernels.waited_ns
						       : a.kernels.waited_ns - a.ours.waited_ns;
	assert_true(a.kernels.waited_ns > 20 * MS);
	assert_true(apart < a.kernels.waited_ns / 25);
}

static void who_is_preempted_was_not_woken(void **state)
{
	struct heard heard = { 0 };
	_cleanup_delay_ struct delay_sense *delay = open_sense(&heard);
	uint64_t cgroup = live_cgroup("front");
	struct crowding crowding = { .spin_ms = 500 };
	struct crowding_account *account = crowding_account(&crowding);
	struct culprit_delay_cgroup_waits waits;
	pid_t hog;

	(void)state;
	set_budget(delay, 0, 10000 * MS, 2 * MS);
	watch(delay, cgroup, 0);
	live_cgroup("hogs");
	hog = live_fork("hogs", crowding_spins, &(struct crowding){ 0 });
	/* Born before it is watched and joining its CPU: those wake-ups are none of this. */
	assert_int_equal(live_wait(live_fork("front", crowding_spins, &crowding)), 0);
	live_kill(hog);
	waits = waits_of(delay, cgroup);
	printf("preempted %llu times, waited %.0f ms; woken %llu times, waited %.1f ms\n",
	       (unsigned long long)account->preempted, (double)account->waited_ns / 1e6,
	       (unsigned long long)waits.woken, (double)waits.waited_ns / 1e6);
	assert_true(account->preempted >= 3);
	assert_true(account->waited_ns > 100 * MS);
	assert_true(waits.woken <= 4);
	assert_true(waits.waited_ns < account->waited_ns / 4);
}

static void a_cgroup_that_is_made_later_counts_for_what_is_above_it(void **state)
{
	struct heard heard = { 0 };
	_cleanup_delay_ struct delay_sense *delay = open_sense(&heard);
	uint64_t cgroup = live_cgroup("front");

	(void)state;
	set_budget(delay, 0, 10000 * MS, 3600 * NSEC_PER_SEC);
	watch(delay, cgroup, 0);
	live_cgroup("front/a");
	live_cgroup("front/a/b");
	assert_int_equal(live_wait(live_fork("front/a/b", crowding_wakes,
					     &(struct crowding){ .wakes = 100 })),
			 0);
	assert_true(value(delay, 0).woken >= 95);
}

static void a_cgroup_that_is_left_out_does_not_count(void **state)
{
	struct heard heard = { 0 };
	_cleanup_delay_ struct delay_sense *delay = open_sense(&heard);
	uint64_t cgroup = live_cgroup("front"), out = live_cgroup("front/target");
	struct crowding crowding = { .wakes = 100 };

	(void)state;
	set_budget(delay, 0, 10000 * MS, 3600 * NSEC_PER_SEC);
	watch(delay, cgroup, 0);
	assert_int_equal(delay_watch(delay, out, NULL, 0), 0);
	assert_int_equal(live_wait(live_fork("front/target", crowding_wakes, &crowding)), 0);
	assert_int_equal(value(delay, 0).woken, 0);
	/* And is watched as soon as it is said, however often it was seen not to be. */
	watch(delay, out, 0);
	assert_int_equal(live_wait(live_fork("front/target", crowding_wakes, &crowding)), 0);
	assert_true(value(delay, 0).woken >= 95);
}

static void a_task_that_leaves_the_cgroup_counts_no_more(void **state)
{
	struct heard heard = { 0 };
	_cleanup_delay_ struct delay_sense *delay = open_sense(&heard);
	uint64_t cgroup = live_cgroup("front"), before;
	struct crowding crowding = { .wakes = 1000000 };
	_cleanup_close_ int elsewhere = -1;
	char pid[16];
	pid_t front;

	(void)state;
	live_cgroup("elsewhere");
	set_budget(delay, 0, 10000 * MS, 3600 * NSEC_PER_SEC);
	watch(delay, cgroup, 0);
	front = live_fork("front", crowding_wakes, &crowding);
	while (waits_of(delay, cgroup).woken < 50)
		usleep(1000);
	snprintf(pid, sizeof(pid), "%d", (int)front);
	elsewhere = cgroupfs_open_path(live_fs(), live_path("elsewhere"));
	assert_int_equal(cgroupfs_write(elsewhere, "cgroup.procs", pid), 0);
	before = waits_of(delay, cgroup).woken;
	usleep(200 * 1000);
	assert_true(waits_of(delay, cgroup).woken <= before + 1);
	live_kill(front);
}

static void what_is_older_than_the_window_is_forgotten(void **state)
{
	struct heard heard = { 0 };
	_cleanup_delay_ struct delay_sense *delay = open_sense(&heard);

	(void)state;
	set_budget(delay, 0, 200 * MS, 3600 * NSEC_PER_SEC);
	watch(delay, live_cgroup("front"), 0);
	assert_int_equal(
		live_wait(live_fork("front", crowding_wakes, &(struct crowding){ .wakes = 100 })),
		0);
	usleep(250 * 1000);
	assert_int_equal(value(delay, 0).woken, 0);
	assert_int_equal(value(delay, 0).p95_ns, 0);
}

/* --- crossings -------------------------------------------------------------------------------- */

static void a_crossing_names_who_waited_and_who_ran(void **state)
{
	struct heard heard = { 0 };
	_cleanup_delay_ struct delay_sense *delay = open_sense(&heard);
	uint64_t cgroup = live_cgroup("front"), hogs = live_cgroup("hogs");
	struct crowding crowding = { .wakes = 1000000 };
	pid_t hog, front;

	(void)state;
	set_budget(delay, 0, 1000 * MS, MS);
	watch(delay, cgroup, 0);
	/* Real-time, so that whatever else runs, it is what is waited for, and never for long: a
	 * wait is counted when it has ended. */
	hog = live_fork("hogs", crowding_bursts, &(struct crowding){ .fifo = true });
	front = live_fork("front", crowding_wakes, &crowding);
	assert_true(crosses(delay, &heard, 1, 5000));
	assert_int_equal(heard.last.budget, 0);
	assert_int_equal(heard.last.enter_ns, MS);
	assert_true(heard.last.late * CULPRIT_DELAY_ONE_IN > heard.last.woken);
	assert_true(value(delay, 0).p95_ns >= MS);
	assert_int_equal(heard.last.waiter.tgid, front);
	assert_int_equal(heard.last.waiter.cgroup, cgroup);
	/* One, and then it is disarmed. */
	assert_false(crosses(delay, &heard, 2, 100));
	/* What the rest of the machine runs there may be the first to be named. */
	for (int i = 0; i < 3000 && heard.last.runner.cgroup != hogs; i++) {
		assert_int_equal(delay_arm(delay, 0, true), 0);
		assert_true(crosses(delay, &heard, heard.crossings + 1, 5000));
	}
	assert_int_equal(heard.last.runner.cgroup, hogs);
	assert_int_equal(heard.last.runner.tgid, hog);
	live_kill(hog);
	live_kill(front);
}

/* With nobody beside it: half a second of wake-ups at once after them. */
static void without_contention_nothing_crosses(void **state)
{
	struct heard heard = { 0 };
	_cleanup_delay_ struct delay_sense *delay = open_sense(&heard);

	(void)state;
	set_budget(delay, 0, 1000 * MS, 50 * MS);
	watch(delay, live_cgroup("front"), 0);
	assert_int_equal(
		live_wait(live_fork("front", crowding_wakes, &(struct crowding){ .wakes = 400 })),
		0);
	assert_true(value(delay, 0).woken >= 390);
	assert_false(crosses(delay, &heard, 1, 10));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, live_setup, live_teardown)
	const struct CMUnitTest tests[] = {
		TEST(it_is_gone_when_it_is_closed),
		TEST(detached_it_counts_nothing),
		TEST(what_it_cannot_do_is_refused),
		TEST(waits_are_as_long_as_the_kernel_says),
		TEST(who_is_preempted_was_not_woken),
		TEST(a_cgroup_that_is_made_later_counts_for_what_is_above_it),
		TEST(a_cgroup_that_is_left_out_does_not_count),
		TEST(a_task_that_leaves_the_cgroup_counts_no_more),
		TEST(what_is_older_than_the_window_is_forgotten),
		TEST(a_crossing_names_who_waited_and_who_ran),
		TEST(without_contention_nothing_crosses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
