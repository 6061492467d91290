// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `action = turn`: those who thrash together take turns. decide/turns.h says who runs; this finds
 * who they are, measures them at every look of signal_thrash.c, and has the others held.
 *
 * Those below one memory limit form one rotation. The room for all of it is made when a
 * configuration is put in force: memory is short when it is needed.
 */
#include "agent/thrash_turns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/holds.h"
#include "agent/thrash_watch.h"
#include "lib/cleanup.h"
#include "lib/units.h"

/* Who swaps in less than this part of all is none of those who thrash. */
#define MATERIAL_PART 20
/* Those who are so small that they have room in this part of the capacity, all together, go on:
 * to hold them would free next to nothing. */
#define SMALL_PART    8

/* Whoever has less is none of those that others wait for. */
#define LARGE_PAGES 1024
/* Who uses less than this part of a CPU does nothing that could wait. */
#define ACTIVE_PART 100
/* Those who were let go all together read their pages back in; this long after it that was it. */
#define SETTLE_NS   (1 * NSEC_PER_SEC)
/* A use that was noted earlier than this says nothing of now. */
#define USE_OLD_NS  (10 * NSEC_PER_SEC)

/* Somebody who thrashes, or has the memory that others lack, and may be made to wait. */
struct party {
	struct target target;
	pid_t pid; /* one of its processes */
	uint64_t start_time_ns, footprint_pages, resident_pages, swapin_pages;
	bool refused, thrashes;
	struct memlimit limit;
};

/* CPU time of a cgroup with large processes in it, at two looks. */
struct use {
	uint64_t cgroup, footprint_pages;
	const struct culprit_process *largest; /* in the look just taken; NULL: none is left */
	uint64_t usec, at_ns, before_usec, before_at_ns;
};

struct parties {
	struct agent *agent;
	struct party list[2 * TURNS_MAX];
	unsigned int count;
	uint64_t swapin_pages; /* of all, within the interval */
	bool refused;	       /* one that thrashes may not be acted on */
};

struct member {
	uint64_t key;
	struct target target;
	bool runs; /* as we have it; struct turns_member says what it should */
};

struct rotation {
	struct memlimit limit;
	struct turns turns;
	struct member members[TURNS_MAX];
	unsigned int count;
	uint64_t last_key;
	uint64_t over_ns; /* since when all run */
};

struct thrash_turns {
	struct rotation rotations[TURNS_ROTATIONS];
	unsigned int count;
	struct parties parties;
	struct use uses[2 * TURNS_MAX];
	unsigned int n_uses;
};

/* --- who does something ------------------------------------------------------------------------
 */

static uint64_t cpu_usec_of(struct agent *a, uint64_t cgroup)
{
	_cleanup_close_ int dir = cgroupfs_open_id(&a->cgroups, cgroup);
	uint64_t usec = 0;

	if (dir >= 0)
		(void)cgroupfs_read_key(dir, "cpu.stat", "usage_usec", &usec);
	return usec;
}

/* That of the cgroup, or a place for it; of the least interesting one if all are taken. */
static struct use *place_for(struct thrash_turns *t, const struct culprit_process *process)
{
	struct use *least = &t->uses[0];

	for (unsigned int i = 0; i < t->n_uses; i++) {
		if (t->uses[i].cgroup == process->cgroup)
			return &t->uses[i];
		if (t->uses[i].footprint_pages < least->footprint_pages)
			least = &t->uses[i];
	}
	if (t->n_uses < ARRAY_SIZE(t->uses))
		least = &t->uses[t->n_uses++];
	else if (least->footprint_pages >= offender_footprint(process))
		return NULL;
	*least = (struct use){ .cgroup = process->cgroup };
	return least;
}

static void note_process(struct thrash_turns *t, const struct culprit_process *process)
{
	uint64_t pages = offender_footprint(process);
	struct use *use;

	if (pages < LARGE_PAGES ||
	    process->flags & (CULPRIT_PROCESS_KERNEL | CULPRIT_PROCESS_FROZEN))
		return;
	use = place_for(t, process);
	if (!use)
		return;
	use->footprint_pages += pages;
	if (!use->largest || pages > offender_footprint(use->largest))
		use->largest = process;
}

static void note_uses(struct agent *a, struct thrash_turns *t)
{
	const struct thrash_watch *w = a->thrash;

	for (unsigned int i = 0; i < t->n_uses; i++) {
		t->uses[i].footprint_pages = 0;
		t->uses[i].largest = NULL;
	}
	for (size_t i = 0; i < w->now.n_processes; i++)
		note_process(t, &w->now.processes[i]);
	for (unsigned int i = 0; i < t->n_uses; i++) {
		struct use *use = &t->uses[i];

		use->before_usec = use->usec;
		use->before_at_ns = use->at_ns;
		use->usec = cpu_usec_of(a, use->cgroup);
		use->at_ns = w->now.time_ns;
	}
}

