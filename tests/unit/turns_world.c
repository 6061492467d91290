// SPDX-License-Identifier: GPL-2.0-or-later
#include "turns_world.h"

#include <string.h>

#include "lib/clock.h"

#define TICK_NS	   (10 * NSEC_PER_MSEC)
/* From when on less than this share is missing, fewer touches than the disk could serve miss. */
#define TAIL_SHARE 0.03

void world_init(struct world *w, uint64_t capacity_mib, double refill_s, uint64_t slice_ns)
{
	memset(w, 0, sizeof(*w));
	w->now_ns = 1000 * NSEC_PER_SEC;
	w->capacity = (double)MIB_PAGES(capacity_mib);
	w->pages_per_s = (double)MIB_PAGES(150) / refill_s;
	turns_init(&w->turns, slice_ns);
}

static double resident(const struct world_member *m)
{
	return m->needed_in + m->stale_in;
}

static double all_resident(const struct world *w)
{
	double sum = 0;

	for (unsigned int i = 0; i < w->count; i++)
		sum += resident(&w->members[i]);
	return sum;
}

static double take(double *from, double pages)
{
	if (pages > *from)
		pages = *from;
	*from -= pages;
	return pages;
}

/* Whose needed pages were used longest ago; among those that run, who has most. */
static struct world_member *victim(struct world *w)
{
	struct world_member *v = NULL;

	for (unsigned int i = 0; i < w->count; i++) {
		struct world_member *m = &w->members[i];

		if (m->needed_in <= 0)
			continue;
		if (!v || (!m->runs && v->runs) ||
		    (!m->runs && !v->runs && m->since_ns < v->since_ns) ||
		    (m->runs && v->runs && m->needed_in > v->needed_in))
			v = m;
	}
	return v;
}

static void make_room(struct world *w, double pages)
{
	double excess = all_resident(w) + pages - w->capacity;

	for (unsigned int i = 0; i < w->count && excess > 0; i++)
		excess -= take(&w->members[i].stale_in, excess);
	while (excess > 0.5) {
		struct world_member *v = victim(w);

		if (!v)
			return;
		/* Little by little, so that those that run lose alike. */
		excess -= take(&v->needed_in, excess < 64 ? excess : 64);
	}
}

static double missing_share(const struct world_member *m)
{
	return m->needed > 0 ? 1 - m->needed_in / m->needed : 0;
}

static double fault_share(const struct world_member *m)
{
	double share = missing_share(m) / TAIL_SHARE;

	return share < 1 ? share : 1;
}

static void tick_member(struct world *w, struct world_member *m, unsigned int readers)
{
	double seconds = (double)TICK_NS / (double)NSEC_PER_SEC, share = fault_share(m), pages;

	pages = w->pages_per_s / readers * seconds * share;
	make_room(w, pages);
	m->needed_in += pages;
	if (m->needed_in > m->needed)
		m->needed_in = m->needed;
	m->swapin += pages;
	m->useful_ns += (1 - share) * (double)TICK_NS;
	m->cpu_ns += (1 - share * 0.95) * (double)TICK_NS;
}

static void tick(struct world *w)
{
	unsigned int readers = 0;

	w->now_ns += TICK_NS;
	for (unsigned int i = 0; i < w->count; i++)
		readers += w->members[i].runs && missing_share(&w->members[i]) > 0.001;
	for (unsigned int i = 0; i < w->count; i++)
		if (w->members[i].runs && !w->members[i].sleeps)
			tick_member(w, &w->members[i], readers ? readers : 1);
}

struct world_member *world_find(struct world *w, uint64_t key)
{
	for (unsigned int i = 0; i < w->count; i++)
		if (w->members[i].key == key)
			return &w->members[i];
	return NULL;
}

struct world_member *world_add(struct world *w, uint64_t key, uint64_t needed_mib,
			       uint64_t stale_mib)
{
	struct world_member *m = &w->members[w->count++];

	*m = (struct world_member){ .key = key,
				    .needed = (double)MIB_PAGES(needed_mib),
				    .stale = (double)MIB_PAGES(stale_mib),
				    .runs = true,
				    .since_ns = w->now_ns };
	/* It has just written all of them. */
	make_room(w, m->stale);
	m->stale_in = m->stale < w->capacity ? m->stale : w->capacity;
	make_room(w, m->needed);
	m->needed_in = m->needed < w->capacity ? m->needed : w->capacity;
	if (!w->without_turns)
		turns_add(&w->turns, key, w->now_ns + w->count);
	return m;
}

void world_end(struct world *w, uint64_t key)
{
	struct world_member *m = world_find(w, key);

	turns_remove(&w->turns, key);
	w->count--;
	memmove(m, m + 1, (size_t)(&w->members[w->count] - m) * sizeof(*m));
}

bool world_thrashes(const struct world *w)
{
	for (unsigned int i = 0; i < w->count; i++)
		if (w->members[i].runs && !w->members[i].sleeps &&
		    missing_share(&w->members[i]) > TAIL_SHARE)
			return true;
	return false;
}

double world_useful_ns(const struct world *w)
{
	double sum = 0;

	for (unsigned int i = 0; i < w->count; i++)
		sum += w->members[i].useful_ns;
	return sum;
}

static void change(struct world *w, struct world_member *m, bool runs)
{
	if (m->runs == runs)
		return;
	if (runs && w->now_ns - m->since_ns > m->longest_wait_ns)
		m->longest_wait_ns = w->now_ns - m->since_ns;
	m->waits += !runs;
	m->runs = runs;
	m->since_ns = w->now_ns;
}

static void look(struct world *w)
{
	bool was_over = turns_over(&w->turns);

	for (unsigned int i = 0; i < w->count; i++) {
		const struct world_member *m = &w->members[i];

		turns_see(&w->turns, m->key, (uint64_t)(m->needed + m->stale),
			  (uint64_t)resident(m), (uint64_t)m->swapin,
			  (uint64_t)m->cpu_ns / NSEC_PER_USEC + 1, w->now_ns);
	}
	turns_step(&w->turns, w->now_ns, (uint64_t)w->capacity);
	for (unsigned int i = 0; i < w->count; i++)
		change(w, &w->members[i], turns_find(&w->turns, w->members[i].key)->runs);
	if (turns_runner(&w->turns) && w->turns.turn_ns > w->longest_turn_ns)
		w->longest_turn_ns = w->turns.turn_ns;
	w->times_over += !was_over && turns_over(&w->turns);
}

void world_run(struct world *w, uint64_t duration_ns)
{
	for (uint64_t until_ns = w->now_ns + duration_ns; w->now_ns < until_ns;) {
		if (!w->without_turns && w->now_ns >= turns_next_ns(&w->turns))
			look(w);
		tick(w);
	}
}
