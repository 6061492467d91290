// SPDX-License-Identifier: GPL-2.0-or-later
/* What `top` shows of waits for a CPU: of each cgroup that is watched for them, and of those above,
 * the 95th percentile of the waits between two looks. */
#include <stdlib.h>
#include <string.h>

#include "agent/sampler.h"

/* Waits by their length (culprit/delay_waits.h). */
struct delay_sample {
	uint32_t now[CULPRIT_DELAY_STEPS], last[CULPRIT_DELAY_STEPS]; /* own tasks, at two looks */
	uint32_t below[CULPRIT_DELAY_STEPS]; /* between them, with all that is below */
	bool own;			     /* it is watched itself */
	bool measured;			     /* it is, or something below it */
};

static struct delay_sample *sample_of(struct cgroup_sample *c)
{
	if (!c->delay)
		c->delay = calloc(1, sizeof(*c->delay));
	return c->delay;
}

static void take(void *user, uint64_t cgroup, const struct culprit_delay_cgroup_waits *waits)
{
	struct cgroup_sample *c = sampler_cgroup(user, cgroup);
	struct delay_sample *d = c ? sample_of(c) : NULL;

	if (!d)
		return;
	memcpy(d->now, waits->counts, sizeof(d->now));
	d->own = true;
}

static void add_below(const struct delay_sample *from, struct delay_sample *to)
{
	to->measured = true;
	for (unsigned int i = 0; i < CULPRIT_DELAY_STEPS; i++)
		/* Fewer than before: it is counted anew. */
		to->below[i] +=
			from->now[i] >= from->last[i] ? from->now[i] - from->last[i] : from->now[i];
}

static void sum_up(void *user, struct tree_node *node)
{
	struct cgroup_sample *c = sampler_cgroup(user, node->id);

	if (!c || !c->delay || !c->delay->own)
		return;
	for (struct tree_node *n = node; n; n = n->parent) {
		struct cgroup_sample *above = sampler_cgroup(user, n->id);
		struct delay_sample *d = above ? sample_of(above) : NULL;

		if (d)
			add_below(c->delay, d);
	}
}

void sampler_look_delay(struct agent *a, struct sampler *s)
{
	struct cgroup_sample *c, *next;

	HASH_ITER (hh, s->cgroups, c, next) {
		struct delay_sample *d = c->delay;

		if (!d)
			continue;
		memcpy(d->last, d->now, sizeof(d->last));
		memset(d->now, 0, sizeof(d->now));
		memset(d->below, 0, sizeof(d->below));
		d->own = d->measured = false;
	}
	if (!a->delay || !delay_attached(a->delay) || !a->tree)
		return;
	(void)delay_each_cgroup(a->delay, take, s);
	tree_each(a->tree, sum_up, s);
}

bool sampler_delay_ms(const struct cgroup_sample *c, double *ms)
{
	if (!c->delay || !c->delay->measured)
		return false;
	*ms = (double)delay_p95_ns(c->delay->below) / (double)NSEC_PER_MSEC;
	return true;
}
