// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gpu_routes.h"
#include "lib/cleanup.h"

/* Closes what the open returned; 0 when it was a descriptor. */
static int shut(long fd)
{
	return fd < 0 ? -1 : close((int)fd);
}

static void beside(char *buf, size_t size, const char *node, const char *suffix)
{
	snprintf(buf, size, "%s.%s", node, suffix);
}

static int by_open(const char *node)
{
	int r = 0;

	for (int i = 0; i < OPENS; i++)
#ifdef SYS_open
		r |= shut(syscall(SYS_open, node, O_RDONLY));
#else
		r |= shut(open(node, O_RDONLY));
#endif
	return r;
}

static int by_openat(const char *node)
{
	int r = 0;

	for (int i = 0; i < OPENS; i++)
		r |= shut(syscall(SYS_openat, AT_FDCWD, node, O_RDWR | O_NONBLOCK));
	return r;
}

static int by_openat2(const char *node)
{
	struct open_how how = { .flags = O_WRONLY };
	int r = 0;

	for (int i = 0; i < OPENS; i++)
		r |= shut(syscall(SYS_openat2, AT_FDCWD, node, &how, sizeof(how)));
	return r;
}

static int by_creat(const char *node)
{
	int r = 0;

	for (int i = 0; i < OPENS; i++)
		r |= shut(creat(node, 0600));
	return r;
}

static int by_symlink(const char *node)
{
	char link[128];
	int r = 0;

	beside(link, sizeof(link), node, "link");
	r |= symlink(node, link);
	for (int i = 0; i < OPENS; i++)
		r |= shut(open(link, O_RDONLY));
	return r | unlink(link);
}

static int by_relative_path(const char *node)
{
	char dir[128], base[128];
	int r;

	snprintf(dir, sizeof(dir), "%s", node);
	snprintf(base, sizeof(base), "./%s", strrchr(node, '/') + 1);
	r = chdir(dirname(dir));
	for (int i = 0; i < OPENS; i++)
		r |= shut(open(base, O_RDONLY));
	return r;
}

static int by_dirfd(const char *node)
{
	char dir[128];
	int fd, r = 0;

	snprintf(dir, sizeof(dir), "%s", node);
	fd = open(dirname(dir), O_PATH | O_DIRECTORY);
	for (int i = 0; i < OPENS; i++)
		r |= shut(openat(fd, strrchr(node, '/') + 1, O_RDONLY));
	return r | close(fd);
}

static int by_bind_mount(const char *node)
{
	char target[128];
	int r;

	beside(target, sizeof(target), node, "bound");
	r = unshare(CLONE_NEWNS) | mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	r |= shut(open(target, O_CREAT | O_WRONLY, 0600)) |
	     mount(node, target, NULL, MS_BIND, NULL);
	for (int i = 0; i < OPENS; i++)
		r |= shut(open(target, O_RDONLY));
	return r | umount(target) | unlink(target);
}

static int by_mknod_alias(const char *node)
{
	char alias[128];
	struct stat st;
	int r;

	beside(alias, sizeof(alias), node, "alias");
	r = stat(node, &st) | mknod(alias, S_IFCHR | 0600, st.st_rdev);
	for (int i = 0; i < OPENS; i++)
		r |= shut(open(alias, O_RDONLY));
	return r | unlink(alias);
}

static int in_chroot(const char *node)
{
	char dir[128];
	int r;

	snprintf(dir, sizeof(dir), "%s", node);
	r = chroot(dirname(dir)) | chdir("/");
	for (int i = 0; i < OPENS; i++)
		r |= shut(open(strrchr(node, '/'), O_RDONLY));
	return r;
}

static int by_forked_children(const char *node)
{
	int status, r = 0;

	for (int i = 0; i < OPENS; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(shut(open(node, O_RDONLY)) ? 1 : 0);
		r |= waitpid(pid, &status, 0) != pid || status != 0;
	}
	return r;
}

static void *open_once(void *node)
{
	return (void *)(long)shut(open(node, O_RDONLY));
}

static int by_threads(const char *node)
{
	pthread_t threads[OPENS];
	void *result;
	int r = 0;

	for (int i = 0; i < OPENS; i++)
		r |= pthread_create(&threads[i], NULL, open_once, (void *)node);
	for (int i = 0; i < OPENS; i++)
		r |= pthread_join(threads[i], &result) | (int)(long)result;
	return r;
}

static int through_proc_fd(const char *node)
{
	int r = 0, path = open(node, O_PATH);
	char again[64];

	snprintf(again, sizeof(again), "/proc/self/fd/%d", path);
	for (int i = 0; i < OPENS; i++)
		r |= shut(open(again, O_RDONLY));
	return r | close(path);
}

