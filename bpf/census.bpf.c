// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The census: one record per process, written to the iterator's file. The iterator visits every
 * thread; the main thread gives the record of its process, the others what they add to it, and user
 * space puts them together. That needs no map, so there is no limit to overflow.
 *
 * The task is held by the iterator; all that hangs off it is read without locks, as /proc does in
 * part. RCU covers parent, credentials, pids and cgroup; the mm is looked at twice.
 */
#include "compat.bpf.h"
#include <bpf/bpf_tracing.h>
#include "culprit/census.h"

char LICENSE[] SEC("license") = "GPL";

#define MAX_CPUS 1024

/* Possible CPUs of this machine; set by user space. 0: per-CPU counters are read approximately. */
const volatile __u32 possible_cpus = 0;

/* Never written: only where the CPUs' values lie is of interest. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} percpu_ruler SEC(".maps");

/* What separates a CPU's instance of a per-CPU variable from the variable's nominal address. */
static __u64 percpu_offset[MAX_CPUS];

/* The verifier keeps pointers apart from numbers; what was stored in a map is a number. */
static volatile __u64 address;

/*
 * BPF follows a per-CPU pointer only where BTF marks it as one, which the member of an mm is not.
 * But the distance from the nominal address to a CPU's instance is the same for all of the kernel's
 * per-CPU memory, so a per-CPU map, whose instances a helper does give, is the ruler.
 * (bpf_map_lookup_percpu_elem is of 5.19, the counters that need this are of 6.2.)
 */
static void learn_percpu_offsets(void)
{
	u64 nominal = 0;
	u32 zero = 0;

	address = (__u64)&percpu_ruler;
	if (bpf_probe_read_kernel(
		    &nominal, sizeof(nominal),
		    (void *)(address + bpf_core_field_offset(struct bpf_array, pptrs))))
		return;
	for (u32 cpu = 0; cpu < possible_cpus && cpu < MAX_CPUS; cpu++) {
		address = (__u64)bpf_map_lookup_percpu_elem(&percpu_ruler, &zero, cpu);
		percpu_offset[cpu] = address ? address - nominal : 0;
	}
}

struct mm_pages {
	s64 of[NR_MM_COUNTERS];
};

/*
 * A percpu_counter's `count` alone lags by up to max(32, 2 × CPUs) pages per CPU, and the CPUs'
 * parts make it exact. The four counters of an mm are allocated together (since 6.6, 14ef95be6f55),
 * so that one read per CPU gets all of them; where they are apart, the lag stays.
 */
static void read_percpu_pages(const struct mm_struct___percpu *mm, struct mm_pages *pages)
{
	u64 counters = (u64)mm->rss_stat[0].counters;

	/* One by one: CO-RE relocates a constant index, not a running one. */
	pages->of[MM_FILEPAGES] = mm->rss_stat[MM_FILEPAGES].count;
	pages->of[MM_ANONPAGES] = mm->rss_stat[MM_ANONPAGES].count;
	pages->of[MM_SWAPENTS] = mm->rss_stat[MM_SWAPENTS].count;
	pages->of[MM_SHMEMPAGES] = mm->rss_stat[MM_SHMEMPAGES].count;
	if ((u64)mm->rss_stat[3].counters - counters != 3 * sizeof(s32))
		return;
	for (__u32 cpu = 0; cpu < possible_cpus && cpu < MAX_CPUS; cpu++) {
		s32 part[NR_MM_COUNTERS];

		if (!percpu_offset[cpu] ||
		    bpf_probe_read_kernel(part, sizeof(part),
					  (void *)(counters + percpu_offset[cpu])))
			continue;
		for (int i = 0; i < NR_MM_COUNTERS; i++)
			pages->of[i] += part[i];
	}
}

/*
 * Until 6.1 each thread keeps back up to 64 faults' worth of its own (SPLIT_RSS_COUNTING). Read
 * whole: the verifier of 6.1 does not follow an array whose elements are of a typedef ("Type
 * 'atomic_long_t' is not a struct").
 */
