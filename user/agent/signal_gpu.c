// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The signal `gpu`: somebody who is not the target holds, or has just opened, one of the policy's
 * devices. Its value is the number of such holders. Who holds what is the sense's truth; here it is
 * only asked who counts.
 */
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "lib/procfs.h"

/* How soon an open that no syscall exit has resolved is looked at again. */
#define UNSETTLED_NS (10 * NSEC_PER_MSEC)

static bool needs_exe(const struct pattern_list *list)
{
	for (unsigned int i = 0; i < list->count; i++)
		if (list->patterns[i].kind == PATTERN_EXE)
			return true;
	return false;
}

/* Is it someone who counts: not the target itself, not to be ignored, of the kind that is asked
 * for? */
static bool counts(struct agent *a, const struct agent_policy *p, const struct culprit_task *task,
		   uint32_t uid, int kind)
{
	char path[PATH_MAX], exe[PATH_MAX];
	struct subject subject = { .comm = task->comm, .known_ids = true, .uid = uid };
	const struct tree_node *node = a->tree ? tree_find(a->tree, task->cgroup) : NULL;

	if (node)
		subject.cgroup_path = node->path;
	else if (cgroupfs_path_of(&a->cgroups, task->cgroup, path, sizeof(path)) == 0)
		subject.cgroup_path = path;
	for (unsigned int t = 0; subject.cgroup_path && t < p->config->n_targets; t++)
		if (workload_contains(&a->workloads[p->config->targets[t]], subject.cgroup_path))
			return false;
	if (needs_exe(&p->config->ignore) &&
	    proc_read_exe((pid_t)task->tgid, exe, sizeof(exe)) == 0)
		subject.exe = exe;
	if (pattern_list_match(&p->config->ignore, &subject))
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

double gpu_signal_value(struct agent *a, struct agent_policy *p)
{
	const struct gpu_holder *holders;
	unsigned int n, value = 0;
	uint64_t now = monotonic_ns();

	if (!a->gpu)
		return 0;
	n = gpu_holders(a->gpu, &holders);
	for (unsigned int i = 0; i < n; i++) {
		const struct gpu_holder *h = &holders[i];

		if (is_ours(p, h->device) && now >= h->since_ns + p->config->hold_ns &&
		    counts(a, p, &h->task, h->uid, (int)h->kind))
			value++;
	}
	return value;
}

static void note_opener(struct agent *a, struct agent_policy *p, const struct gpu_change *change)
{
	const struct gpu_device *device = gpu_device(a->gpu, change->device);

	p->record_ns = change->time_ns;
	p->has_offender = true;
	p->offender = (struct target){
		.kind = TARGET_PROCESS,
		.cgroup = change->task.cgroup,
		.pid = (pid_t)change->task.tgid,
		.start_time_ns = change->task.start_time_ns,
	};
	memcpy(p->offender.comm, change->task.comm, sizeof(p->offender.comm));
	snprintf(p->device, sizeof(p->device), "%s", device ? device->path : "");
}

/* The hot path of this signal: an open is news even when it is closed again before anyone looks. */
void gpu_signal_change(void *agent, const struct gpu_change *change)
{
	struct agent *a = agent;
	uint64_t now = monotonic_ns();

	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];
		double value;

		if (p->config->signal != SIGNAL_GPU || p->paused || !is_ours(p, change->device))
			continue;
		value = gpu_signal_value(a, p);
		if (change->news == GPU_OPENED && value < 1 && p->config->hold_ns == 0 &&
		    counts(a, p, &change->task, change->uid, (int)change->kind))
			value = 1;
		if (value >= 1 && !policy_holds(p))
			note_opener(a, p, change);
		policy_look(a, p, value, now);
	}
}

/* Which of the sense's devices these globs name. */
static uint64_t devices_of(struct agent *a, uint64_t globs)
{
	uint64_t mask = 0;

	for (unsigned int d = 0; d < gpu_device_count(a->gpu) && d < 64; d++) {
		const struct gpu_device *device = gpu_device(a->gpu, d);

		if (device && device->globs & globs)
			mask |= 1ULL << d;
	}
	return mask;
}

/* Without a policy the usual nodes are watched, for `top`. */
static const char *const usual[] = { "/dev/nvidia[0-9]*", NULL };

/* Its place among the globs that are given to the sense; the configuration has no more of them. */
static unsigned int place_of(const char *glob, const char **globs, unsigned int *n)
{
	unsigned int i = 0;

	while (i < *n && strcmp(globs[i], glob) != 0)
		i++;
	if (i == *n && i < GPU_GLOBS)
		globs[(*n)++] = glob;
	return i;
}

