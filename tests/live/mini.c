// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "act/process.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"
#include "mini.h"

#define WAIT_NS (5 * NSEC_PER_SEC)

const char *mini_state_dir(void)
{
	static char dir[128];

	snprintf(dir, sizeof(dir), "%s/state", live_tmpdir());
	return dir;
}

static void on_news(void *user, enum act_news news, struct claim *claim)
{
	struct mini *m = user;

	if (m->n_told == ARRAY_SIZE(m->told))
		fail_msg("more news than expected");
	m->told[m->n_told].news = news;
	m->told[m->n_told++].claim_id = claim ? claim->id : 0;
}

int mini_start(struct mini *m)
{
	char what[256];
	pid_t holder;
	int r = sd_event_new(&m->event);

	if (r >= 0)
		r = ledger_open(&m->ledger, mini_state_dir(), &holder, what, sizeof(what));
	/* So that a place that the test before left is free. */
	if (r >= 0)
		r = ledger_release(m->ledger, live_fs(), NULL, NULL);
	if (r < 0)
		return r;
	m->guardian_options.ledger = m->ledger;
	r = guardian_start(&m->guardian, &m->guardian_options);
	if (r < 0)
		return r;
	m->options.event = m->event;
	m->options.cgroups = live_fs();
	m->options.ledger = m->ledger;
	m->options.guardian = m->guardian;
	if (!m->options.only)
		m->options.only = live_root();
	if (!m->options.news)
		m->options.news = on_news;
	if (!m->options.user)
		m->options.user = m;
	return act_new(&m->act, &m->options);
}

void mini_stop(struct mini *m)
{
	act_free(m->act);
	guardian_stop(m->guardian);
	ledger_close(m->ledger);
	sd_event_unref(m->event);
	*m = (struct mini){ 0 };
}

bool mini_until(struct mini *m, bool (*test)(void *arg), void *arg)
{
	uint64_t end = monotonic_ns() + WAIT_NS;
	uint64_t pulse = monotonic_ns();

	while (!test(arg)) {
		if (monotonic_ns() > end)
			return false;
		if (monotonic_ns() - pulse > 20 * NSEC_PER_MSEC) {
			act_pulse(m->act);
			pulse = monotonic_ns();
		}
		sd_event_run(m->event, 5000);
	}
	return true;
}

static bool was_told(const struct mini *m, enum act_news news, uint64_t claim_id)
{
	for (unsigned int i = 0; i < m->n_told; i++)
		if (m->told[i].news == news && (!claim_id || m->told[i].claim_id == claim_id))
			return true;
	return false;
}

/* No pulse here: what these news are about must be noticed by events and timers. */
bool mini_told(struct mini *m, enum act_news news, uint64_t claim_id)
{
	uint64_t end = monotonic_ns() + WAIT_NS;

	while (!was_told(m, news, claim_id)) {
		if (monotonic_ns() > end)
			return false;
		sd_event_run(m->event, 100000);
	}
	return true;
}

struct target mini_cgroup_target(uint64_t cgroup)
{
	return (struct target){ .kind = TARGET_CGROUP, .cgroup = cgroup };
}

struct target mini_process_target(pid_t pid)
{
	struct proc_stat st;
	int r = proc_read_stat(pid, &st);

	if (r < 0)
		fail_msg("process %d: %s", (int)pid, strerror(-r));
	return (struct target){ .kind = TARGET_PROCESS,
				.pid = pid,
				.start_time_ns = process_start_ns(&st) };
}

static struct claim *claim(struct mini *m, enum claim_action action, const struct target *target)
{
	struct claim *c;
	int r = act_claim(m->act, action, target, "test", "because a test wants it", &c);

	if (r < 0)
		fail_msg("claim: %s", strerror(-r));
	return c;
}

struct claim *mini_freeze(struct mini *m, uint64_t cgroup)
{
	struct target target = mini_cgroup_target(cgroup);

	return claim(m, CLAIM_FREEZE, &target);
}

struct claim *mini_stop_process(struct mini *m, pid_t pid)
{
	struct target target = mini_process_target(pid);

	return claim(m, CLAIM_STOP, &target);
}

char mini_state(pid_t pid)
{
	struct proc_stat st;

	return proc_read_stat(pid, &st) < 0 ? '-' : st.state;
}

bool mini_asked_to_freeze(const char *name)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path(name));
	char buf[16];

	if (dir < 0 || cgroupfs_read(dir, "cgroup.freeze", buf, sizeof(buf)) < 0)
		fail_msg("%s has no cgroup.freeze", name);
	return strcmp(buf, "1") == 0;
}

void mini_write_freeze(const char *name, const char *value)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path(name));

	if (dir < 0 || cgroupfs_write(dir, "cgroup.freeze", value) < 0)
		fail_msg("cannot write cgroup.freeze of %s", name);
}

/* Counted by eye and not by ledger_read(): a second descriptor would lose this process its lock. */
unsigned int mini_ledger_count(void)
{
	char command[256];
	unsigned int n = 0;
	FILE *f;

	/* What is undone and only there to be told of is none. */
	snprintf(command, sizeof(command), "grep '\"id\"' %s/ledger | grep -vc '\"undone\":true'",
		 mini_state_dir());
	f = popen(command, "re");
	if (!f || fscanf(f, "%u", &n) != 1)
		fail_msg("the ledger cannot be read");
	pclose(f);
	return n;
}

int mini_setup(void **state)
{
	struct mini *m = calloc(1, sizeof(*m));

	*state = m;
	return m ? mini_start(m) : -1;
}

int mini_teardown(void **state)
{
	mini_stop(*state);
	free(*state);
	return 0;
}

bool mini_is_stopped(void *pid)
{
	return mini_state(*(pid_t *)pid) == 'T';
}

bool mini_runs(void *pid)
{
	char state = mini_state(*(pid_t *)pid);

	return state == 'R' || state == 'S' || state == 'D';
}

bool mini_is_populated(void *cgroup)
{
	return live_cgroup_key(cgroup, "cgroup.events", "populated") == 1;
}

pid_t mini_start_in(const char *cgroup, int (*load)(void *))
{
	pid_t pid;

	live_cgroup(cgroup);
	pid = live_fork(cgroup, load, NULL);
	assert_true(live_until(mini_is_populated, (void *)(uintptr_t)cgroup, 1000));
	return pid;
}

void mini_assert_no_claim(const struct mini *m)
{
	assert_int_equal(act_count(m->act), 0);
	assert_int_equal(mini_ledger_count(), 0);
}
