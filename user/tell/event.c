// SPDX-License-Identifier: GPL-2.0-or-later
#include "tell/event.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "tell/event_pack.h"
#include "tell/journal.h"
#include "tell/log.h"

/* Enough for all kept and all queued ones. */
#define ENTRIES (EVENT_KEEP + EVENT_QUEUE)

/* A packed event lies in one piece in the arena. */
struct entry {
	uint32_t offset, size;
};

/*
 * Entries first … first + kept - 1 (modulo ENTRIES) have been told and are kept; the `queued` ones
 * behind them have not. The arena is filled in the same order, so the oldest entry is always the
 * next in the way.
 */
struct events {
	unsigned int first, kept, queued;
	uint32_t head; /* where the next event goes in the arena */
	uint64_t lost, untold;
	int journal;
	const char *journal_path;
	void (*listener)(void *user, json_t *event);
	void *listener_user;
	struct event unpacked; /* 8 KiB that need not be on the stack */
	unsigned char packed[EVENT_PACKED_MAX];
	struct entry entries[ENTRIES];
	unsigned char arena[EVENT_ARENA_SIZE];
};

_Static_assert(EVENT_PACKED_MAX *EVENT_QUEUE <= EVENT_ARENA_SIZE, "a full queue fits whole");

int events_new(struct events **out)
{
	struct events *events = malloc(sizeof(*events));

	if (!events)
		return -ENOMEM;
	memset(events, 0, sizeof(*events));
	events->journal = journal_open();
	events->journal_path = JOURNAL_SOCKET;
	*out = events;
	return 0;
}

void events_free(struct events *events)
{
	if (!events)
		return;
	if (events->journal >= 0)
		close(events->journal);
	free(events);
}

static struct entry *entry_at(const struct events *events, unsigned int index)
{
	return (struct entry *)&events->entries[(events->first + index) % ENTRIES];
}

static void forget_oldest(struct events *events)
{
	events->first = (events->first + 1) % ENTRIES;
	events->kept--;
}

static bool overlaps(const struct entry *entry, uint32_t offset, uint32_t size)
{
	return entry->offset < offset + size && offset < entry->offset + entry->size;
}

/* Makes room for size bytes in one piece, at the cost of the oldest kept events, never of queued
 * ones. The offset, or -1. */
static int64_t make_room(struct events *events, uint32_t size)
{
	uint32_t offset = events->head;

	/* What is left of the arena is skipped; entries there are older than those at its start. */
	if (offset + size > EVENT_ARENA_SIZE) {
		while (events->kept > 0 && entry_at(events, 0)->offset >= offset)
			forget_oldest(events);
		offset = 0;
	}
	while (events->kept > 0 && overlaps(entry_at(events, 0), offset, size))
		forget_oldest(events);
	if (events->kept == 0 && events->queued > 0 && overlaps(entry_at(events, 0), offset, size))
		return -1;
	return offset;
}

bool event_put(struct events *events, const struct event *event)
{
	uint32_t size;
	int64_t offset;

	if (events->queued == EVENT_QUEUE) {
		events->lost++;
		return false;
	}
	size = (uint32_t)event_pack(events->packed, event);
	offset = make_room(events, size);
	if (offset < 0) {
		events->lost++;
		return false;
	}
	memcpy(events->arena + offset, events->packed, size);
	*entry_at(events, events->kept + events->queued) = (struct entry){ (uint32_t)offset, size };
	events->queued++;
	events->head = (uint32_t)offset + size;
	return true;
}

bool events_pending(const struct events *events)
{
	return events->queued > 0;
}

/* What the journal's priorities mean: 3 is an error, 4 a warning, 5 normal but worth a look. */
static int priority_of(const struct event *event)
{
	switch (event->kind) {
	case EVENT_ERROR:
		return LOG_ERR;
	case EVENT_LOST:
	case EVENT_REFUSED:
	case EVENT_EXTERNAL_THAW:
		return LOG_WARNING;
	default:
		return LOG_NOTICE;
	}
}