static bool is_active(const struct use *use)
{
	uint64_t interval_ns = use->at_ns - use->before_at_ns;

	return use->largest && use->before_at_ns && interval_ns <= USE_OLD_NS &&
	       use->usec > use->before_usec &&
	       (use->usec - use->before_usec) * NSEC_PER_USEC * ACTIVE_PART >= interval_ns;
}

/* --- who thrashes ------------------------------------------------------------------------------
 */

static bool is_of(struct agent *a, const struct target *target, uint32_t tgid,
		  uint64_t start_time_ns, uint64_t cgroup)
{
	if (target->kind == TARGET_PROCESS)
		return (pid_t)tgid == target->pid && start_time_ns == target->start_time_ns;
	return thrash_within(a, cgroup, target->cgroup);
}

static struct party *find_party(struct parties *ps, const struct culprit_process *process)
{
	for (unsigned int i = 0; i < ps->count; i++)
		if (is_of(ps->agent, &ps->list[i].target, process->tgid, process->start_time_ns,
			  process->cgroup))
			return &ps->list[i];
	return NULL;
}

static struct party *add_party(struct parties *ps, const struct culprit_process *process,
			       bool whole)
{
	struct party *party;

	if (ps->count == ARRAY_SIZE(ps->list))
		return NULL;
	party = &ps->list[ps->count++];
	*party = (struct party){ .pid = (pid_t)process->tgid,
				 .start_time_ns = process->start_time_ns };
	if (whole)
		thrash_target_of_cgroup(ps->agent, process->cgroup, &party->target);
	else
		thrash_target_of_process(ps->agent, process, &party->target);
	return party;
}

/* Its cgroup as a whole, or itself where the cgroup has others in it that may not be held. */
static struct party *party_of(struct parties *ps, const struct culprit_process *process)
{
	struct party *party = find_party(ps, process);
	bool whole;

	if (party)
		return party;
	whole = !thrash_refusal(ps->agent, NULL, process->cgroup);
	party = add_party(ps, process, whole);
	if (party && !whole)
		party->refused = thrash_refusal(ps->agent, process, process->cgroup) != NULL;
	return party;
}

/* Who swapped in a material part of all between the two looks. */
static void find_parties(struct agent *a, struct parties *ps)
{
	const struct thrash_watch *w = a->thrash;
	uint64_t least;

	ps->agent = a;
	ps->count = 0;
	ps->swapin_pages = 0;
	ps->refused = false;
	for (size_t i = 0; i < w->now.n_swapins; i++)
		ps->swapin_pages += thrash_swapin_delta(&w->before.sample, &w->now.swapins[i]);
	/* A cgroup of many workers none of which stands out has to be seen, too. */
	least = ps->swapin_pages / (MATERIAL_PART * (uint64_t)ARRAY_SIZE(ps->list));
	for (size_t i = 0; i < w->now.n_swapins; i++) {
		const struct thrash_swapin *s = &w->now.swapins[i];
		uint64_t pages = thrash_swapin_delta(&w->before.sample, s);
		const struct culprit_process *process =
			pages > least ? thrash_find(&w->now, s->tgid, s->start_time_ns) : NULL;
		struct party *party;

		if (!process || process->flags & CULPRIT_PROCESS_KERNEL)
			continue;
		party = party_of(ps, process);
		if (party)
			party->swapin_pages += pages;
	}
}

/* Who has memory and uses it undisturbed, while others lack it. It can do so for ever: what it
 * touches all the time is never pushed out. */
static void find_occupants(struct thrash_turns *t)
{
	for (unsigned int i = 0; i < t->n_uses; i++)
		if (is_active(&t->uses[i]))
			(void)party_of(&t->parties, t->uses[i].largest);
}

static void measure_party(struct agent *a, struct party *party)
{
	const struct thrash_watch *w = a->thrash;

	for (size_t i = 0; i < w->now.n_processes; i++) {
		const struct culprit_process *p = &w->now.processes[i];

		if (!is_of(a, &party->target, p->tgid, p->start_time_ns, p->cgroup))
			continue;
		party->footprint_pages += offender_footprint(p);
		party->resident_pages += p->anon_pages + p->shmem_pages;
		/* A cgroup is as old as the oldest that runs in it. */
		if (p->start_time_ns < party->start_time_ns)
			party->start_time_ns = p->start_time_ns;
	}
}

