// SPDX-License-Identifier: GPL-2.0-or-later
/* The objects that the control socket answers with: status and why. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/agent.h"
#include "act/format.h"
#include "agent/holds.h"
#include "agent/thrash_turns.h"
#include "lib/cleanup.h"
#include "tell/json.h"
#include "tell/log.h"

#define MAX_SENSES 8
/* How many past events `why` shows for one target. */
#define WHY_EVENTS 10

static json_t *agent_object(struct agent *a)
{
	struct rusage usage = { 0 };
	uint64_t rss_pages = 0;
	_cleanup_fclose_ FILE *f = fopen("/proc/self/statm", "re");
	json_t *degraded = json_array();

	if (!f || fscanf(f, "%*u %lu", &rss_pages) != 1)
		rss_pages = 0;
	/* Each time the loop goes to sleep it gives up the CPU of its own accord once. */
	getrusage(RUSAGE_SELF, &usage);
	for (unsigned int i = 0; i < a->n_degraded; i++)
		json_array_append_new(degraded, json_string(a->degraded[i].text));
	return json_pack("{s:i,s:s,s:s,s:I,s:I,s:I,s:i,s:s,s:o,s:o}", "pid", (int)getpid(),
			 "version", CULPRIT_VERSION, "mode",
			 a->config->shadow ? "shadow" : "enforce", "uptime_s",
			 (json_int_t)((monotonic_ns() - a->started_ns) / NSEC_PER_SEC), "rss_bytes",
			 (json_int_t)rss_pages * sysconf(_SC_PAGESIZE), "wakeups",
			 (json_int_t)((uint64_t)usage.ru_nvcsw - a->wakeups_start), "guardian_pid",
			 (int)guardian_pid(a->guardian), "only", a->config->only, "degraded",
			 degraded, "warnings", checks_warnings(a));
}

static json_t *senses_array(struct agent *a)
{
	const struct sense_status *senses[MAX_SENSES];
	unsigned int n = senses_each(a, senses, MAX_SENSES);
	json_t *array = json_array();

	for (unsigned int i = 0; i < n; i++) {
		json_t *blind = json_array();

		for (unsigned int b = 0; b < SENSE_MAX_BLIND && senses[i]->blind[b]; b++)
			json_array_append_new(blind, json_string(senses[i]->blind[b]));
		json_array_append_new(array, json_pack("{s:s,s:s?,s:o,s:s}", "name",
						       senses[i]->name, "source", senses[i]->source,
						       "blind", blind, "why", senses[i]->why));
	}
	return array;
}

/* The targets of a policy that has none now. */
static json_t *waits_for(const struct agent *a, const struct agent_policy *p)
{
	json_t *array;

	if (!policy_waits(a, p))
		return NULL;
	array = json_array();
	for (unsigned int t = 0; t < p->config->n_targets; t++) {
		const struct workload_config *w = a->workloads[p->config->targets[t]].config;
		char pattern[PATH_MAX];

		pattern_print(&w->pattern, pattern, sizeof(pattern));
		json_array_append_new(array, json_pack("{s:s,s:o}", "workload", w->name, "names",
						       json_text(pattern)));
	}
	return array;
}

/* NULL: it is not, or until it is resumed. */
static json_t *paused_until(const struct agent_policy *p)
{
	if (!p->paused || !p->paused_until_ns)
		return NULL;
	return json_integer(report_until_ms(p->paused_until_ns));
}

static json_t *policies_array(struct agent *a)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < a->n_policies; i++) {
		const struct agent_policy *p = &a->policies[i];
		char next[512];

		words_next(p, next, sizeof(next));
		json_array_append_new(array, json_pack("{s:s,s:s,s:s,s:f,s:f,s:f,s:s,s:I,s:o*,"
						       "s:o*,s:o*}",
						       "name", p->config->name, "signal",
						       policy_signal_name(p->config->signal),
						       "state", policy_state_name(a, p), "value",
						       p->value, "enter", p->rule.enter, "leave",
						       p->rule.leave, "unit", policy_unit_name(p),
						       "since", (json_int_t)p->since_ms,
						       "waits_for", waits_for(a, p), "next",
						       *next ? json_text(next) : NULL,
						       "paused_until", paused_until(p)));
	}
	return array;
}

