// SPDX-License-Identifier: GPL-2.0-or-later
/* Holders: who has a device open, however it came by it, and that it no longer has. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "gpu_fixture.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"
#include "sense/gpu_private.h"
#include "stand_in.h"

/* --- steps of the actors -----------------------------------------------------------------------
 */

static int open_it(const char *node, int *held, int peer)
{
	(void)peer;
	held[0] = open(node, O_RDWR | O_CLOEXEC);
	return held[0] < 0 ? -errno : held[0];
}

/* While the test walks. */
static int open_it_in_a_moment(const char *node, int *held, int peer)
{
	usleep(500);
	return open_it(node, held, peer);
}

/* Everyone's walk comes by all of them. */
static int open_many_others(const char *node, int *held, int peer)
{
	int null = open("/dev/null", O_RDONLY), r;
	struct rlimit many;

	(void)node;
	(void)held;
	(void)peer;
	r = getrlimit(RLIMIT_NOFILE, &many);
	many.rlim_cur = many.rlim_max;
	r |= setrlimit(RLIMIT_NOFILE, &many);
	for (rlim_t i = 100; r == 0 && i < many.rlim_max && i < 30000; i++)
		r = dup(null) < 0 ? -errno : 0;
	return r;
}

static int dup_it(const char *node, int *held, int peer)
{
	(void)node;
	(void)peer;
	held[1] = dup(held[0]);
	return held[1] < 0 ? -errno : 0;
}

static int close_it(const char *node, int *held, int peer)
{
	(void)node;
	(void)peer;
	return close(held[0]);
}

static int close_range_it(const char *node, int *held, int peer)
{
	(void)node;
	(void)peer;
	return (int)syscall(SYS_close_range, held[0], held[0], 0);
}

static int dup2_over_it(const char *node, int *held, int peer)
{
	int null = open("/dev/null", O_RDONLY);

	(void)node;
	(void)peer;
	return dup2(null, held[0]) == held[0] ? close(null) : -errno;
}

static int exec_another(const char *node, int *held, int peer)
{
	(void)node;
	(void)held;
	(void)peer;
	execlp("sleep", "sleep", "1000", NULL);
	return -errno;
}

static int exec_keeping_it(const char *node, int *held, int peer)
{
	fcntl(held[0], F_SETFD, 0);
	return exec_another(node, held, peer);
}

static int exit_now(const char *node, int *held, int peer)
{
	(void)node;
	(void)held;
	(void)peer;
	_exit(0);
}

static int killed(const char *node, int *held, int peer)
{
	(void)node;
	(void)held;
	(void)peer;
	return kill(getpid(), SIGKILL);
}

/* The child dies with its parent, as the parent does with the test. */
static int fork_a_child(const char *node, int *held, int peer)
{
	pid_t pid = fork();

	(void)node;
	(void)held;
	(void)peer;
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

/* Of these nobody else knows but who is told of the fork. */
static int fork_an_heir(const char *node, int *held, int peer)
{
	pid_t pid = fork();

	(void)node;
	(void)held;
	(void)peer;
	if (pid == 0) {
		alarm(20);
		for (;;)
			pause();
	}
	return pid;
}

static int send_it(const char *node, int *held, int peer)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	(void)node;
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &held[0], sizeof(int));
	return sendmsg(peer, &msg, 0) == 1 ? 0 : -errno;
}

static int receive_it(const char *node, int *held, int peer)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};

	(void)node;
	if (recvmsg(peer, &msg, 0) != 1 || !CMSG_FIRSTHDR(&msg))
		return -errno;
	memcpy(&held[0], CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return 0;
}

/* Takes descriptor FD of process PID; both come over the socket. */
static int take_it(const char *node, int *held, int peer)
{
	int from[2], pidfd;

	(void)node;
	if (read(peer, from, sizeof(from)) != sizeof(from))
		return -EIO;
	pidfd = (int)syscall(SYS_pidfd_open, from[0], 0);
	held[0] = (int)syscall(SYS_pidfd_getfd, pidfd, from[1], 0);
	return held[0] < 0 ? -errno : close(pidfd);
}

static void *open_in_own_table(void *node)
{
	/* From here on this thread's descriptors are its own. */
	if (unshare(CLONE_FILES) < 0 || open(node, O_RDONLY) < 0)
		return (void *)1;
	pause();
	return NULL;
}

static int thread_with_own_table(const char *node, int *held, int peer)
{
	static char path[128];
	pthread_t thread;

	(void)held;
	(void)peer;
	snprintf(path, sizeof(path), "%s", node);
	return pthread_create(&thread, NULL, open_in_own_table, path);
}

static void *just_sleep(void *unused)
{
	(void)unused;
	pause();
	return NULL;
}

