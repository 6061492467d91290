// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/thrash_parties.h"

#include <string.h>

#include "agent/thrash_watch.h"
#include "lib/cleanup.h"
#include "lib/procfs.h"

/* Who swaps in less than this part of all is none of those who thrash. */
#define MATERIAL_PART 20
/* Whoever has less is none of those that others wait for. */
#define LARGE_PAGES   1024
/* Who uses less than this part of a CPU does nothing that could wait. */
#define ACTIVE_PART   100
/* A use that was noted earlier than this says nothing of now. */
#define USE_OLD_NS    (10 * NSEC_PER_SEC)

/* --- who does something ------------------------------------------------------------------------
 */

/* That of the process, or a place for it; of the smallest one if all are taken. */
static struct party_use *place_for(struct parties *ps, const struct culprit_process *process)
{
	struct party_use *least = &ps->uses[0];

	for (unsigned int i = 0; i < ps->n_uses; i++) {
		struct party_use *use = &ps->uses[i];

		if (use->tgid == process->tgid && use->start_time_ns == process->start_time_ns)
			return use;
		if (use->footprint_pages < least->footprint_pages)
			least = use;
	}
	if (ps->n_uses < ARRAY_SIZE(ps->uses))
		least = &ps->uses[ps->n_uses++];
	else if (least->footprint_pages >= offender_footprint(process))
		return NULL;
	*least = (struct party_use){ .tgid = process->tgid,
				     .start_time_ns = process->start_time_ns };
	return least;
}

static void note_process(struct parties *ps, const struct culprit_process *process)
{
	uint64_t pages = offender_footprint(process);
	struct party_use *use;

	if (pages < LARGE_PAGES ||
	    process->flags & (CULPRIT_PROCESS_KERNEL | CULPRIT_PROCESS_FROZEN))
		return;
	use = place_for(ps, process);
	if (!use)
		return;
	use->footprint_pages = pages;
	use->process = process;
}

void parties_prepare(struct agent *a, struct parties *ps)
{
	const struct thrash_watch *w = a->thrash;

	/* Those that have ended make room for others. */
	for (unsigned int i = 0; i < ps->n_uses; i++) {
		ps->uses[i].footprint_pages = 0;
		ps->uses[i].process = NULL;
	}
	for (size_t i = 0; i < w->now.n_processes; i++)
		note_process(ps, &w->now.processes[i]);
	for (unsigned int i = 0; i < ps->n_uses; i++) {
		struct party_use *use = &ps->uses[i];
		struct proc_stat st;

		use->before_ns = use->used_ns;
		use->before_at_ns = use->at_ns;
		use->at_ns = 0;
		if (!use->process || proc_read_stat((pid_t)use->tgid, &st) < 0)
			continue;
		use->used_ns = st.cpu_ns;
		use->at_ns = w->now.time_ns;
	}
}

static bool is_active(const struct party_use *use)
{
	uint64_t interval_ns = use->at_ns - use->before_at_ns;

	return use->process && use->at_ns && use->before_at_ns && interval_ns <= USE_OLD_NS &&
	       use->used_ns > use->before_ns &&
	       (use->used_ns - use->before_ns) * ACTIVE_PART >= interval_ns;
}

/* --- who thrashes ------------------------------------------------------------------------------
 */

bool party_is_of(struct agent *a, const struct target *target, uint32_t tgid,
		 uint64_t start_time_ns, uint64_t cgroup)
{
	if (target->kind == TARGET_PROCESS)
		return (pid_t)tgid == target->pid && start_time_ns == target->start_time_ns;
	return thrash_within(a, cgroup, target->cgroup);
}

static struct party *find_party(struct parties *ps, const struct culprit_process *process)
{
	for (unsigned int i = 0; i < ps->count; i++)
		if (party_is_of(ps->agent, &ps->list[i].target, process->tgid,
				process->start_time_ns, process->cgroup))
			return &ps->list[i];
	return NULL;
}

static struct party *add_party(struct parties *ps, const struct culprit_process *process)
{
	struct party *party;

	if (ps->count == ARRAY_SIZE(ps->list))
		return NULL;
	party = &ps->list[ps->count++];
	*party = (struct party){ .pid = (pid_t)process->tgid,
				 .start_time_ns = process->start_time_ns };
	return party;
}

