// SPDX-License-Identifier: GPL-2.0-or-later
#include "turning.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "limit.h"
#include "live.h"
#include "swapping.h"

#define SWAP_MIB 384

const char *const turning_names[TURNING_MAX] = { "all/one", "all/two", "all/three" };
_Atomic uint64_t *turning_work, *turning_size;
static uint64_t from_ms;

int turning_setup(void **state)
{
	int r = live_setup(state);

	if (r < 0)
		return r;
	live_swap_on(SWAP_MIB);
	if (!turning_work)
		turning_work =
			mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(turning_work, MAP_FAILED);
	memset((void *)turning_work, 0, 4096);
	turning_size = turning_work + 64;
	from_ms = 0;
	live_cgroup("all");
	live_limit("all", LIMIT_MIB);
	for (size_t i = 0; i < TURNING_MAX; i++)
		live_cgroup(turning_names[i]);
	return 0;
}

static size_t pages_of(uint64_t mebibytes)
{
	return ((size_t)mebibytes << 20) / (size_t)sysconf(_SC_PAGESIZE);
}

struct load {
	unsigned int index, mebibytes;
};

/* How many pages it uses from now on; what is above them is given back. */
static size_t confine(const struct own_pages *own, size_t pages, size_t to)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (to == 0 || to > own->pages)
		to = own->pages;
	if (to < pages)
		(void)madvise(own->memory + to * page, (pages - to) * page, MADV_DONTNEED);
	return to;
}

static int touch(void *arg)
{
	const struct load *load = arg;
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint64_t random = (uint64_t)getpid() | 1;
	struct own_pages own;
	size_t pages;

	if (live_limit_join() < 0)
		return 1;
	if (own_pages_make(&own, pages_of(load->mebibytes)) < 0)
		return 2;
	pages = own.pages;
	for (;;) {
		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		own.memory[(random >> 33) % pages * page]++;
		if (++turning_work[load->index] % 1024 == 0)
			pages = confine(&own, pages, pages_of(turning_size[load->index]));
	}
}

static struct load loads[TURNING_MAX];

pid_t turning_start_in(const char *cgroup, unsigned int index, unsigned int mebibytes)
{
	loads[index] = (struct load){ index, mebibytes };
	return live_fork(cgroup, touch, &loads[index]);
}

pid_t turning_start(unsigned int index, unsigned int mebibytes)
{
	return turning_start_in(turning_names[index], index, mebibytes);
}

void turning_start_two(const char *config)
{
	turning_start(0, WORK_MIB);
	usleep(50 * 1000);
	agent_start(config);
	turning_start(1, WORK_MIB);
}

unsigned int turning_frozen_count(void)
{
	unsigned int n = 0;

	for (size_t i = 0; i < TURNING_MAX; i++)
		n += live_frozen(turning_names[i]);
	return n;
}

bool turning_none_frozen(void *unused)
{
	(void)unused;
	return turning_frozen_count() == 0;
}

void turning_from_now(void)
{
	from_ms = unix_ms() + 1;
	usleep(2000);
}

json_t *turning_next_event(const char *kind, const char *name, unsigned int timeout_ms)
{
	uint64_t end = monotonic_ns() + timeout_ms * NSEC_PER_MSEC;

	while (monotonic_ns() < end) {
		json_t *event = agent_wait_event(kind, "turns", timeout_ms);
		json_t *target = json_object_get(event, "target");
		const char *path = json_string_value(json_object_get(target, "path"));

		if (!path)
			path = json_string_value(json_object_get(target, "cgroup"));
		if (path && strcmp(path, live_path(name)) == 0 &&
		    (uint64_t)json_integer_value(json_object_get(event, "ts")) >= from_ms)
			return event;
		json_decref(event);
	}
	fail_msg("%s was not %s within %u ms", name, kind, timeout_ms);
	return NULL;
}

void turning_assert_reason(json_t *event, const char *text)
{
	const char *reason = json_string_value(json_object_get(event, "reason"));

	if (!strstr(reason, text))
		fail_msg("'%s' has no '%s'", reason, text);
	json_decref(event);
}
