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

struct thread_info {
	u32 cpu;
};

struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	int pid;
	int tgid;
	int prio;
	int static_prio;
	char comm[16];
	u64 start_boottime;
	struct task_struct *group_leader;
	struct css_set *cgroups;
	struct sched_entity se;
};

#pragma clang attribute pop

/* include/linux/sched.h */
#define PF_EXITING 0x00000004
#define PF_KTHREAD 0x00200000

/* include/linux/sched/prio.h: priorities below are real-time, DEFAULT_PRIO is nice 0. */
#define MAX_RT_PRIO  100
#define DEFAULT_PRIO 120

#endif
