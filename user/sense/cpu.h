/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cpu sense: CPU time per cgroup and per process, exact, and budgets that the kernel checks.
 *
 * A budget is a sum over a sliding window: "CPU time of these cgroups in the last second". Which
 * cgroups count for which budgets is said with cpu_watch(); a cgroup that is made later counts for
 * the budgets of its parent until it is told otherwise. When the sum reaches the threshold of an
 * armed budget, the kernel sends one crossing and disarms it.
 */
#ifndef CULPRIT_SENSE_CPU_H
#define CULPRIT_SENSE_CPU_H

#include <stdbool.h>
#include "culprit/cpu.h"
#include "sense/sense.h"

struct cpu_sense;

/* Called from cpu_dispatch() for each crossing; the record is the kernel's own memory, read-only
 * and valid during the call. */
typedef void (*cpu_crossing_fn)(void *user, const struct culprit_cpu_crossing *crossing);

/*
 * Opens, loads and attaches the best rung that proves itself: it must have counted some of our own
 * time, by each of its programs. *out is freed by cpu_close(). -ENOTSUP: no rung, or the forced one
 * failed; -EINVAL: options->source is no rung.
 */
int cpu_open(struct cpu_sense **out, const struct sense_options *options, cpu_crossing_fn fn,
	     void *user);

/* How many entries the kernel's tables have; 0 stands for the default of 16,384 and 65,536. */
struct cpu_sizes {
	uint32_t cgroups;
	uint32_t processes;
};
int cpu_open_sized(struct cpu_sense **out, const struct sense_options *options,
		   const struct cpu_sizes *sizes, cpu_crossing_fn fn, void *user);
void cpu_close(struct cpu_sense *cpu);

const struct sense_status *cpu_status(const struct cpu_sense *cpu);

/* The guardian was replaced (options->guardian_pid is the first): the new one is no evidence. */
void cpu_set_guardian(struct cpu_sense *cpu, pid_t guardian);

/* Events at which a program was not run because it was running already (recursion). */
uint64_t cpu_missed(const struct cpu_sense *cpu);

/* A descriptor that polls readable when cpu_dispatch() has something to do. -1: rung without. */
int cpu_fd(const struct cpu_sense *cpu);
/* Hands out what has arrived. Never blocks, never allocates. Records handled, or -errno. */
int cpu_dispatch(struct cpu_sense *cpu);

/*
 * Sets budget `index` (0 … CULPRIT_CPU_BUDGETS - 1) to a window and an armed threshold, both in
 * nanoseconds; the window's sum starts at zero when the window changes. A window of 0 takes the
 * budget out of use. nonnice_only: only tasks with nice 0 or less count, and real-time ones.
 * -EINVAL out of range; -EOPNOTSUPP: this rung cannot tell who is nice.
 */
int cpu_set_budget(struct cpu_sense *cpu, unsigned int index, uint64_t window_ns,
		   uint64_t threshold_ns, bool nonnice_only);
/* Arms a budget again (after a crossing), with a new threshold. A sum that has reached it already
 * crosses with the next time that is charged. -EINVAL: not in use. */
int cpu_arm(struct cpu_sense *cpu, unsigned int index, uint64_t threshold_ns);
/* The sum over the last window as of now, in ns; up to a millisecond per CPU and what a running
 * task used since the last tick are not in it yet. -EINVAL: not in use. */
int cpu_value(struct cpu_sense *cpu, unsigned int index, uint64_t *used_ns);

/* Once a pulse: brings the pinned cpu_budget up to date. */
void cpu_show(struct cpu_sense *cpu);

/*
 * Says which budgets the tasks directly in this cgroup count for: `count` indexes (at most
 * CULPRIT_CPU_BUDGETS_PER_CGROUP, else -E2BIG). Replaces what was said before.
 */
int cpu_watch(struct cpu_sense *cpu, uint64_t cgroup, const uint16_t *budgets, unsigned int count);

/* CPU time of one cgroup's own tasks since the agent started (not of those below it). */
struct cpu_cgroup_use {
	uint64_t cgroup;
	uint64_t used_ns;   /* user processes */
	uint64_t kernel_ns; /* kernel threads in it */
};
struct cpu_process_use {
	uint32_t tgid;
	bool kernel_thread;
	uint64_t start_time_ns;
	uint64_t cgroup;
	uint64_t used_ns;
	char comm[CULPRIT_COMM_LEN];
};
typedef void (*cpu_cgroup_fn)(void *user, const struct cpu_cgroup_use *use);
typedef void (*cpu_process_fn)(void *user, const struct cpu_process_use *use);

/* Calls fn for every cgroup or process with a counter; includes what CPUs have not yet written
 * back, so it is exact as of the call. 0 or -errno. */
int cpu_each_cgroup(struct cpu_sense *cpu, cpu_cgroup_fn fn, void *user);
int cpu_each_process(struct cpu_sense *cpu, cpu_process_fn fn, void *user);

/* Forgets a cgroup that was removed, returning its last counters (0 and zeros if unknown). What a
 * CPU has not written back, or a task that dies after it still uses, makes the entry come back:
 * forget it again, each time it returns what is new. */
int cpu_forget_cgroup(struct cpu_sense *cpu, uint64_t cgroup, struct cpu_cgroup_use *last);

/* Once a pulse: removes entries of processes that have ended. */
void cpu_sweep(struct cpu_sense *cpu);

/* The rungs' names, best first, NULL-terminated, for --support. */
extern const char *const cpu_sources[];

#endif
