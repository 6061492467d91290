// SPDX-License-Identifier: GPL-2.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"

static void assert_printable(const char *text, const char *expected)
{
	char buf[256];

	assert_string_equal(text_printable(buf, sizeof(buf), text), expected);
}

static void ordinary_text_is_left_alone(void **state)
{
	(void)state;
	assert_printable("", "");
	assert_printable("/system.slice/dbus\\x2dbroker.service",
			 "/system.slice/dbus\\x2dbroker.service");
	assert_printable("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xa7",
			 "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xa7");
}

static void control_characters_are_escaped(void **state)
{
	(void)state;
	assert_printable("a\nb\tc\x1b[31m\x7f", "a\\x0ab\\x09c\\x1b[31m\\x7f");
	/* U+009B is an escape sequence's beginning of its own. */
	assert_printable("\xc2\x9b"
			 "31m",
			 "\\xc2\\x9b31m");
}

static void marks_that_turn_the_writing_are_escaped(void **state)
{
	(void)state;
	assert_printable("a\xe2\x80\xae"
			 "b",
			 "a\\xe2\\x80\\xaeb");
	assert_printable("a\xe2\x80\xa8"
			 "b",
			 "a\\xe2\\x80\\xa8b");
}

static void bytes_that_are_not_utf8_are_escaped(void **state)
{
	(void)state;
	assert_printable("\xff", "\\xff");
	assert_printable("\xc0\xaf", "\\xc0\\xaf");	     /* overlong */
	assert_printable("\xed\xa0\x80", "\\xed\\xa0\\x80"); /* a surrogate */
	assert_printable("\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80");
	assert_printable("\xe2\x82", "\\xe2\\x82"); /* cut short */
}

static void what_does_not_fit_is_cut_at_a_whole_character(void **state)
{
	char buf[4];

	(void)state;
	assert_string_equal(text_printable(buf, sizeof(buf), "abcdef"), "abc");
	assert_string_equal(text_printable(buf, sizeof(buf), "ab\xe2\x82\xac"), "ab");
	assert_string_equal(text_printable(buf, sizeof(buf), "a\n"), "a");
	assert_string_equal(text_printable(buf, 1, "a"), "");
}

static void utf8_keeps_control_characters(void **state)
{
	char buf[64];

	(void)state;
	assert_string_equal(text_utf8(buf, sizeof(buf), "a\n\xff"), "a\n\\xff");
}

static void width_counts_characters(void **state)
{
	(void)state;
	assert_int_equal(text_width("gr\xc3\xbc\xc3\x9f"), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ordinary_text_is_left_alone),
		cmocka_unit_test(control_characters_are_escaped),
		cmocka_unit_test(marks_that_turn_the_writing_are_escaped),
		cmocka_unit_test(bytes_that_are_not_utf8_are_escaped),
		cmocka_unit_test(what_does_not_fit_is_cut_at_a_whole_character),
		cmocka_unit_test(utf8_keeps_control_characters),
		cmocka_unit_test(width_counts_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
