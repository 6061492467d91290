/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events: what happened, to whom, by which policy, on what evidence. The path between sense and
 * act only copies an event into a bounded queue (no allocation, no I/O); event_flush() later turns
 * it into JSON, keeps the last 1,000, writes the journal and feeds the followers. A full queue is a
 * counted loss.
 */
#ifndef CULPRIT_TELL_EVENT_H
#define CULPRIT_TELL_EVENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "act/claim.h"

#define EVENT_KEEP	 1000
#define EVENT_QUEUE	 64
#define EVENT_CANDIDATES 5

enum event_kind {
	EVENT_STARTED,
	EVENT_FROZEN,
	EVENT_THAWED,
	EVENT_STOPPED,
	EVENT_CONTINUED,
	EVENT_DEMOTED,
	EVENT_RESTORED,
	EVENT_TERMINATED,
	EVENT_KILLED,
	EVENT_YIELDED,
	EVENT_RESUMED,
	EVENT_REFUSED,
	EVENT_EXTERNAL_THAW,
	EVENT_RECOVERED,
	EVENT_LOST,
	EVENT_CONFIG,
	EVENT_ERROR,
	EVENT_KINDS
};

struct event_candidate {
	struct target target;
	uint64_t footprint_pages, growth_pages, swapin_pages, churn_pages;
	double weight;
	const char *refusal; /* static text: why it was passed over; NULL: it was not */
};

/* The numbers that led to the decision; unit NULL when there are none. */
struct event_evidence {
	const char *signal; /* static: "cpu" … */
	double value, enter, leave;
	const char *unit; /* static: "cpus", "share", "pages/s", "holders" */
	uint64_t window_ms;
	char device[64]; /* gpu */
	/* thrash */
	uint64_t swapin_pages, churn_pages;
	uint64_t pswpin_pages; /* the kernel's own counter, since the agent started */
	double stall;
	unsigned int n_candidates;
	struct event_candidate candidates[EVENT_CANDIDATES];
	uint64_t latency_us; /* from the kernel's record to the kernel's having been told */
};

struct event {
	enum event_kind kind;
	uint64_t ts_ms;
	uint64_t claim_id; /* 0: none */
	char policy[CLAIM_NAME_LEN];
	bool has_target, has_offender;
	struct target target, offender;
	bool has_evidence;
	struct event_evidence evidence;
	bool shadow;
	char reason[CLAIM_REASON_LEN];
};

struct events;

int events_new(struct events **out);
void events_free(struct events *events);
/* Copies; no allocation. False: the queue was full (counted). */
bool event_put(struct events *events, const struct event *event);
/* Is anything queued? */
bool events_pending(const struct events *events);
/* Turns what is queued into JSON, the journal and the followers' calls. */
void events_flush(struct events *events);
uint64_t events_lost(const struct events *events);

/* The i-th of the kept events, oldest first, as the interface's JSON object (borrowed). */
unsigned int events_count(const struct events *events);
json_t *events_get(const struct events *events, unsigned int index);

/* Called for each flushed event; the object is borrowed. One listener (the control socket). */
void events_listen(struct events *events, void (*fn)(void *user, json_t *event), void *user);

/* The JSON forms that several places print. New references. */
json_t *target_to_json(const struct target *target);
json_t *event_to_json(const struct event *event);
const char *event_kind_name(enum event_kind kind);

#endif
