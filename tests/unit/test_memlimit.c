// SPDX-License-Identifier: GPL-2.0-or-later
/* The texts from which the limits of memory are read. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "sense/memlimit.h"

static void a_key_is_found_on_its_line(void **state)
{
	static const char text[] = "anon 1\nfile_mapped 2\nfile 3\nshmem 18446744073709551615\n"
				   "MemAvailable:   4 kB\nlast 5";
	uint64_t value = 0;

	(void)state;
	assert_true(memlimit_key(text, "anon", &value));
	assert_int_equal(value, 1);
	assert_true(memlimit_key(text, "file", &value));
	assert_int_equal(value, 3);
	assert_true(memlimit_key(text, "shmem", &value));
	assert_true(value == UINT64_MAX);
	assert_true(memlimit_key(text, "MemAvailable", &value));
	assert_int_equal(value, 4);
	assert_true(memlimit_key(text, "last", &value));
	assert_int_equal(value, 5);
}

static void what_is_no_whole_key_is_none(void **state)
{
	static const char *const texts[] = {
		"",	     "\n",	   "\n\n",    "file",	  "file\n",
		"filed 1\n", "a file 1\n", "fil 1\n", "1 file\n",
	};
	uint64_t value = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_false(memlimit_key(texts[i], "file", &value));
	assert_int_equal(value, 7);
	assert_true(memlimit_key("\n\nfile 8", "file", &value));
	assert_int_equal(value, 8);
}

static const char *v1_path(const char *text)
{
	static char copy[512];

	strncpy(copy, text, sizeof(copy) - 1);
	return memlimit_v1_path(copy);
}

static void the_line_of_memory_has_the_path(void **state)
{
	(void)state;
	assert_string_equal(v1_path("12:cpu:/c\n4:memory:/a/b\n0::/u\n"), "/a/b");
	assert_string_equal(v1_path("4:cpu,memory:/a"), "/a");
	assert_string_equal(v1_path("4:memory,cpu:/a\n"), "/a");
	assert_string_equal(v1_path("4:cpu,memory,io:/\n"), "/");
	/* Colons, commas and blanks are the path's own. */
	assert_string_equal(v1_path("4:memory:/a:b,memory c\n"), "/a:b,memory c");
}

static void what_only_looks_like_memory_is_none(void **state)
{
	static const char *const texts[] = {
		"",
		"0::/memory\n",
		"4:memory\n",
		"memory\n",
		"4\n",
		"4:memoryx:/a\n",
		"4:xmemory:/a\n",
		"4:mem:/a\n",
		"4:name=memory:/a\n",
		"4:cpu:/a:memory:/b\n",
		"4:cpu:/a,memory:/b\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (v1_path(texts[i]))
			fail_msg("'%s' has the path '%s'", texts[i], v1_path(texts[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_is_found_on_its_line),
		cmocka_unit_test(what_is_no_whole_key_is_none),
		cmocka_unit_test(the_line_of_memory_has_the_path),
		cmocka_unit_test(what_only_looks_like_memory_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
