// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/print.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/format.h"
#include "lib/cleanup.h"
#include "lib/text.h"

#define RED    "31"
#define GREEN  "32"
#define YELLOW "33"

void print_json(const json_t *object)
{
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
}

void print_line(const char *format, ...)
{
	_cleanup_free_ char *raw = NULL, *text = NULL;
	size_t size;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&raw, format, ap) < 0)
		raw = NULL;
	va_end(ap);
	size = raw ? TEXT_ESCAPED_SIZE(strlen(raw)) + 1 : 0;
	text = size ? malloc(size) : NULL;
	if (text)
		puts(text_printable(text, size, raw));
}

const char *colour_of(const char *word)
{
	static const struct {
		const char *word, *colour;
	} colours[] = {
		{ "holding", RED },   { "frozen", RED },      { "stopped", RED },
		{ "killed", RED },    { "terminated", RED },  { "error", RED },
		{ "lost", RED },      { "refused", YELLOW },  { "external-thaw", YELLOW },
		{ "grace", YELLOW },  { "paused", YELLOW },   { "waiting", YELLOW },
		{ "thawed", GREEN },  { "continued", GREEN }, { "restored", GREEN },
		{ "resumed", GREEN }, { "recovered", GREEN },
	};

	for (size_t i = 0; i < ARRAY_SIZE(colours); i++)
		if (strcmp(colours[i].word, word) == 0)
			return colours[i].colour;
	return NULL;
}

void print_event(const json_t *event, bool colour)
{
	char time[FORMAT_SIZE], what[64], raw[TARGET_SIZE], kind[32];
	const char *policy = member_text(event, "policy");
	const json_t *target = json_object_get(event, "target");
	const char *paint;

	text_printable(kind, sizeof(kind), member_text(event, "event"));
	paint = colour ? colour_of(kind) : NULL;
	snprintf(what, sizeof(what), "%s%s", kind,
		 json_is_true(json_object_get(event, "shadow")) ? " (shadow)" : "");
	printf("%s  %s%s%s%-13s%s  ", format_time(time, member_int(event, "ts")),
	       paint ? "\033[" : "", paint ? paint : "", paint ? "m" : "", what,
	       paint ? "\033[0m" : "");
	print_line("%s%s%s%s%s", target ? format_target(raw, sizeof(raw), target) : "",
		   policy[0] ? (target ? " by " : "by ") : "", policy,
		   target || policy[0] ? ": " : "", member_text(event, "reason"));
}
