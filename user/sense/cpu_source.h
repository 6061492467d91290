/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside the cpu sense: what a rung must be able to do. There are two kinds, the kernel's programs
 * (three rungs) and polling cpu.stat (the last one).
 */
#ifndef CULPRIT_SENSE_CPU_SOURCE_H
#define CULPRIT_SENSE_CPU_SOURCE_H

#include "sense/cpu.h"

#define CPU_SOURCE_BEST	  "sched_switch+sched_stat_runtime"
#define CPU_SOURCE_SWITCH "sched_switch"
#define CPU_SOURCE_RAW	  "raw_tp/sched_switch"
#define CPU_SOURCE_POLL	  "cpu.stat"

struct cpu_source;

struct cpu_source_ops {
	bool tells_nice; /* whose nice is above zero */
	/* *why, on failure: a static text of what went wrong, beside the error. */
	int (*open)(struct cpu_source **out, const char *name, const struct sense_options *options,
		    const struct cpu_sizes *sizes, const char **why);
	void (*close)(struct cpu_source *source);
	int (*fd)(const struct cpu_source *source);
	int (*dispatch)(struct cpu_source *source, cpu_crossing_fn fn, void *user);
	uint64_t (*missed)(const struct cpu_source *source);
	/* Whether a crossing is seen also before the tick that charges it. NULL: a polling rung. */
	bool (*sees_between_ticks)(const struct cpu_source *source);
	/* NULL: a rung that cannot tell one process from another. */
	void (*set_guardian)(struct cpu_source *source, pid_t guardian);
	/* CULPRIT_CPU_BUDGETS of them; others may be adding to them at any time. */
	struct culprit_cpu_budget *(*budgets)(struct cpu_source *source);
	/* Puts a budget into the pinned map, or (NULL) out of it. NULL: a rung without maps. */
	void (*show)(struct cpu_source *source, uint32_t index,
		     const struct culprit_cpu_budget_shown *shown);
	/* The clock of the budgets' windows. */
	int (*clock)(struct cpu_source *source, uint64_t *now_ns);
	/* `budgets` is as in the map: index + 1, zero ends the list. */
	int (*watch)(struct cpu_source *source, uint64_t cgroup,
		     const uint16_t budgets[CULPRIT_CPU_BUDGETS_PER_CGROUP]);
	int (*each_cgroup)(struct cpu_source *source, cpu_cgroup_fn fn, void *user);
	int (*each_process)(struct cpu_source *source, cpu_process_fn fn, void *user);
	int (*forget)(struct cpu_source *source, uint64_t cgroup, struct cpu_cgroup_use *last);
	void (*sweep)(struct cpu_source *source);
};

extern const struct cpu_source_ops cpu_kernel_ops;
extern const struct cpu_source_ops cpu_poll_ops;

#endif
