// SPDX-License-Identifier: GPL-2.0-or-later
#include "decide/offender.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A growth, or a churn, that makes this part of the whole explains it. */
#define MATERIAL_PART 0.25
/* Growth is exact, churn over a tenth of a second is not: a victim swaps in three times what a
 * grower does, two equal thrashers differ by less than two. */
#define NEAR_GROWTH   0.75
#define NEAR_CHURN    0.5
/* From this part on a process stands for its cgroup. */
#define DOMINANT_PART 0.5
/* A process that grew by less than a mebibyte did not. */
#define NOISE_GROWTH  256
#define NOISE_CHURN   16
/* So many refused in a row: whoever comes after them explains nothing. */
#define TRIES_MAX     64
/* Parents above parents; a longer chain is a loop of recycled pids. */
#define ANCESTORS_MAX 64

/* What the processes of a cgroup do of one measure, and the largest of them. */
struct offender_share {
	uint64_t top;
	uint64_t staying, top_staying; /* without who has ended or gives its memory back */
};

/* A process, or a cgroup with all its processes (process NULL). */
struct offender_entry {
	struct offender_candidate c;
	uint64_t start_time_ns; /* of a cgroup: of its newest process */
	size_t group;		/* the entry of its cgroup; a cgroup's is itself */
	bool dead;   /* ended between the looks: counts for its cgroup, cannot be chosen */
	bool ranked; /* has had its turn, or gets none */
	/* Its own memory at the two looks; shared memory that others push out it has not given
	 * back. */
	uint64_t had_pages, has_pages;
	/* Cgroups only: */
	struct offender_share growth, churn;
	size_t members, living, born; /* born: since the first of the two looks */
};

struct choosing {
	const struct offender_looks *looks;
	const struct offender_rules *rules;
	struct offender_choice *choice;
	struct offender_entry *entries;
	size_t count;
	uint32_t *table; /* cgroup id → its entry's index + 1, open addressing; 0: free */
	size_t table_mask;
	unsigned int tries;
};

static uint64_t own_pages(const struct culprit_process *process)
{
	return process ? process->anon_pages + process->swap_pages : 0;
}

uint64_t offender_footprint(const struct culprit_process *process)
{
	return process->anon_pages + process->swap_pages + process->shmem_pages;
}

/* --- the numbers -------------------------------------------------------------------------------
 */

