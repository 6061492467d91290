// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * action = turn: workloads of 150 MiB, touched at random, below one limit of 200 MiB. What one does
 * alone; what several do together without the agent, and with it; how much of the time goes into
 * reading back in; whether all get the same; and how long after the first swap-ins one waits.
 *
 * bench_turns [-s SECONDS] [-e TURNS] [-l SLICE] [-t] [COUNT]...
 * SECONDS: how long one runs alone (before and after each COUNT), and all without the agent; with
 * it they run as long at least, and until each had TURNS. SLICE: of the policy, "5s". -t: what each
 * does, second by second, to stderr. COUNT: so many workloads; 2 if none is given, because each
 * turn may be of a minute.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "../live/agent.h"
#include "../live/limit.h"
#include "../live/live.h"
#include "../live/swapping.h"

#define LIMIT_MIB     200
#define WORK_MIB      150
#define SWAP_MIB      1024
#define MOST	      5
#define LONGEST_NS    (60 * NSEC_PER_SEC) /* that a turn may be */
#define POLL_US	      5000
#define BIN_NS	      (100 * NSEC_PER_MSEC)
#define ONSET_PAGES   10 /* in a bin: 100 pages/s */
#define ONSET_MOST_NS (300 * NSEC_PER_MSEC)

static const char *const names[MOST] = { "all/one", "all/two", "all/three", "all/four",
					 "all/five" };
static struct {
	unsigned int seconds, turns, counts[8], n_counts;
	const char *slice;
	bool is_timeline;
} options = { .seconds = 10, .turns = 2, .counts = { 2 }, .slice = "5s" };

/* What each has touched, in a cache line of its own. */
static struct counter {
	_Alignas(64) _Atomic uint64_t touches;
} * work;

static int touch(void *arg)
{
	struct counter *counter = arg;
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint64_t random = (uint64_t)getpid() | 1;
	struct own_pages own;

	if (live_limit_join() < 0)
		return 1;
	if (own_pages_make(&own, ((size_t)WORK_MIB << 20) / page) < 0)
		return 2;
	for (uint64_t n = 1;; n++) {
		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		own.memory[(random >> 33) % own.pages * page]++;
		atomic_store_explicit(&counter->touches, n, memory_order_relaxed);
	}
}

/* --- a run -------------------------------------------------------------------------------------
 */

struct run {
	unsigned int count;
	pid_t pids[MOST];
	uint64_t begin_ns, end_ns, touches[MOST];
	bool frozen[MOST], has_begun;
	unsigned int begun[MOST], ended[MOST]; /* turns */
	uint64_t onset_ns, first_frozen_ns;    /* 0: not yet */
	/* The present 100 ms; bins in which next to nothing was done. */
	uint64_t bin_ns, bin_pswpin, bin_touches;
	unsigned int bins, idle_bins;
	uint64_t told_ns, told_touches[MOST];
};

static uint64_t touches_now(struct run *r)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < r->count; i++)
		sum += r->touches[i] = work[i].touches;
	return sum;
}

static void start(struct run *r, unsigned int count)
{
	*r = (struct run){ .count = count };
	memset((void *)work, 0, MOST * sizeof(*work));
	r->begin_ns = r->bin_ns = r->told_ns = monotonic_ns();
	r->bin_pswpin = live_vmstat("pswpin");
	for (unsigned int i = 0; i < count; i++)
		r->pids[i] = live_fork(names[i], touch, &work[i]);
}

static void look_at_bin(struct run *r, uint64_t now_ns, double alone_per_s)
{
	uint64_t touches = touches_now(r), pswpin = live_vmstat("pswpin");
	double per_s = (double)(touches - r->bin_touches) * 1e9 / (double)(now_ns - r->bin_ns);

	if (!r->onset_ns && pswpin - r->bin_pswpin >= ONSET_PAGES)
		r->onset_ns = r->bin_ns;
	r->bins++;
	r->idle_bins += per_s < alone_per_s / 20;
	r->bin_ns = now_ns;
	r->bin_pswpin = pswpin;
	r->bin_touches = touches;
}

