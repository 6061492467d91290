// SPDX-License-Identifier: GPL-2.0-or-later
/* The ledger as a file: slots, locks, and the directory that it may live in. Needs no root. */
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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "act/ledger.h"

struct fixture {
	char base[64];
	char dir[96];
	char file[128];
	char what[256];
	pid_t holder;
	struct ledger *ledger;
};

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->base, sizeof(f->base), "/tmp/culprit-unit-XXXXXX");
	if (!mkdtemp(f->base))
		return -1;
	snprintf(f->dir, sizeof(f->dir), "%s/state", f->base);
	snprintf(f->file, sizeof(f->file), "%s/ledger", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ledger_close(f->ledger);
	nftw(f->base, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static int open_again(struct fixture *f)
{
	ledger_close(f->ledger);
	f->ledger = NULL;
	return ledger_open(&f->ledger, f->dir, &f->holder, f->what, sizeof(f->what));
}

static struct claim claim_of(uint64_t id)
{
	return (struct claim){ .id = id,
			       .holds = true,
			       .target = { .kind = TARGET_CGROUP, .cgroup = id + 1000 } };
}

static unsigned int count_claims(struct fixture *f, unsigned int *damaged)
{
	static struct claim claims[CLAIM_MAX];
	int n = ledger_read(f->ledger, claims, CLAIM_MAX, damaged);

	assert_true(n >= 0);
	return (unsigned int)n;
}

static void it_makes_its_directory_and_a_private_file(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(open_again(f), 0);
	assert_int_equal(stat(f->dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(stat(f->file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, CLAIM_MAX * LEDGER_SLOT_SIZE);
	/* Its pages exist: a disk that fills up later does not matter. */
	assert_true(st.st_blocks * 512 >= st.st_size);
}

static void claims_survive_closing(void **state)
{
	struct fixture *f = *state;
	struct claim first = claim_of(1), second = claim_of(2);
	unsigned int damaged;

	assert_int_equal(open_again(f), 0);
	assert_int_equal(ledger_next_id(f->ledger), 1);
	assert_int_equal(ledger_write(f->ledger, &first), 0);
	assert_int_equal(ledger_write(f->ledger, &second), 0);
	assert_int_equal(ledger_clear(f->ledger, 1), 0);
	assert_int_equal(open_again(f), 0);
	assert_int_equal(count_claims(f, &damaged), 1);
	assert_int_equal(damaged, 0);
	assert_int_equal(ledger_next_id(f->ledger), 3);
	assert_int_equal(ledger_clear(f->ledger, 1), -ENOENT);
	assert_int_equal(ledger_clear(f->ledger, 0), -ENOENT);
}

static void one_that_was_removed_takes_no_more_holds(void **state)
{
	struct fixture *f = *state;
	struct claim first = claim_of(1), second = claim_of(2);

	assert_int_equal(open_again(f), 0);
	assert_true(ledger_in_place(f->ledger));
	assert_int_equal(ledger_write(f->ledger, &first), 0);
	assert_int_equal(unlink(f->file), 0);
	assert_false(ledger_in_place(f->ledger));
	assert_int_equal(ledger_write(f->ledger, &second), -EIDRM);
	/* What is held can still be let go. */
	first.holds = false;
	assert_int_equal(ledger_write(f->ledger, &first), 0);
	assert_int_equal(ledger_clear(f->ledger, 1), 0);
}

static void writing_the_same_id_again_replaces_it(void **state)
{
	struct fixture *f = *state;
	struct claim claim = claim_of(5);
	unsigned int damaged;

	assert_int_equal(open_again(f), 0);
	assert_int_equal(ledger_write(f->ledger, &claim), 0);
	claim.holds = false;
	assert_int_equal(ledger_write(f->ledger, &claim), 0);
	assert_int_equal(count_claims(f, &damaged), 1);
}

static void a_full_ledger_refuses(void **state)
{
	struct fixture *f = *state;
	struct claim claim;

	assert_int_equal(open_again(f), 0);
	for (uint64_t id = 1; id <= CLAIM_MAX; id++) {
		claim = claim_of(id);
		assert_int_equal(ledger_write(f->ledger, &claim), 0);
	}
	claim = claim_of(CLAIM_MAX + 1);
	assert_int_equal(ledger_write(f->ledger, &claim), -ENOSPC);
	assert_int_equal(ledger_clear(f->ledger, 9), 0);
	assert_int_equal(ledger_write(f->ledger, &claim), 0);
}

/* As a guardian leaves it that has undone everything. */
static void mark_all(struct fixture *f)
{
	enum ledger_fate fates[CLAIM_MAX];

	for (unsigned int i = 0; i < CLAIM_MAX; i++)
		fates[i] = LEDGER_UNDONE;
	assert_int_equal(ledger_settle(f->ledger, fates), 0);
}

static void count_undone(void *user, const struct claim *claim, int error)
{
	unsigned int *n = user;

	*n += claim->undone && error == 0;
}

static void what_a_guardian_undid_is_told_once_and_is_no_claim(void **state)
{
	struct cgroupfs nowhere = { .mount_fd = -1 };
	struct fixture *f = *state;
	struct claim first = claim_of(1), second = claim_of(2);
	unsigned int damaged, told = 0;

	assert_int_equal(open_again(f), 0);
	assert_int_equal(ledger_write(f->ledger, &first), 0);
	assert_int_equal(ledger_write(f->ledger, &second), 0);
	mark_all(f);
	assert_int_equal(open_again(f), 0);
	assert_int_equal(count_claims(f, &damaged), 0);
	assert_int_equal(damaged, 0);
	assert_int_equal(ledger_left(f->ledger), 0);
	/* An agent that dies before it has told of them leaves them for the next one. */
	assert_true(ledger_was_left(f->ledger, 0));
	assert_int_equal(ledger_next_id(f->ledger), 3);
	assert_int_equal(ledger_release(f->ledger, &nowhere, count_undone, &told), 0);
	assert_int_equal(told, 2);
	assert_int_equal(ledger_release(f->ledger, &nowhere, count_undone, &told), 0);
	assert_int_equal(open_again(f), 0);
	assert_int_equal(ledger_release(f->ledger, &nowhere, count_undone, &told), 0);
	assert_int_equal(told, 2);
}

static void what_is_only_to_be_told_of_gives_way_to_a_claim(void **state)
{
	struct fixture *f = *state;
	struct claim claim;
	unsigned int damaged;

	assert_int_equal(open_again(f), 0);
	for (uint64_t id = 1; id <= CLAIM_MAX; id++) {
		claim = claim_of(id);
		assert_int_equal(ledger_write(f->ledger, &claim), 0);
	}
	mark_all(f);
	assert_int_equal(open_again(f), 0);
	for (uint64_t id = 1; id <= CLAIM_MAX; id++) {
		claim = claim_of(CLAIM_MAX + id);
		assert_int_equal(ledger_write(f->ledger, &claim), 0);
	}
	assert_int_equal(count_claims(f, &damaged), CLAIM_MAX);
	claim = claim_of(2 * CLAIM_MAX + 1);
	assert_int_equal(ledger_write(f->ledger, &claim), -ENOSPC);
}

static void a_damaged_slot_is_counted_and_the_rest_is_read(void **state)
{
	struct fixture *f = *state;
	struct claim claim;
	unsigned int damaged;
	int fd;

	assert_int_equal(open_again(f), 0);
	for (uint64_t id = 1; id <= 3; id++) {
		claim = claim_of(id);
		assert_int_equal(ledger_write(f->ledger, &claim), 0);
	}
	assert_int_equal(pwrite(ledger_fd(f->ledger), "garbage", 7, LEDGER_SLOT_SIZE + 3), 7);
	assert_int_equal(open_again(f), 0);
	assert_int_equal(count_claims(f, &damaged), 2);
	assert_int_equal(damaged, 1);

	/* Its slot is not written over: --release tells of it first. */
	claim = claim_of(4);
	assert_int_equal(ledger_write(f->ledger, &claim), 0);
	assert_int_equal(count_claims(f, &damaged), 3);
	assert_int_equal(damaged, 1);

	/* A file that was cut in the middle of a slot. */
	ledger_close(f->ledger);
	f->ledger = NULL;
	fd = open(f->file, O_RDWR);
	assert_int_equal(ftruncate(fd, 2 * LEDGER_SLOT_SIZE + 50), 0);
	close(fd);
	assert_int_equal(open_again(f), 0);
	assert_int_equal(count_claims(f, &damaged), 1);
	assert_int_equal(damaged, 2);
}

static void a_second_agent_learns_the_pid_of_the_first(void **state)
{
	struct fixture *f = *state;
	int ready[2], status;
	char c;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		c = open_again(f) == 0;
		(void)!write(ready[1], &c, 1);
		pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(c, 1);
	assert_int_equal(open_again(f), -EBUSY);
	assert_int_equal(f->holder, pid);

	/* And its end is the end of the lock, without any cleaning up. */
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	assert_int_equal(open_again(f), 0);
	close(ready[0]);
	close(ready[1]);
}

/* Opens the ledger as an agent, forks a guardian that waits for `go`, and dies. */
static void leave_a_late_guardian(struct fixture *f, int go, int answer)
{
	char byte;
	int r;

	if (open_again(f) < 0)
		_exit(1);
	if (fork() > 0)
		_exit(0);
	(void)!read(go, &byte, 1);
	r = ledger_lock_guardian(f->ledger);
	(void)!write(answer, &r, sizeof(r));
	_exit(0);
}

static void a_guardian_that_comes_too_late_leaves_the_ledger_to_the_next_agent(void **state)
{
	struct fixture *f = *state;
	int go[2], answer[2], r = 0;
	pid_t pid;

	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	assert_int_equal(pipe2(answer, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0)
		leave_a_late_guardian(f, go[0], answer[1]);
	assert_int_equal(waitpid(pid, &r, 0), pid);
	assert_int_equal(r, 0);
	assert_int_equal(open_again(f), 0);
	assert_int_equal(write(go[1], "", 1), 1);
	assert_int_equal(read(answer[0], &r, sizeof(r)), sizeof(r));
	assert_int_equal(r, -EBUSY);
	for (int i = 0; i < 2; i++) {
		close(go[i]);
		close(answer[i]);
	}
}

/* As the late one above, while it looks who has the ledger. */
static void lock_for_a_moment(const char *file, int ready)
{
	struct flock lock = { .l_type = F_WRLCK, .l_start = 1, .l_len = 1 };
	int fd = open(file, O_RDWR | O_CLOEXEC);

	if (fd < 0 || fcntl(fd, F_SETLK, &lock) < 0)
		_exit(1);
	(void)!write(ready, "", 1);
	usleep(50 * 1000);
	_exit(0);
}

static void a_guardian_waits_for_one_that_comes_too_late(void **state)
{
	struct fixture *f = *state;
	int ready[2];
	pid_t pid;
	char c;

	assert_int_equal(open_again(f), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0)
		lock_for_a_moment(f->file, ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(ledger_lock_guardian(f->ledger), 0);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	close(ready[1]);
}

static void a_directory_that_others_can_write_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mkdir(f->dir, 0755), 0);
	assert_int_equal(chmod(f->dir, 0775), 0);
	assert_int_equal(open_again(f), -EPERM);
	assert_string_equal(f->what, f->dir);
	/* Sticky helps the directories above it, not itself: names could be added. */
	assert_int_equal(chmod(f->dir, 01777), 0);
	assert_int_equal(open_again(f), -EPERM);
}

static void a_parent_that_others_can_write_is_refused_and_named(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(chmod(f->base, 0777), 0);
	assert_int_equal(open_again(f), -EPERM);
	assert_string_equal(f->what, f->base);
	/* In a sticky one others cannot rename what is ours. */
	assert_int_equal(chmod(f->base, 01777), 0);
	assert_int_equal(open_again(f), 0);
}

static void a_link_in_the_place_of_the_directory_is_refused(void **state)
{
	struct fixture *f = *state;
	char real[128];

	snprintf(real, sizeof(real), "%s/real", f->base);
	assert_int_equal(mkdir(real, 0755), 0);
	assert_int_equal(symlink(real, f->dir), 0);
	assert_int_equal(open_again(f), -EPERM);
	assert_string_equal(f->what, f->dir);
}

static void a_link_or_a_second_name_for_the_file_is_refused(void **state)
{
	struct fixture *f = *state;
	char other[128];

	snprintf(other, sizeof(other), "%s/other", f->base);
	assert_int_equal(open_again(f), 0);
	ledger_close(f->ledger);
	f->ledger = NULL;
	assert_int_equal(link(f->file, other), 0);
	assert_int_equal(open_again(f), -EPERM);
	assert_string_equal(f->what, f->file);
	assert_int_equal(unlink(f->file), 0);
	assert_int_equal(symlink(other, f->file), 0);
	assert_int_equal(open_again(f), -EPERM);
}

static void a_file_in_the_place_of_the_directory_is_refused(void **state)
{
	struct fixture *f = *state;

	close(open(f->dir, O_CREAT | O_WRONLY, 0644));
	assert_int_equal(open_again(f), -EPERM);
}

static void a_missing_parent_is_named(void **state)
{
	struct fixture *f = *state;
	char parent[128];

	snprintf(parent, sizeof(parent), "%s/none", f->base);
	snprintf(f->dir, sizeof(f->dir), "%s/none/state", f->base);
	assert_int_equal(open_again(f), -ENOENT);
	assert_string_equal(f->what, parent);
}

static void looking_for_an_existing_one_makes_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		ledger_open_existing(&f->ledger, f->dir, &f->holder, f->what, sizeof(f->what)),
		-ENOENT);
	assert_int_equal(access(f->dir, F_OK), -1);
}

#define test_in_dir(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test_in_dir(it_makes_its_directory_and_a_private_file),
		test_in_dir(claims_survive_closing),
		test_in_dir(one_that_was_removed_takes_no_more_holds),
		test_in_dir(writing_the_same_id_again_replaces_it),
		test_in_dir(a_full_ledger_refuses),
		test_in_dir(what_a_guardian_undid_is_told_once_and_is_no_claim),
		test_in_dir(what_is_only_to_be_told_of_gives_way_to_a_claim),
		test_in_dir(a_damaged_slot_is_counted_and_the_rest_is_read),
		test_in_dir(a_second_agent_learns_the_pid_of_the_first),
		test_in_dir(a_guardian_that_comes_too_late_leaves_the_ledger_to_the_next_agent),
		test_in_dir(a_guardian_waits_for_one_that_comes_too_late),
		test_in_dir(a_directory_that_others_can_write_is_refused),
		test_in_dir(a_parent_that_others_can_write_is_refused_and_named),
		test_in_dir(a_link_in_the_place_of_the_directory_is_refused),
		test_in_dir(a_link_or_a_second_name_for_the_file_is_refused),
		test_in_dir(a_file_in_the_place_of_the_directory_is_refused),
		test_in_dir(a_missing_parent_is_named),
		test_in_dir(looking_for_an_existing_one_makes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
