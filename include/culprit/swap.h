/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records and map values of the swap sense. Counts are pages. */
#ifndef CULPRIT_SWAP_H
#define CULPRIT_SWAP_H

#include "culprit/record.h"

/* Sub-windows of the sliding window. The oldest partial one is dropped whole, so the window that is
 * really summed is between 7/8 and 8/8 of the one asked for. */
#define CULPRIT_SWAP_SLOTS 8

struct culprit_swap_use {
	__u64 swapin_pages;  /* what pswpin counts */
	__u64 swapout_pages; /* by this one's reclaim, whoever's pages they were */
	__u64 zswapin_pages; /* from zswap */
	__u64 zeroin_pages;  /* all-zero pages that never reached the device */
};

CULPRIT_ASSERT_SIZE(struct culprit_swap_use, 32);

/* Key of `swap_process`. With the start time in it, a reused pid is another process. */
struct culprit_swap_process_key {
	__u32 tgid;
	__u32 reserved;	     /* zero */
	__u64 start_time_ns; /* of the group leader, CLOCK_BOOTTIME */
};

CULPRIT_ASSERT_SIZE(struct culprit_swap_process_key, 16);

/* Value of `swap_process`. */
struct culprit_swap_process {
	struct culprit_swap_use use;
	__u64 cgroup;		     /* v2, at its last event */
	__u64 last_ns;		     /* of its last event, CLOCK_MONOTONIC */
	char comm[CULPRIT_COMM_LEN]; /* of the group leader, at its last event */
};

CULPRIT_ASSERT_SIZE(struct culprit_swap_process, 64);

/* The one value of `swap_total`. */
struct culprit_swap_total {
	struct culprit_swap_use all;	/* whole machine */
	struct culprit_swap_use kernel; /* of it, by kernel threads */
};

CULPRIT_ASSERT_SIZE(struct culprit_swap_total, 64);

/* The armed number of swap-ins was reached within the window. */
struct culprit_swap_crossing {
	__u64 time_ns;	    /* CLOCK_MONOTONIC */
	__u64 swapin_pages; /* in the window, whole machine */
	__u64 threshold_pages;
	struct culprit_task task; /* whose swap-in reached it */
	__u64 task_swapin_pages;  /* of its process since the agent started */
	__u64 cgroup_swapin_pages;
	__u32 arming; /* the how manieth swap_arm() it answers */
	__u32 kernel; /* 1: a kernel thread; task_swapin_pages is that of all of them */
};

CULPRIT_ASSERT_SIZE(struct culprit_swap_crossing, 88);

#endif
