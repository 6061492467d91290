// SPDX-License-Identifier: GPL-2.0-or-later
/* Freeze and Thaw of io.culprit.Agent: what a name stands for, and what was done to which of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "tell/json.h"

/* --- what a name stands for --------------------------------------------------------------------
 */

/* Called for each target that a name on the command line stands for. */
struct each_target {
	void (*fn)(struct each_target *each, const struct target *target);
	const char *unit; /* its name alone, for unit:NAME */
	unsigned int n;
};

static void count_only(struct each_target *each, const struct target *target)
{
	(void)each;
	(void)target;
}

static void take_target(struct each_target *each, const struct target *target)
{
	each->n++;
	each->fn(each, target);
}

static void take_node(struct each_target *each, const struct tree_node *node)
{
	struct target target;

	target_of_node(&target, node);
	take_target(each, &target);
}

/* Some kernels hide pid 1 from the census; what is asked for by its number is told all the same
 * what it is. */
static int find_process(struct agent *a, struct target *target)
{
	const struct culprit_process *list;
	size_t count = 0;

	if (!a->census || census_take(a->census, target->pid, &list, &count) < 0 || count == 0)
		return target_of_pid(a, target->pid, target);
	target->cgroup = list[0].cgroup;
	target->start_time_ns = list[0].start_time_ns;
	memcpy(target->comm, list[0].comm, sizeof(target->comm));
	(void)cgroupfs_path_of(&a->cgroups, target->cgroup, target->path, sizeof(target->path));
	return 0;
}

static int take_process(struct agent *a, const char *text, struct each_target *each)
{
	struct target target = { .kind = TARGET_PROCESS };
	char *end;
	long pid = strtol(text, &end, 10);

	if (*end || end == text || pid <= 0 || pid > INT32_MAX)
		return -EINVAL;
	target.pid = (pid_t)pid;
	if (find_process(a, &target) < 0)
		return -ESRCH;
	take_target(each, &target);
	return 0;
}

static void match_unit(void *user, struct tree_node *node)
{
	struct each_target *each = user;
	const char *slash = strrchr(node->path, '/');

	if (slash && strcmp(slash + 1, each->unit) == 0)
		take_node(each, node);
}

const char *control_cgroup_name(const char *name, char *buf, size_t size)
{
	static const char prefix[] = "cgroup:";
	size_t skip = strncmp(name, prefix, strlen(prefix)) == 0 ? strlen(prefix) : 0;
	size_t end = strlen(name);

	if (name[skip] != '/' || end >= size)
		return name;
	while (end > skip + 1 && name[end - 1] == '/')
		end--;
	snprintf(buf, size, "%.*s", (int)(end - skip), name + skip);
	return buf;
}

/* -EINVAL: that is no name; -ESRCH: nothing of that name is there. */
static int each_target(struct agent *a, const char *name, struct each_target *each)
{
	const struct agent_workload *w = workload_find(a, name);
	const struct tree_node *node;
	char path[PATH_MAX];

	each->n = 0;
	if (w) {
		for (unsigned int i = 0; i < w->n_nodes; i++)
			take_node(each, w->nodes[i]);
		return each->n ? 0 : -ESRCH;
	}
	if (strncmp(name, "pid:", 4) == 0)
		return take_process(a, name + 4, each);
	if (strncmp(name, "unit:", 5) == 0) {
		/* The root's name is empty, too. */
		if (!name[5])
			return -EINVAL;
		each->unit = name + 5;
		if (a->tree)
			tree_each(a->tree, match_unit, each);
		return each->n ? 0 : -ESRCH;
	}
	name = control_cgroup_name(name, path, sizeof(path));
	if (name[0] != '/')
		return -EINVAL;
	node = a->tree ? tree_find_path(a->tree, name) : NULL;
	if (!node)
		return -ESRCH;
	take_node(each, node);
	return 0;
}

