/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the gpu sense share. */
#ifndef CULPRIT_SENSE_GPU_PRIVATE_H
#define CULPRIT_SENSE_GPU_PRIVATE_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "gpu.skel.h"
#include "sense/gpu.h"

#define GPU_BUCKETS 1024
#define GPU_FILES   8192
#define GPU_LOOKS   256
#define GPU_LINKS   8
#define GPU_NOBODY  0xffffU /* ends a chain of slots */

/* A slot of the table of devices; companions that the globs do not name are not `wanted`. */
struct gpu_slot {
	bool used;
	bool found; /* by the gpu_set_devices() under way */
	struct gpu_device device;
};

/* Slots found by key, without allocation: `next` of a slot with the same hash. */
struct gpu_index {
	uint16_t bucket[GPU_BUCKETS];
};

/* What the walk keeps beside each public struct gpu_holder. */
struct gpu_hold {
	uint16_t next;
	bool fresh;	      /* not yet told as GPU_HELD */
	bool written;	      /* is in the pinned map */
	uint64_t generation;  /* of the last walk that found it */
	uint64_t first_ns;    /* when it came into the table */
	uint64_t told_in;     /* the walk that had begun when its last open was announced */
	uint64_t told_ns;     /* the first one announced since that walk began */
	uint64_t doubtful_ns; /* before this an open is believed without a descriptor */
	uint32_t new_files;   /* that walks found first, not yet credited */
};

/* An open file of a watched device. A file whose id is not here is a new open. */
struct gpu_file {
	uint64_t id;
	uint32_t device;
	uint16_t next;
	uint64_t generation;
	uint64_t since_ns; /* when its open was announced; 0: a walk found it */
};

/* A process that an event named, for the next walks. */
struct gpu_look {
	uint32_t tgid;
	uint32_t device;   /* CULPRIT_GPU_NO_DEVICE: no open to credit */
	uint32_t attempts; /* opens that may still show up */
	bool leaving;	   /* over as soon as it holds nothing */
	bool stays;	   /* over with the time only: more may come of it than was announced */
	uint64_t told_in;  /* the walk that had begun when it was asked for: too early for it */
	uint64_t until_ns; /* at least one walk, then until this time */
};

/* struct mark of bpf/gpu.bpf.c. */
struct gpu_mark {
	uint64_t work;
	uint64_t time_ns;
	uint32_t device;
	uint32_t attempts;
};

struct gpu_sense {
	struct sense_status status;
	struct sense_options options;
	const struct gpu_rung *rung;
	gpu_change_fn fn;
	void *user;

	struct gpu_bpf *bpf;
	struct ring_buffer *ring;
	struct bpf_link *mark;		   /* the cgroup/dev program: stays attached */
	struct bpf_link *links[GPU_LINKS]; /* what gpu_want_events() switches */
	unsigned int n_links;
	bool walks_by_pid;    /* iterators take a pid (kernel 6.1) */
	bool proved;	      /* the probe's open was seen */
	uint64_t dispatch_ns; /* when the dispatch under way began */

	struct gpu_slot slots[CULPRIT_GPU_DEVICES];
	unsigned int n_slots;
	struct gpu_device shown; /* what gpu_device() hands out */

	struct gpu_holder holders[CULPRIT_GPU_HOLDERS];
	struct gpu_hold holds[CULPRIT_GPU_HOLDERS];
	unsigned int n_holders;
	struct gpu_index holder_index;

	struct gpu_file files[GPU_FILES];
	unsigned int n_files;
	struct gpu_index file_index;

	struct gpu_look looks[GPU_LOOKS];
	unsigned int n_looks;
	uint64_t everywhere_until_ns; /* somebody unknown may hold one */
	uint64_t everywhere_told_in;
	uint64_t generation; /* the number of the last walk that has begun */
	bool baseline;	     /* everyone was walked once: what is found from now on is new */
};

/* gpu_rungs.c: the ladder. Opens the first rung that proves itself, or the forced one. */
int gpu_climb(struct gpu_sense *gpu);
void gpu_unload(struct gpu_sense *gpu);
int gpu_attach_events(struct gpu_sense *gpu);
void gpu_detach_events(struct gpu_sense *gpu);
/* True when opens come as events on the rung in use. */
bool gpu_rung_has_events(const struct gpu_sense *gpu);
/* True when an open is announced before its descriptor is in the table. */
bool gpu_rung_is_early(const struct gpu_sense *gpu);

/* gpu_work.c: puts the running kernel's kfunc into the program, before it is loaded. -EOPNOTSUPP
 * where there is none. */
int gpu_work_prepare(struct bpf_program *prog);

/* gpu_devices.c */
void gpu_count_open(struct gpu_sense *gpu, uint32_t device, uint32_t n);
uint64_t gpu_opens(const struct gpu_sense *gpu, uint32_t device);
void gpu_write_device(struct gpu_sense *gpu, uint32_t device);

/* gpu_walk.c: calls fn for each descriptor of a watched device; tgid 0: of everyone. */
typedef void (*gpu_row_fn)(struct gpu_sense *gpu, const struct culprit_gpu_file *row);
int gpu_walk(struct gpu_sense *gpu, pid_t tgid, gpu_row_fn fn);

/* gpu_holders.c: the tables. */
void gpu_holders_init(struct gpu_sense *gpu);
/* The holder's slot, made if there is none; GPU_NOBODY when there is no room. */
unsigned int gpu_hold_slot(struct gpu_sense *gpu, const struct culprit_task *task, uint32_t device);
/* Counts a loss: there was no room in that table. */
void gpu_count_full(struct gpu_sense *gpu, enum culprit_gpu_table table);
bool gpu_holds_any(const struct gpu_sense *gpu, uint32_t tgid);
/* Marks the file as seen by the walk of this generation; true when it was not known. It is open
 * since *since_ns (0: unknown, or no room). */
bool gpu_file_seen(struct gpu_sense *gpu, uint64_t id, uint32_t device, uint64_t *since_ns);
/* The same for one whose open was announced: another file than the one that had its place. */
void gpu_file_opened(struct gpu_sense *gpu, uint64_t id, uint32_t device, uint64_t time_ns);
void gpu_drop_files(struct gpu_sense *gpu);
void gpu_reindex_holders(struct gpu_sense *gpu);
/* Of all that this process holds. */
void gpu_set_kind(struct gpu_sense *gpu, const struct culprit_task *task,
		  enum culprit_gpu_kind kind);
uint32_t gpu_roles_of(const struct gpu_sense *gpu, const struct culprit_task *task);

/* gpu.c: one record of the ring. */
int gpu_take_record(struct gpu_sense *gpu, const void *data, size_t size);

/* gpu_settle.c */
/* Withdraws all holders of a device that is watched no longer. */
void gpu_release_device(struct gpu_sense *gpu, uint32_t device);
void gpu_look_at(struct gpu_sense *gpu, const struct gpu_look *look);
void gpu_tell(struct gpu_sense *gpu, enum gpu_news news, const struct gpu_holder *holder,
	      uint64_t time_ns);

#endif
