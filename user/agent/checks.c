// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/checks.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "lib/units.h"
#include "tell/json.h"
#include "tell/log.h"

/* What comes and goes is told again after this. */
#define TELL_AGAIN_NS (3600 * NSEC_PER_SEC)
/* A unit that was started anew may have been changed before. */
#define ASK_AGAIN_NS  (60 * NSEC_PER_SEC)

/* --- warnings --------------------------------------------------------------------------------- */

static struct check_warning *find(struct checks *c, const char *text)
{
	for (unsigned int i = 0; i < c->n_warnings; i++)
		if (strcmp(c->warnings[i].text, text) == 0)
			return &c->warnings[i];
	return NULL;
}

/* A free place, or that of one that is not so any more; NULL: all are. */
static struct check_warning *find_place(struct checks *c)
{
	if (c->n_warnings < CHECKS_WARNINGS)
		return &c->warnings[c->n_warnings++];
	for (unsigned int i = 0; i < c->n_warnings; i++)
		if (!c->warnings[i].is_so)
			return &c->warnings[i];
	return NULL;
}

static void warn(struct checks *c, uint64_t cgroup, const struct check_service *service,
		 const char *text)
{
	struct check_warning *w = find(c, text);
	uint64_t now = monotonic_ns();

	if (w && (w->is_so || now < w->told_ns + TELL_AGAIN_NS)) {
		w->is_so = true;
		w->cgroup = cgroup;
		return;
	}
	if (!w)
		w = find_place(c);
	if (!w)
		return;
	*w = (struct check_warning){ .is_so = true, .cgroup = cgroup, .told_ns = now };
	w->service = service ? service->name : NULL;
	snprintf(w->text, sizeof(w->text), "%s", text);
	log_warning("%s", text);
}

static void end_of_service(struct checks *c, const struct check_service *service)
{
	for (unsigned int i = 0; i < c->n_warnings; i++)
		if (c->warnings[i].service == service->name)
			c->warnings[i].is_so = false;
}

json_t *checks_warnings(const struct agent *a)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < a->checks.n_warnings; i++)
		if (a->checks.warnings[i].is_so)
			json_array_append_new(array, json_text(a->checks.warnings[i].text));
	return array;
}

/* --- what is watched runs inside of a target -------------------------------------------------- */

/* Is it as the texts say it? `of` is a glob, and the target is left out of it. */
static bool is_meant(const struct policy_config *p, const struct pattern *target, const char *path)
{
	return p->of.kind == PATTERN_CGROUP && strpbrk(p->of.text, "*?[") &&
	       pattern_names_cgroup(target, path);
}

static void look_inside(struct agent *a, const struct policy_config *p,
			const struct tree_node *node)
{
	char of[128], text[CHECKS_TEXT_LEN];

	for (unsigned int t = 0; t < p->n_targets; t++) {
		const struct agent_workload *w = &a->workloads[p->targets[t]];

		if (!workload_contains(w, node->path) ||
		    is_meant(p, &w->config->pattern, node->path))
			continue;
		pattern_print(&p->of, of, sizeof(of));
		snprintf(text, sizeof(text),
			 "%s:%u: policy %s watches %s, but that runs at %.160s, inside of its "
			 "target %s, and its time does not count there; move it, or name another "
			 "target",
			 p->place.file, p->place.line, p->name, of, node->path, w->config->name);
		warn(&a->checks, node->id, NULL, text);
		return;
	}
}

/* --- nothing to act on ------------------------------------------------------------------------ */

static void say_waiting(const struct agent *a, const struct agent_policy *p)
{
	char names[256] = "", pattern[128];
	size_t used = 0;

	for (unsigned int t = 0; t < p->config->n_targets && used < sizeof(names); t++) {
		const struct workload_config *w = a->workloads[p->config->targets[t]].config;

		pattern_print(&w->pattern, pattern, sizeof(pattern));
		used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s (%s)",
					 t ? ", " : "", w->name, pattern);
	}
	log_notice("policy %s waits, for there is no cgroup of its target %s now; it acts as soon "
		   "as there is one",
		   p->config->name, names);
}

static void look_for_waiting(struct agent *a)
{
	uint64_t now = monotonic_ns();

	for (unsigned int i = 0; i < a->n_policies; i++) {
		struct agent_policy *p = &a->policies[i];
		bool waits = policy_waits(a, p);

		if (waits && !p->waits &&
		    (p->waits_told_ns == 0 || now > p->waits_told_ns + TELL_AGAIN_NS)) {
			say_waiting(a, p);
			p->waits_told_ns = now;
		}
		p->waits = waits;
	}
}

/* --- WatchdogSec= ----------------------------------------------------------------------------- */

/* Held still, a unit gives no sign of life. */
static bool keeps_still(const struct policy_config *p)
{
	return p->action == ACTION_FREEZE || p->action == ACTION_STOP || p->action == ACTION_TURN;
}

static void add_service(struct checks *c, const char *name, const struct workload_config *w)
{
	struct check_service *s;

	if (!watchdog_is_service(name))
		return;
	for (unsigned int i = 0; i < c->n_services; i++) {
		s = &c->services[i];
		if (strcmp(s->name, name) == 0) {
			s->due |= s->asked_ns + ASK_AGAIN_NS < monotonic_ns();
			return;
		}
	}
	if (c->n_services == CHECKS_SERVICES)
		return;
	s = &c->services[c->n_services];
	*s = (struct check_service){ .name = strdup(name), .workload = w, .due = true };
	if (s->name)
		c->n_services++;
}

