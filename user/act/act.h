/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Acting: carries out claims and undoes them. Decides nothing. act_claim() is on the path between
 * sense and freeze: it allocates nothing and waits for nothing (the ledger's pages exist already).
 */
#ifndef CULPRIT_ACT_ACT_H
#define CULPRIT_ACT_ACT_H

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "act/claim.h"
#include "lib/cgroupfs.h"

struct act;
struct guardian;
struct ledger;

enum act_news {
	ACT_HELD,	   /* the target is frozen, stopped or demoted */
	ACT_SLOW,	   /* 5 s have passed and it is not */
	ACT_EXTERNAL_THAW, /* someone else let it go, or changed a weight that we had lowered; what
			      is left of that stays ours unless the claim is CLAIM_EXTERNAL now */
	ACT_GONE,	   /* the cgroup or process ended; the claim is over */
	ACT_TERMINATED,	   /* terminate, kill: nothing is left of the target; the claim is over */
	ACT_KILLING,	   /* terminate: the time is up, it is being killed; kill: likewise */
	ACT_GUARDIAN_LOST, /* the guardian died; a new one was started, or none could be
			      (guardian_pid() is 0 then; it is tried again at each pulse) */
	ACT_UNDONE,	   /* an act_undo() that had failed has worked now; the claim is over */
	ACT_OUTSIDE,	   /* outside `only` by now, undone; the claim is over */
};

/* Called from the event loop (never from inside act_claim or act_undo). claim is NULL for
 * ACT_GUARDIAN_LOST. Where the claim is over it is freed after the call. The callback may call
 * act_claim(), act_undo() and the others, also for this claim unless it is over. */
typedef void (*act_news_fn)(void *user, enum act_news news, struct claim *claim);

struct act_options {
	sd_event *event;
	const struct cgroupfs *cgroups;
	struct ledger *ledger;	       /* owned by the caller, opened and released before */
	struct guardian *guardian;     /* likewise, started */
	const char *only;	       /* nothing outside this cgroup path is ever touched */
	uint64_t terminate_timeout_ns; /* SIGTERM to SIGKILL, default 10 s */
	uint64_t slow_ns;	       /* after so long ACT_SLOW is told, default 5 s */
	bool without_cgroup_kill;      /* kill as on kernels before 5.14, for tests */
	/* Must it be left alone? Asked of the shell of a job that is stopped, and, because it
	 * cannot be undone, of what is about to be killed. May be NULL. */
	bool (*spares)(void *user, const struct target *target);
	act_news_fn news;
	void *user;
};

int act_new(struct act **out, const struct act_options *options);
/* Undoes every claim, then frees (without news). NULL is fine. What could not be undone stays in
 * the ledger. Stop the guardian and close the ledger after it. */
void act_free(struct act *act);

/*
 * Ledger, guardian, then the kernel. *out belongs to act. target->path and comm need not be filled
 * in, the claim has them as they are. Errors, nothing changed then:
 * -EEXIST the target is claimed already (*out is that claim); -EBUSY someone else froze or stopped
 * it (no obstacle to CLAIM_TERMINATE and CLAIM_KILL); -ESTALE, -ESRCH it is gone or is another one
 * now; -EPERM outside `only`, or the agent, its guardian or their ancestors are in it; -ENOSPC,
 * -EIO the ledger; -EHOSTDOWN no guardian, -EAGAIN it does not read; -ENODATA nothing runs in the
 * cgroup; -EINVAL the action does not suit the target; demote: -EOPNOTSUPP it has no weights,
 * -ERANGE they are as low as they go.
 *
 * A process whose parent is a shell with job control is stopped a millisecond later than the shell:
 * a shell that still ran would take the terminal back.
 */
int act_claim(struct act *act, enum claim_action action, const struct target *target,
	      const char *policy, const char *reason, struct claim **out);

/* What act_claim() would say of the target itself, with nothing done: it cannot know of a ledger or
 * a guardian that fails. */
int act_would_claim(struct act *act, enum claim_action action, const struct target *target);

/* Opens the cgroup's files now, so that a later act_claim() need not: for those that a policy may
 * freeze at any time. Repeating it is fine; where it fails, the claim does it. */
void act_make_ready(struct act *act, uint64_t cgroup);
/* Forgets them again, all of them or those of a cgroup that was removed or renamed. Claims keep
 * their own. */
void act_forget(struct act *act, uint64_t cgroup);
void act_forget_all(struct act *act);

/* Undoes the claim and frees it. A target that is gone is fine. 0, or -errno when the kernel did
 * not take it (the claim then stays and it is tried again). */
int act_undo(struct act *act, struct claim *claim);

/* Freezes or stops again, in the name of this policy, what someone else let go (ACT_EXTERNAL_THAW).
 * -EINVAL: nobody did, or it is a demotion; -EBUSY: they have frozen it again themselves; else as
 * act_claim(), and the claim stays as it was. */
int act_refreeze(struct act *act, struct claim *claim, const char *policy, const char *reason);

/* Turns the claim into a terminate (SIGTERM, then let go so that it is handled, then SIGKILL) or a
 * kill (SIGKILL, then let go). The claim keeps its id. -EINVAL: it is one already; else as
 * act_claim(). */
int act_escalate(struct act *act, struct claim *claim, enum claim_action action, const char *policy,
		 const char *reason);

/* The claims in force, in order of age; index 0 … count-1. */
unsigned int act_count(const struct act *act);
struct claim *act_get(const struct act *act, unsigned int index);
struct claim *act_find_cgroup(const struct act *act, uint64_t cgroup);
struct claim *act_find_process(const struct act *act, pid_t pid, uint64_t start_time_ns);

/* Once a pulse: heart-beat for the guardian (at least every 5 s), a look at what others may have
 * let go without an event, what could not be undone is tried again. */
void act_pulse(struct act *act);

/* Changes `only` (reload). Claims outside it are undone. */
int act_set_only(struct act *act, const char *only);

#endif
