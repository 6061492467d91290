/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gpu sense: who opens and who holds which of the watched character devices. Devices are
 * matched by number, never by path. Opens come as events; who holds a device is always what a walk
 * over the open files says, never a count of opens and closes.
 *
 * What costs other programs something (syscall tracepoints, trampolines, hints at fork, exec and
 * exit) is attached only between gpu_want_events(true) and (false).
 *
 * How to call gpu_settle(): at once and then every 10 ms while gpu_unsettled(); known holders ten
 * times a second while a policy holds; everyone once a second while any device is watched (that is
 * what finds descriptors that were passed, and is all there is on the "iterator" source).
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
	bool wanted;	/* the globs name it; false: a companion that tells kinds apart */
	uint64_t globs; /* which of the globs name it: bit i for the i-th (the first 64) */
	char path[CULPRIT_GPU_PATH_LEN]; /* the node by which it was found, for people */
	uint64_t opens;			 /* since the agent started */
	uint32_t holders;		 /* processes, at the last walk */
};

struct gpu_holder {
	uint32_t device; /* index of the device */
	struct culprit_task task;
	uint32_t uid, gid;
	uint32_t descriptors; /* 0: an open was seen, the next walk will confirm it */
	uint64_t since_ns;    /* CLOCK_MONOTONIC: first seen holding it */
	uint32_t kind;	      /* enum culprit_gpu_kind, over all that this process holds */
};

enum gpu_news {
	GPU_OPENED,   /* an open succeeded */
	GPU_HELD,     /* a walk found a holder that was not known */
	GPU_RELEASED, /* a walk found that a holder has gone */
};

struct gpu_change {
	enum gpu_news news;
	uint32_t device;
	struct culprit_task task;
	uint32_t uid, gid;
	uint32_t kind;	  /* enum culprit_gpu_kind, as far as known now */
	uint32_t holders; /* of the device, at the last walk */
	uint64_t opens;	  /* of the device, since the agent started */
	uint64_t time_ns; /* CLOCK_MONOTONIC; GPU_OPENED: of the open itself */
};
typedef void (*gpu_change_fn)(void *user, const struct gpu_change *change);

/*
 * Opens, loads and proves the best source. *out is freed by gpu_close(). The pids in the options
 * are those of the initial pid namespace. -ENOTSUP: no source; *out is set all the same, for
 * gpu_status() to say why and for gpu_close(), but for nothing else.
 */
int gpu_open(struct gpu_sense **out, const struct sense_options *options, gpu_change_fn fn,
	     void *user);
void gpu_close(struct gpu_sense *gpu);
const struct sense_status *gpu_status(const struct gpu_sense *gpu);

/* The descriptor to poll for reading, and what to call then: reads records and calls the change
 * function; allocates nothing. 0 or -errno. */
int gpu_fd(const struct gpu_sense *gpu);
int gpu_dispatch(struct gpu_sense *gpu);

/*
 * Sets which devices are watched, by globs of character nodes (NULL-terminated array). The
 * companions by which kinds of holders are told apart (nvidiactl, modeset, uvm, render nodes) are
 * added by the sense itself. Called again when nodes appear: what stays keeps its index and its
 * counter. The number of wanted devices, -E2BIG when there are more than CULPRIT_GPU_DEVICES,
 * -ENOTSUP without a source, or -errno.
 */
int gpu_set_devices(struct gpu_sense *gpu, const char *const *globs);
/* Attaches or detaches what costs other programs something. 0 or -errno (then it is detached). */
int gpu_want_events(struct gpu_sense *gpu, bool want);

/* Indexes run from 0 to gpu_device_count(); gpu_device() is NULL for one whose device has gone.
 * What it returns is valid until the next call. */
unsigned int gpu_device_count(const struct gpu_sense *gpu);
const struct gpu_device *gpu_device(struct gpu_sense *gpu, unsigned int index);

/*
 * Walks open files (of the known holders and of whom an event named, or of everyone), updates the
 * holders, and calls the change function for what is new or gone. 0 or -errno (then the holders are
 * those of the walk before).
 */
int gpu_settle(struct gpu_sense *gpu, bool everyone);
/* The holders, valid until the next gpu_settle() or gpu_dispatch(). */
unsigned int gpu_holders(const struct gpu_sense *gpu, const struct gpu_holder **holders);
/* True while an event waits for a walk to confirm it. */
bool gpu_unsettled(const struct gpu_sense *gpu);

/* The guardian was replaced (options->guardian_pid is the first): the new one is no evidence. */
void gpu_set_guardian(struct gpu_sense *gpu, pid_t guardian);

/* Events at which a program was not run because it was running already (recursion). */
uint64_t gpu_missed(const struct gpu_sense *gpu);

/* Which kind of user holds devices of these roles (bits). */
enum culprit_gpu_kind gpu_kind(uint32_t roles);

/* The sources' names, best first, NULL-terminated, for --support. */
extern const char *const gpu_sources[];

#endif
