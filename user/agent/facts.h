/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The facts by which decide/protect.h says who may be acted on, gathered for one candidate. */
#ifndef CULPRIT_AGENT_FACTS_H
#define CULPRIT_AGENT_FACTS_H

#include <limits.h>

#include "culprit/census.h"
#include "decide/protect.h"

struct agent;

/* protect_facts points into the texts; keep both together and do not copy them. */
struct facts {
	struct protect_facts facts;
	char path[PATH_MAX];
	char exe[PATH_MAX];
	char comm[CULPRIT_COMM_LEN + 1];
};

/* About a process of the census. */
void facts_of_process(struct agent *a, const struct culprit_process *p, struct facts *out);
/* About a cgroup with all that is in it and below it; `list` is a whole census. */
void facts_of_cgroup(struct agent *a, uint64_t cgroup, const struct culprit_process *list,
		     size_t count, struct facts *out);
/* The rules of the configuration in force. */
struct protect_rules facts_rules(const struct agent *a);

#endif
