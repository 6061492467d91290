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

/*
 * Task work: a program asks that a callback runs when the task returns to user space
 * (kernel 6.18, 38aa7003e369 "bpf: task work scheduling kfuncs"). 6.18 calls the kfuncs _impl.
 */
struct bpf_map {
	u32 id;
};
struct bpf_task_work {
	u64 opaque;
} __attribute__((aligned(8)));
typedef int (*bpf_task_work_callback_t)(struct bpf_map *map, void *key, void *value);
extern int bpf_task_work_schedule_resume_impl(struct task_struct *task, struct bpf_task_work *work,
					      void *map, bpf_task_work_callback_t callback,
					      void *aux) __ksym __attribute__((weak));

#endif