static int start_threads(const char *node, int *held, int peer)
{
	pthread_t thread;
	int r = 0;

	(void)node;
	(void)held;
	(void)peer;
	for (int i = 0; i < 4; i++)
		r |= pthread_create(&thread, NULL, just_sleep, NULL);
	return r;
}

/* --- holding -----------------------------------------------------------------------------------
 */

static void a_holder_is_found_with_its_descriptors(void **state)
{
	struct gpu_fixture *f = *state;
	struct actor actor;
	const struct gpu_holder *holder;

	actor_start(f, &actor, -1);
	assert_true(actor_do(&actor, open_it) >= 0);
	assert_int_equal(actor_do(&actor, dup_it), 0);
	assert_int_equal(actor_do(&actor, start_threads), 0);
	gpu_fixture_settle(f);
	holder = gpu_fixture_holder(f, actor.pid);
	assert_non_null(holder);
	/* Two descriptors, and the threads are no holders of their own. */
	assert_int_equal(holder->descriptors, 2);
	assert_int_equal(holder->uid, getuid());
	assert_int_equal(holder->task.cgroup, f->cgroup);
	assert_int_equal(f->held, 1);
	assert_int_equal(f->opened, 1);
	assert_true(gpu_device(f->gpu, 0)->holders >= 1);
	actor_end(&actor);
}

static void a_holder_from_before_the_start_is_found_and_is_no_open(void **state)
{
	struct gpu_fixture *f = *state;
	struct actor actor;

	actor_start(f, &actor, -1);
	assert_true(actor_do(&actor, open_it) >= 0);
	/* The first settle of the new sense is one of everyone. */
	gpu_fixture_reopen(f);
	assert_int_equal(f->held, 1);
	assert_int_equal(f->opened, 0);
	assert_non_null(gpu_fixture_holder(f, actor.pid));
	actor_end(&actor);
}

static void a_child_of_a_holder_is_found_without_looking_at_everyone(void **state)
{
	struct gpu_fixture *f = *state;
	struct actor actor;
	pid_t child;

	actor_start(f, &actor, -1);
	assert_true(actor_do(&actor, open_it) >= 0);
	gpu_fixture_settle(f);
	child = actor_do(&actor, fork_a_child);
	assert_true(child > 0);
	gpu_fixture_settle(f);
	assert_non_null(gpu_fixture_holder(f, child));
	assert_int_equal(f->opened, 1);
	actor_end(&actor);
}

static void a_grandchild_forked_at_once_is_found_too(void **state)
{
	struct gpu_fixture *f = *state;
	struct actor actor;

	actor_start(f, &actor, -1);
	assert_true(actor_do(&actor, open_it) >= 0);
	gpu_fixture_settle(f);
	/* No walk between the forks: only the hint can have told of the child. */
	assert_true(actor_do(&actor, fork_a_child) > 0);
	assert_true(actor_do(&actor, fork_a_child) > 0);
	gpu_fixture_settle(f);
	assert_int_equal(f->held, 3);
	actor_end(&actor);
}

static void start_pair(struct gpu_fixture *f, struct actor *a, struct actor *b, int *pair)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	actor_start(f, a, pair[0]);
	actor_start(f, b, pair[1]);
}

struct closing {
	struct gpu_fixture *f;
	pid_t pid;
};

static bool holds_it(void *arg)
{
	struct closing *heir = arg;

	assert_int_equal(gpu_settle(heir->f->gpu, false), 0);
	return gpu_fixture_holder(heir->f, heir->pid);
}

/* As a daemon does, before any walk has come by. */
static void a_child_forked_at_once_inherits_from_a_parent_that_ends(void **state)
{
	struct gpu_fixture *f = *state;
	struct closing heir = { .f = f };
	struct actor actor;

	actor_start(f, &actor, -1);
	assert_true(actor_do(&actor, open_it) >= 0);
	heir.pid = actor_do(&actor, fork_an_heir);
	assert_true(heir.pid > 0);
	actor_end(&actor);
	assert_true(live_until(holds_it, &heir, 500));
	assert_int_equal(f->opened, 1);
	kill(heir.pid, SIGKILL);
}

static bool has_let_go(void *arg)
{
	struct closing *closing = arg;

	assert_int_equal(gpu_settle(closing->f->gpu, false), 0);
	return !gpu_fixture_holder(closing->f, closing->pid);
}

