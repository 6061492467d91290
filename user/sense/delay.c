// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/delay.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "delay.skel.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "sense/pins.h"
#include "sense/progs.h"

#define SOURCE "sched_wakeup+sched_switch"
#define PIN    "delay_budget"

/* How long it has to show us a wait of our own, on a machine that may be crowded. */
#define PROVE_NS NSEC_PER_SEC

#define N_LINKS 3

struct delay_sense {
	struct delay_bpf *skel;
	struct bpf_link *links[N_LINKS];
	bool attached, dropping;
	struct ring_buffer *crossings;
	struct culprit_delay_budget *budgets; /* mapped */
	struct culprit_delay_waits *waits;    /* mapped, read-only */
	unsigned int n_budgets;
	struct pins *pins;
	struct sense_status status;
	delay_crossing_fn fn;
	void *user;
};

const char *const delay_sources[] = { SOURCE, NULL };

/* The kernel reads these words while we write them: each in one piece, and slot_ns, which puts the
 * budget into use, after what it needs. */
#define SET(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

/* --- opening ---------------------------------------------------------------------------------- */

static size_t map_size(const struct bpf_map *map)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	/* The kernel rounds each element up. */
	size_t element = ((size_t)bpf_map__value_size(map) + 7) / 8 * 8;

	return (element * bpf_map__max_entries(map) + page - 1) / page * page;
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
	struct delay_sense *delay = ctx;

	if (!delay->dropping && size >= sizeof(struct culprit_delay_crossing))
		delay->fn(delay->user, data);
	return 0;
}

static int load(struct delay_sense *delay, const struct sense_options *options)
{
	struct delay_bpf *skel = delay->skel;
	int r;

	skel->rodata->agent_tgid = (uint32_t)options->agent_pid;
	skel->bss->guardian_tgid = (uint32_t)options->guardian_pid;
	r = bpf_map__set_max_entries(skel->maps.delay_budget, delay->n_budgets);
	if (r == 0)
		r = bpf_map__set_max_entries(skel->maps.delay_waits,
					     delay->n_budgets * CULPRIT_WINDOW_SLOTS);
	if (r == 0 && options->losses_fd >= 0)
		r = bpf_map__reuse_fd(skel->maps.losses, options->losses_fd);
	return r < 0 ? r : delay_bpf__load(skel);
}

static int set_up_maps(struct delay_sense *delay)
{
	struct delay_bpf *skel = delay->skel;
	int r = map_into_memory(skel->maps.delay_budget, PROT_READ | PROT_WRITE,
				(void **)&delay->budgets);

	if (r == 0)
		r = map_into_memory(skel->maps.delay_waits, PROT_READ, (void **)&delay->waits);
	if (r < 0)
		return r;
	delay->crossings =
		ring_buffer__new(bpf_map__fd(skel->maps.delay_crossings), on_record, delay, NULL);
	return delay->crossings ? 0 : -errno;
}

static int say_why(struct delay_sense *delay, const char *what, int error)
{
	snprintf(delay->status.why, sizeof(delay->status.why), "%s: %s (%s)", SOURCE, what,
		 strerror(-error));
	return error;
}

int delay_open(struct delay_sense **out, const struct sense_options *options,
	       unsigned int n_budgets, delay_crossing_fn fn, void *user)
{
	struct delay_sense *delay = calloc(1, sizeof(*delay));
	int r;

	*out = delay;
	if (!delay)
		return -ENOMEM;
	delay->status.name = "delay";
	delay->n_budgets = n_budgets;
	delay->fn = fn;
	delay->user = user;
	if (n_budgets == 0 || n_budgets > CULPRIT_DELAY_BUDGETS ||
	    (options->source && strcmp(options->source, SOURCE) != 0))
		return -EINVAL;
	delay->skel = delay_bpf__open();
	if (!delay->skel)
		return say_why(delay, "open", -errno);
	r = load(delay, options);
	if (r < 0)
		return say_why(delay, "load", r);
	r = set_up_maps(delay);
	if (r < 0)
		return say_why(delay, "maps", r);
	/* A map that cannot be looked at from outside is no reason to do without; pins_error()
	 * tells. */
	delay->pins = options->pins;
	if (delay->pins)
		(void)pins_add(delay->pins, bpf_map__fd(delay->skel->maps.delay_budget), PIN);
	return 0;
}

void delay_close(struct delay_sense *delay)
{
	if (!delay)
		return;
	delay_detach(delay);
	if (delay->pins)
		pins_remove(delay->pins, PIN);
	ring_buffer__free(delay->crossings);
	if (delay->waits)
		munmap(delay->waits, map_size(delay->skel->maps.delay_waits));
	if (delay->budgets)
		munmap(delay->budgets, map_size(delay->skel->maps.delay_budget));
	delay_bpf__destroy(delay->skel);
	free(delay);
}

