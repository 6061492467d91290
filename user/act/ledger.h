/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ledger: a file of page-sized slots, one JSON object each (jq reads it), padded with spaces.
 * One slot is one claim. A slot is written with one pwrite(2) inside one page, so a kill cannot
 * leave half of it; the file's pages are allocated when it is opened, so a disk that fills up later
 * cannot make us forget.
 */
#ifndef CULPRIT_ACT_LEDGER_H
#define CULPRIT_ACT_LEDGER_H

#include "act/claim.h"
#include "lib/cgroupfs.h"

#define LEDGER_SLOT_SIZE 4096

struct ledger;

/*
 * Opens (makes) DIR (0755) and DIR/ledger (0600) and locks it. -EBUSY: an agent has it (*holder is
 * its pid); -EPERM: DIR or a parent is not root's or is writable by others (*what names it);
 * -ENOSPC and the like: it cannot be written.
 */
int ledger_open(struct ledger **out, const char *dir, pid_t *holder, char *what, size_t what_size);
void ledger_close(struct ledger *ledger);

/* Writes the claim into a free slot. No allocation. -ENOSPC: all slots are in use. */
int ledger_write(struct ledger *ledger, const struct claim *claim);
/* Empties the slot of the claim with this id. */
int ledger_clear(struct ledger *ledger, uint64_t claim_id);
/* Reads the claims that the file holds, at most max. Count or -errno; a slot that does not parse
 * is counted in *damaged. */
int ledger_read(struct ledger *ledger, struct claim *claims, unsigned int max,
		unsigned int *damaged);
int ledger_fd(const struct ledger *ledger);

/*
 * Undoes all that the ledger holds, and empties it: at start, and for culpritd --release. Calls
 * told() for each, with 0 or -errno. Count of claims undone or -errno.
 */
int ledger_release(struct ledger *ledger, const struct cgroupfs *fs,
		   void (*told)(void *user, const struct claim *claim, int error), void *user);

#endif
