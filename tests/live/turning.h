/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Workloads below one memory limit that do not fit together, for the live tests of turns. */
#ifndef CULPRIT_TESTS_TURNING_H
#define CULPRIT_TESTS_TURNING_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The limit, and what a workload touches; two of them are too much. */
#define LIMIT_MIB   64
#define WORK_MIB    48
#define PATIENCE_MS 20000

/* A policy `turns` with a slice of 300 ms and this grace time. */
#define TURNS_CONFIG(grace)                                               \
	"[policy turns]\nsignal = thrash\naction = turn\nslice = 300ms\n" \
	"target = offender\ngrace = " grace "\n"

#define TURNING_MAX 3

/* The cgroups, all below one limit. */
extern const char *const turning_names[TURNING_MAX];
/* What each has touched, seen by all. */
extern _Atomic uint64_t *turning_work;
/* To how many MiB it confines itself; the rest it gives back. 0: it uses what it was started with.
 */
extern _Atomic uint64_t *turning_size;

int turning_setup(void **state);
/* Starts one that touches so many MiB at random for ever, in its cgroup or in another below the
 * limit. */
pid_t turning_start(unsigned int index, unsigned int mebibytes);
pid_t turning_start_in(const char *cgroup, unsigned int index, unsigned int mebibytes);
/* An agent with this configuration, and two that do not fit; the older one is the first. */
void turning_start_two(const char *config);
unsigned int turning_frozen_count(void);
bool turning_none_frozen(void *unused);
/* What was told until now is passed over. */
void turning_from_now(void);
/* The next event of that kind about this cgroup, or a process of it. New reference. */
json_t *turning_next_event(const char *kind, const char *name, unsigned int timeout_ms);
/* Its reason has that text; drops the event. */
void turning_assert_reason(json_t *event, const char *text);

#endif
