// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "act/vigil.h"
#include "lib/cleanup.h"
#include "lib/clock.h"

#define SILENCE_DEFAULT_NS (10 * NSEC_PER_SEC)
/* Forking and locking memory takes a millisecond; a machine in distress may need longer. */
#define READY_WAIT_MS	   2000
#define END_WAIT_MS	   2000
/* Above all that the agent opens, and below the customary limit of 1,024. */
#define HIGH_FD		   1000

struct guardian {
	struct guardian_options options;
	struct vigil_page *page;
	pid_t pid;
	int pidfd;
	int sock;
	int loans[GUARDIAN_LOANS]; /* the lender's descriptors; -1: none */
	/* Drops that the socket did not take yet, oldest first. */
	uint64_t unsent[CLAIM_MAX];
	unsigned int n_unsent;
	uint64_t seen_beats;
	uint64_t seen_ns; /* CLOCK_MONOTONIC, when its beats last moved or it held nothing */
};

pid_t guardian_pid(const struct guardian *guardian)
{
	return guardian->pid;
}

int guardian_pidfd(const struct guardian *guardian)
{
	return guardian->pidfd;
}

/* --- starting and ending ---------------------------------------------------------------------- */

static bool poll_in(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int r;

	do
		r = poll(&p, 1, timeout_ms);
	while (r < 0 && errno == EINTR);
	return r == 1;
}

static void forget_process(struct guardian *g)
{
	closep(&g->sock);
	closep(&g->pidfd);
	g->sock = g->pidfd = -1;
	g->pid = 0;
	g->n_unsent = 0;
}

/* Kills it unless it ends by itself within the time, and reaps it. */
static void reap(struct guardian *g, int patience_ms)
{
	siginfo_t info;

	if (g->pidfd < 0)
		return;
	if (!poll_in(g->pidfd, patience_ms))
		(void)pidfd_send_signal(g->pidfd, SIGKILL, NULL, 0);
	while (waitid(P_PIDFD, (id_t)g->pidfd, &info, WEXITED) < 0 && errno == EINTR)
		;
	forget_process(g);
}

static int wait_ready(struct guardian *g)
{
	struct vigil_message message;

	if (!poll_in(g->sock, READY_WAIT_MS))
		return -ETIMEDOUT;
	if (recv(g->sock, &message, sizeof(message), MSG_DONTWAIT) != sizeof(message) ||
	    message.kind != VIGIL_READY)
		return -EHOSTDOWN;
	return 0;
}

/*
 * A dying process releases its files from the highest number down, and only then its pidfds tell.
 * Taking BPF programs off may take half a second on a slow machine: with our end of the socket
 * above them all, the guardian reads its end before that.
 */
static int released_first(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);

	if (high < 0)
		return fd;
	close(fd);
	return high;
}

static int launch(struct guardian *g, const struct guardian_grip *grips, unsigned int n_grips)
{
	/* Opened here: the child could not tell a parent that has died from its successor. */
	_cleanup_close_ int agent = pidfd_open(getpid(), 0);
	_cleanup_close_ int theirs = -1;
	int pair[2];
	int r;

	if (agent < 0)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	g->sock = released_first(pair[0]);
	theirs = pair[1];
	g->pid = fork();
	if (g->pid == 0)
		_exit(vigil_keep(&(struct vigil){ theirs, agent, g->page, &g->options, grips,
						  n_grips, g->loans }));
	if (g->pid > 0)
		g->pidfd = pidfd_open(g->pid, 0);
	if (g->pid < 0 || g->pidfd < 0) {
		r = -errno;
		if (g->pid > 0) {
			kill(g->pid, SIGKILL);
			waitpid(g->pid, NULL, 0);
		}
		forget_process(g);
		return r;
	}
	r = wait_ready(g);
	if (r < 0)
		reap(g, 0);
	g->seen_ns = monotonic_ns();
	return r;
}

