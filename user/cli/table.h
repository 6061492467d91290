/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Aligned columns on stdout. Every cell is made printable: names come from strangers. */
#ifndef CULPRIT_CLI_TABLE_H
#define CULPRIT_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>

struct table;

/* titles end with NULL; one that begins with ">" is of a column aligned to the right. They must
 * outlive the table. */
struct table *table_new(const char *const *titles);
/* Fills the cells, row by row. */
__attribute__((format(printf, 2, 3))) void table_cell(struct table *table, const char *format, ...);
/* A line of its own, indented, below the row whose last cell was filled last. */
__attribute__((format(printf, 2, 3))) void table_note(struct table *table, const char *format, ...);
/* Has the last filled cell printed in this colour ("31"), when colour is wanted at all. */
void table_colour(struct table *table, const char *colour);
/* At most so many rows are printed, and how many are not; 0: all. */
void table_limit(struct table *table, size_t rows);
/* Prints it (nothing when it has no rows) and frees it. */
void table_print(struct table *table, bool colour);

#endif
