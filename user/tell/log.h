/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log: to the journal when stderr is connected to it, else one line each on stderr. */
#ifndef CULPRIT_TELL_LOG_H
#define CULPRIT_TELL_LOG_H

#include <stdarg.h>
#include <syslog.h>

/* Sets the most verbose level that is let through (LOG_ERR … LOG_DEBUG) and finds out where to. */
void log_open(int level);
void log_set_level(int level);
/* "error" "warning" "notice" "info" "debug" to LOG_*; -1. */
int log_level_from_name(const char *name);

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
