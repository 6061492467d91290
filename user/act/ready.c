// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/ready.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

const struct ready_entry *ready_find(const struct ready *ready, uint64_t cgroup)
{
	for (unsigned int i = 0; cgroup && i < READY_MAX; i++)
		if (ready->entries[i].cgroup == cgroup)
			return &ready->entries[i];
	return NULL;
}

int ready_add(struct ready *ready, const struct cgroupfs *fs, uint64_t cgroup)
{
	struct ready_entry *entry = ready->entries;
	char path[PATH_MAX];
	int r;

	if (ready_find(ready, cgroup))
		return -EEXIST;
	while (entry < ready->entries + READY_MAX && entry->cgroup)
		entry++;
	if (entry == ready->entries + READY_MAX)
		return -ENOSPC;
	r = cgroupfs_path_of(fs, cgroup, path, sizeof(path));
	if (r == 0)
		r = freezer_open(fs, cgroup, &entry->freezer);
	if (r < 0)
		return r;
	entry->path = strdup(path);
	if (!entry->path) {
		freezer_close(&entry->freezer);
		return -ENOMEM;
	}
	entry->cgroup = cgroup;
	return (int)ready_place(ready, entry);
}

void ready_remove(struct ready *ready, unsigned int place)
{
	struct ready_entry *entry = &ready->entries[place];

	freezer_close(&entry->freezer);
	free(entry->path);
	*entry = (struct ready_entry){ 0 };
}
