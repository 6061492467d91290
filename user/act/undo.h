/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Letting go of a target by its ids alone, as the ledger has them. A target that is gone is fine,
 * and so is one that nobody holds. */
#ifndef CULPRIT_ACT_UNDO_H
#define CULPRIT_ACT_UNDO_H

#include "act/claim.h"
#include "lib/cgroupfs.h"

/* 0 or -errno. */
int undo_claim(const struct cgroupfs *fs, const struct claim *claim);
int undo_process(pid_t pid, uint64_t start_time_ns);

#endif
