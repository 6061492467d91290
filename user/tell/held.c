// SPDX-License-Identifier: GPL-2.0-or-later
#include "tell/held.h"

#include <stdio.h>
#include <stdlib.h>

static struct held_span *find_open(struct held *held, uint64_t cgroup)
{
	for (unsigned int i = 0; i < held->count; i++)
		if (held->spans[i].cgroup == cgroup && held->spans[i].end_ns == 0)
			return &held->spans[i];
	return NULL;
}

static bool is_old(const struct held_span *span, uint64_t now_ns)
{
	return span->end_ns && now_ns > span->end_ns + HELD_OVER_NS;
}

/* A new one, or that of what ended first; NULL: none has ended. */
static struct held_span *find_place(struct held *held)
{
	struct held_span *first = NULL;

	if (held->count < HELD_SPANS)
		return &held->spans[held->count++];
	for (unsigned int i = 0; i < held->count; i++) {
		struct held_span *span = &held->spans[i];

		if (span->end_ns && (!first || span->end_ns < first->end_ns))
			first = span;
	}
	return first;
}

void held_begin(struct held *held, uint64_t cgroup, const char *policy, uint64_t now_ns)
{
	struct held_span *span = find_open(held, cgroup) ? NULL : find_place(held);

	if (!span)
		return;
	*span = (struct held_span){ .cgroup = cgroup, .begin_ns = now_ns };
	snprintf(span->policy, sizeof(span->policy), "%s", policy);
}

void held_end(struct held *held, uint64_t cgroup, uint64_t now_ns)
{
	struct held_span *span = find_open(held, cgroup);

	if (span)
		span->end_ns = now_ns;
}

void held_check(struct held *held, bool (*is_held)(void *user, uint64_t cgroup), void *user,
		uint64_t now_ns)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < held->count; i++) {
		struct held_span *span = &held->spans[i];

		if (span->end_ns == 0 && !is_held(user, span->cgroup))
			span->end_ns = now_ns;
		if (!is_old(span, now_ns))
			held->spans[kept++] = *span;
	}
	held->count = kept;
}

static bool is_among(uint64_t cgroup, const uint64_t *cgroups, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (cgroups[i] == cgroup)
			return true;
	return false;
}

static int by_begin(const void *a, const void *b)
{
	const struct held_span *x = *(const struct held_span *const *)a;
	const struct held_span *y = *(const struct held_span *const *)b;

	return (x->begin_ns > y->begin_ns) - (x->begin_ns < y->begin_ns);
}

static uint64_t end_of(const struct held_span *span, uint64_t now_ns)
{
	return span->end_ns ? span->end_ns : now_ns;
}

double held_share(const struct held *held, const uint64_t *cgroups, unsigned int n_cgroups,
		  uint64_t now_ns, const char **by)
{
	uint64_t from_ns = now_ns > HELD_OVER_NS ? now_ns - HELD_OVER_NS : 0, sum_ns = 0;
	const struct held_span *spans[HELD_SPANS], *last = NULL;
	unsigned int n = 0;

	for (unsigned int i = 0; i < held->count; i++)
		if (is_among(held->spans[i].cgroup, cgroups, n_cgroups) &&
		    end_of(&held->spans[i], now_ns) > from_ns)
			spans[n++] = &held->spans[i];
	qsort(spans, n, sizeof(struct held_span *), by_begin);
	/* A cgroup may be held itself and with one above it: that time counts once. */
	for (unsigned int i = 0; i < n; i++) {
		uint64_t begin = spans[i]->begin_ns, end = end_of(spans[i], now_ns);

		if (!last || end >= end_of(last, now_ns))
			last = spans[i];
		begin = begin > from_ns ? begin : from_ns;
		if (end > begin)
			sum_ns += end - begin;
		from_ns = end > from_ns ? end : from_ns;
	}
	*by = last ? last->policy : NULL;
	return (double)sum_ns / (double)HELD_OVER_NS;
}
