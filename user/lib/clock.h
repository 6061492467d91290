/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The clocks in use: monotonic nanoseconds for decisions, Unix milliseconds for people. */
#ifndef CULPRIT_LIB_CLOCK_H
#define CULPRIT_LIB_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NSEC_PER_SEC  1000000000ULL
#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_USEC 1000ULL
#define USEC_PER_SEC  1000000ULL

/* CLOCK_MONOTONIC in nanoseconds: what bpf_ktime_get_ns() reads in the kernel, too. */
static inline uint64_t monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Milliseconds since 1970, as `ts` and `since` of the JSON interface. */
static inline uint64_t unix_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / NSEC_PER_MSEC;
}

#endif
