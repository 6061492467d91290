// SPDX-License-Identifier: GPL-2.0-or-later
#include "decide/pattern.h"

#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/ids.h"
#include "lib/units.h"

#define GLOB_FLAGS (FNM_PATHNAME | FNM_NOESCAPE)

/* What readlink of /proc/PID/exe appends once the file was replaced, as every upgrade does. */
#define DELETED " (deleted)"

static const char *const prefixes[] = {
	[PATTERN_CGROUP] = "cgroup:", [PATTERN_UNIT] = "unit:", [PATTERN_EXE] = "exe:",
	[PATTERN_COMM] = "comm:",     [PATTERN_UID] = "uid:",	[PATTERN_GID] = "gid:",
};

/* --- parsing -----------------------------------------------------------------------------------
 */

/* The ']' that closes the bracket expression at *open, or NULL; POSIX classes such as [:alpha:]
 * inside it are stepped over. */
static const char *bracket_end(const char *open)
{
	const char *p = open + 1;

	if (*p == '!' || *p == '^')
		p++;
	if (*p == ']')
		p++;
	for (; *p && *p != ']'; p++) {
		const char *kind = *p == '[' ? strchr(":.=", p[1]) : NULL;
		char close[3];
		const char *end;

		if (!kind || !*kind)
			continue;
		snprintf(close, sizeof(close), "%c]", *kind);
		end = strstr(p + 2, close);
		if (end)
			p = end + 1;
	}
	return *p ? p : NULL;
}

/* fnmatch(3) takes an unclosed bracket, or one with a "/" in it, for ordinary characters; whoever
 * wrote it meant something else. */
static int check_glob(const char *glob, const char **error)
{
	for (const char *p = glob; *p; p++) {
		const char *end;

		if (*p != '[')
			continue;
		end = bracket_end(p);
		if (!end) {
			*error = "has a [ without its ]; close it, or write [[] for the character "
				 "itself";
			return -EINVAL;
		}
		if (memchr(p, '/', (size_t)(end - p))) {
			*error = "has a / inside [ ]; a bracket stands for one character of a name";
			return -EINVAL;
		}
		p = end;
	}
	return 0;
}

int pattern_check_path(const char *path, const char **error)
{
	if (*path != '/') {
		*error = "is not an absolute path; begin it with /";
		return -EINVAL;
	}
	if (strlen(path) >= PATH_MAX) {
		*error = "is longer than a path can be; shorten it";
		return -EINVAL;
	}
	for (const char *name = path + 1; *name;) {
		size_t n = strcspn(name, "/");

		if (n == 0) {
			*error = "has an empty part between two /; write one /";
			return -EINVAL;
		}
		if ((n == 1 && name[0] == '.') || (n == 2 && name[0] == '.' && name[1] == '.')) {
			*error = "goes through . or ..; write the path itself";
			return -EINVAL;
		}
		name += n;
		if (*name == '/')
			name++;
	}
	return 0;
}

/* Of a list each item comes here alone: whoever writes one where one name is due means several. */
static int check_one_cgroup(const char *text, const char **error)
{
	if (!strchr(text, ','))
		return 0;
	*error = "has a comma, and one cgroup is named here; name each by itself, or write "
		 "cgroup:/ with ? for a comma that is in its name";
	return -EINVAL;
}

static int parse_path_glob(struct pattern *out, const char *text, const char **error)
{
	size_t n = strlen(text);

	if (out->kind == PATTERN_CGROUP && check_one_cgroup(text, error) < 0)
		return -EINVAL;
	if (pattern_check_path(text, error) < 0 || check_glob(text, error) < 0)
		return -EINVAL;
	if (out->kind == PATTERN_CGROUP && n > 1 && text[n - 1] == '/')
		n--;
	out->text = strndup(text, n);
	return out->text ? 0 : -ENOMEM;
}

/* systemd allows only letters, digits and ":-_.\@" in a unit's name, so a wildcard is a mistake. */
static int parse_unit(struct pattern *out, const char *text, const char **error)
{
	if (strchr(text, '/')) {
		*error = "is not a unit's name; name a path with cgroup in place of unit";
		return -EINVAL;
	}
	if (check_one_cgroup(text, error) < 0)
		return -EINVAL;
	if (strpbrk(text, " \t")) {
		*error = "has a blank, which a unit's name cannot; put commas between the items of "
			 "a list";
		return -EINVAL;
	}
	if (strpbrk(text, "*?[")) {
		*error = "has wildcards, which a unit's name cannot; write a glob of paths with "
			 "cgroup in place of unit";
		return -EINVAL;
	}
	if (strncmp(text, prefixes[PATTERN_UNIT], strlen(prefixes[PATTERN_UNIT])) == 0) {
		*error = "says unit: twice; write the unit's name alone";
		return -EINVAL;
	}
	if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0 || strlen(text) > NAME_MAX) {
		*error = "cannot be a unit's name; write it as systemctl lists it";
		return -EINVAL;
	}
	out->text = strdup(text);
	return out->text ? 0 : -ENOMEM;
}

