// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The gpu sense: opens of character devices by number, and a walk over open files.
 *
 * An open has two ends. Its beginning is seen by cgroup/dev, which costs only opens of device nodes
 * and knows the number, but not yet whether the open succeeds. Its end is seen where the thread
 * goes back to user space: by task work, which costs nobody else anything, or by sys_exit, which
 * taxes every syscall. User space loads the pair (or a single program) that this kernel has.
 */
#include "compat.bpf.h"
#include <bpf/bpf_tracing.h>
#include <linux/errno.h>
#include "losses.bpf.h"
#include "syscalls.bpf.h"
#include "culprit/gpu.h"

char LICENSE[] SEC("license") = "GPL";

/* The agent holds no device in the sense of any policy; its own probe is all that it opens. */
const volatile __u32 agent_tgid;
/* No cgroup/dev marks here: sys_exit looks at every descriptor that an open returns. */
const volatile bool every_open;

/* No constant: a guardian that dies is replaced. */
__u32 guardian_tgid;
/* Threads between the two ends of an open; sys_exit returns at once while there are none. */
__u64 pending;
/* Processes in `holding`, so that the hints return at once while nobody holds anything. */
__u64 holding_count;
/* Opens by device index, exact; user space adds what only the walk found. */
__u64 opens[CULPRIT_GPU_DEVICES];
/* Which majors are watched, one bit each (12 bits: include/linux/kdev_t.h). */
__u64 majors[64];

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CULPRIT_GPU_DEVICES + 1);
	__type(key, struct culprit_gpu_number);
	__type(value, struct culprit_gpu_device);
} gpu_device SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CULPRIT_GPU_HOLDERS);
	__type(key, struct culprit_gpu_hold);
	__type(value, struct culprit_gpu_holder);
} gpu_holder SEC(".maps");

/* Processes that hold a device, or may: what fork, exec and exit are watched for. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CULPRIT_GPU_HOLDERS);
	__type(key, u32);
	__type(value, u32);
} holding SEC(".maps");

/* A thread that has begun to open one of our numbers. Keyed by the address of its task_struct: on
 * 5.10 cgroup/dev programs cannot ask for a pid. */
struct mark {
	struct bpf_task_work work;
	u64 time_ns;
	u32 device;
	u32 attempts;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, struct mark);
} marks SEC(".maps");

/* How many records were sent since when, so that one process does not take the ring for itself, nor
 * the agent's time. One that is forgotten sends some more. */
struct teller {
	u32 tgid;
	u32 device;
	u32 event;
};

struct told {
	u64 since_ns;
	u32 records;
	u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct teller);
	__type(value, struct told);
} told SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

static __always_inline bool watched_major(u32 major)
{
	return majors[(major & 0xfff) / 64] & (1ULL << (major % 64));
}

static __always_inline struct culprit_gpu_device *device_of(u32 major, u32 minor)
{
	struct culprit_gpu_number number = { .major = major, .minor = minor };

	/* Terminals and /dev/null are opened all the time; a bit is cheaper than a lookup. */
	return watched_major(major) ? bpf_map_lookup_elem(&gpu_device, &number) : NULL;
}

static __always_inline struct culprit_gpu_device *device_of_file(struct file *file)
{
	struct inode *inode;
	u32 rdev;

	if (!file || BPF_CORE_READ(file, f_mode) & FMODE_PATH)
		return NULL;
	inode = BPF_CORE_READ(file, f_inode);
	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFCHR)
		return NULL;
	rdev = BPF_CORE_READ(inode, i_rdev);
	return device_of(rdev >> MINORBITS, rdev & ((1U << MINORBITS) - 1));
}

/* The agent and its guardian are no evidence; of the probe only the agent's own opens are. */
static __always_inline bool counts(u32 tgid, u32 device)
{
	if (device == CULPRIT_GPU_PROBE)
		return tgid == agent_tgid;
	return tgid != agent_tgid && tgid != guardian_tgid;
}

static __always_inline void describe(struct culprit_task *out, struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	out->tgid = BPF_CORE_READ(task, tgid);
	out->tid = BPF_CORE_READ(task, pid);
	out->start_time_ns = BPF_CORE_READ(leader, start_boottime);
	out->cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	bpf_core_read(out->comm, sizeof(out->comm), &leader->comm);
}

