// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Policies that order opposite things: A holds X because of Y, and B holds Y because of X. Each
 * would take the other's reason away, so that both are held and let go for ever. The same round a
 * longer circle. Only the texts are looked at: where a unit is shows only when it runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decide/config_policy.h"
#include "lib/cleanup.h"

/* Policies of a circle that are named; the rest is counted. */
#define NAMED 4

/* One step goes from a policy to its targets, and from those to the policies that are about what is
 * inside of them. Kept by workload, a step looks at each of them once, however many share it. */
struct named;
struct search {
	const struct config *config;
	struct named *named;
	unsigned int n_named;
	unsigned int *globs; /* workloads with wildcards */
	unsigned int n_globs;
	unsigned int **about; /* of each workload: the policies whose `of` is inside of it */
	unsigned int *n_about;
	bool *seen;	    /* workloads */
	unsigned int *from; /* of each policy: the one that led to it; itself: none did */
	unsigned int *queue;
};

static void free_search(struct search *s)
{
	for (unsigned int i = 0; s->about && i < s->config->n_workloads; i++)
		free(s->about[i]);
	free(s->about);
	free(s->n_about);
	free(s->named);
	free(s->globs);
	free(s->seen);
	free(s->from);
	free(s->queue);
}

static bool is_about_something(const struct policy_config *p)
{
	return p->signal == SIGNAL_CPU && !p->of_others && p->of.text;
}

/* --- what each policy is about --------------------------------------------------------------- */

/* The workloads without wildcards, in the order of their texts: thousands of policies that are each
 * held against thousands of workloads would take longer than everything else. */
struct named {
	const struct pattern *pattern;
	unsigned int workload;
};

static int compare_text(const struct pattern *pattern, enum pattern_kind kind, const char *text,
			size_t length)
{
	int r = (pattern->kind > kind) - (pattern->kind < kind);

	r = r ?: strncmp(pattern->text, text, length);
	return r ?: pattern->text[length] != '\0';
}

static int by_text(const void *a, const void *b)
{
	const struct pattern *x = ((const struct named *)a)->pattern;
	const struct pattern *y = ((const struct named *)b)->pattern;

	return (x->kind > y->kind) - (x->kind < y->kind) ?: strcmp(x->text, y->text);
}

static bool has_wildcards(const struct pattern *p)
{
	return p->kind == PATTERN_CGROUP && strpbrk(p->text, "*?[");
}

static void sort_workloads(struct search *s)
{
	for (unsigned int i = 0; i < s->config->n_workloads; i++) {
		const struct pattern *p = &s->config->workloads[i].pattern;

		/* Without text it was refused. */
		if (p->text && has_wildcards(p))
			s->globs[s->n_globs++] = i;
		else if (p->text)
			s->named[s->n_named++] = (struct named){ p, i };
	}
	qsort(s->named, s->n_named, sizeof(*s->named), by_text);
}

static int note(struct search *s, unsigned int workload, unsigned int policy)
{
	unsigned int **list = &s->about[workload], *n = &s->n_about[workload], *grown;

	if (*n && (*list)[*n - 1] == policy)
		return 0;
	/* In steps of sixteen. */
	if (*n % 16 == 0) {
		grown = reallocarray(*list, *n + 16, sizeof(**list));
		if (!grown)
			return -ENOMEM;
		*list = grown;
	}
	(*list)[(*n)++] = policy;
	return 0;
}

/* Every workload of exactly this name. */
static int note_named(struct search *s, unsigned int policy, enum pattern_kind kind,
		      const char *text, size_t length)
{
	unsigned int low = 0, high = s->n_named;
	int r = 0;

	while (low < high) {
		unsigned int middle = (low + high) / 2;

		if (compare_text(s->named[middle].pattern, kind, text, length) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; r == 0 && low < s->n_named &&
	       compare_text(s->named[low].pattern, kind, text, length) == 0;
	     low++)
		r = note(s, s->named[low].workload, policy);
	return r;
}

/* The path itself, those above it, and the units that it goes through. */
static int note_path(struct search *s, unsigned int policy, const char *path)
{
	const char *part = path;
	int r = 0;

	while (r == 0 && *part) {
		size_t length = strcspn(part + 1, "/");

		r = note_named(s, policy, PATTERN_UNIT, part + 1, length);
		part += 1 + length;
		r = r ?: note_named(s, policy, PATTERN_CGROUP, path, (size_t)(part - path));
	}
	return r;
}

static int note_globs(struct search *s, unsigned int policy)
{
	const struct pattern *of = &s->config->policies[policy].of;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < s->n_globs; i++)
		if (pattern_is_inside(of, &s->config->workloads[s->globs[i]].pattern))
			r = note(s, s->globs[i], policy);
	return r;
}

