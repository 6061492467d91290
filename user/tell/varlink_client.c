// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tell/varlink_private.h"

/* Bytes and calls taken from one client in one round of the loop: the others want their turn. */
#define READ_ROUND 16384
#define CALL_ROUND 16

/* --- output -------------------------------------------------------------------------------- */

void connection_kill(struct varlink_client *client)
{
	client->dead = true;
	server_sweep(client->server);
}

static void drop_output(struct varlink_client *client)
{
	struct varlink_output *o = STAILQ_FIRST(&client->output);

	STAILQ_REMOVE_HEAD(&client->output, link);
	client->queued -= o->length;
	client->server->output -= o->length;
	free(o->text);
	free(o);
}

/* Sends what the socket takes. */
static void flush_output(struct varlink_client *client)
{
	struct varlink_output *o;

	while (!client->dead && (o = STAILQ_FIRST(&client->output))) {
		ssize_t n = send(client->fd, o->text + o->sent, o->length - o->sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			connection_kill(client);
			return;
		}
		o->sent += (size_t)n;
		/* It reads: its wait begins anew. */
		client->since = client->server->clock++;
		if (o->sent == o->length)
			drop_output(client);
	}
}

/* All together hold too much for clients that do not read: the one that has not for longest goes.
 */
static void shed_output(struct varlink_server *server, const struct varlink_client *spared)
{
	size_t total = server->output;

	while (total > VARLINK_MAX_OUTPUT) {
		struct varlink_client *c, *oldest = NULL;

		TAILQ_FOREACH (c, &server->clients, link)
			if (!c->dead && c != spared && c->queued > 0 &&
			    (!oldest || c->since < oldest->since))
				oldest = c;
		if (!oldest)
			return;
		total -= oldest->queued;
		server->dropped++;
		connection_kill(oldest);
	}
}

bool connection_send(struct varlink_client *client, char *text, size_t length)
{
	struct varlink_server *server = client->server;
	struct varlink_output *o = client->dead ? NULL : malloc(sizeof(*o));

	if (!o) {
		free(text);
		connection_kill(client);
		return false;
	}
	*o = (struct varlink_output){ .text = text, .length = length };
	if (STAILQ_EMPTY(&client->output))
		client->since = server->clock++;
	STAILQ_INSERT_TAIL(&client->output, o, link);
	client->queued += length;
	server->output += length;
	flush_output(client);
	/* One message may be larger, several that nobody reads may not. */
	if (client->queued > VARLINK_MAX_QUEUE &&
	    STAILQ_NEXT(STAILQ_FIRST(&client->output), link)) {
		server->dropped++;
		connection_kill(client);
	}
	shed_output(server, client);
	/* From the loop's own callback the client is settled anyway. */
	if (!client->answering && !client->dead && client->queued > 0)
		server_sweep(server);
	return !client->dead;
}

/* --- input --------------------------------------------------------------------------------- */

static void resize_input(struct varlink_client *client, size_t size)
{
	struct varlink_input *in = &client->input;
	char *data = NULL;

	if (size > 0) {
		data = realloc(in->data, size);
		if (!data) {
			connection_kill(client);
			return;
		}
	} else {
		free(in->data);
	}
	client->server->input += size - in->size;
	in->data = data;
	in->size = size;
}

/* All together have sent too much that makes no whole call yet: the one that began first goes. */
static void shed_input(struct varlink_server *server)
{
	size_t total = server->input;

	while (total > VARLINK_MAX_INPUT) {
		struct varlink_client *c, *oldest = NULL;

		TAILQ_FOREACH (c, &server->clients, link)
			if (!c->dead && c->input.size > 0 &&
			    (!oldest || c->input.since < oldest->input.since))
				oldest = c;
		if (!oldest)
			return;
		total -= oldest->input.size;
		server->dropped++;
		connection_kill(oldest);
	}
}

static void append_input(struct varlink_client *client, const char *bytes, size_t n)
{
	struct varlink_input *in = &client->input;

	if (in->length == 0)
		in->since = client->server->clock++;
	if (in->from > 0) {
		memmove(in->data, in->data + in->from, in->length);
		in->from = 0;
	}
	if (in->length + n > in->size) {
		size_t size = in->size ? in->size : 256;

		while (size < in->length + n)
			size *= 2;
		resize_input(client, size);
		if (client->dead)
			return;
	}
	memcpy(in->data + in->length, bytes, n);
	in->length += n;
	shed_input(client->server);
}

