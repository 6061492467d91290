/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration as the administrator wrote it, checked. Reading happens here and nowhere else;
 * what follows from it is decided by pure functions.
 */
#ifndef CULPRIT_DECIDE_CONFIG_H
#define CULPRIT_DECIDE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "decide/escalate.h"
#include "decide/pattern.h"
#include "decide/select.h"

#define CONFIG_DEFAULT_FILE CULPRIT_SYSCONFDIR "/culprit/culprit.conf"

enum signal_kind {
	SIGNAL_CPU,
	SIGNAL_GPU,
	SIGNAL_THRASH,
	SIGNAL_PRESSURE,
	SIGNAL_PRESENCE,
	SIGNAL_POWER
};
enum policy_unit {
	UNIT_CPUS,    /* CPUs, so 0.15 of 2 CPUs is 0.3 */
	UNIT_SHARE,   /* 0 … 1 of wall time */
	UNIT_HOLDERS, /* processes that hold a device */
	UNIT_MS	      /* milliseconds */
};
enum cpu_metric {
	METRIC_USE,  /* CPU time */
	METRIC_DELAY /* waits for a CPU, the 95th percentile */
};
enum gpu_users {
	GPU_USERS_ANY,
	GPU_USERS_COMPUTE,
	GPU_USERS_DISPLAY
};

/* Where something was said, for messages. */
struct config_place {
	const char *file;
	unsigned int line;
};

struct workload_config {
	char *name;
	struct pattern pattern; /* PATTERN_UNIT or PATTERN_CGROUP */
	struct config_place place;
};

struct policy_config {
	char *name;
	struct config_place place;
	enum signal_kind signal;
	enum policy_action action;

	bool target_offender;
	unsigned int *targets; /* indexes of workloads */
	unsigned int n_targets;
	enum select_rule select; /* of several cgroups that the targets name */

	uint64_t window_ns;
	uint64_t grace_ns;
	uint64_t min_run_ns;  /* 0: none */
	uint64_t max_hold_ns; /* 0: none */
	struct escalate_ladder escalate;

	/* cpu: CPUs (a share given in % was multiplied by the number of online CPUs when the file
	 * was read), or ms for METRIC_DELAY; thrash: share of wall time stalled; gpu: 1 holder that
	 * counts, and none. */
	double enter, leave;
	enum policy_unit unit;

	/* cpu */
	enum cpu_metric metric;
	bool of_others;
	bool non_nice;	   /* of others, what tasks with nice above 0 use does not count */
	struct pattern of; /* when not of_others */
	/* Of the targets that can be inside `of`, and whose own time therefore never counts: a
	 * digest; 0: none can. */
	uint64_t left_out;

	/* gpu */
	char **devices; /* NULL-terminated globs */
	enum gpu_users users;
	struct pattern_list ignore;
	uint64_t hold_ns; /* a holder counts after this */

	/* thrash */
	bool enter_is_default; /* 10 % stalled, or swap-in and swap-out both above 100 pages/s */
	uint64_t slice_ns;
};

/* The longest path of `only`, in bytes. */
#define ONLY_MAX  1023
/* Different globs of devices that all policies together may have. */
#define GPU_GLOBS 64

struct config {
	bool shadow;
	char *only; /* cgroup path */
	struct pattern_list protect, prefer, avoid;
	char *state_dir, *socket, *pin_dir;
	int log_level; /* syslog's: LOG_ERR … LOG_DEBUG */
	uint64_t pulse_ns;

	struct workload_config *workloads;
	unsigned int n_workloads;
	struct policy_config *policies;
	unsigned int n_policies;

	char **files; /* the files that were read; every place points to one */
	unsigned int n_files;
};

/* Called once for each thing that is wrong (or, warning true, doubtful): one line without newline,
 * `FILE:LINE: what; what to do`. */
typedef void (*config_message_fn)(void *user, bool warning, const char *line);

/*
 * Reads FILE and then the *.conf of the conf.d directory beside it, in the order of their names. A
 * missing FILE is an error only when `required` (it was named on the command line); a missing
 * conf.d never is. All errors are told, not only the first, each with the file and line where the
 * value stands; *out is set only when there were none, and is freed by config_free().
 *
 * 0; -EINVAL: something in a file is wrong; -ENOENT: FILE is required and missing; -errno: a file
 * or the directory could not be read, -ENOMEM.
 */
int config_load(struct config **out, const char *file, bool required, unsigned int online_cpus,
		config_message_fn message, void *user);
void config_free(struct config *config);

/* The word by which the configuration calls it ("cpu", "freeze"). */
const char *policy_signal_name(enum signal_kind signal);
const char *policy_action_name(enum policy_action action);

#endif
