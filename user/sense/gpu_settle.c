// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Settling: whom to look at, what the walk found against what was known, and telling the
 * difference.
 */
#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "sense/gpu_private.h"

/* A walk by pid costs some 20 us to set up; a walk over everyone some 0.1 us for each descriptor of
 * the machine. Above this many processes one long walk is the shorter one. */
#define MANY_PROCESSES 64
/* A mark is resolved when its syscall ends; a thread that is this long in one has lost its hook. */
#define STALE_MARK_NS  (60 * NSEC_PER_SEC)

void gpu_look_at(struct gpu_sense *gpu, const struct gpu_look *look)
{
	for (unsigned int i = 0; i < gpu->n_looks; i++) {
		struct gpu_look *known = &gpu->looks[i];

		if (known->tgid != look->tgid || known->device != look->device ||
		    known->leaving != look->leaving)
			continue;
		known->attempts += look->attempts;
		if (known->attempts > CULPRIT_GPU_MANY)
			known->attempts = CULPRIT_GPU_MANY;
		known->stays |= look->stays;
		known->told_in = gpu->generation;
		if (known->until_ns < look->until_ns)
			known->until_ns = look->until_ns;
		return;
	}
	if (gpu->n_looks < GPU_LOOKS) {
		gpu->looks[gpu->n_looks] = *look;
		gpu->looks[gpu->n_looks++].told_in = gpu->generation;
		return;
	}
	/* Walks over everyone find who holds what; that it was an open, they cannot tell. */
	if (look->attempts)
		gpu_count_full(gpu, CULPRIT_GPU_TABLE_LOOK);
	if (gpu->everywhere_until_ns < look->until_ns || !gpu->everywhere_until_ns)
		gpu->everywhere_until_ns = look->until_ns ? look->until_ns : 1;
	gpu->everywhere_told_in = gpu->generation;
}

bool gpu_unsettled(const struct gpu_sense *gpu)
{
	return gpu->n_looks || gpu->everywhere_until_ns;
}

unsigned int gpu_holders(const struct gpu_sense *gpu, const struct gpu_holder **holders)
{
	*holders = gpu->holders;
	return gpu->n_holders;
}

void gpu_tell(struct gpu_sense *gpu, enum gpu_news news, const struct gpu_holder *holder,
	      uint64_t time_ns)
{
	struct gpu_change change = {
		.news = news,
		.device = holder->device,
		.task = holder->task,
		.uid = holder->uid,
		.gid = holder->gid,
		.kind = holder->kind,
		.holders = gpu->slots[holder->device].device.holders,
		.opens = gpu_opens(gpu, holder->device),
		.time_ns = time_ns,
	};

	if (gpu->fn)
		gpu->fn(gpu->user, &change);
}

static void take_row(struct gpu_sense *gpu, const struct culprit_gpu_file *row)
{
	struct gpu_holder *holder;
	struct gpu_hold *hold;
	unsigned int slot;
	uint64_t since_ns;

	if (row->device >= gpu->n_slots)
		return;
	slot = gpu_hold_slot(gpu, &row->task, row->device);
	if (slot == GPU_NOBODY)
		return;
	holder = &gpu->holders[slot];
	hold = &gpu->holds[slot];
	if (hold->generation != gpu->generation) {
		hold->generation = gpu->generation;
		holder->descriptors = 0;
		holder->since_ns = UINT64_MAX;
		/* It may have moved, changed its user or run another program. */
		holder->task = row->task;
		holder->uid = row->uid;
		holder->gid = row->gid;
	}
	holder->descriptors++;
	hold->new_files += gpu_file_seen(gpu, row->file, row->device, &since_ns);
	/* Since the oldest of its open files, but not since before it was seen with one. */
	if (since_ns < hold->first_ns)
		since_ns = hold->first_ns;
	if (since_ns < holder->since_ns)
		holder->since_ns = since_ns;
}

