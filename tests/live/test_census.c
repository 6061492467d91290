// SPDX-License-Identifier: GPL-2.0-or-later
/* Both rungs of the census see the same processes of our own as they really are. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/procfs.h"
#include "live.h"
#include "sense/census.h"
#include "sense/support.h"
#include "swapping.h"

#define NOBODY 65534

static struct census *open_census(const char *source)
{
	struct sense_options options = {
		.source = source,
		.losses_fd = -1,
		.cgroup_mount = live_fs()->mount,
	};
	struct census *census = NULL;
	int r = census_open(&census, &options);

	if (r < 0)
		fail_msg("census_open %s: %s", source, strerror(-r));
	assert_string_equal(census_status(census)->source, source);
	return census;
}

/* Each rung runs all tests of this file; the group's state is its census. */
static int setup_iter(void **state)
{
	if (live_setup(state) < 0)
		return -1;
	*state = open_census("iter/task");
	return 0;
}

static int setup_proc(void **state)
{
	if (live_setup(state) < 0)
		return -1;
	*state = open_census("/proc");
	return 0;
}

static int teardown(void **state)
{
	census_close(*state);
	return live_teardown(state);
}

/* The process by a whole pass: what the agent does. */
static struct culprit_process see(struct census *census, pid_t pid)
{
	const struct culprit_process *list;
	size_t count;
	int r = census_take(census, 0, &list, &count);

	assert_int_equal(r, 0);
	for (size_t i = 0; i < count; i++)
		if (list[i].tgid == (__u32)pid)
			return list[i];
	fail_msg("pid %d is not among %zu processes", (int)pid, count);
	return (struct culprit_process){ 0 };
}

/* A child that works step by step: do_step() has one step done when it returns. */
struct stepper {
	int go[2], done[2];
	pid_t pid;
	void (*step)(int number);
};

static int step_on(void *arg)
{
	struct stepper *s = arg;
	char byte;

	/* So that a page is a page and a fault a fault. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	for (int i = 0; read(s->go[0], &byte, 1) == 1; i++) {
		s->step(i);
		if (write(s->done[1], &byte, 1) != 1)
			return 1;
	}
	return 0;
}

static void do_step(struct stepper *s)
{
	char byte = 0;

	assert_int_equal(write(s->go[1], &byte, 1), 1);
	assert_int_equal(read(s->done[0], &byte, 1), 1);
}

static void start_stepper(struct stepper *s, const char *cgroup, void (*step)(int number))
{
	s->step = step;
	assert_int_equal(pipe2(s->go, O_CLOEXEC), 0);
	assert_int_equal(pipe2(s->done, O_CLOEXEC), 0);
	s->pid = live_fork(cgroup, step_on, s);
}

static void end_stepper(struct stepper *s)
{
	live_kill(s->pid);
	for (int i = 0; i < 2; i++) {
		close(s->go[i]);
		close(s->done[i]);
	}
}

/* --- identity ------------------------------------------------------------------------------- */

static void become_somebody(int number)
{
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	(void)number;
	prctl(PR_SET_NAME, "odd) R 1 (name");
	if (write(fd, "321", 3) != 3 || setsid() < 0 || setresuid(NOBODY, 0, 0) < 0)
		_exit(1);
}

static void test_identity(void **state)
{
	struct culprit_process p;
	struct proc_stat stat;
	struct stepper child;
	uint64_t cgroup = live_cgroup("who");

	start_stepper(&child, "who", become_somebody);
	do_step(&child);
	p = see(*state, child.pid);
	assert_int_equal(proc_read_stat(child.pid, &stat), 0);
	assert_string_equal(p.comm, "odd) R 1 (name");
	assert_int_equal(p.uid, NOBODY);
	assert_int_equal(p.oom_score_adj, 321);
	assert_int_equal(p.ppid, getpid());
	assert_int_equal(p.pgrp, child.pid);
	assert_int_equal(p.session, child.pid);
	assert_int_equal(p.cgroup, cgroup);
	assert_int_equal(p.flags, 0);
	assert_int_equal(p.reserved, 0);
	assert_true(proc_same_start(p.start_time_ns, stat.start_ticks));
	end_stepper(&child);
	live_rmdir("who");
}

static void test_kernel_threads_are_marked(void **state)
{
	struct culprit_process p = see(*state, 2);

	assert_true(p.flags & CULPRIT_PROCESS_KERNEL);
	assert_string_equal(p.comm, "kthreadd");
	assert_int_equal(p.anon_pages + p.file_pages + p.shmem_pages, 0);
}

/* --- memory --------------------------------------------------------------------------------- */

#define ANON_PAGES  2000
#define SHMEM_PAGES 700
#define SWAP_PAGES  500

static void touch(char *from, size_t pages)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (size_t i = 0; i < pages; i++)
		((volatile char *)from)[i * page] = 1;
}

