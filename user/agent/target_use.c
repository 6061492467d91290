// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * CPU time of the targets that a policy compares. cpu.stat has it of a cgroup with all that is and
 * was below it; the sense's counters are of a cgroup's own tasks, and would have to be added up
 * over the whole tree. What it was a pulse ago is kept, so that the look at a crossing is one read
 * of each target, 5 to 10 µs, and gives a rate.
 */
#include "agent/agent.h"
#include "lib/cleanup.h"

/* Rates over less are noise. */
#define RATE_MIN_NS (500 * NSEC_PER_MSEC)

static struct target_use *find(struct agent *a, uint64_t cgroup)
{
	for (unsigned int i = 0; i < a->n_uses; i++)
		if (a->uses[i].cgroup == cgroup)
			return &a->uses[i];
	return NULL;
}

static int read_usec(struct agent *a, uint64_t cgroup, uint64_t *usec)
{
	_cleanup_close_ int dir = cgroupfs_open_id(&a->cgroups, cgroup);

	return dir < 0 ? dir : cgroupfs_read_key(dir, "cpu.stat", "usage_usec", usec);
}

static void look(struct agent *a, struct target_use *use, uint64_t now_ns)
{
	uint64_t usec;

	if (read_usec(a, use->cgroup, &usec) < 0)
		return;
	use->before_usec = use->usec;
	use->before_at_ns = use->at_ns;
	use->usec = usec;
	use->at_ns = now_ns;
}

void target_use_add(struct agent *a, uint64_t cgroup)
{
	struct target_use *use;

	if (find(a, cgroup))
		return;
	if (a->n_uses == ARRAY_SIZE(a->uses)) {
		agent_degraded_for(a, DEGRADED_CONFIG,
				   "policies with select = top compare %zu cgroups at most; of the "
				   "others it is not known what they use, and they come last",
				   ARRAY_SIZE(a->uses));
		return;
	}
	use = &a->uses[a->n_uses++];
	*use = (struct target_use){ .cgroup = cgroup };
	look(a, use, monotonic_ns());
}

void target_use_drop(struct agent *a, uint64_t cgroup)
{
	struct target_use *use = find(a, cgroup);

	if (use)
		*use = a->uses[--a->n_uses];
}

void target_use_pulse(struct agent *a, uint64_t now_ns)
{
	for (unsigned int i = 0; i < a->n_uses; i++)
		if (now_ns >= a->uses[i].at_ns + RATE_MIN_NS)
			look(a, &a->uses[i], now_ns);
}

double target_use_now(struct agent *a, uint64_t cgroup, uint64_t now_ns)
{
	const struct target_use *use = find(a, cgroup);
	uint64_t usec, then_usec, then_ns;
	bool recent;

	if (!use || !use->at_ns || read_usec(a, cgroup, &usec) < 0)
		return 0;
	recent = use->before_at_ns && now_ns < use->at_ns + RATE_MIN_NS;
	then_usec = recent ? use->before_usec : use->usec;
	then_ns = recent ? use->before_at_ns : use->at_ns;
	if (usec <= then_usec || now_ns <= then_ns)
		return 0;
	return (double)(usec - then_usec) * NSEC_PER_USEC / (double)(now_ns - then_ns);
}
