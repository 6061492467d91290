// SPDX-License-Identifier: GPL-2.0-or-later
#include "decide/config.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <syslog.h>

#include "decide/config_policy.h"
#include "decide/config_read.h"
#include "decide/config_text.h"
#include "lib/cleanup.h"
#include "lib/clock.h"

/* The guardian takes 10 s without a heart-beat, one a pulse, for the agent's death. */
#define PULSE_MIN_NS (100 * NSEC_PER_MSEC)
#define PULSE_MAX_NS (3 * NSEC_PER_SEC)

/* --- [agent] -----------------------------------------------------------------------------------
 */

static const struct config_word modes[] = { { "enforce", false }, { "shadow", true }, { NULL } };
static const struct config_word levels[] = {
	{ "error", LOG_ERR }, { "warning", LOG_WARNING }, { "notice", LOG_NOTICE },
	{ "info", LOG_INFO }, { "debug", LOG_DEBUG },	  { NULL },
};

static void read_mode(struct config_source *source, const struct config_item *item,
		      const struct config_key *key, void *field)
{
	int shadow = *(bool *)field;

	config_read_word(source, item, key, &shadow);
	*(bool *)field = shadow;
}

#define FIELD(name) .offset = offsetof(struct config, name)

static const struct config_key agent_keys[] = {
	{ "mode", read_mode, FIELD(shadow), .words = modes },
	{ "only", config_read_cgroup, FIELD(only), .max = ONLY_MAX },
	{ "protect", config_read_patterns, FIELD(protect) },
	{ "prefer", config_read_patterns, FIELD(prefer) },
	{ "avoid", config_read_patterns, FIELD(avoid) },
	{ "state_dir", config_read_path, FIELD(state_dir), .max = PATH_MAX - NAME_MAX },
	/* It is made beside its place, with ".new" behind its name (tell/varlink.c). */
	{ "socket", config_read_path, FIELD(socket),
	  .max = sizeof(((struct sockaddr_un *)0)->sun_path) - sizeof(".new") },
	{ "pin_dir", config_read_path, FIELD(pin_dir), .max = PATH_MAX - NAME_MAX },
	{ "log_level", config_read_word, FIELD(log_level), .words = levels },
	{ "pulse", config_read_duration, FIELD(pulse_ns), .min = PULSE_MIN_NS,
	  .max = PULSE_MAX_NS },
	{ NULL },
};

static int set_defaults(struct config *config)
{
	config->log_level = LOG_INFO;
	config->pulse_ns = NSEC_PER_SEC;
	config->only = strdup("/");
	config->state_dir = strdup("/run/culprit");
	config->socket = strdup("/run/culprit/control");
	config->pin_dir = strdup("/sys/fs/bpf/culprit");
	return config->only && config->state_dir && config->socket && config->pin_dir ? 0 : -ENOMEM;
}

/* --- [workload NAME] ---------------------------------------------------------------------------
 */

static const struct config_key workload_keys[] = {
	{ "unit", config_read_text, CONFIG_NO_FIELD },
	{ "cgroup", config_read_text, CONFIG_NO_FIELD },
	{ NULL },
};

static void read_cgroup_of_workload(struct config_source *source, const struct config_item *item,
				    enum pattern_kind kind, struct workload_config *workload)
{
	const char *error;
	int r;

	if (!*item->value || strchr(item->value, CONFIG_LINE_MARK))
		return;
	r = pattern_parse_kind(&workload->pattern, kind, item->value, &error);
	if (r == -ENOMEM)
		source->out_of_memory = true;
	else if (r < 0)
		config_error(source, item->place, "%s = '%.80s' %s", item->key, item->value, error);
	else if (pattern_is_everything(&workload->pattern))
		config_error(source, item->place,
			     "%s = '%.80s' is every cgroup of the machine; name the one that may "
			     "be told to yield",
			     item->key, item->value);
}

