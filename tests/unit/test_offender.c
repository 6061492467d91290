// SPDX-License-Identifier: GPL-2.0-or-later
/* Whose fault it is: scenes with the numbers that such machines show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "decide/offender.h"
#include "lib/cleanup.h"

#define MIB	   256 /* pages */
#define ACTORS_MAX 256

/* A process: what it had when all was calm, what it has now, what it did in the last 100 ms. */
struct actor {
	uint32_t pid, ppid;
	uint64_t start, cgroup;
	const char *comm;
	uint64_t calm;	 /* footprint; 0: not there yet */
	uint64_t now;	 /* footprint, half of it swapped out; 0: ended between the looks */
	uint64_t before; /* 100 ms ago; 0: as now */
	uint64_t swapin;
	bool kept; /* its swap-ins stayed: it reads back */
	bool born; /* since 100 ms ago */
	const char *protected;
	double weight; /* 0: 1 */
};

struct scene {
	const struct actor *actors;
	size_t count;
	uint64_t shortage;
	uint64_t protected_cgroup; /* may not be frozen whole */
	uint64_t child_cgroup, parent_cgroup;
	struct culprit_process calm[ACTORS_MAX], before[ACTORS_MAX], now[ACTORS_MAX];
	struct thrash_swapin swapins[ACTORS_MAX];
	unsigned int asked;
};

static const struct actor *actor_of(const struct scene *s, const struct culprit_process *p)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->actors[i].pid == p->tgid)
			return &s->actors[i];
	}
	return NULL;
}

static const char *refusal(void *user, const struct culprit_process *process, uint64_t cgroup)
{
	struct scene *s = user;

	s->asked++;
	if (process)
		return actor_of(s, process)->protected;
	return cgroup == s->protected_cgroup ? "a whole login session" : NULL;
}

static double weight(void *user, const struct culprit_process *process, uint64_t cgroup)
{
	double w = process ? actor_of(user, process)->weight : 0;

	(void)cgroup;
	return w > 0 ? w : 1;
}

static bool within(void *user, uint64_t cgroup, uint64_t above)
{
	struct scene *s = user;

	return cgroup == above || (cgroup == s->child_cgroup && above == s->parent_cgroup);
}

static struct culprit_process record(const struct actor *a, uint64_t footprint)
{
	struct culprit_process p = { .tgid = a->pid,
				     .ppid = a->ppid,
				     .start_time_ns = a->start,
				     .cgroup = a->cgroup,
				     .anon_pages = footprint - footprint / 2,
				     .swap_pages = footprint / 2 };

	snprintf(p.comm, sizeof(p.comm), "%s", a->comm ?: "x");
	return p;
}

/* Actors are listed in the order of their pids. */
static struct offender_choice play(struct scene *s)
{
	struct thrash_sample calm = { .processes = s->calm }, before = { .processes = s->before };
	struct thrash_sample now = { .processes = s->now, .swapins = s->swapins };
	const struct offender_looks looks = { &calm, &before, &now, s->shortage };
	const struct offender_rules rules = { refusal, weight, within, s };
	_cleanup_(offender_room_free)
	struct offender_room room = { 0 };
	struct offender_choice choice;

	assert_true(s->count <= ACTORS_MAX);
	for (size_t i = 0; i < s->count; i++) {
		const struct actor *a = &s->actors[i];
		struct culprit_process p = record(a, a->now);

		if (a->calm)
			s->calm[calm.n_processes++] = record(a, a->calm);
		if (a->now)
			s->now[now.n_processes++] = p;
		p = record(a, a->before ?: a->now ?: a->calm);
		if (a->kept)
			p.swap_pages += a->swapin;
		if (!a->born)
			s->before[before.n_processes++] = p;
		if (a->swapin)
			s->swapins[now.n_swapins++] =
				(struct thrash_swapin){ a->pid, a->start, a->cgroup, a->swapin };
	}
	assert_int_equal(offender_choose(&room, &looks, &rules, &choice), 0);
	return choice;
}

#define PLAY(name, actors_)                                                        \
	struct scene name = { .actors = (actors_), .count = ARRAY_SIZE(actors_) }; \
	struct offender_choice choice

static uint32_t chosen_pid(const struct offender_choice *choice)
{
	return choice->offender.process ? choice->offender.process->tgid : 0;
}

