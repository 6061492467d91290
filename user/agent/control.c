// SPDX-License-Identifier: GPL-2.0-or-later
/* The methods of io.culprit.Agent (user/tell/io.culprit.Agent.varlink). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "lib/procfs.h"
#include "lib/units.h"
#include "tell/json.h"

/* The longest time that a call by hand may ask for: ten years, in ms. */
#define MAX_FOR_MS (10LL * 365 * 24 * 3600 * 1000)

bool control_until(struct varlink_call *call, bool given, int64_t for_ms, uint64_t *until_ns)
{
	*until_ns = 0;
	if (!given)
		return true;
	if (for_ms <= 0 || for_ms > MAX_FOR_MS) {
		varlink_error(call, "org.varlink.service.InvalidParameter",
			      json_pack("{s:s}", "parameter", "for_ms"));
		return false;
	}
	*until_ns = monotonic_ns() + (uint64_t)for_ms * NSEC_PER_MSEC;
	return true;
}

static bool no_parameters(struct varlink_call *call, json_t *parameters)
{
	static const struct varlink_field none[] = { { 0 } };

	return varlink_fields(call, parameters, none);
}

static void ping(void *agent, struct varlink_call *call, json_t *parameters)
{
	(void)agent;
	(void)parameters;
	(void)varlink_reply(
		call, json_pack("{s:s,s:i}", "version", CULPRIT_VERSION, "pid", (int)getpid()));
}

static void get_status(void *agent, struct varlink_call *call, json_t *parameters)
{
	if (no_parameters(call, parameters))
		(void)varlink_reply(call, json_pack("{s:o}", "status", report_status(agent)));
}

static void get_top(void *agent, struct varlink_call *call, json_t *parameters)
{
	if (no_parameters(call, parameters))
		top_answer(agent, call);
}

static void why(void *agent, struct varlink_call *call, json_t *parameters)
{
	const char *name = NULL;
	const struct varlink_field fields[] = {
		{ "name", VARLINK_STRING, false, &name, NULL },
		{ 0 },
	};
	bool known;
	json_t *list;

	if (!varlink_fields(call, parameters, fields))
		return;
	list = report_why(agent, name, &known);
	if (known) {
		(void)varlink_reply(call, json_pack("{s:o}", "why", list));
		return;
	}
	json_decref(list);
	varlink_errorf(call, NO_SUCH_TARGET,
		       "nothing is known of '%s'; name a workload, a policy, a /cgroup/path, "
		       "unit:NAME or pid:N that was acted on",
		       name);
}

static void get_events(void *agent, struct varlink_call *call, json_t *parameters)
{
	struct agent *a = agent;

	feed_answer(a->feed, call, parameters);
}

/* --- pause, reload, quit ------------------------------------------------------------------------
 */

static bool no_such_policy(struct agent *a, struct varlink_call *call, const char *name)
{
	if (!name || !*name || policy_find(a, name))
		return false;
	varlink_errorf(call, NO_SUCH_TARGET, "there is no policy '%s'; culprit status lists them",
		       name);
	return true;
}

static bool is_meant(const struct agent_policy *p, const char *name)
{
	return !name || !*name || strcmp(p->config->name, name) == 0;
}

/* By hand means: by whom, and for how long. name: of one policy; else of all. */
static void tell_switched(struct agent *a, const struct varlink_call *call, const char *name,
			  const char *what, const char *how_long, size_t n)
{
	struct event event = { .kind = EVENT_CONFIG };

	if (n == 0)
		return;
	if (name && *name)
		snprintf(event.policy, sizeof(event.policy), "%s", name);
	snprintf(event.reason, sizeof(event.reason), "%s was %s by hand, by user id %u%s",
		 name && *name ? "the policy" : "every policy", what,
		 (unsigned int)varlink_uid(call), how_long);
	agent_tell(a, &event);
}

