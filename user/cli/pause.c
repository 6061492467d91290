// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>

#include "cli/client.h"
#include "cli/format.h"
#include "cli/print.h"

static enum cli_status call(const struct cli *cli, const char *method, json_t **reply)
{
	json_t *parameters = json_object();

	if (cli->arg && json_object_set_new(parameters, "policy", json_string(cli->arg)) < 0) {
		json_decref(parameters);
		cli_error("the policy's name is not valid UTF-8: %s", cli->arg);
		return CLI_USAGE;
	}
	if (cli->has_for)
		json_object_set_new(parameters, "for_ms", json_integer(cli->for_ms));
	return client_call(cli, method, parameters, reply);
}

static void print_policies(const json_t *reply, const char *verb, const char *how_long)
{
	const json_t *policy;
	size_t i;

	json_array_foreach (json_object_get(reply, "policies"), i, policy)
		print_line("%s: %s%s", verb,
			   json_is_string(policy) ? json_string_value(policy) : "?", how_long);
	if (i == 0)
		print_line("%s: no policy", verb);
}

enum cli_status verb_pause(const struct cli *cli)
{
	char duration[FORMAT_SIZE], how_long[FORMAT_SIZE + 16] = ", until culprit resume";
	json_t *reply;
	enum cli_status r = call(cli, "Pause", &reply);

	if (r != CLI_DONE)
		return r;
	if (cli->has_for)
		snprintf(how_long, sizeof(how_long), ", for %s",
			 format_duration(duration, cli->for_ms));
	if (cli->json)
		print_json(reply);
	else
		print_policies(reply, "paused", how_long);
	json_decref(reply);
	return CLI_DONE;
}

enum cli_status verb_resume(const struct cli *cli)
{
	json_t *reply;
	enum cli_status r = call(cli, "Resume", &reply);

	if (r != CLI_DONE)
		return r;
	if (cli->json)
		print_json(reply);
	else
		print_policies(reply, "resumed", "");
	json_decref(reply);
	return CLI_DONE;
}
