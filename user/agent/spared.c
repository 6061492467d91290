// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/spared.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "lib/procfs.h"

/* How long a verdict is good for. What joins a target meanwhile is noticed at the next look. */
#define LOOK_NS	  (5 * NSEC_PER_SEC)
/* A look at 2,000 processes takes 10 to 20 ms: one pulse spends no more than this, or one target's
 * look, and what took long is looked at as much more rarely, so that it costs 0.5 % of a CPU. */
#define PULSE_NS  (5 * NSEC_PER_MSEC)
#define REST	  200
/* As act/subtree.c: deeper nests exist nowhere. */
#define DEPTH_MAX 32

/* --- one process ------------------------------------------------------------------------------ */

static bool lists(const struct pattern_list *list, enum pattern_kind first, enum pattern_kind last)
{
	for (unsigned int i = 0; i < list->count; i++)
		if (list->patterns[i].kind >= first && list->patterns[i].kind <= last)
			return true;
	return false;
}

static void read_ids(pid_t pid, struct subject *subject)
{
	char path[64], line[256];
	_cleanup_fclose_ FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		(void)sscanf(line, "Uid: %u", &subject->uid);
		if (sscanf(line, "Gid: %u", &subject->gid) == 1)
			subject->known_ids = true;
	}
}

/* The machine cannot do without its own journal and logins; those of a container are its own
 * affair. (Services of this machine share its processes' numbers, however they are walled in.) */
static bool is_of_this_machine(pid_t pid)
{
	char path[64], theirs[64] = "", own[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
	return readlink(path, theirs, sizeof(theirs) - 1) < 0 ||
	       readlink("/proc/self/ns/pid", own, sizeof(own) - 1) < 0 || strcmp(theirs, own) == 0;
}

/* Its comm is read only when its program is on the list. */
static bool is_builtin(pid_t pid, struct subject *subject, struct proc_stat *st)
{
	if (!protect_is_builtin(subject))
		return false;
	if (!subject->comm && proc_read_stat(pid, st) == 0)
		subject->comm = st->comm;
	return protect_is_builtin(subject) && is_of_this_machine(pid);
}

/* Only what the patterns ask for is read: this is done for each process of a target. */
static bool process_is_spared(struct agent *a, pid_t pid, char *why, size_t size)
{
	const struct pattern_list *protect = &a->config->protect;
	struct subject subject = { 0 };
	struct proc_stat st = { 0 };
	char exe[PATH_MAX];
	const char *by = NULL;

	if (proc_read_exe(pid, exe, sizeof(exe)) == 0)
		subject.exe = exe;
	if (lists(protect, PATTERN_COMM, PATTERN_COMM) && proc_read_stat(pid, &st) == 0)
		subject.comm = st.comm;
	if (lists(protect, PATTERN_UID, PATTERN_GID))
		read_ids(pid, &subject);
	if (pattern_list_match(protect, &subject))
		by = "the configuration";
	else if (is_builtin(pid, &subject, &st))
		by = "the built-in list";
	if (!by)
		return false;
	if (!subject.comm)
		(void)proc_read_stat(pid, &st);
	snprintf(why, size, "%.15s (pid %d) is protected by %s", st.comm, (int)pid, by);
	return true;
}

/* --- a cgroup, and what is below it ----------------------------------------------------------- */

struct look {
	struct agent *agent;
	unsigned int processes; /* that were seen */
	char *why;
	size_t size;
};

/* Of a thread; 0: it has ended. */
static pid_t process_of(pid_t tid)
{
	char path[64], line[256];
	_cleanup_fclose_ FILE *f = NULL;
	int pid = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "Tgid: %d", &pid) != 1)
		;
	return pid;
}

/* 1, 0, or -errno when the list cannot be read. */
static int list_is_spared(struct look *look, int dir, const char *list, bool threads)
{
	int fd = openat(dir, list, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_fclose_ FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	char line[32];

	if (!f && fd >= 0)
		close(fd);
	while (f && fgets(line, sizeof(line), f)) {
		pid_t pid = (pid_t)strtol(line, NULL, 10);

		/* 0: of a namespace that we cannot see into. */
		if (threads && pid > 0)
			pid = process_of(pid);
		if (pid <= 0)
			continue;
		look->processes++;
		if (process_is_spared(look->agent, pid, look->why, look->size))
			return 1;
	}
	return f && ferror(f) ? -errno : 0;
}

static bool procs_are_spared(struct look *look, int dir)
{
	int r = list_is_spared(look, dir, "cgroup.procs", false);

	/* A threaded cgroup has threads alone; their processes are listed above it. */
	if (r == -EOPNOTSUPP)
		r = list_is_spared(look, dir, "cgroup.threads", true);
	return r > 0;
}

static bool path_is_spared(struct agent *a, const char *path, char *why, size_t size)
{
	const struct subject subject = { .cgroup_path = path };

	if (!pattern_list_match(&a->config->protect, &subject))
		return false;
	snprintf(why, size, "%.50s is protected by the configuration", path);
	return true;
}

static bool below_is_spared(struct look *look, int dir, const char *path, unsigned int depth)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *entries = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	bool spared = path_is_spared(look->agent, path, look->why, look->size) ||
		      procs_are_spared(look, dir);

	if (!entries && fd >= 0)
		close(fd);
	while (!spared && depth < DEPTH_MAX && entries && (entry = readdir(entries))) {
		_cleanup_close_ int child = -1;
		char below[PATH_MAX];

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.' ||
		    (size_t)snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) >=
			    sizeof(below))
			continue;
		child = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		spared = child >= 0 && below_is_spared(look, child, below, depth + 1);
	}
	return spared;
}

