// SPDX-License-Identifier: GPL-2.0-or-later
/* What the tree makes of records and scans, in every order in which they can come. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "sense/tree_index.h"

#define ROOT 1

/* The news as text: "+3/a -3/a ", so that order shows. */
struct diary {
	struct tree_index index;
	char text[512];
};

static void write_down(void *user, enum tree_news news, struct tree_node *node)
{
	struct diary *diary = user;
	size_t used = strlen(diary->text);

	snprintf(diary->text + used, sizeof(diary->text) - used, "%c%d%s ", "+-~"[news],
		 (int)node -> id, node -> path);
}

static int setup(void **state)
{
	static struct diary diary;

	memset(&diary, 0, sizeof(diary));
	*state = &diary;
	if (tree_index_init(&diary.index, ROOT, write_down, &diary) < 0)
		return -1;
	diary.text[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	struct diary *diary = *state;

	tree_index_free(&diary->index);
	return 0;
}

static void apply(struct diary *diary, enum culprit_tree_kind kind, uint64_t id, uint64_t parent,
		  const char *name)
{
	struct culprit_tree_record record = { .kind = kind, .id = id, .parent = parent };

	snprintf(record.name, sizeof(record.name), "%s", name);
	assert_int_equal(tree_index_apply(&diary->index, &record), 0);
}

static void made(struct diary *diary, uint64_t id, uint64_t parent, const char *name)
{
	apply(diary, CULPRIT_TREE_MADE, id, parent, name);
}

static void removed(struct diary *diary, uint64_t id, uint64_t parent, const char *name)
{
	apply(diary, CULPRIT_TREE_REMOVED, id, parent, name);
}

static void found(struct diary *diary, uint64_t id, uint64_t parent, const char *name)
{
	assert_int_equal(tree_index_scan_found(&diary->index, id,
					       tree_index_find(&diary->index, parent), name, true),
			 0);
}

static void test_records_build_paths(void **state)
{
	struct diary *diary = *state;

	made(diary, 2, ROOT, "a");
	made(diary, 3, 2, "b");
	assert_string_equal(diary->text, "+2/a +3/a/b ");
	assert_int_equal(tree_index_find_path(&diary->index, "/a/b")->node.id, 3);
	assert_ptr_equal(tree_index_find(&diary->index, 3)->node.parent,
			 &tree_index_find(&diary->index, 2)->node);
	assert_null(tree_index_find_path(&diary->index, "/b"));
}

static void test_known_news_is_no_news(void **state)
{
	struct diary *diary = *state;

	made(diary, 2, ROOT, "a");
	made(diary, 2, ROOT, "a");
	removed(diary, 2, ROOT, "a");
	removed(diary, 2, ROOT, "a");
	assert_string_equal(diary->text, "+2/a -2/a ");
	assert_false(diary->index.torn);
}

static void test_the_same_path_again_is_another_cgroup(void **state)
{
	struct diary *diary = *state;

	made(diary, 2, ROOT, "a");
	removed(diary, 2, ROOT, "a");
	made(diary, 3, ROOT, "a");
	assert_string_equal(diary->text, "+2/a -2/a +3/a ");
	assert_int_equal(tree_index_find_path(&diary->index, "/a")->node.id, 3);
	assert_null(tree_index_find(&diary->index, 2));
}

static void test_a_lost_removal_shows_when_the_path_is_taken(void **state)
{
	struct diary *diary = *state;

	made(diary, 2, ROOT, "a");
	made(diary, 3, 2, "b");
	made(diary, 4, ROOT, "a");
	assert_string_equal(diary->text, "+2/a +3/a/b -3/a/b -2/a +4/a ");
}

static void test_a_late_record_does_not_replace_the_living(void **state)
{
	struct diary *diary = *state;

	/* A scan found 3 while the records of 2's short life and of 3 were on their way. */
	tree_index_scan_begin(&diary->index);
	found(diary, 3, ROOT, "a");
	tree_index_scan_end(&diary->index);
	made(diary, 2, ROOT, "a");
	removed(diary, 2, ROOT, "a");
	made(diary, 3, ROOT, "a");
	assert_string_equal(diary->text, "+3/a ");
}

static void test_a_record_below_an_unknown_cgroup_asks_for_a_scan(void **state)
{
	struct diary *diary = *state;

	made(diary, 3, 2, "b");
	assert_string_equal(diary->text, "");
	assert_true(diary->index.torn);
	tree_index_scan_begin(&diary->index);
	found(diary, 2, ROOT, "a");
	found(diary, 3, 2, "b");
	tree_index_scan_end(&diary->index);
	assert_string_equal(diary->text, "+2/a +3/a/b ");
	assert_false(diary->index.torn);
}

static void test_a_rename_moves_all_below(void **state)
{
	struct diary *diary = *state;

	made(diary, 2, ROOT, "a");
	made(diary, 3, 2, "b");
	made(diary, 4, ROOT, "ab");
	apply(diary, CULPRIT_TREE_RENAMED, 2, ROOT, "z");
	assert_string_equal(diary->text, "+2/a +3/a/b +4/ab ~2/z ");
	assert_int_equal(tree_index_find_path(&diary->index, "/z/b")->node.id, 3);
	assert_null(tree_index_find_path(&diary->index, "/a/b"));
	assert_int_equal(tree_index_find_path(&diary->index, "/ab")->node.id, 4);
}

static void test_a_scan_removes_what_is_gone_from_the_leaves_up(void **state)
{
	struct diary *diary = *state;

	tree_index_scan_begin(&diary->index);
	found(diary, 2, ROOT, "a");
	found(diary, 3, 2, "b");
	found(diary, 4, ROOT, "c");
	tree_index_scan_end(&diary->index);
	tree_index_scan_begin(&diary->index);
	found(diary, 4, ROOT, "c");
	tree_index_scan_end(&diary->index);
	assert_string_equal(diary->text, "+2/a +3/a/b +4/c -3/a/b -2/a ");
}

static void test_a_scan_doubts_before_it_removes_what_only_a_record_told(void **state)
{
	struct diary *diary = *state;

	made(diary, 2, ROOT, "a");
	tree_index_scan_begin(&diary->index);
	tree_index_scan_end(&diary->index);
	assert_string_equal(diary->text, "+2/a ");
	tree_index_scan_begin(&diary->index);
	tree_index_scan_end(&diary->index);
	assert_string_equal(diary->text, "+2/a -2/a ");
}

static void test_order_is_parents_before_children(void **state)
{
	struct diary *diary = *state;
	uint64_t ids[4];
	int n = 0;

	made(diary, 9, ROOT, "late");
	made(diary, 5, 9, "x");
	made(diary, 7, 5, "y");
	for (struct tree_entry *at = diary->index.root; at; at = tree_index_next(at))
		ids[n++] = at->node.id;
	assert_int_equal(n, 4);
	assert_memory_equal(ids, ((uint64_t[]){ ROOT, 9, 5, 7 }), sizeof(ids));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(records_build_paths),
		TEST(known_news_is_no_news),
		TEST(the_same_path_again_is_another_cgroup),
		TEST(a_lost_removal_shows_when_the_path_is_taken),
		TEST(a_late_record_does_not_replace_the_living),
		TEST(a_record_below_an_unknown_cgroup_asks_for_a_scan),
		TEST(a_rename_moves_all_below),
		TEST(a_scan_removes_what_is_gone_from_the_leaves_up),
		TEST(a_scan_doubts_before_it_removes_what_only_a_record_told),
		TEST(order_is_parents_before_children),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
