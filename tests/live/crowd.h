/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A crowd of busy processes in one cgroup, each of which writes down all the time when it last ran.
 * The latest of them says when the cgroup as a whole last ran: the instant at which a freeze became
 * real, seen from the work and not from the agent.
 */
#ifndef CULPRIT_TESTS_CROWD_H
#define CULPRIT_TESTS_CROWD_H

#include <stdbool.h>
#include <stdint.h>

#define CROWD_MAX 128

struct crowd;

/* Starts n busy processes in the cgroup (a name below the test root). */
struct crowd *crowd_start(const char *cgroup, unsigned int n);
/* CLOCK_MONOTONIC of the last moment at which any of them ran. */
uint64_t crowd_last_ran_ns(const struct crowd *crowd);
/* Waits until the kernel says that its cgroup is frozen; false after timeout_ms. Stillness alone
 * would not tell: on a busy machine nobody of the crowd may get to run for a while. */
bool crowd_wait_frozen(const struct crowd *crowd, unsigned int timeout_ms);
/* Waits until all have run since the call. */
bool crowd_wait_running(const struct crowd *crowd, unsigned int timeout_ms);

#endif
