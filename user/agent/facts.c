// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/facts.h"

#include <dirent.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "lib/procfs.h"

struct protect_rules facts_rules(const struct agent *a)
{
	return (struct protect_rules){
		.only = a->config->only,
		.protect = &a->config->protect,
		.prefer = &a->config->prefer,
		.avoid = &a->config->avoid,
	};
}

/* The agent, its guardian, and whoever started them, up to pid 1. */
static bool is_own(const struct agent *a, pid_t pid)
{
	struct proc_stat st;

	if (pid == guardian_pid(a->guardian))
		return true;
	for (pid_t p = getpid(); p > 0;) {
		if (p == pid)
			return true;
		if (p == 1 || proc_read_stat(p, &st) < 0)
			return false;
		p = st.ppid;
	}
	return false;
}

/* A process that answers for a file system or a block device: freezing it freezes whoever uses
 * that, the agent perhaps included. It shows by the control device that it holds open. */
static bool serves_io(pid_t pid)
{
	static const char *const devices[] = { "/dev/fuse", "/dev/nbd*", "/dev/ublkc*",
					       "/dev/cuse" };
	char path[64];
	_cleanup_closedir_ DIR *dir = NULL;
	const struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		char link[PATH_MAX];
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);

		if (n < 0)
			continue;
		link[n] = '\0';
		for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
			if (fnmatch(devices[i], link, FNM_PATHNAME) == 0)
				return true;
	}
	return false;
}

static uint32_t gid_of(pid_t pid)
{
	char path[64], line[256];
	_cleanup_fclose_ FILE *f = NULL;
	unsigned int gid;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Gid: %u", &gid) == 1)
			return gid;
	return (uint32_t)-1;
}

/* systemd-oomd's marks, which count only on cgroups that are root's: others could mark their own.
 */
static void read_marks(const struct agent *a, uint64_t cgroup, struct protect_facts *facts)
{
	_cleanup_close_ int dir = cgroupfs_open_id(&a->cgroups, cgroup);
	struct stat st;
	char value[8];

	if (dir < 0 || fstat(dir, &st) < 0 || st.st_uid != 0)
		return;
	facts->oomd_omit =
		fgetxattr(dir, "user.oomd_omit", value, sizeof(value)) > 0 && value[0] == '1';
	facts->oomd_avoid =
		fgetxattr(dir, "user.oomd_avoid", value, sizeof(value)) > 0 && value[0] == '1';
}

static void read_path(struct agent *a, uint64_t cgroup, struct facts *out)
{
	const struct tree_node *node = a->tree ? tree_find(a->tree, cgroup) : NULL;

	if (node)
		snprintf(out->path, sizeof(out->path), "%s", node->path);
	else if (cgroupfs_path_of(&a->cgroups, cgroup, out->path, sizeof(out->path)) < 0)
		return;
	out->facts.subject.cgroup_path = out->path;
}

void facts_of_process(struct agent *a, const struct culprit_process *p, struct facts *out)
{
	pid_t pid = (pid_t)p->tgid;

	out->facts = (struct protect_facts){
		.pid = pid,
		.kernel_thread = p->flags & CULPRIT_PROCESS_KERNEL,
		.traced = p->flags & CULPRIT_PROCESS_TRACED,
		.stopped = p->flags & CULPRIT_PROCESS_STOPPED,
		.oom_score_adj = p->oom_score_adj,
		.own = is_own(a, pid),
	};
	memcpy(out->comm, p->comm, sizeof(p->comm));
	out->comm[sizeof(p->comm)] = '\0';
	out->facts.subject.comm = out->comm;
	out->facts.subject.known_ids = true;
	out->facts.subject.uid = p->uid;
	out->facts.subject.gid = gid_of(pid);
	if (proc_read_exe(pid, out->exe, sizeof(out->exe)) == 0)
		out->facts.subject.exe = out->exe;
	read_path(a, p->cgroup, out);
	read_marks(a, p->cgroup, &out->facts);
	if (!out->facts.kernel_thread)
		out->facts.serves_io = serves_io(pid);
}

static bool is_session(const char *path)
{
	const char *name = strrchr(path, '/');

	name = name ? name + 1 : path;
	return fnmatch("session-*.scope", name, 0) == 0 || fnmatch("user@*.service", name, 0) == 0;
}

struct below {
	const char *path;
	bool session;
};

static void look_below(void *user, struct tree_node *node)
{
	struct below *b = user;

	if (!b->session && cgroup_path_within(node->path, b->path) && is_session(node->path))
		b->session = true;
}

void facts_of_cgroup(struct agent *a, uint64_t cgroup, const struct culprit_process *list,
		     size_t count, struct facts *out)
{
	struct protect_rules rules = facts_rules(a);
	struct below below;

	out->facts = (struct protect_facts){ 0 };
	read_path(a, cgroup, out);
	read_marks(a, cgroup, &out->facts);
	if (!out->facts.subject.cgroup_path)
		return;
	below = (struct below){ .path = out->path };
	if (a->tree)
		tree_each(a->tree, look_below, &below);
	out->facts.session = below.session;
	for (size_t i = 0; i < count; i++) {
		const struct tree_node *node = a->tree ? tree_find(a->tree, list[i].cgroup) : NULL;
		struct facts member;

		if (!node || !cgroup_path_within(node->path, out->path))
			continue;
		facts_of_process(a, &list[i], &member);
		if (member.facts.own)
			out->facts.holds_own = true;
		if (protect_refusal(&rules, &member.facts))
			out->facts.holds_protected = true;
	}
}
