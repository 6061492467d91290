// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Swap-ins attributed to processes and to the kernel against what the kernel counts (pswpin): for
 * processes that swap a known number of pages, and for a real thrash of several processes under a
 * memory limit that holds a part of them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "sense/losses.h"
#include "sense/swap.h"
#include "../live/limit.h"
#include "../live/live.h"
#include "../live/swapping.h"

#define SWAP_MIB    512
#define EXACT	    4	  /* processes that swap a known number of pages, one after the other */
#define EXACT_PAGES 16384 /* each */
#define THRASHERS   3
#define THRASH_MIB  64	/* each touches as much, at random */
#define LIMIT_MIB   100 /* all together */
#define THRASH_NS   (4 * NSEC_PER_SEC)

/* --- loads --------------------------------------------------------------------------------------
 */

static int thrash(void *unused)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint64_t end_ns = monotonic_ns() + THRASH_NS, random = (uint64_t)getpid() | 1;
	struct own_pages own;

	(void)unused;
	if (live_limit_join() < 0)
		return 1;
	if (own_pages_make(&own, (THRASH_MIB << 20) / page) < 0)
		return 2;
	while (monotonic_ns() < end_ns) {
		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		own.memory[(random >> 33) % own.pages * page]++;
	}
	return 0;
}

/* --- figures ------------------------------------------------------------------------------------
 */

struct figures {
	uint64_t pswpin; /* the kernel's */
	uint64_t total;	 /* the sense's sum of all */
	uint64_t booked; /* of processes and the kernel, added up */
	uint64_t kernel; /* kernel threads alone */
};

static void add(void *user, const struct swap_process_use *use)
{
	*(uint64_t *)user += use->use.swapin_pages;
}

static struct figures look(struct swap_sense *swap)
{
	struct figures f = { .pswpin = live_vmstat("pswpin") };
	struct swap_use use;

	if (swap_total(swap, &use) < 0)
		fail_msg("no total");
	f.total = use.swapin_pages;
	(void)swap_kernel_use(swap, &use);
	f.kernel = f.booked = use.swapin_pages;
	(void)swap_each_process(swap, add, &f.booked);
	return f;
}

static void print_figures(const char *name, const struct figures *a, const struct figures *b,
			  const char *end)
{
	uint64_t pswpin = b->pswpin - a->pswpin, booked = b->booked - a->booked;

	printf("\"%s\":{\"pswpin_pages\":%llu,\"total_pages\":%llu,\"booked_pages\":%llu, "
	       "\"kernel_pages\":%llu,\"booked_per_pswpin\":%.6f}%s",
	       name, (unsigned long long)pswpin, (unsigned long long)(b->total - a->total),
	       (unsigned long long)booked, (unsigned long long)(b->kernel - a->kernel),
	       pswpin ? (double)booked / (double)pswpin : 0.0, end);
}

struct of_process {
	uint32_t tgid;
	struct swap_use use;
};

static void match(void *user, const struct swap_process_use *use)
{
	struct of_process *of = user;

	if (use->tgid == of->tgid)
		of->use = use->use;
}

static void run_exact(struct swap_sense *swap)
{
	printf("\"processes\":[");
	for (int i = 0; i < EXACT; i++) {
		pid_t pid = live_fork(NULL, load_swap_once, (void *)(uintptr_t)EXACT_PAGES);
		struct of_process of = { .tgid = (uint32_t)pid };
		int status = live_wait(pid);

		if (status)
			fail_msg("a process could not swap its pages: %s", strerror(status));
		(void)swap_each_process(swap, match, &of);
		printf("%s{\"pages\":%d,\"swapin_pages\":%llu,\"swapout_pages\":%llu}",
		       i ? "," : "", EXACT_PAGES, (unsigned long long)of.use.swapin_pages,
		       (unsigned long long)of.use.swapout_pages);
	}
	printf("],");
}

static void run_thrash(void)
{
	pid_t pids[THRASHERS];

	live_cgroup("thrash");
	live_limit("thrash", LIMIT_MIB);
	for (int i = 0; i < THRASHERS; i++)
		pids[i] = live_fork("thrash", thrash, NULL);
	for (int i = 0; i < THRASHERS; i++) {
		int status = live_wait(pids[i]);

		if (status)
			fail_msg("a thrasher ended with %d", status);
	}
}

static void swap_ins_agree_with_pswpin(void **state)
{
	struct sense_options options = { .losses_fd = -1 };
	struct figures before, between, after;
	struct swap_sense *swap;

	(void)state;
	live_swap_on(SWAP_MIB);
	assert_int_equal(swap_open(&swap, &options, NULL, NULL), 0);
	printf("{\"bench\":\"swap_agreement\",\"source\":\"%s\",", swap_status(swap)->source);
	before = look(swap);
	run_exact(swap);
	between = look(swap);
	run_thrash();
	after = look(swap);
	print_figures("exact", &before, &between, ",");
	print_figures("thrash", &between, &after, "");
	printf("}\n");
	swap_close(swap);
}

int main(void)
{
	const struct CMUnitTest benches[] = {
		cmocka_unit_test(swap_ins_agree_with_pswpin),
	};

	return cmocka_run_group_tests(benches, live_setup, live_teardown);
}
