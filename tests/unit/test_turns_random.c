// SPDX-License-Identifier: GPL-2.0-or-later
/* Members that come, go, grow, sleep and read as chance has it: what holds whatever happens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "decide/turns.h"
#include "lib/clock.h"

#define S     NSEC_PER_SEC
#define MS    NSEC_PER_MSEC
#define STEPS 10000

struct guest {
	uint64_t key, footprint, resident, swapin, cpu_usec;
	bool reads, sleeps;
	/* The wait that it is in. */
	bool waits;
	uint64_t place; /* in line, when last looked at */
	uint64_t began_ns, others, longest_turn_ns, late_ns;
};

struct party {
	struct turns t;
	struct guest guests[TURNS_MAX];
	unsigned int count;
	uint64_t now, late_ns, next_key, capacity;
	uint32_t random;
	unsigned int waits, rides, times_over; /* how much of it there was */
};

static uint64_t random_below(struct party *p, uint64_t n)
{
	p->random ^= p->random << 13;
	p->random ^= p->random >> 17;
	p->random ^= p->random << 5;
	return p->random % n;
}

static struct guest *guest(struct party *p, uint64_t key)
{
	for (unsigned int i = 0; i < p->count; i++)
		if (p->guests[i].key == key)
			return &p->guests[i];
	fail();
	return NULL;
}

static void arrive(struct party *p)
{
	struct guest *g = &p->guests[p->count];

	if (p->count == 12)
		return;
	*g = (struct guest){ .key = p->next_key++, .footprint = random_below(p, 60000) };
	if (random_below(p, 20) == 0)
		g->footprint = 100000;
	assert_int_equal(turns_add(&p->t, g->key, random_below(p, 1000)), 0);
	p->count++;
}

static void leave(struct party *p)
{
	unsigned int i;

	if (!p->count)
		return;
	i = (unsigned int)random_below(p, p->count);
	assert_true(turns_remove(&p->t, p->guests[i].key));
	p->guests[i] = p->guests[--p->count];
}

static void live(struct party *p, struct guest *g, uint64_t ns)
{
	if (random_below(p, 200) == 0)
		g->reads = !g->reads;
	if (random_below(p, 200) == 0)
		g->sleeps = !g->sleeps;
	if (random_below(p, 500) == 0)
		g->footprint = random_below(p, 60000);
	g->resident = random_below(p, g->footprint + 1000);
	if (g->waits || g->sleeps)
		return;
	g->swapin += g->reads ? random_below(p, 8000) * (ns / MS) / 1000 : random_below(p, 3);
	g->cpu_usec += random_below(p, ns / 1000 + 1);
}

/* A turn ends at its time, or as late as the look at it is. */
static void pass_time(struct party *p)
{
	uint64_t next = turns_next_ns(&p->t), then = p->now;

	if (next == UINT64_MAX)
		next = p->now + S;
	p->now = next > p->now ? next : p->now;
	if (random_below(p, 10) == 0) {
		uint64_t late = random_below(p, 300) * MS;

		p->now += late;
		p->late_ns += late;
	}
	for (unsigned int i = 0; i < p->count; i++)
		live(p, &p->guests[i], p->now - then);
}

static void look(struct party *p)
{
	p->capacity = random_below(p, 100) ? 50000 + random_below(p, 3000) : 0;
	for (unsigned int i = 0; i < p->count; i++) {
		const struct guest *g = &p->guests[i];

		assert_true(turns_see(&p->t, g->key, g->footprint, g->resident, g->swapin,
				      g->cpu_usec, p->now));
	}
	turns_step(&p->t, p->now, p->capacity);
}

static void check_who_runs(struct party *p)
{
	uint64_t taken = 0;
	unsigned int running = 0;

	assert_int_equal(p->t.count, p->count);
	for (unsigned int i = 0; i < p->t.count; i++) {
		const struct turns_member *m = &p->t.members[i];

		if (turns_over(&p->t))
			assert_true(m->runs);
		if (!m->runs)
			continue;
		running++;
		taken += turns_working_set(m);
	}
	if (turns_over(&p->t)) {
		assert_null(turns_runner(&p->t));
		return;
	}
	assert_true(p->t.count >= 2);
	assert_ptr_equal(turns_runner(&p->t), &p->t.members[0]);
	assert_true(p->t.members[0].runs);
	assert_true(running == 1 || taken <= p->capacity);
	assert_true(turns_until_ns(&p->t) > p->now);
	assert_true(turns_next_ns(&p->t) > p->now);
	assert_true(turns_next_ns(&p->t) <= turns_until_ns(&p->t));
	p->rides += running > 1;
}

/* Nobody overtakes one that waits, and no wait is longer than (others x the turns there were). */
static void check_waits(struct party *p)
{
	for (unsigned int i = 0; i < p->t.count; i++) {
		const struct turns_member *m = &p->t.members[i];
		struct guest *g = guest(p, m->key);

		if (!m->runs && !g->waits) {
			p->waits++;
			g->began_ns = p->now;
			g->others = p->t.count - 1;
			g->longest_turn_ns = 0;
			g->late_ns = p->late_ns;
			assert_true(m->since_ns == p->now);
		} else if (!m->runs) {
			assert_true(i <= g->place);
		}
		g->waits = !m->runs;
		g->place = i;
		if (p->t.turn_ns > g->longest_turn_ns)
			g->longest_turn_ns = p->t.turn_ns;
		if (!g->waits)
			continue;
		assert_true(g->longest_turn_ns <= 60 * S);
		assert_true(p->now - g->began_ns <
			    g->others * g->longest_turn_ns + p->late_ns - g->late_ns);
		assert_true(turns_runs_by_ns(&p->t, m) - p->now <= turns_longest_wait_ns(&p->t));
	}
}

static void nobody_waits_for_longer_than_the_turns_of_the_others(void **state)
{
	const uint32_t seeds[] = { 1, 2, 3, 4, 5, 42, 1973, 65537, 20260101, 0xdeadbeef };

	(void)state;
	for (size_t i = 0; i < sizeof(seeds) / sizeof(*seeds); i++) {
		struct party p = { .random = seeds[i], .now = 1000 * S };

		turns_init(&p.t, (1 + random_below(&p, 8)) * S);
		for (int step = 0; step < STEPS; step++) {
			bool was_over = turns_over(&p.t);

			if (random_below(&p, 150) == 0)
				arrive(&p);
			if (random_below(&p, 140) == 0)
				leave(&p);
			if (random_below(&p, 100) == 0)
				turns_thrashes_again(&p.t, p.now);
			look(&p);
			check_who_runs(&p);
			check_waits(&p);
			p.times_over += !was_over && turns_over(&p.t);
			pass_time(&p);
		}
		/* It was not for nothing. */
		assert_true(p.waits > 100);
		assert_true(p.rides > 100);
		assert_true(p.times_over > 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_waits_for_longer_than_the_turns_of_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
