// SPDX-License-Identifier: GPL-2.0-or-later
/* The swap sense on real swap: exact counts, the crossing, and what happens to the dead. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "live.h"
#include "sense/losses.h"
#include "sense/support.h"
#include "sense/swap.h"
#include "sense/swap_internal.h"
#include "swapping.h"

/* Twice the most that a test swaps out, see own_pages_out(). */
#define SWAP_MIB 160

/* Wider than the jitter of a busy machine, narrow enough to be waited for. */
#define WINDOW_NS (400 * NSEC_PER_MSEC)

/* As long as any burst takes, also on an emulated machine. */
#define LONG_NS (20 * NSEC_PER_SEC)

static struct losses *losses;

/* --- the sense under test -----------------------------------------------------------------------
 */

struct heard {
	unsigned int n;
	struct culprit_swap_crossing last;
};

static void hear(void *user, const struct culprit_swap_crossing *crossing)
{
	struct heard *heard = user;

	heard->n++;
	heard->last = *crossing;
}

static int open_source(struct swap_sense **swap, const char *source, struct heard *heard)
{
	struct sense_options options = {
		.source = source,
		.losses_fd = losses_fd(losses),
	};

	return swap_open(swap, &options, hear, heard);
}

static struct swap_sense *open_best(struct heard *heard)
{
	struct swap_sense *swap;

	assert_int_equal(open_source(&swap, NULL, heard), 0);
	return swap;
}

struct find_process {
	uint32_t tgid;
	unsigned int n;
	struct swap_process_use use[4];
};

static void match_process(void *user, const struct swap_process_use *use)
{
	struct find_process *find = user;

	if (use->tgid == find->tgid && find->n < 4)
		find->use[find->n++] = *use;
}

static struct find_process find_process(struct swap_sense *swap, pid_t pid)
{
	struct find_process find = { .tgid = (uint32_t)pid };

	assert_int_equal(swap_each_process(swap, match_process, &find), 0);
	return find;
}

struct find_cgroup {
	uint64_t id;
	struct swap_use use;
};

static void match_cgroup(void *user, const struct swap_cgroup_use *use)
{
	struct find_cgroup *find = user;

	if (use->cgroup == find->id)
		find->use = use->use;
}

static struct swap_use cgroup_use(struct swap_sense *swap, uint64_t id)
{
	struct find_cgroup find = { .id = id };

	assert_int_equal(swap_each_cgroup(swap, match_cgroup, &find), 0);
	return find.use;
}

static uint64_t loss(size_t offset)
{
	struct culprit_losses counts;

	assert_int_equal(losses_read(losses, &counts), 0);
	return *(uint64_t *)((char *)&counts + offset);
}

#define LOSS(field) loss(offsetof(struct culprit_losses, field))

/* Swaps out and in, `pages` of this very process. */
static void swap_here(size_t pages)
{
	struct own_pages own;

	assert_int_equal(own_pages_make(&own, pages), 0);
	assert_int_equal(own_pages_out(&own), 0);
	assert_int_equal(own_pages_in(&own), 0);
	own_pages_free(&own);
}

static void *n_pages(size_t pages)
{
	return (void *)(uintptr_t)pages;
}

/* A child with that pid (0: any) that swaps once. clone3's set_tid is how a pid is reused for sure.
 */
static pid_t start_as(pid_t pid, size_t pages)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = pid ? (uint64_t)(uintptr_t)&pid : 0,
		.set_tid_size = pid ? 1 : 0,
	};
	pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (child < 0)
		fail_msg("clone3 as %d: %s", (int)pid, strerror(errno));
	if (child == 0)
		_exit(load_swap_once(n_pages(pages)));
	return child;
}

/* --- khugepaged ---------------------------------------------------------------------------------
 */

#define KHUGEPAGED "/sys/kernel/mm/transparent_hugepage/khugepaged/"

static char scan_sleep[32]; /* what it was */

