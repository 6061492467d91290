// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crowd.h"
#include "lib/clock.h"
#include "live.h"

/* A cache line each, so that they do not slow one another down. */
struct member {
	volatile uint64_t ran_ns;
	char pad[56];
};

struct crowd {
	unsigned int n;
	char cgroup[64];
	struct member members[CROWD_MAX];
};

struct start {
	struct crowd *crowd;
	unsigned int index;
};

static int run(void *arg)
{
	struct start *start = arg;
	struct member *me = &start->crowd->members[start->index];

	do
		me->ran_ns = monotonic_ns();
	while (me->ran_ns > 0);
	return 0;
}

struct crowd *crowd_start(const char *cgroup, unsigned int n)
{
	struct crowd *crowd = mmap(NULL, sizeof(*crowd), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(crowd != MAP_FAILED && n <= CROWD_MAX);
	crowd->n = n;
	snprintf(crowd->cgroup, sizeof(crowd->cgroup), "%s", cgroup);
	for (unsigned int i = 0; i < n; i++) {
		struct start start = { crowd, i };

		live_fork(cgroup, run, &start);
	}
	return crowd;
}

uint64_t crowd_last_ran_ns(const struct crowd *crowd)
{
	uint64_t last = 0;

	for (unsigned int i = 0; i < crowd->n; i++)
		if (crowd->members[i].ran_ns > last)
			last = crowd->members[i].ran_ns;
	return last;
}

bool crowd_wait_frozen(const struct crowd *crowd, unsigned int timeout_ms)
{
	return live_until(live_is_frozen, (void *)crowd->cgroup, timeout_ms);
}

bool crowd_wait_running(const struct crowd *crowd, unsigned int timeout_ms)
{
	uint64_t begin = monotonic_ns(), end = begin + timeout_ms * NSEC_PER_MSEC;

	while (monotonic_ns() < end) {
		unsigned int running = 0;

		for (unsigned int i = 0; i < crowd->n; i++)
			running += crowd->members[i].ran_ns > begin;
		if (running == crowd->n)
			return true;
		usleep(1000);
	}
	return false;
}
