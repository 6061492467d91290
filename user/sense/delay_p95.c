// SPDX-License-Identifier: GPL-2.0-or-later
/* The 95th percentile of waits that were sorted by their length. Pure. */
#include "culprit/delay_waits.h"
#include "sense/delay.h"

uint64_t delay_p95_ns(const uint32_t counts[static CULPRIT_DELAY_STEPS])
{
	uint64_t total = 0, below = 0, rank;
	unsigned int step = 0;

	for (unsigned int i = 0; i < CULPRIT_DELAY_STEPS; i++)
		total += counts[i];
	if (total == 0)
		return 0;
	/* The nearest rank, counted from 1: as many are above it as may be late. */
	rank = total - total / CULPRIT_DELAY_ONE_IN;
	while (below + counts[step] < rank)
		below += counts[step++];
	/* Where it is within its step nobody knows: as if they were spread evenly. */
	return delay_step_ns(step) + (delay_step_ns(step + 1) - delay_step_ns(step)) *
					     (2 * (rank - below) - 1) / (2 * counts[step]);
}
