// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/format.h"
#include "cli/print.h"
#include "cli/table.h"
#include "lib/clock.h"

/* "frozen since 2026-01-31 13:00:00 (2 min 5 s) by miner-yields: others used 0.75 CPUs" */
static void print_decision(const json_t *events)
{
	const json_t *last = json_array_get(events, json_array_size(events) - 1);
	const char *kind = member_text(last, "event"), *policy = member_text(last, "policy");
	json_int_t ts = member_int(last, "ts"), now = (json_int_t)unix_ms();
	char time[FORMAT_SIZE], ago[FORMAT_SIZE];
	bool held = strcmp(kind, "frozen") == 0 || strcmp(kind, "stopped") == 0 ||
		    strcmp(kind, "demoted") == 0;

	if (!last) {
		print_line("  no decision about it is kept; see journalctl -u culpritd");
		return;
	}
	print_line("  %s%s %s %s (%s%s)%s%s: %s",
		   json_is_true(json_object_get(last, "shadow")) ? "would have been " : "", kind,
		   held ? "since" : "at", format_time(time, ts),
		   format_duration(ago, now > ts ? now - ts : 0), held ? "" : " ago",
		   policy[0] ? " by policy " : "", policy, member_text(last, "reason"));
}

/* The evidence is with the event that began it, which need not be the last one. */
static const json_t *last_evidence(const json_t *events)
{
	for (size_t i = json_array_size(events); i > 0; i--) {
		const json_t *evidence = json_object_get(json_array_get(events, i - 1), "evidence");

		if (json_is_object(evidence))
			return evidence;
	}
	return NULL;
}

static void print_evidence(const json_t *e)
{
	const char *unit = member_text(e, "unit"), *device = member_text(e, "device");
	char value[FORMAT_SIZE], enter[FORMAT_SIZE], leave[FORMAT_SIZE], window[FORMAT_SIZE];

	if (unit[0])
		print_line("  signal %s: %s over %s (enter %s, leave %s)%s%s",
			   member_text(e, "signal"),
			   format_value(value, member_real(e, "value"), unit),
			   format_duration(window, member_int(e, "window_ms")),
			   format_value(enter, member_real(e, "enter"), unit),
			   format_value(leave, member_real(e, "leave"), unit),
			   device[0] ? ", " : "", device);
	if (json_object_get(e, "swapin_pages"))
		print_line("  swap-in %lld pages of the %lld that pswpin counted, churn %lld, "
			   "stalled %.3g %%",
			   (long long)member_int(e, "swapin_pages"),
			   (long long)member_int(e, "pswpin_pages"),
			   (long long)member_int(e, "churn_pages"), member_real(e, "stall") * 100);
	if (member_int(e, "latency_us") > 0)
		print_line("  acted %.3g ms after the kernel's record",
			   (double)member_int(e, "latency_us") / 1000);
}

static void print_candidates(const json_t *candidates, bool colour)
{
	static const char *const titles[] = { "  CANDIDATE", ">SIZE",	">GROWTH",     ">SWAP-IN",
					      ">CHURN",	     ">WEIGHT", "PASSED OVER", NULL };
	struct table *table = table_new(titles);
	char target[TARGET_SIZE], size[FORMAT_SIZE], growth[FORMAT_SIZE];
	double page = (double)sysconf(_SC_PAGESIZE);
	const json_t *c;
	size_t i;

	json_array_foreach (candidates, i, c) {
		table_cell(table, "  %s",
			   format_target(target, sizeof(target), json_object_get(c, "target")));
		table_cell(table, "%s",
			   format_size(size, member_real(c, "footprint_pages") * page));
		table_cell(table, "%s", format_size(growth, member_real(c, "growth_pages") * page));
		table_cell(table, "%lld", (long long)member_int(c, "swapin_pages"));
		table_cell(table, "%lld", (long long)member_int(c, "churn_pages"));
		table_cell(table, "%.3g", member_real(c, "weight"));
		table_cell(table, "%s", member_text(c, "refusal"));
	}
	table_print(table, colour);
}

static void print_why(const json_t *why, bool colour)
{
	const json_t *target = json_object_get(why, "target");
	const json_t *events = json_object_get(why, "events"), *undo;
	const char *cgroup = member_text(target, "cgroup");
	char name[TARGET_SIZE];
	size_t i;

	print_line("%s%s%s", format_target(name, sizeof(name), target), cgroup[0] ? " in " : "",
		   cgroup);
	print_decision(events);
	print_evidence(last_evidence(events));
	json_array_foreach (json_object_get(why, "undo"), i, undo)
		print_line("  %s %s", i ? "           or:" : "let go when or by:",
			   json_is_string(undo) ? json_string_value(undo) : "?");
	print_candidates(json_object_get(why, "candidates"), colour);
}

enum cli_status verb_why(const struct cli *cli)
{
	json_t *parameters = cli->arg ? json_pack("{s:s}", "name", cli->arg) : NULL, *reply;
	const json_t *list, *why;
	enum cli_status r;
	size_t i;

	if (cli->arg && !parameters) {
		cli_error("the name is not valid UTF-8: %s", cli->arg);
		return CLI_USAGE;
	}
	r = client_call(cli, "Why", parameters, &reply);
	if (r != CLI_DONE)
		return r;
	list = json_object_get(reply, "why");
	json_array_foreach (list, i, why) {
		if (cli->json) {
			print_json(why);
			continue;
		}
		if (i > 0)
			putchar('\n');
		print_why(why, cli->colour);
	}
	if (json_array_size(list) == 0 && !cli->json)
		puts("nothing is held");
	json_decref(reply);
	return CLI_DONE;
}
