// SPDX-License-Identifier: GPL-2.0-or-later
#include "decide/config_policy.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "decide/config_read.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/units.h"

#define DEFAULT_WINDOW_NS   NSEC_PER_SEC
#define DEFAULT_GRACE_NS    (15 * NSEC_PER_SEC)
#define DEFAULT_CPU_ENTER   0.15
#define DEFAULT_STALL_ENTER 0.10
/* Below, there would be little more than freezing; beyond, peers of who waits give up. */
#define SLICE_MIN_NS	    (100 * NSEC_PER_MSEC)
#define SLICE_MAX_NS	    (600 * NSEC_PER_SEC)
/* Sixteen sub-windows of a kernel tick (10 ms at HZ=100) do not fit into less. */
#define WINDOW_MIN_NS	    (160 * NSEC_PER_MSEC)
#define WINDOW_MAX_NS	    (600 * NSEC_PER_SEC)

#define CPU	 (1U << SIGNAL_CPU)
#define GPU	 (1U << SIGNAL_GPU)
#define THRASH	 (1U << SIGNAL_THRASH)
#define PRESSURE (1U << SIGNAL_PRESSURE)
#define PEOPLE	 (1U << SIGNAL_PRESENCE | 1U << SIGNAL_POWER)

/* --- the keys ----------------------------------------------------------------------------------
 */

static const struct config_word signals[] = {
	{ "cpu", SIGNAL_CPU },
	{ "gpu", SIGNAL_GPU },
	{ "thrash", SIGNAL_THRASH },
	{ "pressure", SIGNAL_PRESSURE, .later = true },
	{ "presence", SIGNAL_PRESENCE, .later = true },
	{ "power", SIGNAL_POWER, .later = true },
	{ NULL },
};
static const struct config_word actions[] = {
	{ "freeze", ACTION_FREEZE },
	{ "stop", ACTION_STOP },
	{ "terminate", ACTION_TERMINATE },
	{ "demote", ACTION_DEMOTE },
	{ "kill", ACTION_KILL },
	{ "turn", ACTION_TURN },
	{ "notify", ACTION_NOTIFY, .later = true },
	{ NULL },
};
static const struct config_word users[] = {
	{ "any", GPU_USERS_ANY },
	{ "compute", GPU_USERS_COMPUTE },
	{ "display", GPU_USERS_DISPLAY },
	{ NULL },
};
static const struct config_word selects[] = {
	{ "all", SELECT_ALL },
	{ "top", SELECT_TOP },
	{ "newest", SELECT_NEWEST },
	{ "lowest-priority", SELECT_LOWEST_PRIORITY, .later = true },
	{ NULL },
};
static const struct config_word metrics[] = {
	{ "use", METRIC_USE },
	{ "delay", METRIC_DELAY },
	{ NULL },
};
static const struct config_word resources[] = { { "memory" }, { "cpu" }, { "io" }, { NULL } };
static const struct config_word kinds[] = { { "some" }, { "full" }, { NULL } };

const char *policy_signal_name(enum signal_kind signal)
{
	return signals[signal].word;
}

const char *policy_action_name(enum policy_action action)
{
	for (const struct config_word *w = actions; w->word; w++) {
		if (w->value == (int)action)
			return w->word;
	}
	return "?";
}

#define FIELD(name) .offset = offsetof(struct policy_config, name)
#define CHECKED	    .offset = CONFIG_NO_FIELD

