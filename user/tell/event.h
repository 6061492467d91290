/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events: what happened, to whom, by which policy, on what evidence. The path between sense and
 * act only copies an event into a fixed arena (no allocation, no I/O); events_flush() later writes
 * the journal and tells the listener. The same arena keeps the last 1,000 for who asks. A full
 * queue is a counted loss.
 */
#ifndef CULPRIT_TELL_EVENT_H
#define CULPRIT_TELL_EVENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "act/claim.h"

#define EVENT_KEEP	 1000
#define EVENT_QUEUE	 64 /* at most so many are put and not yet flushed */
#define EVENT_CANDIDATES 5
/*
 * All memory for events, kept and queued, in packed form. A thaw takes about 250 bytes, a freeze
 * with five candidates whose cgroup paths are 60 bytes about 1,000. If paths are so long that 1,000
 * do not fit, the oldest go first.
 */
#define EVENT_ARENA_SIZE (1024 * 1024)

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
	const char *unit; /* static: "cpus", "share", "ms", "pages/s", "holders" */
	uint64_t window_ms;
	char device[192]; /* gpu */
	/* cpu, with waits for a CPU */
	bool has_waiter;
	struct target waiter; /* whose wait reached the limit */
	uint64_t wait_usec;
	uint64_t wakeups, late_wakeups; /* in the window */
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

/* The whole arena is touched at once, so that event_put() does not even fault a page in. */
int events_new(struct events **out);
void events_free(struct events *events);
/* Copies; no allocation. False: the queue was full (counted). */
bool event_put(struct events *events, const struct event *event);
/* Is anything queued? */
bool events_pending(const struct events *events);
/*
 * Tells what is queued: to the journal (JOURNAL_SOCKET) with fields of its own when there is one,
 * to the log when that is not the journal too, and to the listener. Never waits for any of them.
 */
void events_flush(struct events *events);
/* Events that found the queue full, and those that neither journal nor log took. */
uint64_t events_lost(const struct events *events);
uint64_t events_untold(const struct events *events);
/* Another journal socket than JOURNAL_SOCKET (static text), for tests; NULL: none. */
void events_set_journal(struct events *events, const char *path);

/* The i-th of the kept events (those flushed), oldest first. A new reference: they are kept packed,
 * as JSON trees they would take ten times the memory. */
unsigned int events_count(const struct events *events);
json_t *events_get(struct events *events, unsigned int index);
/* The same, unpacked into *out. */
void events_read(const struct events *events, unsigned int index, struct event *out);
/* The index of the first kept event with ts_ms ≥ since_ms; events_count() if there is none. */
unsigned int events_since(const struct events *events, uint64_t since_ms);

/* Called for each flushed event; the object is borrowed. One listener (the feed). */
void events_listen(struct events *events, void (*fn)(void *user, json_t *event), void *user);

/* The JSON forms that several places print. New references. */
json_t *target_to_json(const struct target *target);
json_t *event_to_json(const struct event *event);
const char *event_kind_name(enum event_kind kind);

/* "pid 4711 (hog)" or the cgroup's path into buf, printable. Returns buf. */
char *target_describe(char *buf, size_t size, const struct target *target);

#endif
