// SPDX-License-Identifier: GPL-2.0-or-later
/* Opens the senses, each alone: one that cannot be opened leaves the others as they are. */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "sense/support.h"
#include "tell/log.h"

/* Opens of a GPU come one by one, each with a wake-up, as often as any program likes. A few at a
 * time are heard at once; in a stream of them nobody gains by it. */
#define LISTEN_NS (20 * NSEC_PER_MSEC)
#define GPU_BURST 8

static const char *const names[SENSES] = { "cpu", "gpu", "swap", "census", "tree", "delay" };

/* What is not there without the sense. */
static const char *const use[SENSES] = {
	"policies with signal = cpu do not act, and top shows no CPU time",
	"policies with signal = gpu do not act, and top shows no GPUs",
	"policies with signal = thrash do not act, and top shows no swap-ins",
	"policies with target = offender and culprit freeze pid:N do not act",
	"no workload is found, so that no policy acts",
};

static const char *forced(const struct options *options, const char *sense)
{
	for (unsigned int i = 0; i < options->n_sources; i++)
		if (strcmp(options->sources[i].sense, sense) == 0)
			return options->sources[i].source;
	return NULL;
}

struct sense_options senses_options(struct agent *a, enum sense_id id)
{
	return (struct sense_options){
		.source = forced(&a->options, names[id]),
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
	if (news == TREE_MADE && a->act && policies_hold_node(a, node))
		awaited_look(a);
}

/* `burst`: so often in LISTEN_NS, and then not again before they are over; 0: always. */
static int listen_to(struct agent *a, int fd, sd_event_io_handler_t handler, int64_t priority,
		     unsigned int burst)
{
	sd_event_source *source = NULL;
	int r;

	if (fd < 0)
		return 0;
	r = sd_event_add_io(a->event, &source, fd, EPOLLIN, handler, a);
	if (r < 0)
		return r;
	(void)sd_event_source_set_priority(source, priority);
	if (burst)
		(void)sd_event_source_set_ratelimit(source, LISTEN_NS / NSEC_PER_USEC, burst);
	r = sd_event_source_set_floating(source, 1);
	/* The loop has a reference of its own now. */
	sd_event_source_unref(source);
	return r;
}

static const char *const *const sources[SENSES] = { cpu_sources,    gpu_sources,  swap_sources,
						    census_sources, tree_sources, delay_sources };

static void join(const char *what, const char *const *list, unsigned int n, char *buf, size_t size)
{
	int used = snprintf(buf, size, "%s", what);

	for (unsigned int i = 0; i < n && list[i] && used >= 0 && (size_t)used < size; i++)
		used += snprintf(buf + used, size - (size_t)used, "%s%s", i ? ", " : " ", list[i]);
}

bool senses_known(const char *sense, const char *source, char *hint, size_t size)
{
	for (unsigned int s = 0; s < SENSES; s++) {
		if (strcmp(names[s], sense) != 0)
			continue;
		for (const char *const *name = sources[s]; *name; name++)
			if (strcmp(*name, source) == 0)
				return true;
		join("no such source; its sources are", sources[s], UINT_MAX, hint, size);
		return false;
	}
	join("no such sense; the senses are", names, SENSES, hint, size);
	return false;
}

/* The sense could not be opened; `status` is what it says of that itself, or NULL. */
static void without(struct agent *a, enum sense_id id, int error, const struct sense_status *status)
{
	struct sense_status *missing = &a->missing[id];

	*missing = (struct sense_status){ .name = names[id], .blind = { "everything" } };
	snprintf(missing->why, sizeof(missing->why), "%s",
		 status && status->why[0] ? status->why : strerror(-error));
	agent_degraded(
		a,
		"the %s sense has no source here (%.200s), so that %s; culpritd --support says "
		"more",
		names[id], missing->why, use[id]);
}

static void open_cpu(struct agent *a)
{
	struct sense_options o = senses_options(a, SENSE_CPU);
	const struct sense_status *status;
	int r = cpu_open(&a->cpu, &o, cpu_signal_crossing, a);

	if (r < 0) {
		without(a, SENSE_CPU, r, NULL);
		return;
	}
	/* On its best source there is nothing that it cannot see. */
	status = cpu_status(a->cpu);
	if (status->blind[0])
		agent_degraded(a,
			       "the cpu sense runs on %s and cannot see %s; culpritd --support "
			       "says what else, and why",
			       status->source, status->blind[0]);
}

static void open_tree(struct agent *a)
{
	struct sense_options o = senses_options(a, SENSE_TREE);
	int r = tree_open(&a->tree, &o, &a->cgroups, on_news, a);

	if (r < 0)
		without(a, SENSE_TREE, r, NULL);
}

/* Only what was loaded is kept: everywhere else a sense that is not NULL can be asked. */
static void open_gpu(struct agent *a)
{
	struct sense_options o = senses_options(a, SENSE_GPU);
	int r = gpu_open(&a->gpu, &o, gpu_signal_change, a);

	if (r >= 0)
		return;
	without(a, SENSE_GPU, r, a->gpu ? gpu_status(a->gpu) : NULL);
	gpu_close(a->gpu);
	a->gpu = NULL;
}

static void open_swap(struct agent *a)
{
	struct sense_options o = senses_options(a, SENSE_SWAP);
	int r = swap_open(&a->swap, &o, thrash_signal_crossing, a);

	if (r >= 0)
		return;
	without(a, SENSE_SWAP, r, a->swap ? swap_status(a->swap) : NULL);
	swap_close(a->swap);
	a->swap = NULL;
}

static void open_census(struct agent *a)
{
	struct sense_options o = senses_options(a, SENSE_CENSUS);
	int r = census_open(&a->census, &o);

	if (r < 0)
		without(a, SENSE_CENSUS, r, NULL);
}

/* What every sense suffers from. */
static void check_kernel(struct agent *a)
{
	if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
		agent_degraded(a,
			       "/sys/kernel/btf/vmlinux: no BTF (%s), so most kernel sources do "
			       "not load; boot a kernel with CONFIG_DEBUG_INFO_BTF=y",
			       strerror(errno));
	if (!support_psi())
		agent_degraded(a,
			       "/proc/pressure/memory: no PSI, so thrash is told from swap-in and "
			       "swap-out alone; boot with psi=1");
}

static uint64_t missed_by_cpu(void *cpu)
{
	return cpu_missed(cpu);
}

static uint64_t missed_by_gpu(void *gpu)
{
	return gpu_missed(gpu);
}

static uint64_t missed_by_swap(void *swap)
{
	return swap_missed(swap);
}

static uint64_t missed_by_tree(void *tree)
{
	return tree_missed(tree);
}

/* It comes and goes; the count does not. */
static uint64_t missed_by_delay(void *agent)
{
	const struct agent *a = agent;

	return a->delay_missed + (a->delay ? delay_missed(a->delay) : 0);
}

/* What the kernel did not deliver at all, beside what the programs could not record. */
static void count_missed(struct agent *a)
{
	if (a->losses)
		(void)losses_add(a->losses, "delay_events_missed",
				 "events at which a delay program was running already",
				 missed_by_delay, a);
	if (a->losses && a->cpu)
		(void)losses_add(a->losses, "cpu_events_missed",
				 "events at which a cpu program was running already", missed_by_cpu,
				 a->cpu);
	if (a->losses && a->gpu)
		(void)losses_add(a->losses, "gpu_events_missed",
				 "events at which a gpu program was running already", missed_by_gpu,
				 a->gpu);
	if (a->losses && a->swap)
		(void)losses_add(a->losses, "swap_events_missed",
				 "events at which a swap program was running already",
				 missed_by_swap, a->swap);
	if (a->losses && a->tree)
		(void)losses_add(a->losses, "tree_events_missed",
				 "events at which a tree program was running already",
				 missed_by_tree, a->tree);
}

void senses_guardian(struct agent *a)
{
	pid_t guardian = guardian_pid(a->guardian);

	if (a->cpu)
		cpu_set_guardian(a->cpu, guardian);
	if (a->gpu)
		gpu_set_guardian(a->gpu, guardian);
	if (a->delay)
		delay_set_guardian(a->delay, guardian);
}

int senses_open(struct agent *a)
{
	int r;

	check_kernel(a);
	a->missing[SENSE_DELAY] = (struct sense_status){
		.name = names[SENSE_DELAY],
		.why = "off: no active policy has metric = delay",
	};
	/* The cpu sense before the tree: a cgroup that is made meanwhile inherits its budgets. */
	open_cpu(a);
	open_tree(a);
	open_gpu(a);
	open_swap(a);
	open_census(a);
	count_missed(a);
	if (a->pins && pins_error(a->pins) < 0)
		agent_degraded(
			a,
			"%s: not all maps could be pinned there (%s); they are counted all the "
			"same",
			a->config->pin_dir, strerror(-pins_error(a->pins)));
	if (!a->event)
		return 0;
	/* Evidence goes before everything that people ask for. */
	if (a->gpu &&
	    (r = listen_to(a, gpu_fd(a->gpu), on_gpu, SD_EVENT_PRIORITY_IMPORTANT, GPU_BURST)) < 0)
		return r;
	if (a->cpu &&
	    (r = listen_to(a, cpu_fd(a->cpu), on_cpu, SD_EVENT_PRIORITY_IMPORTANT, 0)) < 0)
		return r;
	if (a->swap &&
	    (r = listen_to(a, swap_fd(a->swap), on_swap, SD_EVENT_PRIORITY_IMPORTANT, 0)) < 0)
		return r;
	if (a->tree &&
	    (r = listen_to(a, tree_fd(a->tree), on_tree, SD_EVENT_PRIORITY_NORMAL, 0)) < 0)
		return r;
	return 0;
}

void senses_close(struct agent *a)
{
	delay_signal_close(a);
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
	bool delay = a->delay && delay_attached(a->delay);
	const struct sense_status *all[] = {
		a->cpu ? cpu_status(a->cpu) : &a->missing[SENSE_CPU],
		delay ? delay_status(a->delay) : &a->missing[SENSE_DELAY],
		a->gpu ? gpu_status(a->gpu) : &a->missing[SENSE_GPU],
		a->swap ? swap_status(a->swap) : &a->missing[SENSE_SWAP],
		a->census ? census_status(a->census) : &a->missing[SENSE_CENSUS],
		a->tree ? tree_status(a->tree) : &a->missing[SENSE_TREE],
	};
	unsigned int n = ARRAY_SIZE(all) < max ? ARRAY_SIZE(all) : max;

	for (unsigned int i = 0; i < n; i++)
		out[i] = all[i];
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
	if (r >= 0)
		delay_signal_try(&a);
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
