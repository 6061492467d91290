// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent with one policy of each signal on a machine where nothing crosses anything: its memory,
 * its wake-ups and its CPU time, as the kernel counts them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "../live/agent.h"
#include "../live/live.h"

#define SECONDS 20

static unsigned long status_field(pid_t pid, const char *key)
{
	char path[64], line[256];
	_cleanup_fclose_ FILE *f = NULL;
	size_t n = strlen(key);

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, key, n) == 0)
			return strtoul(line + n + 1, NULL, 10);
	return 0;
}

static unsigned long long cpu_ns(pid_t pid)
{
	char path[64];
	_cleanup_fclose_ FILE *f = NULL;
	unsigned long long ns = 0;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%llu", &ns) != 1)
		return 0;
	return ns;
}

static void bench(void **state)
{
	unsigned long woken;
	unsigned long long used;
	pid_t pid;

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	pid = agent_start("[workload hog]\ncgroup = %s/hog\n"
			  "[policy front]\nsignal = cpu\nof = cgroup:%s/front\naction = freeze\n"
			  "target = hog\n"
			  "[policy gpu]\nsignal = gpu\naction = freeze\ntarget = hog\n"
			  "[policy thrash]\nsignal = thrash\naction = freeze\ntarget = offender\n");
	sleep(2);
	woken = status_field(pid, "voluntary_ctxt_switches:");
	used = cpu_ns(pid);
	sleep(SECONDS);
	woken = status_field(pid, "voluntary_ctxt_switches:") - woken;
	used = cpu_ns(pid) - used;
	printf("{\"bench\":\"quiet\",\"seconds\":%d,\"rss_kib\":%lu,\"locked_kib\":%lu,"
	       "\"wakeups_per_s\":%.2f,\"cpu_pct\":%.3f}\n",
	       SECONDS, status_field(pid, "VmRSS:"), status_field(pid, "VmLck:"),
	       (double)woken / SECONDS, 100.0 * (double)used / 1e9 / SECONDS);
	agent_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bench, live_setup, live_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
