// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/spared.h"

#include <dirent.h>
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
	else if (protect_is_builtin(&subject) && is_of_this_machine(pid))
		by = "the built-in list";
	if (!by)
		return false;
	if (!subject.comm)
		(void)proc_read_stat(pid, &st);
	snprintf(why, size, "%.15s (pid %d) is protected by %s", st.comm, (int)pid, by);
	return true;
}

/* --- a cgroup, and what is below it ----------------------------------------------------------- */

static bool procs_are_spared(struct agent *a, int dir, char *why, size_t size)
{
	int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_fclose_ FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	char line[32];

	if (!f && fd >= 0)
		close(fd);
	while (f && fgets(line, sizeof(line), f)) {
		pid_t pid = (pid_t)strtol(line, NULL, 10);

		/* 0: of a namespace that we cannot see into. */
		if (pid > 0 && process_is_spared(a, pid, why, size))
			return true;
	}
	return false;
}

static bool path_is_spared(struct agent *a, const char *path, char *why, size_t size)
{
	const struct subject subject = { .cgroup_path = path };

	if (!pattern_list_match(&a->config->protect, &subject))
		return false;
	snprintf(why, size, "%.50s is protected by the configuration", path);
	return true;
}

static bool below_is_spared(struct agent *a, int dir, const char *path, unsigned int depth,
			    char *why, size_t size)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *entries = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	bool spared = path_is_spared(a, path, why, size) || procs_are_spared(a, dir, why, size);

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
		spared = child >= 0 && below_is_spared(a, child, below, depth + 1, why, size);
	}
	return spared;
}

static bool cgroup_is_spared(struct agent *a, uint64_t cgroup, const char *path, char *why,
			     size_t size)
{
	_cleanup_close_ int dir = cgroupfs_open_id(&a->cgroups, cgroup);

	return dir >= 0 && below_is_spared(a, dir, path, 0, why, size);
}

/* --- verdicts --------------------------------------------------------------------------------- */

bool target_is_spared(struct agent *a, const struct target *target, char *why, size_t size)
{
	char path[CLAIM_PATH_LEN];

	if (target->kind == TARGET_PROCESS)
		return (proc_read_cgroup(target->pid, path, sizeof(path)) == 0 &&
			path_is_spared(a, path, why, size)) ||
		       process_is_spared(a, target->pid, why, size);
	for (unsigned int i = 0; i < a->spared.count; i++) {
		if (a->spared.verdicts[i].cgroup != target->cgroup)
			continue;
		snprintf(why, size, "%s", a->spared.verdicts[i].why);
		return *why != '\0';
	}
	return cgroup_is_spared(a, target->cgroup, target->path, why, size);
}

static void judge(struct agent *a, const struct tree_node *node)
{
	struct spared *s = &a->spared;

	if (s->count == SPARED_MAX)
		return;
	s->verdicts[s->count].cgroup = node->id;
	s->verdicts[s->count].why[0] = '\0';
	(void)cgroup_is_spared(a, node->id, node->path, s->verdicts[s->count].why,
			       sizeof(s->verdicts[0].why));
	s->count++;
}

void spared_pulse(struct agent *a, uint64_t now_ns)
{
	if (a->spared.checked_ns && now_ns < a->spared.checked_ns + LOOK_NS)
		return;
	a->spared.checked_ns = now_ns;
	a->spared.count = 0;
	for (unsigned int i = 0; i < a->n_workloads; i++)
		for (unsigned int j = 0; a->workloads[i].yields && j < a->workloads[i].n_nodes; j++)
			judge(a, a->workloads[i].nodes[j]);
	holds_release_spared(a);
}

void spared_forget(struct agent *a)
{
	a->spared.count = 0;
	a->spared.checked_ns = 0;
}