static const char *claim_state_text(const struct hold *h)
{
	static const char *const names[] = {
		[CLAIM_ACTING] = "acting",     [CLAIM_HELD] = "held", [CLAIM_SLOW] = "slow",
		[CLAIM_EXTERNAL] = "external", [CLAIM_DONE] = "done",
	};

	if (h->shadow)
		return NULL;
	return h->claim ? names[h->claim->state] : "none";
}

static const char *claim_policy(const struct hold *h)
{
	return h->claim ? h->claim->policy : hold_policy_name(hold_leading_policy(h));
}

/* NULL: nothing more comes. */
static json_t *next_object(const struct hold *h)
{
	uint64_t now = monotonic_ns();
	struct ladder_next next;

	if (!hold_ladder_next(h, &next))
		return NULL;
	return json_pack(
		"{s:s,s:s,s:I}", "action", policy_action_name(next.action), "policy",
		next.policy->config->name, "at",
		(json_int_t)(unix_ms() +
			     (next.due_ns > now ? (next.due_ns - now) / NSEC_PER_MSEC : 0)));
}

json_t *report_claim(const struct hold *h)
{
	json_t *policies = json_array();

	for (unsigned int i = 0; i < h->n_holders; i++)
		if (!h->holders[i].off)
			json_array_append_new(policies,
					      json_text(h->holders[i].policy->config->name));
	if (h->by_operator)
		json_array_append_new(policies, json_string("operator"));
	/* What shadow mode would have done is in no ledger, and has no number. */
	return json_pack("{s:o*,s:s,s:s,s:o,s:o,s:I,s:o,s:s*,s:o*,s:o*}", "id",
			 h->shadow ? NULL : json_integer((json_int_t)(h->claim ? h->claim->id : 0)),
			 "action", claim_action_name(h->action), "policy", claim_policy(h),
			 "policies", policies, "target", target_to_json(&h->target), "since",
			 (json_int_t)(h->claim ? h->claim->since_ms : h->since_ms), "reason",
			 json_text(h->reason), "state", claim_state_text(h), "shadow",
			 h->shadow ? json_true() : NULL, "next", next_object(h));
}

static json_t *claims_array(struct agent *a)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++)
		if (a->holds[i].used && (a->holds[i].claim || a->holds[i].shadow))
			json_array_append_new(array, report_claim(&a->holds[i]));
	return array;
}

static void add_loss(void *object, const char *name, const char *text, uint64_t count)
{
	(void)text;
	json_object_set_new(object, name, json_integer((json_int_t)count));
}

json_t *report_status(struct agent *a)
{
	json_t *losses = json_object();

	if (a->losses)
		(void)losses_each(a->losses, add_loss, losses);
	add_loss(losses, "events_dropped", "", events_lost(a->events));
	add_loss(losses, "events_untold", "", events_untold(a->events));
	add_loss(losses, "log_lines_dropped", "", log_lost());
	add_loss(losses, "clients_dropped", "", varlink_dropped(a->server));
	add_loss(losses, "clients_refused", "", varlink_refused(a->server));
	return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "agent", agent_object(a), "senses",
			 senses_array(a), "policies", policies_array(a), "claims", claims_array(a),
			 "free", report_free(a), "losses", losses);
}

/* --- why ---------------------------------------------------------------------------------------
 */

/* What a name given to `why` stands for. */
struct question {
	const char *name;
	pid_t pid;		   /* 0: not a process */
	char path[CLAIM_PATH_LEN]; /* of the process's cgroup, "" when it is gone */
	const struct agent_workload *workload;
	const struct agent_policy *policy;
};

static bool asks_target(const struct question *q, const struct target *t)
{
	const char *slash;

	/* A process is held with its cgroup, too. */
	if (q->pid && t->kind == TARGET_CGROUP)
		return q->path[0] && cgroup_path_within(q->path, t->path);
	if (q->pid)
		return t->pid == q->pid;
	if (q->workload)
		return workload_contains(q->workload, t->path);
	/* What is stopped in a cgroup is asked for with it. */
	if (t->kind == TARGET_PROCESS && q->name[0] == '/')
		return cgroup_path_within(t->path, q->name);
	if (t->kind == TARGET_PROCESS && strcmp(t->comm, q->name) == 0)
		return true;
	if (q->name[0] == '/')
		return strcmp(t->path, q->name) == 0;
	slash = strrchr(t->path, '/');
	return strncmp(q->name, "unit:", 5) == 0 && slash && strcmp(slash + 1, q->name + 5) == 0;
}

