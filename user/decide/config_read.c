// SPDX-License-Identifier: GPL-2.0-or-later
#include "decide/config_read.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/units.h"

/* What is shown of a value in a message. */
#define SHOWN "%.80s"

/* --- lists -------------------------------------------------------------------------------------
 */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == CONFIG_LINE_MARK;
}

static bool is_one_line(const char *text)
{
	return !strchr(text, CONFIG_LINE_MARK);
}

/* One item of a list, in [begin, end). */
static void call_item(struct config_source *source, const char *begin, const char *end,
		      struct config_place place, config_each_fn fn, void *user)
{
	_cleanup_free_ char *text = NULL;

	while (begin < end && is_space(*begin))
		place.line += *begin++ == CONFIG_LINE_MARK;
	while (end > begin && is_space(end[-1]))
		end--;
	text = strndup(begin, (size_t)(end - begin));
	if (!text) {
		source->out_of_memory = true;
		return;
	}
	if (!*text)
		config_error(source, place, "the list has nothing between two commas; remove one");
	else if (!is_one_line(text))
		config_error(source, place,
			     "no comma stands between '%.*s' and the line below it; put one "
			     "behind each item of the list",
			     (int)strcspn(text, "\x1f"), text);
	else
		fn(user, text, place);
}

/* A comma behind the last item is fine, as it is where people make lists line by line. */
void config_each(struct config_source *source, const struct config_item *item, config_each_fn fn,
		 void *user)
{
	struct config_place place = item->place;
	const char *p = item->value;

	for (;;) {
		const char *end = strchrnul(p, ',');
		size_t blanks = 0;

		while (is_space(p[blanks]))
			blanks++;
		if (!*end && p[blanks] == '\0')
			return;
		call_item(source, p, end, place, fn, user);
		if (!*end)
			return;
		for (; p < end; p++)
			place.line += *p == CONFIG_LINE_MARK;
		p = end + 1;
	}
}

bool config_is_plain(struct config_source *source, const struct config_item *item)
{
	if (!*item->value) {
		config_error(source, item->place,
			     "%s is empty; give it a value, or remove the line for the default",
			     item->key);
		return false;
	}
	if (!is_one_line(item->value)) {
		config_error(source, item->place,
			     "%s goes on in an indented line, which only a list does; write it on "
			     "one line, or remove the blanks in front of the next key",
			     item->key);
		return false;
	}
	return true;
}

static void refuse(struct config_source *source, const struct config_item *item, const char *why)
{
	config_error(source, item->place, "%s = '" SHOWN "' %s", item->key, item->value, why);
}

/* --- words and numbers -------------------------------------------------------------------------
 */

static void refuse_word(struct config_source *source, const struct config_item *item,
			const struct config_word *words)
{
	char choice[256] = "";

	for (const struct config_word *w = words; w->word; w++) {
		if (w->later)
			continue;
		if (*choice)
			strncat(choice, ", ", sizeof(choice) - strlen(choice) - 1);
		strncat(choice, w->word, sizeof(choice) - strlen(choice) - 1);
	}
	config_error(source, item->place, "%s = '" SHOWN "' is unknown; choose one of: %s",
		     item->key, item->value, choice);
}

void config_read_word(struct config_source *source, const struct config_item *item,
		      const struct config_key *key, void *field)
{
	if (!config_is_plain(source, item))
		return;
	for (const struct config_word *w = key->words; w->word; w++) {
		if (strcmp(w->word, item->value) != 0)
			continue;
		if (w->later)
			config_error(source, item->place,
				     "'%s = %s' is not supported yet; choose another, or remove it",
				     item->key, item->value);
		else if (field)
			*(int *)field = w->value;
		return;
	}
	refuse_word(source, item, key->words);
}

void config_read_duration(struct config_source *source, const struct config_item *item,
			  const struct config_key *key, void *field)
{
	char least[32], most[32];
	const char *error;
	uint64_t ns;

	if (!config_is_plain(source, item))
		return;
	if (units_parse_duration(item->value, &ns, &error) < 0) {
		refuse(source, item, error);
		return;
	}
	if (ns < key->min || (key->max && ns > key->max)) {
		units_print_duration(key->min, least, sizeof(least));
		units_print_duration(key->max, most, sizeof(most));
		config_error(source, item->place,
			     "%s = '" SHOWN "' is out of range; write %s to %s", item->key,
			     item->value, least, most);
		return;
	}
	if (field)
		*(uint64_t *)field = ns;
}

void config_read_limit(struct config_source *source, const struct config_item *item,
		       const struct config_key *key, void *field)
{
	uint64_t ns = 0;
	unsigned int errors = source->errors;

	if (strcmp(item->value, "none") != 0) {
		config_read_duration(source, item, key, &ns);
		if (source->errors != errors)
			return;
		if (ns == 0) {
			refuse(source, item, "is no time at all; write none for no limit");
			return;
		}
	}
	if (field)
		*(uint64_t *)field = ns;
}

