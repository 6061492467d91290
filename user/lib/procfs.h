/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /proc says of one process. All of it may be gone or changed when the function returns. */
#ifndef CULPRIT_LIB_PROCFS_H
#define CULPRIT_LIB_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_stat {
	char comm[16];
	char state; /* R S D T t Z … as in proc(5) */
	pid_t ppid;
	pid_t pgrp;
	pid_t session;
	int tty_nr;
	unsigned int flags; /* PF_* */
	/* Field 22, in clock ticks (1/100 s) of CLOCK_BOOTTIME: with the pid it names one process.
	 */
	uint64_t start_ticks;
	uint64_t cpu_ns; /* user and system time of all its threads, in steps of a tick */
};

/* Reads /proc/PID/stat. 0, -ESRCH when there is no such process, -errno. */
int proc_read_stat(pid_t pid, struct proc_stat *st);

/*
 * Start time in the unit of the ledger and of the kernel's records is nanoseconds; /proc knows
 * ticks of 10 ms. True when both can be the same process start.
 */
bool proc_same_start(uint64_t start_time_ns, uint64_t start_ticks);
/* Can two start times, either of which may come from /proc, be of one process (of one pid)? */
bool proc_same_start_ns(uint64_t a_ns, uint64_t b_ns);

/* Is a signal pending for the process, or for its first thread? False where that cannot be read. */
bool proc_is_pending(pid_t pid, int signal);

/* The cgroup v2 path ("0::" line) of the process into buf. 0 or -errno. */
int proc_read_cgroup(pid_t pid, char *buf, size_t size);

/* The executable's path (a deleted one keeps its " (deleted)"). 0 or -errno; -ESRCH: the process
 * has ended, or has given it back in order to. */
int proc_read_exe(pid_t pid, char *buf, size_t size);

/* pswpin of /proc/vmstat: pages swapped in since boot. 0 where it cannot be read. */
uint64_t vmstat_pswpin(void);

#endif
