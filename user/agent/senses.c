// SPDX-License-Identifier: GPL-2.0-or-later
/* Opens the senses, each alone: one that cannot be opened leaves the others as they are. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "tell/log.h"

/* The status of a sense that is not there at all. */
static const struct sense_status missing[] = {
	{ .name = "cpu", .blind = { "everything: no source of CPU time could be opened" } },
	{ .name = "gpu", .blind = { "everything: no source of GPU opens could be opened" } },
	{ .name = "swap", .blind = { "everything: no source of swap-ins could be opened" } },
	{ .name = "census", .blind = { "everything: processes cannot be listed" } },
	{ .name = "tree", .blind = { "everything: cgroups cannot be listed" } },
};

static const char *forced(const struct options *options, const char *sense)
{
	for (unsigned int i = 0; i < options->n_sources; i++)
		if (strcmp(options->sources[i].sense, sense) == 0)
			return options->sources[i].source;
	return NULL;
}

static struct sense_options options_for(struct agent *a, const char *sense)
{
	return (struct sense_options){
		.source = forced(&a->options, sense),
		.pins = a->pins,
		.losses_fd = a->losses ? losses_fd(a->losses) : -1,
		.agent_pid = getpid(),
		.guardian_pid = a->guardian ? guardian_pid(a->guardian) : 0,
		.cgroup_mount = a->cgroups.mount,
	};
}

static int on_cpu(sd_event_source *source, int fd, uint32_t events, void *agent)
{
	struct agent *a = agent;

	(void)source;
	(void)fd;
	(void)events;
	(void)cpu_dispatch(a->cpu);
	return 0;
}

static int on_gpu(sd_event_source *source, int fd, uint32_t events, void *agent)
{
	struct agent *a = agent;

	(void)source;
	(void)fd;
	(void)events;
	(void)gpu_dispatch(a->gpu);
	agent_schedule(a);
	return 0;
}

static int on_swap(sd_event_source *source, int fd, uint32_t events, void *agent)
{
	struct agent *a = agent;

	(void)source;
	(void)fd;
	(void)events;
	(void)swap_dispatch(a->swap);
	return 0;
}

static int on_tree(sd_event_source *source, int fd, uint32_t events, void *agent)
{
	struct agent *a = agent;

	(void)source;
	(void)fd;
	(void)events;
	(void)tree_dispatch(a->tree);
	return 0;
}

static void on_news(void *agent, enum tree_news news, struct tree_node *node)
{
	struct agent *a = agent;

	workloads_news(a, news, node);
	/* A target that appears while its policy holds is acted on at once, not at the next tick.
	 */
	if (news == TREE_MADE && a->act && holds_any(a))
		policies_tick(a, monotonic_ns());
}

static int listen_to(struct agent *a, int fd, sd_event_io_handler_t handler, int64_t priority)
{
	sd_event_source *source = NULL;
	int r;

	if (fd < 0)
		return 0;
	r = sd_event_add_io(a->event, &source, fd, EPOLLIN, handler, a);
	if (r < 0)
		return r;
	(void)sd_event_source_set_priority(source, priority);
	return sd_event_source_set_floating(source, 1);
}

static int check_forced(const struct options *options)
{
	static const char *const names[] = { "cpu", "gpu", "swap", "census", "tree" };
	const char *const *const sources[] = { cpu_sources, gpu_sources, swap_sources,
					       census_sources, tree_sources };

	for (unsigned int i = 0; i < options->n_sources; i++) {
		bool found = false;

		for (unsigned int s = 0; s < ARRAY_SIZE(names); s++) {
			if (strcmp(names[s], options->sources[i].sense) != 0)
				continue;
			for (const char *const *name = sources[s]; *name && !found; name++)
				found = strcmp(*name, options->sources[i].source) == 0;
		}
		if (!found) {
			log_error("--source %s=%s: no such source; culpritd --support lists them",
				  options->sources[i].sense, options->sources[i].source);
			return -EINVAL;
		}
	}
	return 0;
}

static void opened(struct agent *a, const char *name, int r)
{
	if (r >= 0)
		return;
	log_warning("the %s sense has no source on this kernel (%s); its signal will not be seen",
		    name, strerror(-r));
	(void)a;
}

static uint64_t missed_by_cpu(void *cpu)
{
	return cpu_missed(cpu);
}

/* What the kernel did not deliver at all, beside what the programs could not record. */
static void count_missed(struct agent *a)
{
	if (a->losses && a->cpu)
		(void)losses_add(a->losses, "cpu_events_missed",
				 "events at which a cpu program was running already", missed_by_cpu,
				 a->cpu);
	if (a->losses && a->swap)
		(void)losses_add(a->losses, "swap_events_missed",
				 "events at which a swap program was running already", swap_missed,
				 a->swap);
}

