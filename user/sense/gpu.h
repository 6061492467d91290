/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gpu sense: who opens and who holds which of the watched character devices. Devices are
 * matched by number, never by path. Opens come as events; who holds a device is always what a walk
 * over the open files says, never a count of opens and closes.
 *
 * Syscall tracepoints tax every syscall of the machine: they are attached only between
 * gpu_want_events(true) and (false).
 */
#ifndef CULPRIT_SENSE_GPU_H
#define CULPRIT_SENSE_GPU_H

#include <stdbool.h>
#include "culprit/gpu.h"
#include "sense/sense.h"

struct gpu_sense;

struct gpu_device {
	uint32_t major, minor;
	uint32_t role;	/* enum culprit_gpu_role */
	char path[64];	/* the node by which it was found, for people */
	uint64_t opens; /* since the agent started */
};

struct gpu_holder {
	uint32_t device; /* index of the device */
	struct culprit_task task;
	uint32_t uid;
	uint32_t descriptors;
	uint64_t since_ns; /* CLOCK_MONOTONIC: first seen holding it */
	uint32_t kind;	   /* enum culprit_gpu_kind, over all that this process holds */
};

/* A successful open (event), or a change of holders that a walk found (opened false). */
struct gpu_change {
	bool opened;
	uint32_t device;
	struct culprit_task task;
	uint64_t time_ns;
};
typedef void (*gpu_change_fn)(void *user, const struct gpu_change *change);

int gpu_open(struct gpu_sense **out, const struct sense_options *options, gpu_change_fn fn,
	     void *user);
void gpu_close(struct gpu_sense *gpu);
const struct sense_status *gpu_status(const struct gpu_sense *gpu);
int gpu_fd(const struct gpu_sense *gpu);
int gpu_dispatch(struct gpu_sense *gpu);

/*
 * Sets which devices are watched, by globs of character nodes (comma-free, NULL-terminated array).
 * The companions by which kinds of holders are told apart (nvidiactl, modeset, uvm, render nodes)
 * are added by the sense itself. Called again when nodes appear. Devices found, or -errno.
 */
int gpu_set_devices(struct gpu_sense *gpu, const char *const *globs);
/* Attaches or detaches what costs other programs something. 0 or -errno. */
int gpu_want_events(struct gpu_sense *gpu, bool want);

/* Does this (pattern-less) path belong to the globs in use? For the watcher of /dev. */
unsigned int gpu_device_count(const struct gpu_sense *gpu);
const struct gpu_device *gpu_device(struct gpu_sense *gpu, unsigned int index);

/* Walks open files (of the known holders and marked tasks only, or of all), updates the holders,
 * and calls the change function for what is new or gone. 0 or -errno. */
int gpu_settle(struct gpu_sense *gpu, bool everyone);
unsigned int gpu_holders(const struct gpu_sense *gpu, const struct gpu_holder **holders);
/* True while a mark has not been resolved, so that gpu_settle() should be called again soon. */
bool gpu_unsettled(const struct gpu_sense *gpu);

extern const char *const gpu_sources[];

#endif
