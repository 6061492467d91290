// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/undo.h"

#include <errno.h>
#include <signal.h>

#include "act/freezer.h"
#include "act/process.h"
#include "act/weights.h"
#include "lib/cleanup.h"

static int undo_cgroup(const struct cgroupfs *fs, uint64_t cgroup)
{
	_cleanup_(freezer_close)
	struct freezer freezer;
	int r = freezer_open(fs, cgroup, &freezer);

	if (r == 0)
		r = freezer_write(freezer.freeze, false);
	return r == -ESTALE || r == -ENODEV ? 0 : r;
}

int undo_process(pid_t pid, uint64_t start_time_ns)
{
	struct proc_stat st;
	_cleanup_close_ int pidfd = process_open(pid, start_time_ns, &st);
	int r = pidfd < 0 ? pidfd : process_signal(pidfd, SIGCONT);

	return r == -ESRCH || r == -ESTALE ? 0 : r;
}

static int undo_weights(const struct cgroupfs *fs, const struct claim *claim)
{
	_cleanup_(weights_close)
	struct weights weights;
	int r = weights_open_id(fs, claim->target.cgroup, &weights);

	if (r == 0)
		r = weights_restore(&weights, claim->weights);
	return r == -ESTALE ? 0 : r;
}

int undo_claim(const struct cgroupfs *fs, const struct claim *claim)
{
	const struct target *target = &claim->target;

	if (claim_has_weights(claim->weights) || claim->action == CLAIM_DEMOTE)
		return undo_weights(fs, claim);
	if (target->kind == TARGET_CGROUP)
		return undo_cgroup(fs, target->cgroup);
	return undo_process(target->pid, target->start_time_ns);
}
