// SPDX-License-Identifier: GPL-2.0-or-later
#include "tell/varlink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/ids.h"
#include "tell/varlink_private.h"

/* Connections taken in one round of the loop, so that a flood of them delays nothing else. */
#define ACCEPT_ROUND	  16
/* Pause after an accept(2) that failed for want of descriptors or memory. */
#define ACCEPT_RETRY_USEC (500 * 1000)
#define BACKLOG		  128
/* Of the name under which a socket is made, before it is moved to its place. */
#define NEW_SUFFIX	  ".new"

/* --- the socket file ----------------------------------------------------------------------- */

static int address_of(struct sockaddr_un *address, const char *path, const char *suffix)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (snprintf(address->sun_path, sizeof(address->sun_path), "%s%s", path, suffix) >=
	    (int)sizeof(address->sun_path))
		return -ENAMETOOLONG;
	return 0;
}

/* 0: nothing there, or a socket file that nobody listens on. */
static int check_stale(const char *path)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un address;
	struct stat st;
	int r = address_of(&address, path, "");

	if (r < 0)
		return r;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* A full backlog (EAGAIN) is somebody, too. */
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 && errno == ECONNREFUSED)
		return 0;
	return -EADDRINUSE;
}

/*
 * Bound beside its place and moved there when all is set, so that nobody ever meets a socket with
 * the wrong owner or one on which nobody listens.
 */
