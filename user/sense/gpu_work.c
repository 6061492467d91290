// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Task work for the cgroup/dev program. Its kfunc is called _impl and takes five arguments in 6.18;
 * later kernels take the fifth from the verifier and drop the suffix. The program is the same for
 * both; only the BTF id in its call is put in here, before libbpf loads it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "sense/gpu_private.h"

/* The id of the kfunc in the kernel's own BTF. -ENOENT (or another error): there is none. */
static int find_kfunc(void)
{
	/* Where both names exist, only the one without a suffix may be called. */
	static const char *const names[] = { "bpf_task_work_schedule_resume",
					     "bpf_task_work_schedule_resume_impl" };
	int id = -ENOENT;

	for (unsigned int i = 0; i < ARRAY_SIZE(names) && id <= 0; i++)
		id = libbpf_find_vmlinux_btf_id(names[i], BPF_TRACE_FENTRY);
	return id;
}

static int put_in(struct bpf_program *prog, int kfunc)
{
	size_t n = bpf_program__insn_cnt(prog);
	struct bpf_insn *insns = calloc(n, sizeof(*insns));
	int r;

	if (!insns)
		return -ENOMEM;
	memcpy(insns, bpf_program__insns(prog), n * sizeof(*insns));
	for (size_t i = 0; i < n; i++) {
		if (insns[i].code != (BPF_JMP | BPF_CALL) || insns[i].src_reg != 0 ||
		    insns[i].imm != CULPRIT_GPU_WORK_CALL)
			continue;
		insns[i].src_reg = BPF_PSEUDO_KFUNC_CALL;
		insns[i].imm = kfunc;
	}
	/* As many as there were: what libbpf has yet to relocate stays where it is. */
	r = bpf_program__set_insns(prog, insns, n);
	free(insns);
	return r;
}

int gpu_work_prepare(struct bpf_program *prog)
{
	int kfunc = find_kfunc();

	return kfunc > 0 ? put_in(prog, kfunc) : -EOPNOTSUPP;
}
