/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The delay sense: how long the tasks of watched cgroups wait for a CPU, from the wake-up to the
 * switch that lets them run, and budgets over it that the kernel checks. (Who is preempted waits,
 * too, but was not woken; that is not counted.)
 *
 * It is opened only when a policy needs it, and costs others something only while it is attached.
 * Which cgroups count for which budgets is said with delay_watch(); a cgroup that is made later
 * counts for the budgets of its parent until it is told otherwise. When the 95th percentile over a
 * budget's window reaches what is allowed, the kernel sends one crossing and disarms the budget.
 */
#ifndef CULPRIT_SENSE_DELAY_H
#define CULPRIT_SENSE_DELAY_H

#include <stdbool.h>
#include "culprit/delay.h"
#include "sense/sense.h"

struct delay_sense;

/* Called from delay_dispatch() for each crossing; the record is the kernel's own memory, read-only
 * and valid during the call. */
typedef void (*delay_crossing_fn)(void *user, const struct culprit_delay_crossing *crossing);

/*
 * Opens and loads, with room for so many budgets (1 … CULPRIT_DELAY_BUDGETS); nothing is attached.
 * *out is freed by delay_close(), also after an error other than -ENOMEM, for its status. -ENOTSUP:
 * it does not load here; -EINVAL: options->source is not its source, or too many budgets.
 */
int delay_open(struct delay_sense **out, const struct sense_options *options,
	       unsigned int n_budgets, delay_crossing_fn fn, void *user);
void delay_close(struct delay_sense *delay);

/* Attaches it and has it prove itself by a wait of our own, at most a second; or detaches it.
 * Nothing when it is so already. -ENODATA: it is silent, and detached again; -errno. */
int delay_attach(struct delay_sense *delay);
void delay_detach(struct delay_sense *delay);
bool delay_attached(const struct delay_sense *delay);

const struct sense_status *delay_status(const struct delay_sense *delay);
unsigned int delay_room(const struct delay_sense *delay); /* n_budgets */

/* The guardian was replaced (options->guardian_pid is the first): it never counts. */
void delay_set_guardian(struct delay_sense *delay, pid_t guardian);

/* Events at which a program was not run because it was running already (recursion). */
uint64_t delay_missed(const struct delay_sense *delay);

/* A descriptor that polls readable when delay_dispatch() has something to do. */
int delay_fd(const struct delay_sense *delay);
/* Hands out what has arrived. Never blocks, never allocates. Records handled, or -errno. */
int delay_dispatch(struct delay_sense *delay);
/* Throws away what has arrived: the budgets will be others. */
void delay_drop(struct delay_sense *delay);

struct delay_rule {
	uint64_t window_ns;
	uint64_t enter_ns; /* a crossing is sent when the percentile reaches this */
	uint64_t leave_ns; /* and delay_value() is exact at this, too */
	bool nonnice_only; /* tasks with nice above zero do not count */
};

/* Sets a budget, which is disarmed; its window begins anew unless it is as it was. NULL takes it
 * out of use. -EINVAL out of range. */
int delay_set_budget(struct delay_sense *delay, unsigned int index, const struct delay_rule *rule);
/* Arms or disarms a budget. One whose percentile has reached `enter` already crosses with the next
 * wait that ends. -EINVAL: not in use. */
int delay_arm(struct delay_sense *delay, unsigned int index, bool armed);

struct delay_value {
	/* To about 2 %, and 1 us; but never on the wrong side of enter or leave. 0: nobody woke. */
	uint64_t p95_ns;
	uint64_t woken; /* wake-ups in the window */
	uint64_t late;	/* those that waited at least enter_ns */
};
/* Over the last window as of now. -EINVAL: not in use. */
int delay_value(const struct delay_sense *delay, unsigned int index, struct delay_value *value);

/*
 * Says which budgets the tasks directly in this cgroup count for: `count` indexes (at most
 * CULPRIT_DELAY_BUDGETS_PER_CGROUP, else -E2BIG). Replaces what was said before. -errno of the map.
 */
int delay_watch(struct delay_sense *delay, uint64_t cgroup, const uint16_t *budgets,
		unsigned int count);
/* Forgets a cgroup that was removed. */
void delay_forget(struct delay_sense *delay, uint64_t cgroup);

/* Calls fn with the waits of each watched cgroup's own tasks since it has been watched; of the
 * first 1,024 of them. 0 or -errno. */
typedef void (*delay_cgroup_fn)(void *user, uint64_t cgroup,
				const struct culprit_delay_cgroup_waits *waits);
int delay_each_cgroup(const struct delay_sense *delay, delay_cgroup_fn fn, void *user);

/* The 95th percentile of waits counted by their length (culprit/delay_waits.h), in ns; 0: of none.
 */
uint64_t delay_p95_ns(const uint32_t counts[static CULPRIT_DELAY_STEPS]);

/* The source's name, NULL-terminated, for --support. */
extern const char *const delay_sources[];

#endif
