// SPDX-License-Identifier: GPL-2.0-or-later
/* The tightest memory limit above a process, and what those below it can have, with a real one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "limit.h"
#include "live.h"
#include "sense/memlimit.h"

#define LIMIT_MIB 64
#define USED_MIB  24
/* Page tables, stacks and batches of counters. */
#define SLACK_MIB 6

static struct memlimits limits;
static _Atomic int *ready;

static int setup(void **state)
{
	int r = live_setup(state);

	if (r < 0)
		return r;
	ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(ready, MAP_FAILED);
	memlimits_open(&limits, live_fs());
	live_cgroup("all");
	live_cgroup("all/below");
	live_limit("all", LIMIT_MIB);
	return 0;
}

static int teardown(void **state)
{
	memlimits_close(&limits);
	munmap((void *)ready, 4096);
	return live_teardown(state);
}

static uint64_t pages_of(uint64_t mebibytes)
{
	return (mebibytes << 20) / (uint64_t)sysconf(_SC_PAGESIZE);
}

static int use(void *unused)
{
	const size_t size = (size_t)USED_MIB << 20;
	unsigned char *memory;

	(void)unused;
	if (live_limit_join() < 0)
		return 1;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		return 2;
	*ready = 1;
	for (;;)
		pause();
}

static bool is_ready(void *unused)
{
	(void)unused;
	return *ready == 1;
}

static pid_t start(void)
{
	pid_t pid = live_fork("all/below", use, NULL);

	assert_true(live_until(is_ready, NULL, 10000));
	return pid;
}

static void assert_about(uint64_t pages, uint64_t mebibytes)
{
	if (pages + pages_of(SLACK_MIB) < pages_of(mebibytes) ||
	    pages > pages_of(mebibytes + SLACK_MIB))
		fail_msg("%llu pages are not about %llu MiB", (unsigned long long)pages,
			 (unsigned long long)mebibytes);
}

static uint64_t capacity_of(const struct memlimit *limit, uint64_t resident_pages)
{
	uint64_t pages = 0;

	assert_int_equal(memlimit_capacity(&limits, limit, resident_pages, &pages), 0);
	return pages;
}

static void the_limit_above_a_process_is_found(void **state)
{
	struct memlimit limit, own;
	pid_t pid = start();

	(void)state;
	assert_int_equal(memlimit_of(&limits, pid, &limit), 0);
	assert_int_equal(limit.pages, pages_of(LIMIT_MIB));
	assert_true(limit.id != 0);
	assert_int_equal(limit.path[0], '/');
	assert_int_equal(memlimit_of(&limits, getpid(), &own), 0);
	assert_true(own.id != limit.id);
	live_kill(pid);
	assert_int_equal(memlimit_of(&limits, pid, &limit), -ESRCH);
}

static void what_is_used_by_others_is_not_to_be_had(void **state)
{
	struct memlimit limit;

	(void)state;
	assert_int_equal(memlimit_of(&limits, start(), &limit), 0);
	/* All that is used is theirs, or somebody else's. */
	assert_about(capacity_of(&limit, pages_of(USED_MIB)), LIMIT_MIB);
	assert_about(capacity_of(&limit, 0), LIMIT_MIB - USED_MIB);
}

static void a_limit_that_was_changed_counts_as_it_is_now(void **state)
{
	struct memlimit limit;

	(void)state;
	assert_int_equal(memlimit_of(&limits, start(), &limit), 0);
	live_limit("all", 2 * LIMIT_MIB);
	assert_about(capacity_of(&limit, pages_of(USED_MIB)), 2 * LIMIT_MIB);
}

static void another_cgroup_with_its_path_is_not_it(void **state)
{
	struct memlimit limit;
	uint64_t pages;

	(void)state;
	assert_int_equal(memlimit_of(&limits, start(), &limit), 0);
	limit.id++;
	assert_int_equal(memlimit_capacity(&limits, &limit, 0, &pages), -ESTALE);
}

static void without_a_limit_it_is_the_machine(void **state)
{
	struct memlimits none = { .root = -1 };
	struct memlimit limit;
	uint64_t pages = 0, more = 0;

	(void)state;
	assert_int_equal(memlimit_of(&none, getpid(), &limit), 0);
	assert_int_equal(limit.id, 0);
	assert_int_equal(limit.path[0], '\0');
	assert_int_equal(limit.pages, sysconf(_SC_PHYS_PAGES));
	assert_int_equal(memlimit_capacity(&none, &limit, 0, &pages), 0);
	assert_true(pages > 0 && pages < limit.pages);
	assert_int_equal(memlimit_capacity(&none, &limit, limit.pages, &more), 0);
	assert_true(more > limit.pages);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_limit_above_a_process_is_found),
		T(what_is_used_by_others_is_not_to_be_had),
		T(a_limit_that_was_changed_counts_as_it_is_now),
		T(another_cgroup_with_its_path_is_not_it),
		T(without_a_limit_it_is_the_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
