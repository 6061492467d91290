// SPDX-License-Identifier: GPL-2.0-or-later
#include "tell/feed.h"

#include <errno.h>
#include <stdlib.h>

struct follower {
	struct follower *next;
	struct varlink_call *call;
};

struct feed {
	struct events *events;
	struct follower *followers;
	unsigned int n_followers;
};

static void on_close(void *user, struct varlink_call *call)
{
	struct feed *feed = user;
	struct follower **link = &feed->followers, *gone;

	while (*link && (*link)->call != call)
		link = &(*link)->next;
	gone = *link;
	if (!gone)
		return;
	*link = gone->next;
	feed->n_followers--;
	free(gone);
}

static void on_event(void *user, json_t *event)
{
	struct feed *feed = user;

	/* Who is gone, or does not read, is forgotten when the server closes its call. */
	for (const struct follower *f = feed->followers; f; f = f->next)
		(void)varlink_notify(f->call, json_pack("{s:[O]}", "events", event));
}

/* One event at a time becomes a tree; a thousand of them would be ten megabytes. */
static bool send_kept(struct feed *feed, struct varlink_call *call, uint64_t since_ms,
		      bool continues)
{
	unsigned int first = events_since(feed->events, since_ms);
	FILE *stream = varlink_begin(call);

	if (!stream)
		return varlink_end(call, continues);
	fputs("{\"events\":[", stream);
	for (unsigned int i = first; i < events_count(feed->events); i++) {
		json_t *event = events_get(feed->events, i);

		if (i > first)
			fputc(',', stream);
		json_dumpf(event, stream, JSON_COMPACT);
		json_decref(event);
	}
	fputs("]}", stream);
	return varlink_end(call, continues);
}

static void follow(struct feed *feed, struct varlink_call *call, uint64_t since_ms)
{
	struct follower *f = malloc(sizeof(*f));

	if (!f) {
		varlink_errorf(call, VARLINK_REFUSED, "no memory for another follower");
		return;
	}
	*f = (struct follower){ .next = feed->followers, .call = call };
	feed->followers = f;
	feed->n_followers++;
	varlink_on_close(call, on_close, feed);
	(void)send_kept(feed, call, since_ms, true);
}

void feed_answer(struct feed *feed, struct varlink_call *call, json_t *parameters)
{
	int64_t since_ms = 0;
	const struct varlink_field fields[] = {
		{ "since", VARLINK_INT, false, &since_ms, NULL },
		{ NULL },
	};

	if (!varlink_fields(call, parameters, fields))
		return;
	if (since_ms < 0)
		since_ms = 0;
	if (varlink_wants_more(call))
		follow(feed, call, (uint64_t)since_ms);
	else
		(void)send_kept(feed, call, (uint64_t)since_ms, false);
}

int feed_new(struct feed **out, struct events *events)
{
	struct feed *feed = calloc(1, sizeof(*feed));

	if (!feed)
		return -ENOMEM;
	feed->events = events;
	events_listen(events, on_event, feed);
	*out = feed;
	return 0;
}

void feed_free(struct feed *feed)
{
	struct follower *f;

	if (!feed)
		return;
	events_listen(feed->events, NULL, NULL);
	while ((f = feed->followers)) {
		feed->followers = f->next;
		varlink_on_close(f->call, NULL, NULL);
		free(f);
	}
	free(feed);
}

unsigned int feed_followers(const struct feed *feed)
{
	return feed->n_followers;
}
