/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Patterns name things: `cgroup:/glob` (or just `/glob`), `unit:NAME`, `exe:GLOB`, `comm:GLOB`,
 * `uid:N|name`, `gid:N|name`. In globs `*` does not cross "/", a backslash is literal (systemd
 * escapes with it), and a cgroup that matches brings everything below it.
 */
#ifndef CULPRIT_DECIDE_PATTERN_H
#define CULPRIT_DECIDE_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pattern_kind {
	PATTERN_CGROUP,
	PATTERN_UNIT,
	PATTERN_EXE,
	PATTERN_COMM,
	PATTERN_UID,
	PATTERN_GID
};

struct pattern {
	enum pattern_kind kind;
	char *text;  /* the glob, unit or user name as written, owned */
	uint32_t id; /* uid, gid */
};

struct pattern_list {
	struct pattern *patterns;
	unsigned int count;
};

/* What a pattern is held against; members that are not known are NULL (or known_ids false) and
 * then match nothing. */
struct subject {
	const char *cgroup_path;
	const char *comm;
	const char *exe;
	bool known_ids;
	uint32_t uid, gid;
};

/* Parses one pattern; *error is a static text that says what is wrong. 0 or -EINVAL. */
int pattern_parse(struct pattern *out, const char *text, const char **error);
void pattern_free(struct pattern *pattern);
void pattern_list_free(struct pattern_list *list);

bool pattern_matches(const struct pattern *pattern, const struct subject *subject);
/* The first that matches, or NULL. */
const struct pattern *pattern_list_match(const struct pattern_list *list,
					 const struct subject *subject);
/* Does the pattern name this very cgroup (not one above it)? For finding the targets themselves. */
bool pattern_names_cgroup(const struct pattern *pattern, const char *cgroup_path);
/* The pattern as a user writes it ("unit:xmrig.service") into buf. */
void pattern_print(const struct pattern *pattern, char *buf, size_t size);

#endif
