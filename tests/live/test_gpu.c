// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opens: every way to open is seen, once for each open, and nothing else is; on every source that
 * has events.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "gpu_fixture.h"
#include "gpu_routes.h"
#include "lib/cleanup.h"
#include "live.h"
#include "sense/gpu_private.h"

/* A route on a source. */
struct course {
	const char *source;
	const struct gpu_route *route;
	struct gpu_fixture fixture;
};

static int open_course(void **state)
{
	struct course *course = *state;

	gpu_fixture_open(&course->fixture, course->source);
	return 0;
}

static int close_course(void **state)
{
	struct course *course = *state;

	gpu_fixture_close(&course->fixture);
	return 0;
}

static void sees_each_open(void **state)
{
	struct course *course = *state;
	struct gpu_fixture *f = &course->fixture;

	gpu_fixture_run(f, course->route->go);
	/* An open is told before the opener goes on, so all are there when it has ended. */
	assert_int_equal(gpu_dispatch(f->gpu), 0);
	assert_int_equal(f->opened, OPENS);
	gpu_fixture_settle(f);
	assert_int_equal(f->opened, OPENS);
	/* The counter says what the events said. */
	assert_int_equal(gpu_device(f->gpu, 0)->opens, f->all_opened);
	assert_null(gpu_fixture_holder(f, (pid_t)f->last.task.tgid));
}

static void sees_no_open(void **state)
{
	struct course *course = *state;
	struct gpu_fixture *f = &course->fixture;
	char none[128];

	/* A number that no driver has (majors 60-63 are for local use: devices.txt). */
	snprintf(none, sizeof(none), "%s.none", f->node);
	assert_int_equal(mknod(none, S_IFCHR | 0666, makedev(60, 7)), 0);
	assert_int_equal(gpu_set_devices(f->gpu, (const char *[]){ f->node, none, NULL }), 2);
	gpu_fixture_run(f, course->route->go);
	gpu_fixture_settle(f);
	assert_int_equal(gpu_settle(f->gpu, true), 0);
	assert_int_equal(f->opened, 0);
	assert_int_equal(gpu_device(f->gpu, 0)->opens, f->all_opened);
	assert_int_equal(gpu_device(f->gpu, 1)->opens, 0);
	/* No mark outlives the syscall that made it. */
	assert_int_equal(f->gpu->bpf->bss->pending, 0);
	unlink(none);
}

#define THREADS	   8
#define PER_THREAD 200

static void *open_often(void *node)
{
	for (int i = 0; i < PER_THREAD; i++)
		if (close(open(node, O_RDONLY)) < 0)
			return (void *)1;
	return NULL;
}

static int open_in_parallel(const char *node)
{
	pthread_t threads[THREADS];
	void *result;
	int r = 0;

	for (int i = 0; i < THREADS; i++)
		r |= pthread_create(&threads[i], NULL, open_often, (void *)node);
	for (int i = 0; i < THREADS; i++)
		r |= pthread_join(threads[i], &result) | (result != NULL);
	return r;
}

static void loses_no_open_of_many_threads_at_once(void **state)
{
	struct gpu_fixture *f = *state;
	uint64_t before = gpu_device(f->gpu, 0)->opens;

	gpu_fixture_run(f, open_in_parallel);
	/* Not each of so many is told of, but each is counted. */
	assert_true(gpu_device(f->gpu, 0)->opens - before >= THREADS * PER_THREAD);
	assert_int_equal(gpu_dispatch(f->gpu), 0);
	assert_true(f->opened > 0);
	gpu_fixture_settle(f);
	assert_null(gpu_fixture_holder(f, (pid_t)f->last.task.tgid));
}

/* Opens by io_uring; with IOSQE_ASYNC one of its own threads does it. */
static int uring_open(const char *node, int *held, unsigned int flags)
{
	struct io_uring ring;
	struct io_uring_cqe *cqe;
	int r = io_uring_queue_init(8, &ring, 0);

	for (int i = 0; r >= 0 && i < OPENS; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

		io_uring_prep_openat(sqe, AT_FDCWD, node, O_RDONLY, 0);
		sqe->flags |= flags;
		r = io_uring_submit(&ring);
		if (r < 0 || io_uring_wait_cqe(&ring, &cqe) < 0)
			return -1;
		held[i] = cqe->res;
		r = cqe->res;
		io_uring_cqe_seen(&ring, cqe);
	}
	io_uring_queue_exit(&ring);
	return r < 0 ? r : 0;
}

