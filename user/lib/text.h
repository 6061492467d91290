/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names from the kernel are bytes, JSON wants UTF-8. */
#ifndef CULPRIT_LIB_TEXT_H
#define CULPRIT_LIB_TEXT_H

#include <jansson.h>

/*
 * A JSON string of the text; a byte that is not part of valid UTF-8 becomes U+FFFD, so that a name
 * chosen to break us only breaks its own look. New reference, NULL only when out of memory.
 */
json_t *text_to_json(const char *text);

#endif
