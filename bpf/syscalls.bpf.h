/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which syscall a task is returning from, as far as opens go. The numbers are those of the kernel's
 * syscall tables (arch/x86/entry/syscalls, include/uapi/asm-generic/unistd.h, arch/arm64/tools),
 * with those of 32-bit programs, which the per-syscall tracepoints leave out.
 */
#ifndef CULPRIT_SYSCALLS_BPF_H
#define CULPRIT_SYSCALLS_BPF_H

#include "compat.bpf.h"

enum syscall_kind {
	SYSCALL_OPENS, /* returns a descriptor of what it opened */
	SYSCALL_ASKS,  /* checks permissions as an open does, and opens nothing */
	SYSCALL_OTHER, /* io_uring_enter, among others */
};

/* The same in all tables: syscalls younger than 5.1 have one number everywhere. */
#define NR_OPENAT2    437
#define NR_FACCESSAT2 439

#if defined(__TARGET_ARCH_x86)

/* arch/x86/include/asm/thread_info.h: this syscall came in by the 32-bit entry (int 0x80 too). */
#define TS_COMPAT	0x0002
/* arch/x86/include/uapi/asm/unistd.h: x32 numbers are the 64-bit ones with this bit. */
#define X32_SYSCALL_BIT 0x40000000

static __always_inline long syscall_result(struct pt_regs___kernel *regs)
{
	return (long)BPF_CORE_READ(regs, ax);
}

static __always_inline enum syscall_kind syscall_kind(struct task_struct *task,
						      struct pt_regs___kernel *regs)
{
	unsigned int nr = (unsigned int)BPF_CORE_READ(regs, orig_ax) & ~X32_SYSCALL_BIT;

	if (nr == NR_OPENAT2)
		return SYSCALL_OPENS;
	if (nr == NR_FACCESSAT2)
		return SYSCALL_ASKS;
	if (BPF_CORE_READ(task, thread_info.status) & TS_COMPAT) {
		switch (nr) {
		case 5:	  /* open */
		case 8:	  /* creat */
		case 295: /* openat */
		case 342: /* open_by_handle_at */
			return SYSCALL_OPENS;
		case 33:  /* access */
		case 307: /* faccessat */
			return SYSCALL_ASKS;
		}
		return SYSCALL_OTHER;
	}
	switch (nr) {
	case 2:	  /* open */
	case 85:  /* creat */
	case 257: /* openat */
	case 304: /* open_by_handle_at */
		return SYSCALL_OPENS;
	case 21:  /* access */
	case 269: /* faccessat */
		return SYSCALL_ASKS;
	}
	return SYSCALL_OTHER;
}

#elif defined(__TARGET_ARCH_arm64)

/* arch/arm64/include/asm/thread_info.h */
#define TIF_32BIT (1UL << 22)

static __always_inline long syscall_result(struct pt_regs___kernel *regs)
{
	return (long)BPF_CORE_READ(regs, regs[0]);
}

static __always_inline enum syscall_kind syscall_kind(struct task_struct *task,
						      struct pt_regs___kernel *regs)
{
	int nr = BPF_CORE_READ(regs, syscallno);

	if (nr == NR_OPENAT2)
		return SYSCALL_OPENS;
	if (nr == NR_FACCESSAT2)
		return SYSCALL_ASKS;
	if (BPF_CORE_READ(task, thread_info.flags) & TIF_32BIT) {
		switch (nr) {
		case 5:	  /* open */
		case 8:	  /* creat */
		case 322: /* openat */
		case 371: /* open_by_handle_at */
			return SYSCALL_OPENS;
		case 33:  /* access */
		case 334: /* faccessat */
			return SYSCALL_ASKS;
		}
		return SYSCALL_OTHER;
	}
	switch (nr) {
	case 56:  /* openat */
	case 265: /* open_by_handle_at */
		return SYSCALL_OPENS;
	case 48: /* faccessat */
		return SYSCALL_ASKS;
	}
	return SYSCALL_OTHER;
}

#else
#error "the syscall numbers of this architecture are not known; add them here"
#endif

#endif