static void the_slow_grower_and_not_its_busy_victims(void **state)
{
	static const struct actor actors[] = {
		/* 120 MiB touched at random, three times the swap-ins of the grower */
		{ .pid = 10,
		  .start = 1,
		  .cgroup = 100,
		  .calm = 120 * MIB,
		  .now = 120 * MIB,
		  .swapin = 600 },
		{ .pid = 11,
		  .start = 2,
		  .cgroup = 101,
		  .calm = 60 * MIB,
		  .now = 60 * MIB,
		  .swapin = 300 },
		/* +10 MiB/s for 4 s */
		{ .pid = 12,
		  .start = 3,
		  .cgroup = 102,
		  .calm = 40 * MIB,
		  .now = 80 * MIB,
		  .swapin = 200 },
	};
	PLAY(s, actors);

	(void)state;
	s.shortage = 45 * MIB;
	choice = play(&s);
	assert_int_equal(choice.measure, OFFENDER_BY_GROWTH);
	assert_int_equal(chosen_pid(&choice), 12);
	assert_int_equal(choice.offender.growth_pages, 40 * MIB);
	assert_int_equal(choice.offender.footprint_pages, 80 * MIB);
	assert_int_equal(choice.offender.swapin_pages, 200);
	assert_int_equal(choice.shortage_pages, 45 * MIB);
	assert_true(choice.whole_cgroup);
}

static void of_two_that_do_not_fit_the_newer(void **state)
{
	static const struct actor actors[] = {
		{ .pid = 10,
		  .start = 50,
		  .cgroup = 100,
		  .calm = 150 * MIB,
		  .now = 150 * MIB,
		  .swapin = 780 },
		{ .pid = 11,
		  .start = 20,
		  .cgroup = 101,
		  .calm = 150 * MIB,
		  .now = 150 * MIB,
		  .swapin = 1100 },
	};
	PLAY(s, actors);

	(void)state;
	choice = play(&s);
	assert_int_equal(choice.measure, OFFENDER_BY_CHURN);
	assert_int_equal(chosen_pid(&choice), 10);
	assert_int_equal(choice.n_candidates, 2);
	assert_int_equal(choice.candidates[1].process->tgid, 11);
	assert_null(choice.candidates[1].refusal);
	assert_int_equal(choice.churn_pages, 1880);
}

static void a_small_thrasher_and_not_the_large_idle_one(void **state)
{
	static const struct actor actors[] = {
		{ .pid = 10, .start = 9, .cgroup = 100, .calm = 4000 * MIB, .now = 4000 * MIB },
		{ .pid = 11,
		  .start = 2,
		  .cgroup = 101,
		  .calm = 30 * MIB,
		  .now = 30 * MIB,
		  .swapin = 900 },
	};
	PLAY(s, actors);

	(void)state;
	choice = play(&s);
	assert_int_equal(chosen_pid(&choice), 11);
	assert_int_equal(choice.n_candidates, 1);
}

static void who_reads_back_is_nobody(void **state)
{
	static const struct actor actors[] = {
		{ .pid = 10,
		  .start = 9,
		  .cgroup = 100,
		  .calm = 200 * MIB,
		  .now = 200 * MIB,
		  .swapin = 900,
		  .kept = true },
		{ .pid = 11, .start = 2, .cgroup = 101, .calm = 30 * MIB, .now = 30 * MIB },
	};
	PLAY(s, actors);

	(void)state;
	choice = play(&s);
	assert_int_equal(choice.measure, OFFENDER_NOBODY);
	assert_int_equal(choice.n_candidates, 0);
	assert_int_equal(choice.churn_pages, 0);
	assert_int_equal(s.asked, 0);
}

static void a_reader_beside_a_thrasher_is_left_alone(void **state)
{
	static const struct actor actors[] = {
		{ .pid = 10,
		  .start = 9,
		  .cgroup = 100,
		  .calm = 200 * MIB,
		  .now = 200 * MIB,
		  .swapin = 900,
		  .kept = true },
		{ .pid = 11,
		  .start = 2,
		  .cgroup = 101,
		  .calm = 30 * MIB,
		  .now = 30 * MIB,
		  .swapin = 300 },
	};
	PLAY(s, actors);

	(void)state;
	choice = play(&s);
	assert_int_equal(chosen_pid(&choice), 11);
}

