// SPDX-License-Identifier: GPL-2.0-or-later
/* The methods of io.culprit.Agent (user/tell/io.culprit.Agent.varlink). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "lib/procfs.h"
#include "tell/json.h"

#define REFUSED	       "io.culprit.Agent.Refused"
#define NO_SUCH_TARGET "io.culprit.Agent.NoSuchTarget"

/* More than a call by hand ever means at once; a glob that matches more is refused. */
#define MAX_TARGETS 64

__attribute__((format(printf, 3, 4))) static void fail(struct varlink_call *call, const char *error,
						       const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	varlink_error(call, error, json_pack("{s:o}", "message", json_text(text)));
}

static void invalid(struct varlink_call *call, const char *parameter)
{
	varlink_error(call, "org.varlink.service.InvalidParameter",
		      json_pack("{s:s}", "parameter", parameter));
}

/* An optional string; false (and the call is answered) when it is something else. */
static bool get_text(struct varlink_call *call, json_t *parameters, const char *key,
		     const char **text)
{
	json_t *value = json_object_get(parameters, key);

	*text = NULL;
	if (!value || json_is_null(value))
		return true;
	*text = json_string_value(value);
	if (!*text)
		invalid(call, key);
	return *text != NULL;
}

/* An optional time from now in ms; *until_ns is 0 without it. */
static bool get_until(struct varlink_call *call, json_t *parameters, uint64_t *until_ns)
{
	json_t *value = json_object_get(parameters, "for_ms");
	json_int_t ms;

	*until_ns = 0;
	if (!value || json_is_null(value))
		return true;
	ms = json_integer_value(value);
	if (!json_is_integer(value) || ms <= 0 || ms > 10LL * 365 * 24 * 3600 * 1000) {
		invalid(call, "for_ms");
		return false;
	}
	*until_ns = monotonic_ns() + (uint64_t)ms * NSEC_PER_MSEC;
	return true;
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
	(void)parameters;
	(void)varlink_reply(call, json_pack("{s:o}", "status", report_status(agent)));
}

static void get_top(void *agent, struct varlink_call *call, json_t *parameters)
{
	(void)parameters;
	sampler_top(agent, call);
}

static void why(void *agent, struct varlink_call *call, json_t *parameters)
{
	const char *name;
	bool known;
	json_t *list;

	if (!get_text(call, parameters, "name", &name))
		return;
	list = report_why(agent, name, &known);
	if (!known) {
		json_decref(list);
		fail(call, NO_SUCH_TARGET,
		     "nothing is known of '%s'; name a workload, a policy, a /cgroup/path, "
		     "unit:NAME or pid:N that was acted on",
		     name);
		return;
	}
	(void)varlink_reply(call, json_pack("{s:o}", "why", list));
}

/* --- events ------------------------------------------------------------------------------------
 */

static void follower_closed(void *agent, struct varlink_call *call)
{
	struct agent *a = agent;

	for (unsigned int i = 0; i < MAX_FOLLOWERS; i++)
		if (a->followers[i] == call)
			a->followers[i] = NULL;
}

void control_follow(void *agent, json_t *event)
{
	struct agent *a = agent;

	for (unsigned int i = 0; i < MAX_FOLLOWERS; i++) {
		struct varlink_call *call = a->followers[i];

		if (call && !varlink_notify(call, json_pack("{s:[O]}", "events", event)))
			a->followers[i] = NULL;
	}
}

static void get_events(void *agent, struct varlink_call *call, json_t *parameters)
{
	struct agent *a = agent;
	json_t *since = json_object_get(parameters, "since");
	json_t *list;

	if (since && !json_is_null(since) && !json_is_integer(since)) {
		invalid(call, "since");
		return;
	}
	list = json_array();
	for (unsigned int i = 0; i < events_count(a->events); i++) {
		json_t *event = events_get(a->events, i);

		if (json_integer_value(json_object_get(event, "ts")) >= json_integer_value(since))
			json_array_append(list, event);
	}
	if (!varlink_wants_more(call)) {
		(void)varlink_reply(call, json_pack("{s:o}", "events", list));
		return;
	}
	for (unsigned int i = 0; i < MAX_FOLLOWERS; i++) {
		if (a->followers[i])
			continue;
		a->followers[i] = call;
		varlink_on_close(call, follower_closed, a);
		if (!varlink_notify(call, json_pack("{s:o}", "events", list)))
			a->followers[i] = NULL;
		return;
	}
	json_decref(list);
	fail(call, REFUSED, "%d clients follow the events already; end one of them", MAX_FOLLOWERS);
}

