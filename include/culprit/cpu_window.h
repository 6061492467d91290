/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sliding window of a CPU budget. */
#ifndef CULPRIT_CPU_WINDOW_H
#define CULPRIT_CPU_WINDOW_H

#include "culprit/cpu.h"

/* Opens the sub-windows that have begun by now. Called before anything is added to total_ns. */
static inline void cpu_window_roll(struct culprit_cpu_budget *budget, __u64 slot_ns, __u64 now_ns)
{
	window_roll(&budget->epoch, &budget->total_ns, &budget->begin_ns, 1, slot_ns, now_ns);
}

/* What was added within the window. Changes nothing. */
static inline __u64 cpu_window_sum(const struct culprit_cpu_budget *budget, __u64 slot_ns,
				   __u64 now_ns)
{
	return window_sum(&budget->epoch, &budget->total_ns, &budget->begin_ns, slot_ns, now_ns);
}

#endif
