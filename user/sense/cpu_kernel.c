// SPDX-License-Identifier: GPL-2.0-or-later
/* The rungs of the cpu sense that are kernel programs (bpf/cpu.bpf.c). */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cpu.skel.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "sense/cpu_cache.h"
#include "sense/cpu_source.h"
#include "sense/pins.h"
#include "sense/progs.h"

/* How long a rung has to show that it counts our own time; an idle machine needs two ticks, a
 * crowded one our turn. */
#define PROVE_NS NSEC_PER_SEC

#define MAX_LINKS 4

struct cpu_source {
	struct cpu_bpf *skel;
	struct bpf_link *links[MAX_LINKS];
	unsigned int n_links;
	struct ring_buffer *crossings;
	struct culprit_cpu_budget *budgets;  /* mapped */
	struct culprit_cpu_running *running; /* mapped, read-only */
	struct cpu_cache cache;
	bool alarms; /* crossings are seen between ticks, too */
	/* Of the dispatch that is under way. */
	cpu_crossing_fn fn;
	void *user;
};

/* --- opening ---------------------------------------------------------------------------------- */

/* Programs by rung; what only keeps names and tables tidy may be missing. */
struct program {
	const char *name;
	bool needed;
};

static const struct program best[] = {
	{ "on_runtime", true },
	{ "on_switch", true },
	{ "on_free", false },
	{ "on_rename", false },
};
static const struct program switch_alone[] = {
	{ "on_switch", true },
	{ "on_free", false },
	{ "on_rename", false },
};
static const struct program raw[] = {
	{ "on_raw_switch", true },
	{ "on_raw_free", false },
	{ "on_raw_rename", false },
};

static const struct program *programs_of(const char *rung, size_t *count)
{
	if (strcmp(rung, CPU_SOURCE_BEST) == 0) {
		*count = ARRAY_SIZE(best);
		return best;
	}
	if (strcmp(rung, CPU_SOURCE_SWITCH) == 0) {
		*count = ARRAY_SIZE(switch_alone);
		return switch_alone;
	}
	*count = ARRAY_SIZE(raw);
	return raw;
}

/* A jiffy: the coarse clocks step by it (kernel/time/posix-timers.c, KTIME_LOW_RES). */
static uint64_t tick_ns(void)
{
	struct timespec ts;

	if (clock_getres(CLOCK_MONOTONIC_COARSE, &ts) < 0 || ts.tv_nsec == 0)
		return 4 * NSEC_PER_MSEC;
	return (uint64_t)ts.tv_nsec;
}

static int configure(struct cpu_source *source, const struct sense_options *options,
		     const struct cpu_sizes *sizes)
{
	struct cpu_bpf *skel = source->skel;
	int r = 0;

	skel->rodata->tick_ns = tick_ns();
	skel->rodata->agent_tgid = (uint32_t)options->agent_pid;
	skel->bss->guardian_tgid = (uint32_t)options->guardian_pid;
	if (sizes->cgroups)
		r = bpf_map__set_max_entries(skel->maps.cgroup_cpu, sizes->cgroups);
	if (r == 0 && sizes->processes)
		r = bpf_map__set_max_entries(skel->maps.process_cpu, sizes->processes);
	if (r == 0)
		r = bpf_map__set_max_entries(skel->maps.cpu_running, source->cache.n_cpus);
	skel->rodata->with_alarms = source->alarms;
	if (r == 0 && source->alarms)
		r = bpf_map__set_max_entries(skel->maps.cpu_alarm, source->cache.n_cpus);
	if (r == 0 && options->losses_fd >= 0)
		r = bpf_map__reuse_fd(skel->maps.losses, options->losses_fd);
	return r;
}

static size_t map_size(const struct bpf_map *map)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map);

	return (bytes + page - 1) / page * page;
}

static int map_into_memory(const struct bpf_map *map, int prot, void **memory)
{
	void *p = mmap(NULL, map_size(map), prot, MAP_SHARED, bpf_map__fd(map), 0);

	if (p == MAP_FAILED)
		return -errno;
	*memory = p;
	return 0;
}

