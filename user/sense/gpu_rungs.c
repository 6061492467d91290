// SPDX-License-Identifier: GPL-2.0-or-later
/* The ladder of sources: which programs each rung loads, and the proof that they see something. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "sense/gpu_private.h"

/* How long a rung may take to show its own open. Only a silent one makes anybody wait for it. */
#define PROOF_MS 500

#define BLIND_HIDDEN \
	"devices that are only mapped, in flight in a socket, or in io_uring's own file table"
#define BLIND_URING \
	"opens by io_uring that are closed again, or follow a close, before the next walk"
#define BLIND_CGROUP  "opens by tasks outside the cgroup2 mount (a container's view of it)"
#define BLIND_KERNEL  "opens by io_uring on kernels before 5.12 are booked when a walk finds them"
#define BLIND_ITERATE "opens that are closed again before the next walk; opens found up to 1 s late"

struct gpu_rung {
	const char *name;
	const char *begin; /* the cgroup/dev program, or NULL */
	const char *end;   /* the program that sees the open succeed, or NULL */
	bool every_open;
	const char *blind[SENSE_MAX_BLIND];
};

enum {
	RUNG_FEXIT,
	RUNG_WORK,
};

static const struct gpu_rung rungs[] = {
	[RUNG_FEXIT] = { "fexit", NULL, "leave_open", false, { BLIND_HIDDEN } },
	[RUNG_WORK] = { "cgroup/dev+work",
			"schedule_open",
			NULL,
			false,
			{ BLIND_URING, BLIND_HIDDEN, BLIND_CGROUP } },
	{ "cgroup/dev+exits",
	  "mark_open",
	  "leave_syscall",
	  false,
	  { BLIND_URING, BLIND_HIDDEN, BLIND_CGROUP, BLIND_KERNEL } },
	{ "exits", NULL, "leave_syscall", true, { BLIND_URING, BLIND_HIDDEN, BLIND_KERNEL } },
	{ "iterator", NULL, NULL, false, { BLIND_ITERATE, BLIND_HIDDEN } },
};

const char *const gpu_sources[] = { "fexit", "cgroup/dev+work", "cgroup/dev+exits",
				    "exits", "iterator",	NULL };

static const char *const hints[] = { "hint_fork", "hint_exec", "hint_exit" };

bool gpu_rung_has_events(const struct gpu_sense *gpu)
{
	return gpu->rung && (gpu->rung->begin || gpu->rung->end);
}

bool gpu_rung_is_early(const struct gpu_sense *gpu)
{
	return gpu->rung == &rungs[RUNG_FEXIT];
}

static struct bpf_program *program(struct gpu_sense *gpu, const char *name)
{
	return bpf_object__find_program_by_name(gpu->bpf->obj, name);
}

/* Only what the rung needs is loaded, so that what this kernel lacks cannot fail the rest. */
static int choose_programs(struct gpu_sense *gpu, const struct gpu_rung *rung)
{
	bool events = rung->begin || rung->end;
	int r = 0;

	if (rung == &rungs[RUNG_WORK])
		r = gpu_work_prepare(gpu->bpf->progs.schedule_open);
	if (r == 0 && rung->begin)
		r = bpf_program__set_autoload(program(gpu, rung->begin), true);
	if (r == 0 && rung->end)
		r = bpf_program__set_autoload(program(gpu, rung->end), true);
	for (unsigned int i = 0; r == 0 && i < ARRAY_SIZE(hints); i++)
		r = bpf_program__set_autoload(program(gpu, hints[i]), events);
	/* Where the symbol is missing, releases are found by the next walk. */
	if (r == 0 && rung == &rungs[RUNG_FEXIT] &&
	    libbpf_find_vmlinux_btf_id("cdev_put", BPF_TRACE_FENTRY) > 0)
		r = bpf_program__set_autoload(gpu->bpf->progs.release, true);
	return r;
}

