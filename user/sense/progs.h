/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel says of the programs of one BPF object. */
#ifndef CULPRIT_SENSE_PROGS_H
#define CULPRIT_SENSE_PROGS_H

#include <stdint.h>

struct bpf_object;

/* How often the kernel did not run a program of this object because the program was running on that
 * CPU already (5.12 and later; 0 before, where it is not counted). NULL: no object, 0. */
uint64_t progs_missed(const struct bpf_object *object);

#endif
