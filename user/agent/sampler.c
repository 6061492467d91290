// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/sampler.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/procfs.h"

#define SAMPLE_FORGET_NS (15 * NSEC_PER_SEC)
/* A task that has left its cgroup has only to be scheduled once more, however crowded the CPU. */
#define REMOVED_NS	 (2 * NSEC_PER_SEC)
#define SWEEP_NS	 (60 * NSEC_PER_SEC)

struct sampler *sampler_of(struct agent *a)
{
	if (!a->sampler)
		a->sampler = calloc(1, sizeof(*a->sampler));
	return a->sampler;
}

static void add(struct counters *to, const struct counters *from)
{
	to->cpu_ns += from->cpu_ns;
	to->cpu_kernel_ns += from->cpu_kernel_ns;
	to->swap.swapin_pages += from->swap.swapin_pages;
	to->swap.swapout_pages += from->swap.swapout_pages;
	to->swap.zswapin_pages += from->swap.zswapin_pages;
	to->swap.zeroin_pages += from->swap.zeroin_pages;
}

struct cgroup_sample *sampler_cgroup(struct sampler *s, uint64_t id)
{
	struct cgroup_sample *c;

	HASH_FIND(hh, s->cgroups, &id, sizeof(id), c);
	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->id = id;
	HASH_ADD(hh, s->cgroups, id, sizeof(c->id), c);
	return c;
}

static struct process_sample *process_at(struct sampler *s, uint32_t tgid, uint64_t start_time_ns)
{
	struct process_sample *p;

