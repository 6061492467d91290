// SPDX-License-Identifier: GPL-2.0-or-later
#include "decide/turns.h"

#include <errno.h>
#include <string.h>

#include "lib/clock.h"

/* How often to look: the end of a refill is to be known to a small part of a turn. */
#define LOOK_NS		  (200 * NSEC_PER_MSEC)
/* Memory counters lag by a batch. */
#define NOISE_PAGES	  64
/* In a refill next to nothing gets done. At 1/16 it costs 6 % of the time, which leaves room for
 * the other costs of a turn below the 10 % that all of it may cost; a longer turn gains little. */
#define TURN_PER_REFILL	  16
/* Nobody shall be away for so long that peers and watchdogs give up, which many do after a minute
 * or two; and who asks for short turns shall not get long ones. */
#define LONGEST_PER_SLICE 12
#define LONGEST_NS	  (60 * NSEC_PER_SEC)
/* How long footprints count after estimates were refuted: four times as long each time. */
#define DOUBT_NS	  (60 * NSEC_PER_SEC)
#define LONGEST_DOUBT_NS  (3600 * NSEC_PER_SEC)

static uint64_t rise(uint64_t from, uint64_t to)
{
	return to > from ? to - from : 0;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t add(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static uint64_t multiply(uint64_t a, uint64_t b)
{
	uint64_t product;

	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

/* --- who there is ------------------------------------------------------------------------------
 */

void turns_init(struct turns *t, uint64_t slice_ns)
{
	memset(t, 0, sizeof(*t));
	t->slice_ns = slice_ns;
}

static struct turns_member *find(struct turns *t, uint64_t key)
{
	for (unsigned int i = 0; i < t->count; i++)
		if (t->members[i].key == key)
			return &t->members[i];
	return NULL;
}

const struct turns_member *turns_find(const struct turns *t, uint64_t key)
{
	return find((struct turns *)t, key);
}

int turns_add(struct turns *t, uint64_t key, uint64_t start_time_ns)
{
	if (find(t, key))
		return -EEXIST;
	if (t->count == TURNS_MAX)
		return -ENOSPC;
	t->members[t->count++] =
		(struct turns_member){ .key = key, .start_time_ns = start_time_ns };
	t->is_over = false;
	t->is_due = true;
	return 0;
}

bool turns_remove(struct turns *t, uint64_t key)
{
	struct turns_member *m = find(t, key);

	if (!m)
		return false;
	if (m == t->members)
		t->is_turn = false;
	t->count--;
	memmove(m, m + 1, (size_t)(&t->members[t->count] - m) * sizeof(*m));
	t->is_due = true;
	return true;
}

/* --- what is known of them ---------------------------------------------------------------------
 */

/* What was added to the footprint since it was measured is needed until it is known better. */
uint64_t turns_working_set(const struct turns_member *m)
{
	if (!m->is_seen)
		return UINT64_MAX;
	if (!m->is_measured)
		return m->footprint_pages;
	return min_u64(m->footprint_pages,
		       add(m->measured_pages, rise(m->measured_at_pages, m->footprint_pages)));
}

static void measure(struct turns_member *m)
{
	m->is_measured = true;
	m->measured_pages = m->resident_pages;
	m->measured_at_pages = m->footprint_pages;
}

bool turns_see(struct turns *t, uint64_t key, uint64_t footprint_pages, uint64_t resident_pages,
	       uint64_t swapin_pages, uint64_t cpu_usec, uint64_t now_ns)
{
	struct turns_member *m = find(t, key);

	if (!m)
		return false;
	now_ns = max_u64(now_ns, t->now_ns);
	/* What it did before it was first seen is not of this turn. */
	if (!m->is_seen && m->runs)
		turns_track_begin(&m->track, swapin_pages, cpu_usec, now_ns);
	m->is_seen = true;
	m->footprint_pages = footprint_pages;
	m->resident_pages = resident_pages;
	m->swapin_pages = swapin_pages;
	m->cpu_usec = cpu_usec;
	if (!m->runs)
		return true;
	if (m->is_measured && m->resident_pages > turns_working_set(m))
		measure(m);
	turns_track_see(&m->track, swapin_pages, cpu_usec, now_ns);
	return true;
}

/* --- whether it is over ------------------------------------------------------------------------
 */

/* Who is let in needs more room than who stays, so that it is not decided anew at every look. */
static uint64_t with_margin(uint64_t capacity_pages)
{
	return capacity_pages - capacity_pages / 32;
}

static bool is_doubted(const struct turns *t)
{
	return t->now_ns < t->doubted_until_ns;
}

static uint64_t capacity(const struct turns *t)
{
	if (t->refuted_pages && is_doubted(t))
		return min_u64(t->capacity_pages, with_margin(t->refuted_pages));
	return t->capacity_pages;
}

static uint64_t sum_working_sets(const struct turns *t)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < t->count; i++)
		sum = add(sum, turns_working_set(&t->members[i]));
	return sum;
}

static bool all_read_nothing(const struct turns *t)
{
	for (unsigned int i = 0; i < t->count; i++)
		if (!t->members[i].read_nothing)
			return false;
	return true;
}

static bool needs_no_turns(const struct turns *t)
{
	return t->count < 2 || sum_working_sets(t) <= with_margin(capacity(t)) ||
	       all_read_nothing(t);
}

static void forget_measures(struct turns *t)
{
	for (unsigned int i = 0; i < t->count; i++) {
		struct turns_member *m = &t->members[i];

		m->is_measured = m->read_nothing = m->has_ended = false;
	}
}

/*
 * Only estimates that still say that all fit are refuted; else somebody has grown, and nothing was
 * wrong. When even the footprints fit, it is the capacity that is less than it seems.
 */
void turns_thrashes_again(struct turns *t, uint64_t now_ns)
{
	uint64_t doubt_ns = DOUBT_NS;

	if (!t->is_over || t->count < 2)
		return;
	t->now_ns = max_u64(t->now_ns, now_ns);
	t->is_over = false;
	t->is_due = true;
	if (!needs_no_turns(t))
		return;
	for (unsigned int i = 0; i < t->doubts && doubt_ns < LONGEST_DOUBT_NS; i++)
		doubt_ns *= 4;
	t->doubts++;
	forget_measures(t);
	t->refuted_pages = 0;
	t->doubted_until_ns = add(t->now_ns, min_u64(doubt_ns, LONGEST_DOUBT_NS));
	if (needs_no_turns(t))
		t->refuted_pages = sum_working_sets(t);
}

/* --- a turn ------------------------------------------------------------------------------------
 */

static void swap_members(struct turns_member *a, struct turns_member *b)
{
	struct turns_member old = *a;

	*a = *b;
	*b = old;
}

/* The oldest first; who came first among the same age. */
static void sort_by_age(struct turns *t)
{
	for (unsigned int i = 1; i < t->count; i++)
		for (unsigned int k = i;
		     k > 0 && t->members[k].start_time_ns < t->members[k - 1].start_time_ns; k--)
			swap_members(&t->members[k], &t->members[k - 1]);
}

/* Who had this turn goes behind those who had not; whose turn it was, last of all. */
static void move_on(struct turns *t)
{
	struct turns_member old[TURNS_MAX];
	unsigned int n = 0;

	memcpy(old, t->members, t->count * sizeof(*old));
	for (unsigned int i = 0; i < t->count; i++)
		if (!old[i].has_ridden)
			t->members[n++] = old[i];
	for (unsigned int i = t->is_turn; i < t->count; i++)
		if (old[i].has_ridden)
			t->members[n++] = old[i];
	if (t->is_turn)
		t->members[n] = old[0];
}

static void learn_refill(struct turns_member *m)
{
	uint64_t refill_ns = m->track.refill_ns;

	if (refill_ns >= m->refill_ns)
		m->refill_ns = refill_ns;
	else
		m->refill_ns -= (m->refill_ns - refill_ns) / 4;
}

/*
 * One that sleeps keeps what others leave it, which tells nothing of what it needs. One that still
 * reads in has not got all it needs; if it had long enough, it needs more than was thought.
 */
static void learn_working_set(const struct turns *t, struct turns_member *m)
{
	const struct turns_track *k = &m->track;

	if (!m->has_ridden || !m->is_seen)
		return;
	if (!k->is_settled || !k->is_quiet) {
		m->read_nothing = false;
		if (rise(k->began_ns, t->now_ns) >= t->slice_ns)
			m->is_measured = false;
	} else if (!is_doubted(t)) {
		if (!k->is_idle)
			measure(m);
		m->read_nothing =
			m->has_ended && rise(m->ended_swapin_pages, m->swapin_pages) <= NOISE_PAGES;
	}
	m->has_ended = true;
	m->ended_swapin_pages = m->swapin_pages;
}

static void end_turn(struct turns *t)
{
	if (t->is_turn)
		learn_refill(&t->members[0]);
	for (unsigned int i = 0; i < t->count; i++)
		learn_working_set(t, &t->members[i]);
	move_on(t);
	t->is_turn = false;
}

static void begin_turn(struct turns *t)
{
	if (!t->has_begun)
		sort_by_age(t);
	t->has_begun = t->is_turn = true;
	t->turn_began_ns = t->now_ns;
	t->turns++;
	for (unsigned int i = 0; i < t->count; i++)
		t->members[i].has_ridden = t->members[i].was_sent_off = false;
}

static uint64_t turn_length(const struct turns *t)
{
	uint64_t refill_ns = t->is_turn ? t->members[0].track.refill_ns : 0;
	uint64_t longest_ns = min_u64(multiply(t->slice_ns, LONGEST_PER_SLICE), LONGEST_NS);

	for (unsigned int i = 0; i < t->count; i++)
		refill_ns = max_u64(refill_ns, t->members[i].refill_ns);
	return max_u64(t->slice_ns, min_u64(multiply(refill_ns, TURN_PER_REFILL), longest_ns));
}

static bool somebody_waits(const struct turns *t)
{
	for (unsigned int i = 0; i < t->count; i++)
		if (!t->members[i].runs)
			return true;
	return false;
}

static bool is_at_its_end(const struct turns *t)
{
	return rise(t->turn_began_ns, t->now_ns) >= t->turn_ns ||
	       (t->members[0].track.is_idle && somebody_waits(t));
}

/* --- who runs ----------------------------------------------------------------------------------
 */

static bool fits(const struct turns *t, uint64_t taken_pages, const struct turns_member *m)
{
	uint64_t room = m->runs ? capacity(t) : with_margin(capacity(t));

	return !m->was_sent_off && add(taken_pages, turns_working_set(m)) <= room;
}

/*
 * The small ones: as many of the smallest as fit together beside the largest. Who is larger than
 * the capacity runs alone, and is not one to fit beside.
 */
static void find_small(const struct turns *t, bool small[TURNS_MAX])
{
	unsigned int sorted[TURNS_MAX], n = 0;
	uint64_t taken;

	for (unsigned int i = 0; i < t->count; i++) {
		uint64_t pages = turns_working_set(&t->members[i]);
		unsigned int k = n;

		if (pages > capacity(t))
			continue;
		for (; k > 0 && pages < turns_working_set(&t->members[sorted[k - 1]]); k--)
			sorted[k] = sorted[k - 1];
		sorted[k] = i;
		n++;
	}
	if (n == 0)
		return;
	taken = turns_working_set(&t->members[sorted[n - 1]]);
	for (unsigned int i = 0; i + 1 < n && fits(t, taken, &t->members[sorted[i]]); i++) {
		small[sorted[i]] = true;
		taken = add(taken, turns_working_set(&t->members[sorted[i]]));
	}
}

static void choose(const struct turns *t, bool chosen[TURNS_MAX])
{
	bool small[TURNS_MAX] = { false };
	uint64_t taken = turns_working_set(&t->members[0]);

	find_small(t, small);
	chosen[0] = true;
	for (int pass = 0; pass < 2; pass++)
		for (unsigned int i = 1; i < t->count; i++) {
			const struct turns_member *m = &t->members[i];

			if (small[i] != (pass == 0) || !fits(t, taken, m))
				continue;
			chosen[i] = true;
			taken = add(taken, turns_working_set(m));
		}
}

static bool apply(struct turns *t, const bool chosen[TURNS_MAX], bool is_new_turn)
{
	bool changed = false;

	for (unsigned int i = 0; i < t->count; i++) {
		struct turns_member *m = &t->members[i];

		if (m->runs != chosen[i] || !m->has_joined) {
			changed = true;
			m->since_ns = t->now_ns;
			m->was_sent_off = m->runs && !is_new_turn;
		}
		if (chosen[i] && is_new_turn)
			turns_track_begin(&m->track, m->swapin_pages, m->cpu_usec, t->now_ns);
		m->has_ridden = chosen[i] && (is_new_turn || m->has_ridden);
		m->runs = chosen[i];
		m->has_joined = true;
	}
	return changed;
}

bool turns_step(struct turns *t, uint64_t now_ns, uint64_t capacity_pages)
{
	bool chosen[TURNS_MAX] = { false }, is_new_turn = false, changed;

	t->now_ns = max_u64(t->now_ns, now_ns);
	t->capacity_pages = capacity_pages;
	t->is_due = false;
	t->turn_ns = turn_length(t);
	if (t->has_begun && !t->is_over && (!t->is_turn || is_at_its_end(t)))
		end_turn(t);
	if (t->is_over || needs_no_turns(t)) {
		t->is_over = true;
		t->has_begun = t->is_turn = false;
		memset(chosen, true, sizeof(chosen));
	} else {
		is_new_turn = !t->is_turn;
		if (is_new_turn)
			begin_turn(t);
		choose(t, chosen);
	}
	changed = apply(t, chosen, is_new_turn);
	t->turn_ns = turn_length(t);
	return changed;
}

/* --- what is told ------------------------------------------------------------------------------
 */

bool turns_over(const struct turns *t)
{
	return t->is_over;
}

const struct turns_member *turns_runner(const struct turns *t)
{
	return t->is_turn ? &t->members[0] : NULL;
}

const struct turns_member *turns_next_in_line(const struct turns *t)
{
	if (t->is_over)
		return NULL;
	for (unsigned int i = t->is_turn; i < t->count; i++)
		if (!t->members[i].has_ridden)
			return &t->members[i];
	/* All run: whose turn it was longest ago. */
	return t->count > 1 ? &t->members[1] : NULL;
}

uint64_t turns_until_ns(const struct turns *t)
{
	return t->is_turn ? add(t->turn_began_ns, t->turn_ns) : 0;
}

uint64_t turns_next_ns(const struct turns *t)
{
	if (t->is_due)
		return t->now_ns;
	if (t->is_over || t->count == 0)
		return UINT64_MAX;
	return min_u64(turns_until_ns(t), add(t->now_ns, LOOK_NS));
}

uint64_t turns_longest_wait_ns(const struct turns *t)
{
	return multiply(t->count ? t->count - 1 : 0, t->turn_ns);
}

uint64_t turns_runs_by_ns(const struct turns *t, const struct turns_member *m)
{
	uint64_t by_ns = t->is_turn ? turns_until_ns(t) : t->now_ns;

	if (m->runs)
		return m->since_ns;
	for (const struct turns_member *o = t->members + t->is_turn; o < m; o++)
		if (!o->has_ridden)
			by_ns = add(by_ns, t->turn_ns);
	return by_ns;
}
