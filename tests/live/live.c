// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"

#define MAX_CHILDREN 4096

static struct {
	struct cgroupfs fs;
	char root[64];
	char tmp[64];
	char nodes[64];
	pid_t owner; /* forked children inherit the atexit handler; only the owner cleans up */
	pid_t children[MAX_CHILDREN];
	unsigned int n_children;
	void (*cleanups[8])(void);
	unsigned int n_cleanups;
} live = { .fs.mount_fd = -1 };

const struct cgroupfs *live_fs(void)
{
	return &live.fs;
}

const char *live_root(void)
{
	return live.root;
}

const char *live_path(const char *name)
{
	static char ring[16][PATH_MAX];
	static unsigned int next;
	char *buf = ring[next++ % ARRAY_SIZE(ring)];

	snprintf(buf, PATH_MAX, "%s/%s", live.root, name);
	return buf;
}

static void file_path(char *buf, size_t size, const char *name)
{
	snprintf(buf, size, "%s%s%s%s", live.fs.mount, live.root, *name ? "/" : "", name);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (type == FTW_DP)
		rmdir(path);
	return 0;
}

static int remove_any(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

static int thaw_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (type == FTW_D) {
		_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (dir >= 0)
			(void)cgroupfs_write(dir, "cgroup.freeze", "0");
	}
	return 0;
}

void live_on_cleanup(void (*fn)(void))
{
	for (unsigned int i = 0; i < live.n_cleanups; i++)
		if (live.cleanups[i] == fn)
			return;
	if (live.n_cleanups == ARRAY_SIZE(live.cleanups))
		fail_msg("live: more than %zu cleanups", ARRAY_SIZE(live.cleanups));
	live.cleanups[live.n_cleanups++] = fn;
}

void live_cleanup(void)
{
	char path[PATH_MAX + 128];

	if (live.owner != getpid())
		return;
	for (unsigned int i = 0; i < live.n_children; i++)
		if (live.children[i] > 0)
			live_kill(live.children[i]);
	live.n_children = 0;
	while (live.n_cleanups > 0)
		live.cleanups[--live.n_cleanups]();
	if (live.root[0]) {
		file_path(path, sizeof(path), "");
		nftw(path, thaw_entry, 32, FTW_PHYS);
		/* Grandchildren die with their parents' cgroup. */
		_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (dir >= 0)
			(void)cgroupfs_write(dir, "cgroup.kill", "1");
		/* A killed task leaves its cgroup a little later. */
		for (int i = 0; i < 2000 && access(path, F_OK) == 0; i++) {
			nftw(path, remove_entry, 32, FTW_PHYS | FTW_DEPTH);
			if (access(path, F_OK) == 0)
				usleep(1000);
		}
		live.root[0] = '\0';
	}
	if (live.tmp[0]) {
		nftw(live.tmp, remove_any, 32, FTW_PHYS | FTW_DEPTH);
		live.tmp[0] = '\0';
	}
	if (live.nodes[0]) {
		nftw(live.nodes, remove_any, 32, FTW_PHYS | FTW_DEPTH);
		live.nodes[0] = '\0';
	}
	cgroupfs_close(&live.fs);
}

static void on_signal(int sig)
{
	live_cleanup();
	_exit(128 + sig);
}

int live_setup(void **state)
{
	char path[PATH_MAX + 128];
	int r;

	(void)state;
	live.owner = getpid();
	r = cgroupfs_open(&live.fs);
	if (r < 0) {
		fprintf(stderr, "live: no cgroup2 mount: %s\n", strerror(-r));
		return -1;
	}
	snprintf(live.root, sizeof(live.root), "/culprit-test-%d", (int)getpid());
	file_path(path, sizeof(path), "");
	if (mkdir(path, 0755) < 0) {
		fprintf(stderr, "live: mkdir %s: %s\n", path, strerror(errno));
		return -1;
	}
	atexit(live_cleanup);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	return 0;
}

int live_teardown(void **state)
{
	(void)state;
	live_cleanup();
	return 0;
}