/* signal, target, of, enter and leave hang together and are read one by one below. */
static const struct config_key policy_keys[] = {
	{ "signal", config_read_word, FIELD(signal), .words = signals },
	{ "action", config_read_word, FIELD(action), .words = actions },
	{ "target", config_read_list, CHECKED },
	{ "select", config_read_word, FIELD(select), .words = selects },
	{ "window", config_read_duration, FIELD(window_ns), .min = WINDOW_MIN_NS,
	  .max = WINDOW_MAX_NS },
	{ "grace", config_read_duration, FIELD(grace_ns) },
	{ "min_run", config_read_duration, FIELD(min_run_ns) },
	{ "max_hold", config_read_limit, FIELD(max_hold_ns) },
	{ "escalate", config_read_list, CHECKED },
	{ "notify", config_read_text, CHECKED, .only = "none" },
	{ "of", config_read_text, CHECKED, .signals = CPU | PRESSURE },
	{ "metric", config_read_word, FIELD(metric), .words = metrics, .signals = CPU },
	{ "enter", config_read_text, CHECKED, .signals = CPU | THRASH | PRESSURE },
	{ "leave", config_read_text, CHECKED, .signals = CPU | THRASH | PRESSURE },
	{ "devices", config_read_globs, FIELD(devices), .signals = GPU },
	{ "users", config_read_word, FIELD(users), .words = users, .signals = GPU },
	{ "ignore", config_read_patterns, FIELD(ignore), .signals = GPU },
	{ "hold", config_read_duration, FIELD(hold_ns), .signals = GPU },
	{ "slice", config_read_duration, FIELD(slice_ns), .signals = THRASH, .min = SLICE_MIN_NS,
	  .max = SLICE_MAX_NS },
	{ "resource", config_read_word, CHECKED, .words = resources, .signals = PRESSURE },
	{ "kind", config_read_word, CHECKED, .words = kinds, .signals = PRESSURE },
	{ "idle", config_read_duration, CHECKED, .signals = PEOPLE },
	{ "ignore_users", config_read_users, CHECKED, .signals = PEOPLE },
	{ "sources", config_read_list, CHECKED, .signals = PEOPLE },
	{ NULL },
};

static const struct config_word starts[] = { { "idle" }, { "boot" }, { "manual" }, { NULL } };
static const struct config_word io_classes[] = {
	{ "idle" }, { "best-effort" }, { "realtime" }, { NULL }
};
static const struct config_word yes_no[] = { { "yes" }, { "no" }, { NULL } };

static const struct config_key job_keys[] = {
	{ "command", config_read_text, CHECKED },
	{ "user", config_read_users, CHECKED },
	{ "group", config_read_text, CHECKED },
	{ "dir", config_read_path, CHECKED },
	{ "env", config_read_list, CHECKED },
	{ "log", config_read_path, CHECKED },
	{ "gpus", config_read_text, CHECKED },
	{ "start", config_read_word, CHECKED, .words = starts },
	{ "nice", config_read_nice, CHECKED },
	{ "io_class", config_read_word, CHECKED, .words = io_classes },
	{ "stop_timeout", config_read_duration, CHECKED },
	{ "on_yield", config_read_text, CHECKED },
	{ "on_resume", config_read_text, CHECKED },
	{ "reserve", config_read_word, CHECKED, .words = yes_no },
	{ "on_agent_exit", config_read_text, CHECKED },
	{ "priority", config_read_number, CHECKED },
	{ NULL },
};

void config_check_job(struct config_source *source, const struct config_section *section)
{
	config_error(source, section->place,
		     "[job %s] is not supported yet; remove the section, or start the job yourself "
		     "and name its cgroup in a [workload NAME] section",
		     section->name);
	config_read_section(source, section, job_keys, 0, NULL);
}

/* --- one policy --------------------------------------------------------------------------------
 */

struct policy_reading {
	struct config_source *source;
	const struct config_section *section;
	const struct config *config;
	unsigned int online_cpus;
	unsigned int signal; /* its bit, 0: not known */
	struct policy_config *policy;
};

static const struct config_item *find(const struct policy_reading *r, const char *key)
{
	return config_section_find(r->section, key);
}

static void set_defaults(struct policy_config *policy)
{
	policy->window_ns = DEFAULT_WINDOW_NS;
	policy->grace_ns = DEFAULT_GRACE_NS;
	policy->slice_ns = CONFIG_SLICE_NS;
	policy->of_others = true;
}

static void require(const struct policy_reading *r, const char *key, const char *remedy)
{
	/* What has no name was told to have none, and is not asked for the rest. */
	if (*r->section->name && !find(r, key))
		config_error(r->source, r->section->place, "policy %s has no %s; add %s",
			     r->section->name, key, remedy);
}

/* The signal decides what the other keys mean, so it is looked at before them. */
static unsigned int read_signal(const struct policy_reading *r)
{
	const struct config_item *item = find(r, "signal");

	for (const struct config_word *w = signals; item && w->word; w++) {
		if (strcmp(w->word, item->value) == 0)
			return 1U << w->value;
	}
	return 0;
}

/* --- of ----------------------------------------------------------------------------------------
 */

