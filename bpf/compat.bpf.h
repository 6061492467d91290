/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What differs between kernels, each with the commit that made the difference. Programs ask BTF
 * (bpf_core_field_exists and friends), never a version number.
 */
#ifndef CULPRIT_COMPAT_BPF_H
#define CULPRIT_COMPAT_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "culprit/gpu.h"

/* --- swap ---------------------------------------------------------------------------------------
 */

/* include/linux/vm_event_item.h: the enumerators that we need; their numbers are the kernel's.
 * ZSWPIN came with 6.0, SWPIN_ZERO with 6.13. */
enum vm_event_item {
	PSWPIN,
	PSWPOUT,
	ZSWPIN,
	SWPIN_ZERO,
};

/* include/linux/page-flags.h */
enum pageflags {
	PG_head,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* Pages in a compound page: in its second struct page (5.9: "mm: store compound_nr as well as
 * compound_order"), then in the folio's second part (6.1: "mm: add the first tail page to struct
 * folio"), which was renamed in 6.15. */
struct page___compound {
	unsigned int compound_nr;
};

struct folio___old {
	unsigned int _folio_nr_pages;
};

struct folio___new {
	unsigned int _nr_pages;
};

#pragma clang attribute pop

/* --- memory counters -------------------------------------------------------------------------- */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* Resident and swapped pages: one atomic each until 6.1, per-CPU counters since 6.2 (f1a7941243c1,
 * "mm: convert mm's rss stats into percpu_counter"). */
struct mm_rss_stat___atomic {
	atomic64_t count[4];
};
struct mm_struct___atomic {
	struct mm_rss_stat___atomic rss_stat;
};
struct mm_struct___percpu {
	struct percpu_counter rss_stat[4];
};

#pragma clang attribute pop

/* Indexes of rss_stat (an enum without a name, which CO-RE cannot look up), unchanged since 4.5
 * (eca56ff906bd, "mm, shmem: add internal shmem resident memory accounting"). */
enum mm_counter {
	MM_FILEPAGES,
	MM_ANONPAGES,
	MM_SWAPENTS,
	MM_SHMEMPAGES,
	NR_MM_COUNTERS,
};

/* --- freezing -----------------------------------------------------------------------------------
 */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* Whether a cgroup or one above it is to be frozen: a counter on 6.1, a bool on 6.18. CO-RE changes
 * the width of a load only where neither type has a sign, so it is read by its size. */
struct cgroup_freezer_state___any {
	bool e_freeze;
};
struct cgroup___freezer {
	struct cgroup_freezer_state___any freezer;
};

#pragma clang attribute pop

static __always_inline bool is_frozen(struct cgroup *cgroup)
{
	const struct cgroup___freezer *c = (const void *)cgroup;
	int e_freeze = 0;

	bpf_probe_read_kernel(&e_freeze, bpf_core_field_size(c->freezer.e_freeze),
			      &c->freezer.e_freeze);
	return e_freeze;
}

/* --- the CPU of a task --------------------------------------------------------------------------
 */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* In task_struct until 5.16 (bcf9033e5449, "sched: move CPU field back into thread_info"). */
struct task_struct___cpu {
	unsigned int cpu;
};
struct thread_info___cpu {
	unsigned int cpu;
};
struct task_struct___cpu_inside {
	struct thread_info___cpu thread_info;
};

/* Does it run just now? Until 6.17 only kernels for several CPUs had it ("sched/smp: Make
 * SMP unconditional"). A byte in 7.2: only what is unsigned on both sides is read as wide as it is.
 */
struct task_struct___smp {
	unsigned int on_cpu;
};

#pragma clang attribute pop

/*
 * Task work: a program asks that a callback runs when the task returns to user space (kernel 6.18,
 * 38aa7003e369 "bpf: task work scheduling kfuncs"). The kfunc's name and arguments have changed
 * since, and libbpf refuses a whole object for one extern whose type does not fit: so it is called
 * by a number that no helper has, which user space replaces with the kfunc of the running kernel
 * (user/sense/gpu_work.c). An argument too many does no harm.
 */
struct bpf_task_work {
	u64 opaque;
} __attribute__((aligned(8)));

static int (*const schedule_on_return)(struct task_struct *task, struct bpf_task_work *work,
				       void *map, void *callback,
				       void *aux) = (void *)CULPRIT_GPU_WORK_CALL;

#endif
