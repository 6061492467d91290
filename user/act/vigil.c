// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/vigil.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "act/freezer.h"
#include "act/frozen.h"
#include "act/weights.h"
#include "lib/cleanup.h"
#include "lib/clock.h"

struct entry {
	uint64_t claim_id;
	uint32_t target_kind;
	uint32_t slot;
	unsigned int n_fds;
	int fds[VIGIL_FDS];
	struct claim_weight weights[CLAIM_WEIGHTS]; /* what is lowered; each has a descriptor */
	bool failed; /* the kernel did not take the undoing; the ledger keeps it */
};

struct watch {
	const struct vigil *vigil;
	struct entry entries[CLAIM_MAX]; /* oldest first */
	unsigned int n;
	int loans[GUARDIAN_LOANS]; /* -1: none */
	bool loan_failed[GUARDIAN_LOANS];
	uint64_t seen_beats;
	uint64_t silent_ns;
	uint64_t looked_ns; /* CLOCK_MONOTONIC */
	bool peer_gone;	    /* end of file on the socket */
};

/* --- becoming a guardian ---------------------------------------------------------------------- */

static int keep_fds(int *fds, unsigned int n)
{
	int next = 3;

	/* In order, so that what lies between can be closed. */
	for (unsigned int i = 1; i < n; i++)
		for (unsigned int j = i; j > 0 && fds[j] < fds[j - 1]; j--) {
			int swap = fds[j];

			fds[j] = fds[j - 1];
			fds[j - 1] = swap;
		}
	for (unsigned int i = 0; i < n; i++) {
		if (fds[i] > next && close_range(next, fds[i] - 1, 0) < 0)
			return -errno;
		next = fds[i] + 1;
	}
	return close_range(next, ~0U, 0) < 0 ? -errno : 0;
}

static bool is_among(int fd, const int *fds, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (fds[i] == fd)
			return true;
	return false;
}

/* Whatever else the agent had open would be kept alive by us: its sockets, epoll, BPF links. */
static int close_others(const struct watch *w)
{
	const struct ledger *ledger = w->vigil->options->ledger;
	int keep[4 + CLAIM_MAX * VIGIL_FDS + GUARDIAN_LOANS] = { w->vigil->sock, w->vigil->agent,
								 ledger_fd(ledger),
								 ledger_dir(ledger) };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	unsigned int n = 4;

	for (unsigned int i = 0; i < w->n; i++)
		for (unsigned int j = 0; j < w->entries[i].n_fds; j++)
			keep[n++] = w->entries[i].fds[j];
	for (unsigned int i = 0; i < GUARDIAN_LOANS; i++)
		if (w->loans[i] >= 0)
			keep[n++] = w->loans[i];
	for (int fd = 0; fd < 3 && null >= 0; fd++)
		if (!is_among(fd, keep, n))
			(void)dup2(null, fd);
	return keep_fds(keep, n);
}

static void settle_signals(void)
{
	static const int ignored[] = { SIGTERM, SIGINT,	 SIGHUP,  SIGQUIT, SIGUSR1, SIGUSR2,
				       SIGPIPE, SIGALRM, SIGTSTP, SIGTTIN, SIGTTOU };
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* It is needed when the machine is in distress, and sleeps at all other times. */
static void take_precedence(void)
{
	const struct sched_param lowest = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_FIFO, &lowest) < 0)
		(void)setpriority(PRIO_PROCESS, 0, -20);
}

static void write_oom_score(void)
{
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!write(fd, "-1000", 5);
}

static int settle(const struct watch *w)
{
	struct rlimit files;
	int r;

	settle_signals();
	/* Out of the terminal's reach: Ctrl-C and hang-ups are for the agent. */
	(void)setsid();
	(void)prctl(PR_SET_NAME, GUARDIAN_NAME);
	(void)!chdir("/");
	r = close_others(w);
	if (r < 0)
		return r;
	/* A full table of claims with shells is more than the customary 1,024 descriptors. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	/* These need privileges that a container may lack; it is a guardian without them, too. */
	take_precedence();
	(void)mlockall(MCL_CURRENT | MCL_FUTURE);
	write_oom_score();
	return ledger_lock_guardian(w->vigil->options->ledger);
}

