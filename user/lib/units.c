// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"

struct unit {
	const char *name;
	uint64_t scale;
};

/* A decimal number as it was read: whole + fraction / 10^digits. strtod() would also take signs,
 * exponents, hexadecimal, "nan" and the locale's decimal point. */
struct decimal {
	uint64_t whole;
	uint64_t fraction;
	uint64_t fraction_of; /* 10^digits */
	const char *unit;     /* what stands behind it */
};

/* More digits than a nanosecond has of a second say nothing, but are no error. */
#define FRACTION_DIGITS 9

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int scan_decimal(const char *text, struct decimal *d)
{
	*d = (struct decimal){ .fraction_of = 1 };
	if (!is_digit(*text))
		return -EINVAL;
	for (; is_digit(*text); text++) {
		if (__builtin_mul_overflow(d->whole, 10, &d->whole) ||
		    __builtin_add_overflow(d->whole, (uint64_t)(*text - '0'), &d->whole))
			return -ERANGE;
	}
	if (*text == '.') {
		if (!is_digit(*++text))
			return -EINVAL;
		for (int i = 0; is_digit(*text); text++, i++) {
			if (i >= FRACTION_DIGITS)
				continue;
			d->fraction = d->fraction * 10 + (uint64_t)(*text - '0');
			d->fraction_of *= 10;
		}
	}
	d->unit = text;
	return 0;
}

/* number × scale; what is smaller than 1 is dropped. */
static int scale_decimal(const struct decimal *d, uint64_t scale, uint64_t *out)
{
	uint64_t part;

	/* fraction < fraction_of ≤ 10^9, so the division loses nothing that 128 bits would keep. */
	part = (uint64_t)((unsigned __int128)d->fraction * scale / d->fraction_of);
	if (__builtin_mul_overflow(d->whole, scale, out) || __builtin_add_overflow(*out, part, out))
		return -ERANGE;
	return 0;
}

static bool is_zero(const struct decimal *d)
{
	return d->whole == 0 && d->fraction == 0;
}

static const struct unit *find_unit(const struct unit *units, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(units[i].name, name) == 0)
			return &units[i];
	}
	return NULL;
}

static const struct unit duration_units[] = {
	{ "ms", 1000000ULL },
	{ "s", 1000000000ULL },
	{ "m", 60000000000ULL },
	{ "h", 3600000000000ULL },
};

int units_parse_duration(const char *text, uint64_t *ns, const char **error)
{
	const struct unit *unit;
	struct decimal d;
	int r = scan_decimal(text, &d);

	if (r == -EINVAL) {
		*error = "is not a duration; write a number with ms, s, m or h, as in 15s";
		return r;
	}
	if (r == 0 && *d.unit == '\0' && is_zero(&d)) {
		*ns = 0;
		return 0;
	}
	if (r == 0 && *d.unit == '\0') {
		*error = "has no unit; write ms, s, m or h behind the number, as in 15s";
		return -EINVAL;
	}
	unit = r ? NULL : find_unit(duration_units, ARRAY_SIZE(duration_units), d.unit);
	if (r == 0 && !unit) {
		*error = "has an unknown unit; durations are in ms, s, m or h, as in 15s";
		return -EINVAL;
	}
	if (r == 0)
		r = scale_decimal(&d, unit->scale, ns);
	if (r == 0 && *ns == 0 && !is_zero(&d)) {
		*error = "is too short to tell from 0; write 0, or 1ms and more";
		return -EINVAL;
	}
	if (r || *ns > UNITS_DURATION_MAX_NS) {
		*error = "is longer than 10 years; write a shorter duration, or none where that is "
			 "allowed";
		return -ERANGE;
	}
	return 0;
}

int units_parse_share(const char *text, double *value, bool *cpus, const char **error)
{
	struct decimal d;
	double number;
	int r = scan_decimal(text, &d);

	if (r == -ERANGE) {
		*error = "is too large; write a share such as 15% or 0.1cpu";
		return r;
	}
	if (r) {
		*error = "is not a share; write a number with % or cpu, as in 15% or 0.1cpu";
		return r;
	}
	number = (double)d.whole + (double)d.fraction / (double)d.fraction_of;
	if (strcmp(d.unit, "%") == 0) {
		*value = number / 100;
		*cpus = false;
		return 0;
	}
	if (strcmp(d.unit, "cpu") == 0) {
		*value = number;
		*cpus = true;
		return 0;
	}
	*error = *d.unit ? "has an unknown unit; shares are in % or cpu, as in 15% or 0.1cpu"
			 : "has no unit; write % or cpu behind the number, as in 15% or 0.1cpu";
	return -EINVAL;
}

static const struct unit size_units[] = {
	{ "K", 1ULL << 10 },
	{ "M", 1ULL << 20 },
	{ "G", 1ULL << 30 },
	{ "T", 1ULL << 40 },
};

int units_parse_size(const char *text, uint64_t *bytes, const char **error)
{
	const struct unit *unit;
	struct decimal d;
	int r = scan_decimal(text, &d);

	if (r == -EINVAL) {
		*error = "is not a size; write a number with K, M, G or T, as in 64M";
		return r;
	}
	if (r == 0 && *d.unit == '\0' && is_zero(&d)) {
		*bytes = 0;
		return 0;
	}
	if (r == 0 && *d.unit == '\0') {
		*error = "has no unit; write K, M, G or T behind the number, as in 64M";
		return -EINVAL;
	}
	unit = r ? NULL : find_unit(size_units, ARRAY_SIZE(size_units), d.unit);
	if (r == 0 && !unit) {
		*error = "has an unknown unit; sizes are in K, M, G or T, as in 64M";
		return -EINVAL;
	}
	if (r || scale_decimal(&d, unit->scale, bytes)) {
		*error = "is too large; write a size below 16777216T";
		return -ERANGE;
	}
	return 0;
}

int units_parse_number(const char *text, uint64_t *value, const char **error)
{
	struct decimal d;
	int r = scan_decimal(text, &d);

	if (r == -ERANGE) {
		*error = "is too large; write a smaller whole number";
		return r;
	}
	if (r || *d.unit != '\0' || d.fraction_of != 1) {
		*error = "is not a whole number; write digits only, as in 50";
		return -EINVAL;
	}
	*value = d.whole;
	return 0;
}

void units_print_duration(uint64_t ns, char *buf, size_t size)
{
	for (size_t i = ARRAY_SIZE(duration_units); i-- > 0;) {
		if (ns == 0 || ns % duration_units[i].scale)
			continue;
		snprintf(buf, size, "%" PRIu64 "%s", ns / duration_units[i].scale,
			 duration_units[i].name);
		return;
	}
	snprintf(buf, size, ns ? "%.3fms" : "0", (double)ns / 1e6);
}

void units_say_duration(uint64_t ns, char *buf, size_t size)
{
	uint64_t s = ns / 1000000000 + (ns % 1000000000 >= 500000000);

	if (ns == 0)
		snprintf(buf, size, "0 s");
	else if (ns < 999500000)
		snprintf(buf, size, "%.3g ms", (double)ns / 1e6);
	else if (s < 60)
		snprintf(buf, size, "%.3g s", (double)ns / 1e9);
	else if (s < 3600 && s % 60)
		snprintf(buf, size, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else if (s < 3600)
		snprintf(buf, size, "%" PRIu64 " min", s / 60);
	else if (s / 60 % 60)
		snprintf(buf, size, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
	else
		snprintf(buf, size, "%" PRIu64 " h", s / 3600);
}
