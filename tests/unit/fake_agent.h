/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An agent that only talks: the real server, events and feed in a child process, with canned
 * answers. For tests of the server and of the client program.
 */
#ifndef CULPRIT_TESTS_FAKE_AGENT_H
#define CULPRIT_TESTS_FAKE_AGENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct fake_agent {
	pid_t pid;
	char dir[64];
	char socket[96];
};

/* Starts it on a socket in a fresh directory; fails the test if it does not come up. group: whose
 * members may look, or NULL. */
void fake_agent_start(struct fake_agent *agent, const char *group);
/* Ends it, removes the directory; fails the test if it had died before. */
void fake_agent_stop(struct fake_agent *agent);

/* A connection; -1 and errno when there is none. */
int fake_connect(const char *path);
/* Sends all bytes; false when the other end is gone. */
bool fake_send(int fd, const void *bytes, size_t n);
/* Sends a text and its NUL. */
bool fake_call(int fd, const char *text);
/* The next message within five seconds; NULL at the end of the connection, on a reset, or when
 * nothing came. A new reference. */
json_t *fake_receive(int fd);
/* fake_call() on a connection of its own, then fake_receive(). */
json_t *fake_ask(const struct fake_agent *agent, const char *text);
/* Nothing more comes and the server has closed. */
bool fake_is_closed(int fd);
/* reply.error or "" */
const char *fake_error(json_t *reply);
/* A number of the reply of io.culprit.Test.Stats. */
json_int_t fake_stat_over(int fd, const char *name);
json_int_t fake_stat(const struct fake_agent *agent, const char *name);

#endif