/* How many targets the name stands for; 0 when there are none, and the call is answered. */
static unsigned int count_targets(struct agent *a, struct varlink_call *call, const char *name)
{
	struct each_target each = { .fn = count_only };
	int r = each_target(a, name, &each);

	if (r == 0)
		return each.n;
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

/* --- freeze and thaw ---------------------------------------------------------------------------
 */

/* One call by hand on all targets of a name. */
struct by_hand {
	struct each_target each;
	struct agent *agent;
	uint64_t until_ns;
	const char *reason;
	json_t *claims; /* of those that were done */
	json_t *failed; /* of those that were not: target and reason */
	json_t *free;	/* targets that are let alone until `until_ns` */
	bool theirs;	/* someone else froze one of them */
};

static void note_failure(struct by_hand *hand, const struct target *target, const char *why)
{
	json_array_append_new(hand->failed, json_pack("{s:o,s:s}", "target", target_to_json(target),
						      "reason", why));
}

/* The answer where nothing was done: with one line for each target when there are several. */
static void refuse_all(struct varlink_call *call, const struct by_hand *hand, const char *message)
{
	json_t *lines = json_array();
	const json_t *one;
	size_t i;

	json_array_foreach (hand->failed, i, one) {
		const json_t *target = json_object_get(one, "target");
		const char *path = json_string_value(json_object_get(target, "path"));

		if (json_array_size(hand->failed) > 1)
			json_array_append_new(
				lines,
				json_sprintf("%s: %s", path ? path : "?",
					     json_string_value(json_object_get(one, "reason"))));
	}
	varlink_error(call, VARLINK_REFUSED,
		      json_pack("{s:o,s:o}", "message", json_text(message), "lines", lines));
}

static void freeze_one(struct each_target *each, const struct target *target)
{
	struct by_hand *hand = (struct by_hand *)each;
	struct hold *h;
	int r = hold_by_operator(hand->agent, target, hand->until_ns, hand->reason, &h);

	if (r < 0)
		note_failure(hand, target, hold_error_text(r));
	else
		json_array_append_new(hand->claims, report_claim(h));
}

static void answer_freeze(struct varlink_call *call, const char *name, const struct by_hand *hand)
{
	unsigned int n = (unsigned int)json_array_size(hand->failed);
	const char *why =
		json_string_value(json_object_get(json_array_get(hand->failed, 0), "reason"));
	char message[512];

	if (json_array_size(hand->claims) > 0) {
		(void)varlink_reply(call, json_pack("{s:O,s:O,s:O}", "claim",
						    json_array_get(hand->claims, 0), "claims",
						    hand->claims, "failed", hand->failed));
		return;
	}
	if (n > 1)
		snprintf(message, sizeof(message),
			 "none of the %u cgroups of '%.200s' was frozen, for the reasons above", n,
			 name);
	else
		snprintf(message, sizeof(message), "'%.200s' was not frozen: %s", name,
			 why ? why : hold_error_text(-ESRCH));
	refuse_all(call, hand, message);
}

void control_freeze(void *agent, struct varlink_call *call, json_t *parameters)
{
	struct agent *a = agent;
	struct by_hand hand = { .each.fn = freeze_one, .agent = a };
	const char *name;
	int64_t for_ms = 0;
	bool timed = false;
	const struct varlink_field fields[] = {
		{ "target", VARLINK_STRING, true, &name, NULL },
		{ "for_ms", VARLINK_INT, false, &for_ms, &timed },
		{ 0 },
	};
	char reason[64];
	unsigned int n;

	if (!varlink_fields(call, parameters, fields) ||
	    !control_until(call, timed, for_ms, &hand.until_ns))
		return;
	if (a->config->shadow) {
		varlink_errorf(
			call, VARLINK_REFUSED,
			"the agent is in shadow mode and touches nothing; set mode = enforce");
		return;
	}
	n = count_targets(a, call, name);
	if (n > CLAIM_MAX)
		varlink_errorf(call, VARLINK_REFUSED,
			       "'%s' stands for %u cgroups, and at most %d can be held at once; "
			       "name the cgroup above them, or fewer; nothing was done",
			       name, n, CLAIM_MAX);
	if (n == 0 || n > CLAIM_MAX)
		return;
	snprintf(reason, sizeof(reason), "by hand, by user id %u", (unsigned int)varlink_uid(call));
	hand.reason = reason;
	hand.claims = json_array();
	hand.failed = json_array();
	(void)each_target(a, name, &hand.each);
	answer_freeze(call, name, &hand);
	json_decref(hand.claims);
	json_decref(hand.failed);
}

static bool frozen_by_others(struct agent *a, const struct target *target)
{
	_cleanup_close_ int dir = cgroupfs_open_id(&a->cgroups, target->cgroup);
	char text[8] = "";

	return target->kind == TARGET_CGROUP && dir >= 0 &&
	       cgroupfs_read(dir, "cgroup.freeze", text, sizeof(text)) > 0 && text[0] == '1';
}

static void thaw_one(struct by_hand *hand, const struct target *target)
{
	struct hold *h = hold_find(hand->agent, target);
	bool held = h && (h->claim || h->by_operator);
	json_t *claim;

	if (!held)
		hand->theirs |= frozen_by_others(hand->agent, target);
	if (!held && !hand->until_ns)
		return;
	claim = held ? report_claim(h) : NULL;
	if (!hand->until_ns)
		hold_release_one(hand->agent, h, "it was thawed by hand");
	else if (hold_free_by_operator(hand->agent, target, hand->until_ns) < 0)
		note_failure(hand, target, hold_error_text(-ENOSPC));
	else
		json_array_append_new(hand->free, target_to_json(target));
	if (!held)
		return;
	if (h->used && h->claim) {
		json_decref(claim);
		note_failure(hand, target, "it could not be let go; it is tried again each second");
	} else {
		json_array_append_new(hand->claims, claim);
	}
}

/* The processes that policies stop in it, one by one: they are let go with it, and those policies
 * keep off what else comes to it, too. */
static void thaw_processes(struct by_hand *hand, const struct target *cgroup)
{
	struct agent *a = hand->agent;

	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		struct hold *h = &a->holds[i];

		if (!h->used || h->target.kind != TARGET_PROCESS ||
		    (!h->claim && !h->by_operator) ||
		    !cgroup_path_within(h->target.path, cgroup->path))
			continue;
		for (unsigned int k = 0; k < h->n_holders; k++)
			if (stops_processes(h->holders[k].policy) &&
			    hold_keep_off(a, h->holders[k].policy, cgroup) < 0)
				note_failure(hand, cgroup, hold_error_text(-ENOSPC));
		thaw_one(hand, &h->target);
	}
}

