/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A directory that nobody but root can change, nor put another one in the place of: what is read
 * from it decides which processes are signalled.
 */
#ifndef CULPRIT_ACT_SAFEDIR_H
#define CULPRIT_ACT_SAFEDIR_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Opens `dir`; unless `made` is NULL it is made (0755) if it is absent, and *made says so. It and
 * all directories above it must be root's and writable by root alone. A sticky directory above it
 * (/tmp) is allowed: there others can add names, but can neither remove nor rename one that is
 * root's. Links above it are resolved first and what they lead to is checked; `dir` itself must not
 * be a link. (Run by another user, as unit tests are, that user's directories count as root's.)
 *
 * Returns a descriptor; -EPERM: not safe; -errno. *what names the directory concerned.
 */
int safedir_open(const char *dir, bool *made, char *what, size_t what_size);

#endif
