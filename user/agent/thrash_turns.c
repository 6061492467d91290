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
#include "agent/thrash_parties.h"
#include "agent/thrash_watch.h"
#include "lib/cleanup.h"
#include "lib/units.h"

/* Those who are so small that they have room in this part of the capacity, all together, go on:
 * to hold them would free next to nothing. */
#define SMALL_PART 8
/* Those who were let go all together read their pages back in; this long after it that was it. */
#define SETTLE_NS  (1 * NSEC_PER_SEC)
/* Twice let go by others is an opinion: then it is theirs. */
#define THAWS_MAX  2

struct member {
	uint64_t key;
	struct target target;
	bool runs;	    /* as we have it; struct turns_member says what it should */
	unsigned int thaws; /* by others, of its earlier claims */
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
};

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

const struct target *thrash_turns_member_of(struct agent *a, const struct agent_policy *p,
					    const struct culprit_process *process)
{
	for (unsigned int i = 0; i < p->turns->count; i++) {
		const struct rotation *r = &p->turns->rotations[i];

		for (unsigned int k = 0; k < r->count; k++)
			if (party_is_of(a, &r->members[k].target, process->tgid,
					process->start_time_ns, process->cgroup))
				return &r->members[k].target;
	}
	return NULL;
}

bool thrash_turns_any_below(struct agent *a, const struct agent_policy *p, uint64_t cgroup)
{
	for (unsigned int i = 0; i < p->turns->count; i++) {
		const struct rotation *r = &p->turns->rotations[i];

		for (unsigned int k = 0; k < r->count; k++)
			if (r->members[k].target.cgroup != cgroup &&
			    thrash_within(a, r->members[k].target.cgroup, cgroup))
				return true;
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

/* Of those below the same limit as this one, itself and the smaller ones together. */
static uint64_t footprint_up_to(const struct parties *ps, const struct party *party)
{
	uint64_t pages = 0;

	for (const struct party *other = ps->list; other < ps->list + ps->count; other++)
		if (other->limit.id == party->limit.id &&
		    (other->footprint_pages < party->footprint_pages ||
		     (other->footprint_pages == party->footprint_pages && other <= party)))
			pages += other->footprint_pages;
	return pages;
}

static void join_all(struct agent_policy *p, const struct parties *ps)
{
	for (unsigned int i = 0; i < ps->count; i++) {
		const struct party *party = &ps->list[i];

		if (!party->is_member &&
		    footprint_up_to(ps, party) > party->limit.pages / SMALL_PART)
			join(p, party);
	}
}

/* --- a look ------------------------------------------------------------------------------------
 */

/* 0: not known. */
static uint64_t cpu_usec_of(struct agent *a, uint64_t cgroup)
{
	_cleanup_close_ int dir = cgroupfs_open_id(&a->cgroups, cgroup);
	uint64_t usec = 0;

	if (dir >= 0)
		(void)cgroupfs_read_key(dir, "cpu.stat", "usage_usec", &usec);
	return usec;
}

/* False: nothing of it is left. */
static bool see(struct agent *a, struct rotation *r, const struct member *m, uint64_t *resident)
{
	const struct thrash_watch *w = a->thrash;
	struct party sum = { .target = m->target, .start_time_ns = UINT64_MAX };
	uint64_t swapins = 0;

	party_measure(a, &sum);
	if (sum.start_time_ns == UINT64_MAX)
		return false;
	for (size_t i = 0; i < w->now.n_swapins; i++) {
		const struct thrash_swapin *s = &w->now.swapins[i];

		if (party_is_of(a, &m->target, s->tgid, s->start_time_ns, s->cgroup))
			swapins += s->swapin_pages;
	}
	*resident += sum.resident_pages;
	(void)turns_see(&r->turns, m->key, sum.footprint_pages, sum.resident_pages, swapins,
			m->target.kind == TARGET_CGROUP ? cpu_usec_of(a, m->target.cgroup) : 0,
			w->now.time_ns);
	return true;
}

static unsigned int thaws_of(const struct hold *h)
{
	return h && h->claim ? h->claim->external_thaws : 0;
}

/* Has somebody else a say in it by now: thawed by hand, or by others, or refused? */
static bool is_out_of_hand(struct agent *a, const struct agent_policy *p, const struct member *m)
{
	struct hold *h = hold_find(a, &m->target);
	int at = h ? hold_holder_index(h, p) : -1;

	if (h && h->free_until_ns)
		return true;
	if (!m->runs && at >= 0 && m->thaws + thaws_of(h) >= THAWS_MAX)
		hold_step_back(a, h, p, "others let it go twice");
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
	thrash_signal_evidence(a, p);
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
	m->thaws += thaws_of(h);
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
	return turns_over(&r->turns) && parties_thrash_below(ps, r->limit.id) &&
	       a->thrash->before.sample.time_ns >= r->over_ns + SETTLE_NS;
}

enum turns_begin thrash_turns_begin(struct agent *a, struct agent_policy *p)
{
	struct thrash_turns *t = p->turns;
	bool any = false;

	if (!t)
		return TURNS_NOBODY;
	parties_find(a, p, &t->parties);
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
		parties_prepare(a, &p->turns->parties);
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
