/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the text of a key to its value: one reader per kind of value, and tables that say which key
 * is read by which. Private to the reader of the configuration.
 */
#ifndef CULPRIT_DECIDE_CONFIG_READ_H
#define CULPRIT_DECIDE_CONFIG_READ_H

#include "decide/config_source.h"

/* A word that a key may be set to. */
struct config_word {
	const char *word; /* NULL ends the table */
	int value;
	bool later; /* its feature is not there yet */
};

struct config_key {
	const char *name; /* NULL ends the table */
	/* Checks the item and stores it at `field`; NULL: only checks it. */
	void (*read)(struct config_source *source, const struct config_item *item,
		     const struct config_key *key, void *field);
	size_t offset; /* of the field, or CONFIG_NO_FIELD */
	const struct config_word *words;
	uint64_t min, max;    /* durations in ns, numbers; max 0: no bound of its own */
	unsigned int signals; /* bits of enum signal_kind that the key goes with; 0: all */
	const char *only;     /* its feature is not there yet: nothing but this default is taken */
};

#define CONFIG_NO_FIELD SIZE_MAX

typedef void config_reader(struct config_source *source, const struct config_item *item,
			   const struct config_key *key, void *field);

config_reader config_read_word;	    /* int */
config_reader config_read_duration; /* uint64_t ns */
config_reader config_read_limit;    /* uint64_t ns; the word "none" is 0, and 0 is refused */
config_reader config_read_number;   /* uint64_t */
config_reader config_read_patterns; /* struct pattern_list */
config_reader config_read_path;	    /* char *, absolute, at most `max` bytes */
config_reader config_read_cgroup;   /* char *, a cgroup's path, no glob */
config_reader config_read_globs;    /* char **, absolute, NULL-terminated */
config_reader config_read_users;    /* checked only */
config_reader config_read_list;	    /* checked only: not empty */
config_reader config_read_text;	    /* checked only: not empty */
config_reader config_read_nice;	    /* checked only */

/*
 * Reads every key of the section by the table into the struct at `out` (NULL: only checks); keys
 * that the table does not have, or that do not go with `signal` (a bit, 0: not known), are errors.
 */
void config_read_section(struct config_source *source, const struct config_section *section,
			 const struct config_key *keys, unsigned int signal, void *out);

/* Calls fn for each item of a list, blanks around it removed, with the line where it stands. */
typedef void (*config_each_fn)(void *user, const char *text, struct config_place place);
void config_each(struct config_source *source, const struct config_item *item, config_each_fn fn,
		 void *user);

/* Nothing, or commas with nothing between them. */
bool config_is_empty_list(const struct config_item *item);

/* A value that is no list must stand on one line and not be empty; tells when it does not. */
bool config_is_plain(struct config_source *source, const struct config_item *item);

/* A pattern that may only name cgroups, as text with its prefix. False when it was refused. */
bool config_read_target(struct config_source *source, const struct config_item *item,
			struct pattern *out);
/* Tells of a comm that was cut. */
void config_warn_cut(struct config_source *source, const struct pattern *pattern, const char *text,
		     struct config_place place);

#endif