/* It is told of while a walk is under way that was too early to find it. */
static void an_opener_in_the_midst_of_a_walk_is_kept(void **state)
{
	struct gpu_fixture *f = *state;
	struct closing closing = { .f = f };
	struct actor crowd, actor;
	unsigned int amid = 0;
	int answer;

	/* A walk goes by pid: past the one, and then it is busy with the other. */
	actor_start(f, &actor, -1);
	closing.pid = actor.pid;
	actor_start(f, &crowd, -1);
	assert_int_equal(actor_do(&crowd, open_many_others), 0);
	for (unsigned int i = 0; i < 100; i++) {
		uint64_t begun = monotonic_ns();

		actor_begin(&actor, open_it_in_a_moment);
		assert_int_equal(gpu_settle(f->gpu, true), 0);
		if (f->opened > i) {
			amid += f->last.time_ns > begun;
			assert_non_null(gpu_fixture_holder(f, actor.pid));
		}
		assert_int_equal(read(actor.fd, &answer, sizeof(answer)), sizeof(answer));
		assert_int_equal(gpu_dispatch(f->gpu), 0);
		assert_int_equal(f->opened, i + 1);
		assert_non_null(gpu_fixture_holder(f, actor.pid));
		gpu_fixture_settle(f);
		assert_non_null(gpu_fixture_holder(f, actor.pid));
		assert_int_equal(actor_do(&actor, close_it), 0);
		assert_true(live_until(has_let_go, &closing, 2000));
	}
	assert_true(amid > 0);
	actor_end(&actor);
	actor_end(&crowd);
}

struct handover {
	struct gpu_fixture *f;
	pid_t from, to;
};

static bool handed_over(void *arg)
{
	struct handover *h = arg;

	assert_int_equal(gpu_settle(h->f->gpu, true), 0);
	return !gpu_fixture_holder(h->f, h->from) && gpu_fixture_holder(h->f, h->to);
}

static int close_and_open_it(const char *node, int *held, int peer)
{
	close_it(node, held, peer);
	return open_it(node, held, peer);
}

/* No walk came by in between, and the kernel gives the new open file the place of the old one. */
static void who_closes_and_opens_again_holds_it_since_then(void **state)
{
	struct gpu_fixture *f = *state;
	struct actor actor;
	uint64_t before;

	actor_start(f, &actor, -1);
	assert_true(actor_do(&actor, open_it) >= 0);
	gpu_fixture_settle(f);
	for (unsigned int i = 0; i < 10; i++) {
		before = monotonic_ns();
		assert_true(actor_do(&actor, close_and_open_it) >= 0);
		gpu_fixture_settle(f);
		assert_true(gpu_fixture_holder(f, actor.pid)->since_ns >= before);
	}
	/* Another descriptor beside it changes nothing. */
	before = gpu_fixture_holder(f, actor.pid)->since_ns;
	assert_int_equal(actor_do(&actor, dup_it), 0);
	assert_true(actor_do(&actor, open_it) >= 0);
	gpu_fixture_settle(f);
	assert_int_equal(gpu_fixture_holder(f, actor.pid)->since_ns, before);
	actor_end(&actor);
}

static void a_passed_descriptor_makes_a_holder_and_no_open(void **state)
{
	struct gpu_fixture *f = *state;
	struct handover handover = { .f = f };
	struct actor a, b;
	int pair[2];

	start_pair(f, &a, &b, pair);
	assert_true(actor_do(&a, open_it) >= 0);
	assert_int_equal(actor_do(&a, send_it), 0);
	assert_int_equal(actor_do(&b, receive_it), 0);
	assert_int_equal(actor_do(&a, close_it), 0);
	handover.from = a.pid;
	handover.to = b.pid;
	assert_true(live_until(handed_over, &handover, 2000));
	assert_int_equal(f->opened, 1);
	actor_end(&a);
	actor_end(&b);
	close(pair[0]);
	close(pair[1]);
}

/* The device is not free in between, and nobody asks for a walk over everyone. */
static void passes_it_on_and_ends(struct gpu_fixture *f, bool confirmed)
{
	struct closing heir = { .f = f };
	struct actor a, b;
	int pair[2];

	start_pair(f, &a, &b, pair);
	assert_true(actor_do(&a, open_it) >= 0);
	if (confirmed)
		gpu_fixture_settle(f);
	assert_int_equal(actor_do(&a, send_it), 0);
	assert_int_equal(actor_do(&b, receive_it), 0);
	actor_end(&a);
	heir.pid = b.pid;
	assert_true(live_until(holds_it, &heir, 500));
	assert_int_equal(f->opened, 1);
	actor_end(&b);
	close(pair[0]);
	close(pair[1]);
}

static void a_descriptor_passed_on_by_one_who_ends_is_found_at_once(void **state)
{
	passes_it_on_and_ends(*state, true);
}

static void a_descriptor_passed_on_before_any_walk_is_found_at_once(void **state)
{
	passes_it_on_and_ends(*state, false);
}