static int bind_socket(struct varlink_server *server)
{
	struct sockaddr_un address;
	struct stat st;
	int r = address_of(&address, server->path, NEW_SUFFIX);

	if (r < 0)
		return r;
	r = check_stale(server->path);
	if (r < 0)
		return r;
	if (unlink(address.sun_path) < 0 && errno != ENOENT)
		return -errno;
	if (bind(server->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	if ((server->has_group && chown(address.sun_path, (uid_t)-1, server->group) < 0) ||
	    chmod(address.sun_path, server->has_group ? 0660 : 0600) < 0 ||
	    listen(server->fd, BACKLOG) < 0 || stat(address.sun_path, &st) < 0 ||
	    rename(address.sun_path, server->path) < 0) {
		r = -errno;
		unlink(address.sun_path);
		return r;
	}
	server->dev = st.st_dev;
	server->ino = st.st_ino;
	return 0;
}

void varlink_remove_stale(const char *path)
{
	struct sockaddr_un beside;
	struct stat st;

	if (check_stale(path) < 0)
		return;
	(void)unlink(path);
	/* It died while it made its own. */
	if (address_of(&beside, path, NEW_SUFFIX) == 0 && lstat(beside.sun_path, &st) == 0 &&
	    S_ISSOCK(st.st_mode))
		(void)unlink(beside.sun_path);
}

static void unlink_socket(const struct varlink_server *server)
{
	struct stat st;

	if (lstat(server->path, &st) == 0 && st.st_dev == server->dev && st.st_ino == server->ino)
		unlink(server->path);
}

/* --- connections --------------------------------------------------------------------------- */

/* Says why, as far as that goes without waiting, and closes. What the client has sent already is
 * read first: closed with unread input, it would see a reset instead of the answer. */
static void turn_away(struct varlink_server *server, int fd, const char *error, const char *message)
{
	_cleanup_free_ char *text = NULL;
	char unread[4096];
	size_t length;

	server->refused++;
	text = call_error_text(error, message, &length);
	(void)recv(fd, unread, sizeof(unread), MSG_DONTWAIT);
	if (text)
		(void)send(fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
}

static void take_in(struct varlink_server *server, int fd)
{
	unsigned int limit = VARLINK_MAX_CLIENTS;
	enum peer_rank rank;
	uid_t uid;
	int r = peer_identify(fd, server->has_group, server->group, &uid, &rank);

	if (r < 0) {
		close(fd);
		return;
	}
	if (rank == PEER_STRANGER) {
		turn_away(server, fd, VARLINK_DENIED,
			  "only root and members of the group culprit may talk to the agent; run "
			  "as root, or join the group (usermod -aG culprit USER)");
		return;
	}
	if (rank != PEER_ROOT)
		limit -= VARLINK_ROOT_RESERVE;
	if (server->n_clients >= limit) {
		turn_away(server, fd, VARLINK_REFUSED,
			  "too many clients are connected; try again when some have gone");
		return;
	}
	(void)connection_new(server, fd, uid, rank);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *user)
{
	struct varlink_server *server = user;

	(void)source;
	(void)usec;
	return sd_event_source_set_enabled(server->accept, SD_EVENT_ON);
}

/* No descriptors or no memory: the connection stays in the backlog and would wake us at once. */
static int pause_accepting(struct varlink_server *server)
{
	int r = sd_event_source_set_enabled(server->accept, SD_EVENT_OFF);

	if (r < 0)
		return r;
	r = sd_event_source_set_time_relative(server->retry, ACCEPT_RETRY_USEC);
	if (r < 0)
		return r;
	return sd_event_source_set_enabled(server->retry, SD_EVENT_ONESHOT);
}

static int on_accept(sd_event_source *source, int listener, uint32_t revents, void *user)
{
	struct varlink_server *server = user;

	(void)source;
	(void)revents;
	for (int i = 0; i < ACCEPT_ROUND; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			take_in(server, fd);
		else if (errno == EAGAIN)
			return 0;
		else if (errno != EINTR && errno != ECONNABORTED)
			return pause_accepting(server);
	}
	return 0;
}

/* --- clearing away ------------------------------------------------------------------------- */

void server_sweep(struct varlink_server *server)
{
	(void)sd_event_source_set_enabled(server->sweep, SD_EVENT_ONESHOT);
}

/* Who died in the middle of someone else's work is freed here, and calls that waited go on. */
static int on_sweep(sd_event_source *source, void *user)
{
	struct varlink_server *server = user;
	struct varlink_client *next;

	(void)source;
	for (struct varlink_client *c = TAILQ_FIRST(&server->clients); c; c = next) {
		next = TAILQ_NEXT(c, link);
		connection_settle(c);
	}
	return 0;
}

/* --- the server ---------------------------------------------------------------------------- */

/* What is told comes after what is sensed and done. */
static int last_in_line(sd_event_source *source)
{
	return sd_event_source_set_priority(source, SD_EVENT_PRIORITY_IDLE);
}

static int add_sources(struct varlink_server *server)
{
	int r;

	r = sd_event_add_io(server->event, &server->accept, server->fd, EPOLLIN, on_accept, server);
	if (r < 0)
		return r;
	r = sd_event_add_defer(server->event, &server->sweep, on_sweep, server);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(server->sweep, SD_EVENT_OFF);
	if (r < 0)
		return r;
	r = sd_event_add_time_relative(server->event, &server->retry, CLOCK_MONOTONIC,
				       ACCEPT_RETRY_USEC, 0, on_retry, server);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(server->retry, SD_EVENT_OFF);
	if (r < 0)
		return r;
	r = last_in_line(server->accept);
	return r < 0 ? r : last_in_line(server->sweep);
}

int varlink_new(struct varlink_server **out, const struct varlink_options *options)
{
	struct varlink_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return -ENOMEM;
	TAILQ_INIT(&server->clients);
	server->event = sd_event_ref(options->event);
	server->methods = options->methods;
	server->user = options->user;
	server->has_group = options->group && ids_group(options->group, &server->group) == 0;
	server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	r = server->fd < 0 ? -errno : 0;
	if (r == 0 && snprintf(server->path, sizeof(server->path), "%s", options->path) >=
			      (int)sizeof(server->path))
		r = -ENAMETOOLONG;
	if (r == 0)
		r = bind_socket(server);
	if (r == 0)
		r = add_sources(server);
	if (r < 0) {
		varlink_free(server);
		return r;
	}
	*out = server;
	return 0;
}

void varlink_free(struct varlink_server *server)
{
	struct varlink_client *client;

	if (!server)
		return;
	while ((client = TAILQ_FIRST(&server->clients)))
		connection_free(client);
	sd_event_source_disable_unref(server->accept);
	sd_event_source_disable_unref(server->sweep);
	sd_event_source_disable_unref(server->retry);
	if (server->ino)
		unlink_socket(server);
	if (server->fd >= 0)
		close(server->fd);
	sd_event_unref(server->event);
	free(server);
}

/* A bound socket cannot be bound again: clients that are connected stay, the listener is a new one.
 */
int varlink_mend(struct varlink_server *server)
{
	struct stat st;
	int old = server->fd;
	int r;

	if (lstat(server->path, &st) == 0 || errno != ENOENT)
		return 0;
	server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	r = server->fd < 0 ? -errno : bind_socket(server);
	if (r >= 0)
		r = sd_event_source_set_io_fd(server->accept, server->fd);
	if (r < 0) {
		if (server->fd >= 0)
			close(server->fd);
		server->fd = old;
		return r;
	}
	close(old);
	return 1;
}

unsigned int varlink_clients(const struct varlink_server *server)
{
	return server->n_clients;
}

uint64_t varlink_dropped(const struct varlink_server *server)
{
	return server->dropped;
}

uint64_t varlink_refused(const struct varlink_server *server)
{
	return server->refused;
}
