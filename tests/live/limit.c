// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "limit.h"
#include "live.h"

/* The v1 group; "" when the v2 hierarchy has the controller. */
static char v1_dir[PATH_MAX + 64];

static void remove_v1(void)
{
	/* A killed task leaves its cgroup a little later. */
	for (int i = 0; v1_dir[0] && i < 2000 && rmdir(v1_dir) < 0 && errno == EBUSY; i++)
		usleep(1000);
	v1_dir[0] = '\0';
}

static int put(const char *dir, const char *name, const char *text)
{
	_cleanup_close_ int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return dir_fd < 0 ? -errno : cgroupfs_write(dir_fd, name, text);
}

static bool find_v1(char *dir, size_t size)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	const struct mntent *m;
	bool found = false;

	while (mounts && !found && (m = getmntent(mounts))) {
		found = strcmp(m->mnt_type, "cgroup") == 0 && hasmntopt(m, "memory");
		if (found)
			snprintf(dir, size, "%s", m->mnt_dir);
	}
	if (mounts)
		endmntent(mounts);
	return found;
}

/* Now and then the kernel finds nothing to reclaim in a small group whose pages are all in use or
 * on their way out, and kills, although there is swap. It shall kill somebody whom no test misses.
 */
static int scapegoat(void *unused)
{
	(void)unused;
	if (live_limit_join() < 0 || put("/proc/self", "oom_score_adj", "1000") < 0)
		return 1;
	return load_sleep(NULL);
}

static int keep_scapegoat(void *unused)
{
	(void)unused;
	for (;;) {
		pid_t pid = fork();

		if (pid < 0)
			return 1;
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(scapegoat(NULL));
		}
		waitpid(pid, NULL, 0);
		usleep(1000);
	}
}

static void limit_v1(const char *mount, const char *bytes)
{
	snprintf(v1_dir, sizeof(v1_dir), "%s/culprit-test-%d", mount, (int)getpid());
	if (mkdir(v1_dir, 0755) < 0 && errno != EEXIST)
		fail_msg("mkdir %s: %s", v1_dir, strerror(errno));
	live_on_cleanup(remove_v1);
	if (put(v1_dir, "memory.limit_in_bytes", bytes) < 0)
		fail_msg("%s: no memory limit can be set", v1_dir);
	live_fork(NULL, keep_scapegoat, NULL);
}

static void limit_v2(const char *cgroup, const char *bytes)
{
	char dir[PATH_MAX + 128];

	if (put(live_fs()->mount, "cgroup.subtree_control", "+memory") < 0)
		fail_msg("no memory controller on this machine");
	snprintf(dir, sizeof(dir), "%s%s", live_fs()->mount, live_root());
	if (put(dir, "cgroup.subtree_control", "+memory") < 0)
		fail_msg("%s: the memory controller cannot be given down", dir);
	snprintf(dir, sizeof(dir), "%s%s", live_fs()->mount, live_path(cgroup));
	if (put(dir, "memory.max", bytes) < 0)
		fail_msg("%s: no memory limit can be set", dir);
}

void live_limit(const char *cgroup, unsigned int mebibytes)
{
	char mount[PATH_MAX], bytes[32];

	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)mebibytes << 20);
	if (find_v1(mount, sizeof(mount)))
		limit_v1(mount, bytes);
	else
		limit_v2(cgroup, bytes);
}

int live_limit_join(void)
{
	return v1_dir[0] ? put(v1_dir, "cgroup.procs", "0") : 0;
}
