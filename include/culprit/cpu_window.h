/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sliding window of a CPU budget, the same text for the kernel and for user space. Time is
 * whatever clock the caller uses throughout; nothing here reads one.
 */
#ifndef CULPRIT_CPU_WINDOW_H
#define CULPRIT_CPU_WINDOW_H

#include "culprit/cpu.h"

/* Opens the sub-windows that have begun by now. Called before anything is added to total_ns. */
static inline void cpu_window_roll(struct culprit_cpu_budget *budget, __u64 slot_ns, __u64 now_ns)
{
	__u64 epoch = now_ns / slot_ns;
	__u64 begun = epoch - budget->epoch;
	__u64 total = budget->total_ns;

	/* Another CPU, which read the clock a little later, may have been here first. A clock that
	 * went back further is another one (the window was changed): all starts anew. */
	if (begun == 0 || -begun < CULPRIT_CPU_SLOTS)
		return;
	for (unsigned int i = 0; i < CULPRIT_CPU_SLOTS; i++)
		if (i < begun)
			budget->begin_ns[(epoch - i) % CULPRIT_CPU_SLOTS] = total;
	budget->epoch = epoch;
}

/* What was added in the current sub-window and the 15 before it. Changes nothing. */
static inline __u64 cpu_window_sum(const struct culprit_cpu_budget *budget, __u64 slot_ns,
				   __u64 now_ns)
{
	__u64 epoch = now_ns / slot_ns;
	__u64 past = epoch - budget->epoch;
	__u64 begin, total;

	if (-past < CULPRIT_CPU_SLOTS)
		epoch = budget->epoch;
	else if (past >= CULPRIT_CPU_SLOTS)
		return 0;
	/* The first sub-window of the window is epoch - 15, which is epoch + 1 modulo 16. */
	begin = budget->begin_ns[(epoch + 1) % CULPRIT_CPU_SLOTS];
	total = budget->total_ns;
	/* Others add and roll meanwhile, and a reader can be held up between the two reads (or a
	 * copy be of two moments): a sub-window that began after our total is no time, not 2^64. */
	return (__s64)(total - begin) > 0 ? total - begin : 0;
}

#endif
