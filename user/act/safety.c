// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/safety.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/cgroupfs.h"
#include "lib/clock.h"

#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */

static bool add(struct safety *s, pid_t pid)
{
	struct safety_kin *kin = &s->kin[s->n_kin];
	int r;

	if (s->n_kin == SAFETY_KIN_MAX)
		return false;
	r = proc_read_cgroup(pid, kin->cgroup, sizeof(kin->cgroup));
	if (r == -ESRCH)
		return true; /* it has ended since */
	if (r < 0)
		return false;
	kin->pid = pid;
	s->n_kin++;
	return true;
}

void safety_refresh(struct safety *s, pid_t guardian)
{
	struct proc_stat st;

	s->n_kin = 0;
	s->complete = guardian <= 0 || add(s, guardian);
	/* The guardian is the agent's child: the ancestors are the same. */
	for (pid_t pid = getpid(); pid > 0 && s->complete; pid = st.ppid) {
		s->complete = add(s, pid);
		if (proc_read_stat(pid, &st) < 0)
			break;
	}
	s->read_ns = monotonic_ns();
}

bool safety_allows_cgroup(const struct safety *s, const char *path)
{
	if (!s->complete || strcmp(path, "/") == 0 || !cgroup_path_within(path, s->only))
		return false;
	for (unsigned int i = 0; i < s->n_kin; i++)
		if (cgroup_path_within(s->kin[i].cgroup, path))
			return false;
	return true;
}

bool safety_allows_process(const struct safety *s, pid_t pid, const struct proc_stat *st,
			   const char *path)
{
	if (!s->complete || pid <= 1 || (st->flags & PF_KTHREAD) ||
	    !cgroup_path_within(path, s->only))
		return false;
	for (unsigned int i = 0; i < s->n_kin; i++)
		if (s->kin[i].pid == pid)
			return false;
	return true;
}
