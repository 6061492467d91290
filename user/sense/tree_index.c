// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/tree_index.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"

static struct tree_entry *parent_of(const struct tree_entry *entry)
{
	return (struct tree_entry *)entry->node.parent;
}

static void tell(struct tree_index *index, enum tree_news news, struct tree_entry *entry)
{
	if (index->fn)
		index->fn(index->user, news, &entry->node);
}

static char *path_below(const struct tree_entry *parent, const char *name)
{
	char *path;

	if (!parent)
		return strdup("/");
	if (asprintf(&path, "%s/%s", parent->node.parent ? parent->node.path : "", name) < 0)
		return NULL;
	return path;
}

static int link_path(struct tree_index *index, struct tree_entry *entry)
{
	HASH_ADD_KEYPTR(by_path, index->paths, entry->node.path, strlen(entry->node.path), entry);
	return entry->by_path.tbl ? 0 : -ENOMEM;
}

static int link_entry(struct tree_index *index, struct tree_entry *entry)
{
	HASH_ADD(by_id, index->ids, node.id, sizeof(entry->node.id), entry);
	if (!entry->by_id.tbl)
		return -ENOMEM;
	if (link_path(index, entry) == 0)
		return 0;
	HASH_DELETE(by_id, index->ids, entry);
	return -ENOMEM;
}

static void free_entry(struct tree_entry *entry)
{
	free(entry->node.path);
	free(entry);
}

/* Takes ownership of path, also on failure. */
static int insert(struct tree_index *index, uint64_t id, struct tree_entry *parent, char *path,
		  struct tree_entry **out)
{
	struct tree_entry *entry = calloc(1, sizeof(*entry));

	if (!entry || !path) {
		free(path);
		free(entry);
		return -ENOMEM;
	}
	entry->node.id = id;
	entry->node.path = path;
	entry->node.parent = parent ? &parent->node : NULL;
	if (link_entry(index, entry) < 0) {
		free_entry(entry);
		return -ENOMEM;
	}
	if (parent)
		parent->children++;
	*out = entry;
	index->made++;
	tell(index, TREE_MADE, entry);
	return 0;
}

int tree_index_init(struct tree_index *index, uint64_t root_id, tree_fn fn, void *user)
{
	*index = (struct tree_index){ .fn = fn, .user = user };
	return insert(index, root_id, NULL, path_below(NULL, ""), &index->root);
}

void tree_index_free(struct tree_index *index)
{
	struct tree_entry *entry = index->ids, *next;

	/* Frees the tables, not the entries, which stay linked. */
	HASH_CLEAR(by_path, index->paths);
	HASH_CLEAR(by_id, index->ids);
	for (; entry; entry = next) {
		next = tree_index_next(entry);
		free_entry(entry);
	}
	*index = (struct tree_index){ 0 };
}

struct tree_entry *tree_index_find(const struct tree_index *index, uint64_t id)
{
	struct tree_entry *entry;

	HASH_FIND(by_id, index->ids, &id, sizeof(id), entry);
	return entry;
}

struct tree_entry *tree_index_find_path(const struct tree_index *index, const char *path)
{
	struct tree_entry *entry;

	HASH_FIND(by_path, index->paths, path, strlen(path), entry);
	return entry;
}

int tree_index_add(struct tree_index *index, uint64_t id, struct tree_entry *parent,
		   const char *name, struct tree_entry **out)
{
	struct tree_entry *entry = NULL, *rival;
	char *path = path_below(parent, name);
	int r;

	if (out)
		*out = NULL;
	if (!path)
		return -ENOMEM;
	rival = tree_index_find_path(index, path);
	if (rival && rival->node.id > id) {
		free(path);
		return 0;
	}
	if (rival)
		tree_index_remove(index, rival);
	r = insert(index, id, parent, path, &entry);
	if (out)
		*out = entry;
	return r;
}

static bool is_below(const struct tree_entry *entry, const struct tree_entry *above)
{
	while (entry && entry != above)
		entry = parent_of(entry);
	return entry != NULL;
}

