// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How long tasks wait for a CPU: from the wake-up that puts them on a run queue to the switch that
 * lets them run. Attached only while a policy needs it.
 *
 * A wake-up of a watched task leaves a stamp; the switch to it takes the stamp and has the wait.
 * All of it runs under a run-queue lock. Who is preempted waits, too, but was not woken: there is
 * no stamp. A stamp is worth nothing once its task has run, whatever was missed in between: the CPU
 * time that the task had used when it was woken is part of it.
 */
#include "compat.bpf.h"
#include "losses.bpf.h"
#include "culprit/delay.h"
#include "culprit/delay_waits.h"

#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

/* --- set by user space ------------------------------------------------------------------------ */

const volatile __u32 agent_tgid;

__u32 guardian_tgid;
__u64 generation;   /* rises with each change of delay_cgroup */
__u32 proving_tgid; /* its waits are counted in `proven` and nowhere else; 0: nobody's */
__u64 proven;

/* --- maps ------------------------------------------------------------------------------------- */

/* Read here and never written, so that nothing has to be preallocated. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, struct culprit_delay_cgroup);
} delay_cgroup SEC(".maps");

/* Entries are made by user space and counted in here. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, struct culprit_delay_cgroup_waits);
} delay_cgroup_waits SEC(".maps");

/* max_entries of this one and the next are for the budgets that the configuration has. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct culprit_delay_budget);
} delay_budget SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, CULPRIT_WINDOW_SLOTS);
	__type(key, u32);
	__type(value, struct culprit_delay_waits);
} delay_waits SEC(".maps");

/*
 * Who waits, picked by tid: no lock, no search, and for a task that is not watched one load at its
 * switch. Two tasks of which both wait have the same place only if there are as many tids between
 * them as there are places; then the earlier one's wait is lost and counted.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CULPRIT_DELAY_STAMPS);
	__type(key, u32);
	__type(value, struct culprit_delay_stamp);
} delay_stamp SEC(".maps");

/* Cgroups of which a CPU knows that nobody watches them, so that their wake-ups cost no search. */
#define UNWATCHED 64

struct unwatched {
	u64 generation;
	u64 ids[UNWATCHED];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct unwatched);
} delay_unwatched SEC(".maps");

/* Room for every budget's crossing at once: a budget sends one and is disarmed. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 * 1024);
} delay_crossings SEC(".maps");

/* --- who is watched --------------------------------------------------------------------------- */

/* Deep enough for containers in pods in slices in sessions; a deeper cgroup inherits nothing. */
#define MAX_DEPTH 32

/* What the cgroup counts for: what its nearest known ancestor does, if it is so new that user space
 * has not said. NULL: nothing. */
static __always_inline const struct culprit_delay_cgroup *budgets_of(struct cgroup *cgroup)
{
	for (int i = 0; i < MAX_DEPTH; i++) {
		u64 id = cgroup->kn->id;
		const struct culprit_delay_cgroup *known = bpf_map_lookup_elem(&delay_cgroup, &id);
		struct cgroup_subsys_state *parent;

		if (known)
			return known->budgets[0] ? known : NULL;
		parent = cgroup->self.parent;
		if (!parent)
			return NULL;
		cgroup = parent->cgroup;
	}
	return NULL;
}

static __always_inline bool is_watched(struct cgroup *cgroup)
{
	u32 zero = 0;
	struct unwatched *unwatched = bpf_map_lookup_elem(&delay_unwatched, &zero);
	u64 id = cgroup->kn->id, now, *place;

	if (!unwatched)
		return false;
	/* Once, and before what it is about is looked up: user space may be changing both. */
	now = *(volatile u64 *)&generation;
	if (unwatched->generation != now) {
		unwatched->generation = now;
		__builtin_memset(unwatched->ids, 0, sizeof(unwatched->ids));
	}
	place = &unwatched->ids[id % UNWATCHED];
	if (*place == id)
		return false;
	if (budgets_of(cgroup))
		return true;
	*place = id;
	return false;
}

/* As for CPU time: kernel threads and the agent never count. */
static __always_inline bool counts(struct task_struct *task)
{
	u32 tgid = task->tgid;

	if (proving_tgid && tgid == proving_tgid)
		return true;
	return !(task->flags & PF_KTHREAD) && tgid != agent_tgid && tgid != guardian_tgid &&
	       is_watched(task->cgroups->dfl_cgrp);
}

