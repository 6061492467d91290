/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The swap sense: who swaps in, page by page, per process and per cgroup, and who did the reclaim
 * that swapped out. Kernel threads (khugepaged, kswapd, ksmd) have a bucket of their own.
 */
#ifndef CULPRIT_SENSE_SWAP_H
#define CULPRIT_SENSE_SWAP_H

#include <stdbool.h>
#include "culprit/swap.h"
#include "sense/sense.h"

struct swap_sense;

/* The record is the kernel's own memory, read-only and valid during the call. */
typedef void (*swap_crossing_fn)(void *user, const struct culprit_swap_crossing *crossing);

/*
 * Opens, loads and attaches the best rung that proves itself with a swap-in of our own; where that
 * is impossible (no swap), the best that attaches, and swap_sweep() goes on looking. *out is freed
 * by swap_close(). -ENOTSUP: no rung; *out is set all the same, for swap_status() to say why.
 * -EINVAL: options->source is none of swap_sources. -ENOMEM.
 */
int swap_open(struct swap_sense **out, const struct sense_options *options, swap_crossing_fn fn,
	      void *user);
void swap_close(struct swap_sense *swap);
const struct sense_status *swap_status(const struct swap_sense *swap);
/* A descriptor that polls readable when swap_dispatch() has something to do. The same for ever. */
int swap_fd(const struct swap_sense *swap);
/* Hands out what has arrived. Never blocks, never allocates. Crossings handed out, or -errno. */
int swap_dispatch(struct swap_sense *swap);

/*
 * Arms the crossing: that many swap-ins (pages, whole machine) within window_ns (8 sub-windows of
 * whole clock ticks). 0 pages disarms it. After a crossing it stays silent until it is armed again;
 * then it fires with the next swap-in if the window still holds as many.
 */
int swap_arm(struct swap_sense *swap, uint64_t window_ns, uint64_t pages);
/* Leaves the swap-ins of this process out of the window (not of the counters). 0: of none. */
void swap_ignore(struct swap_sense *swap, pid_t tgid);

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
/* Calls fn for every process, also for one that has died in the last minute: a thrasher that just
 * died is still worth naming. 0 or -errno. */
int swap_each_process(struct swap_sense *swap, swap_process_fn fn, void *user);
int swap_each_cgroup(struct swap_sense *swap, swap_cgroup_fn fn, void *user);
/* The kernel threads' bucket, and the sum of all. */
int swap_kernel_use(struct swap_sense *swap, struct swap_use *use);
int swap_total(struct swap_sense *swap, struct swap_use *use);
/* Forgets a cgroup that was removed, returning its last counters (0 and zeros if unknown). */
int swap_forget_cgroup(struct swap_sense *swap, uint64_t cgroup, struct swap_cgroup_use *last);
/* Once a pulse: removes processes that are gone and old (some hundred entries a call), and steps
 * down the ladder if the kernel's own counter rises where an unproven rung sees nothing. */
void swap_sweep(struct swap_sense *swap);
/* Events at which a program was not run because it was running already (recursion). */
uint64_t swap_missed(const struct swap_sense *swap);

extern const char *const swap_sources[];

#endif
