// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"

#define INTERFACE "io.culprit.Agent."

/* Twenty thousand processes in `top` are about 6 MB. */
#define MAX_ANSWER (64 * 1024 * 1024)

static enum cli_status cannot_connect(const char *path, int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case ECONNREFUSED:
		cli_error(
			"no agent answers at %s; is culpritd running? (systemctl status culpritd)",
			path);
		return CLI_NO_AGENT;
	case EACCES:
	case EPERM:
		cli_error("you may not talk to the agent at %s; run as root, or join the group "
			  "culprit (usermod -aG culprit USER) to look",
			  path);
		return CLI_FAILED;
	case EAGAIN:
		cli_error("the agent at %s is too busy to take a connection; try again", path);
		return CLI_FAILED;
	default:
		cli_error("cannot connect to %s: %s", path, strerror(error));
		return CLI_FAILED;
	}
}

enum cli_status client_open(struct client *client, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct timeval limit = { .tv_sec = CLIENT_TIMEOUT_MS / 1000 };

	*client = (struct client){ .path = path, .fd = -1 };
	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s", path) >=
	    (int)sizeof(address.sun_path)) {
		cli_error("the path of a socket has at most 107 bytes: %s", path);
		return CLI_USAGE;
	}
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0)
		return cannot_connect(path, errno);
	/* unix(7): this bounds connect(2), too, when the agent's backlog is full. */
	(void)setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int error = errno;

		client_close(client);
		return cannot_connect(path, error);
	}
	return CLI_DONE;
}

void client_close(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
	free(client->data);
	client->data = NULL;
}

