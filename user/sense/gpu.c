// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/gpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "sense/gpu_private.h"
#include "sense/pins.h"
#include "sense/progs.h"

/* Trampolines report an open before its descriptor is in the table: so long it is believed. */
#define BELIEVE_NS    (20 * NSEC_PER_MSEC)
/* A process that ends still has its descriptors when the kernel says so. */
#define LEAVING_NS    (200 * NSEC_PER_MSEC)
/* io_uring's threads have yet to open; waking a GPU takes a second. */
#define UNRESOLVED_NS (2 * NSEC_PER_SEC)

/* Maps that cannot be looked at from outside are no reason to see nothing; pins_error() tells. */
static void pin(struct gpu_sense *gpu)
{
	struct pins *pins = gpu->options.pins;

	if (!pins)
		return;
	(void)pins_add(pins, bpf_map__fd(gpu->bpf->maps.gpu_device), "gpu_device");
	(void)pins_add(pins, bpf_map__fd(gpu->bpf->maps.gpu_holder), "gpu_holder");
}

int gpu_open(struct gpu_sense **out, const struct sense_options *options, gpu_change_fn fn,
	     void *user)
{
	struct gpu_sense *gpu = calloc(1, sizeof(*gpu));
	int r;

	*out = gpu;
	if (!gpu)
		return -ENOMEM;
	gpu->status.name = "gpu";
	gpu->generation = 1; /* 0 is none */
	gpu->options = *options;
	gpu->fn = fn;
	gpu->user = user;
	gpu_holders_init(gpu);
	r = gpu_climb(gpu);
	if (r == 0)
		pin(gpu);
	return r;
}

void gpu_close(struct gpu_sense *gpu)
{
	if (!gpu)
		return;
	gpu_unload(gpu);
	free(gpu);
}

const struct sense_status *gpu_status(const struct gpu_sense *gpu)
{
	return &gpu->status;
}

int gpu_fd(const struct gpu_sense *gpu)
{
	return gpu->ring ? ring_buffer__epoll_fd(gpu->ring) : -EBADF;
}

int gpu_want_events(struct gpu_sense *gpu, bool want)
{
	if (want)
		return gpu_attach_events(gpu);
	gpu_detach_events(gpu);
	return 0;
}

/* Tells at once and without a walk; the walk that follows confirms or withdraws the holder. */
static void take_open(struct gpu_sense *gpu, const struct culprit_gpu_record *record)
{
	struct gpu_look look = { .tgid = record->task.tgid, .device = CULPRIT_GPU_NO_DEVICE };
	struct gpu_holder told = { .device = record->device, .task = record->task };
	unsigned int slot;

	if (record->device >= gpu->n_slots)
		return;
	if (gpu_rung_is_early(gpu))
		look.until_ns = record->time_ns + BELIEVE_NS;
	/* Until then it may open it again, and nobody tells. */
	if (look.until_ns < record->quiet_ns)
		look.until_ns = record->quiet_ns;
	look.stays = look.until_ns > 0;
	/* Known to the table of files, so that no walk takes it for another open. */
	gpu_file_opened(gpu, record->file, record->device, record->time_ns);
	slot = gpu_hold_slot(gpu, &record->task, record->device);
	told.uid = record->uid;
	told.gid = record->gid;
	told.kind = gpu_kind(gpu_roles_of(gpu, &record->task));
	if (slot != GPU_NOBODY) {
		gpu->holders[slot].uid = told.uid;
		gpu->holders[slot].gid = told.gid;
		if (gpu->holds[slot].told_in != gpu->generation)
			gpu->holds[slot].told_ns = record->time_ns;
		gpu->holds[slot].told_in = gpu->generation;
		gpu->holds[slot].doubtful_ns = look.until_ns;
	}
	gpu_set_kind(gpu, &record->task, (enum culprit_gpu_kind)told.kind);
	gpu_look_at(gpu, &look);
	gpu_tell(gpu, GPU_OPENED, &told, record->time_ns);
}

static void take_unresolved(struct gpu_sense *gpu, const struct culprit_gpu_record *record)
{
	struct gpu_look look = {
		.tgid = record->task.tgid,
		.device = record->device,
		.attempts = record->attempts,
		.until_ns = record->soon ? record->time_ns + UNRESOLVED_NS : 0,
	};

	if (record->quiet_ns) {
		look.attempts = CULPRIT_GPU_MANY;
		look.stays = true;
		if (look.until_ns < record->quiet_ns)
			look.until_ns = record->quiet_ns;
	}
	gpu_look_at(gpu, &look);
}

int gpu_take_record(struct gpu_sense *gpu, const void *data, size_t size)
{
	const struct culprit_gpu_record *record = data;
	struct gpu_look look = { .device = CULPRIT_GPU_NO_DEVICE };

	if (size < sizeof(*record))
		return 0;
	if (record->device == CULPRIT_GPU_PROBE) {
		gpu->proved |= record->event == CULPRIT_GPU_OPENED;
		return 0;
	}
	look.tgid = record->task.tgid;
	switch ((enum culprit_gpu_event)record->event) {
	case CULPRIT_GPU_OPENED:
		take_open(gpu, record);
		break;
	case CULPRIT_GPU_UNRESOLVED:
		take_unresolved(gpu, record);
		break;
	case CULPRIT_GPU_LEFT:
		look.leaving = true;
		look.until_ns = record->time_ns + LEAVING_NS;
		gpu_look_at(gpu, &look);
		break;
	case CULPRIT_GPU_FORKED:
		gpu_look_at(gpu, &look);
		break;
	}
	/* libbpf reads on for as long as there is something to read. What is announced while it is
	 * read waits for its turn. */
	return record->time_ns > gpu->dispatch_ns ? -EAGAIN : 0;
}

int gpu_dispatch(struct gpu_sense *gpu)
{
	int r;

	if (!gpu->ring)
		return -EBADF;
	gpu->dispatch_ns = monotonic_ns();
	r = ring_buffer__consume(gpu->ring);
	return r < 0 && r != -EAGAIN ? r : 0;
}

uint64_t gpu_missed(const struct gpu_sense *gpu)
{
	return gpu->bpf ? progs_missed(gpu->bpf->obj) : 0;
}

void gpu_set_guardian(struct gpu_sense *gpu, pid_t guardian)
{
	if (gpu->bpf)
		__atomic_store_n(&gpu->bpf->bss->guardian_tgid, (uint32_t)guardian,
				 __ATOMIC_RELAXED);
}
