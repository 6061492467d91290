/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the configuration files say, before anyone asks what it means: sections and keys, merged,
 * each with the file and line where it stands. Private to the reader of the configuration.
 */
#ifndef CULPRIT_DECIDE_CONFIG_SOURCE_H
#define CULPRIT_DECIDE_CONFIG_SOURCE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "decide/config.h"

/* Stands in a value where a line ended and an indented one went on. No file can hold it: control
 * characters are refused. Counting them gives the line of each item of a list. */
#define CONFIG_LINE_MARK '\x1f'

struct config_item {
	char *key;
	char *value;
	struct config_place place;
};

struct config_section {
	char *kind;	   /* "policy" of [policy miner-yields] */
	char *name;	   /* "miner-yields", "" without */
	unsigned int hash; /* of both, so that one of thousands is found */
	struct config_place place;
	const char *last_file; /* the one that spoke of it last: twice in one file is an error */
	struct config_item *items;
	size_t n_items;
};

struct config_source {
	char **files; /* their names, owned; every place points here */
	unsigned int n_files;
	struct config_section *sections;
	size_t n_sections;
	config_message_fn message;
	void *user;
	unsigned int errors;
	bool out_of_memory;
};

/* Reads one file on top of what is there: key by key, the later wins. What is wrong is told and
 * counted. 0 (also when things were wrong inside the file) or -errno when it could not be read. */
int config_source_add(struct config_source *source, const char *file);
void config_source_free(struct config_source *source);

struct config_section *config_source_find(struct config_source *source, const char *kind,
					  const char *name);
const struct config_item *config_section_find(const struct config_section *section,
					      const char *key);

/* Tells `FILE:LINE: …` (without the line where there is none) and counts it. Whatever could break
 * the line in two is replaced. */
__attribute__((format(printf, 3, 4))) void
config_error(struct config_source *source, struct config_place place, const char *format, ...);
__attribute__((format(printf, 3, 4))) void
config_warning(struct config_source *source, struct config_place place, const char *format, ...);

#endif
