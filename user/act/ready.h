/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Freezers that are opened before they are needed. To find a cgroup by its id and to open its files
 * takes as long as all the rest of a claim; for the targets of a policy it is done when they
 * appear.
 */
#ifndef CULPRIT_ACT_READY_H
#define CULPRIT_ACT_READY_H

#include "act/freezer.h"

#define READY_MAX 64

struct ready_entry {
	uint64_t cgroup; /* 0: a free place */
	char *path;	 /* cgroup v2 knows no rename, so it stays as it is */
	struct freezer freezer;
};

struct ready {
	struct ready_entry entries[READY_MAX];
};

/* Which place it has now, for as long as it stays; -EEXIST: it has one already; -ENOSPC, -ENOMEM,
 * or as freezer_open(). */
int ready_add(struct ready *ready, const struct cgroupfs *fs, uint64_t cgroup);
/* Frees a place. */
void ready_remove(struct ready *ready, unsigned int place);

/* NULL: it was not made ready. One that is gone meanwhile is found out at the first read (-ENODEV).
 */
const struct ready_entry *ready_find(const struct ready *ready, uint64_t cgroup);

static inline unsigned int ready_place(const struct ready *ready, const struct ready_entry *entry)
{
	return (unsigned int)(entry - ready->entries);
}

#endif