static const struct culprit_process *find_pid(const struct thrash_sample *now, uint32_t tgid)
{
	size_t low = 0, high = now->n_processes;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (now->processes[middle].tgid == tgid)
			return &now->processes[middle];
		if (now->processes[middle].tgid < tgid)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* What a process had from its parent before it did anything. A fork shares all pages and they count
 * for both; who has executed another program since usually has another name. */
static uint64_t inherited(const struct offender_looks *looks, const struct culprit_process *p)
{
	const struct culprit_process *parent = find_pid(looks->now, p->ppid);

	if (!parent || parent->start_time_ns > p->start_time_ns ||
	    memcmp(parent->comm, p->comm, sizeof(p->comm)) != 0)
		return 0;
	return offender_footprint(parent);
}

static uint64_t growth_of(const struct offender_looks *looks, const struct culprit_process *p)
{
	const struct culprit_process *then;
	uint64_t had;

	if (!looks->calm)
		return 0;
	then = thrash_find(looks->calm, p->tgid, p->start_time_ns);
	had = then ? offender_footprint(then) : inherited(looks, p);
	return offender_footprint(p) > had ? offender_footprint(p) - had : 0;
}

static void add_living(struct choosing *ch)
{
	const struct thrash_sample *now = ch->looks->now, *before = ch->looks->before;

	for (size_t i = 0; i < now->n_processes; i++) {
		const struct culprit_process *p = &now->processes[i];
		const struct thrash_swapin *s = thrash_find_swapin(now, p->tgid, p->start_time_ns);
		const struct culprit_process *then = thrash_find(before, p->tgid, p->start_time_ns);
		struct offender_entry *e = &ch->entries[ch->count];

		if (p->flags & (CULPRIT_PROCESS_KERNEL | CULPRIT_PROCESS_EXITING))
			continue;
		*e = (struct offender_entry){ .c = { .process = p, .cgroup = p->cgroup },
					      .start_time_ns = p->start_time_ns };
		e->c.footprint_pages = offender_footprint(p);
		e->c.growth_pages = growth_of(ch->looks, p);
		e->c.swapin_pages = s ? thrash_swapin_delta(before, s) : 0;
		e->c.churn_pages = thrash_churn(then, p, e->c.swapin_pages);
		e->had_pages = own_pages(then);
		e->has_pages = own_pages(p);
		e->born = !then;
		ch->count++;
	}
}

/* Short-lived workers are gone at the second look, but what they swapped in was swapped in. */
static void add_dead(struct choosing *ch)
{
	const struct thrash_sample *now = ch->looks->now, *before = ch->looks->before;
	struct thrash_heirs heirs = { 0 };

	for (size_t i = 0; i < now->n_swapins; i++) {
		const struct thrash_swapin *s = &now->swapins[i];
		struct offender_entry *e = &ch->entries[ch->count];
		uint64_t delta = thrash_swapin_delta(before, s);

		if (!delta || thrash_find(now, s->tgid, s->start_time_ns))
			continue;
		*e = (struct offender_entry){ .c = { .cgroup = s->cgroup, .swapin_pages = delta },
					      .dead = true };
		e->c.churn_pages = thrash_churn_of(before, now, s, &heirs);
		ch->count++;
	}
}

static uint64_t max_pages(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* The cgroup's place in the table, or a free one. Not sorted by qsort(3), which allocates. */
static size_t slot_of(const struct choosing *ch, uint64_t cgroup)
{
	/* Fibonacci hashing: cgroup ids are small and dense. */
	size_t slot = (size_t)(cgroup * 0x9e3779b97f4a7c15ULL >> 32) & ch->table_mask;

	while (ch->table[slot] && ch->entries[ch->table[slot] - 1].c.cgroup != cgroup)
		slot = (slot + 1) & ch->table_mask;
	return slot;
}

/* The entry of the cgroup, made behind the others if it has none yet. */
static size_t group_of(struct choosing *ch, uint64_t cgroup)
{
	size_t slot = slot_of(ch, cgroup);
	struct offender_entry *group;

	if (ch->table[slot])
		return ch->table[slot] - 1;
	group = &ch->entries[ch->count];
	*group = (struct offender_entry){ .c.cgroup = cgroup, .group = ch->count };
	ch->table[slot] = (uint32_t)++ch->count;
	return ch->count - 1;
}

/*
 * Does it give its memory back: unmaps it, or ends? Freezing it would keep what everybody waits
 * for. Who has grown and shrinks now has done its harm already; who churns may free a little with
 * each round. A cgroup in which new processes begin does not end, whatever the old ones do.
 */
static bool gives_back(const struct offender_entry *e, enum offender_measure measure)
{
	uint64_t fall = e->had_pages > e->has_pages ? e->had_pages - e->has_pages : 0;

	if (fall < NOISE_GROWTH || (!e->c.process && e->born))
		return false;
	return (e->c.process && measure == OFFENDER_BY_GROWTH) ||
	       (double)fall >= MATERIAL_PART * (double)e->had_pages;
}

static uint64_t part_of(const struct offender_entry *e, enum offender_measure measure)
{
	return measure == OFFENDER_BY_GROWTH ? e->c.growth_pages : e->c.churn_pages;
}

static const struct offender_share *share_of(const struct offender_entry *group,
					     enum offender_measure measure)
{
	return measure == OFFENDER_BY_GROWTH ? &group->growth : &group->churn;
}

static void add_share(struct offender_share *share, const struct offender_entry *e,
		      enum offender_measure measure)
{
	uint64_t part = part_of(e, measure);

	share->top = max_pages(share->top, part);
	if (e->dead || gives_back(e, measure))
		return;
	share->staying += part;
	share->top_staying = max_pages(share->top_staying, part);
}

/* All that were there at the first look, also those that are not there any more. */
static void add_had(struct choosing *ch)
{
	const struct thrash_sample *before = ch->looks->before;

	for (size_t i = 0; i < before->n_processes; i++) {
		const struct culprit_process *p = &before->processes[i];
		size_t slot = slot_of(ch, p->cgroup);

		if (ch->table[slot])
			ch->entries[ch->table[slot] - 1].had_pages += own_pages(p);
	}
}

/* Adds the processes up by cgroup. */
static void add_groups(struct choosing *ch)
{
	size_t processes = ch->count;

	memset(ch->table, 0, (ch->table_mask + 1) * sizeof(*ch->table));
	for (size_t i = 0; i < processes; i++) {
		struct offender_entry *e = &ch->entries[i], *group;

		e->group = group_of(ch, e->c.cgroup);
		group = &ch->entries[e->group];
		group->members++;
		group->living += !e->dead;
		group->c.footprint_pages += e->c.footprint_pages;
		group->c.growth_pages += e->c.growth_pages;
		group->c.swapin_pages += e->c.swapin_pages;
		group->c.churn_pages += e->c.churn_pages;
		group->has_pages += e->has_pages;
		group->born += e->born;
		add_share(&group->growth, e, OFFENDER_BY_GROWTH);
		add_share(&group->churn, e, OFFENDER_BY_CHURN);
		group->start_time_ns = max_pages(group->start_time_ns, e->start_time_ns);
	}
	add_had(ch);
}

/* Pages that went out since the calm look and are out still; at least what is fought over now. */
static uint64_t shortage(const struct offender_looks *looks, uint64_t churn_pages)
{
	uint64_t sum = looks->shortage_pages;

	for (size_t i = 0; looks->calm && !looks->shortage_pages && i < looks->now->n_processes;
	     i++) {
		const struct culprit_process *p = &looks->now->processes[i];
		const struct culprit_process *then =
			thrash_find(looks->calm, p->tgid, p->start_time_ns);
		uint64_t had = then ? then->swap_pages : 0;

		sum += p->swap_pages > had ? p->swap_pages - had : 0;
	}
	return max_pages(sum, churn_pages);
}

/* --- the ranking -------------------------------------------------------------------------------
 */

/* Does no single process make half of what the cgroup does? */
static bool is_many(const struct offender_entry *group, enum offender_measure measure)
{
	uint64_t top = share_of(group, measure)->top;

	return group->living > 0 && group->members > 1 && !gives_back(group, measure) &&
	       (double)top < DOMINANT_PART * (double)part_of(group, measure);
}

/* What of its cgroup's part can be laid to a process. Small workers in a cgroup that cannot be
 * frozen whole are material together; but nobody answers for one that made most of it alone, or for
 * those that have gone. */
static uint64_t answers_for(const struct offender_entry *group, const struct offender_entry *e,
			    enum offender_measure measure)
{
	const struct offender_share *share = share_of(group, measure);

	if (is_many(group, measure))
		return part_of(group, measure);
	if (!e->c.process || part_of(e, measure) == share->top_staying)
		return share->staying;
	return share->staying - share->top_staying;
}

/* What there is that somebody could be blamed for. */
static uint64_t churn_that_goes_on(const struct choosing *ch)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < ch->count; i++) {
		const struct offender_entry *e = &ch->entries[i];

		if (!e->c.process && !e->dead)
			sum += answers_for(e, e, OFFENDER_BY_CHURN);
	}
	return sum;
}