static int note_about(struct search *s, unsigned int policy)
{
	const struct policy_config *p = &s->config->policies[policy];
	int r;

	if (!is_about_something(p))
		return 0;
	r = p->of.kind == PATTERN_UNIT
		    ? note_named(s, policy, PATTERN_UNIT, p->of.text, strlen(p->of.text))
		    : note_path(s, policy, p->of.text);
	return r ?: note_globs(s, policy);
}

static int prepare(struct search *s)
{
	unsigned int w = s->config->n_workloads ?: 1, p = s->config->n_policies ?: 1;
	int r = 0;

	s->about = calloc(w, sizeof(*s->about));
	s->n_about = calloc(w, sizeof(*s->n_about));
	s->named = calloc(w, sizeof(*s->named));
	s->globs = calloc(w, sizeof(*s->globs));
	s->seen = calloc(w, sizeof(*s->seen));
	s->from = calloc(p, sizeof(*s->from));
	s->queue = calloc(p, sizeof(*s->queue));
	if (!s->about || !s->n_about || !s->named || !s->globs || !s->seen || !s->from || !s->queue)
		return -ENOMEM;
	sort_workloads(s);
	for (unsigned int i = 0; r == 0 && i < s->config->n_policies; i++)
		r = note_about(s, i);
	return r;
}

/* --- circles ---------------------------------------------------------------------------------- */

/* Breadth first from the policy, through those that stand before it. True: `from` leads back from
 * it, by the shortest way. */
static bool find_circle(struct search *s, unsigned int start)
{
	unsigned int head = 0, tail = 0;

	for (unsigned int i = 0; i < s->config->n_workloads; i++)
		s->seen[i] = false;
	for (unsigned int i = 0; i <= start; i++)
		s->from[i] = i;
	s->queue[tail++] = start;
	while (head < tail) {
		unsigned int at = s->queue[head++];
		const struct policy_config *p = &s->config->policies[at];

		for (unsigned int t = 0; t < p->n_targets; t++) {
			unsigned int w = p->targets[t];

			if (s->seen[w])
				continue;
			s->seen[w] = true;
			for (unsigned int i = 0; i < s->n_about[w] && s->about[w][i] <= start;
			     i++) {
				unsigned int to = s->about[w][i];

				/* One that is about its own target was told so. */
				if (to == start ? at == start : s->from[to] != to)
					continue;
				s->from[to] = at;
				if (to == start)
					return true;
				s->queue[tail++] = to;
			}
		}
	}
	return false;
}

static void tell(struct config_source *source, const struct search *s, unsigned int start)
{
	const struct policy_config *p = &s->config->policies[start];
	char others[1024] = "";
	unsigned int n = 0;
	size_t used = 0;

	for (unsigned int i = s->from[start]; i != start; i = s->from[i]) {
		const struct policy_config *o = &s->config->policies[i];

		if (n++ < NAMED && used < sizeof(others))
			used += (size_t)snprintf(others + used, sizeof(others) - used,
						 "%s%.63s (%.120s:%u)", n > 1 ? ", " : "", o->name,
						 o->place.file, o->place.line);
	}
	if (n > NAMED && used < sizeof(others))
		(void)snprintf(others + used, sizeof(others) - used, " and %u more", n - NAMED);
	if (n == 1)
		config_error(source, p->place,
			     "policy %s orders the opposite of policy %s: each holds what the "
			     "other one yields to, and both would be held and let go for ever; "
			     "keep one of them",
			     p->name, others);
	else
		config_error(source, p->place,
			     "policy %s closes a circle with the policies %s: each holds what "
			     "the next one yields to, and all would be held and let go for ever; "
			     "leave one of them out",
			     p->name, others);
}

void config_check_opposites(struct config_source *source, const struct config *config)
{
	_cleanup_(free_search)
	struct search s = { .config = config };

	if (prepare(&s) < 0) {
		source->out_of_memory = true;
		return;
	}
	/* Each circle is found at the one of its policies that stands last. */
	for (unsigned int i = 0; i < config->n_policies; i++)
		if (is_about_something(&config->policies[i]) && find_circle(&s, i))
			tell(source, &s, i);
}
