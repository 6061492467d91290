/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Targets in which nothing runs. There is nothing to hold in them, so nothing was done; who joins
 * one while a policy wants it held is held at once, and not at the next tick.
 */
#ifndef CULPRIT_AGENT_AWAITED_H
#define CULPRIT_AGENT_AWAITED_H

#include <stdint.h>
#include <systemd/sd-event.h>

struct agent;

/* More are looked at with the tick. */
#define AWAITED_MAX 32

struct awaited_cgroup {
	struct agent *agent;
	uint64_t cgroup; /* 0: the place is free */
	int events;	 /* its cgroup.events */
	sd_event_source *source;
};

struct awaited {
	struct awaited_cgroup cgroups[AWAITED_MAX];
};

/* Waits for those that are wanted and empty by now, and for no others any more. Allocates. */
void awaited_look(struct agent *a);
void awaited_free(struct agent *a);

#endif
