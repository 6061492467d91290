/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ways to open a device, each OPENS times, and the ways that only look as if. */
#ifndef CULPRIT_TESTS_GPU_ROUTES_H
#define CULPRIT_TESTS_GPU_ROUTES_H

#define OPENS 3

struct gpu_route {
	const char *name;
	int (*go)(const char *node); /* 0 when it went as meant */
};

/* Each opens OPENS times and closes again. Ended by a NULL name. */
extern const struct gpu_route gpu_routes[];
/* None of these opens the device. */
extern const struct gpu_route gpu_non_opens[];

#endif
