// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The pins on a bpffs of their own and on /sys/fs/bpf. The program runs in a mount namespace of its
 * own, so that mounting and unmounting there is seen by nobody else and gone with it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "live.h"
#include "sense/pins.h"

static char private_dir[PATH_MAX]; /* on a bpffs mounted in the test's directory */

static int setup(void **state)
{
	char mountpoint[PATH_MAX - 16];

	if (live_setup(state) < 0)
		return -1;
	snprintf(mountpoint, sizeof(mountpoint), "%s/bpffs", live_tmpdir());
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mkdir(mountpoint, 0700) < 0 || mount("bpf", mountpoint, "bpf", 0, NULL) < 0) {
		fprintf(stderr, "private bpffs: %s\n", strerror(errno));
		return -1;
	}
	snprintf(private_dir, sizeof(private_dir), "%s/a/culprit", mountpoint);
	return 0;
}

static int teardown(void **state)
{
	char mountpoint[PATH_MAX];

	snprintf(mountpoint, sizeof(mountpoint), "%s/bpffs", live_tmpdir());
	(void)umount2(mountpoint, MNT_DETACH);
	return live_teardown(state);
}

/* An array of one u32, which is enough to tell one map from another. */
static int make_map(unsigned int value)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "pin_test", 4, 4, 1, NULL);
	unsigned int zero = 0;

	assert_true(fd >= 0);
	assert_int_equal(bpf_map_update_elem(fd, &zero, &value, 0), 0);
	return fd;
}

/* What the map pinned there holds, or -errno. */
static int pinned_value(const char *dir, const char *name)
{
	char path[PATH_MAX + 64];
	unsigned int zero = 0, value = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, name);

	_cleanup_close_ int fd = bpf_obj_get(path);

	if (fd < 0)
		return -errno;
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &value), 0);
	return (int)value;
}

static void is_pinned_and_removed(const char *dir)
{
	struct pins *pins;
	struct stat st;
	_cleanup_close_ int map = make_map(7);

	assert_int_equal(pins_open(&pins, dir), 0);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(pins_add(pins, map, "losses"), 0);
	assert_int_equal(pinned_value(dir, "losses"), 7);
	assert_int_equal(pinned_value(dir, "losses_new"), -ENOENT);
	pins_close(pins);
	assert_int_equal(access(dir, F_OK), -1);
	assert_int_equal(errno, ENOENT);
}

static void pins_on_a_private_bpffs_are_gone_after_close(void **state)
{
	(void)state;
	is_pinned_and_removed(private_dir);
}

static void bpffs_is_mounted_where_nothing_is(void **state)
{
	(void)state;
	while (umount2("/sys/fs/bpf", MNT_DETACH) == 0)
		;
	is_pinned_and_removed("/sys/fs/bpf/culprit-test");
	assert_int_equal(umount2("/sys/fs/bpf", MNT_DETACH), 0);
}

static void bpffs_is_not_mounted_over_another_file_system(void **state)
{
	struct pins *pins;

	(void)state;
	while (umount2("/sys/fs/bpf", MNT_DETACH) == 0)
		;
	assert_int_equal(mount("tmpfs", "/sys/fs/bpf", "tmpfs", 0, NULL), 0);
	assert_int_equal(pins_open(&pins, "/sys/fs/bpf/culprit-test"), -ENOTSUP);
	assert_int_equal(umount2("/sys/fs/bpf", MNT_DETACH), 0);
}

static void no_bpffs_is_said_and_nothing_is_made(void **state)
{
	char dir[PATH_MAX];
	struct pins *pins;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/not-bpffs/culprit", live_tmpdir());
	assert_int_equal(pins_open(&pins, dir), -ENOTSUP);
	assert_int_equal(access(dir, F_OK), -1);
	snprintf(dir, sizeof(dir), "%s/not-bpffs", live_tmpdir());
	assert_int_equal(access(dir, F_OK), -1);
}

static void a_map_pinned_again_replaces_the_first(void **state)
{
	struct pins *pins;
	_cleanup_close_ int first = make_map(1);
	_cleanup_close_ int second = make_map(2);

	(void)state;
	assert_int_equal(pins_open(&pins, private_dir), 0);
	assert_int_equal(pins_add(pins, first, "swap_cgroup"), 0);
	assert_int_equal(pins_add(pins, second, "swap_cgroup"), 0);
	assert_int_equal(pinned_value(private_dir, "swap_cgroup"), 2);
	pins_close(pins);
}

