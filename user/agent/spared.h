/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `protect` where a target was named, by a policy or by hand: what is protected is never acted on,
 * and neither is a cgroup with something protected in it. (Offenders are judged by facts.h.)
 */
#ifndef CULPRIT_AGENT_SPARED_H
#define CULPRIT_AGENT_SPARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent;
struct target;

/* Verdicts on the cgroups that policies act on, so that none has to be sought when one begins. */
#define SPARED_MAX 64

struct spared {
	uint64_t checked_ns;
	unsigned int count;
	struct {
		uint64_t cgroup;
		char why[96]; /* empty: may be acted on */
	} verdicts[SPARED_MAX];
};

/* True: it must be left alone; `why` is then what people are told. */
bool target_is_spared(struct agent *a, const struct target *target, char *why, size_t size);
/* Looks again, now and then, at the targets of policies and at what is held. */
void spared_pulse(struct agent *a, uint64_t now_ns);
/* The configuration has changed: what was found is no longer true. */
void spared_forget(struct agent *a);

#endif
