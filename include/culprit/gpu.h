/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records and map values of the gpu sense. */
#ifndef CULPRIT_GPU_H
#define CULPRIT_GPU_H

#include "culprit/record.h"

#define CULPRIT_GPU_DEVICES  64
#define CULPRIT_GPU_HOLDERS  4096 /* (process, device) pairs */
#define CULPRIT_GPU_PATH_LEN 192

/* What a device node is for; bits, because a process holds several. */
enum culprit_gpu_role {
	CULPRIT_GPU_ROLE_GPU = 1,     /* a GPU proper that has companions to tell users apart by */
	CULPRIT_GPU_ROLE_CONTROL = 2, /* nvidiactl */
	CULPRIT_GPU_ROLE_MODESET = 4, /* nvidia-modeset */
	CULPRIT_GPU_ROLE_MEMORY = 8,  /* nvidia-uvm, /dev/kfd: compute needs it */
	CULPRIT_GPU_ROLE_RENDER = 16, /* a DRM render or card node */
	CULPRIT_GPU_ROLE_NAMED = 32,  /* of no family that we know: who holds it, uses it */
};

/* What kind of user a holder is, from the roles of all that it holds (see gpu_kind()). */
enum culprit_gpu_kind {
	CULPRIT_GPU_KIND_CONTROL = 0,
	CULPRIT_GPU_KIND_MONITOR = 1,
	CULPRIT_GPU_KIND_DISPLAY = 2,
	CULPRIT_GPU_KIND_COMPUTE = 3,
};

/* Is it a device that the configuration names, or one that only tells kinds of users apart? */
enum culprit_gpu_watch {
	CULPRIT_GPU_COMPANION = 0,
	CULPRIT_GPU_WANTED = 1,
};

/* Map gpu_device: number → device. */
struct culprit_gpu_number {
	__u32 major;
	__u32 minor;
};

struct culprit_gpu_device {
	__u64 opens; /* since the agent started */
	__u32 index; /* among the devices of the sense */
	__u32 holders;
	enum culprit_gpu_role role;
	enum culprit_gpu_watch watch;
	char path[CULPRIT_GPU_PATH_LEN];
};

/* Map gpu_holder: (process, device) → holder, as the last walk over open files found it. */
struct culprit_gpu_hold {
	__u32 tgid;
	struct culprit_gpu_number device;
};

struct culprit_gpu_holder {
	__u64 start_time_ns;
	__u64 cgroup;
	__u64 since_ns; /* CLOCK_MONOTONIC */
	__u32 uid;
	__u32 descriptors;
	enum culprit_gpu_kind kind;
	__u32 gid;
	char comm[CULPRIT_COMM_LEN];
};

enum culprit_gpu_event {
	CULPRIT_GPU_OPENED = 1,	    /* a descriptor of the device was handed out */
	CULPRIT_GPU_UNRESOLVED = 2, /* an open began that no hook follows to its end: look there */
	CULPRIT_GPU_FORKED = 3,	    /* a holder has a child: it holds the same */
	CULPRIT_GPU_LEFT = 4,	    /* a holder ends, runs another program, or released one */
};

/* Tables of the agent and of the kernel that were full: what count_full() of bpf/gpu.bpf.c counts.
 */
enum culprit_gpu_table {
	CULPRIT_GPU_TABLE_HOLDER,
	CULPRIT_GPU_TABLE_HOLDING,
	CULPRIT_GPU_TABLE_FILE,
	CULPRIT_GPU_TABLE_LOOK,
};

/* Stands for the kfunc that schedules task work, until user space puts in the real one. */
#define CULPRIT_GPU_WORK_CALL 0x7ffff000

#define CULPRIT_GPU_NO_DEVICE 0xffffffffU
/* Index of the device by which a source proves itself: only the agent's own opens of it count. */
#define CULPRIT_GPU_PROBE     0xfffffffeU

/* So many records of one kind are sent of a process and a device in so long a time. What comes
 * beyond is counted, and to be looked for when the time is over. */
#define CULPRIT_GPU_RECORDS  32
#define CULPRIT_GPU_QUIET_NS 10000000ULL
/* UNRESOLVED, for a number that nobody knows. */
#define CULPRIT_GPU_MANY     (1U << 20)

struct culprit_gpu_record {
	__u32 event;   /* enum culprit_gpu_event */
	__u32 device;  /* index, or CULPRIT_GPU_NO_DEVICE */
	__u64 time_ns; /* CLOCK_MONOTONIC */
	struct culprit_task task;
	__u32 uid;
	__u32 holders;	/* of the device, at the last walk */
	__u64 opens;	/* of the device, with this one */
	__u64 file;	/* which open file; equal for all descriptors that share it */
	__u32 attempts; /* UNRESOLVED: opens that may come of it */
	__u32 soon;	/* UNRESOLVED: not yet open when this was sent */
	__u64 quiet_ns; /* the last record of its kind before this time; 0: others may follow */
	__u32 gid;
	__u32 reserved;
};

/* One open file of a watched device, as the iterator writes it. */
struct culprit_gpu_file {
	struct culprit_task task;
	__u64 file;
	__u32 uid;
	__u32 gid;
	__u32 device;
	__u32 reserved;
};

CULPRIT_ASSERT_SIZE(struct culprit_gpu_number, 8);
CULPRIT_ASSERT_SIZE(struct culprit_gpu_device, 216);
CULPRIT_ASSERT_SIZE(struct culprit_gpu_hold, 12);
CULPRIT_ASSERT_SIZE(struct culprit_gpu_holder, 56);
CULPRIT_ASSERT_SIZE(struct culprit_gpu_record, 104);
CULPRIT_ASSERT_SIZE(struct culprit_gpu_file, 64);

#endif
