// SPDX-License-Identifier: GPL-2.0-or-later
/* The ladder of sources, and the crossing. */
#include "sense/swap.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "sense/pins.h"
#include "sense/progs.h"
#include "sense/support.h"
#include "sense/swap_internal.h"

#define WRITER "__swap_writepage"

#define BLIND_NETWORK "swap-ins over a network file system (they count for the kernel)"
#define BLIND_ZSWAP   "that zswap or the zero map answered a read (it counts as a swap-in)"
#define BLIND_WRITER  "who did the reclaim that swapped out"

/* A source, with what must be in the kernel's BTF for it. */
struct rung {
	const char *name;
	const char *tracepoint;
	const char *function;
	const char *program;
	const char *write_program; /* on WRITER, where the kernel has it */
	const char *blind[4];
};

static const struct rung rungs[] = {
	{ .name = "count_memcg_events",
	  .tracepoint = "count_memcg_events",
	  .program = "swap_memcg_events",
	  .blind = { "pages without a memory cgroup", BLIND_NETWORK } },
	{ .name = "fentry/swap_read_folio",
	  .function = "swap_read_folio",
	  .program = "swap_fentry_read_folio",
	  .write_program = "swap_fentry_writepage",
	  .blind = { BLIND_ZSWAP } },
	{ .name = "fentry/swap_readpage",
	  .function = "swap_readpage",
	  .program = "swap_fentry_readpage",
	  .write_program = "swap_fentry_writepage",
	  .blind = { BLIND_ZSWAP } },
	{ .name = "kprobe/swap_read_folio",
	  .function = "swap_read_folio",
	  .program = "swap_kprobe_read_folio",
	  .write_program = "swap_kprobe_writepage",
	  .blind = { BLIND_ZSWAP } },
	{ .name = "kprobe/swap_readpage",
	  .function = "swap_readpage",
	  .program = "swap_kprobe_readpage",
	  .write_program = "swap_kprobe_writepage",
	  .blind = { BLIND_ZSWAP } },
	{ .name = "rss_stat",
	  .tracepoint = "rss_stat",
	  .program = "swap_rss_stat",
	  .blind = { "pages read ahead and never touched, and shared memory (it counts pages "
		     "mapped back in)",
		     "that swapped memory was given up without being read (it counts as swap-ins)",
		     BLIND_WRITER } },
};

const char *const swap_sources[] = {
	"count_memcg_events",
	"fentry/swap_read_folio",
	"fentry/swap_readpage",
	"kprobe/swap_read_folio",
	"kprobe/swap_readpage",
	"rss_stat",
	NULL,
};

_Static_assert(ARRAY_SIZE(swap_sources) == ARRAY_SIZE(rungs) + 1, "every rung has its name");

/* --- status -------------------------------------------------------------------------------------
 */

static void pass_over(struct swap_sense *swap, const char *rung, const char *what)
{
	size_t n = strlen(swap->passed_over);

	snprintf(swap->passed_over + n, sizeof(swap->passed_over) - n, "%s%s: %s", n ? "; " : "",
		 rung, what);
}

/* `unproven` says why the rung in use is not proven; NULL: it is. */
static void set_why(struct swap_sense *swap, const char *unproven)
{
	const char *separator = unproven && swap->passed_over[0] ? "; " : "";

	snprintf(swap->status.why, sizeof(swap->status.why), "%s%s%s%s", swap->passed_over,
		 separator, unproven ? "not proven: " : "", unproven ? unproven : "");
}

static void set_source(struct swap_sense *swap, const struct rung *rung, bool sees_writers)
{
	size_t n = 0;

	swap->rung = (unsigned int)(rung - rungs);
	swap->status.source = rung->name;
	memset(swap->status.blind, 0, sizeof(swap->status.blind));
	for (; n < ARRAY_SIZE(rung->blind) && rung->blind[n]; n++)
		swap->status.blind[n] = rung->blind[n];
	if (rung->write_program && !sees_writers)
		swap->status.blind[n] = BLIND_WRITER;
}

/* --- one rung -----------------------------------------------------------------------------------
 */

static void detach(struct swap_sense *swap)
{
	ring_buffer__free(swap->records);
	swap->records = NULL;
	swap_bpf__destroy(swap->skel);
	swap->skel = NULL;
	swap->status.source = NULL;
}

