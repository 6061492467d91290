/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the programs could not record. One list, used three times: as the value of the pinned
 * `losses` map, as the fields of `culprit status`, and as the texts that explain them. A sense adds
 * its own lines; a counter is never removed or renamed.
 */
#ifndef CULPRIT_LOSSES_H
#define CULPRIT_LOSSES_H

#include <linux/types.h>

/* X(field, "what is lost when it rises") */
#define CULPRIT_LOSSES(X)                                                                        \
	X(cpu_cgroup_full, "CPU time of cgroups for which cgroup_cpu has no room")               \
	X(cpu_process_full, "CPU time of processes for which process_cpu has no room")           \
	X(cpu_record_dropped, "records of crossed CPU budgets (sent again at the next tick)")    \
	X(cpu_switch_missed, "task switches that were not delivered (their time is recovered)")  \
	X(delay_stamp_full, "waits for a CPU of two tasks that would need the same place")       \
	X(delay_record_dropped, "records of crossed delays (sent again at the next wake-up)")    \
	X(gpu_mark_full, "GPU opens seen starting while the mark table was full")                \
	X(gpu_holder_full, "GPU holders for which gpu_holder has no room")                       \
	X(gpu_holding_full, "GPU holders whose fork and end are not noticed until a pass")       \
	X(gpu_file_full, "opens of GPUs by other ways that a pass could not tell from old ones") \
	X(gpu_look_full, "opens of GPUs by other ways that were begun by too many at once")      \
	X(gpu_record_dropped, "records of GPU opens (found again by the next pass)")             \
	X(swap_cgroup_full, "swap-ins of cgroups for which swap_cgroup has no room")             \
	X(swap_process_full, "swap-ins of processes for which swap_process has no room")         \
	X(swap_record_dropped, "records of swap-in crossings (sent again at the next swap-in)")  \
	X(tree_record_dropped, "cgroups made or removed (found by the next scan of the tree)")

struct culprit_losses {
#define X(field, text) __u64 field;
	CULPRIT_LOSSES(X)
#undef X
};

#endif
