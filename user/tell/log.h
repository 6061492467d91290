/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log: one line each on stderr, in the journal's form when stderr is connected to it. It never
 * waits for who reads there: a line for which there is no room is dropped and counted.
 */
#ifndef CULPRIT_TELL_LOG_H
#define CULPRIT_TELL_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>

/* Sets the most verbose level that is let through (LOG_ERR … LOG_DEBUG) and finds out where to. */
void log_open(int level);
void log_set_level(int level);
/* "error" "warning" "notice" "info" "debug" to LOG_*; -1. */
int log_level_from_name(const char *name);
/* Is stderr the journal's ($JOURNAL_STREAM)? Known after log_open(). */
bool log_is_journal(void);
/* Lines dropped because stderr was full; the next line that gets through says so too. */
uint64_t log_lost(void);

/* Control characters in the text are escaped: it stays one line, whoever chose the names in it. */
__attribute__((format(printf, 2, 3))) void log_message(int level, const char *format, ...);
void log_messagev(int level, const char *format, va_list ap) __attribute__((format(printf, 2, 0)));

#define log_error(...)	 log_message(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)	 log_message(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)	 log_message(LOG_INFO, __VA_ARGS__)
#define log_debug(...)	 log_message(LOG_DEBUG, __VA_ARGS__)

/* libbpf's own messages, routed in at debug level (warnings too: a rung that does not load is
 * expected and told by the sense). */
void log_capture_libbpf(void);

#endif
