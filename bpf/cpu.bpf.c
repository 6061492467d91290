// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * CPU time per cgroup and per process, and the budgets over it.
 *
 * No clock is read: the scheduler has already written se.sum_exec_runtime of the task concerned,
 * at every switch and every tick. What it rose by since we last looked is added to a small cache of
 * the task's CPU and written into the hash maps when a CPU has gathered a millisecond, goes idle,
 * or needs the place. Both events of CPU X run under the lock of run queue X (sched_stat_runtime
 * possibly on another CPU, on a remote wake-up), so its cache needs neither atomics nor a lock.
 */
#include "compat.bpf.h"
#include "losses.bpf.h"
#include "culprit/cpu.h"
#include "culprit/cpu_window.h"

#include <bpf/bpf_tracing.h>
#include <asm/errno.h>
#include <linux/time.h>

char LICENSE[] SEC("license") = "GPL";

/* --- set by user space ------------------------------------------------------------------------ */

const volatile __u64 tick_ns = 4000000; /* length of a jiffy */
const volatile bool with_alarms;	/* the kernel has bpf_timer */
const volatile __u32 agent_tgid;

__u32 guardian_tgid; /* no constant: a guardian that dies is replaced */
__u64 clock_ns;	     /* answer of read_clock */
__u32 alarm_cpu;     /* argument of make_alarm */

/* --- maps ------------------------------------------------------------------------------------- */

/* Preallocated (the default): nothing may be allocated under a run-queue lock. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, struct culprit_cpu_cgroup);
} cgroup_cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, u32);
	__type(value, struct culprit_cpu_process);
} process_cpu SEC(".maps");

/* Mapped into the agent, which thereby sets thresholds without replacing what is being counted. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, CULPRIT_CPU_BUDGETS);
	__type(key, u32);
	__type(value, struct culprit_cpu_budget);
} cpu_window SEC(".maps");

/* Written by the agent alone. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CULPRIT_CPU_BUDGETS);
	__type(key, u32);
	__type(value, struct culprit_cpu_budget_shown);
} cpu_budget SEC(".maps");

/* max_entries is the number of possible CPUs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct culprit_cpu_running);
} cpu_running SEC(".maps");

/*
 * An armed budget that the task on this CPU will use up before the next tick, if it goes on
 * running. Written and started by the CPU's tick, the timer made by user space beforehand.
 */
struct alarm {
	struct bpf_timer timer;
	u64 set_ns;   /* CLOCK_MONOTONIC: when the time of this task was written back last */
	u64 switches; /* culprit_cpu_running: as they were then */
	u64 flushes;
	u32 tgid;
	u32 budget;
};

/* max_entries is the number of possible CPUs, or without alarms 1. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct alarm);
} cpu_alarm SEC(".maps");

/* Room for every budget's crossing at once: a budget sends one and is disarmed. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 128 * 1024);
} cpu_crossings SEC(".maps");

/* --- reading tasks ---------------------------------------------------------------------------- */

/* Typed tracepoints (tp_btf) dereference directly; raw ones go by a helper that costs some 40 ns.
 * `direct` is a constant everywhere, so that only one of the two is left in a program. */
#define READ(direct, from, member)                                                 \
	({                                                                         \
		typeof((from)->member) value__;                                    \
		if (direct)                                                        \
			value__ = (from)->member;                                  \
		else                                                               \
			bpf_core_read(&value__, sizeof(value__), &(from)->member); \
		value__;                                                           \
	})

static __always_inline u32 task_cpu(struct task_struct *task, const bool direct)
{
	struct task_struct___cpu_inside *inside = (void *)task;

	if (bpf_core_field_exists(inside->thread_info.cpu))
		return READ(direct, inside, thread_info.cpu);
	return READ(direct, (struct task_struct___cpu *)task, cpu);
}