static int parse_comm(struct pattern *out, const char *text, const char **error)
{
	size_t fixed = 0;

	if (check_glob(text, error) < 0)
		return -EINVAL;
	if (!strpbrk(text, "*?[")) {
		out->cut = strlen(text) > PATTERN_COMM_MAX;
		out->text = strndup(text, PATTERN_COMM_MAX);
		return out->text ? 0 : -ENOMEM;
	}
	/* Every character of a glob stands for one, except a star and what is in brackets. */
	for (const char *p = text; *p; p++) {
		if (*p == '[')
			p = bracket_end(p);
		if (*p != '*')
			fixed++;
	}
	if (fixed > PATTERN_COMM_MAX) {
		*error = "can match nothing, for the kernel keeps 15 bytes of a process's name; "
			 "shorten it, or use exe:";
		return -EINVAL;
	}
	out->text = strdup(text);
	return out->text ? 0 : -ENOMEM;
}

static int look_up_id(struct pattern *out, const char *name, const char **error)
{
	bool user = out->kind == PATTERN_UID;

	*error = user ? "names no user here; write a name that `getent passwd` knows, or a number"
		      : "names no group here; write a name that `getent group` knows, or a number";
	return (user ? ids_user(name, &out->id) : ids_group(name, &out->id)) < 0 ? -EINVAL : 0;
}

static int parse_id(struct pattern *out, const char *text, const char **error)
{
	uint64_t number;
	int r;

	if (units_parse_number(text, &number, error) == 0) {
		/* (uid_t)-1 means "no one" to every system call. */
		if (number >= UINT32_MAX) {
			*error = "is not an id; ids are below 4294967295";
			return -EINVAL;
		}
		out->id = (uint32_t)number;
	} else {
		r = look_up_id(out, text, error);
		if (r < 0)
			return r;
	}
	out->text = strdup(text);
	return out->text ? 0 : -ENOMEM;
}

int pattern_parse_kind(struct pattern *out, enum pattern_kind kind, const char *text,
		       const char **error)
{
	int r;

	*out = (struct pattern){ .kind = kind };
	*error = "could not be kept: out of memory; free some";
	if (!*text) {
		*error = "is empty; write a name or a glob";
		return -EINVAL;
	}
	switch (kind) {
	case PATTERN_CGROUP:
	case PATTERN_EXE:
		r = parse_path_glob(out, text, error);
		break;
	case PATTERN_UNIT:
		r = parse_unit(out, text, error);
		break;
	case PATTERN_COMM:
		r = parse_comm(out, text, error);
		break;
	default:
		r = parse_id(out, text, error);
	}
	return r;
}

int pattern_parse(struct pattern *out, const char *text, const char **error)
{
	if (*text == '/')
		return pattern_parse_kind(out, PATTERN_CGROUP, text, error);
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		size_t n = strlen(prefixes[i]);

		if (strncmp(text, prefixes[i], n) == 0)
			return pattern_parse_kind(out, (enum pattern_kind)i, text + n, error);
	}
	*out = (struct pattern){ 0 };
	*error = "is not a pattern; begin it with cgroup:/, unit:, exe:, comm:, uid: or gid:";
	return -EINVAL;
}

void pattern_free(struct pattern *pattern)
{
	free(pattern->text);
	pattern->text = NULL;
}