/* --- stamps ----------------------------------------------------------------------------------- */

static __always_inline struct culprit_delay_stamp *stamp_of(struct task_struct *task)
{
	u32 place = (u32)task->pid % CULPRIT_DELAY_STAMPS;

	return bpf_map_lookup_elem(&delay_stamp, &place);
}

static __always_inline void woken(struct task_struct *task)
{
	struct task_struct___smp *smp = (void *)task;
	u64 start_time_ns = task->start_boottime;
	volatile struct culprit_delay_stamp *stamp;

	/* Woken before it had gone to sleep: it has its CPU. */
	if (bpf_core_field_exists(smp->on_cpu) && smp->on_cpu)
		return;
	if (!counts(task))
		return;
	stamp = stamp_of(task);
	if (!stamp)
		return;
	if (stamp->woken_ns && stamp->start_time_ns != start_time_ns)
		count_loss(delay_stamp_full);
	/* Whoever else has the same place must not find half of each. */
	stamp->woken_ns = 0;
	stamp->start_time_ns = start_time_ns;
	stamp->ran_ns = task->se.sum_exec_runtime;
	stamp->woken_ns = bpf_ktime_get_ns();
}

/* When the task was woken, if it has waited since; 0: it has not. */
static __always_inline u64 take_stamp(struct task_struct *task)
{
	volatile struct culprit_delay_stamp *stamp = stamp_of(task);
	u64 woken_ns;

	if (!stamp)
		return 0;
	woken_ns = stamp->woken_ns;
	if (!woken_ns || stamp->start_time_ns != task->start_boottime)
		return 0;
	stamp->woken_ns = 0;
	return stamp->ran_ns == task->se.sum_exec_runtime ? woken_ns : 0;
}

/* --- counting --------------------------------------------------------------------------------- */

/* Each of these is checked by the verifier once, and not once for every way that leads to it. */

/* For people: how many waits of each length there were in this sub-window. */
__noinline int count_step(u32 index, u64 epoch, u32 step)
{
	u32 place = index * CULPRIT_WINDOW_SLOTS + epoch % CULPRIT_WINDOW_SLOTS;
	struct culprit_delay_waits *waits = bpf_map_lookup_elem(&delay_waits, &place);

	if (!waits || step >= CULPRIT_DELAY_STEPS)
		return 0;
	if (waits->epoch != epoch) {
		waits->epoch = epoch;
		/* In few rounds, for the verifier walks through each. */
		for (int i = 0; i < CULPRIT_DELAY_STEPS / 2; i += 16)
#pragma unroll
			for (int j = 0; j < 16; j++)
				((volatile u64 *)waits->counts)[i + j] = 0;
	}
	__sync_fetch_and_add(&waits->counts[step], 1);
	return 0;
}

/* Adds a wait that ended at now_ns. Not zero: the armed budget has been reached. */
__noinline int count_wait(u32 index, u64 wait_ns, u64 now_ns, u32 niced)
{
	struct culprit_delay_budget *budget = bpf_map_lookup_elem(&delay_budget, &index);
	u64 slot_ns, total, late;

	if (!budget)
		return 0;
	/* Once: user space may be changing it. */
	slot_ns = *(volatile u64 *)&budget->slot_ns;
	if (!slot_ns || (budget->nonnice_only && niced))
		return 0;
	window_roll(&budget->epoch, budget->sums, budget->begins, CULPRIT_DELAY_SUMS, slot_ns,
		    now_ns);
	__sync_fetch_and_add(&budget->sums[CULPRIT_DELAY_WOKEN], 1);
	if (wait_ns >= budget->leave_ns)
		__sync_fetch_and_add(&budget->sums[CULPRIT_DELAY_LOUD], 1);
	if (wait_ns >= budget->enter_ns)
		__sync_fetch_and_add(&budget->sums[CULPRIT_DELAY_LATE], 1);
	count_step(index, now_ns / slot_ns, delay_step(wait_ns));
	if (!budget->armed)
		return 0;
	total = window_sum(&budget->epoch, &budget->sums[CULPRIT_DELAY_WOKEN],
			   &budget->begins[CULPRIT_DELAY_WOKEN], slot_ns, now_ns);
	late = window_sum(&budget->epoch, &budget->sums[CULPRIT_DELAY_LATE],
			  &budget->begins[CULPRIT_DELAY_LATE], slot_ns, now_ns);
	return late * CULPRIT_DELAY_ONE_IN > total;
}

