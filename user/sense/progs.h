/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel says of the programs of one BPF object. */
#ifndef CULPRIT_SENSE_PROGS_H
#define CULPRIT_SENSE_PROGS_H

#include <stdint.h>

struct bpf_object;

struct progs_stats {
	uint64_t missed; /* events at which a program was running already (5.12+, else 0) */
	uint64_t runs;	 /* the next two only count while BPF statistics are switched on */
	uint64_t run_ns;
};

/* Sums over the loaded programs of the object. */
void progs_stats(const struct bpf_object *object, struct progs_stats *stats);

#endif