/* Each process once: holders of several devices, and looks at holders. */
static bool add_process(uint32_t *list, unsigned int *n, uint32_t tgid)
{
	for (unsigned int i = 0; i < *n; i++)
		if (list[i] == tgid)
			return true;
	if (*n == MANY_PROCESSES)
		return false;
	list[(*n)++] = tgid;
	return true;
}

/* Whom to walk one by one; false: too many. */
static bool list_processes(const struct gpu_sense *gpu, uint32_t *list, unsigned int *n)
{
	*n = 0;
	for (unsigned int i = 0; i < gpu->n_holders; i++)
		if (!add_process(list, n, gpu->holders[i].task.tgid))
			return false;
	for (unsigned int i = 0; i < gpu->n_looks; i++)
		if (!add_process(list, n, gpu->looks[i].tgid))
			return false;
	return true;
}

static int walk_everyone(struct gpu_sense *gpu)
{
	gpu->generation++;
	return gpu_walk(gpu, 0, take_row);
}

/* A holder that the walk did not find? */
static bool some_are_missed(const struct gpu_sense *gpu)
{
	for (unsigned int i = 0; i < gpu->n_holders; i++)
		if (gpu->holds[i].generation != gpu->generation)
			return true;
	return false;
}

static int walk_all(struct gpu_sense *gpu, bool everyone)
{
	uint32_t list[MANY_PROCESSES];
	unsigned int n;
	int r = 0;

	if (everyone || !gpu->walks_by_pid || gpu->everywhere_until_ns ||
	    !list_processes(gpu, list, &n))
		return walk_everyone(gpu);
	gpu->generation++;
	for (unsigned int i = 0; r == 0 && i < n; i++)
		r = gpu_walk(gpu, (pid_t)list[i], take_row);
	/* From 6.1 to 6.6 a walk by pid misses threads with descriptors of their own (fixed by
	 * Oleg Nesterov's "fix the skip_if_dup_files check", 6.7): nobody has gone on its word. And
	 * whoever held it, if only for a moment, may have passed it on to one who is not known. */
	return r == 0 && some_are_missed(gpu) ? walk_everyone(gpu) : r;
}

/* New files of a process become opens where no event announced them: as many as its unresolved
 * opens can explain, or all where there are no events. */
static void credit_opens(struct gpu_sense *gpu, unsigned int slot)
{
	struct gpu_holder *holder = &gpu->holders[slot];
	uint32_t files = gpu->holds[slot].new_files, opens = 0;

	gpu->holds[slot].new_files = 0;
	if (!gpu_rung_has_events(gpu))
		opens = gpu->baseline ? files : 0;
	for (unsigned int i = 0; i < gpu->n_looks && opens < files; i++) {
		struct gpu_look *look = &gpu->looks[i];
		uint32_t part = files - opens;

		if (look->tgid != holder->task.tgid || look->device != holder->device)
			continue;
		part = part < look->attempts ? part : look->attempts;
		look->attempts -= part;
		opens += part;
	}
	for (uint32_t i = 0; i < opens; i++) {
		gpu_count_open(gpu, holder->device, 1);
		gpu_tell(gpu, GPU_OPENED, holder, monotonic_ns());
	}
}

