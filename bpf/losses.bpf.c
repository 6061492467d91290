// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * No program, only the `losses` map and its BTF: made from here, it belongs to no sense and its
 * fields have names in bpftool.
 */
#include "losses.bpf.h"

char LICENSE[] SEC("license") = "GPL";
