/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One process, held by pidfd: opened first and compared after, so that its pid can be reused by
 * nobody in between. */
#ifndef CULPRIT_ACT_PROCESS_H
#define CULPRIT_ACT_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/procfs.h"

/*
 * Opens the process that has this pid and start time. Descriptor; -ESRCH: gone (or not the leader
 * of a process); -ESTALE: another process has the pid now; -errno. *st is what /proc says of it.
 */
int process_open(pid_t pid, uint64_t start_time_ns, struct proc_stat *st);

/* 0; -ESRCH when it has ended; -errno. */
int process_signal(int pidfd, int signal);

/* Has the process ended (also when nobody has reaped it yet)? */
bool process_ended(int pidfd);

/* In a job-control stop, or about to be seen by a tracer in one? */
bool process_is_stopped(const struct proc_stat *st);

/* Has any of its threads stopped? The one that takes SIGSTOP does in that moment, and the others
 * when they next run (do_signal_stop). Allocates. */
bool process_is_stopping(pid_t pid);

/* Start time as the records have it, to the precision of /proc (a clock tick). */
uint64_t process_start_ns(const struct proc_stat *st);

/* The clock tick it is now, comparable with proc_stat.start_ticks. */
uint64_t process_ticks_now(void);

/*
 * Opens the parent of `child` if it is a shell that does job control over it: same session, same
 * controlling terminal, another process group. It would notice the stop of its child, take the
 * terminal back and report the job as stopped. Descriptor with *shell_pid and *shell filled in, or
 * -ENOENT when the parent is no such shell.
 */
int process_open_shell(const struct proc_stat *child, pid_t *shell_pid, struct proc_stat *shell);

#endif
