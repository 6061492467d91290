/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What could not be recorded, in one list: the `losses` map that all BPF objects share, and the
 * counters of other sources (recursion misses of a sense, events dropped from a queue). It is
 * `losses` in `culprit status`.
 */
#ifndef CULPRIT_SENSE_LOSSES_H
#define CULPRIT_SENSE_LOSSES_H

#include <stdint.h>

#include "culprit/losses.h"

struct losses;

/* Counters that losses_add() can take. */
#define LOSSES_MAX_ADDED 32

/* Makes the map. *out is freed by losses_close(). 0 or -errno. */
int losses_open(struct losses **out);
void losses_close(struct losses *losses);

/* The map, for sense_options.losses_fd and for pins_add() as "losses". It belongs to losses. */
int losses_fd(const struct losses *losses);

/* Adds a counter that is asked for whenever the list is. Name and text are static. -ENOSPC. */
typedef uint64_t (*losses_count_fn)(void *user);
int losses_add(struct losses *losses, const char *name, const char *text, losses_count_fn fn,
	       void *user);

/* The counters of the map as they are now. 0 or -errno. */
int losses_read(const struct losses *losses, struct culprit_losses *counts);

/* Calls fn for every counter, of the map and added, also for those that are zero. 0 or -errno. */
typedef void (*losses_fn)(void *user, const char *name, const char *text, uint64_t count);
int losses_each(const struct losses *losses, losses_fn fn, void *user);

#endif
