// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which device nodes the gpu policies mean, also those that come later. A node is noticed in its
 * directory; a directory that is not there yet (/dev/dri is made when a driver is loaded) in the
 * nearest one above it that is.
 */
#include <errno.h>
#include <fnmatch.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "agent/agent.h"
#include "lib/cleanup.h"

/* Nodes come and go in dozens, and each costs a listing of all: the first is listed at once, the
 * others together. */
#define CHANGED_NS (50 * NSEC_PER_MSEC)
/* While not all can be watched, and for what nobody tells: the end of a symlink, a directory too
 * many. */
#define FAILED_NS  (1 * NSEC_PER_SEC)
#define ANYWAY_NS  (60 * NSEC_PER_SEC)

/* --- which ------------------------------------------------------------------------------------ */

/* Which of the sense's devices these globs name. */
static uint64_t devices_of(struct agent *a, uint64_t globs)
{
	uint64_t mask = 0;

	for (unsigned int d = 0; d < gpu_device_count(a->gpu) && d < 64; d++) {
		const struct gpu_device *device = gpu_device(a->gpu, d);

		if (device && device->globs & globs)
			mask |= 1ULL << d;
	}
	return mask;
}

/* Its place among the globs that are given to the sense; the configuration has no more of them. */
static unsigned int place_of(const char *glob, const char **globs, unsigned int *n)
{
	unsigned int i = 0;

	while (i < *n && strcmp(globs[i], glob) != 0)
		i++;
	if (i == *n && i < GPU_GLOBS)
		globs[(*n)++] = glob;
	return i;
}

/* All policies' globs, each once; without a policy the usual nodes, for `top`. How many. */
static unsigned int list_globs(const struct agent *a, const char *globs[static GPU_GLOBS + 1])
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < a->n_policies; i++)
		for (char **d = a->policies[i].config->devices; d && *d; d++)
			(void)place_of(*d, globs, &n);
	if (n == 0)
		globs[n++] = "/dev/nvidia[0-9]*";
	globs[n] = NULL;
	return n;
}

static void tell_devices(struct agent *a, int error)
{
	if (error == a->devices_error)
		return;
	a->devices_error = error;
	agent_degraded_end(a, DEGRADED_DEVICES);
	if (error == -E2BIG)
		agent_degraded_for(a, DEGRADED_DEVICES,
				   "devices: more than %d device nodes are named, and the others "
				   "are not watched; write narrower globs",
				   CULPRIT_GPU_DEVICES);
	else if (error < 0)
		agent_degraded_for(a, DEGRADED_DEVICES,
				   "devices: the nodes could not be listed (%s), and new ones are "
				   "not watched; it is tried again each second",
				   strerror(-error));
}

/* Hands the globs to the sense, and learns which devices are whose. */
static void set_devices(struct agent *a)
{
	const char *globs[GPU_GLOBS + 1];
	unsigned int n = list_globs(a, globs);
	int r = gpu_set_devices(a->gpu, globs);

	for (unsigned int i = 0; i < a->n_policies; i++) {
		uint64_t own = 0;

		for (char **d = a->policies[i].config->devices; d && *d; d++)
			own |= 1ULL << place_of(*d, globs, &n);
		a->policies[i].devices = devices_of(a, own);
	}
	tell_devices(a, r < 0 ? r : 0);
}

/* --- when they come and go -------------------------------------------------------------------- */

/* Is it a part of some glob's path? Those of directories count wherever they stand, for it costs
 * little to look in vain. */
static bool is_part(const struct agent *a, const char *name)
{
	const char *globs[GPU_GLOBS + 1];
	unsigned int n = list_globs(a, globs);

	for (unsigned int i = 0; i < n; i++) {
		for (const char *p = globs[i] + strspn(globs[i], "/"); *p; p += strspn(p, "/")) {
			size_t length = strcspn(p, "/");
			char part[NAME_MAX + 1];

			snprintf(part, sizeof(part), "%.*s", (int)length, p);
			if (fnmatch(part, name, 0) == 0)
				return true;
			p += length;
		}
	}
	return false;
}

static int on_nodes(sd_event_source *source, const struct inotify_event *event, void *agent)
{
	/* What was watched is another one now, or is not told of any more. */
	const uint32_t lost =
		IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT | IN_Q_OVERFLOW;
	struct agent *a = agent;

	(void)source;
	if (!(event->mask & lost) && !(event->len && is_part(a, event->name)))
		return 0;
	a->nodes_changed = true;
	gpu_nodes_tick(a, monotonic_ns());
	agent_schedule(a);
	return 0;
}

static void watch_directory(struct agent *a, const char *path)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->node_watches); i++) {
		sd_event_source **watch = &a->node_watches[i];
		const char *other;

		if (!*watch) {
			if (sd_event_add_inotify(a->event, watch, path,
						 IN_ONLYDIR | IN_CREATE | IN_DELETE | IN_MOVED_TO |
							 IN_MOVED_FROM | IN_DELETE_SELF |
							 IN_MOVE_SELF,
						 on_nodes, a) >= 0)
				(void)sd_event_source_set_description(*watch, path);
			return;
		}
		if (sd_event_source_get_description(*watch, &other) >= 0 &&
		    strcmp(path, other) == 0)
			return;
	}
}

/* Watches the directories of this name; false when there are none. */
static bool watch_directories(struct agent *a, const char *pattern)
{
	_cleanup_(globfree)
	glob_t found = { 0 };

	if (glob(pattern, GLOB_ONLYDIR | GLOB_NOSORT, NULL, &found) != 0)
		return false;
	for (size_t i = 0; i < found.gl_pathc; i++)
		watch_directory(a, found.gl_pathv[i]);
	return found.gl_pathc > 0;
}

/* From the glob's last directory upwards, as far as to one that is there and has no wildcard: more
 * may be made below those. The length of that one's path. */
static size_t watch_nearest(struct agent *a, const char *glob)
{
	char dir[PATH_MAX];
	bool there;

	snprintf(dir, sizeof(dir), "%s", glob);
	do {
		char *slash = strrchr(dir, '/');

		slash[slash == dir] = '\0';
		there = watch_directories(a, dir) && !strpbrk(dir, "*?[");
	} while (!there && dir[1]);
	return strlen(dir);
}

void gpu_nodes_watch(struct agent *a)
{
	const char *globs[GPU_GLOBS + 1];
	unsigned int n = list_globs(a, globs);

	for (unsigned int i = 0; i < ARRAY_SIZE(a->node_watches); i++)
		a->node_watches[i] = sd_event_source_unref(a->node_watches[i]);
	for (unsigned int i = 0; i < n; i++) {
		size_t before = 0, length;

		/* What was made between a look and the watch has told nobody. */
		while ((length = watch_nearest(a, globs[i])) > before)
			before = length;
	}
	/* Nodes, too, so they are listed when they are watched. */
	a->nodes_changed = false;
	set_devices(a);
	a->last_devices_ns = monotonic_ns();
}

uint64_t gpu_nodes_next_ns(const struct agent *a)
{
	if (a->nodes_changed)
		return a->last_devices_ns + CHANGED_NS;
	return a->last_devices_ns + (a->devices_error ? FAILED_NS : ANYWAY_NS);
}

void gpu_nodes_tick(struct agent *a, uint64_t now_ns)
{
	bool changed = a->nodes_changed;

	if (now_ns < gpu_nodes_next_ns(a))
		return;
	gpu_nodes_watch(a);
	if (changed && a->gpu_wanted)
		(void)gpu_settle(a->gpu, true);
}
