// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/table.h"

#include <err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "lib/cleanup.h"
#include "lib/text.h"

struct cell {
	char *text;
	char *note; /* only of the last cell of a row */
	const char *colour;
};

struct table {
	const char *const *titles;
	size_t *widths; /* of each column, known when it is printed */
	size_t n_columns;
	struct cell *cells;
	size_t n_cells, room;
	size_t limit;
};

/* A client that has no memory has nothing to say any more. */
static void *need(void *p)
{
	if (!p)
		err(CLI_FAILED, "no memory");
	return p;
}

struct table *table_new(const char *const *titles)
{
	struct table *table = need(calloc(1, sizeof(*table)));

	table->titles = titles;
	do
		table->n_columns++;
	while (titles[table->n_columns]);
	table->widths = need(calloc(table->n_columns, sizeof(*table->widths)));
	return table;
}

__attribute__((format(printf, 1, 0))) static char *printable(const char *format, va_list ap)
{
	_cleanup_free_ char *raw = NULL;
	char *text;
	size_t size;

	if (vasprintf(&raw, format, ap) < 0)
		raw = need(NULL);
	size = TEXT_ESCAPED_SIZE(strlen(raw)) + 1;
	text = need(malloc(size));
	return text_printable(text, size, raw);
}

void table_cell(struct table *table, const char *format, ...)
{
	va_list ap;

	if (table->n_cells == table->room) {
		table->room = table->room ? 2 * table->room : 64;
		table->cells = need(realloc(table->cells, table->room * sizeof(*table->cells)));
	}
	va_start(ap, format);
	table->cells[table->n_cells++] = (struct cell){ .text = printable(format, ap) };
	va_end(ap);
}

void table_note(struct table *table, const char *format, ...)
{
	struct cell *last = &table->cells[table->n_cells - 1];
	va_list ap;

	va_start(ap, format);
	free(last->note);
	last->note = printable(format, ap);
	va_end(ap);
}

void table_colour(struct table *table, const char *colour)
{
	table->cells[table->n_cells - 1].colour = colour;
}

void table_limit(struct table *table, size_t rows)
{
	table->limit = rows;
}

static bool is_right(const struct table *table, size_t column)
{
	return table->titles[column][0] == '>';
}

static const char *title(const struct table *table, size_t column)
{
	return table->titles[column] + is_right(table, column);
}

static void put_cell(const struct table *table, size_t column, const char *text, size_t width,
		     const char *colour)
{
	size_t own = text_width(text);
	int pad = own < width ? (int)(width - own) : 0;
	bool last = column + 1 == table->n_columns;

	if (is_right(table, column))
		printf("%*s", pad, "");
	if (colour)
		printf("\033[%sm%s\033[0m", colour, text);
	else
		fputs(text, stdout);
	if (!is_right(table, column) && !last)
		printf("%*s", pad, "");
	fputs(last ? "\n" : "  ", stdout);
}

static void measure(struct table *table, size_t rows)
{
	for (size_t c = 0; c < table->n_columns; c++)
		table->widths[c] = text_width(title(table, c));
	for (size_t i = 0; i < rows * table->n_columns; i++) {
		size_t width = text_width(table->cells[i].text);
		size_t *widest = &table->widths[i % table->n_columns];

		if (width > *widest)
			*widest = width;
	}
}

static void put_rows(const struct table *table, size_t rows, bool colour)
{
	for (size_t c = 0; c < table->n_columns; c++)
		put_cell(table, c, title(table, c), table->widths[c], colour ? "1" : NULL);
	for (size_t i = 0; i < rows * table->n_columns; i++) {
		const struct cell *cell = &table->cells[i];
		size_t c = i % table->n_columns;

		put_cell(table, c, cell->text, table->widths[c], colour ? cell->colour : NULL);
		if (cell->note)
			printf("    %s\n", cell->note);
	}
}

void table_print(struct table *table, bool colour)
{
	size_t rows = table->n_cells / table->n_columns;
	size_t shown = table->limit && rows > table->limit ? table->limit : rows;

	measure(table, shown);
	if (rows > 0)
		put_rows(table, shown, colour);
	if (shown < rows)
		printf("    … and %zu more (--once shows all)\n", rows - shown);
	for (size_t i = 0; i < table->n_cells; i++) {
		free(table->cells[i].text);
		free(table->cells[i].note);
	}
	free(table->cells);
	free(table->widths);
	free(table);
}