/* False: enough of these were sent just now. The last one before that says so (*quiet_ns), and is
 * never missing: who sees a full count sees it after the one who filled it. */
static __always_inline bool may_tell(const struct culprit_gpu_record *what, u32 tgid, u64 now,
				     u64 *quiet_ns)
{
	struct teller key = { .tgid = tgid, .device = what->device, .event = what->event };
	struct told fresh = { .since_ns = now, .records = 1 };
	struct told *known = bpf_map_lookup_elem(&told, &key);
	/* After one that it has let go of something, it is looked at for longer than this. */
	u32 most = what->event == CULPRIT_GPU_LEFT ? 2 : CULPRIT_GPU_RECORDS;
	u32 records;

	*quiet_ns = 0;
	if (!known) {
		bpf_map_update_elem(&told, &key, &fresh, BPF_ANY);
		return true;
	}
	if (now - known->since_ns >= CULPRIT_GPU_QUIET_NS) {
		/* In this order: nobody sees the new time with the old count. */
		known->records = 1;
		barrier();
		known->since_ns = now;
		return true;
	}
	records = known->records + 1;
	if (records > most)
		return false;
	known->records = records;
	if (records == most)
		*quiet_ns = now + CULPRIT_GPU_QUIET_NS;
	return true;
}

static __always_inline void send(const struct culprit_gpu_record *what, struct task_struct *task)
{
	struct culprit_gpu_record *record;
	u64 now = bpf_ktime_get_ns(), quiet_ns;

	if (!may_tell(what, BPF_CORE_READ(task, tgid), now, &quiet_ns))
		return;
	record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	if (!record) {
		count_loss(gpu_record_dropped);
		return;
	}
	*record = *what;
	record->time_ns = now;
	record->quiet_ns = quiet_ns;
	record->uid = BPF_CORE_READ(task, cred, uid.val);
	record->gid = BPF_CORE_READ(task, cred, gid.val);
	describe(&record->task, task);
	bpf_ringbuf_submit(record, BPF_RB_FORCE_WAKEUP);
}

static __always_inline bool holds(u32 tgid)
{
	return holding_count && bpf_map_lookup_elem(&holding, &tgid);
}

/* Its forks and its end are watched from now on; user space forgets it when it holds nothing. */
static __always_inline void watch_process(u32 tgid)
{
	u32 one = 1;

	if (bpf_map_lookup_elem(&holding, &tgid))
		return;
	if (bpf_map_update_elem(&holding, &tgid, &one, BPF_NOEXIST) == 0)
		__sync_fetch_and_add(&holding_count, 1);
	else if (!bpf_map_lookup_elem(&holding, &tgid))
		count_loss(gpu_holding_full);
}

static __always_inline void opened(struct task_struct *task, struct file *file)
{
	struct culprit_gpu_record record = { .event = CULPRIT_GPU_OPENED };
	struct culprit_gpu_device *device = device_of_file(file);
	u32 index;

	if (!device || !counts(BPF_CORE_READ(task, tgid), device->index))
		return;
	index = device->index;
	__sync_fetch_and_add(&device->opens, 1);
	if (index < CULPRIT_GPU_DEVICES)
		__sync_fetch_and_add(&opens[index], 1);
	/* Whoever forks at once hands it on before any walk can come by. */
	if (index != CULPRIT_GPU_PROBE)
		watch_process(BPF_CORE_READ(task, tgid));
	record.device = index;
	record.opens = device->opens;
	record.holders = device->holders;
	record.file = (u64)(unsigned long)file;
	send(&record, task);
}

static __always_inline void opened_descriptor(struct task_struct *task, u32 fd)
{
	struct fdtable *fdt = BPF_CORE_READ(task, files, fdt);
	struct file **files, *file = NULL;

	if (fd >= BPF_CORE_READ(fdt, max_fds))
		return;
	files = BPF_CORE_READ(fdt, fd);
	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	opened(task, file);
}

static __always_inline void unresolved(struct task_struct *task, u32 device, u32 attempts, u32 soon)
{
	struct culprit_gpu_record record = {
		.event = CULPRIT_GPU_UNRESOLVED,
		.device = device,
		.attempts = attempts,
		.soon = soon,
	};

	if (counts(BPF_CORE_READ(task, tgid), device))
		send(&record, task);
}

