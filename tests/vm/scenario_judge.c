// SPDX-License-Identifier: GPL-2.0-or-later
/* Was it the right one? By the agent's events, and by what the kernel says of those that must never
 * be held. */
#include "scenarios.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/cgroupfs.h"
#include "lib/procfs.h"
#include "../live/agent.h"
#include "../live/live.h"

#define NO_SLOT BOARD_SLOTS

static const char *text(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? value : "";
}

static bool is_cgroup(const json_t *target)
{
	return strcmp(text(target, "kind"), "cgroup") == 0;
}

/* Is somebody acted on, and held or worse? */
static bool is_pick(const json_t *event)
{
	static const char *const kinds[] = { "frozen", "stopped", "terminated", "killed" };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(text(event, "event"), kinds[i]) == 0)
			return true;
	return false;
}

/* Whose load is it, all of it or a process of it? */
static unsigned int slot_of(const struct stage *stage, const json_t *target)
{
	const char *path = text(target, is_cgroup(target) ? "path" : "cgroup");
	json_int_t pid = json_integer_value(json_object_get(target, "pid"));

	for (unsigned int i = 0; i <= stage->scenario->n_loads; i++) {
		if (strcmp(path, live_path(stage_cgroup(stage, i))) != 0)
			continue;
		/* Beside a job there is its shell. */
		if (is_cgroup(target) || !i || !stage->scenario->loads[i - 1].in_shell ||
		    pid == atomic_load(&stage->board->slots[i].pid))
			return i;
	}
	return NO_SLOT;
}

static enum role_in_it role_of(const struct stage *stage, unsigned int slot)
{
	if (slot == 0 || slot == NO_SLOT)
		return INNOCENT;
	return stage->scenario->loads[slot - 1].role_in_it;
}

static bool is_guarded(const struct stage *stage, unsigned int slot)
{
	return slot == 0 || role_of(stage, slot) == PROTECTED;
}

/* pid 1, the agent and its guardian, whoever started them, the probe, what is protected; and whole
 * cgroups in or above which one of these is. */
static bool is_forbidden(const struct stage *stage, const json_t *target)
{
	const char *path = text(target, "path");
	json_int_t pid = json_integer_value(json_object_get(target, "pid"));
	unsigned int slot = slot_of(stage, target);

	if (slot != NO_SLOT && is_guarded(stage, slot))
		return true;
	if (!is_cgroup(target))
		return pid == 1 || pid == agent_pid() || pid == getpid() || pid == getppid() ||
		       strncmp(text(target, "comm"), "culprit", strlen("culprit")) == 0;
	if (strcmp(path, live_path(SESSION_CGROUP)) == 0)
		return true;
	return cgroup_path_within(live_root(), path);
}

static void forbid(struct judge *judge, const char *whom)
{
	struct scenario_result *r = judge->result;

	if (r->forbidden++ == 0)
		snprintf(r->forbidden_whom, sizeof(r->forbidden_whom), "%s", whom);
}

static bool is_last_started(const struct stage *stage, unsigned int slot)
{
	for (unsigned int i = stage->scenario->n_loads + 1; i-- > 0;)
		if (role_of(stage, stage->order[i]) == CULPRIT)
			return stage->order[i] == slot;
	return false;
}

/* NULL: right. */
static const char *why_wrong(const struct stage *stage, const json_t *event, unsigned int slot)
{
	const json_t *target = json_object_get(event, "target");

	if (role_of(stage, slot) != CULPRIT)
		return "not the one to blame";
	if (stage->scenario->process && is_cgroup(target))
		return "a whole login session";
	if (!stage->scenario->process && !is_cgroup(target))
		return "a process, although all of its cgroup is to blame";
	for (unsigned int i = 1; i <= stage->scenario->n_loads; i++)
		if (role_of(stage, i) == PROTECTED &&
		    (!strstr(text(event, "reason"), "passed over") ||
		     !strstr(text(event, "reason"), stage_name(stage, i))))
			return "it does not say whom it passed over";
	return NULL;
}