static void set_scan_sleep(const char *text)
{
	FILE *f = fopen(KHUGEPAGED "scan_sleep_millisecs", "we");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void restore_scan_sleep(void)
{
	FILE *f = fopen(KHUGEPAGED "scan_sleep_millisecs", "we");

	if (f) {
		fputs(scan_sleep, f);
		fclose(f);
	}
}

static void hurry_khugepaged(void)
{
	FILE *f = fopen(KHUGEPAGED "scan_sleep_millisecs", "re");

	assert_non_null(f);
	assert_non_null(fgets(scan_sleep, sizeof(scan_sleep), f));
	fclose(f);
	live_on_cleanup(restore_scan_sleep);
	set_scan_sleep("10");
}

struct kernel_reads {
	struct swap_sense *swap;
	uint64_t before;
};

static bool kernel_has_read(void *arg)
{
	struct kernel_reads *reads = arg;
	struct swap_use use;

	return swap_kernel_use(reads->swap, &use) == 0 && use.swapin_pages > reads->before;
}

/* --- counters -----------------------------------------------------------------------------------
 */

static void print_use(void *user, const struct swap_process_use *use)
{
	(void)user;
	print_message("    pid %u (%s) read %llu pages\n", use->tgid, use->comm,
		      (unsigned long long)use->use.swapin_pages);
}

static void assert_read(struct swap_sense *swap, const struct find_process *found, uint64_t pages)
{
	struct swap_use total = { 0 }, kernel = { 0 };

	if (found->use[0].use.swapin_pages == pages)
		return;
	(void)swap_total(swap, &total);
	(void)swap_kernel_use(swap, &kernel);
	(void)swap_each_process(swap, print_use, NULL);
	fail_msg("%llu of %llu pages are booked to pid %u; %llu to all, %llu to kernel threads, "
		 "%llu events missed",
		 (unsigned long long)found->use[0].use.swapin_pages, (unsigned long long)pages,
		 found->tgid, (unsigned long long)total.swapin_pages,
		 (unsigned long long)kernel.swapin_pages, (unsigned long long)swap_missed(swap));
}

static void every_page_is_booked_to_the_process_that_reads_it(void **state)
{
	struct swap_sense *swap = open_best(NULL);
	pid_t pid = live_fork(NULL, load_swap_once, n_pages(16384));
	struct find_process found;

	(void)state;
	assert_int_equal(live_wait(pid), 0);
	found = find_process(swap, pid);
	assert_int_equal(found.n, 1);
	assert_read(swap, &found, 16384);
	assert_int_equal(found.use[0].use.swapout_pages, 16384);
	assert_string_equal(found.use[0].comm, "test_swap");
	swap_close(swap);
}

static void add_process(void *user, const struct swap_process_use *use)
{
	*(uint64_t *)user += use->use.swapin_pages;
}

/* Their pages lie side by side in the swap file, so that readahead by one may read for another: up
 * to seven of eight pages. */
static void processes_at_the_same_time_are_told_apart(void **state)
{
	struct swap_sense *swap = open_best(NULL);
	struct swap_use before, kernel, after;
	uint64_t sum = 0;
	pid_t pids[4];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		pids[i] = live_fork(NULL, load_swap_once, n_pages(1000 * (i + 1)));
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(live_wait(pids[i]), 0);
	for (size_t i = 0; i < 4; i++)
		assert_in_range(find_process(swap, pids[i]).use[0].use.swapin_pages,
				1000 * (i + 1) / 8, 10000);
	/* Not one page is booked twice or to nobody. */
	assert_int_equal(swap_total(swap, &before), 0);
	assert_int_equal(swap_kernel_use(swap, &kernel), 0);
	assert_int_equal(swap_each_process(swap, add_process, &sum), 0);
	assert_int_equal(swap_total(swap, &after), 0);
	assert_in_range(sum + kernel.swapin_pages, before.swapin_pages, after.swapin_pages);
	swap_close(swap);
}

static void a_cgroup_has_the_sum_of_its_own_tasks(void **state)
{
	struct swap_sense *swap = open_best(NULL);
	uint64_t above = live_cgroup("sum"), id = live_cgroup("sum/below");
	struct swap_cgroup_use last;
	pid_t pids[2];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		pids[i] = live_fork("sum/below", load_swap_once, n_pages(500));
		assert_int_equal(live_wait(pids[i]), 0);
	}
	assert_int_equal(cgroup_use(swap, id).swapin_pages, 1000);
	assert_int_equal(cgroup_use(swap, above).swapin_pages, 0);
	assert_int_equal(find_process(swap, pids[0]).use[0].cgroup, id);

	assert_int_equal(swap_forget_cgroup(swap, id, &last), 0);
	assert_int_equal(last.use.swapin_pages, 1000);
	assert_int_equal(swap_forget_cgroup(swap, id, &last), 0);
	assert_int_equal(last.use.swapin_pages, 0);
	swap_close(swap);
}

