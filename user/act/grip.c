// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/room.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"

static int copy_path(struct target *target, const char *path)
{
	if (strlen(path) >= sizeof(target->path))
		return -ENAMETOOLONG;
	memcpy(target->path, path, strlen(path) + 1);
	return 0;
}

static int open_cgroup(struct act *act, struct held *h)
{
	const struct cgroupfs *fs = act->options.cgroups;
	struct target *target = &h->claim.target;
	const struct ready_entry *ready = ready_find(&act->ready, target->cgroup);
	struct freezer_state state = { 0 };
	int r = ready ? copy_path(target, ready->path)
		      : cgroupfs_path_of(fs, target->cgroup, target->path, sizeof(target->path));

	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	if (!safety_allows_cgroup(&act->safety, target->path))
		return -EPERM;
	r = ready ? freezer_dup(&ready->freezer, &h->freezer)
		  : freezer_open(fs, target->cgroup, &h->freezer);
	if (r == 0)
		r = freezer_state(h->freezer.events, &state);
	if (r < 0)
		return r == -ENODEV ? -ESTALE : r;
	return state.populated ? 0 : -ENODATA;
}

static int open_weights(struct act *act, struct held *h)
{
	int r = weights_open_id(act->options.cgroups, h->claim.target.cgroup, &h->weights);

	return r < 0 ? r : weights_plan(&h->weights, h->claim.weights);
}

/* Is the process stopped on behalf of another claim, as its target or as a shell? */
static bool is_ours(const struct act *act, const struct held *except, pid_t pid, uint64_t start_ns)
{
	for (unsigned int i = 0; i < act->count; i++) {
		const struct claim *claim = &act->order[i]->claim;

		if (act->order[i] == except || !claim->holds ||
		    claim->target.kind != TARGET_PROCESS)
			continue;
		if (claim->target.pid == pid &&
		    proc_same_start_ns(claim->target.start_time_ns, start_ns))
			return true;
		for (unsigned int j = 0; j < claim->n_shells; j++)
			if (claim->shells[j].pid == pid &&
			    proc_same_start_ns(claim->shells[j].start_time_ns, start_ns))
				return true;
	}
	return false;
}

bool grip_is_spared(const struct act *act, const struct target *target)
{
	return act->options.spares && act->options.spares(act->options.user, target);
}

/* From the target outwards, as far as shells of the same terminal go. One that we must not touch,
 * or that someone else has stopped, is left alone, and so are those outside it. */
static void open_shells(struct act *act, struct held *h, const struct proc_stat *st)
{
	struct claim *claim = &h->claim;
	struct proc_stat child = *st;

	while (claim->n_shells < CLAIM_SHELLS) {
		struct claim_shell *entry = &claim->shells[claim->n_shells];
		char path[CLAIM_PATH_LEN];
		struct proc_stat shell;
		_cleanup_close_ int fd = process_open_shell(&child, &entry->pid, &shell);

		if (fd < 0)
			return;
		entry->start_time_ns = process_start_ns(&shell);
		if (proc_read_cgroup(entry->pid, path, sizeof(path)) < 0 ||
		    !safety_allows_process(&act->safety, entry->pid, &shell, path))
			return;
		if (process_is_stopped(&shell) &&
		    !is_ours(act, h, entry->pid, entry->start_time_ns))
			return;
		if (grip_is_spared(act,
				   &(struct target){ .kind = TARGET_PROCESS, .pid = entry->pid }))
			return;
		h->shell_fds[claim->n_shells++] = take_fd(fd);
		child = shell;
	}
}

static void close_shells(struct held *h)
{
	for (int i = 0; i < CLAIM_SHELLS; i++) {
		closep(&h->shell_fds[i]);
		h->shell_fds[i] = -1;
	}
	h->claim.n_shells = 0;
}

/* Where is the process now, and may it be touched there? */
static int locate_process(const struct act *act, struct held *h, const struct proc_stat *st)
{
	struct target *target = &h->claim.target;
	int r = proc_read_cgroup(target->pid, target->path, sizeof(target->path));

	if (r < 0)
		return r;
	/* That path was of another one if ours has ended since. */
	if (process_ended(h->pidfd))
		return -ESRCH;
	return safety_allows_process(&act->safety, target->pid, st, target->path) ? 0 : -EPERM;
}

