// SPDX-License-Identifier: GPL-2.0-or-later
/* From the configuration to what is in force: at start, and again when it is reloaded. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "lib/units.h"
#include "tell/json.h"
#include "tell/log.h"

struct messages {
	json_t *lines; /* may be NULL */
};

static void on_message(void *user, bool warning, const char *line)
{
	struct messages *m = user;

	if (warning)
		log_warning("%s", line);
	else
		log_error("%s", line);
	if (!warning && m->lines)
		json_array_append_new(m->lines, json_text(line));
}

static int replace_text(char **text, const char *with)
{
	char *copy;

	if (!with)
		return 0;
	copy = strdup(with);
	if (!copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

/* Reads the configuration; what the command line says beats it. */
int config_of_options(const struct options *o, pid_t guardian, struct config **out, json_t *lines)
{
	struct messages m = { .lines = lines };
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct config *config;
	int r;

	r = config_load(&config, o->config_file, o->config_required,
			cpus > 0 ? (unsigned int)cpus : 1, on_message, &m);
	if (r < 0)
		return r;
	r = kin_check(config, guardian, true, on_message, &m);
	if (r < 0) {
		config_free(config);
		return r;
	}
	if (o->shadow)
		config->shadow = true;
	if (o->log_level >= 0)
		config->log_level = o->log_level;
	if (replace_text(&config->only, o->only) < 0 ||
	    replace_text(&config->state_dir, o->state_dir) < 0 ||
	    replace_text(&config->socket, o->socket) < 0 ||
	    replace_text(&config->pin_dir, o->pin_dir) < 0) {
		config_free(config);
		return -ENOMEM;
	}
	*out = config;
	return 0;
}

/* Builds what follows from the configuration. */
int config_build(struct agent *a)
{
	int r = workloads_build(a);

	if (r >= 0)
		r = policies_build(a);
	return r;
}

/* ... and connects it with the senses, once old states have been taken over. */
void config_connect(struct agent *a)
{
	agent_degraded_end(a, DEGRADED_ONLY);
	agent_check_only(a);
	cpu_signal_build(a);
	delay_signal_build(a);
	workloads_sort_in(a);
	delay_signal_start(a);
	checks_build(a);
	/* Before a signal can begin. */
	spared_build(a);
	gpu_signal_build(a);
	thrash_signal_build(a);
}

/* What a configuration is in the agent. */
struct in_force {
	struct config *config;
	struct agent_policy *policies;
	struct agent_workload *workloads;
	unsigned int n_policies, n_workloads;
};

static struct in_force take_out(struct agent *a)
{
	struct in_force f = { a->config, a->policies, a->workloads, a->n_policies, a->n_workloads };

	a->config = NULL;
	a->policies = NULL;
	a->workloads = NULL;
	a->n_policies = a->n_workloads = 0;
	return f;
}

static void put_in(struct agent *a, const struct in_force *f)
{
	a->config = f->config;
	a->policies = f->policies;
	a->workloads = f->workloads;
	a->n_policies = f->n_policies;
	a->n_workloads = f->n_workloads;
}

static void free_old(struct in_force *f)
{
	for (unsigned int i = 0; i < f->n_workloads; i++)
		free(f->workloads[i].nodes);
	free(f->workloads);
	for (unsigned int i = 0; i < f->n_policies; i++)
		free(f->policies[i].turns);
	free(f->policies);
	config_free(f->config);
}

/* All that can fail, before anything that is in force is touched. */
static int prepare(struct agent *a, struct in_force *new, json_t *lines)
{
	struct in_force old;
	struct config *config;
	int r = config_of_options(&a->options, guardian_pid(a->guardian), &config, lines);

	if (r < 0)
		return r;
	old = take_out(a);
	a->config = config;
	r = config_build(a);
	if (r < 0) {
		workloads_free(a);
		policies_free(a);
		config_free(config);
	} else {
		*new = take_out(a);
	}
	put_in(a, &old);
	return r;
}

/* These hold the ledger, the socket and the pins. */
static void warn_of_lasting(const struct config *old, const struct config *new)
{
	if (strcmp(new->state_dir, old->state_dir) != 0 || strcmp(new->socket, old->socket) != 0 ||
	    strcmp(new->pin_dir, old->pin_dir) != 0)
		log_warning(
			"state_dir, socket and pin_dir change with a restart, not with a reload; "
			"the old ones stay in use");
}

static void put_in_force(struct agent *a, const struct in_force *new)
{
	struct in_force old;

	/* What was sent for the old budgets is heard before their places mean something else. */
	if (a->cpu)
		(void)cpu_dispatch(a->cpu);
	if (a->delay)
		(void)delay_dispatch(a->delay);
	/* And of devices while the old policies know theirs. */
	if (a->gpu)
		(void)gpu_dispatch(a->gpu);
	/* Told as what it is in the mode in which it was done. */
	if (a->config->shadow != new->config->shadow)
		holds_release_all(a, "the mode changes");
	old = take_out(a);
	put_in(a, new);
	spared_forget(a);
	checks_forget(a);
	agent_degraded_end(a, DEGRADED_CONFIG);
	agent_degraded_end(a, DEGRADED_RELOAD);
	policies_inherit(a, old.config, old.policies, old.n_policies);
	(void)act_set_only(a->act, a->config->only);
	log_set_level(a->config->log_level);
	config_connect(a);
	free_old(&old);
	policies_tick(a, monotonic_ns());
}

int agent_reload(struct agent *a, json_t *lines)
{
	struct in_force new;
	int r = prepare(a, &new, lines);

	if (r < 0) {
		const char *why = r == -ENOMEM ? "could not be read (no memory)" : "has errors";

		agent_tell_text(a, EVENT_CONFIG,
				"the new configuration %s; the old one stays in force", why);
		agent_degraded_for(a, DEGRADED_RELOAD,
				   "the configuration that was read last %s, and the one before it "
				   "is in force; mend it (culpritd --check) and reload",
				   why);
		return r;
	}
	warn_of_lasting(a->config, new.config);
	put_in_force(a, &new);
	agent_tell_text(a, EVENT_CONFIG, "the configuration was read again: %u %s, %u %s",
			a->n_policies, units_plural(a->n_policies, "policy", "policies"),
			a->n_workloads, units_plural(a->n_workloads, "workload", "workloads"));
	agent_schedule(a);
	return 0;
}