static void a_descriptor_taken_by_pidfd_getfd_makes_a_holder(void **state)
{
	struct gpu_fixture *f = *state;
	struct actor a, b;
	int pair[2], from[2];

	start_pair(f, &a, &b, pair);
	from[0] = a.pid;
	from[1] = actor_do(&a, open_it);
	assert_int_equal(write(pair[0], from, sizeof(from)), sizeof(from));
	assert_int_equal(actor_do(&b, take_it), 0);
	assert_int_equal(gpu_settle(f->gpu, true), 0);
	assert_non_null(gpu_fixture_holder(f, b.pid));
	assert_int_equal(f->opened, 1);
	actor_end(&a);
	actor_end(&b);
	close(pair[0]);
	close(pair[1]);
}

static bool held_by_someone(void *arg)
{
	struct gpu_fixture *f = arg;

	gpu_fixture_settle(f);
	return f->held == 1;
}

static void a_thread_with_descriptors_of_its_own_makes_its_process_a_holder(void **state)
{
	struct gpu_fixture *f = *state;
	struct actor actor;

	actor_start(f, &actor, -1);
	assert_int_equal(actor_do(&actor, thread_with_own_table), 0);
	assert_true(live_until(held_by_someone, f, 2000));
	assert_non_null(gpu_fixture_holder(f, actor.pid));
	actor_end(&actor);
}

/* --- releasing ---------------------------------------------------------------------------------
 */

struct release {
	const char *name;
	actor_step step;
	bool answers; /* the actor lives on and says so */
};

static const struct release releases[] = {
	{ "close", close_it, true },
	{ "close_range", close_range_it, true },
	{ "dup2_over_it", dup2_over_it, true },
	{ "exec_with_close_on_exec", exec_another, false },
	{ "exit", exit_now, false },
	{ "kill", killed, false },
};

struct parting {
	const struct release *release;
	const char *source;
	struct gpu_fixture fixture;
};

static int open_parting(void **state)
{
	struct parting *parting = *state;

	gpu_fixture_open(&parting->fixture, parting->source);
	return 0;
}

static int close_parting(void **state)
{
	struct parting *parting = *state;

	gpu_fixture_close(&parting->fixture);
	return 0;
}

static bool released(void *arg)
{
	struct gpu_fixture *f = arg;

	/* Known holders only, as the agent does ten times a second. */
	assert_int_equal(gpu_settle(f->gpu, false), 0);
	return f->released == 1;
}

static void notices_a_release(void **state)
{
	struct parting *parting = *state;
	struct gpu_fixture *f = &parting->fixture;
	struct actor actor;

	actor_start(f, &actor, -1);
	assert_true(actor_do(&actor, open_it) >= 0);
	assert_int_equal(gpu_settle(f->gpu, true), 0);
	assert_int_equal(f->held, 1);
	assert_int_equal(f->released, 0);
	if (parting->release->answers)
		assert_int_equal(actor_do(&actor, parting->release->step), 0);
	else
		actor_begin(&actor, parting->release->step);
	assert_true(live_until(released, f, 2000));
	assert_int_equal(f->last.news, GPU_RELEASED);
	assert_int_equal(f->last.task.tgid, actor.pid);
	assert_null(gpu_fixture_holder(f, actor.pid));
	actor_end(&actor);
}

static void the_end_of_a_holder_asks_to_be_settled(void **state)
{
	struct gpu_fixture *f = *state;
	struct actor actor;

	actor_start(f, &actor, -1);
	assert_true(actor_do(&actor, open_it) >= 0);
	gpu_fixture_settle(f);
	assert_false(gpu_unsettled(f->gpu));
	live_kill(actor.pid);
	assert_int_equal(gpu_dispatch(f->gpu), 0);
	assert_true(gpu_unsettled(f->gpu));
	gpu_fixture_settle(f);
	assert_int_equal(f->released, 1);
	close(actor.fd);
}

static void exec_without_close_on_exec_keeps_the_holder(void **state)
{
	struct gpu_fixture *f = *state;
	struct actor actor;
	char byte;

	actor_start(f, &actor, -1);
	assert_true(actor_do(&actor, open_it) >= 0);
	gpu_fixture_settle(f);
	actor_begin(&actor, exec_keeping_it);
	/* The socket is close-on-exec: its end says that the other program runs. */
	assert_int_equal(read(actor.fd, &byte, 1), 0);
	gpu_fixture_settle(f);
	assert_int_equal(f->released, 0);
	assert_non_null(gpu_fixture_holder(f, actor.pid));
	assert_string_equal(gpu_fixture_holder(f, actor.pid)->task.comm, "sleep");
	actor_end(&actor);
}

/* --- devices and maps --------------------------------------------------------------------------
 */