static bool asks_event(const struct question *q, const struct event *event)
{
	if (q->policy)
		return strcmp(event->policy, q->policy->config->name) == 0;
	/* Of a policy that a reload removed, the events are still there. */
	if (!q->pid && !q->workload && event->policy[0] && strcmp(event->policy, q->name) == 0)
		return true;
	return (event->has_target && asks_target(q, &event->target)) ||
	       (event->has_offender && asks_target(q, &event->offender));
}

static bool asks_hold(const struct question *q, const struct hold *h)
{
	for (unsigned int i = 0; q->policy && i < h->n_holders; i++)
		if (h->holders[i].policy == q->policy)
			return true;
	return !q->policy && asks_target(q, &h->target);
}

static bool holds_what_is_asked(const struct agent *a, const struct question *q,
				const struct agent_policy *p)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++)
		if (a->holds[i].used && hold_holder_index(&a->holds[i], p) >= 0 &&
		    asks_target(q, &a->holds[i].target))
			return true;
	return false;
}

static bool asks_workload(const struct question *q, const struct agent_workload *w)
{
	const struct pattern *pattern = &w->config->pattern;
	const char *path = q->pid ? q->path : q->name;

	if (q->workload)
		return q->workload == w;
	if (path[0] == '/')
		return workload_contains(w, path);
	return !q->pid && strncmp(path, "unit:", 5) == 0 && pattern->kind == PATTERN_UNIT &&
	       strcmp(pattern->text, path + 5) == 0;
}

/* Is it about this policy, or about something that this policy may hold? */
static bool asks_policy(const struct agent *a, const struct question *q,
			const struct agent_policy *p)
{
	if (q->policy)
		return q->policy == p;
	for (unsigned int t = 0; t < p->config->n_targets; t++)
		if (asks_workload(q, &a->workloads[p->config->targets[t]]))
			return true;
	return holds_what_is_asked(a, q, p);
}

static void say_operator(const struct hold *h, char *text, size_t size)
{
	uint64_t now = monotonic_ns();
	char left[32];

	snprintf(text, size, "operator: in %s",
		 words_left(h->operator_until_ns > now ? h->operator_until_ns - now : 0, left,
			    sizeof(left)));
}

/* Several hold it, and it goes when the last of them lets it go: one sentence, for nothing less
 * would release it. */
static json_t *undo_of_all(const struct hold *h)
{
	_cleanup_free_ char *all = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&all, &size);
	const char *and = "";
	char text[256];

	if (!f)
		return NULL;
	for (unsigned int i = 0; i < h->n_holders; i++) {
		if (h->holders[i].off)
			continue;
		words_undo(h->holders[i].policy, text, sizeof(text));
		fprintf(f, "%s%s", and, text);
		words_latest(h->holders[i].policy, text, sizeof(text));
		fprintf(f, "%s%s", *text ? ", or " : "", text);
		and = "; and ";
	}
	if (h->by_operator) {
		say_operator(h, text, sizeof(text));
		fprintf(f, "%s%s", and, text);
	}
	return fclose(f) == 0 ? json_text(all) : NULL;
}

static void say_undo(const struct hold *h, json_t *undo)
{
	const struct agent_policy *p = NULL;
	unsigned int n = h->by_operator;
	char text[256];

	/* It waits for the operator, whatever the policies that hold it, too, say. */
	if (h->by_operator && !h->operator_until_ns) {
		json_array_append_new(undo, json_string("operator: culprit thaw"));
		return;
	}
	for (unsigned int i = 0; i < h->n_holders; i++) {
		if (h->holders[i].off)
			continue;
		p = h->holders[i].policy;
		n++;
	}
	if (n > 1) {
		json_array_append_new(undo, undo_of_all(h));
		return;
	}
	if (p) {
		thrash_turns_words(p, &h->target, text, sizeof(text));
		if (*text)
			json_array_append_new(undo, json_text(text));
		words_undo(p, text, sizeof(text));
		json_array_append_new(undo, json_text(text));
		words_latest(p, text, sizeof(text));
		if (*text)
			json_array_append_new(undo, json_text(text));
	} else if (h->by_operator) {
		say_operator(h, text, sizeof(text));
		json_array_append_new(undo, json_text(text));
	}
}

