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

/* More than a call by hand ever means at once. */
#define MAX_TARGETS 64
/* The longest time that a call by hand may ask for: ten years, in ms. */
#define MAX_FOR_MS  (10LL * 365 * 24 * 3600 * 1000)

/* Milliseconds from now as a time of CLOCK_MONOTONIC; 0 without them. False: out of range, and the
 * call is answered. */
static bool until(struct varlink_call *call, bool given, int64_t for_ms, uint64_t *until_ns)
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

/* The targets of that name; 0 when there are none, and the call is answered. */
static unsigned int resolve_or_fail(struct agent *a, struct varlink_call *call, const char *name,
				    struct target *targets)
{
	int r = resolve(a, name, targets, MAX_TARGETS);

	if (r > 0)
		return (unsigned int)r;
	if (r == -EINVAL)
		varlink_errorf(
			call, NO_SUCH_TARGET,
			"'%s' is no workload; name one, or a /cgroup/path, unit:NAME or pid:N",
			name);
	else
		varlink_errorf(
			call, NO_SUCH_TARGET,
			"'%s' is not there now (culprit top lists what is); nothing was done",
			name);
	return 0;
}

static void freeze(void *agent, struct varlink_call *call, json_t *parameters)
{
	struct agent *a = agent;
	struct target targets[MAX_TARGETS];
	const char *name;
	int64_t for_ms = 0;
	bool timed = false;
	const struct varlink_field fields[] = {
		{ "target", VARLINK_STRING, true, &name, NULL },
		{ "for_ms", VARLINK_INT, false, &for_ms, &timed },
		{ 0 },
	};
	uint64_t until_ns;
	unsigned int n;
	json_t *claims;
	int error = 0;

	if (!varlink_fields(call, parameters, fields) || !until(call, timed, for_ms, &until_ns))
		return;
	if (a->config->shadow) {
		varlink_errorf(
			call, VARLINK_REFUSED,
			"the agent is in shadow mode and touches nothing; set mode = enforce");
		return;
	}
	n = resolve_or_fail(a, call, name, targets);
	if (!n)
		return;
	claims = json_array();
	for (unsigned int i = 0; i < n; i++) {
		struct hold *h;
		char reason[128];
		int r;

		snprintf(reason, sizeof(reason), "by hand, by user id %u",
			 (unsigned int)varlink_uid(call));
		r = hold_by_operator(a, &targets[i], until_ns, reason, &h);
		if (r < 0)
			error = r;
		else
			json_array_append_new(claims, report_claim(h));
	}
	if (json_array_size(claims) == 0) {
		json_decref(claims);
		varlink_errorf(call, VARLINK_REFUSED, "'%s' was not frozen: %s", name,
			       hold_error_text(error));
		return;
	}
	(void)varlink_reply(
		call, json_pack("{s:O,s:o}", "claim", json_array_get(claims, 0), "claims", claims));
}

static bool frozen_by_others(struct agent *a, const struct target *target)
{
	_cleanup_close_ int dir = cgroupfs_open_id(&a->cgroups, target->cgroup);
	char text[8] = "";

	return target->kind == TARGET_CGROUP && dir >= 0 &&
	       cgroupfs_read(dir, "cgroup.freeze", text, sizeof(text)) > 0 && text[0] == '1';
}

static void thaw(void *agent, struct varlink_call *call, json_t *parameters)
{
	struct agent *a = agent;
	struct target targets[MAX_TARGETS];
	const char *name;
	const struct varlink_field fields[] = {
		{ "target", VARLINK_STRING, true, &name, NULL },
		{ 0 },
	};
	unsigned int n;
	json_t *claims;

	if (!varlink_fields(call, parameters, fields))
		return;
	n = resolve_or_fail(a, call, name, targets);
	if (!n)
		return;
	claims = json_array();
	for (unsigned int i = 0; i < n; i++) {
		struct hold *h = hold_find(a, &targets[i]);

		if (!h || !(h->claim || h->by_operator))
			continue;
		json_array_append_new(claims, report_claim(h));
		hold_release_one(a, h, "it was thawed by hand");
	}
	if (json_array_size(claims) == 0) {
		json_decref(claims);
		varlink_errorf(call, VARLINK_REFUSED,
			       "'%s' is not held by culprit%s; nothing was done", name,
			       frozen_by_others(a, &targets[0])
				       ? ", someone else froze it (echo 0 >cgroup.freeze thaws it)"
				       : "");
		return;
	}
	(void)varlink_reply(call, json_pack("{s:o}", "claims", claims));
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
	uint64_t until_ns;
	json_t *names;

	if (!varlink_fields(call, parameters, fields) || !until(call, timed, for_ms, &until_ns) ||
	    no_such_policy(a, call, name))
		return;
	names = json_array();
	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];

		if (!is_meant(p, name))
			continue;
		policy_pause(a, p, until_ns);
		json_array_append_new(names, json_text(p->config->name));
	}
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
	{ "io.culprit.Agent.Freeze", VARLINK_ROOT, freeze },
	{ "io.culprit.Agent.Thaw", VARLINK_ROOT, thaw },
	{ "io.culprit.Agent.Pause", VARLINK_ROOT, pause_policy },
	{ "io.culprit.Agent.Resume", VARLINK_ROOT, resume_policy },
	{ "io.culprit.Agent.Reload", VARLINK_ROOT, reload },
	{ "io.culprit.Agent.Quit", VARLINK_ROOT, quit },
	{ NULL, VARLINK_ROOT, NULL },
};
