/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One rung of one sense's ladder, forced on a whole culpritd: what it is expected to do on this
 * kernel, and what it was seen to do.
 */
#ifndef CULPRIT_TESTS_VM_RUNG_H
#define CULPRIT_TESTS_VM_RUNG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* An emulated machine is slow, and none of this is a measurement. */
#define PATIENCE_MS 20000

struct rung {
	const char *sense, *source;
	const char *what;   /* is looked at: the sense itself, or something beside it */
	char forced[64];    /* what --source says, SENSE=SOURCE */
	char agreement[64]; /* counted ÷ the kernel's own count */
	bool expected;	    /* this kernel has it */
	bool in_use;
	bool ok;
};

/* Starts an agent with this configuration (agent.h) on that rung; fails the test unless the rung is
 * in use where the kernel has it, and said to be unusable where it has not. Returns in_use. */
bool rung_start(struct rung *rung, const char *config);
/* SIGTERM; the agent must end well. */
void rung_stop(struct rung *rung);
/* Notes counted ÷ truth, and fails the test when it is off by more than `tolerance` (a share). */
void rung_agrees(struct rung *rung, uint64_t counted, uint64_t truth, double tolerance);

/* The rows of `top` under this key, as a new reference. */
json_t *top_rows(const char *key);
/* The row whose member `key` is that string, or that number; NULL (borrowed reference). */
json_t *row_named(json_t *rows, const char *key, const char *value);
json_t *row_numbered(json_t *rows, const char *key, json_int_t value);
uint64_t row_count(const json_t *row, const char *key);

/* A policy that freezes ROOT/hog while ROOT/front is busy. */
extern const char cpu_policy[];
/* The checks, one for each sense; *state is the rung. Each starts its agent and ends it. */
void check_cpu(void **state);
void check_gpu(void **state);
void check_gpu_kinds(void **state);
void check_swap(void **state);
void check_census(void **state);
void check_tree(void **state);

#endif
