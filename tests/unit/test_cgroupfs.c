// SPDX-License-Identifier: GPL-2.0-or-later
/* Paths below the mount, on an ordinary directory that stands for it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/cgroupfs.h"
#include "lib/cleanup.h"

struct fixture {
	char dir[64];
	struct cgroupfs fs;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	*state = f;
	strcpy(f->dir, "/tmp/culprit-cgroupfs-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	f->fs.mount_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->fs.mount_fd < 0)
		return -1;
	return mkdirat(f->fs.mount_fd, "a", 0700) || mkdirat(f->fs.mount_fd, "a/b", 0700) ||
			       symlinkat("a", f->fs.mount_fd, "link")
		       ? -1
		       : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlinkat(f->fs.mount_fd, "link", 0);
	unlinkat(f->fs.mount_fd, "a/b", AT_REMOVEDIR);
	unlinkat(f->fs.mount_fd, "a", AT_REMOVEDIR);
	rmdir(f->dir);
	cgroupfs_close(&f->fs);
	free(f);
	return 0;
}

/* The id of what the path leads to, or -errno. */
static int64_t id_of(const struct fixture *f, const char *path)
{
	_cleanup_close_ int fd = cgroupfs_open_path(&f->fs, path);

	return fd < 0 ? fd : (int64_t)cgroupfs_id(fd);
}

static int64_t id_in(const struct fixture *f, const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(f->fs.mount_fd, name, &st, 0), 0);
	return (int64_t)st.st_ino;
}

static void a_path_leads_to_its_directory(void **state)
{
	const struct fixture *f = *state;

	assert_int_equal(id_of(f, "/"), id_in(f, "."));
	assert_int_equal(id_of(f, ""), id_in(f, "."));
	assert_int_equal(id_of(f, "/a"), id_in(f, "a"));
	assert_int_equal(id_of(f, "/a/b"), id_in(f, "a/b"));
	assert_int_equal(id_of(f, "a//b/"), id_in(f, "a/b"));
}

static void it_never_leaves_the_mount(void **state)
{
	const struct fixture *f = *state;

	assert_int_equal(id_of(f, "/.."), -EXDEV);
	assert_int_equal(id_of(f, "/a/../a"), -EXDEV);
	assert_true(id_of(f, "/link") == -ENOTDIR || id_of(f, "/link") == -ELOOP);
	assert_true(id_of(f, "/link/b") < 0);
}

static void what_is_mounted_over_it_is_not_it(void **state)
{
	/* /proc is always something else than /. */
	struct cgroupfs fs = { .mount_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) };

	(void)state;
	assert_true(fs.mount_fd >= 0);
	assert_int_equal(cgroupfs_open_path(&fs, "/proc"), -EXDEV);
	cgroupfs_close(&fs);
}

static void what_is_not_there_is_said_to_be_so(void **state)
{
	const struct fixture *f = *state;
	char name[NAME_MAX + 2];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(id_of(f, "/a/c"), -ENOENT);
	assert_int_equal(id_of(f, name), -ENAMETOOLONG);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_path_leads_to_its_directory),
		T(it_never_leaves_the_mount),
		T(what_is_mounted_over_it_is_not_it),
		T(what_is_not_there_is_said_to_be_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
