// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gpu_fixture.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"
#include "stand_in.h"

static void on_change(void *user, const struct gpu_change *change)
{
	struct gpu_fixture *f = user;

	f->all_opened += change->news == GPU_OPENED;
	if (change->task.cgroup != f->cgroup)
		return;
	f->opened += change->news == GPU_OPENED;
	f->held += change->news == GPU_HELD;
	f->released += change->news == GPU_RELEASED;
	f->last = *change;
}

/* Each fixture has a cgroup and a node of its own: what a test before left dying is not its. */
static void make_node(struct gpu_fixture *f)
{
	static unsigned int n;

	snprintf(f->actors, sizeof(f->actors), "actors%u", n);
	f->cgroup = live_cgroup(f->actors);
	snprintf(f->node, sizeof(f->node), "%s/gpu%u", live_nodedir(), n++);
	if (chmod(live_nodedir(), 0755) < 0)
		fail_msg("chmod %s: %s", live_nodedir(), strerror(errno));
	stand_in_node(f->node);
}

static void open_sense(struct gpu_fixture *f, const char *source)
{
	struct sense_options options = {
		.source = source,
		.losses_fd = -1,
		.agent_pid = getpid(),
		.cgroup_mount = live_fs()->mount,
	};
	const char *globs[] = { NULL, NULL };
	int r;

	/* libbpf's account of why a rung does not load is for people, not for a test's output. */
	libbpf_set_print(NULL);
	r = gpu_open(&f->gpu, &options, on_change, f);
	if (r < 0)
		fail_msg("gpu_open on %s: %s (%s)", source ? source : "the best source",
			 strerror(-r), gpu_status(f->gpu)->why);
	globs[0] = f->node;
	assert_int_equal(gpu_set_devices(f->gpu, globs), 1);
	assert_int_equal(gpu_settle(f->gpu, true), 0);
	assert_int_equal(gpu_want_events(f->gpu, true), 0);
}

void gpu_fixture_open(struct gpu_fixture *f, const char *source)
{
	memset(f, 0, sizeof(*f));
	make_node(f);
	open_sense(f, source);
}

void gpu_fixture_reopen(struct gpu_fixture *f)
{
	gpu_close(f->gpu);
	f->opened = f->held = f->released = f->all_opened = 0;
	open_sense(f, NULL);
}

void gpu_fixture_close(struct gpu_fixture *f)
{
	gpu_close(f->gpu);
	f->gpu = NULL;
	unlink(f->node);
}

int gpu_fixture_setup(void **state)
{
	struct gpu_fixture *f = calloc(1, sizeof(*f));

	gpu_fixture_open(f, *state);
	*state = f;
	return 0;
}

int gpu_fixture_teardown(void **state)
{
	gpu_fixture_close(*state);
	free(*state);
	return 0;
}

struct run {
	int (*fn)(const char *node);
	const char *node;
};

static int run_in_child(void *arg)
{
	const struct run *run = arg;
	int r = run->fn(run->node);

	if (r)
		fprintf(stderr, "the process of the test returned %d (%s)\n", r, strerror(errno));
	return r ? 1 : 0;
}

void gpu_fixture_run(struct gpu_fixture *f, int (*fn)(const char *node))
{
	struct run run = { fn, f->node };
	pid_t pid = live_fork(f->actors, run_in_child, &run);

	assert_int_equal(live_wait(pid), 0);
}

static bool settled(void *arg)
{
	struct gpu_fixture *f = arg;

	assert_int_equal(gpu_settle(f->gpu, false), 0);
	return !gpu_unsettled(f->gpu);
}

void gpu_fixture_settle(struct gpu_fixture *f)
{
	if (!live_until(settled, f, 5000))
		fail_msg("still unsettled after 5 s");
}

const struct gpu_holder *gpu_fixture_holder(struct gpu_fixture *f, pid_t pid)
{
	const struct gpu_holder *holders;
	unsigned int n = gpu_holders(f->gpu, &holders);

	for (unsigned int i = 0; i < n; i++)
		if (holders[i].task.tgid == (uint32_t)pid && holders[i].device == 0)
			return &holders[i];
	return NULL;
}

struct stage {
	const char *node;
	int fd;
	int peer;
};

/* The actor: forked from the test, so a step is just the address of a function. */
static int act(void *arg)
{
	const struct stage *stage = arg;
	int held[ACTOR_HELD];
	actor_step step;

	for (unsigned int i = 0; i < ACTOR_HELD; i++)
		held[i] = -1;
	while (read(stage->fd, &step, sizeof(step)) == sizeof(step)) {
		int r = step(stage->node, held, stage->peer);

		if (write(stage->fd, &r, sizeof(r)) != sizeof(r))
			return 1;
	}
	return 0;
}

void actor_start(struct gpu_fixture *f, struct actor *actor, int peer)
{
	struct stage stage = { .node = f->node, .peer = peer };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	stage.fd = pair[1];
	actor->pid = live_fork(f->actors, act, &stage);
	actor->fd = pair[0];
	close(pair[1]);
}

void actor_begin(struct actor *actor, actor_step step)
{
	assert_int_equal(write(actor->fd, &step, sizeof(step)), sizeof(step));
}

int actor_do(struct actor *actor, actor_step step)
{
	int r = -1;

	actor_begin(actor, step);
	assert_int_equal(read(actor->fd, &r, sizeof(r)), sizeof(r));
	return r;
}

void actor_end(struct actor *actor)
{
	live_kill(actor->pid);
	close(actor->fd);
}
