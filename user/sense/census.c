// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/census.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/procfs.h"
#include "sense/census_rungs.h"

enum census_rung {
	RUNG_ITER,
	RUNG_PROC,
	N_RUNGS,
};

const char *const census_sources[] = {
	[RUNG_ITER] = "iter/task",
	[RUNG_PROC] = "/proc",
	NULL,
};

struct census {
	struct sense_status status;
	struct census_iter *iter; /* of the two, the one in use */
	struct census_proc *proc;
	struct census_list list;
};

static int take(struct census *census, pid_t pid)
{
	int r;

	census_list_clear(&census->list);
	r = census->iter ? census_iter_take(census->iter, pid, &census->list)
			 : census_proc_take(census->proc, pid, &census->list);
	if (r < 0) {
		census_list_clear(&census->list);
		return r;
	}
	census_list_finish(&census->list);
	return 0;
}

static void drop_rung(struct census *census)
{
	census_iter_close(census->iter);
	census->iter = NULL;
	census_proc_close(census->proc);
	census->proc = NULL;
}

/* A rung is believed when it knows this process. A kernel whose memory counters the iterator cannot
 * read, or a pid namespace whose pids it does not speak, show here. */
static int prove(struct census *census)
{
	const struct culprit_process *self;
	struct proc_stat stat;
	int r;

	r = take(census, 0);
	if (r < 0)
		return r;
	self = census_list_find(&census->list, (__u32)getpid());
	if (!self)
		return -ESRCH;
	r = proc_read_stat(getpid(), &stat);
	if (r < 0)
		return r;
	if (!proc_same_start(self->start_time_ns, stat.start_ticks))
		return -EBADMSG;
	return self->anon_pages > 0 ? 0 : -ENODATA;
}

static int open_rung(struct census *census, enum census_rung rung,
		     const struct sense_options *options)
{
	int r = rung == RUNG_ITER ? census_iter_open(&census->iter)
				  : census_proc_open(&census->proc, options->cgroup_mount);

	if (r == 0)
		r = prove(census);
	if (r < 0)
		drop_rung(census);
	return r;
}

static void describe(struct census *census, enum census_rung rung)
{
	unsigned int n = 0;

	census->status.source = census_sources[rung];
	if (rung == RUNG_PROC) {
		census->status.blind[n++] = "start times finer than 10 ms";
		census->status.blind[n++] = "tracers of threads other than the main one";
	} else if (!census_list_find(&census->list, 1)) {
		census->status.blind[n++] = "tasks that this kernel hides from BPF, such as pid 1";
	}
	census->status.blind[n] = NULL;
}

int census_open(struct census **out, const struct sense_options *options)
{
	struct census *census = calloc(1, sizeof(*census));
	bool known = !options->source;

	if (!census)
		return -ENOMEM;
	census->status.name = "census";
	for (enum census_rung rung = 0; rung < N_RUNGS; rung++) {
		size_t said = strlen(census->status.why);
		int r;

		if (options->source && strcmp(options->source, census_sources[rung]) != 0)
			continue;
		known = true;
		r = open_rung(census, rung, options);
		if (r == 0) {
			describe(census, rung);
			*out = census;
			return 0;
		}
		snprintf(census->status.why + said, sizeof(census->status.why) - said, "%s%s: %s",
			 said ? "; " : "", census_sources[rung], strerror(-r));
	}
	census_close(census);
	return known ? -ENOTSUP : -EINVAL;
}

void census_close(struct census *census)
{
	if (!census)
		return;
	drop_rung(census);
	census_list_free(&census->list);
	free(census);
}

const struct sense_status *census_status(const struct census *census)
{
	return &census->status;
}

int census_take(struct census *census, pid_t pid, const struct culprit_process **list,
		size_t *count)
{
	int r = take(census, pid);

	*list = census->list.processes.all;
	*count = census->list.processes.count;
	return r;
}