/* --- attaching -------------------------------------------------------------------------------- */

static int attach(struct delay_sense *delay)
{
	const struct bpf_program *const programs[N_LINKS] = {
		delay->skel->progs.delay_switch,
		delay->skel->progs.delay_wakeup,
		delay->skel->progs.delay_wakeup_new,
	};

	for (unsigned int i = 0; i < N_LINKS; i++) {
		delay->links[i] = bpf_program__attach(programs[i]);
		if (!delay->links[i])
			return -errno;
	}
	return 0;
}

/* Sleeps until the programs have seen us woken and running again. */
static int prove(struct delay_sense *delay)
{
	static const struct timespec moment = { .tv_nsec = NSEC_PER_MSEC / 2 };
	const volatile uint64_t *proven = (const uint64_t *)&delay->skel->bss->proven;
	uint64_t before = *proven, end = monotonic_ns() + PROVE_NS;

	SET(delay->skel->bss->proving_tgid, (uint32_t)getpid());
	do
		nanosleep(&moment, NULL);
	while (*proven == before && monotonic_ns() < end);
	SET(delay->skel->bss->proving_tgid, 0);
	return *proven == before ? -ENODATA : 0;
}

int delay_attach(struct delay_sense *delay)
{
	const char *what = "attach";
	int r;

	if (delay->attached)
		return 0;
	delay->attached = true;
	r = attach(delay);
	if (r == 0) {
		what = "silent";
		r = prove(delay);
	}
	if (r < 0) {
		delay_detach(delay);
		return say_why(delay, what, r);
	}
	delay->status.source = SOURCE;
	delay->status.blind[0] = "a wait before it is over";
	delay->status.why[0] = '\0';
	return 0;
}

void delay_detach(struct delay_sense *delay)
{
	for (unsigned int i = 0; i < N_LINKS; i++) {
		bpf_link__destroy(delay->links[i]);
		delay->links[i] = NULL;
	}
	delay->attached = false;
	delay->status.source = NULL;
	delay->status.blind[0] = NULL;
}

bool delay_attached(const struct delay_sense *delay)
{
	return delay->attached;
}

const struct sense_status *delay_status(const struct delay_sense *delay)
{
	return &delay->status;
}

unsigned int delay_room(const struct delay_sense *delay)
{
	return delay->n_budgets;
}

void delay_set_guardian(struct delay_sense *delay, pid_t guardian)
{
	SET(delay->skel->bss->guardian_tgid, (uint32_t)guardian);
}

uint64_t delay_missed(const struct delay_sense *delay)
{
	return delay->skel ? progs_missed(delay->skel->obj) : 0;
}

int delay_fd(const struct delay_sense *delay)
{
	return ring_buffer__epoll_fd(delay->crossings);
}

int delay_dispatch(struct delay_sense *delay)
{
	return ring_buffer__consume(delay->crossings);
}

void delay_drop(struct delay_sense *delay)
{
	delay->dropping = true;
	(void)ring_buffer__consume(delay->crossings);
	delay->dropping = false;
}

/* --- budgets ---------------------------------------------------------------------------------- */

int delay_set_budget(struct delay_sense *delay, unsigned int index, const struct delay_rule *rule)
{
	struct culprit_delay_budget *budget;
	uint64_t slot_ns = rule ? rule->window_ns / CULPRIT_WINDOW_SLOTS : 0;

	if (index >= delay->n_budgets || (rule && slot_ns == 0))
		return -EINVAL;
	budget = &delay->budgets[index];
	SET(budget->armed, 0);
	if (rule && budget->slot_ns == slot_ns && budget->enter_ns == rule->enter_ns &&
	    budget->leave_ns == rule->leave_ns && budget->nonnice_only == rule->nonnice_only)
		return 0;
	SET(budget->slot_ns, 0);
	/* So far behind that the next wait begins a new window. */
	SET(budget->epoch, 0);
	if (!rule)
		return 0;
	SET(budget->enter_ns, rule->enter_ns);
	SET(budget->leave_ns, rule->leave_ns);
	SET(budget->nonnice_only, rule->nonnice_only);
	SET(budget->slot_ns, slot_ns);
	return 0;
}

static bool in_use(const struct delay_sense *delay, unsigned int index)
{
	return index < delay->n_budgets && delay->budgets[index].slot_ns > 0;
}

int delay_arm(struct delay_sense *delay, unsigned int index, bool armed)
{
	if (!in_use(delay, index))
		return -EINVAL;
	SET(delay->budgets[index].armed, armed);
	return 0;
}