static void write_holder(struct gpu_sense *gpu, unsigned int slot)
{
	const struct gpu_holder *holder = &gpu->holders[slot];
	const struct gpu_device *device = &gpu->slots[holder->device].device;
	struct culprit_gpu_hold key = { holder->task.tgid, { device->major, device->minor } };
	struct culprit_gpu_holder value = {
		.start_time_ns = holder->task.start_time_ns,
		.cgroup = holder->task.cgroup,
		.since_ns = holder->since_ns,
		.uid = holder->uid,
		.gid = holder->gid,
		.descriptors = holder->descriptors,
		.kind = (enum culprit_gpu_kind)holder->kind,
	};
	uint32_t one = 1;

	memcpy(value.comm, holder->task.comm, strnlen(holder->task.comm, sizeof(value.comm) - 1));
	if (bpf_map_update_elem(bpf_map__fd(gpu->bpf->maps.gpu_holder), &key, &value, BPF_ANY) < 0)
		gpu_count_full(gpu, CULPRIT_GPU_TABLE_HOLDER);
	gpu->holds[slot].written = true;
	if (bpf_map_update_elem(bpf_map__fd(gpu->bpf->maps.holding), &key.tgid, &one,
				BPF_NOEXIST) == 0)
		__atomic_fetch_add(&gpu->bpf->bss->holding_count, 1, __ATOMIC_RELAXED);
	else if (errno != EEXIST)
		gpu_count_full(gpu, CULPRIT_GPU_TABLE_HOLDING);
}

static void forget_process(struct gpu_sense *gpu, uint32_t tgid)
{
	if (!gpu_holds_any(gpu, tgid) &&
	    bpf_map_delete_elem(bpf_map__fd(gpu->bpf->maps.holding), &tgid) == 0)
		__atomic_fetch_sub(&gpu->bpf->bss->holding_count, 1, __ATOMIC_RELAXED);
}

/* Takes a holder out of the table: it changes places with the last one, and stays behind the end
 * until tell_gone(). */
static void remove_holder(struct gpu_sense *gpu, unsigned int slot)
{
	struct gpu_holder gone = gpu->holders[slot];
	struct gpu_hold hold = gpu->holds[slot];
	const struct gpu_device *device = &gpu->slots[gone.device].device;
	struct culprit_gpu_hold key = { gone.task.tgid, { device->major, device->minor } };

	if (hold.written)
		(void)bpf_map_delete_elem(bpf_map__fd(gpu->bpf->maps.gpu_holder), &key);
	gpu->n_holders--;
	gpu->holders[slot] = gpu->holders[gpu->n_holders];
	gpu->holds[slot] = gpu->holds[gpu->n_holders];
	gpu->holders[gpu->n_holders] = gone;
	gpu->holds[gpu->n_holders] = hold;
	forget_process(gpu, gone.task.tgid);
}

/* Says who was taken out of the table, which had `before` holders. Whoever is told looks at the
 * table, so those that went at the same time must not be in it any more. */
static void tell_gone(struct gpu_sense *gpu, unsigned int before, uint64_t now)
{
	if (gpu->n_holders == before)
		return;
	gpu_reindex_holders(gpu);
	for (unsigned int i = before; i-- > gpu->n_holders;)
		if (!gpu->holds[i].fresh)
			gpu_tell(gpu, GPU_RELEASED, &gpu->holders[i], now);
}

static void count_holders(struct gpu_sense *gpu)
{
	for (unsigned int i = 0; i < gpu->n_slots; i++)
		gpu->slots[i].device.holders = 0;
	for (unsigned int i = 0; i < gpu->n_holders; i++)
		gpu->slots[gpu->holders[i].device].device.holders++;
	for (unsigned int i = 0; i < gpu->n_slots; i++)
		if (gpu->slots[i].used)
			gpu_write_device(gpu, i);
}

/* The walk is over: who was not found has gone, unless its open has only just been announced, or
 * was announced when the walk may have been past it. */
static void drop_absent(struct gpu_sense *gpu, uint64_t now)
{
	unsigned int before = gpu->n_holders;

	for (unsigned int i = before; i-- > 0;) {
		if (gpu->holds[i].generation == gpu->generation)
			continue;
		if (gpu->holds[i].told_in == gpu->generation || now < gpu->holds[i].doubtful_ns) {
			/* It had closed it, or it would have been found. */
			gpu->holders[i].since_ns = gpu->holds[i].told_ns;
			gpu->holds[i].first_ns = gpu->holds[i].told_ns;
			continue;
		}
		remove_holder(gpu, i);
	}
	tell_gone(gpu, before, now);
}