static __always_inline struct cgroup *task_cgroup(struct task_struct *task, const bool direct)
{
	struct css_set *set = READ(direct, task, cgroups);

	return READ(direct, set, dfl_cgrp);
}

static __always_inline u64 cgroup_id(struct cgroup *cgroup, const bool direct)
{
	struct kernfs_node *kn = READ(direct, cgroup, kn);

	return READ(direct, kn, id);
}

static __always_inline u32 task_flags(struct task_struct *task, const bool direct)
{
	u32 flags = 0;

	if (READ(direct, task, flags) & PF_KTHREAD)
		flags |= CULPRIT_CPU_KERNEL_THREAD;
	/* Not static_prio, which a real-time task keeps from before it became one (__normal_prio in
	 * kernel/sched), and not prio, which is that of whoever waits for what the task holds. */
	if (READ(direct, task, normal_prio) > DEFAULT_PRIO)
		flags |= CULPRIT_CPU_NICED;
	return flags;
}

/* --- entries ---------------------------------------------------------------------------------- */

/* Inserts unless the key is there. Until 6.4 the verifier lets programs call the map's own
 * function, which returns an int: the upper half of what a program sees as a long is undefined. */
static __always_inline int insert(void *map, const void *key, const void *value)
{
	int r = bpf_map_update_elem(map, key, value, BPF_NOEXIST);

	return r == -EEXIST ? 0 : r;
}

/* Deep enough for containers in pods in slices in sessions; a deeper cgroup inherits nothing. */
#define MAX_DEPTH 32

/* A cgroup seen for the first time counts for what its nearest known ancestor counts for. */
static __always_inline void inherit(struct culprit_cpu_cgroup *new, struct cgroup *cgroup,
				    const bool direct)
{
	struct cgroup_subsys_state *parent = READ(direct, cgroup, self.parent);

	for (int i = 0; i < MAX_DEPTH && parent; i++) {
		struct culprit_cpu_cgroup *known;
		u64 id;

		cgroup = READ(direct, parent, cgroup);
		id = cgroup_id(cgroup, direct);
		known = bpf_map_lookup_elem(&cgroup_cpu, &id);
		if (known) {
			__builtin_memcpy(new->budgets, known->budgets, sizeof(new->budgets));
			return;
		}
		parent = READ(direct, cgroup, self.parent);
	}
}

/* Makes sure that the cgroup has an entry. */
static __always_inline void know_cgroup(struct culprit_cpu_running *running, struct cgroup *cgroup,
					u64 id, const bool direct)
{
	u64 *known = &running->known[id % CULPRIT_CPU_KNOWN_CGROUPS];

	if (*known == id)
		return;
	if (!bpf_map_lookup_elem(&cgroup_cpu, &id)) {
		struct culprit_cpu_cgroup new = {};

		inherit(&new, cgroup, direct);
		/* Full: flush() counts what is lost. */
		if (insert(&cgroup_cpu, &id, &new))
			return;
	}
	*known = id;
}

/* The entry of the process that `as` describes: found, made, or, where the pid was another
 * process's, begun anew. NULL: no room, or `as` is a process whose pid has a successor. */
static __always_inline struct culprit_cpu_process *
process_entry(u32 tgid, const struct culprit_cpu_process *as)
{
	struct culprit_cpu_process *process = bpf_map_lookup_elem(&process_cpu, &tgid);

	if (!process) {
		if (insert(&process_cpu, &tgid, as))
			count_loss(cpu_process_full);
		process = bpf_map_lookup_elem(&process_cpu, &tgid);
		if (!process)
			return NULL;
	}
	if (process->start_time_ns == as->start_time_ns)
		return process;
	if (process->start_time_ns > as->start_time_ns)
		return NULL;
	*process = *as;
	return process;
}

/* --- the cache -------------------------------------------------------------------------------- */

static __always_inline struct culprit_cpu_running *running_on(u32 cpu)
{
	return bpf_map_lookup_elem(&cpu_running, &cpu);
}

