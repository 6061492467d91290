// SPDX-License-Identifier: GPL-2.0-or-later
/* The tree knows every cgroup of the machine, with real cgroups of our own below the test root. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <bpf/bpf.h>

#include "lib/cleanup.h"
#include "live.h"
#include "sense/tree.h"

#define TRACEPOINT "tp_btf/cgroup_mkdir"
#define SCAN	   "scan"
#define MAX_NEWS   64

/* The news of what is below the test root; other cgroups of this machine are not our matter. */
struct diary {
	struct tree *tree;
	unsigned int count;
	unsigned int made, removed;
	struct {
		enum tree_news news;
		uint64_t id;
		char path[256];
	} entries[MAX_NEWS];
};

static void write_down(void *user, enum tree_news news, struct tree_node *node)
{
	struct diary *diary = user;

	if (!cgroup_path_within(node->path, live_root()))
		return;
	diary->made += news == TREE_MADE;
	diary->removed += news == TREE_REMOVED;
	if (diary->count == MAX_NEWS)
		return;
	diary->entries[diary->count].news = news;
	diary->entries[diary->count].id = node->id;
	snprintf(diary->entries[diary->count++].path, sizeof(diary->entries[0].path), "%s",
		 node->path);
}

static void open_tree(struct diary *diary, const char *source, int losses_fd)
{
	struct sense_options options = {
		.source = source,
		.losses_fd = losses_fd,
		.cgroup_mount = live_fs()->mount,
	};
	int r;

	memset(diary, 0, sizeof(*diary));
	r = tree_open(&diary->tree, &options, live_fs(), write_down, diary);
	if (r < 0)
		fail_msg("tree_open %s: %s", source, strerror(-r));
	assert_string_equal(tree_status(diary->tree)->source, source);
}

static void forget(struct diary *diary)
{
	diary->count = diary->made = diary->removed = 0;
}

static void assert_news(const struct diary *diary, unsigned int index, enum tree_news news,
			uint64_t id, const char *name)
{
	assert_true(index < diary->count);
	assert_int_equal(diary->entries[index].news, news);
	assert_int_equal(diary->entries[index].id, id);
	assert_string_equal(diary->entries[index].path, live_path(name));
}

static void await_news(struct diary *diary, unsigned int count)
{
	struct pollfd pollfd = { .fd = tree_fd(diary->tree), .events = POLLIN };

	while (diary->count < count) {
		assert_int_equal(poll(&pollfd, 1, 5000), 1);
		assert_true(tree_dispatch(diary->tree) >= 0);
	}
	assert_int_equal(diary->count, count);
}

static void test_opening_tells_what_is_there_parents_first(void **state)
{
	static const char *const sources[] = { TRACEPOINT, SCAN };
	uint64_t outer = live_cgroup("outer"), inner = live_cgroup("outer/inner");
	struct diary diary;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		open_tree(&diary, sources[i], -1);
		/* The first is the test root. */
		assert_int_equal(diary.count, 3);
		assert_news(&diary, 1, TREE_MADE, outer, "outer");
		assert_news(&diary, 2, TREE_MADE, inner, "outer/inner");
		assert_int_equal(tree_root(diary.tree)->id, live_fs()->root_id);
		assert_string_equal(tree_root(diary.tree)->path, "/");
		assert_ptr_equal(tree_find(diary.tree, inner)->parent,
				 tree_find_path(diary.tree, live_path("outer")));
		tree_close(diary.tree);
	}
	live_rmdir("outer/inner");
	live_rmdir("outer");
}

static void test_made_and_removed_are_told(void **state)
{
	struct diary diary;
	uint64_t id;

	(void)state;
	open_tree(&diary, TRACEPOINT, -1);
	forget(&diary);
	id = live_cgroup("new");
	await_news(&diary, 1);
	assert_news(&diary, 0, TREE_MADE, id, "new");
	assert_int_equal(tree_find_path(diary.tree, live_path("new"))->id, id);
	live_rmdir("new");
	await_news(&diary, 2);
	assert_news(&diary, 1, TREE_REMOVED, id, "new");
	assert_null(tree_find(diary.tree, id));
	assert_null(tree_find_path(diary.tree, live_path("new")));
	tree_close(diary.tree);
}

static void test_a_short_life_and_its_successor_are_told_in_order(void **state)
{
	struct diary diary;
	uint64_t first, second;

	(void)state;
	open_tree(&diary, TRACEPOINT, -1);
	forget(&diary);
	first = live_cgroup("again");
	live_rmdir("again");
	second = live_cgroup("again");
	await_news(&diary, 3);
	assert_int_not_equal(first, second);
	assert_news(&diary, 0, TREE_MADE, first, "again");
	assert_news(&diary, 1, TREE_REMOVED, first, "again");
	assert_news(&diary, 2, TREE_MADE, second, "again");
	assert_int_equal(tree_find_path(diary.tree, live_path("again"))->id, second);
	tree_close(diary.tree);
	live_rmdir("again");
}