static char *map(size_t pages, int flags)
{
	char *at = mmap(NULL, pages * (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
			flags | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		_exit(1);
	return at;
}

/* The C library: a file of some hundred pages that surely lies on no tmpfs of the test's making. */
static size_t map_library(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	_cleanup_close_ int fd = -1;
	struct stat st;
	volatile char *at;
	Dl_info info;
	size_t pages;

	if (!dladdr((void *)(uintptr_t)printf, &info) ||
	    (fd = open(info.dli_fname, O_RDONLY | O_CLOEXEC)) < 0 || fstat(fd, &st) < 0)
		return 0;
	pages = ((size_t)st.st_size + page - 1) / page;
	at = mmap(NULL, pages * page, PROT_READ, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		return 0;
	for (size_t i = 0; i < pages; i++)
		(void)at[i * page];
	return pages;
}

/* The same in each step, so that the second needs no page of code or stack that the first did not.
 * Anonymous pages last: what a thread has kept to itself (pages_slack) it gives up with them. */
static void fill_memory(int number)
{
	(void)number;
	map_library();
	touch(map(SHMEM_PAGES, MAP_SHARED), SHMEM_PAGES);
	touch(map(ANON_PAGES, MAP_PRIVATE), ANON_PAGES);
}

static void assert_near(uint64_t is, uint64_t should, uint64_t slack, const char *what)
{
	if (is + slack < should || is > should + slack)
		fail_msg("%s: %llu instead of %llu ± %llu", what, (unsigned long long)is,
			 (unsigned long long)should, (unsigned long long)slack);
}

/* Until 6.1 a thread keeps what its last 64 faults have mapped to itself (SPLIT_RSS_COUNTING), and
 * the kernel's own /proc does not know of it either. */
static uint64_t pages_slack(void)
{
	struct support *support;
	bool split;

	assert_int_equal(support_open(&support), 0);
	split = support_member(support, "task_struct", "rss_stat");
	support_close(support);
	return split ? 64 : 2;
}

static void test_pages_are_exact(void **state)
{
	const uint64_t slack = pages_slack();
	struct culprit_process before, after;
	struct stepper child;

	start_stepper(&child, NULL, fill_memory);
	do_step(&child);
	before = see(*state, child.pid);
	do_step(&child);
	after = see(*state, child.pid);
	assert_near(after.anon_pages - before.anon_pages, ANON_PAGES, slack, "anonymous");
	assert_near(after.shmem_pages - before.shmem_pages, SHMEM_PAGES, 2, "shared");
	assert_near(after.file_pages - before.file_pages, map_library(), 2, "file");
	assert_int_equal(after.swap_pages, 0);
	end_stepper(&child);
}

static char *pushed_out;

/* What a CPU has kept for its next batch onto the LRU lists cannot be pushed out from another. */
static void stay_on_this_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		_exit(1);
}

static void fill_then_push_out(int number)
{
	size_t size = SWAP_PAGES * (size_t)sysconf(_SC_PAGESIZE);

	if (number == 0) {
		stay_on_this_cpu();
		pushed_out = map(SWAP_PAGES, MAP_PRIVATE);
		touch(pushed_out, SWAP_PAGES);
	} else {
		madvise(pushed_out, size, MADV_PAGEOUT);
	}
}

/* The swap entries of a process as the kernel's own /proc counts them. */
static uint64_t proc_swap_pages(pid_t pid)
{
	char path[64], line[256];
	unsigned long long kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) && sscanf(line, "VmSwap: %llu kB", &kib) != 1)
		;
	fclose(f);
	return kib * 1024 / (uint64_t)sysconf(_SC_PAGESIZE);
}

static int swap_off(void **state)
{
	(void)state;
	live_swap_off();
	return 0;
}

