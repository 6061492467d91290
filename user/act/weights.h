/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What decides how much CPU and IO time a cgroup gets beside others, held open: cpu.idle,
 * cpu.weight and the default of io.weight. As with the freezer, the descriptors belong to the
 * cgroup itself and fail with ENODEV when it is gone.
 *
 * While cpu.idle is 1, cpu.weight reads 0 and takes nothing, and a 0 written to cpu.idle sets it to
 * the kernel's default (sched_group_set_idle): it is the second to be given back.
 */
#ifndef CULPRIT_ACT_WEIGHTS_H
#define CULPRIT_ACT_WEIGHTS_H

#include "act/claim.h"
#include "lib/cgroupfs.h"

struct weights {
	int fds[CLAIM_WEIGHTS]; /* by enum claim_weight_file; -1: the cgroup has no such file */
};

#define WEIGHTS_CLOSED ((struct weights){ { -1, -1, -1 } })

const char *weights_file_name(enum claim_weight_file file);

/* In the directory of a cgroup. A file that is not there is no error; -ESTALE, -errno. */
int weights_open(int dir, struct weights *out);
/* Of the cgroup with this id. -ESTALE: it is gone. */
int weights_open_id(const struct cgroupfs *fs, uint64_t cgroup, struct weights *out);
void weights_close(struct weights *weights);

/* What would be lowered, and from where. -EOPNOTSUPP: it has none of the files; -ERANGE: all are as
 * low as they go; -ESTALE, -errno. */
int weights_plan(const struct weights *weights, struct claim_weight plan[static CLAIM_WEIGHTS]);

/* Carries it out. -ESTALE, -errno: part of it may have been done. */
int weights_lower(const struct weights *weights,
		  const struct claim_weight plan[static CLAIM_WEIGHTS]);

/* Which of them (bit: file) somebody has changed since; they are no longer ours. -ESTALE, -errno.
 */
int weights_changed(const struct weights *weights,
		    const struct claim_weight plan[static CLAIM_WEIGHTS]);

/* Gives back what still is as we have set it, and leaves the rest as it is. May be repeated.
 * Allocates nothing. 0, also when the cgroup is gone, or -errno. */
int weights_restore(const struct weights *weights,
		    const struct claim_weight plan[static CLAIM_WEIGHTS]);

#endif
