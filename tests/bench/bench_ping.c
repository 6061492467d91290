// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How long a Ping takes on the control socket: with nobody else there, and with 100 idle clients.
 * Prints one JSON object; medians and 99th percentiles of calls on one connection, and of calls
 * that connect first, as `culprit ping` does.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../unit/fake_agent.h"
#include "lib/clock.h"

#define CALLS 20000
#define IDLE  100
#define PING  "{\"method\":\"io.culprit.Agent.Ping\"}"

/* The figure to reach: the median, also with the idle ones. */
#define LIMIT_US 100.0

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void ping_once(int fd)
{
	char answer[512];
	ssize_t n;

	assert_true(fake_call(fd, PING));
	n = recv(fd, answer, sizeof(answer), 0);
	assert_true(n > 0 && answer[n - 1] == '\0');
}

struct result {
	double p50_us, p99_us;
};

static struct result measure(const struct fake_agent *agent, bool connect_each)
{
	uint64_t *took = calloc(CALLS, sizeof(*took));
	int fd = connect_each ? -1 : fake_connect(agent->socket);
	struct result r;

	for (int i = 0; i < CALLS; i++) {
		uint64_t begin = monotonic_ns();
		int own = connect_each ? fake_connect(agent->socket) : fd;

		ping_once(own);
		took[i] = monotonic_ns() - begin;
		if (connect_each)
			close(own);
	}
	if (fd >= 0)
		close(fd);
	qsort(took, CALLS, sizeof(*took), by_size);
	r.p50_us = (double)took[CALLS / 2] / NSEC_PER_USEC;
	r.p99_us = (double)took[CALLS * 99 / 100] / NSEC_PER_USEC;
	free(took);
	return r;
}

int main(void)
{
	struct fake_agent agent;
	struct result alone, connecting, idle;
	int fds[IDLE];

	fake_agent_start(&agent, NULL);
	alone = measure(&agent, false);
	connecting = measure(&agent, true);
	for (int i = 0; i < IDLE; i++)
		fds[i] = fake_connect(agent.socket);
	idle = measure(&agent, false);
	for (int i = 0; i < IDLE; i++)
		close(fds[i]);
	fake_agent_stop(&agent);
	printf("{\"bench\":\"ping\",\"calls\":%d,\"p50_us\":%.1f,\"p99_us\":%.1f,"
	       "\"connecting_p50_us\":%.1f,\"connecting_p99_us\":%.1f,\"idle_clients\":%d,"
	       "\"with_idle_p50_us\":%.1f,\"with_idle_p99_us\":%.1f,\"limit_us\":%.0f,\"ok\":%s}\n",
	       CALLS, alone.p50_us, alone.p99_us, connecting.p50_us, connecting.p99_us, IDLE,
	       idle.p50_us, idle.p99_us, LIMIT_US, idle.p50_us <= LIMIT_US ? "true" : "false");
	return idle.p50_us <= LIMIT_US ? 0 : 1;
}
