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

/* Until 5.16 (bcf9033e5449, "sched: move CPU field back into thread_info"). */
struct task_struct___cpu {
	unsigned int cpu;
} __attribute__((preserve_access_index));

#endif
