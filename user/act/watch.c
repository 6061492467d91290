// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/room.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lib/cleanup.h"

/* What epoll knows things by: claims by their ids, which begin at 1. */
#define KEY_GUARDIAN 0
#define KEY_TIMER    UINT64_MAX

/* A process that was sent SIGSTOP stops when it next leaves the kernel; nothing announces it. Of a
 * cgroup there is an event when it is frozen, but none when someone lets it go before. */
#define STOP_FIRST_NS	(500 * NSEC_PER_USEC)
#define FREEZE_FIRST_NS (4 * NSEC_PER_MSEC)
#define LAST_NS		(100 * NSEC_PER_MSEC)

/* --- what we wait for ------------------------------------------------------------------------- */

static int watch_fd(struct act *act, int fd, uint32_t events, uint64_t key)
{
	struct epoll_event event = { .events = events, .data.u64 = key };

	return epoll_ctl(act->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int fd_of(const struct held *h)
{
	return h->claim.target.kind == TARGET_CGROUP ? h->freezer.events : h->pidfd;
}

int watch_add(struct act *act, struct held *h)
{
	/* kernfs announces a changed cgroup.events by POLLPRI until it is read again. */
	return watch_fd(act, fd_of(h), h->claim.target.kind == TARGET_CGROUP ? EPOLLPRI : EPOLLIN,
			h->claim.id);
}

void watch_remove(struct act *act, struct held *h)
{
	/* Closing is not enough while a child that was just forked has the descriptor too. */
	if (fd_of(h) >= 0)
		(void)epoll_ctl(act->epoll, EPOLL_CTL_DEL, fd_of(h), NULL);
	h->check_ns = 0;
}

static void arm(struct act *act)
{
	struct itimerspec when = { 0 };
	uint64_t first = UINT64_MAX;

	for (unsigned int i = 0; i < act->count; i++)
		if (act->order[i]->check_ns && act->order[i]->check_ns < first)
			first = act->order[i]->check_ns;
	if (first != UINT64_MAX) {
		when.it_value.tv_sec = (time_t)(first / NSEC_PER_SEC);
		when.it_value.tv_nsec = (long)(first % NSEC_PER_SEC);
	}
	(void)timerfd_settime(act->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

void watch_later(struct act *act, struct held *h, uint64_t delay_ns)
{
	h->check_ns = monotonic_ns() + delay_ns;
	arm(act);
}

void watch_soon(struct act *act, struct held *h)
{
	h->step_ns = h->claim.action == CLAIM_FREEZE ? FREEZE_FIRST_NS : STOP_FIRST_NS;
	watch_later(act, h, h->step_ns);
}

/* --- what has become of a claim --------------------------------------------------------------- */

static void let_go_by_others(struct act *act, struct held *h)
{
	/* No more than what is left of our hold, the shells of a process that runs again. For a
	 * frozen cgroup it writes the 0 that is there already. */
	if (grip_let_go(act, h) < 0)
		return;
	(void)ledger_write(act->options.ledger, &h->claim);
	h->claim.state = CLAIM_EXTERNAL;
	h->claim.external_thaws++;
	h->check_ns = 0;
	table_tell(act, ACT_EXTERNAL_THAW, h);
}

static void verified(struct act *act, struct held *h)
{
	h->check_ns = 0;
	if (h->claim.state == CLAIM_HELD)
		return;
	h->claim.state = CLAIM_HELD;
	h->claim.held_ns = monotonic_ns();
	table_tell(act, ACT_HELD, h);
}

static void not_yet(struct act *act, struct held *h)
{
	watch_later(act, h, h->step_ns);
	h->step_ns = h->step_ns * 2 < LAST_NS ? h->step_ns * 2 : LAST_NS;
	if (h->claim.state == CLAIM_SLOW ||
	    monotonic_ns() < h->claim.since_ns + act->options.slow_ns)
		return;
	h->claim.state = CLAIM_SLOW;
	table_tell(act, ACT_SLOW, h);
}

/* Whoever changes a weight has their reasons: it is theirs from then on, and the rest stays ours.
 */
static void look_at_weights(struct act *act, struct held *h)
{
	int theirs = weights_changed(&h->weights, h->claim.weights);

	/* Of one that is gone its events tell. */
	if (theirs < 0)
		return;
	if (theirs == 0) {
		verified(act, h);
		return;
	}
	grip_leave_weights(act, h, theirs);
	if (claim_has_weights(h->claim.weights))
		table_tell(act, ACT_EXTERNAL_THAW, h);
	else
		let_go_by_others(act, h);
}

/* Nothing is left of the target. What is killed at once may be gone before the step that tells so.
 */
static void end_with_target(struct act *act, struct held *h)
{
	uint64_t id = h->claim.id;

	if (h->kill_untold) {
		h->kill_untold = false;
		table_tell(act, ACT_KILLING, h);
		if (table_find_id(act, id) != h)
			return;
	}
	(void)table_end(act, h, claim_ends(h->claim.action) ? ACT_TERMINATED : ACT_GONE);
}

static void look_at_cgroup(struct act *act, struct held *h)
{
	struct freezer_state state;
	int r = freezer_state(h->freezer.events, &state);

	if (r == -ENODEV || (r == 0 && !state.populated)) {
		end_with_target(act, h);
		return;
	}
	if (r < 0 || !h->claim.holds || claim_ends(h->claim.action))
		return;
	if (h->claim.action == CLAIM_DEMOTE) {
		look_at_weights(act, h);
		return;
	}
	/* Below a frozen cgroup `frozen` reads 1 whatever we do: cgroup.freeze tells what is ours.
	 */
	if (freezer_read(h->freezer.freeze) == 0)
		let_go_by_others(act, h);
	else if (state.frozen)
		verified(act, h);
	else
		not_yet(act, h);
}

/* Someone continued it before it was seen to have stopped: SIGSTOP has been taken, and it runs. Not
 * in D, nor in the first moment: a look at all threads costs something. */
static bool was_continued(const struct held *h, const struct proc_stat *st, bool pending)
{
	return !pending && (st->state == 'R' || st->state == 'S') &&
	       monotonic_ns() >= h->claim.since_ns + LAST_NS &&
	       !process_is_stopping(h->claim.target.pid);
}

static void look_at_process(struct act *act, struct held *h)
{
	struct proc_stat st;
	bool pending;

	if (process_ended(h->pidfd)) {
		end_with_target(act, h);
		return;
	}
	if (!h->claim.holds || claim_ends(h->claim.action))
		return;
	if (h->waits_for_shells)
		(void)grip_stop_target(h);
	/* In this order: what is not pending is in the state already. */
	pending = h->claim.state != CLAIM_HELD && proc_is_pending(h->claim.target.pid, SIGSTOP);
	if (h->waits_for_shells || proc_read_stat(h->claim.target.pid, &st) < 0) {
		not_yet(act, h);
		return;
	}
	/* Z: its first thread has ended and others run on; their state is the kernel's word alone.
	 */
	if (process_is_stopped(&st) || st.state == 'Z')
		verified(act, h);
	else if (h->claim.state == CLAIM_HELD || was_continued(h, &st, pending))
		let_go_by_others(act, h);
	else
		not_yet(act, h);
}

void watch_look(struct act *act, struct held *h)
{
	if (h->undoing)
		return;
	if (h->claim.target.kind == TARGET_CGROUP)
		look_at_cgroup(act, h);
	else
		look_at_process(act, h);
}

/* --- the guardian ----------------------------------------------------------------------------- */

void watch_guardian(struct act *act)
{
	int fd = guardian_pidfd(act->options.guardian);

	if (fd >= 0)
		(void)watch_fd(act, fd, EPOLLIN, KEY_GUARDIAN);
}

/* --- the loop --------------------------------------------------------------------------------- */

static struct held *next_due(struct act *act, uint64_t now)
{
	for (unsigned int i = 0; i < act->count; i++)
		if (act->order[i]->check_ns && act->order[i]->check_ns <= now)
			return act->order[i];
	return NULL;
}

/* Each look plans the next one for later than `now`, or ends the claim: this comes to an end. */
static void on_timer(struct act *act)
{
	uint64_t now = monotonic_ns();
	uint64_t expirations;
	struct held *h;

	(void)!read(act->timer, &expirations, sizeof(expirations));
	while ((h = next_due(act, now))) {
		h->check_ns = 0;
		if (claim_ends(h->claim.action) && !h->undoing)
			terminate_step(act, h);
		else
			watch_look(act, h);
	}
	arm(act);
}

static int on_events(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	struct epoll_event events[32];
	struct act *act = user;
	int n;

	(void)source;
	(void)revents;
	n = epoll_wait(fd, events, ARRAY_SIZE(events), 0);
	for (int i = 0; i < n; i++) {
		uint64_t key = events[i].data.u64;
		/* What was told of an earlier one of these may have ended this claim. */
		struct held *h = table_find_id(act, key);

		if (key == KEY_TIMER)
			on_timer(act);
		else if (key == KEY_GUARDIAN)
			guardian_lost(act);
		else if (h)
			watch_look(act, h);
	}
	return 0;
}

int watch_open(struct act *act)
{
	int r;

	act->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (act->epoll < 0)
		return -errno;
	act->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (act->timer < 0)
		return -errno;
	r = watch_fd(act, act->timer, EPOLLIN, KEY_TIMER);
	if (r < 0)
		return r;
	watch_guardian(act);
	return sd_event_add_io(act->options.event, &act->source, act->epoll, EPOLLIN, on_events,
			       act);
}

void watch_close(struct act *act)
{
	sd_event_source_disable_unref(act->source);
	closep(&act->timer);
	closep(&act->epoll);
}