static int uring_open_inline(const char *node, int *held, int peer)
{
	(void)peer;
	return uring_open(node, held, 0);
}

static int uring_open_async(const char *node, int *held, int peer)
{
	(void)peer;
	return uring_open(node, held, IOSQE_ASYNC);
}

static void expect_uring_opens(struct gpu_fixture *f, actor_step step)
{
	struct actor actor;

	actor_start(f, &actor, -1);
	assert_int_equal(actor_do(&actor, step), 0);
	gpu_fixture_settle(f);
	assert_int_equal(f->opened, OPENS);
	assert_int_equal(gpu_device(f->gpu, 0)->opens, f->all_opened);
	assert_non_null(gpu_fixture_holder(f, actor.pid));
	assert_int_equal(gpu_fixture_holder(f, actor.pid)->descriptors, OPENS);
	actor_end(&actor);
}

static void counts_opens_by_io_uring(void **state)
{
	expect_uring_opens(*state, uring_open_inline);
}

static void counts_opens_by_threads_of_io_uring(void **state)
{
	expect_uring_opens(*state, uring_open_async);
}

static int close_opens(const char *node, int *held, int peer)
{
	(void)node;
	(void)peer;
	for (int i = 0; i < OPENS; i++)
		close(held[i]);
	return 0;
}

/* The kernel gives the new open files the addresses of the old ones. */
static void counts_opens_by_io_uring_again_after_a_close(void **state)
{
	struct gpu_fixture *f = *state;
	struct actor actor;

	actor_start(f, &actor, -1);
	assert_int_equal(actor_do(&actor, uring_open_inline), 0);
	gpu_fixture_settle(f);
	assert_int_equal(actor_do(&actor, close_opens), 0);
	assert_int_equal(gpu_settle(f->gpu, false), 0);
	assert_null(gpu_fixture_holder(f, actor.pid));
	assert_int_equal(actor_do(&actor, uring_open_inline), 0);
	gpu_fixture_settle(f);
	assert_int_equal(f->opened, 2 * OPENS);
	actor_end(&actor);
}

static int open_one(const char *node, int *held, int peer)
{
	(void)peer;
	held[0] = open(node, O_RDONLY);
	return held[0] < 0 ? -errno : 0;
}

static void iterator_alone_counts_opens_that_last(void **state)
{
	struct gpu_fixture *f = *state;
	struct actor actor;

	actor_start(f, &actor, -1);
	assert_int_equal(actor_do(&actor, open_one), 0);
	assert_int_equal(gpu_settle(f->gpu, true), 0);
	assert_int_equal(f->opened, 1);
	assert_int_equal(f->held, 1);
	assert_int_equal(gpu_settle(f->gpu, true), 0);
	assert_int_equal(f->opened, 1);
	actor_end(&actor);
}

static void an_open_is_told_with_who_did_it(void **state)
{
	struct gpu_fixture *f = *state;
	struct pollfd readable = { .fd = gpu_fd(f->gpu), .events = POLLIN };
	struct actor actor;

	actor_start(f, &actor, -1);
	assert_int_equal(actor_do(&actor, open_one), 0);
	/* The open itself wakes who polls, without anybody asking. */
	assert_int_equal(poll(&readable, 1, 1000), 1);
	assert_int_equal(gpu_dispatch(f->gpu), 0);
	assert_int_equal(f->last.news, GPU_OPENED);
	assert_int_equal(f->last.task.tgid, actor.pid);
	assert_int_equal(f->last.task.cgroup, f->cgroup);
	assert_int_equal(f->last.uid, getuid());
	assert_int_equal(f->last.device, 0);
	assert_int_equal(f->last.opens, gpu_device(f->gpu, 0)->opens);
	assert_true(gpu_unsettled(f->gpu));
	actor_end(&actor);
}

static void the_agents_own_opens_do_not_count(void **state)
{
	struct gpu_fixture *f = *state;
	_cleanup_close_ int fd = open(f->node, O_RDONLY);

	assert_true(fd >= 0);
	gpu_fixture_settle(f);
	assert_int_equal(gpu_settle(f->gpu, true), 0);
	assert_null(gpu_fixture_holder(f, getpid()));
	assert_int_equal(gpu_device(f->gpu, 0)->opens, f->all_opened);
}