static void test_a_scan_tells_a_successor_after_the_end_of_the_first(void **state)
{
	struct diary diary;
	uint64_t first = live_cgroup("again"), second;

	(void)state;
	open_tree(&diary, SCAN, -1);
	assert_int_equal(tree_fd(diary.tree), -1);
	forget(&diary);
	live_rmdir("again");
	second = live_cgroup("again");
	assert_int_equal(tree_pulse(diary.tree), 0);
	assert_int_equal(diary.count, 2);
	assert_news(&diary, 0, TREE_REMOVED, first, "again");
	assert_news(&diary, 1, TREE_MADE, second, "again");
	live_rmdir("again");
	assert_int_equal(tree_pulse(diary.tree), 0);
	assert_news(&diary, 2, TREE_REMOVED, second, "again");
	tree_close(diary.tree);
}

static void test_scanning_beside_the_tracepoints_repeats_nothing(void **state)
{
	struct diary diary;

	(void)state;
	open_tree(&diary, TRACEPOINT, -1);
	forget(&diary);
	for (int i = 0; i < 20; i++) {
		live_cgroup("busy");
		assert_int_equal(tree_scan(diary.tree), 0);
		live_rmdir("busy");
		assert_int_equal(tree_scan(diary.tree), 0);
	}
	assert_true(tree_dispatch(diary.tree) >= 0);
	assert_int_equal(diary.made, 20);
	assert_int_equal(diary.removed, 20);
	tree_close(diary.tree);
}

/* --- other hierarchies ----------------------------------------------------------------------- */

/* A v1 hierarchy of this machine; false on one that has v2 alone, where nothing can be mixed up. */
static bool find_v1(char *mount, size_t size)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	const struct mntent *entry;
	bool found = false;

	assert_non_null(f);
	while (!found && (entry = getmntent(f)))
		if (strcmp(entry->mnt_type, "cgroup") == 0)
			found = snprintf(mount, size, "%s", entry->mnt_dir) > 0;
	endmntent(f);
	return found;
}

static void test_v1_hierarchies_are_not_part_of_the_tree(void **state)
{
	char mount[PATH_MAX] = "", name[64], path[PATH_MAX + 64];
	bool has_v1 = find_v1(mount, sizeof(mount));
	struct diary diary;

	(void)state;
	snprintf(name, sizeof(name), "/culprit-test-v1-%d", (int)getpid());
	snprintf(path, sizeof(path), "%s%s", mount, name);
	open_tree(&diary, TRACEPOINT, -1);
	forget(&diary);
	if (has_v1)
		assert_int_equal(mkdir(path, 0755), 0);
	/* News come in order: once this is there, the other has passed by. */
	live_cgroup("after");
	await_news(&diary, 1);
	if (has_v1)
		assert_int_equal(rmdir(path), 0);
	assert_null(tree_find_path(diary.tree, name));
	tree_close(diary.tree);
	live_rmdir("after");
}

/* --- limits ---------------------------------------------------------------------------------- */

#define BURST 5000

static void test_a_burst_that_overflows_is_counted_and_repaired(void **state)
{
	struct culprit_losses losses;
	struct diary diary;
	char name[32];
	uint32_t zero = 0;
	int fd;

	(void)state;
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "losses", sizeof(zero), sizeof(losses), 1, NULL);
	assert_true(fd >= 0);
	open_tree(&diary, TRACEPOINT, fd);
	forget(&diary);
	live_cgroup("burst");
	for (int i = 0; i < BURST; i++) {
		snprintf(name, sizeof(name), "burst/%d", i);
		live_cgroup(name);
	}
	assert_true(tree_dispatch(diary.tree) > 0);
	assert_int_equal(diary.made, BURST + 1);
	assert_int_equal(diary.removed, 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &losses), 0);
	assert_true(losses.tree_record_dropped > 0);
	for (int i = 0; i < BURST; i++) {
		snprintf(name, sizeof(name), "burst/%d", i);
		live_rmdir(name);
	}
	live_rmdir("burst");
	assert_true(tree_dispatch(diary.tree) > 0);
	assert_int_equal(diary.removed, BURST + 1);
	tree_close(diary.tree);
	close(fd);
}

#define DEEP	  40
#define LONGEST	  255
#define DEEP_PATH (DEEP * (LONGEST + 1) + 64)