/* n processes like this one, with pids, starts and parents of their own. */
static size_t many(struct actor *out, size_t n, struct actor like)
{
	for (size_t i = 0; i < n; i++) {
		out[i] = like;
		out[i].pid += (uint32_t)i;
		out[i].start += i;
	}
	return n;
}

static void a_fork_storm_is_its_cgroup(void **state)
{
	struct actor actors[102] = {
		{ .pid = 5,
		  .start = 1,
		  .cgroup = 100,
		  .calm = 80 * MIB,
		  .now = 80 * MIB,
		  .swapin = 500 },
	};
	struct scene s = { .actors = actors, .count = 1 };
	struct offender_choice choice;

	(void)state;
	/* None of them was there when all was calm; half of them are gone again. */
	s.count += many(&actors[1], 50,
			(struct actor){ .pid = 1000,
					.ppid = 999,
					.start = 500,
					.cgroup = 200,
					.now = 3 * MIB,
					.swapin = 20 });
	s.count +=
		many(&actors[51], 50,
		     (struct actor){
			     .pid = 2000, .ppid = 999, .start = 700, .cgroup = 200, .swapin = 20 });
	s.shortage = 160 * MIB;
	choice = play(&s);
	assert_int_equal(choice.measure, OFFENDER_BY_GROWTH);
	assert_null(choice.offender.process);
	assert_int_equal(choice.offender.cgroup, 200);
	assert_int_equal(choice.offender.growth_pages, 150 * MIB);
	assert_int_equal(choice.offender.swapin_pages, 2000);
	assert_true(choice.whole_cgroup);
}

static void many_small_workers_are_their_cgroup(void **state)
{
	struct actor actors[10] = {
		{ .pid = 5,
		  .start = 1,
		  .cgroup = 100,
		  .calm = 80 * MIB,
		  .now = 80 * MIB,
		  .swapin = 150 },
	};
	struct scene s = { .actors = actors, .count = 1 };
	struct offender_choice choice;

	(void)state;
	s.count += many(&actors[1], 9,
			(struct actor){ .pid = 1000,
					.ppid = 1,
					.start = 500,
					.cgroup = 200,
					.calm = 30 * MIB,
					.now = 30 * MIB,
					.swapin = 90 });
	choice = play(&s);
	assert_int_equal(choice.measure, OFFENDER_BY_CHURN);
	assert_null(choice.offender.process);
	assert_int_equal(choice.offender.cgroup, 200);
	assert_int_equal(choice.offender.churn_pages, 810);
	assert_int_equal(choice.n_candidates, OFFENDER_CANDIDATES);
}

static void workers_of_a_session_are_stopped_one_by_one(void **state)
{
	struct actor actors[9];
	struct scene s = { .actors = actors, .protected_cgroup = 200 };
	struct offender_choice choice;

	(void)state;
	s.count = many(actors, 9,
		       (struct actor){ .pid = 1000,
				       .ppid = 1,
				       .start = 500,
				       .cgroup = 200,
				       .calm = 30 * MIB,
				       .now = 30 * MIB,
				       .swapin = 90 });
	choice = play(&s);
	assert_int_equal(chosen_pid(&choice), 1008);
	assert_false(choice.whole_cgroup);
	assert_null(choice.candidates[0].process);
	assert_string_equal(choice.candidates[0].refusal, "a whole login session");
}

static void one_that_makes_half_of_its_cgroup_stands_for_itself(void **state)
{
	static const struct actor actors[] = {
		{ .pid = 10,
		  .ppid = 1,
		  .start = 1,
		  .cgroup = 100,
		  .calm = 30 * MIB,
		  .now = 30 * MIB,
		  .swapin = 500 },
		{ .pid = 11,
		  .ppid = 1,
		  .start = 2,
		  .cgroup = 100,
		  .calm = 30 * MIB,
		  .now = 30 * MIB,
		  .swapin = 240 },
		{ .pid = 12,
		  .ppid = 1,
		  .start = 3,
		  .cgroup = 100,
		  .calm = 30 * MIB,
		  .now = 30 * MIB,
		  .swapin = 240 },
	};
	PLAY(s, actors);

	(void)state;
	choice = play(&s);
	assert_int_equal(chosen_pid(&choice), 10);
	/* The others in the cgroup have nothing to do with it. */
	assert_false(choice.whole_cgroup);
}

