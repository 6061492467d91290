/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records and map values of the swap sense. Counts are pages. */
#ifndef CULPRIT_SWAP_H
#define CULPRIT_SWAP_H

#include "culprit/record.h"

/* The armed number of swap-ins was reached within the window. */
struct culprit_swap_crossing {
	__u64 time_ns;	    /* CLOCK_MONOTONIC */
	__u64 swapin_pages; /* in the window, whole machine */
	__u64 threshold_pages;
	struct culprit_task task; /* whose swap-in reached it */
	__u64 task_swapin_pages;  /* of its process since the agent started */
	__u64 cgroup_swapin_pages;
};

CULPRIT_ASSERT_SIZE(struct culprit_swap_crossing, 80);

#endif
