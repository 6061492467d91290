/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel types that our programs read, reduced to the members that they read. CO-RE relocates
 * each access against the running kernel's BTF, so neither order nor size matters here, only names
 * and kinds; tests/live/test_kernel_types compares every one of them with the running kernel.
 * Being our own, this header needs no BTF on the machine that builds.
 *
 * A member that only some kernels have lives in compat.bpf.h, in a type with a ___suffix.
 */
#ifndef CULPRIT_KERNEL_BPF_H
#define CULPRIT_KERNEL_BPF_H

#include <linux/bpf.h>
#include <stdbool.h>

/*
 * The names that vmlinux.h would bring. Globals that user space reaches through a skeleton are
 * declared __u64 and so on: the skeleton repeats the name, and user space has no u64.
 */
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
	const char *name;
	u64 id;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct cgroup {
	struct cgroup_subsys_state self;
	int level;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct sched_entity {
	u64 sum_exec_runtime;
	u64 prev_sum_exec_runtime;
};

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	s64 counter;
} atomic64_t;

typedef struct {
	unsigned int val;
} kuid_t;

typedef struct {
	unsigned int val;
} kgid_t;

struct cred {
	kuid_t uid;
	kgid_t gid;
};

struct upid {
	int nr;
};

struct pid {
	struct upid numbers[1];
};

/* enum pid_type */
#define PIDTYPE_PGID 2
#define PIDTYPE_SID  3

struct signal_struct {
	atomic_t live;
	unsigned int flags;
	int group_stop_count;
	struct pid *pids[4];
	unsigned long min_flt;
	unsigned long maj_flt;
	short oom_score_adj;
};

/* include/linux/sched/signal.h */
#define SIGNAL_STOP_STOPPED 0x00000001
#define SIGNAL_GROUP_EXIT   0x00000004

struct sighand_struct;
struct mm_struct;

struct thread_info {
	unsigned long flags;
	u32 status; /* x86 */
};

struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	unsigned int ptrace;
	struct mm_struct *mm;
	int pid;
	int tgid;
	int prio;
	int normal_prio;
	char comm[16];
	u64 start_boottime;
	unsigned long min_flt;
	unsigned long maj_flt;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	const struct cred *real_cred;
	struct signal_struct *signal;
	struct sighand_struct *sighand;
	struct css_set *cgroups;
	struct sched_entity se;
	const struct cred *cred;
	struct files_struct *files;
};

struct inode {
	unsigned short i_mode;
	u32 i_rdev;
};

struct file {
	unsigned int f_mode;
	struct inode *f_inode;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct cdev {
	u32 dev;
};

/* Not the one of <linux/ptrace.h>, which has user space's names of the registers. */
#if defined(__TARGET_ARCH_x86)
struct pt_regs___kernel {
	unsigned long ax;
	unsigned long orig_ax;
};
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs___kernel {
	u64 regs[31];
	s32 syscallno;
};
#endif

struct seq_file;

struct percpu_counter {
	s64 count;
	s32 *counters;
};

/* A BPF array map, for where its per-CPU values are: see census.bpf.c. */
struct bpf_array {
	void *pptrs[1];
};

struct bpf_iter_meta {
	struct seq_file *seq;
	u64 session_id;
	u64 seq_num;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	struct file *file;
};

#pragma clang attribute pop

/* include/linux/sched.h */
#define PF_EXITING 0x00000004
#define PF_KTHREAD 0x00200000

#define PF_IO_WORKER 0x00000010

/* include/linux/fs.h */
#define FMODE_PATH 0x4000

/* include/linux/stat.h */
#define S_IFMT	0170000
#define S_IFCHR 0020000

/* include/linux/kdev_t.h */
#define MINORBITS 20

/* include/linux/sched/prio.h: priorities below are real-time, DEFAULT_PRIO is nice 0. */
#define MAX_RT_PRIO  100
#define DEFAULT_PRIO 120

#endif