static bool is_eligible(const struct choosing *ch, const struct offender_entry *e,
			enum offender_measure measure, uint64_t whole)
{
	const struct offender_entry *group = &ch->entries[e->group];
	uint64_t noise = measure == OFFENDER_BY_GROWTH ? NOISE_GROWTH : NOISE_CHURN;

	if (e->dead || part_of(e, measure) < noise || gives_back(e, measure))
		return false;
	if ((double)answers_for(group, e, measure) < MATERIAL_PART * (double)whole)
		return false;
	return e->c.process || is_many(e, measure);
}

static void weigh(struct choosing *ch, enum offender_measure measure, uint64_t whole)
{
	for (size_t i = 0; i < ch->count; i++) {
		struct offender_entry *e = &ch->entries[i];

		/* Whoever was refused for its growth is not asked again. */
		if (e->c.refusal)
			continue;
		e->ranked = !is_eligible(ch, e, measure, whole);
		if (e->ranked)
			continue;
		e->c.measure = measure;
		e->c.weight = ch->rules->weight(ch->rules->user, e->c.process, e->c.cgroup);
		e->c.score = e->c.weight * (double)part_of(e, measure);
	}
}

/* Newer first; a pid decides between two of the same tick, so that the answer is always the same.
 */
static bool is_newer(const struct offender_entry *a, const struct offender_entry *b)
{
	if (a->start_time_ns != b->start_time_ns)
		return a->start_time_ns > b->start_time_ns;
	if (a->c.process && b->c.process)
		return a->c.process->tgid > b->c.process->tgid;
	return a->c.cgroup > b->c.cgroup;
}

/* The best that is left: the newest of those whose score is near the highest. */
static struct offender_entry *next_ranked(struct choosing *ch, double near)
{
	struct offender_entry *best = NULL;
	double highest = 0;

	for (size_t i = 0; i < ch->count; i++) {
		if (!ch->entries[i].ranked && ch->entries[i].c.score > highest)
			highest = ch->entries[i].c.score;
	}
	for (size_t i = 0; i < ch->count; i++) {
		struct offender_entry *e = &ch->entries[i];

		if (e->ranked || e->c.score < near * highest)
			continue;
		if (!best || is_newer(e, best))
			best = e;
	}
	if (best)
		best->ranked = true;
	return best;
}

