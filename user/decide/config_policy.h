/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The [policy NAME] and [job NAME] sections. Private to the reader of the configuration. */
#ifndef CULPRIT_DECIDE_CONFIG_POLICY_H
#define CULPRIT_DECIDE_CONFIG_POLICY_H

#include "decide/config_source.h"
#include "lib/clock.h"

#define CONFIG_SLICE_NS (5 * NSEC_PER_SEC) /* the default */

/* Reads the section into *policy (zeroed; name and place set). The workloads are in `config`
 * already: targets are looked up there. What is wrong is told. */
void config_read_policy(struct config_source *source, const struct config_section *section,
			const struct config *config, unsigned int online_cpus,
			struct policy_config *policy);
/* target, when signal, action and select have been read. */
void config_read_targets(struct config_source *source, const struct config_section *section,
			 const struct config *config, struct policy_config *policy);
/* escalate, when action, targets and max_hold have been read. */
void config_read_ladder(struct config_source *source, const struct config_section *section,
			struct policy_config *policy);
void config_free_policy(struct policy_config *policy);

/* Jobs are not there yet: says so, and checks the keys. */
void config_check_job(struct config_source *source, const struct config_section *section);

/* Is there room for what all policies together ask for? */
void config_check_limits(struct config_source *source, struct config *config);
/* Does no policy order the opposite of what others do? */
void config_check_opposites(struct config_source *source, const struct config *config);

#endif
