// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/text.h"

#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"

#define REPLACEMENT "\xef\xbf\xbd"

/* Length of the valid UTF-8 sequence at s (RFC 3629: no overlong forms, no surrogates), 0: none. */
static size_t sequence(const unsigned char *s)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0;
	if (s[0] == 0xed)
		high = 0x9f;
	if (s[0] == 0xf0)
		low = 0x90;
	if (s[0] == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	return n;
}

json_t *text_to_json(const char *text)
{
	json_t *plain = json_string(text);
	_cleanup_free_ char *clean = NULL;
	char *to;

	if (plain)
		return plain;
	clean = malloc(strlen(text) * 3 + 1);
	if (!clean)
		return NULL;
	to = clean;
	while (*text) {
		size_t n = sequence((const unsigned char *)text);

		if (n) {
			memcpy(to, text, n);
			to += n;
			text += n;
		} else {
			memcpy(to, REPLACEMENT, 3);
			to += 3;
			text++;
		}
	}
	*to = '\0';
	return json_string(clean);
}
