/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What must never be acted on, whatever policy says: the agent, its guardian and all their
 * ancestors (init among them), kernel threads, every cgroup that holds one of these, and all that
 * is outside `only`.
 */
#ifndef CULPRIT_ACT_SAFETY_H
#define CULPRIT_ACT_SAFETY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "act/claim.h"
#include "lib/procfs.h"

/* Ancestors of a daemon are few; somebody's nest of shells and containers is deeper. */
#define SAFETY_KIN_MAX 48

struct safety_kin {
	pid_t pid;
	char cgroup[CLAIM_PATH_LEN];
};

struct safety {
	char only[CLAIM_PATH_LEN];
	struct safety_kin kin[SAFETY_KIN_MAX];
	unsigned int n_kin;
	bool complete; /* all kin are known; else nothing may be touched */
	uint64_t read_ns;
};

/* Reads who and where the kin are. It walks /proc, so it is done now and then and not per claim. */
void safety_refresh(struct safety *safety, pid_t guardian);

bool safety_allows_cgroup(const struct safety *safety, const char *path);
/* path: the cgroup that the process is in now. */
bool safety_allows_process(const struct safety *safety, pid_t pid, const struct proc_stat *st,
			   const char *path);

#endif