/* Does somebody thrash below that limit? */
static bool is_thrashing(const struct parties *ps, uint64_t limit)
{
	for (unsigned int i = 0; i < ps->count; i++)
		if (ps->list[i].thrashes && ps->list[i].limit.id == limit)
			return true;
	return false;
}

/* Leaves those who matter, with all that has to be known of them. */
static void judge_parties(struct agent *a, struct parties *ps)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < ps->count; i++) {
		struct party *party = &ps->list[i];

		party->thrashes = party->swapin_pages * MATERIAL_PART >= ps->swapin_pages;
		ps->refused |= party->refused && party->thrashes;
		if (!party->refused &&
		    memlimit_of(&a->thrash->limits, party->pid, &party->limit) == 0)
			ps->list[kept++] = *party;
	}
	ps->count = kept;
	kept = 0;
	for (unsigned int i = 0; i < ps->count; i++) {
		if (!is_thrashing(ps, ps->list[i].limit.id))
			continue;
		measure_party(a, &ps->list[i]);
		ps->list[kept++] = ps->list[i];
	}
	ps->count = kept;
}

/* --- rotations ---------------------------------------------------------------------------------
 */

static struct member *find_member(struct rotation *r, uint64_t key)
{
	for (unsigned int i = 0; i < r->count; i++)
		if (r->members[i].key == key)
			return &r->members[i];
	return NULL;
}

static void drop_member(struct rotation *r, unsigned int at)
{
	(void)turns_remove(&r->turns, r->members[at].key);
	r->members[at] = r->members[--r->count];
}

static bool is_member(const struct agent_policy *p, const struct target *target)
{
	for (unsigned int i = 0; i < p->turns->count; i++) {
		const struct rotation *r = &p->turns->rotations[i];

		for (unsigned int k = 0; k < r->count; k++) {
			const struct target *t = &r->members[k].target;

			if (t->kind == target->kind && t->cgroup == target->cgroup &&
			    t->pid == target->pid && t->start_time_ns == target->start_time_ns)
				return true;
		}
	}
	return false;
}

static struct rotation *rotation_below(struct agent_policy *p, const struct memlimit *limit)
{
	struct thrash_turns *t = p->turns;
	struct rotation *r = NULL;

	for (unsigned int i = 0; i < t->count; i++) {
		if (t->rotations[i].limit.id == limit->id)
			return &t->rotations[i];
		/* All of it has ended. */
		if (t->rotations[i].count == 0)
			r = &t->rotations[i];
	}
	if (!r && t->count == TURNS_ROTATIONS)
		return NULL;
	if (!r)
		r = &t->rotations[t->count++];
	r->limit = *limit;
	r->count = 0;
	r->last_key = 0;
	r->over_ns = 0;
	turns_init(&r->turns, p->config->slice_ns);
	return r;
}

static void join(struct agent_policy *p, const struct party *party)
{
	struct rotation *r = rotation_below(p, &party->limit);

	if (!r || r->count == TURNS_MAX ||
	    turns_add(&r->turns, ++r->last_key, party->start_time_ns) < 0)
		return;
	r->members[r->count++] = (struct member){
		.key = r->last_key,
		.target = party->target,
		.runs = true,
	};
}

static int by_size(const void *a, const void *b)
{
	const struct party *x = a, *y = b;

	return (x->footprint_pages > y->footprint_pages) -
	       (x->footprint_pages < y->footprint_pages);
}

/* Of those below the same limit as this one, the smaller ones and itself together. */
static uint64_t footprint_up_to(const struct parties *ps, unsigned int at)
{
	uint64_t pages = 0;

	for (unsigned int i = 0; i <= at; i++)
		if (ps->list[i].limit.id == ps->list[at].limit.id)
			pages += ps->list[i].footprint_pages;
	return pages;
}

static void join_all(struct agent_policy *p, struct parties *ps)
{
	qsort(ps->list, ps->count, sizeof(ps->list[0]), by_size);
	for (unsigned int i = 0; i < ps->count; i++)
		if (footprint_up_to(ps, i) > ps->list[i].limit.pages / SMALL_PART &&
		    !is_member(p, &ps->list[i].target))
			join(p, &ps->list[i]);
}

/* --- a look ------------------------------------------------------------------------------------
 */