static int load(struct gpu_sense *gpu, const struct gpu_rung *rung)
{
	int r;

	gpu->bpf = gpu_bpf__open();
	if (!gpu->bpf)
		return -errno;
	gpu->bpf->rodata->agent_tgid = (__u32)gpu->options.agent_pid;
	gpu->bpf->bss->guardian_tgid = (__u32)gpu->options.guardian_pid;
	gpu->bpf->rodata->every_open = rung->every_open;
	if (gpu->options.losses_fd >= 0) {
		r = bpf_map__reuse_fd(gpu->bpf->maps.losses, gpu->options.losses_fd);
		if (r < 0)
			return r;
	}
	r = choose_programs(gpu, rung);
	return r < 0 ? r : gpu_bpf__load(gpu->bpf);
}

void gpu_detach_events(struct gpu_sense *gpu)
{
	/* The beginning of opens first: no mark is made that no exit would see. */
	bpf_link__destroy(gpu->mark);
	gpu->mark = NULL;
	while (gpu->n_links)
		bpf_link__destroy(gpu->links[--gpu->n_links]);
}

void gpu_unload(struct gpu_sense *gpu)
{
	gpu_detach_events(gpu);
	ring_buffer__free(gpu->ring);
	gpu->ring = NULL;
	gpu_bpf__destroy(gpu->bpf);
	gpu->bpf = NULL;
}

static int attach(struct gpu_sense *gpu, struct bpf_program *prog)
{
	struct bpf_link *link = bpf_program__attach(prog);

	if (!link)
		return -errno;
	gpu->links[gpu->n_links++] = link;
	return 0;
}

/* A link goes with the agent however it dies; links always allow others beside them. */
static int attach_begin(struct gpu_sense *gpu)
{
	_cleanup_close_ int cgroup =
		open(gpu->options.cgroup_mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (cgroup < 0)
		return -errno;
	gpu->mark = bpf_program__attach_cgroup(program(gpu, gpu->rung->begin), cgroup);
	return gpu->mark ? 0 : -errno;
}

int gpu_attach_events(struct gpu_sense *gpu)
{
	int r = 0;

	if (gpu->n_links || !gpu_rung_has_events(gpu))
		return 0;
	for (unsigned int i = 0; r == 0 && i < ARRAY_SIZE(hints); i++)
		r = attach(gpu, program(gpu, hints[i]));
	if (r == 0 && bpf_program__autoload(gpu->bpf->progs.release))
		r = attach(gpu, gpu->bpf->progs.release);
	if (r == 0 && gpu->rung->end)
		r = attach(gpu, program(gpu, gpu->rung->end));
	if (r == 0 && gpu->rung->begin)
		r = attach_begin(gpu);
	if (r < 0)
		gpu_detach_events(gpu);
	return r;
}

/* A character device that everyone may open and whose driver does nothing when it is opened. Not
 * the one that is opened most (each open by anybody costs a little meanwhile), and not /dev/full,
 * which stands in for a GPU where there is none: other agents would take the probe for a user of
 * it. */
static int find_probe(const char **path, struct culprit_gpu_number *number)
{
	static const char *const nodes[] = { "/dev/zero", "/dev/null", "/dev/full" };
	struct stat st;

	for (unsigned int i = 0; i < ARRAY_SIZE(nodes); i++) {
		if (stat(nodes[i], &st) < 0 || !S_ISCHR(st.st_mode))
			continue;
		*path = nodes[i];
		*number = (struct culprit_gpu_number){ major(st.st_rdev), minor(st.st_rdev) };
		return 0;
	}
	return -ENXIO;
}

static void probe_row(struct gpu_sense *gpu, const struct culprit_gpu_file *row)
{
	if (row->device == CULPRIT_GPU_PROBE)
		gpu->proved = true;
}

static int wait_for_proof(struct gpu_sense *gpu)
{
	uint64_t end = monotonic_ns() + PROOF_MS * NSEC_PER_MSEC;
	int r = 0;

	while (!gpu->proved && r >= 0 && monotonic_ns() < end) {
		r = ring_buffer__poll(gpu->ring, PROOF_MS);
		if (r == -EINTR)
			r = 0;
	}
	return r < 0 ? r : 0;
}

/* Opens the probe and looks for it in the events and in a walk. -ENODATA: something is silent. */
static int prove_with(struct gpu_sense *gpu, const char *path)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	if (gpu_rung_has_events(gpu)) {
		gpu->proved = false;
		r = wait_for_proof(gpu);
		if (r < 0)
			return r;
		if (!gpu->proved)
			return -ENODATA;
	}
	gpu->walks_by_pid = true;
	gpu->proved = false;
	r = gpu_walk(gpu, gpu->options.agent_pid, probe_row);
	if (r < 0 || !gpu->proved) {
		gpu->walks_by_pid = false;
		r = gpu_walk(gpu, 0, probe_row);
	}
	if (r < 0)
		return r;
	return gpu->proved ? 0 : -ENODATA;
}