static void one_that_makes_less_than_half_does_not(void **state)
{
	static const struct actor actors[] = {
		{ .pid = 10,
		  .ppid = 1,
		  .start = 1,
		  .cgroup = 100,
		  .calm = 30 * MIB,
		  .now = 30 * MIB,
		  .swapin = 450 },
		{ .pid = 11,
		  .ppid = 1,
		  .start = 2,
		  .cgroup = 100,
		  .calm = 30 * MIB,
		  .now = 30 * MIB,
		  .swapin = 270 },
		{ .pid = 12,
		  .ppid = 1,
		  .start = 3,
		  .cgroup = 100,
		  .calm = 30 * MIB,
		  .now = 30 * MIB,
		  .swapin = 270 },
	};
	PLAY(s, actors);

	(void)state;
	choice = play(&s);
	assert_null(choice.offender.process);
	assert_int_equal(choice.offender.cgroup, 100);
}

static void a_protected_offender_is_passed_over_and_it_is_said(void **state)
{
	static const struct actor actors[] = {
		{ .pid = 10,
		  .start = 1,
		  .cgroup = 100,
		  .calm = 120 * MIB,
		  .now = 160 * MIB,
		  .swapin = 600 },
		{ .pid = 11,
		  .start = 2,
		  .cgroup = 101,
		  .calm = 40 * MIB,
		  .now = 140 * MIB,
		  .swapin = 200,
		  .protected = "protected by the configuration" },
	};
	PLAY(s, actors);

	(void)state;
	s.shortage = 100 * MIB;
	choice = play(&s);
	assert_int_equal(chosen_pid(&choice), 10);
	assert_int_equal(choice.measure, OFFENDER_BY_GROWTH);
	assert_int_equal(choice.n_candidates, 2);
	assert_int_equal(choice.candidates[0].process->tgid, 11);
	assert_string_equal(choice.candidates[0].refusal, "protected by the configuration");
	assert_null(choice.candidates[1].refusal);
}

static void churn_decides_when_every_grower_is_protected(void **state)
{
	static const struct actor actors[] = {
		{ .pid = 10,
		  .start = 1,
		  .cgroup = 100,
		  .calm = 120 * MIB,
		  .now = 120 * MIB,
		  .swapin = 600 },
		{ .pid = 11,
		  .start = 2,
		  .cgroup = 101,
		  .calm = 40 * MIB,
		  .now = 140 * MIB,
		  .swapin = 200,
		  .protected = "pid 1" },
	};
	PLAY(s, actors);

	(void)state;
	choice = play(&s);
	assert_int_equal(choice.measure, OFFENDER_BY_CHURN);
	assert_int_equal(chosen_pid(&choice), 10);
	/* Told once, though it is in both rankings. */
	assert_int_equal(choice.n_candidates, 2);
	assert_string_equal(choice.candidates[0].refusal, "pid 1");
}

static void nobody_is_chosen_when_all_are_protected(void **state)
{
	static const struct actor actors[] = {
		{ .pid = 10,
		  .start = 1,
		  .cgroup = 100,
		  .calm = 120 * MIB,
		  .now = 120 * MIB,
		  .swapin = 600,
		  .protected = "pid 1" },
		{ .pid = 11,
		  .start = 2,
		  .cgroup = 101,
		  .calm = 40 * MIB,
		  .now = 40 * MIB,
		  .swapin = 400,
		  .protected = "pid 1" },
	};
	PLAY(s, actors);

	(void)state;
	choice = play(&s);
	assert_int_equal(choice.measure, OFFENDER_NOBODY);
	assert_int_equal(choice.n_candidates, 2);
	assert_int_equal(s.asked, 2);
}

static void the_offender_is_in_the_list_behind_many_protected_ones(void **state)
{
	struct actor actors[9];
	struct scene s = { .actors = actors };
	struct offender_choice choice;

	(void)state;
	s.count = many(actors, 8,
		       (struct actor){ .pid = 1000,
				       .start = 500,
				       .calm = 30 * MIB,
				       .now = 60 * MIB,
				       .swapin = 90,
				       .protected = "pid 1" });
	for (size_t i = 0; i < 8; i++)
		actors[i].cgroup = 100 + i;
	actors[s.count++] = (struct actor){ .pid = 2000,
					    .start = 1,
					    .cgroup = 300,
					    .calm = 30 * MIB,
					    .now = 55 * MIB,
					    .swapin = 90 };
	s.shortage = 60 * MIB;
	choice = play(&s);
	assert_int_equal(chosen_pid(&choice), 2000);
	assert_int_equal(choice.n_candidates, OFFENDER_CANDIDATES);
	assert_int_equal(choice.candidates[4].process->tgid, 2000);
	assert_string_equal(choice.candidates[3].refusal, "pid 1");
}

