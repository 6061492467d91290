// SPDX-License-Identifier: GPL-2.0-or-later
#include "decide/select.h"

static bool is_before(const struct select_candidate *x, const struct select_candidate *y,
		      enum select_rule rule)
{
	if (rule == SELECT_TOP && x->use != y->use)
		return x->use > y->use;
	return x->cgroup > y->cgroup;
}

int select_next(const struct select_candidate *candidates, unsigned int count,
		enum select_rule rule)
{
	int next = -1;

	for (unsigned int i = 0; i < count; i++)
		if (!candidates[i].passed &&
		    (next < 0 || is_before(&candidates[i], &candidates[next], rule)))
			next = (int)i;
	return next;
}

bool select_is_due(bool above, uint64_t last_ns, uint64_t window_ns, uint64_t now_ns)
{
	return above && (last_ns == 0 || (now_ns >= last_ns && now_ns - last_ns >= window_ns));
}
