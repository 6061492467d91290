// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tables of holders and of open files. Both are arrays of fixed size with chains of slots by
 * hash, because an event that is dispatched may not allocate.
 */
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "sense/gpu_private.h"

static unsigned int bucket_of(uint64_t key, uint32_t device)
{
	/* Fibonacci hashing: addresses and pids differ in their middle bits. */
	return (unsigned int)(((key ^ ((uint64_t)device << 40)) * 0x9e3779b97f4a7c15ULL) >> 54) %
	       GPU_BUCKETS;
}

static void index_clear(struct gpu_index *index)
{
	for (unsigned int i = 0; i < GPU_BUCKETS; i++)
		index->bucket[i] = GPU_NOBODY;
}

void gpu_holders_init(struct gpu_sense *gpu)
{
	_Static_assert(CULPRIT_GPU_HOLDERS < GPU_NOBODY && GPU_FILES < GPU_NOBODY,
		       "slots are numbered by 16 bits");
	index_clear(&gpu->holder_index);
	index_clear(&gpu->file_index);
}

static void link_holder(struct gpu_sense *gpu, unsigned int slot)
{
	const struct gpu_holder *holder = &gpu->holders[slot];
	uint16_t *bucket = &gpu->holder_index.bucket[bucket_of(holder->task.tgid, holder->device)];

	gpu->holds[slot].next = *bucket;
	*bucket = (uint16_t)slot;
}

static unsigned int find_holder(const struct gpu_sense *gpu, const struct culprit_task *task,
				uint32_t device)
{
	unsigned int slot = gpu->holder_index.bucket[bucket_of(task->tgid, device)];

	for (; slot != GPU_NOBODY; slot = gpu->holds[slot].next) {
		const struct gpu_holder *holder = &gpu->holders[slot];

		if (holder->task.tgid == task->tgid && holder->device == device &&
		    holder->task.start_time_ns == task->start_time_ns)
			break;
	}
	return slot;
}

void gpu_count_full(struct gpu_sense *gpu, enum culprit_gpu_table table)
{
	const uint64_t which = table;
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = &which, .ctx_size_in = sizeof(which));

	(void)bpf_prog_test_run_opts(bpf_program__fd(gpu->bpf->progs.count_full), &run);
}

unsigned int gpu_hold_slot(struct gpu_sense *gpu, const struct culprit_task *task, uint32_t device)
{
	unsigned int slot = find_holder(gpu, task, device);

	if (slot != GPU_NOBODY)
		return slot;
	if (gpu->n_holders == CULPRIT_GPU_HOLDERS) {
		gpu_count_full(gpu, CULPRIT_GPU_TABLE_HOLDER);
		return GPU_NOBODY;
	}
	slot = gpu->n_holders++;
	gpu->holders[slot] = (struct gpu_holder){
		.device = device,
		.task = *task,
		.since_ns = monotonic_ns(),
	};
	gpu->holds[slot] = (struct gpu_hold){
		.fresh = true,
		.first_ns = gpu->holders[slot].since_ns,
	};
	link_holder(gpu, slot);
	return slot;
}

void gpu_reindex_holders(struct gpu_sense *gpu)
{
	index_clear(&gpu->holder_index);
	for (unsigned int i = 0; i < gpu->n_holders; i++)
		link_holder(gpu, i);
}

bool gpu_holds_any(const struct gpu_sense *gpu, uint32_t tgid)
{
	for (unsigned int i = 0; i < gpu->n_holders; i++)
		if (gpu->holders[i].task.tgid == tgid)
			return true;
	return false;
}

uint32_t gpu_roles_of(const struct gpu_sense *gpu, const struct culprit_task *task)
{
	struct culprit_task key = *task;
	uint32_t roles = 0;

	for (unsigned int i = 0; i < gpu->n_slots; i++)
		if (gpu->slots[i].used && find_holder(gpu, &key, i) != GPU_NOBODY)
			roles |= gpu->slots[i].device.role;
	return roles;
}

void gpu_set_kind(struct gpu_sense *gpu, const struct culprit_task *task,
		  enum culprit_gpu_kind kind)
{
	for (unsigned int i = 0; i < gpu->n_slots; i++) {
		unsigned int slot = find_holder(gpu, task, i);

		if (slot != GPU_NOBODY)
			gpu->holders[slot].kind = kind;
	}
}

static void link_file(struct gpu_sense *gpu, unsigned int slot)
{
	const struct gpu_file *file = &gpu->files[slot];
	uint16_t *bucket = &gpu->file_index.bucket[bucket_of(file->id, file->device)];

	gpu->files[slot].next = *bucket;
	*bucket = (uint16_t)slot;
}

/* Known, or new (*fresh); NULL without room. */
static struct gpu_file *file_of(struct gpu_sense *gpu, uint64_t id, uint32_t device, bool *fresh)
{
	unsigned int slot = gpu->file_index.bucket[bucket_of(id, device)];

	*fresh = false;
	for (; slot != GPU_NOBODY; slot = gpu->files[slot].next) {
		if (gpu->files[slot].id == id && gpu->files[slot].device == device) {
			gpu->files[slot].generation = gpu->generation;
			return &gpu->files[slot];
		}
	}
	if (gpu->n_files == GPU_FILES) {
		gpu_count_full(gpu, CULPRIT_GPU_TABLE_FILE);
		return NULL;
	}
	slot = gpu->n_files++;
	gpu->files[slot] = (struct gpu_file){
		.id = id,
		.device = device,
		.generation = gpu->generation,
	};
	link_file(gpu, slot);
	*fresh = true;
	return &gpu->files[slot];
}

bool gpu_file_seen(struct gpu_sense *gpu, uint64_t id, uint32_t device, uint64_t *since_ns)
{
	bool fresh;
	const struct gpu_file *file = file_of(gpu, id, device, &fresh);

	*since_ns = file ? file->since_ns : 0;
	/* Without room no file is new: no open is counted that was none. */
	return fresh;
}

void gpu_file_opened(struct gpu_sense *gpu, uint64_t id, uint32_t device, uint64_t time_ns)
{
	bool fresh;
	struct gpu_file *file = file_of(gpu, id, device, &fresh);

	if (file)
		file->since_ns = time_ns;
}

void gpu_drop_files(struct gpu_sense *gpu)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < gpu->n_files; i++)
		if (gpu->files[i].generation == gpu->generation)
			gpu->files[kept++] = gpu->files[i];
	gpu->n_files = kept;
	index_clear(&gpu->file_index);
	for (unsigned int i = 0; i < kept; i++)
		link_file(gpu, i);
}