static void test_swap_entries_are_counted(void **state)
{
	struct culprit_process before, after;
	struct stepper child;

	live_swap_on(16);
	start_stepper(&child, NULL, fill_then_push_out);
	do_step(&child);
	before = see(*state, child.pid);
	for (int i = 0; i < 10; i++) {
		do_step(&child);
		after = see(*state, child.pid);
		if (after.swap_pages >= SWAP_PAGES)
			break;
	}
	assert_int_equal(after.swap_pages, proc_swap_pages(child.pid));
	assert_near(after.swap_pages, SWAP_PAGES, 1, "swap entries");
	assert_near(before.anon_pages - after.anon_pages, SWAP_PAGES, pages_slack() + 2,
		    "anonymous");
	end_stepper(&child);
}

/* --- threads -------------------------------------------------------------------------------- */

#define THREAD_PAGES 900

static void *touch_pages(void *sleep_on)
{
	touch(map(THREAD_PAGES, MAP_PRIVATE), THREAD_PAGES);
	if (write(*(int *)sleep_on, "", 1) != 1)
		_exit(1);
	return NULL;
}

static void *touch_and_stay(void *ready)
{
	touch_pages(ready);
	return (void *)(intptr_t)load_sleep(NULL);
}

/* Step 1: a thread that touches pages and ends. Step 2: one that touches pages and stays. */
static void run_threads(int number)
{
	static int ready[2];
	pthread_t thread;
	char byte;

	if (number == 0) {
		if (pipe2(ready, O_CLOEXEC) < 0)
			_exit(1);
		return;
	}
	if (pthread_create(&thread, NULL, number == 1 ? touch_pages : touch_and_stay, &ready[1]))
		_exit(1);
	if (read(ready[0], &byte, 1) != 1)
		_exit(1);
	if (number == 1)
		pthread_join(thread, NULL);
}

static void test_faults_are_those_of_all_threads(void **state)
{
	struct culprit_process start, ended, living;
	struct stepper child;

	start_stepper(&child, NULL, run_threads);
	do_step(&child);
	start = see(*state, child.pid);
	do_step(&child);
	ended = see(*state, child.pid);
	do_step(&child);
	living = see(*state, child.pid);
	/* A thread's birth costs some faults of its own, under a sanitizer two hundred. */
	assert_in_range(ended.minor_faults - start.minor_faults, THREAD_PAGES, THREAD_PAGES + 300);
	assert_in_range(living.minor_faults - ended.minor_faults, THREAD_PAGES, THREAD_PAGES + 300);
	end_stepper(&child);
}

static void *outlive(void *unused)
{
	touch(map(THREAD_PAGES, MAP_PRIVATE), THREAD_PAGES);
	return (void *)(intptr_t)load_sleep(unused);
}

static int end_main_thread(void *unused)
{
	pthread_t thread;

	(void)unused;
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	if (pthread_create(&thread, NULL, outlive, NULL))
		return 1;
	/* Not pthread_exit(), which would unwind into cmocka. */
	syscall(SYS_exit, 0);
	return 1;
}

struct watch {
	struct census *census;
	pid_t pid;
	struct culprit_process seen;
};

static bool main_thread_ended(void *arg)
{
	struct watch *w = arg;

	w->seen = see(w->census, w->pid);
	return w->seen.flags & CULPRIT_PROCESS_HEADLESS && w->seen.anon_pages >= THREAD_PAGES;
}

static void test_a_dead_main_thread_hides_no_process(void **state)
{
	uint64_t cgroup = live_cgroup("headless");
	struct watch w = { .census = *state, .pid = live_fork("headless", end_main_thread, NULL) };

	assert_true(live_until(main_thread_ended, &w, 5000));
	assert_false(w.seen.flags & CULPRIT_PROCESS_EXITING);
	assert_int_equal(w.seen.cgroup, cgroup);
	live_kill(w.pid);
	live_rmdir("headless");
}

static int end_at_once(void *unused)
{
	(void)unused;
	return 0;
}

static void test_a_zombie_is_exiting(void **state)
{
	pid_t pid = live_fork(NULL, end_at_once, NULL);
	struct culprit_process p;
	siginfo_t info;

	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	p = see(*state, pid);
	assert_int_equal(p.flags, CULPRIT_PROCESS_EXITING);
	assert_int_equal(p.anon_pages, 0);
	live_wait(pid);
}

/* --- stopped, traced, frozen ---------------------------------------------------------------- */