/* Others may swap in between two looks: what the kernel counted around ours must enclose it. */
static void the_total_is_what_the_kernel_counts(void **state)
{
	uint64_t before = live_vmstat("pswpin");
	struct swap_sense *swap = open_best(NULL);
	uint64_t opened = live_vmstat("pswpin");
	struct swap_use at_open, total;

	(void)state;
	assert_int_equal(swap_total(swap, &at_open), 0);
	for (int i = 0; i < 3; i++) {
		pid_t pid = live_fork(NULL, load_swap_once, n_pages(4096));

		assert_int_equal(live_wait(pid), 0);
	}
	assert_int_equal(swap_total(swap, &total), 0);
	assert_true(total.swapin_pages <= live_vmstat("pswpin") - before);
	assert_true(total.swapin_pages - at_open.swapin_pages >= 3 * 4096);
	if (live_vmstat("pswpin") - opened == 3 * 4096)
		assert_int_equal(total.swapin_pages - at_open.swapin_pages, 3 * 4096);
	swap_close(swap);
}

/* khugepaged reads swapped pages back to make a huge page of them: nobody's swap-ins. */
static void a_kernel_thread_has_the_bucket_of_its_own(void **state)
{
	const size_t huge = 2 << 20, page = (size_t)sysconf(_SC_PAGESIZE);
	struct heard heard = { 0 };
	struct kernel_reads reads = { .swap = open_best(&heard) };
	struct own_pages own, part;
	struct swap_use use;
	uint64_t ours;

	(void)state;
	assert_int_equal(own_pages_make(&own, 2 * huge / page), 0);
	/* A few pages of one huge page, fewer than max_ptes_swap. */
	part.memory = (void *)(((uintptr_t)own.memory + huge - 1) & ~(huge - 1));
	part.pages = 16;
	assert_int_equal(own_pages_out(&part), 0);
	ours = find_process(reads.swap, getpid()).use[0].use.swapin_pages;
	assert_int_equal(swap_kernel_use(reads.swap, &use), 0);
	reads.before = use.swapin_pages;
	assert_int_equal(swap_arm(reads.swap, LONG_NS, 1), 0);
	hurry_khugepaged();
	assert_int_equal(madvise(part.memory, huge, MADV_HUGEPAGE), 0);
	assert_true(live_until(kernel_has_read, &reads, 20000));
	restore_scan_sleep();
	assert_int_equal(find_process(reads.swap, getpid()).use[0].use.swapin_pages, ours);
	assert_int_equal(swap_dispatch(reads.swap), 1);
	assert_int_equal(heard.last.kernel, 1);
	assert_string_equal(heard.last.task.comm, "khugepaged");
	own_pages_free(&own);
	swap_close(reads.swap);
}