static void read_workload(struct config_source *source, const struct config_section *section,
			  struct workload_config *workload)
{
	static const char *const reserved[] = { "jobs", "offender", "others" };
	const struct config_item *unit = config_section_find(section, "unit");
	const struct config_item *cgroup = config_section_find(section, "cgroup");

	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
		if (strcmp(section->name, reserved[i]) == 0)
			config_error(source, section->place,
				     "no workload can be called '%s', which means something else; "
				     "choose another name",
				     section->name);
	}
	if (config_source_find(source, "job", section->name))
		config_error(source, section->place,
			     "a job is called '%s', too; give one of them another name",
			     section->name);
	config_read_section(source, section, workload_keys, 0, NULL);
	if (unit && cgroup)
		config_error(source, cgroup->place,
			     "workload %s has both a unit and a cgroup; keep one", section->name);
	else if (unit)
		read_cgroup_of_workload(source, unit, PATTERN_UNIT, workload);
	else if (cgroup)
		read_cgroup_of_workload(source, cgroup, PATTERN_CGROUP, workload);
	/* What has no name was told to have none, and is not asked for the rest. */
	else if (*section->name)
		config_error(source, section->place,
			     "workload %s names no cgroup; add unit = NAME.service or cgroup = "
			     "/PATH",
			     section->name);
}

/* --- all sections ------------------------------------------------------------------------------
 */

static void check_kind(struct config_source *source, const struct config_section *section)
{
	static const char *const named[] = { "workload", "policy", "job" };

	if (strcmp(section->kind, "agent") == 0) {
		if (*section->name)
			config_error(source, section->place, "[agent %s] has a name; write [agent]",
				     section->name);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(named); i++) {
		if (strcmp(section->kind, named[i]) != 0)
			continue;
		if (!*section->name)
			config_error(source, section->place, "[%s] has no name; write [%s NAME]",
				     section->kind, section->kind);
		return;
	}
	config_error(source, section->place,
		     "unknown section [%.80s]; sections are [agent], [workload NAME] and [policy "
		     "NAME]",
		     section->kind);
}

static bool is_kind(const struct config_section *section, const char *kind)
{
	return strcmp(section->kind, kind) == 0;
}

/* Workloads first: policies name them, wherever in the files they stand. */
static int read_workloads(struct config_source *source, struct config *config)
{
	config->workloads = calloc(source->n_sections ?: 1, sizeof(*config->workloads));
	if (!config->workloads)
		return -ENOMEM;
	for (size_t i = 0; i < source->n_sections; i++) {
		const struct config_section *section = &source->sections[i];
		struct workload_config *workload = &config->workloads[config->n_workloads];

		if (!is_kind(section, "workload"))
			continue;
		workload->place = section->place;
		workload->name = strdup(section->name);
		if (!workload->name)
			return -ENOMEM;
		config->n_workloads++;
		read_workload(source, section, workload);
	}
	return 0;
}

static int read_policies(struct config_source *source, struct config *config,
			 unsigned int online_cpus)
{
	config->policies = calloc(source->n_sections ?: 1, sizeof(*config->policies));
	if (!config->policies)
		return -ENOMEM;
	for (size_t i = 0; i < source->n_sections; i++) {
		const struct config_section *section = &source->sections[i];
		struct policy_config *policy = &config->policies[config->n_policies];

		if (!is_kind(section, "policy"))
			continue;
		policy->place = section->place;
		policy->name = strdup(section->name);
		if (!policy->name)
			return -ENOMEM;
		config->n_policies++;
		config_read_policy(source, section, config, online_cpus, policy);
	}
	config_check_limits(source, config);
	config_check_opposites(source, config);
	return 0;
}

static int read_sections(struct config_source *source, struct config *config,
			 unsigned int online_cpus)
{
	int r = set_defaults(config);

	if (r < 0)
		return r;
	for (size_t i = 0; i < source->n_sections; i++) {
		const struct config_section *section = &source->sections[i];

		check_kind(source, section);
		if (is_kind(section, "agent"))
			config_read_section(source, section, agent_keys, 0, config);
		if (is_kind(section, "job"))
			config_check_job(source, section);
	}
	r = read_workloads(source, config);
	return r < 0 ? r : read_policies(source, config, online_cpus);
}

/* --- files -------------------------------------------------------------------------------------
 */

