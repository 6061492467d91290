/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small questions about the running kernel, never about its version. Being in the kernel's BTF is
 * not being available: what loads is asked by loading, and whether it works is proven by the sense.
 */
#ifndef CULPRIT_SENSE_SUPPORT_H
#define CULPRIT_SENSE_SUPPORT_H

#include <stdbool.h>

struct support;

/*
 * Reads the kernel's BTF, some 10 MiB of memory until support_close(). 0; -ENOENT: the kernel has
 * none (then no CO-RE program loads, and every question about it answers no); -ENOMEM. *out is set
 * in the first two cases.
 */
int support_open(struct support **out);
void support_close(struct support *support);

bool support_btf(const struct support *support);
/* A tracepoint that tp_btf programs can attach to. */
bool support_tracepoint(const struct support *support, const char *name);
/* Number of arguments of that tracepoint; -ENOENT. */
int support_tracepoint_args(const struct support *support, const char *name);
/* A function of the kernel itself, not of a module. */
bool support_function(const struct support *support, const char *name);
/* A member of a struct or union, also inside of unnamed members. */
bool support_member(const struct support *support, const char *type, const char *member);
bool support_enum_value(const struct support *support, const char *type, const char *name);

/* The kinds of programs that our senses attach. */
enum support_program {
	SUPPORT_TP_BTF,
	SUPPORT_FENTRY,
	SUPPORT_FEXIT,
	SUPPORT_KPROBE,
	SUPPORT_ITER_TASK,
	SUPPORT_ITER_TASK_FILE,
	SUPPORT_CGROUP_DEVICE,
	SUPPORT_PROGRAMS,
};
const char *support_program_name(enum support_program kind);
/* Loads and, where that touches nobody, attaches an empty program of this kind. 0, -ENOENT: not
 * in the kernel's BTF, -errno (-EPERM: forbidden here). */
int support_program(const struct support *support, enum support_program kind);

/* Is pressure stall information there (CONFIG_PSI, not switched off at boot)? */
bool support_psi(void);
/* Is any swap device or file in use? */
bool support_swap(void);
/* Is `path` on a bpffs? */
bool support_bpffs(const char *path);
/* May we run under SCHED_FIFO, so that the agent is scheduled on a machine in trouble? */
bool support_realtime(void);

#endif