/* How many links of this machine run a program of ours. */
static unsigned int links_of(struct gpu_sense *gpu)
{
	struct bpf_program *prog;
	unsigned int n = 0;
	__u32 id = 0;

	while (bpf_link_get_next_id(id, &id) == 0) {
		_cleanup_close_ int link = bpf_link_get_fd_by_id(id);
		struct bpf_link_info info = { 0 };
		__u32 size = sizeof(info);

		if (link < 0 || bpf_obj_get_info_by_fd(link, &info, &size) < 0)
			continue;
		bpf_object__for_each_program(prog, gpu->bpf->obj)
		{
			struct bpf_prog_info p = { 0 };
			__u32 psize = sizeof(p);

			if (bpf_program__fd(prog) >= 0 &&
			    bpf_obj_get_info_by_fd(bpf_program__fd(prog), &p, &psize) == 0)
				n += p.id == info.prog_id;
		}
	}
	return n;
}

/* A link is freed by the kernel a little after its last descriptor is closed. */
static bool nothing_attached(void *gpu)
{
	return links_of(gpu) == 0;
}

static void nothing_is_attached_while_no_events_are_wanted(void **state)
{
	struct gpu_fixture *f = *state;

	assert_true(links_of(f->gpu) > 0);
	assert_int_equal(gpu_want_events(f->gpu, false), 0);
	assert_true(live_until(nothing_attached, f->gpu, 2000));
	gpu_fixture_run(f, gpu_routes[0].go);
	gpu_fixture_settle(f);
	assert_int_equal(f->opened, 0);
	assert_int_equal(gpu_want_events(f->gpu, true), 0);
	gpu_fixture_run(f, gpu_routes[0].go);
	gpu_fixture_settle(f);
	assert_int_equal(f->opened, OPENS);
}

static void the_best_source_is_in_use_and_says_why_not_better(void **state)
{
	const struct sense_status *status = gpu_status(((struct gpu_fixture *)*state)->gpu);

	assert_non_null(status->source);
	assert_string_equal(status->name, "gpu");
	assert_non_null(status->blind[0]);
	if (strcmp(status->source, gpu_sources[0]) != 0)
		assert_non_null(strstr(status->why, gpu_sources[0]));
	else
		assert_string_equal(status->why, "");
}

static void open_refused(const struct sense_options *options, const char *why)
{
	struct gpu_sense *gpu = NULL;

	assert_int_equal(gpu_open(&gpu, options, NULL, NULL), -ENOTSUP);
	assert_null(gpu_status(gpu)->source);
	assert_non_null(strstr(gpu_status(gpu)->why, why));
	gpu_close(gpu);
}

static void a_source_that_sees_nothing_is_passed_over(void **state)
{
	char elsewhere[2 * PATH_MAX];
	struct sense_options options = {
		.source = "cgroup/dev+exits",
		.losses_fd = -1,
		.agent_pid = getpid(),
		.cgroup_mount = elsewhere,
	};

	(void)state;
	/* A cgroup that the agent is not in: the program loads and attaches, and stays silent. */
	live_cgroup("elsewhere");
	snprintf(elsewhere, sizeof(elsewhere), "%s%s", live_fs()->mount, live_path("elsewhere"));
	open_refused(&options, "loads but sees nothing");
}

/* "return 1" as an exclusive program of somebody else. */
static int attach_exclusive(int cgroup)
{
	struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int prog = bpf_prog_load(BPF_PROG_TYPE_CGROUP_DEVICE, "exclusive", "GPL", insns,
				 ARRAY_SIZE(insns), NULL);

	if (prog >= 0 && bpf_prog_attach(prog, cgroup, BPF_CGROUP_DEVICE, 0) < 0)
		fail_msg("attach an exclusive program: %s", strerror(errno));
	return prog;
}