/* The syscall in which the open began is over. */
static __always_inline void end_of_open(struct task_struct *task, struct pt_regs___kernel *regs,
					long result, u32 device, u32 attempts)
{
	switch (syscall_kind(task, regs)) {
	case SYSCALL_OPENS:
		if (result >= 0)
			opened_descriptor(task, (u32)result);
		break;
	case SYSCALL_ASKS:
		break;
	case SYSCALL_OTHER:
		unresolved(task, device, attempts, 0);
		break;
	}
}

/* True: nothing more to do, this is not the beginning of an open that is ours to follow. */
static __always_inline bool not_ours(struct bpf_cgroup_dev_ctx *ctx, struct task_struct *task,
				     u32 *index)
{
	struct culprit_gpu_device *device;
	u32 asked = ctx->access_type >> 16;

	if ((ctx->access_type & 0xffff) != BPF_DEVCG_DEV_CHAR || asked & BPF_DEVCG_ACC_MKNOD)
		return true;
	device = device_of(ctx->major, ctx->minor);
	if (!device || !counts(BPF_CORE_READ(task, tgid), device->index))
		return true;
	*index = device->index;
	/* io_uring's threads never return to user space; the descriptor comes a little later. */
	if (BPF_CORE_READ(task, flags) & (PF_KTHREAD | PF_IO_WORKER)) {
		unresolved(task, *index, 1, 1);
		return true;
	}
	return false;
}

/* The mark of the current thread, made or renewed; NULL when there is no room. */
static __always_inline struct mark *mark_thread(struct task_struct *task, u32 device)
{
	struct mark fresh = { .device = device };
	u64 key = (u64)(unsigned long)task;
	struct mark *mark = bpf_map_lookup_elem(&marks, &key);

	if (!mark) {
		if (bpf_map_update_elem(&marks, &key, &fresh, BPF_NOEXIST) == 0)
			__sync_fetch_and_add(&pending, 1);
		mark = bpf_map_lookup_elem(&marks, &key);
	}
	if (!mark) {
		count_loss(gpu_mark_full);
		unresolved(task, device, 1, 1);
		return NULL;
	}
	mark->time_ns = bpf_ktime_get_ns();
	mark->device = device;
	mark->attempts++;
	return mark;
}

static __always_inline void unmark(u64 key)
{
	/* User space sweeps too: whoever removes it counts it. */
	if (bpf_map_delete_elem(&marks, &key) == 0)
		__sync_fetch_and_add(&pending, -1);
}

SEC("?cgroup/dev")
int mark_open(struct bpf_cgroup_dev_ctx *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	u32 device;

	if (!not_ours(ctx, task, &device))
		mark_thread(task, device);
	return 1;
}

static int on_return(void *map, void *key, void *value)
{
	struct task_struct *task = (void *)bpf_get_current_task_btf();
	struct pt_regs___kernel *regs = (void *)bpf_task_pt_regs((void *)task);
	struct mark *mark = value;
	u32 device = mark->device, attempts = mark->attempts;

	(void)map;
	unmark(*(u64 *)key);
	end_of_open(task, regs, syscall_result(regs), device, attempts);
	return 0;
}

SEC("?cgroup/dev")
int schedule_open(struct bpf_cgroup_dev_ctx *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task_btf();
	struct mark *mark;
	u32 device;
	int r;

	if (not_ours(ctx, task, &device))
		return 1;
	mark = mark_thread(task, device);
	if (!mark)
		return 1;
	r = schedule_on_return(task, &mark->work, &marks, on_return, NULL);
	/* -EBUSY: the callback of this very syscall is already on its way. */
	if (r < 0 && r != -EBUSY) {
		unmark((u64)(unsigned long)task);
		unresolved(task, device, 1, 1);
	}
	return 1;
}

SEC("?raw_tp/sys_exit")
int leave_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task;
	struct pt_regs___kernel *regs;
	struct mark *mark;
	u32 device, attempts;
	u64 key;

	if (!every_open && !pending)
		return 0;
	task = (void *)bpf_get_current_task();
	regs = (void *)ctx->args[0];
	if (every_open) {
		if ((long)ctx->args[1] >= 0 && syscall_kind(task, regs) == SYSCALL_OPENS)
			opened_descriptor(task, (u32)ctx->args[1]);
		return 0;
	}
	key = (u64)(unsigned long)task;
	mark = bpf_map_lookup_elem(&marks, &key);
	if (!mark)
		return 0;
	device = mark->device;
	attempts = mark->attempts;
	unmark(key);
	end_of_open(task, regs, (long)ctx->args[1], device, attempts);
	return 0;
}

