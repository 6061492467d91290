/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guardian: a small process, forked before BPF is loaded and before anything is frozen, that
 * undoes all claims if the agent dies or stops beating. It ignores TERM, INT and HUP, has its
 * memory locked, and needs no allocation, no configuration, no path and no BPF to do it: it holds
 * the open cgroup.freeze files and pidfds.
 */
#ifndef CULPRIT_ACT_GUARDIAN_H
#define CULPRIT_ACT_GUARDIAN_H

#include "act/claim.h"
#include "act/ledger.h"

struct guardian;

/* Forks it. pin_dir may be NULL. The ledger's slots are emptied by it as it undoes claims. */
int guardian_start(struct guardian **out, struct ledger *ledger, const char *pin_dir);
/* Tells it that nothing is claimed any more and lets it end; reaps it. */
void guardian_stop(struct guardian *guardian);
pid_t guardian_pid(const struct guardian *guardian);
/* Polls readable when the guardian has died. */
int guardian_pidfd(const struct guardian *guardian);
/* Starts a new one in the place of a dead one; the caller sends all claims again. */
int guardian_restart(struct guardian *guardian);

/* fd: the open cgroup.freeze file, or the pidfd. Never blocks: -EAGAIN, -EHOSTDOWN. */
int guardian_add(struct guardian *guardian, const struct claim *claim, int fd);
int guardian_drop(struct guardian *guardian, uint64_t claim_id);
/* The heart-beat; without one for 10 s the guardian kills the agent and undoes all. */
void guardian_beat(struct guardian *guardian);

#endif
