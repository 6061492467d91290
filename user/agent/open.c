// SPDX-License-Identifier: GPL-2.0-or-later
/* What the agent opens, in which order, and how it lets all go again. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "tell/log.h"

#define TERMINATE_TIMEOUT_NS (10 * NSEC_PER_SEC)

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

	/* Told at the first attempt. */
	if (error && a->left)
		return;
	snprintf(event.policy, sizeof(event.policy), "%s", claim->policy);
	if (error == -EBADMSG) {
		event.has_target = false;
		snprintf(event.reason, sizeof(event.reason),
			 "an entry of the ledger is damaged ('%.100s'), and what it held is not "
			 "known; look for what is still frozen or stopped, and let it go by hand",
			 claim->reason);
	} else if (claim->undone) {
		snprintf(event.reason, sizeof(event.reason),
			 "the agent that held it died; its guardian let it go");
	} else if (error)
		snprintf(event.reason, sizeof(event.reason),
			 "an earlier agent held it, and it could not be let go: %s; it is tried "
			 "again each second",
			 strerror(-error));
	else
		snprintf(event.reason, sizeof(event.reason),
			 "an earlier agent held it; it was let go");
	agent_tell(a, &event);
}

void agent_release_left(struct agent *a)
{
	unsigned int left;

	(void)ledger_release(a->ledger, &a->cgroups, told_release, a);
	left = ledger_left(a->ledger);
	if (left == a->left)
		return;
	agent_degraded_end(a, DEGRADED_LEDGER);
	if (left)
		agent_degraded_for(a, DEGRADED_LEDGER,
				   "%u of the targets that an earlier agent held could not be let "
				   "go; it is tried again each second",
				   left);
	a->left = left;
}

/* What to do about a file that cannot be made. */
static const char *mend_file(int error)
{
	switch (-error) {
	case ENOENT:
		return "make the directory above it (mkdir -p)";
	case ENOSPC:
	case EDQUOT:
		return "make room (it takes 1 MiB)";
	case EFBIG:
		return "raise the limit of file sizes (ulimit -f)";
	case EROFS:
		return "make the file system writable";
	case EEXIST:
		return "remove what is there, which is no socket";
	case ENAMETOOLONG:
		return "choose a path of at most 103 bytes";
	default:
		return "mend that";
	}
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
		log_error("%s: the ledger cannot be written (%s), and without one nothing may be "
			  "held; %s, or give --state-dir",
			  what[0] ? what : a->config->state_dir, strerror(-r), mend_file(r));
	return r;
}

static int open_pins(struct agent *a)
{
	const char *dir = a->config->pin_dir;
	int r = pins_open(&a->pins, dir);

	if (r == -EBUSY) {
		log_error("%s: another agent pins its maps there; stop it, or give --pin-dir", dir);
		return r;
	}
	if (r == -EPERM)
		agent_degraded(a,
			       "%s: is not the agent's own, so maps are not pinned; remove it, or "
			       "give --pin-dir",
			       dir);
	else if (r < 0)
		agent_degraded(a,
			       "%s: no bpffs there and none could be mounted (%s), so maps are not "
			       "pinned; mount one (mount -t bpf bpf /sys/fs/bpf)",
			       dir, strerror(-r));
	r = losses_open(&a->losses);
	if (r < 0)
		agent_degraded(a, "the losses map could not be made; losses are not counted");
	else if (a->pins)
		(void)pins_add(a->pins, losses_fd(a->losses), "losses");
	return 0;
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
		.spares = target_is_spared_now,
		.news = holds_news,
		.user = a,
	};

	return act_new(&a->act, &o);
}

/* The directory of the socket; the state directory is made by the ledger. */
static bool parent_of(const char *path, char dir[static PATH_MAX])
{
	char *slash;

	snprintf(dir, PATH_MAX, "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return false;
	*slash = '\0';
	return true;
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
	char dir[PATH_MAX];
	int r;

	a->made_socket_dir = parent_of(o.path, dir) && mkdir(dir, 0755) == 0;
	r = varlink_new(&a->server, &o);
	if (r == -EADDRINUSE)
		log_error("%s: another agent answers there; stop it, or give --socket", o.path);
	else if (r < 0)
		log_error("%s: the control socket cannot be made (%s); %s, or give --socket",
			  o.path, strerror(-r), mend_file(r));
	return r;
}

int agent_open(struct agent *a)
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
	a->pin_dir = strdup(a->config->pin_dir);
	if (!a->pin_dir)
		return -ENOMEM;
	/* The guardian is forked while we are small and before anything can be held. */
	r = guardian_start(&a->guardian,
			   &(struct guardian_options){ .ledger = a->ledger,
						       .pin_dir = a->pin_dir,
						       .remove_pins = pins_remove_stale });
	if (r < 0) {
		log_error("the guardian cannot be started (%s); without it nothing may be held",
			  strerror(-r));
		return r;
	}
	r = agent_open_loop(a);
	if (r < 0) {
		log_error("the event loop cannot be set up: %s", strerror(-r));
		return r;
	}
	agent_release_left(a);
	frozen_file_begin(a);
	take_priority(a);
	r = open_pins(a);
	if (r < 0)
		return r;
	r = open_act(a);
	if (r < 0) {
		log_error("the act room cannot be set up: %s", strerror(-r));
		return r;
	}
	r = senses_open(a);
	if (r < 0)
		return r;
	r = open_socket(a);
	if (r < 0)
		return r;
	r = thrash_signal_open(a);
	if (r >= 0)
		r = config_build(a);
	if (r < 0) {
		log_error("the policies cannot be set up: %s", strerror(-r));
		return r;
	}
	config_connect(a);
	return 0;
}

/* A start that was refused leaves nothing behind. */
static void close_files(struct agent *a)
{
	char dir[PATH_MAX];

	if (!a->ledger)
		return;
	if (a->started) {
		ledger_close(a->ledger);
		return;
	}
	if (a->made_socket_dir && parent_of(a->config->socket, dir))
		(void)rmdir(dir);
	ledger_discard(a->ledger);
}

void agent_close(struct agent *a)
{
	/* Letting go comes first; nothing else matters as much. */
	if (a->act) {
		holds_release_all(a, "the agent ends");
		act_free(a->act);
		a->act = NULL; /* the tree has news until its end */
	}
	if (a->left)
		agent_release_left(a);
	frozen_file_end(a);
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
	checks_free(a);
	awaited_free(a);
	policies_free(a);
	workloads_free(a);
	pins_close(a->pins);
	if (a->losses)
		losses_close(a->losses);
	if (a->guardian)
		guardian_stop(a->guardian);
	close_files(a);
	if (a->events) {
		events_flush(a->events);
		events_free(a->events);
	}
	sd_event_source_unref(a->flush);
	sd_event_source_unref(a->timer);
	sd_event_unref(a->event);
	cgroupfs_close(&a->cgroups);
	config_free(a->config);
	free(a->pin_dir);
}
