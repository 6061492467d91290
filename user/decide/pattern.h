/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Patterns name things: `cgroup:/glob` (or just `/glob`), `unit:NAME`, `exe:GLOB`, `comm:GLOB`,
 * `uid:N|name`, `gid:N|name`. In globs `*` does not cross "/", a backslash is literal (systemd
 * escapes with it), and a cgroup that matches brings everything below it. `unit:NAME` is a cgroup
 * directory of exactly that name, wherever it is.
 */
#ifndef CULPRIT_DECIDE_PATTERN_H
#define CULPRIT_DECIDE_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kernel keeps this many bytes of a process's name (TASK_COMM_LEN without the NUL). */
#define PATTERN_COMM_MAX 15

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
	char *text;  /* the glob, unit or user name as written, owned; a comm is cut as the kernel
			cuts it, a cgroup has no "/" at its end */
	uint32_t id; /* uid, gid */
	bool cut;    /* the comm was longer than PATTERN_COMM_MAX */
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

/* Parses one pattern; user and group names are looked up. *error is a static text that continues
 * "PATTERN …": what is wrong, and what to write. 0, -EINVAL or -ENOMEM. */
int pattern_parse(struct pattern *out, const char *text, const char **error);
/* The same for a value that can only be of this kind and stands without its prefix. */
int pattern_parse_kind(struct pattern *out, enum pattern_kind kind, const char *text,
		       const char **error);
void pattern_free(struct pattern *pattern);
/* Moves the pattern to the end of the list. 0 or -ENOMEM (the pattern is the caller's still). */
int pattern_list_add(struct pattern_list *list, struct pattern *pattern);
void pattern_list_free(struct pattern_list *list);

bool pattern_matches(const struct pattern *pattern, const struct subject *subject);
/* The first that matches, or NULL. */
const struct pattern *pattern_list_match(const struct pattern_list *list,
					 const struct subject *subject);
/* Does the pattern name this very cgroup (not one above it)? For finding the targets themselves. */
bool pattern_names_cgroup(const struct pattern *pattern, const char *cgroup_path);
/* A cgroup pattern that leaves nothing out: the root, or wildcards alone. */
bool pattern_is_everything(const struct pattern *pattern);
bool pattern_equal(const struct pattern *a, const struct pattern *b);
/* Is what `part` names inside of what `whole` names, as far as the texts tell? Where a unit is
 * shows only when it runs. Both name cgroups. */
bool pattern_is_inside(const struct pattern *part, const struct pattern *whole);
/* The pattern as a user writes it ("unit:xmrig.service") into buf. */
void pattern_print(const struct pattern *pattern, char *buf, size_t size);

/* Is this a plain absolute path: no empty, "." or ".." component? *error as pattern_parse(). */
int pattern_check_path(const char *path, const char **error);

#endif
