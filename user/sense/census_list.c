// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/census_list.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/cleanup.h"

#define FIRST_ROOM 256

void census_list_clear(struct census_list *list)
{
	list->processes.count = 0;
	list->early.count = 0;
	list->unsorted = false;
}

void census_list_free(struct census_list *list)
{
	free(list->processes.all);
	free(list->early.all);
	*list = (struct census_list){ 0 };
}

static int append(struct census_records *records, const struct culprit_process *record)
{
	if (records->count == records->room) {
		size_t room = records->room ? records->room * 2 : FIRST_ROOM;
		void *all = reallocarray(records->all, room, sizeof(*records->all));

		if (!all)
			return -ENOMEM;
		records->all = all;
		records->room = room;
	}
	records->all[records->count++] = *record;
	return 0;
}

static struct culprit_process *find(const struct census_list *list, __u32 tgid)
{
	const struct census_records *processes = &list->processes;
	size_t low = 0, high = processes->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (processes->all[middle].tgid < tgid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < processes->count && processes->all[low].tgid == tgid ? &processes->all[low]
									  : NULL;
}

const struct culprit_process *census_list_find(const struct census_list *list, __u32 tgid)
{
	return find(list, tgid);
}

/*
 * A living thread of a process without its main thread speaks for it: all threads share the
 * memory, and (unless the cgroup is threaded) the cgroup.
 */
static void merge(struct culprit_process *process, const struct culprit_process *thread)
{
	process->major_faults += thread->major_faults;
	process->minor_faults += thread->minor_faults;
	process->flags |= thread->flags & CULPRIT_PROCESS_TRACED;
	if (!(process->flags & CULPRIT_PROCESS_HEADLESS) || !thread->cgroup)
		return;
	process->cgroup = thread->cgroup;
	process->flags &= ~CULPRIT_PROCESS_FROZEN;
	process->flags |= thread->flags & CULPRIT_PROCESS_FROZEN;
	process->anon_pages = thread->anon_pages;
	process->file_pages = thread->file_pages;
	process->shmem_pages = thread->shmem_pages;
	process->swap_pages = thread->swap_pages;
}

static int add_thread(struct census_list *list, const struct culprit_process *record)
{
	struct culprit_process *process = list->unsorted ? NULL : find(list, record->tgid);

	if (!process)
		return append(&list->early, record);
	merge(process, record);
	return 0;
}

int census_list_add(struct census_list *list, const struct culprit_process *record)
{
	const struct census_records *processes = &list->processes;

	if (record->flags & CULPRIT_PROCESS_THREAD)
		return add_thread(list, record);
	if (processes->count && processes->all[processes->count - 1].tgid > record->tgid)
		list->unsorted = true;
	return append(&list->processes, record);
}

static int by_pid(const void *a, const void *b)
{
	const struct culprit_process *x = a, *y = b;

	return x->tgid < y->tgid ? -1 : x->tgid > y->tgid;
}

void census_list_finish(struct census_list *list)
{
	struct census_records *processes = &list->processes;

	if (list->unsorted)
		qsort(processes->all, processes->count, sizeof(*processes->all), by_pid);
	list->unsorted = false;
	for (size_t i = 0; i < list->early.count; i++) {
		struct culprit_process *process = find(list, list->early.all[i].tgid);

		/* None: it was reaped during the pass. */
		if (process)
			merge(process, &list->early.all[i]);
	}
	list->early.count = 0;
}