/* A target that is its own reason would be frozen, so be quiet, so be thawed, for ever. */
static void check_of(const struct policy_reading *r, const struct config_item *item)
{
	const struct policy_config *policy = r->policy;

	if (pattern_is_everything(&policy->of)) {
		config_error(r->source, item->place,
			     "of = '%.80s' is the whole machine with the target in it; write "
			     "others, or one unit or cgroup",
			     item->value);
		return;
	}
	for (unsigned int i = 0; i < policy->n_targets; i++) {
		const struct workload_config *w = &r->config->workloads[policy->targets[i]];

		/* Without text it was refused. */
		if (!w->pattern.text)
			continue;
		if (pattern_is_inside(&w->pattern, &policy->of))
			config_error(
				r->source, item->place,
				"of = '%.80s' has the target %s itself in it, which would "
				"freeze and thaw for ever; name what the target shall yield to",
				item->value, w->name);
		else if (pattern_is_inside(&policy->of, &w->pattern))
			config_error(
				r->source, item->place,
				"of = '%.80s' is part of the target %s and would be frozen with "
				"it; name what the target shall yield to",
				item->value, w->name);
	}
}

static void read_of(struct policy_reading *r)
{
	const struct config_item *item = find(r, "of");
	const char *whole = r->signal == PRESSURE ? "host" : "others";

	if (!item || !(r->signal & (CPU | PRESSURE)) || strcmp(item->value, whole) == 0)
		return;
	if (r->signal == CPU && strcmp(item->value, "non-nice") == 0) {
		r->policy->non_nice = true;
		return;
	}
	if (!*item->value || !config_read_target(r->source, item, &r->policy->of))
		return;
	r->policy->of_others = false;
	check_of(r, item);
}

/* --- enter and leave ---------------------------------------------------------------------------
 */

static bool refuse_limit(const struct policy_reading *r, const struct config_item *item,
			 const char *why)
{
	config_error(r->source, item->place, "%s = '%.80s' %s", item->key, item->value, why);
	return false;
}

static const char *why_not_zero(const char *key)
{
	return strcmp(key, "enter") == 0
		       ? "would hold for ever; write more than 0"
		       : "would never be left, for no value is below it; write more than 0";
}

static bool is_time(const char *text)
{
	const char *error;
	uint64_t ns;

	/* A bare 0 is both. */
	return strcmp(text, "0") != 0 && units_parse_duration(text, &ns, &error) == 0;
}

static bool is_share(const char *text)
{
	const char *error;
	double value;
	bool cpus;

	return units_parse_share(text, &value, &cpus, &error) == 0;
}

static bool read_ms(const struct policy_reading *r, const char *key, double *out)
{
	const struct config_item *item = find(r, key);
	const char *error;
	uint64_t ns;

	if (!item || !*item->value || strchr(item->value, CONFIG_LINE_MARK))
		return false;
	if (strcmp(item->value, "0") != 0 && is_share(item->value))
		return refuse_limit(r, item,
				    "is a share, and with metric = delay a time is due; write 2ms, "
				    "or remove metric");
	if (units_parse_duration(item->value, &ns, &error) < 0)
		return refuse_limit(r, item, error);
	if (ns == 0)
		return refuse_limit(r, item, why_not_zero(key));
	*out = (double)ns / (double)NSEC_PER_MSEC;
	return true;
}

static bool read_share(const struct policy_reading *r, const char *key, double *out)
{
	const struct config_item *item = find(r, key);
	const char *error;
	double value;
	bool cpus;

	/* Empty, or on two lines: told when the section was read. */
	if (!item || !*item->value || strchr(item->value, CONFIG_LINE_MARK))
		return false;
	if (r->signal == CPU && is_time(item->value))
		return refuse_limit(r, item,
				    "is a time, and CPU time is measured as a share; write 15% or "
				    "0.5cpu, or add metric = delay");
	if (units_parse_share(item->value, &value, &cpus, &error) < 0)
		return refuse_limit(r, item, error);
	if (value <= 0)
		return refuse_limit(r, item, why_not_zero(key));
	if (!cpus && value > 1)
		return refuse_limit(r, item, "is more than there is; write at most 100%");
	if (r->policy->unit == UNIT_SHARE && cpus)
		return refuse_limit(r, item,
				    "is in CPUs, but this signal is a share of the time; write it "
				    "in %, as in 10%");
	if (cpus && value > r->online_cpus)
		config_warning(r->source, item->place,
			       "%s = '%.80s' is never reached with the %u CPUs online here; write "
			       "less",
			       key, item->value, r->online_cpus);
	if (!cpus && r->policy->unit == UNIT_CPUS)
		value *= r->online_cpus;
	*out = value;
	return true;
}

