// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The last rung of the cpu sense, for kernels that let no program in: cpu.stat of the cgroups that
 * we were told of, read twice a second. Its usage_usec includes the cgroups below, so a cgroup's
 * own tasks used what it rose by less what those known below it rose by. One made since then counts
 * as its parent's, which is what inheriting its budgets means.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "culprit/cpu_window.h"
#include "lib/cgroupfs.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "sense/cpu_source.h"

#define PERIOD_NS   (500 * NSEC_PER_MSEC)
#define NO_PARENT   SIZE_MAX
#define MAX_PARENTS 64

struct polled {
	uint64_t id;
	size_t parent;	   /* index of the nearest one above that we know */
	uint64_t usage_ns; /* of it and all below, when last read */
	uint64_t rose_ns;  /* of it alone, at the poll under way */
	uint64_t used_ns;  /* of it alone, since it is known */
	uint16_t budgets[CULPRIT_CPU_BUDGETS_PER_CGROUP];
};

struct cpu_source {
	struct cgroupfs fs;
	int timer;
	struct polled *cgroups; /* sorted by id */
	size_t n_cgroups, room;
	bool parents_known;
	struct culprit_cpu_budget budgets[CULPRIT_CPU_BUDGETS];
};

static void poll_close(struct cpu_source *source)
{
	if (!source)
		return;
	if (source->timer >= 0)
		close(source->timer);
	cgroupfs_close(&source->fs);
	free(source->cgroups);
	free(source);
}

static void closesourcep(struct cpu_source **source)
{
	poll_close(*source);
}

