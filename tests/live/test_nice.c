// SPDX-License-Identifier: GPL-2.0-or-later
/* `of = non-nice`: what niced tasks use does not count, what all others use does. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"
#include "sense/cpu.h"
#include "sense/cpu_source.h"

#define MS NSEC_PER_MSEC

/* --- the sense -------------------------------------------------------------------------------- */

static void closecpup(struct cpu_sense **cpu)
{
	cpu_close(*cpu);
}

#define _cleanup_cpu_ _cleanup_(closecpup)

static void on_crossing(void *user, const struct culprit_cpu_crossing *crossing)
{
	(void)user;
	(void)crossing;
}

/* Budget 0: of tasks that are not niced; budget 1: of all. Both for this cgroup. */
static struct cpu_sense *open_with_budgets(const char *cgroup)
{
	static const uint16_t both[] = { 0, 1 };
	struct sense_options options = { .losses_fd = -1 };
	struct cpu_sense *cpu = NULL;

	assert_int_equal(cpu_open(&cpu, &options, on_crossing, NULL), 0);
	assert_int_equal(cpu_set_budget(cpu, 0, 60 * NSEC_PER_SEC, UINT64_MAX, true), 0);
	assert_int_equal(cpu_set_budget(cpu, 1, 60 * NSEC_PER_SEC, UINT64_MAX, false), 0);
	assert_int_equal(cpu_watch(cpu, live_cgroup(cgroup), both, 2), 0);
	return cpu;
}

static uint64_t used_ns(struct cpu_sense *cpu, unsigned int budget)
{
	uint64_t ns;

	assert_int_equal(cpu_value(cpu, budget, &ns), 0);
	return ns;
}

struct wait_for_use {
	struct cpu_sense *cpu;
	uint64_t ns;
};

static bool has_used(void *arg)
{
	struct wait_for_use *wait = arg;

	return used_ns(wait->cpu, 1) >= wait->ns;
}

/* Until the cgroup's tasks have used so much more, niced or not. */
static void let_use(struct cpu_sense *cpu, uint64_t ns)
{
	struct wait_for_use wait = { cpu, used_ns(cpu, 1) + ns };

	assert_true(live_until(has_used, &wait, 20000));
}

static int spin_niced(void *unused)
{
	setpriority(PRIO_PROCESS, 0, 5);
	return load_spin(unused);
}

static void a_task_counts_from_when_it_is_not_niced_any_more(void **state)
{
	_cleanup_cpu_ struct cpu_sense *cpu = open_with_budgets("reniced");
	uint64_t niced, after;
	pid_t pid = live_fork("reniced", spin_niced, NULL);

	(void)state;
	let_use(cpu, 100 * MS);
	niced = used_ns(cpu, 0);
	/* It took a moment to become nice. */
	assert_true(niced < 20 * MS);
	let_use(cpu, 100 * MS);
	assert_true(used_ns(cpu, 0) - niced < MS);
	assert_int_equal(setpriority(PRIO_PROCESS, (id_t)pid, 0), 0);
	after = used_ns(cpu, 0);
	let_use(cpu, 100 * MS);
	assert_true(used_ns(cpu, 0) - after > 80 * MS);
	assert_int_equal(setpriority(PRIO_PROCESS, (id_t)pid, 1), 0);
	let_use(cpu, 20 * MS);
	after = used_ns(cpu, 0);
	let_use(cpu, 100 * MS);
	assert_true(used_ns(cpu, 0) - after < MS);
	live_kill(pid);
	live_rmdir("reniced");
}

/* A real-time task knows no nice, whatever it was before. Long enough to be seen, and not so long
 * that whoever else is on that CPU misses it. */
static int spin_real_time(void *policy)
{
	static const struct sched_param lowest = { .sched_priority = 1 };

	setpriority(PRIO_PROCESS, 0, 5);
	if (sched_setscheduler(0, (int)(uintptr_t)policy, &lowest) < 0)
		return errno;
	return load_spin_ms((void *)150);
}

static void a_real_time_task_counts_though_it_was_niced_before(void **state)
{
	static const int policies[] = { SCHED_FIFO, SCHED_RR };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		_cleanup_cpu_ struct cpu_sense *cpu = open_with_budgets("real-time");
		pid_t pid = live_fork("real-time", spin_real_time, (void *)(uintptr_t)policies[i]);

		assert_int_equal(live_wait(pid), 0);
		assert_true(used_ns(cpu, 1) >= 140 * MS);
		assert_true(used_ns(cpu, 0) + 20 * MS > used_ns(cpu, 1));
	}
	live_rmdir("real-time");
}

static void what_polls_cpu_stat_takes_no_such_budget(void **state)
{
	struct sense_options options = { .source = CPU_SOURCE_POLL, .losses_fd = -1 };
	_cleanup_cpu_ struct cpu_sense *cpu = NULL;
	uint64_t ns;

	(void)state;
	assert_int_equal(cpu_open(&cpu, &options, on_crossing, NULL), 0);
	assert_int_equal(cpu_set_budget(cpu, 0, NSEC_PER_SEC, MS, true), -EOPNOTSUPP);
	assert_int_equal(cpu_value(cpu, 0, &ns), -EINVAL);
}

