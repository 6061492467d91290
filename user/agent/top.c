// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `top`: the senses count since the agent started, people want to know what is going on now. Two
 * looks at the counters make the rates; a caller that comes without a recent one waits a moment.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/sampler.h"
#include "lib/cleanup.h"
#include "lib/procfs.h"
#include "tell/json.h"

#define SAMPLE_MIN_NS (300 * NSEC_PER_MSEC) /* rates over less are noise */
#define SAMPLE_MAX_NS (5 * NSEC_PER_SEC)    /* rates over more are history */

static double percent(uint64_t now, uint64_t before, uint64_t elapsed_ns)
{
	/* A counter that went backwards is a rate of zero. */
	if (now <= before || elapsed_ns == 0)
		return 0;
	return 100.0 * (double)(now - before) / (double)elapsed_ns;
}

static bool frozen_now(const struct agent *a, const struct tree_node *node)
{
	_cleanup_close_ int dir = cgroupfs_open_id(&a->cgroups, node->id);
	uint64_t frozen = 0;

	return dir >= 0 && cgroupfs_read_key(dir, "cgroup.events", "frozen", &frozen) == 0 &&
	       frozen == 1;
}

/* The most CPU first, as people look for it. */
static int by_use(uint64_t now_x, uint64_t before_x, uint64_t now_y, uint64_t before_y)
{
	uint64_t x = now_x > before_x ? now_x - before_x : 0;
	uint64_t y = now_y > before_y ? now_y - before_y : 0;

	if (x != y)
		return x < y ? 1 : -1;
	return (now_x < now_y) - (now_x > now_y);
}

static int compare_cgroups(const struct cgroup_sample *x, const struct cgroup_sample *y)
{
	return by_use(x->below.cpu_ns, x->last_cpu_ns, y->below.cpu_ns, y->last_cpu_ns);
}

static int compare_processes(const struct process_sample *x, const struct process_sample *y)
{
	return by_use(x->cpu_ns, x->last_cpu_ns, y->cpu_ns, y->last_cpu_ns);
}

/* One element of an array; a whole machine as one tree of values would take tens of megabytes. */
static void write_row(FILE *f, bool *first, json_t *row)
{
	if (!row)
		return;
	if (!*first)
		fputc(',', f);
	*first = false;
	json_dumpf(row, f, JSON_COMPACT);
	json_decref(row);
}

static bool any_swap(const struct swap_use *use)
{
	return use->swapin_pages || use->swapout_pages || use->zswapin_pages || use->zeroin_pages;
}

/* Deeper nests exist nowhere; what is above the deepest of them is left out. */
#define DEPTH_MAX 64

/* In %; it is frozen with those above it, too. */
static double frozen_percent(const struct agent *a, const struct tree_node *node, const char **by)
{
	uint64_t chain[DEPTH_MAX];
	unsigned int n = 0;

	for (; node && n < DEPTH_MAX; node = node->parent)
		chain[n++] = node->id;
	return 100 * held_share(&a->held, chain, n, monotonic_ns(), by);
}

static json_t *cgroup_row(struct agent *a, const struct cgroup_sample *c, uint64_t elapsed_ns)
{
	const struct tree_node *node = a->tree ? tree_find(a->tree, c->id) : NULL;
	/* The root has no cgroup.events. */
	bool frozen = node && node->parent && frozen_now(a, node);
	const char *by = NULL;
	double frozen_pct = node ? frozen_percent(a, node, &by) : 0;
	double delay_ms = 0;
	bool delayed = sampler_delay_ms(c, &delay_ms);

	if (!node || (!frozen && !by && c->below.cpu_ns == 0 && !any_swap(&c->below.swap)))
		return NULL;
	return json_pack("{s:o,s:I,s:I,s:I,s:f,s:o,s:I,s:I,s:I,s:I,s:b,s:f,s:s*}", "path",
			 json_text(node->path), "id", (json_int_t)c->id, "cpu_usec",
			 (json_int_t)(c->below.cpu_ns / NSEC_PER_USEC), "cpu_kernel_usec",
			 (json_int_t)(c->below.cpu_kernel_ns / NSEC_PER_USEC), "cpu_pct",
			 percent(c->below.cpu_ns, c->last_cpu_ns, elapsed_ns), "delay_ms",
			 delayed ? json_real(delay_ms) : json_null(), "swapin_pages",
			 (json_int_t)c->below.swap.swapin_pages, "swapout_pages",
			 (json_int_t)c->below.swap.swapout_pages, "zswapin_pages",
			 (json_int_t)c->below.swap.zswapin_pages, "zeroin_pages",
			 (json_int_t)c->below.swap.zeroin_pages, "frozen", frozen, "frozen_pct",
			 frozen_pct, "frozen_by", by);
}

