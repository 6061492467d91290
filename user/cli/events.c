// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>

#include "cli/client.h"
#include "cli/print.h"

static void print_events(const struct cli *cli, const json_t *reply)
{
	const json_t *event;
	size_t i;

	json_array_foreach (json_object_get(reply, "events"), i, event) {
		if (cli->json)
			print_json(event);
		else
			print_event(event, cli->colour);
	}
}

/* The kept ones come at once, the others when they happen. */
static enum cli_status follow(const struct cli *cli, struct client *client)
{
	int timeout_ms = CLIENT_TIMEOUT_MS;
	bool continues = true;

	while (continues) {
		json_t *reply;
		enum cli_status r = client_receive(client, timeout_ms, &reply, &continues);

		if (r != CLI_DONE)
			return r;
		print_events(cli, reply);
		json_decref(reply);
		if (fflush(stdout) != 0)
			return CLI_DONE;
		timeout_ms = -1;
	}
	return CLI_DONE;
}

enum cli_status verb_events(const struct cli *cli)
{
	json_t *parameters = json_object();
	struct client client;
	enum cli_status r;

	if (cli->has_since)
		json_object_set_new(parameters, "since", json_integer(cli->since_ms));
	r = client_open(&client, cli->socket);
	if (r != CLI_DONE) {
		json_decref(parameters);
		return r;
	}
	r = client_send(&client, "Events", parameters, cli->follow);
	if (r == CLI_DONE && cli->follow)
		r = follow(cli, &client);
	else if (r == CLI_DONE) {
		json_t *reply;

		r = client_receive(&client, CLIENT_TIMEOUT_MS, &reply, NULL);
		print_events(cli, reply);
		json_decref(reply);
	}
	client_close(&client);
	return r;
}