static void a_reused_pid_starts_anew(void **state)
{
	struct swap_sense *swap = open_best(NULL);
	pid_t pid = start_as(0, 700);
	struct find_process found;

	(void)state;
	assert_int_equal(live_wait(pid), 0);
	assert_int_equal(start_as(pid, 300), pid);
	assert_int_equal(live_wait(pid), 0);
	found = find_process(swap, pid);
	assert_int_equal(found.n, 2);
	assert_true(found.use[0].start_time_ns != found.use[1].start_time_ns);
	assert_int_equal(found.use[0].use.swapin_pages + found.use[1].use.swapin_pages, 1000);
	assert_true(found.use[0].use.swapin_pages == 300 || found.use[0].use.swapin_pages == 700);
	swap_close(swap);
}

/* --- the crossing -------------------------------------------------------------------------------
 */

/* Pages that are swapped out, ready to be read in bursts. */
static void *page_out(struct own_pages *own, size_t pages)
{
	assert_int_equal(own_pages_make(own, pages), 0);
	assert_int_equal(own_pages_out(own), 0);
	return own->memory;
}

static void a_crossing_carries_the_numbers_of_task_and_cgroup(void **state)
{
	struct heard heard = { 0 };
	struct swap_sense *swap = open_best(&heard);
	uint64_t id = live_cgroup("crossing");
	pid_t pid;

	(void)state;
	assert_int_equal(swap_arm(swap, LONG_NS, 1000), 0);
	pid = live_fork("crossing", load_swap_once, n_pages(5000));
	assert_int_equal(live_wait(pid), 0);

	struct pollfd poll_fd = { .fd = swap_fd(swap), .events = POLLIN };

	assert_int_equal(poll(&poll_fd, 1, 1000), 1);
	assert_int_equal(swap_dispatch(swap), 1);
	assert_int_equal(heard.n, 1);
	assert_int_equal(heard.last.threshold_pages, 1000);
	assert_in_range(heard.last.swapin_pages, 1000, 1000 + 64);
	assert_int_equal(heard.last.task.tgid, pid);
	assert_int_equal(heard.last.task.cgroup, id);
	assert_string_equal(heard.last.task.comm, "test_swap");
	assert_int_equal(heard.last.task.start_time_ns,
			 find_process(swap, pid).use[0].start_time_ns);
	/* It was alone, and its first 1,000 may have taken longer than the window. */
	assert_in_range(heard.last.task_swapin_pages, 1000, 5000);
	assert_int_equal(heard.last.cgroup_swapin_pages, heard.last.task_swapin_pages);
	assert_int_equal(heard.last.kernel, 0);
	swap_close(swap);
}

static void a_crossing_fires_once_until_it_is_armed_again(void **state)
{
	struct heard heard = { 0 };
	struct swap_sense *swap = open_best(&heard);
	uint64_t dropped = LOSS(swap_record_dropped);
	struct own_pages first, second;

	(void)state;
	page_out(&first, 2000);
	page_out(&second, 2000);
	assert_int_equal(swap_arm(swap, LONG_NS, 1000), 0);
	assert_int_equal(own_pages_in(&first), 0);
	assert_int_equal(swap_dispatch(swap), 1);
	assert_int_equal(own_pages_in(&second), 0);
	assert_int_equal(swap_dispatch(swap), 0);
	/* Nor did the kernel send what would be thrown away. */
	assert_int_equal(LOSS(swap_record_dropped), dropped);

	own_pages_free(&first);
	page_out(&first, 2000);
	assert_int_equal(swap_arm(swap, LONG_NS, 1000), 0);
	assert_int_equal(own_pages_in(&first), 0);
	assert_int_equal(swap_dispatch(swap), 1);
	assert_int_equal(heard.n, 2);
	own_pages_free(&first);
	own_pages_free(&second);
	swap_close(swap);
}

static void a_disarmed_crossing_is_silent(void **state)
{
	struct heard heard = { 0 };
	struct swap_sense *swap = open_best(&heard);
	struct own_pages own;

	(void)state;
	page_out(&own, 2000);
	assert_int_equal(swap_arm(swap, LONG_NS, 1000), 0);
	assert_int_equal(swap_arm(swap, WINDOW_NS, 0), 0);
	assert_int_equal(own_pages_in(&own), 0);
	assert_int_equal(swap_dispatch(swap), 0);
	own_pages_free(&own);
	swap_close(swap);
}

