/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree of cgroups: which there are, and news of made, removed and renamed ones. Its source is
 * the cgroup tracepoints, or a scan once a pulse where they do not load.
 */
#ifndef CULPRIT_SENSE_TREE_H
#define CULPRIT_SENSE_TREE_H

#include <stdbool.h>
#include "lib/cgroupfs.h"
#include "sense/sense.h"

struct tree;

enum tree_news {
	TREE_MADE,
	TREE_REMOVED,
	TREE_RENAMED
};

struct tree_node {
	uint64_t id;
	struct tree_node *parent; /* NULL for the root */
	char *path;		  /* begins with "/" */
	void *user;		  /* the agent's, freed by it on TREE_REMOVED */
};

/* Called for each cgroup that exists when the tree is opened, parents first, and for news later.
 * On TREE_REMOVED the node is freed after the call. */
typedef void (*tree_fn)(void *user, enum tree_news news, struct tree_node *node);

int tree_open(struct tree **out, const struct sense_options *options, const struct cgroupfs *fs,
	      tree_fn fn, void *user);
void tree_close(struct tree *tree);
const struct sense_status *tree_status(const struct tree *tree);
int tree_fd(const struct tree *tree);
int tree_dispatch(struct tree *tree);
/* Compares with the file system and repairs (lost records; the only source on the scan rung). */
int tree_scan(struct tree *tree);

struct tree_node *tree_find(struct tree *tree, uint64_t id);
struct tree_node *tree_find_path(struct tree *tree, const char *path);
struct tree_node *tree_root(struct tree *tree);
/* Parents before children. */
void tree_each(struct tree *tree, void (*fn)(void *user, struct tree_node *node), void *user);

extern const char *const tree_sources[];

#endif