static __always_inline void describe(struct culprit_task *as, struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;

	as->tgid = (u32)task->tgid;
	as->tid = (u32)task->pid;
	as->start_time_ns = leader->start_boottime;
	as->cgroup = task->cgroups->dfl_cgrp->kn->id;
	((u64 *)as->comm)[0] = ((u64 *)leader->comm)[0];
	((u64 *)as->comm)[1] = ((u64 *)leader->comm)[1];
}

/* Two CPUs may both come here: 5.10 has no compare-and-exchange. The second record says the same.
 */
static __always_inline void send_crossing(u32 index, struct task_struct *waiter,
					  struct task_struct *runner, u64 wait_ns, u64 now_ns)
{
	struct culprit_delay_budget *budget = bpf_map_lookup_elem(&delay_budget, &index);
	struct culprit_delay_crossing *crossing;
	u64 slot_ns;

	if (!budget)
		return;
	slot_ns = *(volatile u64 *)&budget->slot_ns;
	if (!slot_ns)
		return;
	crossing = bpf_ringbuf_reserve(&delay_crossings, sizeof(*crossing), 0);
	if (!crossing) {
		count_loss(delay_record_dropped);
		return;
	}
	/* Before the record is seen: its reader, who may be awake at once, arms the budget again.
	 */
	budget->armed = 0;
	__sync_fetch_and_add(&budget->crossings, 1);
	crossing->time_ns = now_ns;
	crossing->budget = index;
	crossing->reserved = 0;
	crossing->wait_ns = wait_ns;
	crossing->enter_ns = budget->enter_ns;
	crossing->woken = window_sum(&budget->epoch, &budget->sums[CULPRIT_DELAY_WOKEN],
				     &budget->begins[CULPRIT_DELAY_WOKEN], slot_ns, now_ns);
	crossing->late = window_sum(&budget->epoch, &budget->sums[CULPRIT_DELAY_LATE],
				    &budget->begins[CULPRIT_DELAY_LATE], slot_ns, now_ns);
	describe(&crossing->waiter, waiter);
	describe(&crossing->runner, runner);
	bpf_ringbuf_submit(crossing, BPF_RB_FORCE_WAKEUP);
}

static __always_inline void count_for_cgroup(u64 id, u64 wait_ns)
{
	struct culprit_delay_cgroup_waits *waits = bpf_map_lookup_elem(&delay_cgroup_waits, &id);
	u32 step = delay_step(wait_ns);

	if (!waits || step >= CULPRIT_DELAY_STEPS)
		return;
	__sync_fetch_and_add(&waits->woken, 1);
	__sync_fetch_and_add(&waits->waited_ns, wait_ns);
	__sync_fetch_and_add(&waits->counts[step], 1);
}

static __always_inline void waited(struct task_struct *task, struct task_struct *runner,
				   u64 wait_ns, u64 now_ns)
{
	struct cgroup *cgroup = task->cgroups->dfl_cgrp;
	const struct culprit_delay_cgroup *list;
	/* As in cpu.bpf.c. */
	u32 niced = task->normal_prio > DEFAULT_PRIO;

	/* Where it is now: a task that was moved while it waited counts there. */
	list = budgets_of(cgroup);
	if (!list)
		return;
	count_for_cgroup(cgroup->kn->id, wait_ns);
	for (int i = 0; i < CULPRIT_DELAY_BUDGETS_PER_CGROUP && list->budgets[i]; i++) {
		u32 index = list->budgets[i] - 1;

		if (count_wait(index, wait_ns, now_ns, niced))
			send_crossing(index, task, runner, wait_ns, now_ns);
	}
}

/* --- programs --------------------------------------------------------------------------------- */

SEC("tp_btf/sched_wakeup")
int BPF_PROG(delay_wakeup, struct task_struct *task)
{
	woken(task);
	return 0;
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(delay_wakeup_new, struct task_struct *task)
{
	woken(task);
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(delay_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	u64 woken_ns = take_stamp(next), now_ns;

	if (!woken_ns)
		return 0;
	if (proving_tgid && (u32)next->tgid == proving_tgid) {
		__sync_fetch_and_add(&proven, 1);
		return 0;
	}
	now_ns = bpf_ktime_get_ns();
	/* The fast clock may step back by a little between two CPUs. */
	waited(next, prev, now_ns > woken_ns ? now_ns - woken_ns : 0, now_ns);
	return 0;
}
