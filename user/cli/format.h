/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the agent says, in the words of people. Whatever is missing or of another type in the JSON
 * reads as empty or 0: an agent may be older or newer than its client. */
#ifndef CULPRIT_CLI_FORMAT_H
#define CULPRIT_CLI_FORMAT_H

#include <jansson.h>
#include <stddef.h>

#define FORMAT_SIZE 64

/* Each writes into buf (FORMAT_SIZE bytes) and returns it. */
char *format_size(char *buf, double bytes);	   /* "4.8 MiB" */
char *format_duration(char *buf, json_int_t ms);   /* "2 h 14 min" "12 s" "250 ms" */
char *format_cpu_time(char *buf, json_int_t usec); /* "12.35 s" "3 min 2 s" */
char *format_time(char *buf, json_int_t unix_ms);  /* local, "2026-01-31 13:00:00"; "-" for 0 */
/* "30 %" "0.3 cpus" "120 pages/s" */
char *format_value(char *buf, double value, const char *unit);

/* "/a/b" or "pid 4711 (hog)" into buf; not made printable. Returns buf. */
char *format_target(char *buf, size_t size, const json_t *target);
#define TARGET_SIZE 4352

const char *member_text(const json_t *object, const char *name);
json_int_t member_int(const json_t *object, const char *name);
double member_real(const json_t *object, const char *name);

#endif
