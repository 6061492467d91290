/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Durations and times as people write them. */
#ifndef CULPRIT_CLI_PARSE_H
#define CULPRIT_CLI_PARSE_H

#include <jansson.h>

/* "250ms" "15s" "10m" "2h" "1d", whole numbers, to milliseconds. 0 or -EINVAL. */
int parse_duration(const char *text, json_int_t *ms);
/* RFC 3339 ("2026-01-31T12:00:00.5+01:00", "T" may be a space) to Unix milliseconds. 0 or -EINVAL.
 */
int parse_time(const char *text, json_int_t *ms);
/* Either: a duration is that long before now_ms. 0 or -EINVAL. */
int parse_since(const char *text, json_int_t now_ms, json_int_t *ms);

#endif
