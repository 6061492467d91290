/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Records and map values of the delay sense: how long tasks wait for a CPU once they were woken.
 * Waits are nanoseconds of CLOCK_MONOTONIC.
 */
#ifndef CULPRIT_DELAY_H
#define CULPRIT_DELAY_H

#include "culprit/record.h"
#include "culprit/window.h"

/* Distinct (watched set, window, enter, leave); policies that agree in these share one budget. */
#define CULPRIT_DELAY_BUDGETS		 64
#define CULPRIT_DELAY_BUDGETS_PER_CGROUP 8

/*
 * The 95th percentile is the nearest rank's: it has reached a limit when more than one wake-up in
 * 20 of the window has waited so long, which two counters tell exactly. (Below 20 wake-ups that is
 * the longest wait.)
 */
#define CULPRIT_DELAY_ONE_IN 20

/* What is counted of the wake-ups of a budget. */
enum culprit_delay_sum {
	CULPRIT_DELAY_WOKEN,
	CULPRIT_DELAY_LATE, /* waited at least enter_ns */
	CULPRIT_DELAY_LOUD, /* waited at least leave_ns */
	CULPRIT_DELAY_SUMS,
};

/* Value of `delay_budget`; see culprit/window.h. */
struct culprit_delay_budget {
	__u64 slot_ns; /* length of a sub-window; 0: the budget is not in use */
	__u64 enter_ns;
	__u64 leave_ns;
	__u32 armed;
	__u32 nonnice_only; /* tasks with nice above zero do not count */
	__u64 crossings;    /* records sent */
	__u64 epoch;	    /* number of the current sub-window: time / slot_ns */
	__u64 sums[CULPRIT_DELAY_SUMS];
	culprit_window_begins begins[CULPRIT_DELAY_SUMS];
};

CULPRIT_ASSERT_SIZE(struct culprit_delay_budget, 456);

/*
 * Waits by length, from which people are shown what the percentile is: 32 steps for each doubling,
 * so that no step is more than 3 % (but 1 us below 32 us). The last one is all from 17 s on.
 */
#define CULPRIT_DELAY_UNIT_SHIFT 10 /* 1.024 us */
#define CULPRIT_DELAY_STEP_BITS	 5
#define CULPRIT_DELAY_UNIT_BITS	 24
#define CULPRIT_DELAY_STEPS \
	((CULPRIT_DELAY_UNIT_BITS - CULPRIT_DELAY_STEP_BITS + 1) << CULPRIT_DELAY_STEP_BITS)

/* Value of `delay_waits`: one sub-window of one budget, at budget * SLOTS + epoch % SLOTS. Begun
 * anew by the first wait of a new epoch; what two CPUs that do so at once lose is missing from what
 * is shown, and from nothing else. */
struct culprit_delay_waits {
	__u64 epoch;
	__u32 counts[CULPRIT_DELAY_STEPS];
};

CULPRIT_ASSERT_SIZE(struct culprit_delay_waits, 2568);

/* Value of `delay_cgroup`; the key is the cgroup id. Written by the agent alone. */
struct culprit_delay_cgroup {
	/* Which budgets its tasks count for: index + 1, zero ends the list. */
	__u16 budgets[CULPRIT_DELAY_BUDGETS_PER_CGROUP];
};

CULPRIT_ASSERT_SIZE(struct culprit_delay_cgroup, 16);

/* Value of `delay_cgroup_waits`, for the cgroups that are watched: of its own tasks' wake-ups,
 * since it has been watched. */
struct culprit_delay_cgroup_waits {
	__u64 woken;
	__u64 waited_ns;
	__u32 counts[CULPRIT_DELAY_STEPS];
};

CULPRIT_ASSERT_SIZE(struct culprit_delay_cgroup_waits, 2576);

/* An armed budget was reached, by the wait that has just ended. */
struct culprit_delay_crossing {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 budget;
	__u32 reserved; /* zero */
	__u64 wait_ns;	/* that one's */
	__u64 enter_ns;
	__u64 woken; /* in the window */
	__u64 late;
	struct culprit_task waiter;
	struct culprit_task runner; /* who had that CPU until now; tgid 0: nobody, it was idle */
};

CULPRIT_ASSERT_SIZE(struct culprit_delay_crossing, 128);

/* Tasks that wait at the same time, by the lowest bits of their tid. */
#define CULPRIT_DELAY_STAMPS 32768

/* Value of `delay_stamp`. It stands for a wait only as long as the task has not run since. */
struct culprit_delay_stamp {
	__u64 woken_ns; /* 0: nobody waits here */
	__u64 start_time_ns;
	__u64 ran_ns; /* se.sum_exec_runtime when it was woken */
};

CULPRIT_ASSERT_SIZE(struct culprit_delay_stamp, 24);

#endif