static void tell(struct run *r, uint64_t now_ns)
{
	if (!options.is_timeline || now_ns < r->told_ns + NSEC_PER_SEC)
		return;
	fprintf(stderr, "%6.1f s", (double)(now_ns - r->begin_ns) / 1e9);
	for (unsigned int i = 0; i < r->count; i++) {
		fprintf(stderr, " %c%9llu", r->frozen[i] ? '-' : '+',
			(unsigned long long)(r->touches[i] - r->told_touches[i]));
		r->told_touches[i] = r->touches[i];
	}
	fputc('\n', stderr);
	r->told_ns = now_ns;
}

/* The first turn begins when all others wait. */
static void look_for_begin(struct run *r)
{
	unsigned int running = 0, n = 0;

	for (unsigned int i = 0; i < r->count; i++)
		if (!r->frozen[i]) {
			running = i;
			n++;
		}
	if (n != 1 || r->count == 1)
		return;
	r->has_begun = true;
	r->begun[running] = 1;
	for (unsigned int i = 0; i < r->count; i++)
		r->ended[i] = 0;
}

/* True: a turn has ended. */
static bool look(struct run *r, double alone_per_s)
{
	uint64_t now_ns = monotonic_ns();
	bool has_ended = false;

	for (unsigned int i = 0; i < r->count; i++) {
		bool frozen = live_frozen(names[i]);

		if (frozen && !r->first_frozen_ns)
			r->first_frozen_ns = now_ns;
		if (r->has_begun && frozen != r->frozen[i]) {
			r->begun[i] += !frozen;
			r->ended[i] += frozen;
			has_ended |= frozen;
		}
		r->frozen[i] = frozen;
	}
	if (!r->has_begun)
		look_for_begin(r);
	if (now_ns >= r->bin_ns + BIN_NS)
		look_at_bin(r, now_ns, alone_per_s);
	tell(r, now_ns);
	return has_ended;
}

static void run_for(struct run *r, double alone_per_s)
{
	while (monotonic_ns() < r->begin_ns + options.seconds * NSEC_PER_SEC) {
		usleep(POLL_US);
		(void)look(r, alone_per_s);
	}
}

static bool all_had_turns(const struct run *r)
{
	for (unsigned int i = 0; i < r->count; i++)
		if (r->ended[i] < options.turns || r->ended[i] != r->ended[0])
			return false;
	return true;
}

/* Until a rotation ends: all had as many turns, and as many as are asked for. */
static void run_turns(struct run *r, double alone_per_s)
{
	uint64_t patience_ns = LONGEST_NS * (options.turns + 1) * r->count;

	for (;;) {
		bool has_ended;

		usleep(POLL_US);
		has_ended = look(r, alone_per_s);
		if (has_ended && all_had_turns(r) &&
		    monotonic_ns() >= r->begin_ns + options.seconds * NSEC_PER_SEC)
			return;
		if (monotonic_ns() > r->begin_ns + patience_ns) {
			agent_print_log();
			fail_msg("%u workloads had no %u turns each", r->count, options.turns);
		}
	}
}

static void end(struct run *r)
{
	(void)touches_now(r);
	r->end_ns = monotonic_ns();
	for (unsigned int i = 0; i < r->count; i++)
		live_kill(r->pids[i]);
}

/* --- figures -----------------------------------------------------------------------------------
 */

static double seconds_of(const struct run *r)
{
	return (double)(r->end_ns - r->begin_ns) / 1e9;
}

static double sum(const struct run *r)
{
	double touches = 0;

	for (unsigned int i = 0; i < r->count; i++)
		touches += (double)r->touches[i];
	return touches;
}

static double smallest_share(const struct run *r)
{
	uint64_t least = r->touches[0];

	for (unsigned int i = 1; i < r->count; i++)
		least = r->touches[i] < least ? r->touches[i] : least;
	return (double)least / sum(r);
}

static double run_alone(void)
{
	struct run r;

	start(&r, 1);
	run_for(&r, 0);
	end(&r);
	return sum(&r) / seconds_of(&r);
}