/* "frozen /background.slice by miner-yields: others used 0.9 CPUs". An error has its name from the
 * log already. */
static void describe(const struct event *event, const char *target, char *buf, size_t size)
{
	const char *kind = event->kind == EVENT_ERROR ? "" : event_kind_name(event->kind);
	char who[CLAIM_PATH_LEN + 64 + 128], raw[sizeof(who) + 512];

	snprintf(who, sizeof(who), "%s%s%s%s%s", kind, *kind && *target ? " " : "", target,
		 event->policy[0] ? " by " : "", event->policy);
	snprintf(raw, sizeof(raw), "%s%s%s%s", event->shadow ? "(shadow) " : "",
		 who + (*who == ' '), *who ? ": " : "", event->reason);
	text_printable(buf, size, raw);
}

static int tell_journal(const struct events *events, const struct event *event, const char *target,
			const char *message, const json_t *json)
{
	_cleanup_free_ char *text = json_dumps(json, JSON_COMPACT);
	const char priority[] = { (char)('0' + priority_of(event)), '\0' };
	const struct journal_field fields[] = {
		{ "MESSAGE", message },
		{ "PRIORITY", priority },
		{ "SYSLOG_IDENTIFIER", "culpritd" },
		{ "CULPRIT_EVENT", event_kind_name(event->kind) },
		{ "CULPRIT_POLICY", event->policy[0] ? event->policy : NULL },
		{ "CULPRIT_TARGET", target[0] ? target : NULL },
		{ "CULPRIT_REASON", event->reason },
		{ "CULPRIT_JSON", text },
	};

	if (events->journal < 0 || !events->journal_path)
		return -ENOENT;
	return journal_send(events->journal, events->journal_path, fields, ARRAY_SIZE(fields));
}

static void tell(struct events *events, const struct event *event)
{
	char target[CLAIM_PATH_LEN + 64] = "", message[sizeof(target) + 512];
	uint64_t log_lost_before = log_lost();
	json_t *json = event_to_json(event);
	int r;

	if (event->has_target)
		target_describe(target, sizeof(target), &event->target);
	describe(event, target, message, sizeof(message));
	r = tell_journal(events, event, target, message, json);
	/* The log of a service is the journal: there the event is already. */
	if (r < 0 || !log_is_journal())
		log_message(priority_of(event), "%s", message);
	if (r < 0 && log_lost() != log_lost_before)
		events->untold++;
	if (events->listener && json)
		events->listener(events->listener_user, json);
	json_decref(json);
}

void events_flush(struct events *events)
{
	while (events->queued > 0) {
		events->queued--;
		events->kept++;
		if (events->kept > EVENT_KEEP)
			forget_oldest(events);
		events_read(events, events->kept - 1, &events->unpacked);
		tell(events, &events->unpacked);
	}
}

uint64_t events_lost(const struct events *events)
{
	return events->lost;
}

uint64_t events_untold(const struct events *events)
{
	return events->untold;
}

void events_set_journal(struct events *events, const char *path)
{
	events->journal_path = path;
}

unsigned int events_count(const struct events *events)
{
	return events->kept;
}

void events_read(const struct events *events, unsigned int index, struct event *out)
{
	event_unpack(out, events->arena + entry_at(events, index)->offset);
}

json_t *events_get(struct events *events, unsigned int index)
{
	events_read(events, index, &events->unpacked);
	return event_to_json(&events->unpacked);
}

unsigned int events_since(const struct events *events, uint64_t since_ms)
{
	struct event event;
	unsigned int i = events->kept;

	/* From the newest back: the clock may have been set, and who asks wants what is recent. */
	while (i > 0) {
		events_read(events, i - 1, &event);
		if (event.ts_ms < since_ms)
			break;
		i--;
	}
	return i;
}

void events_listen(struct events *events, void (*fn)(void *user, json_t *event), void *user)
{
	events->listener = fn;
	events->listener_user = user;
}