static void take_first(struct judge *judge, json_t *event)
{
	struct scenario_result *r = judge->result;
	json_t *target = json_object_get(event, "target");
	unsigned int slot = slot_of(judge->stage, target);
	const char *wrong = why_wrong(judge->stage, event, slot);

	r->picked = true;
	r->process = !is_cgroup(target);
	judge->first_ms = (uint64_t)json_integer_value(json_object_get(event, "ts"));
	if (slot != NO_SLOT)
		snprintf(r->whom, sizeof(r->whom), "%s", stage_name(judge->stage, slot));
	else
		snprintf(r->whom, sizeof(r->whom), "%s",
			 text(target, is_cgroup(target) ? "path" : "comm"));
	r->newest = is_last_started(judge->stage, slot);
	r->right = !wrong;
	if (wrong)
		snprintf(r->why_wrong, sizeof(r->why_wrong), "%s", wrong);
	(void)json_dumpb(event, r->event, sizeof(r->event) - 1, JSON_COMPACT);
}

static void take_later(struct judge *judge, const json_t *event)
{
	struct scenario_result *r = judge->result;
	const json_t *target = json_object_get(event, "target");
	unsigned int slot = slot_of(judge->stage, target);
	size_t n = strlen(r->later_whom);

	r->later++;
	r->later_innocent += role_of(judge->stage, slot) != CULPRIT;
	snprintf(r->later_whom + n, sizeof(r->later_whom) - n, "%s%s", n ? " " : "",
		 slot != NO_SLOT ? stage_name(judge->stage, slot) : text(target, "comm"));
}

static void take(struct judge *judge, json_t *event)
{
	struct scenario_result *r = judge->result;
	const json_t *target = json_object_get(event, "target");
	char whom[sizeof(r->forbidden_whom)];

	if (!is_pick(event))
		return;
	if (is_forbidden(judge->stage, target)) {
		snprintf(whom, sizeof(whom), "%.16s%.40s", text(target, "comm"),
			 text(target, "path"));
		forbid(judge, whom);
	}
	if (r->picked)
		take_later(judge, event);
	else
		take_first(judge, event);
}

void judge_events(struct judge *judge)
{
	char error[128];
	json_t *reply = agent_call("Events", NULL, error, sizeof(error)), *list;

	if (!reply) {
		agent_print_log();
		fail_msg("Events: %s", error);
	}
	list = json_object_get(reply, "events");
	for (; judge->seen < json_array_size(list); judge->seen++)
		take(judge, json_array_get(list, judge->seen));
	json_decref(reply);
}

static void check_state(struct judge *judge, int pid, const char *who)
{
	struct proc_stat st;

	if (proc_read_stat(pid, &st) == 0 && (st.state == 'T' || st.state == 't'))
		forbid(judge, who);
}

void judge_states(struct judge *judge)
{
	const struct stage *stage = judge->stage;

	check_state(judge, 1, "pid 1 (it is stopped)");
	check_state(judge, agent_pid(), "the agent (it is stopped)");
	for (unsigned int i = 0; i <= stage->scenario->n_loads; i++) {
		if (!is_guarded(stage, i))
			continue;
		check_state(judge, atomic_load(&stage->board->slots[i].pid), stage_name(stage, i));
		if (live_frozen(stage_cgroup(stage, i)))
			forbid(judge, stage_name(stage, i));
	}
}

/* While the job is held its shell is stopped, too, or it would think that the job was; and when
 * both go on it has nothing to say. */
void judge_shell(struct judge *judge)
{
	const struct stage *stage = judge->stage;
	struct scenario_result *r = judge->result;
	struct proc_stat st;

	if (!stage->shell_pid || !r->right)
		return;
	if (proc_read_stat(stage->shell_pid, &st) < 0 || st.state == 'T' ||
	    strstr(stage->said, "Stopped")) {
		r->right = false;
		snprintf(r->why_wrong, sizeof(r->why_wrong),
			 "the shell noticed, or is stopped still (state %c)", st.state);
	}
}
