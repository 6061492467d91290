/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of this room share: the table of claims and the steps that a claim goes through.
 * Nobody outside user/act includes it. */
#ifndef CULPRIT_ACT_ROOM_H
#define CULPRIT_ACT_ROOM_H

#include "act/act.h"
#include "act/freezer.h"
#include "act/guardian.h"
#include "act/ledger.h"
#include "act/process.h"
#include "act/ready.h"
#include "act/safety.h"
#include "act/weights.h"
#include "lib/clock.h"

/* A claim with what keeps hold of its target. */
struct held {
	struct claim claim; /* first: the claim that others see is its address */
	bool used;
	struct freezer freezer; /* TARGET_CGROUP */
	struct weights weights; /* CLAIM_DEMOTE */
	int pidfd;		/* TARGET_PROCESS */
	int shell_fds[CLAIM_SHELLS];
	bool waits_for_shells; /* SIGSTOP goes out when they have stopped */
	/* When to look at it next, and how much later after that; 0: only when an event comes. */
	uint64_t check_ns; /* CLOCK_MONOTONIC */
	uint64_t step_ns;
	/* CLAIM_TERMINATE, CLAIM_KILL */
	uint64_t kill_ns;     /* CLOCK_MONOTONIC, when its time is up */
	uint64_t round_ticks; /* when the last round of signals began */
	bool killing;
	bool kill_untold; /* it was killed at once, and nobody has heard of it */
	/* It is over, but could not be undone yet; `last_news` is told when it is. */
	bool undoing;
	enum act_news last_news;
};

struct act {
	struct act_options options;
	struct safety safety;
	struct ready ready;
	sd_event_source *source;
	int epoll; /* of everything below, nested in the event loop: registering allocates nothing
		    */
	int timer;
	uint64_t next_id;
	unsigned int count;
	struct held *order[CLAIM_MAX]; /* oldest first */
	struct held slots[CLAIM_MAX];
};

static inline struct held *held_of(struct claim *claim)
{
	return (struct held *)claim;
}

/* --- grip.c: taking hold of a target and letting it go -----------------------------------------
 */

/* Opens the target of h->claim and checks that it is the one meant, that it may be touched and that
 * nobody else holds it. Fills in its path, comm and shells. */
int grip_open(struct act *act, struct held *h);
void grip_close(struct held *h);
/* Does nobody else hold it frozen or stopped? 0, -EBUSY, -errno. */
int grip_is_free(const struct act *act, const struct held *h);
/* May it still be acted on? A process may be somewhere else by now, and someone whom nobody may
 * touch may be in the cgroup (as far as act->safety knows). 0, -EPERM, -ESRCH, -errno. */
int grip_is_allowed(const struct act *act, struct held *h);
/* What act->options.spares says. */
bool grip_is_spared(const struct act *act, const struct target *target);
/* Before it is taken a second time: allowed and free, as above. A process's shells are looked for
 * anew, because others may have stopped them since. */
int grip_renew(struct act *act, struct held *h);
/* Ledger, guardian, kernel. On failure nothing is held; the ledger slot is the caller's to clear or
 * to rewrite. */
int grip_take(struct act *act, struct held *h);
/* What the guardian needs to undo the claim. Points into h. */
struct guardian_grip grip_for_guardian(const struct held *h);
/* SIGSTOP for the target, after its shells. */
int grip_stop_target(struct held *h);
/* Kernel, then guardian. The ledger is the caller's. May be repeated. 0 or -errno. */
int grip_let_go(struct act *act, struct held *h);
/* These weights (bit: file) are somebody else's now. */
void grip_leave_weights(struct act *act, struct held *h, int theirs);

/* --- watch.c: events and times ------------------------------------------------------------------
 */

int watch_open(struct act *act);
void watch_close(struct act *act);
int watch_add(struct act *act, struct held *h);
void watch_remove(struct act *act, struct held *h);
/* Plans the first look at what has just been taken hold of. */
void watch_soon(struct act *act, struct held *h);
/* Plans the next look at it. */
void watch_later(struct act *act, struct held *h, uint64_t delay_ns);
/* The look itself: what has become of the target? May end the claim. */
void watch_look(struct act *act, struct held *h);
void watch_guardian(struct act *act);
void guardian_lost(struct act *act);

/* --- terminate.c --------------------------------------------------------------------------------
 */

/* The first round of SIGTERM, or of SIGKILL. */
void terminate_begin(struct act *act, struct held *h);
/* Further rounds for what was forked meanwhile; SIGKILL when the time is up. */
void terminate_step(struct act *act, struct held *h);

/* --- act.c: the table ---------------------------------------------------------------------------
 */

struct held *table_find_id(struct act *act, uint64_t id);
/* Ends a claim: lets go, empties its slot, tells `news` and frees it. Where that fails it stays and
 * is tried again at the pulse. Returns that failure. */
int table_end(struct act *act, struct held *h, enum act_news news);
void table_tell(struct act *act, enum act_news news, struct held *h);

#endif
