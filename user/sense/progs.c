// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/progs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

uint64_t progs_missed(const struct bpf_object *object)
{
	struct bpf_program *program;
	uint64_t sum = 0;

	if (!object)
		return 0;
	bpf_object__for_each_program(program, object)
	{
		struct bpf_prog_info info = { 0 };
		__u32 size = sizeof(info);
		int fd = bpf_program__fd(program);

		if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0)
			sum += info.recursion_misses;
	}
	return sum;
}