/* --- the agent -------------------------------------------------------------------------------- */

/* Whoever else is on this machine counts for both: what is asserted holds whatever they do. */
static const char policies[] = "[workload for-all]\ncgroup = %s/for-all\n"
			       "[workload for-some]\ncgroup = %s/for-some\n"
			       "[policy all]\nsignal = cpu\nof = others\nwindow = 1s\n"
			       "enter = 0.1cpu\ngrace = 1s\naction = freeze\ntarget = for-all\n"
			       "[policy some]\nsignal = cpu\nof = non-nice\nwindow = 1s\n"
			       "enter = 0.3cpu\ngrace = 1s\naction = freeze\ntarget = for-some\n";

/* The values of both policies, read at the same moment, in CPUs. */
static void read_values(double *all, double *some)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error));
	const json_t *list, *p;
	size_t i;

	assert_non_null(reply);
	list = json_object_get(json_object_get(reply, "status"), "policies");
	json_array_foreach (list, i, p) {
		double value = json_number_value(json_object_get(p, "value"));

		if (strcmp(json_string_value(json_object_get(p, "name")), "all") == 0)
			*all = value;
		else
			*some = value;
	}
	json_decref(reply);
}

struct difference {
	bool counted; /* by the policy that looks at those that are not niced */
	double least; /* in CPUs */
};

/* What a whole CPU uses that is pressed by nobody, or by all that is on this machine. */
static bool is_different(void *arg)
{
	const struct difference *wanted = arg;
	double all = 0, some = 0;

	read_values(&all, &some);
	return wanted->counted ? some >= wanted->least : all - some >= wanted->least;
}

static bool is_holding(const char *policy)
{
	char state[16];

	agent_policy_state(policy, state, sizeof(state));
	return strcmp(state, "holding") == 0;
}

static void a_niced_foreground_is_nothing_to_those_that_look_at_others(void **state)
{
	struct difference niced = { .counted = false, .least = 0.2 };
	struct difference not_niced = { .counted = true, .least = 0.3 };
	double all = 0, some = 0, most = 0;
	pid_t front;

	(void)state;
	live_cgroup("front");
	live_cgroup("for-all");
	live_cgroup("for-some");
	live_fork("for-all", load_sleep, NULL);
	live_fork("for-some", load_sleep, NULL);
	agent_start(policies);
	front = live_fork("front", spin_niced, NULL);
	assert_true(live_until(is_different, &niced, 20000));
	assert_true(live_until(live_is_frozen, "for-all", 5000));
	for (unsigned int i = 0; i < 100; i++) {
		read_values(&all, &some);
		most = some > most ? some : most;
		/* Others that are not niced may be busy, too. */
		if (most >= 0.25)
			break;
		assert_false(is_holding("some"));
		usleep(10 * 1000);
	}
	print_message("    others: %.2f CPUs; those of them that are not niced: %.2f at most\n",
		      all, most);
	assert_int_equal(setpriority(PRIO_PROCESS, (id_t)front, 0), 0);
	assert_true(live_until(is_different, &not_niced, 20000));
	assert_true(live_until(live_is_frozen, "for-some", 5000));
	assert_int_equal(agent_stop(), 0);
}

static bool is_degraded(const char *text)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error));
	const json_t *agent, *line;
	bool found = false;
	size_t i;

	assert_non_null(reply);
	agent = json_object_get(json_object_get(reply, "status"), "agent");
	json_array_foreach (json_object_get(agent, "degraded"), i, line)
		found |= strstr(json_string_value(line), text) != NULL;
	json_decref(reply);
	return found;
}

static void what_cannot_tell_who_is_niced_says_so_and_does_not_act(void **state)
{
	double all = 0, some = 1;

	(void)state;
	live_cgroup("front");
	live_cgroup("for-all");
	live_cgroup("for-some");
	live_fork("for-all", load_sleep, NULL);
	live_fork("for-some", load_sleep, NULL);
	agent_force("cpu=cpu.stat");
	agent_start(policies);
	agent_force(NULL);
	live_fork("front", load_spin, NULL);
	assert_true(is_degraded("policies with of = non-nice do not act"));
	assert_true(live_until(live_is_frozen, "for-all", 10000));
	read_values(&all, &some);
	assert_true(all > 0.1 && some == 0);
	assert_false(is_holding("some"));
	assert_int_equal(agent_stop(), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, live_setup, live_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_task_counts_from_when_it_is_not_niced_any_more),
		T(a_real_time_task_counts_though_it_was_niced_before),
		T(what_polls_cpu_stat_takes_no_such_budget),
		T(a_niced_foreground_is_nothing_to_those_that_look_at_others),
		T(what_cannot_tell_who_is_niced_says_so_and_does_not_act),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