/* --- the table -------------------------------------------------------------------------------- */

static void remove_entry(struct watch *w, unsigned int index)
{
	struct entry *e = &w->entries[index];

	for (unsigned int i = 0; i < e->n_fds; i++)
		close(e->fds[i]);
	w->n--;
	memmove(e, e + 1, (w->n - index) * sizeof(*e));
}

static void drop(struct watch *w, uint64_t claim_id)
{
	for (unsigned int i = 0; i < w->n; i++)
		if (w->entries[i].claim_id == claim_id) {
			remove_entry(w, i);
			return;
		}
}

static void look_anew(struct watch *w)
{
	w->seen_beats = atomic_load_explicit(&w->vigil->page->agent_beats, memory_order_relaxed);
	w->silent_ns = 0;
	w->looked_ns = monotonic_ns();
}

static int add(struct watch *w, const struct vigil_message *message, const int *fds,
	       unsigned int n_fds)
{
	struct entry *e;

	drop(w, message->claim_id);
	/* Descriptors that did not arrive are claims that could not be undone: better to end here,
	 * so that the agent starts another guardian and tells it everything. */
	if (n_fds == 0 || w->n == CLAIM_MAX || message->slot >= CLAIM_MAX)
		return -ENOSPC;
	if (w->n == 0)
		look_anew(w);
	e = &w->entries[w->n++];
	*e = (struct entry){ .claim_id = message->claim_id,
			     .target_kind = message->target_kind,
			     .slot = message->slot,
			     .n_fds = n_fds };
	memcpy(e->fds, fds, n_fds * sizeof(*fds));
	memcpy(e->weights, message->weights, sizeof(e->weights));
	return 0;
}

static void take_back(struct watch *w, unsigned int loan)
{
	if (w->loans[loan] >= 0)
		close(w->loans[loan]);
	w->loans[loan] = -1;
}

static int lend(struct watch *w, unsigned int loan, const int *fds, unsigned int n_fds)
{
	if (n_fds != 1 || loan >= GUARDIAN_LOANS)
		return -EBADMSG;
	take_back(w, loan);
	w->loans[loan] = fds[0];
	return 0;
}

/* What is carried out on a loan, and was not sent yet. 0: nothing. */
static uint64_t pledged(const struct watch *w, unsigned int loan)
{
	return w->loans[loan] < 0
		       ? 0
		       : atomic_load_explicit(&w->vigil->page->pledged[loan], memory_order_acquire);
}

static bool holds_something(const struct watch *w)
{
	bool holds = w->n > 0;

	for (unsigned int i = 0; i < GUARDIAN_LOANS; i++)
		holds |= pledged(w, i) != 0;
	return holds;
}

/* One message: 1, 0 when there is none, -ECANCELED for the order to end, -errno. */
static int receive(struct watch *w)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * VIGIL_FDS)];
	} control;
	struct vigil_message message;
	struct iovec iov = { &message, sizeof(message) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *header;
	unsigned int n_fds = 0;
	int fds[VIGIL_FDS];
	ssize_t n = recvmsg(w->vigil->sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	/* ECONNRESET: told once of an agent that has died before it read that we are ready. */
	if (n == 0 || (n < 0 && errno == ECONNRESET)) {
		w->peer_gone = true;
		return n == 0 ? 0 : 1;
	}
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	header = CMSG_FIRSTHDR(&msg);
	if (header && header->cmsg_type == SCM_RIGHTS) {
		n_fds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(header), n_fds * sizeof(int));
	}
	if (n != sizeof(message) || (msg.msg_flags & MSG_CTRUNC))
		return -EBADMSG;
	if (message.kind == VIGIL_STOP)
		return -ECANCELED;
	if (message.kind == VIGIL_ADD)
		return add(w, &message, fds, n_fds) < 0 ? -ENOSPC : 1;
	if (message.kind == VIGIL_LEND)
		return lend(w, message.slot, fds, n_fds) < 0 ? -EBADMSG : 1;
	if (message.kind == VIGIL_DROP)
		drop(w, message.claim_id);
	else if (message.kind == VIGIL_RETURN && message.slot < GUARDIAN_LOANS)
		take_back(w, message.slot);
	return 1;
}