static void pass_ns(uint64_t ns)
{
	uint64_t end_ns = monotonic_ns() + ns;

	while (monotonic_ns() < end_ns)
		usleep(1000);
}

/* Crossings of two bursts of 60 pages, 100 in the window being the threshold. */
static unsigned int crossings_of_bursts_apart(uint64_t apart_ns)
{
	struct heard heard = { 0 };
	struct swap_sense *swap = open_best(&heard);
	struct own_pages first, second;

	page_out(&first, 60);
	page_out(&second, 60);
	assert_int_equal(swap_arm(swap, WINDOW_NS, 100), 0);
	/* What went before (the proof, another test) leaves the window. */
	pass_ns(WINDOW_NS + WINDOW_NS / 8);
	assert_int_equal(own_pages_in(&first), 0);
	pass_ns(apart_ns);
	assert_int_equal(own_pages_in(&second), 0);
	own_pages_free(&first);
	own_pages_free(&second);
	assert_true(swap_dispatch(swap) >= 0);
	swap_close(swap);
	return heard.n;
}

static void bursts_within_a_window_add_up_wherever_it_begins(void **state)
{
	(void)state;
	assert_int_equal(crossings_of_bursts_apart(0), 1);
	assert_int_equal(crossings_of_bursts_apart(WINDOW_NS / 8), 1);
	assert_int_equal(crossings_of_bursts_apart(WINDOW_NS / 2), 1);
}

static void a_burst_leaves_the_window_with_time(void **state)
{
	(void)state;
	assert_int_equal(crossings_of_bursts_apart(WINDOW_NS + WINDOW_NS / 8), 0);
}

static void an_ignored_process_is_booked_but_does_not_cross(void **state)
{
	struct heard heard = { 0 };
	struct swap_sense *swap = open_best(&heard);
	struct own_pages own;
	uint64_t booked = find_process(swap, getpid()).use[0].use.swapin_pages;

	(void)state;
	page_out(&own, 2000);
	assert_int_equal(swap_arm(swap, LONG_NS, 1000), 0);
	swap_ignore(swap, getpid());
	assert_int_equal(own_pages_in(&own), 0);
	assert_int_equal(swap_dispatch(swap), 0);
	assert_int_equal(find_process(swap, getpid()).use[0].use.swapin_pages, booked + 2000);
	own_pages_free(&own);
	swap_close(swap);
}

static void a_record_that_found_no_room_is_counted_and_sent_again(void **state)
{
	const size_t stride = 64, bursts = 64; /* more records than the ring buffer holds */
	struct heard heard = { 0 };
	struct swap_sense *swap = open_best(&heard);
	uint64_t dropped = LOSS(swap_record_dropped);
	volatile unsigned char *memory;
	struct own_pages own;
	size_t i = 0;

	(void)state;
	memory = page_out(&own, stride * (bursts + 1));
	while (i < bursts && LOSS(swap_record_dropped) == dropped) {
		assert_int_equal(swap_arm(swap, WINDOW_NS, 1), 0);
		(void)memory[stride * i++ * (size_t)sysconf(_SC_PAGESIZE)];
	}
	assert_true(LOSS(swap_record_dropped) > dropped);
	assert_int_equal(swap_dispatch(swap), i - 1);
	(void)memory[stride * i * (size_t)sysconf(_SC_PAGESIZE)];
	assert_int_equal(swap_dispatch(swap), 1);
	assert_int_equal(heard.last.arming, i);
	own_pages_free(&own);
	swap_close(swap);
}

/* --- the dead, and full maps --------------------------------------------------------------------
 */

static int process_map(struct swap_sense *swap)
{
	return bpf_map__fd(swap->skel->maps.swap_process);
}

