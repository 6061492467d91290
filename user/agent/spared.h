/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `protect` where a target was named, by a policy or by hand: what is protected is never acted on,
 * and neither is a cgroup with something protected in it. (Offenders are judged by facts.h.)
 */
#ifndef CULPRIT_AGENT_SPARED_H
#define CULPRIT_AGENT_SPARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "act/claim.h"

struct agent;
struct target;

/* Verdicts on the cgroups that policies act on, so that none has to be sought when one begins. */
#define SPARED_MAX     CLAIM_MAX
#define SPARED_WHY_LEN 96

struct spared_verdict {
	uint64_t cgroup;
	uint64_t due_ns;	  /* when to look again */
	char why[SPARED_WHY_LEN]; /* empty: may be acted on */
};

struct spared {
	uint64_t checked_ns; /* when all that is held was last compared with the verdicts */
	unsigned int count;
	struct spared_verdict verdicts[SPARED_MAX];
};

/* True: it must be left alone; `why` is then what people are told. */
bool target_is_spared(struct agent *a, const struct target *target, char *why, size_t size);
/* The same for the act room, and it looks now: what was found a while ago is not good enough. */
bool target_is_spared_now(void *agent, const struct target *target);
/* Looks at all targets of policies, and lets go those of the held that must be left alone: after a
 * configuration was put in force. */
void spared_build(struct agent *a);
/* Looks at those that are new, and again, now and then, at the others and at what is held. */
void spared_pulse(struct agent *a, uint64_t now_ns);
/* The cgroup has gone. */
void spared_drop(struct agent *a, uint64_t cgroup);
/* The configuration has changed: what was found is no longer true. */
void spared_forget(struct agent *a);

#endif