static int hand_out(void *ctx, void *data, size_t size)
{
	struct swap_sense *swap = ctx;
	const struct culprit_swap_crossing *crossing = data;

	if (size < sizeof(*crossing))
		return 0;
	/* Two CPUs may cross at once; the difference is signed, as armings wrap. */
	if ((int32_t)(crossing->arming - swap->delivered) <= 0)
		return 0;
	swap->delivered = crossing->arming;
	swap->handed_out++;
	swap->fn(swap->user, crossing);
	return 0;
}

/* A sub-window in whole ticks of the kernel's clock, to the nearest. */
static uint64_t slot_jiffies(uint64_t window_ns)
{
	struct timespec tick;
	uint64_t slot_ns = window_ns / CULPRIT_SWAP_SLOTS;
	uint64_t tick_ns, jiffies;

	/* The coarse clocks move with the tick. */
	clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
	tick_ns = (uint64_t)tick.tv_sec * NSEC_PER_SEC + (uint64_t)tick.tv_nsec;
	jiffies = (slot_ns + tick_ns / 2) / tick_ns;
	return jiffies ? jiffies : 1;
}

/* What swap_arm() and swap_ignore() asked for, also of a rung before this one. */
static void tell_kernel(struct swap_sense *swap)
{
	struct swap_bpf__bss *bss = swap->skel->bss;
	uint64_t jiffies = slot_jiffies(swap->window_ns);

	if (bss->control.slot_jiffies != jiffies) {
		bss->control.threshold_pages = 0;
		memset(bss->window.slots, 0, sizeof(bss->window.slots));
		bss->control.slot_jiffies = jiffies;
	}
	bss->control.threshold_pages = swap->threshold_pages;
	bss->control.ignored_tgid = (uint32_t)swap->ignored;
	__atomic_store_n(&bss->control.arming, swap->arming, __ATOMIC_RELEASE);
}

static void autoload(struct swap_bpf *skel, const char *program)
{
	bpf_program__set_autoload(bpf_object__find_program_by_name(skel->obj, program), true);
}

static int load(struct swap_sense *swap, const struct rung *rung, bool sees_writers)
{
	const struct sense_options *options = &swap->options;
	int r;

	swap->skel = swap_bpf__open();
	if (!swap->skel)
		return -errno;
	autoload(swap->skel, rung->program);
	if (sees_writers)
		autoload(swap->skel, rung->write_program);
	r = bpf_map__set_autocreate(swap->skel->maps.swap_mm, strcmp(rung->name, "rss_stat") == 0);
	if (r == 0 && options->losses_fd >= 0)
		r = bpf_map__reuse_fd(swap->skel->maps.losses, options->losses_fd);
	if (r == 0)
		r = swap_bpf__load(swap->skel);
	if (r < 0)
		return r;
	tell_kernel(swap);
	swap->skel->bss->window.fired = swap->delivered;
	return swap_bpf__attach(swap->skel);
}

