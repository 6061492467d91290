/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A configuration file as plain lines: comments and line ends gone, indented lines appended to the
 * one that they continue. Private to the reader of the configuration.
 */
#ifndef CULPRIT_DECIDE_CONFIG_TEXT_H
#define CULPRIT_DECIDE_CONFIG_TEXT_H

#include "decide/config_source.h"

/* Several thousand policies fit. */
#define CONFIG_FILE_MAX	    (1U << 20)
/* Far more than a machine has workloads; a file of nothing but headers must not take minutes. */
#define CONFIG_SECTIONS_MAX 4096
/* No section has nearly as many keys; the library's time grows with their square. */
#define CONFIG_KEYS_MAX	    256

/* One section: the header's line first, then one per line of the file; NULL where there was
 * nothing, a comment, a continued line, or something wrong that was told. */
struct config_chunk {
	unsigned int first_line; /* the header's, counted from 1 */
	char **lines;
	unsigned int n_lines;
};

struct config_text {
	struct config_chunk *chunks;
	size_t n_chunks;
	char **lines; /* all of the file's, owned */
	size_t n_lines;
};

/* `file` is one of the source's file names. 0 or -errno when the file cannot be read. */
int config_text_read(struct config_text *text, struct config_source *source, const char *file);
void config_text_free(struct config_text *text);

#endif