static __always_inline struct culprit_cpu_pending *place(struct culprit_cpu_running *running,
							 u32 tgid)
{
	return &running->pending[tgid % CULPRIT_CPU_PENDING_SLOTS];
}

/* --- budgets ---------------------------------------------------------------------------------- */

/* Who crossed is what the CPU's cache holds for this tgid; `running_ns` of the sum are what it has
 * run and was not charged with yet. Two CPUs may both come here: 5.10 has no compare-and-exchange.
 * The second record says the same, and the reader expects it. False: no room for the record. */
static __always_inline bool send_crossing(struct culprit_cpu_budget *budget, u32 index, u64 sum,
					  u64 running_ns, const struct culprit_cpu_pending *pending)
{
	const struct culprit_cpu_process *process;
	const struct culprit_cpu_cgroup *cgroup;
	struct culprit_cpu_crossing *crossing;
	u32 tgid = pending->tgid;
	u64 id = pending->cgroup;

	crossing = bpf_ringbuf_reserve(&cpu_crossings, sizeof(*crossing), 0);
	if (!crossing) {
		count_loss(cpu_record_dropped);
		return false;
	}
	/* Before the record is seen: its reader, who may be awake at once, arms the budget again.
	 */
	budget->armed = 0;
	__sync_fetch_and_add(&budget->crossings, 1);
	process = bpf_map_lookup_elem(&process_cpu, &tgid);
	cgroup = bpf_map_lookup_elem(&cgroup_cpu, &id);
	crossing->time_ns = bpf_ktime_get_ns();
	crossing->budget = index;
	crossing->running_ns = (u32)running_ns;
	crossing->used_ns = sum;
	crossing->threshold_ns = budget->threshold_ns;
	crossing->task.tgid = tgid;
	crossing->task.tid = pending->tid;
	crossing->task.start_time_ns = pending->start_time_ns;
	crossing->task.cgroup = id;
	/* The entry follows a rename (exec), the cache does not. */
	__builtin_memcpy(crossing->task.comm, process ? process->comm : pending->comm,
			 CULPRIT_COMM_LEN);
	crossing->task_used_ns = (process ? process->used_ns : 0) + running_ns;
	crossing->cgroup_used_ns = (cgroup ? cgroup->used_ns : 0) + running_ns;
	bpf_ringbuf_submit(crossing, BPF_RB_FORCE_WAKEUP);
	return true;
}

/* The task on this CPU will reach the threshold before its next tick: of two, the sooner. */
static __always_inline void note_near(struct culprit_cpu_running *running, u32 index,
				      u64 missing_ns)
{
	if (running->near_ns && running->near_ns <= missing_ns)
		return;
	running->near_ns = missing_ns;
	running->near_budget = index;
}

/* Not static, like flush() and drain() below: the verifier then checks each of them once and not
 * once for every way that leads to it, which would be more than it is willing to. */
__noinline int charge_budget(u32 cpu, u32 tgid, u32 index, u64 ns)
{
	struct culprit_cpu_budget *budget = bpf_map_lookup_elem(&cpu_window, &index);
	struct culprit_cpu_running *running = running_on(cpu);
	u64 now_ns = bpf_jiffies64() * tick_ns;
	struct culprit_cpu_pending *pending;
	u64 slot_ns, threshold_ns, sum;

	if (!budget || !running)
		return 0;
	pending = place(running, tgid);
	/* Once: user space may be changing it. */
	slot_ns = *(volatile u64 *)&budget->slot_ns;
	if (!slot_ns || (budget->nonnice_only && pending->flags & CULPRIT_CPU_NICED))
		return 0;
	cpu_window_roll(budget, slot_ns, now_ns);
	__sync_fetch_and_add(&budget->total_ns, ns);
	if (!budget->armed)
		return 0;
	sum = cpu_window_sum(budget, slot_ns, now_ns);
	threshold_ns = *(volatile u64 *)&budget->threshold_ns;
	if (sum >= threshold_ns)
		send_crossing(budget, index, sum, 0, pending);
	else if (pending->tid == running->tid && threshold_ns - sum < tick_ns)
		note_near(running, index, threshold_ns - sum);
	return 0;
}