static void pause_policy(void *agent, struct varlink_call *call, json_t *parameters)
{
	struct agent *a = agent;
	const char *name = NULL;
	int64_t for_ms = 0;
	bool timed = false;
	const struct varlink_field fields[] = {
		{ "policy", VARLINK_STRING, false, &name, NULL },
		{ "for_ms", VARLINK_INT, false, &for_ms, &timed },
		{ 0 },
	};
	char span[32], how_long[48] = ", until culprit resume";
	uint64_t until_ns;
	json_t *names;

	if (!varlink_fields(call, parameters, fields) ||
	    !control_until(call, timed, for_ms, &until_ns) || no_such_policy(a, call, name))
		return;
	names = json_array();
	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];

		if (!is_meant(p, name))
			continue;
		policy_pause(a, p, until_ns);
		json_array_append_new(names, json_text(p->config->name));
	}
	if (timed) {
		units_say_duration((uint64_t)for_ms * NSEC_PER_MSEC, span, sizeof(span));
		snprintf(how_long, sizeof(how_long), ", for %s", span);
	}
	tell_switched(a, call, name, "paused", how_long, json_array_size(names));
	(void)varlink_reply(call, json_pack("{s:o}", "policies", names));
}

static void resume_policy(void *agent, struct varlink_call *call, json_t *parameters)
{
	struct agent *a = agent;
	const char *name = NULL;
	const struct varlink_field fields[] = {
		{ "policy", VARLINK_STRING, false, &name, NULL },
		{ 0 },
	};
	json_t *names;

	if (!varlink_fields(call, parameters, fields) || no_such_policy(a, call, name))
		return;
	names = json_array();
	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];

		if (!is_meant(p, name) || !p->paused)
			continue;
		policy_resume(a, p);
		json_array_append_new(names, json_text(p->config->name));
	}
	tell_switched(a, call, name, "resumed", "", json_array_size(names));
	(void)varlink_reply(call, json_pack("{s:o}", "policies", names));
}

static void reload(void *agent, struct varlink_call *call, json_t *parameters)
{
	struct agent *a = agent;
	json_t *lines;
	int r;

	if (!no_parameters(call, parameters))
		return;
	lines = json_array();
	r = agent_reload(a, lines);
	if (r < 0) {
		varlink_error(call, "io.culprit.Agent.BadConfiguration",
			      json_pack("{s:s,s:o}", "message",
					r == -ENOMEM ? "the configuration could not be read (no "
						       "memory); the old one stays in force"
						     : "the configuration has errors; the old one "
						       "stays in force",
					"lines", lines));
		return;
	}
	json_decref(lines);
	(void)varlink_reply(call, json_pack("{s:i}", "policies", (int)a->n_policies));
}

static void quit(void *agent, struct varlink_call *call, json_t *parameters)
{
	struct agent *a = agent;

	if (!no_parameters(call, parameters))
		return;
	(void)varlink_reply(call, json_object());
	sd_event_exit(a->event, 0);
}

const struct varlink_method control_methods[] = {
	{ "io.culprit.Agent.Ping", VARLINK_LOOK, ping },
	{ "io.culprit.Agent.GetStatus", VARLINK_LOOK, get_status },
	{ "io.culprit.Agent.GetTop", VARLINK_LOOK, get_top },
	{ "io.culprit.Agent.Why", VARLINK_LOOK, why },
	{ "io.culprit.Agent.Events", VARLINK_LOOK, get_events },
	{ "io.culprit.Agent.Freeze", VARLINK_ROOT, control_freeze },
	{ "io.culprit.Agent.Thaw", VARLINK_ROOT, control_thaw },
	{ "io.culprit.Agent.Pause", VARLINK_ROOT, pause_policy },
	{ "io.culprit.Agent.Resume", VARLINK_ROOT, resume_policy },
	{ "io.culprit.Agent.Reload", VARLINK_ROOT, reload },
	{ "io.culprit.Agent.Quit", VARLINK_ROOT, quit },
	{ NULL, VARLINK_ROOT, NULL },
};
