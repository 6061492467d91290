// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What people are told about a policy: why it began to hold, why it let go, what would make it let
 * go. Whoever reads these may never have seen the configuration, so every number has its unit.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/holds.h"
#include "lib/units.h"

#define DURATION_SIZE 32

static const char *duration(uint64_t ns, char *buf)
{
	units_say_duration(ns, buf, DURATION_SIZE);
	return buf;
}

/* "others" (that are not niced), or the pattern; a cgroup without its prefix, for its slash says
 * it. */
static void watched_name(const struct policy_config *c, char *buf, size_t size)
{
	static const char prefix[] = "cgroup:";
	size_t skip = strlen(prefix);

	if (c->of_others) {
		snprintf(buf, size, c->non_nice ? "others that are not niced" : "others");
		return;
	}
	pattern_print(&c->of, buf, size);
	if (strncmp(buf, prefix, skip) == 0)
		memmove(buf, buf + skip, strlen(buf + skip) + 1);
}

static void gpu_begin(const struct agent_policy *p, char *buf, size_t size)
{
	const char *device = p->device[0] ? p->device : "the GPU";

	if (p->has_offender)
		snprintf(buf, size, "%s (pid %d) has opened %s", p->offender.comm,
			 (int)p->offender.pid, device);
	else
		snprintf(buf, size, "%s is in use", device);
}

static void cpu_begin(const struct agent *a, const struct agent_policy *p, char *buf, size_t size)
{
	char of[128], window[DURATION_SIZE];
	size_t used;

	watched_name(p->config, of, sizeof(of));
	snprintf(buf, size, "%s used %.2f of %u CPUs over the last %s, and %.2f are allowed", of,
		 p->value, a->n_cpus, duration(p->config->window_ns, window), p->rule.enter);
	used = strlen(buf);
	if (p->has_offender)
		snprintf(buf + used, size - used, "; %s (pid %d) crossed that", p->offender.comm,
			 (int)p->offender.pid);
}

static uint64_t ns_of(double ms)
{
	return (uint64_t)(ms * (double)NSEC_PER_MSEC + 0.5);
}

static void delay_begin(const struct agent_policy *p, char *buf, size_t size)
{
	char of[128], value[DURATION_SIZE], window[DURATION_SIZE], enter[DURATION_SIZE];
	char wait[DURATION_SIZE];
	size_t used;

	watched_name(p->config, of, sizeof(of));
	snprintf(buf, size,
		 "%s waited %s for a CPU (95th percentile over the last %s), and below %s "
		 "is allowed",
		 of, duration(ns_of(p->value), value), duration(p->config->window_ns, window),
		 duration(ns_of(p->rule.enter), enter));
	used = strlen(buf);
	if (!p->waited.wait_ns)
		return;
	snprintf(buf + used, size - used, "; %s (pid %d) waited %s", p->waited.waiter.comm,
		 (int)p->waited.waiter.pid, duration(p->waited.wait_ns, wait));
	used = strlen(buf);
	if (p->has_offender)
		snprintf(buf + used, size - used, " while %s (pid %d) ran", p->offender.comm,
			 (int)p->offender.pid);
}

static void thrash_begin(const struct agent_policy *p, char *buf, size_t size)
{
	const struct thrash_verdict *v = &p->verdict;

	snprintf(buf, size,
		 "memory thrashes: %llu pages were swapped in within %llu ms, of which %llu did "
		 "not stay",
		 (unsigned long long)v->swapin_pages,
		 (unsigned long long)(v->interval_ns / NSEC_PER_MSEC),
		 (unsigned long long)v->churn_pages);
}

void words_begin(const struct agent *a, const struct agent_policy *p, char *buf, size_t size)
{
	if (p->config->signal == SIGNAL_GPU)
		gpu_begin(p, buf, size);
	else if (p->config->signal == SIGNAL_THRASH)
		thrash_begin(p, buf, size);
	else if (p->config->metric == METRIC_DELAY)
		delay_begin(p, buf, size);
	else
		cpu_begin(a, p, buf, size);
}

void words_select(const struct agent *a, const struct agent_policy *p,
		  const struct select_candidate *chosen, char *buf, size_t size)
{
	const char *of = p->selected_ns ? "; holding the one before was not enough, and of the rest"
					: "; of its targets";
	size_t used;

	words_begin(a, p, buf, size);
	used = strlen(buf);
	if (p->config->select == SELECT_TOP)
		snprintf(buf + used, size - used, "%s this one used most (%.2f CPUs)", of,
			 chosen->use);
	else
		snprintf(buf + used, size - used, "%s this one is the newest", of);
}

