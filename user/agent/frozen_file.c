// SPDX-License-Identifier: GPL-2.0-or-later
/* The file for monitoring, kept as what is held is: written when that changes, and only then. */
#include <string.h>

#include "act/frozen.h"
#include "agent/agent.h"

/* How soon it is tried again when the disk did not take it. */
#define RETRY_NS NSEC_PER_SEC

/* Those that belong into it, oldest first. */
static unsigned int list(const struct agent *a, const struct claim *claims[static CLAIM_MAX])
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < act_count(a->act); i++) {
		const struct claim *claim = act_get(a->act, i);

		if (frozen_is_listed(claim))
			claims[n++] = claim;
	}
	return n;
}

static bool is_shown(const struct agent *a, const struct claim *const *claims, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (a->frozen.entries[i].id != claims[i]->id ||
		    a->frozen.entries[i].since_ns != claims[i]->since_ns)
			return false;
	return true;
}

/* Has what it says changed, or what it is to say for what an earlier agent held? */
static bool is_other(const struct agent *a, const struct claim *const *claims, unsigned int n)
{
	return n != a->frozen.n || !is_shown(a, claims, n) || (a->frozen.left && a->left == 0);
}

static int put(struct agent *a, const struct claim *const *claims, unsigned int n)
{
	int dir = ledger_dir(a->ledger);

	if (n > 0)
		return frozen_write(dir, claims, n);
	if (!a->frozen.left || a->left == 0)
		frozen_remove(dir);
	return 0;
}

bool frozen_file_is_due(const struct agent *a)
{
	const struct claim *claims[CLAIM_MAX];

	if (a->frozen.retry_ns && monotonic_ns() >= a->frozen.retry_ns)
		return true;
	return is_other(a, claims, list(a, claims));
}

void frozen_file_bring_up_to_date(struct agent *a)
{
	const struct claim *claims[CLAIM_MAX];
	unsigned int n;
	int r;

	/* What was told before there was anything to hold with. */
	if (!a->act || !frozen_file_is_due(a))
		return;
	n = list(a, claims);
	r = put(a, claims, n);
	for (unsigned int i = 0; i < n; i++)
		a->frozen.entries[i] = (struct frozen_entry){ claims[i]->id, claims[i]->since_ns };
	a->frozen.n = n;
	a->frozen.left &= n == 0 && a->left > 0;
	a->frozen.retry_ns = r < 0 ? monotonic_ns() + RETRY_NS : 0;
	if (r == 0)
		agent_degraded_end(a, DEGRADED_FROZEN);
	else
		agent_degraded_for(a, DEGRADED_FROZEN,
				   "the file frozen under state_dir cannot be written (%s), so who "
				   "reads it does not see what is held; see to the disk, it is "
				   "tried again each second",
				   strerror(-r));
}

void frozen_file_begin(struct agent *a)
{
	a->frozen.left = a->left > 0;
	if (!a->frozen.left)
		frozen_remove(ledger_dir(a->ledger));
}

void frozen_file_end(struct agent *a)
{
	if (a->ledger && !ledger_holds(a->ledger))
		frozen_remove(ledger_dir(a->ledger));
}
