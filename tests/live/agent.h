/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole culpritd under test: with its own configuration, state directory, socket and pins, always
 * confined (`only`) to the test root. One at a time.
 */
#ifndef CULPRIT_TESTS_AGENT_H
#define CULPRIT_TESTS_AGENT_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

/* What most tests need: "hog" is frozen while "front" uses more than 0.04 CPUs; grace 300 ms. */
extern const char agent_hog_yields[];
/* live_setup(), and these two, with a busy process in "hog". */
int agent_hog_setup(void **state);

/* Starts culpritd with this configuration (the [agent] section is written by this function; `text`
 * is a printf format whose %s all stand for the test root's path) and waits until it answers. */
pid_t agent_start(const char *text);
/* The same without waiting for an answer; for configurations that must be refused. */
pid_t agent_spawn(const char *text);
/* Has the agents that are started from now on use one source, "SENSE=SOURCE" (NULL: the best). */
void agent_force(const char *source);
/* Both with programs before culpritd ("setpriv …") and options behind it; each list ends with NULL
 * and may be NULL. They start with an empty log. */
pid_t agent_spawn_with(const char *const *before, const char *const *options, const char *text);
pid_t agent_start_with(const char *const *before, const char *const *options, const char *text);
/* What the agent wrote to stderr: does a line hold this; how many lines are there? */
bool agent_logged(const char *text);
unsigned int agent_log_lines(void);
void agent_print_log(void);
const char *agent_pin_dir(void);
/* SIGTERM, waits; the exit status. */
int agent_stop(void);
pid_t agent_pid(void);
const char *agent_file(const char *name); /* a path in the agent's temporary directory */
/* Writes a new configuration in the place of the old one. */
void agent_write_config(const char *text);

/* One call; the reply's parameters (new reference), or NULL with the error's name in *error. */
json_t *agent_call(const char *method, json_t *parameters, char *error, size_t size);
/* Waits for an event of this kind (and policy, unless NULL) that is newer than those already waited
 * for; fails the test after timeout_ms. New reference. */
json_t *agent_wait_event(const char *kind, const char *policy, unsigned int timeout_ms);
/* How many events of this kind (and policy, unless NULL) there are now. */
unsigned int agent_count_events(const char *kind, const char *policy);
/* The state of a policy: "quiet", "holding" … */
void agent_policy_state(const char *policy, char *state, size_t size);

#endif