static void preference_weighs_more_than_a_difference_and_less_than_none(void **state)
{
	static const struct actor actors[] = {
		{ .pid = 10,
		  .start = 1,
		  .cgroup = 100,
		  .calm = 9 * MIB,
		  .now = 9 * MIB,
		  .swapin = 400,
		  .weight = 16 },
		{ .pid = 11,
		  .start = 2,
		  .cgroup = 101,
		  .calm = 9 * MIB,
		  .now = 9 * MIB,
		  .swapin = 900 },
		{ .pid = 12,
		  .start = 3,
		  .cgroup = 102,
		  .calm = 9 * MIB,
		  .now = 9 * MIB,
		  .weight = 16 },
	};
	PLAY(s, actors);

	(void)state;
	choice = play(&s);
	assert_int_equal(chosen_pid(&choice), 10);
	assert_true(choice.offender.weight == 16 && choice.offender.score == 16 * 400);
	/* Whoever did nothing is no candidate, however much it is preferred. */
	assert_int_equal(choice.n_candidates, 2);
}

static void who_gives_its_memory_back_is_not_blamed_for_its_growth(void **state)
{
	static const struct actor actors[] = {
		{ .pid = 10,
		  .start = 1,
		  .cgroup = 100,
		  .calm = 120 * MIB,
		  .now = 120 * MIB,
		  .swapin = 600 },
		/* It has grown, and is at its end: unmapping, or killed. */
		{ .pid = 11,
		  .start = 2,
		  .cgroup = 101,
		  .calm = 40 * MIB,
		  .before = 500 * MIB,
		  .now = 490 * MIB,
		  .swapin = 100 },
		/* Beside it, and hardly grown. */
		{ .pid = 12, .start = 3, .cgroup = 101, .calm = MIB, .now = 3 * MIB },
	};
	PLAY(s, actors);

	(void)state;
	s.shortage = 400 * MIB;
	choice = play(&s);
	assert_int_equal(choice.measure, OFFENDER_BY_CHURN);
	assert_int_equal(chosen_pid(&choice), 10);
}

static void who_gives_most_of_its_memory_back_is_not_blamed_for_its_churn(void **state)
{
	static const struct actor actors[] = {
		{ .pid = 10,
		  .start = 1,
		  .cgroup = 100,
		  .calm = 120 * MIB,
		  .now = 120 * MIB,
		  .swapin = 300 },
		/* Frees all it has, and has to read some of it for that. */
		{ .pid = 11,
		  .start = 2,
		  .cgroup = 101,
		  .calm = 500 * MIB,
		  .before = 500 * MIB,
		  .now = 350 * MIB,
		  .swapin = 60000 },
		/* A shell beside it. */
		{ .pid = 12, .start = 3, .cgroup = 101, .calm = MIB, .now = MIB, .swapin = 20 },
	};
	PLAY(s, actors);

	(void)state;
	choice = play(&s);
	assert_int_equal(choice.measure, OFFENDER_BY_CHURN);
	assert_int_equal(chosen_pid(&choice), 10);
}

static void who_stays_is_not_blamed_for_who_has_gone(void **state)
{
	struct actor actors[42] = {
		{ .pid = 5,
		  .start = 1,
		  .cgroup = 100,
		  .calm = 80 * MIB,
		  .now = 80 * MIB,
		  .swapin = 300 },
		/* Their shell. */
		{ .pid = 6, .start = 2, .cgroup = 200, .calm = MIB, .now = MIB, .swapin = 20 },
	};
	struct scene s = { .actors = actors, .count = 2 };
	struct offender_choice choice;

	(void)state;
	/* A build that was cancelled. */
	s.count += many(&actors[2], 40,
			(struct actor){ .pid = 1000,
					.ppid = 6,
					.start = 500,
					.cgroup = 200,
					.calm = 5 * MIB,
					.swapin = 2000 });
	choice = play(&s);
	assert_int_equal(choice.measure, OFFENDER_BY_CHURN);
	assert_int_equal(chosen_pid(&choice), 5);
}

