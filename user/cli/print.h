/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pieces of output that several verbs have. */
#ifndef CULPRIT_CLI_PRINT_H
#define CULPRIT_CLI_PRINT_H

#include <jansson.h>
#include <stdbool.h>

/* One object on one line. */
void print_json(const json_t *object);
/* printf() made printable, with a newline. */
__attribute__((format(printf, 1, 2))) void print_line(const char *format, ...);
/* One event on one line. */
void print_event(const json_t *event, bool colour);
/* The colour of a state or of what happened: held things stand out; NULL: none. */
const char *colour_of(const char *word);

#endif
