// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libini_config reads the sections, one at a time: its own merging would lose which file a value
 * came from, it knows no line for a section's header, and its time grows with the square of the
 * number of sections. Nor is it given empty lines, which it keeps as comments, in the square again.
 */
#include "decide/config_source.h"

#include <errno.h>
#include <ini_configobj.h>
#include <ini_valueobj.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decide/config_text.h"
#include "lib/cleanup.h"
#include "lib/utf8.h"

/* Policies and workloads are named in claims and events (CLAIM_NAME_LEN). */
#define NAME_LEN_MAX 63
#define NAME_CHARS   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@-"

static void destroy_ini(struct ini_cfgobj **ini)
{
	ini_config_destroy(*ini);
}
static void destroy_ini_file(struct ini_cfgfile **file)
{
	ini_config_file_destroy(*file);
}
static void free_ini_errors(char ***errors)
{
	ini_config_free_errors(*errors);
}
static void free_ini_names(char ***names)
{
	ini_free_section_list(*names);
}

/* --- messages ----------------------------------------------------------------------------------
 */

static void __attribute__((format(printf, 4, 0)))
tell(struct config_source *source, bool warning, struct config_place place, const char *format,
     va_list ap)
{
	_cleanup_free_ char *text = NULL, *line = NULL;
	int r;

	if (vasprintf(&text, format, ap) < 0) {
		text = NULL;
		source->out_of_memory = true;
		return;
	}
	if (place.line)
		r = asprintf(&line, "%s:%u: %s", place.file, place.line, text);
	else
		r = asprintf(&line, "%s: %s", place.file, text);
	if (r < 0) {
		line = NULL;
		source->out_of_memory = true;
		return;
	}
	utf8_clean(line);
	if (source->message)
		source->message(source->user, warning, line);
}

void config_error(struct config_source *source, struct config_place place, const char *format, ...)
{
	va_list ap;

	source->errors++;
	va_start(ap, format);
	tell(source, false, place, format, ap);
	va_end(ap);
}

void config_warning(struct config_source *source, struct config_place place, const char *format,
		    ...)
{
	va_list ap;

	va_start(ap, format);
	tell(source, true, place, format, ap);
	va_end(ap);
}

/* --- sections and keys -------------------------------------------------------------------------
 */

/* FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv), 32 bits. */
static unsigned int hash_of(const char *kind, const char *name)
{
	unsigned int hash = 0x811c9dc5;

	for (const char *c = kind; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 0x01000193;
	for (const char *c = name; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 0x01000193;
	return hash;
}

struct config_section *config_source_find(struct config_source *source, const char *kind,
					  const char *name)
{
	unsigned int hash = hash_of(kind, name);

	for (size_t i = 0; i < source->n_sections; i++) {
		struct config_section *s = &source->sections[i];

		if (s->hash == hash && strcmp(s->kind, kind) == 0 && strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

const struct config_item *config_section_find(const struct config_section *section, const char *key)
{
	for (size_t i = 0; i < section->n_items; i++) {
		if (strcmp(section->items[i].key, key) == 0)
			return &section->items[i];
	}
	return NULL;
}

static int put_item(struct config_section *section, const char *key, const char *value,
		    struct config_place place)
{
	struct config_item *item = (struct config_item *)config_section_find(section, key);
	_cleanup_free_ char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	if (!item) {
		_cleanup_free_ char *name = strdup(key);
		struct config_item *grown =
			reallocarray(section->items, section->n_items + 1, sizeof(*grown));

		if (!grown || !name) {
			section->items = grown ?: section->items;
			return -ENOMEM;
		}
		section->items = grown;
		item = &section->items[section->n_items++];
		*item = (struct config_item){ .key = take_ptr(name) };
	}
	free(item->value);
	item->value = take_ptr(copy);
	item->place = place;
	return 0;
}

static struct config_section *new_section(struct config_source *source, const char *kind,
					  const char *name, struct config_place place)
{
	struct config_section *grown =
		reallocarray(source->sections, source->n_sections + 1, sizeof(*grown));
	struct config_section section = { .kind = strdup(kind),
					  .name = strdup(name),
					  .hash = hash_of(kind, name),
					  .place = place };

	if (grown)
		source->sections = grown;
	if (!grown || !section.kind || !section.name) {
		free(section.kind);
		free(section.name);
		source->out_of_memory = true;
		return NULL;
	}
	source->sections[source->n_sections++] = section;
	return &source->sections[source->n_sections - 1];
}

/* The section with this header ("policy miner"), made if it is new; NULL when it cannot be. */
static struct config_section *open_section(struct config_source *source, const char *header,
					   struct config_place place)
{
	size_t kind_len = strcspn(header, " \t");
	_cleanup_free_ char *kind = strndup(header, kind_len);
	const char *name = header + kind_len + strspn(header + kind_len, " \t");
	struct config_section *section;

	if (!kind) {
		source->out_of_memory = true;
		return NULL;
	}
	if (strspn(name, NAME_CHARS) != strlen(name) || strlen(name) > NAME_LEN_MAX) {
		config_error(source, place,
			     "section name '%.80s' is not usable; a name has at most %d letters, "
			     "digits, '.', '_', '@' and '-'",
			     name, NAME_LEN_MAX);
		return NULL;
	}
	section = config_source_find(source, kind, name);
	if (!section)
		section = new_section(source, kind, name, place);
	else if (section->last_file == place.file)
		config_error(source, place,
			     "section [%s] stands twice in this file; put its keys together",
			     header);
	if (section)
		section->last_file = place.file;
	return section;
}

/* --- the library -------------------------------------------------------------------------------
 */

static const char *describe(int error)
{
	switch (error) {
	case ERR_NOCLOSESEC:
		return "has no closing bracket at its end; write [NAME] and nothing behind it";
	case ERR_NOSECTION:
		return "names no section; write [agent], [workload NAME] or [policy NAME]";
	case ERR_NOEQUAL:
		return "has no '='; write KEY = VALUE, or make it a comment with # in front";
	case ERR_NOKEY:
		return "has no key in front of '='; write KEY = VALUE";
	case ERR_DUPKEY:
		return "sets a key that this section has set already (capitals count as small "
		       "letters); keep one of the two";
	default:
		return "cannot be read; write [SECTION] or KEY = VALUE";
	}
}

/* The library counts only the lines that it was given. */
static unsigned int index_of_line(const struct config_chunk *chunk, unsigned int counted)
{
	for (unsigned int i = 0; i < chunk->n_lines; i++) {
		if (chunk->lines[i] && --counted == 0)
			return i;
	}
	return chunk->n_lines;
}

/* Tells what the library found wrong and takes those lines out, so that the rest can be read. A
 * repeated key stays: the lenient reading keeps the first. False when the header is wrong. */
static bool tell_syntax_errors(struct config_source *source, struct ini_cfgobj *ini,
			       struct config_chunk *chunk, const char *file)
{
	_cleanup_(free_ini_errors)
	char **errors = NULL;
	bool wrong[CONFIG_KEYS_MAX + 1] = { false };

	if (ini_config_get_errors(ini, &errors) || !errors)
		return true;
	for (char **e = errors; *e; e++) {
		struct config_place place = { file, chunk->first_line };
		unsigned int code, line, i;

		/* "Error (5) on line 16: …", the words in whatever language. */
		if (sscanf(*e, "%*[^(](%u)%*[^0-9]%u", &code, &line) != 2 || line < 1 ||
		    line > ARRAY_SIZE(wrong))
			continue;
		i = index_of_line(chunk, line);
		if (i == chunk->n_lines)
			continue;
		place.line += i;
		config_error(source, place, "'%.40s' %s", chunk->lines[i], describe((int)code));
		wrong[line - 1] = code != ERR_DUPKEY;
	}
	/* Last to first, so that the count of those before holds. */
	for (unsigned int line = ARRAY_SIZE(wrong); line > 1; line--) {
		if (wrong[line - 1]) {
			unsigned int i = index_of_line(chunk, line);

			free(chunk->lines[i]);
			chunk->lines[i] = NULL;
		}
	}
	return !wrong[0];
}

static char *join_lines(const struct config_chunk *chunk, size_t *size)
{
	char *text, *p;

	*size = 0;
	for (unsigned int i = 0; i < chunk->n_lines; i++)
		*size += chunk->lines[i] ? strlen(chunk->lines[i]) + 1 : 0;
	text = p = malloc(*size + 1);
	for (unsigned int i = 0; text && i < chunk->n_lines; i++) {
		if (chunk->lines[i]) {
			p = stpcpy(p, chunk->lines[i]);
			*p++ = '\n';
		}
	}
	if (text)
		*p = '\0';
	return text;
}

/* Parses the chunk into a fresh object; an errno as the library returns it, not negative. */
static int parse_chunk(const struct config_chunk *chunk, uint32_t collisions,
		       struct ini_cfgobj **ini)
{
	_cleanup_(destroy_ini_file)
	struct ini_cfgfile *file = NULL;
	_cleanup_free_ char *text = NULL;
	size_t size;
	int r;

	text = join_lines(chunk, &size);
	if (!text)
		return ENOMEM;
	ini_config_destroy(*ini);
	*ini = NULL;
	r = ini_config_create(ini);
	if (r)
		return r;
	r = ini_config_file_from_mem(text, (uint32_t)size, &file);
	if (r)
		return r;
	return ini_config_parse(file, INI_STOP_ON_NONE, collisions, INI_PARSE_NO_C_COMMENTS, *ini);
}

static void take_keys(struct config_source *source, struct config_section *section,
		      struct ini_cfgobj *ini, const char *header, const struct config_chunk *chunk,
		      const char *file)
{
	_cleanup_(free_ini_names)
	char **keys = NULL;
	int error = 0, count = 0;

	keys = ini_get_attribute_list(ini, header, &count, &error);
	for (int i = 0; keys && i < count; i++) {
		struct config_place place = { file, chunk->first_line };
		struct value_obj *vo = NULL;
		const char *value;
		uint32_t line = 0;

		if (ini_get_config_valueobj(header, keys[i], ini, INI_GET_FIRST_VALUE, &vo) || !vo)
			continue;
		if (value_get_line(vo, &line) || value_get_concatenated(vo, &value))
			continue;
		place.line += index_of_line(chunk, line);
		if (put_item(section, keys[i], value ?: "", place) < 0)
			source->out_of_memory = true;
	}
}

static void add_chunk(struct config_source *source, struct config_chunk *chunk, const char *file)
{
	_cleanup_(destroy_ini)
	struct ini_cfgobj *ini = NULL;
	_cleanup_(free_ini_names)
	char **headers = NULL;
	struct config_place place = { file, chunk->first_line };
	struct config_section *section;
	int error = 0, count = 0;
	int r = parse_chunk(chunk, INI_MV1S_ERROR, &ini);

	if (r && r != ENOMEM && ini) {
		if (!tell_syntax_errors(source, ini, chunk, file))
			return;
		r = parse_chunk(chunk, INI_MV1S_PRESERVE, &ini);
	}
	if (r == ENOMEM) {
		source->out_of_memory = true;
		return;
	}
	if (!r)
		headers = ini_get_section_list(ini, &count, &error);
	if (!headers || count != 1) {
		config_error(
			source, place,
			"'%.40s' cannot be read as a section; write [NAME] in letters, digits, "
			"'.', '_', '@' and '-'",
			chunk->lines[0] ?: "");
		return;
	}
	section = open_section(source, headers[0], place);
	if (section)
		take_keys(source, section, ini, headers[0], chunk, file);
}

static const char *keep_file_name(struct config_source *source, const char *file)
{
	char **grown = reallocarray(source->files, source->n_files + 1, sizeof(*grown));
	char *copy = strdup(file);

	if (grown)
		source->files = grown;
	if (!grown || !copy) {
		free(copy);
		return NULL;
	}
	source->files[source->n_files++] = copy;
	return copy;
}

int config_source_add(struct config_source *source, const char *file)
{
	_cleanup_(config_text_free)
	struct config_text text = { 0 };
	int r;

	file = keep_file_name(source, file);
	if (!file)
		return -ENOMEM;
	r = config_text_read(&text, source, file);
	if (r < 0)
		return r;
	if (text.n_chunks > CONFIG_SECTIONS_MAX) {
		config_error(
			source,
			(struct config_place){ file, text.chunks[CONFIG_SECTIONS_MAX].first_line },
			"more than %d sections; is this the right file?", CONFIG_SECTIONS_MAX);
		return 0;
	}
	for (size_t i = 0; i < text.n_chunks; i++)
		add_chunk(source, &text.chunks[i], file);
	return 0;
}

void config_source_free(struct config_source *source)
{
	for (size_t i = 0; i < source->n_sections; i++) {
		struct config_section *s = &source->sections[i];

		for (size_t k = 0; k < s->n_items; k++) {
			free(s->items[k].key);
			free(s->items[k].value);
		}
		free(s->items);
		free(s->kind);
		free(s->name);
	}
	free(source->sections);
	for (unsigned int i = 0; i < source->n_files; i++)
		free(source->files[i]);
	free(source->files);
}