static void devices_keep_index_and_counter_when_the_table_is_set_again(void **state)
{
	struct gpu_fixture *f = *state;
	char other[128];
	struct actor actor;
	uint64_t opens;

	actor_start(f, &actor, -1);
	assert_true(actor_do(&actor, open_it) >= 0);
	gpu_fixture_settle(f);
	opens = gpu_device(f->gpu, 0)->opens;
	snprintf(other, sizeof(other), "%s.other", f->node);
	assert_int_equal(mknod(other, S_IFCHR | 0600, makedev(60, 1)), 0);
	assert_int_equal(gpu_set_devices(f->gpu, (const char *[]){ other, f->node, NULL }), 2);
	assert_int_equal(gpu_device_count(f->gpu), 2);
	assert_string_equal(gpu_device(f->gpu, 0)->path, f->node);
	assert_true(gpu_device(f->gpu, 0)->opens >= opens);
	assert_int_equal(gpu_device(f->gpu, 0)->globs, 2);
	assert_int_equal(gpu_device(f->gpu, 1)->globs, 1);
	assert_non_null(gpu_fixture_holder(f, actor.pid));
	/* A device that is named no longer takes its holders with it. */
	assert_int_equal(gpu_set_devices(f->gpu, (const char *[]){ other, NULL }), 1);
	assert_null(gpu_device(f->gpu, 0));
	assert_int_equal(f->released, 1);
	assert_null(gpu_fixture_holder(f, actor.pid));
	actor_end(&actor);
	unlink(other);
}

static void make_spare_nodes(struct gpu_fixture *f, char kind, unsigned int number)
{
	char path[128];

	for (unsigned int i = 0; i < 40; i++) {
		snprintf(path, sizeof(path), "%s.%c%u", f->node, kind, i);
		assert_int_equal(mknod(path, S_IFCHR | 0600, makedev(number, i)), 0);
	}
}

/* More than there is room for at the same time: first those that leave, then those that come. */
static void devices_that_are_named_no_longer_make_room(void **state)
{
	struct gpu_fixture *f = *state;
	char a[128], b[128];
	struct actor actor;

	make_spare_nodes(f, 'a', 60);
	make_spare_nodes(f, 'b', 61);
	snprintf(a, sizeof(a), "%s.a*", f->node);
	snprintf(b, sizeof(b), "%s.b*", f->node);
	actor_start(f, &actor, -1);
	assert_true(actor_do(&actor, open_it) >= 0);
	gpu_fixture_settle(f);
	assert_int_equal(gpu_set_devices(f->gpu, (const char *[]){ a, f->node, NULL }), 41);
	assert_int_equal(gpu_set_devices(f->gpu, (const char *[]){ b, f->node, NULL }), 41);
	/* And those that are watched stay when there is no room for others, wherever they stand. */
	assert_int_equal(gpu_set_devices(f->gpu, (const char *[]){ a, b, f->node, NULL }), -E2BIG);
	assert_int_equal(gpu_device_count(f->gpu), CULPRIT_GPU_DEVICES);
	assert_non_null(gpu_fixture_holder(f, actor.pid));
	assert_int_equal(f->released, 0);
	actor_end(&actor);
}

/* Records name a device by its place. */
static void an_open_is_not_taken_for_one_of_the_device_that_gets_its_place(void **state)
{
	struct gpu_fixture *f = *state;
	char other[128], third[128];
	struct actor actor;

	snprintf(other, sizeof(other), "%s.other", f->node);
	snprintf(third, sizeof(third), "%s.third", f->node);
	assert_int_equal(mknod(other, S_IFCHR | 0600, makedev(60, 1)), 0);
	assert_int_equal(mknod(third, S_IFCHR | 0600, makedev(60, 2)), 0);
	actor_start(f, &actor, -1);
	assert_true(actor_do(&actor, open_it) >= 0);
	assert_int_equal(gpu_set_devices(f->gpu, (const char *[]){ other, NULL }), 1);
	assert_int_equal(gpu_set_devices(f->gpu, (const char *[]){ other, third, NULL }), 2);
	assert_string_equal(gpu_device(f->gpu, 0)->path, third);
	assert_int_equal(gpu_dispatch(f->gpu), 0);
	assert_null(gpu_fixture_holder(f, actor.pid));
	assert_int_equal(f->opened, 1);
	actor_end(&actor);
	unlink(other);
	unlink(third);
}

static void two_nodes_of_one_number_are_one_device(void **state)
{
	struct gpu_fixture *f = *state;
	char alias[128];

	snprintf(alias, sizeof(alias), "%s.alias", f->node);
	stand_in_node(alias);
	assert_int_equal(gpu_set_devices(f->gpu, (const char *[]){ f->node, alias, NULL }), 1);
	assert_int_equal(gpu_device(f->gpu, 0)->globs, 3);
	unlink(alias);
}

