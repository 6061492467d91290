/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connection to the agent. Every failure has been told on stderr when a function returns. */
#ifndef CULPRIT_CLI_CLIENT_H
#define CULPRIT_CLI_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "cli/cli.h"

struct client {
	const char *path;
	int fd;
	char *data; /* received and not yet used */
	size_t length, size;
};

enum cli_status client_open(struct client *client, const char *path);
void client_close(struct client *client);

/* Steals parameters (NULL: none). Whether the agent took it shows in what it answers. */
enum cli_status client_send(struct client *client, const char *method, json_t *parameters,
			    bool more);

/* Waits for the next answer, timeout_ms at most (-1: for ever). *parameters: a new reference, an
 * object; *continues (may be NULL): more will come. An error that the agent answers is told, too.
 */
enum cli_status client_receive(struct client *client, int timeout_ms, json_t **parameters,
			       bool *continues);

#define CLIENT_TIMEOUT_MS 10000

/* Connects, calls, waits, closes. */
enum cli_status client_call(const struct cli *cli, const char *method, json_t *parameters,
			    json_t **reply);

#endif