/* --- freeze and thaw ---------------------------------------------------------------------------
 */

static int process_target(struct agent *a, const char *text, struct target *target)
{
	const struct culprit_process *list;
	size_t count = 0;
	char *end;
	long pid = strtol(text, &end, 10);

	if (*end || end == text || pid <= 0 || pid > INT32_MAX)
		return -EINVAL;
	if (!a->census || census_take(a->census, (pid_t)pid, &list, &count) < 0 || count == 0)
		return -ESRCH;
	*target = (struct target){
		.kind = TARGET_PROCESS,
		.cgroup = list[0].cgroup,
		.pid = (pid_t)pid,
		.start_time_ns = list[0].start_time_ns,
	};
	memcpy(target->comm, list[0].comm, sizeof(target->comm));
	(void)cgroupfs_path_of(&a->cgroups, list[0].cgroup, target->path, sizeof(target->path));
	return 1;
}

struct unit_search {
	const char *name;
	struct target *targets;
	unsigned int n, max;
};

static void match_unit(void *user, struct tree_node *node)
{
	struct unit_search *s = user;
	const char *slash = strrchr(node->path, '/');

	if (slash && strcmp(slash + 1, s->name) == 0 && s->n < s->max)
		target_of_node(&s->targets[s->n++], node);
}

/* What a name on the command line stands for: targets found, 0: none, or -errno. */
static int resolve(struct agent *a, const char *name, struct target *targets, unsigned int max)
{
	struct agent_workload *w = workload_find(a, name);
	struct tree_node *node;

	if (w) {
		for (unsigned int i = 0; i < w->n_nodes && i < max; i++)
			target_of_node(&targets[i], w->nodes[i]);
		return (int)(w->n_nodes < max ? w->n_nodes : max);
	}
	if (strncmp(name, "pid:", 4) == 0)
		return process_target(a, name + 4, targets);
	if (strncmp(name, "unit:", 5) == 0) {
		struct unit_search s = { .name = name + 5, .targets = targets, .max = max };

		if (a->tree)
			tree_each(a->tree, match_unit, &s);
		return (int)s.n;
	}
	if (strncmp(name, "cgroup:", 7) == 0)
		name += 7;
	if (name[0] != '/')
		return -EINVAL;
	node = a->tree ? tree_find_path(a->tree, name) : NULL;
	if (!node)
		return 0;
	target_of_node(targets, node);
	return 1;
}

static bool resolve_or_fail(struct agent *a, struct varlink_call *call, json_t *parameters,
			    const char **name, struct target *targets, unsigned int *n)
{
	int r;

	if (!get_text(call, parameters, "target", name))
		return false;
	if (!*name || !**name) {
		invalid(call, "target");
		return false;
	}
	r = resolve(a, *name, targets, MAX_TARGETS);
	if (r > 0) {
		*n = (unsigned int)r;
		return true;
	}
	if (r == -EINVAL)
		fail(call, NO_SUCH_TARGET,
		     "'%s' is no workload; name one, or a /cgroup/path, unit:NAME or pid:N", *name);
	else
		fail(call, NO_SUCH_TARGET, "'%s' is not there now; nothing was done", *name);
	return false;
}

static const char *refusal(int error)
{
	switch (-error) {
	case EBUSY:
		return "someone else has frozen or stopped it, and it stays theirs";
	case EPERM:
		return "it is outside `only`, or the agent or one of its ancestors is in it";
	case ENODATA:
		return "nothing runs in it";
	case ENOSPC:
		return "the ledger is full";
	case EHOSTDOWN:
		return "the guardian is down, so it could not be undone";
	default:
		return strerror(-error);
	}
}

static void freeze(void *agent, struct varlink_call *call, json_t *parameters)
{
	struct agent *a = agent;
	struct target targets[MAX_TARGETS];
	const char *name;
	unsigned int n;
	uint64_t until;
	json_t *claims;
	int error = 0;

	if (!get_until(call, parameters, &until) ||
	    !resolve_or_fail(a, call, parameters, &name, targets, &n))
		return;
	if (a->config->shadow) {
		fail(call, REFUSED,
		     "the agent is in shadow mode and touches nothing; set mode = enforce");
		return;
	}
	claims = json_array();
	for (unsigned int i = 0; i < n; i++) {
		struct hold *h;
		char reason[128];
		int r;

		snprintf(reason, sizeof(reason), "by hand, by user id %u",
			 (unsigned int)varlink_uid(call));
		r = hold_by_operator(a, &targets[i], until, reason, &h);
		if (r < 0)
			error = r;
		else
			json_array_append_new(claims, report_claim(h));
	}
	if (json_array_size(claims) == 0) {
		json_decref(claims);
		fail(call, REFUSED, "'%s' was not frozen: %s", name, refusal(error));
		return;
	}
	(void)varlink_reply(
		call, json_pack("{s:O,s:o}", "claim", json_array_get(claims, 0), "claims", claims));
}

