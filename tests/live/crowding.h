/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads that wait for a CPU, or have others wait for it: all of them on the last one. */
#ifndef CULPRIT_TESTS_CROWDING_H
#define CULPRIT_TESTS_CROWDING_H

#include <stdbool.h>
#include <stdint.h>

/* The kernel's account of a load, from when it was on its CPU until it ended. */
struct crowding_account {
	uint64_t waited_ns;  /* on a run queue, woken or preempted (sched_info) */
	uint64_t preempted;  /* times */
	volatile bool begun; /* it is on its CPU, and sleeps for another 200 ms */
};

struct crowding {
	unsigned int wakes;   /* crowding_wakes: so often, about 1 ms apart */
	unsigned int spin_ms; /* crowding_spins: so long; 0: for ever */
	int nice;
	bool batch; /* SCHED_BATCH: it takes the CPU from nobody when it wakes */
	bool fifo;  /* SCHED_FIFO, all of the same priority: none of them preempts another */
	struct crowding_account *account;
};

/* Memory that the load writes its account to before it ends. */
struct crowding_account *crowding_account(struct crowding *crowding);

/* For live_fork(), with a struct crowding. */
int crowding_wakes(void *crowding);
int crowding_spins(void *crowding);
int crowding_bursts(void *crowding); /* busy for 2 of 2.5 ms, for ever */

#endif
