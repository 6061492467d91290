/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the server share. varlink.c listens, accepts and clears away; varlink_client.c
 * moves bytes of one connection; varlink_call.c understands messages and answers them.
 */
#ifndef CULPRIT_TELL_VARLINK_PRIVATE_H
#define CULPRIT_TELL_VARLINK_PRIVATE_H

#include <sys/queue.h>

#include "tell/varlink.h"
#include "tell/varlink_peer.h"

/* What has arrived and has not been understood yet: bytes from .. from + length of data. */
struct varlink_input {
	char *data;
	size_t size, from, length;
	size_t scanned; /* of length: known to hold no NUL */
	uint64_t since; /* server->clock when it began */
};

/* One message on its way out. */
struct varlink_output {
	STAILQ_ENTRY(varlink_output) link;
	char *text; /* owned; its NUL is part of length */
	size_t length, sent;
};

struct varlink_client {
	TAILQ_ENTRY(varlink_client) link;
	struct varlink_server *server;
	sd_event_source *io;
	uint32_t watched; /* the epoll events that io asks for */
	int fd;
	uid_t uid;
	enum peer_rank rank;
	bool eof;	/* it has said all it will */
	bool closing;	/* close when the output is out */
	bool dead;	/* clear away */
	bool answering; /* inside a handler */
	struct varlink_input input;
	STAILQ_HEAD(, varlink_output) output;
	size_t queued;		   /* bytes in output */
	uint64_t since;		   /* server->clock when output began to wait */
	struct varlink_call *call; /* the one being answered; the next waits for it */
};

struct varlink_call {
	struct varlink_client *client;
	bool more, oneway;
	FILE *stream; /* between varlink_begin() and varlink_end() */
	char *text;
	size_t length;
	void (*on_close)(void *user, struct varlink_call *call);
	void *on_close_user;
};

struct varlink_server {
	sd_event *event;
	int fd;
	sd_event_source *accept, *sweep, *retry;
	const struct varlink_method *methods;
	void *user;
	bool has_group;
	gid_t group;
	char path[108];	   /* sockaddr_un */
	uint64_t ino, dev; /* of the socket file */
	TAILQ_HEAD(, varlink_client) clients;
	unsigned int n_clients;
	uint64_t clock;	      /* counts what happens, to know what came first */
	size_t input, output; /* bytes, of all clients */
	uint64_t dropped, refused;
};

/* Takes over fd. 0 or -errno (fd is closed then). */
int connection_new(struct varlink_server *server, int fd, uid_t uid, enum peer_rank rank);
void connection_free(struct varlink_client *client);
/* Handles calls that have arrived, watches for what can happen next, or frees the client. */
void connection_settle(struct varlink_client *client);
/* Queues a message (owned from here on). False: the client is, or is thereby, dead. */
bool connection_send(struct varlink_client *client, char *text, size_t length);
/* To be cleared away by the event loop. */
void connection_kill(struct varlink_client *client);

/* Understands one message and has it handled. text is NUL-terminated. */
void call_dispatch(struct varlink_client *client, const char *text, size_t length);
/* Tells the client why and closes it; for what breaks the framing or the limits. */
void call_refuse(struct varlink_client *client, const char *error, const char *message);
/* The text of an error reply with {"message"}; length counts its NUL. NULL: no memory. */
char *call_error_text(const char *error, const char *message, size_t *length);
void call_free(struct varlink_call *call);

/* Has server->sweep run once. */
void server_sweep(struct varlink_server *server);

#endif
