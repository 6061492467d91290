// SPDX-License-Identifier: GPL-2.0-or-later
/* What the senses have room for is told when the file is read: nothing may be dropped later. */
#include <string.h>

#include "culprit/cpu.h"
#include "culprit/delay.h"
#include "decide/config_policy.h"

static bool can_be_inside(const struct pattern *target, const struct pattern *of)
{
	/* Where a unit is, and what a glob stands for, shows only later. */
	return target->kind == PATTERN_UNIT || strpbrk(target->text, "*?[") ||
	       pattern_matches(of, &(struct subject){ .cgroup_path = target->text });
}

/* FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv), 64 bits. */
static uint64_t digest(uint64_t digest, const char *text)
{
	/* With the zero at its end, so that it is told where one ends and the next begins. */
	do
		digest = (digest ^ (unsigned char)*text) * 0x100000001b3;
	while (*text++);
	return digest;
}

static void note_left_out(const struct config *config, struct policy_config *p)
{
	for (unsigned int t = 0; !p->of_others && t < p->n_targets; t++) {
		const struct pattern *target = &config->workloads[p->targets[t]].pattern;

		/* What could not be read has been told already. */
		if (!target->text || !p->of.text || !can_be_inside(target, &p->of))
			continue;
		if (p->left_out == 0)
			p->left_out = 0xcbf29ce484222325;
		p->left_out = digest(p->left_out, target->kind == PATTERN_UNIT ? "unit" : "cgroup");
		p->left_out = digest(p->left_out, target->text);
	}
}

/* Do both watch the same tasks over the same window, so that they share a budget? A budget of
 * delays has one pair of limits, for it counts the waits beyond them. */
static bool same_budget(const struct policy_config *x, const struct policy_config *y)
{
	if (y->signal != SIGNAL_CPU || x->metric != y->metric || x->window_ns != y->window_ns ||
	    x->left_out != y->left_out || x->of_others != y->of_others ||
	    x->non_nice != y->non_nice)
		return false;
	if (x->metric == METRIC_DELAY && (x->enter != y->enter || x->leave != y->leave))
		return false;
	return x->of_others || pattern_equal(&x->of, &y->of);
}

static bool is_new_budget(const struct config *config, unsigned int policy, enum cpu_metric metric)
{
	const struct policy_config *p = &config->policies[policy];

	if (p->signal != SIGNAL_CPU || p->metric != metric)
		return false;
	for (unsigned int i = 0; i < policy; i++)
		if (same_budget(p, &config->policies[i]))
			return false;
	return true;
}

static void check_budgets(struct config_source *source, const struct config *config,
			  enum cpu_metric metric)
{
	unsigned int room = metric == METRIC_DELAY ? CULPRIT_DELAY_BUDGETS : CULPRIT_CPU_BUDGETS;
	unsigned int n = 0;

	if (config->n_policies <= CULPRIT_CPU_BUDGETS)
		return;
	for (unsigned int i = 0; i < config->n_policies; i++) {
		if (!is_new_budget(config, i, metric) || ++n <= room)
			continue;
		config_error(source, config->policies[i].place,
			     "policy %s is one too many: there is room for %u different "
			     "combinations of of, window and targets inside of%s; give some "
			     "policies the same",
			     config->policies[i].name, room,
			     metric == METRIC_DELAY
				     ? ", and of enter and leave, with metric = delay"
				     : "");
		return;
	}
}

static bool add_glob(const char **globs, unsigned int *n, const char *glob)
{
	for (unsigned int i = 0; i < *n; i++)
		if (strcmp(globs[i], glob) == 0)
			return true;
	if (*n == GPU_GLOBS)
		return false;
	globs[(*n)++] = glob;
	return true;
}

static struct config_place place_of_devices(struct config_source *source,
					    const struct policy_config *p)
{
	const struct config_section *section = config_source_find(source, "policy", p->name);
	const struct config_item *item = section ? config_section_find(section, "devices") : NULL;

	return item ? item->place : p->place;
}

static void check_globs(struct config_source *source, const struct config *config)
{
	const char *globs[GPU_GLOBS];
	unsigned int n = 0;

	for (unsigned int i = 0; i < config->n_policies; i++) {
		const struct policy_config *p = &config->policies[i];

		for (char **d = p->devices; d && *d; d++) {
			if (add_glob(globs, &n, *d))
				continue;
			config_error(source, place_of_devices(source, p),
				     "devices: '%.80s' is one too many: all policies together may "
				     "have %d different globs; write fewer and wider ones",
				     *d, GPU_GLOBS);
			return;
		}
	}
}

void config_check_limits(struct config_source *source, struct config *config)
{
	for (unsigned int i = 0; i < config->n_policies; i++)
		if (config->policies[i].signal == SIGNAL_CPU)
			note_left_out(config, &config->policies[i]);
	check_budgets(source, config, METRIC_USE);
	check_budgets(source, config, METRIC_DELAY);
	check_globs(source, config);
}
