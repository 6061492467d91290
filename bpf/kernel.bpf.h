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

/* bpf_helper_defs.h names these; they come with vmlinux.h where one is used. */
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
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
	u32 val;
} kuid_t;

struct cred {
	kuid_t uid;
};

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live;
};

struct thread_info {
	unsigned long flags;
	u32 status; /* x86 */
};

struct task_struct {
	unsigned int flags;
	int pid;
	int tgid;
	int static_prio;
	char comm[16];
	u64 start_boottime;
	struct task_struct *group_leader;
	struct css_set *cgroups;
	struct sched_entity se;
	const struct cred *cred;
	struct files_struct *files;
	struct signal_struct *signal;
	struct thread_info thread_info;
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

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long ax;
	unsigned long orig_ax;
};
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	u64 regs[31];
	s32 syscallno;
};
#endif

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	struct file *file;
};

#pragma clang attribute pop

/* include/linux/sched.h */
#define PF_IO_WORKER 0x00000010
#define PF_KTHREAD   0x00200000

/* include/linux/fs.h */
#define FMODE_PATH 0x4000

/* include/linux/stat.h */
#define S_IFMT	0170000
#define S_IFCHR 0020000

/* include/linux/kdev_t.h */
#define MINORBITS 20

#endif
