// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "cli/format.h"
#include "cli/parse.h"

static void assert_duration(const char *text, json_int_t expected)
{
	json_int_t ms = -1;

	assert_int_equal(parse_duration(text, &ms), expected < 0 ? -EINVAL : 0);
	assert_int_equal(ms, expected);
}

static void durations_have_a_unit(void **state)
{
	(void)state;
	assert_duration("250ms", 250);
	assert_duration("15s", 15000);
	assert_duration("10m", 600000);
	assert_duration("2h", 7200000);
	assert_duration("1d", 86400000);
	assert_duration("0s", 0);
	assert_duration("10", -1);
	assert_duration("", -1);
	assert_duration("s", -1);
	assert_duration("-1s", -1);
	assert_duration("+1s", -1);
	assert_duration(" 1s", -1);
	assert_duration("1 s", -1);
	assert_duration("1w", -1);
	assert_duration("1.5s", -1);
	assert_duration("99999999999999999999s", -1);
	assert_duration("18446744073709551615d", -1);
}

static void assert_time(const char *text, json_int_t expected)
{
	json_int_t ms = -1;

	assert_int_equal(parse_time(text, &ms), expected < 0 ? -EINVAL : 0);
	assert_int_equal(ms, expected);
}

static void times_are_rfc_3339(void **state)
{
	(void)state;
	assert_time("1970-01-01T00:00:00Z", 0);
	assert_time("2023-11-14T22:13:20Z", 1700000000000);
	assert_time("2023-11-14 22:13:20.5Z", 1700000000500);
	assert_time("2023-11-14t23:13:20.1239+01:00", 1700000000123);
	assert_time("2023-11-14T16:43:20-05:30", 1700000000000);
	assert_time("2024-02-29T00:00:00Z", 1709164800000);
	assert_time("2023-02-29T00:00:00Z", -1);
	assert_time("2023-13-01T00:00:00Z", -1);
	assert_time("2023-11-14T24:00:00Z", -1);
	assert_time("2023-11-14T22:60:00Z", -1);
	assert_time("2023-11-14T22:13:20", -1);
	assert_time("2023-11-14T22:13:20+1:00", -1);
	assert_time("2023-11-14T22:13:20.Z", -1);
	assert_time("2023-11-14T22:13:20Zx", -1);
	assert_time("2023-11-14", -1);
	assert_time("1969-12-31T23:59:59Z", -1);
	assert_time("", -1);
}

static void since_is_ago_or_then(void **state)
{
	json_int_t ms;

	(void)state;
	assert_int_equal(parse_since("10s", 30000, &ms), 0);
	assert_int_equal(ms, 20000);
	assert_int_equal(parse_since("1h", 30000, &ms), 0);
	assert_int_equal(ms, 0);
	assert_int_equal(parse_since("2023-11-14T22:13:20Z", 0, &ms), 0);
	assert_true(ms == 1700000000000);
	assert_int_equal(parse_since("yesterday", 0, &ms), -EINVAL);
}

static void numbers_read_well(void **state)
{
	char buf[FORMAT_SIZE];

	(void)state;
	assert_string_equal(format_size(buf, 0), "0 B");
	assert_string_equal(format_size(buf, 1536), "1.5 KiB");
	assert_string_equal(format_size(buf, 200.0 * 1024 * 1024), "200 MiB");
	assert_string_equal(format_duration(buf, 250), "250 ms");
	assert_string_equal(format_duration(buf, 1500), "1.5 s");
	assert_string_equal(format_duration(buf, 15000), "15 s");
	assert_string_equal(format_duration(buf, 125000), "2 min 5 s");
	assert_string_equal(format_duration(buf, 8040000), "2 h 14 min");
	assert_string_equal(format_duration(buf, 90000000), "1 d 1 h");
	assert_string_equal(format_cpu_time(buf, 12345678), "12.35 s");
	assert_string_equal(format_value(buf, 0.155, "share"), "15.5 %");
	assert_string_equal(format_value(buf, 0.3, "cpus"), "0.30 CPUs");
	assert_string_equal(format_value(buf, 3.14, "ms"), "3.1 ms");
	assert_string_equal(format_value(buf, 0.667, "ms"), "0.67 ms");
	assert_string_equal(format_value(buf, 12345, "pages/s"), "12345 pages/s");
	assert_string_equal(format_time(buf, 0), "-");
}

static void targets_read_well_whatever_they_lack(void **state)
{
	static const char *const cases[][2] = {
		{ "{\"kind\":\"cgroup\",\"path\":\"/a\",\"id\":1}", "/a" },
		{ "{\"kind\":\"process\",\"pid\":7,\"comm\":\"x\"}", "pid 7 (x)" },
		{ "{\"kind\":\"job\",\"id\":\"folding\"}", "job folding" },
		{ "{\"kind\":3}", "" },
		{ "[]", "" },
	};
	char buf[64];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *target = json_loads(cases[i][0], 0, NULL);

		assert_string_equal(format_target(buf, sizeof(buf), target), cases[i][1]);
		json_decref(target);
	}
	assert_string_equal(format_target(buf, sizeof(buf), NULL), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_have_a_unit),
		cmocka_unit_test(times_are_rfc_3339),
		cmocka_unit_test(since_is_ago_or_then),
		cmocka_unit_test(numbers_read_well),
		cmocka_unit_test(targets_read_well_whatever_they_lack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
