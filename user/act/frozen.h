/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file for monitoring: `frozen`, beside the ledger, is there while something stands still for
 * us, with one line for each cgroup and process that does. Its columns are a promise to scripts
 * (culpritd(8), FILES): they stay as they are, and new ones would come last.
 *
 * Nothing reads it here. What is to be undone is in the ledger alone.
 */
#ifndef CULPRIT_ACT_FROZEN_H
#define CULPRIT_ACT_FROZEN_H

#include <stdbool.h>
#include <stddef.h>

#include "act/claim.h"
#include "lib/text.h"

/* Enough for every claim. */
#define FROZEN_LINE_MAX \
	(128 + TEXT_ESCAPED_SIZE(CLAIM_PATH_LEN + CLAIM_NAME_LEN + CLAIM_REASON_LEN))

/* Does the claim keep its target from running? Not what is demoted or being ended, nor what someone
 * else has let go. */
bool frozen_is_listed(const struct claim *claim);

/*
 * Six columns with a tab between them and a newline at the end: kind (cgroup, process), id (of the
 * cgroup, or pid), name (its path, or comm), policy, since (RFC 3339, UTC), reason. What would
 * break the line or is no text stands there as \xNN, and - for what is empty. Returns buf.
 */
char *frozen_line(char buf[static FROZEN_LINE_MAX], const struct claim *claim);

/* Puts a file with these claims (0644, n > 0) in the place of the old one, in the open directory
 * `dir`: who reads it sees one or the other, whole. 0 or -errno, and the old one is there then. */
int frozen_write(int dir, const struct claim *const *claims, unsigned int n);

/* Removes it, and what a write that was cut short has left. Allocates nothing. */
void frozen_remove(int dir);

#endif
