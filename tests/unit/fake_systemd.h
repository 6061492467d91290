/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A system bus with a systemd behind it that knows one thing of a few services: their WatchdogSec=.
 * Programs find it by $DBUS_SYSTEM_BUS_ADDRESS, which is set until it is stopped. */
#ifndef CULPRIT_TESTS_FAKE_SYSTEMD_H
#define CULPRIT_TESTS_FAKE_SYSTEMD_H

#include <stdint.h>
#include <sys/types.h>

struct fake_service {
	const char *name; /* NULL ends the list */
	uint64_t watchdog_usec;
};

/* Serves on a socket in DIR. services NULL: takes connections and never says a word. */
pid_t fake_systemd_start(const char *dir, const struct fake_service *services);
void fake_systemd_stop(pid_t pid);

#endif
