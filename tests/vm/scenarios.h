/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The thrash scenarios: who runs, whose fault it is that memory is short, and what came of it. They
 * take the memory of a whole machine and let the agent act on all of it, so they run in a guest of
 * scripts/vm.sh only (make vm-thrash).
 */
#ifndef CULPRIT_TESTS_SCENARIOS_H
#define CULPRIT_TESTS_SCENARIOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scenario.h"

#define SCENARIO_PROBE_MIB 40
#define SCENARIO_LOADS	   (BOARD_SLOTS - 1) /* and the probe */

enum role_in_it {
	INNOCENT,
	CULPRIT,
	PROTECTED /* it thrashes, but the configuration protects it */
};

/* Memory is told in per cent of what the machine has left for all of them but the probe. */
struct scenario_number {
	unsigned int n;
	bool per_cent;
};

struct scenario_load {
	const char *name; /* its comm, and its cgroup unless it is a job of a shell */
	enum role_in_it role_in_it;
	const char *role; /* of scenario_load */
	struct scenario_number args[3];
	unsigned int limit_per_cent; /* memory.max; 0: none */
	/* A foreground job of an interactive shell, on a terminal, in a login session's cgroup. */
	bool in_shell;
};

struct scenario {
	const char *name, *about;
	struct scenario_load loads[SCENARIO_LOADS];
	unsigned int n_loads;
	bool process;	      /* right is to stop the process; otherwise to freeze the cgroup */
	unsigned int seconds; /* of thrash, where with and without are compared */
};

extern const struct scenario scenarios[];
extern const unsigned int n_scenarios;

struct scenario_order {
	const struct scenario *scenario;
	uint64_t seed;
	bool with_agent;
	bool to_the_end; /* for all its seconds; otherwise until shortly after the first pick */
};

#define RESULT_SAMPLES 600

/* Of one run. Plain memory, for it is filled in by a child. */
struct scenario_result {
	bool done;	   /* the run came to its end */
	char started[160]; /* names, in the order in which they were started */
	unsigned int room_mib;
	bool picked, right;
	char whom[32];	      /* the first pick: the load's name, or what it was instead */
	bool process, newest; /* the last started of those who are to blame */
	char why_wrong[256];
	/* From the begin of the 100 ms in which swap-ins crossed the threshold; negative: before
	 * they did, NAN: unknown. */
	double freeze_ms;
	unsigned int later; /* picks after the first */
	unsigned int later_innocent;
	char later_whom[160];
	unsigned int forbidden;
	char forbidden_whom[64];
	unsigned int n_samples; /* of the probe, while it was measured */
	float latency_ms[RESULT_SAMPLES];
	double work_per_s, innocent_work_per_s;
	char event[6144]; /* the first pick as the agent told it, JSON */
};

/* Runs it in this process, which is to end afterwards: what fails, ends it. */
void scenario_run(const struct scenario_order *order, struct scenario_result *result);

/* scenario_stage.c: the loads of one run. */
struct stage {
	const struct scenario *scenario;
	struct board *board;
	unsigned int room_mib;
	unsigned int order[SCENARIO_LOADS + 1]; /* slots as they were started; the probe's is 0 */
	int terminal;				/* of the shell, -1: there is none */
	int shell_pid;				/* 0: there is none */
	char said[8192];			/* what the terminal showed */
	size_t n_said;
};

#define SESSION_CGROUP "session-1.scope"

/* Starts all in random order and waits until each has what it begins with. */
void stage_set(struct stage *stage, const struct scenario *scenario, uint64_t seed);
/* The name of the cgroup below the test root in which slot's load is. */
const char *stage_cgroup(const struct stage *stage, unsigned int slot);
const char *stage_name(const struct stage *stage, unsigned int slot);
/* Takes what the terminal has shown. */
void stage_listen(struct stage *stage);
/* Swap is switched off and on: nobody begins with pages out. */
void stage_empty_swap(void);

/* scenario_judge.c: what the agent's events say. */
struct judge {
	const struct stage *stage;
	struct scenario_result *result;
	size_t seen; /* events looked at */
	uint64_t first_ms;
};

/* Looks at the agent's new events. */
void judge_events(struct judge *judge);
/* Is somebody held who must not be, whatever the events say? */
void judge_states(struct judge *judge);
/* The shell must not have noticed anything. */
void judge_shell(struct judge *judge);

/* scenario_table.c */
struct scenario_score;
struct scenario_score *score_new(void);
void score_add(struct scenario_score *score, const struct scenario_order *order,
	       const struct scenario_result *result);
void score_print_run(const struct scenario_order *order, const struct scenario_result *result,
		     unsigned int run, bool json);
/* The table, and JSON if wanted; true: all is as it should be. */
bool score_print(struct scenario_score *score, bool json);
void score_free(struct scenario_score *score);

#endif
