// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/parse.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/cleanup.h"

/* A hundred years: what is longer is a slip, and no sum of it can overflow. */
#define MAX_MS (100LL * 366 * 24 * 3600 * 1000)

int parse_duration(const char *text, json_int_t *ms)
{
	static const struct {
		const char *name;
		long long ms;
	} units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
	};
	unsigned long long n;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		if (n > (unsigned long long)(MAX_MS / units[i].ms))
			return -EINVAL;
		*ms = (json_int_t)n * units[i].ms;
		return 0;
	}
	return -EINVAL;
}

/* Exactly `digits` digits, or -1; *text moves behind them. */
static int number(const char **text, int digits)
{
	int n = 0;

	for (; digits > 0; digits--, (*text)++) {
		if (!isdigit((unsigned char)**text))
			return -1;
		n = n * 10 + (**text - '0');
	}
	return n;
}

static bool literal(const char **text, const char *any_of)
{
	if (!**text || !strchr(any_of, **text))
		return false;
	(*text)++;
	return true;
}

/* ".5" is 500; digits behind the third are dropped. No fraction is 0; -1: a dot and no digit. */
static int fraction_ms(const char **text)
{
	int ms = 0, scale = 100;

	if (!literal(text, "."))
		return 0;
	if (!isdigit((unsigned char)**text))
		return -1;
	for (; isdigit((unsigned char)**text); (*text)++, scale /= 10)
		ms += (**text - '0') * scale;
	return ms;
}

/* "Z" or "+01:00" to minutes, at the end of the text. */
static int offset_minutes(const char *text, int *minutes)
{
	int sign = *text == '-' ? -1 : 1, hour, minute;

	*minutes = 0;
	if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
		return 0;
	if (!literal(&text, "+-"))
		return -EINVAL;
	hour = number(&text, 2);
	if (!literal(&text, ":"))
		return -EINVAL;
	minute = number(&text, 2);
	if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || *text)
		return -EINVAL;
	*minutes = sign * (hour * 60 + minute);
	return 0;
}

int parse_time(const char *text, json_int_t *ms)
{
	struct tm tm = { 0 }, normal;
	int fraction, offset;
	time_t seconds;

	/* A field that is no number is -1, which no calendar has. */
	tm.tm_year = number(&text, 4) - 1900;
	if (!literal(&text, "-"))
		return -EINVAL;
	tm.tm_mon = number(&text, 2) - 1;
	if (!literal(&text, "-"))
		return -EINVAL;
	tm.tm_mday = number(&text, 2);
	if (!literal(&text, "Tt "))
		return -EINVAL;
	tm.tm_hour = number(&text, 2);
	if (!literal(&text, ":"))
		return -EINVAL;
	tm.tm_min = number(&text, 2);
	if (!literal(&text, ":"))
		return -EINVAL;
	tm.tm_sec = number(&text, 2);
	fraction = fraction_ms(&text);
	if (fraction < 0 || offset_minutes(text, &offset) < 0 || tm.tm_year < 70)
		return -EINVAL;
	/* timegm(3) carries over what is out of range: then the day that comes out is another. A
	 * leap second may. */
	normal = tm;
	seconds = timegm(&normal);
	if (tm.tm_sec < 0 || tm.tm_sec > 60 || tm.tm_min < 0 || tm.tm_min > 59 || tm.tm_hour < 0 ||
	    tm.tm_hour > 23 || (tm.tm_sec < 60 && normal.tm_mday != tm.tm_mday) || tm.tm_mon < 0 ||
	    tm.tm_mon > 11)
		return -EINVAL;
	*ms = ((json_int_t)seconds - offset * 60) * 1000 + fraction;
	return 0;
}

int parse_since(const char *text, json_int_t now_ms, json_int_t *ms)
{
	json_int_t ago;

	if (parse_duration(text, &ago) < 0)
		return parse_time(text, ms);
	*ms = now_ms > ago ? now_ms - ago : 0;
	return 0;
}
