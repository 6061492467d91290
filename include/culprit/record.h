/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every record that crosses from the kernel to user space begins with. Both sides include the
 * headers of this directory; each asserts its layout, with padding made explicit, so that a
 * mismatch cannot compile and no byte of stack garbage crosses.
 */
#ifndef CULPRIT_RECORD_H
#define CULPRIT_RECORD_H

#include <linux/types.h>

#define CULPRIT_COMM_LEN 16

#define CULPRIT_ASSERT_SIZE(type, size) \
	_Static_assert(sizeof(type) == (size), #type " has another size than expected")

/* Who it was: identity that survives the process, taken at the event. */
struct culprit_task {
	__u32 tgid;	     /* the process, as user space calls it a pid */
	__u32 tid;	     /* the thread */
	__u64 start_time_ns; /* of the process (group leader), CLOCK_BOOTTIME; tells reused pids
				apart */
	__u64 cgroup;	     /* id on the cgroup v2 hierarchy: the inode number of its directory */
	char comm[CULPRIT_COMM_LEN]; /* of the process (group leader) */
};

CULPRIT_ASSERT_SIZE(struct culprit_task, 40);

#endif
