/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pinned maps under pin_dir (default /sys/fs/bpf/culprit), for `bpftool map dump pinned`.
 *
 * A pin is never reused by name, because stale counters would be taken for ours: what a dead agent
 * left is removed first, and a map is pinned under a new name and renamed over what was there. A
 * lock on the directory keeps two agents apart; the kernel drops it with the agent's last
 * descriptor, so a forked child that lives on (the guardian) must close what it inherited.
 */
#ifndef CULPRIT_SENSE_PINS_H
#define CULPRIT_SENSE_PINS_H

struct pins;

/* Every name that a culprit agent pins, NULL-terminated. */
extern const char *const pins_names[];

/*
 * Makes dir (0700; mounting bpffs on /sys/fs/bpf when nothing is mounted there and we may), locks
 * it, and removes the pins that a dead agent left. *out is freed by pins_close(). -EBUSY: another
 * agent has it; -ENOTSUP: not on a bpffs and none could be mounted; -EPERM: the directory is not
 * ours; -errno. Without pins the agent runs on, unpinned.
 */
int pins_open(struct pins **out, const char *dir);

/* Pins the map open at map_fd as dir/name. 0, -EINVAL for a name not in pins_names, -errno. */
int pins_add(struct pins *pins, int map_fd, const char *name);
/* Removes the pin of a map that is closed before the agent ends. */
void pins_remove(struct pins *pins, const char *name);
/* Of the first map that could not be pinned, or 0. */
int pins_error(const struct pins *pins);

/* Removes what pins_add() made, and the directory if it is empty then; frees. NULL is fine. */
void pins_close(struct pins *pins);

/*
 * The guardian's and --release's way: removes the pins of an agent that is gone, all names that a
 * culprit agent ever pins and no others. No allocation. 0, -ENOENT: nothing there, -EBUSY: an agent
 * has it, -ENOTSUP: not on a bpffs (nothing is touched), -EPERM: the directory is not ours, -errno.
 */
int pins_remove_stale(const char *dir);

#endif