/* The waits of the last sub-windows, which is what window_sum() sums. */
static void add_up(const struct delay_sense *delay, unsigned int index, uint64_t epoch,
		   uint32_t counts[static CULPRIT_DELAY_STEPS])
{
	const struct culprit_delay_waits *slots = &delay->waits[index * CULPRIT_WINDOW_SLOTS];

	memset(counts, 0, CULPRIT_DELAY_STEPS * sizeof(*counts));
	for (unsigned int s = 0; s < CULPRIT_WINDOW_SLOTS; s++) {
		/* Also those that began since we read the clock. */
		if (slots[s].epoch + CULPRIT_WINDOW_SLOTS <= epoch)
			continue;
		for (unsigned int i = 0; i < CULPRIT_DELAY_STEPS; i++)
			counts[i] += slots[s].counts[i];
	}
}

/* The counters know on which side of a limit it is; by its length alone a wait that is as long as
 * the limit could be told to be shorter. */
static uint64_t on_its_side(uint64_t ns, uint64_t limit_ns, bool reached)
{
	if (reached)
		return ns < limit_ns ? limit_ns : ns;
	return ns >= limit_ns ? limit_ns - 1 : ns;
}

static uint64_t sum_of(const struct culprit_delay_budget *budget, enum culprit_delay_sum sum,
		       uint64_t now_ns)
{
	return window_sum(&budget->epoch, &budget->sums[sum], &budget->begins[sum], budget->slot_ns,
			  now_ns);
}

int delay_value(const struct delay_sense *delay, unsigned int index, struct delay_value *value)
{
	uint32_t counts[CULPRIT_DELAY_STEPS];
	struct culprit_delay_budget budget;
	uint64_t now_ns = monotonic_ns(), loud;

	if (!in_use(delay, index))
		return -EINVAL;
	budget = delay->budgets[index];
	*value = (struct delay_value){
		.woken = sum_of(&budget, CULPRIT_DELAY_WOKEN, now_ns),
		.late = sum_of(&budget, CULPRIT_DELAY_LATE, now_ns),
	};
	loud = sum_of(&budget, CULPRIT_DELAY_LOUD, now_ns);
	if (value->woken == 0)
		return 0;
	add_up(delay, index, now_ns / budget.slot_ns, counts);
	value->p95_ns = on_its_side(delay_p95_ns(counts), budget.leave_ns,
				    loud * CULPRIT_DELAY_ONE_IN > value->woken);
	value->p95_ns = on_its_side(value->p95_ns, budget.enter_ns,
				    value->late * CULPRIT_DELAY_ONE_IN > value->woken);
	return 0;
}

/* --- cgroups ---------------------------------------------------------------------------------- */

static void look_again(struct delay_sense *delay)
{
	__atomic_fetch_add(&delay->skel->bss->generation, 1, __ATOMIC_RELEASE);
}

/* Has the waits of the cgroup itself counted, or no longer. A full table is no loss of evidence. */
static void count_cgroup(struct delay_sense *delay, uint64_t cgroup, bool watched)
{
	static const struct culprit_delay_cgroup_waits none;
	int map = bpf_map__fd(delay->skel->maps.delay_cgroup_waits);

	if (watched)
		(void)bpf_map_update_elem(map, &cgroup, &none, BPF_NOEXIST);
	else
		(void)bpf_map_delete_elem(map, &cgroup);
}

int delay_watch(struct delay_sense *delay, uint64_t cgroup, const uint16_t *budgets,
		unsigned int count)
{
	struct culprit_delay_cgroup list = { 0 };

	if (count > CULPRIT_DELAY_BUDGETS_PER_CGROUP)
		return -E2BIG;
	for (unsigned int i = 0; i < count; i++) {
		if (budgets[i] >= delay->n_budgets)
			return -EINVAL;
		list.budgets[i] = (uint16_t)(budgets[i] + 1);
	}
	if (bpf_map_update_elem(bpf_map__fd(delay->skel->maps.delay_cgroup), &cgroup, &list,
				BPF_ANY) < 0)
		return -errno;
	count_cgroup(delay, cgroup, count > 0);
	look_again(delay);
	return 0;
}

void delay_forget(struct delay_sense *delay, uint64_t cgroup)
{
	(void)bpf_map_delete_elem(bpf_map__fd(delay->skel->maps.delay_cgroup), &cgroup);
	count_cgroup(delay, cgroup, false);
}

int delay_each_cgroup(const struct delay_sense *delay, delay_cgroup_fn fn, void *user)
{
	int map = bpf_map__fd(delay->skel->maps.delay_cgroup_waits);
	struct culprit_delay_cgroup_waits waits;
	uint64_t cgroup, *last = NULL;

	while (bpf_map_get_next_key(map, last, &cgroup) == 0) {
		last = &cgroup;
		if (bpf_map_lookup_elem(map, &cgroup, &waits) == 0)
			fn(user, cgroup, &waits);
	}
	return errno == ENOENT ? 0 : -errno;
}