static int listen(struct swap_sense *swap)
{
	struct epoll_event event = { .events = EPOLLIN };
	int fd = bpf_map__fd(swap->skel->maps.swap_records);

	swap->records = ring_buffer__new(fd, hand_out, swap, NULL);
	if (!swap->records)
		return -errno;
	fd = ring_buffer__epoll_fd(swap->records);
	return epoll_ctl(swap->poll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* Loads, attaches and proves one rung. 0, or why not, as a text. */
static const char *try_rung(struct swap_sense *swap, const struct support *support,
			    const struct rung *rung, const char **unproven)
{
	bool sees_writers = rung->write_program && support_function(support, WRITER);
	enum swap_proof proof;
	int r;

	if (rung->tracepoint && !support_tracepoint(support, rung->tracepoint))
		return "absent";
	if (rung->function && !support_function(support, rung->function))
		return "absent";
	r = load(swap, rung, sees_writers);
	if (r == 0)
		r = listen(swap);
	if (r == 0)
		r = swap_kernel_count(&swap->kernel_base);
	if (r < 0)
		return strerror(-r);
	proof = swap_prove(swap, unproven);
	if (proof == SWAP_SILENT)
		return "silent";
	swap->proven = proof == SWAP_PROVEN;
	set_source(swap, rung, sees_writers);
	return NULL;
}

/* --- the ladder ---------------------------------------------------------------------------------
 */

static void pin(struct swap_sense *swap)
{
	const struct {
		const struct bpf_map *map;
		const char *name;
	} pinned[] = {
		{ swap->skel->maps.swap_process, "swap_process" },
		{ swap->skel->maps.swap_cgroup, "swap_cgroup" },
		{ swap->skel->maps.swap_total, "swap_total" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(pinned); i++) {
		int r = pins_add(swap->options.pins, bpf_map__fd(pinned[i].map), pinned[i].name);

		if (r < 0)
			pass_over(swap, pinned[i].name, "cannot be pinned");
	}
}

/* Takes the best rung from `first` on. 0 or -ENOTSUP. */
static int climb_down(struct swap_sense *swap, const struct support *support, unsigned int first)
{
	const char *forced = swap->options.source;

	for (unsigned int i = first; i < ARRAY_SIZE(rungs); i++) {
		const char *unproven = NULL;
		const char *wrong;

		if (forced && strcmp(forced, rungs[i].name) != 0)
			continue;
		wrong = try_rung(swap, support, &rungs[i], &unproven);
		if (!wrong) {
			if (swap->options.pins)
				pin(swap);
			set_why(swap, unproven);
			return 0;
		}
		detach(swap);
		pass_over(swap, rungs[i].name, wrong);
	}
	set_why(swap, NULL);
	return -ENOTSUP;
}

static bool is_source(const char *name)
{
	for (const char *const *s = swap_sources; *s; s++)
		if (strcmp(*s, name) == 0)
			return true;
	return false;
}

int swap_open(struct swap_sense **out, const struct sense_options *options, swap_crossing_fn fn,
	      void *user)
{
	struct support *support = NULL;
	struct swap_sense *swap;
	int r;

	if (options->source && !is_source(options->source))
		return -EINVAL;
	swap = calloc(1, sizeof(*swap));
	if (!swap)
		return -ENOMEM;
	swap->options = *options;
	swap->fn = fn;
	swap->user = user;
	swap->status.name = "swap";
	swap->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	r = swap->poll_fd < 0 ? -errno : support_open(&support);
	if (r < 0 && r != -ENOENT) {
		swap_close(swap);
		return r;
	}
	r = climb_down(swap, support, 0);
	support_close(support);
	*out = swap;
	return r;
}

void swap_close(struct swap_sense *swap)
{
	if (!swap)
		return;
	detach(swap);
	closep(&swap->poll_fd);
	free(swap);
}

const struct sense_status *swap_status(const struct swap_sense *swap)
{
	return &swap->status;
}

void swap_sweep(struct swap_sense *swap)
{
	struct support *support = NULL;

	if (!swap->skel)
		return;
	swap_sweep_processes(swap);
	if (swap->proven)
		return;
	switch (swap_look(swap)) {
	case SWAP_PROVEN:
		swap->proven = true;
		set_why(swap, NULL);
		break;
	case SWAP_SILENT:
		/* It has counted nothing, so that nothing is lost with its maps. */
		pass_over(swap, rungs[swap->rung].name, "silent");
		detach(swap);
		if (support_open(&support) != -ENOMEM)
			(void)climb_down(swap, support, swap->rung + 1);
		support_close(support);
		break;
	case SWAP_UNPROVEN:
		break;
	}
}

/* --- the crossing -------------------------------------------------------------------------------
 */

int swap_fd(const struct swap_sense *swap)
{
	return swap->poll_fd;
}

int swap_dispatch(struct swap_sense *swap)
{
	int r;

	if (!swap->records)
		return 0;
	swap->handed_out = 0;
	r = ring_buffer__consume(swap->records);
	return r < 0 ? r : (int)swap->handed_out;
}

int swap_arm(struct swap_sense *swap, uint64_t window_ns, uint64_t pages)
{
	if (!swap->skel)
		return -ENOTSUP;
	swap->window_ns = window_ns;
	swap->threshold_pages = pages;
	swap->arming++;
	tell_kernel(swap);
	return 0;
}

void swap_ignore(struct swap_sense *swap, pid_t tgid)
{
	swap->ignored = tgid;
	if (swap->skel)
		tell_kernel(swap);
}

uint64_t swap_missed(const struct swap_sense *swap)
{
	return swap->skel ? progs_missed(swap->skel->obj) : 0;
}
