/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * turns: workloads that cannot run together run one after the other. One rotation is the workloads
 * (members) under one memory limit. Pure: time, sizes and counters are arguments; nothing is
 * allocated.
 *
 * Whose turn it is runs. Beside it run those that fit: first the small ones, which fit beside
 * everyone and so never wait, then the others in line. Who waits, waits for no more turns than
 *there are others: who has run goes behind all who have not, and who comes joins at the end.
 *
 * What a member needs is its working set. At most that is its footprint. It is known better from
 * what is resident when a turn ends in which it had stopped reading pages back in: what it does not
 * touch has gone out meanwhile. When all working sets fit together, it is over.
 *
 * A turn is as long as the slice, or so much longer that the refill, in which the runner reads its
 * pages back in, is a small part of it; but no longer than 12 slices, nor than a minute (or the
 * slice, if that is more). It ends early when the runner ends, or does nothing.
 *
 * How it is used, at every look (turns_next_ns()):
 *	turns_see() for every member; turns_step(); freeze those that are to wait (from the last to
 *	the first: the newest first); then let those run that may. If turns_over(): let all run;
 *keep the rotation for a while, so that turns_thrashes_again() can be told, then forget it.
 */
#ifndef CULPRIT_DECIDE_TURNS_H
#define CULPRIT_DECIDE_TURNS_H

#include <stdbool.h>
#include <stdint.h>

#define TURNS_MAX 32

/* When the rate of swap-ins falls, and whether anything is done at all, since a turn began. */
struct turns_track {
	uint64_t base_ns, base_swapin_pages; /* where the present interval began */
	double peak;			     /* pages/s, the highest so far */
	uint64_t quiet_ns;		     /* since when the rate has been low; 0: it is not */
	uint64_t refill_ns;		     /* how long it took, or has taken so far */
	bool settled; /* it has been low for long enough: the refill is over */
	uint64_t idle_ns, idle_cpu_usec, idle_swapin_pages; /* where the idle time began */
	bool idle;
};

/* To be read only. */
struct turns_member {
	uint64_t key;		  /* the caller's */
	uint64_t start_time_ns;	  /* larger is newer */
	bool runs;		  /* as turns_step() decided; else it waits */
	uint64_t since_ns;	  /* when that last changed, or it joined */
	bool is_seen;		  /* the four below are known */
	uint64_t footprint_pages; /* anonymous + swap entries + shared */
	uint64_t resident_pages;
	uint64_t swapin_pages; /* since whenever */
	uint64_t cpu_usec;     /* since whenever; 0: not known */
	bool is_measured;      /* its working set is known better than by the footprint */
	uint64_t measured_pages;
	uint64_t refill_ns; /* of its last turns: rises at once, falls slowly */
	bool has_begun, rode, was_sent_off;
	struct turns_track track;
};

struct turns {
	uint64_t slice_ns; /* the least turn; may be changed at any time */
	/* In line: members[0] has the turn (turns_runner()), then those whose turns come next. */
	struct turns_member members[TURNS_MAX];
	unsigned int count;
	/* What follows is to be read only. */
	uint64_t capacity_pages; /* at the last step */
	uint64_t turn_ns;	 /* how long a turn is; may still grow while the runner refills */
	uint64_t turn_began_ns;
	uint64_t turns; /* how many have begun */
	bool is_turn;	/* members[0] has the turn */
	bool has_begun, is_over, is_due;
	uint64_t now_ns; /* of the last step */
	unsigned int doubts;
	uint64_t doubted_until_ns;
};

void turns_init(struct turns *t, uint64_t slice_ns);

/* Joins at the end of the line, waiting until the next step. At the very begin the oldest is first.
 * 0, -EEXIST, or -ENOSPC: there are TURNS_MAX. */
int turns_add(struct turns *t, uint64_t key, uint64_t start_time_ns);

/* It has ended, or somebody else decides about it now. If it had the turn, the next step gives it
 * to the next in line. False: no such member. */
bool turns_remove(struct turns *t, uint64_t key);

/* What is known of it now. swapin_pages and cpu_usec only rise; one that fell has not moved.
 * cpu_usec 0: not known, and so never idle. False: no such member. */
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

/* When this turn ends at the latest, as things are; 0: it is nobody's. */
uint64_t turns_until_ns(const struct turns *t);

/* How long anybody waits at the most, as things are: (others × a turn). */
uint64_t turns_longest_wait_ns(const struct turns *t);

/* By when this member runs at the latest, as things are; for one that runs, since when it does. */
uint64_t turns_runs_by_ns(const struct turns *t, const struct turns_member *m);

/* Pages. UINT64_MAX: it has not been seen yet. */
uint64_t turns_working_set(const struct turns_member *m);

#endif
