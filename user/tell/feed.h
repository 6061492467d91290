/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers the Events method: the kept events, and to who asks for "more" the new ones as they
 * happen. */
#ifndef CULPRIT_TELL_FEED_H
#define CULPRIT_TELL_FEED_H

#include "tell/event.h"
#include "tell/varlink.h"

struct feed;

/* Becomes the listener of `events`, which must outlive it, as must the server of its calls. */
int feed_new(struct feed **out, struct events *events);
void feed_free(struct feed *feed);

/* Answers one call of Events(since: ?int). */
void feed_answer(struct feed *feed, struct varlink_call *call, json_t *parameters);
/* How many follow now. */
unsigned int feed_followers(const struct feed *feed);

#endif
