/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records and map values of the cpu sense. Times are nanoseconds of CPU time. */
#ifndef CULPRIT_CPU_H
#define CULPRIT_CPU_H

#include "culprit/record.h"

/* Distinct (watched set, window) pairs; policies with the same pair share one budget. */
#define CULPRIT_CPU_BUDGETS	       1024
#define CULPRIT_CPU_BUDGETS_PER_CGROUP 8
/* Sub-windows of a sliding window. The oldest partial one is dropped whole, so the window that is
 * really summed is between 15/16 and 16/16 of the one asked for. */
#define CULPRIT_CPU_SLOTS	       16

/* An armed budget was reached. */
struct culprit_cpu_crossing {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 budget;
	__u32 reserved; /* zero */
	__u64 used_ns;	/* in the window */
	__u64 threshold_ns;
	struct culprit_task task; /* whose time it was that reached it */
	__u64 task_used_ns;	  /* of its process since the agent started */
	__u64 cgroup_used_ns;	  /* of its cgroup's own tasks since the agent started */
};

CULPRIT_ASSERT_SIZE(struct culprit_cpu_crossing, 88);

#endif
