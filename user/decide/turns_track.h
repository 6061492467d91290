/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * turns_track: what one member of a rotation does in its turn. Does it still read its pages back
 * in, and does it do anything at all? Pure: time and counters are arguments.
 */
#ifndef CULPRIT_DECIDE_TURNS_TRACK_H
#define CULPRIT_DECIDE_TURNS_TRACK_H

#include <stdbool.h>
#include <stdint.h>

/* To be read only. */
struct turns_track {
	uint64_t began_ns;
	uint64_t base_ns, base_swapin_pages; /* where the present interval began */
	double peak;			     /* pages/s, the highest so far */
	bool is_quiet;			     /* it swaps in next to nothing, since then: */
	uint64_t quiet_ns;
	bool is_settled;    /* it was quiet for long enough: the refill is over */
	uint64_t refill_ns; /* how long it took, or has taken so far */
	uint64_t busy_ns, busy_swapin_pages, busy_cpu_usec; /* when it last did something */
	bool is_idle;					    /* that was long ago */
};

/* The counters are as of now, and count since whenever. */
void turns_track_begin(struct turns_track *k, uint64_t swapin_pages, uint64_t cpu_usec,
		       uint64_t now_ns);

/* A counter that fell has not moved. cpu_usec 0: not known, and so never idle. */
void turns_track_see(struct turns_track *k, uint64_t swapin_pages, uint64_t cpu_usec,
		     uint64_t now_ns);

#endif
