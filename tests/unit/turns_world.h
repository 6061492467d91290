/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * turns_world: a memory for tests of turns. Members touch their needed pages at random; what is out
 * is read in as fast as the disk can, and nothing gets done meanwhile. Read in is what is missing,
 * but ever more slowly at the end, when a touch seldom meets a page that is out. To make room,
 * pages go in the order in which they were last used: stale ones, then those of who waits, the
 * longest first, then those of who runs.
 */
#ifndef CULPRIT_TESTS_TURNS_WORLD_H
#define CULPRIT_TESTS_TURNS_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "decide/turns.h"

#define MIB_PAGES(n) ((uint64_t)(n)*256)

struct world_member {
	uint64_t key;
	double needed, stale;	    /* pages it has */
	double needed_in, stale_in; /* of these, resident */
	double swapin;
	double useful_ns, cpu_ns;
	bool runs, sleeps;
	uint64_t since_ns;
	unsigned int waits; /* how often it was told to */
	uint64_t longest_wait_ns;
};

struct world {
	uint64_t now_ns;
	double capacity, pages_per_s;
	struct world_member members[TURNS_MAX];
	unsigned int count;
	struct turns turns;
	bool without_turns;
	uint64_t longest_turn_ns;
	unsigned int times_over;
};

/* refill_s: to read 150 MiB. */
void world_init(struct world *w, uint64_t capacity_mib, double refill_s, uint64_t slice_ns);
/* The later one is added, the newer it is. It runs until it is told to wait. */
struct world_member *world_add(struct world *w, uint64_t key, uint64_t needed_mib,
			       uint64_t stale_mib);
void world_end(struct world *w, uint64_t key);
struct world_member *world_find(struct world *w, uint64_t key);
void world_run(struct world *w, uint64_t duration_ns);

bool world_thrashes(const struct world *w);
/* Of all members, since they were added. */
double world_useful_ns(const struct world *w);

#endif
