// SPDX-License-Identifier: GPL-2.0-or-later
#include "tell/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/text.h"

/* A line with its prefix stays below PIPE_BUF (4096): a pipe takes it whole or not at all. */
#define TEXT_SIZE 2048
#define LINE_SIZE (TEXT_SIZE + 64)

/* A process has one stderr, so there is one log. */
static struct {
	int level;
	bool journal; /* stderr is the journal's stream */
	bool socket;  /* stderr is a socket: send(2) need not wait */
	uint64_t lost;
	uint64_t lost_told;
} log_state = { .level = LOG_INFO };

static const char *const level_names[] = {
	[LOG_ERR] = "error", [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
	[LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};

void log_open(int level)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	log_state.level = level;
	log_state.journal = log_state.socket = false;
	if (fstat(STDERR_FILENO, &st) < 0)
		return;
	log_state.socket = S_ISSOCK(st.st_mode);
	/* systemd.exec(5): "device:inode" of the stream; a redirected stderr is another file. */
	log_state.journal = stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
			    dev == st.st_dev && ino == st.st_ino;
}

void log_set_level(int level)
{
	log_state.level = level;
}

int log_level_from_name(const char *name)
{
	for (int i = 0; i < (int)ARRAY_SIZE(level_names); i++)
		if (level_names[i] && strcmp(level_names[i], name) == 0)
			return i;
	return -1;
}

bool log_is_journal(void)
{
	return log_state.journal;
}

uint64_t log_lost(void)
{
	return log_state.lost;
}

/*
 * stderr may be shared with others, so it is not ours to make non-blocking. poll(2) says "writable"
 * only when a pipe has a whole free page (pipe_poll in fs/pipe.c) and a terminal is not stopped.
 */
static bool write_line(const char *line, size_t length)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
	ssize_t n;

	if (log_state.socket) {
		n = send(STDERR_FILENO, line, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	} else {
		if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT))
			return false;
		n = write(STDERR_FILENO, line, length);
	}
	return n == (ssize_t)length;
}

static bool write_text(int level, const char *text)
{
	char line[LINE_SIZE];
	int n;

	/* sd-daemon(3): "<N>" at the beginning of a line is its priority. */
	if (log_state.journal)
		n = snprintf(line, sizeof(line), "<%d>%s\n", level, text);
	else
		n = snprintf(line, sizeof(line), "culpritd: %s: %s\n", level_names[level], text);
	return write_line(line, (size_t)n);
}

/* Says once, when there is room again, how many lines are missing in front of the next one. */
static void tell_lost(void)
{
	char text[96];

	if (log_state.lost == log_state.lost_told)
		return;
	snprintf(text, sizeof(text), "%llu log lines were lost: stderr was full",
		 (unsigned long long)(log_state.lost - log_state.lost_told));
	if (write_text(LOG_WARNING, text))
		log_state.lost_told = log_state.lost;
}

void log_messagev(int level, const char *format, va_list ap)
{
	char raw[TEXT_SIZE], text[TEXT_SIZE];
	int saved = errno;
	size_t length;

	if (level > log_state.level)
		return;
	if (level < LOG_ERR)
		level = LOG_ERR;
	vsnprintf(raw, sizeof(raw), format, ap);
	length = strlen(raw);
	while (length > 0 && raw[length - 1] == '\n')
		raw[--length] = '\0';
	tell_lost();
	if (!write_text(level, text_printable(text, sizeof(text), raw)))
		log_state.lost++;
	errno = saved;
}

void log_message(int level, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	log_messagev(level, format, ap);
	va_end(ap);
}
