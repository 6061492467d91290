// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>

#include "cli/client.h"
#include "cli/format.h"
#include "cli/print.h"

static enum cli_status call(const struct cli *cli, const char *method, json_t **reply)
{
	json_t *parameters = json_pack("{s:s}", "target", cli->arg);

	if (!parameters) {
		cli_error("the target is not valid UTF-8: %s", cli->arg);
		return CLI_USAGE;
	}
	if (cli->has_for)
		json_object_set_new(parameters, "for_ms", json_integer(cli->for_ms));
	return client_call(cli, method, parameters, reply);
}

/* One line for each target that it was not done to, with the reason. */
static enum cli_status tell_failed(const json_t *reply, const char *verb)
{
	char target[TARGET_SIZE];
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(reply, "failed"), i, one)
		cli_error("%s was not %s: %s",
			  format_target(target, sizeof(target), json_object_get(one, "target")),
			  verb, member_text(one, "reason"));
	return i == 0 ? CLI_DONE : CLI_FAILED;
}

/* The first claim, as it always was, and beside its fields those of the call. */
static void print_claims_json(json_t *reply)
{
	json_t *claim = json_copy(json_object_get(reply, "claim"));

	json_object_set(claim, "claims", json_object_get(reply, "claims"));
	json_object_set(claim, "failed", json_object_get(reply, "failed"));
	print_json(claim);
	json_decref(claim);
}

enum cli_status verb_freeze(const struct cli *cli)
{
	char target[TARGET_SIZE], duration[FORMAT_SIZE];
	const json_t *claim;
	json_t *reply;
	size_t i;
	enum cli_status r = call(cli, "Freeze", &reply);

	if (r != CLI_DONE)
		return r;
	if (cli->json)
		print_claims_json(reply);
	else
		json_array_foreach (json_object_get(reply, "claims"), i, claim)
			print_line("held: %s (claim %lld) %s%s; culprit thaw %s lets it go",
				   format_target(target, sizeof(target),
						 json_object_get(claim, "target")),
				   (long long)member_int(claim, "id"),
				   cli->has_for ? "for " : "until it is thawed",
				   cli->has_for ? format_duration(duration, cli->for_ms) : "",
				   cli->arg);
	r = tell_failed(reply, "frozen");
	json_decref(reply);
	return r;
}

enum cli_status verb_thaw(const struct cli *cli)
{
	char target[TARGET_SIZE], duration[FORMAT_SIZE];
	const json_t *claim;
	json_t *reply;
	size_t i;
	enum cli_status r = call(cli, "Thaw", &reply);

	if (r != CLI_DONE)
		return r;
	if (cli->json) {
		print_json(reply);
	} else {
		json_array_foreach (json_object_get(reply, "claims"), i, claim)
			print_line("let go: %s (claim %lld, %s by %s)",
				   format_target(target, sizeof(target),
						 json_object_get(claim, "target")),
				   (long long)member_int(claim, "id"), member_text(claim, "action"),
				   member_text(claim, "policy"));
		if (i == 0)
			print_line("nothing of %s was held", cli->arg);
		json_array_foreach (json_object_get(reply, "free"), i, claim)
			print_line("left alone: %s for %s; culprit freeze ends that",
				   format_target(target, sizeof(target), claim),
				   format_duration(duration, cli->for_ms));
	}
	r = tell_failed(reply, "let go");
	json_decref(reply);
	return r;
}
