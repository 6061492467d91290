/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who cannot be an offender, and why not. Pure: the facts are arguments. */
#ifndef CULPRIT_DECIDE_PROTECT_H
#define CULPRIT_DECIDE_PROTECT_H

#include "decide/pattern.h"

/* The facts about one process (or about a cgroup, pid 0) that the rules look at. */
struct protect_facts {
	struct subject subject;
	int pid;
	bool kernel_thread;
	bool own;	/* the agent, its guardian, or an ancestor of them */
	bool holds_own; /* cgroup: one of those is in it or below it */
	bool traced;
	bool stopped;
	bool serves_io; /* serves FUSE, nbd or ublk */
	int oom_score_adj;
	bool oomd_omit; /* the cgroup has user.oomd_omit, root-owned */
	bool oomd_avoid;
	bool session; /* cgroup: a whole logind session scope or user@.service, or above one */
	bool holds_protected; /* cgroup: has a process, also below it, that the rules protect */
};

struct protect_rules {
	const char *only;
	const struct pattern_list *protect; /* the configuration's; the built-in list is added */
	const struct pattern_list *prefer, *avoid;
};

/* NULL: may be acted on. Otherwise why not, a static text such as "protected by the built-in list".
 * The members marked "cgroup" count for cgroups only (pid 0): a process in a session, or beside a
 * protected one, may be stopped by itself. */
const char *protect_refusal(const struct protect_rules *rules, const struct protect_facts *facts);

/* Is it one of the programs of the built-in list? Not if it is about to become another one, which
 * only its comm tells. */
bool protect_is_builtin(const struct subject *subject);

/* 1, ×16 when preferred, ÷64 when avoided (by configuration or user.oomd_avoid). */
double protect_weight(const struct protect_rules *rules, const struct protect_facts *facts);

/* The built-in list, for --check and the man page; NULL-terminated patterns as text. */
extern const char *const protect_builtin[];

#endif
