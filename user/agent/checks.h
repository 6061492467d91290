/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of the configuration only the running system tells to be doubtful: a service that is watched
 * turns out to run inside of what yields to it, or systemd would kill a target for keeping still.
 * Nothing is refused for it; it is said once in the log, and in the status while it is so.
 */
#ifndef CULPRIT_AGENT_CHECKS_H
#define CULPRIT_AGENT_CHECKS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "decide/config.h"
#include "sense/watchdog.h"

struct agent;
struct tree_node;

#define CHECKS_WARNINGS 32
#define CHECKS_TEXT_LEN 512
/* Services that systemd is asked about, after each time that a configuration was put in force. */
#define CHECKS_SERVICES 256

struct check_warning {
	bool is_so;
	uint64_t cgroup;  /* whose end is the warning's, too; 0: of a service */
	char *service;	  /* or NULL */
	uint64_t told_ns; /* in the log */
	char text[CHECKS_TEXT_LEN];
};

struct check_service {
	char *name;
	const struct workload_config *workload; /* that it is in, or is */
	uint64_t asked_ns;			/* 0: never */
	bool due;
};

struct checks {
	struct check_warning warnings[CHECKS_WARNINGS];
	unsigned int n_warnings;
	struct check_service services[CHECKS_SERVICES];
	unsigned int n_services;
	struct watchdog_query query;
	unsigned int asked[CHECKS_SERVICES]; /* services of the query */
	sd_event_source *answers;
};

/* A configuration is about to be put in force: what was found of the old one is forgotten. */
void checks_forget(struct agent *a);
/* It is in force, and the cgroups are sorted in. */
void checks_build(struct agent *a);
/* A cgroup appeared, or has another name; and it has gone. */
void checks_node(struct agent *a, const struct tree_node *node);
void checks_node_gone(struct agent *a, const struct tree_node *node);
void checks_pulse(struct agent *a);
void checks_free(struct agent *a);
/* The warnings that are true now. */
json_t *checks_warnings(const struct agent *a);

/* culpritd --check: asks, waits for the answers and tells them. */
void checks_of_config(const struct config *config, config_message_fn message, void *user);

#endif
