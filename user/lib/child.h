/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Children that answer a question and end. */
#ifndef CULPRIT_LIB_CHILD_H
#define CULPRIT_LIB_CHILD_H

#include <sys/types.h>

/*
 * What such a child does first. It dies with its parent (who forked it; ends at once when that has
 * happened already), and closes all descriptors but the standard ones and `keep`: it must hold none
 * of its parent's locks when its parent is killed.
 */
void child_begin(pid_t parent, int keep);

#endif
