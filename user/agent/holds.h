/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the holds share: hold_table.c, holds.c and hold_news.c. */
#ifndef CULPRIT_AGENT_HOLDS_H
#define CULPRIT_AGENT_HOLDS_H

#include "agent/agent.h"

/* In whose name the operator's claims are made. */
#define OPERATOR "operator"

/* hold_table.c: which target is held, and who leads */
/* A free place for the target, NULL: none is left. */
struct hold *hold_new(struct agent *a, const struct target *target, enum claim_action action);
/* -1: it is none of its holders. */
int hold_holder_index(const struct hold *h, const struct agent_policy *p);
bool hold_is_wanted(const struct hold *h);
/* How much it takes from its target: demoted, held, ended. */
int hold_severity(enum claim_action action);
/* NULL: no policy, but perhaps the operator. */
struct agent_policy *hold_leading_policy(const struct hold *h);
enum claim_action hold_wanted_action(const struct hold *h);
bool hold_speaks_again(const struct holder *holder);
/* Of a hold with a claim; NULL: the operator's. */
const struct agent_policy *hold_claimant(struct agent *a, const struct hold *h);
const char *hold_policy_name(const struct agent_policy *p); /* NULL: the operator */
void hold_forget_offender(struct hold *h);

/* hold_ladder.c: what is done when it goes on */
/* Nothing is done to it any more: all begin at the bottom when something is again. */
void hold_ladder_restart(struct hold *h);
/* A reload: a holder whose policy has another ladder now begins at its bottom. */
void hold_ladder_inherit(struct holder *holder, const struct escalate_ladder *old);
/* True: one of its holders wants more now, and `reason` says why. */
bool hold_ladder_climb(struct hold *h, uint64_t now_ns, char *reason, size_t size);
struct ladder_next {
	const struct agent_policy *policy;
	enum policy_action action;
	uint64_t due_ns; /* CLOCK_MONOTONIC */
};
/* What comes next, if its signal still speaks for it then; false: nothing. */
bool hold_ladder_next(const struct hold *h, struct ladder_next *next);

/* hold_news.c: what is told of it */
enum event_kind hold_begun_kind(enum claim_action action);
enum event_kind hold_undone_kind(enum claim_action action);
void hold_tell(struct agent *a, const struct hold *h, const struct agent_policy *p,
	       enum event_kind kind, const char *reason);
/* Is there anything that ends, and has to be told, when it is let go? */
bool hold_gives_back(const struct hold *h);
const char *hold_gone_text(const struct hold *h);
#define HOLD_OUTSIDE "it is outside `only` now"
/* Nothing holds it any more, for it is gone or may not be held. */
void hold_is_over(struct hold *h, bool gone);

/* words.c */
void words_ladder(const struct ladder_next *next, char *buf, size_t size);

#endif