static void who_stays_is_not_blamed_for_the_one_that_has_died(void **state)
{
	static const struct actor actors[] = {
		{ .pid = 5,
		  .start = 1,
		  .cgroup = 100,
		  .calm = 80 * MIB,
		  .now = 80 * MIB,
		  .swapin = 300 },
		{ .pid = 6, .start = 2, .cgroup = 200, .calm = MIB, .now = MIB, .swapin = 20 },
		{ .pid = 7, .start = 3, .cgroup = 200, .calm = 50 * MIB, .swapin = 20000 },
	};
	PLAY(s, actors);

	(void)state;
	choice = play(&s);
	assert_int_equal(chosen_pid(&choice), 5);
}

static void nobody_is_blamed_for_a_protected_neighbour(void **state)
{
	static const struct actor actors[] = {
		{ .pid = 6,
		  .ppid = 1,
		  .start = 2,
		  .cgroup = 200,
		  .calm = MIB,
		  .now = MIB,
		  .swapin = 20 },
		{ .pid = 7,
		  .ppid = 1,
		  .start = 3,
		  .cgroup = 200,
		  .calm = 50 * MIB,
		  .now = 50 * MIB,
		  .swapin = 900,
		  .protected = "pid 1" },
	};
	PLAY(s, actors);

	(void)state;
	choice = play(&s);
	assert_int_equal(choice.measure, OFFENDER_NOBODY);
}

/* Each short-lived and the next one there already: not gone, though all that were there are. */
static void workers_that_follow_each_other_are_their_cgroup(void **state)
{
	struct actor actors[14] = {
		{ .pid = 5,
		  .start = 1,
		  .cgroup = 100,
		  .calm = 80 * MIB,
		  .now = 80 * MIB,
		  .swapin = 300 },
	};
	struct scene s = { .actors = actors, .count = 1 };
	struct offender_choice choice;

	(void)state;
	s.count += many(&actors[1], 10,
			(struct actor){ .pid = 1000,
					.ppid = 1,
					.start = 500,
					.cgroup = 200,
					.calm = 5 * MIB,
					.swapin = 2000 });
	s.count += many(&actors[11], 3,
			(struct actor){ .pid = 1100,
					.ppid = 1,
					.start = 800,
					.cgroup = 200,
					.now = MIB / 2,
					.born = true,
					.swapin = 100 });
	choice = play(&s);
	assert_int_equal(choice.measure, OFFENDER_BY_CHURN);
	assert_null(choice.offender.process);
	assert_int_equal(choice.offender.cgroup, 200);
}

static void growth_that_explains_little_is_not_the_reason(void **state)
{
	static const struct actor actors[] = {
		{ .pid = 10,
		  .start = 1,
		  .cgroup = 100,
		  .calm = 150 * MIB,
		  .now = 150 * MIB,
		  .swapin = 900 },
		{ .pid = 11, .start = 2, .cgroup = 101, .calm = 40 * MIB, .now = 50 * MIB },
	};
	PLAY(s, actors);

	(void)state;
	s.shortage = 100 * MIB;
	choice = play(&s);
	assert_int_equal(choice.measure, OFFENDER_BY_CHURN);
	assert_int_equal(chosen_pid(&choice), 10);
}

static void without_a_calm_look_nobody_has_grown(void **state)
{
	struct culprit_process p[2] = { { .tgid = 10, .cgroup = 100, .anon_pages = 900 * MIB },
					{ .tgid = 11, .cgroup = 101, .anon_pages = 1 * MIB } };
	struct thrash_swapin swapins[1] = { { 11, 0, 101, 900 } };
	struct thrash_sample before = { .processes = p, .n_processes = 2 };
	struct thrash_sample now = {
		.processes = p, .n_processes = 2, .swapins = swapins, .n_swapins = 1
	};
	const struct offender_looks looks = { NULL, &before, &now, 0 };
	struct actor actors[2] = { { .pid = 10 }, { .pid = 11 } };
	struct scene s = { .actors = actors, .count = 2 };
	const struct offender_rules rules = { refusal, weight, NULL, &s };
	_cleanup_(offender_room_free)
	struct offender_room room = { 0 };
	struct offender_choice choice;

	(void)state;
	assert_int_equal(offender_choose(&room, &looks, &rules, &choice), 0);
	assert_int_equal(chosen_pid(&choice), 11);
	assert_int_equal(choice.offender.growth_pages, 0);
}