static void thaw_target(struct each_target *each, const struct target *target)
{
	struct by_hand *hand = (struct by_hand *)each;

	thaw_one(hand, target);
	if (target->kind == TARGET_CGROUP)
		thaw_processes(hand, target);
}

static void answer_thaw(struct varlink_call *call, const char *name, const struct by_hand *hand)
{
	char message[512];

	if (json_array_size(hand->claims) > 0 || json_array_size(hand->free) > 0) {
		(void)varlink_reply(call, json_pack("{s:O,s:O,s:O}", "claims", hand->claims,
						    "failed", hand->failed, "free", hand->free));
		return;
	}
	if (json_array_size(hand->failed) > 0)
		snprintf(message, sizeof(message),
			 "'%.200s' could not be let go; it is tried again each second", name);
	else
		snprintf(message, sizeof(message),
			 "'%.200s' is not held by culprit%s; nothing was done", name,
			 hand->theirs ? ", someone else froze it (echo 0 >cgroup.freeze thaws it)"
				      : "");
	refuse_all(call, hand, message);
}

void control_thaw(void *agent, struct varlink_call *call, json_t *parameters)
{
	struct agent *a = agent;
	struct by_hand hand = { .each.fn = thaw_target, .agent = a };
	const char *name;
	int64_t for_ms = 0;
	bool timed = false;
	const struct varlink_field fields[] = {
		{ "target", VARLINK_STRING, true, &name, NULL },
		{ "for_ms", VARLINK_INT, false, &for_ms, &timed },
		{ 0 },
	};

	if (!varlink_fields(call, parameters, fields) ||
	    !control_until(call, timed, for_ms, &hand.until_ns) || !count_targets(a, call, name))
		return;
	hand.free = json_array();
	hand.claims = json_array();
	hand.failed = json_array();
	(void)each_target(a, name, &hand.each);
	answer_thaw(call, name, &hand);
	json_decref(hand.free);
	json_decref(hand.claims);
	json_decref(hand.failed);
}
