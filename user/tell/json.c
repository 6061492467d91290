// SPDX-License-Identifier: GPL-2.0-or-later
#include "tell/json.h"

#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"

json_t *json_text(const char *text)
{
	json_t *plain = json_string(text);
	_cleanup_free_ char *escaped = NULL;
	size_t size = TEXT_ESCAPED_SIZE(strlen(text)) + 1;

	if (plain)
		return plain;
	escaped = malloc(size);
	return escaped ? json_string(text_utf8(escaped, size, text)) : NULL;
}

json_t *json_counter(uint64_t value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}
