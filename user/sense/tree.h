/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree of cgroups: which there are, and news of made, removed and renamed ones. Its source is
 * the cgroup tracepoints, or a scan once a pulse where they do not load.
 *
 * Whatever the source, tree_pulse() compares with the kernel's own count, so that a cgroup whose
 * news was lost is known a pulse later at the latest. That is also why the tracepoints need no
 * cgroup of our own to prove themselves at start: on someone's machine it would be seen by whoever
 * watches that tree.
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
	TREE_RENAMED /* told for the cgroup itself; the paths below it changed, too */
};

struct tree_node {
	uint64_t id;
	struct tree_node *parent; /* NULL for the root */
	char *path;		  /* begins with "/" */
	void *user;		  /* the agent's, freed by it on TREE_REMOVED */
};

/*
 * Called for each cgroup that exists when the tree is opened (the root, too), parents first, and
 * for news later. A cgroup that is made and removed at once is told twice, in that order. On
 * TREE_REMOVED nothing is below the node any more, and it is freed after the call. May look things
 * up in the tree, but not dispatch, scan or close it.
 */
typedef void (*tree_fn)(void *user, enum tree_news news, struct tree_node *node);

/* *out is freed by tree_close(), without any news. fs outlives the tree. -ENOTSUP: not the forced
 * rung; -EINVAL: no such rung; -errno of the first scan. */
int tree_open(struct tree **out, const struct sense_options *options, const struct cgroupfs *fs,
	      tree_fn fn, void *user);
void tree_close(struct tree *tree);
const struct sense_status *tree_status(const struct tree *tree);

/* Polls readable when tree_dispatch() has news; -1 on the scan rung. */
int tree_fd(const struct tree *tree);
/* Events at which a program was not run because it was running already (recursion). */
uint64_t tree_missed(const struct tree *tree);
/* Tells the news that has arrived; scans when some was lost. Records handled, or -errno. */
int tree_dispatch(struct tree *tree);

/*
 * Once a pulse: scans if the number of cgroups is not what the kernel says (one small read), and
 * always on the scan rung. 0 or -errno.
 */
int tree_pulse(struct tree *tree);
/* Compares all with the file system and repairs. Some 2 µs per cgroup. 0 or -errno. */
int tree_scan(struct tree *tree);

/* The living cgroup with this id or path; NULL when none is known. */
struct tree_node *tree_find(struct tree *tree, uint64_t id);
struct tree_node *tree_find_path(struct tree *tree, const char *path);
struct tree_node *tree_root(struct tree *tree);
size_t tree_count(const struct tree *tree);
/* Parents before children. fn must not change the tree. */
void tree_each(struct tree *tree, void (*fn)(void *user, struct tree_node *node), void *user);

extern const char *const tree_sources[];

#endif
