/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the guardian does in its own process, and the messages between it and the agent. */
#ifndef CULPRIT_ACT_VIGIL_H
#define CULPRIT_ACT_VIGIL_H

#include <stdatomic.h>
#include <stdint.h>

#include "act/guardian.h"

#define VIGIL_FDS (1 + CLAIM_SHELLS)
_Static_assert(CLAIM_WEIGHTS <= VIGIL_FDS, "those that undo a demotion fit, too");

/* Looks at the heart-beat in one silence time. Several, so that a machine that stood still as a
 * whole is not taken for a silent agent. */
#define VIGIL_LOOKS 5

enum vigil_kind {
	VIGIL_READY, /* guardian to agent, once: it stands */
	VIGIL_ADD,   /* with 1 to VIGIL_FDS descriptors */
	VIGIL_DROP,
	VIGIL_LEND,   /* with one descriptor; `slot` is the number of the loan */
	VIGIL_RETURN, /* of that loan */
	VIGIL_STOP,
};

struct vigil_message {
	uint32_t kind;
	uint32_t target_kind;
	uint64_t claim_id;
	uint32_t slot;
	uint32_t padding;
	struct claim_weight weights[CLAIM_WEIGHTS];
};

/* Shared by the two processes. */
struct vigil_page {
	_Atomic uint64_t agent_beats;
	_Atomic uint64_t guardian_beats;
	/* By loan: the id of the claim that is being carried out on it, and its place in the
	 * ledger; 0 once the guardian was sent the claim, and otherwise. */
	_Atomic uint64_t pledged[GUARDIAN_LOANS];
	_Atomic uint32_t pledged_slot[GUARDIAN_LOANS];
};

struct vigil {
	int sock;
	int agent; /* pidfd */
	struct vigil_page *page;
	const struct guardian_options *options;
	const struct guardian_grip *grips; /* that it begins with */
	unsigned int n_grips;
	const int *loans; /* GUARDIAN_LOANS of them; -1: none */
};

/* The order to add this claim. -EINVAL: it is not in the ledger, or has no descriptors. */
int vigil_order(struct vigil_message *order, const struct ledger *ledger,
		const struct guardian_grip *grip);
/* In the forked child; returns its exit status. */
int vigil_keep(const struct vigil *vigil);

#endif
