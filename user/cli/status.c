// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/format.h"
#include "cli/print.h"
#include "cli/table.h"
#include "culprit/losses.h"
#include "lib/clock.h"

static void print_agent(const json_t *agent)
{
	char up[FORMAT_SIZE], rss[FORMAT_SIZE];
	const json_t *text;
	size_t i;

	print_line("culpritd %s  pid %lld  mode %s  up %s  RSS %s  %lld wake-ups",
		   member_text(agent, "version"), (long long)member_int(agent, "pid"),
		   member_text(agent, "mode"),
		   format_duration(up, member_int(agent, "uptime_s") * 1000),
		   format_size(rss, member_real(agent, "rss_bytes")),
		   (long long)member_int(agent, "wakeups"));
	json_array_foreach (json_object_get(agent, "degraded"), i, text)
		print_line("degraded: %s", json_is_string(text) ? json_string_value(text) : "?");
	json_array_foreach (json_object_get(agent, "warnings"), i, text)
		print_line("warning: %s", json_is_string(text) ? json_string_value(text) : "?");
}

/* The texts of an array, which may have commas themselves, with "; " between them, or "-". */
static const char *join(char *buf, size_t size, const json_t *texts)
{
	const json_t *text;
	size_t i, used = 0;

	snprintf(buf, size, "-");
	json_array_foreach (texts, i, text) {
		int n = snprintf(buf + used, size - used, "%s%s", i ? "; " : "",
				 json_is_string(text) ? json_string_value(text) : "?");

		if (n < 0 || (size_t)n >= size - used)
			break;
		used += (size_t)n;
	}
	return buf;
}

static void print_senses(const json_t *senses, bool colour)
{
	static const char *const titles[] = { "SENSE", "SOURCE", "BLIND TO", NULL };
	struct table *table = table_new(titles);
	const json_t *sense;
	char blind[512];
	size_t i;

	json_array_foreach (senses, i, sense) {
		table_cell(table, "%s", member_text(sense, "name"));
		table_cell(table, "%s", member_text(sense, "source"));
		table_cell(table, "%s",
			   join(blind, sizeof(blind), json_object_get(sense, "blind")));
		if (member_text(sense, "why")[0])
			table_note(table, "note: %s", member_text(sense, "why"));
	}
	putchar('\n');
	table_print(table, colour);
}

static void value_cell(struct table *table, const json_t *policy, const char *name)
{
	char value[FORMAT_SIZE];

	if (json_is_number(json_object_get(policy, name)))
		table_cell(table, "%s",
			   format_value(value, member_real(policy, name),
					member_text(policy, "unit")));
	else
		table_cell(table, "-");
}

static void note_waiting(struct table *table, const json_t *policy)
{
	const json_t *workload;
	size_t i;

	json_array_foreach (json_object_get(policy, "waits_for"), i, workload)
		table_note(table, "waits for %s: there is no cgroup %s now",
			   member_text(workload, "workload"), member_text(workload, "names"));
}

static void print_policies(const json_t *policies, bool colour)
{
	static const char *const titles[] = { "POLICY", "SIGNAL", "STATE", ">VALUE",
					      ">ENTER", ">LEAVE", "SINCE", NULL };
	struct table *table = table_new(titles);
	const json_t *policy;
	char since[FORMAT_SIZE];
	size_t i;

	json_array_foreach (policies, i, policy) {
		const char *state = member_text(policy, "state");

		table_cell(table, "%s", member_text(policy, "name"));
		table_cell(table, "%s", member_text(policy, "signal"));
		table_cell(table, "%s", state);
		table_colour(table, colour_of(state));
		value_cell(table, policy, "value");
		value_cell(table, policy, "enter");
		value_cell(table, policy, "leave");
		table_cell(table, "%s", format_time(since, member_int(policy, "since")));
		note_waiting(table, policy);
		if (member_text(policy, "next")[0])
			table_note(table, "%s", member_text(policy, "next"));
	}
	puts(i ? "" : "\npolicies: none; see culprit.conf(5)");
	table_print(table, colour);
}

