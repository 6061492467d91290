/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one `losses` map that all objects share: user space creates it with the first object and
 * hands it to the others (bpf_map__reuse_fd).
 */
#ifndef CULPRIT_LOSSES_BPF_H
#define CULPRIT_LOSSES_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include "culprit/losses.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct culprit_losses);
} losses SEC(".maps");

/* Counts one loss. A plain atomic add, because 5.10 has no other; losses are rare. */
#define count_loss(field)                                                                \
	do {                                                                             \
		u32 zero__ = 0;                                                          \
		struct culprit_losses *losses__ = bpf_map_lookup_elem(&losses, &zero__); \
		if (losses__)                                                            \
			__sync_fetch_and_add(&losses__->field, 1);                       \
	} while (0)

#endif
