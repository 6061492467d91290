// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <bpf/libbpf.h>

#include "lib/cleanup.h"
#include "sense/progs.h"
#include "sense/tree_index.h"
#include "tree.skel.h"

enum tree_rung {
	RUNG_TRACEPOINT,
	RUNG_SCAN,
	N_RUNGS,
};

const char *const tree_sources[] = {
	[RUNG_TRACEPOINT] = "tp_btf/cgroup_mkdir",
	[RUNG_SCAN] = "scan",
	NULL,
};

struct tree {
	struct sense_status status;
	const struct cgroupfs *fs;
	struct tree_index index;
	struct tree_bpf *skel; /* NULL on the scan rung */
	struct ring_buffer *ring;
	uint64_t dropped; /* records lost, as of the last scan */
	int error;	  /* first failure while records are handed out */
	bool heard;	  /* a record has come */
	bool deaf;	  /* a scan found what no record told */
};

/* --- news ------------------------------------------------------------------------------------ */

static int on_record(void *arg, void *data, size_t size)
{
	const struct culprit_tree_record *record = data;
	struct tree *tree = arg;
	int r;

	if (size <= offsetof(struct culprit_tree_record, name))
		return 0;
	tree->heard = true;
	r = tree_index_apply(&tree->index, record);
	if (r < 0 && tree->error == 0)
		tree->error = r;
	return 0;
}

/* Hands out what has arrived. Records handled, or -errno. */
static int drain(struct tree *tree)
{
	int n;

	if (!tree->ring)
		return 0;
	tree->error = 0;
	n = ring_buffer__consume(tree->ring);
	return tree->error ? tree->error : n;
}

int tree_dispatch(struct tree *tree)
{
	int n = drain(tree);
	int r = 0;

	if (n < 0)
		return n;
	if (tree->skel && tree->skel->bss->dropped != tree->dropped)
		r = tree_scan(tree);
	return r < 0 ? r : n;
}

/* --- scanning -------------------------------------------------------------------------------- */

static int open_entry(const struct tree *tree, const struct tree_entry *entry)
{
	int fd = cgroupfs_open_id(tree->fs, entry->node.id);

	/* Handles need CAP_DAC_READ_SEARCH. */
	return fd == -EPERM ? cgroupfs_open_path(tree->fs, entry->node.path) : fd;
}

