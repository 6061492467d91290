/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A Varlink server: NUL-terminated JSON objects on a Unix stream socket. Callers are known by
 * SO_PEERCRED. It never blocks, and a slow, silent, huge or malformed client costs nobody else
 * anything: input and output of each are bounded, idle clients cost a descriptor and nothing more.
 */
#ifndef CULPRIT_TELL_VARLINK_H
#define CULPRIT_TELL_VARLINK_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#define VARLINK_MAX_MESSAGE (1024 * 1024)
#define VARLINK_MAX_CLIENTS 256

struct varlink_server;
struct varlink_call;

enum varlink_access {
	VARLINK_LOOK,
	VARLINK_ROOT
};

struct varlink_method {
	const char *name; /* "io.culprit.Agent.Ping" */
	enum varlink_access access;
	/* Answers by varlink_reply() or varlink_error(), at once or (keeping the call) later.
	 * parameters is borrowed, an object. */
	void (*handle)(void *user, struct varlink_call *call, json_t *parameters);
};

struct varlink_options {
	sd_event *event;
	const char *path;		      /* of the socket; its directory exists */
	const char *group;		      /* members may look ("culprit"); NULL: nobody */
	const struct varlink_method *methods; /* ends with a NULL name */
	void *user;
};

/* -EADDRINUSE: somebody answers there. A stale socket file is replaced. */
int varlink_new(struct varlink_server **out, const struct varlink_options *options);
/* Closes all, removes the socket file. */
void varlink_free(struct varlink_server *server);

/* Steal the reference of `parameters`. varlink_reply() ends the call; varlink_notify() sends one of
 * several replies ("continues": true) to a call that asked for "more". False: the client is gone
 * or its queue is full; the call is over then. */
bool varlink_reply(struct varlink_call *call, json_t *parameters);
bool varlink_notify(struct varlink_call *call, json_t *parameters);
void varlink_error(struct varlink_call *call, const char *error, json_t *parameters);
bool varlink_wants_more(const struct varlink_call *call);
/* Called when the client of a kept call goes away; the call is freed after it. */
void varlink_on_close(struct varlink_call *call, void (*fn)(void *user, struct varlink_call *call),
		      void *user);
uid_t varlink_uid(const struct varlink_call *call);
unsigned int varlink_clients(const struct varlink_server *server);

#endif