static void test_stopped_until_continued(void **state)
{
	pid_t pid = live_fork(NULL, load_sleep, NULL);
	int status;

	assert_false(see(*state, pid).flags & CULPRIT_PROCESS_STOPPED);
	kill(pid, SIGSTOP);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(see(*state, pid).flags & CULPRIT_PROCESS_STOPPED);
	kill(pid, SIGCONT);
	assert_int_equal(waitpid(pid, &status, WCONTINUED), pid);
	assert_false(see(*state, pid).flags & CULPRIT_PROCESS_STOPPED);
	live_kill(pid);
}

static void test_traced_while_seized(void **state)
{
	pid_t pid = live_fork(NULL, load_sleep, NULL);
	int status;

	assert_false(see(*state, pid).flags & CULPRIT_PROCESS_TRACED);
	assert_int_equal(ptrace(PTRACE_SEIZE, pid, 0, 0), 0);
	assert_true(see(*state, pid).flags & CULPRIT_PROCESS_TRACED);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, pid, 0, 0), 0);
	assert_int_equal(waitpid(pid, &status, __WALL), pid);
	assert_int_equal(ptrace(PTRACE_DETACH, pid, 0, 0), 0);
	assert_false(see(*state, pid).flags & CULPRIT_PROCESS_TRACED);
	live_kill(pid);
}

static bool is_frozen(void *name)
{
	return live_frozen(name);
}

static void freeze(const char *name, const char *value)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path(name));

	assert_true(dir >= 0);
	assert_int_equal(cgroupfs_write(dir, "cgroup.freeze", value), 0);
}

static bool has_processes(void *name)
{
	return live_cgroup_key(name, "cgroup.events", "populated") == 1;
}

static void test_frozen_by_a_cgroup_above(void **state)
{
	pid_t pid;

	live_cgroup("ice/inner");
	pid = live_fork("ice/inner", load_sleep, NULL);
	assert_true(live_until(has_processes, "ice/inner", 5000));
	assert_true(see(*state, pid).flags == 0);
	freeze("ice", "1");
	assert_true(live_until(is_frozen, "ice/inner", 5000));
	assert_true(see(*state, pid).flags == CULPRIT_PROCESS_FROZEN);
	freeze("ice", "0");
	assert_true(see(*state, pid).flags == 0);
	live_kill(pid);
	live_rmdir("ice/inner");
	live_rmdir("ice");
}

/* --- the census as a whole ------------------------------------------------------------------ */

static void test_sorted_by_pid_without_doubles(void **state)
{
	const struct culprit_process *list;
	size_t count;

	assert_int_equal(census_take(*state, 0, &list, &count), 0);
	assert_true(count > 2);
	for (size_t i = 1; i < count; i++)
		assert_true(list[i - 1].tgid < list[i].tgid);
}

static void test_one_process_alone(void **state)
{
	const struct culprit_process *list;
	pid_t pid = live_fork(NULL, load_sleep, NULL);
	size_t count;

	assert_int_equal(census_take(*state, pid, &list, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(list[0].tgid, pid);
	assert_int_equal(list[0].ppid, getpid());
	assert_true(list[0].anon_pages > 0);
	live_kill(pid);
	assert_int_equal(census_take(*state, pid, &list, &count), 0);
	assert_int_equal(count, 0);
}

/* --- what only one rung has ----------------------------------------------------------------- */

static void test_later_passes_allocate_nothing(void **state)
{
	const struct culprit_process *list;
	struct mallinfo2 before, after;
	size_t count;

	for (int i = 0; i < 3; i++)
		assert_int_equal(census_take(*state, 0, &list, &count), 0);
	before = mallinfo2();
	for (int i = 0; i < 3; i++) {
		assert_int_equal(census_take(*state, 0, &list, &count), 0);
		assert_int_equal(census_take(*state, getpid(), &list, &count), 0);
	}
	after = mallinfo2();
	assert_int_equal(after.uordblks, before.uordblks);
	assert_int_equal(after.hblkhd, before.hblkhd);
}

static int thread_id_pipe[2];

static void *tell_thread_id(void *unused)
{
	pid_t tid = (pid_t)syscall(SYS_gettid);

	if (write(thread_id_pipe[1], &tid, sizeof(tid)) != sizeof(tid))
		_exit(1);
	return (void *)(intptr_t)load_sleep(unused);
}

static int with_second_thread(void *unused)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, tell_thread_id, NULL))
		return 1;
	return load_sleep(unused);
}

