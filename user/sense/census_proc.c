// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The census by /proc: three small files per process and one per cgroup. Some fifty times dearer
 * than the iterator, for kernels whose iterator does not load.
 */
#include "sense/census_rungs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* An allocation that fails is an error to return, not the end of the agent. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "lib/cgroupfs.h"
#include "lib/cleanup.h"
#include "lib/clock.h"

/* The longest: /proc/PID/cgroup with a path of PATH_MAX behind ten v1 lines. */
#define TEXT_SIZE (4 * PATH_MAX)

/* A cgroup, by the path that /proc gives: asked once per pass, however many processes it has. */
struct place {
	uint64_t pass;
	uint64_t id;
	bool frozen;
	UT_hash_handle hh;
	char path[];
};

struct census_proc {
	DIR *dir;
	int cgroup_fd; /* of the cgroup2 mount; -1: none */
	unsigned int page_size;
	uint64_t pass;
	struct place *places;
	char text[TEXT_SIZE];
};

int census_proc_open(struct census_proc **out, const char *cgroup_mount)
{
	struct census_proc *proc = calloc(1, sizeof(*proc));
	int r;

	if (!proc)
		return -ENOMEM;
	proc->cgroup_fd = -1;
	proc->page_size = (unsigned int)sysconf(_SC_PAGESIZE);
	proc->dir = opendir("/proc");
	if (!proc->dir)
		goto fail;
	if (cgroup_mount) {
		proc->cgroup_fd = open(cgroup_mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (proc->cgroup_fd < 0)
			goto fail;
	}
	*out = proc;
	return 0;
fail:
	r = -errno;
	census_proc_close(proc);
	return r;
}

/* Forgets the cgroups in which the last pass found nobody; with `all`, every one. */
static void forget_places(struct census_proc *proc, bool all)
{
	struct place *place, *next;

	HASH_ITER (hh, proc->places, place, next) {
		if (!all && place->pass == proc->pass)
			continue;
		HASH_DEL(proc->places, place);
		free(place);
	}
}

void census_proc_close(struct census_proc *proc)
{
	if (!proc)
		return;
	if (proc->dir)
		closedir(proc->dir);
	if (proc->cgroup_fd >= 0)
		close(proc->cgroup_fd);
	forget_places(proc, true);
	free(proc);
}

static struct place *find_place(struct census_proc *proc, const char *path)
{
	size_t length = strlen(path);
	struct place *place;

	HASH_FIND(hh, proc->places, path, length, place);
	if (place)
		return place;
	place = calloc(1, sizeof(*place) + length + 1);
	if (!place)
		return NULL;
	memcpy(place->path, path, length + 1);
	HASH_ADD_KEYPTR(hh, proc->places, place->path, length, place);
	if (!place->hh.tbl) {
		free(place);
		return NULL;
	}
	return place;
}

/* What the directory says now: in the next pass the path may belong to another cgroup. */
static void look_at(struct census_proc *proc, struct place *place)
{
	const char *below = place->path + strspn(place->path, "/");
	_cleanup_close_ int fd =
		openat(proc->cgroup_fd, *below ? below : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t frozen = 0;

	place->pass = proc->pass;
	place->id = fd < 0 ? 0 : cgroupfs_id(fd);
	/* The root has no such file, and cannot be frozen. */
	place->frozen =
		fd >= 0 && cgroupfs_read_key(fd, "cgroup.events", "frozen", &frozen) == 0 && frozen;
}

/* Reads /proc/WHO/NAME into proc->text. 0; -ESRCH when it is gone, however that shows. */
static int read_text(struct census_proc *proc, const char *who, const char *name)
{
	char path[NAME_MAX * 2];
	int n;

	snprintf(path, sizeof(path), "%s/%s", who, name);
	n = cgroupfs_read(dirfd(proc->dir), path, proc->text, sizeof(proc->text));
	if (n == -ENOENT)
		return -ESRCH;
	return n < 0 ? n : 0;
}

static int read_place(struct census_proc *proc, const char *who, struct culprit_process *p)
{
	struct place *place;
	char *path;
	int r;

	if (proc->cgroup_fd < 0)
		return 0;
	r = read_text(proc, who, "cgroup");
	if (r < 0)
		return r;
	path = census_parse_cgroup(proc->text);
	if (!path)
		return 0;
	place = find_place(proc, path);
	if (!place)
		return -ENOMEM;
	if (place->pass != proc->pass)
		look_at(proc, place);
	p->cgroup = place->id;
	if (place->frozen)
		p->flags |= CULPRIT_PROCESS_FROZEN;
	return 0;
}

static int read_memory(struct census_proc *proc, const char *who, struct culprit_process *p)
{
	int r = read_text(proc, who, "status");

	if (r == 0)
		census_parse_status(proc->text, proc->page_size, p);
	return r;
}

/* The main thread is dead and knows no memory and no place any more: ask one that lives. */
static int ask_thread(struct census_proc *proc, const char *who, struct culprit_process *p)
{
	_cleanup_closedir_ DIR *dir = NULL;
	const struct dirent *entry;
	char name[NAME_MAX];
	int fd;

	snprintf(name, sizeof(name), "%s/task", who);
	fd = openat(dirfd(proc->dir), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	while ((entry = readdir(dir))) {
		struct culprit_process thread = { 0 };
		struct census_stat st;

		if (!isdigit((unsigned char)entry->d_name[0]) || strcmp(entry->d_name, who) == 0)
			continue;
		snprintf(name, sizeof(name), "%s/task/%.16s", who, entry->d_name);
		if (read_text(proc, name, "stat") < 0 ||
		    census_parse_stat(proc->text, &thread, &st) < 0 || st.state == 'Z')
			continue;
		p->flags |= thread.flags & CULPRIT_PROCESS_STOPPED;
		if (read_memory(proc, name, p) == 0 && read_place(proc, name, p) == 0)
			return 0;
	}
	return -ESRCH;
}

static int read_process(struct census_proc *proc, const char *who, struct culprit_process *p)
{
	struct census_stat st;
	int r;

	r = read_text(proc, who, "stat");
	if (r < 0)
		return r;
	r = census_parse_stat(proc->text, p, &st);
	if (r < 0)
		return r;
	r = read_memory(proc, who, p);
	if (r < 0)
		return r;
	r = read_text(proc, who, "oom_score_adj");
	if (r < 0)
		return r;
	p->oom_score_adj = atoi(proc->text);
	if (!(p->flags & CULPRIT_PROCESS_HEADLESS))
		return read_place(proc, who, p);
	return ask_thread(proc, who, p);
}

static int add_process(struct census_proc *proc, const char *who, struct census_list *list)
{
	struct culprit_process p = { .tgid = (__u32)atoi(who) };
	int r = read_process(proc, who, &p);

	/* Gone since its name was read: not in the census, which is no error. */
	if (r == -ESRCH)
		return 0;
	return r < 0 ? r : census_list_add(list, &p);
}

int census_proc_take(struct census_proc *proc, pid_t pid, struct census_list *list)
{
	const struct dirent *entry;

	proc->pass++;
	if (pid > 0) {
		char who[16];

		snprintf(who, sizeof(who), "%d", (int)pid);
		return add_process(proc, who, list);
	}
	rewinddir(proc->dir);
	while ((entry = readdir(proc->dir))) {
		int r;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		r = add_process(proc, entry->d_name, list);
		if (r < 0)
			return r;
	}
	forget_places(proc, false);
	return 0;
}
