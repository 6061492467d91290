/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The number of a character device that stands in for a GPU's. Drivers give none away, so it is one
 * whose driver does nothing when it is opened and that few programs open, and each running test has
 * one to itself: two tests on one machine do not see each other's opens.
 */
#ifndef CULPRIT_TESTS_STAND_IN_H
#define CULPRIT_TESTS_STAND_IN_H

#include <sys/types.h>

/* This program's number, until it ends; waits while other tests have all of them. */
dev_t stand_in(void);
/* Makes a node of that number, which everyone may open. Fails the test otherwise. */
void stand_in_node(const char *path);

#endif