static void test_a_traced_thread_is_seen(void **state)
{
	pid_t pid, tid;
	int status;

	assert_int_equal(pipe2(thread_id_pipe, O_CLOEXEC), 0);
	pid = live_fork(NULL, with_second_thread, NULL);
	assert_int_equal(read(thread_id_pipe[0], &tid, sizeof(tid)), sizeof(tid));
	assert_false(see(*state, pid).flags & CULPRIT_PROCESS_TRACED);
	assert_int_equal(ptrace(PTRACE_SEIZE, tid, 0, 0), 0);
	assert_true(see(*state, pid).flags & CULPRIT_PROCESS_TRACED);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, tid, 0, 0), 0);
	assert_int_equal(waitpid(tid, &status, __WALL), tid);
	assert_int_equal(ptrace(PTRACE_DETACH, tid, 0, 0), 0);
	live_kill(pid);
	close(thread_id_pipe[0]);
	close(thread_id_pipe[1]);
}

static void test_both_rungs_agree(void **state)
{
	struct census *proc = open_census("/proc");
	struct culprit_process by_iter, by_proc;
	struct stepper child;

	live_cgroup("same");
	start_stepper(&child, "same", fill_memory);
	do_step(&child);
	do_step(&child);
	by_iter = see(*state, child.pid);
	by_proc = see(proc, child.pid);
	/* /proc has it in steps of 10 ms. */
	assert_int_equal(by_iter.start_time_ns / 10000000, by_proc.start_time_ns / 10000000);
	by_proc.start_time_ns = by_iter.start_time_ns;
	/* Older kernels give per-CPU counters approximately in /proc. */
	assert_near(by_iter.anon_pages, by_proc.anon_pages, 256, "anonymous");
	assert_near(by_iter.file_pages, by_proc.file_pages, 256, "file");
	assert_near(by_iter.shmem_pages, by_proc.shmem_pages, 256, "shared");
	by_proc.anon_pages = by_iter.anon_pages;
	by_proc.file_pages = by_iter.file_pages;
	by_proc.shmem_pages = by_iter.shmem_pages;
	assert_memory_equal(&by_iter, &by_proc, sizeof(by_iter));
	end_stepper(&child);
	live_rmdir("same");
	census_close(proc);
}

static void test_the_best_rung_is_the_iterator(void **state)
{
	struct sense_options options = { .losses_fd = -1, .cgroup_mount = live_fs()->mount };
	struct census *census;

	(void)state;
	assert_int_equal(census_open(&census, &options), 0);
	assert_string_equal(census_status(census)->source, census_sources[0]);
	assert_string_equal(census_status(census)->why, "");
	census_close(census);
}

static void test_an_unknown_rung_is_refused(void **state)
{
	struct sense_options options = { .source = "crystal ball", .losses_fd = -1 };
	struct census *census = NULL;

	(void)state;
	assert_int_equal(census_open(&census, &options), -EINVAL);
	assert_null(census);
}

#define TESTS_OF_EVERY_RUNG                                                                \
	cmocka_unit_test(test_identity), cmocka_unit_test(test_kernel_threads_are_marked), \
		cmocka_unit_test(test_pages_are_exact),                                    \
		cmocka_unit_test_teardown(test_swap_entries_are_counted, swap_off),        \
		cmocka_unit_test(test_faults_are_those_of_all_threads),                    \
		cmocka_unit_test(test_a_dead_main_thread_hides_no_process),                \
		cmocka_unit_test(test_a_zombie_is_exiting),                                \
		cmocka_unit_test(test_stopped_until_continued),                            \
		cmocka_unit_test(test_traced_while_seized),                                \
		cmocka_unit_test(test_frozen_by_a_cgroup_above),                           \
		cmocka_unit_test(test_sorted_by_pid_without_doubles),                      \
		cmocka_unit_test(test_one_process_alone)

int main(void)
{
	const struct CMUnitTest iter_tests[] = {
		TESTS_OF_EVERY_RUNG,
		cmocka_unit_test(test_later_passes_allocate_nothing),
		cmocka_unit_test(test_a_traced_thread_is_seen),
		cmocka_unit_test(test_both_rungs_agree),
		cmocka_unit_test(test_the_best_rung_is_the_iterator),
		cmocka_unit_test(test_an_unknown_rung_is_refused),
	};
	const struct CMUnitTest proc_tests[] = { TESTS_OF_EVERY_RUNG };
	int failed = cmocka_run_group_tests_name("iter/task", iter_tests, setup_iter, teardown);

	return failed + cmocka_run_group_tests_name("/proc", proc_tests, setup_proc, teardown);
}