int pattern_list_add(struct pattern_list *list, struct pattern *pattern)
{
	struct pattern *grown = reallocarray(list->patterns, list->count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	list->patterns = grown;
	list->patterns[list->count++] = *pattern;
	*pattern = (struct pattern){ 0 };
	return 0;
}

void pattern_list_free(struct pattern_list *list)
{
	for (unsigned int i = 0; i < list->count; i++)
		pattern_free(&list->patterns[i]);
	free(list->patterns);
	*list = (struct pattern_list){ 0 };
}

/* --- matching ----------------------------------------------------------------------------------
 */

static bool glob_matches(const char *glob, const char *text)
{
	return fnmatch(glob, text, GLOB_FLAGS) == 0;
}

/* Nearly always two paths part before the first wildcard, and that is told at little cost. */
static bool parts_early(const char *glob, const char *path)
{
	for (; *glob && *glob != '*' && *glob != '?' && *glob != '['; glob++, path++)
		if (*glob != *path)
			return true;
	return false;
}

/* A star may stand for nothing, but no cgroup has an empty name: only "/" is the root. */
static bool glob_names_cgroup(const char *glob, const char *path)
{
	return !parts_early(glob, path) && glob_matches(glob, path) &&
	       (strcmp(path, "/") != 0 || strcmp(glob, "/") == 0);
}

/* Matches the path or a cgroup above it. No wildcard crosses "/", so the only one above that can
 * match is the one with as many parts as the glob has. */
static bool cgroup_matches(const char *glob, const char *path)
{
	char above[PATH_MAX];
	const char *end = path;

	if (strcmp(glob, "/") == 0)
		return true;
	if (parts_early(glob, path))
		return false;
	for (const char *p = glob; (p = strchr(p, '/')); p++) {
		if (*end != '/')
			return false;
		end += 1 + strcspn(end + 1, "/");
	}
	if ((size_t)(end - path) >= sizeof(above))
		return false;
	snprintf(above, sizeof(above), "%.*s", (int)(end - path), path);
	return glob_names_cgroup(glob, above);
}

/* Is a directory on this path called `name`? */
static bool path_has_part(const char *path, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = path; (p = strchr(p, '/'));) {
		p++;
		if (strncmp(p, name, n) == 0 && (p[n] == '/' || p[n] == '\0'))
			return true;
	}
	return false;
}

static bool exe_matches(const char *glob, const char *exe)
{
	char kept[PATH_MAX];
	size_t n = strlen(exe), suffix = strlen(DELETED);

	if (n > suffix && n - suffix < sizeof(kept) && strcmp(exe + n - suffix, DELETED) == 0) {
		snprintf(kept, sizeof(kept), "%.*s", (int)(n - suffix), exe);
		exe = kept;
	}
	return glob_matches(glob, exe);
}

bool pattern_matches(const struct pattern *pattern, const struct subject *subject)
{
	switch (pattern->kind) {
	case PATTERN_CGROUP:
		return subject->cgroup_path && cgroup_matches(pattern->text, subject->cgroup_path);
	case PATTERN_UNIT:
		return subject->cgroup_path && path_has_part(subject->cgroup_path, pattern->text);
	case PATTERN_EXE:
		return subject->exe && exe_matches(pattern->text, subject->exe);
	case PATTERN_COMM:
		return subject->comm && glob_matches(pattern->text, subject->comm);
	case PATTERN_UID:
		return subject->known_ids && subject->uid == pattern->id;
	case PATTERN_GID:
		return subject->known_ids && subject->gid == pattern->id;
	}
	return false;
}

const struct pattern *pattern_list_match(const struct pattern_list *list,
					 const struct subject *subject)
{
	for (unsigned int i = 0; i < list->count; i++) {
		if (pattern_matches(&list->patterns[i], subject))
			return &list->patterns[i];
	}
	return NULL;
}

bool pattern_names_cgroup(const struct pattern *pattern, const char *cgroup_path)
{
	const char *name = strrchr(cgroup_path, '/');

	if (pattern->kind == PATTERN_CGROUP)
		return glob_names_cgroup(pattern->text, cgroup_path);
	return pattern->kind == PATTERN_UNIT && name && strcmp(name + 1, pattern->text) == 0;
}

bool pattern_is_everything(const struct pattern *pattern)
{
	if (pattern->kind != PATTERN_CGROUP)
		return false;
	/* Parts of wildcards alone leave nothing out, at whatever depth they stand. */
	for (const char *part = pattern->text; *part; part += 1 + strcspn(part + 1, "/")) {
		size_t n = strcspn(part + 1, "/");

		if (n && (strspn(part + 1, "*?") != n || !memchr(part + 1, '*', n)))
			return false;
	}
	return true;
}

bool pattern_equal(const struct pattern *a, const struct pattern *b)
{
	return a->kind == b->kind && strcmp(a->text, b->text) == 0;
}

bool pattern_is_inside(const struct pattern *part, const struct pattern *whole)
{
	const struct subject subject = { .cgroup_path = part->text };

	return pattern_equal(part, whole) ||
	       (part->kind == PATTERN_CGROUP && pattern_matches(whole, &subject));
}

void pattern_print(const struct pattern *pattern, char *buf, size_t size)
{
	snprintf(buf, size, "%s%s", prefixes[pattern->kind], pattern->text);
}