static bool is_strictly_below(struct agent *a, uint64_t cgroup, uint64_t above)
{
	return cgroup != above && thrash_within(a, cgroup, above);
}

/* Is there somebody in a cgroup below this one who may take turns with it? Then they cannot be held
 * together. */
static bool has_rival_below(const struct parties *ps, uint64_t cgroup)
{
	const struct thrash_watch *w = ps->agent->thrash;

	for (size_t i = 0; i < w->now.n_swapins; i++)
		if (thrash_swapin_delta(&w->before.sample, &w->now.swapins[i]) > ps->least_pages &&
		    is_strictly_below(ps->agent, w->now.swapins[i].cgroup, cgroup))
			return true;
	for (unsigned int i = 0; i < ps->n_uses; i++)
		if (is_active(&ps->uses[i]) &&
		    is_strictly_below(ps->agent, ps->uses[i].process->cgroup, cgroup))
			return true;
	return thrash_turns_any_below(ps->agent, ps->policy, cgroup);
}

/* What takes turns for this process: what does so already; else its cgroup as a whole; or itself,
 * where the cgroup has others in it or below it that may not be held with it. */
static struct party *party_of(struct parties *ps, const struct culprit_process *process)
{
	struct party *party = find_party(ps, process);
	const struct target *member;

	if (party)
		return party;
	party = add_party(ps, process);
	if (!party)
		return NULL;
	member = thrash_turns_member_of(ps->agent, ps->policy, process);
	if (member) {
		party->is_member = true;
		party->target = *member;
	} else if (!thrash_refusal(ps->agent, NULL, process->cgroup) &&
		   !has_rival_below(ps, process->cgroup)) {
		thrash_target_of_cgroup(ps->agent, process->cgroup, &party->target);
	} else {
		thrash_target_of_process(ps->agent, process, &party->target);
		party->refused = thrash_refusal(ps->agent, process, process->cgroup) != NULL;
	}
	return party;
}

/* Who swapped in a material part of all between the two looks. */
static void find_thrashers(struct agent *a, struct parties *ps)
{
	const struct thrash_watch *w = a->thrash;

	for (size_t i = 0; i < w->now.n_swapins; i++)
		ps->swapin_pages += thrash_swapin_delta(&w->before.sample, &w->now.swapins[i]);
	/* A cgroup of many workers none of which stands out has to be seen, too. */
	ps->least_pages = ps->swapin_pages / (MATERIAL_PART * (uint64_t)ARRAY_SIZE(ps->list));
	for (size_t i = 0; i < w->now.n_swapins; i++) {
		const struct thrash_swapin *s = &w->now.swapins[i];
		uint64_t pages = thrash_swapin_delta(&w->before.sample, s);
		const struct culprit_process *process =
			pages > ps->least_pages ? thrash_find(&w->now, s->tgid, s->start_time_ns)
						: NULL;
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
static void find_occupants(struct parties *ps)
{
	for (unsigned int i = 0; i < ps->n_uses; i++)
		if (is_active(&ps->uses[i]))
			(void)party_of(ps, ps->uses[i].process);
}

void party_measure(struct agent *a, struct party *party)
{
	const struct thrash_watch *w = a->thrash;

	for (size_t i = 0; i < w->now.n_processes; i++) {
		const struct culprit_process *p = &w->now.processes[i];

		if (!party_is_of(a, &party->target, p->tgid, p->start_time_ns, p->cgroup))
			continue;
		party->footprint_pages += offender_footprint(p);
		party->resident_pages += p->anon_pages + p->shmem_pages;
		/* A cgroup is as old as the oldest that runs in it. */
		if (p->start_time_ns < party->start_time_ns)
			party->start_time_ns = p->start_time_ns;
	}
}

/* Does somebody thrash below that limit? */
bool parties_thrash_below(const struct parties *ps, uint64_t limit)
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
		if (!parties_thrash_below(ps, ps->list[i].limit.id))
			continue;
		party_measure(a, &ps->list[i]);
		ps->list[kept++] = ps->list[i];
	}
	ps->count = kept;
}

void parties_find(struct agent *a, const struct agent_policy *p, struct parties *ps)
{
	parties_prepare(a, ps);
	ps->agent = a;
	ps->policy = p;
	ps->count = 0;
	ps->swapin_pages = 0;
	ps->refused = false;
	find_thrashers(a, ps);
	find_occupants(ps);
	judge_parties(a, ps);
}