static void say_ladder(const struct hold *h, json_t *list)
{
	struct ladder_next next;
	char text[256];

	if (!hold_ladder_next(h, &next))
		return;
	words_ladder(&next, text, sizeof(text));
	json_array_append_new(list, json_text(text));
}

/* Up to WHY_EVENTS of the kept events that are about it, oldest first, and the candidates of the
 * newest that has some. */
static void find_events(struct agent *a, const struct question *q, json_t *events,
			json_t *candidates, json_t **target)
{
	for (unsigned int i = events_count(a->events);
	     i > 0 && json_array_size(events) < WHY_EVENTS; i--) {
		struct event event;
		json_t *object, *list;

		events_read(a->events, i - 1, &event);
		if (!asks_event(q, &event))
			continue;
		object = event_to_json(&event);
		json_array_insert_new(events, 0, object);
		list = json_object_get(json_object_get(object, "evidence"), "candidates");
		if (list && json_array_size(candidates) == 0)
			json_array_extend(candidates, list);
		if (!*target)
			*target = json_incref(json_object_get(object, "target"));
	}
}

static json_t *answer(struct agent *a, const struct question *q)
{
	json_t *events = json_array(), *undo = json_array(), *candidates = json_array();
	json_t *target = NULL, *next = json_array();

	for (unsigned int i = 0; i < a->n_policies; i++)
		if (asks_policy(a, q, &a->policies[i]))
			report_next_of_policy(&a->policies[i], next);
	find_events(a, q, events, candidates, &target);
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		const struct hold *h = &a->holds[i];

		if (!h->used || !asks_hold(q, h))
			continue;
		if (h->claim)
			say_undo(h, undo);
		report_next_of_hold(h, next);
		say_ladder(h, next);
		if (!target)
			target = target_to_json(&h->target);
	}
	return json_pack("{s:o*,s:o,s:o,s:o,s:o}", "target", target, "events", events, "undo", undo,
			 "candidates", candidates, "next", next);
}

static json_t *answer_held(struct agent *a)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		const struct hold *h = &a->holds[i];
		struct question q = { .name = h->target.path };

		if (!h->used || !h->claim)
			continue;
		if (h->target.kind == TARGET_PROCESS)
			q.pid = h->target.pid;
		json_array_append_new(array, answer(a, &q));
	}
	return array;
}

static void find_cgroup(struct agent *a, struct question *q)
{
	const struct culprit_process *list;
	size_t count;

	if (a->census && census_take(a->census, q->pid, &list, &count) == 0 && count == 1)
		(void)cgroupfs_path_of(&a->cgroups, list[0].cgroup, q->path, sizeof(q->path));
}

json_t *report_why(struct agent *a, const char *name, bool *known)
{
	struct question q = { 0 };
	json_t *one, *array;
	char path[PATH_MAX], *end;

	*known = true;
	if (!name || !*name)
		return answer_held(a);
	q.name = control_cgroup_name(name, path, sizeof(path));
	q.pid = (pid_t)strtol(strncmp(name, "pid:", 4) == 0 ? name + 4 : name, &end, 10);
	if (*end)
		q.pid = 0;
	if (q.pid)
		find_cgroup(a, &q);
	q.workload = workload_find(a, name);
	if (!q.workload)
		q.policy = policy_find(a, name);
	one = answer(a, &q);
	*known = q.workload || q.policy || json_array_size(json_object_get(one, "events")) > 0 ||
		 json_array_size(json_object_get(one, "undo")) > 0 ||
		 json_array_size(json_object_get(one, "next")) > 0;
	array = json_array();
	json_array_append_new(array, one);
	return array;
}
