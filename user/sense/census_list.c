// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/census_list.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/cleanup.h"

#define FIRST_ROOM 512

void census_list_clear(struct census_list *list)
{
	list->count = 0;
	list->loose = false;
}

void census_list_free(struct census_list *list)
{
	free(list->all);
	*list = (struct census_list){ 0 };
}

static bool is_thread(const struct culprit_process *p)
{
	return p->flags & CULPRIT_PROCESS_THREAD;
}

static int append(struct census_list *list, const struct culprit_process *record)
{
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : FIRST_ROOM;
		void *all = reallocarray(list->all, room, sizeof(*list->all));

		if (!all)
			return -ENOMEM;
		list->all = all;
		list->room = room;
	}
	list->all[list->count++] = *record;
	return 0;
}

static struct culprit_process *find(const struct census_list *list, __u32 tgid)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (list->all[middle].tgid < tgid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < list->count && list->all[low].tgid == tgid ? &list->all[low] : NULL;
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

int census_list_add(struct census_list *list, const struct culprit_process *record)
{
	/* The iterator goes by rising pid, so that nearly always the process is there already. */
	if (is_thread(record) && !list->loose) {
		struct culprit_process *process = find(list, record->tgid);

		if (process) {
			merge(process, record);
			return 0;
		}
	}
	if (is_thread(record) || (list->count && list->all[list->count - 1].tgid >= record->tgid))
		list->loose = true;
	return append(list, record);
}

static int by_pid_process_first(const void *a, const void *b)
{
	const struct culprit_process *x = a, *y = b;

	if (x->tgid != y->tgid)
		return x->tgid < y->tgid ? -1 : 1;
	return (int)is_thread(x) - (int)is_thread(y);
}

void census_list_finish(struct census_list *list)
{
	size_t kept = 0;

	if (!list->loose)
		return;
	qsort(list->all, list->count, sizeof(*list->all), by_pid_process_first);
	for (size_t i = 0; i < list->count; i++) {
		struct culprit_process *last = kept ? &list->all[kept - 1] : NULL;
		const struct culprit_process *record = &list->all[i];

		if (!is_thread(record)) {
			/* A pid that was used anew during the pass: the newer one lives. */
			if (last && last->tgid == record->tgid)
				kept--;
			list->all[kept++] = *record;
		} else if (last && last->tgid == record->tgid) {
			merge(last, record);
		}
	}
	list->count = kept;
	list->loose = false;
}
