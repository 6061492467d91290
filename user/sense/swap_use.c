// SPDX-License-Identifier: GPL-2.0-or-later
/* The counters, and when a process is forgotten. */
#include "sense/swap_internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/procfs.h"

/* A dead process is kept that long after its last event. */
#define KEEP_NS (60 * NSEC_PER_SEC)

/* Entries that one sweep looks at, so that a pulse stays short. */
#define SWEEP_ENTRIES 256

static struct swap_use to_use(const struct culprit_swap_use *use)
{
	return (struct swap_use){
		.swapin_pages = use->swapin_pages,
		.swapout_pages = use->swapout_pages,
		.zswapin_pages = use->zswapin_pages,
		.zeroin_pages = use->zeroin_pages,
	};
}

static int process_map(const struct swap_sense *swap)
{
	return bpf_map__fd(swap->skel->maps.swap_process);
}

static int cgroup_map(const struct swap_sense *swap)
{
	return bpf_map__fd(swap->skel->maps.swap_cgroup);
}

int swap_each_process(struct swap_sense *swap, swap_process_fn fn, void *user)
{
	struct culprit_swap_process_key key, *previous = NULL;
	struct culprit_swap_process value;

	if (!swap->skel)
		return -ENOTSUP;
	while (bpf_map_get_next_key(process_map(swap), previous, &key) == 0) {
		previous = &key;
		if (bpf_map_lookup_elem(process_map(swap), &key, &value) < 0)
			continue;

		struct swap_process_use use = {
			.tgid = key.tgid,
			.start_time_ns = key.start_time_ns,
			.cgroup = value.cgroup,
			.use = to_use(&value.use),
		};

		memcpy(use.comm, value.comm, sizeof(use.comm));
		fn(user, &use);
	}
	return errno == ENOENT ? 0 : -errno;
}

int swap_each_cgroup(struct swap_sense *swap, swap_cgroup_fn fn, void *user)
{
	struct culprit_swap_use value;
	__u64 key, *previous = NULL;

	if (!swap->skel)
		return -ENOTSUP;
	while (bpf_map_get_next_key(cgroup_map(swap), previous, &key) == 0) {
		previous = &key;
		if (bpf_map_lookup_elem(cgroup_map(swap), &key, &value) < 0)
			continue;

		struct swap_cgroup_use use = { .cgroup = key, .use = to_use(&value) };

		fn(user, &use);
	}
	return errno == ENOENT ? 0 : -errno;
}

static int read_total(struct swap_sense *swap, struct culprit_swap_total *total)
{
	__u32 zero = 0;

	if (!swap->skel)
		return -ENOTSUP;
	return bpf_map_lookup_elem(bpf_map__fd(swap->skel->maps.swap_total), &zero, total) < 0
		       ? -errno
		       : 0;
}

int swap_kernel_use(struct swap_sense *swap, struct swap_use *use)
{
	struct culprit_swap_total total;
	int r = read_total(swap, &total);

	if (r == 0)
		*use = to_use(&total.kernel);
	return r;
}

int swap_total(struct swap_sense *swap, struct swap_use *use)
{
	struct culprit_swap_total total;
	int r = read_total(swap, &total);

	if (r == 0)
		*use = to_use(&total.all);
	return r;
}

int swap_forget_cgroup(struct swap_sense *swap, uint64_t cgroup, struct swap_cgroup_use *last)
{
	struct culprit_swap_use value;

	*last = (struct swap_cgroup_use){ .cgroup = cgroup };
	if (!swap->skel)
		return -ENOTSUP;
	if (bpf_map_lookup_elem(cgroup_map(swap), &cgroup, &value) < 0)
		return errno == ENOENT ? 0 : -errno;
	last->use = to_use(&value);
	if (bpf_map_delete_elem(cgroup_map(swap), &cgroup) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

static bool is_gone(const struct culprit_swap_process_key *key)
{
	struct proc_stat st;

	if (kill((pid_t)key->tgid, 0) < 0 && errno == ESRCH)
		return true;
	return proc_read_stat((pid_t)key->tgid, &st) == -ESRCH ||
	       !proc_same_start(key->start_time_ns, st.start_ticks);
}

/* One entry: in a crowded map the dead are not kept. */
static void sweep_one(struct swap_sense *swap, const struct culprit_swap_process_key *key,
		      uint64_t now_ns)
{
	struct culprit_swap_process value;

	if (bpf_map_lookup_elem(process_map(swap), key, &value) < 0)
		return;
	if (!swap->crowded && now_ns < value.last_ns + KEEP_NS)
		return;
	if (is_gone(key))
		(void)bpf_map_delete_elem(process_map(swap), key);
}

void swap_sweep_processes(struct swap_sense *swap)
{
	unsigned int capacity = bpf_map__max_entries(swap->skel->maps.swap_process);
	unsigned int left = swap->crowded ? capacity : SWEEP_ENTRIES;
	uint64_t now_ns = monotonic_ns();
	struct culprit_swap_process_key key = swap->cursor;
	bool more = swap->has_cursor;

	if (!more) {
		swap->walked = 0;
		more = bpf_map_get_next_key(process_map(swap), NULL, &key) == 0;
	}
	for (; more && left > 0; left--) {
		/* The next key first: after a deletion the walk would start again. */
		more = bpf_map_get_next_key(process_map(swap), &key, &swap->cursor) == 0;
		sweep_one(swap, &key, now_ns);
		swap->walked++;
		key = swap->cursor;
	}
	swap->has_cursor = more;
	if (!more)
		swap->crowded = swap->walked > capacity / 2;
}
