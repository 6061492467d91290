/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An agent made of the act room alone: event loop, ledger, guardian and claims, confined to the
 * test root. Its ledger is live_tmpdir()/state.
 */
#ifndef CULPRIT_TESTS_MINI_H
#define CULPRIT_TESTS_MINI_H

#include <stdbool.h>

#include "act/act.h"
#include "act/guardian.h"
#include "act/ledger.h"

struct mini {
	sd_event *event;
	struct ledger *ledger;
	struct guardian *guardian;
	struct act *act;
	struct act_options options;
	struct guardian_options guardian_options;
	struct {
		enum act_news news;
		uint64_t claim_id;
	} told[512];
	unsigned int n_told;
};

const char *mini_state_dir(void);

/* What is not zero in options and guardian_options is kept. 0 or -errno. */
int mini_start(struct mini *mini);
/* Undoes everything; the guardian ends. */
void mini_stop(struct mini *mini);

/* Runs the loop until these news of this claim (0: of any) have come, at most 5 s. */
bool mini_told(struct mini *mini, enum act_news news, uint64_t claim_id);
/* Runs the loop, with a pulse every 20 ms, until test(arg) is true, at most 5 s. */
bool mini_until(struct mini *mini, bool (*test)(void *arg), void *arg);

/* A claim by policy "test"; fails the test when it is refused. */
struct claim *mini_freeze(struct mini *mini, uint64_t cgroup);
struct claim *mini_stop_process(struct mini *mini, pid_t pid);
struct target mini_cgroup_target(uint64_t cgroup);
struct target mini_process_target(pid_t pid);

/* State letter in /proc/PID/stat, '-' when there is none. */
char mini_state(pid_t pid);
/* cgroup.freeze of ROOT/name itself. */
bool mini_asked_to_freeze(const char *name);
void mini_write_freeze(const char *name, const char *value);
/* Claims that the ledger file holds as another process would read it. */
unsigned int mini_ledger_count(void);

/* cmocka setup and teardown: *state is a started one. */
int mini_setup(void **state);
int mini_teardown(void **state);

/* For live_until(), with a pid_t * or the name of a cgroup. */
bool mini_is_stopped(void *pid);
bool mini_runs(void *pid);
bool mini_is_populated(void *cgroup);
/* Starts a load in ROOT/cgroup, which it makes, and waits until it is there. */
pid_t mini_start_in(const char *cgroup, int (*load)(void *));
/* Neither in the act room nor in the ledger. */
void mini_assert_no_claim(const struct mini *m);

#endif
