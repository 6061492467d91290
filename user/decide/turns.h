/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * turns: workloads that cannot run together run one after the other. One rotation is the workloads
 * (members) under one memory limit. Pure: time, sizes and counters are arguments; nothing is
 * allocated.
 *
 * Whose turn it is runs. Beside it run those that fit: first the small ones, which fit beside
 * everyone and so never wait, then the others in line. Who waits, waits for no more turns than
 * there are others: who has run goes behind all who have not, and who comes joins at the end. Who
 * is larger than the capacity runs alone.
 *
 * What a member needs is its working set. At most that is its footprint. It is known better from
 * what is resident when a turn ends in which it had stopped reading pages back in: what it does not
 * touch goes out over the rotations. It is over when all working sets fit together, and also when
 * nobody had to read anything back in for a whole rotation: then what does not fit is not used.
 *
 * A turn is as long as the slice, or so much longer that the refill, in which the runner reads its
 * pages back in, is a small part of it; but no longer than 12 slices, nor than a minute (or the
 * slice, if that is more). It ends early when the runner ends, or does nothing.
 *
 * How it is used, at every look (turns_next_ns()): turns_see() for every member, then turns_step();
 * freeze those that are to wait, from the last to the first, which at the begin is the newest
 * first; then let those run that may. If turns_over(), let all run, and keep the rotation for a
 * while, so that it can be told that turns_thrashes_again(); then forget it.
 */
#ifndef CULPRIT_DECIDE_TURNS_H
#define CULPRIT_DECIDE_TURNS_H

#include <stdbool.h>
#include <stdint.h>

#include "decide/turns_track.h"

#define TURNS_MAX 32

struct turns_member {
	uint64_t key;		/* the caller's */
	uint64_t start_time_ns; /* larger is newer */
	bool runs;		/* as turns_step() decided; else it waits */
	uint64_t since_ns;	/* when that last changed; before: of the first step it was in */
	/* Whether turns_see() has told, and the last it did. */
	bool is_seen;
	uint64_t footprint_pages, resident_pages, swapin_pages, cpu_usec;
	/* Its working set was measured_pages when its footprint was measured_at_pages. */
	bool is_measured;
	uint64_t measured_pages, measured_at_pages;
	uint64_t refill_ns; /* of its last turns: rises at once, falls slowly */
	bool has_ended;	    /* a turn, with so many swap-ins; next to none since the one before: */
	uint64_t ended_swapin_pages;
	bool read_nothing;
	bool has_joined;	  /* it was in a step */
	bool has_ridden;	  /* it runs since this turn began */
	bool was_sent_off;	  /* it ran beside this runner, and did not fit any more */
	struct turns_track track; /* of this turn, if it has ridden */
};

/* To be read only, but for slice_ns. */
struct turns {
	uint64_t slice_ns; /* the least turn; may be changed before any step */
	/* In line: members[0] has the turn if is_turn, then those whose turns come next. */
	struct turns_member members[TURNS_MAX];
	unsigned int count;
	bool is_turn, has_begun, is_over, is_due;
	uint64_t now_ns, capacity_pages; /* of the last step */
	uint64_t turn_ns;		 /* how long a turn is; grows while the runner refills */
	uint64_t turn_began_ns;
	uint64_t turns; /* how many have begun */
	unsigned int doubts;
	uint64_t doubted_until_ns;
	uint64_t refuted_pages; /* so much did not fit, whatever the capacity is; 0: nothing */
};

void turns_init(struct turns *t, uint64_t slice_ns);

/* Joins at the end of the line, waiting until the next step. At the very begin the oldest is first.
 * 0, -EEXIST, or -ENOSPC: there are TURNS_MAX. */
int turns_add(struct turns *t, uint64_t key, uint64_t start_time_ns);

/* It has ended, or somebody else decides about it now. If it had the turn, the next step gives it
 * to the next in line. False: no such member. */
bool turns_remove(struct turns *t, uint64_t key);

/*
 * What is known of it now. Footprint: anonymous + swap entries + shared memory. swapin_pages and
 * cpu_usec count since whenever; one that fell has not moved. Pages that somebody else read back in
 * for it are its swap-ins, too: else it seems to need none. cpu_usec 0: not known, and so never
 * idle. False: no such member.
 */
bool turns_see(struct turns *t, uint64_t key, uint64_t footprint_pages, uint64_t resident_pages,
	       uint64_t swapin_pages, uint64_t cpu_usec, uint64_t now_ns);

/* Decides who runs. capacity_pages: what the members may have resident together. True: somebody is
 * to change. A clock that goes backwards stands still. */
bool turns_step(struct turns *t, uint64_t now_ns, uint64_t capacity_pages);

/* By when to look and step again: a few times a second, as the refill must be seen. UINT64_MAX:
 * there is no need to. */
uint64_t turns_next_ns(const struct turns *t);

/* Nobody needs to wait any more: they fit together, or there are no two. */
bool turns_over(const struct turns *t);

/* After turns_over() all ran, and they thrash again; then turns_step(). If the working sets still
 * seem to fit, they are not believed any more: footprints count for a while, which is longer every
 * time. */
void turns_thrashes_again(struct turns *t, uint64_t now_ns);

/* --- for telling -------------------------------------------------------------------------------
 */

/* NULL: no such member; it moves with the next step, add or remove. */
const struct turns_member *turns_find(const struct turns *t, uint64_t key);

/* Whose turn it is; NULL: nobody's. */
const struct turns_member *turns_runner(const struct turns *t);

/* Whose turn is next, as things are: to read its pages back in for it. NULL: nobody's. */
const struct turns_member *turns_next_in_line(const struct turns *t);

/* When this turn ends at the latest, as things are; 0: it is nobody's. */
uint64_t turns_until_ns(const struct turns *t);

/* How long anybody waits at the most, as things are: (others × a turn). */
uint64_t turns_longest_wait_ns(const struct turns *t);

/* By when this member runs at the latest, as things are; for one that runs, since when it does. */
uint64_t turns_runs_by_ns(const struct turns *t, const struct turns_member *m);

/* Pages. UINT64_MAX: it has not been seen yet. */
uint64_t turns_working_set(const struct turns_member *m);

#endif
