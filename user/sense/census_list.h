/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The records of one census, put together from what the main threads and the others gave. */
#ifndef CULPRIT_SENSE_CENSUS_LIST_H
#define CULPRIT_SENSE_CENSUS_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include "culprit/census.h"

struct census_records {
	struct culprit_process *all;
	size_t count;
	size_t room;
};

struct census_list {
	struct census_records processes;
	/* Threads that came before their process: after pids have wrapped around, a thread may have
	 * a smaller one. */
	struct census_records early;
	bool unsorted; /* the processes did not come by rising pid */
};

/* Empties the list; its memory stays. */
void census_list_clear(struct census_list *list);
void census_list_free(struct census_list *list);

/* Adds a process, or a thread's part (CULPRIT_PROCESS_THREAD) to its process. 0 or -ENOMEM. */
int census_list_add(struct census_list *list, const struct culprit_process *record);

/* Sorts by pid and settles threads that came before their process. */
void census_list_finish(struct census_list *list);

/* The record of a process in a finished list; NULL when it has none. */
const struct culprit_process *census_list_find(const struct census_list *list, __u32 tgid);

#endif
