/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which cgroups were held frozen in the last minute, for how much of it, and by whom: also those
 * that were let go again. A fixed record; nothing here allocates. Time is an argument.
 */
#ifndef CULPRIT_TELL_HELD_H
#define CULPRIT_TELL_HELD_H

#include <stdbool.h>
#include <stdint.h>

#include "act/claim.h"
#include "lib/clock.h"

#define HELD_OVER_NS (60 * NSEC_PER_SEC)
/* At most CLAIM_MAX of them have not ended. When there is no room, what ended first is forgotten
 * first, and the shares are too small. */
#define HELD_SPANS   (4 * CLAIM_MAX)

struct held_span {
	uint64_t cgroup;
	uint64_t begin_ns, end_ns; /* end_ns 0: not yet */
	char policy[CLAIM_NAME_LEN];
};

struct held {
	struct held_span spans[HELD_SPANS];
	unsigned int count;
};

/* It is held from then on, by this policy. Held already, it goes on as it was. */
void held_begin(struct held *held, uint64_t cgroup, const char *policy, uint64_t now_ns);
void held_end(struct held *held, uint64_t cgroup, uint64_t now_ns);
/* Ends those that is_held() says are not, and forgets what ended more than a minute ago. */
void held_check(struct held *held, bool (*is_held)(void *user, uint64_t cgroup), void *user,
		uint64_t now_ns);

/*
 * For how much of the last minute (0 … 1) some of these were held: a cgroup and those above it,
 * with which it is frozen. *by: the policy of the last of them, valid until the record changes;
 * NULL: none was.
 */
double held_share(const struct held *held, const uint64_t *cgroups, unsigned int n_cgroups,
		  uint64_t now_ns, const char **by);

#endif
