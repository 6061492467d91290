/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of the gpu sense share: a sense on one forced source, watching a stand-in node,
 * and an actor, a process that does what it is told, one step at a time.
 * Only what the actors do is counted, because others on the machine may open the same number.
 */
#ifndef CULPRIT_TESTS_GPU_FIXTURE_H
#define CULPRIT_TESTS_GPU_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sense/gpu.h"

struct gpu_fixture {
	struct gpu_sense *gpu;
	char node[96];			     /* the watched node */
	char actors[16];		     /* the cgroup of all actors */
	uint64_t cgroup;		     /* its id */
	unsigned int opened, held, released; /* news about processes of that cgroup */
	unsigned int all_opened;	     /* news about anybody */
	struct gpu_change last;
};

/* Opens the sense on `source` (NULL: the best) with a fresh stand-in, events wanted. */
void gpu_fixture_open(struct gpu_fixture *f, const char *source);
/* As if the agent had ended and another one started: same node, same actors. */
void gpu_fixture_reopen(struct gpu_fixture *f);
void gpu_fixture_close(struct gpu_fixture *f);
/* As cmocka setup and teardown: *state is the name of the source, then the fixture. */
int gpu_fixture_setup(void **state);
int gpu_fixture_teardown(void **state);

/* Runs fn(node) in a process of the actors' cgroup to its end; fails the test unless it returns 0.
 */
void gpu_fixture_run(struct gpu_fixture *f, int (*fn)(const char *node));
/* Dispatches and settles until nothing is left to look at. */
void gpu_fixture_settle(struct gpu_fixture *f);
/* The holder entry of a process for the first device; NULL when it holds none. */
const struct gpu_holder *gpu_fixture_holder(struct gpu_fixture *f, pid_t pid);

struct actor {
	pid_t pid;
	int fd; /* commands go in, answers come out */
};

/* The step runs in the actor; `held` is its array of descriptors, -1 where there is none, and
 * `peer` a socket to the other actor of a pair. Returns what actor_do() then returns. */
typedef int (*actor_step)(const char *node, int *held, int peer);
#define ACTOR_HELD 8

void actor_start(struct gpu_fixture *f, struct actor *actor, int peer);
/* Has the actor run the step and waits until it has. */
int actor_do(struct actor *actor, actor_step step);
/* Has the actor begin the step and does not wait (exec, exit). */
void actor_begin(struct actor *actor, actor_step step);
void actor_end(struct actor *actor);

#endif
