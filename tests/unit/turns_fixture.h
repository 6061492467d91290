/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A rotation of which a test says what is seen of each member. Pages are MiB, for short. */
#ifndef CULPRIT_TESTS_TURNS_FIXTURE_H
#define CULPRIT_TESTS_TURNS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "decide/turns.h"
#include "lib/clock.h"

#define S     NSEC_PER_SEC
#define MS    NSEC_PER_MSEC
#define CAP   200
#define SLICE (5 * S)

/* What the next look will see of each; the key is the place. */
struct seen {
	uint64_t footprint, resident, swapin, cpu_usec;
	uint64_t pages_per_s; /* it swaps in, while it runs */
};

struct fixture {
	struct turns t;
	struct seen seen[TURNS_MAX];
	uint64_t now, capacity;
};

static inline void begin(struct fixture *f)
{
	*f = (struct fixture){ .now = 100 * S, .capacity = CAP };
	turns_init(&f->t, SLICE);
}

/* The larger the key, the newer. */
static inline void add(struct fixture *f, uint64_t key, uint64_t footprint)
{
	f->seen[key] = (struct seen){ .footprint = footprint, .resident = footprint };
	assert_int_equal(turns_add(&f->t, key, key), 0);
}

static inline void see(struct fixture *f, uint64_t key)
{
	const struct seen *s = &f->seen[key];

	assert_true(
		turns_see(&f->t, key, s->footprint, s->resident, s->swapin, s->cpu_usec, f->now));
}

static inline bool look(struct fixture *f)
{
	for (unsigned int i = 0; i < f->t.count; i++)
		see(f, f->t.members[i].key);
	return turns_step(&f->t, f->now, f->capacity);
}

static inline bool runs(const struct fixture *f, uint64_t key)
{
	return turns_find(&f->t, key)->runs;
}

static inline uint64_t runner(const struct fixture *f)
{
	const struct turns_member *m = turns_runner(&f->t);

	return m ? m->key : 0;
}

/* Looks as often as it is asked to. */
static inline void run_for(struct fixture *f, uint64_t ns)
{
	for (uint64_t until = f->now + ns; f->now < until;) {
		uint64_t next = turns_next_ns(&f->t), then = f->now;

		f->now = next < until ? next : until;
		for (unsigned int i = 0; i < f->t.count; i++) {
			struct seen *s = &f->seen[f->t.members[i].key];

			if (f->t.members[i].runs)
				s->swapin += s->pages_per_s * ((f->now - then) / MS) / 1000;
		}
		look(f);
	}
}

/* To the first look of the next turn. */
static inline void next_turn(struct fixture *f)
{
	uint64_t turns = f->t.turns;

	while (f->t.turns == turns && !turns_over(&f->t))
		run_for(f, 50 * MS);
}

static inline uint64_t working_set(const struct fixture *f, uint64_t key)
{
	return turns_working_set(turns_find(&f->t, key));
}

#endif