/* --- from the cache into the maps ------------------------------------------------------------- */

static __always_inline bool counts_for_budgets(const struct culprit_cpu_pending *pending)
{
	return !(pending->flags & CULPRIT_CPU_KERNEL_THREAD) && pending->tgid != agent_tgid &&
	       pending->tgid != guardian_tgid;
}

/* Writes back what the CPU's cache holds in the place of this tgid. */
__noinline int flush(u32 cpu, u32 tgid)
{
	struct culprit_cpu_running *running = running_on(cpu);
	struct culprit_cpu_process as = {};
	struct culprit_cpu_process *process;
	struct culprit_cpu_pending *pending;
	struct culprit_cpu_cgroup *cgroup;
	u64 ns, id;

	if (!running)
		return 0;
	pending = place(running, tgid);
	ns = pending->ns;
	id = pending->cgroup;
	as.start_time_ns = pending->start_time_ns;
	as.cgroup = id;
	as.flags = (enum culprit_cpu_flag)pending->flags;
	__builtin_memcpy(as.comm, pending->comm, sizeof(as.comm));
	process = process_entry(pending->tgid, &as);
	if (process) {
		__sync_fetch_and_add(&process->used_ns, ns);
		process->cgroup = id;
		process->flags = as.flags;
	}
	cgroup = bpf_map_lookup_elem(&cgroup_cpu, &id);
	/* The last stint of a task can come after its cgroup was removed and forgotten: so the
	 * entry comes back, and user space forgets it again. */
	if (!cgroup) {
		struct culprit_cpu_cgroup new = {};

		if (insert(&cgroup_cpu, &id, &new))
			count_loss(cpu_cgroup_full);
		cgroup = bpf_map_lookup_elem(&cgroup_cpu, &id);
	}
	if (cgroup && as.flags & CULPRIT_CPU_KERNEL_THREAD)
		__sync_fetch_and_add(&cgroup->kernel_ns, ns);
	else if (cgroup)
		__sync_fetch_and_add(&cgroup->used_ns, ns);
	pending->ns = 0;
	running->pending_ns -= ns;
	if (!cgroup || !counts_for_budgets(pending))
		return 0;
	for (int i = 0; i < CULPRIT_CPU_BUDGETS_PER_CGROUP && cgroup->budgets[i]; i++)
		charge_budget(cpu, pending->tgid, cgroup->budgets[i] - 1, ns);
	return 0;
}

__noinline int drain(u32 cpu)
{
	struct culprit_cpu_running *running = running_on(cpu);

	if (!running)
		return 0;
	for (u32 i = 0; i < CULPRIT_CPU_PENDING_SLOTS; i++)
		if (running->pending[i].ns)
			flush(cpu, i);
	return 0;
}

/* A reader that saw an even and unchanged count on both sides of its reading has read it whole. */
static __always_inline void begin_flush(struct culprit_cpu_running *running)
{
	*(volatile u64 *)&running->flushes += 1;
}

static __always_inline void end_flush(struct culprit_cpu_running *running)
{
	*(volatile u64 *)&running->flushes += 1;
}

/* --- charging --------------------------------------------------------------------------------- */

