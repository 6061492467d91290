/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON values that jansson does not make as they are needed here. New references. */
#ifndef CULPRIT_TELL_JSON_H
#define CULPRIT_TELL_JSON_H

#include <jansson.h>
#include <stdint.h>

/* A string of any bytes: json_string() refuses what is not UTF-8, and comm and cgroup names may
 * hold anything; such bytes become \xNN. */
json_t *json_text(const char *text);
/* JSON's integers are signed here; what does not fit is the largest. */
json_t *json_counter(uint64_t value);

#endif