static int on_record(void *ctx, void *data, size_t size)
{
	struct cpu_source *source = ctx;

	if (size >= sizeof(struct culprit_cpu_crossing))
		source->fn(source->user, data);
	return 0;
}

static int set_up_maps(struct cpu_source *source)
{
	struct cpu_bpf *skel = source->skel;
	int r;

	r = map_into_memory(skel->maps.cpu_window, PROT_READ | PROT_WRITE,
			    (void **)&source->budgets);
	if (r == 0)
		r = map_into_memory(skel->maps.cpu_running, PROT_READ, (void **)&source->running);
	if (r < 0)
		return r;
	source->cache.running = source->running;
	source->cache.cgroup_fd = bpf_map__fd(skel->maps.cgroup_cpu);
	source->cache.process_fd = bpf_map__fd(skel->maps.process_cpu);
	r = cpu_cache_init(&source->cache);
	if (r < 0)
		return r;
	source->crossings =
		ring_buffer__new(bpf_map__fd(skel->maps.cpu_crossings), on_record, source, NULL);
	return source->crossings ? 0 : -errno;
}

static int attach(struct cpu_source *source, const struct program *programs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct bpf_program *prog =
			bpf_object__find_program_by_name(source->skel->obj, programs[i].name);
		struct bpf_link *link = bpf_program__attach(prog);

		if (link)
			source->links[source->n_links++] = link;
		else if (programs[i].needed)
			return -errno;
	}
	return 0;
}

/* Maps that cannot be looked at from outside are no reason to poll; pins_error() tells. */
static void add_pins(const struct cpu_source *source, struct pins *pins)
{
	struct cpu_bpf *skel = source->skel;

	(void)pins_add(pins, bpf_map__fd(skel->maps.cgroup_cpu), "cgroup_cpu");
	(void)pins_add(pins, bpf_map__fd(skel->maps.process_cpu), "process_cpu");
	(void)pins_add(pins, bpf_map__fd(skel->maps.cpu_budget), "cpu_budget");
}

/* --- proof ------------------------------------------------------------------------------------ */

static void work_a_tick(void)
{
	uint64_t end = monotonic_ns() + 2 * tick_ns();

	while (monotonic_ns() < end)
		;
}

/* Written back already: a busy process with the same place in the cache takes it at every switch.
 */
static bool has_written_us(const struct cpu_source *source, uint32_t us)
{
	struct culprit_cpu_process entry;

	return bpf_map_lookup_elem(source->cache.process_fd, &us, &entry) == 0 && entry.used_ns > 0;
}

/* Has every program been heard of, and some time been charged to us? The cache tells, whose place
 * for us cannot be taken by a full table; or the table. */
static bool has_counted_us(const struct cpu_source *source, bool wants_charges)
{
	uint32_t us = (uint32_t)getpid();
	uint64_t switches = 0, charges = 0;
	bool charged = has_written_us(source, us);

	for (unsigned int i = 0; i < source->cache.n_cpus; i++) {
		const volatile struct culprit_cpu_running *running = &source->running[i];

		switches += running->switches;
		charges += running->charges;
		charged |= running->pending[us % CULPRIT_CPU_PENDING_SLOTS].tgid == us;
	}
	return charged && switches > 0 && (charges > 0 || !wants_charges);
}

static int prove(struct cpu_source *source, bool wants_charges)
{
	static const struct timespec moment = { .tv_nsec = NSEC_PER_MSEC };
	uint64_t end = monotonic_ns() + PROVE_NS;

	do {
		work_a_tick();
		nanosleep(&moment, NULL);
		if (has_counted_us(source, wants_charges))
			return 0;
	} while (monotonic_ns() < end);
	return -ENODATA;
}

/* --- the operations --------------------------------------------------------------------------- */

