// SPDX-License-Identifier: GPL-2.0-or-later
/* The life of the agent: what is opened in which order, the loop, and the way out. */
#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <systemd/sd-daemon.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "lib/procfs.h"
#include "tell/json.h"
#include "tell/log.h"

#define SWEEP_NS	     (10 * NSEC_PER_SEC)
#define TERMINATE_TIMEOUT_NS (10 * NSEC_PER_SEC)

void agent_degraded(struct agent *a, const char *text)
{
	for (unsigned int i = 0; i < a->n_degraded; i++)
		if (a->degraded[i] == text)
			return;
	if (a->n_degraded == ARRAY_SIZE(a->degraded))
		return;
	a->degraded[a->n_degraded++] = text;
	log_warning("%s", text);
}

/* --- telling -----------------------------------------------------------------------------------
 */

static int on_flush(sd_event_source *source, void *agent)
{
	struct agent *a = agent;

	(void)source;
	events_flush(a->events);
	return 0;
}

void agent_tell(struct agent *a, struct event *event)
{
	event->ts_ms = unix_ms();
	event->shadow = a->config && a->config->shadow;
	(void)event_put(a->events, event);
	(void)sd_event_source_set_enabled(a->flush, SD_EVENT_ONESHOT);
}

__attribute__((format(printf, 3, 4))) static void tell_text(struct agent *a, enum event_kind kind,
							    const char *format, ...)
{
	struct event event = { .kind = kind };
	va_list ap;

	va_start(ap, format);
	vsnprintf(event.reason, sizeof(event.reason), format, ap);
	va_end(ap);
	agent_tell(a, &event);
}

/* --- the clock ---------------------------------------------------------------------------------
 */

void agent_schedule(struct agent *a)
{
	uint64_t now = monotonic_ns();
	uint64_t next = a->last_pulse_ns + a->config->pulse_ns;
	uint64_t t = policies_next_ns(a, now);
	uint64_t accuracy_usec = 50 * 1000;

	if (t < next)
		next = t;
	t = gpu_signal_next_ns(a, now);
	if (t < next)
		next = t;
	if (holds_any(a) && now + TICK_NS < next)
		next = now + TICK_NS;
	/* An approaching release is kept to the millisecond; a pulse may wait for company. */
	if (next < a->last_pulse_ns + a->config->pulse_ns)
		accuracy_usec = 1000;
	(void)sd_event_source_set_time_accuracy(a->timer, accuracy_usec);
	(void)sd_event_source_set_time(a->timer, next / NSEC_PER_USEC);
	(void)sd_event_source_set_enabled(a->timer, SD_EVENT_ONESHOT);
}

static void pulse(struct agent *a, uint64_t now)
{
	a->last_pulse_ns = now;
	act_pulse(a->act);
	thrash_signal_pulse(a, now);
	sampler_pulse(a, now);
	if (a->tree)
		(void)tree_pulse(a->tree);
	if (a->cpu)
		cpu_show(a->cpu);
	if (now < a->last_sweep_ns + SWEEP_NS)
		return;
	a->last_sweep_ns = now;
	if (a->cpu)
		cpu_sweep(a->cpu);
	if (a->swap)
		swap_sweep(a->swap);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *agent)
{
	struct agent *a = agent;
	uint64_t now = monotonic_ns();

	(void)source;
	(void)usec;
	guardian_beat(a->guardian);
	if (now >= a->last_pulse_ns + a->config->pulse_ns)
		pulse(a, now);
	gpu_signal_tick(a, now);
	policies_tick(a, now);
	holds_retry(a, now);
	agent_schedule(a);
	return 0;
}

/* --- signals -----------------------------------------------------------------------------------
 */

static int on_quit(sd_event_source *source, const struct signalfd_siginfo *info, void *agent)
{
	struct agent *a = agent;

	(void)source;
	(void)info;
	return sd_event_exit(a->event, 0);
}

static int on_hup(sd_event_source *source, const struct signalfd_siginfo *info, void *agent)
{
	struct agent *a = agent;

	(void)source;
	(void)info;
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
		   (unsigned long long)(monotonic_ns() / NSEC_PER_USEC));
	(void)agent_reload(a, NULL);
	sd_notify(0, "READY=1");
	return 0;
}

static int watch_signals(struct agent *a)
{
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	/* A client or a log reader that goes away is no reason to die. */
	signal(SIGPIPE, SIG_IGN);
	r = sd_event_add_signal(a->event, NULL, SIGTERM, on_quit, a);
	if (r >= 0)
		r = sd_event_add_signal(a->event, NULL, SIGINT, on_quit, a);
	if (r >= 0)
		r = sd_event_add_signal(a->event, NULL, SIGHUP, on_hup, a);
	return r;
}

/* --- configuration -----------------------------------------------------------------------------
 */

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
static int load_config(const struct options *o, struct config **out, json_t *lines)
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
static int build(struct agent *a)
{
	int r = workloads_build(a);

	if (r >= 0)
		r = policies_build(a);
	return r;
}