/* Notes a candidate; when the list is full only the offender still gets in, for the last one. */
static void note(struct offender_choice *choice, const struct offender_candidate *c, bool offender)
{
	if (choice->n_candidates < OFFENDER_CANDIDATES)
		choice->candidates[choice->n_candidates++] = *c;
	else if (offender)
		choice->candidates[OFFENDER_CANDIDATES - 1] = *c;
}

static void choose_by(struct choosing *ch, enum offender_measure measure, uint64_t whole)
{
	double near = measure == OFFENDER_BY_GROWTH ? NEAR_GROWTH : NEAR_CHURN;
	struct offender_choice *choice = ch->choice;
	struct offender_entry *e;

	weigh(ch, measure, whole);
	while (ch->tries < TRIES_MAX && (e = next_ranked(ch, near))) {
		bool chosen;

		if (choice->measure != OFFENDER_NOBODY) {
			if (choice->n_candidates == OFFENDER_CANDIDATES)
				return;
			note(choice, &e->c, false);
			continue;
		}
		ch->tries++;
		e->c.refusal = ch->rules->refusal(ch->rules->user, e->c.process, e->c.cgroup);
		chosen = !e->c.refusal;
		note(choice, &e->c, chosen);
		if (chosen) {
			choice->measure = measure;
			choice->offender = e->c;
		}
	}
}

/* --- process or cgroup -------------------------------------------------------------------------
 */

static bool descends_from(const struct thrash_sample *now, const struct culprit_process *p,
			  const struct culprit_process *ancestor)
{
	for (int i = 0; p && i < ANCESTORS_MAX; i++) {
		if (p == ancestor)
			return true;
		p = find_pid(now, p->ppid);
	}
	return false;
}

/* All of a cgroup is the offender's when each process in it, or below it, is the offender, its
 * child, or a parent that has nothing else there (the shell or wrapper that started it). */
static bool owns_cgroup(const struct choosing *ch, const struct culprit_process *offender)
{
	const struct offender_rules *rules = ch->rules;
	const struct thrash_sample *now = ch->looks->now;

	for (size_t i = 0; i < now->n_processes; i++) {
		const struct culprit_process *p = &now->processes[i];
		bool inside =
			p->cgroup == offender->cgroup ||
			(rules->within && rules->within(rules->user, p->cgroup, offender->cgroup));

		if (inside && !descends_from(now, p, offender) && !descends_from(now, offender, p))
			return false;
	}
	return !rules->refusal(rules->user, NULL, offender->cgroup);
}

/* --- the choice --------------------------------------------------------------------------------
 */

int offender_reserve(struct offender_room *room, size_t processes)
{
	struct offender_entry *entries;
	uint32_t *table;
	size_t slots = 64;

	if (processes <= room->room)
		return 0;
	processes += processes / 4;
	while (slots < 2 * processes)
		slots *= 2;
	/* Each process may have a cgroup of its own: one entry for it, one for the cgroup. */
	entries = reallocarray(room->entries, 2 * processes, sizeof(*entries));
	if (entries)
		room->entries = entries;
	table = reallocarray(room->table, slots, sizeof(*table));
	if (table)
		room->table = table;
	if (!entries || !table)
		return -ENOMEM;
	room->table_slots = slots;
	room->room = processes;
	return 0;
}

void offender_room_free(struct offender_room *room)
{
	free(room->entries);
	free(room->table);
	*room = (struct offender_room){ 0 };
}

int offender_choose(struct offender_room *room, const struct offender_looks *looks,
		    const struct offender_rules *rules, struct offender_choice *choice)
{
	struct choosing ch = { .looks = looks, .rules = rules, .choice = choice };
	int r = offender_reserve(room, looks->now->n_processes + looks->now->n_swapins);

	*choice = (struct offender_choice){ 0 };
	if (r < 0)
		return r;
	if (!room->entries)
		return 0;
	ch.entries = room->entries;
	ch.table = room->table;
	ch.table_mask = room->table_slots - 1;
	add_living(&ch);
	add_dead(&ch);
	for (size_t i = 0; i < ch.count; i++)
		choice->churn_pages += ch.entries[i].c.churn_pages;
	choice->shortage_pages = shortage(looks, choice->churn_pages);
	add_groups(&ch);
	choose_by(&ch, OFFENDER_BY_GROWTH, choice->shortage_pages);
	if (choice->measure == OFFENDER_NOBODY)
		choose_by(&ch, OFFENDER_BY_CHURN, churn_that_goes_on(&ch));
	if (choice->measure != OFFENDER_NOBODY)
		choice->whole_cgroup =
			!choice->offender.process || owns_cgroup(&ch, choice->offender.process);
	return 0;
}