static void kernel_close(struct cpu_source *source)
{
	if (!source)
		return;
	for (unsigned int i = 0; i < source->n_links; i++)
		bpf_link__destroy(source->links[i]);
	ring_buffer__free(source->crossings);
	cpu_cache_free(&source->cache);
	if (source->running)
		munmap(source->running, map_size(source->skel->maps.cpu_running));
	if (source->budgets)
		munmap(source->budgets, map_size(source->skel->maps.cpu_window));
	cpu_bpf__destroy(source->skel);
	free(source);
}

/* A program for packets is run with one, of nothing but a header. */
static int make_alarms(struct cpu_source *source)
{
	char packet[14] = { 0 };

	for (unsigned int cpu = 0; cpu < source->cache.n_cpus; cpu++) {
		LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet,
			    .data_size_in = sizeof(packet));
		int r;

		source->skel->bss->alarm_cpu = cpu;
		r = bpf_prog_test_run_opts(bpf_program__fd(source->skel->progs.make_alarm), &run);
		if (r == 0)
			r = (int)run.retval;
		if (r < 0)
			return r;
	}
	return 0;
}

static int start(struct cpu_source *source, const char *rung, const struct sense_options *options,
		 const struct cpu_sizes *sizes, const char **why)
{
	size_t count;
	const struct program *programs = programs_of(rung, &count);
	int r;

	*why = "open";
	source->skel = cpu_bpf__open();
	if (!source->skel)
		return -errno;
	for (size_t i = 0; i < count; i++)
		bpf_program__set_autoload(
			bpf_object__find_program_by_name(source->skel->obj, programs[i].name),
			true);
	bpf_program__set_autoload(source->skel->progs.make_alarm, source->alarms);
	r = configure(source, options, sizes);
	if (r < 0)
		return r;
	*why = "load";
	r = cpu_bpf__load(source->skel);
	if (r < 0)
		return r;
	*why = "maps";
	r = set_up_maps(source);
	if (r == 0 && source->alarms)
		r = make_alarms(source);
	if (r < 0)
		return r;
	*why = "attach";
	r = attach(source, programs, count);
	if (r < 0)
		return r;
	*why = "silent";
	return prove(source, programs == best);
}

static int open_with(struct cpu_source **out, const char *rung, bool alarms,
		     const struct sense_options *options, const struct cpu_sizes *sizes,
		     const char **why)
{
	struct cpu_source *source;
	int n_cpus = libbpf_num_possible_cpus();
	int r;

	if (n_cpus < 0)
		return n_cpus;
	source = calloc(1, sizeof(*source));
	if (!source)
		return -ENOMEM;
	source->cache.n_cpus = (unsigned int)n_cpus;
	source->alarms = alarms;
	r = start(source, rung, options, sizes, why);
	if (r == 0 && options->pins)
		add_pins(source, options->pins);
	if (r < 0)
		kernel_close(source);
	else
		*out = source;
	return r;
}

static int kernel_open(struct cpu_source **out, const char *rung,
		       const struct sense_options *options, const struct cpu_sizes *sizes,
		       const char **why)
{
	/* Timers of BPF programs: kernel 5.15, b00628b1c7d5 "bpf: Introduce bpf timers". */
	if (strcmp(rung, CPU_SOURCE_BEST) == 0 &&
	    libbpf_probe_bpf_helper(BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_timer_start, NULL) > 0 &&
	    open_with(out, rung, true, options, sizes, why) == 0)
		return 0;
	return open_with(out, rung, false, options, sizes, why);
}

static bool kernel_sees_between_ticks(const struct cpu_source *source)
{
	return source->alarms;
}

static int kernel_fd(const struct cpu_source *source)
{
	return ring_buffer__epoll_fd(source->crossings);
}

static int kernel_dispatch(struct cpu_source *source, cpu_crossing_fn fn, void *user)
{
	source->fn = fn;
	source->user = user;
	return ring_buffer__consume(source->crossings);
}

static uint64_t kernel_missed(const struct cpu_source *source)
{
	return progs_missed(source->skel->obj);
}

static struct culprit_cpu_budget *kernel_budgets(struct cpu_source *source)
{
	return source->budgets;
}

