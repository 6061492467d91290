// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Targets with the agent in them. The act room refuses them whatever happens (act/safety.h); here
 * they are told when a configuration is read, with the line where they stand.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act/safety.h"
#include "agent/agent.h"
#include "lib/cleanup.h"
#include "lib/text.h"

static const struct safety_kin *find_inside(const struct safety *safety,
					    const struct workload_config *w)
{
	for (unsigned int i = 0; i < safety->n_kin; i++) {
		const struct subject subject = { .cgroup_path = safety->kin[i].cgroup };

		if (pattern_matches(&w->pattern, &subject))
			return &safety->kin[i];
	}
	return NULL;
}

static void tell(const struct workload_config *w, const struct safety_kin *kin, bool refuse,
		 config_message_fn message, void *user)
{
	char path[TEXT_ESCAPED_SIZE(sizeof(kin->cgroup))], who[64], line[4096];
	struct proc_stat st = { 0 };

	(void)proc_read_stat(kin->pid, &st);
	if (kin->pid == getpid())
		snprintf(who, sizeof(who), "the agent");
	else if (kin->pid == 1 || st.ppid != getpid())
		snprintf(who, sizeof(who), "pid %d, which started the agent,", (int)kin->pid);
	else
		snprintf(who, sizeof(who), "the agent's guardian");
	text_printable(path, sizeof(path), kin->cgroup);
	if (refuse)
		snprintf(line, sizeof(line),
			 "%s:%u: workload %s is a target and has %s in it (%.512s), which would be "
			 "held with it; name cgroups without it, or run the agent elsewhere",
			 w->place.file, w->place.line, w->name, who, path);
	else
		snprintf(line, sizeof(line),
			 "%s:%u: workload %s is a target and has this check in it (%.512s); an "
			 "agent that is started here refuses it, so run the agent elsewhere, or "
			 "name other cgroups",
			 w->place.file, w->place.line, w->name, path);
	message(user, !refuse, line);
}

int kin_check(const struct config *config, pid_t guardian, bool refuse, config_message_fn message,
	      void *user)
{
	_cleanup_free_ struct safety *safety = calloc(1, sizeof(*safety));
	_cleanup_free_ bool *done = calloc(config->n_workloads ?: 1, sizeof(*done));
	unsigned int found = 0;

	if (!safety || !done)
		return -ENOMEM;
	safety_refresh(safety, guardian);
	for (unsigned int i = 0; i < config->n_policies; i++) {
		const struct policy_config *p = &config->policies[i];

		for (unsigned int t = 0; t < p->n_targets; t++) {
			const struct workload_config *w = &config->workloads[p->targets[t]];
			const struct safety_kin *kin =
				done[p->targets[t]] ? NULL : find_inside(safety, w);

			done[p->targets[t]] = true;
			if (!kin)
				continue;
			found++;
			tell(w, kin, refuse, message, user);
		}
	}
	return refuse && found ? -EINVAL : 0;
}