/* The place in the cache for this task's time; the time of whoever was there is written back. */
static __always_inline struct culprit_cpu_pending *
claim(struct culprit_cpu_running *running, u32 cpu, struct task_struct *task, const bool direct)
{
	u32 tgid = READ(direct, task, tgid);
	struct culprit_cpu_pending *pending = place(running, tgid);
	struct task_struct *leader = READ(direct, task, group_leader);
	u64 start_time_ns = READ(direct, leader, start_boottime);
	struct cgroup *cgroup = task_cgroup(task, direct);
	u64 id = cgroup_id(cgroup, direct);
	u32 flags = task_flags(task, direct);

	if (pending->tgid == tgid && pending->cgroup == id && pending->flags == flags &&
	    pending->start_time_ns == start_time_ns)
		return pending;
	if (pending->ns) {
		begin_flush(running);
		flush(cpu, tgid);
		end_flush(running);
	}
	know_cgroup(running, cgroup, id, direct);
	pending->tgid = tgid;
	pending->cgroup = id;
	pending->flags = flags;
	pending->start_time_ns = start_time_ns;
	if (direct) {
		((u64 *)pending->comm)[0] = ((u64 *)leader->comm)[0];
		((u64 *)pending->comm)[1] = ((u64 *)leader->comm)[1];
	} else {
		bpf_probe_read_kernel(pending->comm, sizeof(pending->comm), &leader->comm);
	}
	return pending;
}

/* Charges the task with what it ran since the last look; `missed_ns` instead, if another task was
 * thought to be running. */
static __always_inline void charge(struct culprit_cpu_running *running, u32 cpu,
				   struct task_struct *task, u64 sum_ns, u64 missed_ns,
				   const bool direct)
{
	u32 tid = READ(direct, task, pid);
	struct culprit_cpu_pending *pending;
	u64 ns = sum_ns - running->base_ns;

	if (running->tid != tid || sum_ns < running->base_ns) {
		/* The first event of a CPU is no miss, and what ran before it is not ours. */
		bool first = running->switches + running->charges == 1;

		if (!first)
			count_loss(cpu_switch_missed);
		ns = first ? 0 : missed_ns;
		running->tid = tid;
	}
	running->base_ns = sum_ns;
	if (ns == 0)
		return;
	pending = claim(running, cpu, task, direct);
	pending->tid = tid;
	pending->ns += ns;
	running->pending_ns += ns;
}

static __always_inline void write_back(struct culprit_cpu_running *running, u32 cpu, u64 above_ns)
{
	if (running->pending_ns <= above_ns)
		return;
	begin_flush(running);
	drain(cpu);
	end_flush(running);
}

/* How long a task that was not seen coming has been running: the fair class keeps the sum at which
 * it was picked, the others do not (set_next_task_fair, set_next_entity). */
static __always_inline u64 stint_ns(struct task_struct *task, u64 sum_ns, const bool direct)
{
	u64 picked_ns = READ(direct, task, se.prev_sum_exec_runtime);

	if (READ(direct, task, prio) < MAX_RT_PRIO || picked_ns > sum_ns)
		return 0;
	return sum_ns - picked_ns;
}

static __always_inline void switched(struct task_struct *prev, struct task_struct *next,
				     const bool direct)
{
	u32 cpu = bpf_get_smp_processor_id();
	struct culprit_cpu_running *running = running_on(cpu);
	u32 prev_tid = READ(direct, prev, pid);
	u32 next_tid = READ(direct, next, pid);
	u64 sum_ns = READ(direct, prev, se.sum_exec_runtime);

	if (!running)
		return;
	running->switches++;
	/* Nearly always sched_stat_runtime has charged it all a moment ago. */
	if (prev_tid && (running->tid != prev_tid || running->base_ns != sum_ns))
		charge(running, cpu, prev, sum_ns, stint_ns(prev, sum_ns, direct), direct);
	running->tid = next_tid;
	running->base_ns = READ(direct, next, se.sum_exec_runtime);
	/* A process that ends is written before its entry is deleted: it would come back. */
	if (READ(direct, prev, flags) & PF_EXITING)
		write_back(running, cpu, 0);
	else
		write_back(running, cpu, next_tid ? CULPRIT_CPU_PENDING_NS : CULPRIT_CPU_IDLE_NS);
}

/* --- between two ticks ------------------------------------------------------------------------ */

