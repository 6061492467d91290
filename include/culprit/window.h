/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A sliding window over sums that only grow, the same text for the kernel and for user space. Kept
 * are the sums and what each was when the last sub-windows began; what came within the window is
 * one subtraction, and nothing that two CPUs add at once can be lost: at worst it lands in the
 * neighbouring sub-window. The oldest partial sub-window is dropped whole, so what is summed is
 * between 15/16 and 16/16 of the window. Time is whatever clock the caller uses throughout; nothing
 * here reads one.
 */
#ifndef CULPRIT_WINDOW_H
#define CULPRIT_WINDOW_H

#include <linux/types.h>

#define CULPRIT_WINDOW_SLOTS 16

/* What a sum was when sub-window e began is at e % SLOTS. */
typedef __u64 culprit_window_begins[CULPRIT_WINDOW_SLOTS];

/*
 * Opens the sub-windows that have begun by now, of `n` sums (a constant) at once. Called before
 * anything is added to them. `*epoch` is the number of the current sub-window: time / slot_ns.
 */
static inline void window_roll(__u64 *epoch, const __u64 *sums, culprit_window_begins *begins,
			       const unsigned int n, __u64 slot_ns, __u64 now_ns)
{
	__u64 now = now_ns / slot_ns;
	__u64 begun = now - *epoch;

	/* Another CPU, which read the clock a little later, may have been here first. A clock that
	 * went back further is another one (the window was changed): all starts anew. */
	if (begun == 0 || -begun < CULPRIT_WINDOW_SLOTS)
		return;
	for (unsigned int k = 0; k < n; k++) {
		__u64 sum = sums[k];

		for (unsigned int i = 0; i < CULPRIT_WINDOW_SLOTS; i++)
			if (i < begun)
				begins[k][(now - i) % CULPRIT_WINDOW_SLOTS] = sum;
	}
	*epoch = now;
}

/* What was added to one of them in the current sub-window and the 15 before it. Changes nothing. */
static inline __u64 window_sum(const __u64 *epoch, const __u64 *sum,
			       const culprit_window_begins *begins, __u64 slot_ns, __u64 now_ns)
{
	__u64 last = *epoch, now = now_ns / slot_ns;
	__u64 past = now - last;
	__u64 begin, total;

	if (-past < CULPRIT_WINDOW_SLOTS)
		now = last;
	else if (past >= CULPRIT_WINDOW_SLOTS)
		return 0;
	/* The first sub-window of the window is now - 15, which is now + 1 modulo 16. */
	begin = (*begins)[(now + 1) % CULPRIT_WINDOW_SLOTS];
	total = *sum;
	/* Others add and roll meanwhile, and a reader can be held up between the two reads (or a
	 * copy be of two moments): a sub-window that began after our total is nothing, not 2^64. */
	return (__s64)(total - begin) > 0 ? total - begin : 0;
}

#endif