uint64_t live_cgroup(const char *name)
{
	char path[PATH_MAX + 128];
	struct stat st;

	/* Never in the hierarchy's root, where others' are. */
	if (!live.root[0])
		fail_msg("live_cgroup: without live_setup()");
	file_path(path, sizeof(path), name);
	for (char *slash = strchr(path + strlen(live.fs.mount) + strlen(live.root) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			fail_msg("mkdir %s: %s", path, strerror(errno));
		*slash = '/';
	}
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		fail_msg("mkdir %s: %s", path, strerror(errno));
	if (stat(path, &st) < 0)
		fail_msg("stat %s: %s", path, strerror(errno));
	return st.st_ino;
}

void live_rmdir(const char *name)
{
	char path[PATH_MAX + 128];

	file_path(path, sizeof(path), name);
	for (int i = 0; i < 2000; i++) {
		if (rmdir(path) == 0)
			return;
		usleep(1000);
	}
	fail_msg("rmdir %s: %s", path, strerror(errno));
}

uint64_t live_cgroup_key(const char *name, const char *file, const char *key)
{
	char path[PATH_MAX + 128];
	uint64_t value = 0;
	int r;

	file_path(path, sizeof(path), name);
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		fail_msg("open %s: %s", path, strerror(errno));
	r = cgroupfs_read_key(dir, file, key, &value);
	if (r < 0)
		fail_msg("%s/%s: no %s: %s", path, file, key, strerror(-r));
	return value;
}

bool live_frozen(const char *name)
{
	return live_cgroup_key(name, "cgroup.events", "frozen") == 1;
}

bool live_is_frozen(void *name)
{
	return live_frozen(name);
}

bool live_is_thawed(void *name)
{
	return !live_frozen(name);
}

static void remember(pid_t pid)
{
	for (unsigned int i = 0; i < live.n_children; i++) {
		if (live.children[i] == 0) {
			live.children[i] = pid;
			return;
		}
	}
	if (live.n_children == MAX_CHILDREN)
		fail_msg("live: more than %d children", MAX_CHILDREN);
	live.children[live.n_children++] = pid;
}

static void forget(pid_t pid)
{
	for (unsigned int i = 0; i < live.n_children; i++)
		if (live.children[i] == pid)
			live.children[i] = 0;
}

/* In the child: joins the cgroup before anything else runs, so that no work is booked elsewhere. */
static void join(const char *cgroup)
{
	char path[PATH_MAX + 160];
	char pid[16];
	size_t n;

	if (!cgroup)
		return;
	file_path(path, sizeof(path), cgroup);
	n = strlen(path);
	snprintf(path + n, sizeof(path) - n, "/cgroup.procs");
	snprintf(pid, sizeof(pid), "%d", (int)getpid());

	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, pid, strlen(pid)) < 0) {
		fprintf(stderr, "live: cannot join %s: %s\n", path, strerror(errno));
		_exit(125);
	}
}

static pid_t start(const char *cgroup)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid < 0)
		fail_msg("fork: %s", strerror(errno));
	if (pid > 0) {
		remember(pid);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(125);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	join(cgroup);
	return 0;
}

pid_t live_fork(const char *cgroup, int (*fn)(void *arg), void *arg)
{
	pid_t pid = start(cgroup);

	if (pid == 0)
		_exit(fn(arg));
	return pid;
}

pid_t live_exec(const char *cgroup, const char *output, char *const argv[])
{
	pid_t pid = start(cgroup);

	if (pid > 0)
		return pid;
	if (output) {
		int fd = open(output, O_WRONLY | O_CREAT | O_APPEND, 0644);

		if (fd < 0)
			_exit(126);
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		if (fd > STDERR_FILENO)
			close(fd);
	}
	execvp(argv[0], argv);
	fprintf(stderr, "live: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int live_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			fail_msg("waitpid %d: %s", (int)pid, strerror(errno));
	}
	forget(pid);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void live_kill(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	kill(pid, SIGCONT);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	forget(pid);
}

int load_spin(void *unused)
{
	(void)unused;
	for (;;)
		__asm__ volatile("" ::: "memory");
}

int load_sleep(void *unused)
{
	(void)unused;
	for (;;)
		pause();
}

int load_spin_ms(void *milliseconds)
{
	uint64_t end_ns = (uint64_t)(uintptr_t)milliseconds * NSEC_PER_MSEC;
	struct timespec ts;

	do {
		for (volatile int i = 0; i < 10000; i++)
			;
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	} while ((uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec < end_ns);
	return 0;
}

bool live_until(bool (*test)(void *arg), void *arg, unsigned int timeout_ms)
{
	uint64_t end = monotonic_ns() + timeout_ms * NSEC_PER_MSEC;

	do {
		if (test(arg))
			return true;
		usleep(1000);
	} while (monotonic_ns() < end);
	return test(arg);
}

bool live_is_emulated(void)
{
	uint64_t shortest = UINT64_MAX;

	for (unsigned int i = 0; i < 100; i++) {
		uint64_t begun = monotonic_ns(), took;

		close(open("/dev/null", O_RDONLY | O_CLOEXEC));
		took = monotonic_ns() - begun;
		shortest = took < shortest ? took : shortest;
	}
	return shortest > 15 * NSEC_PER_USEC;
}

const char *live_program(const char *name)
{
	static char ring[4][PATH_MAX];
	static unsigned int next;
	char *buf = ring[next++ % ARRAY_SIZE(ring)];
	const char *build = getenv("CULPRIT_BUILD");

	snprintf(buf, PATH_MAX, "%s/%s", build ? build : "build", name);
	return buf;
}

const char *live_tmpdir(void)
{
	if (!live.tmp[0]) {
		const char *parent = getenv("TMPDIR");

		snprintf(live.tmp, sizeof(live.tmp), "%s/culprit-test-XXXXXX",
			 parent && *parent ? parent : "/tmp");
		if (!mkdtemp(live.tmp))
			fail_msg("mkdtemp %s: %s", live.tmp, strerror(errno));
	}
	return live.tmp;
}

const char *live_nodedir(void)
{
	struct statvfs st;

	if (live.nodes[0])
		return live.nodes;
	/* Where that is a file system of its own, it is often mounted nodev. */
	if (statvfs(live_tmpdir(), &st) == 0 && !(st.f_flag & ST_NODEV))
		return live_tmpdir();
	snprintf(live.nodes, sizeof(live.nodes), "/dev/culprit-test-%d", (int)getpid());
	if (mkdir(live.nodes, 0755) < 0)
		fail_msg("mkdir %s: %s", live.nodes, strerror(errno));
	return live.nodes;
}