static void read_atomic_pages(const struct mm_struct___atomic *mm, struct mm_pages *pages)
{
	_Static_assert(sizeof(mm->rss_stat.count) == sizeof(pages->of), "one count for each kind");
	bpf_probe_read_kernel(pages->of, sizeof(pages->of), &mm->rss_stat.count);
}

/* Counters of running threads can be below zero for a moment. */
static __u64 not_negative(s64 pages)
{
	return pages > 0 ? pages : 0;
}

static void count_pages(struct task_struct *task, struct culprit_process *p)
{
	struct mm_struct *mm = task->mm;
	struct mm_pages pages = {};

	if (!mm || task->flags & PF_KTHREAD)
		return;
	if (bpf_core_field_exists(struct mm_struct___percpu, rss_stat[0].count))
		read_percpu_pages((void *)mm, &pages);
	else if (bpf_core_field_exists(struct mm_struct___atomic, rss_stat.count[0].counter))
		read_atomic_pages((void *)mm, &pages);
	/* Still its mm, so it was alive all the while and not someone else's reused memory. */
	if (*(struct mm_struct *volatile *)&task->mm != mm)
		return;
	p->anon_pages = not_negative(pages.of[MM_ANONPAGES]);
	p->file_pages = not_negative(pages.of[MM_FILEPAGES]);
	p->shmem_pages = not_negative(pages.of[MM_SHMEMPAGES]);
	p->swap_pages = not_negative(pages.of[MM_SWAPENTS]);
}

static void place(struct task_struct *task, struct culprit_process *p)
{
	struct cgroup *cgroup = task->cgroups->dfl_cgrp;

	p->cgroup = cgroup->kn->id;
	if (is_frozen(cgroup))
		p->flags |= CULPRIT_PROCESS_FROZEN;
}

static void describe_process(struct task_struct *task, struct signal_struct *signal,
			     struct culprit_process *p)
{
	p->ppid = task->real_parent->tgid;
	p->start_time_ns = task->start_boottime;
	p->major_faults += signal->maj_flt;
	p->minor_faults += signal->min_flt;
	p->uid = task->real_cred->uid.val;
	p->oom_score_adj = signal->oom_score_adj;
	p->pgrp = signal->pids[PIDTYPE_PGID]->numbers[0].nr;
	p->session = signal->pids[PIDTYPE_SID]->numbers[0].nr;
	__builtin_memcpy(p->comm, task->comm, sizeof(p->comm));
	if (task->flags & PF_KTHREAD)
		p->flags |= CULPRIT_PROCESS_KERNEL;
	if (signal->flags & SIGNAL_STOP_STOPPED || signal->group_stop_count > 0)
		p->flags |= CULPRIT_PROCESS_STOPPED;
	if (signal->flags & SIGNAL_GROUP_EXIT || signal->live.counter <= 0)
		p->flags |= CULPRIT_PROCESS_EXITING;
	else if (task->flags & PF_EXITING)
		p->flags |= CULPRIT_PROCESS_HEADLESS;
}

SEC("iter/task")
int take_census(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct culprit_process p = {};
	struct signal_struct *signal;

	if (!task)
		return 0;
	if (ctx->meta->seq_num == 0 &&
	    bpf_core_field_exists(struct mm_struct___percpu, rss_stat[0].count))
		learn_percpu_offsets();
	/* Without one it has been reaped between the iterator's finding it and now. */
	if (!task->sighand)
		return 0;
	signal = task->signal;
	p.tgid = task->tgid;
	p.major_faults = task->maj_flt;
	p.minor_faults = task->min_flt;
	if (task->ptrace)
		p.flags |= CULPRIT_PROCESS_TRACED;
	if (task->pid == task->tgid) {
		describe_process(task, signal, &p);
		place(task, &p);
		count_pages(task, &p);
	} else {
		p.flags |= CULPRIT_PROCESS_THREAD;
		/* A main thread that has ended holds no memory and keeps its last cgroup. */
		if (task->group_leader->flags & PF_EXITING && !(task->flags & PF_EXITING)) {
			place(task, &p);
			count_pages(task, &p);
		}
	}
	bpf_seq_write(ctx->meta->seq, &p, sizeof(p));
	return 0;
}
