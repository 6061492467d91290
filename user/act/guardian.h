/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guardian: a small process, forked before BPF is loaded and before anything is frozen, that
 * undoes all claims if the agent dies or stops beating. It ignores TERM, INT and HUP, has its
 * memory locked, and needs no allocation, no configuration, no path and no BPF to do it: it holds
 * the open cgroup.freeze files and pidfds.
 *
 * It watches the agent's pidfd, because a socket alone is kept open by any child of the agent that
 * was born into a frozen cgroup. When the agent is dead it first reads what the agent had still
 * sent, then lets go of everything, marks that in the ledger as undone, for the next agent to tell
 * of, empties the rest of it (which was never carried out), removes the file for monitoring
 * (frozen.h) and the pins, and ends.
 */
#ifndef CULPRIT_ACT_GUARDIAN_H
#define CULPRIT_ACT_GUARDIAN_H

#include <stdbool.h>

#include "act/claim.h"
#include "act/ledger.h"

#define GUARDIAN_NAME "culprit-guard" /* its comm, which has room for 15 characters */

/* Freezers that it may be lent beforehand. */
#define GUARDIAN_LOANS 64

struct guardian;

/* A claim in the ledger, and what undoes it. */
struct guardian_grip {
	const struct claim *claim;
	/* The open cgroup.freeze file, or the pidfd and behind it the pidfds of the claim's shells,
	 * or the files of its weights, in their order. */
	int fds[1 + CLAIM_SHELLS];
	unsigned int n_fds;
};

struct guardian_options {
	struct ledger *ledger; /* where the guardian marks what it has undone */
	/* Removes an agent's pins, without allocating; both may be NULL. */
	const char *pin_dir;
	int (*remove_pins)(const char *dir);
	uint64_t silence_ns; /* without a heart-beat for so long the agent is killed; 0: 10 s */
};

/* Forks it, and waits until it is ready. The strings and the ledger are the caller's, and must
 * outlive it. */
int guardian_start(struct guardian **out, const struct guardian_options *options);
/* Tells it that nothing is claimed any more and lets it end; reaps it; frees. NULL is fine. */
void guardian_stop(struct guardian *guardian);
/* 0 when there is none. */
pid_t guardian_pid(const struct guardian *guardian);
/* Polls readable when the guardian has died; -1 when there is none. */
int guardian_pidfd(const struct guardian *guardian);
/*
 * Kills and reaps the old one if there still is one, and starts a new one in its place. It is born
 * with these grips, which are all that holds: an agent that dies before it could tell its new
 * guardian anything leaves one that knows. At most CLAIM_MAX. On failure there is no guardian.
 */
int guardian_restart(struct guardian *guardian, const struct guardian_grip *grips, unsigned int n);

/* The descriptors are duplicated. A claim that the guardian knows already is replaced. Never
 * blocks: -EAGAIN the socket is full, -EHOSTDOWN there is no guardian. */
int guardian_add(struct guardian *guardian, const struct guardian_grip *grip);
/* Never lost: what the full socket does not take (-EAGAIN) is sent before anything else later. */
int guardian_drop(struct guardian *guardian, uint64_t claim_id);

/*
 * To send a descriptor wakes the guardian, on the way from an event to a freeze. So it is lent the
 * freezers of what a policy may freeze at any time: a claim on one of them is pledged in shared
 * memory, carried out, and then added as any other, which ends the pledge.
 *
 * The descriptor stays the caller's, who keeps it open until guardian_return(). A new guardian has
 * all that was lent before. A loan that a full socket does not take is none: guardian_pledge() then
 * says -ENOENT, as for a number without a loan. -EHOSTDOWN: there is no guardian, or it has died.
 */
void guardian_lend(struct guardian *guardian, unsigned int loan, int freeze_fd);
void guardian_return(struct guardian *guardian, unsigned int loan);
int guardian_pledge(struct guardian *guardian, unsigned int loan, uint64_t claim_id);
void guardian_redeem(struct guardian *guardian, unsigned int loan);

/* The heart-beat: a counter in shared memory, no wake-up. Also sends what guardian_drop() could
 * not. */
void guardian_beat(struct guardian *guardian);
/* The guardian beats too while it holds claims (`holding`: it should hold some). True when it has
 * not for the silence time: it hangs, restart it. Call it as often as guardian_beat(). */
bool guardian_hangs(struct guardian *guardian, bool holding);

#endif
