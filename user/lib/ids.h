/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ids of users and groups by name. A child of ours looks them up: the C library loads what the
 * machine has of name services and never gives it back, which in a process that stays, and that
 * locks its memory, is most of a megabyte.
 */
#ifndef CULPRIT_LIB_IDS_H
#define CULPRIT_LIB_IDS_H

#include <stdint.h>

/* 0, -ENOENT: there is none of that name, or -errno. Waits for the answer. */
int ids_user(const char *name, uint32_t *uid);
int ids_group(const char *name, uint32_t *gid);

#endif
