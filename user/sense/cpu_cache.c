// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/cpu_cache.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 1024
/* A CPU flushes once a millisecond and a read takes microseconds: more than a few tries mean many
 * CPUs, and then being off by one flush of one of them matters less. */
#define TRIES 64

struct scratch {
	uint64_t keys[BATCH];
	union {
		struct culprit_cpu_cgroup cgroups[BATCH];
		struct culprit_cpu_process processes[BATCH];
	};
	size_t n_pending;
	/* What was pending when the reading began, sorted by tgid. */
	struct pending {
		struct culprit_cpu_pending is;
		bool told;
	} pending[];
};

int cpu_cache_init(struct cpu_cache *cache)
{
	size_t places = (size_t)cache->n_cpus * CULPRIT_CPU_PENDING_SLOTS;

	cache->scratch = malloc(sizeof(struct scratch) + places * sizeof(struct pending));
	return cache->scratch ? 0 : -ENOMEM;
}

void cpu_cache_free(struct cpu_cache *cache)
{
	free(cache->scratch);
	cache->scratch = NULL;
}

/* --- one counter, exactly --------------------------------------------------------------------- */

/* Changes whenever a CPU flushes; odd CPUs (flushing right now) make it false. */
static bool flush_stamp(const struct cpu_cache *cache, uint64_t *stamp)
{
	*stamp = 0;
	for (unsigned int cpu = 0; cpu < cache->n_cpus; cpu++) {
		uint64_t flushes = __atomic_load_n(&cache->running[cpu].flushes, __ATOMIC_ACQUIRE);

		if (flushes & 1)
			return false;
		*stamp += flushes;
	}
	return true;
}

/* Does this pending time belong to the counter that is being read? */
typedef bool (*belongs_fn)(const struct culprit_cpu_pending *pending, const void *to);

static uint64_t pending_sum(const struct cpu_cache *cache, belongs_fn belongs, const void *to)
{
	uint64_t sum = 0;

	for (unsigned int cpu = 0; cpu < cache->n_cpus; cpu++)
		for (unsigned int i = 0; i < CULPRIT_CPU_PENDING_SLOTS; i++) {
			const volatile struct culprit_cpu_pending *at =
				&cache->running[cpu].pending[i];

			if (at->ns) {
				struct culprit_cpu_pending pending = *at;

				if (belongs(&pending, to))
					sum += pending.ns;
			}
		}
	return sum;
}

static bool of_cgroup(const struct culprit_cpu_pending *pending, const void *to)
{
	const struct cpu_cgroup_use *use = to;

	return pending->cgroup == use->cgroup && !(pending->flags & CULPRIT_CPU_KERNEL_THREAD);
}

static bool of_cgroup_kernel(const struct culprit_cpu_pending *pending, const void *to)
{
	const struct cpu_cgroup_use *use = to;

	return pending->cgroup == use->cgroup && pending->flags & CULPRIT_CPU_KERNEL_THREAD;
}

static bool of_process(const struct culprit_cpu_pending *pending, const void *to)
{
	const struct cpu_process_use *use = to;

	return pending->tgid == use->tgid && pending->start_time_ns == use->start_time_ns;
}

int cpu_cache_cgroup(struct cpu_cache *cache, uint64_t cgroup, struct cpu_cgroup_use *use)
{
	struct culprit_cpu_cgroup entry;
	uint64_t before, after;

	*use = (struct cpu_cgroup_use){ .cgroup = cgroup };
	for (int i = 0; i < TRIES; i++) {
		bool quiet = flush_stamp(cache, &before);

		if (bpf_map_lookup_elem(cache->cgroup_fd, &cgroup, &entry) < 0)
			return -errno;
		use->used_ns = entry.used_ns + pending_sum(cache, of_cgroup, use);
		use->kernel_ns = entry.kernel_ns + pending_sum(cache, of_cgroup_kernel, use);
		if (quiet && flush_stamp(cache, &after) && before == after)
			break;
	}
	return 0;
}

static void describe(struct cpu_process_use *use, const struct culprit_cpu_process *entry)
{
	use->kernel_thread = entry->flags & CULPRIT_CPU_KERNEL_THREAD;
	use->start_time_ns = entry->start_time_ns;
	use->cgroup = entry->cgroup;
	use->used_ns = entry->used_ns;
	memcpy(use->comm, entry->comm, sizeof(use->comm));
}

int cpu_cache_process(struct cpu_cache *cache, uint32_t tgid, struct cpu_process_use *use)
{
	struct culprit_cpu_process entry;
	uint64_t before, after;

	*use = (struct cpu_process_use){ .tgid = tgid };
	for (int i = 0; i < TRIES; i++) {
		bool quiet = flush_stamp(cache, &before);

		if (bpf_map_lookup_elem(cache->process_fd, &tgid, &entry) < 0)
			return -errno;
		describe(use, &entry);
		use->used_ns += pending_sum(cache, of_process, use);
		if (quiet && flush_stamp(cache, &after) && before == after)
			break;
	}
	return 0;
}

/* --- all counters ----------------------------------------------------------------------------- */

static int by_tgid(const void *a, const void *b)
{
	const struct pending *x = a, *y = b;

	return (x->is.tgid > y->is.tgid) - (x->is.tgid < y->is.tgid);
}