	HASH_FIND(hh, s->processes, &tgid, sizeof(tgid), p);
	if (p && proc_same_start_ns(p->start_time_ns, start_time_ns))
		return p;
	if (p) {
		HASH_DEL(s->processes, p);
		free(p);
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->tgid = tgid;
	p->start_time_ns = start_time_ns;
	HASH_ADD(hh, s->processes, tgid, sizeof(p->tgid), p);
	return p;
}

static void take_cpu_cgroup(void *user, const struct cpu_cgroup_use *use)
{
	struct cgroup_sample *c = sampler_cgroup(user, use->cgroup);

	if (c) {
		c->own.cpu_ns = use->used_ns + use->kernel_ns;
		c->own.cpu_kernel_ns = use->kernel_ns;
	}
}

static void take_swap_cgroup(void *user, const struct swap_cgroup_use *use)
{
	struct cgroup_sample *c = sampler_cgroup(user, use->cgroup);

	if (c)
		c->own.swap = use->use;
}

static void take_cpu_process(void *user, const struct cpu_process_use *use)
{
	struct sampler *s = user;
	struct process_sample *p = process_at(s, use->tgid, use->start_time_ns);

	if (!p)
		return;
	p->cpu_ns = use->used_ns;
	p->cgroup = use->cgroup;
	memcpy(p->comm, use->comm, sizeof(p->comm));
	p->seen = s->look;
}

static void take_swap_process(void *user, const struct swap_process_use *use)
{
	struct sampler *s = user;
	struct process_sample *p = process_at(s, use->tgid, use->start_time_ns);

	if (!p)
		return;
	p->swap = use->use;
	p->cgroup = use->cgroup;
	memcpy(p->comm, use->comm, sizeof(p->comm));
	p->seen = s->look;
}

static void take_census(struct agent *a, struct sampler *s)
{
	const struct culprit_process *list;
	size_t count;

	if (!a->census || census_take(a->census, 0, &list, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		const struct culprit_process *c = &list[i];
		struct process_sample *p = process_at(s, c->tgid, c->start_time_ns);

		if (!p)
			continue;
		p->uid = c->uid;
		p->cgroup = c->cgroup;
		p->last_swap_entries = p->swap_entries;
		p->swap_entries = c->swap_pages;
		p->footprint = c->anon_pages + c->swap_pages + c->shmem_pages;
		p->stopped = c->flags & CULPRIT_PROCESS_STOPPED;
		p->known = true;
		memcpy(p->comm, c->comm, sizeof(p->comm));
		p->seen = s->look;
	}
}

static void sum_up(void *user, struct tree_node *node)
{
	struct sampler *s = user;
	struct cgroup_sample *c = sampler_cgroup(s, node->id);
	struct gone *g;
	struct counters own;

	if (!c)
		return;
	own = c->own;
	HASH_FIND(hh, s->gone, &node->id, sizeof(node->id), g);
	if (g)
		add(&own, &g->counters);
	for (struct tree_node *n = node; n; n = n->parent) {
		struct cgroup_sample *above = sampler_cgroup(s, n->id);

		if (above)
			add(&above->below, &own);
	}
	c->seen = s->look;
}

static bool is_zero(const struct counters *c)
{
	static const struct counters zero;

	return memcmp(c, &zero, sizeof(zero)) == 0;
}

/* Takes the counters of a removed cgroup out of the senses, with those of the removed ones that
 * were below it. */
static struct counters take_out(struct agent *a, uint64_t id)
{
	struct cpu_cgroup_use cpu = { 0 };
	struct swap_cgroup_use swap = { 0 };
	struct counters last;
	struct gone *own;

	if (a->cpu)
		(void)cpu_forget_cgroup(a->cpu, id, &cpu);
	if (a->swap)
		(void)swap_forget_cgroup(a->swap, id, &swap);
	last = (struct counters){
		.cpu_ns = cpu.used_ns + cpu.kernel_ns,
		.cpu_kernel_ns = cpu.kernel_ns,
		.swap = swap.use,
	};
	HASH_FIND(hh, a->sampler->gone, &id, sizeof(id), own);
	if (own) {
		add(&last, &own->counters);
		HASH_DEL(a->sampler->gone, own);
		free(own);
	}
	return last;
}

/* Keeps them as those of a cgroup above. */
static void keep(struct sampler *s, uint64_t heir, const struct counters *last)
{
	struct gone *g;

	if (is_zero(last))
		return;
	HASH_FIND(hh, s->gone, &heir, sizeof(heir), g);
	if (!g) {
		g = calloc(1, sizeof(*g));
		if (!g)
			return;
		g->id = heir;
		HASH_ADD(hh, s->gone, id, sizeof(g->id), g);
	}
	add(&g->counters, last);
}

/* Where what a removed cgroup had used is kept: with the nearest one above that is still there. */
static uint64_t heir_of(struct agent *a, const struct removed *removed)
{
	uint64_t parent = removed->parent;

	for (const struct removed *r = removed->next; r && !tree_find(a->tree, parent); r = r->next)
		if (r->id == parent)
			parent = r->parent;
	return tree_find(a->tree, parent) ? parent : tree_root(a->tree)->id;
}

/* What came since a cgroup was removed; each is asked for some pulses, then it is history. */
static void forget_late(struct agent *a, struct sampler *s, uint64_t now_ns)
{
	for (struct removed *r = s->removed; a->tree && r; r = r->next) {
		const struct counters last = take_out(a, r->id);

		if (!is_zero(&last))
			keep(s, heir_of(a, r), &last);
	}
	while (s->removed && now_ns >= s->removed->removed_ns + REMOVED_NS) {
		struct removed *old = s->removed;

		s->removed = old->next;
		free(old);
	}
	if (!s->removed)
		s->removed_end = NULL;
}

static bool is_removed(struct agent *a, uint64_t id)
{
	_cleanup_close_ int dir = -1;

	if (tree_find(a->tree, id))
		return false;
	dir = cgroupfs_open_id(&a->cgroups, id);
	return dir == -ENOENT || dir == -ESTALE;
}

static void sweep(struct agent *a, uint64_t id)
{
	if (is_removed(a, id)) {
		const struct counters last = take_out(a, id);

		keep(a->sampler, tree_root(a->tree)->id, &last);
	}
}

static void sweep_cpu(void *user, const struct cpu_cgroup_use *use)
{
	sweep(user, use->cgroup);
}

static void sweep_swap(void *user, const struct swap_cgroup_use *use)
{
	sweep(user, use->cgroup);
}

/* Cgroups of which no news came, neither when they were made nor when they were removed: nobody
 * else would ever take their entries out of the maps. */
static void sweep_unknown(struct agent *a)
{
	if (!a->tree)
		return;
	if (a->cpu)
		(void)cpu_each_cgroup(a->cpu, sweep_cpu, a);
	if (a->swap)
		(void)swap_each_cgroup(a->swap, sweep_swap, a);
}

static void forget_unseen(struct sampler *s)
{
	struct cgroup_sample *c, *next_c;
	struct process_sample *p, *next_p;

	HASH_ITER (hh, s->cgroups, c, next_c) {
		if (c->seen != s->look) {
			HASH_DEL(s->cgroups, c);
			free(c->delay);
			free(c);
		}
	}
	HASH_ITER (hh, s->processes, p, next_p) {
		if (p->seen != s->look) {
			HASH_DEL(s->processes, p);
			free(p);
		}
	}
}

void sampler_look(struct agent *a)
{
	struct sampler *s = a->sampler;
	struct cgroup_sample *c, *next_c;
	struct process_sample *p, *next_p;

	s->look++;
	s->before_ns = s->last_ns;
	s->last_ns = monotonic_ns();
	HASH_ITER (hh, s->cgroups, c, next_c) {
		c->last_cpu_ns = c->below.cpu_ns;
		c->own = c->below = (struct counters){ 0 };
	}
	HASH_ITER (hh, s->processes, p, next_p) {
		p->last_cpu_ns = p->cpu_ns;
		p->last_swapin = p->swap.swapin_pages;
		p->known = false;
	}
	forget_late(a, s, s->last_ns);
	sweep_unknown(a);
	if (a->cpu) {
		(void)cpu_each_cgroup(a->cpu, take_cpu_cgroup, s);
		(void)cpu_each_process(a->cpu, take_cpu_process, s);
	}
	if (a->swap) {
		(void)swap_each_cgroup(a->swap, take_swap_cgroup, s);
		(void)swap_each_process(a->swap, take_swap_process, s);
	}
	take_census(a, s);
	if (a->tree)
		tree_each(a->tree, sum_up, s);
	sampler_look_delay(a, s);
	forget_unseen(s);
}

void sampler_forget(struct agent *a, struct tree_node *node)
{
	struct sampler *s = sampler_of(a);
	uint64_t parent = node->parent ? node->parent->id : 0;
	struct removed *removed = s && parent ? calloc(1, sizeof(*removed)) : NULL;
	struct counters last;

	if (!s || !parent)
		return;
	last = take_out(a, node->id);
	keep(s, parent, &last);
	if (!removed)
		return;
	*removed = (struct removed){ node->id, parent, monotonic_ns(), NULL };
	if (!s->removed_end)
		s->removed_end = &s->removed;
	*s->removed_end = removed;
	s->removed_end = &removed->next;
}

static void forget_looks(struct sampler *s)
{
	s->look++;
	forget_unseen(s);
	s->last_ns = s->before_ns = 0;
	malloc_trim(0);
}

void sampler_pulse(struct agent *a, uint64_t now_ns)
{
	struct sampler *s = sampler_of(a);

	if (!s)
		return;
	forget_late(a, s, now_ns);
	if (now_ns >= s->swept_ns + SWEEP_NS) {
		s->swept_ns = now_ns;
		sweep_unknown(a);
	}
	if (s->last_ns && now_ns > s->asked_ns + SAMPLE_FORGET_NS)
		forget_looks(s);
}

void sampler_free(struct agent *a)
{
	struct sampler *s = a->sampler;
	struct gone *g, *next;

	if (!s)
		return;
	sd_event_source_unref(s->timer);
	forget_looks(s);
	for (struct removed *r = s->removed, *after; r; r = after) {
		after = r->next;
		free(r);
	}
	HASH_ITER (hh, s->gone, g, next) {
		HASH_DEL(s->gone, g);
		free(g);
	}
	free(s);
	a->sampler = NULL;
}