void config_read_number(struct config_source *source, const struct config_item *item,
			const struct config_key *key, void *field)
{
	const char *error;
	uint64_t number;

	if (!config_is_plain(source, item))
		return;
	if (units_parse_number(item->value, &number, &error) < 0) {
		refuse(source, item, error);
	} else if (number < key->min || (key->max && number > key->max)) {
		config_error(source, item->place,
			     "%s = '" SHOWN "' is out of range; write %" PRIu64 " to %" PRIu64,
			     item->key, item->value, key->min, key->max);
	} else if (field) {
		*(uint64_t *)field = number;
	}
}

void config_read_text(struct config_source *source, const struct config_item *item,
		      const struct config_key *key, void *field)
{
	(void)key;
	(void)field;
	(void)config_is_plain(source, item);
}

bool config_is_empty_list(const struct config_item *item)
{
	return item->value[strspn(item->value, " \t,\x1f")] == '\0';
}

void config_read_list(struct config_source *source, const struct config_item *item,
		      const struct config_key *key, void *field)
{
	(void)key;
	(void)field;
	if (config_is_empty_list(item))
		config_error(source, item->place, "%s is empty; name at least one", item->key);
}

/* --- patterns and paths ------------------------------------------------------------------------
 */

struct list_reading {
	struct config_source *source;
	const char *key;
	struct pattern_list *patterns;
	char **texts; /* NULL-terminated */
	size_t n_texts;
};

void config_warn_cut(struct config_source *source, const struct pattern *pattern, const char *text,
		     struct config_place place)
{
	if (pattern->cut)
		config_warning(source, place,
			       "'" SHOWN
			       "' is taken as 'comm:%s', for the kernel keeps %d bytes of "
			       "a process's name; use exe: to tell longer names apart",
			       text, pattern->text, PATTERN_COMM_MAX);
}

static void read_pattern(void *user, const char *text, struct config_place place)
{
	struct list_reading *reading = user;
	struct pattern pattern;
	const char *error;
	int r = pattern_parse(&pattern, text, &error);

	if (r == -EINVAL)
		config_error(reading->source, place, "%s: '" SHOWN "' %s", reading->key, text,
			     error);
	if (r == 0)
		config_warn_cut(reading->source, &pattern, text, place);
	if (r == 0 && reading->patterns)
		r = pattern_list_add(reading->patterns, &pattern);
	if (r == -ENOMEM)
		reading->source->out_of_memory = true;
	pattern_free(&pattern);
}

void config_read_patterns(struct config_source *source, const struct config_item *item,
			  const struct config_key *key, void *field)
{
	struct list_reading reading = { .source = source, .key = item->key, .patterns = field };

	(void)key;
	config_each(source, item, read_pattern, &reading);
}

bool config_read_target(struct config_source *source, const struct config_item *item,
			struct pattern *out)
{
	const char *error;
	int r;

	if (!config_is_plain(source, item))
		return false;
	r = pattern_parse(out, item->value, &error);
	if (r == -EINVAL) {
		refuse(source, item, error);
	} else if (r == 0 && out->kind != PATTERN_CGROUP && out->kind != PATTERN_UNIT) {
		refuse(source, item, "names no cgroup; begin it with unit: or cgroup:/");
		r = -EINVAL;
	}
	if (r == -ENOMEM)
		source->out_of_memory = true;
	if (r < 0)
		pattern_free(out);
	return r == 0;
}

static void store_text(struct config_source *source, const char *text, size_t length, void *field)
{
	char *copy = strndup(text, length);

	if (!copy) {
		source->out_of_memory = true;
		return;
	}
	free(*(char **)field);
	*(char **)field = copy;
}

/* Checks a path and stores it without a slash at its end. */
static void read_path(struct config_source *source, const struct config_item *item, void *field)
{
	size_t length = strlen(item->value);
	const char *error;

	if (pattern_check_path(item->value, &error) < 0) {
		refuse(source, item, error);
		return;
	}
	if (length > 1 && item->value[length - 1] == '/')
		length--;
	if (field)
		store_text(source, item->value, length, field);
}

static bool is_too_long(struct config_source *source, const struct config_item *item,
			const struct config_key *key)
{
	if (!key->max || strlen(item->value) <= key->max)
		return false;
	config_error(source, item->place,
		     "%s is longer than %" PRIu64 " bytes; choose a shorter path", item->key,
		     key->max);
	return true;
}

void config_read_path(struct config_source *source, const struct config_item *item,
		      const struct config_key *key, void *field)
{
	if (!config_is_plain(source, item) || is_too_long(source, item, key))
		return;
	if (strcmp(item->value, "/") == 0)
		refuse(source, item, "is the root directory; choose a path below it");
	else
		read_path(source, item, field);
}

void config_read_cgroup(struct config_source *source, const struct config_item *item,
			const struct config_key *key, void *field)
{
	if (!config_is_plain(source, item) || is_too_long(source, item, key))
		return;
	if (strpbrk(item->value, "*?["))
		refuse(source, item, "is a glob; write the path of one cgroup");
	else
		read_path(source, item, field);
}

