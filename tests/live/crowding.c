// SPDX-License-Identifier: GPL-2.0-or-later
#include "crowding.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"

struct crowding_account *crowding_account(struct crowding *crowding)
{
	void *p = mmap(NULL, sizeof(struct crowding_account), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	crowding->account = p == MAP_FAILED ? NULL : p;
	return crowding->account;
}

/* /proc/PID/schedstat: ran, waited (both ns), times that it was given the CPU. */
static uint64_t waited_ns(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/schedstat", "re");
	unsigned long long ns = 0;

	if (!f || fscanf(f, "%*u %llu", &ns) != 1)
		return 0;
	return ns;
}

static uint64_t preempted(void)
{
	struct rusage usage = { 0 };

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)usage.ru_nivcsw;
}

static void settle(const struct crowding *c)
{
	static const struct sched_param none, some = { .sched_priority = 1 };
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((int)sysconf(_SC_NPROCESSORS_ONLN) - 1, &set);
	sched_setaffinity(0, sizeof(set), &set);
	if (c->batch)
		sched_setscheduler(0, SCHED_BATCH, &none);
	if (c->fifo)
		sched_setscheduler(0, SCHED_FIFO, &some);
	setpriority(PRIO_PROCESS, 0, c->nice);
	prctl(PR_SET_TIMERSLACK, 1UL);
	if (c->account) {
		c->account->waited_ns = waited_ns();
		c->account->preempted = preempted();
	}
}

static int end(const struct crowding *c)
{
	if (c->account) {
		c->account->waited_ns = waited_ns() - c->account->waited_ns;
		c->account->preempted = preempted() - c->account->preempted;
	}
	return 0;
}

int crowding_wakes(void *crowding)
{
	static const struct timespec pause = { .tv_nsec = NSEC_PER_MSEC };
	const struct crowding *c = crowding;

	settle(c);
	if (c->account) {
		c->account->begun = true;
		usleep(200 * 1000);
	}
	for (unsigned int i = 0; i < c->wakes; i++)
		nanosleep(&pause, NULL);
	return end(c);
}

int crowding_spins(void *crowding)
{
	const struct crowding *c = crowding;
	uint64_t begin;

	settle(c);
	begin = monotonic_ns();
	while (!c->spin_ms || monotonic_ns() < begin + c->spin_ms * NSEC_PER_MSEC)
		;
	return end(c);
}

int crowding_bursts(void *crowding)
{
	static const struct timespec pause = { .tv_nsec = NSEC_PER_MSEC / 2 };

	settle(crowding);
	for (;;) {
		uint64_t end_ns = monotonic_ns() + 2 * NSEC_PER_MSEC;

		while (monotonic_ns() < end_ns)
			;
		nanosleep(&pause, NULL);
	}
}
