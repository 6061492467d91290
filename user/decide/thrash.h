/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is memory thrashing? A crossing of swap-ins in the kernel begins the question; two looks at the
 * machine, 100 to 200 ms apart, answer it. Pure: the looks are arguments.
 *
 * Rates and stall alone do not tell: an idle process that reads its pages back once swaps in as
 * fast as a thrasher. What tells is churn: swap-ins that left no trace, because as much went out
 * again. A reader's own swap entries fall by what it reads in, a thrasher's do not.
 */
#ifndef CULPRIT_DECIDE_THRASH_H
#define CULPRIT_DECIDE_THRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "culprit/census.h"

/* Swap-ins of one process since the agent started. */
struct thrash_swapin {
	uint32_t tgid;
	uint64_t start_time_ns;
	uint64_t cgroup;
	uint64_t swapin_pages;
};

/* One look. Both arrays are sorted by tgid and belong to whoever made the look. */
struct thrash_sample {
	uint64_t time_ns; /* CLOCK_MONOTONIC */
	const struct culprit_process *processes;
	size_t n_processes;
	const struct thrash_swapin *swapins;
	size_t n_swapins;
	uint64_t swapin_pages, swapout_pages; /* whole machine, since whenever */
	uint64_t stall_usec;		      /* "total" of `some` in /proc/pressure/memory */
	bool has_stall;			      /* there is such a file */
};

/* From the policy; enter and leave are shares of the time stalled. */
struct thrash_rule {
	double enter, leave;
	bool enter_is_default;
};

struct thrash_verdict {
	uint64_t interval_ns;
	uint64_t swapin_pages, swapout_pages; /* whole machine, within the interval */
	uint64_t churn_pages;
	double stall; /* share of the interval, -1: not known */
	bool confirmed;
	/* There is churn at a material rate, but in so short a time that it may be the counters'
	 * lag: judge again from the same first look. Never after 640 ms. */
	bool undecided;
	const char *why_not; /* static text; NULL when confirmed */
	/* For policy_step(): the stall; at least enter when confirmed; below enter when not, and
	 * then not below leave, unless the stall is. */
	double value;
};

/*
 * Confirmed: churn is material, and a second witness agrees. The witness is the stall at `enter` or
 * above; with the default also swap-in and swap-out both above 100 pages/s, which alone is asked
 * where the kernel knows no stall. A counter that went backwards has not moved.
 */
void thrash_judge(const struct thrash_sample *before, const struct thrash_sample *now,
		  const struct thrash_rule *rule, struct thrash_verdict *verdict);

/* What one process swapped in between the looks. `before` and `now` are its records in them, NULL
 * when it was not there yet, or is not any more. */
uint64_t thrash_churn(const struct culprit_process *before, const struct culprit_process *now,
		      uint64_t swapin_pages);
/* What is left of a cgroup's swap entries for those that were born and died between the looks to
 * have read. Zeroed at the first one. */
struct thrash_heirs {
	bool known;
	uint64_t cgroup, left_pages;
};

/* The same for each entry of now->swapins in turn. */
uint64_t thrash_churn_of(const struct thrash_sample *before, const struct thrash_sample *now,
			 const struct thrash_swapin *s, struct thrash_heirs *heirs);
uint64_t thrash_swapin_delta(const struct thrash_sample *before, const struct thrash_swapin *now);

/* The record of this process (not of another with the same pid), or NULL. A NULL sample has none.
 */
const struct culprit_process *thrash_find(const struct thrash_sample *sample, uint32_t tgid,
					  uint64_t start_time_ns);
const struct thrash_swapin *thrash_find_swapin(const struct thrash_sample *sample, uint32_t tgid,
					       uint64_t start_time_ns);

/* A look that is kept after its arrays are gone. Zeroed is empty. */
struct thrash_copy {
	struct thrash_sample sample; /* points into the two below */
	struct culprit_process *processes;
	size_t room_processes;
	struct thrash_swapin *swapins;
	size_t room_swapins;
};

/* Copies; allocates only when there is more than ever before. 0, or -ENOMEM (the old copy stays).
 */
int thrash_keep(struct thrash_copy *copy, const struct thrash_sample *sample);
void thrash_copy_free(struct thrash_copy *copy);

#endif
