// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The signal `gpu`: somebody who is not the target holds, or has just opened, one of the policy's
 * devices. Its value is the number of such holders. Who holds what is the sense's truth; here it is
 * only asked who counts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "lib/procfs.h"

/* How soon an open that no syscall exit has resolved is looked at again. */
#define UNSETTLED_NS	 (10 * NSEC_PER_MSEC)
/* And at most: whatever is going on, looking takes a twentieth of one CPU. */
#define LOOK_SHARE	 20
#define UNSETTLED_MAX_NS (500 * NSEC_PER_MSEC)

static bool needs_exe(const struct pattern_list *list)
{
	for (unsigned int i = 0; i < list->count; i++)
		if (list->patterns[i].kind == PATTERN_EXE)
			return true;
	return false;
}

/* A process that ends gives its program back before its descriptors. Then its name has to do, which
 * the kernel takes from the program's. */
static bool ignored_by_name(const struct pattern_list *list, const struct subject *subject)
{
	char name[PATTERN_COMM_MAX + 1];

	for (unsigned int i = 0; i < list->count; i++) {
		const char *slash = strrchr(list->patterns[i].text, '/');
		const struct pattern comm = { .kind = PATTERN_COMM, .text = name };

		if (list->patterns[i].kind != PATTERN_EXE || !slash)
			continue;
		snprintf(name, sizeof(name), "%s", slash + 1);
		if (pattern_matches(&comm, subject))
			return true;
	}
	return false;
}

static bool is_ignored(const struct pattern_list *list, const struct culprit_task *task,
		       const struct subject *subject)
{
	struct subject with_exe = *subject;
	char exe[PATH_MAX];

	if (needs_exe(list)) {
		int r = proc_read_exe((pid_t)task->tgid, exe, sizeof(exe));

		if (r == 0)
			with_exe.exe = exe;
		/* One that we may not look at is not ignored because of a name that it chose. */
		else if (r == -ESRCH && ignored_by_name(list, subject))
			return true;
	}
	return pattern_list_match(list, &with_exe);
}

/* Is it someone who counts: not the target itself, not to be ignored, of the kind that is asked
 * for? Somebody whose cgroup is gone does not count: a cgroup is empty when it goes, so that
 * somebody has ended, and whether it was of the target or ignored nobody can tell any more. */
static bool counts(struct agent *a, const struct agent_policy *p, const struct culprit_task *task,
		   uint32_t uid, uint32_t gid, uint32_t kind)
{
	char path[PATH_MAX];
	struct subject subject = { .comm = task->comm, .known_ids = true, .uid = uid, .gid = gid };
	const struct tree_node *node = a->tree ? tree_find(a->tree, task->cgroup) : NULL;

	if (node)
		subject.cgroup_path = node->path;
	else if (cgroupfs_path_of(&a->cgroups, task->cgroup, path, sizeof(path)) == 0)
		subject.cgroup_path = path;
	else
		return false;
	for (unsigned int t = 0; t < p->config->n_targets; t++)
		if (workload_contains(&a->workloads[p->config->targets[t]], subject.cgroup_path))
			return false;
	if (is_ignored(&p->config->ignore, task, &subject))
		return false;
	switch (p->config->users) {
	case GPU_USERS_COMPUTE:
		return kind == CULPRIT_GPU_KIND_COMPUTE;
	case GPU_USERS_DISPLAY:
		return kind == CULPRIT_GPU_KIND_DISPLAY;
	default:
		return true;
	}
}

static bool is_ours(const struct agent_policy *p, uint32_t device)
{
	return device < 64 && (p->devices & (1ULL << device));
}

static void note_user(struct agent *a, struct agent_policy *p, uint32_t index,
		      const struct culprit_task *task)
{
	const struct gpu_device *device = gpu_device(a->gpu, index);

	p->has_offender = true;
	p->offender = (struct target){
		.kind = TARGET_PROCESS,
		.cgroup = task->cgroup,
		.pid = (pid_t)task->tgid,
		.start_time_ns = task->start_time_ns,
	};
	memcpy(p->offender.comm, task->comm, sizeof(p->offender.comm));
	snprintf(p->device, sizeof(p->device), "%s", device ? device->path : "");
}

/* Not yet: then when? */
static bool is_due(struct agent_policy *p, const struct gpu_holder *holder, uint64_t now)
{
	uint64_t due = holder->since_ns + p->config->hold_ns;

	if (now >= due)
		return true;
	if (!p->hold_due_ns || due < p->hold_due_ns)
		p->hold_due_ns = due;
	return false;
}