/*
 * A task that does not switch is charged at ticks, 1 to 10 ms apart, and would cross a budget half
 * of that too late. So the tick before the crossing sets an alarm for the moment at which the task
 * will have used what is missing. Setting it under the run-queue lock is what the scheduler itself
 * does with its hrtick (kernel/sched/core.c, hrtick_start); nothing is allocated or woken up.
 */
static __always_inline void set_alarm(struct culprit_cpu_running *running, u32 cpu, u32 tgid)
{
	u64 missing_ns = running->near_ns;
	struct alarm *alarm = bpf_map_lookup_elem(&cpu_alarm, &cpu);

	running->near_ns = 0;
	if (!alarm)
		return;
	alarm->tgid = tgid;
	alarm->switches = running->switches;
	alarm->flushes = running->flushes;
	alarm->budget = running->near_budget;
	alarm->set_ns = bpf_ktime_get_ns();
	bpf_timer_start(&alarm->timer, missing_ns, 0);
}

/*
 * Has the task been running ever since? Then it has used what the clock says. Ticks may come in
 * between: the sum is read before what tells whether it was charged, so nothing counts twice. (What
 * the hypervisor took of that time since the tick counts for it, too; the tick would know.)
 */
static int on_alarm(void *map, u32 *cpu, struct alarm *alarm)
{
	u32 index = alarm->budget, tgid = alarm->tgid;
	struct culprit_cpu_budget *budget = bpf_map_lookup_elem(&cpu_window, &index);
	volatile struct culprit_cpu_running *running = bpf_map_lookup_elem(&cpu_running, cpu);
	const struct culprit_cpu_pending *pending;
	u64 slot_ns, sum, running_ns;

	if (!budget || !running || !budget->armed)
		return 0;
	slot_ns = *(volatile u64 *)&budget->slot_ns;
	if (!slot_ns)
		return 0;
	sum = cpu_window_sum(budget, slot_ns, bpf_jiffies64() * tick_ns);
	barrier();
	running_ns = bpf_ktime_get_ns() - *(volatile u64 *)&alarm->set_ns;
	pending = place((struct culprit_cpu_running *)running, tgid);
	if (running->switches != alarm->switches || running->flushes != alarm->flushes ||
	    pending->tgid != tgid || sum + running_ns < budget->threshold_ns)
		return 0;
	/* Reniced since. */
	if (budget->nonnice_only && pending->flags & CULPRIT_CPU_NICED)
		return 0;
	/* The tick may have come in between and told. */
	if (!__sync_val_compare_and_swap(&budget->armed, 1, 0))
		return 0;
	if (!send_crossing(budget, index, sum + running_ns, running_ns, pending))
		budget->armed = 1;
	return 0;
}

/* --- the end and the name of a process -------------------------------------------------------- */

static __always_inline void freed(struct task_struct *task, const bool direct)
{
	u32 tgid = READ(direct, task, tgid);
	struct culprit_cpu_process *process;

	/* Not the leader (an exec by another thread makes the old leader an ordinary thread). */
	if ((u32)READ(direct, task, pid) != tgid)
		return;
	process = bpf_map_lookup_elem(&process_cpu, &tgid);
	if (process && process->start_time_ns == READ(direct, task, start_boottime))
		bpf_map_delete_elem(&process_cpu, &tgid);
}

/* exec and prctl(PR_SET_NAME). The entry is made if need be: the cache may still hold the name from
 * before the exec, and would make it with that. */
static __always_inline void renamed(struct task_struct *task, const char *comm, const bool direct)
{
	u32 tgid = READ(direct, task, tgid);
	struct culprit_cpu_process as = {};
	struct culprit_cpu_process *process;

	if ((u32)READ(direct, task, pid) != tgid)
		return;
	as.start_time_ns = READ(direct, task, start_boottime);
	as.cgroup = cgroup_id(task_cgroup(task, direct), direct);
	as.flags = (enum culprit_cpu_flag)task_flags(task, direct);
	/* A string is read to its end only; what the longer name before it was must go, too. */
	bpf_probe_read_kernel_str(as.comm, sizeof(as.comm), comm);
	process = process_entry(tgid, &as);
	if (process)
		__builtin_memcpy(process->comm, as.comm, sizeof(process->comm));
}