/* Hands all policies' globs to the sense, each once, and learns which devices are whose. */
static void set_devices(struct agent *a)
{
	const char *globs[GPU_GLOBS + 1];
	unsigned int n = 0;
	int r;

	for (unsigned int i = 0; i < a->n_policies; i++)
		for (char **d = a->policies[i].config->devices; d && *d; d++)
			(void)place_of(*d, globs, &n);
	globs[n] = NULL;
	r = gpu_set_devices(a->gpu, n ? globs : usual);
	for (unsigned int i = 0; i < a->n_policies; i++) {
		uint64_t own = 0;

		for (char **d = a->policies[i].config->devices; d && *d; d++)
			own |= 1ULL << place_of(*d, globs, &n);
		a->policies[i].devices = devices_of(a, own);
	}
	if (r > 0)
		r = 0;
	if (r == a->devices_error)
		return;
	a->devices_error = r;
	agent_degraded_end(a, DEGRADED_DEVICES);
	if (r == -E2BIG)
		agent_degraded_for(a, DEGRADED_DEVICES,
				   "devices: more than %d device nodes are named, and the others "
				   "are not watched; write narrower globs",
				   CULPRIT_GPU_DEVICES);
	else if (r < 0)
		agent_degraded_for(a, DEGRADED_DEVICES,
				   "devices: the nodes could not be listed (%s), and new ones are "
				   "not watched; it is tried again within a minute",
				   strerror(-r));
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

/* A node appeared or went in a directory that some glob names. */
static int on_nodes(sd_event_source *source, const struct inotify_event *event, void *agent)
{
	struct agent *a = agent;

	(void)source;
	for (unsigned int i = 0; event->len && i < a->n_policies; i++) {
		for (char **d = a->policies[i].config->devices; d && *d; d++) {
			const char *slash = strrchr(*d, '/');

			if (fnmatch(slash + 1, event->name, 0) == 0) {
				set_devices(a);
				(void)gpu_settle(a->gpu, true);
				agent_schedule(a);
				return 0;
			}
		}
	}
	return 0;
}

/* Watches the directories of the globs; one that has a wildcard itself or does not exist yet is
 * read again once a minute only (see gpu_signal_tick). */
static void watch_nodes(struct agent *a)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->node_watches); i++)
		a->node_watches[i] = sd_event_source_unref(a->node_watches[i]);
	for (unsigned int i = 0, n = 0; i < a->n_policies; i++) {
		for (char **d = a->policies[i].config->devices; d && *d; d++) {
			char dir[PATH_MAX];
			char *slash;

			snprintf(dir, sizeof(dir), "%s", *d);
			slash = strrchr(dir, '/');
			if (!slash || n == ARRAY_SIZE(a->node_watches))
				continue;
			*slash = '\0';
			if (sd_event_add_inotify(a->event, &a->node_watches[n], *dir ? dir : "/",
						 IN_CREATE | IN_DELETE | IN_MOVED_TO |
							 IN_MOVED_FROM,
						 on_nodes, a) >= 0)
				n++;
		}
	}
}

void gpu_signal_build(struct agent *a)
{
	if (!a->gpu)
		return;
	set_devices(a);
	watch_nodes(a);
	gpu_signal_want(a);
	if (any_policy(a))
		(void)gpu_settle(a->gpu, true);
}

/* From the last look, not from now: what comes between two of them must not put off the next. */
uint64_t gpu_signal_next_ns(const struct agent *a)
{
	if (!a->gpu || !a->gpu_wanted || !gpu_unsettled(a->gpu))
		return UINT64_MAX;
	return a->last_settle_ns + UNSETTLED_NS;
}

void gpu_signal_tick(struct agent *a, uint64_t now_ns)
{
	bool everyone;

	if (!a->gpu || !a->gpu_wanted)
		return;
	if (now_ns >= a->last_devices_ns + 60 * NSEC_PER_SEC) {
		a->last_devices_ns = now_ns;
		set_devices(a);
	}
	/* Descriptors travel (fork, SCM_RIGHTS, pidfd_getfd) only from one who holds one, so all
	 * are walked only while somebody does; or when no event would tell us of opens. */
	everyone = now_ns >= a->last_settle_all_ns + NSEC_PER_SEC;
	if (everyone)
		a->last_settle_all_ns = now_ns;
	a->last_settle_ns = now_ns;
	(void)gpu_settle(a->gpu, everyone);
}