static int by_handle(const char *node)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} h = { .handle.handle_bytes = MAX_HANDLE_SZ };
	char dir[128];
	int mount_id, fd, r;

	snprintf(dir, sizeof(dir), "%s", node);
	fd = open(dirname(dir), O_RDONLY | O_DIRECTORY);
	r = name_to_handle_at(AT_FDCWD, node, &h.handle, &mount_id, 0);
	for (int i = 0; r == 0 && i < OPENS; i++)
		r |= shut(open_by_handle_at(fd, &h.handle, O_RDONLY));
	return r | close(fd);
}

static int by_shell(const char *node)
{
	char script[256];

	snprintf(script, sizeof(script), "exec 8<%s; exec 8<&-; : >%s; : <>%s", node, node, node);
	return system(script);
}

#ifdef __x86_64__
/* As a 32-bit program would: the 32-bit entry takes 32-bit pointers. */
static int by_32bit_syscall(const char *node)
{
	char *path = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	int r = 0;

	strcpy(path, node);
	for (int i = 0; i < OPENS; i++) {
		long fd;

		__asm__ volatile("int $0x80"
				 : "=a"(fd)
				 : "a"(5L /* open */), "b"(path), "c"((long)O_RDONLY), "d"(0L)
				 : "memory", "r8", "r9", "r10", "r11");
		r |= shut((int)fd);
	}
	return r;
}
#endif

static int while_signals_arrive(const char *node)
{
	int r = 0;

	signal(SIGUSR1, SIG_IGN);
	for (int i = 0; i < OPENS; i++) {
		kill(getpid(), SIGUSR1);
		r |= shut(open(node, O_RDONLY));
	}
	return r;
}

const struct gpu_route gpu_routes[] = {
	{ "open", by_open },
	{ "openat", by_openat },
	{ "openat2", by_openat2 },
	{ "creat", by_creat },
	{ "symlink", by_symlink },
	{ "relative_path", by_relative_path },
	{ "dirfd", by_dirfd },
	{ "bind_mount", by_bind_mount },
	{ "mknod_alias", by_mknod_alias },
	{ "chroot", in_chroot },
	{ "forked_children", by_forked_children },
	{ "threads", by_threads },
	{ "proc_fd", through_proc_fd },
	{ "file_handle", by_handle },
	{ "shell_redirections", by_shell },
#ifdef __x86_64__
	{ "32bit_syscall", by_32bit_syscall },
#endif
	{ "open_while_signals_arrive", while_signals_arrive },
	{ NULL, NULL },
};

static int fails_with(long result, int error)
{
	return result >= 0 || errno != error;
}

static int denied(const char *node)
{
	char secret[128];
	struct stat st;
	int r;

	beside(secret, sizeof(secret), node, "secret");
	/* It stays, because whoever is denied cannot remove it either. */
	r = stat(node, &st);
	r |= mknod(secret, S_IFCHR | 0600, st.st_rdev) < 0 && errno != EEXIST;
	r |= setresuid(65534, 65534, 65534);
	return r | fails_with(open(secret, O_RDONLY), EACCES);
}

/* The number is watched (see the test), no driver has it. */
static int without_driver(const char *node)
{
	char none[128];

	beside(none, sizeof(none), node, "none");
	return fails_with(open(none, O_RDONLY), ENXIO);
}

static int refused_flag(const char *node)
{
	/* Refused after the driver's open has succeeded, and that before the path is walked. */
	return fails_with(open(node, O_RDONLY | O_DIRECT), EINVAL) |
	       fails_with(open(node, O_RDONLY | O_DIRECTORY), ENOTDIR);
}

static int path_only(const char *node)
{
	return shut(open(node, O_PATH));
}

static int asked_only(const char *node)
{
	return access(node, R_OK | W_OK) | faccessat(AT_FDCWD, node, R_OK, AT_EACCESS);
}

static int looked_at(const char *node)
{
	struct stat st;

	return stat(node, &st) | chmod(node, 0666);
}

static int made(const char *node)
{
	char alias[128];
	struct stat st;

	beside(alias, sizeof(alias), node, "made");
	return stat(node, &st) | mknod(alias, S_IFCHR | 0600, st.st_rdev) | unlink(alias);
}

/* Checks permission as an open does, in a syscall that the programs do not know. */
static int watched(const char *node)
{
	int fd = inotify_init1(IN_CLOEXEC);

	return inotify_add_watch(fd, node, IN_OPEN) < 0 || close(fd);
}

static int another_minor(const char *node)
{
	(void)node;
	return shut(open("/dev/null", O_RDWR)) | shut(open("/dev/zero", O_RDONLY));
}

static int executed(const char *node)
{
	char *const argv[] = { (char *)node, NULL };

	return fails_with(execv(node, argv), EACCES);
}

const struct gpu_route gpu_non_opens[] = {
	{ "open_denied", denied },
	{ "open_without_driver", without_driver },
	{ "open_with_refused_flag", refused_flag },
	{ "open_path", path_only },
	{ "access", asked_only },
	{ "stat", looked_at },
	{ "mknod", made },
	{ "inotify_watch", watched },
	{ "another_minor", another_minor },
	{ "execve", executed },
	{ NULL, NULL },
};
