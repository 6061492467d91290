// SPDX-License-Identifier: GPL-2.0-or-later
/* Text from elsewhere becomes one clean line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/utf8.h"

static void sequences_have_their_length(void **state)
{
	(void)state;
	assert_int_equal(utf8_length("a", 1), 1);
	assert_int_equal(utf8_length("\xc3\xa4", 2), 2);
	assert_int_equal(utf8_length("\xe2\x82\xac", 3), 3);
	assert_int_equal(utf8_length("\xf0\x9f\x98\x80", 4), 4);
	assert_int_equal(utf8_length("", 0), 0);
}

static void what_is_no_sequence_has_none(void **state)
{
	static const char *const bad[] = { "\x80",
					   "\xc0\xaf",
					   "\xc1\xbf",
					   "\xe0\x9f\xbf",
					   "\xed\xa0\x80",
					   "\xf0\x8f\xbf\xbf",
					   "\xf4\x90\x80\x80",
					   "\xf5\x80\x80\x80",
					   "\xff",
					   "\xc3",
					   "\xe2\x82",
					   "\xe2\x28\xa1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(utf8_length(bad[i], strlen(bad[i])), 0);
}

static void cleaning_replaces_what_would_break_a_line(void **state)
{
	char text[] = "a\nb\x1b[1m\xff\xc3\xa4\x7f\xe2\x82";

	(void)state;
	utf8_clean(text);
	assert_string_equal(text, "a?b?[1m?\xc3\xa4???");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sequences_have_their_length),
		cmocka_unit_test(what_is_no_sequence_has_none),
		cmocka_unit_test(cleaning_replaces_what_would_break_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