/* What cannot be read at all has no line. */
static int refuse_file(struct config_source *source, const char *file, int error)
{
	struct config_place place = { .file = file };

	switch (-error) {
	case EISDIR:
		config_error(source, place, "is a directory; name a configuration file");
		break;
	case EINVAL:
		config_error(source, place, "is not a regular file; name a configuration file");
		break;
	case EFBIG:
		config_error(source, place, "is larger than %u KiB; is this the right file?",
			     CONFIG_FILE_MAX >> 10);
		break;
	case ENOENT:
		config_error(source, place, "does not exist; make it, or name another file");
		break;
	default:
		config_error(source, place, "cannot be read (%s); check its owner and permissions",
			     strerror(-error));
	}
	return error;
}

static int is_fragment(const struct dirent *entry)
{
	return fnmatch("*.conf", entry->d_name, FNM_PERIOD) == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

struct fragments {
	struct dirent **entries;
	int count;
};

static void free_fragments(struct fragments *fragments)
{
	for (int i = 0; i < fragments->count; i++)
		free(fragments->entries[i]);
	free(fragments->entries);
}

/* The first failure is what counts; the other files are read all the same, for their errors. */
static int add_fragments(struct config_source *source, const char *file)
{
	_cleanup_(free_fragments)
	struct fragments fragments = { 0 };
	_cleanup_free_ char *dir = NULL;
	const char *slash = strrchr(file, '/');
	int r = 0;

	if (asprintf(&dir, "%.*sconf.d", slash ? (int)(slash - file) + 1 : 0, file) < 0) {
		dir = NULL;
		return -ENOMEM;
	}
	fragments.count = scandir(dir, &fragments.entries, is_fragment, by_name);
	if (fragments.count < 0) {
		fragments.count = 0;
		return errno == ENOENT ? 0 : refuse_file(source, dir, -errno);
	}
	for (int i = 0; i < fragments.count; i++) {
		_cleanup_free_ char *path = NULL;
		int failed;

		if (asprintf(&path, "%s/%s", dir, fragments.entries[i]->d_name) < 0) {
			path = NULL;
			return -ENOMEM;
		}
		failed = config_source_add(source, path);
		if (failed < 0)
			failed = refuse_file(source, path, failed);
		r = r ?: failed;
	}
	return r;
}

static int add_files(struct config_source *source, const char *file, bool required)
{
	int r = config_source_add(source, file), more;

	if (r == -ENOENT && !required)
		r = 0;
	else if (r < 0)
		r = refuse_file(source, file, r);
	more = add_fragments(source, file);
	return r ?: more;
}

static void free_config(struct config **config)
{
	config_free(*config);
}

int config_load(struct config **out, const char *file, bool required, unsigned int online_cpus,
		config_message_fn message, void *user)
{
	_cleanup_(config_source_free)
	struct config_source source = { .message = message, .user = user };
	_cleanup_(free_config)
	struct config *config = calloc(1, sizeof(*config));
	int r, read;

	*out = NULL;
	if (!config)
		return -ENOMEM;
	r = add_files(&source, file, required);
	read = read_sections(&source, config, online_cpus);
	if (source.out_of_memory)
		return -ENOMEM;
	if (r < 0 || read < 0)
		return r ?: read;
	if (source.errors)
		return -EINVAL;
	config->files = take_ptr(source.files);
	config->n_files = source.n_files;
	source.n_files = 0;
	*out = take_ptr(config);
	return 0;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	free(config->only);
	free(config->state_dir);
	free(config->socket);
	free(config->pin_dir);
	pattern_list_free(&config->protect);
	pattern_list_free(&config->prefer);
	pattern_list_free(&config->avoid);
	for (unsigned int i = 0; i < config->n_workloads; i++) {
		free(config->workloads[i].name);
		pattern_free(&config->workloads[i].pattern);
	}
	free(config->workloads);
	for (unsigned int i = 0; i < config->n_policies; i++)
		config_free_policy(&config->policies[i]);
	free(config->policies);
	for (unsigned int i = 0; i < config->n_files; i++)
		free(config->files[i]);
	free(config->files);
	free(config);
}
