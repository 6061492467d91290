// SPDX-License-Identifier: GPL-2.0-or-later
/* The cpu sense as others see it: the choice of a rung, and the budgets, which all rungs share. */
#include "sense/cpu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "culprit/cpu_window.h"
#include "lib/cleanup.h"
#include "sense/cpu_source.h"

struct cpu_sense {
	const struct cpu_source_ops *ops;
	struct cpu_source *source;
	struct culprit_cpu_budget *budgets;
	unsigned int n_shown; /* budgets above were never in use */
	struct sense_status status;
	cpu_crossing_fn fn;
	void *user;
};

struct rung {
	const char *name;
	const struct cpu_source_ops *ops;
	const char *blind[SENSE_MAX_BLIND];
};

static const struct rung rungs[] = {
	{ CPU_SOURCE_BEST, &cpu_kernel_ops, { NULL } },
	{ CPU_SOURCE_SWITCH,
	  &cpu_kernel_ops,
	  { "the time of a task that does not switch, until it does", NULL } },
	{ CPU_SOURCE_RAW,
	  &cpu_kernel_ops,
	  { "the time of a task that does not switch, until it does", NULL } },
	{ CPU_SOURCE_POLL,
	  &cpu_poll_ops,
	  { "processes", "crossings of a budget sooner than the next half second",
	    "which part of the root cgroup's time is kernel threads or the agent",
	    "niceness: policies with of = non-nice do not act", NULL } },
};

const char *const cpu_sources[] = { CPU_SOURCE_BEST, CPU_SOURCE_SWITCH, CPU_SOURCE_RAW,
				    CPU_SOURCE_POLL, NULL };

#define BLIND_TICK "a crossing sooner than the next tick of the clock, unless the task switches"

static void describe(struct cpu_sense *cpu, const struct rung *rung)
{
	cpu->status.source = rung->name;
	memcpy(cpu->status.blind, rung->blind, sizeof(rung->blind));
	if (rung->ops->sees_between_ticks && !rung->blind[0] &&
	    !rung->ops->sees_between_ticks(cpu->source))
		cpu->status.blind[0] = BLIND_TICK;
}

static void explain(struct sense_status *status, const struct rung *rung, int error,
		    const char *why)
{
	size_t used = strlen(status->why);

	snprintf(status->why + used, sizeof(status->why) - used, "%s%s: %s (%s)", used ? "; " : "",
		 rung->name, why ? why : "failed", strerror(-error));
}

int cpu_open_sized(struct cpu_sense **out, const struct sense_options *options,
		   const struct cpu_sizes *sizes, cpu_crossing_fn fn, void *user)
{
	_cleanup_free_ struct cpu_sense *cpu = calloc(1, sizeof(*cpu));
	bool known = false;

	if (!cpu)
		return -ENOMEM;
	cpu->status.name = "cpu";
	cpu->fn = fn;
	cpu->user = user;
	for (size_t i = 0; i < ARRAY_SIZE(rungs); i++) {
		const struct rung *rung = &rungs[i];
		const char *why = NULL;
		int r;

		if (options->source && strcmp(options->source, rung->name) != 0)
			continue;
		known = true;
		r = rung->ops->open(&cpu->source, rung->name, options, sizes, &why);
		if (r == -ENOMEM)
			return r;
		if (r < 0) {
			explain(&cpu->status, rung, r, why);
			continue;
		}
		cpu->ops = rung->ops;
		cpu->budgets = rung->ops->budgets(cpu->source);
		describe(cpu, rung);
		*out = take_ptr(cpu);
		return 0;
	}
	return known ? -ENOTSUP : -EINVAL;
}

int cpu_open(struct cpu_sense **out, const struct sense_options *options, cpu_crossing_fn fn,
	     void *user)
{
	static const struct cpu_sizes standard;

	return cpu_open_sized(out, options, &standard, fn, user);
}

void cpu_close(struct cpu_sense *cpu)
{
	if (!cpu)
		return;
	cpu->ops->close(cpu->source);
	free(cpu);
}

const struct sense_status *cpu_status(const struct cpu_sense *cpu)
{
	return &cpu->status;
}

void cpu_set_guardian(struct cpu_sense *cpu, pid_t guardian)
{
	if (cpu->ops->set_guardian)
		cpu->ops->set_guardian(cpu->source, guardian);
}

uint64_t cpu_missed(const struct cpu_sense *cpu)
{
	return cpu->ops->missed(cpu->source);
}

int cpu_fd(const struct cpu_sense *cpu)
{
	return cpu->ops->fd(cpu->source);
}

int cpu_dispatch(struct cpu_sense *cpu)
{
	return cpu->ops->dispatch(cpu->source, cpu->fn, cpu->user);
}

