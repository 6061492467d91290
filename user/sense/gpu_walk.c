// SPDX-License-Identifier: GPL-2.0-or-later
/* The walk over open files by iter/task_file: the truth about holders. */
#include <errno.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "sense/gpu_private.h"

static void linkp(struct bpf_link **link)
{
	bpf_link__destroy(*link);
}

/* The kernel writes whole rows, but a read may end anywhere. */
static int read_rows(struct gpu_sense *gpu, int fd, gpu_row_fn fn)
{
	struct culprit_gpu_file rows[128];
	size_t have = 0, whole;
	ssize_t n;

	for (;;) {
		n = read(fd, (char *)rows + have, sizeof(rows) - have);
		if (n < 0) {
			/* EAGAIN: a long stretch without a row; the kernel wants to be asked on. */
			if (errno == EINTR || errno == EAGAIN)
				continue;
			return -errno;
		}
		if (n == 0)
			return 0;
		have += (size_t)n;
		whole = have / sizeof(rows[0]);
		for (size_t i = 0; i < whole; i++)
			fn(gpu, &rows[i]);
		have -= whole * sizeof(rows[0]);
		__builtin_memmove(rows, &rows[whole], have);
	}
}

int gpu_walk(struct gpu_sense *gpu, pid_t tgid, gpu_row_fn fn)
{
	union bpf_iter_link_info info = { .task.pid = (__u32)tgid };
	LIBBPF_OPTS(bpf_iter_attach_opts, one, .link_info = &info, .link_info_len = sizeof(info));
	bool by_pid = tgid > 0 && gpu->walks_by_pid;
	_cleanup_(linkp)
	struct bpf_link *link =
		bpf_program__attach_iter(gpu->bpf->progs.walk, by_pid ? &one : NULL);
	_cleanup_close_ int fd = -1;

	if (!link)
		/* The process is gone, and its descriptors with it. */
		return by_pid && errno == ESRCH ? 0 : -errno;
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0)
		return -errno;
	return read_rows(gpu, fd, fn);
}
