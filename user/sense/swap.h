/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The swap sense: who swaps in, page by page, per process and per cgroup, and who did the reclaim
 * that swapped out. Kernel threads (khugepaged, swapoff's helper, ksmd) have a bucket of their own.
 */
#ifndef CULPRIT_SENSE_SWAP_H
#define CULPRIT_SENSE_SWAP_H

#include <stdbool.h>
#include "culprit/swap.h"
#include "sense/sense.h"

struct swap_sense;

typedef void (*swap_crossing_fn)(void *user, const struct culprit_swap_crossing *crossing);

int swap_open(struct swap_sense **out, const struct sense_options *options, swap_crossing_fn fn,
	      void *user);
void swap_close(struct swap_sense *swap);
const struct sense_status *swap_status(const struct swap_sense *swap);
int swap_fd(const struct swap_sense *swap);
int swap_dispatch(struct swap_sense *swap);

/* Arms the crossing: that many swap-ins (pages, whole machine) within window_ns (8 sub-windows).
 * 0 pages disarms it. After a crossing it stays silent until it is armed again. */
int swap_arm(struct swap_sense *swap, uint64_t window_ns, uint64_t pages);

struct swap_use {
	uint64_t swapin_pages;	/* what pswpin counts */
	uint64_t swapout_pages; /* by this one's reclaim, whoever's pages they were */
	uint64_t zswapin_pages; /* from zswap */
	uint64_t zeroin_pages;	/* all-zero pages that never reached the device */
};
struct swap_process_use {
	uint32_t tgid;
	uint64_t start_time_ns;
	uint64_t cgroup;
	char comm[CULPRIT_COMM_LEN];
	struct swap_use use;
};
struct swap_cgroup_use {
	uint64_t cgroup;
	struct swap_use use; /* own tasks only */
};
typedef void (*swap_process_fn)(void *user, const struct swap_process_use *use);
typedef void (*swap_cgroup_fn)(void *user, const struct swap_cgroup_use *use);
int swap_each_process(struct swap_sense *swap, swap_process_fn fn, void *user);
int swap_each_cgroup(struct swap_sense *swap, swap_cgroup_fn fn, void *user);
/* The kernel threads' bucket, and the sum of all. */
int swap_kernel_use(struct swap_sense *swap, struct swap_use *use);
int swap_total(struct swap_sense *swap, struct swap_use *use);
int swap_forget_cgroup(struct swap_sense *swap, uint64_t cgroup, struct swap_cgroup_use *last);
void swap_sweep(struct swap_sense *swap);

extern const char *const swap_sources[];

#endif