/* Every open of a file ends here, whichever way it came; O_PATH ones too. */
SEC("?fexit/vfs_open")
int BPF_PROG(leave_open, const void *path, struct file *file, int result)
{
	if (result == 0 && (file->f_inode->i_mode & S_IFMT) == S_IFCHR)
		opened((void *)bpf_get_current_task(), file);
	return 0;
}

/* The last reference to an open character device is gone (fs/file_table.c, __fput); other files do
 * not come here. */
SEC("?fentry/cdev_put")
int BPF_PROG(release, struct cdev *cdev)
{
	struct culprit_gpu_record record = {
		.event = CULPRIT_GPU_LEFT,
		.device = CULPRIT_GPU_NO_DEVICE,
	};

	if (holding_count && cdev && watched_major(cdev->dev >> MINORBITS) &&
	    holds(bpf_get_current_pid_tgid() >> 32))
		send(&record, (void *)bpf_get_current_task());
	return 0;
}

/* A child holds what its parent holds. */
SEC("raw_tp/sched_process_fork")
int hint_fork(struct bpf_raw_tracepoint_args *ctx)
{
	struct culprit_gpu_record record = {
		.event = CULPRIT_GPU_FORKED,
		.device = CULPRIT_GPU_NO_DEVICE,
	};
	struct task_struct *child = (void *)ctx->args[1];
	u32 parent, tgid;

	if (!holding_count)
		return 0;
	parent = BPF_CORE_READ((struct task_struct *)ctx->args[0], tgid);
	tgid = BPF_CORE_READ(child, tgid);
	if (tgid == parent || !holds(parent))
		return 0;
	watch_process(tgid);
	send(&record, child);
	return 0;
}

static __always_inline void hint_left(struct task_struct *task)
{
	struct culprit_gpu_record record = {
		.event = CULPRIT_GPU_LEFT,
		.device = CULPRIT_GPU_NO_DEVICE,
	};

	if (holds(BPF_CORE_READ(task, tgid)))
		send(&record, task);
}

SEC("raw_tp/sched_process_exec")
int hint_exec(struct bpf_raw_tracepoint_args *ctx)
{
	if (holding_count)
		hint_left((void *)ctx->args[0]);
	return 0;
}

SEC("raw_tp/sched_process_exit")
int hint_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];

	/* The last thread takes the descriptors with it. */
	if (holding_count && BPF_CORE_READ(task, signal, live.counter) == 0)
		hint_left(task);
	return 0;
}

/* Writes one struct culprit_gpu_file for each descriptor of a watched device. */
SEC("iter/task_file")
int walk(struct bpf_iter__task_file *ctx)
{
	struct culprit_gpu_device *device;
	struct culprit_gpu_file row = {};
	struct task_struct *task = ctx->task, *leader;
	struct file *file = ctx->file;

	if (!task || !file || (file->f_inode->i_mode & S_IFMT) != S_IFCHR)
		return 0;
	device = device_of_file(file);
	if (!device || !counts(task->tgid, device->index))
		return 0;
	/* 5.10 shows the one table of a process once per thread. */
	leader = task->group_leader;
	if (task != leader && task->files == leader->files)
		return 0;
	describe(&row.task, task);
	row.file = (u64)(unsigned long)file;
	row.uid = task->cred->uid.val;
	row.gid = task->cred->gid.val;
	row.device = device->index;
	bpf_seq_write(ctx->meta->seq, &row, sizeof(row));
	return 0;
}

/* Attached to nothing; the agent runs it with bpf_prog_test_run. From user space the map's one
 * value can only be replaced whole, with what the programs add to other fields meanwhile. */
SEC("raw_tp")
int count_full(struct bpf_raw_tracepoint_args *ctx)
{
	switch (ctx->args[0]) {
	case CULPRIT_GPU_TABLE_HOLDER:
		count_loss(gpu_holder_full);
		break;
	case CULPRIT_GPU_TABLE_HOLDING:
		count_loss(gpu_holding_full);
		break;
	case CULPRIT_GPU_TABLE_FILE:
		count_loss(gpu_file_full);
		break;
	case CULPRIT_GPU_TABLE_LOOK:
		count_loss(gpu_look_full);
		break;
	}
	return 0;
}
