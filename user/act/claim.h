/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A claim is one action in force on one target. It is in the ledger before the kernel is told, the
 * guardian knows it before that too, and it can always be undone.
 */
#ifndef CULPRIT_ACT_CLAIM_H
#define CULPRIT_ACT_CLAIM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CLAIM_NAME_LEN	 64
#define CLAIM_PATH_LEN	 1024
#define CLAIM_REASON_LEN 256
#define CLAIM_MAX	 256 /* at once; more are refused, loudly */
#define CLAIM_SHELLS	 3   /* nested job-control shells that are stopped with a process */

enum claim_action {
	CLAIM_FREEZE,	 /* cgroup.freeze of a cgroup */
	CLAIM_STOP,	 /* SIGSTOP of one process */
	CLAIM_DEMOTE,	 /* the least CPU and IO weight for a cgroup */
	CLAIM_TERMINATE, /* SIGTERM to a whole cgroup or a process, SIGKILL when its time is up */
	CLAIM_KILL,	 /* SIGKILL at once */
};

/* What ends its target holds nothing, and cannot be undone. */
static inline bool claim_ends(enum claim_action action)
{
	return action == CLAIM_TERMINATE || action == CLAIM_KILL;
}

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
	CLAIM_HELD,	/* verified: frozen 1, the process is in state T, the weights read so */
	CLAIM_SLOW,	/* not verified after 5 s; kept while the signal holds */
	CLAIM_EXTERNAL, /* someone else undid it; left to the operator */
	CLAIM_DONE,	/* terminate, kill: nothing is left of the target */
};

struct claim_shell {
	pid_t pid;
	uint64_t start_time_ns;
};

enum claim_weight_file {
	WEIGHT_CPU_IDLE,
	WEIGHT_CPU,
	WEIGHT_IO,
	CLAIM_WEIGHTS
};

/* What the file said, and what it says for us; alike: it is not ours. */
struct claim_weight {
	uint32_t old, ours;
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
	/* The target is frozen, stopped or demoted by us, so undoing must let it go. False for a
	 * terminate (except while it freezes in order to kill), and once someone else has let it
	 * go. */
	bool holds;
	bool undone; /* as read from a ledger: the agent has died, and its guardian let it go */
	/* CLAIM_STOP: the shells that would react to the stop of their child, innermost first. They
	 * are stopped before the target and continued after it. */
	unsigned int n_shells;
	struct claim_shell shells[CLAIM_SHELLS];
	/* CLAIM_DEMOTE: what is lowered. While there is some, that is what it holds. */
	struct claim_weight weights[CLAIM_WEIGHTS];
	void *user; /* the agent's */
};

static inline bool claim_weight_is_ours(const struct claim_weight *weight)
{
	return weight->old != weight->ours;
}

static inline bool claim_has_weights(const struct claim_weight weights[static CLAIM_WEIGHTS])
{
	for (unsigned int i = 0; i < CLAIM_WEIGHTS; i++)
		if (claim_weight_is_ours(&weights[i]))
			return true;
	return false;
}

#endif