/* ... and connects it with the senses, once old states have been taken over. */
static int connect_senses(struct agent *a)
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
	int r = load_config(&a->options, &config, lines);

	if (r < 0) {
		tell_text(a, EVENT_CONFIG,
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
	r = build(a);
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
	policies_inherit(a, old_config, old_policies, n_policies);
	(void)act_set_only(a->act, config->only);
	log_set_level(config->log_level);
	r = connect_senses(a);
	for (unsigned int i = 0; i < n_workloads; i++)
		free(old_workloads[i].nodes);
	free(old_workloads);
	free(old_policies);
	config_free(old_config);
	policies_tick(a, monotonic_ns());
	tell_text(a, EVENT_CONFIG, "the configuration was read again: %u policies, %u workloads",
		  a->n_policies, a->n_workloads);
	agent_schedule(a);
	return r;
}

/* --- opening -----------------------------------------------------------------------------------
 */

/* The loop must run when everything else wants to, too, and must never wait for its own pages. */
static void take_priority(struct agent *a)
{
	struct sched_param param = { .sched_priority = 1 };
	struct rlimit files = { 65536, 65536 };

	if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &param) < 0 &&
	    setpriority(PRIO_PROCESS, 0, -20) < 0)
		agent_degraded(
			a, "neither real-time nor high priority could be had; reactions are late "
			   "on a busy machine");
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
		agent_degraded(
			a, "memory could not be locked; reactions are late when memory is short");
	(void)setrlimit(RLIMIT_NOFILE, &files);
}

static void told_release(void *agent, const struct claim *claim, int error)
{
	struct agent *a = agent;
	struct event event = { .kind = error ? EVENT_ERROR : EVENT_RECOVERED,
			       .has_target = true,
			       .target = claim->target,
			       .claim_id = claim->id };

	snprintf(event.policy, sizeof(event.policy), "%s", claim->policy);
	if (error)
		snprintf(event.reason, sizeof(event.reason),
			 "an earlier agent held it, and it could not be let go: %s",
			 strerror(-error));
	else
		snprintf(event.reason, sizeof(event.reason),
			 "an earlier agent held it; it was let go");
	agent_tell(a, &event);
}

static int open_ledger(struct agent *a)
{
	char what[PATH_MAX] = "";
	pid_t holder = 0;
	int r = ledger_open(&a->ledger, a->config->state_dir, &holder, what, sizeof(what));

	if (r == -EBUSY)
		log_error("%s: another agent (pid %d) uses this state directory; stop it, or give "
			  "--state-dir",
			  a->config->state_dir, (int)holder);
	else if (r == -EPERM)
		log_error("%s: must be root's and not writable by others, for the state directory "
			  "to be "
			  "safe; mend it (chown root, chmod go-w) or give --state-dir",
			  what[0] ? what : a->config->state_dir);
	else if (r < 0)
		log_error("%s: the ledger cannot be written (%s); without one nothing may be held: "
			  "make "
			  "room, or give --state-dir",
			  a->config->state_dir, strerror(-r));
	return r;
}

static void open_pins(struct agent *a)
{
	int r = pins_open(&a->pins, a->config->pin_dir);

	if (r == -EBUSY)
		agent_degraded(a,
			       "another agent pins its maps in pin_dir; ours are not pinned (give "
			       "--pin-dir)");
	else if (r < 0)
		agent_degraded(
			a, "no bpffs at pin_dir and none could be mounted; maps are not pinned");
	r = losses_open(&a->losses);
	if (r < 0)
		agent_degraded(a, "the losses map could not be made; losses are not counted");
	else if (a->pins && pins_add(a->pins, losses_fd(a->losses), "losses") < 0)
		agent_degraded(a, "the losses map could not be pinned");
}

static int open_act(struct agent *a)
{
	struct act_options o = {
		.event = a->event,
		.cgroups = &a->cgroups,
		.ledger = a->ledger,
		.guardian = a->guardian,
		.only = a->config->only,
		.terminate_timeout_ns = TERMINATE_TIMEOUT_NS,
		.news = holds_news,
		.user = a,
	};

	return act_new(&a->act, &o);
}

/* The directory of the socket; the state directory is made by the ledger. */
static void make_parent(const char *path)
{
	char dir[PATH_MAX];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return;
	*slash = '\0';
	(void)mkdir(dir, 0755);
}

static int open_socket(struct agent *a)
{
	struct varlink_options o = {
		.event = a->event,
		.path = a->config->socket,
		.group = "culprit",
		.methods = control_methods,
		.user = a,
	};
	int r;

	make_parent(o.path);
	r = varlink_new(&a->server, &o);
	if (r == -EADDRINUSE)
		log_error("%s: another agent answers there; stop it, or give --socket", o.path);
	else if (r < 0)
		log_error("%s: the control socket cannot be made (%s); give --socket", o.path,
			  strerror(-r));
	return r;
}