static int poll_open(struct cpu_source **out, const char *name, const struct sense_options *options,
		     const struct cpu_sizes *sizes, const char **why)
{
	static const struct itimerspec period = {
		.it_interval.tv_nsec = PERIOD_NS,
		.it_value.tv_nsec = PERIOD_NS,
	};
	_cleanup_(closesourcep)
	struct cpu_source *source = calloc(1, sizeof(*source));
	uint64_t usage;
	int r;

	(void)name;
	(void)options;
	(void)sizes;
	if (!source)
		return -ENOMEM;
	source->timer = -1;
	*why = "no cgroup2 mount";
	r = cgroupfs_open(&source->fs);
	if (r < 0)
		return r;
	*why = "cpu.stat of the root";
	r = cgroupfs_read_key(source->fs.mount_fd, "cpu.stat", "usage_usec", &usage);
	if (r < 0)
		return r;
	*why = "timer";
	source->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (source->timer < 0 || timerfd_settime(source->timer, 0, &period, NULL) < 0)
		return -errno;
	*out = take_ptr(source);
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct polled *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static struct polled *find(const struct cpu_source *source, uint64_t id)
{
	const struct polled wanted = { .id = id };

	/* bsearch() must not be given NULL, not even with no elements. */
	if (source->n_cgroups == 0)
		return NULL;
	return bsearch(&wanted, source->cgroups, source->n_cgroups, sizeof(wanted), by_id);
}

static int read_usage(const struct cpu_source *source, uint64_t id, uint64_t *usage_ns)
{
	_cleanup_close_ int dir = cgroupfs_open_id(&source->fs, id);
	uint64_t usec;
	int r;

	if (dir < 0)
		return dir;
	r = cgroupfs_read_key(dir, "cpu.stat", "usage_usec", &usec);
	if (r == 0)
		*usage_ns = usec * NSEC_PER_USEC;
	return r;
}

/* --- polling ---------------------------------------------------------------------------------- */

static size_t find_parent(const struct cpu_source *source, uint64_t id)
{
	_cleanup_close_ int dir = cgroupfs_open_id(&source->fs, id);

	for (int i = 0; i < MAX_PARENTS && dir >= 0 && id != source->fs.root_id; i++) {
		int above = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		const struct polled *known;

		close(dir);
		dir = above;
		id = dir < 0 ? 0 : cgroupfs_id(dir);
		known = find(source, id);
		if (known)
			return (size_t)(known - source->cgroups);
	}
	return NO_PARENT;
}

static void find_parents(struct cpu_source *source)
{
	for (size_t i = 0; i < source->n_cgroups; i++)
		source->cgroups[i].parent = find_parent(source, source->cgroups[i].id);
	source->parents_known = true;
}

static void read_all(struct cpu_source *source)
{
	for (size_t i = 0; i < source->n_cgroups; i++)
		source->cgroups[i].rose_ns = 0;
	for (size_t i = 0; i < source->n_cgroups; i++) {
		struct polled *cgroup = &source->cgroups[i];
		uint64_t usage_ns = 0;

		if (read_usage(source, cgroup->id, &usage_ns) < 0 || usage_ns < cgroup->usage_ns)
			continue;
		/* Modulo 2^64: what those below rose by may have been taken off already. */
		cgroup->rose_ns += usage_ns - cgroup->usage_ns;
		if (cgroup->parent != NO_PARENT)
			source->cgroups[cgroup->parent].rose_ns -= usage_ns - cgroup->usage_ns;
		cgroup->usage_ns = usage_ns;
	}
}

static int charge(struct cpu_source *source, unsigned int index, const struct polled *cgroup,
		  uint64_t now_ns, cpu_crossing_fn fn, void *user)
{
	struct culprit_cpu_budget *budget = &source->budgets[index];
	struct culprit_cpu_crossing crossing = {
		.time_ns = now_ns,
		.budget = index,
		.threshold_ns = budget->threshold_ns,
		.task.cgroup = cgroup->id,
		.cgroup_used_ns = cgroup->used_ns,
	};

	if (budget->slot_ns == 0)
		return 0;
	cpu_window_roll(budget, budget->slot_ns, now_ns);
	budget->total_ns += cgroup->rose_ns;
	crossing.used_ns = cpu_window_sum(budget, budget->slot_ns, now_ns);
	if (!fn || !budget->armed || crossing.used_ns < budget->threshold_ns)
		return 0;
	budget->armed = 0;
	budget->crossings++;
	fn(user, &crossing);
	return 1;
}

/* Crossings handed out. Without fn they wait, still armed, for the next poll. */
static int poll_all(struct cpu_source *source, cpu_crossing_fn fn, void *user)
{
	uint64_t now_ns = monotonic_ns();
	int crossings = 0;

	if (!source->parents_known)
		find_parents(source);
	read_all(source);
	for (size_t i = 0; i < source->n_cgroups; i++) {
		struct polled *cgroup = &source->cgroups[i];

		/* The files are read one after the other: what is below can be ahead. */
		if (cgroup->rose_ns > INT64_MAX)
			cgroup->rose_ns = 0;
		cgroup->used_ns += cgroup->rose_ns;
		for (int b = 0; b < CULPRIT_CPU_BUDGETS_PER_CGROUP && cgroup->budgets[b]; b++)
			crossings +=
				charge(source, cgroup->budgets[b] - 1U, cgroup, now_ns, fn, user);
	}
	return crossings;
}

/* --- the operations --------------------------------------------------------------------------- */

static int poll_fd(const struct cpu_source *source)
{
	return source->timer;
}

static int poll_dispatch(struct cpu_source *source, cpu_crossing_fn fn, void *user)
{
	uint64_t ticks;

	if (read(source->timer, &ticks, sizeof(ticks)) < 0)
		return errno == EAGAIN ? 0 : -errno;
	return poll_all(source, fn, user);
}

static uint64_t poll_missed(const struct cpu_source *source)
{
	(void)source;
	return 0;
}

static struct culprit_cpu_budget *poll_budgets(struct cpu_source *source)
{
	return source->budgets;
}

static int poll_clock(struct cpu_source *source, uint64_t *now_ns)
{
	(void)source;
	*now_ns = monotonic_ns();
	return 0;
}

static int poll_watch(struct cpu_source *source, uint64_t id,
		      const uint16_t budgets[CULPRIT_CPU_BUDGETS_PER_CGROUP])
{
	struct polled *cgroup = find(source, id);
	struct polled new = { .id = id, .parent = NO_PARENT };
	size_t at = 0;
	int r;

	if (cgroup) {
		memcpy(cgroup->budgets, budgets, sizeof(cgroup->budgets));
		return 0;
	}
	r = read_usage(source, id, &new.usage_ns);
	if (r < 0)
		return r;
	memcpy(new.budgets, budgets, sizeof(new.budgets));
	if (source->n_cgroups == source->room) {
		size_t room = source->room ? 2 * source->room : 64;
		struct polled *more = reallocarray(source->cgroups, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		source->cgroups = more;
		source->room = room;
	}
	while (at < source->n_cgroups && source->cgroups[at].id < id)
		at++;
	memmove(&source->cgroups[at + 1], &source->cgroups[at],
		(source->n_cgroups - at) * sizeof(new));
	source->cgroups[at] = new;
	source->n_cgroups++;
	source->parents_known = false;
	return 0;
}

static int poll_each_cgroup(struct cpu_source *source, cpu_cgroup_fn fn, void *user)
{
	(void)poll_all(source, NULL, NULL);
	for (size_t i = 0; i < source->n_cgroups; i++) {
		const struct cpu_cgroup_use use = { .cgroup = source->cgroups[i].id,
						    .used_ns = source->cgroups[i].used_ns };

		fn(user, &use);
	}
	return 0;
}

static int poll_each_process(struct cpu_source *source, cpu_process_fn fn, void *user)
{
	(void)source;
	(void)fn;
	(void)user;
	return 0;
}

static int poll_forget(struct cpu_source *source, uint64_t id, struct cpu_cgroup_use *last)
{
	struct polled *cgroup = find(source, id);
	size_t at;

	*last = (struct cpu_cgroup_use){ .cgroup = id };
	if (!cgroup)
		return 0;
	last->used_ns = cgroup->used_ns;
	at = (size_t)(cgroup - source->cgroups);
	source->n_cgroups--;
	memmove(cgroup, cgroup + 1, (source->n_cgroups - at) * sizeof(*cgroup));
	source->parents_known = false;
	return 0;
}

static void poll_sweep(struct cpu_source *source)
{
	(void)source;
}

const struct cpu_source_ops cpu_poll_ops = {
	.open = poll_open,
	.close = poll_close,
	.fd = poll_fd,
	.dispatch = poll_dispatch,
	.missed = poll_missed,
	.budgets = poll_budgets,
	.clock = poll_clock,
	.watch = poll_watch,
	.each_cgroup = poll_each_cgroup,
	.each_process = poll_each_process,
	.forget = poll_forget,
	.sweep = poll_sweep,
};