static void write_cgroups(struct agent *a, FILE *f, uint64_t elapsed_ns)
{
	struct cgroup_sample *c, *next;
	bool first = true;

	HASH_SORT(a->sampler->cgroups, compare_cgroups);
	HASH_ITER (hh, a->sampler->cgroups, c, next)
		write_row(f, &first, cgroup_row(a, c, elapsed_ns));
}

/* Swap-ins that a fall of the process's own swap entries does not account for: what it reads back
 * it loses again. */
static uint64_t churn_of(const struct process_sample *p)
{
	uint64_t in =
		p->swap.swapin_pages > p->last_swapin ? p->swap.swapin_pages - p->last_swapin : 0;
	uint64_t fall =
		p->last_swap_entries > p->swap_entries ? p->last_swap_entries - p->swap_entries : 0;

	return in > fall ? in - fall : 0;
}

static json_t *process_row(struct agent *a, const struct process_sample *p, uint64_t elapsed_ns)
{
	const struct tree_node *node = a->tree ? tree_find(a->tree, p->cgroup) : NULL;

	if (!p->known || (p->cpu_ns == 0 && !any_swap(&p->swap) && !p->stopped))
		return NULL;
	return json_pack("{s:i,s:I,s:o,s:I,s:o,s:I,s:f,s:I,s:I,s:I,s:I,s:b}", "pid", (int)p->tgid,
			 "start_time", (json_int_t)p->start_time_ns, "comm", json_text(p->comm),
			 "uid", (json_int_t)p->uid, "cgroup", json_text(node ? node->path : ""),
			 "cpu_usec", (json_int_t)(p->cpu_ns / NSEC_PER_USEC), "cpu_pct",
			 percent(p->cpu_ns, p->last_cpu_ns, elapsed_ns), "swapin_pages",
			 (json_int_t)p->swap.swapin_pages, "swapout_by_pages",
			 (json_int_t)p->swap.swapout_pages, "footprint_pages",
			 (json_int_t)p->footprint, "churn_pages", (json_int_t)churn_of(p),
			 "stopped", p->stopped);
}

static void write_processes(struct agent *a, FILE *f, uint64_t elapsed_ns)
{
	struct process_sample *p, *next;
	bool first = true;

	HASH_SORT(a->sampler->processes, compare_processes);
	HASH_ITER (hh, a->sampler->processes, p, next)
		write_row(f, &first, process_row(a, p, elapsed_ns));
}

static const char *kind_name(uint32_t kind)
{
	static const char *const names[] = {
		[CULPRIT_GPU_KIND_CONTROL] = "control",
		[CULPRIT_GPU_KIND_MONITOR] = "monitor",
		[CULPRIT_GPU_KIND_DISPLAY] = "display",
		[CULPRIT_GPU_KIND_COMPUTE] = "compute",
	};

	return kind < ARRAY_SIZE(names) ? names[kind] : "unknown";
}

static bool holder_is_ours(struct agent *a, const struct tree_node *node)
{
	for (unsigned int i = 0; node && i < a->n_workloads; i++)
		if (a->workloads[i].yields && workload_contains(&a->workloads[i], node->path))
			return true;
	return false;
}

static json_t *holders_of(struct agent *a, uint32_t device)
{
	const struct gpu_holder *holders;
	unsigned int n = gpu_holders(a->gpu, &holders);
	json_t *list = json_array();

	for (unsigned int i = 0; i < n; i++) {
		const struct gpu_holder *h = &holders[i];
		const struct tree_node *node = a->tree ? tree_find(a->tree, h->task.cgroup) : NULL;
		uint64_t ago_ms = (monotonic_ns() - h->since_ns) / NSEC_PER_MSEC;

		if (h->device != device)
			continue;
		json_array_append_new(
			list, json_pack("{s:i,s:o,s:I,s:o,s:I,s:s,s:b}", "pid", (int)h->task.tgid,
					"comm", json_text(h->task.comm), "uid", (json_int_t)h->uid,
					"cgroup", json_text(node ? node->path : ""), "since",
					(json_int_t)(unix_ms() - ago_ms), "kind",
					kind_name(h->kind), "ours", holder_is_ours(a, node)));
	}
	return list;
}

