// SPDX-License-Identifier: GPL-2.0-or-later
#include "decide/thrash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/procfs.h"

/* Real thrash does 8,000 swap-ins and more a second; below this nobody notices. */
#define MATERIAL_PAGES_PER_S 100.0
/* A memory counter of a process may lag by a batch: 64 pages up to Linux 6.1 (per thread), as much
 * or more since (per CPU). Less churn than that may be no churn. */
#define NOISE_PAGES	     64

static uint64_t rise(uint64_t from, uint64_t to)
{
	return to > from ? to - from : 0;
}

static uint64_t min_pages(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* --- looking up --------------------------------------------------------------------------------
 */

static int compare_process(const void *key, const void *element)
{
	uint32_t tgid = *(const uint32_t *)key;
	const struct culprit_process *p = element;

	return (tgid > p->tgid) - (tgid < p->tgid);
}

static int compare_swapin(const void *key, const void *element)
{
	uint32_t tgid = *(const uint32_t *)key;
	const struct thrash_swapin *s = element;

	return (tgid > s->tgid) - (tgid < s->tgid);
}

const struct culprit_process *thrash_find(const struct thrash_sample *sample, uint32_t tgid,
					  uint64_t start_time_ns)
{
	const struct culprit_process *p;

	if (!sample || !sample->n_processes)
		return NULL;
	p = bsearch(&tgid, sample->processes, sample->n_processes, sizeof(*p), compare_process);
	return p && proc_same_start_ns(p->start_time_ns, start_time_ns) ? p : NULL;
}

const struct thrash_swapin *thrash_find_swapin(const struct thrash_sample *sample, uint32_t tgid,
					       uint64_t start_time_ns)
{
	const struct thrash_swapin *s;

	if (!sample || !sample->n_swapins)
		return NULL;
	s = bsearch(&tgid, sample->swapins, sample->n_swapins, sizeof(*s), compare_swapin);
	return s && proc_same_start_ns(s->start_time_ns, start_time_ns) ? s : NULL;
}

uint64_t thrash_swapin_delta(const struct thrash_sample *before, const struct thrash_swapin *now)
{
	const struct thrash_swapin *then =
		thrash_find_swapin(before, now->tgid, now->start_time_ns);

	return rise(then ? then->swapin_pages : 0, now->swapin_pages);
}

/* --- churn -------------------------------------------------------------------------------------
 */

/*
 * How many of the swap-ins stayed. Swap entries are counted for anonymous pages only: what comes
 * back of shared memory shows in the resident part. Who was born since may have got swap entries
 * from its parent, and cannot keep more than it now has; who has died since cannot have kept more
 * than it had out.
 */
static uint64_t pages_kept(const struct culprit_process *before, const struct culprit_process *now)
{
	if (before && now)
		return rise(now->swap_pages, before->swap_pages) +
		       rise(before->shmem_pages, now->shmem_pages);
	if (now)
		return now->anon_pages + now->shmem_pages;
	return before ? before->swap_pages : 0;
}

/* Readahead brings in neighbours that belong to others, so that a reader, too, has some pages that
 * do not match: it is one as long as most of them do. */
static uint64_t churn_beyond(uint64_t kept_pages, uint64_t swapin_pages)
{
	uint64_t churn = swapin_pages - min_pages(swapin_pages, kept_pages);

	return churn >= swapin_pages - churn ? churn : 0;
}

uint64_t thrash_churn(const struct culprit_process *before, const struct culprit_process *now,
		      uint64_t swapin_pages)
{
	return churn_beyond(pages_kept(before, now), swapin_pages);
}

/*
 * A fork has its parent's swap entries, too, and the pages that it reads stay in the swap cache for
 * the others: a shell that was idle for long forks once, and that is no thrash. Who the parent was
 * is not known any more; most forks stay in their cgroup. As nobody has to read them twice, what
 * those who are dead by now have read counts against it.
 */
static uint64_t inheritable(const struct thrash_sample *before, uint64_t cgroup)
{
	uint64_t most = 0, read = 0;

	for (size_t i = 0; i < before->n_processes; i++)
		if (before->processes[i].cgroup == cgroup && before->processes[i].swap_pages > most)
			most = before->processes[i].swap_pages;
	for (size_t i = 0; most && i < before->n_swapins; i++) {
		const struct thrash_swapin *s = &before->swapins[i];

		if (s->cgroup == cgroup && !thrash_find(before, s->tgid, s->start_time_ns))
			read += s->swapin_pages;
	}
	return rise(read, most);
}

uint64_t thrash_churn_of(const struct thrash_sample *before, const struct thrash_sample *now,
			 const struct thrash_swapin *s, struct thrash_heirs *heirs)
{
	const struct culprit_process *then = thrash_find(before, s->tgid, s->start_time_ns);
	const struct culprit_process *is = thrash_find(now, s->tgid, s->start_time_ns);
	uint64_t swapin_pages = thrash_swapin_delta(before, s), kept;

	/* One that was dead at the first look already swaps in nothing any more. */
	if (then || is || swapin_pages == 0)
		return thrash_churn(then, is, swapin_pages);
	if (!heirs->known || heirs->cgroup != s->cgroup)
		*heirs = (struct thrash_heirs){ true, s->cgroup, inheritable(before, s->cgroup) };
	kept = min_pages(swapin_pages, heirs->left_pages);
	heirs->left_pages -= kept;
	return churn_beyond(kept, swapin_pages);
}

static uint64_t total_churn(const struct thrash_sample *before, const struct thrash_sample *now)
{
	struct thrash_heirs heirs = { 0 };
	uint64_t sum = 0;

	for (size_t i = 0; i < now->n_swapins; i++)
		sum += thrash_churn_of(before, now, &now->swapins[i], &heirs);
	return sum;
}

/* --- the verdict -------------------------------------------------------------------------------
 */

static bool is_witnessed(const struct thrash_verdict *v, const struct thrash_rule *rule)
{
	double seconds = (double)v->interval_ns / (double)NSEC_PER_SEC;
	bool both_ways = (double)v->swapin_pages > MATERIAL_PAGES_PER_S * seconds &&
			 (double)v->swapout_pages > MATERIAL_PAGES_PER_S * seconds;

	if (v->stall < 0)
		return both_ways;
	return v->stall >= rule->enter || (rule->enter_is_default && both_ways);
}

static double value_of(const struct thrash_verdict *v, const struct thrash_rule *rule)
{
	double stall = v->stall > 0 ? v->stall : 0;

	if (v->confirmed)
		return stall > rule->enter ? stall : rule->enter;
	if (stall < rule->enter)
		return stall;
	/* Stalled by something else: no reason to begin, and none to let go either. */
	return rule->leave;
}

void thrash_judge(const struct thrash_sample *before, const struct thrash_sample *now,
		  const struct thrash_rule *rule, struct thrash_verdict *verdict)
{
	struct thrash_verdict v = { .interval_ns = rise(before->time_ns, now->time_ns),
				    .stall = -1 };
	double material;

	v.swapin_pages = rise(before->swapin_pages, now->swapin_pages);
	v.swapout_pages = rise(before->swapout_pages, now->swapout_pages);
	v.churn_pages = total_churn(before, now);
	if (before->has_stall && now->has_stall && v.interval_ns)
		v.stall = (double)rise(before->stall_usec, now->stall_usec) *
			  (double)NSEC_PER_USEC / (double)v.interval_ns;
	material = MATERIAL_PAGES_PER_S * (double)v.interval_ns / (double)NSEC_PER_SEC;
	v.undecided = v.churn_pages > 0 && (double)v.churn_pages >= material &&
		      v.churn_pages < NOISE_PAGES;
	if (v.undecided)
		v.why_not = "too little was swapped in to tell";
	else if ((double)v.churn_pages < material)
		v.why_not = "what was swapped in has stayed in";
	else if (!is_witnessed(&v, rule))
		v.why_not = "nobody waits for it";
	v.confirmed = !v.why_not;
	v.value = value_of(&v, rule);
	*verdict = v;
}

/* --- keeping -----------------------------------------------------------------------------------
 */

static int make_room(void **array, size_t *room, size_t count, size_t size)
{
	void *grown;

	if (count <= *room)
		return 0;
	/* A fourth more, so that a machine that slowly fills does not allocate at each look. */
	count += count / 4;
	grown = reallocarray(*array, count, size);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	*room = count;
	return 0;
}

int thrash_keep(struct thrash_copy *copy, const struct thrash_sample *sample)
{
	int r = make_room((void **)&copy->processes, &copy->room_processes, sample->n_processes,
			  sizeof(*copy->processes));

	if (r == 0)
		r = make_room((void **)&copy->swapins, &copy->room_swapins, sample->n_swapins,
			      sizeof(*copy->swapins));
	/* Growing may have moved what the old copy points to. */
	copy->sample.processes = copy->processes;
	copy->sample.swapins = copy->swapins;
	if (r < 0)
		return r;
	if (sample->n_processes)
		memcpy(copy->processes, sample->processes,
		       sample->n_processes * sizeof(*copy->processes));
	if (sample->n_swapins)
		memcpy(copy->swapins, sample->swapins, sample->n_swapins * sizeof(*copy->swapins));
	copy->sample = *sample;
	copy->sample.processes = copy->processes;
	copy->sample.swapins = copy->swapins;
	return 0;
}

void thrash_copy_free(struct thrash_copy *copy)
{
	free(copy->processes);
	free(copy->swapins);
	*copy = (struct thrash_copy){ 0 };
}
