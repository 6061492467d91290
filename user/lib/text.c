// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/*
 * Bytes of the UTF-8 character at s (RFC 3629: shortest form, no surrogates, up to U+10FFFF), 0 if
 * there is none. Never reads past the NUL: it is not a continuation byte.
 */
static size_t utf8_decode(const unsigned char *s, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (length == 0 || s[0] > 0xf4)
		return 0;
	*code = length == 1 ? s[0] : s[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (s[i] & 0x3f);
	}
	if (*code < least[length] || (*code >= 0xd800 && *code <= 0xdfff) || *code > 0x10ffff)
		return 0;
	return length;
}

/* C0 and C1 controls, line separators, and the marks that can make a name read as another one. */
static bool is_printable(uint32_t code)
{
	return code >= 0x20 && !(code >= 0x7f && code <= 0x9f) &&
	       !(code >= 0x200b && code <= 0x200f) && !(code >= 0x2028 && code <= 0x202e) &&
	       !(code >= 0x2060 && code <= 0x206f) && code != 0x061c && code != 0xfeff;
}

static bool is_any(uint32_t code)
{
	return code != 0;
}

static char *escape(char *buf, size_t size, const char *text, bool (*keep)(uint32_t code))
{
	const unsigned char *s = (const unsigned char *)text;
	size_t used = 0;

	while (*s) {
		uint32_t code;
		size_t length = utf8_decode(s, &code);
		bool kept = length > 0 && keep(code);
		size_t from = length ? length : 1;

		if (used + (kept ? from : 4 * from) >= size)
			break;
		for (size_t i = 0; i < from; i++) {
			if (kept)
				buf[used++] = (char)s[i];
			else
				used += (size_t)snprintf(buf + used, 5, "\\x%02x", s[i]);
		}
		s += from;
	}
	buf[used] = '\0';
	return buf;
}

char *text_printable(char *buf, size_t size, const char *text)
{
	return escape(buf, size, text, is_printable);
}

char *text_utf8(char *buf, size_t size, const char *text)
{
	return escape(buf, size, text, is_any);
}

size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}
