// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/progs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

void progs_stats(const struct bpf_object *object, struct progs_stats *stats)
{
	struct bpf_program *prog;

	*stats = (struct progs_stats){ 0 };
	bpf_object__for_each_program(prog, object)
	{
		struct bpf_prog_info info = { 0 };
		__u32 size = sizeof(info);
		int fd = bpf_program__fd(prog);

		if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
			continue;
		stats->missed += info.recursion_misses;
		stats->runs += info.run_cnt;
		stats->run_ns += info.run_time_ns;
	}
}
