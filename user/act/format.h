/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One ledger slot as text: a JSON object padded with spaces, with a newline at the end, so that jq
 * and less can read the file. Written without allocating; read with jansson.
 *
 * Linux names are bytes, JSON strings are Unicode. A byte that is not part of valid UTF-8 is
 * written as the four characters \xNN (NN from 80 to ff), and a backslash that already stands
 * before such a text, or before x5c, is written as \x5c. All other names (also systemd's \x2d) read
 * as they are.
 */
#ifndef CULPRIT_ACT_FORMAT_H
#define CULPRIT_ACT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

#include "act/claim.h"

#define LEDGER_SLOT_SIZE 4096
#define BOOT_ID_LEN	 37 /* /proc/sys/kernel/random/boot_id with its NUL */

/* Never fails: the path comes last and is cut where the slot ends (it is a hint, the id counts). */
void format_claim(char slot[static LEDGER_SLOT_SIZE], const struct claim *claim,
		  const char *boot_id);
/* How the slot of the claim with this id begins, without allocating; 32 bytes are enough. */
void format_id(char *buf, size_t size, uint64_t id);
void format_empty(char slot[static LEDGER_SLOT_SIZE]);

/* Marks the claim in the slot as undone: it holds nothing, and is there to be told of. Allocates
 * nothing. A slot that has no room for that, which format_claim() leaves, is emptied. */
void format_undone(char slot[static LEDGER_SLOT_SIZE]);

/* True for spaces alone, and for the zeros of a file that was only just allocated. */
bool format_is_empty(const char slot[static LEDGER_SLOT_SIZE]);

/*
 * 0; -ENODATA: the slot is empty; -EBADMSG: damaged (then reason holds the beginning of what was
 * there and id is 0); -ESTALE: a claim of an earlier boot, whose ids mean nothing now.
 */
int parse_claim(const char slot[static LEDGER_SLOT_SIZE], const char *boot_id, struct claim *claim);

const char *claim_action_name(enum claim_action action);

#endif
