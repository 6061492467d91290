// SPDX-License-Identifier: GPL-2.0-or-later
#include "decide/protect.h"

#include <string.h>

#include "lib/cgroupfs.h"
#include "lib/cleanup.h"

#define PREFER_FACTOR 16.0
#define AVOID_DIVISOR 64.0
/* oom_score_adj of what its owner wants never killed (OOM_SCORE_ADJ_MIN, linux/oom.h). */
#define NEVER_OOM     (-1000)

/*
 * What a machine cannot be used or mended without. Programs are told by where they lie, for anyone
 * can give a process any comm, but only root puts a file there. /lib/systemd is the place before
 * /usr was merged. Up to OpenSSH 9.7 a connection's own sshd is the same file as the listener: it
 * moves the operator's keystrokes and works for nobody else, so it may be spared with it; what
 * runs in the session is another program.
 */
const char *const protect_builtin[] = {
	/* service manager, journal, logins, devices */
	"exe:/usr/lib/systemd/systemd*",
	"exe:/lib/systemd/systemd*",
	"exe:/usr/bin/udevadm",
	"exe:/bin/udevadm",
	"exe:/usr/libexec/elogind/elogind",
	/* message bus */
	"exe:/usr/bin/dbus-daemon",
	"exe:/usr/bin/dbus-broker",
	"exe:/usr/bin/dbus-broker-launch",
	/* the way in from elsewhere */
	"exe:/usr/sbin/sshd",
	"exe:/usr/bin/sshd",
	/* display servers and managers */
	"exe:/usr/lib/xorg/Xorg",
	"exe:/usr/lib/xorg/Xorg.wrap",
	"exe:/usr/lib/Xorg",
	"exe:/usr/libexec/Xorg",
	"exe:/usr/bin/Xorg",
	"exe:/usr/bin/Xwayland",
	"exe:/usr/sbin/gdm3",
	"exe:/usr/sbin/gdm",
	"exe:/usr/bin/gdm",
	"exe:/usr/sbin/lightdm",
	"exe:/usr/bin/sddm",
	/* compositors, window managers, shells of desktops */
	"exe:/usr/bin/gnome-shell",
	"exe:/usr/bin/mutter",
	"exe:/usr/bin/kwin_wayland",
	"exe:/usr/bin/kwin_wayland_wrapper",
	"exe:/usr/bin/kwin_x11",
	"exe:/usr/bin/plasmashell",
	"exe:/usr/bin/cinnamon",
	"exe:/usr/bin/muffin",
	"exe:/usr/bin/marco",
	"exe:/usr/bin/xfwm4",
	"exe:/usr/bin/cosmic-comp",
	"exe:/usr/bin/Hyprland",
	"exe:/usr/bin/labwc",
	"exe:/usr/bin/river",
	"exe:/usr/bin/sway",
	"exe:/usr/bin/wayfire",
	"exe:/usr/bin/weston",
	"exe:/usr/bin/i3",
	"exe:/usr/bin/openbox",
	NULL,
};

/* The service manager forks whoever becomes a service, and calls it "(program)" until it is that
 * (rename_process_from_path() in systemd's src/core). Its own helpers are called "(sd-…)". */
static bool becomes_a_service(const struct subject *subject)
{
	static const char own[] = "(sd-";
	const char *comm = subject->comm;

	return comm && *comm == '(' && comm[strlen(comm) - 1] == ')' &&
	       strncmp(comm, own, strlen(own)) != 0 && strstr(subject->exe, "/systemd/systemd");
}

/* The list as patterns: text behind "exe:", which is all that it has. */
bool protect_is_builtin(const struct subject *subject)
{
	static const char prefix[] = "exe:";

	if (!subject->exe || becomes_a_service(subject))
		return false;
	for (const char *const *text = protect_builtin; *text; text++) {
		struct pattern pattern = { .kind = PATTERN_EXE,
					   .text = (char *)*text + sizeof(prefix) - 1 };

		if (pattern_matches(&pattern, subject))
			return true;
	}
	return false;
}

static bool is_within(const char *only, const struct subject *subject)
{
	if (strcmp(only, "/") == 0)
		return true;
	return subject->cgroup_path && cgroup_path_within(subject->cgroup_path, only);
}

/* What holds for a cgroup as a whole. */
static const char *cgroup_refusal(const struct protect_facts *facts)
{
	const char *path = facts->subject.cgroup_path;

	if (facts->holds_own)
		return "the agent runs in it or below it";
	if (path && strcmp(path, "/") == 0)
		return "the root cgroup";
	if (facts->session)
		return "a whole login session";
	if (facts->holds_protected)
		return "holds a protected process";
	return NULL;
}

static const char *process_refusal(const struct protect_facts *facts)
{
	if (facts->pid == 1)
		return "pid 1";
	if (facts->kernel_thread)
		return "a kernel thread";
	if (facts->oom_score_adj <= NEVER_OOM)
		return "its oom_score_adj is -1000";
	if (facts->traced)
		return "being traced by a debugger";
	if (facts->stopped)
		return "stopped already";
	if (facts->serves_io)
		return "serves a file system or block device";
	return NULL;
}

const char *protect_refusal(const struct protect_rules *rules, const struct protect_facts *facts)
{
	const char *refusal;

	if (facts->own)
		return "the agent itself, or a parent of it";
	refusal = facts->pid ? process_refusal(facts) : cgroup_refusal(facts);
	if (refusal)
		return refusal;
	if (!is_within(rules->only, &facts->subject))
		return "outside `only`";
	if (protect_is_builtin(&facts->subject))
		return "protected by the built-in list";
	if (pattern_list_match(rules->protect, &facts->subject))
		return "protected by the configuration";
	if (facts->oomd_omit)
		return "its cgroup has user.oomd_omit";
	return NULL;
}

double protect_weight(const struct protect_rules *rules, const struct protect_facts *facts)
{
	double weight = 1;

	if (pattern_list_match(rules->prefer, &facts->subject))
		weight *= PREFER_FACTOR;
	if (facts->oomd_avoid || pattern_list_match(rules->avoid, &facts->subject))
		weight /= AVOID_DIVISOR;
	return weight;
}
