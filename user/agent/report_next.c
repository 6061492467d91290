// SPDX-License-Identifier: GPL-2.0-or-later
/* What a policy waits for and who keeps off a target, as `status` and `why` tell it. */
#include <stdio.h>

#include "agent/agent.h"
#include "agent/holds.h"
#include "tell/json.h"

void report_next_of_policy(const struct agent_policy *p, json_t *next)
{
	char what[512], text[640];

	words_next(p, what, sizeof(what));
	if (!*what)
		return;
	snprintf(text, sizeof(text), "policy %s %s", p->config->name, what);
	json_array_append_new(next, json_text(text));
}

/* Why this policy does not hold it. */
static void say_holder(const struct hold *h, const struct holder *holder, json_t *next)
{
	const char *name = holder->policy->config->name;
	char text[512] = "";

	if (holder->passed && h->error)
		snprintf(text, sizeof(text), "policy %s passes it over: %s", name,
			 hold_error_text(h->error));
	else if (holder->off && !holder->passed && !h->free_until_ns)
		snprintf(text, sizeof(text),
			 "policy %s keeps off it until its signal has been quiet, for it was "
			 "thawed by hand",
			 name);
	else if (!holder->off && !h->claim && h->error)
		snprintf(text, sizeof(text), "policy %s cannot hold it: %s", name,
			 hold_error_text(h->error));
	if (*text)
		json_array_append_new(next, json_text(text));
}

void report_next_of_hold(const struct hold *h, json_t *next)
{
	uint64_t now = monotonic_ns();
	char left[32], text[128];

	if (h->free_until_ns) {
		snprintf(text, sizeof(text), "it is left alone for %s more (culprit thaw --for)",
			 words_left(h->free_until_ns > now ? h->free_until_ns - now : 0, left,
				    sizeof(left)));
		json_array_append_new(next, json_text(text));
	}
	for (unsigned int i = 0; i < h->n_holders; i++)
		say_holder(h, &h->holders[i], next);
}

json_int_t report_until_ms(uint64_t until_ns)
{
	uint64_t now = monotonic_ns();

	return (json_int_t)(unix_ms() + (until_ns > now ? until_ns - now : 0) / NSEC_PER_MSEC);
}

json_t *report_free(const struct agent *a)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < CLAIM_MAX; i++) {
		const struct hold *h = &a->holds[i];

		if (h->used && h->free_until_ns)
			json_array_append_new(array, json_pack("{s:o,s:I}", "target",
							       target_to_json(&h->target), "until",
							       report_until_ms(h->free_until_ns)));
	}
	return array;
}
