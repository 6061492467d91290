/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A Varlink server: NUL-terminated JSON objects on a Unix stream socket. Callers are known by
 * SO_PEERCRED. It never blocks, and a slow, silent, huge or malformed client costs nobody else
 * anything: input and output are bounded for each and for all together, and an idle client costs a
 * descriptor and nothing more.
 *
 * The socket is 0660 root:GROUP (0600 without a group), so that the kernel turns strangers away at
 * no cost to the agent; whoever gets through is asked for again, as groups change and descriptors
 * travel.
 */
#ifndef CULPRIT_TELL_VARLINK_H
#define CULPRIT_TELL_VARLINK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

/* One call, and all calls that have arrived in part (then the one that began first is dropped). */
#define VARLINK_MAX_MESSAGE  (1024 * 1024)
#define VARLINK_MAX_INPUT    (4 * VARLINK_MAX_MESSAGE)
/* Unread replies: of one client that follows, and of all (then who has not read longest goes). */
#define VARLINK_MAX_QUEUE    (4 * 1024 * 1024)
#define VARLINK_MAX_OUTPUT   (16 * 1024 * 1024)
/* Connections; the last ones are kept for root, so that those who may look cannot lock it out. */
#define VARLINK_MAX_CLIENTS  256
#define VARLINK_ROOT_RESERVE 32

/* Errors of the interface that the server itself answers with; both carry {"message"}. */
#define VARLINK_REFUSED "io.culprit.Agent.Refused"
#define VARLINK_DENIED	"io.culprit.Agent.PermissionDenied"

struct varlink_server;
struct varlink_call;

enum varlink_access {
	VARLINK_LOOK, /* root and members of the group */
	VARLINK_ROOT
};

struct varlink_method {
	const char *name; /* "io.culprit.Agent.Ping" */
	enum varlink_access access;
	/* Answers by varlink_reply() or varlink_error(), at once or (keeping the call) later.
	 * parameters is borrowed, an object. Must not free the server. */
	void (*handle)(void *user, struct varlink_call *call, json_t *parameters);
};

struct varlink_options {
	sd_event *event;
	const char *path;		      /* of the socket; its directory exists */
	const char *group;		      /* members may look ("culprit"); NULL: nobody */
	const struct varlink_method *methods; /* ends with a NULL name */
	void *user;
};

/*
 * A stale socket file is replaced. Errors: -EADDRINUSE somebody answers there; -EEXIST the path is
 * something else than a socket; -ENAMETOOLONG (103 bytes at most); -errno. A group that does
 * not exist is no error: then nobody but root may look. Root here is uid 0 and the server's own.
 */
int varlink_new(struct varlink_server **out, const struct varlink_options *options);
/* Removes the socket file of a server that died. */
void varlink_remove_stale(const char *path);
/* Closes all, removes the socket file if it is still ours. */
void varlink_free(struct varlink_server *server);

/*
 * None of these calls back or frees another call: clients that turn out to be gone are cleared away
 * from the event loop. Each steals the reference of `parameters` (NULL: none).
 *
 * varlink_reply() and varlink_error() end the call, whatever becomes of the answer.
 * varlink_notify() sends one of several replies ("continues": true) to a call that asked for
 * "more". False: the client is gone or does not read; the call is over and freed by the event loop,
 * after its varlink_on_close() function.
 */
bool varlink_reply(struct varlink_call *call, json_t *parameters);
bool varlink_notify(struct varlink_call *call, json_t *parameters);
void varlink_error(struct varlink_call *call, const char *error, json_t *parameters);
/* varlink_error() with {"message"} in words. */
__attribute__((format(printf, 3, 4))) void
varlink_errorf(struct varlink_call *call, const char *error, const char *format, ...);

/*
 * For parameters that would be large as a tree (a node takes about 100 bytes): their text is
 * written into the stream (valid JSON, one object), which belongs to the call, and varlink_end()
 * sends it like varlink_notify() if continues, else like varlink_reply(). NULL: no memory;
 * varlink_end() then ends the call.
 */
FILE *varlink_begin(struct varlink_call *call);
bool varlink_end(struct varlink_call *call, bool continues);

bool varlink_wants_more(const struct varlink_call *call);
/* Called when the client of a kept call goes away; the call is freed after it. */
void varlink_on_close(struct varlink_call *call, void (*fn)(void *user, struct varlink_call *call),
		      void *user);
uid_t varlink_uid(const struct varlink_call *call);

enum varlink_type {
	VARLINK_STRING, /* const char *, borrowed from the parameters */
	VARLINK_INT,	/* int64_t */
	VARLINK_BOOL	/* bool */
};

struct varlink_field {
	const char *name;
	enum varlink_type type;
	bool required;
	void *value; /* left as it is when the parameter is absent or null */
	bool *given; /* may be NULL */
};

/*
 * Takes the parameters apart. False: one is missing, unknown or of another type; the call has been
 * answered with org.varlink.service.InvalidParameter then. fields end with a NULL name.
 */
bool varlink_fields(struct varlink_call *call, json_t *parameters,
		    const struct varlink_field *fields);

/* Makes the socket's file again if it was removed. 1: it was; 0: it is there; or -errno. */
int varlink_mend(struct varlink_server *server);
unsigned int varlink_clients(const struct varlink_server *server);
/* Clients dropped because they did not read, or filled the memory with unfinished calls. */
uint64_t varlink_dropped(const struct varlink_server *server);
/* Connections turned away: too many, or no permission. */
uint64_t varlink_refused(const struct varlink_server *server);

#endif
