/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the live tests share: cgroups of their own under one test root, processes that are surely
 * gone afterwards, and waiting for a condition instead of sleeping. Everything made here is removed
 * by live_cleanup(), which also runs when a test fails or is interrupted.
 */
#ifndef CULPRIT_TESTS_LIVE_H
#define CULPRIT_TESTS_LIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/cgroupfs.h"

/* cmocka group setup and teardown: makes the test root /culprit-test-PID, removes it and all that
 * was started. */
int live_setup(void **state);
int live_teardown(void **state);
void live_cleanup(void);
/* Registers what live_cleanup() calls when the children are dead, last registered first: for what
 * is not a cgroup, a process or a file. The same function twice is called once. */
void live_on_cleanup(void (*fn)(void));

const struct cgroupfs *live_fs(void);
const char *live_root(void); /* the path of the test root, "/culprit-test-PID" */

/* Makes ROOT/name (name may hold "/"), returns its id; fails the test otherwise. */
uint64_t live_cgroup(const char *name);
/* ROOT/name as a path, in a static ring of buffers. */
const char *live_path(const char *name);
void live_rmdir(const char *name);
/* Reads ROOT/name/file, cgroupfs_read_key() on it. */
uint64_t live_cgroup_key(const char *name, const char *file, const char *key);
bool live_frozen(const char *name);

/* Forks; the child joins ROOT/cgroup (NULL: stays), runs fn(arg) and exits with its result. It dies
 * with the test. */
pid_t live_fork(const char *cgroup, int (*fn)(void *arg), void *arg);
/* Runs a program; argv is NULL-terminated. stdout and stderr go to `output` (a path) unless NULL.
 */
pid_t live_exec(const char *cgroup, const char *output, char *const argv[]);
/* SIGKILLs (and continues) one child and reaps it. */
void live_kill(pid_t pid);
/* Reaps; the exit status as the shell has it (128+N for signal N). */
int live_wait(pid_t pid);

/* Loads for live_fork(). */
int load_spin(void *unused);	      /* a busy loop for ever */
int load_sleep(void *unused);	      /* pause() for ever */
int load_spin_ms(void *milliseconds); /* (void *)(uintptr_t)ms of CPU time, then ends */

/* Calls test(arg) every millisecond until it is true or the time is over. */
bool live_until(bool (*test)(void *arg), void *arg, unsigned int timeout_ms);
/* For it: live_frozen(name), and that it is not. */
bool live_is_frozen(void *name);
bool live_is_thawed(void *name);

/* Is this machine emulated? All takes ten times as long there, and where its CPUs share one thread
 * (as in scripts/vm.sh) each waits for up to 100 ms while another one is busy. */
bool live_is_emulated(void);

/* $CULPRIT_BUILD/culpritd and so on (default build/). */
const char *live_program(const char *name);
/* A fresh directory (in $TMPDIR or /tmp) that live_cleanup() removes with all that is in it. */
const char *live_tmpdir(void);
/* The same for device nodes: a directory on a file system where they can be opened. */
const char *live_nodedir(void);

#endif