static void write_gpus(struct agent *a, FILE *f)
{
	bool first = true;

	if (!a->gpu)
		return;
	(void)gpu_settle(a->gpu, true);
	for (unsigned int d = 0; d < gpu_device_count(a->gpu); d++) {
		const struct gpu_device *device = gpu_device(a->gpu, d);

		if (!device || !device->wanted)
			continue;
		write_row(f, &first,
			  json_pack("{s:o,s:i,s:i,s:I,s:o}", "device", json_text(device->path),
				    "major", (int)device->major, "minor", (int)device->minor,
				    "opens", (json_int_t)device->opens, "holders",
				    holders_of(a, d)));
	}
}

static void answer(struct agent *a, struct varlink_call *call)
{
	const struct sampler *s = a->sampler;
	uint64_t elapsed_ns = s->before_ns ? s->last_ns - s->before_ns : 0;
	struct swap_use kernel = { 0 }, total = { 0 };
	FILE *f = varlink_begin(call);

	if (a->swap) {
		(void)swap_kernel_use(a->swap, &kernel);
		(void)swap_total(a->swap, &total);
	}
	holds_note_held(a, monotonic_ns());
	if (f) {
		fputs("{\"top\":{\"cgroups\":[", f);
		write_cgroups(a, f, elapsed_ns);
		fputs("],\"processes\":[", f);
		write_processes(a, f, elapsed_ns);
		fputs("],\"gpus\":[", f);
		write_gpus(a, f);
		fprintf(f,
			"],\"kernel\":{\"swapin_pages\":%llu,\"swapout_pages\":%llu},"
			"\"total\":{\"swapin_pages\":%llu,\"swapout_pages\":%llu,\"pswpin_pages\":%"
			"llu},"
			"\"interval_ms\":%llu}}",
			(unsigned long long)kernel.swapin_pages,
			(unsigned long long)kernel.swapout_pages,
			(unsigned long long)total.swapin_pages,
			(unsigned long long)total.swapout_pages,
			(unsigned long long)(vmstat_pswpin() - a->pswpin_start),
			(unsigned long long)(elapsed_ns / NSEC_PER_MSEC));
	}
	(void)varlink_end(call, false);
}

static void answer_all(struct agent *a)
{
	struct sampler *s = a->sampler;

	for (unsigned int i = 0; i < SAMPLER_MAX_WAITING; i++) {
		struct varlink_call *call = s->waiting[i];

		s->waiting[i] = NULL;
		if (call)
			answer(a, call);
	}
}

static int on_timer(sd_event_source *source, uint64_t usec, void *agent)
{
	struct agent *a = agent;

	(void)source;
	(void)usec;
	sampler_look(a);
	answer_all(a);
	return 0;
}

static void on_close(void *agent, struct varlink_call *call)
{
	struct agent *a = agent;

	for (unsigned int i = 0; i < SAMPLER_MAX_WAITING; i++)
		if (a->sampler->waiting[i] == call)
			a->sampler->waiting[i] = NULL;
}

static int answer_later(struct agent *a, struct varlink_call *call)
{
	struct sampler *s = a->sampler;
	bool pending = false;

	for (unsigned int i = 0; i < SAMPLER_MAX_WAITING; i++)
		pending |= s->waiting[i] != NULL;
	for (unsigned int i = 0; i < SAMPLER_MAX_WAITING; i++) {
		if (s->waiting[i])
			continue;
		s->waiting[i] = call;
		varlink_on_close(call, on_close, a);
		if (pending)
			return 0;
		s->timer = sd_event_source_unref(s->timer);
		return sd_event_add_time_relative(a->event, &s->timer, CLOCK_MONOTONIC,
						  SAMPLE_MIN_NS / NSEC_PER_USEC, 1000, on_timer, a);
	}
	return -EBUSY;
}

void top_answer(struct agent *a, struct varlink_call *call)
{
	struct sampler *s = sampler_of(a);
	uint64_t now = monotonic_ns();
	int r;

	if (!s) {
		varlink_errorf(call, VARLINK_REFUSED, "out of memory; try again");
		return;
	}
	s->asked_ns = now;
	if (s->last_ns && now - s->last_ns >= SAMPLE_MIN_NS && now - s->last_ns <= SAMPLE_MAX_NS) {
		sampler_look(a);
		answer(a, call);
		return;
	}
	if (!s->last_ns || now - s->last_ns > SAMPLE_MAX_NS)
		sampler_look(a);
	r = answer_later(a, call);
	if (r < 0)
		varlink_errorf(call, VARLINK_REFUSED,
			       "too many callers wait for this; try again in a second");
}