static int open_loop(struct agent *a)
{
	int r = sd_event_default(&a->event);

	if (r >= 0)
		r = watch_signals(a);
	if (r >= 0)
		r = sd_event_add_time(a->event, &a->timer, CLOCK_MONOTONIC, UINT64_MAX, 0, on_timer,
				      a);
	if (r >= 0)
		r = sd_event_add_defer(a->event, &a->flush, on_flush, a);
	if (r >= 0)
		r = sd_event_source_set_priority(a->flush, SD_EVENT_PRIORITY_IDLE);
	if (r >= 0)
		r = sd_event_source_set_enabled(a->flush, SD_EVENT_OFF);
	if (r >= 0)
		r = events_new(&a->events);
	if (r >= 0)
		r = feed_new(&a->feed, a->events);
	if (r >= 0)
		(void)sd_event_set_watchdog(a->event, true);
	return r;
}

static int open_all(struct agent *a)
{
	int r = cgroupfs_open(&a->cgroups);

	if (r < 0) {
		log_error("no cgroup v2 hierarchy is mounted; mount one (mount -t cgroup2 none "
			  "/sys/fs/cgroup)");
		return r;
	}
	r = open_ledger(a);
	if (r < 0)
		return r;
	/* The guardian is forked while we are small and before anything can be held. */
	r = guardian_start(&a->guardian,
			   &(struct guardian_options){ .ledger = a->ledger,
						       .pin_dir = a->config->pin_dir,
						       .remove_pins = pins_remove_stale });
	if (r < 0) {
		log_error("the guardian cannot be started (%s); without it nothing may be held",
			  strerror(-r));
		return r;
	}
	r = open_loop(a);
	if (r < 0) {
		log_error("the event loop cannot be set up: %s", strerror(-r));
		return r;
	}
	(void)ledger_release(a->ledger, &a->cgroups, told_release, a);
	take_priority(a);
	open_pins(a);
	r = open_act(a);
	if (r < 0)
		return r;
	r = senses_open(a);
	if (r < 0)
		return r;
	r = open_socket(a);
	if (r < 0)
		return r;
	r = build(a);
	if (r >= 0)
		r = connect_senses(a);
	if (r < 0)
		log_error("the policies cannot be set up: %s", strerror(-r));
	return r;
}

static void close_all(struct agent *a)
{
	/* Letting go comes first; nothing else matters as much. */
	if (a->act) {
		holds_release_all(a, "the agent ends");
		act_free(a->act);
	}
	if (a->events)
		events_flush(a->events);
	if (a->feed)
		feed_free(a->feed);
	if (a->server)
		varlink_free(a->server);
	for (unsigned int i = 0; i < ARRAY_SIZE(a->node_watches); i++)
		sd_event_source_unref(a->node_watches[i]);
	sampler_free(a);
	thrash_signal_free(a);
	senses_close(a);
	policies_free(a);
	workloads_free(a);
	pins_close(a->pins);
	if (a->losses)
		losses_close(a->losses);
	if (a->guardian)
		guardian_stop(a->guardian);
	if (a->ledger)
		ledger_close(a->ledger);
	if (a->events) {
		events_flush(a->events);
		events_free(a->events);
	}
	sd_event_source_unref(a->flush);
	sd_event_source_unref(a->timer);
	sd_event_unref(a->event);
	cgroupfs_close(&a->cgroups);
	config_free(a->config);
}

static void say_started(struct agent *a)
{
	struct utsname name;
	struct rusage usage;

	uname(&name);
	tell_text(a, EVENT_STARTED, "culpritd %s on Linux %s, %s, %u policies", CULPRIT_VERSION,
		  name.release, a->config->shadow ? "shadow mode" : "enforcing", a->n_policies);
	getrusage(RUSAGE_SELF, &usage);
	a->wakeups_start = (uint64_t)usage.ru_nvcsw;
	sd_notifyf(0, "READY=1\nSTATUS=%u policies, %s", a->n_policies,
		   a->config->shadow ? "shadow mode" : "enforcing");
}

int agent_run(const struct options *options)
{
	_cleanup_free_ struct agent *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return 1;
	a->options = *options;
	a->cgroups.mount_fd = -1;
	a->started_ms = unix_ms();
	a->started_ns = monotonic_ns();
	a->pswpin_start = vmstat_pswpin();
	r = load_config(options, &a->config, NULL);
	if (r < 0)
		return 2;
	log_set_level(a->config->log_level);
	r = open_all(a);
	if (r >= 0) {
		say_started(a);
		/* Loading parsed the kernel's BTF several times; that memory is not needed again.
		 */
		malloc_trim(0);
		a->last_pulse_ns = monotonic_ns();
		agent_schedule(a);
		r = sd_event_loop(a->event);
		sd_notify(0, "STOPPING=1");
	}
	close_all(a);
	return r < 0 ? 1 : 0;
}