static const struct gpu_device *device_by_number(struct gpu_sense *gpu, unsigned int major,
						 unsigned int minor)
{
	for (unsigned int i = 0; i < gpu_device_count(gpu); i++) {
		const struct gpu_device *device = gpu_device(gpu, i);

		if (device && device->major == major && device->minor == minor)
			return device;
	}
	return NULL;
}

static void companions_of_a_gpu_are_watched_and_not_wanted(void **state)
{
	struct gpu_fixture *f = *state;
	char node[128];

	/* A node with a GPU's number is enough to be told by it; nothing opens it. */
	snprintf(node, sizeof(node), "%s.nvidia0", f->node);
	assert_int_equal(mknod(node, S_IFCHR | 0600, makedev(195, 0)), 0);
	assert_int_equal(gpu_set_devices(f->gpu, (const char *[]){ node, NULL }), 1);
	assert_int_equal(device_by_number(f->gpu, 195, 0)->role, CULPRIT_GPU_ROLE_GPU);
	assert_true(device_by_number(f->gpu, 195, 0)->wanted);
	assert_int_equal(device_by_number(f->gpu, 195, 255)->role, CULPRIT_GPU_ROLE_CONTROL);
	assert_false(device_by_number(f->gpu, 195, 255)->wanted);
	assert_int_equal(device_by_number(f->gpu, 195, 254)->role, CULPRIT_GPU_ROLE_MODESET);
	assert_false(device_by_number(f->gpu, 195, 254)->wanted);
	unlink(node);
}

static void what_is_no_character_device_is_not_watched(void **state)
{
	struct gpu_fixture *f = *state;

	assert_int_equal(
		gpu_set_devices(f->gpu, (const char *[]){ "/etc/passwd", "/nowhere/*", NULL }), 0);
	assert_int_equal(gpu_device_count(f->gpu), 0);
}

static void kinds_follow_from_the_roles(void **state)
{
	(void)state;
	assert_int_equal(gpu_kind(CULPRIT_GPU_ROLE_CONTROL), CULPRIT_GPU_KIND_CONTROL);
	assert_int_equal(gpu_kind(CULPRIT_GPU_ROLE_CONTROL | CULPRIT_GPU_ROLE_GPU),
			 CULPRIT_GPU_KIND_MONITOR);
	assert_int_equal(gpu_kind(CULPRIT_GPU_ROLE_GPU | CULPRIT_GPU_ROLE_MODESET),
			 CULPRIT_GPU_KIND_DISPLAY);
	assert_int_equal(gpu_kind(CULPRIT_GPU_ROLE_RENDER), CULPRIT_GPU_KIND_DISPLAY);
	assert_int_equal(gpu_kind(CULPRIT_GPU_ROLE_GPU | CULPRIT_GPU_ROLE_MEMORY),
			 CULPRIT_GPU_KIND_COMPUTE);
	assert_int_equal(gpu_kind(CULPRIT_GPU_ROLE_RENDER | CULPRIT_GPU_ROLE_MEMORY),
			 CULPRIT_GPU_KIND_COMPUTE);
	assert_int_equal(gpu_kind(CULPRIT_GPU_ROLE_NAMED), CULPRIT_GPU_KIND_COMPUTE);
}

static int open_the_companion(const char *node, int *held, int peer)
{
	char path[128];

	(void)peer;
	snprintf(path, sizeof(path), "%s.companion", node);
	held[1] = open(path, O_RDWR | O_CLOEXEC);
	return held[1] < 0 ? -errno : 0;
}

/* Computing begins with the last of several opens, and no walk has to come by. */
static void an_open_of_a_companion_tells_the_kind_at_once(void **state)
{
	struct gpu_fixture *f = *state;
	char companion[128];
	struct actor actor;

	snprintf(companion, sizeof(companion), "%s.companion", f->node);
	assert_int_equal(mknod(companion, S_IFCHR | 0600, makedev(1, 5)), 0);
	assert_int_equal(gpu_set_devices(f->gpu, (const char *[]){ f->node, companion, NULL }), 2);
	/* As if the numbers were those of a GPU. */
	f->gpu->slots[0].device.role = CULPRIT_GPU_ROLE_GPU;
	f->gpu->slots[1].device.role = CULPRIT_GPU_ROLE_MEMORY;
	actor_start(f, &actor, -1);
	assert_true(actor_do(&actor, open_it) >= 0);
	assert_int_equal(gpu_dispatch(f->gpu), 0);
	assert_int_equal(gpu_fixture_holder(f, actor.pid)->kind, CULPRIT_GPU_KIND_MONITOR);
	assert_int_equal(actor_do(&actor, open_the_companion), 0);
	assert_int_equal(gpu_dispatch(f->gpu), 0);
	assert_int_equal(f->last.device, 1);
	assert_int_equal(f->last.kind, CULPRIT_GPU_KIND_COMPUTE);
	assert_int_equal(gpu_fixture_holder(f, actor.pid)->kind, CULPRIT_GPU_KIND_COMPUTE);
	actor_end(&actor);
	unlink(companion);
}

