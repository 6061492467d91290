// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How long from the call of act_claim() until the event loop knows of `frozen 1`, and how long the
 * call itself is, for a cgroup with one sleeping and for one with one busy process. And: agents
 * killed at random moments; how long until nothing is held, and how often something was.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../live/live.h"
#include "../live/mini.h"
#include "lib/cleanup.h"
#include "lib/clock.h"

#define N_FREEZES  300
#define N_KILLS	   1000
#define LIMIT_MS   100
/* The kernel tells changes of one cgroup.events at most every 10 ms (CGROUP_FILE_NOTIFY_MIN_INTV);
 * claims on one cgroup do not follow each other that fast. */
#define BETWEEN_US 15000

struct samples {
	uint64_t call[N_FREEZES];
	uint64_t frozen[N_FREEZES];
};

static int by_size(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static double percentile_us(uint64_t *ns, unsigned int n, unsigned int percent)
{
	qsort(ns, n, sizeof(*ns), by_size);
	return (double)ns[(n - 1) * percent / 100] / 1000.0;
}

static void freeze_often(struct mini *m, uint64_t cgroup, struct samples *s)
{
	struct target target = mini_cgroup_target(cgroup);

	for (int i = 0; i < N_FREEZES; i++) {
		struct claim *claim;
		uint64_t begin;
		int r;

		usleep(BETWEEN_US);
		m->n_told = 0;
		begin = monotonic_ns();
		r = act_claim(m->act, CLAIM_FREEZE, &target, "bench", "", &claim);
		s->call[i] = monotonic_ns() - begin;
		if (r < 0 || !mini_told(m, ACT_HELD, claim->id))
			fail_msg("not frozen: %s", strerror(-r));
		s->frozen[i] = claim->held_ns - begin;
		usleep(BETWEEN_US);
		act_undo(m->act, claim);
	}
}

static void print_freeze(const char *name, struct samples *s)
{
	printf("\"%s\":{\"n\":%d,\"call_p50_us\":%.1f,\"call_p99_us\":%.1f,"
	       "\"frozen_p50_us\":%.1f,\"frozen_p99_us\":%.1f},",
	       name, N_FREEZES, percentile_us(s->call, N_FREEZES, 50),
	       percentile_us(s->call, N_FREEZES, 99), percentile_us(s->frozen, N_FREEZES, 50),
	       percentile_us(s->frozen, N_FREEZES, 99));
}

static pid_t populate(const char *cgroup, int (*load)(void *))
{
	pid_t pid = live_fork(cgroup, load, NULL);

	while (!live_cgroup_key(cgroup, "cgroup.events", "populated"))
		usleep(1000);
	return pid;
}

static void bench_freeze(void)
{
	static struct samples samples;
	struct mini m = { 0 };
	uint64_t calm = live_cgroup("calm"), busy = live_cgroup("busy");
	pid_t spinner;

	if (mini_start(&m) < 0)
		fail_msg("no agent");
	populate("calm", load_sleep);
	freeze_often(&m, calm, &samples);
	print_freeze("sleeping", &samples);
	spinner = populate("busy", load_spin);
	freeze_often(&m, busy, &samples);
	print_freeze("busy", &samples);
	live_kill(spinner);
	mini_stop(&m);
}

/* --- killing ---------------------------------------------------------------------------------- */

struct shared {
	_Atomic unsigned int claims;
	_Atomic pid_t guardian;
	uint64_t cgroup;
	pid_t process;
};

static int agent(void *arg)
{
	struct shared *shared = arg;
	struct target targets[] = { mini_cgroup_target(shared->cgroup),
				    mini_process_target(shared->process) };
	struct mini m = { 0 };

	if (mini_start(&m) < 0)
		return 1;
	shared->guardian = guardian_pid(m.guardian);
	for (unsigned int i = 0;; i++) {
		struct claim *claim;
		int r = act_claim(m.act, i % 2 ? CLAIM_STOP : CLAIM_FREEZE, &targets[i % 2],
				  "bench", "", &claim);

		if (r < 0 && claim)
			act_undo(m.act, claim);
		shared->claims++;
		m.n_told = 0;
		sd_event_run(m.event, 0);
	}
}

static bool nothing_held(void *arg)
{
	const struct shared *shared = arg;

	return !mini_asked_to_freeze("killed") && !live_frozen("killed") &&
	       mini_state(shared->process) != 'T';
}

static void bench_kill(void)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	static uint64_t undone[N_KILLS];
	unsigned int seed = (unsigned int)getpid(), left = 0, held = 0;

	shared->cgroup = live_cgroup("killed");
	populate("killed", load_sleep);
	live_cgroup("stopped");
	shared->process = populate("stopped", load_sleep);
	for (int i = 0; i < N_KILLS; i++) {
		uint64_t begin;
		pid_t pid;

		shared->claims = 0;
		shared->guardian = 0;
		pid = live_fork(NULL, agent, shared);
		while (shared->claims == 0)
			usleep(100);
		usleep((unsigned int)rand_r(&seed) % 3000);
		begin = monotonic_ns();
		kill(pid, SIGKILL);
		held += !nothing_held(shared);
		left += !live_until(nothing_held, shared, LIMIT_MS);
		undone[i] = monotonic_ns() - begin;
		live_kill(pid);
		while (waitpid(shared->guardian, NULL, 0) < 0 &&
		       mini_state(shared->guardian) != '-')
			usleep(100);
	}
	printf("\"sigkill\":{\"n\":%d,\"held_at_the_kill\":%u,\"left_after_%d_ms\":%u,"
	       "\"undone_p50_us\":%.1f,\"undone_p99_us\":%.1f,\"undone_max_us\":%.1f}",
	       N_KILLS, held, LIMIT_MS, left, percentile_us(undone, N_KILLS, 50),
	       percentile_us(undone, N_KILLS, 99), percentile_us(undone, N_KILLS, 100));
}

static void bench(void **state)
{
	(void)state;
	(void)live_tmpdir();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	printf("{\"bench\":\"freeze\",");
	bench_freeze();
	bench_kill();
	printf("}\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(bench) };

	return cmocka_run_group_tests(tests, live_setup, live_teardown);
}
