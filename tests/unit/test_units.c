// SPDX-License-Identifier: GPL-2.0-or-later
/* Quantities as people write them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/units.h"

static void durations_are_read_exactly(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} cases[] = {
		{ "250ms", 250000000 },
		{ "15s", 15000000000 },
		{ "10m", 600000000000 },
		{ "2h", 7200000000000 },
		{ "0", 0 },
		{ "0s", 0 },
		{ "0.0", 0 },
		{ "1.5s", 1500000000 },
		{ "0.25ms", 250000 },
		{ "0.1234567899999s", 123456789 },
		{ "0001s", 1000000000 },
		{ "87672h", UNITS_DURATION_MAX_NS },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *error = NULL;
		uint64_t ns = 1;

		if (units_parse_duration(cases[i].text, &ns, &error))
			fail_msg("%s: %s", cases[i].text, error);
		assert_int_equal(ns, cases[i].ns);
	}
}

static void what_is_no_duration_is_refused_with_the_remedy(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "15", "has no unit" },
		{ "1.5", "has no unit" },
		{ "", "is not a duration" },
		{ "s", "is not a duration" },
		{ "-1s", "is not a duration" },
		{ "+1s", "is not a duration" },
		{ " 1s", "is not a duration" },
		{ ".5s", "is not a duration" },
		{ "1.s", "is not a duration" },
		{ "nan", "is not a duration" },
		{ "inf", "is not a duration" },
		{ "1e3s", "unknown unit" },
		{ "0x10s", "unknown unit" },
		{ "15 s", "unknown unit" },
		{ "15S", "unknown unit" },
		{ "15%", "unknown unit" },
		{ "1h30m", "unknown unit" },
		{ "0.0000001ms", "too short" },
		{ "87673h", "longer than 10 years" },
		{ "99999999999999h", "longer than 10 years" },
		{ "99999999999999999999999s", "longer than 10 years" },
		{ "18446744073709551615h", "longer than 10 years" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *error = "";
		uint64_t ns;

		if (units_parse_duration(cases[i].text, &ns, &error) == 0)
			fail_msg("'%s' was taken", cases[i].text);
		if (!strstr(error, cases[i].says) || !strstr(error, "; "))
			fail_msg("'%s': %s", cases[i].text, error);
	}
}

static void shares_are_of_all_cpus_or_in_cpus(void **state)
{
	const char *error;
	double value;
	bool cpus;

	(void)state;
	assert_int_equal(units_parse_share("15%", &value, &cpus, &error), 0);
	assert_true(value > 0.1499999 && value < 0.1500001 && !cpus);
	assert_int_equal(units_parse_share("0.1cpu", &value, &cpus, &error), 0);
	assert_true(value > 0.0999999 && value < 0.1000001 && cpus);
	assert_int_equal(units_parse_share("12.5%", &value, &cpus, &error), 0);
	assert_true(value > 0.1249999 && value < 0.1250001 && !cpus);
	assert_int_equal(units_parse_share("16cpu", &value, &cpus, &error), 0);
	assert_true(value > 15.9999 && value < 16.0001 && cpus);
}

static void what_is_no_share_is_refused(void **state)
{
	static const char *const bad[] = { "15",
					   "",
					   "%",
					   "cpu",
					   "-1%",
					   "nan%",
					   "1e2%",
					   "15 %",
					   "15%%",
					   "1cpus",
					   "15s",
					   "0x1%",
					   "inf",
					   "NaN",
					   "1,5%",
					   "0",
					   "99999999999999999999999999%" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *error = NULL;
		double value;
		bool cpus;

		if (units_parse_share(bad[i], &value, &cpus, &error) == 0)
			fail_msg("'%s' was taken", bad[i]);
		assert_non_null(error);
	}
}

static void sizes_are_powers_of_1024(void **state)
{
	const char *error;
	uint64_t bytes;

	(void)state;
	assert_int_equal(units_parse_size("64M", &bytes, &error), 0);
	assert_int_equal(bytes, 64 << 20);
	assert_int_equal(units_parse_size("1.5K", &bytes, &error), 0);
	assert_int_equal(bytes, 1536);
	assert_int_equal(units_parse_size("2T", &bytes, &error), 0);
	assert_int_equal(bytes, 2ULL << 40);
	assert_int_equal(units_parse_size("0", &bytes, &error), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(units_parse_size("16777216T", &bytes, &error), -ERANGE);
	assert_int_equal(units_parse_size("64", &bytes, &error), -EINVAL);
	assert_int_equal(units_parse_size("64m", &bytes, &error), -EINVAL);
	assert_int_equal(units_parse_size("-1M", &bytes, &error), -EINVAL);
}

static void numbers_are_whole_and_bounded(void **state)
{
	const char *error;
	uint64_t value;

	(void)state;
	assert_int_equal(units_parse_number("18446744073709551615", &value, &error), 0);
	assert_true(value == UINT64_MAX);
	assert_int_equal(units_parse_number("18446744073709551616", &value, &error), -ERANGE);
	assert_int_equal(units_parse_number("5.0", &value, &error), -EINVAL);
	assert_int_equal(units_parse_number("-5", &value, &error), -EINVAL);
	assert_int_equal(units_parse_number("5x", &value, &error), -EINVAL);
	assert_int_equal(units_parse_number("", &value, &error), -EINVAL);
}

static void durations_are_printed_in_their_largest_whole_unit(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{ 0, "0" },
		{ 15000000000, "15s" },
		{ 1500000000, "1500ms" },
		{ 3600000000000, "1h" },
		{ 5400000000000, "90m" },
		{ 1500, "0.002ms" },
	};
	char buf[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		units_print_duration(cases[i].ns, buf, sizeof(buf));
		assert_string_equal(buf, cases[i].text);
	}
}

static void durations_are_said_with_a_space_before_the_unit(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{ 0, "0 s" },
		{ 1500, "0.0015 ms" },
		{ 402613, "0.403 ms" },
		{ 250000000, "250 ms" },
		{ 999499999, "999 ms" },
		{ 999500000, "1 s" },
		{ 1500000000, "1.5 s" },
		{ 15000000000, "15 s" },
		{ 59600000000, "1 min" },
		{ 75000000000, "1 min 15 s" },
		{ 600000000000, "10 min" },
		{ 3600000000000, "1 h" },
		{ 5400000000000, "1 h 30 min" },
		{ UNITS_DURATION_MAX_NS, "87672 h" },
	};
	char buf[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		units_say_duration(cases[i].ns, buf, sizeof(buf));
		assert_string_equal(buf, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_are_read_exactly),
		cmocka_unit_test(what_is_no_duration_is_refused_with_the_remedy),
		cmocka_unit_test(shares_are_of_all_cpus_or_in_cpus),
		cmocka_unit_test(what_is_no_share_is_refused),
		cmocka_unit_test(sizes_are_powers_of_1024),
		cmocka_unit_test(numbers_are_whole_and_bounded),
		cmocka_unit_test(durations_are_printed_in_their_largest_whole_unit),
		cmocka_unit_test(durations_are_said_with_a_space_before_the_unit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
