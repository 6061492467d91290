/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside the cpu sense: reading the kernel's counters together with what the CPUs have not yet
 * written into them (struct culprit_cpu_running, mapped into us).
 */
#ifndef CULPRIT_SENSE_CPU_CACHE_H
#define CULPRIT_SENSE_CPU_CACHE_H

#include <stddef.h>

#include "sense/cpu.h"

struct cpu_cache {
	const struct culprit_cpu_running *running; /* one per possible CPU */
	unsigned int n_cpus;
	int cgroup_fd;	/* cgroup_cpu */
	int process_fd; /* process_cpu */
	void *scratch;	/* cpu_cache_init() makes it, so that reading allocates nothing */
};

/* The other members are set by the caller and stay its own. 0 or -ENOMEM. */
int cpu_cache_init(struct cpu_cache *cache);
void cpu_cache_free(struct cpu_cache *cache);

int cpu_cache_each_cgroup(struct cpu_cache *cache, cpu_cgroup_fn fn, void *user);
int cpu_cache_each_process(struct cpu_cache *cache, cpu_process_fn fn, void *user);
/* One cgroup; -ENOENT. */
int cpu_cache_cgroup(struct cpu_cache *cache, uint64_t cgroup, struct cpu_cgroup_use *use);
/* One process; -ENOENT. */
int cpu_cache_process(struct cpu_cache *cache, uint32_t tgid, struct cpu_process_use *use);

#endif