enum cli_status client_send(struct client *client, const char *method, json_t *parameters,
			    bool more)
{
	json_t *message = json_object();
	_cleanup_free_ char *name = NULL, *text = NULL;
	size_t left;

	if (asprintf(&name, INTERFACE "%s", method) < 0)
		name = NULL;
	json_object_set_new(message, "method", json_string(name ? name : ""));
	json_object_set_new(message, "parameters", parameters ? parameters : json_object());
	if (more)
		json_object_set_new(message, "more", json_true());
	text = json_dumps(message, JSON_COMPACT);
	json_decref(message);
	if (!text) {
		cli_error("no memory");
		return CLI_FAILED;
	}
	left = strlen(text) + 1;
	for (const char *at = text; left > 0;) {
		ssize_t n = send(client->fd, at, left, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		/* Who turns us away at the door has said why: that waits to be received. */
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return CLI_DONE;
		if (n < 0) {
			cli_error("cannot send to the agent at %s: %s", client->path,
				  strerror(errno));
			return CLI_FAILED;
		}
		at += n;
		left -= (size_t)n;
	}
	return CLI_DONE;
}

/* --- receiving ----------------------------------------------------------------------------- */

/* Waits until the socket is readable; -ETIMEDOUT, -errno. */
static int wait_readable(int fd, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (;;) {
		uint64_t now = monotonic_ns();
		int r, left = -1;

		if (deadline_ns != UINT64_MAX)
			left = now >= deadline_ns ? 0
						  : (int)((deadline_ns - now) / NSEC_PER_MSEC) + 1;
		r = poll(&p, 1, left);
		if (r > 0)
			return 0;
		if (r == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

/* Reads once. Bytes, 0 at the end, -errno. */
static ssize_t read_more(struct client *client)
{
	ssize_t n;

	if (client->size - client->length < 65536) {
		size_t size = client->size ? 2 * client->size : 131072;
		char *data;

		if (client->length > MAX_ANSWER)
			return -EMSGSIZE;
		data = realloc(client->data, size);
		if (!data)
			return -ENOMEM;
		client->data = data;
		client->size = size;
	}
	do
		n = recv(client->fd, client->data + client->length, client->size - client->length,
			 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	client->length += (size_t)n;
	return n;
}

/* Until data holds a whole message; its length with the NUL. 0, -ENOTCONN at the end, -errno. */
static int read_message(struct client *client, uint64_t deadline_ns, size_t *length)
{
	size_t scanned = 0;
	const char *nul;
	ssize_t n;
	int r;

	for (;;) {
		nul = client->length > scanned
			      ? memchr(client->data + scanned, '\0', client->length - scanned)
			      : NULL;
		if (nul)
			break;
		scanned = client->length;
		r = wait_readable(client->fd, deadline_ns);
		if (r < 0)
			return r;
		n = read_more(client);
		if (n <= 0)
			return n == 0 ? -ENOTCONN : (int)n;
	}
	*length = (size_t)(nul + 1 - client->data);
	return 0;
}

/* The first message of `length` bytes, parsed and taken out of data; NULL: it is not JSON. */
static json_t *take_message(struct client *client, size_t length)
{
	json_t *message = json_loads(client->data, 0, NULL);

	client->length -= length;
	memmove(client->data, client->data + length, client->length);
	return message;
}

static enum cli_status cannot_receive(const struct client *client, int error)
{
	switch (error) {
	case -ETIMEDOUT:
		cli_error("the agent at %s did not answer within %d s; see its log "
			  "(journalctl -u culpritd)",
			  client->path, CLIENT_TIMEOUT_MS / 1000);
		break;
	case -ENOTCONN:
		cli_error("the agent at %s closed the connection; see its log "
			  "(journalctl -u culpritd)",
			  client->path);
		break;
	case -EMSGSIZE:
		cli_error("the answer from %s has no end; is that culpritd's socket?",
			  client->path);
		break;
	default:
		cli_error("cannot receive from the agent at %s: %s", client->path,
			  strerror(-error));
		break;
	}
	return CLI_FAILED;
}

/* Tells an error that the agent answered with. */
static enum cli_status told_error(const char *error, const json_t *parameters)
{
	const char *message = json_string_value(json_object_get(parameters, "message"));
	const char *parameter = json_string_value(json_object_get(parameters, "parameter"));
	const json_t *line;
	size_t i;

	json_array_foreach (json_object_get(parameters, "lines"), i, line)
		if (json_is_string(line))
			cli_error("%s", json_string_value(line));
	if (message)
		cli_error("%s", message);
	else if (parameter)
		cli_error("the agent does not accept this value for '%s'; see culprit(1)",
			  parameter);
	else if (strstr(error, "NotFound") || strstr(error, "NotImplemented"))
		cli_error("the agent does not know this verb (%s); is it older than this client?",
			  error);
	else
		cli_error("the agent answered with the error %s", error);
	return CLI_FAILED;
}

enum cli_status client_receive(struct client *client, int timeout_ms, json_t **parameters,
			       bool *continues)
{
	enum cli_status status = CLI_DONE;
	const char *error;
	json_t *message;
	size_t length;
	int r = read_message(client,
			     timeout_ms < 0 ? UINT64_MAX
					    : monotonic_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC,
			     &length);

	*parameters = NULL;
	if (r < 0)
		return cannot_receive(client, r);
	message = take_message(client, length);
	*parameters = json_object_get(message, "parameters");
	error = json_string_value(json_object_get(message, "error"));
	if (error) {
		status = told_error(error, *parameters);
	} else if (!json_is_object(*parameters)) {
		cli_error("what answers at %s does not speak as culpritd does", client->path);
		status = CLI_FAILED;
	}
	if (continues)
		*continues = json_is_true(json_object_get(message, "continues"));
	if (status == CLI_DONE)
		json_incref(*parameters);
	else
		*parameters = NULL;
	json_decref(message);
	return status;
}

enum cli_status client_call(const struct cli *cli, const char *method, json_t *parameters,
			    json_t **reply)
{
	struct client client;
	enum cli_status status = client_open(&client, cli->socket);

	*reply = NULL;
	if (status != CLI_DONE) {
		json_decref(parameters);
		return status;
	}
	status = client_send(&client, method, parameters, false);
	if (status == CLI_DONE)
		status = client_receive(&client, CLIENT_TIMEOUT_MS, reply, NULL);
	client_close(&client);
	return status;
}