/* --- budgets ---------------------------------------------------------------------------------- */

/* The kernel reads these words while we write them: each in one piece, and slot_ns, which puts the
 * budget into use, after what it needs. */
#define SET(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

int cpu_set_budget(struct cpu_sense *cpu, unsigned int index, uint64_t window_ns,
		   uint64_t threshold_ns, bool nonnice_only)
{
	struct culprit_cpu_budget *budget;
	uint64_t slot_ns = window_ns / CULPRIT_CPU_SLOTS;

	if (index >= CULPRIT_CPU_BUDGETS || (window_ns > 0 && slot_ns == 0))
		return -EINVAL;
	if (nonnice_only && !cpu->ops->tells_nice)
		return -EOPNOTSUPP;
	budget = &cpu->budgets[index];
	if (budget->slot_ns != slot_ns || budget->nonnice_only != nonnice_only) {
		SET(budget->armed, 0);
		SET(budget->slot_ns, 0);
		SET(budget->nonnice_only, nonnice_only);
		/* So far behind that the next addition begins a new window. */
		SET(budget->epoch, 0);
	}
	if (slot_ns == 0)
		return 0;
	if (cpu->n_shown <= index)
		cpu->n_shown = index + 1;
	SET(budget->threshold_ns, threshold_ns);
	SET(budget->slot_ns, slot_ns);
	SET(budget->armed, 1);
	return 0;
}

static bool in_use(const struct cpu_sense *cpu, unsigned int index)
{
	return index < CULPRIT_CPU_BUDGETS && cpu->budgets[index].slot_ns > 0;
}

int cpu_arm(struct cpu_sense *cpu, unsigned int index, uint64_t threshold_ns)
{
	if (!in_use(cpu, index))
		return -EINVAL;
	SET(cpu->budgets[index].threshold_ns, threshold_ns);
	SET(cpu->budgets[index].armed, 1);
	return 0;
}

int cpu_value(struct cpu_sense *cpu, unsigned int index, uint64_t *used_ns)
{
	struct culprit_cpu_budget budget;
	uint64_t now_ns;
	int r;

	if (!in_use(cpu, index))
		return -EINVAL;
	r = cpu->ops->clock(cpu->source, &now_ns);
	if (r < 0)
		return r;
	budget = cpu->budgets[index];
	*used_ns = cpu_window_sum(&budget, budget.slot_ns, now_ns);
	return 0;
}

void cpu_show(struct cpu_sense *cpu)
{
	unsigned int n = cpu->n_shown;

	cpu->n_shown = 0;
	for (unsigned int i = 0; cpu->ops->show && i < n; i++) {
		const struct culprit_cpu_budget *budget = &cpu->budgets[i];
		struct culprit_cpu_budget_shown shown = {
			.window_ns = budget->slot_ns * CULPRIT_CPU_SLOTS,
			.crossings = budget->crossings,
		};
		uint64_t used_ns;

		if (cpu_value(cpu, i, &used_ns) < 0) {
			cpu->ops->show(cpu->source, i, NULL);
			continue;
		}
		shown.used_ns = used_ns;
		if (budget->armed && budget->threshold_ns != UINT64_MAX)
			shown.threshold_ns = budget->threshold_ns;
		cpu->ops->show(cpu->source, i, &shown);
		cpu->n_shown = i + 1;
	}
}

int cpu_watch(struct cpu_sense *cpu, uint64_t cgroup, const uint16_t *budgets, unsigned int count)
{
	uint16_t list[CULPRIT_CPU_BUDGETS_PER_CGROUP] = { 0 };

	if (count > CULPRIT_CPU_BUDGETS_PER_CGROUP)
		return -E2BIG;
	for (unsigned int i = 0; i < count; i++) {
		if (budgets[i] >= CULPRIT_CPU_BUDGETS)
			return -EINVAL;
		list[i] = (uint16_t)(budgets[i] + 1);
	}
	return cpu->ops->watch(cpu->source, cgroup, list);
}

/* --- counters --------------------------------------------------------------------------------- */

int cpu_each_cgroup(struct cpu_sense *cpu, cpu_cgroup_fn fn, void *user)
{
	return cpu->ops->each_cgroup(cpu->source, fn, user);
}

int cpu_each_process(struct cpu_sense *cpu, cpu_process_fn fn, void *user)
{
	return cpu->ops->each_process(cpu->source, fn, user);
}

int cpu_forget_cgroup(struct cpu_sense *cpu, uint64_t cgroup, struct cpu_cgroup_use *last)
{
	return cpu->ops->forget(cpu->source, cgroup, last);
}

void cpu_sweep(struct cpu_sense *cpu)
{
	cpu->ops->sweep(cpu->source);
}