static void a_name_that_nobody_would_remove_is_refused(void **state)
{
	struct pins *pins;
	_cleanup_close_ int map = make_map(1);

	(void)state;
	assert_int_equal(pins_open(&pins, private_dir), 0);
	assert_int_equal(pins_add(pins, map, "something_else"), -EINVAL);
	pins_close(pins);
}

/* Another agent, that pins one map and then lives on until it is killed. */
static int other_agent(void *ready)
{
	struct pins *pins;

	if (pins_open(&pins, private_dir) < 0 || pins_add(pins, make_map(9), "losses") < 0 ||
	    write(*(int *)ready, "", 1) != 1)
		return 1;
	return load_sleep(NULL);
}

static pid_t start_other_agent(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = live_fork(NULL, other_agent, &ready[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void a_second_agent_is_kept_out(void **state)
{
	struct pins *pins;
	pid_t other = start_other_agent();

	(void)state;
	assert_int_equal(pins_open(&pins, private_dir), -EBUSY);
	assert_int_equal(pins_remove_stale(private_dir), -EBUSY);
	assert_int_equal(pinned_value(private_dir, "losses"), 9);
	live_kill(other);
	assert_int_equal(pins_remove_stale(private_dir), 0);
}

static void pins_of_a_killed_agent_are_removed_without_it(void **state)
{
	pid_t other = start_other_agent();

	(void)state;
	live_kill(other);
	assert_int_equal(pinned_value(private_dir, "losses"), 9);
	assert_int_equal(pins_remove_stale(private_dir), 0);
	assert_int_equal(access(private_dir, F_OK), -1);
	assert_int_equal(pins_remove_stale(private_dir), -ENOENT);
}

static void the_next_agent_does_not_inherit_stale_pins(void **state)
{
	struct pins *pins;
	pid_t other = start_other_agent();

	(void)state;
	live_kill(other);
	assert_int_equal(pins_open(&pins, private_dir), 0);
	assert_int_equal(pinned_value(private_dir, "losses"), -ENOENT);
	pins_close(pins);
}

static void what_others_pinned_there_stays(void **state)
{
	char path[PATH_MAX + 64];
	struct pins *pins;
	_cleanup_close_ int map = make_map(3);

	(void)state;
	assert_int_equal(pins_open(&pins, private_dir), 0);
	snprintf(path, sizeof(path), "%s/theirs", private_dir);
	assert_int_equal(bpf_obj_pin(map, path), 0);
	pins_close(pins);
	assert_int_equal(pins_remove_stale(private_dir), 0);
	assert_int_equal(pinned_value(private_dir, "theirs"), 3);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(pins_remove_stale(private_dir), 0);
}

static void files_outside_of_a_bpffs_are_not_touched(void **state)
{
	char path[PATH_MAX + 16];

	(void)state;
	snprintf(path, sizeof(path), "%s/losses", live_tmpdir());
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	assert_int_equal(pins_remove_stale(live_tmpdir()), -ENOTSUP);
	assert_int_equal(access(path, F_OK), 0);
}

static void a_directory_of_another_user_is_not_trusted(void **state)
{
	struct pins *pins;

	(void)state;
	assert_int_equal(mkdir(private_dir, 0700), 0);
	assert_int_equal(chown(private_dir, 65534, 65534), 0);
	assert_int_equal(pins_open(&pins, private_dir), -EPERM);
	assert_int_equal(rmdir(private_dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pins_on_a_private_bpffs_are_gone_after_close),
		cmocka_unit_test(bpffs_is_mounted_where_nothing_is),
		cmocka_unit_test(bpffs_is_not_mounted_over_another_file_system),
		cmocka_unit_test(no_bpffs_is_said_and_nothing_is_made),
		cmocka_unit_test(a_map_pinned_again_replaces_the_first),
		cmocka_unit_test(a_name_that_nobody_would_remove_is_refused),
		cmocka_unit_test(a_second_agent_is_kept_out),
		cmocka_unit_test(pins_of_a_killed_agent_are_removed_without_it),
		cmocka_unit_test(the_next_agent_does_not_inherit_stale_pins),
		cmocka_unit_test(what_others_pinned_there_stays),
		cmocka_unit_test(files_outside_of_a_bpffs_are_not_touched),
		cmocka_unit_test(a_directory_of_another_user_is_not_trusted),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
