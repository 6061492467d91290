/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Quantities as people write them: durations (`250ms 15s 10m 2h`), shares (`15%`, `0.1cpu`), sizes
 * (`64M`) and plain numbers. Digits with an optional decimal fraction; no sign, exponent or space.
 * A bare number where a unit is due is an error (0 needs no unit).
 *
 * All parsers return 0, or -EINVAL (malformed) or -ERANGE (too large for the result); *error is
 * then a static text that continues "VALUE …": what is wrong, and what to write.
 */
#ifndef CULPRIT_LIB_UNITS_H
#define CULPRIT_LIB_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ten years: more is a slip of the pen, not a wish. */
#define UNITS_DURATION_MAX_NS (3653ULL * 86400 * 1000000000)

/* Nanoseconds, at most UNITS_DURATION_MAX_NS. */
int units_parse_duration(const char *text, uint64_t *ns, const char **error);

/* `15%` gives 0.15 and *cpus false; `0.1cpu` gives 0.1 and *cpus true. */
int units_parse_share(const char *text, double *value, bool *cpus, const char **error);

/* Bytes; K, M, G and T are powers of 1024. */
int units_parse_size(const char *text, uint64_t *bytes, const char **error);

/* A whole number without unit. */
int units_parse_number(const char *text, uint64_t *value, const char **error);

/* As it may stand in a configuration, in the largest unit that divides it ("15s", "1500ms"). */
void units_print_duration(uint64_t ns, char *buf, size_t size);
/* As people write it ("250 ms", "1.5 s", "1 h 30 min"): three digits, or two units. */
void units_say_duration(uint64_t ns, char *buf, size_t size);

#endif