/* Two chains of the longest names whose last letters alone differ: 10 KB of path each. */
static void make_deep(int dir, char last, int levels)
{
	char name[LONGEST + 1];
	int fd;

	if (levels == 0)
		return;
	memset(name, 'x', LONGEST);
	name[LONGEST] = '\0';
	name[LONGEST - 1] = levels == 1 ? last : 'x';
	if (mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
		fail_msg("mkdirat: %s", strerror(errno));
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	make_deep(fd, last, levels - 1);
	close(fd);
}

static void remove_deep(int dir, char last, int levels)
{
	char name[LONGEST + 1];
	int fd;

	if (levels == 0)
		return;
	memset(name, 'x', LONGEST);
	name[LONGEST] = '\0';
	name[LONGEST - 1] = levels == 1 ? last : 'x';
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	remove_deep(fd, last, levels - 1);
	close(fd);
	/* Fails for the chain that is removed first: the other one shares its upper levels. */
	(void)unlinkat(dir, name, AT_REMOVEDIR);
}

static void deep_path(char *path, char last)
{
	size_t n = (size_t)sprintf(path, "%s", live_path("deep"));

	for (int i = 0; i < DEEP; i++) {
		path[n++] = '/';
		memset(path + n, 'x', LONGEST);
		n += LONGEST;
	}
	path[n - 1] = last;
	path[n] = '\0';
}

static int remove_both_deep(void **state)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path("deep"));

	(void)state;
	if (dir < 0)
		return 0;
	remove_deep(dir, 'a', DEEP);
	remove_deep(dir, 'b', DEEP);
	live_rmdir("deep");
	return 0;
}

static void test_paths_beyond_path_max_are_kept_apart(void **state)
{
	static const char *const sources[] = { TRACEPOINT, SCAN };
	static char path[DEEP_PATH];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		struct tree_node *a, *b;
		struct diary diary;
		int dir;

		open_tree(&diary, sources[i], -1);
		forget(&diary);
		live_cgroup("deep");
		dir = cgroupfs_open_path(live_fs(), live_path("deep"));
		assert_true(dir >= 0);
		make_deep(dir, 'a', DEEP);
		make_deep(dir, 'b', DEEP);
		close(dir);
		assert_int_equal(tree_pulse(diary.tree), 0);
		assert_int_equal(diary.made, 1 + DEEP + 1);
		deep_path(path, 'a');
		a = tree_find_path(diary.tree, path);
		assert_non_null(a);
		assert_string_equal(a->path, path);
		deep_path(path, 'b');
		b = tree_find_path(diary.tree, path);
		assert_non_null(b);
		assert_int_not_equal(a->id, b->id);
		assert_ptr_equal(a->parent, b->parent);
		tree_close(diary.tree);
		remove_both_deep(state);
	}
}

/* The tree relies on it: the kernel gives v2 cgroups no other name. */
static void test_the_kernel_renames_no_v2_cgroup(void **state)
{
	char from[PATH_MAX + 64], to[PATH_MAX + 64];

	(void)state;
	live_cgroup("name");
	snprintf(from, sizeof(from), "%s%s", live_fs()->mount, live_path("name"));
	snprintf(to, sizeof(to), "%s%s", live_fs()->mount, live_path("other"));
	assert_int_equal(rename(from, to), -1);
	assert_int_equal(errno, EPERM);
	live_rmdir("name");
}

static void test_an_unknown_rung_is_refused(void **state)
{
	struct sense_options options = { .source = "rumour", .losses_fd = -1 };
	struct tree *tree = NULL;

	(void)state;
	assert_int_equal(tree_open(&tree, &options, live_fs(), write_down, NULL), -EINVAL);
	assert_null(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opening_tells_what_is_there_parents_first),
		cmocka_unit_test(test_made_and_removed_are_told),
		cmocka_unit_test(test_a_short_life_and_its_successor_are_told_in_order),
		cmocka_unit_test(test_a_scan_tells_a_successor_after_the_end_of_the_first),
		cmocka_unit_test(test_scanning_beside_the_tracepoints_repeats_nothing),
		cmocka_unit_test(test_v1_hierarchies_are_not_part_of_the_tree),
		cmocka_unit_test(test_a_burst_that_overflows_is_counted_and_repaired),
		cmocka_unit_test_teardown(test_paths_beyond_path_max_are_kept_apart,
					  remove_both_deep),
		cmocka_unit_test(test_the_kernel_renames_no_v2_cgroup),
		cmocka_unit_test(test_an_unknown_rung_is_refused),
	};

	return cmocka_run_group_tests(tests, live_setup, live_teardown);
}
