// SPDX-License-Identifier: GPL-2.0-or-later
#include "decide/config_text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/cleanup.h"
#include "lib/utf8.h"

struct text_reader {
	struct config_text *text;
	struct config_source *source;
	const char *file;
	size_t key_line;   /* index of the line that an indented one continues; SIZE_MAX: none */
	size_t marked_to;  /* index of the last line that it has a mark for */
	unsigned int keys; /* in this section */
};

/* --- the bytes ---------------------------------------------------------------------------------
 */

/* O_NONBLOCK: opening a FIFO would wait for its writer. */
static int read_whole(const char *file, char **out, size_t *size)
{
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	_cleanup_free_ char *data = NULL;
	struct stat st;
	size_t used = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if (st.st_size > CONFIG_FILE_MAX)
		return -EFBIG;
	data = calloc(1, (size_t)st.st_size + 1);
	if (!data)
		return -ENOMEM;
	while (used < (size_t)st.st_size) {
		ssize_t n = read(fd, data + used, (size_t)st.st_size - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	*out = take_ptr(data);
	*size = used;
	return 0;
}

static bool line_is_text(struct text_reader *reader, struct config_place place, const char *line,
			 size_t size)
{
	for (size_t i = 0; i < size;) {
		unsigned char c = (unsigned char)line[i];
		size_t n = utf8_length(line + i, size - i);

		if (n == 0) {
			config_error(reader->source, place,
				     "byte 0x%02x is not UTF-8; save the file as UTF-8", c);
			return false;
		}
		if ((c < 0x20 && c != '\t') || c == 0x7f) {
			config_error(reader->source, place,
				     "control character 0x%02x stands in the line; remove it", c);
			return false;
		}
		i += n;
	}
	return true;
}

/* --- the lines ---------------------------------------------------------------------------------
 */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Cuts a comment behind a value (a blank, then what also begins a comment line) and the blanks at
 * the end. */
static void trim_end(char *line)
{
	size_t n;

	for (char *p = line; (p = strpbrk(p, ";#")); p++) {
		if (p > line && is_blank(p[-1])) {
			*p = '\0';
			break;
		}
	}
	for (n = strlen(line); n > 0 && is_blank(line[n - 1]); n--)
		line[n - 1] = '\0';
}

/* Takes the line. */
static void begin_chunk(struct text_reader *reader, char **line, size_t index)
{
	struct config_text *text = reader->text;
	struct config_chunk *grown;

	/* One more than is allowed tells enough. */
	if (text->n_chunks > CONFIG_SECTIONS_MAX)
		return;
	grown = reallocarray(text->chunks, text->n_chunks + 1, sizeof(*grown));
	if (!grown) {
		reader->source->out_of_memory = true;
		return;
	}
	text->chunks = grown;
	text->chunks[text->n_chunks++] = (struct config_chunk){
		.first_line = (unsigned int)index + 1, .lines = &text->lines[index], .n_lines = 1
	};
	/* The library takes no tabs there. */
	for (char *p = *line; (p = strchr(p, '\t'));)
		*p = ' ';
	text->lines[index] = take_ptr(*line);
	reader->key_line = SIZE_MAX;
	reader->keys = 0;
}

/* The library gives a wrong key no line number, and takes C comments. */
static bool key_is_plain(const char *line)
{
	size_t n = strcspn(line, "=");

	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)line[i]) && !strchr("_-. \t", line[i]))
			return false;
	}
	return true;
}

/* Takes the line, if it is one. */
static void add_key(struct text_reader *reader, struct config_place place, char **line,
		    size_t index)
{
	reader->key_line = SIZE_MAX;
	if (reader->text->n_chunks == 0) {
		config_error(reader->source, place,
			     "'%.40s' stands before any section; put it below a line such as "
			     "[agent]",
			     *line);
		return;
	}
	if (!key_is_plain(*line)) {
		config_error(reader->source, place,
			     "'%.40s' is neither a section nor KEY = VALUE; correct it, or make it "
			     "a comment with # in front",
			     *line);
		return;
	}
	if (++reader->keys > CONFIG_KEYS_MAX) {
		if (reader->keys == CONFIG_KEYS_MAX + 1)
			config_error(reader->source, place,
				     "more than %d keys in one section; no section has so many, "
				     "is this the right file?",
				     CONFIG_KEYS_MAX);
		return;
	}
	reader->text->lines[index] = take_ptr(*line);
	reader->key_line = reader->marked_to = index;
}

/* Appends an indented line to the key's, with a mark for each line between them. */
static void continue_key(struct text_reader *reader, struct config_place place, const char *line,
			 size_t index)
{
	size_t marks, used, length = strlen(line);
	char **to, *joined;

	if (reader->key_line == SIZE_MAX) {
		config_error(reader->source, place,
			     "an indented line continues the list above it, and there is none; "
			     "remove the blanks in front");
		return;
	}
	to = &reader->text->lines[reader->key_line];
	marks = index - reader->marked_to;
	used = strlen(*to);
	joined = realloc(*to, used + marks + length + 1);
	if (!joined) {
		reader->source->out_of_memory = true;
		return;
	}
	memset(joined + used, CONFIG_LINE_MARK, marks);
	memcpy(joined + used + marks, line, length + 1);
	*to = joined;
	reader->marked_to = index;
}

static void add_line(struct text_reader *reader, const char *raw, size_t size, size_t index)
{
	struct config_place place = { reader->file, (unsigned int)index + 1 };
	_cleanup_free_ char *line = NULL;
	const char *begin;

	if (size > 0 && raw[size - 1] == '\r')
		size--;
	if (!line_is_text(reader, place, raw, size))
		return;
	line = strndup(raw, size);
	if (!line) {
		reader->source->out_of_memory = true;
		return;
	}
	begin = line + strspn(line, " \t");
	if (*begin == ';' || *begin == '#' || *begin == '\0')
		return;
	trim_end(line);
	if (begin != line)
		continue_key(reader, place, begin, index);
	else if (*line == '[')
		begin_chunk(reader, &line, index);
	else
		add_key(reader, place, &line, index);
}

static int split_lines(struct text_reader *reader, const char *data, size_t size)
{
	struct config_text *text = reader->text;
	size_t index = 0;

	for (size_t i = 0; i < size; i++)
		text->n_lines += data[i] == '\n';
	text->n_lines++;
	text->lines = calloc(text->n_lines, sizeof(*text->lines));
	if (!text->lines)
		return -ENOMEM;
	for (const char *p = data, *end = data + size; index < text->n_lines; index++) {
		/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): read_whole() sets it */
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((newline ? newline : end) - p);

		add_line(reader, p, n, index);
		if (text->n_chunks > 0)
			text->chunks[text->n_chunks - 1].n_lines =
				(unsigned int)index + 2 -
				text->chunks[text->n_chunks - 1].first_line;
		p = newline ? newline + 1 : end;
	}
	return 0;
}

int config_text_read(struct config_text *text, struct config_source *source, const char *file)
{
	struct text_reader reader = {
		.text = text, .source = source, .file = file, .key_line = SIZE_MAX
	};
	_cleanup_free_ char *data = NULL;
	size_t size = 0, bom = 0;
	int r;

	*text = (struct config_text){ 0 };
	r = read_whole(file, &data, &size);
	if (!data)
		return r;
	if (size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0)
		bom = 3;
	return split_lines(&reader, data + bom, size - bom);
}

void config_text_free(struct config_text *text)
{
	for (size_t i = 0; text->lines && i < text->n_lines; i++)
		free(text->lines[i]);
	free(text->lines);
	free(text->chunks);
	*text = (struct config_text){ 0 };
}
