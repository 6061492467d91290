/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose fault is it that memory thrashes? Pure: looks at the machine and rules are arguments, and
 * the same arguments give the same answer.
 *
 *   footprint = anonymous + swap entries + shared memory     (resident size hides what is out)
 *   growth    = rise of the footprint since the last calm look
 *   churn     = swap-ins that did not stay, see thrash.h
 *   score     = growth or churn × preference weight
 *
 * If someone's growth makes a material part of the shortage, the largest growth is the offender:
 * its victims swap in far more than it does. Otherwise the largest churn is. Among near equals it
 * is the newest, so that whoever ran longest comes to an end. Size alone, and oom_score, never
 * count. If no single process makes half of its cgroup's part, the cgroup is the offender (fork
 * storms, many small workers). Who gives its memory back, or has ended, is no offender, and nobody
 * is one in its place.
 */
#ifndef CULPRIT_DECIDE_OFFENDER_H
#define CULPRIT_DECIDE_OFFENDER_H

#include "decide/thrash.h"

#define OFFENDER_CANDIDATES 5

enum offender_measure {
	OFFENDER_NOBODY,
	OFFENDER_BY_GROWTH,
	OFFENDER_BY_CHURN
};

struct offender_candidate {
	const struct culprit_process *process; /* in the last look; NULL: the whole cgroup */
	uint64_t cgroup;
	uint64_t footprint_pages, growth_pages, swapin_pages, churn_pages;
	double weight;
	double score;
	enum offender_measure measure; /* what the score is of */
	const char *refusal;	       /* why it was passed over (static text); NULL: it was not */
};

struct offender_looks {
	const struct thrash_sample *calm; /* the last calm one; NULL: none, growth is not known */
	const struct thrash_sample *before, *now; /* around the interval that confirmed it */
	/* Pages that are missing, as the machine's counters tell (rise of used swap since calm);
	 * 0: taken from the looks. */
	uint64_t shortage_pages;
};

struct offender_rules {
	/* Why it cannot be one (static text), or NULL. process NULL: the whole cgroup, and all
	 * below it. Asked from the best candidate on, until one may be acted on. */
	const char *(*refusal)(void *user, const struct culprit_process *process, uint64_t cgroup);
	/* See protect_weight(). */
	double (*weight)(void *user, const struct culprit_process *process, uint64_t cgroup);
	/* Is the cgroup that one, or below it? NULL: there are none below any. */
	bool (*within)(void *user, uint64_t cgroup, uint64_t above);
	void *user;
};

struct offender_choice {
	enum offender_measure measure; /* OFFENDER_NOBODY: nobody who may be acted on */
	struct offender_candidate offender;
	/* Freeze its cgroup, for all of it is the offender's; else stop the process. */
	bool whole_cgroup;
	uint64_t shortage_pages, churn_pages;
	struct offender_candidate
		candidates[OFFENDER_CANDIDATES]; /* best first, with the offender */
	unsigned int n_candidates;
};

struct offender_entry;

/* Memory to think in. Zeroed is empty. */
struct offender_room {
	struct offender_entry *entries;
	uint32_t *table;
	size_t table_slots;
	size_t room; /* processes that fit */
};

/* Makes room for so many processes (records of a census and of swap-ins together) ahead of time, so
 * that offender_choose() need not allocate while memory is short. 0, or -ENOMEM with the room as it
 * was. */
int offender_reserve(struct offender_room *room, size_t processes);
void offender_room_free(struct offender_room *room);

/* 0, or -ENOMEM when the room was too small and could not be made larger. */
int offender_choose(struct offender_room *room, const struct offender_looks *looks,
		    const struct offender_rules *rules, struct offender_choice *choice);

uint64_t offender_footprint(const struct culprit_process *process);

#endif