static int prove(struct gpu_sense *gpu)
{
	struct culprit_gpu_device probe = { .index = CULPRIT_GPU_PROBE };
	struct culprit_gpu_number number = { 0 };
	const char *path = NULL;
	int map = bpf_map__fd(gpu->bpf->maps.gpu_device);
	int r = find_probe(&path, &number);

	if (r < 0)
		return r;
	snprintf(probe.path, sizeof(probe.path), "%s", path);
	gpu->bpf->bss->majors[number.major / 64] |= 1ULL << (number.major % 64);
	r = bpf_map_update_elem(map, &number, &probe, BPF_ANY);
	if (r < 0)
		return r;
	r = gpu_attach_events(gpu);
	if (r == 0)
		r = prove_with(gpu, path);
	gpu_detach_events(gpu);
	/* Before 5.13 (f3a95075549e) a trampoline's program can be attached only once. */
	if (r == 0 && gpu_attach_events(gpu) < 0)
		r = -EALREADY;
	gpu_detach_events(gpu);
	(void)bpf_map_delete_elem(map, &number);
	gpu->bpf->bss->majors[number.major / 64] = 0;
	return r;
}

static int record_arrived(void *user, void *data, size_t size)
{
	return gpu_take_record(user, data, size);
}

static int try_rung(struct gpu_sense *gpu, const struct gpu_rung *rung)
{
	int r = load(gpu, rung);

	if (r < 0)
		return r;
	gpu->ring = ring_buffer__new(bpf_map__fd(gpu->bpf->maps.events), record_arrived, gpu, NULL);
	if (!gpu->ring)
		return -errno;
	gpu->rung = rung;
	return prove(gpu);
}

static const char *words_for(int error)
{
	switch (-error) {
	case ENODATA:
		return "loads but sees nothing";
	case EALREADY:
		return "this kernel attaches it only once, and it is switched on and off";
	case EOPNOTSUPP:
		return "no task work for programs in this kernel";
	case ENOENT:
	case ESRCH:
		return "this kernel lacks the function that it is attached to";
	default:
		return strerror(-error);
	}
}

static void say_why(struct gpu_sense *gpu, const char *rung, int error)
{
	size_t n = strlen(gpu->status.why);

	snprintf(gpu->status.why + n, sizeof(gpu->status.why) - n, "%s%s: %s", n ? "; " : "", rung,
		 words_for(error));
}

int gpu_climb(struct gpu_sense *gpu)
{
	int r;

	for (unsigned int i = 0; i < ARRAY_SIZE(rungs); i++) {
		if (gpu->options.source && strcmp(gpu->options.source, rungs[i].name) != 0)
			continue;
		r = try_rung(gpu, &rungs[i]);
		if (r == 0) {
			gpu->status.source = rungs[i].name;
			memcpy(gpu->status.blind, rungs[i].blind, sizeof(gpu->status.blind));
			return 0;
		}
		say_why(gpu, rungs[i].name, r);
		gpu_unload(gpu);
		gpu->rung = NULL;
	}
	return -ENOTSUP;
}