static int open_process(struct act *act, struct held *h)
{
	struct target *target = &h->claim.target;
	struct proc_stat st;
	int r;

	h->pidfd = process_open(target->pid, target->start_time_ns, &st);
	if (h->pidfd < 0)
		return h->pidfd;
	r = locate_process(act, h, &st);
	if (r < 0)
		return r;
	memcpy(target->comm, st.comm, sizeof(target->comm));
	if (h->claim.action == CLAIM_STOP)
		open_shells(act, h, &st);
	return 0;
}

int grip_open(struct act *act, struct held *h)
{
	int r;

	h->freezer = (struct freezer){ -1, -1 };
	h->weights = WEIGHTS_CLOSED;
	h->pidfd = -1;
	for (int i = 0; i < CLAIM_SHELLS; i++)
		h->shell_fds[i] = -1;
	if (h->claim.target.kind == TARGET_PROCESS)
		return open_process(act, h);
	r = open_cgroup(act, h);
	return r == 0 && h->claim.action == CLAIM_DEMOTE ? open_weights(act, h) : r;
}

void grip_close(struct held *h)
{
	freezer_close(&h->freezer);
	weights_close(&h->weights);
	closep(&h->pidfd);
	h->pidfd = -1;
	close_shells(h);
}

int grip_is_allowed(const struct act *act, struct held *h)
{
	const struct target *target = &h->claim.target;
	struct proc_stat st;
	int r;

	if (target->kind == TARGET_CGROUP)
		return safety_allows_cgroup(&act->safety, target->path) ? 0 : -EPERM;
	r = proc_read_stat(target->pid, &st);
	return r < 0 ? r : locate_process(act, h, &st);
}

int grip_renew(struct act *act, struct held *h)
{
	struct proc_stat st;
	int r = grip_is_allowed(act, h);

	if (r == 0)
		r = grip_is_free(act, h);
	if (r < 0 || h->claim.target.kind == TARGET_CGROUP)
		return r;
	r = proc_read_stat(h->claim.target.pid, &st);
	if (r < 0)
		return r;
	close_shells(h);
	open_shells(act, h, &st);
	return 0;
}

int grip_is_free(const struct act *act, const struct held *h)
{
	const struct target *target = &h->claim.target;
	struct proc_stat st;
	int r;

	/* What others have set low is not in the plan. */
	if (h->claim.action == CLAIM_DEMOTE)
		return 0;
	if (target->kind == TARGET_CGROUP) {
		r = freezer_read(h->freezer.freeze);
		return r == 1 ? -EBUSY : r == -ENODEV ? -ESTALE : r;
	}
	r = proc_read_stat(target->pid, &st);
	if (r < 0)
		return r;
	if (process_is_stopped(&st) && !is_ours(act, h, target->pid, target->start_time_ns))
		return -EBUSY;
	return 0;
}

/* --- the kernel ------------------------------------------------------------------------------- */

static bool shells_have_stopped(const struct held *h)
{
	for (unsigned int i = 0; i < h->claim.n_shells; i++) {
		struct proc_stat st;

		if (proc_read_stat(h->claim.shells[i].pid, &st) == 0 && !process_is_stopped(&st) &&
		    !process_ended(h->shell_fds[i]))
			return false;
	}
	return true;
}

int grip_stop_target(struct held *h)
{
	/* A shell that has not come to its stop yet could still collect the news of its child's,
	 * and would act on it later. One that is stuck in the kernel is not waited for. */
	if (!shells_have_stopped(h) && monotonic_ns() - h->claim.since_ns < 50 * NSEC_PER_MSEC)
		return 0;
	h->waits_for_shells = false;
	return process_signal(h->pidfd, SIGSTOP);
}

static int press(struct held *h)
{
	if (h->claim.action == CLAIM_DEMOTE)
		return weights_lower(&h->weights, h->claim.weights);
	if (h->claim.target.kind == TARGET_CGROUP)
		return freezer_write(h->freezer.freeze, true);
	if (h->claim.n_shells == 0)
		return process_signal(h->pidfd, SIGSTOP);
	/* The outermost first: each is the child of the next. One that has ended reacts to nothing.
	 */
	for (unsigned int i = h->claim.n_shells; i-- > 0;)
		(void)process_signal(h->shell_fds[i], SIGSTOP);
	h->waits_for_shells = true;
	return grip_stop_target(h);
}

