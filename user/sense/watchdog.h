/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Of which services does systemd expect a sign of life (WatchdogSec=)? Frozen for longer than that
 * they are killed. A child of ours asks over the system bus: what the bus library needs would stay
 * with us, and nobody here has to wait for an answer that may never come. Where there is no
 * systemd, no bus or no answer, there is nothing to tell.
 */
#ifndef CULPRIT_SENSE_WATCHDOG_H
#define CULPRIT_SENSE_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The child ends after this, whatever it has heard by then. */
#define WATCHDOG_PATIENCE_S 4

struct watchdog_answer {
	uint32_t index; /* of the name */
	uint32_t reserved;
	uint64_t usec; /* 0: none is expected */
};

struct watchdog_query {
	pid_t pid; /* 0: none is under way */
	int fd;	   /* answers and then the end of the file; -1 */
};

/* Does the unit's type have it? */
bool watchdog_is_service(const char *name);
/* Asks about these units. The names are not needed any more when it returns. 0 or -errno. */
int watchdog_ask(struct watchdog_query *query, const char *const *names, unsigned int count);
/* The next answer. 1; 0: that was all, and the query is over; -EAGAIN: not yet (never when `wait`).
 */
int watchdog_read(struct watchdog_query *query, bool wait, struct watchdog_answer *answer);
/* Ends it early, or does nothing. */
void watchdog_cancel(struct watchdog_query *query);

#endif