/* Why it is held, and what comes after that (escalate). */
static void note_claim(struct table *table, const json_t *claim)
{
	const json_t *next = json_object_get(claim, "next");
	json_int_t at = member_int(next, "at"), now = (json_int_t)unix_ms();
	char left[FORMAT_SIZE];

	if (json_is_object(next))
		table_note(table, "%s; then %s in %s", member_text(claim, "reason"),
			   member_text(next, "action"),
			   format_duration(left, at > now ? at - now : 0));
	else
		table_note(table, "%s", member_text(claim, "reason"));
}

/* Of the cgroup, or the pid. */
static json_int_t id_of(const json_t *target)
{
	return member_int(target,
			  strcmp(member_text(target, "kind"), "process") == 0 ? "pid" : "id");
}

static void print_claims(const json_t *claims, bool colour)
{
	static const char *const titles[] = { ">CLAIM", "ACTION", "POLICY", "SINCE",
					      ">ID",	"TARGET", NULL };
	struct table *table = table_new(titles);
	char since[FORMAT_SIZE], target[TARGET_SIZE];
	const json_t *claim;
	size_t i;

	json_array_foreach (claims, i, claim) {
		if (json_object_get(claim, "id"))
			table_cell(table, "%lld", (long long)member_int(claim, "id"));
		else
			table_cell(table, "-");
		table_cell(table, "%s%s%s", member_text(claim, "action"),
			   json_is_true(json_object_get(claim, "shadow")) ? " (shadow)" : "",
			   strcmp(member_text(claim, "state"), "external") == 0
				   ? " (let go by someone else)"
				   : "");
		table_cell(table, "%s", member_text(claim, "policy"));
		table_cell(table, "%s", format_time(since, member_int(claim, "since")));
		table_cell(table, "%lld", (long long)id_of(json_object_get(claim, "target")));
		table_cell(table, "%s",
			   format_target(target, sizeof(target), json_object_get(claim, "target")));
		note_claim(table, claim);
	}
	puts(i ? "" : "\nclaims: none");
	table_print(table, colour);
}

/* By hand: culprit thaw --for. */
static void print_free(const json_t *free)
{
	char target[TARGET_SIZE], until[FORMAT_SIZE];
	const json_t *one;
	size_t i;

	if (json_array_size(free) > 0)
		putchar('\n');
	json_array_foreach (free, i, one)
		print_line("left alone until %s: %s", format_time(until, member_int(one, "until")),
			   format_target(target, sizeof(target), json_object_get(one, "target")));
}

/* What a loss means, or NULL: the list is of what the kernel's programs could not record. */
static const char *explain_loss(const char *name)
{
#define X(field, text)                 \
	if (strcmp(name, #field) == 0) \
		return text;
	CULPRIT_LOSSES(X)
#undef X
	return NULL;
}

/* Losses are numbers, grouped by who lost ("cpu": {"recursion": 3}): those not zero as a list. */
static size_t print_losses(const json_t *losses, const char *prefix, size_t printed)
{
	const char *name;
	json_t *value;

	json_object_foreach ((json_t *)losses, name, value) {
		const char *text = explain_loss(name);
		char full[128];

		snprintf(full, sizeof(full), "%s%s%s", prefix, prefix[0] ? "." : "", name);
		if (json_is_object(value)) {
			printed = print_losses(value, full, printed);
		} else if (json_number_value(value) != 0) {
			print_line("%s%s %.0f%s%s", printed ? "        " : "losses: ", full,
				   json_number_value(value), text ? ": " : "", text ? text : "");
			printed++;
		}
	}
	return printed;
}

enum cli_status verb_status(const struct cli *cli)
{
	const json_t *status;
	json_t *reply;
	enum cli_status r = client_call(cli, "GetStatus", NULL, &reply);

	if (r != CLI_DONE)
		return r;
	status = json_object_get(reply, "status");
	if (cli->json) {
		print_json(status);
	} else {
		print_agent(json_object_get(status, "agent"));
		print_senses(json_object_get(status, "senses"), cli->colour);
		print_policies(json_object_get(status, "policies"), cli->colour);
		print_claims(json_object_get(status, "claims"), cli->colour);
		print_free(json_object_get(status, "free"));
		putchar('\n');
		if (print_losses(json_object_get(status, "losses"), "", 0) == 0)
			puts("losses: none");
	}
	json_decref(reply);
	return CLI_DONE;
}
