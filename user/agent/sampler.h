/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looks at all counters, from which `top` makes rates: two of them, half a second or more apart.
 * They are taken only while somebody asks, and forgotten a while after.
 */
#ifndef CULPRIT_AGENT_SAMPLER_H
#define CULPRIT_AGENT_SAMPLER_H

#include <uthash.h>

#include "agent/agent.h"

#define SAMPLER_MAX_WAITING 32

struct counters {
	uint64_t cpu_ns, cpu_kernel_ns;
	struct swap_use swap;
};

struct delay_sample;

struct cgroup_sample {
	uint64_t id;
	struct counters own;	    /* its own tasks */
	struct counters below;	    /* its own and all below it, the removed ones too */
	uint64_t last_cpu_ns;	    /* `below` at the look before */
	struct delay_sample *delay; /* sampler_delay.c; NULL: never watched for waits */
	uint64_t seen;		    /* number of the look */
	UT_hash_handle hh;
};

struct process_sample {
	uint32_t tgid;
	uint32_t uid;
	uint64_t start_time_ns, cgroup;
	uint64_t cpu_ns, last_cpu_ns;
	struct swap_use swap;
	uint64_t last_swapin, swap_entries, last_swap_entries, footprint;
	char comm[CULPRIT_COMM_LEN];
	bool stopped, known; /* known: in the census, so alive */
	uint64_t seen;
	UT_hash_handle hh;
};

/* What a removed cgroup had used stays in its parent's total, as cpu.stat has it. */
struct gone {
	uint64_t id; /* the parent that inherits */
	struct counters counters;
	UT_hash_handle hh;
};

/* A cgroup that was removed a moment ago: what its last task still used comes after it. */
struct removed {
	uint64_t id, parent;
	uint64_t removed_ns;
	struct removed *next;
};

struct sampler {
	struct cgroup_sample *cgroups;
	struct process_sample *processes;
	struct gone *gone;
	struct removed *removed, **removed_end;
	uint64_t swept_ns;
	uint64_t look, last_ns, before_ns, asked_ns;
	struct varlink_call *waiting[SAMPLER_MAX_WAITING];
	sd_event_source *timer;
};

/* Made when it is first asked for; NULL: out of memory. */
struct sampler *sampler_of(struct agent *a);
/* Takes a look; the one before is kept in the last_… members. */
void sampler_look(struct agent *a);
/* The sample of a cgroup, made if need be; NULL: out of memory. */
struct cgroup_sample *sampler_cgroup(struct sampler *s, uint64_t id);

/* sampler_delay.c */
void sampler_look_delay(struct agent *a, struct sampler *s);
/* The 95th percentile of the waits for a CPU between the last two looks, with all that is below.
 * False: not measured. */
bool sampler_delay_ms(const struct cgroup_sample *c, double *ms);

#endif