static int scan_children(struct tree *tree, struct tree_entry *parent)
{
	_cleanup_closedir_ DIR *dir = NULL;
	_cleanup_close_ int fd = open_entry(tree, parent);
	const struct dirent *child;
	struct stat st;
	int r = 0;

	/* Removed meanwhile: then there is nothing below it either. */
	if (fd == -ENOENT || fd == -ESTALE)
		return 0;
	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	take_fd(fd);
	while (r == 0 && (child = readdir(dir))) {
		if (child->d_type != DT_DIR || strcmp(child->d_name, ".") == 0 ||
		    strcmp(child->d_name, "..") == 0)
			continue;
		if (fstatat(dirfd(dir), child->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		/* kernfs counts links as 2 and one per directory below: leaves, which are most,
		 * need not be opened. */
		r = tree_index_scan_found(&tree->index, st.st_ino, parent, child->d_name,
					  st.st_nlink > 2);
	}
	return r;
}

static int walk(struct tree *tree)
{
	uint64_t scan;
	int r = 0;

	tree_index_scan_begin(&tree->index);
	scan = tree->index.scan;
	/* What is found joins the end of the order, and so is come to in its turn. */
	for (struct tree_entry *at = tree->index.root; at && r == 0; at = tree_index_next(at))
		if (at->seen == scan && at->nested)
			r = scan_children(tree, at);
	if (r == 0)
		tree_index_scan_end(&tree->index);
	return r;
}

static void note_deafness(struct tree *tree)
{
	if (!tree->ring || tree->deaf)
		return;
	tree->deaf = true;
	tree->status.blind[0] = "cgroups made by tasks that this kernel hides from BPF, until the "
				"next pulse";
}

int tree_scan(struct tree *tree)
{
	uint64_t dropped = tree->skel ? tree->skel->bss->dropped : 0;
	bool complete = dropped == tree->dropped;
	uint64_t made;
	int r;

	/* Records first: what they tell is in the right order, a scan sees only the outcome. */
	r = drain(tree);
	if (r < 0)
		return r;
	made = tree->index.made;
	r = walk(tree);
	if (r < 0)
		return r;
	tree->dropped = dropped;
	made = tree->index.made - made;
	/* A record precedes its directory: either it comes now, or there is none. */
	r = drain(tree);
	if (r == 0 && made && complete && tree->index.scan > 1)
		note_deafness(tree);
	return r < 0 ? r : 0;
}

int tree_pulse(struct tree *tree)
{
	uint64_t descendants;
	int r = tree_dispatch(tree);

	if (r < 0)
		return r;
	if (!tree->ring || tree->index.torn || (tree->deaf && !tree->heard))
		return tree_scan(tree);
	r = cgroupfs_read_key(tree->fs->mount_fd, "cgroup.stat", "nr_descendants", &descendants);
	if (r < 0)
		return r;
	return descendants + 1 == tree_count(tree) ? 0 : tree_scan(tree);
}

/* --- opening --------------------------------------------------------------------------------- */

static void drop_tracepoints(struct tree *tree)
{
	ring_buffer__free(tree->ring);
	tree->ring = NULL;
	tree_bpf__destroy(tree->skel);
	tree->skel = NULL;
}

static int load(struct tree *tree, int losses_fd)
{
	int r;

	tree->skel = tree_bpf__open();
	if (!tree->skel)
		return -errno;
	if (losses_fd >= 0) {
		r = bpf_map__reuse_fd(tree->skel->maps.losses, losses_fd);
		if (r < 0)
			return r;
	}
	r = tree_bpf__load(tree->skel);
	if (r < 0)
		return r;
	tree->ring = ring_buffer__new(bpf_map__fd(tree->skel->maps.news), on_record, tree, NULL);
	if (!tree->ring)
		return -errno;
	return tree_bpf__attach(tree->skel);
}

static int open_rung(struct tree *tree, const struct sense_options *options)
{
	bool only_scan = options->source && strcmp(options->source, tree_sources[RUNG_SCAN]) == 0;
	int r;

	if (options->source && !only_scan &&
	    strcmp(options->source, tree_sources[RUNG_TRACEPOINT]) != 0)
		return -EINVAL;
	tree->status.source = tree_sources[RUNG_SCAN];
	if (!only_scan) {
		r = load(tree, options->losses_fd);
		if (r == 0) {
			tree->status.source = tree_sources[RUNG_TRACEPOINT];
			return 0;
		}
		drop_tracepoints(tree);
		if (options->source)
			return -ENOTSUP;
		snprintf(tree->status.why, sizeof(tree->status.why), "%s: %s",
			 tree_sources[RUNG_TRACEPOINT], strerror(-r));
	}
	tree->status.blind[0] = "cgroups that come and go between two pulses";
	return 0;
}

/* Cgroups that come and go under it, and a machine without a moment for us, are no reason to know
 * no cgroup for as long as we run. */
static int first_scan(struct tree *tree)
{
	int r = -EAGAIN;

	for (int i = 0; r < 0 && i < 5; i++)
		r = tree_scan(tree);
	return r;
}

int tree_open(struct tree **out, const struct sense_options *options, const struct cgroupfs *fs,
	      tree_fn fn, void *user)
{
	struct tree *tree = calloc(1, sizeof(*tree));
	int r;

	if (!tree)
		return -ENOMEM;
	tree->fs = fs;
	tree->status.name = "tree";
	/* Attach first, scan then: what is made in between comes twice, and nothing is missed. */
	r = open_rung(tree, options);
	if (r == 0)
		r = tree_index_init(&tree->index, fs->root_id, fn, user);
	if (r == 0)
		r = first_scan(tree);
	if (r < 0) {
		tree_close(tree);
		return r;
	}
	*out = tree;
	return 0;
}

void tree_close(struct tree *tree)
{
	if (!tree)
		return;
	drop_tracepoints(tree);
	tree_index_free(&tree->index);
	free(tree);
}

/* --- looking things up ----------------------------------------------------------------------- */

const struct sense_status *tree_status(const struct tree *tree)
{
	return &tree->status;
}

int tree_fd(const struct tree *tree)
{
	return tree->ring ? ring_buffer__epoll_fd(tree->ring) : -1;
}

uint64_t tree_missed(const struct tree *tree)
{
	return tree->skel ? progs_missed(tree->skel->obj) : 0;
}

struct tree_node *tree_find(struct tree *tree, uint64_t id)
{
	struct tree_entry *entry = tree_index_find(&tree->index, id);

	return entry ? &entry->node : NULL;
}

struct tree_node *tree_find_path(struct tree *tree, const char *path)
{
	struct tree_entry *entry = tree_index_find_path(&tree->index, path);

	return entry ? &entry->node : NULL;
}

struct tree_node *tree_root(struct tree *tree)
{
	return &tree->index.root->node;
}

size_t tree_count(const struct tree *tree)
{
	return HASH_CNT(by_id, tree->index.ids);
}

void tree_each(struct tree *tree, void (*fn)(void *user, struct tree_node *node), void *user)
{
	for (struct tree_entry *at = tree->index.root; at; at = tree_index_next(at))
		fn(user, &at->node);
}