int guardian_start(struct guardian **out, const struct guardian_options *options)
{
	struct guardian *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return -ENOMEM;
	g->options = *options;
	if (g->options.silence_ns == 0)
		g->options.silence_ns = SILENCE_DEFAULT_NS;
	g->sock = g->pidfd = -1;
	for (unsigned int i = 0; i < GUARDIAN_LOANS; i++)
		g->loans[i] = -1;
	g->page = mmap(NULL, sizeof(*g->page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	r = g->page == MAP_FAILED ? -errno : launch(g, NULL, 0);
	if (r < 0) {
		if (g->page != MAP_FAILED)
			munmap(g->page, sizeof(*g->page));
		free(g);
		return r;
	}
	*out = g;
	return 0;
}

int guardian_restart(struct guardian *g, const struct guardian_grip *grips, unsigned int n)
{
	reap(g, 0);
	return launch(g, grips, n);
}

void guardian_stop(struct guardian *g)
{
	struct vigil_message stop = { .kind = VIGIL_STOP };

	if (!g)
		return;
	if (g->sock >= 0)
		(void)send(g->sock, &stop, sizeof(stop), MSG_DONTWAIT | MSG_NOSIGNAL);
	/* Where the message did not fit, the end of the file tells the same. */
	closep(&g->sock);
	g->sock = -1;
	reap(g, END_WAIT_MS);
	munmap(g->page, sizeof(*g->page));
	free(g);
}

/* --- messages --------------------------------------------------------------------------------- */

static int transmit(const struct guardian *g, const struct vigil_message *message, const int *fds,
		    unsigned int n_fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * VIGIL_FDS)];
	} control = { 0 };
	struct iovec iov = { (void *)message, sizeof(*message) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (g->sock < 0)
		return -EHOSTDOWN;
	if (n_fds > 0) {
		struct cmsghdr *header;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		header = CMSG_FIRSTHDR(&msg);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(header), fds, sizeof(int) * n_fds);
	}
	if (sendmsg(g->sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(*message))
		return 0;
	return errno == EPIPE || errno == ECONNRESET ? -EHOSTDOWN : -errno;
}

/* Order matters: a drop that came after a later add of the same claim would undo that. */
static int flush(struct guardian *g)
{
	unsigned int sent = 0;
	int r = 0;

	for (; sent < g->n_unsent; sent++) {
		struct vigil_message drop = { .kind = VIGIL_DROP, .claim_id = g->unsent[sent] };

		r = transmit(g, &drop, NULL, 0);
		if (r < 0)
			break;
	}
	g->n_unsent -= sent;
	memmove(g->unsent, g->unsent + sent, g->n_unsent * sizeof(*g->unsent));
	return r;
}

int guardian_add(struct guardian *g, const struct guardian_grip *grip)
{
	struct vigil_message add;
	int r = vigil_order(&add, g->options.ledger, grip);

	if (r == 0)
		r = flush(g);
	if (r == 0)
		r = transmit(g, &add, grip->fds, grip->n_fds);
	return r;
}

int guardian_drop(struct guardian *g, uint64_t claim_id)
{
	/* A dead guardian holds nothing, and the next one is told only what is still claimed. */
	if (g->sock < 0)
		return -EHOSTDOWN;
	if (g->n_unsent < CLAIM_MAX)
		g->unsent[g->n_unsent++] = claim_id;
	return flush(g);
}

/* --- loans ------------------------------------------------------------------------------------ */

void guardian_lend(struct guardian *g, unsigned int loan, int freeze_fd)
{
	struct vigil_message lend = { .kind = VIGIL_LEND, .slot = loan };
	int r;

	if (loan >= GUARDIAN_LOANS)
		return;
	r = transmit(g, &lend, &freeze_fd, 1);
	/* Where there is no guardian, the next one is born with it. */
	if (r == 0 || r == -EHOSTDOWN)
		g->loans[loan] = freeze_fd;
}

void guardian_return(struct guardian *g, unsigned int loan)
{
	struct vigil_message back = { .kind = VIGIL_RETURN, .slot = loan };

	if (loan >= GUARDIAN_LOANS || g->loans[loan] < 0)
		return;
	g->loans[loan] = -1;
	/* What is not told costs a descriptor until the number is lent again. */
	(void)transmit(g, &back, NULL, 0);
}

int guardian_pledge(struct guardian *g, unsigned int loan, uint64_t claim_id)
{
	int slot = ledger_slot(g->options.ledger, claim_id);

	if (loan >= GUARDIAN_LOANS || g->loans[loan] < 0 || slot < 0)
		return -ENOENT;
	/* A message would not arrive; shared memory takes whatever is written. */
	if (g->sock < 0 || poll_in(g->pidfd, 0))
		return -EHOSTDOWN;
	atomic_store_explicit(&g->page->pledged_slot[loan], (uint32_t)slot, memory_order_relaxed);
	atomic_store_explicit(&g->page->pledged[loan], claim_id, memory_order_release);
	return 0;
}

void guardian_redeem(struct guardian *g, unsigned int loan)
{
	if (loan < GUARDIAN_LOANS)
		atomic_store_explicit(&g->page->pledged[loan], 0, memory_order_release);
}

/* --- beats ------------------------------------------------------------------------------------ */

void guardian_beat(struct guardian *g)
{
	atomic_fetch_add_explicit(&g->page->agent_beats, 1, memory_order_relaxed);
	if (g->sock >= 0)
		(void)flush(g);
}

bool guardian_hangs(struct guardian *g, bool holding)
{
	uint64_t beats = atomic_load_explicit(&g->page->guardian_beats, memory_order_relaxed);
	uint64_t now = monotonic_ns();

	if (!holding || beats != g->seen_beats) {
		g->seen_beats = beats;
		g->seen_ns = now;
	}
	return g->pid > 0 && now - g->seen_ns > g->options.silence_ns;
}