int senses_open(struct agent *a)
{
	struct sense_options o;
	int r = check_forced(&a->options);

	if (r < 0)
		return r;
	/* The cpu sense before the tree: a cgroup that is made meanwhile inherits its budgets. */
	o = options_for(a, "cpu");
	opened(a, "cpu", cpu_open(&a->cpu, &o, cpu_signal_crossing, a));
	o = options_for(a, "tree");
	opened(a, "tree", tree_open(&a->tree, &o, &a->cgroups, on_news, a));
	o = options_for(a, "gpu");
	opened(a, "gpu", gpu_open(&a->gpu, &o, gpu_signal_change, a));
	o = options_for(a, "swap");
	opened(a, "swap", swap_open(&a->swap, &o, thrash_signal_crossing, a));
	o = options_for(a, "census");
	opened(a, "census", census_open(&a->census, &o));
	count_missed(a);
	if (!a->event)
		return 0;
	/* Evidence goes before everything that people ask for. */
	if (a->gpu && (r = listen_to(a, gpu_fd(a->gpu), on_gpu, SD_EVENT_PRIORITY_IMPORTANT)) < 0)
		return r;
	if (a->cpu && (r = listen_to(a, cpu_fd(a->cpu), on_cpu, SD_EVENT_PRIORITY_IMPORTANT)) < 0)
		return r;
	if (a->swap &&
	    (r = listen_to(a, swap_fd(a->swap), on_swap, SD_EVENT_PRIORITY_IMPORTANT)) < 0)
		return r;
	if (a->tree && (r = listen_to(a, tree_fd(a->tree), on_tree, SD_EVENT_PRIORITY_NORMAL)) < 0)
		return r;
	return 0;
}

void senses_close(struct agent *a)
{
	if (a->cpu)
		cpu_close(a->cpu);
	if (a->gpu)
		gpu_close(a->gpu);
	if (a->swap)
		swap_close(a->swap);
	if (a->census)
		census_close(a->census);
	if (a->tree)
		tree_close(a->tree);
	a->cpu = NULL;
	a->gpu = NULL;
	a->swap = NULL;
	a->census = NULL;
	a->tree = NULL;
}

unsigned int senses_each(const struct agent *a, const struct sense_status **out, unsigned int max)
{
	const struct sense_status *all[] = {
		a->cpu ? cpu_status(a->cpu) : &missing[0],
		a->gpu ? gpu_status(a->gpu) : &missing[1],
		a->swap ? swap_status(a->swap) : &missing[2],
		a->census ? census_status(a->census) : &missing[3],
		a->tree ? tree_status(a->tree) : &missing[4],
	};
	unsigned int n = ARRAY_SIZE(all) < max ? ARRAY_SIZE(all) : max;

	memcpy(out, all, n * sizeof(*out));
	return n;
}

static void print_support(const struct sense_status *s)
{
	printf("%-8s %s\n", s->name, s->source ? s->source : "(no source)");
	if (s->why[0])
		printf("%-8s   note: %s\n", "", s->why);
	for (unsigned int i = 0; i < SENSE_MAX_BLIND && s->blind[i]; i++)
		printf("%-8s   cannot see: %s\n", "", s->blind[i]);
}

static json_t *support_object(const struct sense_status *s)
{
	json_t *blind = json_array();

	for (unsigned int i = 0; i < SENSE_MAX_BLIND && s->blind[i]; i++)
		json_array_append_new(blind, json_string(s->blind[i]));
	return json_pack("{s:s,s:s?,s:o,s:s}", "name", s->name, "source", s->source, "blind", blind,
			 "why", s->why);
}

int senses_support(const struct options *options, bool json)
{
	struct agent a = { .options = *options, .cgroups.mount_fd = -1 };
	const struct sense_status *senses[8];
	json_t *array = json_array();
	unsigned int n;
	int r;

	r = cgroupfs_open(&a.cgroups);
	if (r < 0)
		fprintf(stderr, "culpritd: no cgroup v2 hierarchy is mounted; mount one "
				"(mount -t cgroup2 none /sys/fs/cgroup)\n");
	if (r >= 0)
		r = senses_open(&a);
	n = senses_each(&a, senses, ARRAY_SIZE(senses));
	for (unsigned int i = 0; r >= 0 && i < n; i++) {
		if (json)
			json_array_append_new(array, support_object(senses[i]));
		else
			print_support(senses[i]);
	}
	if (json && r >= 0) {
		json_t *object = json_pack("{s:O}", "senses", array);

		json_dumpf(object, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(object);
	}
	json_decref(array);
	senses_close(&a);
	cgroupfs_close(&a.cgroups);
	return r < 0 ? 1 : 0;
}