static void check_leave(const struct policy_reading *r)
{
	const struct config_item *leave = find(r, "leave");

	if (leave && r->policy->leave > r->policy->enter)
		config_error(r->source, leave->place,
			     "leave = '%.80s' is above enter; write at most what enter is",
			     leave->value);
}

/* What the limits of another metric would be in, nobody knows. */
static bool knows_metric(const struct policy_reading *r)
{
	const struct config_item *item = find(r, "metric");

	for (const struct config_word *w = metrics; item && w->word; w++)
		if (strcmp(w->word, item->value) == 0)
			return true;
	return !item;
}

static void read_delay_thresholds(struct policy_reading *r)
{
	struct policy_config *policy = r->policy;
	unsigned int errors = r->source->errors;

	policy->unit = UNIT_MS;
	/* What harms whom depends on who it is: there is no default that could be right. */
	require(r, "enter", "enter = 2ms, or how long a wait for a CPU may be");
	if (!read_ms(r, "enter", &policy->enter))
		policy->enter = 1;
	policy->leave = policy->enter / 3;
	(void)read_ms(r, "leave", &policy->leave);
	if (find(r, "enter") && r->source->errors == errors)
		check_leave(r);
}

static void read_thresholds(struct policy_reading *r)
{
	struct policy_config *policy = r->policy;
	unsigned int errors = r->source->errors;

	if (r->signal == GPU) {
		policy->unit = UNIT_HOLDERS;
		policy->enter = policy->leave = 1;
		return;
	}
	if (r->signal == CPU && policy->metric == METRIC_DELAY) {
		read_delay_thresholds(r);
		return;
	}
	policy->unit = r->signal == CPU ? UNIT_CPUS : UNIT_SHARE;
	policy->enter = r->signal == CPU ? DEFAULT_CPU_ENTER * r->online_cpus : DEFAULT_STALL_ENTER;
	policy->enter_is_default = !read_share(r, "enter", &policy->enter);
	policy->leave = policy->enter / (r->signal == CPU ? 3 : 2);
	(void)read_share(r, "leave", &policy->leave);
	if (r->source->errors == errors)
		check_leave(r);
}

/* --- the whole ---------------------------------------------------------------------------------
 */

static void set_default_devices(struct policy_reading *r)
{
	char **devices = calloc(2, sizeof(*devices));

	if (devices)
		devices[0] = strdup("/dev/nvidia[0-9]*");
	if (!devices || !devices[0])
		r->source->out_of_memory = true;
	r->policy->devices = devices;
}

void config_read_policy(struct config_source *source, const struct config_section *section,
			const struct config *config, unsigned int online_cpus,
			struct policy_config *policy)
{
	struct policy_reading r = { .source = source,
				    .section = section,
				    .config = config,
				    .online_cpus = online_cpus,
				    .policy = policy };

	if (strcmp(section->name, "operator") == 0)
		config_error(source, section->place,
			     "no policy can be called 'operator', which stands for freezing by "
			     "hand; choose another name");
	require(&r, "signal", "signal = cpu, gpu or thrash");
	require(&r, "action", "action = freeze, demote, stop, terminate or kill");
	require(&r, "target", "target = the name of a workload, or offender with signal = thrash");
	r.signal = read_signal(&r);
	set_defaults(policy);
	config_read_section(source, section, policy_keys, r.signal, policy);
	if (r.signal == GPU && !policy->devices)
		set_default_devices(&r);
	config_read_targets(source, section, config, policy);
	config_read_ladder(source, section, policy);
	read_of(&r);
	if ((r.signal & (CPU | GPU | THRASH | PRESSURE)) && knows_metric(&r))
		read_thresholds(&r);
}

void config_free_policy(struct policy_config *policy)
{
	free(policy->name);
	free(policy->targets);
	pattern_free(&policy->of);
	for (char **d = policy->devices; d && *d; d++)
		free(*d);
	free(policy->devices);
	pattern_list_free(&policy->ignore);
}