/* What has to be so, for as long as the grace time. */
static void quiet(const struct agent_policy *p, char *buf, size_t size)
{
	char of[128], leave[DURATION_SIZE];

	switch (p->config->signal) {
	case SIGNAL_CPU:
		watched_name(p->config, of, sizeof(of));
		if (p->config->metric == METRIC_DELAY)
			snprintf(buf, size, "%s waiting less than %s for a CPU", of,
				 duration(ns_of(p->rule.leave), leave));
		else
			snprintf(buf, size, "%s below %.2f CPUs", of, p->rule.leave);
		break;
	case SIGNAL_GPU:
		snprintf(buf, size, "nobody else having %s open", p->device[0] ? p->device : "it");
		break;
	default:
		snprintf(buf, size, "less than %.3g %% of the time lost waiting for memory",
			 p->rule.leave * 100);
	}
}

void words_end(const struct agent_policy *p, enum policy_verdict verdict, char *buf, size_t size)
{
	char what[256], time[DURATION_SIZE];

	if (verdict == VERDICT_EXPIRE) {
		snprintf(buf, size, "it was held for max_hold (%s), the longest allowed",
			 duration(p->rule.max_hold_ns, time));
		return;
	}
	quiet(p, what, sizeof(what));
	snprintf(buf, size, "the grace time of %s has passed with %s",
		 duration(p->rule.grace_ns, time), what);
}

const char *words_left(uint64_t left_ns, char *buf, size_t size)
{
	uint64_t unit = left_ns >= 120 * NSEC_PER_SEC ? 60 * NSEC_PER_SEC : NSEC_PER_SEC;

	units_say_duration((left_ns + unit / 2) / unit * unit, buf, size);
	return buf;
}

static void value_now(const struct agent_policy *p, char *buf, size_t size)
{
	switch (p->config->signal) {
	case SIGNAL_CPU:
		if (p->config->metric == METRIC_DELAY)
			snprintf(buf, size, "%.3g ms", p->value);
		else
			snprintf(buf, size, "%.2f CPUs", p->value);
		break;
	case SIGNAL_GPU:
		snprintf(buf, size, "%.0f %s", p->value, p->value == 1 ? "holder" : "holders");
		break;
	default:
		snprintf(buf, size, "%.3g %%", p->value * 100);
	}
}

void words_undo(const struct agent_policy *p, char *buf, size_t size)
{
	char what[256], grace[DURATION_SIZE], now[64], left[64] = "";

	quiet(p, what, sizeof(what));
	value_now(p, now, sizeof(now));
	if (p->state.phase == POLICY_GRACE && p->rule.grace_ns > p->state.quiet_ns)
		snprintf(left, sizeof(left), ", %.1f s to go",
			 (double)(p->rule.grace_ns - p->state.quiet_ns) / (double)NSEC_PER_SEC);
	snprintf(buf, size, "policy %s: after %s with %s (now %s%s)", p->config->name,
		 duration(p->rule.grace_ns, grace), what, now, left);
}

void words_latest(const struct agent_policy *p, char *buf, size_t size)
{
	uint64_t end = p->state.held_since_ns + p->rule.max_hold_ns, now = monotonic_ns();
	char time[DURATION_SIZE];

	*buf = '\0';
	if (p->rule.max_hold_ns)
		snprintf(buf, size, "policy %s: in %s at the latest (max_hold)", p->config->name,
			 words_left(end > now ? end - now : 0, time, sizeof(time)));
}

/* While it is held: what is between now and the release. */
static void next_of_held(const struct agent_policy *p, uint64_t now_ns, char *buf, size_t size)
{
	bool grace = p->state.phase == POLICY_GRACE;
	uint64_t left =
		p->rule.grace_ns > p->state.quiet_ns ? p->rule.grace_ns - p->state.quiet_ns : 0;
	char what[256], now[64], time[DURATION_SIZE];
	size_t used;

	quiet(p, what, sizeof(what));
	value_now(p, now, sizeof(now));
	if (grace && p->state.below)
		snprintf(buf, size, "lets go in %.1f s with %s until then (now %s)",
			 (double)left / (double)NSEC_PER_SEC, what, now);
	else if (grace)
		snprintf(buf, size,
			 "waits for %s (now %s): above that, the grace time stands still with %.1f "
			 "s to go",
			 what, now, (double)left / (double)NSEC_PER_SEC);
	else
		snprintf(buf, size, "waits for %s (now %s), and then %s of that (grace)", what, now,
			 duration(p->rule.grace_ns, time));
	used = strlen(buf);
	if (p->config->select != SELECT_ALL && p->selected_ns && p->state.above &&
	    p->selected_ns + p->config->window_ns > now_ns) {
		snprintf(buf + used, size - used,
			 "; the next target follows in %s, if it is needed",
			 words_left(p->selected_ns + p->config->window_ns - now_ns, time,
				    sizeof(time)));
		used = strlen(buf);
	}
	if (p->rule.max_hold_ns) {
		uint64_t end = p->state.held_since_ns + p->rule.max_hold_ns;

		snprintf(buf + used, size - used, "; lets go in %s at the latest (max_hold)",
			 words_left(end > now_ns ? end - now_ns : 0, time, sizeof(time)));
	}
}

