// SPDX-License-Identifier: GPL-2.0-or-later
/* The rungs of the senses that list: all processes, all cgroups; and a target that appears later.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "../live/agent.h"
#include "../live/live.h"
#include "../live/swapping.h"
#include "rung.h"

#define ANON_PAGES 4096
#define CGROUPS	   20

static bool frozen(void *name)
{
	return live_frozen(name);
}

static int fill_and_stay(void *report)
{
	struct own_pages own;

	if (own_pages_make(&own, ANON_PAGES) < 0 || write((int)(intptr_t)report, "", 1) != 1)
		return 1;
	return load_sleep(NULL);
}

/* Pages of the process that would have to be swapped out, as /proc has them. */
static uint64_t footprint(pid_t pid)
{
	char path[64], line[256];
	unsigned long long kib, sum = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);

	_cleanup_fclose_ FILE *f = fopen(path, "re");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %llu", &kib) == 1 ||
		    sscanf(line, "RssShmem: %llu", &kib) == 1 ||
		    sscanf(line, "VmSwap: %llu", &kib) == 1)
			sum += kib;
	return sum * 1024 / (uint64_t)sysconf(_SC_PAGESIZE);
}

static void expect_later_target_frozen(void)
{
	char name[32];

	agent_policy_state("front-first", name, sizeof(name));
	assert_string_equal(name, "waiting");
	live_fork("front", load_spin, NULL);
	usleep(500 * 1000); /* the budget is crossed meanwhile, and there is nothing to freeze */
	live_cgroup("hog");
	live_fork("hog", load_spin, NULL);
	assert_true(live_until(frozen, "hog", PATIENCE_MS));
}

void check_census(void **state)
{
	struct rung *rung = *state;
	json_t *rows, *row;
	int report[2];
	char byte;
	pid_t pid;

	live_cgroup("front");
	live_cgroup("crowd");
	if (!rung_start(rung, cpu_policy))
		return;
	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	pid = live_fork("crowd", fill_and_stay, (void *)(intptr_t)report[1]);
	close(report[1]);
	assert_int_equal(read(report[0], &byte, 1), 1);
	close(report[0]);
	rows = top_rows("processes");
	row = row_numbered(rows, "pid", pid);
	assert_non_null(row);
	assert_string_equal(json_string_value(json_object_get(row, "cgroup")), live_path("crowd"));
	assert_string_equal(json_string_value(json_object_get(row, "comm")), "rungs");
	/* Until 6.1 a thread keeps what its last 64 faults have mapped to itself. */
	rung_agrees(rung, row_count(row, "footprint_pages"), footprint(pid), 64.0 / ANON_PAGES);
	json_decref(rows);
	expect_later_target_frozen();
	rung_stop(rung);
}

static bool all_listed(void *out)
{
	json_t *rows = top_rows("cgroups");
	unsigned int *n = out;
	char name[32];

	*n = 0;
	for (unsigned int i = 0; i < CGROUPS; i++) {
		snprintf(name, sizeof(name), "made/%u", i);
		*n += row_named(rows, "path", live_path(name)) != NULL;
	}
	json_decref(rows);
	return *n == CGROUPS;
}

static bool none_listed(void *unused)
{
	unsigned int n;

	(void)unused;
	(void)all_listed(&n);
	return n == 0;
}

void check_tree(void **state)
{
	struct rung *rung = *state;
	unsigned int listed = 0;
	char name[32];

	live_cgroup("front");
	if (!rung_start(rung, cpu_policy))
		return;
	for (unsigned int i = 0; i < CGROUPS; i++) {
		snprintf(name, sizeof(name), "made/%u", i);
		live_cgroup(name);
		assert_int_equal(live_wait(live_fork(name, load_spin_ms, (void *)(uintptr_t)5)), 0);
	}
	(void)live_until(all_listed, &listed, PATIENCE_MS);
	rung_agrees(rung, listed, CGROUPS, 0);
	for (unsigned int i = 0; i < CGROUPS; i++) {
		snprintf(name, sizeof(name), "made/%u", i);
		live_rmdir(name);
	}
	assert_true(live_until(none_listed, NULL, PATIENCE_MS));
	expect_later_target_frozen();
	rung_stop(rung);
}
