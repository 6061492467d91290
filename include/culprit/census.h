/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One process as the census sees it. */
#ifndef CULPRIT_CENSUS_H
#define CULPRIT_CENSUS_H

#include "culprit/record.h"

enum culprit_process_flag {
	CULPRIT_PROCESS_KERNEL = 1,  /* a kernel thread */
	CULPRIT_PROCESS_TRACED = 2,  /* some thread of it is ptraced */
	CULPRIT_PROCESS_STOPPED = 4, /* in a job-control stop */
	CULPRIT_PROCESS_FROZEN = 8,  /* its cgroup, or one above it, is to be frozen */
	CULPRIT_PROCESS_EXITING = 16,
	/* Its main thread has ended while others live on. */
	CULPRIT_PROCESS_HEADLESS = 32,
	/* Between kernel and census only: not a process but what one more thread adds to it. */
	CULPRIT_PROCESS_THREAD = 64,
};

/*
 * Pages are the process's own counters: a shared page counts for everyone who maps it, and huge
 * pages of hugetlbfs for nobody. Faults are those of all its threads, also of those that ended.
 */
struct culprit_process {
	__u32 tgid;
	__u32 ppid;
	__u64 start_time_ns; /* CLOCK_BOOTTIME */
	__u64 cgroup;	     /* id on the v2 hierarchy */
	__u64 anon_pages;
	__u64 file_pages;
	__u64 shmem_pages;
	__u64 swap_pages; /* swap entries */
	__u64 major_faults;
	__u64 minor_faults;
	__u32 uid; /* real uid in the initial user namespace */
	__s32 oom_score_adj;
	__u32 flags; /* enum culprit_process_flag */
	__u32 pgrp;
	__u32 session;
	__u32 reserved; /* zero */
	char comm[CULPRIT_COMM_LEN];
};

CULPRIT_ASSERT_SIZE(struct culprit_process, 112);

#endif