static void pages_shared_with_a_parent_are_no_growth(void **state)
{
	static const struct actor actors[] = {
		/* A database that forked to write a snapshot: the child "has" all that it has. */
		{ .pid = 10,
		  .start = 1,
		  .cgroup = 100,
		  .comm = "redis",
		  .calm = 500 * MIB,
		  .now = 500 * MIB,
		  .swapin = 200 },
		{ .pid = 11,
		  .ppid = 10,
		  .start = 900,
		  .cgroup = 100,
		  .comm = "redis",
		  .now = 502 * MIB,
		  .swapin = 200 },
		{ .pid = 12,
		  .ppid = 1,
		  .start = 5,
		  .cgroup = 101,
		  .comm = "grower",
		  .calm = 10 * MIB,
		  .now = 90 * MIB,
		  .swapin = 100 },
		/* Another program has its own pages from the first on. */
		{ .pid = 13,
		  .ppid = 10,
		  .start = 901,
		  .cgroup = 102,
		  .comm = "other",
		  .now = 40 * MIB },
	};
	PLAY(s, actors);

	(void)state;
	s.shortage = 100 * MIB;
	choice = play(&s);
	assert_int_equal(chosen_pid(&choice), 12);
	assert_int_equal(choice.candidates[1].process->tgid, 13);
	assert_int_equal(choice.candidates[1].growth_pages, 40 * MIB);
}

static void a_recycled_pid_has_no_past(void **state)
{
	struct culprit_process then = {
		.tgid = 10, .start_time_ns = 1, .cgroup = 100, .anon_pages = 900 * MIB
	};
	struct culprit_process p = {
		.tgid = 10, .start_time_ns = 20000000, .cgroup = 100, .anon_pages = 100 * MIB
	};
	struct thrash_sample calm = { .processes = &then, .n_processes = 1 };
	struct thrash_sample now = { .processes = &p, .n_processes = 1 };
	const struct offender_looks looks = { &calm, &calm, &now, 50 * MIB };
	struct actor actor = { .pid = 10 };
	struct scene s = { .actors = &actor, .count = 1 };
	const struct offender_rules rules = { refusal, weight, NULL, &s };
	_cleanup_(offender_room_free)
	struct offender_room room = { 0 };
	struct offender_choice choice;

	(void)state;
	assert_int_equal(offender_choose(&room, &looks, &rules, &choice), 0);
	assert_int_equal(choice.offender.growth_pages, 100 * MIB);
}

/* hog 20 with its wrapper 19 and child 21; `stranger` is put into the same cgroup or below it. */
static bool freezes_whole(uint64_t stranger_cgroup, uint64_t protected_cgroup)
{
	struct actor actors[] = {
		{ .pid = 1, .start = 0, .cgroup = 1, .calm = MIB, .now = MIB },
		{ .pid = 19, .ppid = 1, .start = 1, .cgroup = 100, .calm = MIB, .now = MIB },
		{ .pid = 20,
		  .ppid = 19,
		  .start = 2,
		  .cgroup = 100,
		  .calm = 30 * MIB,
		  .now = 30 * MIB,
		  .swapin = 900 },
		{ .pid = 21, .ppid = 20, .start = 3, .cgroup = 100, .calm = MIB, .now = MIB },
		{ .pid = 22, .ppid = 19, .start = 4, .calm = MIB, .now = MIB },
	};
	PLAY(s, actors);

	actors[4].cgroup = stranger_cgroup;
	s.protected_cgroup = protected_cgroup;
	s.child_cgroup = 150;
	s.parent_cgroup = 100;
	choice = play(&s);
	assert_int_equal(chosen_pid(&choice), 20);
	return choice.whole_cgroup;
}

static void a_cgroup_is_frozen_only_when_all_of_it_is_the_offenders(void **state)
{
	(void)state;
	assert_true(freezes_whole(101, 0));
	assert_false(freezes_whole(100, 0));
	assert_false(freezes_whole(150, 0));
	assert_false(freezes_whole(101, 100));
}

