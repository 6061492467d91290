// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/awaited.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

#include "act/freezer.h"
#include "agent/holds.h"
#include "lib/cleanup.h"

static bool is_awaited(const struct hold *h)
{
	return h->used && !h->claim && !h->shadow && h->error == -ENODATA &&
	       h->target.kind == TARGET_CGROUP && hold_is_wanted(h);
}

static struct awaited_cgroup *find(struct awaited *w, uint64_t cgroup)
{
	for (unsigned int i = 0; i < AWAITED_MAX; i++)
		if (w->cgroups[i].cgroup == cgroup)
			return &w->cgroups[i];
	return NULL;
}

static bool is_populated(int events)
{
	struct freezer_state state = { 0 };

	return freezer_state(events, &state) == 0 && state.populated;
}

static int on_change(sd_event_source *source, int fd, uint32_t events, void *cgroup)
{
	const struct awaited_cgroup *w = cgroup;
	struct agent *a = w->agent;

	(void)source;
	(void)events;
	if (!is_populated(fd))
		return 0;
	holds_retry(a, monotonic_ns());
	awaited_look(a);
	agent_schedule(a);
	return 0;
}

static void stop(struct awaited_cgroup *w)
{
	w->source = sd_event_source_disable_unref(w->source);
	closep(&w->events);
	w->cgroup = 0;
}

/* True: somebody has joined it meanwhile. */
static bool wait_for(struct agent *a, uint64_t cgroup)
{
	_cleanup_close_ int dir = cgroupfs_open_id(&a->cgroups, cgroup);
	struct awaited_cgroup *w = find(&a->awaited, 0);

	if (dir < 0 || !w)
		return false;
	*w = (struct awaited_cgroup){ .agent = a, .cgroup = cgroup };
	w->events = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (w->events < 0 ||
	    sd_event_add_io(a->event, &w->source, w->events, EPOLLPRI, on_change, w) < 0) {
		stop(w);
		return false;
	}
	return is_populated(w->events);
}

static void stop_what_is_over(struct agent *a)
{
	for (unsigned int i = 0; i < AWAITED_MAX; i++) {
		struct awaited_cgroup *w = &a->awaited.cgroups[i];
		const struct target target = { .kind = TARGET_CGROUP, .cgroup = w->cgroup };
		const struct hold *h = w->cgroup ? hold_find(a, &target) : NULL;

		if (w->cgroup && !(h && is_awaited(h)))
			stop(w);
	}
}

void awaited_look(struct agent *a)
{
	bool joined = false;

	stop_what_is_over(a);
	for (unsigned int i = 0; i < ARRAY_SIZE(a->holds); i++) {
		const struct hold *h = &a->holds[i];

		if (is_awaited(h) && !find(&a->awaited, h->target.cgroup))
			joined |= wait_for(a, h->target.cgroup);
	}
	if (joined)
		holds_retry(a, monotonic_ns());
}

void awaited_free(struct agent *a)
{
	for (unsigned int i = 0; i < AWAITED_MAX; i++)
		if (a->awaited.cgroups[i].cgroup)
			stop(&a->awaited.cgroups[i]);
}