static void kernel_show(struct cpu_source *source, uint32_t index,
			const struct culprit_cpu_budget_shown *shown)
{
	int map = bpf_map__fd(source->skel->maps.cpu_budget);

	if (shown)
		(void)bpf_map_update_elem(map, &index, shown, BPF_ANY);
	else
		(void)bpf_map_delete_elem(map, &index);
}

static void kernel_set_guardian(struct cpu_source *source, pid_t guardian)
{
	__atomic_store_n(&source->skel->bss->guardian_tgid, (uint32_t)guardian, __ATOMIC_RELAXED);
}

/* Runs a program that is attached to nothing, with up to three arguments. */
static int ask(const struct bpf_program *prog, const uint64_t args[3])
{
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = args, .ctx_size_in = 3 * sizeof(*args));
	int r = bpf_prog_test_run_opts(bpf_program__fd(prog), &run);

	return r < 0 ? r : (int)run.retval;
}

static int kernel_clock(struct cpu_source *source, uint64_t *now_ns)
{
	const uint64_t none[3] = { 0 };
	int r = ask(source->skel->progs.read_clock, none);

	*now_ns = __atomic_load_n(&source->skel->bss->clock_ns, __ATOMIC_RELAXED);
	return r;
}

static int kernel_watch(struct cpu_source *source, uint64_t cgroup,
			const uint16_t budgets[CULPRIT_CPU_BUDGETS_PER_CGROUP])
{
	uint64_t args[3] = { cgroup };

	_Static_assert(CULPRIT_CPU_BUDGETS_PER_CGROUP * sizeof(uint16_t) == 2 * sizeof(uint64_t),
		       "set_budgets takes the list in two words");
	memcpy(&args[1], budgets, 2 * sizeof(uint64_t));
	return ask(source->skel->progs.set_budgets, args);
}

static int kernel_each_cgroup(struct cpu_source *source, cpu_cgroup_fn fn, void *user)
{
	return cpu_cache_each_cgroup(&source->cache, fn, user);
}

static int kernel_each_process(struct cpu_source *source, cpu_process_fn fn, void *user)
{
	return cpu_cache_each_process(&source->cache, fn, user);
}

static int kernel_forget(struct cpu_source *source, uint64_t cgroup, struct cpu_cgroup_use *last)
{
	struct culprit_cpu_cgroup entry;
	int map = source->cache.cgroup_fd;
	int r;

	*last = (struct cpu_cgroup_use){ .cgroup = cgroup };
	/* In one step where the kernel can (5.14), so that nothing is added in between. What CPUs
	 * have not written back yet is no part of it: it makes the entry come back. */
	r = bpf_map_lookup_and_delete_elem(map, &cgroup, &entry);
	if (r < 0 && r != -ENOENT) {
		r = bpf_map_lookup_elem(map, &cgroup, &entry);
		if (r == 0)
			r = bpf_map_delete_elem(map, &cgroup);
	}
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	last->used_ns = entry.used_ns;
	last->kernel_ns = entry.kernel_ns;
	return 0;
}

static void forget_if_gone(void *user, const struct cpu_process_use *use)
{
	const struct cpu_source *source = user;

	if (kill((pid_t)use->tgid, 0) < 0 && errno == ESRCH)
		(void)bpf_map_delete_elem(source->cache.process_fd, &use->tgid);
}

static void kernel_sweep(struct cpu_source *source)
{
	(void)cpu_cache_each_process(&source->cache, forget_if_gone, source);
}

const struct cpu_source_ops cpu_kernel_ops = {
	.tells_nice = true,
	.open = kernel_open,
	.close = kernel_close,
	.fd = kernel_fd,
	.dispatch = kernel_dispatch,
	.missed = kernel_missed,
	.sees_between_ticks = kernel_sees_between_ticks,
	.set_guardian = kernel_set_guardian,
	.budgets = kernel_budgets,
	.show = kernel_show,
	.clock = kernel_clock,
	.watch = kernel_watch,
	.each_cgroup = kernel_each_cgroup,
	.each_process = kernel_each_process,
	.forget = kernel_forget,
	.sweep = kernel_sweep,
};