/* As if the last event of the process had been that long ago. */
static void make_older(struct swap_sense *swap, pid_t pid, uint64_t ns)
{
	struct culprit_swap_process_key key = { .tgid = (uint32_t)pid };
	struct culprit_swap_process value;

	key.start_time_ns = find_process(swap, pid).use[0].start_time_ns;
	assert_int_equal(bpf_map_lookup_elem(process_map(swap), &key, &value), 0);
	value.last_ns -= ns;
	assert_int_equal(bpf_map_update_elem(process_map(swap), &key, &value, BPF_EXIST), 0);
}

static void a_dead_process_is_kept_for_a_minute(void **state)
{
	struct swap_sense *swap = open_best(NULL);
	pid_t pid = live_fork(NULL, load_swap_once, n_pages(100));

	(void)state;
	assert_int_equal(live_wait(pid), 0);
	swap_sweep(swap);
	assert_int_equal(find_process(swap, pid).n, 1);
	make_older(swap, pid, 61 * NSEC_PER_SEC);
	swap_sweep(swap);
	assert_int_equal(find_process(swap, pid).n, 0);
	swap_close(swap);
}

static void a_living_process_is_never_swept(void **state)
{
	struct swap_sense *swap = open_best(NULL);

	(void)state;
	make_older(swap, getpid(), 3600 * NSEC_PER_SEC);
	swap_sweep(swap);
	assert_int_equal(find_process(swap, getpid()).n, 1);
	swap_close(swap);
}

/* Fills the map with processes that never were: pids beyond any pid_max. */
static void fill_processes(struct swap_sense *swap)
{
	struct culprit_swap_process value = { .last_ns = monotonic_ns() };
	struct culprit_swap_process_key key = { .tgid = 1U << 30 };

	while (bpf_map_update_elem(process_map(swap), &key, &value, BPF_NOEXIST) == 0)
		key.tgid++;
	assert_int_equal(errno, E2BIG);
}

static void a_full_process_map_is_counted_and_the_rest_stays_exact(void **state)
{
	struct swap_sense *swap = open_best(NULL);
	uint64_t full = LOSS(swap_process_full), id = live_cgroup("full");
	pid_t pid;

	(void)state;
	fill_processes(swap);
	pid = live_fork("full", load_swap_once, n_pages(200));
	assert_int_equal(live_wait(pid), 0);
	assert_int_equal(find_process(swap, pid).n, 0);
	assert_true(LOSS(swap_process_full) > full);
	assert_int_equal(cgroup_use(swap, id).swapin_pages, 200);
	swap_close(swap);
}

static void a_crowded_map_gives_up_its_dead_early(void **state)
{
	struct swap_sense *swap = open_best(NULL);
	struct find_process found;

	(void)state;
	fill_processes(swap);
	/* One round in pieces, to see the crowd, and one more. */
	for (int i = 0; i < 16384 / 256 + 2; i++)
		swap_sweep(swap);
	found = find_process(swap, 1 << 30);
	assert_int_equal(found.n, 0);
	assert_int_equal(find_process(swap, getpid()).n, 1);
	swap_close(swap);
}

static void a_full_cgroup_map_is_counted(void **state)
{
	struct swap_sense *swap = open_best(NULL);
	uint64_t full = LOSS(swap_cgroup_full), key = 1ULL << 60;
	struct culprit_swap_use value = { 0 };
	pid_t pid;

	(void)state;
	live_cgroup("nobody");
	while (bpf_map_update_elem(bpf_map__fd(swap->skel->maps.swap_cgroup), &key, &value,
				   BPF_NOEXIST) == 0)
		key++;
	pid = live_fork("nobody", load_swap_once, n_pages(200));
	assert_int_equal(live_wait(pid), 0);
	assert_int_equal(find_process(swap, pid).use[0].use.swapin_pages, 200);
	assert_true(LOSS(swap_cgroup_full) > full);
	swap_close(swap);
}

/* --- the ladder ---------------------------------------------------------------------------------
 */

