// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * News of cgroups. A record carries the name, because none of it can be looked up later for sure:
 * a new directory shows in the file system only after its event, and a short-lived one is gone by
 * then. The events come under cgroup_mutex, so that the records are in the order of what happened.
 */
#include "compat.bpf.h"
#include "losses.bpf.h"
#include <bpf/bpf_tracing.h>
#include "culprit/tree.h"

char LICENSE[] SEC("license") = "GPL";

/* Records that found the ring full. User space scans when it rises; `losses` may be shared. */
__u64 dropped = 0;

/* Some 2,000 records. Its pages count as the agent's resident memory, twice, hence not more: past
 * it, a scan is cheaper anyway. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 128 * 1024);
} news SEC(".maps");

/* One will do: cgroup_mutex lets one event happen at a time. */
static struct culprit_tree_record record;

static int tell(struct cgroup *cgroup, enum culprit_tree_kind kind)
{
	long length;

	/* v1 hierarchies fire too; the default one is 0 (kernel/cgroup/cgroup.c, cgroup_init). */
	if (cgroup->root->hierarchy_id != 0)
		return 0;
	record.id = cgroup->kn->id;
	record.parent = cgroup->self.parent->cgroup->kn->id;
	record.kind = kind;
	record.reserved = 0;
	length = bpf_probe_read_kernel_str(record.name, sizeof(record.name), cgroup->kn->name);
	if (length < 1 || length > CULPRIT_TREE_NAME ||
	    bpf_ringbuf_output(&news, &record, offsetof(struct culprit_tree_record, name) + length,
			       0)) {
		__sync_fetch_and_add(&dropped, 1);
		count_loss(tree_record_dropped);
	}
	return 0;
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(cgroup_made, struct cgroup *cgroup, const char *path)
{
	return tell(cgroup, CULPRIT_TREE_MADE);
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(cgroup_removed, struct cgroup *cgroup, const char *path)
{
	return tell(cgroup, CULPRIT_TREE_REMOVED);
}

/* No kernel up to 6.18 renames a v2 cgroup (only v1 has the operation); should one come, the tree
 * is ready. */
SEC("tp_btf/cgroup_rename")
int BPF_PROG(cgroup_renamed, struct cgroup *cgroup, const char *path)
{
	return tell(cgroup, CULPRIT_TREE_RENAMED);
}
