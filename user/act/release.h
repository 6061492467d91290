/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `culpritd --release`: undoes what a ledger says without agent, guardian, configuration or BPF.
 * Where nothing is held any more the file for monitoring goes, too. */
#ifndef CULPRIT_ACT_RELEASE_H
#define CULPRIT_ACT_RELEASE_H

#include <stddef.h>

#include "act/claim.h"

struct release_options {
	const char *state_dir;
	/* Where a dead agent may have left pins, and what removes them; both may be NULL. (The pins
	 * are the senses' matter, which this room does not know.) */
	const char *pin_dir;
	int (*remove_pins)(const char *dir);
	/* As of ledger_release(). May be NULL. */
	void (*told)(void *user, const struct claim *claim, int error);
	void *user;
};

/*
 * Count of claims undone (0 also when there is no ledger), or -errno with *what naming the file or
 * directory: -EBUSY beside a living agent (*holder is its pid), -EPERM when the state directory is
 * not safely root's, the errno of the first claim that could not be undone.
 */
int release_all(const struct release_options *options, pid_t *holder, char *what, size_t what_size);

#endif