double gpu_signal_value(struct agent *a, struct agent_policy *p)
{
	const struct gpu_holder *holders, *longest = NULL;
	unsigned int n, value = 0;
	uint64_t now = monotonic_ns();

	p->hold_due_ns = 0;
	if (!a->gpu)
		return 0;
	n = gpu_holders(a->gpu, &holders);
	for (unsigned int i = 0; i < n; i++) {
		const struct gpu_holder *h = &holders[i];

		if (!is_ours(p, h->device) || !is_due(p, h, now) ||
		    !counts(a, p, &h->task, h->uid, h->gid, h->kind))
			continue;
		value++;
		if (!longest || h->since_ns < longest->since_ns)
			longest = h;
	}
	if (longest && !policy_holds(p))
		note_user(a, p, longest->device, &longest->task);
	return value;
}

/* Another device may tell what kind of user somebody is. */
static bool concerns(const struct agent_policy *p, uint32_t device)
{
	return is_ours(p, device) || p->config->users != GPU_USERS_ANY;
}

/* May it change what the policy does? Nearly always, nothing is begun by one user more. */
static bool changes(struct agent *a, const struct agent_policy *p, const struct gpu_change *change)
{
	if (change->news == GPU_RELEASED)
		return true;
	if (p->state.phase == POLICY_HOLDING && p->state.above)
		return false;
	return counts(a, p, &change->task, change->uid, change->gid, change->kind);
}

static void look_at_change(struct agent *a, struct agent_policy *p, const struct gpu_change *change,
			   uint64_t now)
{
	double value;
	bool opened =
		change->news == GPU_OPENED && p->config->hold_ns == 0 && is_ours(p, change->device);

	p->record_ns = opened ? change->time_ns : 0;
	/* The first user is known to count; the next look asks for the others. */
	if (opened && !policy_holds(p)) {
		note_user(a, p, change->device, &change->task);
		policy_look(a, p, 1, now);
		return;
	}
	value = gpu_signal_value(a, p);
	policy_look(a, p, opened && value < 1 ? 1 : value, now);
}

/* The hot path of this signal: an open is news even when it is closed again before anyone looks. */
void gpu_signal_change(void *agent, const struct gpu_change *change)
{
	struct agent *a = agent;
	uint64_t now = monotonic_ns();

	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];

		if (p->config->signal == SIGNAL_GPU && !p->paused && concerns(p, change->device) &&
		    changes(a, p, change))
			look_at_change(a, p, change, now);
	}
}

static bool any_policy(const struct agent *a)
{
	for (unsigned int i = 0; i < a->n_policies; i++)
		if (a->policies[i].config->signal == SIGNAL_GPU && !a->policies[i].paused)
			return true;
	return false;
}

void gpu_signal_want(struct agent *a)
{
	bool want = a->gpu && any_policy(a);

	if (!a->gpu || want == a->gpu_wanted)
		return;
	if (gpu_want_events(a->gpu, want) < 0)
		agent_degraded(a, "the events of GPU opens could not be attached; holders are "
				  "looked for once a second");
	a->gpu_wanted = want;
	/* Nobody has looked since they were last wanted. */
	if (want)
		(void)gpu_settle(a->gpu, true);
}

void gpu_signal_build(struct agent *a)
{
	if (!a->gpu)
		return;
	gpu_nodes_watch(a);
	gpu_signal_want(a);
	if (any_policy(a))
		(void)gpu_settle(a->gpu, true);
}

uint64_t gpu_signal_next_ns(const struct agent *a)
{
	uint64_t next;

	if (!a->gpu)
		return UINT64_MAX;
	next = gpu_nodes_next_ns(a);
	if (!a->gpu_wanted)
		return next;
	/* From the last look, not from now: what comes between two of them must not put off the
	 * next. */
	if (gpu_unsettled(a->gpu) && a->last_settle_ns + a->settle_pause_ns < next)
		next = a->last_settle_ns + a->settle_pause_ns;
	for (unsigned int i = 0; i < a->n_policies; i++) {
		uint64_t due = a->policies[i].hold_due_ns;

		if (due && due < next && !a->policies[i].paused)
			next = due;
	}
	return next;
}

static uint64_t cpu_time_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void settle(struct agent *a, bool everyone)
{
	uint64_t begun = cpu_time_ns();

	(void)gpu_settle(a->gpu, everyone);
	a->settle_pause_ns = (cpu_time_ns() - begun) * LOOK_SHARE;
	if (a->settle_pause_ns < UNSETTLED_NS)
		a->settle_pause_ns = UNSETTLED_NS;
	if (a->settle_pause_ns > UNSETTLED_MAX_NS)
		a->settle_pause_ns = UNSETTLED_MAX_NS;
}

void gpu_signal_tick(struct agent *a, uint64_t now_ns)
{
	bool everyone;

	if (!a->gpu)
		return;
	gpu_nodes_tick(a, now_ns);
	if (!a->gpu_wanted)
		return;
	/* Descriptors travel (fork, SCM_RIGHTS, pidfd_getfd) only from one who holds one, so all
	 * are walked only while somebody does; or when no event would tell us of opens. */
	everyone = now_ns >= a->last_settle_all_ns + NSEC_PER_SEC;
	if (everyone)
		a->last_settle_all_ns = now_ns;
	a->last_settle_ns = now_ns;
	settle(a, everyone);
}
