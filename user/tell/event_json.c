// SPDX-License-Identifier: GPL-2.0-or-later
#include "tell/event.h"

#include <stdio.h>
#include <string.h>

#include "lib/text.h"
#include "tell/json.h"

static const char *const kind_names[EVENT_KINDS] = {
	[EVENT_STARTED] = "started",
	[EVENT_FROZEN] = "frozen",
	[EVENT_THAWED] = "thawed",
	[EVENT_STOPPED] = "stopped",
	[EVENT_CONTINUED] = "continued",
	[EVENT_DEMOTED] = "demoted",
	[EVENT_RESTORED] = "restored",
	[EVENT_TERMINATED] = "terminated",
	[EVENT_KILLED] = "killed",
	[EVENT_YIELDED] = "yielded",
	[EVENT_RESUMED] = "resumed",
	[EVENT_REFUSED] = "refused",
	[EVENT_EXTERNAL_THAW] = "external-thaw",
	[EVENT_RECOVERED] = "recovered",
	[EVENT_LOST] = "lost",
	[EVENT_CONFIG] = "config",
	[EVENT_ERROR] = "error",
};

const char *event_kind_name(enum event_kind kind)
{
	return kind_names[kind];
}

/* comm of 16 bytes need not end with a NUL. */
static const char *comm_of(const struct target *target, char buf[static sizeof(target->comm) + 1])
{
	snprintf(buf, sizeof(target->comm) + 1, "%.*s", (int)sizeof(target->comm), target->comm);
	return buf;
}

char *target_describe(char *buf, size_t size, const struct target *target)
{
	char comm[sizeof(target->comm) + 1], raw[sizeof(comm) + 32];

	if (target->kind == TARGET_CGROUP)
		return text_printable(buf, size, target->path);
	snprintf(raw, sizeof(raw), "pid %d (%s)", (int)target->pid, comm_of(target, comm));
	return text_printable(buf, size, raw);
}

json_t *target_to_json(const struct target *target)
{
	char comm[sizeof(target->comm) + 1];
	json_t *o = json_object();

	if (target->kind == TARGET_CGROUP) {
		json_object_set_new(o, "kind", json_string("cgroup"));
		json_object_set_new(o, "path", json_text(target->path));
		json_object_set_new(o, "id", json_counter(target->cgroup));
		return o;
	}
	json_object_set_new(o, "kind", json_string("process"));
	json_object_set_new(o, "pid", json_integer(target->pid));
	json_object_set_new(o, "start_time", json_counter(target->start_time_ns));
	json_object_set_new(o, "comm", json_text(comm_of(target, comm)));
	json_object_set_new(o, "cgroup", json_text(target->path));
	return o;
}

static json_t *candidate_to_json(const struct event_candidate *c)
{
	json_t *o = json_object();

	json_object_set_new(o, "target", target_to_json(&c->target));
	json_object_set_new(o, "footprint_pages", json_counter(c->footprint_pages));
	json_object_set_new(o, "growth_pages", json_counter(c->growth_pages));
	json_object_set_new(o, "swapin_pages", json_counter(c->swapin_pages));
	json_object_set_new(o, "churn_pages", json_counter(c->churn_pages));
	json_object_set_new(o, "weight", json_real(c->weight));
	if (c->refusal)
		json_object_set_new(o, "refusal", json_text(c->refusal));
	return o;
}

static json_t *evidence_to_json(const struct event_evidence *e)
{
	json_t *o = json_object();

	if (e->signal)
		json_object_set_new(o, "signal", json_text(e->signal));
	if (e->unit) {
		json_object_set_new(o, "value", json_real(e->value));
		json_object_set_new(o, "enter", json_real(e->enter));
		json_object_set_new(o, "leave", json_real(e->leave));
		json_object_set_new(o, "unit", json_text(e->unit));
		json_object_set_new(o, "window_ms", json_counter(e->window_ms));
	}
	if (e->device[0])
		json_object_set_new(o, "device", json_text(e->device));
	if (e->signal && strcmp(e->signal, "thrash") == 0) {
		json_object_set_new(o, "swapin_pages", json_counter(e->swapin_pages));
		json_object_set_new(o, "churn_pages", json_counter(e->churn_pages));
		json_object_set_new(o, "pswpin_pages", json_counter(e->pswpin_pages));
		json_object_set_new(o, "stall", json_real(e->stall));
	}
	if (e->has_waiter) {
		json_object_set_new(o, "waiter", target_to_json(&e->waiter));
		json_object_set_new(o, "wait_usec", json_counter(e->wait_usec));
		json_object_set_new(o, "wakeups", json_counter(e->wakeups));
		json_object_set_new(o, "late_wakeups", json_counter(e->late_wakeups));
	}
	if (e->latency_us)
		json_object_set_new(o, "latency_us", json_counter(e->latency_us));
	if (e->n_candidates) {
		json_t *list = json_array();

		for (unsigned int i = 0; i < e->n_candidates && i < EVENT_CANDIDATES; i++)
			json_array_append_new(list, candidate_to_json(&e->candidates[i]));
		json_object_set_new(o, "candidates", list);
	}
	return o;
}

json_t *event_to_json(const struct event *event)
{
	json_t *o = json_object();

	json_object_set_new(o, "schema", json_string("culprit.v1"));
	json_object_set_new(o, "ts", json_counter(event->ts_ms));
	json_object_set_new(o, "event", json_string(kind_names[event->kind]));
	if (event->claim_id)
		json_object_set_new(o, "claim", json_counter(event->claim_id));
	if (event->policy[0])
		json_object_set_new(o, "policy", json_text(event->policy));
	if (event->has_target)
		json_object_set_new(o, "target", target_to_json(&event->target));
	if (event->has_offender)
		json_object_set_new(o, "offender", target_to_json(&event->offender));
	if (event->has_evidence)
		json_object_set_new(o, "evidence", evidence_to_json(&event->evidence));
	if (event->shadow)
		json_object_set_new(o, "shadow", json_true());
	json_object_set_new(o, "reason", json_text(event->reason));
	return o;
}