static void kernel_threads_and_the_dying_are_no_candidates(void **state)
{
	struct culprit_process p[2] = {
		{ .tgid = 10, .cgroup = 100, .flags = CULPRIT_PROCESS_KERNEL },
		{ .tgid = 11, .cgroup = 101, .flags = CULPRIT_PROCESS_EXITING }
	};
	struct thrash_swapin swapins[2] = { { 10, 0, 100, 900 }, { 11, 0, 101, 900 } };
	struct thrash_sample before = { .processes = p, .n_processes = 2 };
	struct thrash_sample now = {
		.processes = p, .n_processes = 2, .swapins = swapins, .n_swapins = 2
	};
	const struct offender_looks looks = { &before, &before, &now, 0 };
	const struct offender_rules rules = { refusal, weight, NULL, NULL };
	_cleanup_(offender_room_free)
	struct offender_room room = { 0 };
	struct offender_choice choice;

	(void)state;
	assert_int_equal(offender_choose(&room, &looks, &rules, &choice), 0);
	assert_int_equal(choice.measure, OFFENDER_NOBODY);
}

static void an_empty_machine_has_no_offender(void **state)
{
	struct thrash_sample none = { 0 };
	const struct offender_looks looks = { &none, &none, &none, 0 };
	const struct offender_rules rules = { refusal, weight, NULL, NULL };
	struct offender_room room = { 0 };
	struct offender_choice choice;

	(void)state;
	assert_int_equal(offender_choose(&room, &looks, &rules, &choice), 0);
	assert_int_equal(choice.measure, OFFENDER_NOBODY);
	offender_room_free(&room);
}

static void the_order_of_equals_does_not_change(void **state)
{
	struct actor actors[40];
	struct scene s = { .actors = actors };
	struct offender_choice choice;

	(void)state;
	s.count =
		many(actors, 40,
		     (struct actor){ .pid = 1000, .calm = 9 * MIB, .now = 9 * MIB, .swapin = 90 });
	for (size_t i = 0; i < 40; i++) {
		actors[i].start = 7;
		actors[i].cgroup = 100 + i % 3;
	}
	/* Three cgroups of many workers, all alike: the same one in every run. */
	choice = play(&s);
	assert_null(choice.offender.process);
	assert_int_equal(choice.offender.cgroup, 102);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_slow_grower_and_not_its_busy_victims),
		cmocka_unit_test(of_two_that_do_not_fit_the_newer),
		cmocka_unit_test(a_small_thrasher_and_not_the_large_idle_one),
		cmocka_unit_test(who_reads_back_is_nobody),
		cmocka_unit_test(a_reader_beside_a_thrasher_is_left_alone),
		cmocka_unit_test(a_fork_storm_is_its_cgroup),
		cmocka_unit_test(many_small_workers_are_their_cgroup),
		cmocka_unit_test(workers_of_a_session_are_stopped_one_by_one),
		cmocka_unit_test(one_that_makes_half_of_its_cgroup_stands_for_itself),
		cmocka_unit_test(one_that_makes_less_than_half_does_not),
		cmocka_unit_test(a_protected_offender_is_passed_over_and_it_is_said),
		cmocka_unit_test(churn_decides_when_every_grower_is_protected),
		cmocka_unit_test(nobody_is_chosen_when_all_are_protected),
		cmocka_unit_test(the_offender_is_in_the_list_behind_many_protected_ones),
		cmocka_unit_test(preference_weighs_more_than_a_difference_and_less_than_none),
		cmocka_unit_test(who_gives_its_memory_back_is_not_blamed_for_its_growth),
		cmocka_unit_test(who_gives_most_of_its_memory_back_is_not_blamed_for_its_churn),
		cmocka_unit_test(who_stays_is_not_blamed_for_who_has_gone),
		cmocka_unit_test(who_stays_is_not_blamed_for_the_one_that_has_died),
		cmocka_unit_test(nobody_is_blamed_for_a_protected_neighbour),
		cmocka_unit_test(workers_that_follow_each_other_are_their_cgroup),
		cmocka_unit_test(growth_that_explains_little_is_not_the_reason),
		cmocka_unit_test(without_a_calm_look_nobody_has_grown),
		cmocka_unit_test(pages_shared_with_a_parent_are_no_growth),
		cmocka_unit_test(a_recycled_pid_has_no_past),
		cmocka_unit_test(a_cgroup_is_frozen_only_when_all_of_it_is_the_offenders),
		cmocka_unit_test(kernel_threads_and_the_dying_are_no_candidates),
		cmocka_unit_test(an_empty_machine_has_no_offender),
		cmocka_unit_test(the_order_of_equals_does_not_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
