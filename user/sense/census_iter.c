// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/census_rungs.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "census.skel.h"
#include "lib/cleanup.h"

/*
 * The kernel gathers up to 32 KiB per read(2) (bpf_iter.c: 8 pages) and hands an incomplete record
 * over with the next one alone: the largest whole number of records asks for no such remainder.
 */
#define RECORDS_PER_READ (8 * 4096 / sizeof(struct culprit_process))

struct census_iter {
	struct census_bpf *skel;
	int prog_fd;
	int link_fd;  /* of the pass over all; one over a single process has a link of its own */
	bool filters; /* the kernel can restrict the iterator to one process (6.1) */
	struct culprit_process chunk[RECORDS_PER_READ];
};

static int link_create(const struct census_iter *iter, pid_t pid)
{
	union bpf_iter_link_info info = { .task.pid = (__u32)pid };
	LIBBPF_OPTS(bpf_link_create_opts, opts);

	if (pid > 0) {
		opts.iter_info = &info;
		opts.iter_info_len = sizeof(info);
	}
	return bpf_link_create(iter->prog_fd, 0, BPF_TRACE_ITER, &opts);
}

int census_iter_open(struct census_iter **out)
{
	struct census_iter *iter = calloc(1, sizeof(*iter));
	_cleanup_close_ int probe = -1;
	int r;

	if (!iter)
		return -ENOMEM;
	iter->link_fd = -1;
	iter->skel = census_bpf__open();
	if (!iter->skel) {
		r = -errno;
		goto fail;
	}
	iter->skel->rodata->possible_cpus = (__u32)libbpf_num_possible_cpus();
	r = census_bpf__load(iter->skel);
	if (r < 0)
		goto fail;
	iter->prog_fd = bpf_program__fd(iter->skel->progs.take_census);
	iter->link_fd = link_create(iter, 0);
	if (iter->link_fd < 0) {
		r = iter->link_fd;
		goto fail;
	}
	probe = link_create(iter, getpid());
	iter->filters = probe >= 0;
	*out = iter;
	return 0;
fail:
	census_iter_close(iter);
	return r;
}

void census_iter_close(struct census_iter *iter)
{
	if (!iter)
		return;
	if (iter->link_fd >= 0)
		close(iter->link_fd);
	census_bpf__destroy(iter->skel);
	free(iter);
}

/* Adds one chunk; `only` > 0 leaves the other processes out. */
static int add_chunk(struct census_iter *iter, size_t count, pid_t only, struct census_list *list)
{
	for (size_t i = 0; i < count; i++) {
		int r;

		if (only > 0 && iter->chunk[i].tgid != (__u32)only)
			continue;
		r = census_list_add(list, &iter->chunk[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

int census_iter_take(struct census_iter *iter, pid_t pid, struct census_list *list)
{
	_cleanup_close_ int own_link = -1;
	_cleanup_close_ int fd = -1;
	int link = iter->link_fd;
	size_t used = 0;

	if (pid > 0 && iter->filters) {
		link = own_link = link_create(iter, pid);
		if (own_link == -ESRCH)
			return 0;
		if (own_link < 0)
			return own_link;
	}
	fd = bpf_iter_create(link);
	if (fd < 0)
		return fd;
	for (;;) {
		ssize_t n = read(fd, (char *)iter->chunk + used, sizeof(iter->chunk) - used);
		size_t whole;
		int r;

		/* EAGAIN: a million tasks without a record; the kernel lets others run. */
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return -errno;
		used += (size_t)n;
		whole = used / sizeof(iter->chunk[0]);
		if (n == 0 || whole == 0)
			return used ? -EBADMSG : 0;
		r = add_chunk(iter, whole, pid, list);
		if (r < 0)
			return r;
		used -= whole * sizeof(iter->chunk[0]);
		if (used)
			return -EBADMSG;
	}
}
