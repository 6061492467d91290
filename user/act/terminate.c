// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/room.h"

#include <errno.h>
#include <signal.h>

#include "act/subtree.h"
#include "lib/cleanup.h"

/* Rounds for what was forked between listing and signalling: soon, then ever more rarely. */
#define FIRST_ROUND_NS (20 * NSEC_PER_MSEC)
#define LAST_ROUND_NS  (1 * NSEC_PER_SEC)

static int signal_all(struct act *act, struct held *h, int signal, uint64_t since_ticks)
{
	const struct target *target = &h->claim.target;
	struct subtree_signal order = { .fs = act->options.cgroups,
					.safety = &act->safety,
					.cgroup = target->cgroup,
					.path = target->path,
					.signal = signal,
					.since_ticks = since_ticks };

	if (target->kind == TARGET_PROCESS)
		return process_signal(h->pidfd, signal);
	return subtree_signal(&order);
}

static void plan(struct act *act, struct held *h)
{
	uint64_t now = monotonic_ns();
	uint64_t delay = h->step_ns;

	if (!h->killing && now + delay > h->kill_ns)
		delay = h->kill_ns > now ? h->kill_ns - now : 1;
	h->step_ns = h->step_ns * 2 < LAST_ROUND_NS ? h->step_ns * 2 : LAST_ROUND_NS;
	watch_later(act, h, delay);
}

/* Before 5.14 there is no cgroup.kill: frozen, nothing can fork away from the signals. What the
 * operator has frozen stands still already, and stays frozen. With someone in it who must not be
 * touched, the signals to the others have to do: they are repeated. */
static void kill_frozen(struct act *act, struct held *h)
{
	bool froze = !h->claim.holds && grip_is_allowed(act, h) == 0 && grip_is_free(act, h) == 0 &&
		     grip_take(act, h) == 0;

	(void)signal_all(act, h, SIGKILL, 0);
	if (froze) {
		(void)grip_let_go(act, h);
		(void)ledger_write(act->options.ledger, &h->claim);
	}
}

static int kill_at_once(struct act *act, struct held *h)
{
	_cleanup_close_ int dir = -1;

	if (act->options.without_cgroup_kill)
		return -ENOENT;
	if (grip_is_allowed(act, h) < 0)
		return -EPERM;
	dir = cgroupfs_open_id(act->options.cgroups, h->claim.target.cgroup);
	return dir < 0 ? dir : cgroupfs_write(dir, "cgroup.kill", "1");
}

static void kill_all(struct act *act, struct held *h)
{
	if (h->claim.target.kind == TARGET_PROCESS) {
		(void)process_signal(h->pidfd, SIGKILL);
		return;
	}
	/* Someone that must not be touched may have moved in since the claim was made. */
	safety_refresh(&act->safety, guardian_pid(act->options.guardian));
	if (kill_at_once(act, h) < 0)
		kill_frozen(act, h);
}

void terminate_begin(struct act *act, struct held *h)
{
	bool at_once = h->claim.action == CLAIM_KILL;

	h->claim.since_ns = monotonic_ns();
	h->kill_ns = h->claim.since_ns + (at_once ? 0 : act->options.terminate_timeout_ns);
	h->step_ns = FIRST_ROUND_NS;
	h->round_ticks = process_ticks_now();
	h->killing = false;
	/* What is spared is told of, or let go, by the first step, which comes now. */
	h->kill_untold = at_once && !grip_is_spared(act, &h->claim.target);
	if (!at_once)
		(void)signal_all(act, h, SIGTERM, 0);
	else if (h->kill_untold)
		kill_all(act, h);
	plan(act, h);
}

/* Only a process can move. */
static bool has_left(const struct act *act, struct held *h)
{
	return h->claim.target.kind == TARGET_PROCESS && grip_is_allowed(act, h) == -EPERM;
}

void terminate_step(struct act *act, struct held *h)
{
	uint64_t now = monotonic_ns();
	uint64_t since = h->round_ticks;

	h->round_ticks = process_ticks_now();
	if (now < h->kill_ns) {
		if (h->claim.target.kind == TARGET_CGROUP)
			(void)signal_all(act, h, SIGTERM, since);
		plan(act, h);
		return;
	}
	if (has_left(act, h)) {
		(void)table_end(act, h, ACT_OUTSIDE);
		return;
	}
	/* The user lets it go, or finds that nothing speaks against it any more. */
	if (grip_is_spared(act, &h->claim.target)) {
		watch_later(act, h, LAST_ROUND_NS);
		return;
	}
	kill_all(act, h);
	if (h->killing) {
		plan(act, h);
		if (now - h->kill_ns >= act->options.slow_ns && h->claim.state == CLAIM_ACTING) {
			h->claim.state = CLAIM_SLOW;
			table_tell(act, ACT_SLOW, h);
		}
		return;
	}
	h->killing = true;
	h->kill_untold = false;
	h->step_ns = FIRST_ROUND_NS;
	plan(act, h);
	table_tell(act, ACT_KILLING, h);
}