static void the_map_of_holders_is_kept_in_step(void **state)
{
	struct gpu_fixture *f = *state;
	int map = bpf_map__fd(f->gpu->bpf->maps.gpu_holder);
	struct culprit_gpu_hold key = { 0, { major(stand_in()), minor(stand_in()) } };
	struct culprit_gpu_holder value;
	static const char zeros[CULPRIT_COMM_LEN];
	struct actor actor;

	actor_start(f, &actor, -1);
	assert_true(actor_do(&actor, open_it) >= 0);
	gpu_fixture_settle(f);
	key.tgid = (__u32)actor.pid;
	assert_int_equal(bpf_map_lookup_elem(map, &key, &value), 0);
	assert_int_equal(value.descriptors, 1);
	assert_int_equal(value.cgroup, f->cgroup);
	assert_int_equal(value.kind, CULPRIT_GPU_KIND_COMPUTE);
	assert_string_equal(value.comm, gpu_fixture_holder(f, actor.pid)->task.comm);
	/* Not a byte of anything else behind the name. */
	assert_memory_equal(value.comm + strlen(value.comm), zeros,
			    sizeof(value.comm) - strlen(value.comm));
	assert_int_equal(actor_do(&actor, close_it), 0);
	assert_true(live_until(released, f, 2000));
	assert_int_equal(bpf_map_lookup_elem(map, &key, &value), -ENOENT);
	actor_end(&actor);
}

/* True when `bpftool map dump` of this map shows the text. */
static bool dump_shows(int map, const char *text)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);
	char command[128], line[512];
	bool shown = false;
	FILE *f;

	assert_int_equal(bpf_obj_get_info_by_fd(map, &info, &size), 0);
	snprintf(command, sizeof(command), "PATH=$PATH:/usr/sbin bpftool map dump id %u", info.id);
	f = popen(command, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		shown |= strstr(line, text) != NULL;
	assert_int_equal(pclose(f), 0);
	return shown;
}

static void maps_dump_with_names(void **state)
{
	struct gpu_fixture *f = *state;
	struct actor actor;
	char comm[64];

	actor_start(f, &actor, -1);
	assert_true(actor_do(&actor, open_it) >= 0);
	gpu_fixture_settle(f);
	snprintf(comm, sizeof(comm), "\"comm\": \"%s\"",
		 gpu_fixture_holder(f, actor.pid)->task.comm);
	assert_true(dump_shows(bpf_map__fd(f->gpu->bpf->maps.gpu_holder), comm));
	assert_true(dump_shows(bpf_map__fd(f->gpu->bpf->maps.gpu_holder),
			       "\"kind\": \"CULPRIT_GPU_KIND_COMPUTE\""));
	assert_true(dump_shows(bpf_map__fd(f->gpu->bpf->maps.gpu_device), f->node));
	assert_true(dump_shows(bpf_map__fd(f->gpu->bpf->maps.gpu_device), "CULPRIT_GPU_WANTED"));
	actor_end(&actor);
}

static void nothing_was_lost(void **state)
{
	struct gpu_fixture *f = *state;
	struct culprit_losses losses;
	__u32 zero = 0;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(f->gpu->bpf->maps.losses), &zero, &losses),
			 0);
	assert_int_equal(losses.gpu_mark_full, 0);
	assert_int_equal(losses.gpu_record_dropped, 0);
	assert_int_equal(losses.gpu_holder_full, 0);
	assert_int_equal(gpu_missed(f->gpu), 0);
}

/* More opens begun at once, and more open files, than the sense has room for. */
static void full_tables_are_counted_losses(void **state)
{
	struct gpu_fixture *f = *state;
	struct gpu_look look = { .device = 0, .attempts = 1 };
	/* Others on the machine may have opened the same number. */
	unsigned int looks = f->gpu->n_looks, files = f->gpu->n_files, holders = f->gpu->n_holders;
	struct culprit_losses losses;
	__u32 zero = 0;

	/* Pids that nobody has: the highest possible is 2^22. */
	for (look.tgid = 1 << 23; look.tgid < (1 << 23) + GPU_LOOKS + 3; look.tgid++)
		gpu_look_at(f->gpu, &look);
	for (uint64_t id = 1; id <= GPU_FILES + 5; id++)
		gpu_file_opened(f->gpu, id, 0, 0);
	for (uint32_t i = 0; i < CULPRIT_GPU_HOLDERS + 7; i++) {
		struct culprit_task task = { .tgid = (1 << 23) + i };

		(void)gpu_hold_slot(f->gpu, &task, 0);
	}
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(f->gpu->bpf->maps.losses), &zero, &losses),
			 0);
	assert_int_equal(losses.gpu_look_full, looks + 3);
	assert_int_equal(losses.gpu_file_full, files + 5);
	assert_int_equal(losses.gpu_holder_full, holders + 7);
	/* Who has no place in the table is found all the same. */
	assert_true(f->gpu->everywhere_until_ns > 0);
}

