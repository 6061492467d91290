// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `action = stop` on a workload: each of its processes is a hold of its own, with a claim that
 * knows the process by pidfd and start time. SIGSTOP to a whole cgroup and SIGCONT to all of it
 * later would continue those that someone else has stopped meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>

#include "agent/agent.h"
#include "agent/holds.h"
#include "act/process.h"
#include "act/subtree.h"
#include "lib/cleanup.h"
#include "lib/procfs.h"

/* One policy must not take all the places that there are for claims. */
#define STOP_MAX   192
/* Who runs goes on to fork while the others are stopped; those that are left come at the next tick.
 */
#define ROUNDS_MAX 4

_Static_assert(STOP_MAX < CLAIM_MAX, "others need claims, too");

/* 0: it has gone. */
static uint64_t id_of_path(const struct agent *a, const char *path)
{
	_cleanup_close_ int dir = cgroupfs_open_path(&a->cgroups, path);

	return dir >= 0 ? cgroupfs_id(dir) : 0;
}

int target_of_pid(struct agent *a, pid_t pid, struct target *target)
{
	/* Of a thread's id /proc knows something, too. */
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);
	struct proc_stat st;
	int r = pidfd < 0 ? -ESRCH : proc_read_stat(pid, &st);

	if (r < 0)
		return r;
	*target = (struct target){
		.kind = TARGET_PROCESS,
		.pid = pid,
		.start_time_ns = process_start_ns(&st),
	};
	memcpy(target->comm, st.comm, sizeof(target->comm));
	r = proc_read_cgroup(pid, target->path, sizeof(target->path));
	if (r < 0)
		return r;
	target->cgroup = id_of_path(a, target->path);
	return st.state == 'Z' ? -ESRCH : 0;
}

bool stops_processes(const struct agent_policy *p)
{
	return p->config->action == ACTION_STOP && !p->config->target_offender;
}

/* One of the processes that this policy holds; its path is the cgroup's in which it was. */
static bool is_member(const struct hold *h, const struct agent_policy *p, const char *cgroup_path)
{
	return h->used && h->target.kind == TARGET_PROCESS && hold_holder_index(h, p) >= 0 &&
	       cgroup_path_within(h->target.path, cgroup_path);
}

bool stop_holds_any(const struct agent *a, const struct agent_policy *p, const char *cgroup_path)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++)
		if (is_member(&a->holds[i], p, cgroup_path) &&
		    (a->holds[i].claim || a->holds[i].shadow))
			return true;
	return false;
}

/* Was its cgroup, or one above it, let go by hand? */
static bool keeps_off(const struct agent *a, const struct agent_policy *p, const char *path)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		const struct hold *h = &a->holds[i];
		int at;

		if (!h->used || h->target.kind != TARGET_CGROUP ||
		    !cgroup_path_within(path, h->target.path))
			continue;
		at = hold_holder_index(h, p);
		if (h->free_until_ns || (at >= 0 && h->holders[at].off && !h->holders[at].passed))
			return true;
	}
	return false;
}

struct listing {
	struct agent *agent;
	struct agent_policy *policy;
	const struct tree_node *node;
	const char *reason;
	unsigned int stopped, fresh;
	unsigned int held; /* by the policy, in all of its targets */
	bool full;
	int error; /* the first */
};

/* Those that cannot be stopped have a place, too. */
static unsigned int count_held(const struct agent *a, const struct agent_policy *p)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++)
		n += is_member(&a->holds[i], p, "/");
	return n;
}

/* While there is a claim its pidfd says whether the process lives, and its pid is no other's. */
static struct hold *find_claimed(struct agent *a, const struct agent_policy *p, pid_t pid)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		struct hold *h = &a->holds[i];

		if (h->used && h->claim && h->target.kind == TARGET_PROCESS &&
		    h->target.pid == pid && hold_holder_index(h, p) >= 0)
			return h;
	}
	return NULL;
}

static void stop_one(void *user, pid_t pid)
{
	struct listing *l = user;
	struct target target;
	bool fresh;
	int r;

	if (find_claimed(l->agent, l->policy, pid)) {
		l->stopped++;
		return;
	}
	if (target_of_pid(l->agent, pid, &target) < 0 ||
	    !cgroup_path_within(target.path, l->node->path) ||
	    keeps_off(l->agent, l->policy, target.path))
		return;
	fresh = !hold_find(l->agent, &target);
	l->full |= fresh && l->held >= STOP_MAX;
	if (fresh && l->held >= STOP_MAX)
		return;
	l->fresh += fresh;
	l->held += fresh;
	r = hold_begin(l->agent, l->policy, &target, CLAIM_STOP, l->reason);
	if (r == 0)
		l->stopped++;
	else if (l->error == 0)
		l->error = r;
}

int stop_workload(struct agent *a, struct agent_policy *p, const struct tree_node *node,
		  const char *reason)
{
	struct listing l = { .agent = a, .policy = p, .node = node, .reason = reason };
	int r = 0;

	for (unsigned int round = 0; round < ROUNDS_MAX; round++) {
		l.stopped = l.fresh = 0;
		l.held = count_held(a, p);
		r = subtree_each(&a->cgroups, node->id, stop_one, &l);
		if (r < 0 || l.fresh == 0)
			break;
	}
	if (l.full)
		agent_degraded_for(
			a, DEGRADED_CONFIG,
			"the targets of policy %s have more than %d processes, which is as "
			"many as action = stop stops one by one; the others go on; write "
			"action = freeze, which holds all of them at once",
			p->config->name, STOP_MAX);
	if (r < 0)
		return r;
	if (l.stopped > 0)
		return 0;
	return l.error ? l.error : -ENODATA;
}

/* Who was moved out of the workload is none of it any more. */
static void let_movers_go(struct agent *a, struct agent_policy *p)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		struct hold *h = &a->holds[i];
		char path[CLAIM_PATH_LEN];

		if (!is_member(h, p, "/") || !h->claim ||
		    proc_read_cgroup(h->target.pid, path, sizeof(path)) < 0 ||
		    strcmp(path, h->target.path) == 0)
			continue;
		snprintf(h->target.path, sizeof(h->target.path), "%s", path);
		h->target.cgroup = id_of_path(a, path);
		if (!policy_targets(a, p, &h->target))
			hold_leave(a, h, p, "it was moved out of the target");
	}
}

void stop_go_on(struct agent *a, struct agent_policy *p)
{
	char reason[CLAIM_REASON_LEN];

	let_movers_go(a, p);
	if (p->config->select == SELECT_ALL)
		return;
	words_begin(a, p, reason, sizeof(reason));
	for (unsigned int t = 0; t < p->config->n_targets; t++) {
		const struct agent_workload *w = &a->workloads[p->config->targets[t]];

		for (unsigned int i = 0; i < w->n_nodes; i++)
			if (stop_holds_any(a, p, w->nodes[i]->path))
				(void)stop_workload(a, p, w->nodes[i], reason);
	}
}
