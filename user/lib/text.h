/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text from strangers: the names of processes and cgroups may hold any byte but NUL, also escape
 * sequences, newlines and what is not UTF-8. Nothing of that may reach a terminal, a log line or a
 * JSON string as it is.
 */
#ifndef CULPRIT_LIB_TEXT_H
#define CULPRIT_LIB_TEXT_H

#include <stddef.h>

/* A byte becomes at most "\xNN". */
#define TEXT_ESCAPED_SIZE(size) (4 * (size))

/*
 * Copies text into buf so that it can be shown on one line: control characters, marks that change
 * the direction of writing and bytes that are not UTF-8 become \xNN. What does not fit is cut at a
 * whole character. Returns buf.
 */
char *text_printable(char *buf, size_t size, const char *text);

/* The same, but only what is not UTF-8 is escaped: JSON has its own escapes for the rest. */
char *text_utf8(char *buf, size_t size, const char *text);

/* Characters of a UTF-8 text, for aligning columns. */
size_t text_width(const char *text);

#endif
