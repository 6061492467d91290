/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One piece of news about a cgroup of the v2 hierarchy. */
#ifndef CULPRIT_TREE_H
#define CULPRIT_TREE_H

#include "culprit/record.h"

enum culprit_tree_kind {
	CULPRIT_TREE_MADE = 1,
	CULPRIT_TREE_REMOVED = 2,
	CULPRIT_TREE_RENAMED = 3,
};

/* NAME_MAX and the final NUL: kernfs allows no longer name. */
#define CULPRIT_TREE_NAME 256

/* Sent only as long as its name needs, final NUL included. */
struct culprit_tree_record {
	__u64 id;
	__u64 parent;		      /* id of the cgroup above */
	__u32 kind;		      /* enum culprit_tree_kind */
	__u32 reserved;		      /* zero */
	char name[CULPRIT_TREE_NAME]; /* of its directory */
};

CULPRIT_ASSERT_SIZE(struct culprit_tree_record, 280);

#endif