static double run_without(unsigned int count, double alone_per_s)
{
	struct run r;

	start(&r, count);
	run_for(&r, alone_per_s);
	end(&r);
	return sum(&r) / seconds_of(&r);
}

static void run_with(struct run *r, unsigned int count, double alone_per_s)
{
	char config[256];

	snprintf(config, sizeof(config),
		 "[policy turns]\nsignal = thrash\naction = turn\nslice = %s\ntarget = offender\n",
		 options.slice);
	agent_start(config);
	start(r, count);
	run_turns(r, alone_per_s);
	end(r);
	assert_int_equal(agent_stop(), 0);
}

static double wanted_pct(unsigned int count)
{
	return count == 2 ? 90 : 75;
}

/* Is a figure missed? *alone_per_s: of before; of after when it returns. */
static bool measure(unsigned int count, double *alone_per_s)
{
	double before = *alone_per_s, without, mean, work_pct;
	unsigned int turns = 0;
	struct run r;

	without = run_without(count, before);
	run_with(&r, count, before);
	*alone_per_s = run_alone();
	mean = (before + *alone_per_s) / 2;
	work_pct = 100 * sum(&r) / seconds_of(&r) / mean;
	for (unsigned int i = 0; i < count; i++)
		turns += r.ended[i];
	printf(",\"%u\":{\"alone_per_s\":[%.0f,%.0f],\"without_pct\":%.3f,\"work_pct\":%.1f,"
	       "\"wanted_pct\":%.0f,\"seconds\":%.1f,\"turns\":%u,\"idle_pct\":%.1f,"
	       "\"smallest_share_pct\":%.1f,\"onset_to_frozen_ms\":%.0f}",
	       count, before, *alone_per_s, 100 * without / mean, work_pct, wanted_pct(count),
	       seconds_of(&r), turns, 100.0 * r.idle_bins / r.bins, 100 * smallest_share(&r),
	       ((double)r.first_frozen_ns - (double)r.onset_ns) / 1e6);
	fflush(stdout);
	return work_pct < wanted_pct(count) || r.first_frozen_ns > r.onset_ns + ONSET_MOST_NS;
}

static void bench(void **state)
{
	unsigned int missed = 0;
	double alone_per_s;

	(void)state;
	work = mmap(NULL, MOST * sizeof(*work), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		    -1, 0);
	assert_ptr_not_equal(work, MAP_FAILED);
	live_swap_on(SWAP_MIB);
	live_cgroup("all");
	live_limit("all", LIMIT_MIB);
	for (size_t i = 0; i < MOST; i++)
		live_cgroup(names[i]);
	printf("{\"bench\":\"turns\",\"limit_mib\":%d,\"each_mib\":%d,\"slice\":\"%s\"", LIMIT_MIB,
	       WORK_MIB, options.slice);
	alone_per_s = run_alone();
	for (unsigned int i = 0; i < options.n_counts; i++)
		missed += measure(options.counts[i], &alone_per_s);
	printf("}\n");
	assert_int_equal(missed, 0);
}

static bool read_options(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "s:e:l:t")) != -1) {
		if (option == 's')
			options.seconds = (unsigned int)strtoul(optarg, NULL, 10);
		else if (option == 'e')
			options.turns = (unsigned int)strtoul(optarg, NULL, 10);
		else if (option == 'l')
			options.slice = optarg;
		else if (option == 't')
			options.is_timeline = true;
		else
			return false;
	}
	for (; optind < argc && options.n_counts < ARRAY_SIZE(options.counts); optind++) {
		unsigned long count = strtoul(argv[optind], NULL, 10);

		if (count < 2 || count > MOST)
			return false;
		options.counts[options.n_counts++] = (unsigned int)count;
	}
	if (!options.n_counts)
		options.n_counts = 1;
	return optind == argc && options.seconds && options.turns;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bench, live_setup, live_teardown),
	};

	if (!read_options(argc, argv)) {
		fprintf(stderr, "usage: %s [-s SECONDS] [-e TURNS] [-l SLICE] [-t] [COUNT]...\n",
			argv[0]);
		return 2;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