/* False: nothing of it is left. */
static bool see(struct agent *a, struct rotation *r, const struct member *m, uint64_t *resident)
{
	const struct thrash_watch *w = a->thrash;
	struct party sum = { .target = m->target, .start_time_ns = UINT64_MAX };
	uint64_t swapins = 0;

	measure_party(a, &sum);
	if (sum.start_time_ns == UINT64_MAX)
		return false;
	for (size_t i = 0; i < w->now.n_swapins; i++) {
		const struct thrash_swapin *s = &w->now.swapins[i];

		if (is_of(a, &m->target, s->tgid, s->start_time_ns, s->cgroup))
			swapins += s->swapin_pages;
	}
	*resident += sum.resident_pages;
	(void)turns_see(&r->turns, m->key, sum.footprint_pages, sum.resident_pages, swapins,
			m->target.kind == TARGET_CGROUP ? cpu_usec_of(a, m->target.cgroup) : 0,
			w->now.time_ns);
	return true;
}

/* Has somebody else a say in it by now: thawed by hand, or refused? */
static bool is_out_of_hand(struct agent *a, const struct agent_policy *p, const struct member *m)
{
	const struct hold *h = hold_find(a, &m->target);
	int at = h ? hold_holder_index(h, p) : -1;

	if (h && h->free_until_ns)
		return true;
	return m->runs ? at >= 0 : at < 0 || h->holders[at].off;
}

static const char *name_of(const struct target *target, char *buf, size_t size)
{
	if (target->kind == TARGET_PROCESS)
		snprintf(buf, size, "%.15s (pid %d)", target->comm, (int)target->pid);
	else
		snprintf(buf, size, "%.80s", target->path);
	return buf;
}

static void say_wait(struct rotation *r, char *buf, size_t size)
{
	const struct turns_member *runner = turns_runner(&r->turns);
	const struct member *m = runner ? find_member(r, runner->key) : NULL;
	char name[96];

	snprintf(buf, size,
		 "memory thrashes: %u workloads do not fit into %llu MiB together, and take turns; "
		 "it is the turn of %s",
		 r->count, (unsigned long long)(r->turns.capacity_pages >> 8),
		 m ? name_of(&m->target, name, sizeof(name)) : "nobody");
}

static void make_wait(struct agent *a, struct agent_policy *p, struct rotation *r, struct member *m)
{
	char reason[CLAIM_REASON_LEN];
	int error;

	say_wait(r, reason, sizeof(reason));
	p->has_offender = true;
	p->offender = m->target;
	error = hold_try(a, p, &m->target, claim_action_of(ACTION_TURN, m->target.kind), reason);
	/* One that cannot be held now is asked again at the next look, or is out of hand then;
	 * where that is our fault, it is held as soon as it can be, as every hold. */
	m->runs = error < 0 && !hold_must_wait(error);
}

static void let_run(struct agent *a, struct agent_policy *p, struct rotation *r, struct member *m)
{
	const struct turns_member *runner = turns_runner(&r->turns);
	const struct member *first = runner ? find_member(r, runner->key) : NULL;
	struct hold *h = hold_find(a, &m->target);
	char reason[CLAIM_REASON_LEN], turn[32], name[96];

	units_say_duration(r->turns.slice_ns, turn, sizeof(turn));
	if (turns_over(&r->turns) && r->count < 2)
		snprintf(reason, sizeof(reason), "there is no other left to take turns with");
	else if (turns_over(&r->turns))
		snprintf(reason, sizeof(reason), "all of them fit into memory together now");
	else if (first && first != m)
		snprintf(reason, sizeof(reason), "it fits beside %s, whose turn it is",
			 name_of(&first->target, name, sizeof(name)));
	else
		snprintf(reason, sizeof(reason), "its turn has come, of %s at least", turn);
	if (h)
		hold_leave(a, h, p, reason);
	m->runs = true;
}

/* Those that are to wait first, so that memory is free for those that may run. */
static void carry_out(struct agent *a, struct agent_policy *p, struct rotation *r)
{
	for (unsigned int i = r->turns.count; i > 0; i--) {
		const struct turns_member *wanted = &r->turns.members[i - 1];
		struct member *m = find_member(r, wanted->key);

		if (m && m->runs && !wanted->runs)
			make_wait(a, p, r, m);
	}
	for (unsigned int i = 0; i < r->turns.count; i++) {
		const struct turns_member *wanted = &r->turns.members[i];
		struct member *m = find_member(r, wanted->key);

		if (m && !m->runs && wanted->runs)
			let_run(a, p, r, m);
	}
}