/* Swaps the pages once; they are shared with the parent to tell it how often they were mapped. */
static int swap_shared(void *shared)
{
	struct own_pages *own = shared;
	int r = own_pages_make(own, 8192);

	if (r == 0)
		r = own_pages_out(own);
	if (r == 0)
		r = own_pages_in(own);
	return -r;
}

static void check_counts(struct swap_sense *swap, const char *source)
{
	/* What the last rung may still be owed: 32 per CPU and CPU, 64 faults before 6.2. */
	uint64_t owed = 64 * (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
	struct own_pages *own =
		mmap(NULL, sizeof(*own), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = live_fork(NULL, swap_shared, own);
	struct find_process found;
	uint64_t mapped;

	assert_int_equal(live_wait(pid), 0);
	found = find_process(swap, pid);
	assert_int_equal(found.n, 1);
	/* The last one counts what is mapped, also when it comes from the swap cache; some of what
	 * was touched was mapped all the time. */
	mapped = 8192 + own->touched;
	if (strcmp(source, "rss_stat") == 0)
		assert_in_range(found.use[0].use.swapin_pages, 8192 - owed, mapped + owed);
	else
		assert_read(swap, &found, 8192);
	munmap(own, sizeof(*own));
}

/* Whether this kernel ought to be able to. */
static bool should_work(const struct support *support, const char *source)
{
	const char *slash = strchr(source, '/');
	enum support_program kind;

	if (!slash)
		return support_tracepoint(support, source);
	kind = strncmp(source, "fentry", 6) == 0 ? SUPPORT_FENTRY : SUPPORT_KPROBE;
	return support_function(support, slash + 1) && support_program(support, kind) == 0;
}

static void every_rung_counts_or_says_why_it_cannot(void **state)
{
	struct support *support;

	(void)state;
	assert_int_equal(support_open(&support), 0);
	for (const char *const *source = swap_sources; *source; source++) {
		struct swap_sense *swap;
		int r = open_source(&swap, *source, NULL);

		assert_int_equal(r, should_work(support, *source) ? 0 : -ENOTSUP);
		if (r == 0) {
			assert_string_equal(swap_status(swap)->source, *source);
			assert_string_equal(swap_status(swap)->why, "");
			check_counts(swap, *source);
		} else {
			assert_null(swap_status(swap)->source);
			assert_non_null(strstr(swap_status(swap)->why, *source));
		}
		swap_close(swap);
	}
	support_close(support);
}

static void an_unknown_rung_is_refused(void **state)
{
	struct swap_sense *swap;

	(void)state;
	assert_int_equal(open_source(&swap, "guesswork", NULL), -EINVAL);
}

static void an_unproven_rung_says_so_until_it_is_seen_at_work(void **state)
{
	struct swap_sense *swap;

	(void)state;
	live_swap_off();
	if (support_swap())
		fail_msg("this machine has other swap; switch it off for this test");
	swap = open_best(NULL);
	assert_non_null(strstr(swap_status(swap)->why, "not proven: no swap"));
	swap_sweep(swap);
	assert_non_null(strstr(swap_status(swap)->why, "not proven: no swap"));
	live_swap_on(SWAP_MIB);
	swap_here(100);
	swap_sweep(swap);
	assert_null(strstr(swap_status(swap)->why, "not proven"));
	swap_close(swap);
}

/* Detaches the programs of the rung in use behind its back. */
static void deafen(struct swap_sense *swap)
{
	struct bpf_link **links = (struct bpf_link **)&swap->skel->links;

	for (size_t i = 0; i < sizeof(swap->skel->links) / sizeof(*links); i++) {
		bpf_link__destroy(links[i]);
		links[i] = NULL;
	}
}

static void a_rung_that_turns_out_silent_gives_way_to_the_next(void **state)
{
	struct heard heard = { 0 };
	struct swap_sense *swap;
	const char *first;
	char silent[64];
	int fd;

	(void)state;
	live_swap_off();
	swap = open_best(&heard);
	fd = swap_fd(swap);
	first = swap_status(swap)->source;
	deafen(swap);
	assert_int_equal(swap_arm(swap, LONG_NS, 500), 0);
	live_swap_on(SWAP_MIB);
	swap_here(2000);
	swap_sweep(swap);
	assert_non_null(swap_status(swap)->source);
	assert_string_not_equal(swap_status(swap)->source, first);
	snprintf(silent, sizeof(silent), "%s: silent", first);
	assert_non_null(strstr(swap_status(swap)->why, silent));
	/* What was armed before is armed still. */
	assert_int_equal(swap_fd(swap), fd);
	swap_here(2000);
	assert_int_equal(swap_dispatch(swap), 1);
	swap_close(swap);
}

/* --- inspection ---------------------------------------------------------------------------------
 */

static void the_map_dumps_with_names(void **state)
{
	struct swap_sense *swap = open_best(NULL);
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);
	char command[64], count[64], output[16384];
	size_t n;
	FILE *f;

	(void)state;
	assert_int_equal(bpf_obj_get_info_by_fd(process_map(swap), &info, &size), 0);
	snprintf(command, sizeof(command), "bpftool map dump id %u", info.id);
	f = popen(command, "r");
	assert_non_null(f);
	n = fread(output, 1, sizeof(output) - 1, f);
	output[n] = '\0';
	assert_int_equal(pclose(f), 0);
	assert_non_null(strstr(output, "\"comm\": \"test_swap\""));
	snprintf(count, sizeof(count), "\"swapin_pages\": %llu",
		 (unsigned long long)find_process(swap, getpid()).use[0].use.swapin_pages);
	assert_non_null(strstr(output, count));
	assert_non_null(strstr(output, "\"reserved\": 0"));
	swap_close(swap);
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

static int setup(void **state)
{
	libbpf_set_print(quiet);
	if (live_setup(state) < 0 || losses_open(&losses) < 0)
		return -1;
	live_swap_on(SWAP_MIB);
	return 0;
}

static int teardown(void **state)
{
	losses_close(losses);
	return live_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_page_is_booked_to_the_process_that_reads_it),
		cmocka_unit_test(processes_at_the_same_time_are_told_apart),
		cmocka_unit_test(a_cgroup_has_the_sum_of_its_own_tasks),
		cmocka_unit_test(the_total_is_what_the_kernel_counts),
		cmocka_unit_test(a_kernel_thread_has_the_bucket_of_its_own),
		cmocka_unit_test(a_reused_pid_starts_anew),
		cmocka_unit_test(a_crossing_carries_the_numbers_of_task_and_cgroup),
		cmocka_unit_test(a_crossing_fires_once_until_it_is_armed_again),
		cmocka_unit_test(a_disarmed_crossing_is_silent),
		cmocka_unit_test(bursts_within_a_window_add_up_wherever_it_begins),
		cmocka_unit_test(a_burst_leaves_the_window_with_time),
		cmocka_unit_test(an_ignored_process_is_booked_but_does_not_cross),
		cmocka_unit_test(a_record_that_found_no_room_is_counted_and_sent_again),
		cmocka_unit_test(a_dead_process_is_kept_for_a_minute),
		cmocka_unit_test(a_living_process_is_never_swept),
		cmocka_unit_test(a_full_process_map_is_counted_and_the_rest_stays_exact),
		cmocka_unit_test(a_crowded_map_gives_up_its_dead_early),
		cmocka_unit_test(a_full_cgroup_map_is_counted),
		cmocka_unit_test(every_rung_counts_or_says_why_it_cannot),
		cmocka_unit_test(an_unknown_rung_is_refused),
		cmocka_unit_test(an_unproven_rung_says_so_until_it_is_seen_at_work),
		cmocka_unit_test(a_rung_that_turns_out_silent_gives_way_to_the_next),
		cmocka_unit_test(the_map_dumps_with_names),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
