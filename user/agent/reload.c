// SPDX-License-Identifier: GPL-2.0-or-later
/* From the configuration to what is in force: at start, and again when it is reloaded. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
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
int config_of_options(const struct options *o, struct config **out, json_t *lines)
{
	struct messages m = { .lines = lines };
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct config *config;
	int r;

	r = config_load(&config, o->config_file, o->config_required,
			cpus > 0 ? (unsigned int)cpus : 1, on_message, &m);
	if (r < 0)
		return r;
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
int config_connect(struct agent *a)
{
	int r = cpu_signal_build(a);

	if (r < 0)
		return r;
	workloads_sort_in(a);
	r = gpu_signal_build(a);
	if (r < 0)
		return r;
	return thrash_signal_build(a);
}

int agent_reload(struct agent *a, json_t *lines)
{
	struct config *old_config = a->config, *config;
	struct agent_policy *old_policies = a->policies;
	struct agent_workload *old_workloads = a->workloads;
	unsigned int n_policies = a->n_policies, n_workloads = a->n_workloads;
	int r = config_of_options(&a->options, &config, lines);

	if (r < 0) {
		agent_tell_text(a, EVENT_CONFIG,
				"the new configuration has errors; the old one stays in force");
		return r;
	}
	/* These hold the ledger, the socket and the pins; they change with a restart only. */
	if (strcmp(config->state_dir, old_config->state_dir) != 0 ||
	    strcmp(config->socket, old_config->socket) != 0 ||
	    strcmp(config->pin_dir, old_config->pin_dir) != 0)
		log_warning(
			"state_dir, socket and pin_dir change with a restart, not with a reload; "
			"the old ones stay in use");
	a->config = config;
	a->policies = NULL;
	a->workloads = NULL;
	a->n_policies = a->n_workloads = 0;
	r = config_build(a);
	if (r < 0) {
		/* Out of memory: nothing was touched yet but these pointers. */
		workloads_free(a);
		policies_free(a);
		a->config = old_config;
		a->policies = old_policies;
		a->n_policies = n_policies;
		a->workloads = old_workloads;
		a->n_workloads = n_workloads;
		config_free(config);
		return r;
	}
	if (old_config->shadow != config->shadow) {
		/* Told as what it is in the mode in which it was done. */
		a->config = old_config;
		holds_release_all(a, "the mode changes");
		a->config = config;
	}
	policies_inherit(a, old_config, old_policies, n_policies);
	(void)act_set_only(a->act, config->only);
	log_set_level(config->log_level);
	r = config_connect(a);
	spared_forget(a);
	spared_pulse(a, monotonic_ns());
	for (unsigned int i = 0; i < n_workloads; i++)
		free(old_workloads[i].nodes);
	free(old_workloads);
	free(old_policies);
	config_free(old_config);
	policies_tick(a, monotonic_ns());
	agent_tell_text(a, EVENT_CONFIG,
			"the configuration was read again: %u policies, %u workloads",
			a->n_policies, a->n_workloads);
	agent_schedule(a);
	return r;
}