static void thaw(void *agent, struct varlink_call *call, json_t *parameters)
{
	struct agent *a = agent;
	struct target targets[MAX_TARGETS];
	const char *name;
	unsigned int n;
	json_t *claims;

	if (!resolve_or_fail(a, call, parameters, &name, targets, &n))
		return;
	claims = json_array();
	for (unsigned int i = 0; i < n; i++) {
		struct hold *h = hold_find(a, &targets[i]);

		if (!h || !h->claim)
			continue;
		json_array_append_new(claims, report_claim(h));
		hold_release_one(a, h, "it was thawed by hand");
	}
	if (json_array_size(claims) == 0) {
		json_decref(claims);
		fail(call, REFUSED, "'%s' is not held by culprit; nothing was done", name);
		return;
	}
	(void)varlink_reply(call, json_pack("{s:o}", "claims", claims));
}

/* --- pause, reload, quit ------------------------------------------------------------------------
 */

static void for_policies(struct agent *a, struct varlink_call *call, json_t *parameters, bool pause)
{
	const char *name;
	uint64_t until = 0;
	json_t *names;

	if (!get_text(call, parameters, "policy", &name) ||
	    (pause && !get_until(call, parameters, &until)))
		return;
	if (name && *name && !policy_find(a, name)) {
		fail(call, NO_SUCH_TARGET, "there is no policy '%s'; culprit status lists them",
		     name);
		return;
	}
	names = json_array();
	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];

		if (name && *name && strcmp(p->config->name, name) != 0)
			continue;
		if (pause)
			policy_pause(a, p, until);
		else
			policy_resume(a, p);
		json_array_append_new(names, json_string(p->config->name));
	}
	(void)varlink_reply(call, json_pack("{s:o}", "policies", names));
}

static void pause_policy(void *agent, struct varlink_call *call, json_t *parameters)
{
	for_policies(agent, call, parameters, true);
}

static void resume_policy(void *agent, struct varlink_call *call, json_t *parameters)
{
	for_policies(agent, call, parameters, false);
}

static void reload(void *agent, struct varlink_call *call, json_t *parameters)
{
	struct agent *a = agent;
	json_t *lines = json_array();

	(void)parameters;
	if (agent_reload(a, lines) < 0) {
		varlink_error(call, "io.culprit.Agent.BadConfiguration",
			      json_pack("{s:s,s:o}", "message",
					"the configuration has errors; the old one stays in force",
					"lines", lines));
		return;
	}
	json_decref(lines);
	(void)varlink_reply(call, json_pack("{s:i}", "policies", (int)a->n_policies));
}

static void quit(void *agent, struct varlink_call *call, json_t *parameters)
{
	struct agent *a = agent;

	(void)parameters;
	(void)varlink_reply(call, json_object());
	sd_event_exit(a->event, 0);
}

const struct varlink_method control_methods[] = {
	{ "io.culprit.Agent.Ping", VARLINK_LOOK, ping },
	{ "io.culprit.Agent.GetStatus", VARLINK_LOOK, get_status },
	{ "io.culprit.Agent.GetTop", VARLINK_LOOK, get_top },
	{ "io.culprit.Agent.Why", VARLINK_LOOK, why },
	{ "io.culprit.Agent.Events", VARLINK_LOOK, get_events },
	{ "io.culprit.Agent.Freeze", VARLINK_ROOT, freeze },
	{ "io.culprit.Agent.Thaw", VARLINK_ROOT, thaw },
	{ "io.culprit.Agent.Pause", VARLINK_ROOT, pause_policy },
	{ "io.culprit.Agent.Resume", VARLINK_ROOT, resume_policy },
	{ "io.culprit.Agent.Reload", VARLINK_ROOT, reload },
	{ "io.culprit.Agent.Quit", VARLINK_ROOT, quit },
	{ NULL, VARLINK_ROOT, NULL },
};