/* --- undoing ---------------------------------------------------------------------------------- */

static bool thaw(int freeze_fd)
{
	int r = freezer_write(freeze_fd, false);

	return r == 0 || r == -ENODEV;
}

static bool restore(const struct entry *e)
{
	struct weights weights = WEIGHTS_CLOSED;
	unsigned int n = 0;

	for (unsigned int i = 0; i < CLAIM_WEIGHTS; i++)
		if (claim_weight_is_ours(&e->weights[i]) && n < e->n_fds)
			weights.fds[i] = e->fds[n++];
	return weights_restore(&weights, e->weights) == 0;
}

static bool let_go(const struct entry *e)
{
	int r;

	if (claim_has_weights(e->weights))
		return restore(e);
	if (e->target_kind == TARGET_CGROUP)
		return thaw(e->fds[0]);
	r = pidfd_send_signal(e->fds[0], SIGCONT, NULL, 0) < 0 ? -errno : 0;
	return r == 0 || r == -ESRCH;
}

static void undo_all(struct watch *w)
{
	for (unsigned int i = 0; i < GUARDIAN_LOANS; i++)
		w->loan_failed[i] = pledged(w, i) && !thaw(w->loans[i]);
	for (unsigned int i = w->n; i-- > 0;)
		w->entries[i].failed = !let_go(&w->entries[i]);
	/* Inner shells before outer ones, and all of them after their children. */
	for (unsigned int level = 1; level < VIGIL_FDS; level++)
		for (unsigned int i = w->n; i-- > 0;)
			if (w->entries[i].target_kind == TARGET_PROCESS &&
			    level < w->entries[i].n_fds)
				(void)pidfd_send_signal(w->entries[i].fds[level], SIGCONT, NULL, 0);
}

static enum ledger_fate fate_of(bool failed)
{
	return failed ? LEDGER_KEEP : LEDGER_UNDONE;
}

/*
 * What was undone stays there as such, for the next agent to tell of: nobody hears a guardian. When
 * all messages were read, the agent's other claims were never sent, so the kernel was not told of
 * them either. Those of an earlier agent, which ours could not undo, stay for the next one. A slot
 * may have another claim by now, if that one was never sent. True: it holds nothing any more.
 */
static bool settle_ledger(const struct watch *w, bool read_all)
{
	const struct ledger *ledger = w->vigil->options->ledger;
	enum ledger_fate fates[CLAIM_MAX];
	bool keeps = false;

	for (unsigned int i = 0; i < CLAIM_MAX; i++)
		fates[i] = !read_all || ledger_was_left(ledger, i) ? LEDGER_KEEP : LEDGER_EMPTY;
	for (unsigned int i = 0; i < w->n; i++)
		if (ledger_slot_holds(ledger, w->entries[i].slot, w->entries[i].claim_id))
			fates[w->entries[i].slot] = fate_of(w->entries[i].failed);
	for (unsigned int i = 0; i < GUARDIAN_LOANS; i++) {
		unsigned int slot = w->vigil->page->pledged_slot[i];

		if (pledged(w, i) && ledger_slot_holds(ledger, slot, pledged(w, i)))
			fates[slot] = fate_of(w->loan_failed[i]);
	}
	for (unsigned int i = 0; i < CLAIM_MAX; i++)
		keeps |= fates[i] == LEDGER_KEEP;
	(void)ledger_settle(ledger, fates);
	return !keeps;
}

static void take_over(struct watch *w)
{
	const struct guardian_options *options = w->vigil->options;

	int r;

	do
		r = receive(w);
	while (r == 1);
	undo_all(w);
	if (settle_ledger(w, r == 0))
		frozen_remove(ledger_dir(options->ledger));
	if (options->remove_pins && options->pin_dir)
		(void)options->remove_pins(options->pin_dir);
}

/* --- watching --------------------------------------------------------------------------------- */

/* Adds up only time in which we ran ourselves: after a machine-wide standstill (a paused guest, a
 * storm of swapping) the agent gets its chance to beat. */
