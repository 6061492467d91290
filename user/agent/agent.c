// SPDX-License-Identifier: GPL-2.0-or-later
/* The life of the agent: the loop, its clock and its signals. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <systemd/sd-daemon.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "lib/procfs.h"
#include "lib/units.h"
#include "tell/log.h"

#define SWEEP_NS (10 * NSEC_PER_SEC)

static void degraded(struct agent *a, enum degraded_for as_long, const char *format, va_list ap)
{
	char text[DEGRADED_LEN];

	vsnprintf(text, sizeof(text), format, ap);
	for (unsigned int i = 0; i < a->n_degraded; i++)
		if (strcmp(a->degraded[i].text, text) == 0)
			return;
	if (a->n_degraded == ARRAY_SIZE(a->degraded))
		return;
	a->degraded[a->n_degraded].as_long = as_long;
	memcpy(a->degraded[a->n_degraded++].text, text, sizeof(text));
	if (as_long != DEGRADED_RELOAD)
		log_warning("%s", text);
}

void agent_degraded(struct agent *a, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	degraded(a, DEGRADED_ALWAYS, format, ap);
	va_end(ap);
}

void agent_degraded_for(struct agent *a, enum degraded_for as_long, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	degraded(a, as_long, format, ap);
	va_end(ap);
}

void agent_degraded_end(struct agent *a, enum degraded_for as_long)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < a->n_degraded; i++)
		if (a->degraded[i].as_long != as_long)
			a->degraded[kept++] = a->degraded[i];
	a->n_degraded = kept;
}

void agent_check_only(struct agent *a)
{
	_cleanup_close_ int dir = cgroupfs_open_path(&a->cgroups, a->config->only);

	if (dir == -ENOENT || dir == -ENOTDIR)
		agent_degraded_for(a, DEGRADED_ONLY,
				   "only: there is no cgroup %.140s now, so nothing is acted on; "
				   "make it, or correct `only`",
				   a->config->only);
	else
		agent_degraded_end(a, DEGRADED_ONLY);
}

/* --- telling -----------------------------------------------------------------------------------
 */

static int on_flush(sd_event_source *source, void *agent)
{
	struct agent *a = agent;

	(void)source;
	/* Who hears of it may look there. */
	frozen_file_bring_up_to_date(a);
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

void agent_tell_text(struct agent *a, enum event_kind kind, const char *format, ...)
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
	uint64_t next = a->last_pulse_ns + a->config->pulse_ns;
	uint64_t t = policies_next_ns(a);
	uint64_t accuracy_usec = 50 * 1000;

	if (t < next)
		next = t;
	t = gpu_signal_next_ns(a);
	if (t < next)
		next = t;
	if (holds_any(a) && a->last_tick_ns + TICK_NS < next)
		next = a->last_tick_ns + TICK_NS;
	/* An approaching release is kept to the millisecond; a pulse may wait for company. */
	if (next < a->last_pulse_ns + a->config->pulse_ns)
		accuracy_usec = 1000;
	(void)sd_event_source_set_time_accuracy(a->timer, accuracy_usec);
	(void)sd_event_source_set_time(a->timer, next / NSEC_PER_USEC);
	(void)sd_event_source_set_enabled(a->timer, SD_EVENT_ONESHOT);
}

/* Somebody tidies up where the agent has its files. */
static void look_after_files(struct agent *a)
{
	int r = varlink_mend(a->server);

	if (r >= 0)
		agent_degraded_end(a, DEGRADED_SOCKET);
	if (r > 0)
		log_warning("the control socket was removed; it is there again");
	else if (r < 0)
		agent_degraded_for(
			a, DEGRADED_SOCKET,
			"the control socket was removed and cannot be made again (%s), so no "
			"client reaches the agent; restart it (systemctl restart culpritd)",
			strerror(-r));
	if (ledger_in_place(a->ledger))
		agent_degraded_end(a, DEGRADED_REMOVED);
	else
		agent_degraded_for(a, DEGRADED_REMOVED,
				   "the ledger was removed while in use, so nothing new is held; "
				   "restart the agent (systemctl restart culpritd)");
}

static void pulse(struct agent *a, uint64_t now)
{
	a->last_pulse_ns = now;
	act_pulse(a->act);
	/* One that could not be replaced when it died is replaced here, and nobody tells. */
	senses_guardian(a);
	if (ledger_left(a->ledger))
		agent_release_left(a);
	spared_pulse(a, now);
	look_after_files(a);
	agent_check_only(a);
	checks_pulse(a);
	thrash_signal_pulse(a, now);
	sampler_pulse(a, now);
	target_use_pulse(a, now);
	holds_note_held(a, now);
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
	a->last_tick_ns = now;
	if (now >= a->last_pulse_ns + a->config->pulse_ns)
		pulse(a, now);
	gpu_signal_tick(a, now);
	policies_tick(a, now);
	holds_retry(a, now);
	awaited_look(a);
	/* Not every change is an event: what is to be ended runs again, and nobody tells of that.
	 */
	if (frozen_file_is_due(a))
		(void)sd_event_source_set_enabled(a->flush, SD_EVENT_ONESHOT);
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

void agent_notify_ready(const struct agent *a)
{
	sd_notifyf(0, "READY=1\nSTATUS=%u %s, %s", a->n_policies,
		   units_plural(a->n_policies, "policy", "policies"),
		   a->config->shadow ? "shadow mode" : "enforcing");
}

static int on_hup(sd_event_source *source, const struct signalfd_siginfo *info, void *agent)
{
	struct agent *a = agent;

	(void)source;
	(void)info;
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
		   (unsigned long long)(monotonic_ns() / NSEC_PER_USEC));
	(void)agent_reload(a, NULL);
	agent_notify_ready(a);
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
	/* Under a limit of file sizes a write to the ledger fails, and that is told. */
	signal(SIGXFSZ, SIG_IGN);
	r = sd_event_add_signal(a->event, NULL, SIGTERM, on_quit, a);
	if (r >= 0)
		r = sd_event_add_signal(a->event, NULL, SIGINT, on_quit, a);
	if (r >= 0)
		r = sd_event_add_signal(a->event, NULL, SIGHUP, on_hup, a);
	return r;
}
int agent_open_loop(struct agent *a)
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

static void say_started(struct agent *a)
{
	struct utsname name;
	struct rusage usage;

	uname(&name);
	agent_tell_text(a, EVENT_STARTED, "culpritd %s on Linux %s, %s, %u %s", CULPRIT_VERSION,
			name.release, a->config->shadow ? "shadow mode" : "enforcing",
			a->n_policies, units_plural(a->n_policies, "policy", "policies"));
	getrusage(RUSAGE_SELF, &usage);
	a->wakeups_start = (uint64_t)usage.ru_nvcsw;
	agent_notify_ready(a);
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
	r = config_of_options(options, 0, &a->config, NULL);
	if (r < 0)
		return 2;
	log_set_level(a->config->log_level);
	r = agent_open(a);
	if (r >= 0) {
		a->started = true;
		say_started(a);
		/* Loading parsed the kernel's BTF several times; that memory is not needed again.
		 */
		malloc_trim(0);
		a->last_pulse_ns = monotonic_ns();
		agent_schedule(a);
		r = sd_event_loop(a->event);
		sd_notify(0, "STOPPING=1");
	}
	agent_close(a);
	return r < 0 ? 1 : 0;
}