/* Of a manager of its own, which the system's knows nothing of. */
static bool is_of_user(const char *path)
{
	return strstr(path, "/user@") != NULL;
}

static void look_for_service(struct agent *a, const struct policy_config *p,
			     const struct tree_node *node)
{
	const char *name = strrchr(node->path, '/') + 1;

	for (unsigned int t = 0; t < p->n_targets; t++) {
		const struct agent_workload *w = &a->workloads[p->targets[t]];

		if (workload_contains(w, node->path))
			add_service(&a->checks, name, w->config);
	}
}

/* The units that the configuration itself names, running or not. */
static void add_named(struct checks *c, const struct config *config)
{
	for (unsigned int i = 0; i < config->n_policies; i++) {
		const struct policy_config *p = &config->policies[i];

		for (unsigned int t = 0; keeps_still(p) && t < p->n_targets; t++) {
			const struct workload_config *w = &config->workloads[p->targets[t]];

			if (w->pattern.kind == PATTERN_UNIT)
				add_service(c, w->pattern.text, w);
		}
	}
}

static void say_watchdog(const struct check_service *s, uint64_t usec, char *text, size_t size)
{
	char every[32];

	units_say_duration(usec * NSEC_PER_USEC, every, sizeof(every));
	snprintf(text, size,
		 "%s:%u: workload %s: systemd kills %.128s when it gives no sign of life for %s "
		 "(WatchdogSec=), and held still it gives none; set WatchdogSec=0 for it, or write "
		 "action = terminate",
		 s->workload->place.file, s->workload->place.line, s->workload->name, s->name,
		 every);
}

static int on_answers(sd_event_source *source, int fd, uint32_t events, void *agent)
{
	struct agent *a = agent;
	struct checks *c = &a->checks;
	struct watchdog_answer answer;
	char text[CHECKS_TEXT_LEN];
	int r;

	(void)source;
	(void)fd;
	(void)events;
	while ((r = watchdog_read(&c->query, false, &answer)) > 0) {
		const struct check_service *s = &c->services[c->asked[answer.index]];

		if (answer.usec) {
			say_watchdog(s, answer.usec, text, sizeof(text));
			warn(c, 0, s, text);
		} else {
			end_of_service(c, s);
		}
	}
	if (r == 0)
		c->answers = sd_event_source_unref(c->answers);
	return 0;
}

/* Asks about those that are due; the number of them. */
static unsigned int ask(struct checks *c)
{
	const char *names[CHECKS_SERVICES];
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->n_services; i++) {
		if (!c->services[i].due)
			continue;
		c->services[i].due = false;
		c->services[i].asked_ns = monotonic_ns();
		c->asked[n] = i;
		names[n++] = c->services[i].name;
	}
	if (n && watchdog_ask(&c->query, names, n) < 0)
		n = 0;
	return n;
}

static void ask_soon(struct agent *a)
{
	struct checks *c = &a->checks;

	if (c->query.pid || ask(c) == 0)
		return;
	if (sd_event_add_io(a->event, &c->answers, c->query.fd, EPOLLIN, on_answers, a) < 0)
		watchdog_cancel(&c->query);
}

/* --- the agent -------------------------------------------------------------------------------- */

static void forget(struct checks *c)
{
	c->answers = sd_event_source_unref(c->answers);
	watchdog_cancel(&c->query);
	for (unsigned int i = 0; i < c->n_services; i++)
		free(c->services[i].name);
	c->n_services = 0;
	c->n_warnings = 0;
}

void checks_forget(struct agent *a)
{
	forget(&a->checks);
}

void checks_build(struct agent *a)
{
	add_named(&a->checks, a->config);
	ask_soon(a);
	/* Without the tree nothing is ever there, and that has been told. */
	if (a->tree)
		look_for_waiting(a);
}

void checks_node(struct agent *a, const struct tree_node *node)
{
	bool is_service = watchdog_is_service(node->path) && !is_of_user(node->path);

	for (unsigned int i = 0; i < a->n_policies; i++) {
		const struct policy_config *p = a->policies[i].config;

		if (p->signal == SIGNAL_CPU && !p->of_others &&
		    pattern_names_cgroup(&p->of, node->path))
			look_inside(a, p, node);
		if (is_service && keeps_still(p))
			look_for_service(a, p, node);
	}
}

void checks_node_gone(struct agent *a, const struct tree_node *node)
{
	for (unsigned int i = 0; i < a->checks.n_warnings; i++)
		if (a->checks.warnings[i].cgroup == node->id)
			a->checks.warnings[i].is_so = false;
}

void checks_pulse(struct agent *a)
{
	struct checks *c = &a->checks;

	if (a->tree)
		look_for_waiting(a);
	for (unsigned int i = 0; i < c->n_services; i++) {
		if (c->services[i].due) {
			ask_soon(a);
			return;
		}
	}
}

void checks_free(struct agent *a)
{
	forget(&a->checks);
}

void checks_of_config(const struct config *config, config_message_fn message, void *user)
{
	_cleanup_free_ struct checks *c = calloc(1, sizeof(*c));
	struct watchdog_answer answer;
	char text[CHECKS_TEXT_LEN];

	if (!c)
		return;
	add_named(c, config);
	if (ask(c) > 0)
		while (watchdog_read(&c->query, true, &answer) > 0) {
			if (answer.usec == 0)
				continue;
			say_watchdog(&c->services[c->asked[answer.index]], answer.usec, text,
				     sizeof(text));
			message(user, true, text);
		}
	forget(c);
}