static bool is_silent(struct watch *w)
{
	uint64_t step = w->vigil->options->silence_ns / VIGIL_LOOKS;
	uint64_t beats = atomic_load_explicit(&w->vigil->page->agent_beats, memory_order_relaxed);
	uint64_t now = monotonic_ns();
	uint64_t passed = now - w->looked_ns;

	if (passed < step)
		return false;
	w->silent_ns = beats == w->seen_beats ? w->silent_ns + step : 0;
	w->seen_beats = beats;
	w->looked_ns = now;
	atomic_fetch_add_explicit(&w->vigil->page->guardian_beats, 1, memory_order_relaxed);
	return w->silent_ns >= w->vigil->options->silence_ns;
}

/* Milliseconds until the next look at the heart-beat. While nothing is claimed there is none to
 * look for, but nothing announces a pledge: it is looked for now and then. */
static int patience_ms(const struct watch *w)
{
	uint64_t step = w->vigil->options->silence_ns / VIGIL_LOOKS;
	uint64_t passed = monotonic_ns() - w->looked_ns;
	bool has_loans = false;

	for (unsigned int i = 0; i < GUARDIAN_LOANS; i++)
		has_loans |= w->loans[i] >= 0;
	if (!holds_something(w))
		return has_loans ? (int)(w->vigil->options->silence_ns / NSEC_PER_MSEC) : -1;
	return passed >= step ? 0 : (int)((step - passed) / NSEC_PER_MSEC) + 1;
}

static int watch_over(struct watch *w)
{
	struct pollfd p[] = { { .fd = w->vigil->agent, .events = POLLIN },
			      { .fd = w->vigil->sock, .events = POLLIN } };
	int r;

	for (;;) {
		if (poll(p, ARRAY_SIZE(p), patience_ms(w)) < 0)
			continue;
		if (p[0].revents)
			break;
		do
			r = receive(w);
		while (r == 1);
		if (r == -ECANCELED) {
			undo_all(w);
			return 0;
		}
		if (r < 0)
			return 1;
		if (w->peer_gone && p[1].fd >= 0) {
			/* Nobody can send drops any more. The agent ends, or has lost its mind. */
			undo_all(w);
			p[1].fd = -1;
		}
		if (holds_something(w) && is_silent(w)) {
			(void)pidfd_send_signal(w->vigil->agent, SIGKILL, NULL, 0);
			/* At once, for it may hang in the kernel; and again when it is dead. */
			undo_all(w);
			look_anew(w);
		}
	}
	take_over(w);
	return 0;
}

/* --- the beginning ---------------------------------------------------------------------------- */

int vigil_order(struct vigil_message *order, const struct ledger *ledger,
		const struct guardian_grip *grip)
{
	int slot = ledger_slot(ledger, grip->claim->id);

	if (slot < 0 || grip->n_fds < 1 || grip->n_fds > VIGIL_FDS)
		return -EINVAL;
	*order = (struct vigil_message){ .kind = VIGIL_ADD,
					 .target_kind = grip->claim->target.kind,
					 .claim_id = grip->claim->id,
					 .slot = (uint32_t)slot };
	memcpy(order->weights, grip->claim->weights, sizeof(order->weights));
	return 0;
}

/* The descriptors are ours since the fork. */
static int inherit(struct watch *w)
{
	const struct vigil *vigil = w->vigil;

	for (unsigned int i = 0; i < vigil->n_grips; i++) {
		const struct guardian_grip *grip = &vigil->grips[i];
		struct vigil_message order;
		int r = vigil_order(&order, vigil->options->ledger, grip);

		if (r == 0)
			r = add(w, &order, grip->fds, grip->n_fds);
		if (r < 0)
			return r;
	}
	memcpy(w->loans, vigil->loans, sizeof(w->loans));
	return 0;
}

int vigil_keep(const struct vigil *vigil)
{
	struct vigil_message ready = { .kind = VIGIL_READY };
	struct watch watch = { .vigil = vigil };

	if (inherit(&watch) < 0 || settle(&watch) < 0)
		return 1;
	/* Where that fails the agent has died since, and the loop sees to it. */
	(void)send(vigil->sock, &ready, sizeof(ready), MSG_NOSIGNAL);
	return watch_over(&watch);
}