static int by_cgroup(const void *a, const void *b)
{
	const struct pending *x = a, *y = b;

	return (x->is.cgroup > y->is.cgroup) - (x->is.cgroup < y->is.cgroup);
}

/* Notes whose counters are not all in the maps: only those are then read one by one. What becomes
 * pending later is later than the call. */
static void note_pending(struct cpu_cache *cache, int (*order)(const void *, const void *))
{
	struct scratch *scratch = cache->scratch;

	scratch->n_pending = 0;
	for (unsigned int cpu = 0; cpu < cache->n_cpus; cpu++)
		for (unsigned int i = 0; i < CULPRIT_CPU_PENDING_SLOTS; i++)
			if (cache->running[cpu].pending[i].ns)
				scratch->pending[scratch->n_pending++] =
					(struct pending){ cache->running[cpu].pending[i], false };
	qsort(scratch->pending, scratch->n_pending, sizeof(struct pending), order);
}

static bool is_pending(struct scratch *scratch, const struct culprit_cpu_pending *key,
		       int (*order)(const void *, const void *))
{
	struct pending wanted = { .is = *key };
	struct pending *found = bsearch(&wanted, scratch->pending, scratch->n_pending,
					sizeof(struct pending), order);
	struct pending *end = scratch->pending + scratch->n_pending;

	if (!found)
		return false;
	/* One per CPU. */
	while (found > scratch->pending && order(found - 1, &wanted) == 0)
		found--;
	for (; found < end && order(found, &wanted) == 0; found++)
		found->told = true;
	return true;
}

/* Calls fn with each batch of entries, whose keys and values are in the scratch memory. */
static int each_batch(int fd, struct scratch *scratch, void *values,
		      void (*fn)(struct scratch *scratch, uint32_t count, void *user), void *user)
{
	uint64_t position = 0;
	bool first = true;
	int r;

	do {
		uint32_t count = BATCH;

		r = bpf_map_lookup_batch(fd, first ? NULL : &position, &position, scratch->keys,
					 values, &count, NULL);
		if (r < 0 && errno != ENOENT)
			return -errno;
		fn(scratch, count, user);
		first = false;
	} while (r == 0);
	return 0;
}

struct telling {
	struct cpu_cache *cache;
	cpu_cgroup_fn cgroup_fn;
	cpu_process_fn process_fn;
	void *user;
};

static void tell_cgroups(struct scratch *scratch, uint32_t count, void *user)
{
	struct telling *telling = user;

	for (uint32_t i = 0; i < count; i++) {
		struct culprit_cpu_pending key = { .cgroup = scratch->keys[i] };
		struct cpu_cgroup_use use = { .cgroup = scratch->keys[i],
					      .used_ns = scratch->cgroups[i].used_ns,
					      .kernel_ns = scratch->cgroups[i].kernel_ns };

		if (is_pending(scratch, &key, by_cgroup) &&
		    cpu_cache_cgroup(telling->cache, key.cgroup, &use) < 0)
			continue;
		telling->cgroup_fn(telling->user, &use);
	}
}

int cpu_cache_each_cgroup(struct cpu_cache *cache, cpu_cgroup_fn fn, void *user)
{
	struct scratch *scratch = cache->scratch;
	struct telling telling = { .cache = cache, .cgroup_fn = fn, .user = user };

	note_pending(cache, by_cgroup);
	return each_batch(cache->cgroup_fd, scratch, scratch->cgroups, tell_cgroups, &telling);
}

static void tell_processes(struct scratch *scratch, uint32_t count, void *user)
{
	const uint32_t *tgids = (const uint32_t *)scratch->keys;
	struct telling *telling = user;

	for (uint32_t i = 0; i < count; i++) {
		struct culprit_cpu_pending key = { .tgid = tgids[i] };
		struct cpu_process_use use = { .tgid = tgids[i] };

		describe(&use, &scratch->processes[i]);
		if (is_pending(scratch, &key, by_tgid) &&
		    cpu_cache_process(telling->cache, tgids[i], &use) < 0)
			continue;
		telling->process_fn(telling->user, &use);
	}
}

/* Processes that have run so little that no CPU has written any of it yet. */
static void tell_pending_only(struct scratch *scratch, cpu_process_fn fn, void *user)
{
	for (size_t i = 0; i < scratch->n_pending; i++) {
		const struct pending *pending = &scratch->pending[i];
		struct cpu_process_use use = {
			.tgid = pending->is.tgid,
			.kernel_thread = pending->is.flags & CULPRIT_CPU_KERNEL_THREAD,
			.start_time_ns = pending->is.start_time_ns,
			.cgroup = pending->is.cgroup,
			.used_ns = pending->is.ns,
		};

		if (pending->told)
			continue;
		memcpy(use.comm, pending->is.comm, sizeof(use.comm));
		while (i + 1 < scratch->n_pending && by_tgid(pending, pending + 1) == 0) {
			pending++;
			i++;
			use.used_ns += pending->is.ns;
		}
		fn(user, &use);
	}
}

int cpu_cache_each_process(struct cpu_cache *cache, cpu_process_fn fn, void *user)
{
	struct scratch *scratch = cache->scratch;
	struct telling telling = { .cache = cache, .process_fn = fn, .user = user };
	int r;

	note_pending(cache, by_tgid);
	r = each_batch(cache->process_fd, scratch, scratch->processes, tell_processes, &telling);
	if (r == 0)
		tell_pending_only(scratch, fn, user);
	return r;
}
