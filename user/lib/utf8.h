/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text that came from elsewhere (files, names of processes) and goes into one line or into JSON. */
#ifndef CULPRIT_LIB_UTF8_H
#define CULPRIT_LIB_UTF8_H

#include <stddef.h>

/* The length of the UTF-8 sequence at text, of which `left` bytes may be read; 0 when there is none
 * (RFC 3629: overlong forms and surrogates are none). */
size_t utf8_length(const char *text, size_t left);

/* Replaces every control character and every byte that belongs to no sequence by "?". */
void utf8_clean(char *text);

#endif
