// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/format.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"

const char *member_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

json_int_t member_int(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

double member_real(const json_t *object, const char *name)
{
	return json_number_value(json_object_get(object, name));
}

char *format_size(char *buf, double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", NULL };
	size_t u = 0;

	while (bytes >= 1024 && units[u + 1]) {
		bytes /= 1024;
		u++;
	}
	snprintf(buf, FORMAT_SIZE, u && bytes < 100 ? "%.1f %s" : "%.0f %s", bytes, units[u]);
	return buf;
}

char *format_duration(char *buf, json_int_t ms)
{
	long long s = ms / 1000;

	if (ms < 1000)
		snprintf(buf, FORMAT_SIZE, "%lld ms", (long long)ms);
	else if (s < 10 && ms % 1000)
		snprintf(buf, FORMAT_SIZE, "%.1f s", (double)ms / 1000);
	else if (s < 60)
		snprintf(buf, FORMAT_SIZE, "%lld s", s);
	else if (s < 3600 && s % 60)
		snprintf(buf, FORMAT_SIZE, "%lld min %lld s", s / 60, s % 60);
	else if (s < 3600)
		snprintf(buf, FORMAT_SIZE, "%lld min", s / 60);
	else if (s < 86400 && s / 60 % 60)
		snprintf(buf, FORMAT_SIZE, "%lld h %lld min", s / 3600, s / 60 % 60);
	else if (s < 86400)
		snprintf(buf, FORMAT_SIZE, "%lld h", s / 3600);
	else if (s / 3600 % 24)
		snprintf(buf, FORMAT_SIZE, "%lld d %lld h", s / 86400, s / 3600 % 24);
	else
		snprintf(buf, FORMAT_SIZE, "%lld d", s / 86400);
	return buf;
}

char *format_cpu_time(char *buf, json_int_t usec)
{
	if (usec >= (json_int_t)(60 * USEC_PER_SEC))
		return format_duration(buf, usec / 1000);
	snprintf(buf, FORMAT_SIZE, "%.2f s", (double)usec / (double)USEC_PER_SEC);
	return buf;
}

char *format_time(char *buf, json_int_t unix_ms)
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm;

	if (unix_ms <= 0 || !localtime_r(&seconds, &tm) ||
	    strftime(buf, FORMAT_SIZE, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(buf, FORMAT_SIZE, "-");
	return buf;
}

char *format_value(char *buf, double value, const char *unit)
{
	if (strcmp(unit, "share") == 0)
		snprintf(buf, FORMAT_SIZE, "%.3g %%", value * 100);
	else if (strcmp(unit, "cpus") == 0)
		snprintf(buf, FORMAT_SIZE, "%.2f CPUs", value);
	else if (strcmp(unit, "ms") == 0)
		snprintf(buf, FORMAT_SIZE, value < 1 ? "%.2f ms" : "%.1f ms", value);
	else if (strcmp(unit, "holders") == 0)
		snprintf(buf, FORMAT_SIZE, "%.3g open", value);
	else if (value >= 1000)
		snprintf(buf, FORMAT_SIZE, "%.0f%s%.32s", value, unit[0] ? " " : "", unit);
	else
		snprintf(buf, FORMAT_SIZE, "%.3g%s%.32s", value, unit[0] ? " " : "", unit);
	return buf;
}

char *format_target(char *buf, size_t size, const json_t *target)
{
	const char *kind = member_text(target, "kind");

	if (strcmp(kind, "process") == 0)
		snprintf(buf, size, "pid %lld (%s)", (long long)member_int(target, "pid"),
			 member_text(target, "comm"));
	else if (strcmp(kind, "job") == 0)
		snprintf(buf, size, "job %s", member_text(target, "id"));
	else
		snprintf(buf, size, "%s", member_text(target, "path"));
	return buf;
}