static void remove_leaf(struct tree_index *index, struct tree_entry *entry)
{
	/* Not to be found any more while its end is told. */
	HASH_DELETE(by_id, index->ids, entry);
	HASH_DELETE(by_path, index->paths, entry);
	if (parent_of(entry))
		parent_of(entry)->children--;
	tell(index, TREE_REMOVED, entry);
	free_entry(entry);
}

static struct tree_entry *last_entry(const struct tree_index *index)
{
	return index->ids ? ELMT_FROM_HH(index->ids->by_id.tbl, index->ids->by_id.tbl->tail) : NULL;
}

void tree_index_remove(struct tree_index *index, struct tree_entry *entry)
{
	/* The kernel removes leaves only: something below is what the tree missed. */
	if (entry->children) {
		struct tree_entry *at = last_entry(index);

		while (at != entry) {
			struct tree_entry *before = at->by_id.prev;

			if (is_below(at, entry))
				remove_leaf(index, at);
			at = before;
		}
	}
	remove_leaf(index, entry);
}

/* Gives an entry the path that its parent's and its name make. */
static int move_path(struct tree_index *index, struct tree_entry *entry, const char *name)
{
	char *path = path_below(parent_of(entry), name);

	if (!path)
		return -ENOMEM;
	HASH_DELETE(by_path, index->paths, entry);
	free(entry->node.path);
	entry->node.path = path;
	return link_path(index, entry);
}

int tree_index_rename(struct tree_index *index, struct tree_entry *entry, const char *name)
{
	int r = move_path(index, entry, name);

	for (struct tree_entry *at = tree_index_next(entry); at && r == 0;
	     at = tree_index_next(at)) {
		_cleanup_free_ char *own_name = NULL;

		if (!is_below(at, entry))
			continue;
		own_name = strdup(strrchr(at->node.path, '/') + 1);
		r = own_name ? move_path(index, at, own_name) : -ENOMEM;
	}
	if (r == 0)
		tell(index, TREE_RENAMED, entry);
	return r;
}

int tree_index_apply(struct tree_index *index, const struct culprit_tree_record *record)
{
	struct tree_entry *entry = tree_index_find(index, record->id);
	struct tree_entry *parent = tree_index_find(index, record->parent);

	switch (record->kind) {
	case CULPRIT_TREE_MADE:
		if (entry)
			return 0;
		if (parent)
			return tree_index_add(index, record->id, parent, record->name, NULL);
		break;
	case CULPRIT_TREE_REMOVED:
		if (entry)
			tree_index_remove(index, entry);
		return 0;
	case CULPRIT_TREE_RENAMED:
		if (entry)
			return tree_index_rename(index, entry, record->name);
		break;
	}
	index->torn = true;
	return 0;
}

void tree_index_scan_begin(struct tree_index *index)
{
	index->scan++;
	index->torn = false;
	index->root->seen = index->scan;
	index->root->nested = true;
}

int tree_index_scan_found(struct tree_index *index, uint64_t id, struct tree_entry *parent,
			  const char *name, bool nested)
{
	struct tree_entry *entry = tree_index_find(index, id);
	int r = 0;

	if (!entry)
		r = tree_index_add(index, id, parent, name, &entry);
	else if (strcmp(strrchr(entry->node.path, '/') + 1, name) != 0)
		r = tree_index_rename(index, entry, name);
	if (r == 0 && entry) {
		entry->seen = index->scan;
		entry->nested = nested;
		entry->doubted = false;
	}
	return r;
}

void tree_index_scan_end(struct tree_index *index)
{
	struct tree_entry *entry = last_entry(index), *before;

	for (; entry; entry = before) {
		before = entry->by_id.prev;
		if (entry->seen == index->scan)
			continue;
		/* A directory becomes visible a little after its record (cgroup_mkdir activates it
		 * last): one that no scan has seen yet gets a second chance. */
		if (entry->seen == 0 && !entry->doubted)
			entry->doubted = true;
		else
			tree_index_remove(index, entry);
	}
}
