/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ledger: a file of page-sized slots, one JSON object each (jq reads it), padded with spaces.
 * One slot is one claim. A slot is written with one pwrite(2) inside one page, so a kill cannot
 * leave half of it; the file's pages are allocated when it is opened, so a disk that fills up later
 * cannot make us forget.
 *
 * Two record locks (fcntl, so that they die with the process and no child inherits them): byte 0 is
 * the agent's, byte 1 the guardian's. A new agent takes byte 0 and then waits until a guardian that
 * is still undoing for a dead agent has let go of byte 1. Such locks are lost when the process
 * closes *any* descriptor of the file: the agent must not open the ledger a second time.
 */
#ifndef CULPRIT_ACT_LEDGER_H
#define CULPRIT_ACT_LEDGER_H

#include <stdbool.h>
#include <stddef.h>

#include "act/claim.h"
#include "act/format.h"
#include "lib/cgroupfs.h"

struct ledger;

/*
 * Opens (makes) DIR (0755) and DIR/ledger (0600) and locks it. -EBUSY: an agent has it (*holder is
 * its pid); -EPERM: DIR, a parent or the file is not root's or is writable by others (*what names
 * it; see safedir.h); -ENOSPC and the like: it cannot be written. A guardian that is still undoing
 * is waited for, up to 2 s; one that hangs is killed (its work is in the ledger). Parents of DIR
 * are not made (-ENOENT).
 */
int ledger_open(struct ledger **out, const char *dir, pid_t *holder, char *what, size_t what_size);
/* The same, but makes nothing: -ENOENT when there is no directory or no ledger in it. */
int ledger_open_existing(struct ledger **out, const char *dir, pid_t *holder, char *what,
			 size_t what_size);
void ledger_close(struct ledger *ledger);
/* Closes it after a refused start: takes away again the file and the directory that opening it has
 * made. What holds a claim stays. */
void ledger_discard(struct ledger *ledger);

static inline void ledger_closep(struct ledger **ledger)
{
	ledger_close(*ledger);
}

/* Above every id that the ledger has held since it was opened: by its id the guardian tells a claim
 * that was found from one that took its place. */
uint64_t ledger_next_id(const struct ledger *ledger);

/* Writes the claim into a free slot, or over what the slot says of the claim with this id. No
 * allocation. -ENOSPC: all slots are in use; -EIDRM: it would be held, and the file is no longer
 * where others look for it; -EIO. */
int ledger_write(struct ledger *ledger, const struct claim *claim);
/* Is the file still in the place where it was opened? Someone may have removed it, or moved it
 * away: the latter stops ledger_write() only once this was asked. */
bool ledger_in_place(struct ledger *ledger);
/* Empties the slot of the claim with this id. -ENOENT: there is none. */
int ledger_clear(struct ledger *ledger, uint64_t claim_id);
/* Reads the claims that the file holds, at most max. Count or -errno; a slot that does not parse
 * is counted in *damaged. Those of an earlier boot are left out, and those that a guardian has
 * undone. */
int ledger_read(struct ledger *ledger, struct claim *claims, unsigned int max,
		unsigned int *damaged);
int ledger_fd(const struct ledger *ledger);
/* The state directory as it was opened, for what else is kept there. The ledger's to close. */
int ledger_dir(const struct ledger *ledger);
/* Does it hold a claim, of this agent or of an earlier one, that is not undone? */
bool ledger_holds(const struct ledger *ledger);

/*
 * Undoes all that the ledger held when it was opened, and empties those slots: at start, again
 * while something of it could not be undone (ledger_left()), and for culpritd --release. Newest
 * first; processes before the shells that were stopped with them. Calls told() for each, with 0 or
 * -errno; a claim that could not be undone stays in its slot. A damaged slot is told with -EBADMSG,
 * a claim of id 0 and the beginning of what stood there as the reason, then emptied. What a
 * guardian has undone (claim->undone) is told and emptied, too. Claims of an earlier boot are
 * emptied untold. Count of claims undone here or -errno.
 */
int ledger_release(struct ledger *ledger, const struct cgroupfs *fs,
		   void (*told)(void *user, const struct claim *claim, int error), void *user);

/* How many claims that it held when it was opened are not undone. */
unsigned int ledger_left(const struct ledger *ledger);

/* --- for the guardian, whose copy of struct ledger is of the time when it was forked -----------
 */

/* The slot of the claim with this id; -ENOENT. */
int ledger_slot(const struct ledger *ledger, uint64_t claim_id);
/* Takes the guardian's lock for the calling process. -EBUSY: there is another guardian, or the
 * agent that opened this ledger has died and another one has it now. */
int ledger_lock_guardian(struct ledger *ledger);
/* These allocate nothing. Does the slot hold this claim? And one of an earlier agent that ours has
 * not undone, or not told of? */
bool ledger_slot_holds(const struct ledger *ledger, unsigned int slot, uint64_t claim_id);
bool ledger_was_left(const struct ledger *ledger, unsigned int slot);
enum ledger_fate {
	LEDGER_EMPTY,
	LEDGER_KEEP,
	LEDGER_UNDONE, /* it holds nothing any more; the next agent tells so and empties it */
};
/* Does this to all slots of the file. 0 or -EIO. */
int ledger_settle(const struct ledger *ledger, const enum ledger_fate fates[static CLAIM_MAX]);

#endif
