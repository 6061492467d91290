/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the loads of the thrash scenarios and their driver share: a board in a mapped file. */
#ifndef CULPRIT_TESTS_SCENARIO_H
#define CULPRIT_TESTS_SCENARIO_H

#include <stdatomic.h>
#include <stdint.h>

#define BOARD_SLOTS	8
/* A sample each 100 ms: ten minutes of them. */
#define BOARD_SAMPLES	6000
#define PROBE_PERIOD_MS 100

/* One load. Each has a cache line of its own. */
struct board_slot {
	_Alignas(64) _Atomic uint32_t ready; /* it has all the memory that it begins with */
	_Atomic int32_t pid;		     /* its first process */
	_Atomic uint64_t touches;	     /* pages written or read: the work done */
};

struct board {
	_Atomic uint32_t go; /* 0: settle; 1: do what the scenario is about */
	struct board_slot slots[BOARD_SLOTS];
	/* The probe's: from when it was to wake until it was done, for each time. */
	_Atomic uint64_t due_ns; /* CLOCK_MONOTONIC, of the one that is not in the list yet */
	_Atomic uint32_t n_samples;
	uint32_t latency_us[BOARD_SAMPLES];
};

#endif