static void step(struct agent *a, struct agent_policy *p, struct rotation *r)
{
	uint64_t resident = 0, capacity;
	bool was_over = turns_over(&r->turns);

	for (unsigned int i = r->count; i > 0; i--) {
		const struct member *m = &r->members[i - 1];

		if (is_out_of_hand(a, p, m) || !see(a, r, m, &resident)) {
			struct hold *h = hold_find(a, &m->target);

			/* What ended is forgotten; what is thawed by hand is kept off. */
			if (h && !m->runs && hold_is_wanted(h))
				hold_leave(a, h, p, "nothing of it is left");
			drop_member(r, i - 1);
		}
	}
	if (memlimit_capacity(&a->thrash->limits, &r->limit, resident, &capacity) < 0)
		capacity = r->limit.pages;
	(void)turns_step(&r->turns, a->thrash->now.time_ns, capacity);
	if (turns_over(&r->turns) && !was_over)
		r->over_ns = a->thrash->now.time_ns;
	carry_out(a, p, r);
}

void thrash_turns_step(struct agent *a, struct agent_policy *p)
{
	struct thrash_turns *t = p->turns;

	for (unsigned int i = 0; t && i < t->count; i++)
		step(a, p, &t->rotations[i]);
}

/* All run, and that was too much? What was seen before they did says nothing of it. */
static bool thrashes_again(const struct agent *a, const struct parties *ps,
			   const struct rotation *r)
{
	return turns_over(&r->turns) && is_thrashing(ps, r->limit.id) &&
	       a->thrash->before.sample.time_ns >= r->over_ns + SETTLE_NS;
}

enum turns_begin thrash_turns_begin(struct agent *a, struct agent_policy *p)
{
	struct thrash_turns *t = p->turns;
	bool any = false;

	if (!t)
		return TURNS_NOBODY;
	note_uses(a, t);
	find_parties(a, &t->parties);
	find_occupants(t);
	judge_parties(a, &t->parties);
	join_all(p, &t->parties);
	for (unsigned int i = 0; i < t->count; i++) {
		struct rotation *r = &t->rotations[i];

		if (thrashes_again(a, &t->parties, r))
			turns_thrashes_again(&r->turns, a->thrash->now.time_ns);
		any |= r->count > 1;
	}
	thrash_turns_step(a, p);
	if (any)
		return TURNS_TAKEN;
	return t->parties.refused ? TURNS_NO_OTHER : TURNS_NOBODY;
}

void thrash_turns_prepare(struct agent *a, struct agent_policy *p)
{
	if (p->turns)
		note_uses(a, p->turns);
}

bool thrash_turns_active(const struct agent_policy *p)
{
	for (unsigned int i = 0; p->turns && i < p->turns->count; i++)
		if (!turns_over(&p->turns->rotations[i].turns))
			return true;
	return false;
}

void thrash_turns_forget(struct agent_policy *p)
{
	if (p->turns)
		p->turns->count = 0;
}

void thrash_turns_inherit(struct agent_policy *old, struct agent_policy *p)
{
	if (!old->turns || !p->turns)
		return;
	free(p->turns);
	p->turns = old->turns;
	old->turns = NULL;
	for (unsigned int i = 0; i < p->turns->count; i++)
		p->turns->rotations[i].turns.slice_ns = p->config->slice_ns;
}

int thrash_turns_build(struct agent_policy *p)
{
	if (p->config->action != ACTION_TURN)
		return 0;
	p->turns = calloc(1, sizeof(*p->turns));
	return p->turns ? 0 : -ENOMEM;
}

/* --- telling -----------------------------------------------------------------------------------
 */

void thrash_turns_words(const struct agent_policy *p, const struct target *target, char *buf,
			size_t size)
{
	uint64_t now = monotonic_ns();
	char name[96], wait[32];

	*buf = '\0';
	for (unsigned int i = 0; p->turns && i < p->turns->count; i++) {
		struct rotation *r = &p->turns->rotations[i];
		const struct turns_member *runner = turns_runner(&r->turns);
		const struct member *first = runner ? find_member(r, runner->key) : NULL;

		for (unsigned int k = 0; first && k < r->count; k++) {
			const struct member *m = &r->members[k];
			const struct turns_member *wanted = turns_find(&r->turns, m->key);
			uint64_t by;

			if (m->runs || !wanted || m->target.kind != target->kind ||
			    m->target.cgroup != target->cgroup || m->target.pid != target->pid)
				continue;
			by = turns_runs_by_ns(&r->turns, wanted);
			snprintf(buf, size,
				 "policy %s: in %s at the latest its turn comes, one of %u; now it "
				 "is the turn of %s",
				 p->config->name,
				 words_left(by > now ? by - now : 0, wait, sizeof(wait)), r->count,
				 name_of(&first->target, name, sizeof(name)));
			return;
		}
	}
}
