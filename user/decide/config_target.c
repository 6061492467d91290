// SPDX-License-Identifier: GPL-2.0-or-later
/* The target of a policy, and whether its action suits it. */
#include <stdlib.h>
#include <string.h>

#include "decide/config_policy.h"
#include "decide/config_read.h"
#include "lib/clock.h"

/* Whoever the evidence names gets free again some day, whatever the signal says. */
#define OFFENDER_MAX_HOLD_NS (3600 * NSEC_PER_SEC)

struct reading {
	struct config_source *source;
	const struct config_section *section;
	const struct config *config;
	struct policy_config *policy;
};

static const struct config_item *find(const struct reading *r, const char *key)
{
	return config_section_find(r->section, key);
}

static void add_target(struct reading *r, unsigned int workload, struct config_place place)
{
	struct policy_config *policy = r->policy;
	unsigned int *grown;

	for (unsigned int i = 0; i < policy->n_targets; i++) {
		if (policy->targets[i] == workload) {
			config_error(r->source, place, "target: '%s' stands there twice; keep one",
				     r->config->workloads[workload].name);
			return;
		}
	}
	grown = reallocarray(policy->targets, policy->n_targets + 1, sizeof(*grown));
	if (!grown) {
		r->source->out_of_memory = true;
		return;
	}
	policy->targets = grown;
	policy->targets[policy->n_targets++] = workload;
}

static void read_target(void *user, const char *name, struct config_place place)
{
	struct reading *r = user;

	if (strcmp(name, "offender") == 0) {
		r->policy->target_offender = true;
		return;
	}
	if (strcmp(name, "jobs") == 0) {
		config_error(r->source, place,
			     "'target = jobs' is not supported yet; name a workload, or offender");
		return;
	}
	for (unsigned int i = 0; i < r->config->n_workloads; i++) {
		if (strcmp(r->config->workloads[i].name, name) == 0) {
			add_target(r, i, place);
			return;
		}
	}
	/* Of a job it was said already that there are none yet. */
	if (!config_source_find(r->source, "job", name))
		config_error(r->source, place,
			     "target: no workload is called '%.80s'; add a [workload %.80s] "
			     "section, or correct the name",
			     name, name);
}

static void check_turn(const struct reading *r)
{
	bool is_turn = r->policy->action == ACTION_TURN;
	const struct config_item *slice = find(r, "slice"), *escalate = find(r, "escalate");

	if (is_turn && r->policy->n_targets)
		config_error(r->source, find(r, "action")->place,
			     "action = turn is for those who thrash together; write target = "
			     "offender, and signal = thrash");
	if (is_turn && escalate && strcmp(escalate->value, "none") != 0)
		config_error(r->source, escalate->place,
			     "escalate: with action = turn nobody is held for long; remove it, or "
			     "write action = freeze");
	if (is_turn && r->policy->max_hold_ns)
		config_error(
			r->source, find(r, "max_hold")->place,
			"max_hold: with action = turn nobody is held for longer than the turns "
			"of the others; remove it, or write action = freeze");
	if (!is_turn && slice && r->policy->slice_ns != CONFIG_SLICE_NS)
		config_error(r->source, slice->place,
			     "slice is the length of a turn; write action = turn, or remove it");
}

static bool is_signal(const struct reading *r, enum signal_kind signal)
{
	return find(r, "signal") && r->policy->signal == signal;
}

static void read_targets(struct reading *r)
{
	const struct config_item *item = find(r, "target");
	unsigned int errors = r->source->errors;

	if (!item || config_is_empty_list(item))
		return;
	config_each(r->source, item, read_target, r);
	check_turn(r);
	if (r->policy->target_offender && r->policy->action == ACTION_DEMOTE)
		config_error(r->source, find(r, "action")->place,
			     "action = demote is for cgroups, and an offender may be a single "
			     "process; write freeze or stop");
	if (!r->policy->target_offender || r->source->errors != errors)
		return;
	if (r->policy->n_targets)
		config_error(r->source, item->place,
			     "target: 'offender' cannot stand beside workloads; make two policies");
	else if (is_signal(r, SIGNAL_CPU) || is_signal(r, SIGNAL_GPU))
		config_error(r->source, item->place,
			     "signal = %s names no offender; set target to a workload, or use "
			     "signal = thrash",
			     policy_signal_name(r->policy->signal));
	if (r->policy->select != SELECT_ALL)
		config_error(r->source, find(r, "select")->place,
			     "select chooses among workloads, and the offender is found by the "
			     "evidence; remove it, or name workloads");
	/* With turns nobody is held for long. */
	if (!find(r, "max_hold") && r->policy->action != ACTION_TURN)
		r->policy->max_hold_ns = OFFENDER_MAX_HOLD_NS;
}

void config_read_targets(struct config_source *source, const struct config_section *section,
			 const struct config *config, struct policy_config *policy)
{
	struct reading reading = { source, section, config, policy };

	read_targets(&reading);
}
