/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Percentiles of a few hundred samples. */
#ifndef CULPRIT_TESTS_STATS_H
#define CULPRIT_TESTS_STATS_H

#include <stdlib.h>

static inline int compare_doubles(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;

	return (a > b) - (a < b);
}

static inline void sort_samples(double *samples, size_t n)
{
	qsort(samples, n, sizeof(*samples), compare_doubles);
}

/* Of sorted samples, by the nearest rank: p50 of 200 samples is the 100th. */
static inline double percentile(const double *sorted, size_t n, double p)
{
	size_t rank = (size_t)((double)n * p / 100.0 + 0.999999);

	if (n == 0)
		return 0;
	return sorted[rank < 1 ? 0 : rank > n ? n - 1 : rank - 1];
}

#endif
