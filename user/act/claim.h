/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A claim is one action in force on one target. It is in the ledger before the kernel is told, the
 * guardian knows it before that too, and it can always be undone.
 */
#ifndef CULPRIT_ACT_CLAIM_H
#define CULPRIT_ACT_CLAIM_H

#include <stdint.h>
#include <sys/types.h>

#define CLAIM_NAME_LEN	 64
#define CLAIM_PATH_LEN	 1024
#define CLAIM_REASON_LEN 256
#define CLAIM_MAX	 256 /* at once; more are refused, loudly */

enum claim_action {
	CLAIM_FREEZE,	 /* cgroup.freeze of a cgroup */
	CLAIM_STOP,	 /* SIGSTOP of one process */
	CLAIM_TERMINATE, /* SIGTERM to all of a cgroup or to a process, SIGKILL after stop_timeout
			  */
};

enum target_kind {
	TARGET_CGROUP,
	TARGET_PROCESS
};

struct target {
	enum target_kind kind;
	uint64_t cgroup; /* TARGET_CGROUP: its id; TARGET_PROCESS: the id of the one it was in */
	pid_t pid;	 /* TARGET_PROCESS */
	uint64_t start_time_ns;
	char comm[16];		   /* TARGET_PROCESS */
	char path[CLAIM_PATH_LEN]; /* of the cgroup, for people and as a hint; cut if longer */
};

enum claim_state {
	CLAIM_ACTING,	/* told the kernel, not yet verified */
	CLAIM_HELD,	/* verified: frozen 1, or the process is in state T */
	CLAIM_SLOW,	/* not verified after 5 s; kept while the signal holds */
	CLAIM_EXTERNAL, /* someone else undid it; left to the operator */
	CLAIM_DONE,	/* terminate: nothing is left of the target */
};

struct claim {
	uint64_t id; /* counts up from 1 for the life of a ledger */
	enum claim_action action;
	enum claim_state state;
	struct target target;
	char policy[CLAIM_NAME_LEN]; /* the policy, or "operator" */
	char reason[CLAIM_REASON_LEN];
	uint64_t since_ms; /* Unix milliseconds */
	uint64_t since_ns; /* CLOCK_MONOTONIC, when the kernel was told */
	uint64_t held_ns;  /* CLOCK_MONOTONIC, when it was verified; 0 before */
	unsigned int external_thaws;
	void *user; /* the agent's */
};

#endif