static void read_glob(void *user, const char *text, struct config_place place)
{
	struct list_reading *reading = user;
	_cleanup_(pattern_free)
	struct pattern checked = { 0 };
	const char *error;
	char **grown;

	/* A device node is named as a program is: an absolute path with globs. */
	if (pattern_parse_kind(&checked, PATTERN_EXE, text, &error) < 0) {
		config_error(reading->source, place, "%s: '" SHOWN "' %s", reading->key, text,
			     error);
		return;
	}
	grown = reallocarray(reading->texts, reading->n_texts + 2, sizeof(*grown));
	if (!grown) {
		reading->source->out_of_memory = true;
		return;
	}
	reading->texts = grown;
	grown[reading->n_texts++] = take_ptr(checked.text);
	grown[reading->n_texts] = NULL;
}

static void free_texts(char **texts)
{
	for (char **t = texts; t && *t; t++)
		free(*t);
	free(texts);
}

void config_read_globs(struct config_source *source, const struct config_item *item,
		       const struct config_key *key, void *field)
{
	struct list_reading reading = { .source = source, .key = item->key };
	unsigned int errors = source->errors;

	(void)key;
	config_each(source, item, read_glob, &reading);
	if (!reading.texts && source->errors == errors)
		refuse(source, item, "names no device; write a glob such as /dev/nvidia[0-9]*");
	if (!field || !reading.texts) {
		free_texts(reading.texts);
		return;
	}
	free_texts(*(char ***)field);
	*(char ***)field = reading.texts;
}

/* --- values of features that come later: checked, not kept -------------------------------------
 */

void config_read_nice(struct config_source *source, const struct config_item *item,
		      const struct config_key *key, void *field)
{
	const char *digits = item->value + (*item->value == '-');
	const char *error;
	uint64_t number;

	(void)key;
	(void)field;
	if (config_is_plain(source, item) && (units_parse_number(digits, &number, &error) < 0 ||
					      number > (digits == item->value ? 19 : 20)))
		refuse(source, item, "is no nice value; write a whole number from -20 to 19");
}

static void check_user(void *user, const char *text, struct config_place place)
{
	struct list_reading *reading = user;
	struct pattern pattern;
	const char *error;

	if (pattern_parse_kind(&pattern, PATTERN_UID, text, &error) == -EINVAL)
		config_error(reading->source, place, "%s: '" SHOWN "' %s", reading->key, text,
			     error);
	pattern_free(&pattern);
}

void config_read_users(struct config_source *source, const struct config_item *item,
		       const struct config_key *key, void *field)
{
	struct list_reading reading = { .source = source, .key = item->key };

	(void)key;
	(void)field;
	config_each(source, item, check_user, &reading);
}

/* --- sections ----------------------------------------------------------------------------------
 */

static const char *const signal_names[] = {
	"cpu", "gpu", "thrash", "pressure", "presence", "power"
};

static void refuse_key(struct config_source *source, const struct config_item *item,
		       const struct config_section *section, const struct config_key *keys)
{
	char known[512] = "";

	for (const struct config_key *k = keys; k->name; k++) {
		if (*known)
			strncat(known, ", ", sizeof(known) - strlen(known) - 1);
		strncat(known, k->name, sizeof(known) - strlen(known) - 1);
	}
	config_error(source, item->place, "unknown key '%.40s'; a [%s] section knows %s", item->key,
		     section->kind, known);
}

/* The key goes with other signals than the one that the policy names. */
static void refuse_signal(struct config_source *source, const struct config_item *item,
			  const struct config_key *key)
{
	char signals[96] = "";

	for (size_t i = 0; i < ARRAY_SIZE(signal_names); i++) {
		if (!(key->signals & 1U << i))
			continue;
		if (*signals)
			strncat(signals, " or ", sizeof(signals) - strlen(signals) - 1);
		strncat(signals, signal_names[i], sizeof(signals) - strlen(signals) - 1);
	}
	config_error(source, item->place,
		     "%s goes with signal = %s only; remove it, or change the signal", item->key,
		     signals);
}

static void read_item(struct config_source *source, const struct config_item *item,
		      const struct config_key *key, void *out)
{
	unsigned int errors = source->errors;
	bool keep = out && key->offset != CONFIG_NO_FIELD;

	key->read(source, item, key, keep ? (char *)out + key->offset : NULL);
	if (key->only && source->errors == errors && strcmp(item->value, key->only) != 0)
		config_error(source, item->place,
			     "'%s = " SHOWN "' is not supported yet; remove it, or set it to its "
			     "default (%s)",
			     item->key, item->value, key->only);
}

void config_read_section(struct config_source *source, const struct config_section *section,
			 const struct config_key *keys, unsigned int signal, void *out)
{
	for (size_t i = 0; i < section->n_items; i++) {
		const struct config_item *item = &section->items[i];
		const struct config_key *key = keys;

		while (key->name && strcmp(key->name, item->key) != 0)
			key++;
		if (!key->name)
			refuse_key(source, item, section, keys);
		else if (signal && key->signals && !(key->signals & signal))
			refuse_signal(source, item, key);
		else
			read_item(source, item, key, out);
	}
}