/* While nothing is: why it does not begin although the value may be at enter. */
static void next_of_quiet(const struct agent_policy *p, uint64_t now_ns, char *buf, size_t size)
{
	uint64_t may_begin = p->state.released_ns + p->rule.min_run_ns;
	char what[256], now[64], time[DURATION_SIZE];

	quiet(p, what, sizeof(what));
	value_now(p, now, sizeof(now));
	if (p->state.must_be_quiet)
		snprintf(buf, size,
			 "was ended by max_hold or by hand, and does not begin again before it has "
			 "seen %s (now %s)",
			 what, now);
	else if (p->state.released_ns && p->rule.min_run_ns && may_begin > now_ns)
		snprintf(buf, size, "min_run keeps its target running for %s more%s",
			 words_left(may_begin - now_ns, time, sizeof(time)),
			 p->state.above ? ", then it begins again" : "");
}

void words_next(const struct agent_policy *p, char *buf, size_t size)
{
	uint64_t now = monotonic_ns();
	char time[DURATION_SIZE];

	*buf = '\0';
	if (p->paused && !p->paused_until_ns)
		snprintf(buf, size, "is paused until culprit resume");
	else if (p->paused)
		snprintf(buf, size, "is paused for %s more",
			 words_left(p->paused_until_ns > now ? p->paused_until_ns - now : 0, time,
				    sizeof(time)));
	else if (policy_holds(p))
		next_of_held(p, now, buf, size);
	else
		next_of_quiet(p, now, buf, size);
}

void words_ladder(const struct ladder_next *next, char *buf, size_t size)
{
	const char *action = policy_action_name(next->action), *name = next->policy->config->name;
	uint64_t now = monotonic_ns();
	char time[DURATION_SIZE];

	if (next->due_ns <= now)
		snprintf(buf, size, "policy %s: %s as soon as its signal is back (escalate)", name,
			 action);
	else
		snprintf(buf, size,
			 "policy %s: %s in %s if its signal is still there then (escalate)", name,
			 action, words_left(next->due_ns - now, time, sizeof(time)));
}

const char *hold_error_text(int error)
{
	switch (-error) {
	case EBUSY:
		return "someone else has frozen or stopped it; it stays theirs";
	case EPERM:
		return "it is outside `only`, or nothing is ever done to it (pid 1, kernel "
		       "threads, "
		       "the agent and the cgroups that it is in)";
	case EACCES:
		return "it is protected, or has something protected in it (culprit why tells what; "
		       "see `protect` in culprit.conf)";
	case ESTALE:
	case ESRCH:
		return "it is gone";
	case ENOSPC:
		return "the ledger is full (256 claims), and nothing is done that could be "
		       "forgotten; let something go (culprit thaw)";
	case EIO:
		return "the ledger cannot be written, and nothing is done that could be "
		       "forgotten; see to the disk under state_dir";
	case EIDRM:
		return "the ledger was removed, and nothing is done that could be forgotten; "
		       "restart the agent (systemctl restart culpritd)";
	case EAGAIN:
		return "the guardian does not keep up; it is tried again";
	case EHOSTDOWN:
		return "the guardian is down, and nothing is done that it could not undo; it is "
		       "started again each second";
	case ENODATA:
		return "nothing runs in it";
	case EOPNOTSUPP:
		return "it has neither cpu.idle, cpu.weight nor io.weight to lower; enable the cpu "
		       "or io controller for it (echo +cpu >cgroup.subtree_control in the cgroups "
		       "above it; where that fails, cgroup v1 has it), or freeze it";
	case ERANGE:
		return "its weights are as low as they go already; it is left alone";
	case EALREADY:
		return "a policy is ending it just now";
	default:
		return strerror(-error);
	}
}