static int relax(const struct act *act, struct held *h)
{
	const struct claim *claim = &h->claim;
	int r = 0;

	if (claim_has_weights(claim->weights))
		return weights_restore(&h->weights, claim->weights);
	/* All of it is somebody else's by now. */
	if (claim->action == CLAIM_DEMOTE)
		return 0;
	if (claim->target.kind == TARGET_CGROUP) {
		r = freezer_write(h->freezer.freeze, false);
		return r == -ENODEV ? 0 : r;
	}
	h->waits_for_shells = false;
	if (!is_ours(act, h, claim->target.pid, claim->target.start_time_ns))
		r = process_signal(h->pidfd, SIGCONT);
	for (unsigned int i = 0; i < claim->n_shells; i++)
		if (!is_ours(act, h, claim->shells[i].pid, claim->shells[i].start_time_ns))
			(void)process_signal(h->shell_fds[i], SIGCONT);
	return r == -ESRCH ? 0 : r;
}

/* --- ledger, guardian, kernel ----------------------------------------------------------------- */

struct guardian_grip grip_for_guardian(const struct held *h)
{
	struct guardian_grip grip = { .claim = &h->claim };

	if (claim_has_weights(h->claim.weights)) {
		for (unsigned int i = 0; i < CLAIM_WEIGHTS; i++)
			if (claim_weight_is_ours(&h->claim.weights[i]))
				grip.fds[grip.n_fds++] = h->weights.fds[i];
		return grip;
	}
	grip.fds[grip.n_fds++] =
		h->claim.target.kind == TARGET_CGROUP ? h->freezer.freeze : h->pidfd;
	for (unsigned int i = 0; i < h->claim.n_shells; i++)
		grip.fds[grip.n_fds++] = h->shell_fds[i];
	return grip;
}

/* Presses what the guardian knows beforehand or, by a pledge, as soon as that. */
static int press_known(struct act *act, struct held *h)
{
	const struct target *target = &h->claim.target;
	struct guardian *guardian = act->options.guardian;
	/* A pledge is to freeze. */
	const struct ready_entry *ready =
		target->kind == TARGET_CGROUP && h->claim.action != CLAIM_DEMOTE
			? ready_find(&act->ready, target->cgroup)
			: NULL;
	unsigned int loan = ready ? ready_place(&act->ready, ready) : GUARDIAN_LOANS;
	struct guardian_grip grip = grip_for_guardian(h);
	bool pledged = guardian_pledge(guardian, loan, h->claim.id) == 0;
	int r = pledged ? 0 : guardian_add(guardian, &grip);

	if (r < 0)
		return r;
	h->claim.since_ns = monotonic_ns();
	r = press(h);
	if (r == 0 && pledged)
		r = guardian_add(guardian, &grip);
	if (r < 0)
		(void)relax(act, h);
	guardian_redeem(guardian, loan);
	return r;
}

int grip_take(struct act *act, struct held *h)
{
	int r;

	h->claim.holds = true;
	r = ledger_write(act->options.ledger, &h->claim);
	if (r == 0)
		r = press_known(act, h);
	if (r < 0) {
		/* Harmless where the guardian was never told. */
		(void)guardian_drop(act->options.guardian, h->claim.id);
		h->claim.holds = false;
	}
	return r == -ENODEV ? -ESTALE : r;
}

int grip_let_go(struct act *act, struct held *h)
{
	int r;

	if (!h->claim.holds)
		return 0;
	r = relax(act, h);
	if (r < 0)
		return r;
	h->claim.holds = false;
	memset(h->claim.weights, 0, sizeof(h->claim.weights));
	/* Never lost: it is sent later where it cannot be sent now. */
	(void)guardian_drop(act->options.guardian, h->claim.id);
	return 0;
}

void grip_leave_weights(struct act *act, struct held *h, int theirs)
{
	struct guardian_grip grip;

	for (unsigned int i = 0; i < CLAIM_WEIGHTS; i++)
		if (theirs & 1 << i)
			h->claim.weights[i] = (struct claim_weight){ 0 };
	if (!claim_has_weights(h->claim.weights))
		return;
	(void)ledger_write(act->options.ledger, &h->claim);
	grip = grip_for_guardian(h);
	/* One that does not read it leaves alone what is not as we have set it, too. */
	(void)guardian_add(act->options.guardian, &grip);
}
