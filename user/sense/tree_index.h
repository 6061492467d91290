/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cgroups that are known, by id and by path: what tree.c keeps. Does no I/O. */
#ifndef CULPRIT_SENSE_TREE_INDEX_H
#define CULPRIT_SENSE_TREE_INDEX_H

#include "culprit/tree.h"
#include "sense/tree.h"

/* An allocation that fails is an error to return, not the end of the agent. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct tree_entry {
	struct tree_node node; /* first: a node is its entry */
	unsigned int children;
	bool nested;	      /* the last scan saw directories below it */
	bool doubted;	      /* known from a record, and one scan did not find it */
	uint64_t seen;	      /* number of the last scan that found it; 0: none yet */
	UT_hash_handle by_id; /* in the order of arrival: parents before children */
	UT_hash_handle by_path;
};

struct tree_index {
	struct tree_entry *ids;
	struct tree_entry *paths;
	struct tree_entry *root;
	tree_fn fn;
	void *user;
	uint64_t scan; /* number of the scan at work, or the last one */
	uint64_t made; /* cgroups added so far */
	bool torn;     /* a record names a cgroup that is not known: the next pulse scans */
};

/* Makes an index of the root alone and tells of it. 0 or -ENOMEM. */
int tree_index_init(struct tree_index *index, uint64_t root_id, tree_fn fn, void *user);
/* Frees all, telling nothing. */
void tree_index_free(struct tree_index *index);

struct tree_entry *tree_index_find(const struct tree_index *index, uint64_t id);
struct tree_entry *tree_index_find_path(const struct tree_index *index, const char *path);

/*
 * Adds the cgroup `name` below parent and tells. Of two cgroups with one path the one with the
 * greater id is the living one (ids only grow): an older one that is there is removed first, and an
 * older one that comes is ignored. *out (may be NULL) is the entry, NULL when ignored. 0 or
 * -ENOMEM.
 */
int tree_index_add(struct tree_index *index, uint64_t id, struct tree_entry *parent,
		   const char *name, struct tree_entry **out);
/* Removes it and all that is below, from the leaves up, and tells. */
void tree_index_remove(struct tree_index *index, struct tree_entry *entry);
/* Gives it another name, its descendants another path, and tells. 0 or -ENOMEM. */
int tree_index_rename(struct tree_index *index, struct tree_entry *entry, const char *name);

/* Applies a record of the kernel; one that repeats what is known changes nothing. 0 or -ENOMEM. */
int tree_index_apply(struct tree_index *index, const struct culprit_tree_record *record);

/* A scan is begun, entries that it finds are marked, and the end removes what it did not find. */
void tree_index_scan_begin(struct tree_index *index);
int tree_index_scan_found(struct tree_index *index, uint64_t id, struct tree_entry *parent,
			  const char *name, bool nested);
void tree_index_scan_end(struct tree_index *index);

/* The next in the order of arrival; begins with the root. NULL at the end. */
static inline struct tree_entry *tree_index_next(const struct tree_entry *entry)
{
	return entry->by_id.next;
}

#endif