static void an_exclusive_device_program_sends_it_down_the_ladder(void **state)
{
	char elsewhere[2 * PATH_MAX];
	struct sense_options options = {
		.losses_fd = -1,
		.agent_pid = getpid(),
		.cgroup_mount = elsewhere,
	};
	struct gpu_sense *gpu = NULL;

	(void)state;
	live_cgroup("exclusive");
	snprintf(elsewhere, sizeof(elsewhere), "%s%s", live_fs()->mount, live_path("exclusive"));

	_cleanup_close_ int cgroup = open(elsewhere, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int prog = attach_exclusive(cgroup);

	assert_true(prog >= 0);
	options.source = "cgroup/dev+exits";
	open_refused(&options, "cgroup/dev+exits: Operation not permitted");
	/* Trampolines need no cgroup; where there are some, nothing is passed over. */
	options.source = NULL;
	assert_int_equal(gpu_open(&gpu, &options, NULL, NULL), 0);
	if (strcmp(gpu_status(gpu)->source, "fexit") != 0)
		assert_string_equal(gpu_status(gpu)->source, "exits");
	gpu_close(gpu);
	assert_int_equal(bpf_prog_detach2(prog, cgroup, BPF_CGROUP_DEVICE), 0);
}

static void every_source_works_or_says_why_not(void **state)
{
	(void)state;
	for (unsigned int i = 0; gpu_sources[i]; i++) {
		struct sense_options options = {
			.source = gpu_sources[i],
			.losses_fd = -1,
			.agent_pid = getpid(),
			.cgroup_mount = live_fs()->mount,
		};
		struct gpu_sense *gpu = NULL;
		int r = gpu_open(&gpu, &options, NULL, NULL);

		if (r == 0)
			assert_string_equal(gpu_status(gpu)->source, gpu_sources[i]);
		else
			assert_non_null(strstr(gpu_status(gpu)->why, gpu_sources[i]));
		/* The ones that need no trampolines and no young kernel work everywhere. */
		assert_true(r == 0 || i < 2);
		gpu_close(gpu);
	}
}

#define MAX_TESTS 256

static struct CMUnitTest tests[MAX_TESTS];
static struct course courses[MAX_TESTS];
static char names[MAX_TESTS][96];
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

static void add_courses(CMUnitTestFunction fn, const char *what, const struct gpu_route *route,
			const char *source)
{
	for (; route->name; route++) {
		struct course *course = &courses[n_tests];
		char name[64];

		*course = (struct course){ .source = source, .route = route };
		snprintf(name, sizeof(name), "%s: %s", what, route->name);
		add(fn, open_course, close_course, course, name, source);
	}
}

#define ADD(fn, source) \
	add(fn, gpu_fixture_setup, gpu_fixture_teardown, (void *)(source), #fn, source)

static bool works_here(const char *source)
{
	struct sense_options options = {
		.source = source,
		.losses_fd = -1,
		.agent_pid = getpid(),
		.cgroup_mount = live_fs()->mount,
	};
	struct gpu_sense *gpu = NULL;
	int r;

	libbpf_set_print(NULL);
	r = gpu_open(&gpu, &options, NULL, NULL);
	gpu_close(gpu);
	return r == 0;
}

int main(void)
{
	int r;

	if (live_setup(NULL) < 0)
		return 1;
	/* The last one is the iterator, which has no events. */
	for (unsigned int i = 0; gpu_sources[i + 1]; i++) {
		const char *source = gpu_sources[i];

		/* every_source_works_or_says_why_not() fails where one should work. */
		if (i < 2 && !works_here(source))
			continue;
		add_courses(sees_each_open, "sees each open", gpu_routes, source);
		add_courses(sees_no_open, "sees no open", gpu_non_opens, source);
		ADD(loses_no_open_of_many_threads_at_once, source);
		if (strcmp(source, "exits") != 0) {
			ADD(counts_opens_by_io_uring, source);
			ADD(counts_opens_by_io_uring_again_after_a_close, source);
			ADD(counts_opens_by_threads_of_io_uring, source);
		}
		ADD(nothing_is_attached_while_no_events_are_wanted, source);
	}
	ADD(iterator_alone_counts_opens_that_last, "iterator");
	ADD(an_open_is_told_with_who_did_it, NULL);
	ADD(the_agents_own_opens_do_not_count, NULL);
	ADD(the_best_source_is_in_use_and_says_why_not_better, NULL);
	add(a_source_that_sees_nothing_is_passed_over, NULL, NULL, NULL,
	    "a_source_that_sees_nothing_is_passed_over", "cgroup/dev+exits");
	add(an_exclusive_device_program_sends_it_down_the_ladder, NULL, NULL, NULL,
	    "an_exclusive_device_program_sends_it_down_the_ladder", NULL);
	add(every_source_works_or_says_why_not, NULL, NULL, NULL,
	    "every_source_works_or_says_why_not", NULL);
	cmocka_set_test_filter(getenv("CULPRIT_TEST_FILTER"));
	r = _cmocka_run_group_tests("gpu opens", tests, n_tests, NULL, NULL);
	live_cleanup();
	return r;
}