static void tell_present(struct gpu_sense *gpu, uint64_t now)
{
	for (unsigned int i = 0; i < gpu->n_holders; i++) {
		gpu->holders[i].kind = gpu_kind(gpu_roles_of(gpu, &gpu->holders[i].task));
		write_holder(gpu, i);
	}
	for (unsigned int i = 0; i < gpu->n_holders; i++) {
		if (gpu->holds[i].generation != gpu->generation)
			continue;
		gpu->holds[i].doubtful_ns = 0;
		credit_opens(gpu, i);
		if (gpu->holds[i].fresh) {
			gpu->holds[i].fresh = false;
			gpu_tell(gpu, GPU_HELD, &gpu->holders[i], now);
		}
	}
}

static bool look_is_over(const struct gpu_sense *gpu, const struct gpu_look *look, uint64_t now)
{
	if (look->told_in == gpu->generation)
		return false;
	if (now >= look->until_ns)
		return true;
	if (look->leaving)
		return !gpu_holds_any(gpu, look->tgid);
	return !look->stays && look->attempts == 0;
}

static void end_looks(struct gpu_sense *gpu, uint64_t now)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < gpu->n_looks; i++) {
		if (look_is_over(gpu, &gpu->looks[i], now))
			forget_process(gpu, gpu->looks[i].tgid);
		else
			gpu->looks[kept++] = gpu->looks[i];
	}
	gpu->n_looks = kept;
	if (now >= gpu->everywhere_until_ns && gpu->everywhere_told_in != gpu->generation)
		gpu->everywhere_until_ns = 0;
}

/* Marks of threads that never came back to user space (io_uring's helpers of old kernels). */
static void sweep_marks(struct gpu_sense *gpu, uint64_t now)
{
	int map = bpf_map__fd(gpu->bpf->maps.marks);
	struct gpu_mark mark;
	uint64_t key, next, *at = NULL;
	int r;

	if (__atomic_load_n(&gpu->bpf->bss->pending, __ATOMIC_RELAXED) == 0)
		return;
	for (r = bpf_map_get_next_key(map, at, &next); r == 0;
	     r = bpf_map_get_next_key(map, at, &next)) {
		key = next;
		at = &key;
		if (bpf_map_lookup_elem(map, &key, &mark) < 0 || mark.time_ns + STALE_MARK_NS > now)
			continue;
		if (bpf_map_delete_elem(map, &key) == 0)
			__atomic_fetch_sub(&gpu->bpf->bss->pending, 1, __ATOMIC_RELAXED);
		at = NULL;
	}
}

void gpu_release_device(struct gpu_sense *gpu, uint32_t device)
{
	unsigned int before = gpu->n_holders;

	for (unsigned int i = before; i-- > 0;)
		if (gpu->holders[i].device == device)
			remove_holder(gpu, i);
	tell_gone(gpu, before, monotonic_ns());
}

int gpu_settle(struct gpu_sense *gpu, bool everyone)
{
	uint64_t now;
	int r;

	/* What events announced is known before the walk finds it... */
	r = gpu_dispatch(gpu);
	if (r < 0)
		return r;
	now = monotonic_ns();
	r = walk_all(gpu, everyone);
	/* ...and what they announced meanwhile, before it is counted as found. */
	if (r == 0)
		r = gpu_dispatch(gpu);
	if (r < 0)
		return r;
	drop_absent(gpu, now);
	count_holders(gpu);
	tell_present(gpu, now);
	end_looks(gpu, now);
	/* Whatever is still open was found, for every walk visits all holders. What is not has to
	 * be forgotten now: the next open may well get its address. Only where a new file by itself
	 * is an open must one that has just gone to a stranger be waited for. */
	if (everyone || gpu_rung_has_events(gpu))
		gpu_drop_files(gpu);
	if (everyone) {
		sweep_marks(gpu, now);
		gpu->baseline = true;
	}
	return 0;
}
