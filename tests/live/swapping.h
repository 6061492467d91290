/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Real swap for the live tests: a swap file of their own, and processes that use it exactly. */
#ifndef CULPRIT_TESTS_SWAPPING_H
#define CULPRIT_TESTS_SWAPPING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Switches on a swap file of that size before any other swap (on a loop device where the file
 * system cannot hold one); fails the test when that is impossible. live_swap_off() and
 * live_cleanup() remove it. It is in $CULPRIT_SWAP_DIR, or else in live_tmpdir().
 */
void live_swap_on(unsigned int mebibytes);
void live_swap_off(void);

/* pswpin of /proc/vmstat, or another key of it. */
uint64_t live_vmstat(const char *key);

/*
 * Pages of one's own, that are swapped out whole and read back whole, as often as is wanted.
 * Everything returns 0 or -errno (for use in children); -EAGAIN: the pages would not go out.
 */
struct own_pages {
	unsigned char *memory;
	size_t pages;
	size_t touched; /* pages that own_pages_out() had to map again from the swap cache */
};
int own_pages_make(struct own_pages *own, size_t pages);
int own_pages_out(struct own_pages *own);
/* Reads every page; a wrong content is -EBADMSG. */
int own_pages_in(struct own_pages *own);
void own_pages_free(struct own_pages *own);

/* A load for live_fork(): (void *)(uintptr_t)pages out and in, once, then ends with 0. */
int load_swap_once(void *pages);

#endif