static bool cgroup_is_spared(struct look *look, uint64_t cgroup, const char *path)
{
	_cleanup_close_ int dir = cgroupfs_open_id(&look->agent->cgroups, cgroup);

	return dir >= 0 && below_is_spared(look, dir, path, 0);
}

/* --- verdicts --------------------------------------------------------------------------------- */

static struct spared_verdict *find(struct spared *s, uint64_t cgroup)
{
	for (unsigned int i = 0; i < s->count; i++)
		if (s->verdicts[i].cgroup == cgroup)
			return &s->verdicts[i];
	return NULL;
}

static bool is_target(const struct agent *a, uint64_t cgroup)
{
	for (unsigned int i = 0; i < a->n_workloads; i++)
		for (unsigned int j = 0; a->workloads[i].yields && j < a->workloads[i].n_nodes; j++)
			if (a->workloads[i].nodes[j]->id == cgroup)
				return true;
	return false;
}

/* Looks, and remembers what it saw. Of an empty cgroup there is nothing to remember: who comes into
 * it is looked at when it is acted on. */
static bool judge(struct agent *a, uint64_t cgroup, const char *path, char *why, size_t size)
{
	struct look look = { .agent = a, .why = why, .size = size };
	struct spared_verdict *v;
	uint64_t begun = monotonic_ns(), took;
	bool spared = cgroup_is_spared(&look, cgroup, path);

	spared_drop(a, cgroup);
	if ((!spared && look.processes == 0) || a->spared.count == SPARED_MAX)
		return spared;
	took = monotonic_ns() - begun;
	v = &a->spared.verdicts[a->spared.count++];
	v->cgroup = cgroup;
	v->due_ns = begun + (took * REST > LOOK_NS ? took * REST : LOOK_NS);
	snprintf(v->why, sizeof(v->why), "%s", spared ? why : "");
	return spared;
}

bool target_is_spared(struct agent *a, const struct target *target, char *why, size_t size)
{
	struct look look = { .agent = a, .why = why, .size = size };
	const struct spared_verdict *v;
	char path[CLAIM_PATH_LEN];

	if (target->kind == TARGET_PROCESS)
		return (proc_read_cgroup(target->pid, path, sizeof(path)) == 0 &&
			path_is_spared(a, path, why, size)) ||
		       process_is_spared(a, target->pid, why, size);
	v = find(&a->spared, target->cgroup);
	if (v) {
		snprintf(why, size, "%s", v->why);
		return *why != '\0';
	}
	/* What is looked after at the pulse is looked at but once before that. */
	if (is_target(a, target->cgroup))
		return judge(a, target->cgroup, target->path, why, size);
	return cgroup_is_spared(&look, target->cgroup, target->path);
}

bool target_is_spared_now(void *agent, const struct target *target)
{
	struct agent *a = agent;
	char why[SPARED_WHY_LEN];

	if (target->kind == TARGET_CGROUP)
		spared_drop(a, target->cgroup);
	return target_is_spared(a, target, why, sizeof(why));
}

/* Targets that nobody has looked at yet. */
static void judge_new(struct agent *a, uint64_t until_ns)
{
	char why[SPARED_WHY_LEN];

	for (unsigned int i = 0; i < a->n_workloads; i++) {
		const struct agent_workload *w = &a->workloads[i];

		for (unsigned int j = 0; w->yields && j < w->n_nodes; j++) {
			if (a->spared.count == SPARED_MAX || monotonic_ns() >= until_ns)
				return;
			if (!find(&a->spared, w->nodes[j]->id))
				(void)judge(a, w->nodes[j]->id, w->nodes[j]->path, why,
					    sizeof(why));
		}
	}
}

/* Those whose verdict is old, the oldest first. True: one of them must be left alone. */
static bool judge_again(struct agent *a, uint64_t until_ns)
{
	struct spared *s = &a->spared;
	char why[SPARED_WHY_LEN];
	bool spared = false;

	while (s->count > 0 && monotonic_ns() < until_ns) {
		const struct spared_verdict *first = &s->verdicts[0];
		const struct tree_node *node;

		for (unsigned int i = 1; i < s->count; i++)
			if (s->verdicts[i].due_ns < first->due_ns)
				first = &s->verdicts[i];
		if (monotonic_ns() < first->due_ns)
			break;
		node = tree_find(a->tree, first->cgroup);
		if (node)
			spared |= judge(a, node->id, node->path, why, sizeof(why));
		else
			spared_drop(a, first->cgroup);
	}
	return spared;
}

void spared_build(struct agent *a)
{
	a->spared.count = 0;
	judge_new(a, UINT64_MAX);
	a->spared.checked_ns = monotonic_ns();
	holds_release_spared(a);
}

void spared_pulse(struct agent *a, uint64_t now_ns)
{
	bool spared = judge_again(a, now_ns + PULSE_NS);

	judge_new(a, now_ns + PULSE_NS);
	if (!spared && now_ns < a->spared.checked_ns + LOOK_NS)
		return;
	a->spared.checked_ns = now_ns;
	holds_release_spared(a);
}

void spared_drop(struct agent *a, uint64_t cgroup)
{
	struct spared_verdict *v = find(&a->spared, cgroup);

	if (v)
		*v = a->spared.verdicts[--a->spared.count];
}

void spared_forget(struct agent *a)
{
	a->spared.count = 0;
}
