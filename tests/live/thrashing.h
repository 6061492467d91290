/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Real thrash for the live tests: processes that touch more than their memory limit lets them keep.
 */
#ifndef CULPRIT_TESTS_THRASHING_H
#define CULPRIT_TESTS_THRASHING_H

#define LIMIT_MIB   64
#define THRASH_MIB  128
/* It takes that long on an emulated machine until the pages are written for the first time, before
 * which there is no thrashing. */
#define PATIENCE_MS 100000

/* live_setup() and a swap file. */
int thrashing_setup(void **state);

/* For live_fork(), in a cgroup that has a live_limit(): touches (void *)(uintptr_t)mebibytes at
 * random for ever. */
int load_thrash(void *mebibytes);

#endif