/* A holder whose fork and end the kernel has no room to watch for. */
static void a_full_table_of_watched_processes_is_a_counted_loss(void **state)
{
	struct gpu_fixture *f = *state;
	int map = bpf_map__fd(f->gpu->bpf->maps.holding);
	struct culprit_losses losses;
	struct actor actor;
	__u32 zero = 0;

	for (__u32 tgid = 1 << 23, one = 1; bpf_map_update_elem(map, &tgid, &one, BPF_ANY) == 0;)
		tgid++;
	actor_start(f, &actor, -1);
	assert_true(actor_do(&actor, open_it) >= 0);
	gpu_fixture_settle(f);
	assert_non_null(gpu_fixture_holder(f, actor.pid));
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(f->gpu->bpf->maps.losses), &zero, &losses),
			 0);
	assert_true(losses.gpu_holding_full > 0);
	assert_int_equal(losses.gpu_holder_full, 0);
	actor_end(&actor);
}

#define MAX_TESTS 128

static struct CMUnitTest tests[MAX_TESTS];
static struct parting partings[MAX_TESTS];
static char names[MAX_TESTS][128];
static unsigned int n_tests;

static void add(CMUnitTestFunction fn, CMFixtureFunction setup, CMFixtureFunction teardown,
		void *state, const char *name, const char *source)
{
	assert_true(n_tests < MAX_TESTS);
	snprintf(names[n_tests], sizeof(names[0]), "%s on %s", name,
		 source ? source : "the best source");
	tests[n_tests] = (struct CMUnitTest){ names[n_tests], fn, setup, teardown, state };
	n_tests++;
}

static void add_releases(const char *source)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(releases); i++) {
		struct parting *parting = &partings[n_tests];
		char name[64];

		*parting = (struct parting){ .release = &releases[i], .source = source };
		snprintf(name, sizeof(name), "notices a release: %s", releases[i].name);
		add(notices_a_release, open_parting, close_parting, parting, name, source);
	}
}

#define ADD(fn) add(fn, gpu_fixture_setup, gpu_fixture_teardown, NULL, #fn, NULL)

int main(void)
{
	int r;

	if (live_setup(NULL) < 0)
		return 1;
	add_releases(NULL);
	add_releases("cgroup/dev+exits");
	add_releases("iterator");
	ADD(a_holder_is_found_with_its_descriptors);
	ADD(a_holder_from_before_the_start_is_found_and_is_no_open);
	ADD(a_child_of_a_holder_is_found_without_looking_at_everyone);
	ADD(a_grandchild_forked_at_once_is_found_too);
	ADD(a_child_forked_at_once_inherits_from_a_parent_that_ends);
	ADD(an_opener_in_the_midst_of_a_walk_is_kept);
	ADD(who_closes_and_opens_again_holds_it_since_then);
	ADD(a_passed_descriptor_makes_a_holder_and_no_open);
	ADD(a_descriptor_passed_on_by_one_who_ends_is_found_at_once);
	ADD(a_descriptor_passed_on_before_any_walk_is_found_at_once);
	ADD(a_descriptor_taken_by_pidfd_getfd_makes_a_holder);
	ADD(a_thread_with_descriptors_of_its_own_makes_its_process_a_holder);
	ADD(the_end_of_a_holder_asks_to_be_settled);
	ADD(exec_without_close_on_exec_keeps_the_holder);
	ADD(devices_keep_index_and_counter_when_the_table_is_set_again);
	ADD(devices_that_are_named_no_longer_make_room);
	ADD(an_open_is_not_taken_for_one_of_the_device_that_gets_its_place);
	ADD(two_nodes_of_one_number_are_one_device);
	ADD(companions_of_a_gpu_are_watched_and_not_wanted);
	ADD(what_is_no_character_device_is_not_watched);
	ADD(kinds_follow_from_the_roles);
	ADD(an_open_of_a_companion_tells_the_kind_at_once);
	ADD(the_map_of_holders_is_kept_in_step);
	ADD(maps_dump_with_names);
	ADD(nothing_was_lost);
	ADD(full_tables_are_counted_losses);
	ADD(a_full_table_of_watched_processes_is_a_counted_loss);
	cmocka_set_test_filter(getenv("CULPRIT_TEST_FILTER"));
	r = _cmocka_run_group_tests("gpu holders", tests, n_tests, NULL, NULL);
	live_cleanup();
	return r;
}
