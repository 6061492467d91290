// SPDX-License-Identifier: GPL-2.0-or-later
/* The key `escalate`, which is checked against the policy's action, targets and max_hold. */
#include <string.h>

#include "decide/config_policy.h"
#include "decide/config_read.h"
#include "lib/cleanup.h"
#include "lib/units.h"

struct reading {
	struct config_source *source;
	struct policy_config *policy;
};

/* The rung's action; false: it is none. */
static bool read_action(const char *text, const char *end, enum policy_action *action)
{
	static const enum policy_action known[] = { ACTION_FREEZE, ACTION_STOP, ACTION_DEMOTE,
						    ACTION_TERMINATE, ACTION_KILL };

	for (size_t i = 0; end && i < ARRAY_SIZE(known); i++) {
		const char *name = policy_action_name(known[i]);

		*action = known[i];
		if (strlen(name) == (size_t)(end - text) &&
		    strncmp(name, text, (size_t)(end - text)) == 0)
			return true;
	}
	return false;
}

static bool parse(struct reading *r, const char *text, struct config_place place,
		  struct escalate_rung *rung)
{
	const char *time = strchr(text, ':'), *error;

	if (!read_action(text, time, &rung->action)) {
		config_error(r->source, place,
			     "escalate: '%.80s' is not ACTION:TIME; write it as in terminate:10m",
			     text);
		return false;
	}
	if (units_parse_duration(time + 1, &rung->after_ns, &error) < 0) {
		config_error(r->source, place, "escalate: '%.80s' %s", time + 1, error);
		return false;
	}
	return true;
}

/* Does it go beyond what is done before it, and come later? */
static bool rises(struct reading *r, const char *text, struct config_place place,
		  const struct escalate_rung *rung)
{
	const struct policy_config *policy = r->policy;
	const struct escalate_ladder *ladder = &policy->escalate;
	struct escalate_rung before = { .action = policy->action };

	if (ladder->count)
		before = ladder->rungs[ladder->count - 1];
	if (policy_action_severity(rung->action) <= policy_action_severity(before.action)) {
		config_error(r->source, place,
			     "escalate: '%.80s' is not more than %s, which comes before it; go on "
			     "with what takes more (freeze, then terminate, then kill)",
			     text, policy_action_name(before.action));
		return false;
	}
	if (rung->after_ns <= before.after_ns) {
		config_error(r->source, place,
			     "escalate: '%.80s' comes no later than what is before it; write a "
			     "later time, which counts from the claim's start",
			     text);
		return false;
	}
	return true;
}

static void read_rung(void *user, const char *text, struct config_place place)
{
	struct reading *r = user;
	struct policy_config *policy = r->policy;
	struct escalate_ladder *ladder = &policy->escalate;
	struct escalate_rung rung;

	if (!parse(r, text, place, &rung) || !rises(r, text, place, &rung))
		return;
	if (rung.action == ACTION_STOP && policy->n_targets) {
		config_error(
			r->source, place,
			"escalate: stop takes a workload's processes one by one; write freeze, "
			"which holds all of it at once");
		return;
	}
	if (policy->max_hold_ns && rung.after_ns >= policy->max_hold_ns)
		config_warning(r->source, place,
			       "escalate: '%.80s' is never reached, because max_hold lets go "
			       "before; write an earlier time, or a longer max_hold",
			       text);
	/* Each takes more than the one before, so there is always room. */
	if (ladder->count < ESCALATE_MAX)
		ladder->rungs[ladder->count++] = rung;
}

void config_read_ladder(struct config_source *source, const struct config_section *section,
			struct policy_config *policy)
{
	const struct config_item *item = config_section_find(section, "escalate");
	struct reading reading = { .source = source, .policy = policy };

	if (item && strcmp(item->value, "none") != 0)
		config_each(source, item, read_rung, &reading);
}
