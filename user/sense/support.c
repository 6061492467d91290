// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/support.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/cleanup.h"

struct support {
	struct btf *btf; /* NULL: the kernel has none */
};

/* Called by nobody but the kernel's own self-test, so that attaching to it costs nobody anything.
 */
#define QUIET_FUNCTION "bpf_fentry_test1"

int support_open(struct support **out)
{
	struct support *support = calloc(1, sizeof(*support));

	if (!support)
		return -ENOMEM;
	*out = support;
	support->btf = btf__load_vmlinux_btf();
	return support->btf ? 0 : -ENOENT;
}

void support_close(struct support *support)
{
	if (!support)
		return;
	btf__free(support->btf);
	free(support);
}

bool support_btf(const struct support *support)
{
	return support->btf;
}

/* Id of a type by name and kind, or -ENOENT. */
static int find(const struct support *support, const char *name, __u32 kind)
{
	int id = support->btf ? btf__find_by_name_kind(support->btf, name, kind) : -ENOENT;

	return id > 0 ? id : -ENOENT;
}

static int find_tracepoint(const struct support *support, const char *name)
{
	char type[128];

	snprintf(type, sizeof(type), "btf_trace_%s", name);
	return find(support, type, BTF_KIND_TYPEDEF);
}

bool support_tracepoint(const struct support *support, const char *name)
{
	return find_tracepoint(support, name) > 0;
}

int support_tracepoint_args(const struct support *support, const char *name)
{
	int id = find_tracepoint(support, name);
	const struct btf_type *t;

	if (id < 0)
		return id;
	/* typedef → pointer → function, whose first argument is the tracepoint's own data. */
	t = btf__type_by_id(support->btf, btf__type_by_id(support->btf, (__u32)id)->type);
	if (!btf_is_ptr(t))
		return -ENOENT;
	t = btf__type_by_id(support->btf, t->type);
	return btf_is_func_proto(t) ? btf_vlen(t) - 1 : -ENOENT;
}

bool support_function(const struct support *support, const char *name)
{
	return find(support, name, BTF_KIND_FUNC) > 0;
}

static bool has_member(const struct btf *btf, __u32 id, const char *member)
{
	const struct btf_type *t = btf__type_by_id(btf, id);
	const struct btf_member *m = btf_members(t);

	if (!btf_is_composite(t))
		return false;
	for (unsigned int i = 0; i < btf_vlen(t); i++, m++) {
		if (m->name_off == 0 ? has_member(btf, m->type, member)
				     : strcmp(btf__name_by_offset(btf, m->name_off), member) == 0)
			return true;
	}
	return false;
}

bool support_member(const struct support *support, const char *type, const char *member)
{
	int id = find(support, type, BTF_KIND_STRUCT);

	if (id < 0)
		id = find(support, type, BTF_KIND_UNION);
	return id > 0 && has_member(support->btf, (__u32)id, member);
}

bool support_enum_value(const struct support *support, const char *type, const char *name)
{
	int id = find(support, type, BTF_KIND_ENUM);
	const struct btf_type *t;
	const struct btf_enum *e;

	if (id < 0)
		return false;
	t = btf__type_by_id(support->btf, (__u32)id);
	e = btf_enum(t);
	for (unsigned int i = 0; i < btf_vlen(t); i++, e++)
		if (strcmp(btf__name_by_offset(support->btf, e->name_off), name) == 0)
			return true;
	return false;
}

/* How to load an empty program of each kind. */
static const struct {
	const char *name;
	enum bpf_prog_type type;
	enum bpf_attach_type attach;
	const char *target; /* what it is loaded for; found in the kernel's BTF */
} programs[SUPPORT_PROGRAMS] = {
	[SUPPORT_TP_BTF] = { "tp_btf", BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP,
			     "btf_trace_sched_process_free" },
	[SUPPORT_FENTRY] = { "fentry", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, QUIET_FUNCTION },
	[SUPPORT_FEXIT] = { "fexit", BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT, QUIET_FUNCTION },
	[SUPPORT_KPROBE] = { "kprobe", BPF_PROG_TYPE_KPROBE, 0, NULL },
	[SUPPORT_ITER_TASK] = { "iter/task", BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER,
				"bpf_iter_task" },
	[SUPPORT_ITER_TASK_FILE] = { "iter/task_file", BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER,
				     "bpf_iter_task_file" },
	[SUPPORT_CGROUP_DEVICE] = { "cgroup/dev", BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE,
				    NULL },
};

const char *support_program_name(enum support_program kind)
{
	return programs[kind].name;
}

/* A kprobe program loads anywhere; the probe itself needs CONFIG_KPROBES. 0 or -errno. */
static int try_kprobe(void)
{
	struct perf_event_attr attr = { .size = sizeof(attr) };
	_cleanup_fclose_ FILE *f = fopen("/sys/bus/event_source/devices/kprobe/type", "re");
	_cleanup_close_ int fd = -1;

	if (!f || fscanf(f, "%u", &attr.type) != 1)
		return -ENOENT;
	attr.kprobe_func = (__u64)(uintptr_t)QUIET_FUNCTION;
	fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : 0;
}

static bool attaches_quietly(enum bpf_attach_type attach)
{
	return attach == BPF_TRACE_RAW_TP || attach == BPF_TRACE_FENTRY ||
	       attach == BPF_TRACE_FEXIT;
}

int support_program(const struct support *support, enum support_program kind)
{
	const struct bpf_insn empty[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = programs[kind].attach);
	_cleanup_close_ int program = -1, link = -1;

	if (programs[kind].target) {
		bool is_tracepoint = programs[kind].attach == BPF_TRACE_RAW_TP;
		int id = find(support, programs[kind].target,
			      is_tracepoint ? BTF_KIND_TYPEDEF : BTF_KIND_FUNC);

		if (id < 0)
			return id;
		opts.attach_btf_id = (__u32)id;
	}
	program = bpf_prog_load(programs[kind].type, "support", "GPL", empty, ARRAY_SIZE(empty),
				&opts);
	if (program < 0)
		return -errno;
	if (kind == SUPPORT_KPROBE)
		return try_kprobe();
	if (attaches_quietly(programs[kind].attach)) {
		link = bpf_raw_tracepoint_open(NULL, program);
		if (link < 0)
			return -errno;
	}
	return 0;
}

bool support_psi(void)
{
	char byte;
	_cleanup_close_ int fd = open("/proc/pressure/memory", O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, &byte, 1) == 1;
}

bool support_swap(void)
{
	char line[512];
	_cleanup_fclose_ FILE *f = fopen("/proc/swaps", "re");

	/* The first line is a heading. */
	return f && fgets(line, sizeof(line), f) && fgets(line, sizeof(line), f);
}

bool support_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

bool support_realtime(void)
{
	struct sched_param before, fifo = { .sched_priority = 1 };
	int policy = sched_getscheduler(0);

	if (policy < 0 || sched_getparam(0, &before) < 0)
		return false;
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &fifo) < 0)
		return false;
	return sched_setscheduler(0, policy, &before) == 0;
}