static void read_input(struct varlink_client *client)
{
	char bytes[READ_ROUND];
	ssize_t n = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n > 0)
		append_input(client, bytes, (size_t)n);
	else if (n == 0)
		client->eof = true;
	else if (errno != EAGAIN && errno != EINTR)
		client->dead = true;
}

/* The length of the first whole message, without its NUL; -1: there is none yet. */
static ssize_t whole_message(struct varlink_input *in)
{
	const char *begin, *nul;

	if (in->scanned == in->length)
		return -1;
	begin = in->data + in->from;
	nul = memchr(begin + in->scanned, '\0', in->length - in->scanned);
	in->scanned = nul ? (size_t)(nul - begin) : in->length;
	return nul ? nul - begin : -1;
}

static void consume(struct varlink_client *client, size_t n)
{
	struct varlink_input *in = &client->input;

	in->from += n;
	in->length -= n;
	in->scanned = 0;
	if (in->length == 0) {
		in->from = 0;
		resize_input(client, 0);
	}
}

/* One call at a time, and none while replies wait: who does not read is not heard either. */
static bool is_busy(const struct varlink_client *client)
{
	return client->call || client->closing || !STAILQ_EMPTY(&client->output);
}

static void handle_input(struct varlink_client *client)
{
	for (int i = 0; i < CALL_ROUND && !client->dead && !is_busy(client); i++) {
		ssize_t length = whole_message(&client->input);

		if (length > VARLINK_MAX_MESSAGE ||
		    (length < 0 && client->input.length > VARLINK_MAX_MESSAGE)) {
			call_refuse(client, VARLINK_REFUSED,
				    "the call is longer than 1 MiB; it was not read");
			return;
		}
		if (length < 0)
			return;
		client->answering = true;
		call_dispatch(client, client->input.data + client->input.from, (size_t)length);
		client->answering = false;
		consume(client, (size_t)length + 1);
	}
}

/* --- the connection ------------------------------------------------------------------------ */

static void watch(struct varlink_client *client)
{
	uint32_t events = 0;

	if (!is_busy(client) && !client->eof)
		events |= EPOLLIN;
	if (!STAILQ_EMPTY(&client->output))
		events |= EPOLLOUT;
	if (events == client->watched)
		return;
	if (sd_event_source_set_io_events(client->io, events) < 0)
		client->dead = true;
	client->watched = events;
}

void connection_settle(struct varlink_client *client)
{
	bool more;

	if (!client->dead)
		handle_input(client);
	more = !is_busy(client) && whole_message(&client->input) >= 0;
	if (more)
		server_sweep(client->server);
	if ((client->eof || client->closing) && !more && !client->call &&
	    STAILQ_EMPTY(&client->output))
		client->dead = true;
	if (!client->dead)
		watch(client);
	if (client->dead)
		connection_free(client);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	struct varlink_client *client = user;

	(void)source;
	(void)fd;
	if (revents & EPOLLOUT)
		flush_output(client);
	/* A hang-up means that nobody is left to read; calls that arrived before it still count. */
	if ((revents & (EPOLLHUP | EPOLLERR)) && is_busy(client))
		client->dead = true;
	else if (!is_busy(client) && !client->eof)
		read_input(client);
	connection_settle(client);
	return 0;
}

int connection_new(struct varlink_server *server, int fd, uid_t uid, enum peer_rank rank)
{
	struct varlink_client *client = calloc(1, sizeof(*client));
	int r = -ENOMEM;

	if (!client) {
		close(fd);
		return r;
	}
	*client = (struct varlink_client){
		.server = server,
		.fd = fd,
		.uid = uid,
		.rank = rank,
		.watched = EPOLLIN,
	};
	STAILQ_INIT(&client->output);
	TAILQ_INSERT_TAIL(&server->clients, client, link);
	server->n_clients++;
	r = sd_event_add_io(server->event, &client->io, fd, EPOLLIN, on_io, client);
	if (r >= 0)
		r = sd_event_source_set_priority(client->io, SD_EVENT_PRIORITY_IDLE);
	if (r < 0)
		connection_free(client);
	return r < 0 ? r : 0;
}

void connection_free(struct varlink_client *client)
{
	struct varlink_server *server = client->server;
	struct varlink_call *call = client->call;

	client->dead = true;
	if (call && call->on_close)
		call->on_close(call->on_close_user, call);
	if (client->call)
		call_free(client->call);
	TAILQ_REMOVE(&server->clients, client, link);
	server->n_clients--;
	sd_event_source_disable_unref(client->io);
	close(client->fd);
	while (!STAILQ_EMPTY(&client->output))
		drop_output(client);
	resize_input(client, 0);
	free(client);
}