/* --- programs --------------------------------------------------------------------------------- */

SEC("?tp_btf/sched_stat_runtime")
int BPF_PROG(on_runtime, struct task_struct *task, u64 ran_ns)
{
	u32 cpu = task_cpu(task, true);
	struct culprit_cpu_running *running = running_on(cpu);

	if (!running)
		return 0;
	running->charges++;
	charge(running, cpu, task, task->se.sum_exec_runtime, ran_ns, true);
	running->near_ns = 0;
	write_back(running, cpu, CULPRIT_CPU_PENDING_NS);
	if (with_alarms && running->near_ns)
		set_alarm(running, cpu, task->tgid);
	return 0;
}

SEC("?tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	switched(prev, next, true);
	return 0;
}

SEC("?tp_btf/sched_process_free")
int BPF_PROG(on_free, struct task_struct *task)
{
	freed(task, true);
	return 0;
}

SEC("?tp_btf/task_rename")
int BPF_PROG(on_rename, struct task_struct *task, const char *comm)
{
	renamed(task, comm, true);
	return 0;
}

SEC("?raw_tp/sched_switch")
int BPF_PROG(on_raw_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	switched(prev, next, false);
	return 0;
}

SEC("?raw_tp/sched_process_free")
int BPF_PROG(on_raw_free, struct task_struct *task)
{
	freed(task, false);
	return 0;
}

SEC("?raw_tp/task_rename")
int BPF_PROG(on_raw_rename, struct task_struct *task, const char *comm)
{
	renamed(task, comm, false);
	return 0;
}

/* --- asked by user space ---------------------------------------------------------------------- */

/* These are attached to nothing; the agent runs them with bpf_prog_test_run. */

/* The clock of the windows. */
SEC("raw_tp")
int read_clock(void *ctx)
{
	clock_ns = bpf_jiffies64() * tick_ns;
	return 0;
}

/* Makes the timer of CPU `alarm_cpu`, which allocates. The kernel lets neither raw_tp nor (until
 * 6.10) syscall programs do it. */
SEC("?tc")
int make_alarm(void *ctx)
{
	u32 cpu = alarm_cpu;
	struct alarm *alarm = bpf_map_lookup_elem(&cpu_alarm, &cpu);

	if (!alarm)
		return -ENOENT;
	return bpf_timer_init(&alarm->timer, &cpu_alarm, CLOCK_MONOTONIC)
		       ?: bpf_timer_set_callback(&alarm->timer, on_alarm);
}

/* Sets which budgets a cgroup counts for: arguments are its id and the list in two words. The
 * entry is written in place: bpf_map_update_elem from user space would replace it, and lose what
 * other CPUs add meanwhile. */
SEC("raw_tp")
int set_budgets(struct bpf_raw_tracepoint_args *ctx)
{
	u64 id = ctx->args[0];
	struct culprit_cpu_cgroup new = {};
	struct culprit_cpu_cgroup *cgroup = bpf_map_lookup_elem(&cgroup_cpu, &id);
	volatile u64 *budgets;

	if (!cgroup) {
		/* Whoever makes it first, the list is written below. */
		int r = insert(&cgroup_cpu, &id, &new);

		if (r) {
			count_loss(cpu_cgroup_full);
			return r;
		}
		cgroup = bpf_map_lookup_elem(&cgroup_cpu, &id);
		if (!cgroup)
			return -ENOENT;
	}
	budgets = (volatile u64 *)cgroup->budgets;
	budgets[0] = ctx->args[1];
	budgets[1] = ctx->args[2];
	return 0;
}
