/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records and map values of the cpu sense. Times are nanoseconds of CPU time. */
#ifndef CULPRIT_CPU_H
#define CULPRIT_CPU_H

#include "culprit/record.h"
#include "culprit/window.h"

/* Distinct (watched set, window) pairs; policies with the same pair share one budget. */
#define CULPRIT_CPU_BUDGETS	       1024
#define CULPRIT_CPU_BUDGETS_PER_CGROUP 8
#define CULPRIT_CPU_SLOTS	       CULPRIT_WINDOW_SLOTS

/* An armed budget was reached. */
struct culprit_cpu_crossing {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 budget;
	__u32 running_ns; /* what of it the task has run since it was last charged: below a tick */
	__u64 used_ns;	  /* in the window */
	__u64 threshold_ns;
	struct culprit_task task; /* whose time it was that reached it */
	__u64 task_used_ns;	  /* of its process since the agent started */
	__u64 cgroup_used_ns;	  /* of its cgroup's own tasks since the agent started */
};

CULPRIT_ASSERT_SIZE(struct culprit_cpu_crossing, 88);

/* Value of `cgroup_cpu`; the key is the cgroup id. Own tasks only, not those of cgroups below. */
struct culprit_cpu_cgroup {
	__u64 used_ns;	 /* user processes */
	__u64 kernel_ns; /* kernel threads */
	/* Which budgets the tasks of this cgroup count for: index + 1, zero ends the list. */
	__u16 budgets[CULPRIT_CPU_BUDGETS_PER_CGROUP];
};

CULPRIT_ASSERT_SIZE(struct culprit_cpu_cgroup, 32);

/* Bits; every sum of them has a name, so that dumps show names and not numbers. */
enum culprit_cpu_flag {
	CULPRIT_CPU_USER = 0,
	CULPRIT_CPU_KERNEL_THREAD = 1,
	CULPRIT_CPU_NICED = 2, /* nice above zero, and not real-time, which knows no nice */
	CULPRIT_CPU_NICED_KERNEL_THREAD = 3,
};

/* Value of `process_cpu`; the key is the tgid. */
struct culprit_cpu_process {
	__u64 start_time_ns; /* CLOCK_BOOTTIME: a reused pid starts anew */
	__u64 cgroup;	     /* where it ran last */
	__u64 used_ns;
	enum culprit_cpu_flag flags;
	__u32 reserved;		     /* zero */
	char comm[CULPRIT_COMM_LEN]; /* of the group leader */
};

CULPRIT_ASSERT_SIZE(struct culprit_cpu_process, 48);

/* Value of `cpu_window`; see culprit/window.h. */
struct culprit_cpu_budget {
	__u64 slot_ns; /* length of a sub-window; 0: the budget is not in use */
	__u64 threshold_ns;
	__u32 armed;
	__u32 nonnice_only; /* tasks with nice above zero do not count */
	__u64 crossings;    /* records sent */
	__u64 epoch;	    /* number of the current sub-window: time / slot_ns */
	__u64 total_ns;
	culprit_window_begins begin_ns;
};

CULPRIT_ASSERT_SIZE(struct culprit_cpu_budget, 176);

/*
 * Value of `cpu_budget`, for people to read: the budgets in use and nothing else, as the agent saw
 * them at its last pulse. The kernel counts in `cpu_window`, which has to be an array of all that
 * there can be.
 */
struct culprit_cpu_budget_shown {
	__u64 window_ns;
	__u64 used_ns;	    /* in the window */
	__u64 threshold_ns; /* at which the kernel tells the agent; 0: at none */
	__u64 crossings;    /* how often it has */
};

CULPRIT_ASSERT_SIZE(struct culprit_cpu_budget_shown, 32);

/*
 * What a CPU has counted and not yet written into the maps: a small write-back cache, picked by
 * tgid, so that processes that take turns on a CPU cost one hash update per millisecond of CPU time
 * and not one per switch. The time in it never exceeds CULPRIT_CPU_PENDING_NS a CPU (plus a tick).
 */
#define CULPRIT_CPU_PENDING_NS	  1000000
/* A CPU that goes idle may sit on that little for long. */
#define CULPRIT_CPU_IDLE_NS	  50000
#define CULPRIT_CPU_PENDING_SLOTS 64
#define CULPRIT_CPU_KNOWN_CGROUPS 64

struct culprit_cpu_pending {
	__u64 ns;
	__u64 cgroup;
	__u64 start_time_ns;
	__u32 tgid;
	__u32 tid;   /* the thread that ran last */
	__u32 flags; /* enum culprit_cpu_flag */
	__u32 reserved;
	char comm[CULPRIT_COMM_LEN];
};

CULPRIT_ASSERT_SIZE(struct culprit_cpu_pending, 56);

/* One element of `cpu_running`; the key is the CPU. Written under that CPU's run-queue lock. */
struct culprit_cpu_running {
	__u64 base_ns;	  /* sum_exec_runtime up to which the running task is charged */
	__u64 pending_ns; /* sum over `pending` */
	__u64 flushes;	  /* odd while the maps are being written */
	__u64 switches;	  /* task switches seen */
	__u64 charges;	  /* sched_stat_runtime events seen */
	__u32 tid;	  /* the running task; 0 is idle */
	__u32 near_budget;
	__u64 near_ns; /* what near_budget still lacks, less than a tick; 0: no budget is near */
	__u64 known[CULPRIT_CPU_KNOWN_CGROUPS]; /* cgroups that are surely in cgroup_cpu */
	struct culprit_cpu_pending pending[CULPRIT_CPU_PENDING_SLOTS];
	__u64 padding[1]; /* to whole cache lines: neighbours are other CPUs' */
};

CULPRIT_ASSERT_SIZE(struct culprit_cpu_running, 4160);

#endif
