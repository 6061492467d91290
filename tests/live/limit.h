/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A memory limit for one of the test's cgroups: memory.max where the v2 hierarchy has the
 * controller, else a v1 group beside it, which the processes have to join as well.
 */
#ifndef CULPRIT_TESTS_LIMIT_H
#define CULPRIT_TESTS_LIMIT_H

/* Limits ROOT/cgroup (which exists) to so many MiB; fails the test where there is no controller.
 * live_cleanup() removes what this makes. */
void live_limit(const char *cgroup, unsigned int mebibytes);
/* In a child that is in that cgroup, before it uses memory. 0 or -errno. */
int live_limit_join(void);

#endif
