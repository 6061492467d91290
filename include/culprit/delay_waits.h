/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steps by which waits are sorted, the same text for the kernel and for user space. */
#ifndef CULPRIT_DELAY_WAITS_H
#define CULPRIT_DELAY_WAITS_H

#include "culprit/delay.h"

/* Which step a wait falls into. */
static inline __u32 delay_step(__u64 wait_ns)
{
	__u64 units = wait_ns >> CULPRIT_DELAY_UNIT_SHIFT;
	__u32 shift = 0;

	if (units >> CULPRIT_DELAY_UNIT_BITS)
		return CULPRIT_DELAY_STEPS - 1;
	/* Doublings above the linear part; no helper counts leading zeros. */
	for (__u32 half = 16; half; half >>= 1)
		if (units >> (shift + half + CULPRIT_DELAY_STEP_BITS))
			shift += half;
	if (units >> (shift + CULPRIT_DELAY_STEP_BITS))
		shift++;
	if (shift == 0)
		return (__u32)units;
	shift--;
	return (shift << CULPRIT_DELAY_STEP_BITS) + (__u32)(units >> shift);
}

/* The shortest wait of a step; of the one behind the last, where the last ends. */
static inline __u64 delay_step_ns(__u32 step)
{
	__u32 shift = step >> CULPRIT_DELAY_STEP_BITS;
	__u64 units = step;

	if (shift > 1) {
		units -= (__u64)(shift - 1) << CULPRIT_DELAY_STEP_BITS;
		units <<= shift - 1;
	}
	return units << CULPRIT_DELAY_UNIT_SHIFT;
}

#endif
